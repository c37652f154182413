
/*
 * Counters, see ngx_http_unit_metrics.h.  Requests are counted once, in the
 * log phase, from what their context knows by then; what happens apart from
 * requests is counted where it happens.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_metrics.h"
#include "ngx_http_unit_two_factor.h"


/* changes with the meaning of the words */
#define NGX_HTTP_UNIT_METRICS_LAYOUT  "1"

/* for the slab's own pages */
#define NGX_HTTP_UNIT_METRICS_PAGES   8

/* bytes of the fingerprint in the zone's name */
#define NGX_HTTP_UNIT_METRICS_NAME    8


static ngx_int_t ngx_http_unit_metrics_name(ngx_conf_t *cf,
    const ngx_http_unit_policy_t *policy, ngx_str_t *name);
static ngx_int_t ngx_http_unit_metrics_init_zone(ngx_shm_zone_t *zone,
    void *data);
static size_t ngx_http_unit_metrics_size(const ngx_http_unit_metrics_t *m);
static ngx_int_t ngx_http_unit_metrics_handler(ngx_http_request_t *r);
static void ngx_http_unit_metrics_request(const ngx_http_unit_ctx_t *ctx);
static void ngx_http_unit_metrics_limits(const ngx_http_unit_ctx_t *ctx);
static ngx_uint_t ngx_http_unit_metrics_no_token(
    const ngx_http_unit_ctx_t *ctx);
static void ngx_http_unit_metrics_attempt(ngx_http_unit_metrics_t *metrics,
    ngx_uint_t kind, const ngx_http_upstream_state_t *state);


const ngx_http_unit_metrics_bound_t  ngx_http_unit_metrics_bounds[] = {
    { 5, "0.005" },
    { 10, "0.01" },
    { 25, "0.025" },
    { 50, "0.05" },
    { 100, "0.1" },
    { 250, "0.25" },
    { 500, "0.5" },
    { 1000, "1" },
    { 2500, "2.5" },
    { 5000, "5" },
    { 10000, "10" },
    { 30000, "30" },
    { 60000, "60" },
    { 120000, "120" },
    { (ngx_msec_t) -1, "+Inf" }
};


ngx_int_t
ngx_http_unit_metrics_init(ngx_conf_t *cf, ngx_http_unit_main_conf_t *umcf)
{
    size_t                      size;
    ngx_str_t                   name;
    ngx_shm_zone_t             *zone;
    ngx_http_handler_pt        *h;
    ngx_http_unit_metrics_t    *metrics;
    ngx_http_core_main_conf_t  *cmcf;

    if (!umcf->status) {
        return NGX_OK;
    }

    metrics = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_metrics_t));

    if (metrics == NULL
        || ngx_http_unit_metrics_name(cf, umcf->policy, &name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* one more: for requests without an operation */

    metrics->n = ngx_http_unit_metrics_operation_word(
                        ngx_http_unit_policy_noperations(umcf->policy) + 1, 0);

    size = ngx_align(ngx_http_unit_metrics_size(metrics), ngx_pagesize)
           + NGX_HTTP_UNIT_METRICS_PAGES * ngx_pagesize;

    zone = ngx_shared_memory_add(cf, &name, size, &ngx_http_unit_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    if (zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is already in use", &name);
        return NGX_ERROR;
    }

    zone->init = ngx_http_unit_metrics_init_zone;
    zone->data = metrics;
    metrics->zone = zone;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_unit_metrics_handler;

    umcf->metrics = metrics;

    return NGX_OK;
}


/*
 * The name tells what the words mean.  The same table finds its counters again
 * after a reload; with another one there is another zone, and old workers go
 * on counting in theirs.
 */

static ngx_int_t
ngx_http_unit_metrics_name(ngx_conf_t *cf,
    const ngx_http_unit_policy_t *policy, ngx_str_t *name)
{
    u_char       hash[NGX_HTTP_UNIT_SHA256_LEN], *p;
    ngx_str_t   *fields;
    ngx_uint_t   i, n;

    static const char  prefix[] = "unit_status_";

    n = ngx_http_unit_policy_noperations(policy);

    fields = ngx_palloc(cf->temp_pool,
                        (1 + NGX_HTTP_UNIT_CODES + n) * sizeof(ngx_str_t));
    name->data = ngx_pnalloc(cf->pool, sizeof(prefix)
                                       + 2 * NGX_HTTP_UNIT_METRICS_NAME);

    if (fields == NULL || name->data == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&fields[0], "metrics-" NGX_HTTP_UNIT_METRICS_LAYOUT);

    for (i = 0; i < NGX_HTTP_UNIT_CODES; i++) {
        fields[1 + i] = ngx_http_unit_code(i)->name;
    }

    for (i = 0; i < n; i++) {
        fields[1 + NGX_HTTP_UNIT_CODES + i] =
                               ngx_http_unit_policy_operation(policy, i)->name;
    }

    if (ngx_http_unit_sha256(fields, 1 + NGX_HTTP_UNIT_CODES + n, 0, hash)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_cpymem(name->data, prefix, sizeof(prefix) - 1);
    p = ngx_hex_dump(p, hash, NGX_HTTP_UNIT_METRICS_NAME);

    name->len = p - name->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_metrics_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_unit_metrics_t  *old = data;

    ngx_slab_pool_t             *shpool;
    ngx_http_unit_metrics_t     *metrics;
    ngx_http_unit_metrics_sh_t  *sh;

    metrics = zone->data;

    if (old) {
        metrics->sh = old->sh;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        metrics->sh = shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(shpool, ngx_http_unit_metrics_size(metrics));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->since = ngx_time();

    shpool->data = sh;
    metrics->sh = sh;

    return NGX_OK;
}


static size_t
ngx_http_unit_metrics_size(const ngx_http_unit_metrics_t *m)
{
    return offsetof(ngx_http_unit_metrics_sh_t, words)
           + m->n * sizeof(ngx_atomic_t);
}


void
ngx_http_unit_metrics_count(const ngx_http_unit_main_conf_t *umcf,
    ngx_uint_t word)
{
    if (umcf->metrics) {
        (void) ngx_atomic_fetch_add(&umcf->metrics->sh->words[word], 1);
    }
}


void
ngx_http_unit_metrics_flight(const ngx_http_unit_flight_t *flight,
    ngx_uint_t word)
{
    ngx_http_unit_main_conf_t  *umcf;

    if (flight->req.class == NGX_HTTP_UNIT_SHM_TOKEN) {
        umcf = ngx_http_get_module_main_conf(flight->request,
                                             ngx_http_unit_module);
        ngx_http_unit_metrics_count(umcf, word);
    }
}


static ngx_int_t
ngx_http_unit_metrics_handler(ngx_http_request_t *r)
{
    ngx_http_unit_ctx_t       *ctx;
    ngx_http_unit_loc_conf_t  *ulcf;

    /* with log_subrequest it is called for those, too */

    if (r != r->main) {
        return NGX_OK;
    }

    ctx = ngx_http_unit_get_ctx(r);
    ulcf = ngx_http_get_module_loc_conf(r, ngx_http_unit_module);

    /* what the gateway has not seen, and a refusal of the status itself */

    if (ctx == NULL || ulcf->status) {
        return NGX_OK;
    }

    ngx_http_unit_metrics_request(ctx);

    return NGX_OK;
}


static void
ngx_http_unit_metrics_request(const ngx_http_unit_ctx_t *ctx)
{
    ngx_uint_t                        operation, decision;
    const ngx_http_unit_main_conf_t  *umcf;

    umcf = ctx->umcf;

    operation = ctx->operation ? ctx->operation->index
                          : ngx_http_unit_policy_noperations(umcf->policy);

    /* the client has left, say, or nginx itself has refused it */

    decision = (ctx->decision || ctx->answered
                || ctx->step == NGX_HTTP_UNIT_STEP_DONE)
               ? (ngx_uint_t) ctx->decision : NGX_HTTP_UNIT_METRICS_UNDECIDED;

    ngx_http_unit_metrics_count(umcf,
                    ngx_http_unit_metrics_operation_word(operation, decision));

    if (ctx->token_status != NGX_HTTP_UNIT_TOKEN_NONE) {
        ngx_http_unit_metrics_count(umcf, NGX_HTTP_UNIT_METRICS_TOKEN
                                          + ctx->token_status);
    }

    if (ctx->idem && ctx->idem->status != NGX_HTTP_UNIT_IDEM_NONE) {
        ngx_http_unit_metrics_count(umcf, NGX_HTTP_UNIT_METRICS_IDEM
                                          + ctx->idem->status);
    }

    if (ctx->attempts > 1) {
        (void) ngx_atomic_fetch_add(
                       &umcf->metrics->sh->words[NGX_HTTP_UNIT_METRICS_RETRIES],
                       ctx->attempts - 1);
    }

    if (ctx->decision || ctx->budget.delayed || ctx->budget.dry_run) {
        ngx_http_unit_metrics_limits(ctx);
    }

    if (ngx_http_unit_metrics_no_token(ctx)) {
        ngx_http_unit_metrics_count(umcf, NGX_HTTP_UNIT_METRICS_TOKEN_REFUSED);
    }
}


/* as $unit_limit_status has it */

static void
ngx_http_unit_metrics_limits(const ngx_http_unit_ctx_t *ctx)
{
    const ngx_http_unit_budget_ctx_t  *bc;

    bc = &ctx->budget;

    if (ctx->decision == NGX_HTTP_UNIT_BROKER_UNAVAILABLE && bc->circuit) {
        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_LIMIT
                                            + NGX_HTTP_UNIT_SHM_LIMIT_CIRCUIT);

    } else if (ctx->decision == NGX_HTTP_UNIT_RATE_LIMITED && bc->refused) {

        /* without a limit of ours it is nginx's limit_req */

        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_LIMIT
                                               + bc->refused->kind);

    } else if (bc->dry_run) {
        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_DRY_RUN);
    }

    if (bc->delayed) {
        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_DELAYED);
    }
}


/* was it refused because it needed a token that could not be had */

static ngx_uint_t
ngx_http_unit_metrics_no_token(const ngx_http_unit_ctx_t *ctx)
{
    if (ctx->step != NGX_HTTP_UNIT_STEP_TOKEN || ctx->operation == NULL
        || !ctx->decision
        || ctx->decision == NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED)
    {
        return 0;
    }

    /* of the token calls only that for a plain one is about the broker */

    return ctx->operation->serve == NGX_HTTP_UNIT_SERVE_PROXY
           || (ctx->two_factor && ctx->two_factor->plain);
}


void
ngx_http_unit_metrics_upstream(ngx_http_request_t *r,
    ngx_http_unit_upstream_t *hu)
{
    ngx_uint_t                  kind;
    ngx_http_unit_fetch_t      *fetch;
    ngx_http_upstream_state_t  *state;
    ngx_http_unit_main_conf_t  *umcf;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_unit_module);

    if (umcf->metrics == NULL || r->upstream_states == NULL) {
        return;
    }

    kind = NGX_HTTP_UNIT_METRICS_REQUEST;

    if (r != r->main) {
        fetch = ngx_http_get_module_ctx(r, ngx_http_unit_module);
        kind = fetch->authorization.len ? NGX_HTTP_UNIT_METRICS_BROKER
                                        : NGX_HTTP_UNIT_METRICS_KEY_SERVER;
    }

    state = r->upstream_states->elts;

    /* a further attempt of the request has appended to the list */

    for ( /* void */ ; hu->nstates < r->upstream_states->nelts; hu->nstates++) {

        /* an internal redirect leaves an empty element between two */

        if (state[hu->nstates].peer) {
            ngx_http_unit_metrics_attempt(umcf->metrics, kind,
                                          &state[hu->nstates]);
        }
    }
}


static void
ngx_http_unit_metrics_attempt(ngx_http_unit_metrics_t *metrics,
    ngx_uint_t kind, const ngx_http_upstream_state_t *state)
{
    ngx_uint_t  i, class, word;
    ngx_msec_t  ms;

    class = 0;
    ms = state->response_time;

    if (state->header_time != (ngx_msec_t) -1) {

        /* how long a client takes to read the rest is not Unit's doing */

        class = ngx_min(state->status / 100,
                        NGX_HTTP_UNIT_METRICS_CLASSES - 1);
        ms = state->header_time;
    }

    for (i = 0; ms > ngx_http_unit_metrics_bounds[i].ms; i++) {
        /* void */
    }

    word = ngx_http_unit_metrics_attempt_word(kind, class, i);

    (void) ngx_atomic_fetch_add(&metrics->sh->words[word], 1);

    word = NGX_HTTP_UNIT_METRICS_TIME + kind;

    (void) ngx_atomic_fetch_add(&metrics->sh->words[word], ms);
}


ngx_atomic_uint_t *
ngx_http_unit_metrics_copy(ngx_pool_t *pool,
    const ngx_http_unit_metrics_t *metrics)
{
    ngx_uint_t          i;
    ngx_atomic_uint_t  *words;

    words = ngx_palloc(pool, metrics->n * sizeof(ngx_atomic_uint_t));
    if (words == NULL) {
        return NULL;
    }

    for (i = 0; i < metrics->n; i++) {
        words[i] = metrics->sh->words[i];
    }

    return words;
}
