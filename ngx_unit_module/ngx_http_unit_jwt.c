
/*
 * Compact JWS tokens: split and verify.  Called from the access phase for
 * tokens that are not in the cache of verified ones.
 *
 * Nothing but "kid" (and, to choose a partner, "iss") is used before the
 * signature was found good, and nothing in a token says how it is to be
 * verified.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_json.h"
#include "ngx_http_unit_jwk.h"
#include "ngx_http_unit_jwt.h"


static ngx_int_t ngx_http_unit_jwt_decode(ngx_pool_t *pool, const u_char *p,
    const u_char *last, ngx_str_t *out);
static ngx_int_t ngx_http_unit_jwt_header(ngx_pool_t *pool,
    ngx_str_t *header, ngx_http_unit_jwt_t *out);


static ngx_str_t  ngx_http_unit_jwt_alg = ngx_string("alg");
static ngx_str_t  ngx_http_unit_jwt_crit = ngx_string("crit");
static ngx_str_t  ngx_http_unit_jwt_b64 = ngx_string("b64");
static ngx_str_t  ngx_http_unit_jwt_kid = ngx_string("kid");
static ngx_str_t  ngx_http_unit_jwt_iss = ngx_string("iss");
static ngx_str_t  ngx_http_unit_jwt_rs256 = ngx_string("RS256");


ngx_int_t
ngx_http_unit_jwt_split(ngx_pool_t *pool, const ngx_str_t *token,
    ngx_http_unit_jwt_t *out)
{
    u_char     *p, *last, *payload, *signature;
    ngx_int_t   rc;
    ngx_str_t   header;

    ngx_memzero(out, sizeof(ngx_http_unit_jwt_t));

    if (token->len > NGX_HTTP_UNIT_JWT_MAX_LEN) {
        out->reason = "jwt_too_long";
        return NGX_DECLINED;
    }

    out->reason = "jwt_malformed";

    p = token->data;
    last = p + token->len;

    /* a third dot is not of the alphabet: decoding refuses it */

    payload = ngx_strlchr(p, last, '.');
    if (payload == NULL) {
        return NGX_DECLINED;
    }

    signature = ngx_strlchr(payload + 1, last, '.');
    if (signature == NULL) {
        return NGX_DECLINED;
    }

    out->signed_part.data = p;
    out->signed_part.len = signature - p;

    rc = ngx_http_unit_jwt_decode(pool, p, payload, &header);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_unit_jwt_decode(pool, payload + 1, signature,
                                  &out->payload);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_unit_jwt_decode(pool, signature + 1, last, &out->signature);
    if (rc != NGX_OK) {
        return rc;
    }

    out->reason = NULL;

    return ngx_http_unit_jwt_header(pool, &header, out);
}


ngx_int_t
ngx_http_unit_jwt_issuer_unsafe(ngx_pool_t *pool,
    const ngx_http_unit_jwt_t *jwt, ngx_str_t *issuer)
{
    ngx_int_t                    rc, id;
    ngx_http_unit_json_t         json;
    ngx_http_unit_json_hit_t    *hit;
    ngx_http_unit_json_watch_t  *watch;

    ngx_str_null(issuer);

    watch = ngx_http_unit_json_watch_create(pool, 0);

    if (watch == NULL) {
        return NGX_ERROR;
    }

    id = ngx_http_unit_json_watch_member(watch, &ngx_http_unit_jwt_iss);
    if (id == NGX_ERROR) {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_json_scan(pool, jwt->payload.data, jwt->payload.len,
                                 watch, &json);
    if (rc != NGX_OK) {
        return rc;
    }

    hit = ngx_http_unit_json_hit(&json, id, 0);
    if (hit == NULL) {
        return NGX_DECLINED;
    }

    return ngx_http_unit_json_string(pool, hit, issuer);
}


ngx_int_t
ngx_http_unit_jwt_verify(ngx_http_unit_jwt_t *jwt,
    const ngx_http_unit_jwks_t *set, ngx_http_unit_jwk_t **key)
{
    ngx_int_t             rc;
    ngx_http_unit_jwk_t  *jwk;

    *key = NULL;

    jwk = ngx_http_unit_jwks_find(set, &jwt->kid, jwt->has_kid);

    if (jwk == NULL) {
        jwt->reason = "jwt_key_unknown";
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_rs256_verify(jwk->rsa, jwt->signed_part.data,
                                    jwt->signed_part.len,
                                    jwt->signature.data, jwt->signature.len);
    if (rc == NGX_OK) {
        *key = jwk;

    } else if (rc == NGX_DECLINED) {
        jwt->reason = "jwt_signature";
    }

    return rc;
}


static ngx_int_t
ngx_http_unit_jwt_decode(ngx_pool_t *pool, const u_char *p,
    const u_char *last, ngx_str_t *out)
{
    ssize_t  n;

    if (p == last) {
        return NGX_DECLINED;
    }

    out->data = ngx_pnalloc(pool, 3 * (last - p + 3) / 4);
    if (out->data == NULL) {
        return NGX_ERROR;
    }

    n = ngx_http_unit_base64url_decode(out->data, p, last - p);
    if (n < 0) {
        return NGX_DECLINED;
    }

    out->len = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_jwt_header(ngx_pool_t *pool, ngx_str_t *header,
    ngx_http_unit_jwt_t *out)
{
    ngx_int_t                    rc, alg, crit, b64, kid;
    ngx_http_unit_json_t         json;
    ngx_http_unit_json_hit_t    *hit;
    ngx_http_unit_json_watch_t  *watch;

    watch = ngx_http_unit_json_watch_create(pool, 0);

    if (watch == NULL) {
        return NGX_ERROR;
    }

    alg = ngx_http_unit_json_watch_member(watch, &ngx_http_unit_jwt_alg);
    crit = ngx_http_unit_json_watch_member(watch, &ngx_http_unit_jwt_crit);
    b64 = ngx_http_unit_json_watch_member(watch, &ngx_http_unit_jwt_b64);
    kid = ngx_http_unit_json_watch_member(watch, &ngx_http_unit_jwt_kid);

    if (alg == NGX_ERROR || crit == NGX_ERROR || b64 == NGX_ERROR
        || kid == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_json_scan(pool, header->data, header->len, watch,
                                 &json);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK || json.type != NGX_HTTP_UNIT_JSON_OBJECT) {
        out->reason = "jwt_header";
        return NGX_DECLINED;
    }

    hit = ngx_http_unit_json_hit(&json, alg, 0);

    if (hit == NULL
        || !ngx_http_unit_json_equal(hit, &ngx_http_unit_jwt_rs256))
    {
        out->reason = "jwt_alg";
        return NGX_DECLINED;
    }

    /* we understand no extension; "b64" would change what is signed */

    if (ngx_http_unit_json_hit(&json, crit, 0) != NULL
        || ngx_http_unit_json_hit(&json, b64, 0) != NULL)
    {
        out->reason = "jwt_crit";
        return NGX_DECLINED;
    }

    hit = ngx_http_unit_json_hit(&json, kid, 0);
    if (hit == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_unit_json_string(pool, hit, &out->kid);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK
        || out->kid.len == 0 || out->kid.len > NGX_HTTP_UNIT_JWK_MAX_KID)
    {
        out->reason = "jwt_kid";
        return NGX_DECLINED;
    }

    out->has_kid = 1;

    return NGX_OK;
}
