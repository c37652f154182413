
/*
 * Idempotency keys as clients give them, and as Unit gets them.  Pure.
 */


#ifndef _NGX_HTTP_UNIT_IDEM_KEY_H_INCLUDED_
#define _NGX_HTTP_UNIT_IDEM_KEY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"


#define NGX_HTTP_UNIT_IDEM_KEY_MAX      255

/* base64url of an HMAC-SHA-256 */
#define NGX_HTTP_UNIT_IDEM_KEY_DERIVED  43

#define NGX_HTTP_UNIT_IDEM_SECRETS      2


/* the secrets that keys are derived with: the current one comes first */
typedef struct {
    ngx_uint_t  n;
    struct {
        size_t  len;
        u_char  data[256];
    } secret[NGX_HTTP_UNIT_IDEM_SECRETS];
} ngx_http_unit_idem_secrets_t;


/*
 * Read an Idempotency-Key header: an RFC 8941 string in quotes, or the bare
 * key.  1 to NGX_HTTP_UNIT_IDEM_KEY_MAX characters, printable ASCII only.
 *
 *   key  out, in pool or into value
 *
 * NGX_OK, NGX_DECLINED (400 idempotency_key_invalid), NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_key_header(ngx_pool_t *pool, ngx_str_t *value,
    ngx_str_t *key);

/* Is it a key: length and characters as above?  1 or 0 */
ngx_uint_t ngx_http_unit_idem_key_valid(ngx_str_t *key);

/*
 * Derive: HMAC-SHA-256 over the length-prefixed fields.  The same on every
 * node that has the secret.
 *
 *   digest  out, 32 bytes
 *   text    out, NGX_HTTP_UNIT_IDEM_KEY_DERIVED bytes, may be NULL
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_key_derive(
    const ngx_http_unit_idem_secrets_t *secrets, ngx_uint_t which,
    ngx_str_t *fields, ngx_uint_t n, u_char *digest, u_char *text);

/*
 * ngx_http_unit_file_load_pt of unit_idempotency_secret_file; data is the
 * ngx_http_unit_idem_secrets_t.  One secret a line, the current one first, at
 * least 32 characters each; a file of one line that replaces another keeps
 * the old secret as the second one.
 */
ngx_int_t ngx_http_unit_idem_key_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason);


#endif /* _NGX_HTTP_UNIT_IDEM_KEY_H_INCLUDED_ */
