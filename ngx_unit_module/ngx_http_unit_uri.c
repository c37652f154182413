
/*
 * Canonical paths and strict query strings.  Everything that two servers could
 * read in two ways is refused, not repaired.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_uri.h"
#include "ngx_http_unit_utf8.h"


#define NGX_HTTP_UNIT_URI_MAX_ARGS  256


static const char *ngx_http_unit_uri_decode_path(const u_char *src,
    size_t len, ngx_str_t *dst);
static const char *ngx_http_unit_uri_split(ngx_http_unit_uri_t *uri);
static u_char *ngx_http_unit_uri_decode_arg(u_char *dst, u_char *p,
    u_char *last);
static ngx_uint_t ngx_http_unit_uri_is_text(const u_char *p,
    const u_char *last);
static ngx_int_t ngx_http_unit_uri_hex(const u_char *p, const u_char *last);
static ngx_uint_t ngx_http_unit_uri_word(const u_char **p,
    const u_char *last, const char *word, ngx_uint_t *numeric);
static ngx_inline ngx_uint_t ngx_http_unit_uri_is_digit(u_char c);
static ngx_inline ngx_uint_t ngx_http_unit_uri_is_space(u_char c);


/* RFC 3986: 2: unreserved, 1: others that we take in a path segment */

static const u_char  ngx_http_unit_uri_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,

    /* " ! " # $ % & '  ( ) * + , - . /  0-7  8 9 : ; < = > ?" */
    0, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 0,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 0, 0, 1, 0, 0,

    /* "@ A-O  P-Z [ \ ] ^ _" */
    1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 2,

    /* "` a-o  p-z { | } ~ DEL" */
    0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 2, 0
};


ngx_int_t
ngx_http_unit_uri_canonical(ngx_pool_t *pool, ngx_str_t *raw,
    ngx_http_unit_uri_t *out)
{
    const char  *reason;

    ngx_memzero(out, sizeof(ngx_http_unit_uri_t));

    if (raw->len == 0 || raw->data[0] != '/') {
        out->reason = "path does not start with a slash";
        return NGX_DECLINED;
    }

    if (raw->len > NGX_HTTP_UNIT_URI_MAX_LEN) {
        out->reason = "path too long";
        return NGX_DECLINED;
    }

    if (ngx_strlchr(raw->data, raw->data + raw->len, '%') == NULL) {
        out->path.data = raw->data;

    } else {
        out->path.data = ngx_pnalloc(pool, raw->len);
        if (out->path.data == NULL) {
            return NGX_ERROR;
        }
    }

    reason = ngx_http_unit_uri_decode_path(raw->data, raw->len, &out->path);

    if (reason == NULL) {
        reason = ngx_http_unit_uri_split(out);
    }

    if (reason != NULL) {
        ngx_memzero(out, sizeof(ngx_http_unit_uri_t));
        out->reason = reason;

        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * Decode what may be escaped, refuse what may not be there.  dst->data is
 * either src, which then is not written to, or has room for len bytes.
 */

static const char *
ngx_http_unit_uri_decode_path(const u_char *src, size_t len, ngx_str_t *dst)
{
    u_char        *d;
    ngx_int_t      c;
    const u_char  *p, *last;

    d = dst->data;
    last = src + len;

    for (p = src; p < last; p++) {

        c = *p;

        if (c == '%') {
            c = ngx_http_unit_uri_hex(p + 1, last);

            if (c == NGX_ERROR) {
                return "malformed escape";
            }

            if (ngx_http_unit_uri_class[c] != 2) {
                return "escape of a reserved byte";
            }

            p += 2;

        } else if (c != '/' && ngx_http_unit_uri_class[c] == 0) {
            return "byte not allowed";
        }

        if (dst->data != src) {
            *d = (u_char) c;
        }

        d++;
    }

    dst->len = d - dst->data;

    return NULL;
}


static const char *
ngx_http_unit_uri_split(ngx_http_unit_uri_t *uri)
{
    u_char     *p, *last, *slash;
    ngx_str_t  *segment;

    p = uri->path.data + 1;
    last = uri->path.data + uri->path.len;

    if (p == last) {
        return NULL;
    }

    for ( ;; ) {

        slash = ngx_strlchr(p, last, '/');

        if (slash == p) {
            return "empty segment";
        }

        if (uri->nsegments == NGX_HTTP_UNIT_URI_MAX_SEGMENTS) {
            return "too many segments";
        }

        segment = &uri->segments[uri->nsegments++];
        segment->data = p;
        segment->len = (slash ? slash : last) - p;

        if ((segment->len == 1 && p[0] == '.')
            || (segment->len == 2 && p[0] == '.' && p[1] == '.'))
        {
            return "dot segment";
        }

        if (slash == NULL) {
            return NULL;
        }

        p = slash + 1;
    }
}


ngx_int_t
ngx_http_unit_uri_args(ngx_pool_t *pool, ngx_str_t *query, ngx_array_t *args)
{
    u_char                   *p, *last, *end, *equals, *dst;
    ngx_http_unit_uri_arg_t  *arg;

    ngx_memzero(args, sizeof(ngx_array_t));

    if (ngx_array_init(args, pool, 8, sizeof(ngx_http_unit_uri_arg_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (query->len == 0) {
        return NGX_OK;
    }

    /* nothing gets longer by decoding */

    dst = ngx_pnalloc(pool, query->len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    last = query->data + query->len;

    for (p = query->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        if (args->nelts == NGX_HTTP_UNIT_URI_MAX_ARGS) {
            goto declined;
        }

        arg = ngx_array_push(args);
        if (arg == NULL) {
            return NGX_ERROR;
        }

        equals = ngx_strlchr(p, end, '=');

        arg->has_value = (equals != NULL);
        arg->name.data = dst;

        dst = ngx_http_unit_uri_decode_arg(dst, p, equals ? equals : end);
        if (dst == NULL) {
            goto declined;
        }

        arg->name.len = dst - arg->name.data;
        arg->value.data = dst;

        dst = ngx_http_unit_uri_decode_arg(dst, equals ? equals + 1 : end, end);
        if (dst == NULL) {
            goto declined;
        }

        arg->value.len = dst - arg->value.data;

        /* a name that could be decoded once more */

        if (ngx_strlchr(arg->name.data, arg->value.data, '%') != NULL) {
            goto declined;
        }
    }

    return NGX_OK;

declined:

    args->nelts = 0;

    return NGX_DECLINED;
}


/* Returns the end of dst, or NULL when the name or value is refused. */

static u_char *
ngx_http_unit_uri_decode_arg(u_char *dst, u_char *p, u_char *last)
{
    u_char     *start;
    ngx_int_t   c;

    start = dst;

    for ( /* void */ ; p < last; p++) {

        c = *p;

        switch (c) {

        case '%':
            c = ngx_http_unit_uri_hex(p + 1, last);
            if (c == NGX_ERROR) {
                return NULL;
            }

            p += 2;
            break;

        case '+':
            c = ' ';
            break;

        case '#':
        case ';':
            return NULL;
        }

        *dst++ = (u_char) c;
    }

    return ngx_http_unit_uri_is_text(start, dst) ? dst : NULL;
}


/* Valid UTF-8 without control characters. */

static ngx_uint_t
ngx_http_unit_uri_is_text(const u_char *p, const u_char *last)
{
    size_t  n;

    for ( /* void */ ; p < last; p += n) {

        n = ngx_http_unit_utf8(p, last);

        if (n == 0 || *p < 0x20 || *p == 0x7f) {
            return 0;
        }
    }

    return 1;
}


/* The value of two hexadecimal digits, or NGX_ERROR. */

static ngx_int_t
ngx_http_unit_uri_hex(const u_char *p, const u_char *last)
{
    u_char      c;
    ngx_int_t   value;
    ngx_uint_t  i;

    if (last - p < 2) {
        return NGX_ERROR;
    }

    value = 0;

    for (i = 0; i < 2; i++) {

        if (ngx_http_unit_uri_is_digit(p[i])) {
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


/*
 * Whatever stands between words separates them: the question is not how a
 * parser ought to read the name but how one might.
 */

ngx_uint_t
ngx_http_unit_uri_is_filter(const ngx_str_t *name, const char *field)
{
    ngx_uint_t     numeric;
    const u_char  *p, *last;

    p = name->data;
    last = p + name->len;

    if (!ngx_http_unit_uri_word(&p, last, "filter", &numeric)) {
        return 0;
    }

    /* filter[][field] and filter[0][field] count as filter[field] */

    do {
        if (ngx_http_unit_uri_word(&p, last, field, &numeric)) {
            return 1;
        }

    } while (numeric);

    return 0;
}


/*
 * Take the next word of *p, white space in it ignored, and compare it with
 * "word" but for letter case.  A word is made of letters, digits, "_" and "-".
 * There is no word left: 0, and not numeric.
 */

static ngx_uint_t
ngx_http_unit_uri_word(const u_char **p, const u_char *last, const char *word,
    ngx_uint_t *numeric)
{
    u_char       c;
    ngx_uint_t   n, equal, digits;

    n = 0;
    digits = 0;
    equal = 1;

    for ( /* void */ ; *p < last; (*p)++) {

        c = **p;

        if (ngx_http_unit_uri_is_space(c)) {
            continue;
        }

        if (ngx_http_unit_uri_class[c] != 2 || c == '.' || c == '~') {

            if (n) {
                break;
            }

            continue;
        }

        n++;
        digits += ngx_http_unit_uri_is_digit(c);

        if (*word == '\0' || ngx_tolower(c) != ngx_tolower(*word)) {
            equal = 0;

        } else {
            word++;
        }
    }

    *numeric = (n != 0 && digits == n);

    return n != 0 && equal && *word == '\0';
}


ngx_uint_t
ngx_http_unit_uri_is_plain_filter(const ngx_str_t *name, const char *field)
{
    size_t   len;
    u_char  *p, *last;

    static const char  filter[] = "filter[";

    p = name->data;
    last = p + name->len;
    len = ngx_strlen(field);

    if (name->len < sizeof(filter) - 1 + len + 1
        || ngx_memcmp(p, filter, sizeof(filter) - 1) != 0)
    {
        return 0;
    }

    p += sizeof(filter) - 1;

    if (ngx_memcmp(p, field, len) != 0 || p[len] != ']') {
        return 0;
    }

    p += len + 1;

    if (p == last) {
        return 1;
    }

    if (*p++ != '[') {
        return 0;
    }

    while (p < last && ngx_http_unit_uri_is_digit(*p)) {
        p++;
    }

    return last - p == 1 && *p == ']';
}


ngx_uint_t
ngx_http_unit_uri_list_only(const ngx_str_t *value, const ngx_str_t *id)
{
    u_char  *p, *q, *end, *last;

    if (id->len == 0 || value->len == 0) {
        return 0;
    }

    p = value->data;
    last = p + value->len;

    for ( ;; ) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        for (q = end; p < q && ngx_http_unit_uri_is_space(*p); p++) {
            /* void */
        }

        while (q > p && ngx_http_unit_uri_is_space(q[-1])) {
            q--;
        }

        if ((size_t) (q - p) != id->len
            || ngx_memcmp(p, id->data, id->len) != 0)
        {
            return 0;
        }

        if (end == last) {
            return 1;
        }

        p = end + 1;
    }
}


ngx_int_t
ngx_http_unit_uri_escape(ngx_pool_t *pool, const ngx_str_t *src,
    ngx_str_t *dst)
{
    u_char  *d;
    size_t   i, len;

    static const u_char  hex[] = "0123456789ABCDEF";

    ngx_str_null(dst);

    len = 0;

    for (i = 0; i < src->len; i++) {
        len += (ngx_http_unit_uri_class[src->data[i]] == 2) ? 1 : 3;
    }

    d = ngx_pnalloc(pool, len);
    if (d == NULL) {
        return NGX_ERROR;
    }

    dst->data = d;
    dst->len = len;

    for (i = 0; i < src->len; i++) {

        if (ngx_http_unit_uri_class[src->data[i]] == 2) {
            *d++ = src->data[i];
            continue;
        }

        *d++ = '%';
        *d++ = hex[src->data[i] >> 4];
        *d++ = hex[src->data[i] & 0xf];
    }

    return NGX_OK;
}


static ngx_inline ngx_uint_t
ngx_http_unit_uri_is_digit(u_char c)
{
    return c >= '0' && c <= '9';
}


static ngx_inline ngx_uint_t
ngx_http_unit_uri_is_space(u_char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
