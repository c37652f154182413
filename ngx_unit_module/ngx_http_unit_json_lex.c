
/*
 * Strings, numbers and literals of a JSON text: where they end, and whether
 * they are valid.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json_int.h"
#include "ngx_http_unit_utf8.h"


static u_char *ngx_http_unit_json_lex_plain(u_char *p, u_char *last);
static u_char *ngx_http_unit_json_lex_escape(ngx_http_unit_json_lex_t *lex,
    u_char *p);
static u_char *ngx_http_unit_json_lex_digits(ngx_http_unit_json_lex_t *lex,
    u_char *p);


/* the same byte eight times */
#define NGX_HTTP_UNIT_JSON_BYTES(c)  ((c) * 0x0101010101010101ULL)


/* 1: a byte that stands for itself in a string */

static const u_char  ngx_http_unit_json_plain[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  /* not " */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1,  /* not \ */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
};


u_char *
ngx_http_unit_json_string_end(ngx_http_unit_json_lex_t *lex, u_char *p)
{
    u_char  *last;
    size_t   n;

    last = lex->last;
    lex->escaped = 0;
    p++;

    while (p != NULL) {

        p = ngx_http_unit_json_lex_plain(p, last);

        if (p == last) {
            return ngx_http_unit_json_fail(lex, p, "unexpected end of text");
        }

        if (*p == '"') {
            return p + 1;
        }

        if (*p == '\\') {
            lex->escaped = 1;
            p = ngx_http_unit_json_lex_escape(lex, p);
            continue;
        }

        if (*p < 0x20) {
            return ngx_http_unit_json_fail(lex, p,
                                           "control character in string");
        }

        n = ngx_http_unit_utf8(p, last);
        if (n == 0) {
            return ngx_http_unit_json_fail(lex, p, "invalid UTF-8");
        }

        p += n;
    }

    return NULL;
}


/* the first byte that does not stand for itself, or last */

static u_char *
ngx_http_unit_json_lex_plain(u_char *p, u_char *last)
{
    uint64_t  w, special;

    /*
     * Eight at a time: the high bit is set for a byte below 0x20, for a quote,
     * a backslash, and by one or the other for all above 0x7f.  A borrow may
     * set more of them, but only after one that is right.
     */

    while (last - p >= 8) {

        ngx_memcpy(&w, p, sizeof(w));

        special = ((w - NGX_HTTP_UNIT_JSON_BYTES(0x20))
                   | ((w ^ NGX_HTTP_UNIT_JSON_BYTES('"'))
                      - NGX_HTTP_UNIT_JSON_BYTES(1))
                   | ((w ^ NGX_HTTP_UNIT_JSON_BYTES('\\'))
                      - NGX_HTTP_UNIT_JSON_BYTES(1)))
                  & NGX_HTTP_UNIT_JSON_BYTES(0x80);

        if (special) {
#if (NGX_HAVE_LITTLE_ENDIAN && __GNUC__)
            return p + __builtin_ctzll(special) / 8;
#else
            break;
#endif
        }

        p += 8;
    }

    while (p < last && ngx_http_unit_json_plain[*p]) {
        p++;
    }

    return p;
}


static u_char *
ngx_http_unit_json_lex_escape(ngx_http_unit_json_lex_t *lex, u_char *p)
{
    ngx_int_t  c;

    if (lex->last - p < 2) {
        return ngx_http_unit_json_fail(lex, lex->last,
                                       "unexpected end of text");
    }

    switch (p[1]) {

    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;

    case 'u':
        break;

    default:
        return ngx_http_unit_json_fail(lex, p, "invalid escape");
    }

    c = ngx_http_unit_json_hex4(p + 2, lex->last);

    if (c == NGX_ERROR) {
        return ngx_http_unit_json_fail(lex, p, "invalid escape");
    }

    if (c == 0) {
        return ngx_http_unit_json_fail(lex, p, "U+0000 in string");
    }

    if (c < 0xd800 || c > 0xdfff) {
        return p + 6;
    }

    /* a pair of surrogates: high, then low */

    if (c > 0xdbff || lex->last - p < 12 || p[6] != '\\' || p[7] != 'u') {
        return ngx_http_unit_json_fail(lex, p, "lone surrogate");
    }

    c = ngx_http_unit_json_hex4(p + 8, lex->last);

    if (c < 0xdc00 || c > 0xdfff) {
        return ngx_http_unit_json_fail(lex, p, "lone surrogate");
    }

    return p + 12;
}


u_char *
ngx_http_unit_json_number_end(ngx_http_unit_json_lex_t *lex, u_char *p)
{
    u_char  *start, *last;

    start = p;
    last = lex->last;

    if (*p == '-') {
        p++;
    }

    if (p < last && *p == '0') {
        p++;

    } else {
        p = ngx_http_unit_json_lex_digits(lex, p);
    }

    if (p != NULL && p < last && *p == '.') {
        p = ngx_http_unit_json_lex_digits(lex, p + 1);
    }

    if (p != NULL && p < last && (*p == 'e' || *p == 'E')) {
        p++;

        if (p < last && (*p == '+' || *p == '-')) {
            p++;
        }

        p = ngx_http_unit_json_lex_digits(lex, p);
    }

    if (p == NULL) {
        return NULL;
    }

    /* 18 characters without exponent always fit */

    if (p - start > 18 || ngx_strlchr(start, p, 'e') != NULL
        || ngx_strlchr(start, p, 'E') != NULL)
    {
        if (!ngx_http_unit_json_number_fits(start, p)) {
            return ngx_http_unit_json_fail(lex, start, "number out of range");
        }
    }

    return p;
}


/* One digit or more. */

static u_char *
ngx_http_unit_json_lex_digits(ngx_http_unit_json_lex_t *lex, u_char *p)
{
    u_char  *start;

    start = p;

    while (p < lex->last && *p >= '0' && *p <= '9') {
        p++;
    }

    if (p > start) {
        return p;
    }

    if (p == lex->last) {
        return ngx_http_unit_json_fail(lex, p, "unexpected end of text");
    }

    return ngx_http_unit_json_fail(lex, p, "invalid number");
}


u_char *
ngx_http_unit_json_literal_end(ngx_http_unit_json_lex_t *lex, u_char *p,
    const char *text, size_t len)
{
    size_t  n;

    n = ngx_min((size_t) (lex->last - p), len);

    if (ngx_memcmp(p, text, n) != 0) {
        return ngx_http_unit_json_fail(lex, p, "value expected");
    }

    if (n < len) {
        return ngx_http_unit_json_fail(lex, lex->last,
                                       "unexpected end of text");
    }

    return p + len;
}
