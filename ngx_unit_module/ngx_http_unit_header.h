
/*
 * Request headers: what may go to Unit, the request id, the path and query
 * that go upstream.
 */


#ifndef _NGX_HTTP_UNIT_HEADER_H_INCLUDED_
#define _NGX_HTTP_UNIT_HEADER_H_INCLUDED_


#include "ngx_http_unit.h"


/* "-", for log lines */
extern ngx_str_t  ngx_http_unit_none;


/* Draw the random prefix of this process' request ids.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_unit_header_init_process(ngx_cycle_t *cycle);

/*
 * Set ctx->request_id: the client's X-Request-Id if there is exactly one and
 * it is 16 to 64 of [A-Za-z0-9-], else a new one of 32 hex digits.
 */
void ngx_http_unit_header_request_id(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * Build the allow-list of a location: DESIGN section 13 plus the names of
 * unit_pass_header.  Refuses names that are hop-by-hop or ours.
 *
 *   names  of ngx_http_unit_name_t, or NULL
 *
 * Returns the array, or NULL after logging through cf.
 */
ngx_array_t *ngx_http_unit_header_list(ngx_conf_t *cf, ngx_array_t *names);

/*
 * The only element with this lower-case name.
 *
 * NGX_OK        *h is it
 * NGX_DECLINED  there is none: *h is NULL
 * NGX_ABORT     there are several
 */
ngx_int_t ngx_http_unit_header_single(ngx_http_request_t *r,
    const char *lowcase, size_t len, ngx_table_elt_t **h);

/*
 * Replace the client's headers by those that may go to Unit, with our
 * Authorization and X-Request-Id, and the request's path and query by the
 * canonical ones that were authorised.
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_header_forward(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);


#endif /* _NGX_HTTP_UNIT_HEADER_H_INCLUDED_ */
