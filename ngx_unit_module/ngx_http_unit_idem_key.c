
/*
 * Idempotency keys, see ngx_http_unit_idem_key.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_idem_key.h"


ngx_int_t
ngx_http_unit_idem_key_header(ngx_pool_t *pool, ngx_str_t *value,
    ngx_str_t *key)
{
    u_char  *p, *last, *dst;

    if (value->len == 0 || value->data[0] != '"') {
        *key = *value;
        return ngx_http_unit_idem_key_valid(key) ? NGX_OK : NGX_DECLINED;
    }

    /* RFC 8941 3.3.3; parameters have no meaning here and are refused */

    p = value->data + 1;
    last = value->data + value->len;

    dst = ngx_pnalloc(pool, value->len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    key->data = dst;

    for ( ;; ) {

        if (p == last) {
            return NGX_DECLINED;
        }

        if (*p == '"') {
            break;
        }

        if (*p == '\\') {

            if (++p == last || (*p != '"' && *p != '\\')) {
                return NGX_DECLINED;
            }
        }

        *dst++ = *p++;
    }

    key->len = dst - key->data;

    if (p + 1 != last || !ngx_http_unit_idem_key_valid(key)) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_idem_key_valid(ngx_str_t *key)
{
    size_t  i;

    if (key->len == 0 || key->len > NGX_HTTP_UNIT_IDEM_KEY_MAX) {
        return 0;
    }

    for (i = 0; i < key->len; i++) {
        if (key->data[i] < ' ' || key->data[i] > '~') {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_unit_idem_key_base(const ngx_http_unit_idem_secret_t *secret,
    const ngx_str_t *fields, ngx_uint_t n, u_char *base)
{
    ngx_str_t  key;

    key.data = (u_char *) secret->data;
    key.len = secret->len;

    return ngx_http_unit_hmac(&key, fields, n, base);
}


ngx_int_t
ngx_http_unit_idem_key_derive(const u_char *base,
    ngx_http_unit_idem_kind_e kind, const ngx_str_t *key, ngx_uint_t place,
    u_char *text)
{
    u_char     n[5], digest[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_str_t  secret, fields[2];

    secret.data = (u_char *) base;
    secret.len = NGX_HTTP_UNIT_SHA256_LEN;

    n[0] = (u_char) kind;
    n[1] = (u_char) (place >> 24);
    n[2] = (u_char) (place >> 16);
    n[3] = (u_char) (place >> 8);
    n[4] = (u_char) place;

    fields[0].data = n;
    fields[0].len = sizeof(n);
    fields[1] = *key;

    if (ngx_http_unit_hmac(&secret, fields, 2, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ngx_http_unit_base64url_encode(text, digest, sizeof(digest));

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_idem_key_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason)
{
    ngx_http_unit_idem_secret_t  *secret = data;

    u_char  *p, *end, *last, *line;
    size_t   size, found;

    last = text + len;
    found = 0;
    line = NULL;

    for (p = text; p < last; p = end + 1) {

        for (end = p; end < last && *end != '\n'; end++) { /* void */ }

        size = end - p;

        if (size && p[size - 1] == '\r') {
            size--;
        }

        if (size) {

            if (line) {
                *reason = "holds more than one line";
                return NGX_DECLINED;
            }

            line = p;
            found = size;
        }
    }

    if (found < NGX_HTTP_UNIT_IDEM_SECRET_MIN
        || found > NGX_HTTP_UNIT_IDEM_SECRET_MAX)
    {
        *reason = "does not hold a secret of 32 to 256 bytes";
        return NGX_DECLINED;
    }

    ngx_memcpy(secret->data, line, found);
    secret->len = found;

    return NGX_OK;
}
