
/*
 * Watched paths of the JSON scanner: syntax, hits and their offsets, the
 * letter-case guard, and the values of hits.  Holds STYLE P35.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json.h"
#include "ngx_stub.h"
#include "tap.h"


static ngx_pool_t                  *test_pool;
static ngx_http_unit_json_watch_t  *test_watch;
static ngx_http_unit_json_t         test_json;
static u_char                      *test_text;


static ngx_int_t
test_add(const char *path)
{
    ngx_str_t  s;

    s.data = (u_char *) path;
    s.len = strlen(path);

    return ngx_http_unit_json_watch_add(test_watch, &s);
}


static ngx_int_t
test_member(const char *name, size_t len)
{
    ngx_str_t  s;

    s.data = (u_char *) name;
    s.len = len;

    return ngx_http_unit_json_watch_member(test_watch, &s);
}


static void
test_begin(ngx_uint_t guard)
{
    test_pool = ngx_create_pool(1024, NULL);
    test_watch = ngx_http_unit_json_watch_create(test_pool, guard);
}


static void
test_end(void)
{
    ngx_destroy_pool(test_pool);
}


static ngx_int_t
test_scan(const char *text)
{
    size_t  len;

    /* in the pool, without NUL, so that the sanitizer sees reads beyond */

    len = strlen(text);
    test_text = ngx_pnalloc(test_pool, len);
    memcpy(test_text, text, len);

    return ngx_http_unit_json_scan(test_pool, test_text, len, test_watch,
                                   &test_json);
}


/* All hits as "id@start-end/element^object" in one line. */

static void
test_hits(const char *expected, const char *name)
{
    char                       line[1024];
    size_t                     len;
    ngx_uint_t                 i;
    ngx_http_unit_json_hit_t  *hit;

    len = 0;
    hit = test_json.hits.elts;

    for (i = 0; i < test_json.hits.nelts; i++) {
        len += sprintf(line + len, "%s%d@%d-%d/%d^%d", i ? " " : "",
                       (int) hit[i].watch, (int) (hit[i].start - test_text),
                       (int) (hit[i].end - test_text), (int) hit[i].element,
                       hit[i].object ? (int) (hit[i].object - test_text) : -1);
    }

    is_text(line, len, expected, name);
}


static void
test_syntax(void)
{
    char        path[200];
    ngx_int_t   id;
    ngx_uint_t  i;

    static const char  *bad[] = {
        ".", "a.", ".a", "a..b", "[", "]", "a[", "a[0]", "a]", "a[]b", "a[].",
        "a.[]", "[]a", "a[[]]", "a.b]c", "\xff", "a.\xc3", "a.\xed\xa0\x80"
    };

    test_begin(0);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is(test_add(bad[i]), NGX_ERROR, bad[i]);
    }

    id = test_add("a.b[].c");
    ok(id >= 0, "a path");
    is(test_add("a.b[].c"), id, "the same path, the same id");
    is(test_add("a.b"), id + 1, "a prefix has its own id");
    is(test_add("a.b[]"), id + 2, "elements too");
    is(test_add(""), id + 3, "the root too");
    is(test_add("[][]"), id + 4, "elements of elements");
    is(test_add("a"), id + 5, "a member of the root");
    is(test_member("a", 1), id + 5, "is the same as its name");
    is(test_member("a.b", 3), id + 6, "a name with a dot is no path");
    is(test_member("", 0), id + 7, "an empty name is one");
    is(test_member("a\0b", 3), NGX_ERROR, "no NUL in names");

    for (i = 0; i < 33; i++) {
        memcpy(path + 2 * i, ".x", 2);
    }

    path[1 + 2 * 31 + 1] = '\0';
    ok(test_add(path + 1) >= 0, "32 segments");

    path[1 + 2 * 31 + 1] = '.';
    path[1 + 2 * 32 + 1] = '\0';
    is(test_add(path + 1), NGX_ERROR, "33 segments");

    test_end();

    test_begin(0);

    for (i = 0; i < 1023; i++) {
        sprintf(path, "n%d", (int) i);
        if (test_add(path) != (ngx_int_t) i) {
            break;
        }
    }

    is(i, 1023, "1023 nodes and the root");
    is(test_add("one.more"), NGX_ERROR, "and no more");
    is(test_add("n77"), 77, "those there are found again");

    test_end();
}


static void
test_paths(void)
{
    test_begin(0);

    is(test_add("data"), 0, "data");
    is(test_add("data.type"), 1, "data.type");
    is(test_add("data[].type"), 2, "data[].type");
    is(test_add("data[].x[]"), 3, "data[].x[]");
    is(test_add("aud[]"), 4, "aud[]");
    is(test_add("data.type.deep"), 5, "data.type.deep");

    is(test_scan("{}"), NGX_OK, "nothing there");
    test_hits("", "no hits");

    is(test_scan("{\"data\":{\"type\":\"a\"},\"type\":1}"), NGX_OK, "object");
    test_hits("0@8-20/0^0 1@16-19/0^8", "its hits");

    is(test_scan(" { \"data\" : { \"type\" : { \"deep\" : -1.5e3 } } } "),
       NGX_OK, "white space");
    test_hits("0@12-44/0^1 1@23-42/0^12 5@34-40/0^23", "is not part of values");

    is(test_scan("{\"data\":[{\"type\":1},{},{\"type\":null,\"x\":[7,[8]]}]}"),
       NGX_OK, "array");
    test_hits("0@8-49/0^0 2@17-18/0^9 2@31-35/2^23 3@41-42/0^40"
              " 3@43-46/1^40", "its hits");

    is(test_scan("{\"aud\":[\"a\",[],{\"aud\":[1]}],\"data\":0}"), NGX_OK,
       "elements");
    test_hits("4@8-11/0^7 4@12-14/1^7 4@15-26/2^7 0@35-36/0^0", "of any type");

    is(test_scan("{\"d\\u0061ta\":{\"t\\u0079p\\u0065\":1}}"), NGX_OK,
       "escapes in names");
    test_hits("0@13-33/0^0 1@31-32/0^13", "are decoded");

    is(test_scan("{\"data\":\"type\",\"aud\":{\"[]\":1}}"), NGX_OK,
       "other shapes");
    test_hits("0@8-14/0^0", "do not match");

    is(test_scan("[{\"data\":1}]"), NGX_OK, "another root");
    test_hits("", "does not match");

    is(test_scan("{\"dat\":1,\"dataa\":1,\"Data\":1,\"\":1}"), NGX_OK,
       "similar names");
    test_hits("", "do not match");

    is(test_scan("{\"data\":1,\"x\":}"), NGX_DECLINED, "refused after a hit");
    is(test_json.hits.nelts, 0, "no hits then");
    ok(test_json.hits.elts == NULL, "nor what is left of them");
    is(test_json.offset, 14, "but where");

    test_end();
}


static void
test_root(void)
{
    test_begin(1);

    is(test_add(""), 0, "the root");
    is(test_add("[]"), 1, "its elements");
    is(test_add("[][].a"), 2, "members of elements of elements");
    is(test_member("http://x/a.b[]", 14), 3, "a name with dots and brackets");

    is(test_scan(" 12 "), NGX_OK, "a number");
    test_hits("0@1-3/0^-1", "is its own root");

    is(test_scan("[1,[2,{\"a\":3},{\"b\":[],\"a\":4}],[[]]]"), NGX_OK,
       "arrays");
    test_hits("0@0-35/0^-1 1@1-2/0^0 1@3-29/1^0 2@11-12/1^6 2@26-27/2^14"
              " 1@30-34/2^0", "and what is in them");

    is(test_scan("{\"http://x/a.b[]\":true}"), NGX_OK, "an object");
    test_hits("0@0-23/0^-1 3@18-22/0^0", "with a claim whose name is a URI");

    test_end();
}


static void
test_guard(void)
{
    test_begin(1);

    (void) test_add("data.attributes.phone");
    (void) test_add("data[].type");
    (void) test_add("Key");
    (void) test_add("keY");

    is(test_scan("{\"data\":{\"attributes\":{\"phone\":1}},\"key2\":1}"),
       NGX_OK, "right letter case");
    is(test_json.hits.nelts, 1, "is a hit");

    is(test_scan("{\"data\":{\"attributes\":{\"pxoxe\":1,\"px\":1}}}"), NGX_OK,
       "other names with the same hint");

    is(test_scan("{\"x\":{\"DATA\":1},\"data\":{\"Type\":1,\"phone\":2}}"),
       NGX_OK, "other objects are not guarded");

    is(test_scan("{\"a\":1,\"Data\":1}"), NGX_DECLINED, "wrong letter case");
    is(test_json.offset, 7, "where");
    is_text(test_json.reason, strlen(test_json.reason),
            "member name in wrong letter case", "why");

    is(test_scan("{\"data\":{\"attributes\":{\"phonE\":1}}}"), NGX_DECLINED,
       "wrong at the end of a path");
    is(test_json.offset, 23, "where");

    is(test_scan("{\"data\":{\"aTTributes\":{}}}"), NGX_DECLINED,
       "wrong on the way");
    is(test_scan("{\"data\":{\"\\u0041ttributes\":{}}}"), NGX_DECLINED,
       "wrong in an escape");
    is(test_scan("{\"data\":[{},{\"tYpe\":1}]}"), NGX_DECLINED,
       "wrong in an element");
    is(test_scan("{\"data\":1,\"DATA\":1}"), NGX_DECLINED, "both spellings");

    is(test_scan("{\"Key\":1,\"keY\":2}"), NGX_OK, "two watched spellings");
    is(test_json.hits.nelts, 2, "are two hits");
    is(test_scan("{\"key\":1}"), NGX_DECLINED, "a third is wrong");

    is(test_scan("{\"dat\\u0041\":1}"), NGX_DECLINED, "letter as an escape");
    is(test_scan("{\"d\xc3\xa1ta\":1,\"dat\xc3\x81\":1}"), NGX_OK,
       "other letters are other names");

    test_end();

    test_begin(0);
    (void) test_add("data");
    is(test_scan("{\"Data\":1}"), NGX_OK, "without guard nothing is wrong");
    is(test_json.hits.nelts, 0, "nor a hit");
    test_end();
}


typedef struct {
    const char  *text;
    ngx_int_t    rc;
    int64_t      value;
} test_seconds_t;


static void
test_numbers(void)
{
    int64_t                    value;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_http_unit_json_hit_t  *hit;

    static const test_seconds_t  t[] = {
        { "0", NGX_OK, 0 },
        { "-0", NGX_OK, 0 },
        { "-0.00e5", NGX_OK, 0 },
        { "1767225600", NGX_OK, 1767225600 },
        { "1767225600.999999999999999999999", NGX_OK, 1767225600 },
        { "-1.0", NGX_OK, -1 },
        { "-1.1", NGX_OK, -2 },
        { "-0.5", NGX_OK, -1 },
        { "0.5", NGX_OK, 0 },
        { "1e-9999999999999999999999", NGX_OK, 0 },
        { "-1e-9999999999999999999999", NGX_OK, -1 },
        { "0e9999999999999999999999", NGX_OK, 0 },
        { "1.7672256e9", NGX_OK, 1767225600 },
        { "17672256005e-1", NGX_OK, 1767225600 },
        { "0.00017672256E+0013", NGX_OK, 1767225600 },
        { "-17672256000000e-4", NGX_OK, -1767225600 },
        { "-17672256000001e-4", NGX_OK, -1767225601 },
        { "100e-2", NGX_OK, 1 },
        { "1.2300e1", NGX_OK, 12 },
        { "-1.2300e1", NGX_OK, -13 },
        { "1e15", NGX_OK, 1000000000000000LL },
        { "9007199254740992", NGX_OK, 9007199254740992LL },
        { "9007199254740992.9", NGX_OK, 9007199254740992LL },
        { "9007199254740993", NGX_DECLINED, 0 },
        { "-9007199254740992", NGX_OK, -9007199254740992LL },
        { "-9007199254740992.1", NGX_DECLINED, 0 },
        { "9223372036854775807", NGX_DECLINED, 0 },
        { "1e17", NGX_DECLINED, 0 },
        { "-1e308", NGX_DECLINED, 0 },
        { "\"1\"", NGX_DECLINED, 0 },
        { "null", NGX_DECLINED, 0 },
        { "true", NGX_DECLINED, 0 },
        { "[1]", NGX_DECLINED, 0 },
        { "{}", NGX_DECLINED, 0 }
    };

    test_begin(0);
    (void) test_add("");

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        value = -77;

        if (!ok(test_scan(t[i].text) == NGX_OK, "%s is valid", t[i].text)) {
            continue;
        }

        hit = ngx_http_unit_json_hit(&test_json, 0, 0);
        rc = ngx_http_unit_json_seconds(hit, &value);

        ok(rc == t[i].rc && value == t[i].value, "%s in seconds: %lld",
           t[i].text, (long long) value);
    }

    test_end();
}


static void
test_strings(void)
{
    ngx_str_t                  s, text;
    ngx_int_t                  rc;
    ngx_http_unit_json_hit_t  *hit;

    static const char  decoded[] = "\"\\/\b\f\n\r\t\x01\x7f\xc2\x80\xdf\xbf"
        "\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" "A\xc3\xa9";

    test_begin(0);
    (void) test_add("a[]");
    (void) test_add("b");

    is(test_scan("{\"a\":[\"plain\",\"\",1,\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001"
                 "\\u007f\\u0080\\u07ff\\u0800\\uffff\\ud800\\udc00\\udbff"
                 "\\udfff\\u0041\xc3\xa9\"],\"b\":{}}"), NGX_OK, "strings");

    hit = ngx_http_unit_json_hit(&test_json, 0, 0);
    ngx_stub_fail(0);
    is(ngx_http_unit_json_string(test_pool, hit, &s), NGX_OK, "plain");
    is_text(s.data, s.len, "plain", "its value");
    ok(s.data == hit->start + 1 && ngx_stub_allocations() == 0,
       "it is in the text itself");

    ngx_str_set(&text, "plain");
    is(ngx_http_unit_json_equal(hit, &text), 1, "is equal");
    ngx_str_set(&text, "plai");
    is(ngx_http_unit_json_equal(hit, &text), 0, "shorter is not");
    ngx_str_set(&text, "plainn");
    is(ngx_http_unit_json_equal(hit, &text), 0, "longer is not");
    ngx_str_set(&text, "plaIn");
    is(ngx_http_unit_json_equal(hit, &text), 0, "letter case counts");

    hit = ngx_http_unit_json_hit(&test_json, 0, 1);
    is(ngx_http_unit_json_string(test_pool, hit, &s), NGX_OK, "empty");
    is(s.len, 0, "its length");
    is(ngx_http_unit_json_equal(hit, &s), 1, "is equal to itself");
    is(ngx_http_unit_json_equal(hit, &text), 0, "and to nothing else");

    hit = ngx_http_unit_json_hit(&test_json, 0, 2);
    is(ngx_http_unit_json_string(test_pool, hit, &s), NGX_DECLINED, "a number");
    ngx_str_set(&text, "1");
    is(ngx_http_unit_json_equal(hit, &text), 0, "equals no text");

    hit = ngx_http_unit_json_hit(&test_json, 0, 3);

    ngx_stub_fail(1);
    rc = ngx_http_unit_json_string(test_pool, hit, &s);
    ngx_stub_fail(0);
    ok(rc == NGX_ERROR && s.len == 0, "no memory to decode");

    is(ngx_http_unit_json_string(test_pool, hit, &s), NGX_OK, "escapes");
    is_text(s.data, s.len, decoded, "decoded");
    is(ngx_http_unit_json_equal(hit, &s), 1, "equal without decoding");

    while (s.len) {
        s.len--;
        if (ngx_http_unit_json_equal(hit, &s)) {
            break;
        }
    }

    is(s.len, 0, "not equal to any beginning of it");

    ok(ngx_http_unit_json_hit(&test_json, 0, 4) == NULL, "no fifth hit");
    ok(ngx_http_unit_json_hit(&test_json, 2, 0) == NULL, "no such watch");

    hit = ngx_http_unit_json_hit(&test_json, 1, 0);
    ok(hit != NULL && hit->type == NGX_HTTP_UNIT_JSON_OBJECT, "hit by watch");

    test_end();
}


static ngx_int_t
test_nomem_run(void)
{
    ngx_int_t                    rc;
    ngx_str_t                    path = ngx_string("d[].x");
    ngx_str_t                    array = ngx_string("d");
    ngx_http_unit_json_watch_t  *w;

    w = ngx_http_unit_json_watch_create(test_pool, 1);

    if (w == NULL
        || ngx_http_unit_json_watch_add(w, &path) != 0
        || ngx_http_unit_json_watch_add(w, &array) != 1)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_json_scan(test_pool, test_text, 210, w, &test_json);

    if (rc == NGX_OK && test_json.hits.nelts != 26) {
        return NGX_DECLINED;
    }

    return rc;
}


static void
test_nomem(void)
{
    ngx_uint_t  i, n, wrong;
    u_char      text[256], *p;

    test_text = text;
    p = ngx_sprintf(text, "{\"d\":[");

    for (i = 0; i < 25; i++) {
        p = ngx_sprintf(p, "%s{\"x\":0}", i ? "," : "");
    }

    p = ngx_sprintf(p, "]}");
    memset(p, ' ', sizeof(text) - (p - text));

    test_pool = ngx_create_pool(1024, NULL);
    ngx_stub_fail(0);
    is(test_nomem_run(), NGX_OK, "more hits than fit at first");
    n = ngx_stub_allocations();
    ngx_destroy_pool(test_pool);

    wrong = 0;

    for (i = 1; i <= n; i++) {
        test_pool = ngx_create_pool(1024, NULL);
        ngx_stub_fail(i);
        wrong += test_nomem_run() != NGX_ERROR;
        ngx_stub_fail(0);
        ngx_destroy_pool(test_pool);
    }

    ok(n == 8 && wrong == 0, "each of %d allocations failing is an error",
       (int) n);
}


static void
test_many(void)
{
    u_char                      *text, *p;
    ngx_int_t                    rc;
    ngx_str_t                    path = ngx_string("d[]");
    ngx_uint_t                   i, n;
    ngx_pool_t                  *pool;
    ngx_http_unit_json_t         json;
    ngx_http_unit_json_watch_t  *w;

    for (n = NGX_HTTP_UNIT_JSON_MAX_HITS;
         n <= NGX_HTTP_UNIT_JSON_MAX_HITS + 1;
         n++)
    {
        pool = ngx_create_pool(1024, NULL);
        text = ngx_pnalloc(pool, 2 * n + 16);
        w = ngx_http_unit_json_watch_create(pool, 1);
        (void) ngx_http_unit_json_watch_add(w, &path);

        p = ngx_sprintf(text, "{\"d\":[");

        for (i = 0; i < n; i++) {
            *p++ = '0';
            *p++ = (i + 1 < n) ? ',' : ']';
        }

        *p++ = '}';

        rc = ngx_http_unit_json_scan(pool, text, p - text, w, &json);

        ok(rc == (n <= NGX_HTTP_UNIT_JSON_MAX_HITS ? NGX_OK : NGX_DECLINED),
           "%d watched values", (int) n);

        ngx_destroy_pool(pool);
    }
}


int
main(void)
{
    test_many();
    test_syntax();
    test_paths();
    test_root();
    test_guard();
    test_numbers();
    test_strings();
    test_nomem();

    return done_testing();
}
