
/*
 * What clients and logs are told of limits: RateLimit and RateLimit-Policy
 * (draft-ietf-httpapi-ratelimit-headers, structured fields) and
 * $unit_limit_status.
 */


#include "ngx_http_unit_budget_int.h"
#include "ngx_http_unit_list.h"


static void ngx_http_unit_budget_sort(ngx_http_unit_budget_ctx_t *bc);
static ngx_int_t ngx_http_unit_budget_header(ngx_http_request_t *r,
    const char *key, u_char *p, u_char *last);


ngx_int_t
ngx_http_unit_budget_headers(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    u_char                         *p, *start, *middle;
    size_t                          len;
    ngx_uint_t                      i;
    ngx_http_unit_budget_ctx_t     *bc;
    ngx_http_unit_budget_report_t  *report;

    bc = &ctx->budget;

    if (bc->nreports == 0) {
        return NGX_OK;
    }

    ngx_http_unit_budget_sort(bc);

    len = 0;

    for (i = 0; i < bc->nreports; i++) {
        report = &bc->reports[i];

        len += report->window->policy.len + sizeof(", ") - 1
               + report->window->name.len + sizeof("\"\";r=;t=, ") - 1
               + 2 * NGX_INT_T_LEN;
    }

    start = ngx_pnalloc(r->pool, len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = start;

    for (i = 0; i < bc->nreports; i++) {
        report = &bc->reports[i];

        p = ngx_cpymem(p, report->window->policy.data,
                       report->window->policy.len);
        *p++ = ',';
        *p++ = ' ';
    }

    middle = p;

    for (i = 0; i < bc->nreports; i++) {
        report = &bc->reports[i];

        *p++ = '"';
        p = ngx_cpymem(p, report->window->name.data, report->window->name.len);
        p = ngx_sprintf(p, "\";r=%ui;t=%T, ", report->left,
                        ngx_http_unit_budget_seconds(report->reset));
    }

    if (ngx_http_unit_budget_header(r, "RateLimit-Policy", start, middle)
        != NGX_OK
        || ngx_http_unit_budget_header(r, "RateLimit", middle, p) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the tightest first */

static void
ngx_http_unit_budget_sort(ngx_http_unit_budget_ctx_t *bc)
{
    ngx_uint_t                      i, j;
    ngx_http_unit_budget_report_t   report;

    for (i = 1; i < bc->nreports; i++) {

        report = bc->reports[i];

        for (j = i; j > 0 && bc->reports[j - 1].left > report.left; j--) {
            bc->reports[j] = bc->reports[j - 1];
        }

        bc->reports[j] = report;
    }
}


/* p .. last ends with a comma and a space, which are left out */

static ngx_int_t
ngx_http_unit_budget_header(ngx_http_request_t *r, const char *key, u_char *p,
    u_char *last)
{
    ngx_str_t  value;

    value.data = p;
    value.len = last - p - (sizeof(", ") - 1);

    if (ngx_http_unit_list_add(&r->headers_out.headers, key, &value) == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_budget_status(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_str_t *value)
{
    u_char                      *p;
    ngx_str_t                    name;
    const char                  *status;
    ngx_http_unit_budget_ctx_t  *bc;

    bc = &ctx->budget;

    ngx_str_set(&name, "circuit");

    if (bc->refused) {
        name = bc->refused->name;
    }

    if (ctx->decision == NGX_HTTP_UNIT_RATE_LIMITED
        || (ctx->decision == NGX_HTTP_UNIT_BROKER_UNAVAILABLE && bc->circuit))
    {
        status = "refused:";

    } else if (bc->dry_run) {
        status = "dry_run:";

    } else if (bc->passed) {

        if (bc->delayed) {
            ngx_str_set(value, "delayed");

        } else {
            ngx_str_set(value, "passed");
        }

        return NGX_OK;

    } else {
        ngx_str_null(value);
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, sizeof("refused:") - 1 + name.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->data = p;
    value->len = ngx_sprintf(p, "%s%V", status, &name) - p;

    return NGX_OK;
}
