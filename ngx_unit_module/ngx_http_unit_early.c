
/*
 * Early data, see ngx_http_unit_early.h.
 */


#include "ngx_http_unit_early.h"
#include "ngx_http_unit_header.h"


ngx_int_t
ngx_http_unit_early(ngx_http_request_t *r, ngx_http_unit_code_e *code,
    const char **reason)
{
    ngx_table_elt_t  *h;

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        return NGX_OK;
    }

    /* any value counts as "1", and several do (RFC 8470 5.1) */

    if (ngx_http_unit_header_single(r, "early-data", sizeof("early-data") - 1,
                                    &h)
        == NGX_DECLINED)
    {
        return NGX_OK;
    }

    *code = NGX_HTTP_UNIT_TOO_EARLY;
    *reason = "early_data";

    return NGX_DECLINED;
}
