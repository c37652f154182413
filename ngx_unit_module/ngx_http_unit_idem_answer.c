
/*
 * The answer's side of idempotency, see ngx_http_unit_idem.h: what is kept,
 * and how it is given again.
 */


#include "ngx_http_unit_idem.h"


static ngx_int_t ngx_http_unit_idem_send(ngx_http_request_t *r,
    ngx_http_unit_record_answer_t *answer);
static ngx_uint_t ngx_http_unit_idem_final(ngx_uint_t status);


ngx_uint_t
ngx_http_unit_idem_is_replay(ngx_http_unit_ctx_t *ctx)
{
    return ctx->idem && ctx->idem->status == NGX_HTTP_UNIT_IDEM_REPLAYED;
}


ngx_int_t
ngx_http_unit_idem_replay(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_http_unit_record_answer_t  *answer;

    answer = &ctx->idem->answer;

    ctx->answered = 1;

    ngx_http_finalize_request(r, ngx_http_unit_idem_send(r, answer));

    return NGX_DONE;
}


static ngx_int_t
ngx_http_unit_idem_send(ngx_http_request_t *r,
    ngx_http_unit_record_answer_t *answer)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_chain_t       out;
    ngx_table_elt_t  *h;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "Idempotency-Replayed");
    ngx_str_set(&h->value, "true");

    r->headers_out.status = answer->status;
    r->headers_out.content_type = answer->type;
    r->headers_out.content_type_len = answer->type.len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.content_length_n = answer->body.len;

    if (answer->status == NGX_HTTP_NO_CONTENT) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = answer->body.data;
    b->last = b->pos + answer->body.len;
    b->memory = (answer->body.len != 0);
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* will the same write get the same answer for ever (DESIGN section 7) */

static ngx_uint_t
ngx_http_unit_idem_final(ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_UNAUTHORIZED:
    case NGX_HTTP_FORBIDDEN:
    case NGX_HTTP_REQUEST_TIME_OUT:
    case NGX_HTTP_CONFLICT:
    case NGX_HTTP_TOO_MANY_REQUESTS:
        return 0;

    default:
        return (status >= NGX_HTTP_OK
                && status < NGX_HTTP_SPECIAL_RESPONSE)
               || (status >= NGX_HTTP_BAD_REQUEST
                   && status < NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


ngx_int_t
ngx_http_unit_idem_header(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    size_t                 size;
    ngx_http_unit_idem_t  *idem;

    idem = ctx->idem;

    if (idem == NULL || idem->lease == 0) {
        return NGX_OK;
    }

    idem->status = NGX_HTTP_UNIT_IDEM_UNKNOWN;

    /* a coded answer is not asked for, and would need its coding kept */

    if (!ngx_http_unit_idem_final(r->headers_out.status)
        || r->headers_out.content_length_n > NGX_HTTP_UNIT_RECORD_BODY
        || r->headers_out.content_type.len > NGX_HTTP_UNIT_RECORD_TYPE
        || (r->headers_out.content_encoding
            && r->headers_out.content_encoding->value.len))
    {
        return NGX_OK;
    }

    size = (r->headers_out.content_length_n >= 0)
           ? (size_t) r->headers_out.content_length_n
           : NGX_HTTP_UNIT_RECORD_BODY;

    idem->answer.status = r->headers_out.status;
    idem->answer.type = r->headers_out.content_type;
    idem->answer.body.len = 0;
    idem->answer.body.data = ngx_palloc(r->pool, size ? size : 1);

    if (idem->answer.body.data == NULL) {
        return NGX_ERROR;
    }

    idem->size = size;
    idem->capture = 1;

    r->filter_need_in_memory = 1;

    /* no body will come, or all of it is known to be nothing */

    if (r->headers_out.content_length_n == 0
        || r->headers_out.status == NGX_HTTP_NO_CONTENT)
    {
        ngx_http_unit_idem_end(ctx);
    }

    return NGX_OK;
}


void
ngx_http_unit_idem_body(ngx_http_unit_ctx_t *ctx, u_char *p, size_t len)
{
    ngx_http_unit_idem_t  *idem;

    idem = ctx->idem;

    if (len > idem->size - idem->answer.body.len) {

        /* larger than what is kept: the outcome stays unknown to us */

        idem->capture = 0;
        return;
    }

    ngx_memcpy(idem->answer.body.data + idem->answer.body.len, p, len);
    idem->answer.body.len += len;

    /* the client may leave before the end is seen: this is the end */

    if (ctx->request->headers_out.content_length_n
        == (off_t) idem->answer.body.len)
    {
        ngx_http_unit_idem_end(ctx);
    }
}


void
ngx_http_unit_idem_end(ngx_http_unit_ctx_t *ctx)
{
    ngx_http_unit_idem_t  *idem;

    idem = ctx->idem;

    if (!idem->capture) {
        return;
    }

    idem->capture = 0;

    /* cut off: less than was promised */

    if (ctx->request->headers_out.content_length_n > 0
        && ctx->request->headers_out.content_length_n
           != (off_t) idem->answer.body.len)
    {
        return;
    }

    if (idem->event.timer_set) {
        ngx_del_timer(&idem->event);
    }

    ngx_http_unit_record_finish(ctx->umcf->shm, idem->key, idem->fingerprint,
                                idem->lease, &idem->answer);

    idem->lease = 0;
    idem->status = NGX_HTTP_UNIT_IDEM_STORED;
}
