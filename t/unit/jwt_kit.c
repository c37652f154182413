
/*
 * See jwt_kit.h.
 */


#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "jwt_kit.h"


#define kit_check(cond)  kit_must((cond) ? 1 : 0, #cond)


static void
kit_must(int cond, const char *what)
{
    if (!cond) {
        fprintf(stderr, "jwt_kit: failed: %s\n", what);
        abort();
    }
}


EVP_PKEY *
kit_rsa(unsigned bits, unsigned long e)
{
    BIGNUM        *bn;
    EVP_PKEY      *key;
    EVP_PKEY_CTX  *ctx;

    key = NULL;
    bn = BN_new();
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

    kit_check(bn != NULL && ctx != NULL);
    kit_check(BN_set_word(bn, e) == 1);
    kit_check(EVP_PKEY_keygen_init(ctx) == 1);
    kit_check(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int) bits) == 1);
    kit_check(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, bn) == 1);
    kit_check(EVP_PKEY_generate(ctx, &key) == 1);

    EVP_PKEY_CTX_free(ctx);
    BN_free(bn);

    return key;
}


static unsigned char *
kit_number(EVP_PKEY *key, const char *name, size_t *len)
{
    BIGNUM         *bn;
    unsigned char  *p;

    bn = NULL;

    kit_check(EVP_PKEY_get_bn_param(key, name, &bn) == 1);

    p = malloc((size_t) BN_num_bytes(bn));
    kit_check(p != NULL);

    *len = (size_t) BN_bn2bin(bn, p);

    BN_free(bn);

    return p;
}


unsigned char *
kit_modulus(EVP_PKEY *key, size_t *len)
{
    return kit_number(key, OSSL_PKEY_PARAM_RSA_N, len);
}


unsigned char *
kit_exponent(EVP_PKEY *key, size_t *len)
{
    return kit_number(key, OSSL_PKEY_PARAM_RSA_E, len);
}


char *
kit_base64url(const void *p, size_t len)
{
    char    *s;
    size_t   i;

    s = malloc(4 * ((len + 2) / 3) + 1);
    kit_check(s != NULL);

    EVP_EncodeBlock((unsigned char *) s, p, (int) len);

    for (i = 0; s[i] != '\0'; i++) {

        if (s[i] == '+') {
            s[i] = '-';

        } else if (s[i] == '/') {
            s[i] = '_';

        } else if (s[i] == '=') {
            s[i] = '\0';
            break;
        }
    }

    return s;
}


char *
kit_pem(EVP_PKEY *key)
{
    BIO   *bio;
    char  *data, *pem;
    long   len;

    bio = BIO_new(BIO_s_mem());

    kit_check(bio != NULL && PEM_write_bio_PUBKEY(bio, key) == 1);

    len = BIO_get_mem_data(bio, &data);
    pem = kit_format("%.*s", (int) len, data);

    BIO_free(bio);

    return pem;
}


char *
kit_jwk(EVP_PKEY *key, const char *more)
{
    char           *n64, *e64, *jwk;
    size_t          nlen, elen;
    unsigned char  *n, *e;

    n = kit_modulus(key, &nlen);
    e = kit_exponent(key, &elen);
    n64 = kit_base64url(n, nlen);
    e64 = kit_base64url(e, elen);

    jwk = kit_format("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", n64, e64,
                     more);

    free(n);
    free(e);
    free(n64);
    free(e64);

    return jwk;
}


char *
kit_sign(EVP_PKEY *key, const char *md, const char *text)
{
    char           *s;
    size_t          len;
    EVP_MD_CTX     *ctx;
    unsigned char  *sig;

    ctx = EVP_MD_CTX_new();
    len = 0;

    kit_check(ctx != NULL);
    kit_check(EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, key, NULL)
              == 1);
    kit_check(EVP_DigestSign(ctx, NULL, &len, (const unsigned char *) text,
                             strlen(text))
              == 1);

    sig = malloc(len);

    kit_check(sig != NULL);
    kit_check(EVP_DigestSign(ctx, sig, &len, (const unsigned char *) text,
                             strlen(text))
              == 1);

    s = kit_base64url(sig, len);

    free(sig);
    EVP_MD_CTX_free(ctx);

    return s;
}


char *
kit_token(EVP_PKEY *key, const char *header, const char *payload)
{
    return kit_token_n(key, header, strlen(header), payload, strlen(payload));
}


char *
kit_token_n(EVP_PKEY *key, const char *header, size_t hlen,
    const char *payload, size_t plen)
{
    char  *h, *p, *text, *sig, *token;

    h = kit_base64url(header, hlen);
    p = kit_base64url(payload, plen);
    text = kit_format("%s.%s", h, p);
    sig = kit_sign(key, "SHA256", text);
    token = kit_format("%s.%s", text, sig);

    free(h);
    free(p);
    free(text);
    free(sig);

    return token;
}


char *
kit_format(const char *fmt, ...)
{
    int       n;
    char     *s;
    va_list   args;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);

    kit_check(n >= 0);

    s = malloc((size_t) n + 1);
    kit_check(s != NULL);

    va_start(args, fmt);
    vsnprintf(s, (size_t) n + 1, fmt, args);
    va_end(args);

    return s;
}


unsigned
kit_random(unsigned n)
{
    static uint64_t  state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;

    return (unsigned) ((state >> 11) % n);
}
