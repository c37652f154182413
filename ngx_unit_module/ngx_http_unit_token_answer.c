
/*
 * What comes from outside and is or holds a token: Unit's answer to the
 * creation of one, and the file of the organisation's.
 */


#include <jansson.h>
#include "ngx_http_unit_token.h"


#define NGX_HTTP_UNIT_TOKEN_MAX      8192
#define NGX_HTTP_UNIT_TOKEN_MAX_AGE  86400


static ngx_int_t ngx_http_unit_token_value(ngx_pool_t *pool, json_t *root,
    ngx_str_t *token, time_t *seconds);


ngx_int_t
ngx_http_unit_token_read(ngx_pool_t *pool, ngx_str_t *answer,
    ngx_str_t *token, time_t *seconds)
{
    json_t        *root;
    ngx_int_t      rc;
    json_error_t   error;

    ngx_str_null(token);

    rc = NGX_DECLINED;

    root = json_loadb((char *) answer->data, answer->len,
                      JSON_REJECT_DUPLICATES, &error);

    if (root) {
        rc = ngx_http_unit_token_value(pool, root, token, seconds);
        json_decref(root);
    }

    if (answer->len) {
        ngx_explicit_memzero(answer->data, answer->len);
    }

    return rc;
}


static ngx_int_t
ngx_http_unit_token_value(ngx_pool_t *pool, json_t *root, ngx_str_t *token,
    time_t *seconds)
{
    size_t       i, len;
    json_t      *attributes, *value, *expires;
    json_int_t   n;
    const char  *p;

    attributes = json_object_get(json_object_get(root, "data"), "attributes");
    value = json_object_get(attributes, "token");
    expires = json_object_get(attributes, "expiresIn");

    p = json_string_value(value);
    len = json_string_length(value);

    if (p == NULL || len == 0 || len > NGX_HTTP_UNIT_TOKEN_MAX
        || !json_is_integer(expires))
    {
        return NGX_DECLINED;
    }

    /* it becomes a header: token68 and nothing else (RFC 9110 11.2) */

    for (i = 0; i < len; i++) {

        if (!((p[i] >= '0' && p[i] <= '9')
              || ((p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z')
              || p[i] == '-' || p[i] == '.' || p[i] == '_' || p[i] == '~'
              || p[i] == '+' || p[i] == '/' || p[i] == '='))
        {
            return NGX_DECLINED;
        }
    }

    n = json_integer_value(expires);

    if (n <= 0) {
        return NGX_DECLINED;
    }

    token->data = ngx_pnalloc(pool, len);
    if (token->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(token->data, p, len);
    token->len = len;

    /* jansson frees without wiping */
    ngx_explicit_memzero((void *) p, len);

    *seconds = (time_t) ngx_min(n, NGX_HTTP_UNIT_TOKEN_MAX_AGE);

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_token_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason)
{
    ngx_http_unit_secret_t  *secret = data;

    size_t  i;

    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'
                   || text[len - 1] == ' '))
    {
        len--;
    }

    if (len == 0 || len > NGX_HTTP_UNIT_SECRET_MAX) {
        *reason = "holds no token";
        return NGX_DECLINED;
    }

    for (i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            *reason = "holds more than one token or unprintable bytes";
            return NGX_DECLINED;
        }
    }

    ngx_memcpy(secret->data, text, len);

    if (secret->len > len) {
        ngx_explicit_memzero(secret->data + len, secret->len - len);
    }

    secret->len = len;

    return NGX_OK;
}
