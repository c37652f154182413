
/*
 * The circuit to Unit, see ngx_http_unit_breaker.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_breaker.h"


/* ms: who comes while a probe is under way comes again after that */
#define NGX_HTTP_UNIT_BREAKER_AGAIN  1000


static void ngx_http_unit_breaker_window(ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now);


ngx_msec_t
ngx_http_unit_breaker_wait(const ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now,
    ngx_uint_t *probe)
{
    ngx_msec_int_t  left;

    *probe = 0;

    if (conf->failures == 0
        || breaker->state == NGX_HTTP_UNIT_BREAKER_CLOSED)
    {
        return 0;
    }

    left = (ngx_msec_int_t) (breaker->until - now);

    if (left <= 0) {

        /* the time is up, or the probe has never come back */

        *probe = 1;
        return 0;
    }

    if (breaker->state == NGX_HTTP_UNIT_BREAKER_PROBING) {
        return ngx_min((ngx_msec_t) left, NGX_HTTP_UNIT_BREAKER_AGAIN);
    }

    return (ngx_msec_t) left;
}


void
ngx_http_unit_breaker_call(ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now,
    ngx_uint_t probe)
{
    if (probe) {
        breaker->state = NGX_HTTP_UNIT_BREAKER_PROBING;
        breaker->until = now + NGX_HTTP_UNIT_BREAKER_PROBE;
        return;
    }

    ngx_http_unit_breaker_window(breaker, conf, now);

    breaker->calls++;
}


static void
ngx_http_unit_breaker_window(ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now)
{
    ngx_msec_int_t  age;

    age = (ngx_msec_int_t) (now - breaker->start);

    /* a little in the past: the clock of a worker that is behind */

    if (age >= (ngx_msec_int_t) conf->window
        || age < -(ngx_msec_int_t) conf->window)
    {
        breaker->start = now;
        breaker->calls = 0;
        breaker->failures = 0;
    }
}


ngx_uint_t
ngx_http_unit_breaker_done(ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now,
    ngx_uint_t probe, ngx_http_unit_breaker_outcome_e outcome)
{
    if (conf->failures == 0) {
        return 0;
    }

    if (breaker->state != NGX_HTTP_UNIT_BREAKER_CLOSED) {

        /* what was sent before it opened tells nothing new */

        if (!probe || breaker->state != NGX_HTTP_UNIT_BREAKER_PROBING) {
            return 0;
        }

        breaker->start = now;
        breaker->calls = 0;
        breaker->failures = 0;

        if (outcome == NGX_HTTP_UNIT_BREAKER_SUCCESS) {
            breaker->state = NGX_HTTP_UNIT_BREAKER_CLOSED;
            return 1;
        }

        /* when nobody knows the next call is another probe */

        breaker->state = NGX_HTTP_UNIT_BREAKER_OPEN;
        breaker->until = now;

        if (outcome == NGX_HTTP_UNIT_BREAKER_FAILURE) {
            breaker->until += conf->open;
        }

        return 0;
    }

    if (outcome != NGX_HTTP_UNIT_BREAKER_FAILURE) {
        return 0;
    }

    ngx_http_unit_breaker_window(breaker, conf, now);

    breaker->failures++;

    /* single failures among many calls are no outage */

    if (breaker->failures < conf->failures
        || breaker->failures * 2 < breaker->calls)
    {
        return 0;
    }

    breaker->state = NGX_HTTP_UNIT_BREAKER_OPEN;
    breaker->until = now + conf->open;
    breaker->opened++;

    return 1;
}
