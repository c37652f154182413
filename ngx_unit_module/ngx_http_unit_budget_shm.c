
/*
 * Limits in the shared zone, see ngx_http_unit_budget_int.h.  The budget is
 * part of the zone's head; the shares of the partners are one record, and so
 * are the windows of each partner, customer and address.  A record that is not
 * there is one of which nothing is used: it may expire when that is true.
 */


#include "ngx_http_unit_budget_int.h"


/* ms that the shares are kept when nobody uses them; they are full long ago */
#define NGX_HTTP_UNIT_BUDGET_SHARES  3600000

/* what addresses may fill of the zone, one part in so many */
#define NGX_HTTP_UNIT_BUDGET_PART    8

/* ms to wait for room in the zone */
#define NGX_HTTP_UNIT_BUDGET_FULL    10000


static void ngx_http_unit_budget_shares_locked(
    ngx_http_unit_budget_call_t *call, ngx_http_unit_rate_budget_t *budget);
static ngx_http_unit_shm_node_t *ngx_http_unit_budget_check_locked(
    ngx_http_unit_budget_call_t *call, ngx_http_unit_shm_limit_e kind,
    const u_char *key);
static void ngx_http_unit_budget_limit(ngx_http_unit_budget_call_t *call,
    const ngx_http_unit_budget_window_t *window, ngx_msec_t wait);
static void ngx_http_unit_budget_count_locked(
    ngx_http_unit_budget_call_t *call, ngx_http_unit_shm_limit_e kind,
    const u_char *key, ngx_http_unit_shm_node_t *node);
static ngx_http_unit_shm_node_t *ngx_http_unit_budget_record_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_shm_class_e class,
    const u_char *key, const uint64_t *tag, ngx_uint_t n, ngx_msec_t ttl);
static void ngx_http_unit_budget_report(ngx_http_unit_budget_call_t *call,
    const ngx_http_unit_budget_window_t *window,
    const ngx_http_unit_rate_state_t *state, ngx_uint_t left);


#define ngx_http_unit_budget_states(node)                                     \
    ((ngx_http_unit_rate_state_t *) (node)->data)


/* by kind */
static const ngx_http_unit_shm_class_e  ngx_http_unit_budget_classes[] = {
    NGX_HTTP_UNIT_SHM_RATE_PARTNER,
    NGX_HTTP_UNIT_SHM_RATE_CUSTOMER,
    NGX_HTTP_UNIT_SHM_RATE_ADDRESS
};


void
ngx_http_unit_budget_admit(ngx_http_unit_budget_call_t *call)
{
    ngx_uint_t                    i;
    ngx_msec_t                    wait;
    const u_char                 *keys[NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS];
    ngx_http_unit_shm_t          *shm;
    ngx_http_unit_shm_node_t     *nodes[NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS];
    ngx_http_unit_budget_conf_t  *conf;
    ngx_http_unit_rate_budget_t   budget;
    ngx_http_unit_shm_budget_t   *shb;

    shm = call->umcf->shm;
    conf = call->umcf->budget;

    keys[NGX_HTTP_UNIT_SHM_LIMIT_PARTNER] =
                                  conf->keys
                                  + call->partner * NGX_HTTP_UNIT_SHM_KEY_LEN;
    keys[NGX_HTTP_UNIT_SHM_LIMIT_CUSTOMER] = call->customer;

    call->wait = 0;
    call->delay = NGX_MAX_INT32_VALUE;
    call->refused = NULL;
    call->paid = NGX_HTTP_UNIT_RATE_UNPAID;
    call->probe = 0;
    call->circuit = 0;
    call->degraded = 0;
    call->nreports = 0;

    ngx_http_unit_shm_lock(shm);

    shb = &shm->sh->budget;

    if (call->unit && !call->passed) {
        call->wait = ngx_http_unit_breaker_wait(&shb->breaker, &conf->breaker,
                                                ngx_current_msec,
                                                &call->probe);
        if (call->wait) {
            call->circuit = 1;
            shb->refused[NGX_HTTP_UNIT_SHM_LIMIT_CIRCUIT]++;
            ngx_http_unit_shm_unlock(shm);
            return;
        }
    }

    for (i = 0; i < NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS; i++) {

        if (!call->clients) {
            keys[i] = NULL;
        }

        nodes[i] = ngx_http_unit_budget_check_locked(call, i, keys[i]);
    }

    if (call->unit) {
        ngx_http_unit_budget_shares_locked(call, &budget);
        ngx_http_unit_rate_budget_drain(&budget, ngx_current_msec);

        wait = ngx_http_unit_rate_budget_wait(&budget, call->partner,
                                              call->priority,
                                              ngx_current_msec, &call->paid);
        ngx_http_unit_budget_limit(call, &conf->budget, wait);
    }

    if (call->wait) {

        /* all or nothing */

        call->paid = NGX_HTTP_UNIT_RATE_UNPAID;
        call->probe = 0;
        shb->refused[call->refused->kind]++;

    } else {

        for (i = 0; i < NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS; i++) {
            ngx_http_unit_budget_count_locked(call, i, keys[i], nodes[i]);
        }

        if (call->unit) {
            ngx_http_unit_rate_budget_take(&budget, call->partner, call->paid);

            if (conf->breaker.failures && !call->passed) {
                ngx_http_unit_breaker_call(&shb->breaker, &conf->breaker,
                                           ngx_current_msec, call->probe);
            }
        }

        shb->passed++;
    }

    if (call->unit && call->reports) {
        ngx_http_unit_budget_report(call, &conf->budget, budget.state,
                         ngx_http_unit_rate_budget_left(&budget,
                                                        call->partner,
                                                        call->priority));
    }

    if (call->degraded) {
        shb->degraded++;
    }

    ngx_http_unit_shm_unlock(shm);
}


/* the budget and its shares; without room for them all partners are one */

static void
ngx_http_unit_budget_shares_locked(ngx_http_unit_budget_call_t *call,
    ngx_http_unit_rate_budget_t *budget)
{
    ngx_http_unit_shm_t          *shm;
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_budget_conf_t  *conf;

    shm = call->umcf->shm;
    conf = call->umcf->budget;

    budget->whole = &conf->budget.rate;
    budget->state = &shm->sh->budget.state;
    budget->shares = conf->shares;
    budget->states = NULL;
    budget->n = 0;

    if (conf->shares == NULL) {
        return;
    }

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_RATE_PARTNER,
                                         conf->share_key, conf->share_tag);

    if (node == NULL) {
        node = ngx_http_unit_budget_record_locked(shm,
                                              NGX_HTTP_UNIT_SHM_RATE_PARTNER,
                                              conf->share_key,
                                              conf->share_tag,
                                              conf->npartners,
                                              NGX_HTTP_UNIT_BUDGET_SHARES);
        if (node == NULL) {
            call->degraded = 1;
            return;
        }
    }

    node->expire = ngx_current_msec + NGX_HTTP_UNIT_BUDGET_SHARES;
    ngx_http_unit_shm_touch_locked(node);

    budget->states = ngx_http_unit_budget_states(node);
    budget->n = conf->npartners;
}


/* the record of a key, or NULL, with how long the call has to wait for it */

static ngx_http_unit_shm_node_t *
ngx_http_unit_budget_check_locked(ngx_http_unit_budget_call_t *call,
    ngx_http_unit_shm_limit_e kind, const u_char *key)
{
    ngx_uint_t                            i;
    ngx_msec_t                            wait;
    ngx_http_unit_shm_node_t             *node;
    ngx_http_unit_budget_set_t           *set;
    ngx_http_unit_rate_state_t           *state;
    const ngx_http_unit_budget_window_t  *window;

    set = &call->umcf->budget->sets[kind];

    if (key == NULL || set->n == 0) {
        return NULL;
    }

    node = ngx_http_unit_shm_find_locked(call->umcf->shm,
                                         ngx_http_unit_budget_classes[kind],
                                         key, set->tag);
    if (node == NULL) {
        return NULL;
    }

    state = ngx_http_unit_budget_states(node);

    for (i = 0; i < set->n; i++, state++) {

        window = &set->windows[i];

        ngx_http_unit_rate_drain(state, &window->rate, ngx_current_msec);

        wait = ngx_http_unit_rate_wait(state, &window->rate,
                                       call->priority ? 0
                                                      : window->rate.floor,
                                       ngx_current_msec);

        ngx_http_unit_budget_limit(call, window, wait);
    }

    return node;
}


static void
ngx_http_unit_budget_limit(ngx_http_unit_budget_call_t *call,
    const ngx_http_unit_budget_window_t *window, ngx_msec_t wait)
{
    if (wait == 0) {
        return;
    }

    call->delay = ngx_min(call->delay, window->delay);

    if (wait > call->wait) {
        call->wait = wait;
        call->refused = window;
    }
}


/* count what has passed; report on all windows in any case */

static void
ngx_http_unit_budget_count_locked(ngx_http_unit_budget_call_t *call,
    ngx_http_unit_shm_limit_e kind, const u_char *key,
    ngx_http_unit_shm_node_t *node)
{
    ngx_uint_t                            i;
    ngx_http_unit_shm_t                  *shm;
    ngx_http_unit_budget_set_t           *set;
    ngx_http_unit_rate_state_t           *state;
    const ngx_http_unit_budget_window_t  *window;

    shm = call->umcf->shm;
    set = &call->umcf->budget->sets[kind];

    if (key == NULL || set->n == 0) {
        return;
    }

    if (node == NULL) {
        node = ngx_http_unit_budget_record_locked(shm,
                                           ngx_http_unit_budget_classes[kind],
                                           key, set->tag, set->n, set->ttl);
        if (node == NULL) {

            /* the budget still holds */

            call->degraded = 1;
            return;
        }

    } else {
        node->expire = ngx_current_msec + set->ttl;
        ngx_http_unit_shm_touch_locked(node);
    }

    state = ngx_http_unit_budget_states(node);

    for (i = 0; i < set->n; i++, state++) {

        window = &set->windows[i];

        ngx_http_unit_rate_take(state);

        if (call->reports) {
            ngx_http_unit_budget_report(call, window, state,
                       ngx_http_unit_rate_left(state, &window->rate,
                                               call->priority
                                               ? 0 : window->rate.floor));
        }
    }
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_budget_record_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, const u_char *key, const uint64_t *tag,
    ngx_uint_t n, ngx_msec_t ttl)
{
    size_t                       max;
    ngx_uint_t                   i;
    ngx_http_unit_shm_node_t    *node;
    ngx_http_unit_rate_state_t  *state;

    if (class == NGX_HTTP_UNIT_SHM_RATE_ADDRESS) {

        /*
         * Anybody can have many addresses, and their records are not evicted:
         * without a bound they would leave no room for leases
         */

        max = shm->zone->shm.size / NGX_HTTP_UNIT_BUDGET_PART;

        if (shm->sh->bytes[class] > max) {
            ngx_http_unit_shm_expire_locked(shm, class, 2);
        }

        if (shm->sh->bytes[class] > max) {
            return NULL;
        }
    }

    node = ngx_http_unit_shm_alloc_locked(shm, class,
                                      n * sizeof(ngx_http_unit_rate_state_t));
    if (node == NULL) {
        return NULL;
    }

    state = ngx_http_unit_budget_states(node);

    for (i = 0; i < n; i++) {
        state[i].used = 0;
        state[i].last = ngx_current_msec;
    }

    ngx_http_unit_shm_link_locked(shm, node, key, tag, ttl);

    return node;
}


static void
ngx_http_unit_budget_report(ngx_http_unit_budget_call_t *call,
    const ngx_http_unit_budget_window_t *window,
    const ngx_http_unit_rate_state_t *state, ngx_uint_t left)
{
    ngx_http_unit_budget_report_t  *report;

    report = &call->reports[call->nreports++];

    report->window = window;
    report->left = left;

    /* until all of it is there again, or the next one */

    report->reset = left ? ngx_http_unit_rate_reset(state, &window->rate,
                                                    ngx_current_msec)
                         : ngx_http_unit_rate_wait(state, &window->rate,
                                                   window->rate.floor,
                                                   ngx_current_msec);
}


void
ngx_http_unit_budget_charge(ngx_http_unit_main_conf_t *umcf,
    ngx_uint_t partner)
{
    ngx_http_unit_budget_call_t  call;
    ngx_http_unit_rate_budget_t  budget;

    ngx_memzero(&call, sizeof(ngx_http_unit_budget_call_t));
    call.umcf = umcf;

    ngx_http_unit_shm_lock(umcf->shm);

    ngx_http_unit_budget_shares_locked(&call, &budget);
    ngx_http_unit_rate_budget_drain(&budget, ngx_current_msec);
    ngx_http_unit_rate_budget_take(&budget, partner,
                                   NGX_HTTP_UNIT_RATE_SHARE);

    ngx_http_unit_shm_unlock(umcf->shm);
}


void
ngx_http_unit_budget_refund(ngx_http_unit_main_conf_t *umcf,
    ngx_uint_t partner, ngx_http_unit_rate_paid_e paid)
{
    ngx_http_unit_budget_call_t  call;
    ngx_http_unit_rate_budget_t  budget;

    ngx_memzero(&call, sizeof(ngx_http_unit_budget_call_t));
    call.umcf = umcf;

    ngx_http_unit_shm_lock(umcf->shm);

    ngx_http_unit_budget_shares_locked(&call, &budget);
    ngx_http_unit_rate_budget_give(&budget, partner, paid, ngx_current_msec);

    ngx_http_unit_shm_unlock(umcf->shm);
}


ngx_msec_t
ngx_http_unit_budget_failure(ngx_http_unit_main_conf_t *umcf,
    const u_char *key, ngx_uint_t count,
    ngx_http_unit_budget_report_t *report, ngx_uint_t *full)
{
    ngx_http_unit_shm_t          *shm;
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_budget_call_t   call;

    ngx_memzero(&call, sizeof(ngx_http_unit_budget_call_t));
    call.umcf = umcf;

    shm = umcf->shm;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_budget_check_locked(&call,
                                          NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS,
                                          key);

    if (call.wait == 0 && count) {
        ngx_http_unit_budget_count_locked(&call,
                                          NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS,
                                          key, node);
        if (call.degraded) {

            /* what cannot be counted is refused */

            shm->sh->budget.degraded++;
            call.wait = NGX_HTTP_UNIT_BUDGET_FULL;
            call.refused = &umcf->budget
                               ->sets[NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS]
                                 .windows[0];
        }
    }

    *full = call.degraded;

    if (call.wait) {
        shm->sh->budget.refused[NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS]++;

        report->window = call.refused;
        report->left = 0;
        report->reset = call.wait;
    }

    ngx_http_unit_shm_unlock(shm);

    return call.wait;
}
