
/*
 * The few OpenSSL calls of the gateway: SHA-256 over length-prefixed fields,
 * keyed hashing, random bytes, constant-time compare, base64url, and RS256
 * verification with keys that were parsed beforehand.  Every failure drains
 * the OpenSSL error queue (STYLE P33).
 */


#ifndef _NGX_HTTP_UNIT_CRYPTO_H_INCLUDED_
#define _NGX_HTTP_UNIT_CRYPTO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_UNIT_SHA256_LEN  32


/* opaque: EVP_PKEY, its reusable EVP_PKEY_CTX and its thumbprint */
typedef struct ngx_http_unit_rsa_s  ngx_http_unit_rsa_t;


/*
 * SHA-256 of n fields, each preceded by its length as 8 bytes big-endian, so
 * that no two different field lists hash the same input.  With n == 1 and
 * plain != 0 the single field is hashed without the prefix (plain SHA-256).
 * Uses one reusable context per process: not for threads.
 *
 * NGX_OK or NGX_ERROR (OpenSSL failed)
 */
ngx_int_t ngx_http_unit_sha256(const ngx_str_t *fields, ngx_uint_t n,
    ngx_uint_t plain, u_char out[NGX_HTTP_UNIT_SHA256_LEN]);

/* HMAC-SHA-256 over the same length-prefixed encoding; key of any length. */
ngx_int_t ngx_http_unit_hmac(const ngx_str_t *key, const ngx_str_t *fields,
    ngx_uint_t n, u_char out[NGX_HTTP_UNIT_SHA256_LEN]);

/* Cryptographic random bytes.  NGX_OK or NGX_ERROR: never weak ones. */
ngx_int_t ngx_http_unit_random(u_char *p, size_t len);

/* 1 when both have the same length and bytes; time depends on length only. */
ngx_uint_t ngx_http_unit_equal(const u_char *a, size_t alen, const u_char *b,
    size_t blen);

/*
 * Canonical base64url without padding (RFC 7515 appendix C): refuses other
 * alphabet, "=", white space, impossible lengths, non-zero trailing bits.
 * dst needs 3 * (len + 3) / 4 bytes.  Returns the decoded length or
 * NGX_DECLINED.
 */
ssize_t ngx_http_unit_base64url_decode(u_char *dst, const u_char *src,
    size_t len);

/* Returns the encoded length; dst needs (4 * len + 2) / 3 bytes. */
size_t ngx_http_unit_base64url_encode(u_char *dst, const u_char *src,
    size_t len);

/*
 * Make a public key from big-endian modulus and exponent (RFC 7518 6.3.1).
 *
 *   pool  a cleanup in it frees the key (registered before it is made)
 *
 * NGX_OK        *out set
 * NGX_DECLINED  not 2048 to 8192 bits, even modulus, exponent even, below 3
 *               or longer than 8 bytes; *reason says which
 * NGX_ERROR     no memory, or OpenSSL failed
 */
ngx_int_t ngx_http_unit_rsa_create(ngx_pool_t *pool, const u_char *n,
    size_t nlen, const u_char *e, size_t elen, ngx_http_unit_rsa_t **out,
    const char **reason);

/*
 * Make a public key from a PEM text (SubjectPublicKeyInfo).  As above.
 */
ngx_int_t ngx_http_unit_rsa_create_pem(ngx_pool_t *pool, const u_char *pem,
    size_t len, ngx_http_unit_rsa_t **out, const char **reason);

/* SHA-256 over (n, e), length-prefixed: names the key whatever its kid. */
const u_char *ngx_http_unit_rsa_thumbprint(const ngx_http_unit_rsa_t *key);

/*
 * RS256 (RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 3.3).
 *
 * NGX_OK        signature is good
 * NGX_DECLINED  it is not (also wrong length)
 * NGX_ERROR     OpenSSL failed for another reason
 */
ngx_int_t ngx_http_unit_rs256_verify(ngx_http_unit_rsa_t *key,
    const u_char *data, size_t len, const u_char *sig, size_t siglen);


#endif /* _NGX_HTTP_UNIT_CRYPTO_H_INCLUDED_ */
