
/*
 * Canonical paths and query strings: every rule of the header, and what must
 * hold for any path that is accepted.  Holds STYLE P38 and P39.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_uri.h"
#include "ngx_stub.h"
#include "tap.h"


#define T(text)  text, sizeof(text) - 1

#define TEST_PATHS  200000


typedef struct {
    const char  *raw;
    size_t       len;
    const char  *path;       /* NULL: refused */
    const char  *detail;     /* segments joined by "|", or the reason */
} test_path_t;


typedef struct {
    const char  *raw;
    size_t       len;
    const char  *args;       /* "name=value|name|", NULL: refused */
} test_args_t;


typedef struct {
    const char  *name;
    int          lenient;
    int          plain;
} test_filter_t;


static const char  test_unreserved[] = "abcdefghijklmnopqrstuvwxyz"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
static const char  test_others[] = "!$&'()*+,=:@";

static const char  test_dot[] = "dot segment";
static const char  test_reserved[] = "escape of a reserved byte";
static const char  test_malformed[] = "malformed escape";
static const char  test_byte[] = "byte not allowed";
static const char  test_empty[] = "empty segment";
static const char  test_slash[] = "path does not start with a slash";


static const test_path_t  test_paths[] = {

    { T("/"), "/", "" },
    { T("/a"), "/a", "a" },
    { T("/accounts/123/limits"), "/accounts/123/limits",
      "accounts|123|limits" },
    { T("/accounts/"), "/accounts/", "accounts|" },
    { T("/a/..."), "/a/...", "a|..." },
    { T("/.a/a./..a/a.."), "/.a/a./..a/a..", ".a|a.|..a|a.." },
    { T("/!$&'()*+,=:@"), "/!$&'()*+,=:@", "!$&'()*+,=:@" },
    { T("/%61ccounts/%7E%7e%2D"), "/accounts/~~-", "accounts|~~-" },
    { T("/%2ea/a%2E"), "/.a/a.", ".a|a." },
    { T("/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g"),
      "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g", "1|2|3|4|5|6|7|8|9|a|b|c|d|e|f|g" },

    { T(""), NULL, test_slash },
    { T("a"), NULL, test_slash },
    { T("*"), NULL, test_slash },
    { T("http://x/a"), NULL, test_slash },
    { T("%2fa"), NULL, test_slash },
    { T("\\a"), NULL, test_slash },

    { T("//"), NULL, test_empty },
    { T("//a"), NULL, test_empty },
    { T("/a//b"), NULL, test_empty },
    { T("/a//"), NULL, test_empty },

    { T("/."), NULL, test_dot },
    { T("/.."), NULL, test_dot },
    { T("/./a"), NULL, test_dot },
    { T("/a/.."), NULL, test_dot },
    { T("/a/../b"), NULL, test_dot },
    { T("/a/./b"), NULL, test_dot },
    { T("/%2e"), NULL, test_dot },
    { T("/%2e%2E/a"), NULL, test_dot },
    { T("/.%2e/a"), NULL, test_dot },
    { T("/a/%2e./a"), NULL, test_dot },

    { T("/a%2fb"), NULL, test_reserved },
    { T("/a%2Fb"), NULL, test_reserved },
    { T("/a%5cb"), NULL, test_reserved },
    { T("/a%00"), NULL, test_reserved },
    { T("/a%25"), NULL, test_reserved },
    { T("/%252e%252e/a"), NULL, test_reserved },
    { T("/a%3b"), NULL, test_reserved },
    { T("/a%0d%0a"), NULL, test_reserved },
    { T("/a%20b"), NULL, test_reserved },
    { T("/%c3%a9"), NULL, test_reserved },
    { T("/%c0%af"), NULL, test_reserved },
    { T("/%24"), NULL, test_reserved },

    { T("/%"), NULL, test_malformed },
    { T("/%4"), NULL, test_malformed },
    { T("/%4g"), NULL, test_malformed },
    { T("/%g4"), NULL, test_malformed },
    { T("/%%41"), NULL, test_malformed },
    { T("/%u0041"), NULL, test_malformed },
    { T("/% 41"), NULL, test_malformed },
    { T("/%-1"), NULL, test_malformed },
    { T("/%4\0"), NULL, test_malformed },

    { T("/a;b=c"), NULL, test_byte },
    { T("/..;/a"), NULL, test_byte },
    { T("/a\\..\\b"), NULL, test_byte },
    { T("/a?b"), NULL, test_byte },
    { T("/a#b"), NULL, test_byte },
    { T("/a b"), NULL, test_byte },
    { T("/a\0"), NULL, test_byte },
    { T("/a\n"), NULL, test_byte },
    { T("/\xc3\xa9"), NULL, test_byte },
    { T("/<>"), NULL, test_byte },

    { T("/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h"), NULL, "too many segments" },
    { T("/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/"), NULL, "too many segments" },
};


static const test_args_t  test_args[] = {

    { T(""), "" },
    { T("a"), "a|" },
    { T("a=1"), "a=1|" },
    { T("a="), "a=|" },
    { T("=1"), "=1|" },
    { T("a=1&b=2&a=3"), "a=1|b=2|a=3|" },
    { T("&a=1&&b=2&"), "a=1|b=2|" },
    { T("a=b=c"), "a=b=c|" },
    { T("a+b=c+d"), "a b=c d|" },
    { T("%61=%62%2B%26%3D%25%23%3b"), "a=b+&=%#;|" },
    { T("filter%5BcustomerId%5d=1"), "filter[customerId]=1|" },
    { T("a=%C3%A9\xc3\xa9"), "a=\xc3\xa9\xc3\xa9|" },
    { T("a=/?:@"), "a=/?:@|" },
    { T("a=%2541"), "a=%41|" },
    { T("a=%c2%80"), "a=\xc2\x80|" },

    { T("%"), NULL },
    { T("a=%"), NULL },
    { T("a=%4"), NULL },
    { T("a=%4&1"), NULL },
    { T("a%3=1"), NULL },
    { T("a=%g1"), NULL },
    { T("a=%u0041"), NULL },
    { T("a=1#"), NULL },
    { T("a;b"), NULL },
    { T("a=1;b=2"), NULL },
    { T("a=%00"), NULL },
    { T("a\0=1"), NULL },
    { T("a=%0a"), NULL },
    { T("a=\r"), NULL },
    { T("a%09=1"), NULL },
    { T("a=\x7f"), NULL },
    { T("a=%7F"), NULL },
    { T("a=%1f"), NULL },
    { T("a=\xff"), NULL },
    { T("a=%c0%80"), NULL },
    { T("a=%ed%a0%80"), NULL },
    { T("%e2%82=1"), NULL },
    { T("%e2%82=%ac"), NULL },
    { T("a=%e2&%82%ac"), NULL },
    { T("%2561=1"), NULL },
    { T("filter%255BcustomerId%255D=1"), NULL },
    { T("a%25=1"), NULL },
    { T("b=1&a%25"), NULL },
};


static const test_filter_t  test_filters[] = {
    { "filter[customerId]", 1, 1 },
    { "filter[customerId][]", 1, 1 },
    { "filter[customerId][0]", 1, 1 },
    { "filter[customerId][12]", 1, 1 },
    { "filter[customerId][any]", 1, 0 },
    { "filter[customerId][0][eq]", 1, 0 },
    { "filter[customerId][-1]", 1, 0 },
    { "filter[customerId]x", 1, 0 },
    { "filter[customerId][", 1, 0 },
    { "filter[customerId", 1, 0 },
    { "filter[customerId]]", 1, 0 },
    { "filter[[customerId]]", 1, 0 },
    { "filter[][customerId]", 1, 0 },
    { "filter[0][customerId]", 1, 0 },
    { "[filter][customerId]", 1, 0 },
    { "filter.customerId", 1, 0 },
    { "filter.customerId[0]", 1, 0 },
    { "filter.customerId.eq", 1, 0 },
    { "filter[.customerId]", 1, 0 },
    { "filter[ customerId ]", 1, 0 },
    { " filter [customerId]", 1, 0 },
    { "fil ter[customer Id]", 1, 0 },
    { "FILTER[CUSTOMERID]", 1, 0 },
    { "Filter[customerid]", 1, 0 },
    { "filter[customerId] ", 1, 0 },
    { "filter(customerId)", 1, 0 },
    { "filter{customerId}", 1, 0 },
    { "filter['customerId']", 1, 0 },
    { "filter[\"customerId\"]", 1, 0 },
    { "filter:customerId", 1, 0 },
    { "?filter[customerId]", 1, 0 },
    { "filter[\xc2\xa0" "customerId]", 1, 0 },

    { "", 0, 0 },
    { "[]", 0, 0 },
    { "filter", 0, 0 },
    { "filter[]", 0, 0 },
    { "filter[0]", 0, 0 },
    { "customerId", 0, 0 },
    { "filter[customer]", 0, 0 },
    { "filter[customerIds]", 0, 0 },
    { "filter[xcustomerId]", 0, 0 },
    { "filter[accountId]", 0, 0 },
    { "filter[accountId][customerId]", 0, 0 },
    { "filters[customerId]", 0, 0 },
    { "xfilter[customerId]", 0, 0 },
    { "page[filter][customerId]", 0, 0 },
    { "filtercustomerId", 0, 0 },
    { "filter[customer][Id]", 0, 0 },
};


static ngx_pool_t  *test_pool;


/* A copy that ends where its allocation does, for the sanitizer. */

static ngx_str_t *
test_str(const char *text, size_t len)
{
    ngx_str_t  *s;

    s = ngx_palloc(test_pool, sizeof(ngx_str_t));
    s->len = len;
    s->data = ngx_pnalloc(test_pool, len);
    memcpy(s->data, text, len);

    return s;
}


static size_t
test_join(ngx_http_unit_uri_t *uri, char *buf, char separator)
{
    size_t      len;
    ngx_uint_t  i;

    len = 0;

    for (i = 0; i < uri->nsegments; i++) {
        if (i) {
            buf[len++] = separator;
        }

        memcpy(buf + len, uri->segments[i].data, uri->segments[i].len);
        len += uri->segments[i].len;
    }

    return len;
}


static void
test_canonical(void)
{
    char                  buf[8192];
    ngx_int_t             rc;
    ngx_str_t            *raw;
    ngx_uint_t            i, copied;
    const test_path_t    *t;
    ngx_http_unit_uri_t   uri;

    for (i = 0; i < sizeof(test_paths) / sizeof(test_paths[0]); i++) {
        t = &test_paths[i];
        raw = test_str(t->raw, t->len);
        rc = ngx_http_unit_uri_canonical(test_pool, raw, &uri);

        if (t->path == NULL) {
            ok(rc == NGX_DECLINED && uri.path.len == 0 && uri.nsegments == 0
               && strcmp(uri.reason, t->detail) == 0,
               "%s: %s", t->detail, t->raw);
            continue;
        }

        ok(rc == NGX_OK && uri.reason == NULL, "accepted: %s", t->raw);
        is_text(uri.path.data, uri.path.len, t->path, "canonical path");
        is_text(buf, test_join(&uri, buf, '|'), t->detail, "segments");

        copied = (uri.path.data != raw->data);
        is(copied, strchr(t->raw, '%') != NULL, "copied only when decoded");
    }

    memset(buf, 'a', sizeof(buf));
    buf[0] = '/';

    raw = test_str(buf, NGX_HTTP_UNIT_URI_MAX_LEN);
    is(ngx_http_unit_uri_canonical(test_pool, raw, &uri), NGX_OK, "4096 bytes");

    raw = test_str(buf, NGX_HTTP_UNIT_URI_MAX_LEN + 1);
    is(ngx_http_unit_uri_canonical(test_pool, raw, &uri), NGX_DECLINED,
       "4097 bytes");
    is_text(uri.reason, strlen(uri.reason), "path too long", "reason");

    raw = test_str("/%61", 4);
    ngx_stub_fail(1);
    rc = ngx_http_unit_uri_canonical(test_pool, raw, &uri);
    ngx_stub_fail(0);
    ok(rc == NGX_ERROR && uri.path.len == 0, "no memory");
}


/* Each byte, raw and escaped in both letter cases. */

static void
test_bytes(void)
{
    char                  buf[16];
    ngx_int_t             rc;
    ngx_uint_t            c, wrong, unreserved, allowed;
    ngx_http_unit_uri_t   uri;

    wrong = 0;

    for (c = 0; c < 256; c++) {
        unreserved = c && strchr(test_unreserved, (int) c) != NULL;
        allowed = unreserved || (c && strchr(test_others, (int) c) != NULL);

        sprintf(buf, "/x%cy", (int) c);
        rc = ngx_http_unit_uri_canonical(test_pool, test_str(buf, 4), &uri);
        wrong += (rc == NGX_OK) != (allowed || c == '/');

        sprintf(buf, "/x%%%02xy", (u_int) c);
        rc = ngx_http_unit_uri_canonical(test_pool, test_str(buf, 6), &uri);
        wrong += (rc == NGX_OK) != unreserved
                 || (rc == NGX_OK && (uri.path.len != 4
                                      || uri.path.data[2] != c));

        sprintf(buf, "/x%%%02Xy", (u_int) c);
        rc = ngx_http_unit_uri_canonical(test_pool, test_str(buf, 6), &uri);
        wrong += (rc == NGX_OK) != unreserved;
    }

    is(wrong, 0, "each byte, raw and escaped");
}


/* What holds for every path that is accepted. */

static void
test_property(void)
{
    char                   buf[256];
    size_t                 n, len;
    uint64_t               x;
    ngx_str_t             *raw;
    ngx_uint_t             i, wrong, accepted;
    const char            *p;
    ngx_http_unit_uri_t    uri, again;

    static const char  *pieces[] = {
        "/", "/", "/", "a", "b", ".", "..", "%2e", "%2E", "%61", "%7E", "~",
        "accounts", "123", ":", "@", "=", "%2f", "%5c", "%25", ";", "\\", "%",
        "\xc3\xa9", "+", "%4", "-", "_", "(", "1", "2", "3"
    };

    x = 0x9e3779b97f4a7c15ULL;
    wrong = 0;
    accepted = 0;

    for (i = 0; i < TEST_PATHS; i++) {
        test_pool = ngx_create_pool(1024, NULL);
        len = 0;
        buf[len++] = '/';

        for (n = i % 9; n; n--) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;

            p = pieces[(x >> 20) % (sizeof(pieces) / sizeof(pieces[0]))];
            memcpy(buf + len, p, strlen(p));
            len += strlen(p);
        }

        raw = test_str(buf, len);

        if (ngx_http_unit_uri_canonical(test_pool, raw, &uri) == NGX_OK) {
            accepted++;

            wrong += memchr(uri.path.data, '%', uri.path.len) != NULL
                     || ngx_http_unit_uri_canonical(test_pool, &uri.path,
                                                    &again) != NGX_OK
                     || again.path.data != uri.path.data
                     || again.path.len != uri.path.len
                     || again.nsegments != uri.nsegments;

            buf[0] = '/';
            len = 1 + test_join(&uri, buf + 1, '/');

            wrong += len != uri.path.len
                     || memcmp(buf, uri.path.data, len) != 0;

            for (n = 0; n < uri.nsegments; n++) {
                p = (const char *) uri.segments[n].data;
                len = uri.segments[n].len;

                wrong += memchr(p, '/', len) != NULL
                         || (len == 0 && n != uri.nsegments - 1)
                         || (len <= 2 && len && memcmp(p, "..", len) == 0);
            }
        }

        ngx_destroy_pool(test_pool);
    }

    is(wrong, 0, "a canonical path is its own canonical path");
    ok(accepted > TEST_PATHS / 10 && accepted < TEST_PATHS / 2,
       "of %d paths %d were accepted", TEST_PATHS, (int) accepted);
}


static void
test_query(void)
{
    char                      buf[2048];
    size_t                    len;
    ngx_int_t                 rc;
    ngx_str_t                *query;
    ngx_uint_t                i, n, failed;
    ngx_array_t               args;
    const test_args_t        *t;
    ngx_http_unit_uri_arg_t  *arg;

    for (i = 0; i < sizeof(test_args) / sizeof(test_args[0]); i++) {
        t = &test_args[i];
        query = test_str(t->raw, t->len);
        rc = ngx_http_unit_uri_args(test_pool, query, &args);

        if (t->args == NULL) {
            ok(rc == NGX_DECLINED && args.nelts == 0, "refused: %s", t->raw);
            continue;
        }

        ok(rc == NGX_OK, "accepted: %s", t->raw);

        arg = args.elts;
        len = 0;

        for (n = 0; n < args.nelts; n++) {
            len += sprintf(buf + len, "%.*s%s%.*s|",
                           (int) arg[n].name.len, arg[n].name.data,
                           arg[n].has_value ? "=" : "",
                           (int) arg[n].value.len, arg[n].value.data);
        }

        is_text(buf, len, t->args, "arguments");
    }

    memset(buf, '&', sizeof(buf));

    for (i = 0; i < 257; i++) {
        buf[3 * i] = 'a';
    }

    query = test_str(buf, 3 * 255 + 2);
    is(ngx_http_unit_uri_args(test_pool, query, &args), NGX_OK,
       "256 arguments");
    is(args.nelts, 256, "their number");

    query = test_str(buf, 3 * 256 + 1);
    is(ngx_http_unit_uri_args(test_pool, query, &args), NGX_DECLINED,
       "257 arguments");

    /* each allocation failing */

    query = test_str(buf, 3 * 255 + 2);
    failed = 0;

    for (i = 1; ; i++) {
        ngx_stub_fail(i);
        rc = ngx_http_unit_uri_args(test_pool, query, &args);
        ngx_stub_fail(0);

        if (rc != NGX_ERROR) {
            break;
        }

        failed++;
    }

    ok(rc == NGX_OK && failed == 7, "each of %d allocations may fail",
       (int) failed);
}


static void
test_filter(void)
{
    ngx_str_t            *name;
    ngx_uint_t            i;
    const test_filter_t  *t;

    for (i = 0; i < sizeof(test_filters) / sizeof(test_filters[0]); i++) {
        t = &test_filters[i];
        name = test_str(t->name, strlen(t->name));

        is(ngx_http_unit_uri_is_filter(name, "customerId"), t->lenient,
           t->name);
        is(ngx_http_unit_uri_is_plain_filter(name, "customerId"), t->plain,
           t->plain ? "plain" : "not plain");
    }
}


static void
test_list(void)
{
    ngx_str_t   *value, id = ngx_string("10001"), none = ngx_string("");
    ngx_uint_t   i;

    static const char  *good[] = {
        "10001", " 10001 ", "10001,10001", "10001 , 10001", "\t10001"
    };

    static const char  *bad[] = {
        "", " ", ",", "10001,", ",10001", "10001,,10001", "10002", "1000",
        "100011", "10001,10002", "10001 10001", "10001, ", "10001;10002",
        "[10001]", "\"10001\"", "10001\xc2\xa0", "010001"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        value = test_str(good[i], strlen(good[i]));
        is(ngx_http_unit_uri_list_only(value, &id), 1, good[i]);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        value = test_str(bad[i], strlen(bad[i]));
        is(ngx_http_unit_uri_list_only(value, &id), 0, bad[i]);
    }

    is(ngx_http_unit_uri_list_only(&none, &none), 0, "nothing is in no list");
    is(ngx_http_unit_uri_list_only(test_str(",", 1), &none), 0, "empty items");
}


static void
test_escape(void)
{
    ngx_int_t   rc;
    ngx_str_t   dst;
    ngx_str_t  *src;

    src = test_str(T("aZ09-._~ /%?&=+\0\xff[]"));
    is(ngx_http_unit_uri_escape(test_pool, src, &dst), NGX_OK, "escape");
    is_text(dst.data, dst.len,
            "aZ09-._~%20%2F%25%3F%26%3D%2B%00%FF%5B%5D", "escaped");

    is(ngx_http_unit_uri_escape(test_pool, test_str("", 0), &dst), NGX_OK,
       "escape nothing");
    is(dst.len, 0, "nothing");

    ngx_stub_fail(1);
    rc = ngx_http_unit_uri_escape(test_pool, src, &dst);
    ngx_stub_fail(0);
    ok(rc == NGX_ERROR && dst.len == 0, "no memory");
}


int
main(void)
{
    test_pool = ngx_create_pool(1024, NULL);

    test_canonical();
    test_bytes();
    test_query();
    test_filter();
    test_list();
    test_escape();

    ngx_destroy_pool(test_pool);

    test_property();

    return done_testing();
}
