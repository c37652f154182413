
/*
 * Limits of requests, see ngx_http_unit_budget.h.  Here is which limits apply
 * to what, and waiting for a turn.
 */


#include "ngx_http_unit_budget_int.h"
#include "ngx_http_unit_idem.h"


/* ms between two lines about the same trouble, in one process */
#define NGX_HTTP_UNIT_BUDGET_LOG    10000

/* id of a customer that fits into a key as it is */
#define NGX_HTTP_UNIT_BUDGET_ID_LEN  15


typedef struct {
    ngx_http_request_t  *request;
    ngx_event_t          event;
} ngx_http_unit_budget_wait_t;


static void ngx_http_unit_budget_call(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call);
static ngx_int_t ngx_http_unit_budget_customer(ngx_http_unit_ctx_t *ctx,
    u_char *key);
static void ngx_http_unit_budget_passed(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call);
static ngx_msec_t ngx_http_unit_budget_patience(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call);
static void ngx_http_unit_budget_dry_run(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call);
static ngx_int_t ngx_http_unit_budget_wait(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_msec_t wait);
static void ngx_http_unit_budget_wait_handler(ngx_event_t *ev);
static void ngx_http_unit_budget_wait_cleanup(void *data);


ngx_int_t
ngx_http_unit_budget(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    u_char                         key[NGX_HTTP_UNIT_SHM_KEY_LEN];
    ngx_uint_t                     n;
    ngx_http_unit_budget_ctx_t    *bc;
    ngx_http_unit_budget_call_t    call;

    bc = &ctx->budget;

    if (ctx->ulcf->limits == NGX_HTTP_UNIT_LIMITS_OFF) {
        return NGX_OK;
    }

    if (bc->waiting) {

        /* some other event has run the phases */
        return NGX_AGAIN;
    }

    ngx_http_unit_budget_call(ctx, &call);

    call.clients = !bc->counted;

    /* of a further attempt only the budget is new, which is the last one */

    n = (bc->counted && bc->nreports) ? bc->nreports - 1 : 0;

    call.reports = &bc->reports[n];

    if (call.clients && ctx->customer.len) {

        if (ngx_http_unit_budget_customer(ctx, key) != NGX_OK) {
            return NGX_ERROR;
        }

        call.customer = key;
    }

    ngx_http_unit_budget_admit(&call);

    bc->circuit = call.circuit;
    bc->nreports = n + call.nreports;

    if (call.degraded) {
        ngx_http_unit_budget_degraded(ctx);
    }

    if (call.wait == 0) {
        ngx_http_unit_budget_passed(ctx, &call);
        return NGX_OK;
    }

    bc->refused = call.refused;

    if (ctx->ulcf->limits == NGX_HTTP_UNIT_LIMITS_DRY_RUN) {
        ngx_http_unit_budget_dry_run(ctx, &call);
        return NGX_OK;
    }

    if (call.wait <= ngx_http_unit_budget_patience(ctx, &call)) {
        return ngx_http_unit_budget_wait(r, ctx, call.wait);
    }

    ctx->retry_after = ngx_http_unit_budget_seconds(call.wait);

    if (call.circuit) {
        bc->nreports = 0;
        *code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
        *reason = "circuit_open";
        return NGX_DECLINED;
    }

    bc->reports[0].window = call.refused;
    bc->reports[0].left = 0;
    bc->reports[0].reset = call.wait;
    bc->nreports = 1;

    *code = NGX_HTTP_UNIT_RATE_LIMITED;
    *reason = call.refused->reason;

    return NGX_DECLINED;
}


/* what is to be decided for the next call of a request */

static void
ngx_http_unit_budget_call(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call)
{
    ngx_http_unit_partner_t  *partners;

    ngx_memzero(call, sizeof(ngx_http_unit_budget_call_t));

    partners = ctx->umcf->partners.elts;

    call->umcf = ctx->umcf;
    call->partner = ctx->identity.partner - partners;

    if (ctx->operation) {

        /*
         * What is answered here is no call to Unit; those that the answer
         * needs count themselves
         */

        call->unit = (ctx->operation->serve == NGX_HTTP_UNIT_SERVE_PROXY
                      && !ngx_http_unit_idem_is_replay(ctx));
        call->priority = ctx->operation->moves_funds;
    }
}


/*
 * Ids of customers are short and not chosen by callers, so that no hash that
 * costs anything is needed: the id itself, and a mixture of its bytes in
 * front, which is what the zone's table is looked up by.
 */

static ngx_int_t
ngx_http_unit_budget_customer(ngx_http_unit_ctx_t *ctx, u_char *key)
{
    size_t      len;
    u_char     *partner;
    uint64_t    word[2], hash;
    ngx_str_t   fields[3], *id;
    ngx_uint_t  i;

    id = &ctx->customer;
    i = ctx->identity.partner
        - (ngx_http_unit_partner_t *) ctx->umcf->partners.elts;

    partner = ctx->umcf->budget->keys + i * NGX_HTTP_UNIT_SHM_KEY_LEN;

    if (id->len > NGX_HTTP_UNIT_BUDGET_ID_LEN) {

        ngx_str_set(&fields[0], "rate-customer");
        fields[1] = *id;
        fields[2].data = partner;
        fields[2].len = NGX_HTTP_UNIT_SHM_KEY_LEN;

        if (ngx_http_unit_sha256(fields, 3, 0, key) != NGX_OK) {
            return NGX_ERROR;
        }

        /* where the others have a length */

        key[NGX_HTTP_UNIT_SHM_KEY_LEN - 1] = 0xff;

        return NGX_OK;
    }

    len = sizeof(uint64_t);

    ngx_memcpy(key + len, partner, len);
    ngx_memzero(key + 2 * len, 2 * len);
    ngx_memcpy(key + 2 * len, id->data, id->len);
    key[NGX_HTTP_UNIT_SHM_KEY_LEN - 1] = (u_char) id->len;

    ngx_memcpy(&hash, partner, len);
    ngx_memcpy(word, key + 2 * len, 2 * len);

    for (i = 0; i < 2; i++) {
        hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }

    hash *= 0xbf58476d1ce4e5b9;
    hash ^= hash >> 29;

    ngx_memcpy(key, &hash, len);

    return NGX_OK;
}


static void
ngx_http_unit_budget_passed(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call)
{
    ngx_http_unit_budget_ctx_t  *bc;

    bc = &ctx->budget;

    bc->passed = 1;
    bc->counted = 1;
    bc->dry_run = 0;
    bc->owing = 0;
    bc->paid = call->paid;
    bc->refused = NULL;

    ctx->upstream.counted = call->unit;
    ctx->upstream.probe = call->probe;
}


/* how long the request may still wait for its turn, in ms */

static ngx_msec_t
ngx_http_unit_budget_patience(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call)
{
    ngx_msec_t                   waited;
    ngx_http_unit_budget_ctx_t  *bc;

    bc = &ctx->budget;

    if (call->circuit) {
        return 0;
    }

    if (ctx->attempts) {

        /* a further attempt has the time of the operation */

        return (ngx_msec_int_t) (ctx->deadline - ngx_current_msec) > 0
               ? ctx->deadline - ngx_current_msec : 0;
    }

    if (!bc->delayed) {
        bc->since = ngx_current_msec;
    }

    waited = ngx_current_msec - bc->since;

    return (call->delay > waited) ? call->delay - waited : 0;
}


static void
ngx_http_unit_budget_dry_run(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_budget_call_t *call)
{
    ngx_http_unit_shm_t  *shm;

    shm = ctx->umcf->shm;

    ngx_http_unit_shm_lock(shm);
    shm->sh->budget.dry_run++;
    ngx_http_unit_shm_unlock(shm);

    ctx->budget.dry_run = 1;
    ctx->budget.counted = 1;
    ctx->upstream.counted = call->unit;

    ngx_log_error(ctx->ulcf->log_level, ctx->request->connection->log, 0,
                  "unit limits: would be refused: %s, id: %V",
                  call->refused ? call->refused->reason : "circuit_open",
                  &ctx->request_id);
}


static ngx_int_t
ngx_http_unit_budget_wait(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_msec_t wait)
{
    ngx_http_cleanup_t           *cln;
    ngx_http_unit_budget_wait_t  *bw;

    bw = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_budget_wait_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (bw == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_unit_budget_wait_cleanup;
    cln->data = bw;

    bw->request = r;
    bw->event.handler = ngx_http_unit_budget_wait_handler;
    bw->event.data = r->connection;
    bw->event.log = r->connection->log;

    /* a client that leaves meanwhile ends the wait (STYLE P5) */

    r->read_event_handler = ngx_http_test_reading;

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_add_timer(&bw->event, wait);

    ctx->budget.waiting = 1;
    ctx->budget.delayed = 1;

    return NGX_AGAIN;
}


static void
ngx_http_unit_budget_wait_handler(ngx_event_t *ev)
{
    ngx_connection_t             *c;
    ngx_http_request_t           *r;
    ngx_http_unit_ctx_t          *ctx;
    ngx_http_unit_budget_wait_t  *bw;

    bw = (ngx_http_unit_budget_wait_t *)
             ((u_char *) ev - offsetof(ngx_http_unit_budget_wait_t, event));

    r = bw->request;
    c = r->connection;

    ctx = ngx_http_unit_get_ctx(r);
    ctx->budget.waiting = 0;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;

    r->write_event_handler(r);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_unit_budget_wait_cleanup(void *data)
{
    ngx_http_unit_budget_wait_t  *bw = data;

    if (bw->event.timer_set) {
        ngx_del_timer(&bw->event);
    }
}


void
ngx_http_unit_budget_degraded(ngx_http_unit_ctx_t *ctx)
{
    static ngx_msec_t  last;
    static ngx_uint_t  logged;

    if (logged && ngx_current_msec - last < NGX_HTTP_UNIT_BUDGET_LOG) {
        return;
    }

    last = ngx_current_msec;
    logged = 1;

    ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                  "unit limits: no room in the zone to count all of them");
}


ngx_int_t
ngx_http_unit_budget_fetch(ngx_http_request_t *r,
    ngx_http_unit_fetch_t *fetch)
{
    ngx_http_unit_ctx_t          *ctx;
    ngx_http_unit_budget_call_t   call;

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx == NULL || ctx->ulcf->limits == NGX_HTTP_UNIT_LIMITS_OFF) {
        return NGX_OK;
    }

    ngx_http_unit_budget_call(ctx, &call);

    call.unit = 1;
    call.priority = !fetch->background;
    call.passed = (ctx->upstream.probe && !fetch->background);

    ngx_http_unit_budget_admit(&call);

    if (call.degraded) {
        ngx_http_unit_budget_degraded(ctx);
    }

    if (call.wait && ctx->ulcf->limits == NGX_HTTP_UNIT_LIMITS_DRY_RUN) {
        ctx->budget.refused = call.refused;
        ngx_http_unit_budget_dry_run(ctx, &call);
        call.wait = 0;
    }

    if (call.wait == 0) {
        fetch->upstream.counted = 1;
        fetch->upstream.probe = call.probe;

        if (call.passed) {

            /* the request is the probe: its first call tells */

            fetch->upstream.probe = 1;
            ctx->upstream.probe = 0;
        }

        return NGX_OK;
    }

    if (ctx->budget.paid && !call.circuit && !fetch->background) {

        /*
         * The request itself was paid for: that is enough to make its token,
         * and it has to pay once more.  So the next try finds a token at
         * least, however small the budget is.
         */

        ctx->budget.paid = NGX_HTTP_UNIT_RATE_UNPAID;
        ctx->budget.owing = 1;
        fetch->upstream.counted = 1;

        return NGX_OK;
    }

    fetch->error = NGX_HTTP_UNIT_FETCH_LIMITED;
    fetch->code = call.circuit ? NGX_HTTP_UNIT_BROKER_UNAVAILABLE
                               : NGX_HTTP_UNIT_RATE_LIMITED;

    if (!fetch->background) {
        ctx->retry_after = ngx_http_unit_budget_seconds(call.wait);
        ctx->budget.refused = call.refused;
        ctx->budget.circuit = call.circuit;
    }

    return NGX_DECLINED;
}


void
ngx_http_unit_budget_resent(ngx_http_request_t *r,
    ngx_http_unit_upstream_t *hu)
{
    ngx_http_unit_ctx_t      *ctx;
    ngx_http_unit_partner_t  *partners;

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx == NULL || !hu->counted) {
        return;
    }

    partners = ctx->umcf->partners.elts;

    ngx_http_unit_budget_charge(ctx->umcf, ctx->identity.partner - partners);
}
