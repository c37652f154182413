
/*
 * Keys put into bodies and taken out: nothing else changes by a byte, what
 * comes out is what jansson would make of the same edit, and taking out what
 * was put in gives the original.  Bodies written by hand, and thousands made
 * at random, with white space, escapes and nested look-alikes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_splice.h"
#include "ngx_stub.h"
#include "splice_kit.h"
#include "tap.h"


#define TEST_RANDOM  20000


typedef struct {
    const char  *text;
    const char  *put;        /* with key "K" */
    const char  *cut;        /* of text itself */
} test_case_t;


#define IN(attributes)  "{\"data\":{\"attributes\":" attributes "}}"
#define KEY             "\"idempotencyKey\":\"K\""


static const test_case_t  test_cases[] = {

    /* without a key: it becomes the first member */

    { IN("{}"), IN("{" KEY "}"), IN("{}") },
    { IN("{ }"), IN("{" KEY " }"), IN("{ }") },
    { IN("{\n\t\r }"), IN("{" KEY "\n\t\r }"), IN("{\n\t\r }") },
    { IN("{\"a\":1}"), IN("{" KEY ",\"a\":1}"), IN("{\"a\":1}") },
    { IN("{ \"a\":1}"), IN("{" KEY ", \"a\":1}"), IN("{ \"a\":1}") },
    { IN("{\"a\":{\"idempotencyKey\":\"x\"}}"),
      IN("{" KEY ",\"a\":{\"idempotencyKey\":\"x\"}}"),
      IN("{\"a\":{\"idempotencyKey\":\"x\"}}") },
    { IN("{\"a\":[{\"idempotencyKey\":\"x\"}]}"),
      IN("{" KEY ",\"a\":[{\"idempotencyKey\":\"x\"}]}"),
      IN("{\"a\":[{\"idempotencyKey\":\"x\"}]}") },
    { IN("{\"a\":\"\\\"idempotencyKey\\\":\\\"x\\\"\"}"),
      IN("{" KEY ",\"a\":\"\\\"idempotencyKey\\\":\\\"x\\\"\"}"),
      IN("{\"a\":\"\\\"idempotencyKey\\\":\\\"x\\\"\"}") },
    { IN("{\"idempotencyKeys\":\"x\"}"),
      IN("{" KEY ",\"idempotencyKeys\":\"x\"}"),
      IN("{\"idempotencyKeys\":\"x\"}") },

    /* with one: its value is replaced where it is */

    { IN("{\"idempotencyKey\":\"x\"}"), IN("{" KEY "}"), IN("{}") },
    { IN("{\"idempotencyKey\":\"\"}"), IN("{" KEY "}"), IN("{}") },
    { IN("{\"idempotencyKey\":null}"), IN("{" KEY "}"), IN("{}") },
    { IN("{\"idempotencyKey\":17}"), IN("{" KEY "}"), IN("{}") },
    { IN("{\"idempotencyKey\":{\"a\":\"}\"}}"), IN("{" KEY "}"), IN("{}") },
    { IN("{ \"idempotencyKey\" : \"x\" }"),
      IN("{ \"idempotencyKey\" : \"K\" }"), IN("{ }") },
    { IN("{\"idempotencyKey\":\"x\",\"a\":1}"), IN("{" KEY ",\"a\":1}"),
      IN("{\"a\":1}") },
    { IN("{\"a\":1,\"idempotencyKey\":\"x\"}"), IN("{\"a\":1," KEY "}"),
      IN("{\"a\":1}") },
    { IN("{\"a\":1,\"idempotencyKey\":\"x\",\"b\":2}"),
      IN("{\"a\":1," KEY ",\"b\":2}"), IN("{\"a\":1,\"b\":2}") },
    { IN("{\"a\":1 , \"idempotencyKey\" :\n\"x\" , \"b\":2}"),
      IN("{\"a\":1 , \"idempotencyKey\" :\n\"K\" , \"b\":2}"),
      IN("{\"a\":1 , \"b\":2}") },
    { IN("{\n  \"a\": 1,\n  \"idempotencyKey\": \"x\"\n}"),
      IN("{\n  \"a\": 1,\n  \"idempotencyKey\": \"K\"\n}"),
      IN("{\n  \"a\": 1\n}") },
    { IN("{\n  \"idempotencyKey\": \"x\",\n  \"a\": 1\n}"),
      IN("{\n  \"idempotencyKey\": \"K\",\n  \"a\": 1\n}"),
      IN("{\n  \"a\": 1\n}") },
    { IN("{\"\\u0069dempotency\\u004bey\":\"x\",\"a\":1}"),
      IN("{\"\\u0069dempotency\\u004bey\":\"K\",\"a\":1}"),
      IN("{\"a\":1}") },
    { IN("{\"idempotencyKey\":\"\\\"},{\\\\\"}"), IN("{" KEY "}"),
      IN("{}") },
    { IN("{\"a\":\"\\\\\",\"idempotencyKey\":\"x\"}"),
      IN("{\"a\":\"\\\\\"," KEY "}"), IN("{\"a\":\"\\\\\"}") },
    { IN("{\"a\":{\"idempotencyKey\":\"y\"},\"idempotencyKey\":\"x\"}"),
      IN("{\"a\":{\"idempotencyKey\":\"y\"}," KEY "}"),
      IN("{\"a\":{\"idempotencyKey\":\"y\"}}") },

    /* everything else keeps its bytes */

    { " {\"a\":[1.50,-0,1E+2,\"\\u0061\\/\"], \"data\" :{\"attributes\" : "
      "{\"amount\":1.00} } }\n",
      " {\"a\":[1.50,-0,1E+2,\"\\u0061\\/\"], \"data\" :{\"attributes\" : "
      "{" KEY ",\"amount\":1.00} } }\n",
      " {\"a\":[1.50,-0,1E+2,\"\\u0061\\/\"], \"data\" :{\"attributes\" : "
      "{\"amount\":1.00} } }\n" },

    /* no place */

    { "{\"data\":{}}", "{\"data\":{}}", "{\"data\":{}}" },
    { "{\"data\":[]}", "{\"data\":[]}", "{\"data\":[]}" },
    { "{}", "{}", "{}" },
    { "{\"attributes\":{}}", "{\"attributes\":{}}", "{\"attributes\":{}}" },
    { IN("[]"), IN("[]"), IN("[]") },
    { IN("null"), IN("null"), IN("null") },
    { IN("[{\"idempotencyKey\":\"x\"}]"), IN("[{\"idempotencyKey\":\"x\"}]"),
      IN("[{\"idempotencyKey\":\"x\"}]") },

    /* arrays */

    { "{\"data\":[{\"attributes\":{}},{\"attributes\":{\"a\":1}},{},"
      "{\"attributes\":{\"idempotencyKey\":\"x\"}}]}",
      "{\"data\":[{\"attributes\":{" KEY "}},{\"attributes\":{" KEY
      ",\"a\":1}},{},{\"attributes\":{" KEY "}}]}",
      "{\"data\":[{\"attributes\":{}},{\"attributes\":{\"a\":1}},{},"
      "{\"attributes\":{}}]}" }
};


static ngx_http_unit_json_watch_t  *test_watch;
static ngx_http_unit_splice_t       test_places[KIT_PLACES];


/* of a text in an allocation of its own; -1: not valid */

static ngx_int_t
test_scan(ngx_pool_t *pool, ngx_str_t *text, ngx_http_unit_json_t *json)
{
    if (ngx_http_unit_json_scan(pool, text->data, text->len, test_watch, json)
        != NGX_OK)
    {
        return -1;
    }

    return (ngx_int_t) kit_places(json, test_places);
}


static void
test_hand(void)
{
    char                  name[32];
    size_t                i;
    ngx_int_t             j, n;
    ngx_str_t             text, out;
    ngx_pool_t           *pool;
    ngx_http_unit_json_t  json;

    for (i = 0; i < sizeof(test_cases) / sizeof(test_cases[0]); i++) {

        pool = ngx_create_pool(4096, NULL);
        snprintf(name, sizeof(name), "body %zu", i);

        text.len = strlen(test_cases[i].text);
        text.data = ngx_pnalloc(pool, text.len);
        ngx_memcpy(text.data, test_cases[i].text, text.len);

        n = test_scan(pool, &text, &json);
        ok(n >= 0, "%s is valid", name);

        for (j = 0; j < n; j++) {
            ngx_str_set(&test_places[j].value, "K");
        }

        is(ngx_http_unit_splice_put(pool, &text, test_places, n, &out),
           NGX_OK, "put");
        is_text(out.data, out.len, test_cases[i].put, name);

        is(ngx_http_unit_splice_cut(pool, &text, test_places, n, &out),
           NGX_OK, "cut");
        is_text(out.data, out.len, test_cases[i].cut, name);

        is_text(text.data, text.len, test_cases[i].text, "not in place");

        ngx_destroy_pool(pool);
    }
}


static void
test_memory(void)
{
    ngx_int_t             n;
    ngx_str_t             text, out;
    ngx_pool_t           *pool;
    ngx_http_unit_json_t  json;

    pool = ngx_create_pool(4096, NULL);

    ngx_str_set(&text, IN("{\"idempotencyKey\":\"x\"}"));
    n = test_scan(pool, &text, &json);
    ngx_str_set(&test_places[0].value, "K");

    ngx_stub_fail(1);
    is(ngx_http_unit_splice_put(pool, &text, test_places, n, &out),
       NGX_ERROR, "put: out of memory");

    ngx_stub_fail(1);
    is(ngx_http_unit_splice_cut(pool, &text, test_places, n, &out),
       NGX_ERROR, "cut: out of memory");

    ngx_stub_fail(0);

    ngx_destroy_pool(pool);
}


/* -- bodies made at random ------------------------------------------------ */

static char      test_buf[1 << 16];
static size_t    test_len;
static uint64_t  test_seed = 20240601;


static unsigned
test_rand(unsigned n)
{
    test_seed = test_seed * 6364136223846793005ULL + 1442695040888963407ULL;

    return (unsigned) (test_seed >> 33) % n;
}


static void
test_add(const char *s)
{
    size_t  len;

    len = strlen(s);

    if (test_len + len < sizeof(test_buf)) {
        memcpy(test_buf + test_len, s, len);
        test_len += len;
    }
}


static void
test_space(void)
{
    static const char  *spaces[] = { "", "", "", " ", "\n", "\r\n", "\t  " };

    test_add(spaces[test_rand(7)]);
}


static void
test_value(unsigned depth)
{
    unsigned  i, n;
    char      name[32];

    static const char  *scalars[] = {
        "1", "-0.50", "1e3", "true", "null", "\"\"", "\"a\\\"b\\\\\"",
        "\"\\u00e4\\ud83d\\ude00\"", "\"},{[]:\"", "\"idempotencyKey\"",
        "9007199254740993"
    };

    n = test_rand(4);

    if (depth == 0 || n < 2) {
        test_add(scalars[test_rand(11)]);
        return;
    }

    test_add(n == 2 ? "[" : "{");
    test_space();

    n = (n == 3);

    for (i = 0; i < test_rand(4); i++) {

        test_add(i ? "," : "");
        test_space();

        if (n) {
            snprintf(name, sizeof(name), "\"%s%u\"",
                     test_rand(2) ? "idempotencyKey" : "n", i);
            test_add(i == 0 && test_rand(2) ? "\"idempotencyKey\"" : name);
            test_space();
            test_add(":");
            test_space();
        }

        test_value(depth - 1);
        test_space();
    }

    test_add(n ? "}" : "]");
}


static void
test_attributes(void)
{
    unsigned  i, n, key;
    char      name[32];

    n = test_rand(5);
    key = test_rand(2 * n + 1);

    test_add("{");
    test_space();

    for (i = 0; i < n; i++) {

        test_add(i ? "," : "");
        test_space();

        snprintf(name, sizeof(name), "\"member%u\"", i);
        test_add(i != key ? name
                 : test_rand(2) ? "\"idempotencyKey\""
                 : "\"idem\\u0070otencyKe\\u0079\"");

        test_space();
        test_add(":");
        test_space();
        test_value(3);
        test_space();
    }

    test_add("}");
}


static void
test_element(void)
{
    test_add("{");
    test_space();
    test_add("\"type\":\"x\"");
    test_space();

    switch (test_rand(8)) {
    case 0:
        break;
    case 1:
        test_add(", \"attributes\":");
        test_value(0);
        break;
    default:
        test_add(",");
        test_space();
        test_add("\"attributes\"");
        test_space();
        test_add(":");
        test_space();
        test_attributes();
        test_space();
    }

    if (test_rand(2)) {
        test_add(",\"relationships\":{\"attributes\":");
        test_attributes();
        test_add("}");
    }

    test_add("}");
}


static void
test_body(void)
{
    unsigned  i, n;

    test_len = 0;

    test_space();
    test_add("{");
    test_space();

    if (test_rand(4) == 0) {
        test_add("\"meta\":");
        test_value(2);
        test_add(",");
    }

    test_add("\"data\"");
    test_space();
    test_add(":");
    test_space();

    if (test_rand(2)) {
        test_element();

    } else {
        test_add("[");
        n = test_rand(5);

        for (i = 0; i < n; i++) {
            test_add(i ? "," : "");
            test_space();
            test_element();
            test_space();
        }

        test_add("]");
    }

    test_space();
    test_add("}");
    test_space();
}


/* one body: NULL, or what is wrong */

static const char *
test_one(ngx_pool_t *pool)
{
    char                        keys[KIT_PLACES][32];
    ngx_int_t                   i, n, keyed;
    ngx_str_t                   text, put, cut, again;
    json_t                     *want, *got;
    const char                 *list[KIT_PLACES], *bad;
    ngx_http_unit_json_t        json, second;

    text.len = test_len;
    text.data = ngx_pnalloc(pool, text.len);
    ngx_memcpy(text.data, test_buf, text.len);

    n = test_scan(pool, &text, &json);

    if (n < 0) {
        return "does not scan";
    }

    keyed = 0;

    for (i = 0; i < n; i++) {
        keyed += (test_places[i].key != NULL);
        snprintf(keys[i], sizeof(keys[i]), "key-%ld", (long) i);
        list[i] = keys[i];
        test_places[i].value.data = (u_char *) keys[i];
        test_places[i].value.len = strlen(keys[i]);
    }

    if (ngx_http_unit_splice_put(pool, &text, test_places, n, &put) != NGX_OK
        || ngx_http_unit_splice_cut(pool, &text, test_places, n, &cut)
           != NGX_OK)
    {
        return "no memory";
    }

    /* what jansson makes of the same edits */

    bad = NULL;

    want = kit_jansson(&text);
    kit_edit(want, list);
    got = kit_jansson(&put);

    if (!json_equal(want, got)) {
        bad = "jansson puts it elsewhere";
    }

    json_decref(want);
    json_decref(got);

    want = kit_jansson(&text);
    kit_edit(want, NULL);
    got = kit_jansson(&cut);

    if (!json_equal(want, got)) {
        bad = "jansson leaves something else";
    }

    json_decref(want);
    json_decref(got);

    if (bad) {
        return bad;
    }

    /* the strict scanner takes it, with a string key in each place */

    if (test_scan(pool, &put, &second) != n) {
        return "places have changed";
    }

    for (i = 0; i < n; i++) {
        if (test_places[i].key == NULL
            || test_places[i].key->end - test_places[i].key->start
               != (ptrdiff_t) strlen(keys[i]) + 2
            || memcmp(test_places[i].key->start + 1, keys[i],
                      strlen(keys[i]))
               != 0)
        {
            return "not the key that was put";
        }
    }

    /* out again: the same as without, or with whatever key there was */

    if (ngx_http_unit_splice_cut(pool, &put, test_places, n, &again)
        != NGX_OK)
    {
        return "no memory";
    }

    if (again.len != cut.len || memcmp(again.data, cut.data, cut.len) != 0) {
        return "what is cut depends on the key";
    }

    if (keyed == 0
        && (cut.len != text.len || memcmp(cut.data, text.data, cut.len) != 0))
    {
        return "the original does not come back";
    }

    return NULL;
}


static void
test_random(void)
{
    int          i;
    ngx_pool_t  *pool;
    const char  *bad;

    for (i = 0; i < TEST_RANDOM; i++) {

        test_body();

        pool = ngx_create_pool(4096, NULL);
        bad = test_one(pool);
        ngx_destroy_pool(pool);

        if (bad) {
            diag("%s: %.*s", bad, (int) test_len, test_buf);
            break;
        }
    }

    is(i, TEST_RANDOM, "bodies made at random");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);
    test_watch = kit_watch(pool);

    test_hand();
    test_memory();
    test_random();

    ngx_destroy_pool(pool);

    return done_testing();
}
