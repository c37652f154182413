
/*
 * Which Unit customer the caller is (DESIGN 5.5).
 */


#ifndef _NGX_HTTP_UNIT_CUSTOMER_H_INCLUDED_
#define _NGX_HTTP_UNIT_CUSTOMER_H_INCLUDED_


#include "ngx_http_unit.h"


/*
 * Find the caller's customer: from the token's claim, or by asking Unit once
 * for the customers of this jwtSubject (cached); among several the one that
 * the Unit-Customer header names.  Sets ctx->customer; leaves it empty for
 * organisation partners.
 *
 * NGX_OK, NGX_AGAIN (call again when resumed), NGX_DECLINED (*code, *reason),
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_customer(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * Pin the path and the query to the caller: "me" in the place of the customer
 * id becomes the id (in ctx->uri), any other customer's id is refused.
 *
 * NGX_OK, NGX_DECLINED (*code, *reason), NGX_ERROR
 */
ngx_int_t ngx_http_unit_customer_pin(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_int_t segment, ngx_http_unit_code_e *code,
    const char **reason);


#endif /* _NGX_HTTP_UNIT_CUSTOMER_H_INCLUDED_ */
