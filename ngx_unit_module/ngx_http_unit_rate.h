
/*
 * The arithmetic of limits: GCRA as a count of what is used up, which drains
 * with time, and a budget that partners share.  Pure: touches nothing but its
 * arguments.  The states live in the shared zone, their mutex is held.
 *
 * A request is NGX_HTTP_UNIT_RATE_ONE units.  States count units, not time,
 * so that they keep their meaning when a reload changes the rate.
 */


#ifndef _NGX_HTTP_UNIT_RATE_H_INCLUDED_
#define _NGX_HTTP_UNIT_RATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_UNIT_RATE_ONE        ((uint64_t) 1 << 36)

/* bounds that keep all sums below 64 bits */
#define NGX_HTTP_UNIT_RATE_MAX        100000000
#define NGX_HTTP_UNIT_RATE_MAX_BURST  10000000

/* ms by which a promised minute is taken longer: calls arrive later at Unit
   than they are counted here, and not all by the same time */
#define NGX_HTTP_UNIT_RATE_MARGIN     1000

/* the longest time that a state may be stopped for */
#define NGX_HTTP_UNIT_RATE_PAUSE_MAX  300000


typedef struct {
    uint64_t                    cap;    /* units that can be used at once */
    uint64_t                    fill;   /* units that come back in one ms */
    uint64_t                    floor;  /* of cap, what ordinary calls leave */
    ngx_msec_t                  full;   /* ms after which cap units are back */
} ngx_http_unit_rate_t;


typedef struct {
    uint64_t                    used;   /* units */
    ngx_msec_t                  last;   /* when that was true: the present, or
                                           the end of a pause */
} ngx_http_unit_rate_state_t;


/* what a call was paid from */
typedef enum {
    NGX_HTTP_UNIT_RATE_UNPAID = 0,
    NGX_HTTP_UNIT_RATE_WHOLE,           /* what no partner had a claim to */
    NGX_HTTP_UNIT_RATE_SHARE            /* the partner's own share */
} ngx_http_unit_rate_paid_e;


/* a budget and its division; without shares (n == 0) there is one partner */
typedef struct {
    const ngx_http_unit_rate_t  *whole;
    ngx_http_unit_rate_state_t  *state;
    const ngx_http_unit_rate_t  *shares;
    ngx_http_unit_rate_state_t  *states;
    ngx_uint_t                   n;
} ngx_http_unit_rate_budget_t;


/*
 * n requests per window, burst of them at once, and "reserve" more at once of
 * those that are not ordinary.  The burst comes on top of the rate.
 *
 *   n, burst  1 .. NGX_HTTP_UNIT_RATE_MAX, .._MAX_BURST
 *   window    ms
 */
void ngx_http_unit_rate_init(ngx_http_unit_rate_t *rate, ngx_uint_t n,
    ngx_msec_t window, ngx_uint_t burst, ngx_uint_t reserve);

/*
 * The same as a promise: no window, wherever it starts, holds more than n.
 * burst + reserve is at most n; what they leave makes the rate.
 */
void ngx_http_unit_rate_promise(ngx_http_unit_rate_t *rate, ngx_uint_t n,
    ngx_msec_t window, ngx_uint_t burst, ngx_uint_t reserve);

/* The part weight/total of whole, at least enough for one call at a time. */
void ngx_http_unit_rate_part(ngx_http_unit_rate_t *part,
    const ngx_http_unit_rate_t *whole, ngx_uint_t weight, ngx_uint_t total);

/* Bring a state up to the present.  The others below expect that. */
void ngx_http_unit_rate_drain(ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, ngx_msec_t now);

/*
 * ms until one more call fits; 0: it does now.
 *
 *   floor  units to leave: rate->floor for ordinary calls, else 0
 */
ngx_msec_t ngx_http_unit_rate_wait(const ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, uint64_t floor, ngx_msec_t now);

/* Count a call, whether it fits or not; and take it back. */
void ngx_http_unit_rate_take(ngx_http_unit_rate_state_t *state);
void ngx_http_unit_rate_give(ngx_http_unit_rate_state_t *state,
    ngx_msec_t now);

/* How many calls fit now. */
ngx_uint_t ngx_http_unit_rate_left(const ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, uint64_t floor);

/* ms until nothing is used up any more */
ngx_msec_t ngx_http_unit_rate_reset(const ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, ngx_msec_t now);

/*
 * Nothing passes for so many ms, and then as if all but the reserve had been
 * used.  Never shortens a pause.
 */
void ngx_http_unit_rate_pause(ngx_http_unit_rate_state_t *state,
    const ngx_http_unit_rate_t *rate, ngx_msec_t now, ngx_msec_t pause);

/* Bring all states of a budget up to the present. */
void ngx_http_unit_rate_budget_drain(ngx_http_unit_rate_budget_t *budget,
    ngx_msec_t now);

/*
 * May partner i make a call?  Its own share can always be used by it alone;
 * of the rest of the whole everybody may take.
 *
 *   priority  1: may use what ordinary calls have to leave
 *   paid      out, when it may: what ngx_http_unit_rate_budget_take() is told
 *
 * Returns 0, or the ms after which it certainly may when no call is made
 * until then by this partner.
 */
ngx_msec_t ngx_http_unit_rate_budget_wait(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_uint_t priority, ngx_msec_t now,
    ngx_http_unit_rate_paid_e *paid);

void ngx_http_unit_rate_budget_take(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_http_unit_rate_paid_e paid);
void ngx_http_unit_rate_budget_give(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_http_unit_rate_paid_e paid, ngx_msec_t now);

/* How many calls partner i could make now. */
ngx_uint_t ngx_http_unit_rate_budget_left(ngx_http_unit_rate_budget_t *budget,
    ngx_uint_t i, ngx_uint_t priority);


#endif /* _NGX_HTTP_UNIT_RATE_H_INCLUDED_ */
