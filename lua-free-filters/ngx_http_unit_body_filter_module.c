
/*
 * Body filters: bounds.  Answers to the gateway's own calls: what does not fit
 * is dropped here, because the core would take it for a failure of the
 * client's connection and close that without a response (STYLE P17).  Request
 * bodies that policy reads: a length that was not declared is noticed while
 * they come, and not after all of it has been written to a disk (STYLE P8).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_unit.h"
#include "ngx_http_unit_body.h"


static ngx_int_t ngx_http_unit_body_filter_request(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_unit_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_unit_body_filter_fits(ngx_http_request_t *r,
    ngx_http_unit_fetch_t *fetch, ngx_chain_t *in);
static ngx_int_t ngx_http_unit_body_filter_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_unit_body_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_unit_body_filter_init,        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_unit_body_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_unit_body_filter_module_ctx, /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_output_body_filter_pt   ngx_http_next_body_filter;
static ngx_http_request_body_filter_pt  ngx_http_next_request_body_filter;


static ngx_int_t
ngx_http_unit_body_filter_request(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t          *cl;
    ngx_http_unit_ctx_t  *ctx;

    ctx = (r == r->main) ? ngx_http_get_module_ctx(r, ngx_http_unit_module)
                         : NULL;

    if (ctx == NULL || !ctx->body_waiting) {
        return ngx_http_next_request_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        ctx->body_received += ngx_buf_size(cl->buf);
    }

    if (ctx->body_received > NGX_HTTP_UNIT_BODY_MAX) {
        ngx_log_error(ctx->ulcf->log_level, r->connection->log, 0,
                      "unit refused: body_too_large, reason: body_received, "
                      "operation: -, id: %V", &ctx->request_id);

        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    return ngx_http_next_request_body_filter(r, in);
}


static ngx_int_t
ngx_http_unit_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t            *cl;
    ngx_http_unit_fetch_t  *fetch;

    if (r == r->main || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    fetch = ngx_http_get_module_ctx(r, ngx_http_unit_module);

    if (fetch == NULL || ngx_http_unit_body_filter_fits(r, fetch, in)) {
        return ngx_http_next_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    /*
     * There is no reason to read the rest of it.  Never an error: the core
     * would hold the client's connection for broken, here too.
     */

    if (r->upstream && !r->upstream->buffering) {
        r->upstream->length = 0;

    } else if (r->upstream && r->upstream->pipe) {
        r->upstream->pipe->downstream_error = 1;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_unit_body_filter_fits(ngx_http_request_t *r,
    ngx_http_unit_fetch_t *fetch, ngx_chain_t *in)
{
    size_t                     max;
    ngx_http_core_loc_conf_t  *clcf;

    if (fetch->upstream.invalid) {
        return 0;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    max = clcf->subrequest_output_buffer_size;

    for ( /* void */ ; in; in = in->next) {
        fetch->received += ngx_buf_size(in->buf);
    }

    if (fetch->received <= (off_t) max
        && r->headers_out.content_length_n <= (off_t) max)
    {
        return 1;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "unit fetch: the answer is larger than %uz bytes, id: %V",
                  max, &fetch->request_id);

    fetch->upstream.invalid = 1;

    return 0;
}


static ngx_int_t
ngx_http_unit_body_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_unit_body_filter;

    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_unit_body_filter_request;

    return NGX_OK;
}
