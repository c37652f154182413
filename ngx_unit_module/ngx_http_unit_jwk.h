
/*
 * JSON Web Key Sets (RFC 7517): parsing with jansson into keys that OpenSSL
 * can use at once.  Called when a set is loaded, never per request.
 * Pure: the caller reads the file or fetches the set.
 */


#ifndef _NGX_HTTP_UNIT_JWK_H_INCLUDED_
#define _NGX_HTTP_UNIT_JWK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"


#define NGX_HTTP_UNIT_JWK_MAX_KEYS  64
#define NGX_HTTP_UNIT_JWK_MAX_KID   256


typedef struct {
    ngx_str_t             kid;       /* empty when the key has none */
    ngx_http_unit_rsa_t  *rsa;
} ngx_http_unit_jwk_t;


typedef struct {
    ngx_pool_t           *pool;      /* owns everything, the keys too */
    ngx_http_unit_jwk_t  *keys;
    ngx_uint_t            nkeys;     /* usable RS256 keys, at least 1 */
    ngx_uint_t            total;     /* members of "keys", usable or not */
    ngx_uint_t            skipped;   /* total - nkeys */
    ngx_str_t             warning;   /* why the first skipped key was, or "" */
} ngx_http_unit_jwks_t;


/*
 * Parse a key set.
 *
 * A key is skipped (counted, first reason kept) when it cannot serve RS256:
 * kty not RSA, "use" present and not "sig", "key_ops" present without
 * "verify", "alg" present and not "RS256", n or e missing or not canonical
 * base64url, size not 2048 to 8192 bits, private members present (d, p, q,
 * ...: somebody published a private key: refuse to use it), kid not a string
 * or too long.
 *
 * The whole set is refused when it is not a JSON object with a "keys" array
 * (duplicate members refused), has more than NGX_HTTP_UNIT_JWK_MAX_KEYS
 * members, holds a kid twice (usable keys or not), has no usable key.
 *
 *   pool   given to the set on NGX_OK; untouched otherwise (the caller
 *          destroys it in either case when it is done with it)
 *   strict 1 at configuration time: a key smaller than 2048 bits refuses the
 *          whole set instead of being skipped
 *
 * NGX_OK, NGX_DECLINED (*reason: static text), NGX_ERROR
 */
ngx_int_t ngx_http_unit_jwks_parse(ngx_pool_t *pool, const u_char *text,
    size_t len, ngx_uint_t strict, ngx_http_unit_jwks_t **out,
    const char **reason);

/*
 * Choose the key of a token.  With kid: the key that has it.  Without: the
 * only member of the set; kid is mandatory when the set has more than one
 * member (total, not only usable ones).  NULL when there is none.
 */
ngx_http_unit_jwk_t *ngx_http_unit_jwks_find(const ngx_http_unit_jwks_t *set,
    const ngx_str_t *kid, ngx_uint_t has_kid);

/*
 * The key with this thumbprint (ngx_http_unit_rsa_thumbprint), or NULL: tells
 * whether a token verified earlier still has its key in force.
 */
ngx_http_unit_jwk_t *ngx_http_unit_jwks_find_thumbprint(
    const ngx_http_unit_jwks_t *set, const u_char *thumbprint);


#endif /* _NGX_HTTP_UNIT_JWK_H_INCLUDED_ */
