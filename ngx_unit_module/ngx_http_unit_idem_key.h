
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

#define NGX_HTTP_UNIT_IDEM_SECRET_MIN   32
#define NGX_HTTP_UNIT_IDEM_SECRET_MAX   256


/* what a key is derived for: no two kinds ever give the same key */
typedef enum {
    NGX_HTTP_UNIT_IDEM_REQUEST = 0,  /* the request, by its key */
    NGX_HTTP_UNIT_IDEM_ELEMENT,      /* an element, by its own key */
    NGX_HTTP_UNIT_IDEM_PLACE         /* an element, by key and place */
} ngx_http_unit_idem_kind_e;


typedef struct {
    size_t  len;
    u_char  data[NGX_HTTP_UNIT_IDEM_SECRET_MAX];
} ngx_http_unit_idem_secret_t;


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
 * The base of a caller's keys: HMAC-SHA-256 of the length-prefixed fields that
 * tell callers and operation families apart.  The same on every node that has
 * the secret.
 *
 *   base  out, 32 bytes
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_key_base(
    const ngx_http_unit_idem_secret_t *secret, const ngx_str_t *fields,
    ngx_uint_t n, u_char *base);

/*
 * The key that Unit gets: HMAC-SHA-256, under the base, of kind, client's key
 * and place.
 *
 *   place  counts elements from 0; 0 for the other kinds
 *   text   out, NGX_HTTP_UNIT_IDEM_KEY_DERIVED bytes of base64url
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_key_derive(const u_char *base,
    ngx_http_unit_idem_kind_e kind, const ngx_str_t *key, ngx_uint_t place,
    u_char *text);

/*
 * ngx_http_unit_file_load_pt of unit_idempotency_secret_file; data is the
 * ngx_http_unit_idem_secret_t.  One secret on a line of its own.
 */
ngx_int_t ngx_http_unit_idem_key_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason);


#endif /* _NGX_HTTP_UNIT_IDEM_KEY_H_INCLUDED_ */
