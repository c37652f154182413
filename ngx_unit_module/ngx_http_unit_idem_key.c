
/*
 * Idempotency keys, see ngx_http_unit_idem_key.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_idem_key.h"


#define NGX_HTTP_UNIT_IDEM_SECRET_MIN  32


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
ngx_http_unit_idem_key_derive(const ngx_http_unit_idem_secrets_t *secrets,
    ngx_uint_t which, ngx_str_t *fields, ngx_uint_t n, u_char *digest,
    u_char *text)
{
    ngx_str_t  secret;

    secret.data = (u_char *) secrets->secret[which].data;
    secret.len = secrets->secret[which].len;

    if (ngx_http_unit_hmac(&secret, fields, n, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text) {
        (void) ngx_http_unit_base64url_encode(text, digest,
                                              NGX_HTTP_UNIT_SHA256_LEN);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_idem_key_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason)
{
    ngx_http_unit_idem_secrets_t  *secrets = data;

    u_char                        *p, *last, *line;
    size_t                         size;
    ngx_http_unit_idem_secrets_t   new;

    ngx_memzero(&new, sizeof(ngx_http_unit_idem_secrets_t));

    p = text;
    last = text + len;

    while (p < last) {

        line = p;

        while (p < last && *p != '\n') {
            p++;
        }

        size = p - line;

        if (p < last) {
            p++;
        }

        if (size && line[size - 1] == '\r') {
            size--;
        }

        if (size == 0) {
            continue;
        }

        if (new.n == NGX_HTTP_UNIT_IDEM_SECRETS) {
            *reason = "holds more than two secrets";
            return NGX_DECLINED;
        }

        if (size < NGX_HTTP_UNIT_IDEM_SECRET_MIN
            || size > sizeof(new.secret[0].data))
        {
            *reason = "holds a secret of less than 32 or more than 256 bytes";
            return NGX_DECLINED;
        }

        ngx_memcpy(new.secret[new.n].data, line, size);
        new.secret[new.n].len = size;
        new.n++;
    }

    if (new.n == 0) {
        *reason = "holds no secret";
        return NGX_DECLINED;
    }

    if (new.n == 1 && secrets->n
        && !ngx_http_unit_equal(new.secret[0].data, new.secret[0].len,
                                secrets->secret[0].data,
                                secrets->secret[0].len))
    {
        new.secret[1] = secrets->secret[0];
        new.n = 2;
    }

    *secrets = new;

    ngx_explicit_memzero(&new, sizeof(ngx_http_unit_idem_secrets_t));

    return NGX_OK;
}
