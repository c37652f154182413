
/*
 * Splicing of keys, see ngx_http_unit_splice.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_splice.h"


#define NGX_HTTP_UNIT_SPLICE_NAME  "\"idempotencyKey\":\""


#define ngx_http_unit_splice_space(ch)                                        \
    ((ch) == ' ' || (ch) == '\t' || (ch) == '\r' || (ch) == '\n')


static u_char *ngx_http_unit_splice_name(u_char *value);


ngx_int_t
ngx_http_unit_splice_put(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_unit_splice_t *places, ngx_uint_t n, ngx_str_t *out)
{
    u_char                  *p, *from, *next;
    size_t                   len;
    ngx_uint_t               i;
    ngx_http_unit_splice_t  *place;

    len = text->len;

    for (i = 0; i < n; i++) {
        len += sizeof(NGX_HTTP_UNIT_SPLICE_NAME "\",") + places[i].value.len;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;
    from = text->data;

    for (i = 0; i < n; i++) {

        place = &places[i];

        if (place->key) {
            p = ngx_cpymem(p, from, place->key->start - from);

            *p++ = '"';
            p = ngx_cpymem(p, place->value.data, place->value.len);
            *p++ = '"';

            from = place->key->end;
            continue;
        }

        next = place->attributes->start + 1;

        p = ngx_cpymem(p, from, next - from);
        p = ngx_cpymem(p, NGX_HTTP_UNIT_SPLICE_NAME,
                       sizeof(NGX_HTTP_UNIT_SPLICE_NAME) - 1);
        p = ngx_cpymem(p, place->value.data, place->value.len);
        *p++ = '"';

        from = next;

        while (ngx_http_unit_splice_space(*next)) {
            next++;
        }

        if (*next != '}') {
            *p++ = ',';
        }
    }

    p = ngx_cpymem(p, from, text->data + text->len - from);

    out->len = p - out->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_splice_cut(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_unit_splice_t *places, ngx_uint_t n, ngx_str_t *out)
{
    u_char      *p, *from, *start, *end;
    ngx_uint_t   i;

    p = ngx_pnalloc(pool, text->len ? text->len : 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;
    from = text->data;

    for (i = 0; i < n; i++) {

        if (places[i].key == NULL) {
            continue;
        }

        /*
         * with the white space before it, and the comma behind it or, of the
         * last member, the one before
         */

        start = ngx_http_unit_splice_name(places[i].key->start);
        end = places[i].key->end;

        while (ngx_http_unit_splice_space(start[-1])) {
            start--;
        }

        while (ngx_http_unit_splice_space(*end)) {
            end++;
        }

        if (*end == ',') {
            end++;

        } else {
            end = places[i].key->end;

            if (start[-1] == ',') {
                start--;
            }
        }

        p = ngx_cpymem(p, from, start - from);
        from = end;
    }

    p = ngx_cpymem(p, from, text->data + text->len - from);

    out->len = p - out->data;

    return NGX_OK;
}


/*
 * Back from a member's value to the quote that its name begins with.  The
 * text is valid, and a name that reads idempotencyKey has no quotes in it,
 * however its letters are written.
 */

static u_char *
ngx_http_unit_splice_name(u_char *value)
{
    u_char  *p;

    p = value - 1;

    while (*p != '"') {
        p--;
    }

    do {
        p--;
    } while (*p != '"');

    return p;
}
