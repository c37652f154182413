
/*
 * The request body where the operation depends on it.
 */


#ifndef _NGX_HTTP_UNIT_BODY_H_INCLUDED_
#define _NGX_HTTP_UNIT_BODY_H_INCLUDED_


#include "ngx_http_unit.h"


/* DESIGN section 6: bodies that policy looks into, in bytes */
#define NGX_HTTP_UNIT_BODY_MAX  (1024 * 1024)


/*
 * What the head alone tells: one media type of the two that are allowed,
 * no content coding, a declared length within the limit.
 *
 * NGX_OK, NGX_DECLINED (*code, *reason)
 */
ngx_int_t ngx_http_unit_body_check(ngx_http_request_t *r,
    ngx_http_unit_code_e *code, const char **reason);

/*
 * Read the whole body; the phases are run again when it is there, with
 * ctx->body_done set.  The body stays with the request for the proxy.
 *
 * For the phase handler to return: NGX_DONE, or a status from 300 on.
 */
ngx_int_t ngx_http_unit_body_read(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * Set ctx->body to the body in one piece, whatever it holds.
 *
 * NGX_OK, NGX_DECLINED (too large), NGX_ERROR
 */
ngx_int_t ngx_http_unit_body_gather(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * Set ctx->body to the body in one piece and ctx->json to what policy watches
 * in it.
 *
 * NGX_OK, NGX_DECLINED (*code, *reason: too large or not strict JSON),
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_body_scan(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);


#endif /* _NGX_HTTP_UNIT_BODY_H_INCLUDED_ */
