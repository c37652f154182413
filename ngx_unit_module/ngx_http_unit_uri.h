
/*
 * The one canonical form of a request path, and strict reading of query
 * strings (RFC 3986).  Policy is decided on the canonical path and the very
 * same bytes go upstream, so that the two can never differ (STYLE P38, P39).
 * Pure: knows nothing of requests.
 */


#ifndef _NGX_HTTP_UNIT_URI_H_INCLUDED_
#define _NGX_HTTP_UNIT_URI_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_UNIT_URI_MAX_LEN       4096
#define NGX_HTTP_UNIT_URI_MAX_SEGMENTS  16


typedef struct {
    ngx_str_t    path;        /* canonical, starts with "/" */
    ngx_str_t    segments[NGX_HTTP_UNIT_URI_MAX_SEGMENTS];  /* into path */
    ngx_uint_t   nsegments;
    const char  *reason;      /* static text on NGX_DECLINED */
} ngx_http_unit_uri_t;


typedef struct {
    ngx_str_t    name;        /* decoded */
    ngx_str_t    value;       /* decoded */
    ngx_uint_t   has_value;   /* there was a "=" */
} ngx_http_unit_uri_arg_t;


/*
 * Make the canonical path from the raw request target (path only, without
 * "?" and query).
 *
 * Allowed are segments of unreserved characters, "!$&'()*+,=:@" and
 * percent-encoded unreserved characters, which are decoded (once).  Refused
 * with a reason: everything else, in particular every other percent-encoding
 * (%2f, %5c, %00, %25, non-ASCII), malformed escapes, "\", ";", "#", control
 * and non-ASCII bytes, empty segments ("//", and also a trailing slash is an
 * empty last segment: it is kept, so that it matches no operation), "." and
 * ".." segments (also spelled with %2e), a path that does not start with "/",
 * longer than NGX_HTTP_UNIT_URI_MAX_LEN, or deeper than
 * NGX_HTTP_UNIT_URI_MAX_SEGMENTS.  "/" itself has no segments.
 *
 *   out   zeroed first; path points into raw when nothing was decoded, else
 *         into pool
 *
 * NGX_OK, NGX_DECLINED (400 invalid_uri), NGX_ERROR (no memory)
 */
ngx_int_t ngx_http_unit_uri_canonical(ngx_pool_t *pool, ngx_str_t *raw,
    ngx_http_unit_uri_t *out);

/*
 * Split and decode a raw query string.  "&" separates, "+" is a space, escapes
 * are decoded once.  Refused: malformed escapes, escapes or raw bytes below
 * 0x20 and 0x7f, invalid UTF-8 after decoding, "#", a raw ";" (some servers
 * separate at it), more than 256 arguments, and names that still hold a "%"
 * after decoding (double encoding).
 *
 *   args  of ngx_http_unit_uri_arg_t, initialised here, in pool
 *
 * NGX_OK, NGX_DECLINED (400 invalid_uri), NGX_ERROR
 */
ngx_int_t ngx_http_unit_uri_args(ngx_pool_t *pool, ngx_str_t *query,
    ngx_array_t *args);

/*
 * Does a decoded argument name spell the filter "field" in any way that a
 * lenient query parser might read as filter[field]?  ASCII case-insensitive;
 * ignores white space; accepts filter[field], filter[field][], [0], [any],
 * [any][any] ..., filter.field, filter[ field ], filter.field[0],
 * filter[field (unclosed), [filter][field], filter[][field], filter[0][field],
 * and any other punctuation between the words.  Returns 1 or 0.
 */
ngx_uint_t ngx_http_unit_uri_is_filter(const ngx_str_t *name,
    const char *field);

/*
 * Like ngx_http_unit_uri_is_filter() but only the two exact spellings
 * filter[field] and filter[field][N]/[]: what we ourselves trust as given.
 */
ngx_uint_t ngx_http_unit_uri_is_plain_filter(const ngx_str_t *name,
    const char *field);

/*
 * Is every item of a comma list equal to id?  Items are trimmed of white
 * space; an empty list or item is not equal.  Returns 1 or 0.
 */
ngx_uint_t ngx_http_unit_uri_list_only(const ngx_str_t *value,
    const ngx_str_t *id);

/*
 * Percent-encode everything but unreserved characters.
 * NGX_OK (dst in pool) or NGX_ERROR.
 */
ngx_int_t ngx_http_unit_uri_escape(ngx_pool_t *pool, const ngx_str_t *src,
    ngx_str_t *dst);


#endif /* _NGX_HTTP_UNIT_URI_H_INCLUDED_ */
