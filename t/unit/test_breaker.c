
/*
 * The circuit: opens on a burst of failures and on nothing else, lets one
 * probe at a time through, closes when one succeeds.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_breaker.h"
#include "tap.h"


static const ngx_http_unit_breaker_conf_t  conf = { 5, 10000, 2000 };

static ngx_http_unit_breaker_t  breaker;
static ngx_uint_t               probe;


static ngx_msec_t
test_wait(ngx_msec_t now)
{
    return ngx_http_unit_breaker_wait(&breaker, &conf, now, &probe);
}


/* calls that are made and end at once; returns whether something changed */

static ngx_uint_t
test_calls(ngx_uint_t n, ngx_msec_t now,
    ngx_http_unit_breaker_outcome_e outcome)
{
    ngx_uint_t  changed;

    changed = 0;

    while (n--) {
        ngx_http_unit_breaker_call(&breaker, &conf, now, 0);
        changed |= ngx_http_unit_breaker_done(&breaker, &conf, now, 0,
                                              outcome);
    }

    return changed;
}


static void
test_open(ngx_msec_t start)
{
    ngx_msec_t  now;

    now = start;
    ngx_memzero(&breaker, sizeof(breaker));

    is(test_wait(now), 0, "closed at first");
    is(probe, 0, "and no probe");

    is(test_calls(4, now, NGX_HTTP_UNIT_BREAKER_FAILURE), 0,
       "some failures");
    is(test_wait(now), 0, "are no burst");

    now += 10000;
    is(test_calls(4, now, NGX_HTTP_UNIT_BREAKER_FAILURE), 0,
       "nor are some more in another window");

    is(test_calls(1, now, NGX_HTTP_UNIT_BREAKER_FAILURE), 1, "five are");
    is(breaker.state, NGX_HTTP_UNIT_BREAKER_OPEN, "it is open");
    is(test_wait(now), 2000, "for its time");

    is(test_calls(9, now, NGX_HTTP_UNIT_BREAKER_SUCCESS), 0,
       "late answers");
    is(test_wait(now + 1999), 1, "change nothing");

    /* the first one after that is the probe, the others wait */

    now += 2000;
    is(test_wait(now), 0, "then one may try");
    is(probe, 1, "which is a probe");
    ngx_http_unit_breaker_call(&breaker, &conf, now, probe);

    is(test_wait(now), 1000, "the next one waits");
    is(probe, 0, "and is none");

    is(ngx_http_unit_breaker_done(&breaker, &conf, now + 500, 1,
                                  NGX_HTTP_UNIT_BREAKER_FAILURE),
       0, "the probe fails");
    is(test_wait(now + 500), 2000, "open once more");

    /* a probe of which nothing is known is no success */

    now += 2500;
    is(test_wait(now), 0, "the next probe");
    ngx_http_unit_breaker_call(&breaker, &conf, now, probe);
    is(ngx_http_unit_breaker_done(&breaker, &conf, now, 1,
                                  NGX_HTTP_UNIT_BREAKER_UNKNOWN),
       0, "its client leaves");
    is(test_wait(now), 0, "somebody else tries at once");
    is(probe, 1, "as a probe");
    ngx_http_unit_breaker_call(&breaker, &conf, now, probe);

    /* its worker dies */

    ok(test_wait(now + NGX_HTTP_UNIT_BREAKER_PROBE - 1) > 0,
       "a probe has its time");
    now += NGX_HTTP_UNIT_BREAKER_PROBE;
    is(test_wait(now), 0, "and no more");
    is(probe, 1, "another probe");
    ngx_http_unit_breaker_call(&breaker, &conf, now, probe);

    is(ngx_http_unit_breaker_done(&breaker, &conf, now, 1,
                                  NGX_HTTP_UNIT_BREAKER_SUCCESS),
       1, "it succeeds");
    is(breaker.state, NGX_HTTP_UNIT_BREAKER_CLOSED, "closed");
    is(test_wait(now), 0, "for all");
    is(probe, 0, "not as probes");
    is(test_calls(4, now, NGX_HTTP_UNIT_BREAKER_FAILURE), 0,
       "old failures are forgotten");
    is(breaker.opened, 1, "opened once");
}


int
main(void)
{
    ngx_http_unit_breaker_conf_t  off;

    test_open(1000000);
    test_open((ngx_msec_t) -15000);

    /* single failures of many calls */

    ngx_memzero(&breaker, sizeof(breaker));
    (void) test_calls(1000, 1, NGX_HTTP_UNIT_BREAKER_SUCCESS);
    is(test_calls(499, 1, NGX_HTTP_UNIT_BREAKER_FAILURE), 0,
       "a third of the calls fails");

    ngx_memzero(&breaker, sizeof(breaker));
    (void) test_calls(100, 1, NGX_HTTP_UNIT_BREAKER_UNKNOWN);
    is(test_wait(1), 0, "what nobody knows is no failure");

    ngx_memzero(&off, sizeof(off));
    ngx_memzero(&breaker, sizeof(breaker));
    breaker.state = NGX_HTTP_UNIT_BREAKER_OPEN;
    breaker.until = 5000;
    is(ngx_http_unit_breaker_wait(&breaker, &off, 1, &probe), 0,
       "switched off");

    return done_testing();
}
