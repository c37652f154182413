
/*
 * Responses of our own, see ngx_http_unit_error.h.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_error.h"
#include "ngx_http_unit_header.h"
#include "ngx_http_unit_list.h"
#include "ngx_http_unit_retry.h"
#include "ngx_http_unit_two_factor.h"


/* as long as a refusal is remembered, in seconds */
#define NGX_HTTP_UNIT_ERROR_RETRY_AFTER  "3"


static ngx_int_t ngx_http_unit_error_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *body);
static ngx_int_t ngx_http_unit_error_document(ngx_http_request_t *r,
    ngx_http_unit_code_e code, ngx_uint_t status, ngx_str_t *body);
static void ngx_http_unit_error_scopes(ngx_http_unit_ctx_t *ctx,
    ngx_str_t *names);
static ngx_int_t ngx_http_unit_error_headers(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e code);
static ngx_int_t ngx_http_unit_error_challenge(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e code, ngx_str_t *value);
static ngx_int_t ngx_http_unit_error_allow(ngx_http_request_t *r,
    ngx_uint_t methods);
static ngx_int_t ngx_http_unit_error_header(ngx_http_request_t *r,
    const char *key, ngx_str_t *value);
static ngx_http_unit_code_e ngx_http_unit_error_code(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_uint_t status);


static ngx_str_t  ngx_http_unit_error_type =
    ngx_string("application/vnd.api+json");


ngx_int_t
ngx_http_unit_error(ngx_http_request_t *r, ngx_http_unit_code_e code,
    const char *reason)
{
    ngx_int_t                    rc;
    ngx_str_t                    body, *name;
    ngx_uint_t                   status;
    ngx_http_unit_ctx_t         *ctx;
    ngx_http_unit_loc_conf_t    *ulcf;
    const ngx_http_unit_code_t  *row;

    row = ngx_http_unit_code(code);
    status = row->status;

    ctx = ngx_http_unit_get_ctx(r);
    ulcf = ngx_http_get_module_loc_conf(r, ngx_http_unit_module);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_DONE;
    }

    ctx->decision = code;
    ctx->answered = 1;

    /* names come from our tables, never from the client */

    name = ctx->operation ? (ngx_str_t *) &ctx->operation->name : NULL;

    ngx_log_error(ulcf->log_level, r->connection->log, 0,
                  "unit refused: %V, reason: %s, operation: %V, id: %V",
                  &row->name, reason ? reason : "-",
                  name ? name : &ngx_http_unit_none, &ctx->request_id);

    if (ngx_http_unit_error_headers(r, ctx, code) != NGX_OK
        || ngx_http_unit_error_document(r, code, status, &body) != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_DONE;
    }

    /* without this "100 Continue" would be sent before the refusal (P6) */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return NGX_DONE;
    }

    ngx_http_finalize_request(r, ngx_http_unit_error_send(r, status, &body));

    return NGX_DONE;
}


ngx_int_t
ngx_http_unit_error_redirected(ngx_http_request_t *r)
{
    /* an error page that leads into the gateway is as good as our own */

    if (r->err_status) {
        ngx_http_finalize_request(r, ngx_http_unit_error_handler(r));
        return NGX_DONE;
    }

    return ngx_http_unit_error(r, NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED,
                               "redirected");
}


ngx_int_t
ngx_http_unit_answer(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body)
{
    ngx_int_t             rc;
    ngx_http_unit_ctx_t  *ctx;

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx == NULL
        || ngx_http_unit_error_headers(r, ctx, NGX_HTTP_UNIT_ALLOWED)
           != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_DONE;
    }

    ctx->answered = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return NGX_DONE;
    }

    ngx_http_finalize_request(r, ngx_http_unit_error_send(r, status, body));

    return NGX_DONE;
}


static ngx_int_t
ngx_http_unit_error_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    r->headers_out.status = status;

    if (status == NGX_HTTP_NO_CONTENT) {
        r->header_only = 1;
        return ngx_http_send_header(r);
    }

    r->headers_out.content_type = ngx_http_unit_error_type;
    r->headers_out.content_type_len = ngx_http_unit_error_type.len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.content_length_n = body->len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_unit_error_document(ngx_http_request_t *r,
    ngx_http_unit_code_e code, ngx_uint_t status, ngx_str_t *body)
{
    u_char                      *p;
    size_t                       len;
    ngx_str_t                   *id, names, more;
    ngx_http_unit_ctx_t         *ctx;
    const ngx_http_unit_code_t  *row;

    static const char  format[] =
        "{\"errors\":[{\"id\":\"%V\",\"status\":\"%ui\",\"title\":\"%V\","
        "\"code\":\"%V\",\"detail\":\"%V\"%V}]}";

    ctx = ngx_http_unit_get_ctx(r);
    row = ngx_http_unit_code(code);
    id = &ctx->request_id;

    ngx_str_set(&more, "");

    if (code == NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED) {
        ngx_http_unit_error_scopes(ctx, &names);

        if (ngx_http_unit_two_factor_hint(r, ctx, &names, &more) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    len = sizeof(format) + id->len + NGX_INT_T_LEN + row->title.len
          + row->name.len + row->detail.len + more.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;
    body->len = ngx_snprintf(p, len, format, id, status, &row->title,
                             &row->name, &row->detail, &more)
                - p;

    return NGX_OK;
}


/* the scopes that are missing, separated by spaces; may be none at all */

static void
ngx_http_unit_error_scopes(ngx_http_unit_ctx_t *ctx, ngx_str_t *names)
{
    ngx_int_t  n;

    /* those that a token was asked for */

    if (ctx->challenge.len) {
        *names = ctx->challenge;
        return;
    }

    /* one that is not the caller's was not chosen: tell the narrowest */

    n = ctx->verdict.scope;

    if (n < 0 && ctx->operation && ctx->operation->nscopes) {
        n = (ngx_int_t) ctx->operation->scopes[0];
    }

    ngx_str_null(names);

    if (n >= 0) {
        *names = ngx_http_unit_policy_scope(ctx->umcf->policy, n)->name;
    }
}


static ngx_int_t
ngx_http_unit_error_headers(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e code)
{
    u_char                      *p;
    ngx_str_t                    value;
    const ngx_http_unit_code_t  *row;

    row = ngx_http_unit_code(code);

    /* X-Request-Id and Cache-Control are added by the header filter */

    ngx_str_null(&value);

    if (ngx_http_unit_error_challenge(r, ctx, code, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (value.len
        && ngx_http_unit_error_header(r, "WWW-Authenticate", &value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (code == NGX_HTTP_UNIT_BROKER_UNAVAILABLE && ctx->retry_after == 0) {
        ngx_str_set(&value, NGX_HTTP_UNIT_ERROR_RETRY_AFTER);

        if (ngx_http_unit_error_header(r, "Retry-After", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ctx->retry_after
        && (row->status == NGX_HTTP_TOO_MANY_REQUESTS
            || row->status == NGX_HTTP_CONFLICT
            || row->status == NGX_HTTP_SERVICE_UNAVAILABLE))
    {

        p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;
        value.len = ngx_sprintf(p, "%T", ctx->retry_after) - p;

        if (ngx_http_unit_error_header(r, "Retry-After", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (code == NGX_HTTP_UNIT_METHOD_NOT_ALLOWED) {
        return ngx_http_unit_error_allow(r, ctx->allow);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_error_challenge(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e code, ngx_str_t *value)
{
    size_t       len;
    u_char      *p;
    ngx_str_t    names;
    const char  *format;

    switch (code) {

    case NGX_HTTP_UNIT_TOKEN_MISSING:
        ngx_str_set(value, "Bearer realm=\"unit-gateway\"");
        return NGX_OK;

    case NGX_HTTP_UNIT_TOKEN_INVALID:
        ngx_str_set(value, "Bearer realm=\"unit-gateway\", "
                           "error=\"invalid_token\", "
                           "error_description=\"The access token is not "
                           "valid here\"");
        return NGX_OK;

    case NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED:
        format = "Bearer error=\"insufficient_user_authentication\", "
                 "scope=\"%V\", max_age=86400";
        break;

    case NGX_HTTP_UNIT_INSUFFICIENT_SCOPE:
        format = "Bearer error=\"insufficient_scope\", scope=\"%V\"";
        break;

    default:
        return NGX_OK;
    }

    ngx_http_unit_error_scopes(ctx, &names);

    if (names.len == 0) {

        /* an empty list is not valid (RFC 6750 3) */

        ngx_str_set(value, "Bearer error=\"insufficient_scope\"");

        if (code == NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED) {
            ngx_str_set(value, "Bearer error=\"insufficient_user_"
                               "authentication\", max_age=86400");
        }

        return NGX_OK;
    }

    len = ngx_strlen(format) + names.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->data = p;
    value->len = ngx_snprintf(p, len, format, &names) - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_error_allow(ngx_http_request_t *r, ngx_uint_t methods)
{
    u_char      *p, *last;
    ngx_str_t    value;
    ngx_uint_t   i;

    static const struct {
        ngx_uint_t   mask;
        ngx_str_t    name;
    } names[] = {
        { NGX_HTTP_UNIT_METHOD_GET, ngx_string("GET, HEAD, ") },
        { NGX_HTTP_UNIT_METHOD_POST, ngx_string("POST, ") },
        { NGX_HTTP_UNIT_METHOD_PUT, ngx_string("PUT, ") },
        { NGX_HTTP_UNIT_METHOD_PATCH, ngx_string("PATCH, ") },
        { NGX_HTTP_UNIT_METHOD_DELETE, ngx_string("DELETE, ") }
    };

    p = ngx_pnalloc(r->pool, sizeof("GET, HEAD, POST, PUT, PATCH, DELETE, "));
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = p;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (methods & names[i].mask) {
            last = ngx_copy(last, names[i].name.data, names[i].name.len);
        }
    }

    /* an empty list is valid: the resource allows no method at all */

    value.data = p;
    value.len = (last == p) ? 0 : last - p - 2;

    return ngx_http_unit_error_header(r, "Allow", &value);
}


static ngx_int_t
ngx_http_unit_error_header(ngx_http_request_t *r, const char *key,
    ngx_str_t *value)
{
    if (ngx_http_unit_list_add(&r->headers_out.headers, key, value) == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_error_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_str_t              body;
    ngx_uint_t             status;
    ngx_http_unit_ctx_t   *ctx;
    ngx_http_unit_code_e   code;

    /* reached through error_page, else somebody has misconfigured us */

    status = r->err_status ? r->err_status : NGX_HTTP_NOT_FOUND;

    if (r != r->main) {

        /*
         * The failure of a mirror, say: the answer to the client is another
         * one, and is still to come
         */

        return status;
    }

    ctx = ngx_http_unit_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if ((status == NGX_HTTP_BAD_GATEWAY || status == NGX_HTTP_GATEWAY_TIME_OUT)
        && ctx->step == NGX_HTTP_UNIT_STEP_DONE && !ctx->answered
        && !ctx->upstream.answered && !ctx->upstream.invalid)
    {
        ngx_str_null(&body);

        if (ngx_http_unit_retry_plan(r, ctx, 0, &body)) {

            /* as if nothing had happened: this is no error page yet */

            r->err_status = 0;
            r->error_page = 0;

            return ngx_http_internal_redirect(r, &ctx->uri.path, &ctx->query);
        }
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    code = ngx_http_unit_error_code(r, ctx, status);

    ctx->decision = code;
    ctx->answered = 1;
    r->err_status = 0;

    if (code == NGX_HTTP_UNIT_METHOD_NOT_ALLOWED && ctx->allow == 0) {
        ctx->allow = NGX_HTTP_UNIT_METHOD_GET | NGX_HTTP_UNIT_METHOD_POST
                     | NGX_HTTP_UNIT_METHOD_PUT | NGX_HTTP_UNIT_METHOD_PATCH
                     | NGX_HTTP_UNIT_METHOD_DELETE;
    }

    if (ngx_http_unit_error_headers(r, ctx, code) != NGX_OK
        || ngx_http_unit_error_document(r, code, status, &body) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* error_page made it a GET, but HEAD stays without a body */

    return ngx_http_unit_error_send(r, status, &body);
}


static ngx_http_unit_code_e
ngx_http_unit_error_code(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_BAD_REQUEST:

        /* the request line was read but its target made no URI */

        return (r->uri_end && r->unparsed_uri.len == 0)
               ? NGX_HTTP_UNIT_INVALID_URI : NGX_HTTP_UNIT_INVALID_REQUEST;

    case NGX_HTTP_UNAUTHORIZED:
        return NGX_HTTP_UNIT_TOKEN_INVALID;

    case NGX_HTTP_FORBIDDEN:
        return NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;

    case NGX_HTTP_NOT_FOUND:
        return NGX_HTTP_UNIT_UNKNOWN_OPERATION;

    case NGX_HTTP_NOT_ALLOWED:
        return NGX_HTTP_UNIT_METHOD_NOT_ALLOWED;

    case NGX_HTTP_REQUEST_TIME_OUT:
        return NGX_HTTP_UNIT_REQUEST_TIMEOUT;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return NGX_HTTP_UNIT_BODY_TOO_LARGE;

    case NGX_HTTP_REQUEST_URI_TOO_LARGE:
        return NGX_HTTP_UNIT_INVALID_URI;

    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return NGX_HTTP_UNIT_UNSUPPORTED_MEDIA_TYPE;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        return NGX_HTTP_UNIT_RATE_LIMITED;

    case NGX_HTTP_BAD_GATEWAY:
        return ctx->upstream.invalid ? NGX_HTTP_UNIT_UPSTREAM_INVALID
                                     : NGX_HTTP_UNIT_UPSTREAM_UNAVAILABLE;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return NGX_HTTP_UNIT_BROKER_UNAVAILABLE;

    case NGX_HTTP_GATEWAY_TIME_OUT:
        return NGX_HTTP_UNIT_UPSTREAM_TIMEOUT;

    default:
        return status < NGX_HTTP_INTERNAL_SERVER_ERROR
               ? NGX_HTTP_UNIT_INVALID_REQUEST : NGX_HTTP_UNIT_INTERNAL_ERROR;
    }
}
