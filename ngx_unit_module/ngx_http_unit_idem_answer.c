
/*
 * The answer's side of idempotency, see ngx_http_unit_idem.h: what is kept,
 * and how it is given again.
 */


#include "ngx_http_unit_idem.h"
#include "ngx_http_unit_list.h"


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

    answer = &ctx->idem->record.answer;

    ctx->answered = 1;

    ngx_http_finalize_request(r, ngx_http_unit_idem_send(r, answer));

    return NGX_DONE;
}


static ngx_int_t
ngx_http_unit_idem_send(ngx_http_request_t *r,
    ngx_http_unit_record_answer_t *answer)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_str_t    value;
    ngx_list_t  *headers;
    ngx_chain_t  out;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    headers = &r->headers_out.headers;

    ngx_str_set(&value, "true");

    if (ngx_http_unit_list_add(headers, "Idempotency-Replayed", &value)
        == NULL)
    {
        return NGX_ERROR;
    }

    if (answer->coding.len) {

        r->headers_out.content_encoding =
                  ngx_http_unit_list_add(headers, "Content-Encoding",
                                         &answer->coding);

        if (r->headers_out.content_encoding == NULL) {
            return NGX_ERROR;
        }
    }

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


void
ngx_http_unit_idem_header(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    u_char                *p;
    size_t                 size;
    ngx_http_upstream_t   *u;
    ngx_http_unit_idem_t  *idem;

    idem = ctx->idem;
    u = r->upstream;

    if (idem == NULL || idem->record.lease == 0) {
        return;
    }

    idem->status = NGX_HTTP_UNIT_IDEM_UNKNOWN;

    /* Unit's answer, not one of this server's, and with an end to be seen */

    if (u == NULL
        || !ctx->upstream.answered
        || r->headers_out.status != u->headers_in.status_n
        || (r->headers_out.content_length_n < 0
            && !u->headers_in.chunked
            && r->headers_out.status != NGX_HTTP_NO_CONTENT))
    {
        return;
    }

    if (!ngx_http_unit_idem_final(r->headers_out.status)
        || r->headers_out.content_length_n > NGX_HTTP_UNIT_RECORD_BODY)
    {
        return;
    }

    /* other filters may change it */

    idem->length = r->headers_out.content_length_n;

    size = (idem->length >= 0) ? (size_t) idem->length
                               : NGX_HTTP_UNIT_RECORD_BODY;

    p = ngx_palloc(r->pool, size ? size : 1);
    if (p == NULL) {

        /* the client gets its answer all the same */
        return;
    }

    idem->size = size;
    idem->capture = 1;

    idem->answer.status = r->headers_out.status;
    idem->answer.type = r->headers_out.content_type;
    idem->answer.body.data = p;
    idem->answer.body.len = 0;

    if (r->headers_out.content_encoding
        && r->headers_out.content_encoding->hash)
    {
        idem->answer.coding = r->headers_out.content_encoding->value;
    }

    r->filter_need_in_memory = 1;

    /* no body will come, or all of it is known to be nothing */

    if (idem->length == 0 || r->headers_out.status == NGX_HTTP_NO_CONTENT) {
        ngx_http_unit_idem_end(ctx);
    }
}


ngx_uint_t
ngx_http_unit_idem_gone(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    /* it is the connection that has failed, and the answer has begun */

    if (ctx->answered || ctx->idem == NULL || !r->connection->error
        || !ctx->idem->capture)
    {
        return 0;
    }

    ctx->idem->gone = 1;

    return 1;
}


void
ngx_http_unit_idem_body(ngx_http_unit_ctx_t *ctx, u_char *p, size_t len)
{
    ngx_http_unit_idem_t  *idem;

    idem = ctx->idem;

    if (len > idem->size - idem->answer.body.len) {

        /* larger than what is kept: the outcome stays unknown to us */

        ngx_http_unit_idem_drop(ctx);
        return;
    }

    ngx_memcpy(idem->answer.body.data + idem->answer.body.len, p, len);
    idem->answer.body.len += len;

    /* the client may leave before the end is seen: this is the end */

    if (idem->length == (off_t) idem->answer.body.len) {
        ngx_http_unit_idem_end(ctx);
    }
}


void
ngx_http_unit_idem_drop(ngx_http_unit_ctx_t *ctx)
{
    ctx->idem->capture = 0;

    ngx_http_unit_idem_release(ctx);
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

    if (idem->length > 0 && idem->length != (off_t) idem->answer.body.len) {
        ngx_http_unit_idem_release(ctx);
        return;
    }

    if (idem->event.timer_set) {
        ngx_del_timer(&idem->event);
    }

    if (ngx_http_unit_record_finish(ctx->umcf->shm, &idem->record,
                                    &idem->answer))
    {
        idem->status = NGX_HTTP_UNIT_IDEM_STORED;
    }
}
