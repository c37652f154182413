
/*
 * The context of a request: made once, found again after internal redirects,
 * wiped at the end.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_header.h"


static void ngx_http_unit_ctx_cleanup(void *data);


ngx_http_unit_ctx_t *
ngx_http_unit_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t   *cln;
    ngx_http_unit_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_unit_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    /* a redirect has cleared the contexts: the pool remembers, as in realip */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_unit_ctx_cleanup) {
            ctx = cln->data;
            ngx_http_set_ctx(r, ctx, ngx_http_unit_module);
            return ctx;
        }
    }

    return NULL;
}


ngx_http_unit_ctx_t *
ngx_http_unit_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t   *cln;
    ngx_http_unit_ctx_t  *ctx;

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx) {
        return ctx;
    }

    r = r->main;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_unit_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;

    ngx_memzero(ctx, sizeof(ngx_http_unit_ctx_t));

    ctx->request = r;
    ctx->umcf = ngx_http_get_module_main_conf(r, ngx_http_unit_module);
    ctx->ulcf = ngx_http_get_module_loc_conf(r, ngx_http_unit_module);
    ctx->verdict.scope = -1;

    ngx_http_unit_header_request_id(r, ctx);

    cln->handler = ngx_http_unit_ctx_cleanup;

    ngx_http_set_ctx(r, ctx, ngx_http_unit_module);

    return ctx;
}


static void
ngx_http_unit_ctx_cleanup(void *data)
{
    ngx_http_unit_ctx_t  *ctx = data;

    /* pools do not wipe (STYLE 2.8) */

    if (ctx->token.len) {
        ngx_explicit_memzero(ctx->token.data, ctx->token.len);
    }
}
