
/*
 * Hooks on stock upstreams, see ngx_http_unit_upstream.h.  A load balancer's
 * peer.init is the documented place where a module meets r->upstream before
 * anything is sent; from there the protocol callbacks are wrapped.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_metrics.h"
#include "ngx_http_unit_replay.h"


static ngx_int_t ngx_http_unit_upstream_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_http_unit_upstream_t *ngx_http_unit_upstream_get(
    ngx_http_request_t *r);
static ngx_http_unit_upstream_t *ngx_http_unit_upstream_ended(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_unit_upstream_permitted(ngx_http_request_t *r);
static ngx_int_t ngx_http_unit_upstream_uncached(ngx_http_request_t *r);
static ngx_int_t ngx_http_unit_upstream_conf(ngx_http_request_t *r,
    ngx_http_unit_upstream_t *hu);
static void ngx_http_unit_upstream_last_try(ngx_http_upstream_t *u,
    ngx_http_unit_upstream_t *hu);
static ngx_int_t ngx_http_unit_upstream_process_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_unit_upstream_reinit(ngx_http_request_t *r);
static void ngx_http_unit_upstream_finalize(ngx_http_request_t *r,
    ngx_int_t rc);


extern ngx_module_t  ngx_http_proxy_module;


ngx_int_t
ngx_http_unit_upstream_check(ngx_conf_t *cf)
{
    const char                *what;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_upstream_conf_t  *conf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* the first member of proxy's own configuration, as of all such modules */

    conf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_proxy_module);

    what = NULL;

    if (clcf->handler && conf->upstream == NULL) {
        what = "needs \"proxy_pass\" without variables";
    }

    if (conf->store > 0) {
        what = "and \"proxy_store\" cannot go together";
    }

#if (NGX_HTTP_CACHE)

    if (conf->cache > 0) {
        what = "and \"proxy_cache\" cannot go together";
    }

#endif

    if (what) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"unit_gateway\" %s, in location \"%V\"", what,
                           &clcf->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_upstream_init(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_http_unit_main_conf_t       *umcf;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *main;
    ngx_http_unit_upstream_peer_t   *peer;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_unit_module);
    main = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    uscfp = main->upstreams.elts;

    for (i = 0; i < main->upstreams.nelts; i++) {

        if (uscfp[i]->peer.init == NULL) {
            continue;
        }

        peer = ngx_array_push(&umcf->upstreams);
        if (peer == NULL) {
            return NGX_ERROR;
        }

        peer->uscf = uscfp[i];
        peer->init = uscfp[i]->peer.init;

        uscfp[i]->peer.init = ngx_http_unit_upstream_init_peer;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_upstream_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                      i;
    ngx_http_upstream_t            *u;
    ngx_http_unit_upstream_t       *hu;
    ngx_http_unit_main_conf_t      *umcf;
    ngx_http_unit_upstream_peer_t  *peer;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_unit_module);
    peer = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {
        if (peer[i].uscf == us) {
            break;
        }
    }

    if (i == umcf->upstreams.nelts || peer[i].init(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    hu = ngx_http_unit_upstream_get(r);

    if (hu == NULL) {
        return NGX_OK;
    }

    if (ngx_http_unit_upstream_permitted(r) != NGX_OK
        || ngx_http_unit_upstream_conf(r, hu) != NGX_OK)
    {
        return NGX_ERROR;
    }

    u = r->upstream;

    hu->process_header = u->process_header;
    hu->reinit_request = u->reinit_request;
    hu->finalize_request = u->finalize_request;
    hu->invalid = 0;
    hu->answered = 0;
    hu->hooked = 1;

    u->process_header = ngx_http_unit_upstream_process_header;
    u->reinit_request = ngx_http_unit_upstream_reinit;
    u->finalize_request = ngx_http_unit_upstream_finalize;

    if (r == r->main && hu->write && !r->request_body_no_buffering) {

        /*
         * The core has begun to watch for a client that leaves; its write goes
         * on, so that its outcome is known to who asks again
         */

        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_request_empty_handler;
    }

    return NGX_OK;
}


/* of the gateway's main request or of a fetch; NULL for all others */

static ngx_http_unit_upstream_t *
ngx_http_unit_upstream_get(ngx_http_request_t *r)
{
    ngx_http_unit_ctx_t       *ctx;
    ngx_http_unit_fetch_t     *fetch;
    ngx_http_unit_loc_conf_t  *ulcf;

    if (r != r->main) {
        fetch = ngx_http_get_module_ctx(r, ngx_http_unit_module);
        return fetch ? &fetch->upstream : NULL;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_unit_module);
    ulcf = ngx_http_get_module_loc_conf(r, ngx_http_unit_module);

    /* an error page may come from an upstream, too: it is not Unit */

    if (ctx == NULL || ctx->step != NGX_HTTP_UNIT_STEP_DONE || !ulcf->enable) {
        return NULL;
    }

    return &ctx->upstream;
}


/*
 * The same at the end, which is ours if the beginning was: a filter that ends
 * an answer its own way has cleared the contexts, and an error page may have
 * taken the request to another location; held by t/232-ended-answers.t
 */

static ngx_http_unit_upstream_t *
ngx_http_unit_upstream_ended(ngx_http_request_t *r)
{
    ngx_http_unit_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_unit_upstream_get(r);
    }

    ctx = ngx_http_unit_get_ctx(r);

    return ctx ? &ctx->upstream : NULL;
}


/*
 * The last look before anything is sent: a proxy_pass with a URI, or whatever
 * else there may be, must not make another request of what was authorised.
 */

static ngx_int_t
ngx_http_unit_upstream_permitted(ngx_http_request_t *r)
{
    size_t                  len;
    ngx_str_t              *uri, *path, *query;
    ngx_http_unit_ctx_t    *ctx;
    ngx_http_unit_fetch_t  *fetch;

    if (r != r->main) {
        fetch = ngx_http_get_module_ctx(r, ngx_http_unit_module);

        return fetch->authorization.len ? ngx_http_unit_upstream_uncached(r)
                                        : NGX_OK;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_unit_module);

    uri = &r->upstream->uri;
    path = &ctx->uri.path;
    query = &ctx->query;

    len = path->len + (query->len ? 1 + query->len : 0);

    if (uri->len == len
        && ngx_memcmp(uri->data, path->data, path->len) == 0
        && (query->len == 0
            || (uri->data[path->len] == '?'
                && ngx_memcmp(uri->data + path->len + 1, query->data,
                              query->len)
                   == 0)))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "unit: \"proxy_pass\" would send another URI than was "
                  "authorised, id: %V", &ctx->request_id);

    return NGX_ERROR;
}


/* what comes back may be a token; a key set may be kept as one likes */

static ngx_int_t
ngx_http_unit_upstream_uncached(ngx_http_request_t *r)
{
    ngx_http_upstream_conf_t  *conf;

    conf = r->upstream->conf;

    if (conf->store == 0
#if (NGX_HTTP_CACHE)
        && conf->cache == 0
#endif
       )
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "unit: the location of \"unit_org_token_request\" must "
                  "neither cache nor store");

    return NGX_ERROR;
}


/* settings of this request: configuration itself is never written */

static ngx_int_t
ngx_http_unit_upstream_conf(ngx_http_request_t *r,
    ngx_http_unit_upstream_t *hu)
{
    ngx_msec_t                 timeout;
    ngx_uint_t                 next;
    ngx_http_upstream_t       *u;
    ngx_http_upstream_conf_t  *conf;

    u = r->upstream;
    timeout = hu->timeout ? hu->timeout : u->conf->read_timeout;

    /*
     * Only we know what may be repeated and how often: nginx would take PUT
     * and DELETE for it, which Unit does not.  With one try left nginx comes
     * to a second one when a kept connection turns out to be closed, and in no
     * other case.
     */

    next = hu->repeatable ? NGX_HTTP_UPSTREAM_FT_ERROR
                            |NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT
                          : 0;
    u->peer.tries = 1;

    if (u->conf->read_timeout == timeout
        && u->conf->next_upstream == 0
        && next == 0
        && (r != r->main
            || !(u->conf->ignore_headers & NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT)))
    {
        return NGX_OK;
    }

    conf = ngx_palloc(r->pool, sizeof(ngx_http_upstream_conf_t));
    if (conf == NULL) {
        return NGX_ERROR;
    }

    *conf = *u->conf;

    conf->read_timeout = timeout;
    conf->next_upstream = next;

    /* the replay is a redirect of our own; Unit's are dropped below */
    conf->ignore_headers &= ~NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT;

    u->conf = conf;

    return NGX_OK;
}


/* an answer has begun, or this is the second try: there is no other one */

static void
ngx_http_unit_upstream_last_try(ngx_http_upstream_t *u,
    ngx_http_unit_upstream_t *hu)
{
    if (hu->repeatable) {
        hu->repeatable = 0;

        /* a copy of this request's own */
        u->conf->next_upstream = 0;
    }
}


static ngx_int_t
ngx_http_unit_upstream_process_header(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_str_t                  retry_after;
    ngx_uint_t                 version;
    ngx_http_upstream_t       *u;
    ngx_http_unit_upstream_t  *hu;

    u = r->upstream;
    hu = ngx_http_unit_upstream_get(r);

    if (hu == NULL || !hu->hooked) {
        return NGX_ERROR;
    }

    version = r->http_version;

    ngx_http_unit_upstream_last_try(u, hu);

    rc = hu->process_header(r);

    /* the status line's parser replaces itself by that of the headers */

    if (u->process_header != ngx_http_unit_upstream_process_header) {
        hu->process_header = u->process_header;
        u->process_header = ngx_http_unit_upstream_process_header;
    }

    if (rc == NGX_HTTP_UPSTREAM_INVALID_HEADER
        || (rc == NGX_AGAIN && u->buffer.last == u->buffer.end))
    {
        /* not a header, or more than there is room for */
        hu->invalid = 1;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (r->http_version != version) {

        /*
         * proxy (as of 1.22) takes an answer without a status line for HTTP/0.9
         * and would pass whatever it is as a body without a header;
         * held by t/220-broker-errors.t
         */

        r->http_version = version;
        hu->invalid = 1;

        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    if (u->headers_in.status_n < NGX_HTTP_OK) {

        /*
         * We ask for no interim response and for no other protocol; proxy (as
         * of 1.22) would take one for the final response
         */

        hu->invalid = 1;

        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    hu->answered = 1;

    if (r->background) {

        /*
         * Nothing of a background subrequest is written before all of it has
         * come: what does not fit into the event pipe's buffers would wait for
         * ever; held by t/110-keys.t
         */

        u->buffering = 0;
    }

    u->headers_in.x_accel_redirect = NULL;

    if (hu->counted && u->headers_in.status_n == NGX_HTTP_TOO_MANY_REQUESTS) {
        retry_after = ngx_http_unit_replay_retry_after(u);
        ngx_http_unit_budget_pause(r, &retry_after);
    }

    return (r == r->main) ? ngx_http_unit_replay(r) : NGX_OK;
}


static ngx_int_t
ngx_http_unit_upstream_reinit(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_upstream_t       *u;
    ngx_http_unit_upstream_t  *hu;

    u = r->upstream;
    hu = ngx_http_unit_upstream_get(r);

    if (hu == NULL || !hu->hooked) {
        return NGX_ERROR;
    }

    ngx_http_unit_upstream_last_try(u, hu);

    rc = hu->reinit_request(r);

    hu->process_header = u->process_header;
    u->process_header = ngx_http_unit_upstream_process_header;

    ngx_http_unit_budget_resent(r, hu);

    return rc;
}


static void
ngx_http_unit_upstream_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_unit_upstream_t         *hu;
    ngx_http_unit_breaker_outcome_e   outcome;

    hu = ngx_http_unit_upstream_ended(r);

    if (hu == NULL || !hu->hooked) {
        return;
    }

    hu->finalize_request(r, rc);

    ngx_http_unit_metrics_upstream(r, hu);

    if (r == r->main && rc != NGX_DECLINED) {

        /* any other end than a redirect: an error page, a failed allocation */

        ngx_http_unit_replay_forget(r);
    }

    if (hu->answered) {
        outcome = (r->upstream->headers_in.status_n
                   >= NGX_HTTP_INTERNAL_SERVER_ERROR)
                  ? NGX_HTTP_UNIT_BREAKER_FAILURE
                  : NGX_HTTP_UNIT_BREAKER_SUCCESS;

    } else {
        outcome = (rc == NGX_HTTP_BAD_GATEWAY
                   || rc == NGX_HTTP_GATEWAY_TIME_OUT)
                  ? NGX_HTTP_UNIT_BREAKER_FAILURE
                  : NGX_HTTP_UNIT_BREAKER_UNKNOWN;
    }

    ngx_http_unit_budget_done(r, hu, outcome);
}
