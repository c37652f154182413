
/*
 * Who gets to see the Unit token, see ngx_http_unit_scrub.h.
 */


#include "ngx_http_unit_list.h"
#include "ngx_http_unit_scrub.h"


static void ngx_http_unit_scrub_cleanup(void *data);


void
ngx_http_unit_scrub(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_list_t       *list;
    ngx_list_part_t  *part;

    if (ctx->authorization == NULL) {
        return;
    }

    ctx->authorization = NULL;
    r->headers_in.authorization = NULL;

    /* it is the last element of the last part, and may be the only one */

    list = &r->headers_in.headers;
    list->last->nelts--;

    if (list->last->nelts || list->last == &list->part) {
        return;
    }

    /* but who walks a list takes for granted that a next part is not empty */

    for (part = &list->part; part->next != list->last; part = part->next) {
        /* void */
    }

    part->next = NULL;
    list->last = part;
}


ngx_int_t
ngx_http_unit_scrub_add(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_http_cleanup_t  *cln;

    if (ctx->scrubbed) {
        return NGX_OK;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_unit_scrub_cleanup;
    cln->data = ctx;

    ctx->scrubbed = 1;

    return NGX_OK;
}


static void
ngx_http_unit_scrub_cleanup(void *data)
{
    ngx_http_unit_ctx_t  *ctx = data;

    ngx_http_unit_scrub(ctx->request, ctx);
}


ngx_int_t
ngx_http_unit_scrub_subrequest(ngx_http_request_t *r)
{
    ngx_list_t                  list;
    ngx_table_elt_t            *h, *to;
    ngx_http_unit_list_walk_t   walk;

    if (ngx_http_get_module_ctx(r, ngx_http_unit_module)
        || ngx_http_unit_get_ctx(r) == NULL)
    {
        return NGX_DECLINED;
    }

    /* the elements are the main request's, too: the list is made anew */

    if (ngx_list_init(&list, r->pool, 8, sizeof(ngx_table_elt_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    for (h = ngx_http_unit_list_first(&r->headers_in.headers, &walk);
         h;
         h = ngx_http_unit_list_next(h, &walk))
    {
        if (h->key.len == sizeof("Authorization") - 1
            && ngx_strncasecmp(h->key.data, (u_char *) "Authorization",
                               sizeof("Authorization") - 1)
               == 0)
        {
            continue;
        }

        to = ngx_list_push(&list);
        if (to == NULL) {
            return NGX_ERROR;
        }

        *to = *h;
    }

    r->headers_in.headers = list;

    /* the list points into itself */

    if (list.last == &list.part) {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    r->headers_in.authorization = NULL;

    return NGX_DECLINED;
}
