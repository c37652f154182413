
/*
 * Who calls: from the Authorization header to a verified identity.
 */


#ifndef _NGX_HTTP_UNIT_AUTH_H_INCLUDED_
#define _NGX_HTTP_UNIT_AUTH_H_INCLUDED_


#include "ngx_http_unit.h"


/*
 * Authenticate the main request (RFC 6750, RFC 7519, DESIGN 5.1).
 *
 * NGX_OK        ctx->identity and ctx->caller are set
 * NGX_AGAIN     waiting for a key set; call again when resumed
 * NGX_DECLINED  *code is why not (TOKEN_MISSING, TOKEN_INVALID or
 *               BROKER_UNAVAILABLE), *reason a stable word for the log
 * NGX_ERROR     no memory, OpenSSL failed: answer 500
 */
ngx_int_t ngx_http_unit_auth(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason);


#endif /* _NGX_HTTP_UNIT_AUTH_H_INCLUDED_ */
