
/*
 * TEST ONLY: a filter of somebody else's that ends an answer its own way, as
 * image_filter, xslt and conditional requests do.  t/232-ended-answers.t builds
 * it as a dynamic module and loads it into its nginx.
 *
 * An answer with "X-End: N" becomes the server's own answer N.  With
 * "X-End-Late: N" that happens when the first part of its body comes, and only
 * then has anything been sent.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_int_t   status;        /* what the answer is to become, 0: itself */
} ngx_http_end_filter_ctx_t;


static ngx_int_t ngx_http_end_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_end_filter_status(ngx_http_request_t *r,
    ngx_str_t *name);
static ngx_int_t ngx_http_end_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_end_filter_init(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_end_filter_module;
extern ngx_module_t  *ngx_modules[];
extern char  *ngx_module_names[];
extern char  *ngx_module_order[];


static ngx_http_module_t  ngx_http_end_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_end_filter_init,              /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_end_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_end_filter_module_ctx,       /* module context */
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


/* what nginx looks for in a dynamic module */

ngx_module_t  *ngx_modules[] = {
    &ngx_http_end_filter_module,
    NULL
};

char  *ngx_module_names[] = {
    "ngx_http_end_filter_module",
    NULL
};

char  *ngx_module_order[] = {
    "ngx_http_end_filter_module",
    "ngx_http_copy_filter_module",
    NULL
};


static ngx_str_t  ngx_http_end_filter_at_once = ngx_string("X-End");
static ngx_str_t  ngx_http_end_filter_late = ngx_string("X-End-Late");

static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_end_header_filter(ngx_http_request_t *r)
{
    ngx_int_t                   status;
    ngx_http_end_filter_ctx_t  *ctx;

    status = ngx_http_end_filter_status(r, &ngx_http_end_filter_at_once);

    if (status) {
        return ngx_http_filter_finalize_request(r, NULL, status);
    }

    status = ngx_http_end_filter_status(r, &ngx_http_end_filter_late);

    if (status == 0) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_end_filter_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->status = status;

    ngx_http_set_ctx(r, ctx, ngx_http_end_filter_module);

    /* held back */

    return NGX_OK;
}


static ngx_int_t
ngx_http_end_filter_status(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash
            && h[i].key.len == name->len
            && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
        {
            return ngx_atoi(h[i].value.data, h[i].value.len);
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_end_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t                   rc;
    ngx_chain_t                *cl;
    ngx_http_end_filter_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_end_filter_module);

    if (in == NULL || ctx == NULL || ctx->status == 0) {
        return ngx_http_next_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    rc = ctx->status;
    ctx->status = 0;

    return ngx_http_filter_finalize_request(r, &ngx_http_end_filter_module, rc);
}


static ngx_int_t
ngx_http_end_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_end_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_end_body_filter;

    return NGX_OK;
}
