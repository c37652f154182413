
/*
 * The JSON scanner, validity only: what it accepts, what it refuses with which
 * reason at which offset, duplicate names, limits, lack of memory.  Holds
 * STYLE P35.  jansson is asked the same: the two may differ in depth only.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_json.h"
#include "ngx_stub.h"
#include "tap.h"


#define T(text)  text, sizeof(text) - 1


typedef struct {
    const char                *text;
    size_t                     len;
    ngx_http_unit_json_type_e  type;
} test_valid_t;


typedef struct {
    const char                *text;
    size_t                     len;
    const char                *reason;
    size_t                     offset;
} test_invalid_t;


static const test_valid_t  test_valid[] = {

    { T("{}"), NGX_HTTP_UNIT_JSON_OBJECT },
    { T("[]"), NGX_HTTP_UNIT_JSON_ARRAY },
    { T("null"), NGX_HTTP_UNIT_JSON_NULL },
    { T("true"), NGX_HTTP_UNIT_JSON_TRUE },
    { T("false"), NGX_HTTP_UNIT_JSON_FALSE },
    { T("\"\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("0"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T(" \t\r\n{ \t\r\n} \t\r\n"), NGX_HTTP_UNIT_JSON_OBJECT },
    { T("[ ]"), NGX_HTTP_UNIT_JSON_ARRAY },
    { T("{ \"a\" : 1 , \"b\" : [ 2 , { } ] }"), NGX_HTTP_UNIT_JSON_OBJECT },
    { T("[[],[[]],{\"a\":{}}]"), NGX_HTTP_UNIT_JSON_ARRAY },
    { T("{\"\":1}"), NGX_HTTP_UNIT_JSON_OBJECT },
    { T("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"), NGX_HTTP_UNIT_JSON_OBJECT },
    { T("{\"a\":1,\"A\":1,\"a \":1}"), NGX_HTTP_UNIT_JSON_OBJECT },

    /* numbers */
    { T("-0"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("-0.0e-0"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("10.01E+01"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("1e1"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("0e99999999999999999999999999"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("1e-99999999999999999999999999"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("4.9e-324"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("9223372036854775807"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("-9223372036854775808"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("1000000000000000000"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("9223372036854775808.0"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("1.7976931348623157e308"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("-1.79769313486231580e308"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("0.00000000017976931348623157e318"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("17976931348623157000000000e283"), NGX_HTTP_UNIT_JSON_NUMBER },
    { T("1797693134862315807937289714053034150799341327100378269361737789"
        "8044496829276475094664901797758720709633028641669288791094655554"
        "7851940402630657488671505820681908902000708383676273854845817711"
        "5317644757302700698555713669596228429148198608349364752927190741"
        "68444365510704342711559699508093042880177904174497791.9"),
      NGX_HTTP_UNIT_JSON_NUMBER },

    /* strings */
    { T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("\"\\u0001\\uFfFf\\ud7ff\\ue000\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("\"\\uD800\\uDC00\\udbff\\udfff\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("\"\x7f\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("\"\xc2\x80\xdf\xbf\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
      NGX_HTTP_UNIT_JSON_STRING },
    { T("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("\"\xef\xbb\xbf\""), NGX_HTTP_UNIT_JSON_STRING },
    { T("\"/ // ' \""), NGX_HTTP_UNIT_JSON_STRING },
};


static const char  test_end[] = "unexpected end of text";
static const char  test_after[] = "comma or closing bracket expected";

static const test_invalid_t  test_invalid[] = {

    { T(""), test_end, 0 },
    { T(" "), test_end, 1 },
    { T("["), test_end, 1 },
    { T("[1"), test_end, 2 },
    { T("[1,"), test_end, 3 },
    { T("{\"a"), test_end, 3 },
    { T("{\"a\""), test_end, 4 },
    { T("{\"a\" "), test_end, 5 },
    { T("{\"a\":"), test_end, 5 },
    { T("{\"a\":1"), test_end, 6 },
    { T("{\"a\":1,"), test_end, 7 },
    { T("\"\\"), test_end, 2 },
    { T("-"), test_end, 1 },
    { T("1."), test_end, 2 },
    { T("1e"), test_end, 2 },
    { T("1e+"), test_end, 3 },
    { T("tru"), test_end, 3 },
    { T("[n"), test_end, 2 },

    { T("\xef\xbb\xbf{}"), "byte order mark", 0 },
    { T("\xff\xfe{\0}\0"), "value expected", 0 },

    { T("{}{}"), "trailing bytes", 2 },
    { T("1 2"), "trailing bytes", 2 },
    { T("{}\0"), "trailing bytes", 2 },
    { T("\"\" \xef\xbb\xbf"), "trailing bytes", 3 },
    { T("01"), "trailing bytes", 1 },
    { T("-01"), "trailing bytes", 2 },
    { T("truex"), "trailing bytes", 4 },
    { T("0x10"), "trailing bytes", 1 },
    { T("{}//"), "trailing bytes", 2 },

    { T("}"), "value expected", 0 },
    { T("[,1]"), "value expected", 1 },
    { T("[1,]"), "value expected", 3 },
    { T("[1,,2]"), "value expected", 3 },
    { T("{\"a\":}"), "value expected", 5 },
    { T("{\"a\"::1}"), "value expected", 5 },
    { T("True"), "value expected", 0 },
    { T("trUe"), "value expected", 0 },
    { T("nil"), "value expected", 0 },
    { T("NaN"), "value expected", 0 },
    { T("Infinity"), "value expected", 0 },
    { T("+1"), "value expected", 0 },
    { T(".5"), "value expected", 0 },
    { T("'a'"), "value expected", 0 },
    { T("/**/1"), "value expected", 0 },
    { T("\0"), "value expected", 0 },
    { T("\f1"), "value expected", 0 },
    { T("\xc2\xa0" "1"), "value expected", 0 },

    { T("{,}"), "member name expected", 1 },
    { T("{\"a\":1,}"), "member name expected", 7 },
    { T("{a:1}"), "member name expected", 1 },
    { T("{1:1}"), "member name expected", 1 },
    { T("{\"a\":1,,\"b\":1}"), "member name expected", 7 },
    { T("{]"), "member name expected", 1 },

    { T("{\"a\"}"), "colon expected", 4 },
    { T("{\"a\" 1}"), "colon expected", 5 },
    { T("{\"a\",1}"), "colon expected", 4 },

    { T("[1 2]"), test_after, 3 },
    { T("[1}"), test_after, 2 },
    { T("{\"a\":1]"), test_after, 6 },
    { T("[1:2]"), test_after, 2 },
    { T("[\"a\"\"b\"]"), test_after, 4 },
    { T("[01]"), test_after, 2 },
    { T("[1.5.5]"), test_after, 4 },

    { T("-a"), "invalid number", 1 },
    { T("--1"), "invalid number", 1 },
    { T("[-]"), "invalid number", 2 },
    { T("[1.]"), "invalid number", 3 },
    { T("[1.e1]"), "invalid number", 3 },
    { T("[1e]"), "invalid number", 3 },
    { T("[1e+]"), "invalid number", 4 },
    { T("[1e+-1]"), "invalid number", 4 },
    { T("[1E1.]"), test_after, 4 },

    { T("[9223372036854775808]"), "number out of range", 1 },
    { T("[-9223372036854775809]"), "number out of range", 1 },
    { T("[10000000000000000000]"), "number out of range", 1 },
    { T("123456789012345678901234567890"), "number out of range", 0 },
    { T("1e309"), "number out of range", 0 },
    { T("-1e309"), "number out of range", 0 },
    { T("1.7976931348623159e308"), "number out of range", 0 },
    { T("0.000000000000001e324"), "number out of range", 0 },
    { T("1E+99999999999999999999999999"), "number out of range", 0 },
    { T("1797693134862315807937289714053034150799341327100378269361737789"
        "8044496829276475094664901797758720709633028641669288791094655554"
        "7851940402630657488671505820681908902000708383676273854845817711"
        "5317644757302700698555713669596228429148198608349364752927190741"
        "68444365510704342711559699508093042880177904174497792.0"),
      "number out of range", 0 },

    { T("\"\n\""), "control character in string", 1 },
    { T("\"a\x1f\""), "control character in string", 2 },
    { T("\"a\0b\""), "control character in string", 2 },
    { T("{\"\t\":1}"), "control character in string", 2 },
    { T("\"\\\0\""), "invalid escape", 1 },

    { T("\"\\a\""), "invalid escape", 1 },
    { T("\"\\'\""), "invalid escape", 1 },
    { T("\"\\x41\""), "invalid escape", 1 },
    { T("\"\\U0041\""), "invalid escape", 1 },
    { T("\"\\u"), "invalid escape", 1 },
    { T("\"\\u12\""), "invalid escape", 1 },
    { T("\"\\u123g\""), "invalid escape", 1 },
    { T("\"\\u 123\""), "invalid escape", 1 },
    { T("\"\\u+123\""), "invalid escape", 1 },

    { T("\"ab\\u0000\""), "U+0000 in string", 3 },
    { T("{\"\\u0000\":1}"), "U+0000 in string", 2 },

    { T("\"\\ud800\""), "lone surrogate", 1 },
    { T("\"\\udc00\""), "lone surrogate", 1 },
    { T("\"\\udc00\\udc00\""), "lone surrogate", 1 },
    { T("\"\\ud800"), "lone surrogate", 1 },
    { T("\"\\ud800\\ud800\""), "lone surrogate", 1 },
    { T("\"\\ud800\\u0041\""), "lone surrogate", 1 },
    { T("\"\\ud800\\udc0x\""), "lone surrogate", 1 },
    { T("\"\\ud800\\ndc00\""), "lone surrogate", 1 },
    { T("\"\\ud800xudc00\""), "lone surrogate", 1 },
    { T("\"\\ud83d\\ude00\\ude00\""), "lone surrogate", 13 },

    { T("\"\x80\""), "invalid UTF-8", 1 },
    { T("\"a\xc0\xaf\""), "invalid UTF-8", 2 },
    { T("\"\xc1\xbf\""), "invalid UTF-8", 1 },
    { T("\"\xc3\""), "invalid UTF-8", 1 },
    { T("\"\xc3"), "invalid UTF-8", 1 },
    { T("\"\xe0\x9f\xbf\""), "invalid UTF-8", 1 },
    { T("\"\xed\xa0\x80\""), "invalid UTF-8", 1 },
    { T("\"\xe2\x82\""), "invalid UTF-8", 1 },
    { T("\"\xe2\x82"), "invalid UTF-8", 1 },
    { T("\"\xf0\x8f\xbf\xbf\""), "invalid UTF-8", 1 },
    { T("\"\xf4\x90\x80\x80\""), "invalid UTF-8", 1 },
    { T("\"\xf5\x80\x80\x80\""), "invalid UTF-8", 1 },
    { T("\"\xf0\x90\x80\""), "invalid UTF-8", 1 },
    { T("\"\xff\""), "invalid UTF-8", 1 },
    { T("{\"\xfe\":1}"), "invalid UTF-8", 2 },

    { T("{\"a\":1,\"a\":1}"), "duplicate member name", 7 },
    { T("{\"\":1,\"\":1}"), "duplicate member name", 6 },
    { T("{\"a\":1,\"b\":2,\"\\u0061\":1}"), "duplicate member name", 13 },
    { T("{\"\\n\":1,\"\\u000A\":1}"), "duplicate member name", 8 },
    { T("{\"\\/\":1,\"/\":1}"), "duplicate member name", 8 },
    { T("{\"\xc3\xa9\":1,\"\\u00e9\":1}"), "duplicate member name", 8 },
    { T("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}"),
      "duplicate member name", 18 },
    { T("[{\"x\":{\"a\":1,\"c\":{},\"a\":[]}}]"), "duplicate member name", 20 },
    { T("{\"a\":{\"a\":{}},\"a\":1}"), "duplicate member name", 14 },
};


/* Scan a copy that ends where its allocation does, for the sanitizer. */

static ngx_int_t
test_scan(const char *text, size_t len, ngx_http_unit_json_t *json)
{
    u_char      *p;
    ngx_int_t    rc;
    ngx_pool_t  *pool;

    p = malloc(len ? len : 1);
    pool = ngx_create_pool(1024, NULL);

    memcpy(p, text, len);

    rc = ngx_http_unit_json_scan(pool, p, len, NULL, json);

    ngx_destroy_pool(pool);
    free(p);

    return rc;
}


static int
test_jansson(const char *text, size_t len)
{
    json_t        *v;
    json_error_t   error;

    v = json_loadb(text, len, JSON_REJECT_DUPLICATES|JSON_DECODE_ANY, &error);

    json_decref(v);

    return v != NULL;
}


static void
test_tables(void)
{
    ngx_int_t              rc;
    ngx_uint_t             i;
    const test_valid_t    *v;
    const test_invalid_t  *n;
    ngx_http_unit_json_t   json;

    for (i = 0; i < sizeof(test_valid) / sizeof(test_valid[0]); i++) {
        v = &test_valid[i];
        rc = test_scan(v->text, v->len, &json);

        ok(rc == NGX_OK && json.type == v->type && json.reason == NULL
           && json.hits.nelts == 0 && test_jansson(v->text, v->len),
           "accepted: %s", v->text);
    }

    for (i = 0; i < sizeof(test_invalid) / sizeof(test_invalid[0]); i++) {
        n = &test_invalid[i];
        rc = test_scan(n->text, n->len, &json);

        if (!ok(rc == NGX_DECLINED && json.reason != NULL
                && strcmp(json.reason, n->reason) == 0
                && json.offset == n->offset && json.type == 0
                && !test_jansson(n->text, n->len),
                "refused (%s): row %d", n->reason, (int) i))
        {
            diag("rc %d, \"%s\" at %d, jansson %d", (int) rc,
                 json.reason ? json.reason : "", (int) json.offset,
                 test_jansson(n->text, n->len));
        }
    }
}


static void
test_depth(void)
{
    char                  text[200];
    ngx_uint_t            i, n;
    ngx_http_unit_json_t  json;

    for (n = 31; n <= 34; n++) {
        memset(text, '[', n);
        memset(text + n, ']', n);

        is(test_scan(text, 2 * n, &json), n > 32 ? NGX_DECLINED : NGX_OK,
           "nested arrays");

        if (n > 32) {
            is(json.offset, 32, "offset of the bracket too deep");
            is_text(json.reason, strlen(json.reason), "nested too deeply",
                    "reason");
        }
    }

    for (i = 0; i < 32; i++) {
        memcpy(text + 5 * i, "{\"a\":", 5);
    }

    memcpy(text + 5 * i, "[]", 2);
    is(test_scan(text, 5 * i + 2, &json), NGX_DECLINED, "nested objects");
    is(json.offset, 160, "offset of the bracket too deep");

    memcpy(text + 5 * i, "1}", 2);
    is(test_scan(text, 5 * i + 2, &json), NGX_DECLINED, "an open end");
    is_text(json.reason, strlen(json.reason), test_end, "reason");
}


/*
 * Objects of 1 to 70 members whose last name is the same as one before, for
 * each one before: the search by comparison, the table, and where they meet.
 * All names have the same length, first, middle and last letter.
 */

static void
test_duplicates(const char *tail)
{
    char                  text[8192];
    size_t                len, last;
    ngx_uint_t            i, n, dup, wrong, distinct;
    ngx_http_unit_json_t  json;

    wrong = 0;
    distinct = 0;

    for (n = 1; n <= 70; n++) {

        for (dup = 0; dup <= n; dup++) {
            len = 0;
            last = 0;
            text[len++] = '{';

            for (i = 0; i <= n; i++) {
                last = len;
                len += sprintf(text + len, "\"%s%02d--%s\":{},", tail,
                               (int) (i == n ? dup : i), tail);
            }

            text[len - 1] = '}';

            if (dup == n) {
                distinct += test_scan(text, len, &json) == NGX_OK;
                continue;
            }

            wrong += test_scan(text, len, &json) != NGX_DECLINED
                     || json.offset != last
                     || strcmp(json.reason, "duplicate member name") != 0;
        }
    }

    is(wrong, 0, "duplicate of each member of objects of each size");
    is(distinct, 70, "distinct members of objects of each size");
}


/* Large objects inside large objects, the same names in each. */

static size_t
test_nested_text(char *text, ngx_uint_t depth, const char *dup)
{
    size_t      len;
    ngx_uint_t  i, d;

    len = 0;

    for (d = 0; d < depth; d++) {
        text[len++] = '{';

        for (i = 0; i < 30; i++) {
            len += sprintf(text + len, "\"k%d\":%d,", (int) i, (int) d);
        }

        len += sprintf(text + len, "\"in\":");
    }

    len += sprintf(text + len, "null");

    for (d = 0; d < depth; d++) {

        for (i = 30; i < 60; i++) {
            len += sprintf(text + len, ",\"k%d\":%d", (int) i, (int) d);
        }

        if (d == depth - 1) {
            len += sprintf(text + len, "%s", dup);
        }

        text[len++] = '}';
    }

    return len;
}


static void
test_nested(void)
{
    char                 *text;
    size_t                len;
    ngx_http_unit_json_t  json;

    text = malloc(100000);

    len = test_nested_text(text, 32, "");
    is(test_scan(text, len, &json), NGX_OK, "same names in nested objects");

    len = test_nested_text(text, 32, ",\"k7\":0");
    is(test_scan(text, len, &json), NGX_DECLINED, "one twice in the outermost");
    is(json.offset, len - 7, "offset of the second");

    len = test_nested_text(text, 32, ",\"in\":0");
    is(test_scan(text, len, &json), NGX_DECLINED, "the nesting member twice");

    free(text);
}


/* 1 MB of members: it must come through, and in memory linear in its size. */

static void
test_large(ngx_uint_t escaped)
{
    char                  *text;
    size_t                 len;
    ngx_uint_t             n;
    ngx_http_unit_json_t   json;

    text = malloc(1100000);
    len = 0;
    text[len++] = '{';

    for (n = 0; len < 1048000; n++) {
        len += sprintf(text + len, escaped ? "\"\\u0062%x\":1," : "\"%x\":1,",
                       (u_int) n);
    }

    text[len - 1] = '}';

    ngx_stub_fail(0);
    is(test_scan(text, len, &json), NGX_OK, "1 MB of distinct members");
    diag("%d members, %d allocations, %d bytes", (int) n,
         (int) ngx_stub_allocations(), (int) ngx_stub_allocated());
    ok(n > (escaped ? 60000 : 90000), "there are many");
    ok(ngx_stub_allocated() < 20 * len, "in linear memory");

    /* as many, and the first one again at the very end */

    len = sprintf(text, "{\"%s1\":2,", escaped ? "b" : "");

    for (n = 0; len < 1048000; n++) {
        len += sprintf(text + len, "\"%s%x\":1,", escaped ? "b" : "",
                       (u_int) (0x100000 - n));
    }

    len += sprintf(text + len, "\"%s1\":2}", escaped ? "\\u0062" : "");

    is(test_scan(text, len, &json), NGX_DECLINED, "the first one again");
    is_text(json.reason, strlen(json.reason), "duplicate member name",
            "as the very last");

    free(text);
}


/* Each single allocation fails once: an error, never a verdict. */

static void
test_nomem(void)
{
    char                 *text;
    size_t                len;
    ngx_int_t             rc;
    ngx_uint_t            i, n, wrong;
    ngx_pool_t           *pool;
    ngx_http_unit_json_t  json;

    static ngx_http_unit_json_t  zero;

    text = malloc(100000);
    len = test_nested_text(text, 5, ",\"\\u0041\":1");
    wrong = 0;

    pool = ngx_create_pool(1024, NULL);
    ngx_stub_fail(0);
    rc = ngx_http_unit_json_scan(pool, (u_char *) text, len, NULL, &json);
    n = ngx_stub_allocations();
    ngx_destroy_pool(pool);

    ok(rc == NGX_OK && n > 10, "some allocations are needed");

    for (i = 1; i <= n; i++) {
        pool = ngx_create_pool(1024, NULL);
        ngx_stub_fail(i);

        rc = ngx_http_unit_json_scan(pool, (u_char *) text, len, NULL, &json);

        wrong += rc != NGX_ERROR || memcmp(&json, &zero, sizeof(json)) != 0;

        ngx_stub_fail(0);
        ngx_destroy_pool(pool);
    }

    is(wrong, 0, "each one failing makes it an error");

    free(text);

    ngx_stub_fail(0);
    is(test_scan(T("{\"a\":[1,\"\\n\",{\"b\":2}]}"), &json), NGX_OK, "small");
    is(ngx_stub_allocations(), 1, "needs no memory but the test's pool");
}


int
main(void)
{
    ngx_http_unit_json_t  json;

    /* the key comes from the system the first time */

    test_large(0);
    ngx_http_unit_json_seed(1, 2);
    test_large(1);

    test_tables();
    test_depth();
    test_duplicates("x");
    test_duplicates("seven chars and more-seven chars and more");
    test_nested();
    test_nomem();

    is(ngx_http_unit_json_scan(NULL, NULL, 0, NULL, &json), NGX_DECLINED,
       "no text at all");
    is(ngx_http_unit_json_scan(NULL, NULL, NGX_HTTP_UNIT_JSON_MAX_LEN + 1UL,
                               NULL, &json),
       NGX_DECLINED, "a text too long is not touched");
    is_text(json.reason, strlen(json.reason), "text too long", "reason");

    return done_testing();
}
