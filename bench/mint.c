
/*
 * Mints partner tokens in bulk, for load.c: one line each, the token and, when
 * a token has several customers, their ids after it.
 *
 *   mint key=FILE kid=K first=0 count=1000 subjects=1000 customers=1
 *
 * Token n is of subject n % subjects, to whom "customers" ids belong; the first
 * id of all is "from".  With forged=1 tokens have a signature of the right form
 * that is of no key.
 */


#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include "options.h"


#define MINT_BUF       8192
#define MINT_SIG       1024
#define MINT_LIFE      (30 * 86400)


static size_t       mint_first, mint_count = 1, mint_subjects = 1;
static size_t       mint_customers = 1, mint_from = 10001, mint_forged;
static const char  *mint_key, *mint_kid = "dev-1";


static const bench_option_t  mint_options[] = {
    { "key=", NULL, &mint_key },
    { "kid=", NULL, &mint_kid },
    { "first=", &mint_first, NULL },
    { "count=", &mint_count, NULL },
    { "subjects=", &mint_subjects, NULL },
    { "customers=", &mint_customers, NULL },
    { "from=", &mint_from, NULL },
    { "forged=", &mint_forged, NULL },
    { NULL, NULL, NULL }
};


static EVP_PKEY *
mint_read_key(void)
{
    FILE      *f;
    EVP_PKEY  *key;

    f = fopen(mint_key, "r");
    if (f == NULL) {
        err(2, "%s", mint_key);
    }

    key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    if (key == NULL || EVP_PKEY_get_size(key) > MINT_SIG) {
        errx(2, "no key in %s", mint_key);
    }

    fclose(f);

    return key;
}


static char *
mint_base64url(char *dst, const void *src, size_t len)
{
    int  i, n;

    n = EVP_EncodeBlock((unsigned char *) dst, src, len);

    for (i = 0; i < n && dst[i] != '='; i++) {
        dst[i] = dst[i] == '+' ? '-' : dst[i] == '/' ? '_' : dst[i];
    }

    return dst + i;
}


static char *
mint_payload(char *p, char *last, size_t n)
{
    size_t  i, subject, now;

    now = time(NULL);
    subject = n % mint_subjects;

    p += snprintf(p, last - p,
                  "{\"iss\":\"https://idp.example.test/\","
                  "\"aud\":\"unit-gateway\",\"sub\":\"bench-%zu\","
                  "\"iat\":%zu,\"exp\":%zu,\"jti\":\"%016zx\","
                  "\"unitCustomerId\":%s",
                  subject, now, now + MINT_LIFE, n,
                  mint_customers > 1 ? "[" : "");

    for (i = 0; i < mint_customers; i++) {
        p += snprintf(p, last - p, "%s\"%zu\"", i ? "," : "",
                      mint_from + subject * mint_customers + i);
    }

    return p + snprintf(p, last - p, mint_customers > 1 ? "]}" : "}");
}


static void
mint_token(EVP_PKEY *key, size_t n)
{
    char           json[MINT_BUF], token[2 * MINT_BUF], *p;
    size_t         i, len;
    EVP_MD_CTX    *ctx;
    unsigned char  sig[MINT_SIG];

    len = snprintf(json, sizeof(json),
                   "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
                   mint_kid);

    p = mint_base64url(token, json, len);
    *p++ = '.';

    len = mint_payload(json, json + sizeof(json), n) - json;
    p = mint_base64url(p, json, len);

    len = EVP_PKEY_get_size(key);

    if (mint_forged) {

        /* below the modulus, so that it has to be computed with */

        RAND_bytes(sig, len);
        sig[0] = 0;

    } else {
        ctx = EVP_MD_CTX_new();

        if (ctx == NULL
            || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1
            || EVP_DigestSign(ctx, sig, &len, (unsigned char *) token,
                              p - token)
               != 1)
        {
            errx(2, "cannot sign");
        }

        EVP_MD_CTX_free(ctx);
    }

    *p++ = '.';
    p = mint_base64url(p, sig, len);

    printf("%.*s", (int) (p - token), token);

    for (i = 0; mint_customers > 1 && i < mint_customers; i++) {
        printf(" %zu", mint_from
               + n % mint_subjects * mint_customers + i);
    }

    putchar('\n');
}


int
main(int argc, char **argv)
{
    size_t     n;
    EVP_PKEY  *key;

    bench_options(mint_options, argc, argv);

    if (mint_key == NULL || mint_subjects == 0 || mint_customers == 0
        || mint_customers > 64)
    {
        errx(2, "key=FILE is needed, at least one subject, and 1 to 64 "
             "customers");
    }

    key = mint_read_key();

    for (n = mint_first; n < mint_first + mint_count; n++) {
        mint_token(key, n);
    }

    EVP_PKEY_free(key);

    if (fflush(stdout) != 0) {
        err(2, "cannot write");
    }

    return 0;
}
