
/*
 * Transport to Unit, see ngx_http_unit_fetch.h.  Called by flights only; makes
 * a subrequest that shares nothing with the client's request but its pool.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_list.h"


#define NGX_HTTP_UNIT_FETCH_HEADERS  4


static ngx_table_elt_t *ngx_http_unit_fetch_headers(ngx_http_request_t *r,
    ngx_http_unit_fetch_t *fetch, ngx_uint_t *n);
static void ngx_http_unit_fetch_header(ngx_table_elt_t *h, const char *key,
    const char *lowcase, ngx_str_t *value);
static ngx_http_request_body_t *ngx_http_unit_fetch_body(
    ngx_http_request_t *r, ngx_http_unit_fetch_t *fetch);
static ngx_int_t ngx_http_unit_fetch_done(ngx_http_request_t *sr, void *data,
    ngx_int_t rc);
static ngx_http_unit_fetch_e ngx_http_unit_fetch_answer(
    ngx_http_request_t *sr, ngx_http_unit_fetch_t *fetch, ngx_int_t rc);
static time_t ngx_http_unit_fetch_max_age(ngx_http_request_t *sr);


static ngx_str_t  ngx_http_unit_fetch_post = ngx_string("POST");
static ngx_str_t  ngx_http_unit_fetch_type =
    ngx_string("application/vnd.api+json");
static ngx_str_t  ngx_http_unit_fetch_accept =
    ngx_string("application/vnd.api+json, application/json");


ngx_int_t
ngx_http_unit_fetch_start(ngx_http_request_t *r, ngx_http_unit_fetch_t *fetch)
{
    ngx_str_t                    server;
    ngx_uint_t                   flags, n;
    ngx_list_t                  *list;
    ngx_table_elt_t             *headers;
    ngx_http_request_t          *sr;
    ngx_http_request_body_t     *body;
    ngx_http_core_main_conf_t   *cmcf;
    ngx_http_post_subrequest_t  *psr;
    ngx_http_variable_value_t   *variables;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    /*
     * Everything that can fail comes before the subrequest is made: once it
     * exists the core runs it, and it starts as a copy of the client's request
     * with the client's headers, list and all (STYLE P14).
     */

    psr = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));

    variables = ngx_pcalloc(r->pool, cmcf->variables.nelts
                                     * sizeof(ngx_http_variable_value_t));

    headers = ngx_http_unit_fetch_headers(r, fetch, &n);
    body = ngx_http_unit_fetch_body(r, fetch);

    if (psr == NULL || variables == NULL || headers == NULL || body == NULL) {
        return NGX_ERROR;
    }

    psr->handler = ngx_http_unit_fetch_done;
    psr->data = fetch;

    flags = NGX_HTTP_SUBREQUEST_IN_MEMORY
            | (fetch->background ? NGX_HTTP_SUBREQUEST_BACKGROUND
                                 : NGX_HTTP_SUBREQUEST_WAITED);

    if (ngx_http_subrequest(r, &fetch->uri,
                            fetch->args.len ? &fetch->args : NULL,
                            &sr, psr, flags)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    server = sr->headers_in.server;

    ngx_memzero(&sr->headers_in, sizeof(ngx_http_headers_in_t));

    sr->headers_in.server = server;
    sr->headers_in.keep_alive_n = -1;
    sr->headers_in.content_length_n = -1;

    list = &sr->headers_in.headers;
    list->part.elts = headers;
    list->part.nelts = n;
    list->last = &list->part;
    list->size = sizeof(ngx_table_elt_t);
    list->nalloc = n;
    list->pool = r->pool;

    sr->variables = variables;
    sr->request_body = body;
    sr->request_body_no_buffering = 0;
    sr->reading_body = 0;

    if (fetch->method == NGX_HTTP_POST) {
        sr->method = NGX_HTTP_POST;
        sr->method_name = ngx_http_unit_fetch_post;
        sr->headers_in.content_length_n = fetch->body.len;
    }

    ngx_http_set_ctx(sr, fetch, ngx_http_unit_module);

    fetch->max_age = -1;
    fetch->upstream.repeatable = fetch->repeatable;

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_http_unit_fetch_headers(ngx_http_request_t *r,
    ngx_http_unit_fetch_t *fetch, ngx_uint_t *n)
{
    ngx_table_elt_t  *h, *headers;

    headers = ngx_pcalloc(r->pool, NGX_HTTP_UNIT_FETCH_HEADERS
                                   * sizeof(ngx_table_elt_t));
    if (headers == NULL) {
        return NULL;
    }

    h = headers;

    if (fetch->authorization.len) {
        ngx_http_unit_fetch_header(h++, "Authorization", "authorization",
                                   &fetch->authorization);
    }

    if (fetch->request_id.len) {
        ngx_http_unit_fetch_header(h++, "X-Request-Id", "x-request-id",
                                   &fetch->request_id);
    }

    if (fetch->body.len) {
        ngx_http_unit_fetch_header(h++, "Content-Type", "content-type",
                                   &ngx_http_unit_fetch_type);
    }

    ngx_http_unit_fetch_header(h++, "Accept", "accept",
                               &ngx_http_unit_fetch_accept);

    *n = h - headers;

    return headers;
}


static void
ngx_http_unit_fetch_header(ngx_table_elt_t *h, const char *key,
    const char *lowcase, ngx_str_t *value)
{
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->lowcase_key = (u_char *) lowcase;
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
    h->value = *value;
}


static ngx_http_request_body_t *
ngx_http_unit_fetch_body(ngx_http_request_t *r, ngx_http_unit_fetch_t *fetch)
{
    ngx_buf_t                *b;
    ngx_chain_t              *cl;
    ngx_http_request_body_t  *rb;

    /* an empty one hides the client's body from the subrequest */

    rb = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));

    if (rb == NULL || fetch->method != NGX_HTTP_POST) {
        return rb;
    }

    b = ngx_calloc_buf(r->pool);
    cl = ngx_alloc_chain_link(r->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    b->pos = fetch->body.data;
    b->last = b->pos + fetch->body.len;
    b->start = b->pos;
    b->end = b->last;
    b->memory = 1;
    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    rb->bufs = cl;
    rb->buf = b;

    return rb;
}


static ngx_int_t
ngx_http_unit_fetch_done(ngx_http_request_t *sr, void *data, ngx_int_t rc)
{
    ngx_http_unit_fetch_t  *fetch = data;

    /* the core may call twice, the second time with an error page (P16) */

    if (fetch->done) {
        return NGX_OK;
    }

    fetch->error = ngx_http_unit_fetch_answer(sr, fetch, rc);
    fetch->sent = (sr->upstream && sr->upstream->request_sent);
    fetch->done = 1;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, sr->connection->log, 0,
                   "unit fetch: rc:%i error:%d status:%ui length:%uz",
                   rc, fetch->error, fetch->status, fetch->answer.len);

    fetch->handler(fetch);

    /* whatever happened, the main request goes on and gives the answer */

    return NGX_OK;
}


static ngx_http_unit_fetch_e
ngx_http_unit_fetch_answer(ngx_http_request_t *sr,
    ngx_http_unit_fetch_t *fetch, ngx_int_t rc)
{
    off_t   expected;
    size_t  len;

    if (fetch->upstream.invalid) {
        return NGX_HTTP_UNIT_FETCH_INVALID;
    }

    if (rc == NGX_HTTP_GATEWAY_TIME_OUT) {
        return NGX_HTTP_UNIT_FETCH_TIMEOUT;
    }

    /* an error of our own location, say a 404, is no answer of Unit's */

    if (rc != NGX_OK || !fetch->upstream.answered) {
        return fetch->upstream.answered ? NGX_HTTP_UNIT_FETCH_INVALID
                                        : NGX_HTTP_UNIT_FETCH_UNAVAILABLE;
    }

    fetch->status = sr->headers_out.status;

    len = 0;

    if (sr->out && sr->out->buf) {
        fetch->answer.data = sr->out->buf->pos;
        len = sr->out->buf->last - sr->out->buf->pos;
        fetch->answer.len = len;
    }

    /* a cut answer looks like a good one but for its length (P17) */

    expected = sr->headers_out.content_length_n;

    if (expected != -1 && (off_t) len != expected) {
        return NGX_HTTP_UNIT_FETCH_INVALID;
    }

    fetch->max_age = ngx_http_unit_fetch_max_age(sr);

    return NGX_HTTP_UNIT_FETCH_OK;
}


static time_t
ngx_http_unit_fetch_max_age(ngx_http_request_t *sr)
{
    u_char                     *p, *last;
    ngx_int_t                   n;
    ngx_table_elt_t            *h;
    ngx_http_unit_list_walk_t   walk;

    for (h = ngx_http_unit_list_first(&sr->headers_out.headers, &walk);
         h;
         h = ngx_http_unit_list_next(h, &walk))
    {
        if (h->hash == 0
            || h->key.len != sizeof("Cache-Control") - 1
            || ngx_strncasecmp(h->key.data, (u_char *) "Cache-Control",
                               sizeof("Cache-Control") - 1)
               != 0)
        {
            continue;
        }

        last = h->value.data + h->value.len;

        p = ngx_strlcasestrn(h->value.data, last, (u_char *) "max-age=",
                             sizeof("max-age=") - 2);
        if (p == NULL) {
            continue;
        }

        p += sizeof("max-age=") - 1;

        for (n = 0; p < last && *p >= '0' && *p <= '9' && n < 100000000; p++) {
            n = n * 10 + (*p - '0');
        }

        return n;
    }

    return -1;
}
