
/*
 * Response body filter: lets the answer to a write with an idempotency key be
 * kept while it passes, and read to its end when the client has left.  Changes
 * nothing; runs before gzip and the like, so that what is kept are Unit's
 * bytes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_unit.h"
#include "ngx_http_unit_idem.h"


static ngx_int_t ngx_http_unit_capture_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_unit_capture_filter_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_unit_capture_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_unit_capture_filter_init,        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_unit_capture_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_unit_capture_filter_module_ctx,  /* module context */
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


static ngx_http_output_body_filter_pt  ngx_http_next_body_filter;


static ngx_int_t
ngx_http_unit_capture_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t             rc;
    ngx_buf_t            *b;
    ngx_chain_t          *cl;
    ngx_http_unit_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_body_filter(r, in);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_unit_module);

    if (ctx == NULL || ctx->answered || ctx->idem == NULL
        || (!ctx->idem->capture && !ctx->idem->gone))
    {
        return ngx_http_next_body_filter(r, in);
    }

    for (cl = in; cl && ctx->idem->capture; cl = cl->next) {

        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            if (b->last != b->pos) {
                ngx_http_unit_idem_body(ctx, b->pos, b->last - b->pos);
            }

        } else if (ngx_buf_size(b)) {

            /* from a file: not with our settings, and not kept then */
            ngx_http_unit_idem_drop(ctx);
        }

        if (b->last_buf) {
            ngx_http_unit_idem_end(ctx);
        }
    }

    if (!ctx->idem->gone) {

        rc = ngx_http_next_body_filter(r, in);

        if (rc != NGX_ERROR || !ngx_http_unit_idem_gone(r, ctx)) {
            return rc;
        }
    }

    /* the client has left: what was looked at is not needed any more */

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    return ctx->idem->capture ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_unit_capture_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_unit_capture_filter;

    return NGX_OK;
}
