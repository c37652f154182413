
/*
 * Rates: over random arrivals no window ever holds more than was promised,
 * whatever the clock does; who waits as long as told gets through, and not
 * much earlier; a share is its partner's own, and what one does not use others
 * may use.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_rate.h"
#include "tap.h"


#define TEST_STEPS     100000
#define TEST_PARTNERS  3


/* the last n times; the oldest is overwritten */
typedef struct {
    ngx_uint_t   n;
    ngx_uint_t   used;
    ngx_uint_t   pos;
    ngx_msec_t   times[2000];
} test_log_t;


static uint32_t  test_seed;


/* ours, so that a failure can be repeated */

static uint32_t
test_random(uint32_t n)
{
    test_seed = test_seed * 1664525 + 1013904223;

    return (test_seed >> 8) % n;
}


/* 0 when the call is one more than n within a window */

static ngx_uint_t
test_log_add(test_log_t *log, ngx_msec_t now, ngx_msec_t window)
{
    ngx_msec_t  oldest;

    oldest = log->times[log->pos];

    log->times[log->pos] = now;
    log->pos = (log->pos + 1) % log->n;

    if (log->used < log->n) {
        log->used++;
        return 1;
    }

    return now - oldest >= window;
}


/* ms to the next arrival: storms, trickles, pauses */

static ngx_msec_t
test_step(void)
{
    switch (test_random(8)) {

    case 0:
        return test_random(200);

    case 1:
        return test_random(64) == 0 ? test_random(90000) : 1;

    case 2:
    case 3:
        return test_random(20);

    default:
        return 0;
    }
}


static void
test_promise(ngx_uint_t n, ngx_uint_t burst, ngx_uint_t reserve,
    ngx_msec_t start)
{
    ngx_uint_t                  i, passed, bad, priority;
    ngx_msec_t                  now, clock;
    test_log_t                  log;
    ngx_http_unit_rate_t        rate;
    ngx_http_unit_rate_state_t  state;

    ngx_http_unit_rate_promise(&rate, n, 60000, burst, reserve);

    ngx_memzero(&log, sizeof(log));
    ngx_memzero(&state, sizeof(state));

    log.n = n;
    now = start;
    state.last = now;
    passed = 0;
    bad = 0;

    for (i = 0; i < TEST_STEPS; i++) {

        now += test_step();

        /* a worker's clock may be behind, as long as one turn of its loop */

        clock = now - (test_random(4) == 0 ? test_random(40) : 0);
        priority = (test_random(10) == 0);

        ngx_http_unit_rate_drain(&state, &rate, clock);

        if (ngx_http_unit_rate_wait(&state, &rate, priority ? 0 : rate.floor,
                                    clock))
        {
            continue;
        }

        ngx_http_unit_rate_take(&state);

        /* calls arrive when they arrive: up to a second later */

        passed++;

        if (!test_log_add(&log, now, 60000)) {
            bad++;
        }
    }

    ok(bad == 0, "%lur/m, burst %lu, reserve %lu: no window has more",
       (unsigned long) n, (unsigned long) burst, (unsigned long) reserve);
    ok(passed > n, "and %lu calls passed", (unsigned long) passed);
}


/* a flood uses most of what is promised, or the budget would be a waste */

static void
test_use(void)
{
    ngx_uint_t                  passed, ordinary;
    ngx_msec_t                  now;
    ngx_http_unit_rate_t        rate;
    ngx_http_unit_rate_state_t  state;

    ngx_http_unit_rate_promise(&rate, 1000, 60000, 100, 100);

    for (ordinary = 0; ordinary < 2; ordinary++) {

        ngx_memzero(&state, sizeof(state));
        passed = 0;

        for (now = 0; now < 60000; now++) {
            ngx_http_unit_rate_drain(&state, &rate, now);

            while (ngx_http_unit_rate_wait(&state, &rate,
                                           ordinary ? rate.floor : 0, now)
                   == 0)
            {
                ngx_http_unit_rate_take(&state);
                passed++;
            }
        }

        ok(passed >= (ordinary ? 870 : 970)
           && passed <= (ordinary ? 900 : 1000),
           "the first minute of a flood has %lu calls",
           (unsigned long) passed);
    }
}


static void
test_wait(void)
{
    ngx_uint_t                  i, early, late;
    ngx_msec_t                  wait;
    ngx_http_unit_rate_t        rate;
    ngx_http_unit_rate_state_t  state, copy;

    early = 0;
    late = 0;

    for (i = 0; i < 10000; i++) {

        ngx_http_unit_rate_init(&rate, 1 + test_random(1000),
                                1000 * (1 + test_random(3600)),
                                1 + test_random(100), test_random(10));

        state.used = test_random(200) * (rate.cap / 100);
        state.last = 1000;

        wait = ngx_http_unit_rate_wait(&state, &rate, rate.floor, 1000);

        if (wait == 0) {
            continue;
        }

        copy = state;
        ngx_http_unit_rate_drain(&copy, &rate, 1000 + wait);
        late += (ngx_http_unit_rate_wait(&copy, &rate, rate.floor,
                                         1000 + wait)
                 != 0);

        copy = state;
        ngx_http_unit_rate_drain(&copy, &rate, 1000 + wait - 1);
        early += (ngx_http_unit_rate_wait(&copy, &rate, rate.floor,
                                          1000 + wait - 1)
                  == 0);
    }

    is(late, 0, "who waits gets through");
    is(early, 0, "and not earlier");
}


static void
test_states(void)
{
    ngx_http_unit_rate_t        rate;
    ngx_http_unit_rate_state_t  state;

    ngx_http_unit_rate_init(&rate, 600, 60000, 3, 1);
    ngx_memzero(&state, sizeof(state));

    is(ngx_http_unit_rate_left(&state, &rate, rate.floor), 3, "burst");
    is(ngx_http_unit_rate_left(&state, &rate, 0), 4, "and the reserve");

    ngx_http_unit_rate_take(&state);
    ngx_http_unit_rate_take(&state);
    ngx_http_unit_rate_take(&state);

    is(ngx_http_unit_rate_wait(&state, &rate, rate.floor, 0), 101,
       "an ordinary call waits");
    is(ngx_http_unit_rate_wait(&state, &rate, 0, 0), 0,
       "one that moves funds does not");
    is(ngx_http_unit_rate_reset(&state, &rate, 0), 301, "all of it is back");

    ngx_http_unit_rate_give(&state, 0);
    is(ngx_http_unit_rate_left(&state, &rate, rate.floor), 1, "given back");

    /* paused: nothing passes, nothing comes back, nothing is given back */

    ngx_http_unit_rate_pause(&state, &rate, 0, 2000);
    is(ngx_http_unit_rate_wait(&state, &rate, rate.floor, 0), 2101, "paused");
    is(ngx_http_unit_rate_wait(&state, &rate, 0, 0), 2000,
       "what moves funds, too");

    ngx_http_unit_rate_give(&state, 1000);
    ngx_http_unit_rate_drain(&state, &rate, 1000);
    is(ngx_http_unit_rate_wait(&state, &rate, rate.floor, 1000), 1101,
       "still");
    is(ngx_http_unit_rate_wait(&state, &rate, 0, 1000), 1000, "for all");

    ngx_http_unit_rate_pause(&state, &rate, 1000, 100);
    is(ngx_http_unit_rate_wait(&state, &rate, 0, 1000), 1000,
       "a shorter pause does not shorten it");

    ngx_http_unit_rate_drain(&state, &rate, 2150);
    is(ngx_http_unit_rate_left(&state, &rate, rate.floor), 1,
       "one after the other then");

    ngx_http_unit_rate_pause(&state, &rate, 3000, 100000000);
    is(ngx_http_unit_rate_wait(&state, &rate, rate.floor, 3000), 300101,
       "five minutes at most");

    /* a debt is paid back, but not for ever */

    ngx_memzero(&state, sizeof(state));

    while (state.last++ < 1000) {
        ngx_http_unit_rate_take(&state);
    }

    state.last = 0;
    ngx_http_unit_rate_drain(&state, &rate, 0);
    is(ngx_http_unit_rate_reset(&state, &rate, 0), 801, "a debt has an end");

    /* a 32-bit clock that has gone half way round: nothing is used any more */

    state.last = 5000000;
    ngx_http_unit_rate_drain(&state, &rate, 5000000 - 600001);
    is(state.used, 0, "a clock far behind means much later");
}


/* shares of 1, 2 and 5 of 8; the first stays within its own, others flood */

static void
test_shares(ngx_uint_t n, ngx_uint_t burst, ngx_uint_t reserve)
{
    double                      credit, cap;
    ngx_uint_t                  i, k, refused, calls, bad, passed;
    ngx_msec_t                  now, wait;
    test_log_t                  log;
    ngx_http_unit_rate_t        whole, shares[TEST_PARTNERS];
    ngx_http_unit_rate_paid_e   paid;
    ngx_http_unit_rate_state_t  state, states[TEST_PARTNERS];
    ngx_http_unit_rate_budget_t budget;

    static const ngx_uint_t  weights[TEST_PARTNERS] = { 1, 2, 5 };

    ngx_http_unit_rate_promise(&whole, n, 60000, burst, reserve);

    for (i = 0; i < TEST_PARTNERS; i++) {
        ngx_http_unit_rate_part(&shares[i], &whole, weights[i], 8);
    }

    ngx_memzero(&state, sizeof(state));
    ngx_memzero(states, sizeof(states));
    ngx_memzero(&log, sizeof(log));

    log.n = n;

    budget.whole = &whole;
    budget.state = &state;
    budget.shares = shares;
    budget.states = states;
    budget.n = TEST_PARTNERS;

    /* what partner 0 may do in any case, by an independent count */

    cap = (double) (shares[0].cap - shares[0].floor)
          / NGX_HTTP_UNIT_RATE_ONE;
    credit = cap;

    refused = 0;
    calls = 0;
    bad = 0;
    passed = 0;

    for (now = 1; now < 600000; now++) {

        ngx_http_unit_rate_budget_drain(&budget, now);

        credit += (double) shares[0].fill / NGX_HTTP_UNIT_RATE_ONE;
        credit = (credit > cap) ? cap : credit;

        /* the others ask for ten times what there is, all the time */

        for (k = 0; k < 4; k++) {

            i = 1 + test_random(TEST_PARTNERS - 1);

            wait = ngx_http_unit_rate_budget_wait(&budget, i,
                                                  test_random(2), now, &paid);
            if (wait == 0) {
                ngx_http_unit_rate_budget_take(&budget, i, paid);
                passed++;
                bad += !test_log_add(&log, now, 60000);
            }
        }

        if (credit < 1.01 || test_random(200)) {
            continue;
        }

        calls++;
        credit -= 1;

        wait = ngx_http_unit_rate_budget_wait(&budget, 0, 0, now, &paid);

        if (wait) {
            refused++;
            continue;
        }

        ngx_http_unit_rate_budget_take(&budget, 0, paid);
        passed++;
        bad += !test_log_add(&log, now, 60000);
    }

    is(refused, 0, "a partner within its share is never refused");
    ok(calls > n / 2, "in %lu calls", (unsigned long) calls);
    is(bad, 0, "and no window has more");
    ok(passed > n * 7, "what is not used others use: %lu calls",
       (unsigned long) passed);
}


static void
test_lanes(void)
{
    ngx_uint_t                   n;
    ngx_http_unit_rate_t         whole, shares[2];
    ngx_http_unit_rate_paid_e    paid;
    ngx_http_unit_rate_state_t   state, states[2];
    ngx_http_unit_rate_budget_t  budget;

    ngx_http_unit_rate_promise(&whole, 1000, 60000, 100, 100);
    ngx_http_unit_rate_part(&shares[0], &whole, 1, 2);
    ngx_http_unit_rate_part(&shares[1], &whole, 1, 2);

    ngx_memzero(&state, sizeof(state));
    ngx_memzero(states, sizeof(states));

    budget.whole = &whole;
    budget.state = &state;
    budget.shares = shares;
    budget.states = states;
    budget.n = 2;

    is(ngx_http_unit_rate_budget_left(&budget, 0, 0), 50, "ordinary calls");
    is(ngx_http_unit_rate_budget_left(&budget, 0, 1), 100, "and others");

    for (n = 0;
         ngx_http_unit_rate_budget_wait(&budget, 0, 0, 0, &paid) == 0;
         n++)
    {
        ngx_http_unit_rate_budget_take(&budget, 0, paid);
    }

    is(n, 50, "ordinary calls leave the reserve");

    for (n = 0;
         ngx_http_unit_rate_budget_wait(&budget, 0, 1, 0, &paid) == 0;
         n++)
    {
        ngx_http_unit_rate_budget_take(&budget, 0, paid);
    }

    is(n, 50, "to those that move funds");
    is(ngx_http_unit_rate_budget_left(&budget, 1, 1), 100,
       "the other partner has all of its own");

    is(paid, NGX_HTTP_UNIT_RATE_SHARE, "paid from the share");
    ngx_http_unit_rate_budget_give(&budget, 0, paid, 0);
    is(ngx_http_unit_rate_budget_left(&budget, 0, 1), 1, "and given back");

    /* many small shares: each can make a call */

    ngx_http_unit_rate_promise(&whole, 10, 60000, 1, 1);
    ngx_http_unit_rate_part(&shares[0], &whole, 1, 1000);
    ngx_http_unit_rate_part(&shares[1], &whole, 999, 1000);
    ngx_memzero(&state, sizeof(state));
    ngx_memzero(states, sizeof(states));

    is(ngx_http_unit_rate_budget_wait(&budget, 0, 0, 0, &paid), 0,
       "one of a thousand");

    /* one partner alone: no shares at all */

    budget.n = 0;
    budget.shares = NULL;
    budget.states = NULL;

    is(ngx_http_unit_rate_budget_wait(&budget, 0, 0, 0, &paid), 0, "alone");
    is(paid, NGX_HTTP_UNIT_RATE_WHOLE, "paid from the whole");
}


int
main(void)
{
    test_seed = 42;

    test_promise(1000, 100, 100, 0);
    test_promise(1000, 1, 0, 1);
    test_promise(1000, 900, 100, 12345);
    test_promise(60, 6, 6, 0);
    test_promise(10, 10, 0, 0);
    test_promise(2, 1, 1, 0);
    test_promise(1, 1, 0, 0);

    /* the clock wraps on the way */

    test_promise(1000, 100, 100, (ngx_msec_t) -30000);
    test_promise(100, 10, 10, (ngx_msec_t) -1);
    test_promise(300, 30, 0, (ngx_msec_t) 0x7ffff000);

    test_use();
    test_wait();
    test_states();
    test_shares(1000, 100, 100);
    test_shares(100, 10, 10);
    test_shares(200, 50, 0);
    test_lanes();

    return done_testing();
}
