
/*
 * The arithmetic of limits, see ngx_http_unit_rate.h.
 *
 * A state holds how much is used of cap units; fill units come back in each
 * ms.  Between two times t1 < t2 at most cap + (t2 - t1) * fill units can be
 * used, which is what a promise is derived from.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_rate.h"


/*
 * No more than this is owed, as a multiple of cap: by calls that were made
 * anyway, or because a reload has made the limit smaller
 */
#define NGX_HTTP_UNIT_RATE_DEBT  2

/* ms that the clock of a busy worker may be behind: less is no pause */
#define NGX_HTTP_UNIT_RATE_BEHIND  250


static void ngx_http_unit_rate_full(ngx_http_unit_rate_t *rate);
static uint64_t ngx_http_unit_rate_rest(
    const ngx_http_unit_rate_state_t *state, const ngx_http_unit_rate_t *rate);
static uint64_t ngx_http_unit_rate_claims(
    ngx_http_unit_rate_budget_t *budget);


void
ngx_http_unit_rate_init(ngx_http_unit_rate_t *rate, ngx_uint_t n,
    ngx_msec_t window, ngx_uint_t burst, ngx_uint_t reserve)
{
    rate->floor = reserve * NGX_HTTP_UNIT_RATE_ONE;
    rate->cap = burst * NGX_HTTP_UNIT_RATE_ONE + rate->floor;
    rate->fill = n * NGX_HTTP_UNIT_RATE_ONE / window;

    ngx_http_unit_rate_full(rate);
}


void
ngx_http_unit_rate_promise(ngx_http_unit_rate_t *rate, ngx_uint_t n,
    ngx_msec_t window, ngx_uint_t burst, ngx_uint_t reserve)
{
    /*
     * A window holds at most (burst + reserve) + k calls, k being the whole
     * calls that come back in it; k stays below n - (burst + reserve) + 1, for
     * that many would take longer than the window
     */

    window += ngx_min(window / 60, NGX_HTTP_UNIT_RATE_MARGIN);

    ngx_http_unit_rate_init(rate, n - (burst + reserve) + 1, window, burst,
                            reserve);
}


void
ngx_http_unit_rate_part(ngx_http_unit_rate_t *part,
    const ngx_http_unit_rate_t *whole, ngx_uint_t weight, ngx_uint_t total)
{
    /* divided first: the products would not fit */

    part->fill = whole->fill / total * weight;
    part->cap = whole->cap / total * weight;
    part->floor = whole->floor / total * weight;

    if (part->floor && part->floor < NGX_HTTP_UNIT_RATE_ONE) {
        part->floor = NGX_HTTP_UNIT_RATE_ONE;
    }

    part->cap = ngx_max(part->cap, part->floor + NGX_HTTP_UNIT_RATE_ONE);

    ngx_http_unit_rate_full(part);
}


static void
ngx_http_unit_rate_full(ngx_http_unit_rate_t *rate)
{
    uint64_t  full;

    rate->fill = ngx_max(rate->fill, 1);

    full = rate->cap / rate->fill + 1;

    /* even a debt ends far from the wrap of a 32-bit clock */

    rate->full = (ngx_msec_t) ngx_min(full, 0x1fffffff
                                            / NGX_HTTP_UNIT_RATE_DEBT);
}


void
ngx_http_unit_rate_drain(ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, ngx_msec_t now)
{
    uint64_t        back;
    ngx_msec_int_t  elapsed;

    if (state->used > NGX_HTTP_UNIT_RATE_DEBT * rate->cap) {
        state->used = NGX_HTTP_UNIT_RATE_DEBT * rate->cap;
    }

    elapsed = (ngx_msec_int_t) (now - state->last);

    if (elapsed <= 0) {

        /*
         * A pause, or another worker whose clock has been read later: time
         * does not go back.  More than that is a 32-bit clock that has gone
         * half way round since.
         */

        if (elapsed < -2 * NGX_HTTP_UNIT_RATE_PAUSE_MAX) {
            state->used = 0;
            state->last = now;
        }

        return;
    }

    state->last = now;

    if ((ngx_msec_t) elapsed >= NGX_HTTP_UNIT_RATE_DEBT * rate->full) {
        state->used = 0;
        return;
    }

    back = (uint64_t) elapsed * rate->fill;
    state->used = (back < state->used) ? state->used - back : 0;
}


ngx_msec_t
ngx_http_unit_rate_wait(const ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, uint64_t floor, ngx_msec_t now)
{
    uint64_t        need;
    ngx_msec_t      wait;
    ngx_msec_int_t  paused;

    need = state->used + NGX_HTTP_UNIT_RATE_ONE + floor;
    paused = (ngx_msec_int_t) (state->last - now);

    if (need <= rate->cap) {
        return (paused > NGX_HTTP_UNIT_RATE_BEHIND) ? (ngx_msec_t) paused : 0;
    }

    need = (need - rate->cap + rate->fill - 1) / rate->fill;
    wait = (ngx_msec_t) ngx_min(need, 0x3fffffff);

    return (paused > 0) ? wait + (ngx_msec_t) paused : wait;
}


void
ngx_http_unit_rate_take(ngx_http_unit_rate_state_t *state)
{
    state->used += NGX_HTTP_UNIT_RATE_ONE;
}


void
ngx_http_unit_rate_give(ngx_http_unit_rate_state_t *state, ngx_msec_t now)
{
    if ((ngx_msec_int_t) (state->last - now) > 0) {

        /* a pause, which is no time to give anything back */
        return;
    }

    state->used -= ngx_min(state->used, NGX_HTTP_UNIT_RATE_ONE);
}


/* units that are not used */

static uint64_t
ngx_http_unit_rate_rest(const ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate)
{
    return (state->used < rate->cap) ? rate->cap - state->used : 0;
}


ngx_uint_t
ngx_http_unit_rate_left(const ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, uint64_t floor)
{
    uint64_t  rest;

    rest = ngx_http_unit_rate_rest(state, rate);

    return (rest > floor) ? (ngx_uint_t) ((rest - floor)
                                          / NGX_HTTP_UNIT_RATE_ONE)
                          : 0;
}


ngx_msec_t
ngx_http_unit_rate_reset(const ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, ngx_msec_t now)
{
    uint64_t        ms;
    ngx_msec_int_t  paused;

    ms = (state->used + rate->fill - 1) / rate->fill;
    paused = (ngx_msec_int_t) (state->last - now);

    if (paused > 0) {
        ms += (uint64_t) paused;
    }

    return (ngx_msec_t) ngx_min(ms, 0x3fffffff);
}


void
ngx_http_unit_rate_pause(ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, ngx_msec_t now, ngx_msec_t pause)
{
    ngx_msec_t  until;

    ngx_http_unit_rate_drain(state, rate, now);

    until = now + ngx_min(pause, NGX_HTTP_UNIT_RATE_PAUSE_MAX);

    if ((ngx_msec_int_t) (until - state->last) > 0) {
        state->last = until;
    }

    /*
     * What waits now does not come at once then, but one after the other; that
     * for which the reserve is may
     */

    state->used = ngx_max(state->used, rate->cap - rate->floor);
}


void
ngx_http_unit_rate_budget_drain(ngx_http_unit_rate_budget_t *budget,
    ngx_msec_t now)
{
    ngx_uint_t  i;

    ngx_http_unit_rate_drain(budget->state, budget->whole, now);

    for (i = 0; i < budget->n; i++) {
        ngx_http_unit_rate_drain(&budget->states[i], &budget->shares[i], now);
    }
}


/* units that the partners have not used of their shares */

static uint64_t
ngx_http_unit_rate_claims(ngx_http_unit_rate_budget_t *budget)
{
    uint64_t    claims;
    ngx_uint_t  i;

    claims = 0;

    for (i = 0; i < budget->n; i++) {
        claims += ngx_http_unit_rate_rest(&budget->states[i],
                                          &budget->shares[i]);
    }

    return claims;
}


ngx_msec_t
ngx_http_unit_rate_budget_wait(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_uint_t priority, ngx_msec_t now,
    ngx_http_unit_rate_paid_e *paid)
{
    uint64_t                     rest;
    ngx_msec_t                   wait, own;
    const ngx_http_unit_rate_t  *whole, *share;

    whole = budget->whole;

    if (budget->n == 0) {
        *paid = NGX_HTTP_UNIT_RATE_WHOLE;

        return ngx_http_unit_rate_wait(budget->state, whole,
                                       priority ? 0 : whole->floor, now);
    }

    /*
     * The rest of the whole is never less than the rests of all shares: a
     * share that is not used up can be used, whatever the others do
     */

    wait = ngx_http_unit_rate_wait(budget->state, whole, 0, now);

    share = &budget->shares[i];
    own = ngx_http_unit_rate_wait(&budget->states[i], share,
                                  priority ? 0 : share->floor, now);

    if (wait == 0) {

        if (own == 0) {
            *paid = NGX_HTTP_UNIT_RATE_SHARE;
            return 0;
        }

        rest = ngx_http_unit_rate_rest(budget->state, whole);

        if (rest >= ngx_http_unit_rate_claims(budget)
                    + NGX_HTTP_UNIT_RATE_ONE)
        {
            *paid = NGX_HTTP_UNIT_RATE_WHOLE;
            return 0;
        }
    }

    return ngx_max(wait, own);
}


void
ngx_http_unit_rate_budget_take(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_http_unit_rate_paid_e paid)
{
    if (paid == NGX_HTTP_UNIT_RATE_UNPAID) {
        return;
    }

    ngx_http_unit_rate_take(budget->state);

    if (paid == NGX_HTTP_UNIT_RATE_SHARE && i < budget->n) {
        ngx_http_unit_rate_take(&budget->states[i]);
    }
}


void
ngx_http_unit_rate_budget_give(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_http_unit_rate_paid_e paid, ngx_msec_t now)
{
    if (paid == NGX_HTTP_UNIT_RATE_UNPAID) {
        return;
    }

    ngx_http_unit_rate_give(budget->state, now);

    if (paid == NGX_HTTP_UNIT_RATE_SHARE && i < budget->n) {
        ngx_http_unit_rate_give(&budget->states[i], now);
    }
}


ngx_uint_t
ngx_http_unit_rate_budget_left(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_uint_t priority)
{
    uint64_t                     rest, claims, own;
    const ngx_http_unit_rate_t  *share;

    if (budget->n == 0) {
        return ngx_http_unit_rate_left(budget->state, budget->whole,
                                       priority ? 0 : budget->whole->floor);
    }

    share = &budget->shares[i];

    rest = ngx_http_unit_rate_rest(budget->state, budget->whole);
    claims = ngx_http_unit_rate_claims(budget);

    own = ngx_http_unit_rate_rest(&budget->states[i], share);

    if (!priority) {
        own -= ngx_min(own, share->floor);
    }

    own += (rest > claims) ? rest - claims : 0;

    return (ngx_uint_t) (ngx_min(own, rest) / NGX_HTTP_UNIT_RATE_ONE);
}
