
/*
 * Early data (RFC 8470): a request that may be sent again by anybody who has
 * seen it on its way.
 */


#ifndef _NGX_HTTP_UNIT_EARLY_H_INCLUDED_
#define _NGX_HTTP_UNIT_EARLY_H_INCLUDED_


#include "ngx_http_unit.h"


/*
 * Refuse a write that a server in front of us has taken from early data, as
 * its header Early-Data says.  Our own TLS has none: "nginx -t" refuses
 * ssl_early_data.
 *
 * NGX_OK or NGX_DECLINED (*code, *reason)
 */
ngx_int_t ngx_http_unit_early(ngx_http_request_t *r,
    ngx_http_unit_code_e *code, const char **reason);


#endif /* _NGX_HTTP_UNIT_EARLY_H_INCLUDED_ */
