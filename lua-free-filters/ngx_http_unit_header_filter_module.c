
/*
 * Header filter: what the gateway adds to each answer and what it takes away
 * from Unit's.  Acts on main requests that the gateway has seen, nothing else.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_unit.h"
#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_idem.h"
#include "ngx_http_unit_list.h"
#include "ngx_http_unit_scrub.h"


static ngx_int_t ngx_http_unit_header_filter(ngx_http_request_t *r);
static void ngx_http_unit_header_filter_clean(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static ngx_uint_t ngx_http_unit_header_filter_drop(ngx_table_elt_t *h,
    ngx_http_unit_ctx_t *ctx);
static ngx_int_t ngx_http_unit_header_filter_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_unit_header_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_unit_header_filter_init,      /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_unit_header_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_unit_header_filter_module_ctx,  /* module context */
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


/* never passed on: they name, set or ask for credentials of Unit's, or are
   made anew below */
static ngx_str_t  ngx_http_unit_header_filter_names[] = {
    ngx_string("Authorization"),
    ngx_string("Cache-Control"),
    ngx_string("Expires"),
    ngx_string("Pragma"),
    ngx_string("Proxy-Authenticate"),
    ngx_string("Proxy-Authorization"),
    ngx_string("RateLimit"),
    ngx_string("RateLimit-Policy"),
    ngx_string("Set-Cookie"),
    ngx_string("WWW-Authenticate"),
    ngx_string("X-Request-Id"),
    ngx_null_string
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


static ngx_int_t
ngx_http_unit_header_filter(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_str_t                  value;
    ngx_list_t                *headers;
    ngx_http_unit_ctx_t       *ctx;
    ngx_http_unit_loc_conf_t  *ulcf;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_unit_get_ctx(r);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    ulcf = ngx_http_get_module_loc_conf(r, ngx_http_unit_module);

    ngx_http_unit_scrub(r, ctx);

    if (ctx->idem && ctx->idem->capture) {

        /* another filter has put an answer of its own in the place of Unit's */
        ngx_http_unit_idem_drop(ctx);
    }

    if (!ctx->answered) {
        ngx_http_unit_header_filter_clean(r, ctx);

        /* that of an error page's location is not kept */

        if (ulcf->enable) {
            ngx_http_unit_idem_header(r, ctx);
        }
    }

    /* who has this answer may come again at once, and to another worker */

    ngx_http_unit_idem_release(ctx);

    /* answers about somebody's money belong into no cache */

    ngx_str_set(&value, "no-store");

    headers = &r->headers_out.headers;

    if (ngx_http_unit_list_add(headers, "Cache-Control", &value) == NULL
        || ngx_http_unit_list_add(headers, "X-Request-Id", &ctx->request_id)
           == NULL
        || ngx_http_unit_budget_headers(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_next_header_filter(r);

    if (rc == NGX_ERROR && ngx_http_unit_idem_gone(r, ctx)) {
        return NGX_OK;
    }

    return rc;
}


static void
ngx_http_unit_header_filter_clean(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx)
{
    ngx_table_elt_t            *h;
    ngx_http_unit_list_walk_t   walk;

    for (h = ngx_http_unit_list_first(&r->headers_out.headers, &walk);
         h;
         h = ngx_http_unit_list_next(h, &walk))
    {
        if (h->hash && ngx_http_unit_header_filter_drop(h, ctx)) {
            h->hash = 0;
        }
    }

    r->headers_out.www_authenticate = NULL;
    r->headers_out.expires = NULL;
}


static ngx_uint_t
ngx_http_unit_header_filter_drop(ngx_table_elt_t *h,
    ngx_http_unit_ctx_t *ctx)
{
    u_char     *p, *last;
    ngx_str_t  *name;

    static u_char  form[] = "v2.public.";

    for (name = ngx_http_unit_header_filter_names; name->len; name++) {

        if (h->key.len == name->len
            && ngx_strncasecmp(h->key.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    /* a token in any other place, ours or anybody's */

    if (h->value.len < sizeof(form) - 1) {
        return 0;
    }

    last = h->value.data + h->value.len;

    p = ngx_strlcasestrn(h->value.data, last, form, sizeof(form) - 2);
    if (p) {
        return 1;
    }

    if (ctx->token.len > sizeof("Bearer ") + 15
        && h->value.len >= ctx->token.len - (sizeof("Bearer ") - 1))
    {
        p = ngx_strlcasestrn(h->value.data, last,
                             ctx->token.data + sizeof("Bearer ") - 1,
                             ctx->token.len - sizeof("Bearer "));
        return p != NULL;
    }

    return 0;
}


static ngx_int_t
ngx_http_unit_header_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_unit_header_filter;

    return NGX_OK;
}
