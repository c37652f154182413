
/*
 * The request once more after an answer of Unit's, see ngx_http_unit_replay.h.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_list.h"
#include "ngx_http_unit_replay.h"
#include "ngx_http_unit_retry.h"
#include "ngx_http_unit_token.h"


static ngx_int_t ngx_http_unit_replay_redirect(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);


ngx_int_t
ngx_http_unit_replay(ngx_http_request_t *r)
{
    ngx_str_t             retry_after;
    ngx_uint_t            status;
    ngx_http_unit_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_unit_module);
    status = r->upstream->headers_in.status_n;

    if (status < NGX_HTTP_BAD_REQUEST) {
        return NGX_OK;
    }

    if (status == NGX_HTTP_UNAUTHORIZED) {

        if (!ngx_http_unit_token_rejected(ctx)) {
            return NGX_OK;
        }

        ctx->replay = 1;

    } else {
        retry_after = ngx_http_unit_replay_retry_after(r->upstream);

        if (!ngx_http_unit_retry_plan(r, ctx, status, &retry_after)) {
            return NGX_OK;
        }
    }

    return ngx_http_unit_replay_redirect(r, ctx);
}


void
ngx_http_unit_replay_forget(ngx_http_request_t *r)
{
    ngx_http_unit_ctx_t  *ctx;

    /*
     * A filter that ends the answer its own way clears the contexts; who calls
     * this has found ours again by then, so that it is not NULL today
     */

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx) {
        ctx->replay = 0;
        ctx->retry = 0;
    }
}


ngx_str_t
ngx_http_unit_replay_retry_after(ngx_http_upstream_t *u)
{
    ngx_str_t                   none;
    ngx_table_elt_t            *h;
    ngx_http_unit_list_walk_t   walk;

    for (h = ngx_http_unit_list_first(&u->headers_in.headers, &walk);
         h;
         h = ngx_http_unit_list_next(h, &walk))
    {
        if (h->key.len == sizeof("Retry-After") - 1
            && ngx_strncasecmp(h->key.data, (u_char *) "Retry-After",
                               sizeof("Retry-After") - 1)
               == 0)
        {
            return h->value;
        }
    }

    ngx_str_null(&none);

    return none;
}


/*
 * The request runs through the phases once more, by the core's own means for
 * X-Accel-Redirect, with our URI as its target.
 */

static ngx_int_t
ngx_http_unit_replay_redirect(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx)
{
    u_char                    *p;
    ngx_table_elt_t           *h;
    ngx_http_upstream_t       *u;
    ngx_http_upstream_conf_t  *conf;

    u = r->upstream;

    if (u->conf->intercept_errors) {

        /* error pages are for the answer that is the last one */

        conf = ngx_palloc(r->pool, sizeof(ngx_http_upstream_conf_t));
        if (conf == NULL) {
            return NGX_ERROR;
        }

        *conf = *u->conf;
        conf->intercept_errors = 0;

        u->conf = conf;
    }

    h = ngx_pcalloc(r->pool, sizeof(ngx_table_elt_t));
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->value.len = ctx->uri.path.len + (ctx->query.len ? 1 + ctx->query.len
                                                       : 0);
    h->value.data = ngx_pnalloc(r->pool, h->value.len);
    if (h->value.data == NULL) {
        return NGX_ERROR;
    }

    /* the canonical path needs no escaping */

    p = ngx_copy(h->value.data, ctx->uri.path.data, ctx->uri.path.len);

    if (ctx->query.len) {
        *p++ = '?';
        ngx_memcpy(p, ctx->query.data, ctx->query.len);
    }

    u->headers_in.x_accel_redirect = h;

    /* nothing of the refused answer is to survive the redirect */

    u->headers_in.headers.part.nelts = 0;
    u->headers_in.headers.part.next = NULL;

    return NGX_OK;
}
