
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


/* the header part of the last good token, as it came, and its kid */
typedef struct {
    size_t    len;                    /* of the part, 0: none yet */
    size_t    kid;                    /* of the kid, which follows it */
    u_char    text[512];
} ngx_http_unit_jwt_last_t;


static ngx_int_t ngx_http_unit_jwt_same_header(ngx_pool_t *pool,
    const u_char *p, size_t len, ngx_http_unit_jwt_t *out);
static void ngx_http_unit_jwt_keep_header(const u_char *p, size_t len,
    const ngx_str_t *kid);
static ngx_int_t ngx_http_unit_jwt_decode(ngx_pool_t *pool, const u_char *p,
    const u_char *last, ngx_str_t *out);
static ngx_int_t ngx_http_unit_jwt_header(ngx_pool_t *pool,
    ngx_str_t *header, ngx_http_unit_jwt_t *out);


static ngx_str_t  ngx_http_unit_jwt_alg = ngx_string("alg");
static ngx_str_t  ngx_http_unit_jwt_crit = ngx_string("crit");
static ngx_str_t  ngx_http_unit_jwt_b64 = ngx_string("b64");
static ngx_str_t  ngx_http_unit_jwt_kid = ngx_string("kid");
static ngx_str_t  ngx_http_unit_jwt_rs256 = ngx_string("RS256");

/* an identity provider writes the same header into all of its tokens */
static ngx_http_unit_jwt_last_t  ngx_http_unit_jwt_last;


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

    payload = memchr(p, '.', last - p);
    if (payload == NULL) {
        return NGX_DECLINED;
    }

    signature = memchr(payload + 1, '.', last - payload - 1);
    if (signature == NULL) {
        return NGX_DECLINED;
    }

    out->signed_part.data = p;
    out->signed_part.len = signature - p;

    rc = ngx_http_unit_jwt_decode(pool, payload + 1, signature,
                                  &out->payload);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_unit_jwt_decode(pool, signature + 1, last, &out->signature);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_unit_jwt_same_header(pool, p, payload - p, out);

    if (rc != NGX_DECLINED) {
        out->reason = NULL;
        return rc;
    }

    rc = ngx_http_unit_jwt_decode(pool, p, payload, &header);
    if (rc != NGX_OK) {
        return rc;
    }

    out->reason = NULL;

    rc = ngx_http_unit_jwt_header(pool, &header, out);

    if (rc == NGX_OK) {
        ngx_http_unit_jwt_keep_header(p, payload - p, &out->kid);
    }

    return rc;
}


/*
 * Is that the header of the last good token?  Then it is not read again.
 * NGX_OK, NGX_DECLINED, NGX_ERROR
 */

static ngx_int_t
ngx_http_unit_jwt_same_header(ngx_pool_t *pool, const u_char *p, size_t len,
    ngx_http_unit_jwt_t *out)
{
    ngx_http_unit_jwt_last_t  *last;

    last = &ngx_http_unit_jwt_last;

    if (len == 0 || len != last->len || ngx_memcmp(p, last->text, len) != 0) {
        return NGX_DECLINED;
    }

    if (last->kid == 0) {
        return NGX_OK;
    }

    out->kid.data = ngx_pnalloc(pool, last->kid);
    if (out->kid.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(out->kid.data, last->text + len, last->kid);
    out->kid.len = last->kid;
    out->has_kid = 1;

    return NGX_OK;
}


static void
ngx_http_unit_jwt_keep_header(const u_char *p, size_t len,
    const ngx_str_t *kid)
{
    ngx_http_unit_jwt_last_t  *last;

    last = &ngx_http_unit_jwt_last;

    if (len + kid->len > sizeof(last->text)) {
        return;
    }

    ngx_memcpy(last->text, p, len);
    last->len = len;
    last->kid = kid->len;

    if (kid->len) {
        ngx_memcpy(last->text + len, kid->data, kid->len);
    }
}


ngx_int_t
ngx_http_unit_jwt_issuer_unsafe(ngx_pool_t *pool, ngx_http_unit_jwt_t *jwt,
    const ngx_http_unit_jwt_rules_t *rules, ngx_str_t *issuer)
{
    ngx_int_t                  rc;
    ngx_http_unit_json_hit_t  *hit;

    ngx_str_null(issuer);
    jwt->rules = NULL;

    rc = ngx_http_unit_json_scan(pool, jwt->payload.data, jwt->payload.len,
                                 rules->watch, &jwt->json);
    if (rc != NGX_OK) {
        return rc;
    }

    jwt->rules = rules;

    hit = ngx_http_unit_json_hit(&jwt->json, rules->id_iss, 0);
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
