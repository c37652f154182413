
/*
 * Fuzz target: key sets.  Besides memory errors it looks for keys that were
 * taken although another reading of the text says that they must not be, and
 * for look-ups that find another key.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include <openssl/err.h>
#include "ngx_http_unit_jwk.h"
#include "ngx_stub.h"
#include "fuzz.h"


static int
fuzz_is(json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}


/* Whatever else is wrong with it: such a key must not be used. */

static int
fuzz_unusable(json_t *jwk)
{
    json_t       *value;
    const char  **name;

    static const char  *private[] = { "d", "p", "q", "dp", "dq", "qi", "oth",
                                      "k", NULL };

    if (!fuzz_is(json_object_get(jwk, "kty"), "RSA")) {
        return 1;
    }

    for (name = private; *name; name++) {
        if (json_object_get(jwk, *name) != NULL) {
            return 1;
        }
    }

    value = json_object_get(jwk, "use");
    if (value != NULL && !fuzz_is(value, "sig")) {
        return 1;
    }

    value = json_object_get(jwk, "alg");
    if (value != NULL && !fuzz_is(value, "RS256")) {
        return 1;
    }

    value = json_object_get(jwk, "key_ops");
    if (value != NULL && !json_is_array(value)) {
        return 1;
    }

    return json_string_length(json_object_get(jwk, "n")) < 342
           || json_string_length(json_object_get(jwk, "e")) < 2;
}


static void
fuzz_set(ngx_http_unit_jwks_t *set, json_t *root)
{
    json_t               *keys, *jwk, *kid;
    size_t                i, n;
    ngx_str_t             s;
    ngx_http_unit_jwk_t  *key;

    keys = json_object_get(root, "keys");

    fuzz_assert(set->nkeys >= 1 && set->total <= NGX_HTTP_UNIT_JWK_MAX_KEYS);
    fuzz_assert(set->total == json_array_size(keys));
    fuzz_assert(set->total == set->nkeys + set->skipped);
    fuzz_assert((set->skipped != 0) == (set->warning.len != 0));

    for (i = 0; i < set->nkeys; i++) {
        key = &set->keys[i];

        fuzz_assert(key->kid.len <= NGX_HTTP_UNIT_JWK_MAX_KID);
        fuzz_assert(key->kid.len == 0
                    || ngx_http_unit_jwks_find(set, &key->kid, 1) == key);

        key = ngx_http_unit_jwks_find_thumbprint(set,
                                  ngx_http_unit_rsa_thumbprint(key->rsa));
        fuzz_assert(key != NULL && key <= &set->keys[i]);
    }

    n = 0;

    json_array_foreach(keys, i, jwk) {
        kid = json_object_get(jwk, "kid");

        if (!fuzz_unusable(jwk)) {
            n++;

        } else if (json_is_string(kid)) {
            s.data = (u_char *) json_string_value(kid);
            s.len = json_string_length(kid);
            fuzz_assert(ngx_http_unit_jwks_find(set, &s, 1) == NULL);
        }
    }

    fuzz_assert(set->nkeys <= n);

    ngx_str_null(&s);
    fuzz_assert(ngx_http_unit_jwks_find(set, &s, 1) == NULL);
    fuzz_assert(ngx_http_unit_jwks_find(set, &s, 0)
                == (set->total == 1 ? set->keys : NULL));
}


static ngx_int_t
fuzz_parse(uint8_t *data, size_t len, ngx_uint_t strict)
{
    json_t                *root;
    ngx_int_t              rc;
    ngx_pool_t            *pool;
    const char            *reason;
    json_error_t           error;
    ngx_http_unit_jwks_t  *set;

    pool = ngx_create_pool(4096, NULL);

    rc = ngx_http_unit_jwks_parse(pool, data, len, strict, &set, &reason);

    fuzz_assert(rc == NGX_OK || rc == NGX_DECLINED);
    fuzz_assert((rc == NGX_OK) == (set != NULL));
    fuzz_assert((rc == NGX_OK) == (reason == NULL));
    fuzz_assert(ERR_peek_error() == 0);

    if (rc == NGX_OK) {
        root = json_loadb((char *) data, len, 0, &error);
        fuzz_set(set, root);
        json_decref(root);
    }

    ngx_destroy_pool(pool);

    return rc;
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    ngx_int_t  strict, loose;

    strict = fuzz_parse(data, len, 1);
    loose = fuzz_parse(data, len, 0);

    fuzz_assert(strict != NGX_OK || loose == NGX_OK);
}
