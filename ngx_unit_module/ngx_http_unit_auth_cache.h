
/*
 * Tokens that were seen before.  A verified token is remembered in the shared
 * zone by the SHA-256 of all of it, with the key that verified it and the
 * partner's settings: the entry counts only while both are still in force.  A
 * token whose signature is wrong is remembered, too, in a class of bounded
 * size.
 */


#ifndef _NGX_HTTP_UNIT_AUTH_CACHE_H_INCLUDED_
#define _NGX_HTTP_UNIT_AUTH_CACHE_H_INCLUDED_


#include "ngx_http_unit.h"


/*
 * Look the token with the hash ctx->key up.
 *
 * NGX_OK        verified before: ctx->identity is set
 * NGX_ABORT     known to have a wrong signature
 * NGX_DECLINED  not known, or what is known does not count any more
 * NGX_ERROR     no memory
 */
ngx_int_t ngx_http_unit_auth_cache_find(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/* Remember ctx->identity as that of ctx->key, verified with this key. */
void ngx_http_unit_auth_cache_keep(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_jwk_t *key);

/* Remember that ctx->key has a wrong signature, for the partner's keys. */
void ngx_http_unit_auth_cache_keep_bad(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner);


#endif /* _NGX_HTTP_UNIT_AUTH_CACHE_H_INCLUDED_ */
