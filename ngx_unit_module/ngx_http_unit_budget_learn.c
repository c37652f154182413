
/*
 * What is learnt from Unit, see ngx_http_unit_budget.h: a 429 pauses the
 * budget, a burst of failures opens the circuit.
 */


#include "ngx_http_unit_budget_int.h"


/* ms of a pause when Unit does not say how long */
#define NGX_HTTP_UNIT_BUDGET_PAUSE  1000


ngx_msec_int_t
ngx_http_unit_budget_retry(ngx_http_unit_ctx_t *ctx)
{
    ngx_uint_t                    probe;
    ngx_msec_t                    wait;
    ngx_http_unit_shm_t          *shm;
    ngx_http_unit_budget_conf_t  *conf;
    ngx_http_unit_rate_state_t   *state;

    if (ctx->ulcf->limits != NGX_HTTP_UNIT_LIMITS_ON) {
        return 0;
    }

    shm = ctx->umcf->shm;
    conf = ctx->umcf->budget;

    ngx_http_unit_shm_lock(shm);

    wait = ngx_http_unit_breaker_wait(&shm->sh->budget.breaker,
                                      &conf->breaker, ngx_current_msec,
                                      &probe);
    if (wait) {
        ngx_http_unit_shm_unlock(shm);
        return -1;
    }

    state = &shm->sh->budget.state;

    ngx_http_unit_rate_drain(state, &conf->budget.rate, ngx_current_msec);
    wait = ngx_http_unit_rate_wait(state, &conf->budget.rate, 0,
                                   ngx_current_msec);

    ngx_http_unit_shm_unlock(shm);

    return (ngx_msec_int_t) wait;
}


void
ngx_http_unit_budget_pause(ngx_http_request_t *r, ngx_str_t *retry_after)
{
    time_t                date;
    ngx_int_t             n;
    ngx_msec_t            pause;
    ngx_http_unit_shm_t  *shm;
    ngx_http_unit_ctx_t  *ctx;

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx == NULL) {
        return;
    }

    pause = NGX_HTTP_UNIT_BUDGET_PAUSE;

    n = ngx_atoi(retry_after->data, retry_after->len);

    if (n == NGX_ERROR && retry_after->len) {

        date = ngx_parse_http_time(retry_after->data, retry_after->len);

        if (date != (time_t) NGX_ERROR) {
            n = (date > ngx_time())
                ? (ngx_int_t) ngx_min(date - ngx_time(), 86400) : 0;
        }
    }

    if (n != NGX_ERROR) {
        n = ngx_min(n, NGX_HTTP_UNIT_RATE_PAUSE_MAX / 1000);
        pause = (ngx_msec_t) n * 1000;
    }

    /* several gateways do not come back at the same moment */

    pause += (ngx_msec_t) ngx_random() % (ngx_min(pause / 10, 1000) + 1);

    shm = ctx->umcf->shm;

    ngx_http_unit_shm_lock(shm);

    ngx_http_unit_rate_pause(&shm->sh->budget.state,
                             &ctx->umcf->budget->budget.rate,
                             ngx_current_msec, pause);
    shm->sh->budget.paused++;

    ngx_http_unit_shm_unlock(shm);

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "unit limits: the API has answered 429, paused for %M ms, "
                  "id: %V", pause, &ctx->request_id);
}


void
ngx_http_unit_budget_done(ngx_http_request_t *r, ngx_http_unit_upstream_t *hu,
    ngx_http_unit_breaker_outcome_e outcome)
{
    ngx_uint_t                      changed, probe;
    ngx_http_unit_shm_t            *shm;
    ngx_http_unit_ctx_t            *ctx;
    ngx_http_unit_breaker_state_e   state;

    probe = hu->probe;
    hu->probe = 0;

    /* the ordinary case takes no lock */

    if (!hu->counted
        || (outcome != NGX_HTTP_UNIT_BREAKER_FAILURE && !probe))
    {
        return;
    }

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx == NULL) {
        return;
    }

    shm = ctx->umcf->shm;

    ngx_http_unit_shm_lock(shm);

    changed = ngx_http_unit_breaker_done(&shm->sh->budget.breaker,
                                         &ctx->umcf->budget->breaker,
                                         ngx_current_msec, probe, outcome);
    state = shm->sh->budget.breaker.state;

    ngx_http_unit_shm_unlock(shm);

    if (!changed) {
        return;
    }

    if (state == NGX_HTTP_UNIT_BREAKER_CLOSED) {
        ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                      "unit limits: the circuit to the API is closed again");

    } else {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "unit limits: the circuit to the API is open");
    }
}
