
/*
 * Values that a JSON scan has found: looking them up, decoding and comparing
 * strings.  The text was validated before: nothing is checked again.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json_int.h"


static const u_char *ngx_http_unit_json_unescape(u_char buf[4], size_t *n,
    const u_char *p, const u_char *last);


ngx_http_unit_json_hit_t *
ngx_http_unit_json_hit(ngx_http_unit_json_t *json, ngx_uint_t watch,
    ngx_uint_t n)
{
    ngx_uint_t                 i;
    ngx_http_unit_json_hit_t  *hit;

    hit = json->hits.elts;

    for (i = 0; i < json->hits.nelts; i++) {

        if (hit[i].watch == watch && n-- == 0) {
            return &hit[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_unit_json_string(ngx_pool_t *pool, const ngx_http_unit_json_hit_t *hit,
    ngx_str_t *value)
{
    u_char  *p, *last;

    ngx_str_null(value);

    if (hit->type != NGX_HTTP_UNIT_JSON_STRING) {
        return NGX_DECLINED;
    }

    p = hit->start + 1;
    last = hit->end - 1;

    if (ngx_strlchr(p, last, '\\') == NULL) {
        value->data = p;
        value->len = last - p;

        return NGX_OK;
    }

    value->data = ngx_pnalloc(pool, last - p);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_http_unit_json_decode(value->data, p, last) - value->data;

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_json_equal(const ngx_http_unit_json_hit_t *hit,
    const ngx_str_t *text)
{
    u_char         buf[4], *t, *end;
    size_t         n;
    const u_char  *p, *last;

    if (hit->type != NGX_HTTP_UNIT_JSON_STRING) {
        return 0;
    }

    p = hit->start + 1;
    last = hit->end - 1;
    t = text->data;
    end = t + text->len;

    while (p < last) {

        if (*p != '\\') {

            if (t == end || *t != *p) {
                return 0;
            }

            t++;
            p++;

            continue;
        }

        p = ngx_http_unit_json_unescape(buf, &n, p, last);

        if ((size_t) (end - t) < n || ngx_memcmp(t, buf, n) != 0) {
            return 0;
        }

        t += n;
    }

    return t == end;
}


u_char *
ngx_http_unit_json_decode(u_char *dst, const u_char *p, const u_char *last)
{
    u_char  buf[4];
    size_t  n;

    while (p < last) {

        if (*p != '\\') {
            *dst++ = *p++;
            continue;
        }

        p = ngx_http_unit_json_unescape(buf, &n, p, last);
        dst = ngx_cpymem(dst, buf, n);
    }

    return dst;
}


/* Decode the escape at p into n bytes of UTF-8; returns what follows it. */

static const u_char *
ngx_http_unit_json_unescape(u_char buf[4], size_t *n, const u_char *p,
    const u_char *last)
{
    uint32_t  c, low;

    *n = 1;
    p += 2;

    switch (p[-1]) {

    case 'b':
        buf[0] = '\b';
        return p;

    case 'f':
        buf[0] = '\f';
        return p;

    case 'n':
        buf[0] = '\n';
        return p;

    case 'r':
        buf[0] = '\r';
        return p;

    case 't':
        buf[0] = '\t';
        return p;

    case 'u':
        break;

    default: /* quote, backslash, slash */
        buf[0] = p[-1];
        return p;
    }

    c = (uint32_t) ngx_http_unit_json_hex4(p, last);
    p += 4;

    if (c < 0x80) {
        buf[0] = (u_char) c;
        return p;
    }

    if (c < 0x800) {
        buf[0] = (u_char) (0xc0 | (c >> 6));
        buf[1] = (u_char) (0x80 | (c & 0x3f));
        *n = 2;

        return p;
    }

    if (c < 0xd800 || c > 0xdbff) {
        buf[0] = (u_char) (0xe0 | (c >> 12));
        buf[1] = (u_char) (0x80 | ((c >> 6) & 0x3f));
        buf[2] = (u_char) (0x80 | (c & 0x3f));
        *n = 3;

        return p;
    }

    /* the first half of a surrogate pair, "\uXXXX" follows */

    low = (uint32_t) ngx_http_unit_json_hex4(p + 2, last);
    c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);

    buf[0] = (u_char) (0xf0 | (c >> 18));
    buf[1] = (u_char) (0x80 | ((c >> 12) & 0x3f));
    buf[2] = (u_char) (0x80 | ((c >> 6) & 0x3f));
    buf[3] = (u_char) (0x80 | (c & 0x3f));
    *n = 4;

    return p + 6;
}


ngx_int_t
ngx_http_unit_json_hex4(const u_char *p, const u_char *last)
{
    u_char      c;
    ngx_int_t   value;
    ngx_uint_t  i;

    if (last - p < 4) {
        return NGX_ERROR;
    }

    value = 0;

    for (i = 0; i < 4; i++) {

        if (p[i] >= '0' && p[i] <= '9') {
            value = value * 16 + (p[i] - '0');
            continue;
        }

        c = (u_char) (p[i] | 0x20);

        if (c < 'a' || c > 'f') {
            return NGX_ERROR;
        }

        value = value * 16 + (c - 'a' + 10);
    }

    return value;
}
