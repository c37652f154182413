
/*
 * The few OpenSSL calls of the gateway.  Called from the access phase (token
 * hashes, signatures), and while configuration and key sets are loaded.
 *
 * The digest and HMAC contexts are one per process and live as long as it
 * does; they hold no descriptor, lock or thread, so that a worker may go on
 * with what it inherited from the master.  Nothing here may leave anything
 * in OpenSSL's error queue: nginx would report it on somebody else's
 * connection.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include "ngx_http_unit_crypto.h"


/* room for the fields of a cache key, which then are hashed in one call */
#define NGX_HTTP_UNIT_CRYPTO_GATHER  512

/* the longest HMAC key that is known again: any secret of idempotency's */
#define NGX_HTTP_UNIT_CRYPTO_KEY     256

/* HMAC keys that are: the secret, and what is derived from it */
#define NGX_HTTP_UNIT_CRYPTO_MACS    2


/* a MAC context, and the key that it was last set up with; length 0: none */
typedef struct {
    EVP_MAC_CTX  *ctx;
    size_t        len;
    u_char        key[NGX_HTTP_UNIT_CRYPTO_KEY];
} ngx_http_unit_crypto_mac_t;


/* EVP_DigestUpdate() or EVP_MAC_update() */
typedef int (*ngx_http_unit_crypto_update_pt)(const u_char *p, size_t len);


static ngx_int_t ngx_http_unit_crypto_digest_init(void);
static ngx_int_t ngx_http_unit_crypto_mac_init(const ngx_str_t *key);
static EVP_MAC_CTX *ngx_http_unit_crypto_mac_create(void);
static int ngx_http_unit_crypto_digest_update(const u_char *p, size_t len);
static int ngx_http_unit_crypto_mac_update(const u_char *p, size_t len);
static ngx_int_t ngx_http_unit_crypto_fields(
    ngx_http_unit_crypto_update_pt update, const ngx_str_t *fields,
    ngx_uint_t n);
static void ngx_http_unit_crypto_length(u_char p[8], size_t len);


/* one per process, made when first needed */
static EVP_MD       *ngx_http_unit_crypto_md;
static EVP_MD_CTX   *ngx_http_unit_crypto_md_ctx;

static ngx_http_unit_crypto_mac_t
                     ngx_http_unit_crypto_macs[NGX_HTTP_UNIT_CRYPTO_MACS];

/* the one of them that was used last */
static ngx_http_unit_crypto_mac_t  *ngx_http_unit_crypto_mac;


/* 0xff: not of the alphabet */
static const u_char  ngx_http_unit_crypto_base64url[256] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0x3e, 0xff, 0xff,        /* - */
    0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b,        /* 0 to 7 */
    0x3c, 0x3d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,        /* 8, 9 */
    0xff, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,        /* A to G */
    0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e,        /* H to O */
    0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,        /* P to W */
    0x17, 0x18, 0x19, 0xff, 0xff, 0xff, 0xff, 0x3f,        /* X, Y, Z, _ */
    0xff, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20,        /* a to g */
    0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,        /* h to o */
    0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30,        /* p to w */
    0x31, 0x32, 0x33, 0xff, 0xff, 0xff, 0xff, 0xff,        /* x, y, z */
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
};


ngx_int_t
ngx_http_unit_sha256(const ngx_str_t *fields, ngx_uint_t n, ngx_uint_t plain,
    u_char out[NGX_HTTP_UNIT_SHA256_LEN])
{
    ngx_int_t  rc;

    if (plain && n != 1) {
        return NGX_ERROR;
    }

    if (ngx_http_unit_crypto_digest_init() != NGX_OK) {
        return NGX_ERROR;
    }

    if (plain) {
        rc = (ngx_http_unit_crypto_digest_update(fields[0].data, fields[0].len)
              == 1)
             ? NGX_OK : NGX_ERROR;

    } else {
        rc = ngx_http_unit_crypto_fields(ngx_http_unit_crypto_digest_update,
                                         fields, n);
    }

    if (rc != NGX_OK
        || EVP_DigestFinal_ex(ngx_http_unit_crypto_md_ctx, out, NULL) != 1)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


static int
ngx_http_unit_crypto_digest_update(const u_char *p, size_t len)
{
    return EVP_DigestUpdate(ngx_http_unit_crypto_md_ctx, p, len);
}


static int
ngx_http_unit_crypto_mac_update(const u_char *p, size_t len)
{
    return EVP_MAC_update(ngx_http_unit_crypto_mac->ctx, p, len);
}


/*
 * Fields with their lengths, in as few pieces as can be: calls of OpenSSL cost
 * more than the few bytes of a cache key.  A long field, as the body of a
 * request, is not copied.
 */

static ngx_int_t
ngx_http_unit_crypto_fields(ngx_http_unit_crypto_update_pt update,
    const ngx_str_t *fields, ngx_uint_t n)
{
    u_char     *p, *last, buf[NGX_HTTP_UNIT_CRYPTO_GATHER];
    ngx_int_t   rc;

    rc = NGX_ERROR;
    p = buf;
    last = buf + sizeof(buf);

    for ( /* void */ ; n; fields++, n--) {

        if (last - p < 8) {

            if (update(buf, p - buf) != 1) {
                goto done;
            }

            p = buf;
        }

        ngx_http_unit_crypto_length(p, fields->len);
        p += 8;

        if (fields->len == 0) {
            continue;
        }

        if (fields->len <= (size_t) (last - p)) {
            p = ngx_cpymem(p, fields->data, fields->len);
            continue;
        }

        if (update(buf, p - buf) != 1
            || update(fields->data, fields->len) != 1)
        {
            goto done;
        }

        p = buf;
    }

    if (p == buf || update(buf, p - buf) == 1) {
        rc = NGX_OK;
    }

done:

    ngx_explicit_memzero(buf, sizeof(buf));

    return rc;
}


ngx_int_t
ngx_http_unit_hmac(const ngx_str_t *key, const ngx_str_t *fields,
    ngx_uint_t n, u_char out[NGX_HTTP_UNIT_SHA256_LEN])
{
    size_t  len;

    if (ngx_http_unit_crypto_mac_init(key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_unit_crypto_fields(ngx_http_unit_crypto_mac_update, fields, n)
        != NGX_OK
        || EVP_MAC_final(ngx_http_unit_crypto_mac->ctx, out, &len,
                         NGX_HTTP_UNIT_SHA256_LEN)
           != 1
        || len != NGX_HTTP_UNIT_SHA256_LEN)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_random(u_char *p, size_t len)
{
    if (len > INT_MAX || RAND_bytes(p, (int) len) != 1) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_equal(const u_char *a, size_t alen, const u_char *b, size_t blen)
{
    if (alen != blen) {
        return 0;
    }

    return CRYPTO_memcmp(a, b, alen) == 0;
}


ssize_t
ngx_http_unit_base64url_decode(u_char *dst, const u_char *src, size_t len)
{
    u_char         a, b, c, e, *d;
    const u_char  *table;

    table = ngx_http_unit_crypto_base64url;
    d = dst;

    for ( /* void */ ; len >= 4; len -= 4) {
        a = table[src[0]];
        b = table[src[1]];
        c = table[src[2]];
        e = table[src[3]];

        /* values have six bits */

        if ((a | b | c | e) & 0xc0) {
            return NGX_DECLINED;
        }

        *d++ = (u_char) (a << 2 | b >> 4);
        *d++ = (u_char) (b << 4 | c >> 2);
        *d++ = (u_char) (c << 6 | e);

        src += 4;
    }

    if (len == 0) {
        return d - dst;
    }

    if (len == 1) {
        return NGX_DECLINED;
    }

    a = table[src[0]];
    b = table[src[1]];
    c = (len == 3) ? table[src[2]] : 0;

    if ((a | b | c) & 0xc0) {
        return NGX_DECLINED;
    }

    *d++ = (u_char) (a << 2 | b >> 4);

    /* unused bits of the last character must be zero: one text per value */

    if (len == 2) {
        return (b & 0x0f) ? NGX_DECLINED : d - dst;
    }

    *d++ = (u_char) (b << 4 | c >> 2);

    return (c & 0x03) ? NGX_DECLINED : d - dst;
}


size_t
ngx_http_unit_base64url_encode(u_char *dst, const u_char *src, size_t len)
{
    u_char               *d;
    uint32_t              bits;
    static const u_char   alphabet[] =
           "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    d = dst;

    for ( /* void */ ; len >= 3; len -= 3) {
        bits = ((uint32_t) src[0] << 16) | ((uint32_t) src[1] << 8) | src[2];

        *d++ = alphabet[bits >> 18];
        *d++ = alphabet[(bits >> 12) & 0x3f];
        *d++ = alphabet[(bits >> 6) & 0x3f];
        *d++ = alphabet[bits & 0x3f];

        src += 3;
    }

    if (len == 2) {
        bits = ((uint32_t) src[0] << 8) | src[1];

        *d++ = alphabet[bits >> 10];
        *d++ = alphabet[(bits >> 4) & 0x3f];
        *d++ = alphabet[(bits << 2) & 0x3f];

    } else if (len == 1) {
        *d++ = alphabet[src[0] >> 2];
        *d++ = alphabet[(src[0] << 4) & 0x3f];
    }

    return d - dst;
}


static ngx_int_t
ngx_http_unit_crypto_digest_init(void)
{
    if (ngx_http_unit_crypto_md == NULL) {
        ngx_http_unit_crypto_md = EVP_MD_fetch(NULL, "SHA2-256", NULL);

        if (ngx_http_unit_crypto_md == NULL) {
            goto failed;
        }
    }

    if (ngx_http_unit_crypto_md_ctx == NULL) {
        ngx_http_unit_crypto_md_ctx = EVP_MD_CTX_new();

        if (ngx_http_unit_crypto_md_ctx == NULL) {
            goto failed;
        }
    }

    /* also forgets what an earlier failure left half done */

    if (EVP_DigestInit_ex2(ngx_http_unit_crypto_md_ctx,
                           ngx_http_unit_crypto_md, NULL)
        != 1)
    {
        goto failed;
    }

    return NGX_OK;

failed:

    ERR_clear_error();

    return NGX_ERROR;
}


/*
 * To set a key up takes most of the time of a short HMAC.  Of two contexts the
 * one that was not used last gets a new key, so that the secret, which comes
 * before each key that is derived from it, stays.
 */

static ngx_int_t
ngx_http_unit_crypto_mac_init(const ngx_str_t *key)
{
    ngx_uint_t                   i;
    const u_char                *data;
    ngx_http_unit_crypto_mac_t  *mac;

    for (i = 0; i < NGX_HTTP_UNIT_CRYPTO_MACS; i++) {

        mac = &ngx_http_unit_crypto_macs[i];

        /* both are ours: there is nobody whom the time would tell anything */

        if (key->len && key->len == mac->len
            && ngx_memcmp(key->data, mac->key, key->len) == 0)
        {
            ngx_http_unit_crypto_mac = mac;

            if (EVP_MAC_init(mac->ctx, NULL, 0, NULL) != 1) {
                goto failed;
            }

            return NGX_OK;
        }
    }

    mac = ngx_http_unit_crypto_macs;

    if (mac == ngx_http_unit_crypto_mac) {
        mac++;
    }

    ngx_http_unit_crypto_mac = mac;
    mac->len = 0;

    if (mac->ctx == NULL) {
        mac->ctx = ngx_http_unit_crypto_mac_create();

        if (mac->ctx == NULL) {
            goto failed;
        }
    }

    /* not NULL: that would be the key of before */
    data = key->len ? key->data : (const u_char *) "";

    if (EVP_MAC_init(mac->ctx, data, key->len, NULL) != 1) {
        goto failed;
    }

    if (key->len <= sizeof(mac->key)) {
        ngx_memcpy(mac->key, data, key->len);
        mac->len = key->len;
    }

    return NGX_OK;

failed:

    mac->len = 0;
    ERR_clear_error();

    return NGX_ERROR;
}


static EVP_MAC_CTX *
ngx_http_unit_crypto_mac_create(void)
{
    EVP_MAC      *mac;
    OSSL_PARAM    params[2];
    EVP_MAC_CTX  *ctx;

    mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    if (mac == NULL) {
        return NULL;
    }

    ctx = EVP_MAC_CTX_new(mac);

    /* the context holds a reference of its own */
    EVP_MAC_free(mac);

    if (ctx == NULL) {
        return NULL;
    }

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 (char *) "SHA2-256", 0);
    params[1] = OSSL_PARAM_construct_end();

    if (EVP_MAC_CTX_set_params(ctx, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


static void
ngx_http_unit_crypto_length(u_char p[8], size_t len)
{
    uint64_t  n;

    /* big-endian, which compilers know how to do at once */

    n = len;

    p[0] = (u_char) (n >> 56);
    p[1] = (u_char) (n >> 48);
    p[2] = (u_char) (n >> 40);
    p[3] = (u_char) (n >> 32);
    p[4] = (u_char) (n >> 24);
    p[5] = (u_char) (n >> 16);
    p[6] = (u_char) (n >> 8);
    p[7] = (u_char) n;
}
