
/*
 * The Unit token is in the request's headers from the moment the request is
 * allowed until it has been sent: stock proxy_pass takes it from there.  This
 * keeps it from whatever else looks at them.
 */


#ifndef _NGX_HTTP_UNIT_SCRUB_H_INCLUDED_
#define _NGX_HTTP_UNIT_SCRUB_H_INCLUDED_


#include "ngx_http_unit.h"


/*
 * Take the token out again: there is an answer, so no add_header shows it; or
 * the request was redirected to where the gateway is off.
 */
void ngx_http_unit_scrub(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx);

/*
 * Have it taken out at the end of the request at the latest, before anything
 * is logged.  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_scrub_add(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * Take it out of the headers of a subrequest that is none of our fetches
 * (mirror, auth_request, SSI), or of a fetch that was redirected.
 *
 * NGX_DECLINED (go on) or NGX_ERROR
 */
ngx_int_t ngx_http_unit_scrub_subrequest(ngx_http_request_t *r);


#endif /* _NGX_HTTP_UNIT_SCRUB_H_INCLUDED_ */
