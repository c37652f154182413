
/*
 * unit-jwt: "verify".  What the gateway's own code says of a token, and what
 * libjwt says of it.  The second opinion reads the key set, the claims and
 * the times by itself, so that a mistake has to be made twice to go unseen.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jwt.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include "unit_jwt.h"
#include "ngx_http_unit_jwt.h"


typedef struct {
    char        *token;
    char        *set;
    size_t       set_len;
    const char  *iss;
    const char  *aud;
    time_t       leeway;
    time_t       now;
} unit_jwt_verify_t;


static const char *unit_jwt_ours(unit_jwt_verify_t *v);
static const char *unit_jwt_ours_claims(unit_jwt_verify_t *v,
    ngx_pool_t *pool, ngx_http_unit_jwt_t *jwt);
static const char *unit_jwt_libjwt(unit_jwt_verify_t *v);
static const char *unit_jwt_libjwt_claims(unit_jwt_verify_t *v, jwt_t *jwt);
static int unit_jwt_libjwt_time(jwt_t *jwt, const char *name, double *value);
static int unit_jwt_libjwt_aud(jwt_t *jwt, const char *aud);
static char *unit_jwt_find_pem(unit_jwt_verify_t *v, const char *kid,
    size_t *len);
static char *unit_jwt_jwk_pem(json_t *jwk, size_t *len);
static BIGNUM *unit_jwt_jwk_number(json_t *jwk, const char *name);


int
unit_jwt_verify(int argc, char **argv)
{
    int                 i;
    const char         *jwks, *leeway, *ours, *theirs, *token;
    unit_jwt_verify_t   v;

    memset(&v, 0, sizeof(unit_jwt_verify_t));

    jwks = NULL;
    token = NULL;
    leeway = "30";

    for (i = 0; i < argc; i++) {

        if (unit_jwt_option(argc, argv, &i, "--jwks", &jwks)
            || unit_jwt_option(argc, argv, &i, "--iss", &v.iss)
            || unit_jwt_option(argc, argv, &i, "--aud", &v.aud)
            || unit_jwt_option(argc, argv, &i, "--leeway", &leeway))
        {
            continue;
        }

        if (token != NULL || strncmp(argv[i], "--", 2) == 0) {
            unit_jwt_die(UNIT_JWT_USAGE, "verify: unexpected \"%s\"",
                         argv[i]);
        }

        token = argv[i];
    }

    if (jwks == NULL) {
        unit_jwt_die(UNIT_JWT_USAGE, "verify needs --jwks");
    }

    v.leeway = atoi(leeway);
    v.now = time(NULL);
    v.set = unit_jwt_read(jwks, &v.set_len);
    v.token = unit_jwt_read_token(token);

    ours = unit_jwt_ours(&v);
    theirs = unit_jwt_libjwt(&v);

    printf("gateway: %s\n", ours ? ours : "accepted");
    printf("libjwt:  %s\n", theirs ? theirs : "accepted");

    if (v.iss == NULL) {
        printf("(any issuer: no --iss was given)\n");
    }

    if (v.aud == NULL) {
        printf("(any audience: no --aud was given)\n");
    }

    free(v.set);
    free(v.token);

    return (ours == NULL && theirs == NULL) ? UNIT_JWT_OK : UNIT_JWT_FAILED;
}


/* NULL when accepted, else the reason */

static const char *
unit_jwt_ours(unit_jwt_verify_t *v)
{
    ngx_int_t              rc;
    ngx_str_t              token;
    ngx_pool_t            *pool;
    const char            *reason;
    ngx_http_unit_jwt_t    jwt;
    ngx_http_unit_jwk_t   *key;
    ngx_http_unit_jwks_t  *set;

    pool = ngx_create_pool(4096, NULL);
    if (pool == NULL) {
        return "no memory";
    }

    rc = ngx_http_unit_jwks_parse(pool, (u_char *) v->set, v->set_len, 0,
                                  &set, &reason);
    if (rc != NGX_OK) {
        reason = (rc == NGX_DECLINED) ? reason : "key set: internal error";
        goto done;
    }

    if (set->skipped != 0) {
        printf("key set: %d of %d keys not usable; %.*s\n",
               (int) set->skipped, (int) set->total,
               (int) set->warning.len, set->warning.data);
    }

    token.data = (u_char *) v->token;
    token.len = strlen(v->token);

    rc = ngx_http_unit_jwt_split(pool, &token, &jwt);

    if (rc == NGX_OK) {
        rc = ngx_http_unit_jwt_verify(&jwt, set, &key);
    }

    if (rc != NGX_OK) {
        reason = (rc == NGX_DECLINED) ? jwt.reason : "internal error";
        goto done;
    }

    reason = unit_jwt_ours_claims(v, pool, &jwt);

done:

    ngx_destroy_pool(pool);

    return reason;
}


static const char *
unit_jwt_ours_claims(unit_jwt_verify_t *v, ngx_pool_t *pool,
    ngx_http_unit_jwt_t *jwt)
{
    ngx_int_t                   rc;
    ngx_http_unit_jwt_rules_t   rules;
    ngx_http_unit_jwt_claims_t  claims;

    memset(&rules, 0, sizeof(ngx_http_unit_jwt_rules_t));

    rules.leeway = v->leeway;

    if (v->aud != NULL) {
        rules.audience.data = (u_char *) v->aud;
        rules.audience.len = strlen(v->aud);
    }

    if (ngx_http_unit_jwt_rules_init(pool, &rules) != NGX_OK) {
        return "internal error";
    }

    if (v->iss != NULL) {
        rules.issuer.data = (u_char *) v->iss;
        rules.issuer.len = strlen(v->iss);

    } else if (ngx_http_unit_jwt_issuer_unsafe(pool, jwt, &rules,
                                               &rules.issuer)
               != NGX_OK)
    {
        return "jwt_iss";
    }

    rc = ngx_http_unit_jwt_claims(pool, jwt, &rules, v->now, &claims);

    if (rc == NGX_DECLINED) {
        return claims.reason;
    }

    return (rc == NGX_OK) ? NULL : "internal error";
}


static const char *
unit_jwt_libjwt(unit_jwt_verify_t *v)
{
    char        *pem;
    jwt_t       *jwt;
    size_t       len;
    const char  *reason;

    if (jwt_decode(&jwt, v->token, NULL, 0) != 0) {
        return "not a token";
    }

    pem = unit_jwt_find_pem(v, jwt_get_header(jwt, "kid"), &len);

    jwt_free(jwt);

    if (pem == NULL) {
        return "no such key in the set";
    }

    if (jwt_decode(&jwt, v->token, (unsigned char *) pem, (int) len) != 0) {
        free(pem);
        return "the signature is wrong";
    }

    if (jwt_get_alg(jwt) != JWT_ALG_RS256) {
        reason = "the algorithm is not RS256";

    } else {
        reason = unit_jwt_libjwt_claims(v, jwt);
    }

    jwt_free(jwt);
    free(pem);

    return reason;
}


static const char *
unit_jwt_libjwt_claims(unit_jwt_verify_t *v, jwt_t *jwt)
{
    double       value;
    const char  *text;

    text = jwt_get_grant(jwt, "iss");

    if (text == NULL || (v->iss != NULL && strcmp(text, v->iss) != 0)) {
        return "another issuer";
    }

    text = jwt_get_grant(jwt, "sub");

    if (text == NULL || *text == '\0') {
        return "no subject";
    }

    if (!unit_jwt_libjwt_time(jwt, "exp", &value)
        || value <= (double) (v->now - v->leeway))
    {
        return "expired, or no time of expiry";
    }

    if (unit_jwt_libjwt_time(jwt, "nbf", &value)
        && value > (double) (v->now + v->leeway))
    {
        return "not valid yet";
    }

    if (unit_jwt_libjwt_time(jwt, "iat", &value)
        && value > (double) (v->now + v->leeway))
    {
        return "issued in the future";
    }

    if (v->aud != NULL && !unit_jwt_libjwt_aud(jwt, v->aud)) {
        return "another audience";
    }

    return NULL;
}


static int
unit_jwt_libjwt_time(jwt_t *jwt, const char *name, double *value)
{
    int            ok;
    char          *text;
    json_t        *json;
    json_error_t   error;

    text = jwt_get_grants_json(jwt, name);
    if (text == NULL) {
        return 0;
    }

    json = json_loads(text, JSON_DECODE_ANY, &error);

    ok = json_is_number(json);
    *value = json_number_value(json);

    json_decref(json);
    free(text);

    return ok;
}


static int
unit_jwt_libjwt_aud(jwt_t *jwt, const char *aud)
{
    int            found;
    char          *text;
    json_t        *json, *item;
    size_t         i;
    json_error_t   error;

    text = jwt_get_grants_json(jwt, "aud");
    if (text == NULL) {
        return 0;
    }

    json = json_loads(text, JSON_DECODE_ANY, &error);

    found = json_is_string(json) && strcmp(json_string_value(json), aud) == 0;

    json_array_foreach(json, i, item) {
        found |= json_is_string(item)
                 && strcmp(json_string_value(item), aud) == 0;
    }

    json_decref(json);
    free(text);

    return found;
}


static char *
unit_jwt_find_pem(unit_jwt_verify_t *v, const char *kid, size_t *len)
{
    char          *pem;
    json_t        *root, *keys, *jwk, *found;
    size_t         i;
    const char    *name;
    json_error_t   error;

    root = json_loadb(v->set, v->set_len, JSON_REJECT_DUPLICATES, &error);
    keys = json_object_get(root, "keys");
    found = NULL;

    if (kid == NULL && json_array_size(keys) == 1) {
        found = json_array_get(keys, 0);
    }

    json_array_foreach(keys, i, jwk) {
        name = json_string_value(json_object_get(jwk, "kid"));

        if (kid != NULL && name != NULL && strcmp(name, kid) == 0) {
            found = jwk;
        }
    }

    pem = found ? unit_jwt_jwk_pem(found, len) : NULL;

    json_decref(root);

    return pem;
}


static char *
unit_jwt_jwk_pem(json_t *jwk, size_t *len)
{
    char            *pem;
    BIGNUM          *n, *e;
    EVP_PKEY        *key;
    OSSL_PARAM      *params;
    EVP_PKEY_CTX    *ctx;
    OSSL_PARAM_BLD  *bld;

    key = NULL;
    params = NULL;

    n = unit_jwt_jwk_number(jwk, "n");
    e = unit_jwt_jwk_number(jwk, "e");
    bld = OSSL_PARAM_BLD_new();
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

    if (n != NULL && e != NULL && bld != NULL && ctx != NULL
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
    {
        params = OSSL_PARAM_BLD_to_param(bld);
    }

    if (params != NULL && EVP_PKEY_fromdata_init(ctx) == 1) {
        (void) EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    }

    pem = key ? unit_jwt_public_pem(key, len) : NULL;

    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);

    return pem;
}


static BIGNUM *
unit_jwt_jwk_number(json_t *jwk, const char *name)
{
    char        *padded;
    BIGNUM      *bn;
    u_char      *p;
    size_t       i, len, size;
    const char  *text;

    text = json_string_value(json_object_get(jwk, name));
    if (text == NULL) {
        return NULL;
    }

    /* OpenSSL's decoder wants the other alphabet, and padding */

    len = strlen(text);
    size = (len + 3) / 4 * 4;

    padded = unit_jwt_alloc(size + 1);
    memset(padded, '=', size);
    padded[size] = '\0';

    for (i = 0; i < len; i++) {

        if (text[i] == '-') {
            padded[i] = '+';

        } else if (text[i] == '_') {
            padded[i] = '/';

        } else {
            padded[i] = text[i];
        }
    }

    p = unit_jwt_alloc(size);

    bn = (EVP_DecodeBlock(p, (u_char *) padded, (int) size) < 0)
         ? NULL : BN_bin2bn(p, (int) (len * 3 / 4), NULL);

    free(padded);
    free(p);

    return bn;
}
