
/*
 * RSA public keys and RS256.  Keys are made when configuration and key sets
 * are loaded, signatures are verified in the access phase.
 *
 * A key belongs to a pool; the cleanup that frees it is registered before
 * OpenSSL makes anything.  Every failure drains OpenSSL's error queue.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include "ngx_http_unit_crypto.h"


#define NGX_HTTP_UNIT_RSA_MIN_BITS  2048
#define NGX_HTTP_UNIT_RSA_MAX_BITS  8192
#define NGX_HTTP_UNIT_RSA_MAX_E     8       /* bytes */
#define NGX_HTTP_UNIT_RSA_MAX_PEM   8192    /* bytes */


struct ngx_http_unit_rsa_s {
    EVP_PKEY      *pkey;
    EVP_PKEY_CTX  *ctx;     /* of pkey, set up for RS256 verification */
    size_t         size;    /* of the modulus and of each signature, bytes */
    u_char         thumbprint[NGX_HTTP_UNIT_SHA256_LEN];
};


static const char *ngx_http_unit_rsa_check(const u_char *n, size_t nlen,
    const u_char *e, size_t elen);
static ngx_int_t ngx_http_unit_rsa_load(ngx_http_unit_rsa_t *key,
    const u_char *n, size_t nlen, const u_char *e, size_t elen);
static ngx_int_t ngx_http_unit_rsa_verify_init(ngx_http_unit_rsa_t *key);
static void ngx_http_unit_rsa_cleanup(void *data);
static EVP_PKEY *ngx_http_unit_rsa_read_pem(const u_char *pem, size_t len);
static int ngx_http_unit_rsa_no_password(char *buf, int size, int rwflag,
    void *data);


ngx_int_t
ngx_http_unit_rsa_create(ngx_pool_t *pool, const u_char *n, size_t nlen,
    const u_char *e, size_t elen, ngx_http_unit_rsa_t **out,
    const char **reason)
{
    ngx_str_t             fields[2];
    ngx_pool_cleanup_t   *cln;
    ngx_http_unit_rsa_t  *key;

    *out = NULL;
    *reason = NULL;

    /* some encoders put zero bytes in front; the thumbprint must not differ */

    while (nlen != 0 && n[0] == 0) {
        n++;
        nlen--;
    }

    while (elen != 0 && e[0] == 0) {
        e++;
        elen--;
    }

    *reason = ngx_http_unit_rsa_check(n, nlen, e, elen);
    if (*reason != NULL) {
        return NGX_DECLINED;
    }

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_unit_rsa_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    key = cln->data;
    ngx_memzero(key, sizeof(ngx_http_unit_rsa_t));

    cln->handler = ngx_http_unit_rsa_cleanup;

    key->size = nlen;

    fields[0].data = (u_char *) n;
    fields[0].len = nlen;
    fields[1].data = (u_char *) e;
    fields[1].len = elen;

    if (ngx_http_unit_sha256(fields, 2, 0, key->thumbprint) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_unit_rsa_load(key, n, nlen, e, elen) != NGX_OK
        || ngx_http_unit_rsa_verify_init(key) != NGX_OK)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    *out = key;

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_rsa_create_pem(ngx_pool_t *pool, const u_char *pem, size_t len,
    ngx_http_unit_rsa_t **out, const char **reason)
{
    int         nlen, elen;
    BIGNUM     *n, *e;
    u_char      nbuf[NGX_HTTP_UNIT_RSA_MAX_BITS / 8];
    u_char      ebuf[NGX_HTTP_UNIT_RSA_MAX_E];
    EVP_PKEY   *pkey;
    ngx_int_t   rc;

    *out = NULL;
    *reason = NULL;

    n = NULL;
    e = NULL;
    rc = NGX_DECLINED;

    pkey = ngx_http_unit_rsa_read_pem(pem, len);

    if (pkey == NULL || !EVP_PKEY_is_a(pkey, "RSA")) {
        *reason = "not one RSA public key in PEM form";
        goto done;
    }

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1
        || EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
    {
        rc = NGX_ERROR;
        goto done;
    }

    if (BN_num_bits(n) > NGX_HTTP_UNIT_RSA_MAX_BITS
        || BN_num_bits(e) > NGX_HTTP_UNIT_RSA_MAX_E * 8)
    {
        *reason = "RSA modulus or exponent is too large";
        goto done;
    }

    nlen = BN_bn2bin(n, nbuf);
    elen = BN_bn2bin(e, ebuf);

    rc = ngx_http_unit_rsa_create(pool, nbuf, nlen, ebuf, elen, out, reason);

done:

    BN_free(n);
    BN_free(e);
    EVP_PKEY_free(pkey);

    if (rc != NGX_OK) {
        ERR_clear_error();
    }

    return rc;
}


const u_char *
ngx_http_unit_rsa_thumbprint(const ngx_http_unit_rsa_t *key)
{
    return key->thumbprint;
}


ngx_int_t
ngx_http_unit_rs256_verify(ngx_http_unit_rsa_t *key, const u_char *data,
    size_t len, const u_char *sig, size_t siglen)
{
    int            rc;
    u_char         digest[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_str_t      field;
    unsigned long  error;

    if (siglen != key->size) {
        return NGX_DECLINED;
    }

    field.data = (u_char *) data;
    field.len = len;

    if (ngx_http_unit_sha256(&field, 1, 1, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = EVP_PKEY_verify(key->ctx, sig, siglen, digest, sizeof(digest));

    if (rc == 1) {
        return NGX_OK;
    }

    /* the same 0 says that memory ran out while the signature was checked */

    error = ERR_peek_last_error();
    ERR_clear_error();

    if (rc != 0 || ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) {
        return NGX_ERROR;
    }

    return NGX_DECLINED;
}


/* n and e without leading zero bytes; NULL means good */

static const char *
ngx_http_unit_rsa_check(const u_char *n, size_t nlen, const u_char *e,
    size_t elen)
{
    u_char  top;
    size_t  bits;

    if (nlen > NGX_HTTP_UNIT_RSA_MAX_BITS / 8) {
        return "RSA modulus is larger than 8192 bits";
    }

    bits = nlen * 8;

    for (top = nlen ? n[0] : 0x80; !(top & 0x80); top = (u_char) (top << 1)) {
        bits--;
    }

    if (bits < NGX_HTTP_UNIT_RSA_MIN_BITS) {
        return "RSA modulus is smaller than 2048 bits";
    }

    if (!(n[nlen - 1] & 1)) {
        return "RSA modulus is even";
    }

    if (elen == 0 || (elen == 1 && e[0] < 3)) {
        return "RSA exponent is smaller than 3";
    }

    if (elen > NGX_HTTP_UNIT_RSA_MAX_E) {
        return "RSA exponent is larger than 64 bits";
    }

    if (!(e[elen - 1] & 1)) {
        return "RSA exponent is even";
    }

    return NULL;
}


static ngx_int_t
ngx_http_unit_rsa_load(ngx_http_unit_rsa_t *key, const u_char *n,
    size_t nlen, const u_char *e, size_t elen)
{
    BIGNUM          *bn, *be;
    ngx_int_t        rc;
    OSSL_PARAM      *params;
    EVP_PKEY_CTX    *ctx;
    OSSL_PARAM_BLD  *bld;

    rc = NGX_ERROR;

    ctx = NULL;
    params = NULL;

    bn = BN_bin2bn(n, (int) nlen, NULL);
    be = BN_bin2bn(e, (int) elen, NULL);
    bld = OSSL_PARAM_BLD_new();

    if (bn == NULL || be == NULL || bld == NULL
        || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) != 1
        || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be) != 1)
    {
        goto done;
    }

    params = OSSL_PARAM_BLD_to_param(bld);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

    if (params == NULL || ctx == NULL
        || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &key->pkey, EVP_PKEY_PUBLIC_KEY, params)
           != 1)
    {
        goto done;
    }

    rc = NGX_OK;

done:

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    BN_free(bn);
    BN_free(be);

    return rc;
}


/*
 * The context is made once, in the master for keys of the configuration, and
 * used by all workers: it is plain memory, each process has its copy of it,
 * and a verification that failed leaves nothing behind in it.
 */

static ngx_int_t
ngx_http_unit_rsa_verify_init(ngx_http_unit_rsa_t *key)
{
    key->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);

    if (key->ctx == NULL
        || EVP_PKEY_verify_init(key->ctx) != 1
        || EVP_PKEY_CTX_set_rsa_padding(key->ctx, RSA_PKCS1_PADDING) != 1
        || EVP_PKEY_CTX_set_signature_md(key->ctx, EVP_sha256()) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_unit_rsa_cleanup(void *data)
{
    ngx_http_unit_rsa_t  *key = data;

    EVP_PKEY_CTX_free(key->ctx);
    EVP_PKEY_free(key->pkey);
}


/* exactly one "PUBLIC KEY" block, whose DER has no trailing bytes */

static EVP_PKEY *
ngx_http_unit_rsa_read_pem(const u_char *pem, size_t len)
{
    BIO            *bio;
    long            dlen, more;
    u_char         *der, *junk;
    EVP_PKEY       *pkey;
    const u_char   *p;

    if (len > NGX_HTTP_UNIT_RSA_MAX_PEM) {
        return NULL;
    }

    bio = BIO_new_mem_buf(pem, (int) len);
    if (bio == NULL) {
        return NULL;
    }

    der = NULL;
    pkey = NULL;

    if (PEM_bytes_read_bio(&der, &dlen, NULL, PEM_STRING_PUBLIC, bio,
                           ngx_http_unit_rsa_no_password, NULL)
        == 1)
    {
        p = der;
        pkey = d2i_PUBKEY(NULL, &p, dlen);

        if (pkey != NULL && p != der + dlen) {
            EVP_PKEY_free(pkey);
            pkey = NULL;
        }
    }

    if (pkey != NULL) {
        junk = NULL;

        if (PEM_bytes_read_bio(&junk, &more, NULL, PEM_STRING_PUBLIC, bio,
                               ngx_http_unit_rsa_no_password, NULL)
            == 1)
        {
            OPENSSL_free(junk);
            EVP_PKEY_free(pkey);
            pkey = NULL;
        }
    }

    /* not finding a second block is an error for OpenSSL, not for us */
    ERR_clear_error();

    OPENSSL_free(der);
    BIO_free(bio);

    return pkey;
}


/* OpenSSL's own one would ask on the terminal */

static int
ngx_http_unit_rsa_no_password(char *buf, int size, int rwflag, void *data)
{
    return -1;
}
