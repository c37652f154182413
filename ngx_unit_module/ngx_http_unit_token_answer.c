
/*
 * What comes from outside and is or holds a token: Unit's answer to the
 * creation of one, and the file of the organisation's.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_token.h"


/* a token is not used in its last moments: it has to reach Unit alive */
#define NGX_HTTP_UNIT_TOKEN_MARGIN   10000

#define NGX_HTTP_UNIT_TOKEN_MAX      8192
#define NGX_HTTP_UNIT_TOKEN_MAX_AGE  86400


static ngx_int_t ngx_http_unit_token_value(ngx_pool_t *pool, json_t *root,
    ngx_str_t *token, time_t *seconds);


ngx_int_t
ngx_http_unit_token_parse(ngx_http_unit_flight_t *flight)
{
    time_t                      seconds;
    ngx_int_t                   rc;
    ngx_msec_t                  life, margin;
    ngx_http_unit_fetch_t      *fetch;
    ngx_http_unit_store_req_t  *req;

    fetch = &flight->fetch;
    req = &flight->req;

    if (fetch->status != NGX_HTTP_CREATED && fetch->status != NGX_HTTP_OK) {
        return ngx_http_unit_flight_refused(flight,
                                            NGX_HTTP_UNIT_CUSTOMER_NOT_LINKED);
    }

    rc = ngx_http_unit_token_read(flight->request->pool, &fetch->answer,
                                  &req->value, &seconds);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, flight->request->connection->log, 0,
                      "unit token: unreadable answer, status %ui, id: %V",
                      fetch->status, &fetch->request_id);

        req->code = NGX_HTTP_UNIT_UPSTREAM_INVALID;
        req->ttl = 0;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    life = (ngx_msec_t) seconds * 1000;
    margin = ngx_min(life / 10, NGX_HTTP_UNIT_TOKEN_MARGIN);

    req->ttl = life - margin;

    /* with jitter, so that what was made together is not renewed together */

    req->refresh_in = req->ttl - req->ttl / 10
                      - (ngx_msec_t) ngx_random() % (req->ttl / 10 + 1);

    return NGX_OK;
}


/* for as long as the identity provider's authentication counts, no longer */

ngx_int_t
ngx_http_unit_token_parse_jwt(ngx_http_unit_flight_t *flight)
{
    time_t                left;
    ngx_int_t             rc;
    ngx_http_unit_ctx_t  *ctx;

    ctx = flight->data;

    rc = ngx_http_unit_token_parse(flight);

    if (rc == NGX_OK) {
        left = ngx_http_unit_token_jwt_verified(ctx);

        flight->req.ttl = ngx_min(flight->req.ttl, (ngx_msec_t) left * 1000);
        flight->req.refresh_in = 0;
    }

    return rc;
}


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
