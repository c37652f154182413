
/*
 * The error log's lines, see ngx_http_unit_log.h.  nginx's own handler writes
 * the request line, the upstream's URI and the referrer with their queries,
 * and those may hold what nobody wants in a log.  What nginx says of a head
 * that it could not read, at info, comes before any module is asked.
 */


#include "ngx_http_unit_log.h"


static u_char *ngx_http_unit_log_handler(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);
static void ngx_http_unit_log_split(ngx_str_t *text, ngx_str_t *rest);


ngx_int_t
ngx_http_unit_log_init(ngx_http_request_t *r)
{
    r->main->log_handler = ngx_http_unit_log_handler;

    return NGX_DECLINED;
}


static u_char *
ngx_http_unit_log_handler(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char                    *p, *last;
    ngx_str_t                  text, rest;
    ngx_http_upstream_t       *u;
    ngx_http_core_srv_conf_t  *cscf;

    p = buf;
    last = buf + len;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    p = ngx_slprintf(p, last, ", server: %V", &cscf->server_name);

    if (r->request_line.len) {
        text = r->request_line;
        ngx_http_unit_log_split(&text, &rest);

        p = ngx_slprintf(p, last, ", request: \"%V%V\"", &text, &rest);
    }

    if (r != sr) {
        p = ngx_slprintf(p, last, ", subrequest: \"%V\"", &sr->uri);
    }

    u = sr->upstream;

    if (u && u->peer.name) {
        text = u->uri;
        ngx_http_unit_log_split(&text, &rest);

        p = ngx_slprintf(p, last, ", upstream: \"%V%V%V\"", &u->schema,
                         u->peer.name, &text);
    }

    if (r->headers_in.host) {
        p = ngx_slprintf(p, last, ", host: \"%V\"",
                         &r->headers_in.host->value);
    }

    return p;
}


/* cut the query out: *text ends before it, *rest is what follows it */

static void
ngx_http_unit_log_split(ngx_str_t *text, ngx_str_t *rest)
{
    u_char  *p, *last;

    ngx_str_null(rest);

    last = text->data + text->len;
    p = ngx_strlchr(text->data, last, '?');

    if (p == NULL) {
        return;
    }

    text->len = p - text->data;

    /* the version of a request line */

    for (p = last; p > text->data + text->len; p--) {

        if (p[-1] == ' ') {
            rest->data = p - 1;
            rest->len = last - rest->data;
            return;
        }
    }
}
