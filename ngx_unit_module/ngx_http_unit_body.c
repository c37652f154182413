
/*
 * The request body, see ngx_http_unit_body.h.  Read in the preaccess phase as
 * the mirror module does in precontent (STYLE P7); sent on by the proxy byte
 * for byte.
 */


#include "ngx_http_unit_body.h"
#include "ngx_http_unit_header.h"


static void ngx_http_unit_body_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_unit_body_type(ngx_str_t *value);
static ngx_int_t ngx_http_unit_body_collect(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, off_t size);


static ngx_str_t  ngx_http_unit_body_types[] = {
    ngx_string("application/vnd.api+json"),
    ngx_string("application/json"),
    ngx_null_string
};


ngx_int_t
ngx_http_unit_body_check(ngx_http_request_t *r, ngx_http_unit_code_e *code,
    const char **reason)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;

    *code = NGX_HTTP_UNIT_UNSUPPORTED_MEDIA_TYPE;

    rc = ngx_http_unit_header_single(r, "content-type",
                                     sizeof("content-type") - 1, &h);

    if (rc == NGX_ABORT) {
        *code = NGX_HTTP_UNIT_INVALID_REQUEST;
        *reason = "content_type_twice";
        return NGX_DECLINED;
    }

    if (rc != NGX_OK || !ngx_http_unit_body_type(&h->value)) {
        *reason = "content_type";
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_header_single(r, "content-encoding",
                                     sizeof("content-encoding") - 1, &h);

    if (rc == NGX_ABORT
        || (rc == NGX_OK
            && (h->value.len != sizeof("identity") - 1
                || ngx_strncasecmp(h->value.data, (u_char *) "identity",
                                   sizeof("identity") - 1)
                   != 0)))
    {
        *reason = "content_encoding";
        return NGX_DECLINED;
    }

    if (r->headers_in.content_length_n > NGX_HTTP_UNIT_BODY_MAX) {
        *code = NGX_HTTP_UNIT_BODY_TOO_LARGE;
        *reason = "content_length";
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* the type itself, with or without parameters (RFC 9110 8.3.1) */

static ngx_uint_t
ngx_http_unit_body_type(ngx_str_t *value)
{
    u_char      ch;
    ngx_str_t  *type;

    for (type = ngx_http_unit_body_types; type->len; type++) {

        if (value->len < type->len
            || ngx_strncasecmp(value->data, type->data, type->len) != 0)
        {
            continue;
        }

        if (value->len == type->len) {
            return 1;
        }

        ch = value->data[type->len];

        if (ch == ';' || ch == ' ' || ch == '\t') {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_unit_body_read(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->body_waiting) {
        return NGX_DONE;
    }

    ctx->body_waiting = 1;

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_unit_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


/* may be called before ngx_http_read_client_request_body() returns */

static void
ngx_http_unit_body_handler(ngx_http_request_t *r)
{
    ngx_http_unit_ctx_t  *ctx;

    ctx = ngx_http_unit_get_ctx(r);

    ctx->body_waiting = 0;
    ctx->body_done = 1;

    r->preserve_body = 1;

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


ngx_int_t
ngx_http_unit_body_gather(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    off_t         size;
    ngx_chain_t  *cl;

    size = 0;

    /* no body at all leaves no buffers, and no body where one is needed */

    cl = r->request_body ? r->request_body->bufs : NULL;

    for ( /* void */ ; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    if (size > NGX_HTTP_UNIT_BODY_MAX) {
        *code = NGX_HTTP_UNIT_BODY_TOO_LARGE;
        *reason = "body_length";
        return NGX_DECLINED;
    }

    return ngx_http_unit_body_collect(r, ctx, size);
}


ngx_int_t
ngx_http_unit_body_scan(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t  rc;

    rc = ngx_http_unit_body_gather(r, ctx, code, reason);

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->json = ngx_palloc(r->pool, sizeof(ngx_http_unit_json_t));
    if (ctx->json == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_json_scan(r->pool, ctx->body.data, ctx->body.len,
                                 ngx_http_unit_policy_watch(ctx->umcf->policy),
                                 ctx->json);

    if (rc == NGX_OK && ctx->json->type == NGX_HTTP_UNIT_JSON_OBJECT) {
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    *code = NGX_HTTP_UNIT_INVALID_BODY;
    *reason = (rc == NGX_DECLINED) ? ctx->json->reason : "not an object";

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_unit_body_collect(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    off_t size)
{
    u_char       *p;
    size_t        n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    ngx_str_set(&ctx->body, "");

    if (size == 0) {
        return NGX_OK;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && ngx_buf_in_memory(cl->buf)) {

        /* the usual case; never changed in place (STYLE P8) */

        ctx->body.data = cl->buf->pos;
        ctx->body.len = (size_t) size;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, (size_t) size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->body.data = p;
    ctx->body.len = (size_t) size;

    for ( /* void */ ; cl; cl = cl->next) {

        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);
            continue;
        }

        if (!b->in_file) {
            continue;
        }

        /*
         * Only when client_body_buffer_size is smaller than our conf/ has it:
         * what was just written is read back from the page cache
         */

        n = (size_t) (b->file_last - b->file_pos);

        if (ngx_read_file(b->file, p, n, b->file_pos) != (ssize_t) n) {
            return NGX_ERROR;
        }

        p += n;
    }

    return NGX_OK;
}
