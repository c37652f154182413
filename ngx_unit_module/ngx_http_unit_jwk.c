
/*
 * JSON Web Key Sets.  Called while configuration is read and when a key set
 * was fetched or its file changed, never per request: jansson's tree is fine
 * here, and freed before the function returns.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_jwk.h"


/* base64url of 8192 bits has 1366 characters; a few for leading zeros */
#define NGX_HTTP_UNIT_JWK_MAX_NUMBER  1408


static ngx_int_t ngx_http_unit_jwk_collect(ngx_http_unit_jwks_t *set,
    json_t *keys, ngx_uint_t strict, const char **reason);
static ngx_int_t ngx_http_unit_jwk_duplicate(json_t *keys);
static ngx_int_t ngx_http_unit_jwk_parse(ngx_http_unit_jwks_t *set,
    json_t *jwk, ngx_uint_t strict, const char **reason);
static const char *ngx_http_unit_jwk_purpose(json_t *jwk);
static ngx_int_t ngx_http_unit_jwk_number(ngx_pool_t *pool, json_t *value,
    ngx_str_t *out);
static ngx_uint_t ngx_http_unit_jwk_small(ngx_str_t *n);
static ngx_uint_t ngx_http_unit_jwk_is(json_t *value, const char *text);
static ngx_int_t ngx_http_unit_jwk_warn(ngx_http_unit_jwks_t *set,
    ngx_uint_t i, const char *why);


/* RFC 7518 6.3.2 and 6.4.1: nobody may publish these */
static const char  *ngx_http_unit_jwk_private[] = {
    "d", "p", "q", "dp", "dq", "qi", "oth", "k", NULL
};


ngx_int_t
ngx_http_unit_jwks_parse(ngx_pool_t *pool, const u_char *text, size_t len,
    ngx_uint_t strict, ngx_http_unit_jwks_t **out, const char **reason)
{
    json_t                *root, *keys;
    ngx_int_t              rc;
    json_error_t           error;
    ngx_http_unit_jwks_t  *set;

    *out = NULL;
    *reason = NULL;

    set = ngx_pcalloc(pool, sizeof(ngx_http_unit_jwks_t));
    if (set == NULL) {
        return NGX_ERROR;
    }

    root = json_loadb((const char *) text, len, JSON_REJECT_DUPLICATES,
                      &error);

    if (root == NULL) {

        if (json_error_code(&error) == json_error_out_of_memory) {
            return NGX_ERROR;
        }

        *reason = "not valid JSON";
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    keys = json_object_get(root, "keys");

    if (!json_is_array(keys)) {
        *reason = "no object with a \"keys\" array";
        goto done;
    }

    if (json_array_size(keys) > NGX_HTTP_UNIT_JWK_MAX_KEYS) {
        *reason = "too many keys";
        goto done;
    }

    if (ngx_http_unit_jwk_duplicate(keys)) {
        *reason = "duplicate \"kid\"";
        goto done;
    }

    set->pool = pool;
    set->total = json_array_size(keys);

    rc = ngx_http_unit_jwk_collect(set, keys, strict, reason);

    if (rc == NGX_OK) {
        *out = set;
    }

done:

    json_decref(root);

    return rc;
}


ngx_http_unit_jwk_t *
ngx_http_unit_jwks_find(const ngx_http_unit_jwks_t *set, const ngx_str_t *kid,
    ngx_uint_t has_kid)
{
    ngx_uint_t  i;

    if (!has_kid) {
        return (set->total == 1 && set->nkeys == 1) ? &set->keys[0] : NULL;
    }

    /* an empty one would find a key that has none */

    if (kid->len == 0) {
        return NULL;
    }

    for (i = 0; i < set->nkeys; i++) {

        if (set->keys[i].kid.len == kid->len
            && ngx_memcmp(set->keys[i].kid.data, kid->data, kid->len) == 0)
        {
            return &set->keys[i];
        }
    }

    return NULL;
}


ngx_http_unit_jwk_t *
ngx_http_unit_jwks_find_thumbprint(const ngx_http_unit_jwks_t *set,
    const u_char *thumbprint)
{
    ngx_uint_t  i;

    for (i = 0; i < set->nkeys; i++) {

        if (ngx_memcmp(ngx_http_unit_rsa_thumbprint(set->keys[i].rsa),
                       thumbprint, NGX_HTTP_UNIT_SHA256_LEN)
            == 0)
        {
            return &set->keys[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_unit_jwk_collect(ngx_http_unit_jwks_t *set, json_t *keys,
    ngx_uint_t strict, const char **reason)
{
    size_t       i;
    ngx_int_t    rc;
    const char  *why;

    if (set->total != 0) {
        set->keys = ngx_pcalloc(set->pool,
                                set->total * sizeof(ngx_http_unit_jwk_t));
        if (set->keys == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < set->total; i++) {
        rc = ngx_http_unit_jwk_parse(set, json_array_get(keys, i), strict,
                                     &why);

        if (rc == NGX_OK) {
            continue;
        }

        if (rc == NGX_ABORT) {
            *reason = why;
            return NGX_DECLINED;
        }

        if (rc == NGX_ERROR
            || ngx_http_unit_jwk_warn(set, i + 1, why) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (set->nkeys == 0) {
        *reason = "no usable RS256 key";
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* at most NGX_HTTP_UNIT_JWK_MAX_KEYS members: quadratic is good enough */

static ngx_int_t
ngx_http_unit_jwk_duplicate(json_t *keys)
{
    size_t   i, j;
    json_t  *a, *b;

    for (i = 1; i < json_array_size(keys); i++) {
        a = json_object_get(json_array_get(keys, i), "kid");

        if (!json_is_string(a)) {
            continue;
        }

        for (j = 0; j < i; j++) {
            b = json_object_get(json_array_get(keys, j), "kid");

            if (json_is_string(b) && json_equal(a, b)) {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * Add one key to the set.  NGX_DECLINED: skip it, NGX_ABORT: refuse the set,
 * both with *reason.
 */

static ngx_int_t
ngx_http_unit_jwk_parse(ngx_http_unit_jwks_t *set, json_t *jwk,
    ngx_uint_t strict, const char **reason)
{
    json_t               *kid;
    ngx_int_t             rc;
    ngx_str_t             n, e;
    ngx_http_unit_jwk_t  *key;

    *reason = ngx_http_unit_jwk_purpose(jwk);
    if (*reason != NULL) {
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_jwk_number(set->pool, json_object_get(jwk, "n"), &n);

    if (rc == NGX_OK) {
        rc = ngx_http_unit_jwk_number(set->pool, json_object_get(jwk, "e"),
                                      &e);
    }

    if (rc != NGX_OK) {
        *reason = "\"n\" or \"e\" is not a base64url number";
        return rc;
    }

    key = &set->keys[set->nkeys];

    rc = ngx_http_unit_rsa_create(set->pool, n.data, n.len, e.data, e.len,
                                  &key->rsa, reason);

    if (rc == NGX_DECLINED && strict && ngx_http_unit_jwk_small(&n)) {
        return NGX_ABORT;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    kid = json_object_get(jwk, "kid");

    if (kid != NULL) {
        key->kid.len = json_string_length(kid);
        key->kid.data = ngx_pnalloc(set->pool, key->kid.len);

        if (key->kid.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(key->kid.data, json_string_value(kid), key->kid.len);
    }

    set->nkeys++;

    return NGX_OK;
}


/* May the key verify RS256 signatures?  NULL or why not. */

static const char *
ngx_http_unit_jwk_purpose(json_t *jwk)
{
    size_t       i, len;
    json_t      *value;
    ngx_uint_t   n;

    if (!json_is_object(jwk)) {
        return "not an object";
    }

    if (!ngx_http_unit_jwk_is(json_object_get(jwk, "kty"), "RSA")) {
        return "\"kty\" is not \"RSA\"";
    }

    for (n = 0; ngx_http_unit_jwk_private[n] != NULL; n++) {

        if (json_object_get(jwk, ngx_http_unit_jwk_private[n]) != NULL) {
            return "a private key was published";
        }
    }

    value = json_object_get(jwk, "use");

    if (value != NULL && !ngx_http_unit_jwk_is(value, "sig")) {
        return "\"use\" is not \"sig\"";
    }

    value = json_object_get(jwk, "alg");

    if (value != NULL && !ngx_http_unit_jwk_is(value, "RS256")) {
        return "\"alg\" is not \"RS256\"";
    }

    value = json_object_get(jwk, "key_ops");

    if (value != NULL) {

        for (i = 0; i < json_array_size(value); i++) {

            if (ngx_http_unit_jwk_is(json_array_get(value, i), "verify")) {
                break;
            }
        }

        if (i == json_array_size(value)) {
            return "\"key_ops\" has no \"verify\"";
        }
    }

    value = json_object_get(jwk, "kid");

    if (value != NULL) {
        len = json_string_length(value);

        if (len == 0 || len > NGX_HTTP_UNIT_JWK_MAX_KID) {
            return "\"kid\" is not a string of 1 to 256 bytes";
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_unit_jwk_number(ngx_pool_t *pool, json_t *value, ngx_str_t *out)
{
    size_t   len;
    ssize_t  n;

    len = json_string_length(value);

    if (len == 0 || len > NGX_HTTP_UNIT_JWK_MAX_NUMBER) {
        return NGX_DECLINED;
    }

    out->data = ngx_pnalloc(pool, 3 * (len + 3) / 4);
    if (out->data == NULL) {
        return NGX_ERROR;
    }

    n = ngx_http_unit_base64url_decode(out->data,
                                  (const u_char *) json_string_value(value),
                                  len);
    if (n < 0) {
        return NGX_DECLINED;
    }

    out->len = n;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_unit_jwk_small(ngx_str_t *n)
{
    size_t   len;
    u_char  *p;

    p = n->data;
    len = n->len;

    while (len != 0 && *p == 0) {
        p++;
        len--;
    }

    return len < 2048 / 8 || (len == 2048 / 8 && *p < 0x80);
}


static ngx_uint_t
ngx_http_unit_jwk_is(json_t *value, const char *text)
{
    return json_is_string(value)
           && json_string_length(value) == ngx_strlen(text)
           && ngx_strcmp(json_string_value(value), text) == 0;
}


/* Keep the first reason.  No text from the set: it is not to be trusted. */

static ngx_int_t
ngx_http_unit_jwk_warn(ngx_http_unit_jwks_t *set, ngx_uint_t i,
    const char *why)
{
    u_char  *p;

    if (set->skipped++ != 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(set->pool, sizeof("key : ") - 1 + NGX_INT_T_LEN
                               + ngx_strlen(why));
    if (p == NULL) {
        return NGX_ERROR;
    }

    set->warning.data = p;
    set->warning.len = ngx_sprintf(p, "key %ui: %s", i, why) - p;

    return NGX_OK;
}
