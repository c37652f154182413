
/*
 * unit-jwt: "mint".  Right tokens and, for tests, wrong ones of many kinds.
 * libjwt makes what it can; OpenSSL does the rest (PS*, raw texts, headers
 * that contradict the signature).
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jwt.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include "unit_jwt.h"


typedef struct {
    const char  *name;
    const char  *md;       /* NULL: none */
    int          kind;
} unit_jwt_alg_t;


enum {
    UNIT_JWT_NONE = 0,
    UNIT_JWT_HS,
    UNIT_JWT_RS,
    UNIT_JWT_PS
};


typedef struct {
    const char            *key_file;
    const char            *secret;
    const char            *raw_header;
    const char            *raw_payload;
    const unit_jwt_alg_t  *alg;
    json_t                *header;
    json_t                *claims;
} unit_jwt_mint_t;


static int unit_jwt_mint_option(unit_jwt_mint_t *mint, int argc, char **argv,
    int *i);
static void unit_jwt_set(json_t *object, const char *pair, int is_json);
static const unit_jwt_alg_t *unit_jwt_alg(const char *name);
static char *unit_jwt_mint_key(unit_jwt_mint_t *mint, size_t *len);
static char *unit_jwt_mint_libjwt(unit_jwt_mint_t *mint, const char *key,
    size_t len);
static char *unit_jwt_mint_openssl(unit_jwt_mint_t *mint, const char *key,
    size_t len);
static char *unit_jwt_signature(unit_jwt_mint_t *mint, const char *key,
    size_t len, const char *text);
static u_char *unit_jwt_sign(unit_jwt_mint_t *mint, const char *text,
    size_t *siglen);


static const unit_jwt_alg_t  unit_jwt_algs[] = {
    { "none", NULL, UNIT_JWT_NONE },
    { "HS256", "SHA256", UNIT_JWT_HS },
    { "HS384", "SHA384", UNIT_JWT_HS },
    { "HS512", "SHA512", UNIT_JWT_HS },
    { "RS256", "SHA256", UNIT_JWT_RS },
    { "RS384", "SHA384", UNIT_JWT_RS },
    { "RS512", "SHA512", UNIT_JWT_RS },
    { "PS256", "SHA256", UNIT_JWT_PS },
    { "PS384", "SHA384", UNIT_JWT_PS },
    { "PS512", "SHA512", UNIT_JWT_PS },
    { NULL, NULL, 0 }
};


int
unit_jwt_mint(int argc, char **argv)
{
    int               i;
    char             *key, *token;
    size_t            len;
    unit_jwt_mint_t   mint;

    memset(&mint, 0, sizeof(unit_jwt_mint_t));

    mint.alg = unit_jwt_alg("RS256");
    mint.header = json_object();
    mint.claims = json_object();

    if (mint.header == NULL || mint.claims == NULL) {
        unit_jwt_die(UNIT_JWT_FAILED, "no memory");
    }

    for (i = 0; i < argc; i++) {

        if (!unit_jwt_mint_option(&mint, argc, argv, &i)) {
            unit_jwt_die(UNIT_JWT_USAGE, "mint: unknown option \"%s\"",
                         argv[i]);
        }
    }

    key = unit_jwt_mint_key(&mint, &len);

    if (mint.raw_header != NULL || mint.raw_payload != NULL
        || mint.alg->kind == UNIT_JWT_PS
        || json_object_get(mint.header, "alg") != NULL)
    {
        token = unit_jwt_mint_openssl(&mint, key, len);

    } else {
        token = unit_jwt_mint_libjwt(&mint, key, len);
    }

    puts(token);

    free(token);
    free(key);
    json_decref(mint.header);
    json_decref(mint.claims);

    return UNIT_JWT_OK;
}


static int
unit_jwt_mint_option(unit_jwt_mint_t *mint, int argc, char **argv, int *i)
{
    const char  *value;

    if (unit_jwt_option(argc, argv, i, "--key", &mint->key_file)
        || unit_jwt_option(argc, argv, i, "--secret", &mint->secret)
        || unit_jwt_option(argc, argv, i, "--raw-header", &mint->raw_header)
        || unit_jwt_option(argc, argv, i, "--raw-payload",
                           &mint->raw_payload))
    {
        return 1;
    }

    if (unit_jwt_option(argc, argv, i, "--alg", &value)) {
        mint->alg = unit_jwt_alg(value);
        return 1;
    }

    if (unit_jwt_option(argc, argv, i, "--kid", &value)) {

        if (json_object_set_new(mint->header, "kid", json_string(value))
            != 0)
        {
            unit_jwt_die(UNIT_JWT_USAGE, "the kid is not UTF-8");
        }

        return 1;
    }

    if (unit_jwt_option(argc, argv, i, "--claim", &value)) {
        unit_jwt_set(mint->claims, value, 0);
        return 1;
    }

    if (unit_jwt_option(argc, argv, i, "--json-claim", &value)) {
        unit_jwt_set(mint->claims, value, 1);
        return 1;
    }

    if (unit_jwt_option(argc, argv, i, "--json-header", &value)) {
        unit_jwt_set(mint->header, value, 1);
        return 1;
    }

    if (unit_jwt_option(argc, argv, i, "--without", &value)) {
        json_object_del(mint->claims, value);
        return 1;
    }

    return 0;
}


/* "name=value"; a later one replaces an earlier one */

static void
unit_jwt_set(json_t *object, const char *pair, int is_json)
{
    char          *name;
    size_t         len;
    json_t        *json;
    const char    *value;
    json_error_t   error;

    value = strchr(pair, '=');

    if (value == NULL || value == pair) {
        unit_jwt_die(UNIT_JWT_USAGE, "\"%s\" is not name=value", pair);
    }

    len = value - pair;
    name = unit_jwt_alloc(len + 1);
    memcpy(name, pair, len);
    name[len] = '\0';

    value++;

    json = is_json ? json_loads(value, JSON_DECODE_ANY|JSON_ALLOW_NUL, &error)
                   : json_string(value);

    if (json == NULL || json_object_set_new(object, name, json) != 0) {
        unit_jwt_die(UNIT_JWT_USAGE, "\"%s\": the value is not %s", pair,
                     is_json ? "JSON" : "UTF-8");
    }

    free(name);
}


static const unit_jwt_alg_t *
unit_jwt_alg(const char *name)
{
    const unit_jwt_alg_t  *alg;

    for (alg = unit_jwt_algs; alg->name != NULL; alg++) {

        if (strcmp(alg->name, name) == 0) {
            return alg;
        }
    }

    unit_jwt_die(UNIT_JWT_USAGE, "unknown algorithm \"%s\"", name);
}


/* What the signature is made with: a private key in PEM form, or a secret. */

static char *
unit_jwt_mint_key(unit_jwt_mint_t *mint, size_t *len)
{
    char      *key;
    EVP_PKEY  *pkey;

    if (mint->alg->kind == UNIT_JWT_NONE) {
        *len = 0;
        return unit_jwt_alloc(0);
    }

    if (mint->alg->kind == UNIT_JWT_HS && mint->secret != NULL) {
        *len = strlen(mint->secret);
        key = unit_jwt_alloc(*len + 1);
        memcpy(key, mint->secret, *len + 1);
        return key;
    }

    if (mint->key_file == NULL) {
        unit_jwt_die(UNIT_JWT_USAGE, "mint needs --key");
    }

    if (mint->alg->kind != UNIT_JWT_HS) {
        return unit_jwt_read(mint->key_file, len);
    }

    /* the classic confusion: a public key taken for a shared secret */

    pkey = unit_jwt_load_key(mint->key_file);
    key = unit_jwt_public_pem(pkey, len);
    EVP_PKEY_free(pkey);

    return key;
}


static char *
unit_jwt_mint_libjwt(unit_jwt_mint_t *mint, const char *key, size_t len)
{
    char       *header, *claims, *token;
    jwt_t      *jwt;
    jwt_alg_t   alg;

    header = json_dumps(mint->header, JSON_COMPACT);
    claims = json_dumps(mint->claims, JSON_COMPACT);
    alg = jwt_str_alg(mint->alg->name);

    if (header == NULL || claims == NULL
        || jwt_new(&jwt) != 0
        || jwt_add_headers_json(jwt, header) != 0
        || jwt_add_grants_json(jwt, claims) != 0
        || jwt_set_alg(jwt, alg,
                       len ? (const unsigned char *) key : NULL, (int) len)
           != 0)
    {
        unit_jwt_die(UNIT_JWT_FAILED, "libjwt does not take the claims");
    }

    token = jwt_encode_str(jwt);

    if (token == NULL) {
        unit_jwt_die(UNIT_JWT_FAILED, "libjwt cannot sign: %s",
                     strerror(errno));
    }

    jwt_free(jwt);
    free(header);
    free(claims);

    return token;
}


static char *
unit_jwt_mint_openssl(unit_jwt_mint_t *mint, const char *key, size_t len)
{
    char    *header, *claims, *h, *c, *text, *sig;
    size_t   size;

    if (json_object_get(mint->header, "alg") == NULL) {
        json_object_set_new(mint->header, "alg",
                            json_string(mint->alg->name));
    }

    header = json_dumps(mint->header, JSON_COMPACT);
    claims = json_dumps(mint->claims, JSON_COMPACT);

    if (header == NULL || claims == NULL) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot encode header or claims");
    }

    if (mint->raw_header != NULL) {
        h = unit_jwt_base64url(mint->raw_header, strlen(mint->raw_header));

    } else {
        h = unit_jwt_base64url(header, strlen(header));
    }

    if (mint->raw_payload != NULL) {
        c = unit_jwt_base64url(mint->raw_payload, strlen(mint->raw_payload));

    } else {
        c = unit_jwt_base64url(claims, strlen(claims));
    }

    size = strlen(h) + strlen(c) + 2;
    text = unit_jwt_alloc(size);
    snprintf(text, size, "%s.%s", h, c);

    sig = unit_jwt_signature(mint, key, len, text);

    free(h);
    free(c);

    size = strlen(text) + strlen(sig) + 2;
    h = unit_jwt_alloc(size);
    snprintf(h, size, "%s.%s", text, sig);

    free(text);
    free(sig);
    free(header);
    free(claims);

    return h;
}


static char *
unit_jwt_signature(unit_jwt_mint_t *mint, const char *key, size_t len,
    const char *text)
{
    char          *s;
    u_char        *sig, mac[EVP_MAX_MD_SIZE];
    size_t         siglen;
    unsigned int   maclen;

    switch (mint->alg->kind) {

    case UNIT_JWT_NONE:
        return unit_jwt_base64url("", 0);

    case UNIT_JWT_HS:
        if (HMAC(EVP_get_digestbyname(mint->alg->md), key, (int) len,
                 (const u_char *) text, strlen(text), mac, &maclen)
            == NULL)
        {
            unit_jwt_die(UNIT_JWT_FAILED, "HMAC failed");
        }

        return unit_jwt_base64url(mac, maclen);

    default:
        sig = unit_jwt_sign(mint, text, &siglen);
        s = unit_jwt_base64url(sig, siglen);
        free(sig);

        return s;
    }
}


static u_char *
unit_jwt_sign(unit_jwt_mint_t *mint, const char *text, size_t *siglen)
{
    u_char        *sig;
    EVP_PKEY      *key;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *pctx;

    sig = NULL;

    key = unit_jwt_load_key(mint->key_file);
    ctx = EVP_MD_CTX_new();

    if (ctx == NULL
        || EVP_DigestSignInit_ex(ctx, &pctx, mint->alg->md, NULL, NULL, key,
                                 NULL)
           != 1
        || (mint->alg->kind == UNIT_JWT_PS
            && (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1
                || EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx,
                                                    RSA_PSS_SALTLEN_DIGEST)
                   != 1))
        || EVP_DigestSign(ctx, NULL, siglen, (const u_char *) text,
                          strlen(text))
           != 1)
    {
        goto failed;
    }

    sig = unit_jwt_alloc(*siglen);

    if (EVP_DigestSign(ctx, sig, siglen, (const u_char *) text, strlen(text))
        != 1)
    {
        goto failed;
    }

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);

    return sig;

failed:

    unit_jwt_die(UNIT_JWT_FAILED, "cannot sign with %s", mint->alg->name);
}
