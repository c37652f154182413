
/*
 * Fuzz target: paths and query strings.  The input is a request target; what
 * follows the first "?" is the query.  Besides memory errors it looks for
 * paths that are not their own canonical form, that are not what a plain
 * decoding of the target gives, or that nginx would write in another way; and
 * for arguments that change when they are written out and read again.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ctype.h>
#include "ngx_http_unit_uri.h"
#include "ngx_stub.h"
#include "fuzz.h"


/*
 * What any server reads in a target that is decoded once, and that needs no
 * more: that, and not a byte else, is the canonical path.
 */

static void
fuzz_decoded(ngx_str_t *raw, ngx_str_t *path)
{
    char     hex[3];
    size_t   i, n;
    u_char   c;

    n = 0;

    for (i = 0; i < raw->len; i++, n++) {
        c = raw->data[i];

        if (c == '%') {
            fuzz_assert(i + 2 < raw->len && isxdigit(raw->data[i + 1])
                        && isxdigit(raw->data[i + 2]));

            memcpy(hex, raw->data + i + 1, 2);
            hex[2] = '\0';
            c = (u_char) strtol(hex, NULL, 16);
            i += 2;

            fuzz_assert(isalnum(c) || strchr("-._~", c) != NULL);
        }

        fuzz_assert(n < path->len && path->data[n] == c);
    }

    fuzz_assert(n == path->len);
}


static void
fuzz_path(ngx_pool_t *pool, ngx_str_t *raw)
{
    u_char               *p;
    ngx_uint_t            i;
    ngx_http_unit_uri_t   uri, again;

    if (ngx_http_unit_uri_canonical(pool, raw, &uri) != NGX_OK) {
        fuzz_assert(uri.reason != NULL && uri.path.data == NULL);
        return;
    }

    fuzz_assert(uri.path.len > 0 && uri.path.len <= raw->len);
    fuzz_decoded(raw, &uri.path);

    /* nginx escapes none of these when it writes the path (STYLE P38) */

    for (i = 0; i < uri.path.len; i++) {
        fuzz_assert(uri.path.data[i] > 0x20 && uri.path.data[i] < 0x7f
                    && strchr("%\\;#?\"<>[]^`{|}", uri.path.data[i]) == NULL);
    }

    fuzz_assert(ngx_http_unit_uri_canonical(pool, &uri.path, &again) == NGX_OK);
    fuzz_assert(again.path.data == uri.path.data
                && again.path.len == uri.path.len
                && again.nsegments == uri.nsegments);

    /* the segments and the slashes between them are the path */

    p = uri.path.data + 1;

    for (i = 0; i < uri.nsegments; i++) {
        fuzz_assert(uri.segments[i].data == p && p[-1] == '/');
        fuzz_assert(uri.segments[i].len != 0 || i == uri.nsegments - 1);
        fuzz_assert(memchr(p, '/', uri.segments[i].len) == NULL);
        fuzz_assert(uri.segments[i].len > 2
                    || memcmp(p, "..", uri.segments[i].len) != 0
                    || uri.segments[i].len == 0);
        p += uri.segments[i].len + 1;
    }

    fuzz_assert(uri.nsegments == 0 ? uri.path.len == 1
                                   : p - 1 == uri.path.data + uri.path.len);
}


static void
fuzz_query(ngx_pool_t *pool, ngx_str_t *query)
{
    u_char                   *p;
    ngx_str_t                 name, value, text, id = ngx_string("10001");
    ngx_uint_t                i;
    ngx_array_t               args, again;
    ngx_http_unit_uri_arg_t  *a, *b;

    if (ngx_http_unit_uri_args(pool, query, &args) != NGX_OK) {
        fuzz_assert(args.nelts == 0);
        return;
    }

    fuzz_assert(args.nelts <= 256);

    text.data = ngx_pnalloc(pool, 4 * query->len + 1);
    p = text.data;
    a = args.elts;

    for (i = 0; i < args.nelts; i++) {

        fuzz_assert(memchr(a[i].name.data, '%', a[i].name.len) == NULL);

        if (ngx_http_unit_uri_is_plain_filter(&a[i].name, "customerId")) {
            fuzz_assert(ngx_http_unit_uri_is_filter(&a[i].name, "CUSTOMERID"));
        }

        (void) ngx_http_unit_uri_list_only(&a[i].value, &id);

        fuzz_assert(ngx_http_unit_uri_escape(pool, &a[i].name, &name)
                    == NGX_OK);
        fuzz_assert(ngx_http_unit_uri_escape(pool, &a[i].value, &value)
                    == NGX_OK);

        p = ngx_cpymem(p, name.data, name.len);

        if (a[i].has_value) {
            *p++ = '=';
            p = ngx_cpymem(p, value.data, value.len);
        }

        *p++ = '&';
    }

    text.len = p - text.data;

    fuzz_assert(ngx_http_unit_uri_args(pool, &text, &again) == NGX_OK);
    fuzz_assert(again.nelts == args.nelts);

    b = again.elts;

    for (i = 0; i < args.nelts; i++) {
        fuzz_assert(a[i].has_value == b[i].has_value
                    && a[i].name.len == b[i].name.len
                    && a[i].value.len == b[i].value.len
                    && memcmp(a[i].name.data, b[i].name.data, a[i].name.len)
                       == 0
                    && memcmp(a[i].value.data, b[i].value.data, a[i].value.len)
                       == 0);
    }
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    u_char      *mark;
    ngx_str_t    path, query;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(1024, NULL);

    path.data = data;
    path.len = len;
    query.data = data + len;
    query.len = 0;

    mark = ngx_strlchr(data, data + len, '?');

    if (mark != NULL) {
        path.len = mark - data;
        query.data = mark + 1;
        query.len = data + len - query.data;
    }

    fuzz_path(pool, &path);
    fuzz_query(pool, &query);

    ngx_destroy_pool(pool);
}
