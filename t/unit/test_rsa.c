
/*
 * RSA keys: which ones are taken, from numbers and from PEM texts, what they
 * are named by, and that they die with their pool.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_stub.h"
#include "tap.h"
#include "jwt_kit.h"


#define is_clean(name)  ok(ERR_peek_error() == 0, "error queue empty: %s", name)


static ngx_pool_t  *pool;


static void
create(const u_char *n, size_t nlen, const char *e, size_t elen,
    const char *expected, const char *name)
{
    ngx_int_t             rc;
    const char           *reason;
    ngx_http_unit_rsa_t  *key;

    rc = ngx_http_unit_rsa_create(pool, n, nlen, (const u_char *) e, elen,
                                  &key, &reason);

    if (expected == NULL) {
        is(rc, NGX_OK, name);
        ok(key != NULL && reason == NULL, "key and no reason: %s", name);

    } else {
        is(rc, NGX_DECLINED, name);
        ok(key == NULL, "no key: %s", name);
        is_text(reason, reason ? strlen(reason) : 0, expected, name);
    }

    is_clean(name);
}


static void
test_create(void)
{
    u_char      n[1026];
    ngx_uint_t  i;

    static const char  small[] = "RSA modulus is smaller than 2048 bits";
    static const char  large[] = "RSA modulus is larger than 8192 bits";

    for (i = 0; i < sizeof(n); i++) {
        n[i] = (u_char) (kit_random(255) + 1);
    }

    n[0] = 0x80;
    n[255] |= 1;
    n[254] |= 1;
    n[1023] |= 1;
    n[1024] |= 1;

    create(n, 256, "\1\0\1", 3, NULL, "2048 bits");
    create(n, 255, "\1\0\1", 3, small, "2040 bits");
    create(n, 128, "\1\0\1", 3, small, "1024 bits");
    create(n, 0, "\1\0\1", 3, small, "no modulus");
    create((u_char *) "\0\0\0\0", 4, "\1\0\1", 3, small, "zero modulus");
    create(n, 1024, "\1\0\1", 3, NULL, "8192 bits");
    create(n, 1025, "\1\0\1", 3, large, "8200 bits");

    n[0] = 0x7f;
    create(n, 256, "\1\0\1", 3, small, "2047 bits");
    n[0] = 0x01;
    create(n, 1025, "\1\0\1", 3, large, "8193 bits");
    create(n, 256, "\1\0\1", 3, small, "2041 bits");
    n[0] = 0x80;

    create(n, 256, "\3", 1, NULL, "e is 3");
    create(n, 256, "\0\0\3", 3, NULL, "e is 3 with leading zeros");
    create(n, 256, "\200\0\0\0\0\0\0\1", 8, NULL, "e has 64 bits");

    create(n, 256, "", 0, "RSA exponent is smaller than 3", "no e");
    create(n, 256, "\0\0\0", 3, "RSA exponent is smaller than 3", "e is 0");
    create(n, 256, "\1", 1, "RSA exponent is smaller than 3", "e is 1");
    create(n, 256, "\0\1", 2, "RSA exponent is smaller than 3", "e is 01");
    create(n, 256, "\2", 1, "RSA exponent is smaller than 3", "e is 2");
    create(n, 256, "\4", 1, "RSA exponent is even", "e is 4");
    create(n, 256, "\1\0\0", 3, "RSA exponent is even", "e is 65536");
    create(n, 256, "\1\0\0\0\0\0\0\0\1", 9,
           "RSA exponent is larger than 64 bits", "e has 65 bits");
    create(n, 256, (char *) n, 256, "RSA exponent is larger than 64 bits",
           "e is as large as n");

    n[255] &= 0xfe;
    create(n, 256, "\1\0\1", 3, "RSA modulus is even", "even modulus");
}


static void
test_thumbprint(void)
{
    u_char                n[260], e[8], hash[32];
    ngx_str_t             f[2];
    ngx_uint_t            i;
    const char           *reason;
    ngx_http_unit_rsa_t  *a, *b, *c;

    memset(n, 0, sizeof(n));
    memset(e, 0, sizeof(e));

    for (i = 4; i < sizeof(n); i++) {
        n[i] = (u_char) kit_random(256);
    }

    n[4] |= 0x80;
    n[259] |= 1;
    e[5] = 1;
    e[7] = 1;

    ngx_http_unit_rsa_create(pool, n + 4, 256, e + 5, 3, &a, &reason);
    ngx_http_unit_rsa_create(pool, n, 260, e, 8, &b, &reason);

    f[0].data = n + 4;
    f[0].len = 256;
    f[1].data = e + 5;
    f[1].len = 3;
    ngx_http_unit_sha256(f, 2, 0, hash);

    if (!ok(a != NULL && b != NULL, "two keys")) {
        return;
    }

    ok(memcmp(ngx_http_unit_rsa_thumbprint(a), hash, 32) == 0,
       "thumbprint is the hash of n and e");
    ok(memcmp(ngx_http_unit_rsa_thumbprint(b), hash, 32) == 0,
       "leading zeros do not change it");

    e[7] = 3;
    ngx_http_unit_rsa_create(pool, n, 260, e, 8, &c, &reason);
    ok(c && memcmp(ngx_http_unit_rsa_thumbprint(c), hash, 32) != 0,
       "another exponent does");

    for (i = 1; i < 3; i++) {
        ngx_stub_fail(i);

        if (ngx_http_unit_rsa_create(pool, n, 260, e, 8, &c, &reason)
            == NGX_OK)
        {
            break;
        }

        ok(c == NULL, "allocation %d fails: no key", (int) i);
    }

    ngx_stub_fail(0);
    ok(i > 1, "out of memory was tried");
}


static ngx_int_t
create_pem(const char *pem, size_t len)
{
    ngx_int_t             rc;
    const char           *reason;
    ngx_http_unit_rsa_t  *key;

    rc = ngx_http_unit_rsa_create_pem(pool, (const u_char *) pem, len, &key,
                                      &reason);

    /* exactly one of them */

    if ((rc == NGX_OK) != (key != NULL)
        || (rc == NGX_DECLINED) != (reason != NULL)
        || ERR_peek_error() != 0)
    {
        return NGX_ABORT;
    }

    return rc;
}


static char *
private_pem(EVP_PKEY *key)
{
    BIO   *bio;
    char  *data, *pem;
    long   len;

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    len = BIO_get_mem_data(bio, &data);
    pem = kit_format("%.*s", (int) len, data);
    BIO_free(bio);

    return pem;
}


/* the same key with a byte more at the end of its DER */

static char *
longer_pem(EVP_PKEY *key)
{
    int      len;
    char    *pem, *b64;
    u_char  *der;

    der = NULL;
    len = i2d_PUBKEY(key, &der);
    der = OPENSSL_realloc(der, len + 1);
    der[len] = 0;

    b64 = malloc(4 * (len + 3));
    EVP_EncodeBlock((u_char *) b64, der, len + 1);

    pem = kit_format("-----BEGIN PUBLIC KEY-----\n%s\n"
                     "-----END PUBLIC KEY-----\n", b64);

    free(b64);
    OPENSSL_free(der);

    return pem;
}


static void
test_pem(EVP_PKEY *key, EVP_PKEY *small)
{
    char          *pem, *other;
    size_t         i;
    EVP_PKEY      *ec, *pss;
    ngx_uint_t     wrong;
    EVP_PKEY_CTX  *ctx;

    pem = kit_pem(key);

    is(create_pem(pem, strlen(pem)), NGX_OK, "a PEM key");

    other = kit_format("some text\n%s\nmore text\n", pem);
    is(create_pem(other, strlen(other)), NGX_OK, "text around it");
    free(other);

    other = kit_format("%s%s", pem, pem);
    is(create_pem(other, strlen(other)), NGX_DECLINED, "two keys");
    free(other);

    other = longer_pem(key);
    is(create_pem(other, strlen(other)), NGX_DECLINED, "a byte after the key");
    free(other);

    other = private_pem(key);
    is(create_pem(other, strlen(other)), NGX_DECLINED, "a private key");
    free(other);

    other = kit_pem(small);
    is(create_pem(other, strlen(other)), NGX_DECLINED, "1024 bits");
    free(other);

    ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    other = kit_pem(ec);
    is(create_pem(other, strlen(other)), NGX_DECLINED, "an EC key");
    free(other);
    EVP_PKEY_free(ec);

    pss = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    EVP_PKEY_keygen_init(ctx);
    EVP_PKEY_generate(ctx, &pss);
    EVP_PKEY_CTX_free(ctx);

    other = kit_pem(pss);
    is(create_pem(other, strlen(other)), NGX_DECLINED, "an RSA-PSS key");
    free(other);
    EVP_PKEY_free(pss);

    is(create_pem("", 0), NGX_DECLINED, "nothing");
    is(create_pem("x", 1), NGX_DECLINED, "no PEM");

    other = kit_format("-----BEGIN PUBLIC KEY-----\n"
                       "Proc-Type: 4,ENCRYPTED\n"
                       "DEK-Info: AES-128-CBC,00000000000000000000000000000000"
                       "\n\n%s", strchr(pem, '\n') + 1);
    is(create_pem(other, strlen(other)), NGX_DECLINED,
       "an encrypted one, without asking for a password");
    free(other);

    other = malloc(10000);
    memset(other, '\n', 10000);
    memcpy(other, pem, strlen(pem));
    is(create_pem(other, 10000), NGX_DECLINED, "too long");
    free(other);

    wrong = 0;

    for (i = 0; i < strlen(pem) - 1; i += 3) {
        if (create_pem(pem, i) != NGX_DECLINED) {
            wrong++;
        }
    }

    is(wrong, 0, "cut off anywhere");

    free(pem);
}


int
main(void)
{
    EVP_PKEY  *small, *key;

    pool = ngx_create_pool(4096, NULL);

    small = kit_rsa(1024, 65537);
    key = kit_rsa(2048, 65537);

    test_create();
    test_thumbprint();
    test_pem(key, small);

    EVP_PKEY_free(small);
    EVP_PKEY_free(key);

    ngx_destroy_pool(pool);

    return done_testing();
}
