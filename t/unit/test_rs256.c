
/*
 * RS256.  Proves that only what RFC 7515, 7518 and 8017 call valid is
 * accepted, that nothing stays in OpenSSL's error queue (P33), and that keys
 * survive a fork().
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <sys/wait.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include "ngx_http_unit_crypto.h"
#include "tap.h"
#include "jwt_kit.h"


#define is_clean(name)  ok(ERR_peek_error() == 0, "error queue empty: %s", name)


/* RFC 7515, appendix A.2 */

static const char  rfc_n[] =
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJ"
    "rcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo"
    "9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapH"
    "g665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
    "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

static const char  rfc_text[] =
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0d"
    "HA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

static const char  rfc_signature[] =
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-"
    "0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrn"
    "byTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi1"
    "2jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs"
    "98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/* DER of DigestInfo for SHA-256, without the digest */

static const u_char  digest_info[] = {
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
    0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20
};


static ngx_pool_t  *pool;


static ngx_http_unit_rsa_t *
public_key(EVP_PKEY *pkey)
{
    size_t                nlen, elen;
    u_char               *n, *e;
    const char           *reason;
    ngx_http_unit_rsa_t  *key;

    n = kit_modulus(pkey, &nlen);
    e = kit_exponent(pkey, &elen);

    is(ngx_http_unit_rsa_create(pool, n, nlen, e, elen, &key, &reason),
       NGX_OK, "key created");

    free(n);
    free(e);

    return key;
}


static void
test_rfc(void)
{
    u_char                n[300], sig[300];
    ssize_t               nlen, siglen;
    const char           *reason;
    ngx_http_unit_rsa_t  *key;

    nlen = ngx_http_unit_base64url_decode(n, (u_char *) rfc_n,
                                          sizeof(rfc_n) - 1);
    siglen = ngx_http_unit_base64url_decode(sig, (u_char *) rfc_signature,
                                            sizeof(rfc_signature) - 1);

    is(nlen, 256, "RFC 7515 A.2: modulus");
    is(siglen, 256, "RFC 7515 A.2: signature");

    is(ngx_http_unit_rsa_create(pool, n, nlen, (u_char *) "\1\0\1", 3, &key,
                                &reason),
       NGX_OK, "RFC 7515 A.2: key");

    is(ngx_http_unit_rs256_verify(key, (u_char *) rfc_text,
                                  sizeof(rfc_text) - 1, sig, siglen),
       NGX_OK, "RFC 7515 A.2: verified");
    is(ngx_http_unit_rs256_verify(key, (u_char *) rfc_text,
                                  sizeof(rfc_text) - 2, sig, siglen),
       NGX_DECLINED, "RFC 7515 A.2: not without the last byte");
}


/* the bare private operation on an encoded message */

static void
raw_sign(EVP_PKEY *pkey, const u_char *em, size_t len, u_char *sig)
{
    size_t         siglen;
    EVP_PKEY_CTX  *ctx;

    siglen = len;
    ctx = EVP_PKEY_CTX_new(pkey, NULL);

    if (EVP_PKEY_sign_init(ctx) != 1
        || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) != 1
        || EVP_PKEY_sign(ctx, sig, &siglen, em, len) != 1
        || siglen != len)
    {
        ok(0, "raw signature");
    }

    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}


static void
test_padding(EVP_PKEY *pkey, const char *name)
{
    size_t                len, t;
    u_char                em[512], good[512], sig[512], digest[32];
    ngx_http_unit_rsa_t  *key;

    static const u_char   text[] = "text";

    /* AlgorithmIdentifier without NULL: accepted by some, not by RFC 8017 */
    static const u_char   no_null[] = {
        0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65,
        0x03, 0x04, 0x02, 0x01, 0x04, 0x20
    };

#define is_refused(what)                                                      \
    raw_sign(pkey, em, len, sig);                                             \
    ok(ngx_http_unit_rs256_verify(key, text, 4, sig, len) == NGX_DECLINED,    \
       "%s: %s", name, what);                                                 \
    memcpy(em, good, len)

    key = public_key(pkey);
    len = (size_t) EVP_PKEY_get_size(pkey);
    t = sizeof(digest_info) + 32;

    EVP_Digest(text, 4, digest, NULL, EVP_sha256(), NULL);

    memset(good, 0xff, len);
    good[0] = 0;
    good[1] = 1;
    good[len - t - 1] = 0;
    memcpy(good + len - t, digest_info, sizeof(digest_info));
    memcpy(good + len - 32, digest, 32);

    memcpy(em, good, len);
    raw_sign(pkey, em, len, sig);
    is(ngx_http_unit_rs256_verify(key, text, 4, sig, len), NGX_OK,
       "a hand-made signature");

    em[1] = 2;
    is_refused("block type 2");

    em[1] = 0;
    is_refused("block type 0");

    em[2] = 0xfe;
    is_refused("padding is not all ff");

    em[len - t - 1] = 0xff;
    is_refused("no separator");

    memset(em + len - t - 1, 0xff, 1);
    em[10] = 0;
    is_refused("separator too early");

    /* the digest in front, the rest free: what breaks low exponents */

    memset(em + 2, 0xff, 8);
    em[10] = 0;
    memcpy(em + 11, digest_info, sizeof(digest_info));
    memcpy(em + 11 + sizeof(digest_info), digest, 32);
    memset(em + 11 + t, 0, len - 11 - t);
    is_refused("bytes after the digest");

    memset(em + 2, 0xff, len - 2);
    em[len - sizeof(no_null) - 33] = 0;
    memcpy(em + len - sizeof(no_null) - 32, no_null, sizeof(no_null));
    memcpy(em + len - 32, digest, 32);
    is_refused("parameters are not NULL");

    em[len - 32 - 2 - 3] = 2;
    is_refused("another hash's identifier");

    em[len - 33] = 0x1f;
    is_refused("wrong length of the digest");

    em[len - 1] ^= 1;
    is_refused("wrong digest");

    memset(em + 2, 0xff, len - 2);
    em[len - 33] = 0;
    memcpy(em + len - 32, digest, 32);
    is_refused("the bare digest");

    is_clean(name);
}


#define verify(d, dlen, sg, slen)                                             \
    ngx_http_unit_rs256_verify(key, (const u_char *) (d), dlen, sg, slen)


static const u_char  text[] = "header.payload";


/* signatures that are numbers of interest; sig is the good one */

static void
test_values(ngx_http_unit_rsa_t *key, EVP_PKEY *pkey, const u_char *sig,
    size_t len)
{
    size_t   nlen;
    BIGNUM  *bn, *bs;
    u_char   bad[600], *n;

    memset(bad, 0, len);
    is(verify(text, 14, bad, len), NGX_DECLINED, "signature is 0");
    bad[len - 1] = 1;
    is(verify(text, 14, bad, len), NGX_DECLINED, "signature is 1");
    memset(bad, 0xff, len);
    is(verify(text, 14, bad, len), NGX_DECLINED, "signature is all ff");

    n = kit_modulus(pkey, &nlen);
    is(verify(text, 14, n, len), NGX_DECLINED, "signature is n");

    /* s + n has the same value modulo n */

    bn = BN_bin2bn(n, (int) nlen, NULL);
    bs = BN_bin2bn(sig, (int) len, NULL);
    BN_add(bs, bs, bn);

    if (BN_bn2binpad(bs, bad, (int) len) == -1) {
        memcpy(bad, n, len);
    }

    is(verify(text, 14, bad, len), NGX_DECLINED, "signature plus n");

    BN_bn2binpad(bs, bad, (int) len + 1);
    is(verify(text, 14, bad, len + 1), NGX_DECLINED,
       "signature plus n, a byte longer");

    BN_free(bn);
    BN_free(bs);
    free(n);
}


static void
test_verify(EVP_PKEY *pkey)
{
    char                 *s;
    size_t                len;
    u_char                sig[600], bad[600];
    ngx_uint_t            i, wrong;
    ngx_http_unit_rsa_t  *key;

    static const char    *digests[] = { "SHA1", "SHA224", "SHA384", "SHA512",
                                        "SHA512-256", "MD5", "SHA3-256" };

    key = public_key(pkey);

    s = kit_sign(pkey, "SHA256", (char *) text);
    len = (size_t) ngx_http_unit_base64url_decode(sig, (u_char *) s,
                                                  strlen(s));
    free(s);

    is(verify(text, 14, sig, len), NGX_OK, "a good signature");

    wrong = 0;

    for (i = 0; i < len * 8; i += 1 + kit_random(8)) {
        memcpy(bad, sig, len);
        bad[i / 8] ^= (u_char) (1 << (i % 8));

        if (verify(text, 14, bad, len) != NGX_DECLINED) {
            wrong++;
        }
    }

    is(wrong, 0, "flipped bits");

    wrong = 0;

    for (i = 0; i < len; i++) {
        if (verify(text, 14, sig, i) != NGX_DECLINED
            || verify(text, 14, sig + i, len - i)
               != (i ? NGX_DECLINED : NGX_OK))
        {
            wrong++;
        }
    }

    is(wrong, 0, "truncated at either end");

    memcpy(bad, sig, len);
    bad[len] = 0;
    is(verify(text, 14, bad, len + 1), NGX_DECLINED, "a byte behind it");

    bad[0] = 0;
    memcpy(bad + 1, sig, len);
    is(verify(text, 14, bad, len + 1), NGX_DECLINED, "a zero before it");

    test_values(key, pkey, sig, len);

    is(verify(text, 13, sig, len), NGX_DECLINED, "shorter text");
    is(verify("Header.payload", 14, sig, len), NGX_DECLINED, "other text");
    is(verify("", 0, sig, len), NGX_DECLINED, "no text");

    for (i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        s = kit_sign(pkey, digests[i], (char *) text);
        ngx_http_unit_base64url_decode(bad, (u_char *) s, strlen(s));
        free(s);

        ok(verify(text, 14, bad, len) == NGX_DECLINED, "signed with %s",
           digests[i]);
    }

    is(verify(text, 14, sig, len), NGX_OK,
       "the good one is still good after all that");

    is_clean("signatures");
}


static void
test_foreign(EVP_PKEY *a, EVP_PKEY *b)
{
    int                   status;
    char                 *s;
    pid_t                 pid;
    size_t                len;
    u_char                sig[600];
    ngx_http_unit_rsa_t  *key, *other;

    key = public_key(a);
    other = public_key(b);

    s = kit_sign(a, "SHA256", "text");
    len = (size_t) ngx_http_unit_base64url_decode(sig, (u_char *) s,
                                                  strlen(s));
    free(s);

    is(ngx_http_unit_rs256_verify(other, (u_char *) "text", 4, sig, len),
       NGX_DECLINED, "signed by another key");

    /* keys are made in the master and used in workers */

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        _exit(ngx_http_unit_rs256_verify(key, (u_char *) "text", 4, sig, len)
              != NGX_OK
              || ngx_http_unit_rs256_verify(key, (u_char *) "texT", 4, sig,
                                            len)
                 != NGX_DECLINED);
    }

    status = -1;
    ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
       "the key works in a child");
    is(ngx_http_unit_rs256_verify(key, (u_char *) "text", 4, sig, len),
       NGX_OK, "and in the parent");
}


int
main(void)
{
    EVP_PKEY  *a, *b, *low, *large;

    pool = ngx_create_pool(4096, NULL);

    a = kit_rsa(2048, 65537);
    b = kit_rsa(2048, 65537);
    low = kit_rsa(2048, 3);
    large = kit_rsa(4096, 65537);

    test_rfc();
    test_padding(a, "e 65537");
    test_padding(low, "e 3");
    test_verify(a);
    test_verify(low);
    test_verify(large);
    test_foreign(a, b);

    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
    EVP_PKEY_free(low);
    EVP_PKEY_free(large);

    ngx_destroy_pool(pool);

    return done_testing();
}
