
/*
 * unit-jwt: "keygen", "jwks" and private key files.
 */


#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "unit_jwt.h"


#define UNIT_JWT_MAX_KEYS  64


static EVP_PKEY *unit_jwt_generate(unsigned long bits);
static json_t *unit_jwt_jwk(EVP_PKEY *key, const char *kid);
static json_t *unit_jwt_number(EVP_PKEY *key, const char *name);
static char *unit_jwt_key_set(json_t *keys);
static char *unit_jwt_private_pem(EVP_PKEY *key, size_t *len);
static char *unit_jwt_bio_text(BIO *bio, size_t *len);
static void unit_jwt_write(const char *name, const char *data, size_t len,
    mode_t mode);


int
unit_jwt_keygen(int argc, char **argv)
{
    int             i, force;
    char           *pem, *set, *end;
    size_t          len;
    EVP_PKEY       *key;
    const char     *out, *jwks, *kid, *n;
    unsigned long   bits;

    out = NULL;
    jwks = NULL;
    kid = NULL;
    n = "2048";
    force = 0;

    for (i = 0; i < argc; i++) {

        if (strcmp(argv[i], "--force") == 0) {
            force = 1;
            continue;
        }

        if (unit_jwt_option(argc, argv, &i, "--out", &out)
            || unit_jwt_option(argc, argv, &i, "--jwks", &jwks)
            || unit_jwt_option(argc, argv, &i, "--kid", &kid)
            || unit_jwt_option(argc, argv, &i, "--bits", &n))
        {
            continue;
        }

        unit_jwt_die(UNIT_JWT_USAGE, "keygen: unknown option \"%s\"",
                     argv[i]);
    }

    bits = strtoul(n, &end, 10);

    if (out == NULL || jwks == NULL || *end != '\0'
        || bits < 512 || bits > 16384)
    {
        unit_jwt_die(UNIT_JWT_USAGE,
                     "keygen needs --out, --jwks and sane --bits");
    }

    if (!force && access(out, F_OK) == 0) {
        unit_jwt_die(UNIT_JWT_FAILED, "\"%s\" exists, see --force", out);
    }

    key = unit_jwt_generate(bits);

    pem = unit_jwt_private_pem(key, &len);
    unit_jwt_write(out, pem, len, 0600);

    OPENSSL_cleanse(pem, len);
    free(pem);

    set = unit_jwt_key_set(json_pack("[o]", unit_jwt_jwk(key, kid)));
    unit_jwt_write(jwks, set, strlen(set), 0644);

    free(set);
    EVP_PKEY_free(key);

    return UNIT_JWT_OK;
}


int
unit_jwt_jwks(int argc, char **argv)
{
    int          i, n;
    char        *set;
    json_t      *keys;
    EVP_PKEY    *key;
    const char  *file[UNIT_JWT_MAX_KEYS], *kid[UNIT_JWT_MAX_KEYS], *value;

    n = 0;

    for (i = 0; i < argc; i++) {

        if (unit_jwt_option(argc, argv, &i, "--key", &value)) {

            if (n == UNIT_JWT_MAX_KEYS) {
                unit_jwt_die(UNIT_JWT_USAGE, "jwks: too many keys");
            }

            file[n] = value;
            kid[n++] = NULL;
            continue;
        }

        if (n != 0 && unit_jwt_option(argc, argv, &i, "--kid", &value)) {
            kid[n - 1] = value;
            continue;
        }

        unit_jwt_die(UNIT_JWT_USAGE, "jwks: unexpected \"%s\"", argv[i]);
    }

    if (n == 0) {
        unit_jwt_die(UNIT_JWT_USAGE, "jwks needs --key");
    }

    keys = json_array();

    for (i = 0; i < n; i++) {
        key = unit_jwt_load_key(file[i]);
        json_array_append_new(keys, unit_jwt_jwk(key, kid[i]));
        EVP_PKEY_free(key);
    }

    set = unit_jwt_key_set(keys);
    fputs(set, stdout);
    free(set);

    return UNIT_JWT_OK;
}


EVP_PKEY *
unit_jwt_load_key(const char *name)
{
    BIO       *bio;
    char      *pem;
    size_t     len;
    EVP_PKEY  *key;

    pem = unit_jwt_read(name, &len);

    bio = BIO_new_mem_buf(pem, (int) len);
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) "") : NULL;

    if (key == NULL || !EVP_PKEY_is_a(key, "RSA")) {
        unit_jwt_die(UNIT_JWT_FAILED, "\"%s\" is no RSA private key", name);
    }

    BIO_free(bio);
    OPENSSL_cleanse(pem, len);
    free(pem);

    return key;
}


char *
unit_jwt_public_pem(EVP_PKEY *key, size_t *len)
{
    BIO  *bio;

    bio = BIO_new(BIO_s_mem());

    if (bio == NULL || PEM_write_bio_PUBKEY(bio, key) != 1) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot encode a public key");
    }

    return unit_jwt_bio_text(bio, len);
}


static EVP_PKEY *
unit_jwt_generate(unsigned long bits)
{
    EVP_PKEY  *key;

    key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) bits);

    if (key == NULL) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot make an RSA key");
    }

    return key;
}


static json_t *
unit_jwt_jwk(EVP_PKEY *key, const char *kid)
{
    json_t  *jwk;

    jwk = json_pack("{s:s, s:s, s:s, s:o, s:o}",
                    "kty", "RSA", "use", "sig", "alg", "RS256",
                    "n", unit_jwt_number(key, OSSL_PKEY_PARAM_RSA_N),
                    "e", unit_jwt_number(key, OSSL_PKEY_PARAM_RSA_E));

    if (jwk == NULL
        || (kid != NULL
            && json_object_set_new(jwk, "kid", json_string(kid)) != 0))
    {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot make a JWK");
    }

    return jwk;
}


static json_t *
unit_jwt_number(EVP_PKEY *key, const char *name)
{
    char    *text;
    BIGNUM  *bn;
    u_char  *p;
    json_t  *json;

    bn = NULL;

    if (EVP_PKEY_get_bn_param(key, name, &bn) != 1) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot read the key's numbers");
    }

    p = unit_jwt_alloc(BN_num_bytes(bn));
    text = unit_jwt_base64url(p, BN_bn2bin(bn, p));
    json = json_string(text);

    free(text);
    free(p);
    BN_free(bn);

    return json;
}


static char *
unit_jwt_key_set(json_t *keys)
{
    char    *text, *line;
    json_t  *set;
    size_t   len;

    set = json_pack("{s:o}", "keys", keys);
    text = set ? json_dumps(set, JSON_INDENT(2)) : NULL;

    if (text == NULL) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot make a key set");
    }

    len = strlen(text);

    line = unit_jwt_alloc(len + 2);
    memcpy(line, text, len);
    memcpy(line + len, "\n", 2);

    free(text);
    json_decref(set);

    return line;
}


static char *
unit_jwt_private_pem(EVP_PKEY *key, size_t *len)
{
    BIO  *bio;

    bio = BIO_new(BIO_s_mem());

    if (bio == NULL
        || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
    {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot encode a private key");
    }

    return unit_jwt_bio_text(bio, len);
}


static char *
unit_jwt_bio_text(BIO *bio, size_t *len)
{
    char  *data, *text;

    *len = BIO_get_mem_data(bio, &data);

    text = unit_jwt_alloc(*len + 1);
    memcpy(text, data, *len);
    text[*len] = '\0';

    BIO_free(bio);

    return text;
}


/* All or nothing: readers never see half of a file. */

static void
unit_jwt_write(const char *name, const char *data, size_t len, mode_t mode)
{
    int      fd;
    char    *temp;
    size_t   size;

    size = strlen(name) + sizeof(".XXXXXX");
    temp = unit_jwt_alloc(size);

    snprintf(temp, size, "%s.XXXXXX", name);

    fd = mkstemp(temp);

    if (fd == -1) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot create \"%s\": %s", temp,
                     strerror(errno));
    }

    if (fchmod(fd, mode) != 0
        || write(fd, data, len) != (ssize_t) len
        || close(fd) != 0
        || rename(temp, name) != 0)
    {
        (void) unlink(temp);
        unit_jwt_die(UNIT_JWT_FAILED, "cannot write \"%s\": %s", name,
                     strerror(errno));
    }

    free(temp);
}
