
/*
 * The token broker: which token goes to Unit, from where it comes.
 */


#ifndef _NGX_HTTP_UNIT_TOKEN_H_INCLUDED_
#define _NGX_HTTP_UNIT_TOKEN_H_INCLUDED_


#include "ngx_http_unit.h"


/*
 * Set ctx->token to "Bearer ..." for the decided operation: the organisation
 * token, or a customer token from the store or newly created at Unit
 * (DESIGN 5.2).
 *
 * NGX_OK        done
 * NGX_AGAIN     waiting; call again when resumed
 * NGX_DECLINED  *code and *reason say why not
 * NGX_ERROR     answer 500
 */
ngx_int_t ngx_http_unit_token(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason);

/*
 * Unit has answered 401 to ctx->token: forget it.
 *
 * Returns 1 when the request is to run through the phases again, either to be
 * sent once more with a new token or to be refused.
 */
ngx_uint_t ngx_http_unit_token_rejected(ngx_http_unit_ctx_t *ctx);

/*
 * Set *bearer to "Bearer " and the organisation token, in the request's pool
 * (the file may change while it is in use).  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_token_org(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_str_t *bearer);

/* ngx_http_unit_file_load_pt for unit_org_token_file; data is the secret. */
ngx_int_t ngx_http_unit_token_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason);


#endif /* _NGX_HTTP_UNIT_TOKEN_H_INCLUDED_ */
