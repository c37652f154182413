
/*
 * The JSON scanner against jansson: pseudo-random texts, made by mutation of
 * seeds, must be valid for both or for none (nesting and NUL aside), and
 * watched values must be those that jansson finds.  Holds STYLE P35.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_json.h"
#include "ngx_stub.h"
#include "tap.h"


#define TEST_TEXTS    300000
#define TEST_MAX_LEN  512


static const char  *test_seeds[] = {
    "{\"iss\":\"https://idp.example.test/\",\"sub\":\"alice\",\"aud\":[\"a\","
        "\"b\"],\"exp\":1767225600,\"nbf\":1.5e9,\"iat\":-12.25}",
    "{\"data\":{\"type\":\"achPayment\",\"attributes\":{\"amount\":10000,"
        "\"direction\":\"Credit\"},\"relationships\":{\"account\":{\"data\":"
        "{\"type\":\"depositAccount\",\"id\":\"10002\"}}}}}",
    "[{\"a\":1,\"b\":[]},{\"a\":\"x\",\"b\":[1,2,[3]]},null,true,false]",
    "{\"a\":{\"b\":{\"a\":{\"b\":[{\"a\":0}]}}},\"b\":[[[]]],\"\":\"\"}",
    "[0,-0,1.0,-1.5e-10,1E+2,9223372036854775807,-9223372036854775808,"
        "1e308,4.9e-324,9223372036854775807.0]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\","
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf\x7f\"]",
    "{\"k0\":0,\"k1\":0,\"k2\":0,\"k3\":0,\"k4\":0,\"k5\":0,\"k6\":0,\"k7\":0,"
        "\"k8\":0,\"k9\":0,\"ka\":0,\"kb\":0,\"kc\":0,\"kd\":0,\"ke\":0,"
        "\"kf\":0,\"kg\":0,\"kh\":0,\"ki\":0}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    " \t\r\n\"\" ",
    "-12.5e+3"
};

static const char  *test_tokens[] = {
    "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "\"a\":", "\"b\":1,",
    "null", "true", "false", "0", "-", "1", "9", ".", "e", "E+", "e-3", "e309",
    "\\", "\\u", "\\u0061", "\\u0000", "\\ud83d", "\\ude00", "\\n", "\\/",
    " ", "\n", "\x01", "\x80", "\xc3", "\xc3\xa9", "\xed\xa0\x80", "\xf4\x90",
    "\xef\xbb\xbf", "[]", "{}", "[{", "}]", "\"a\":[", "99999999999999999999",
    "1.7976931348623158", "\x7f", "//", "+"
};

static const char  *test_paths[] = {
    "", "a", "a.b", "a.b.a", "b[]", "[]", "[].a", "[].b[]", "data.type",
    "data.attributes.amount", "aud[]", "exp", "k7", "nbf"
};

#define TEST_PATHS  (sizeof(test_paths) / sizeof(test_paths[0]))


static uint64_t                     test_state = 0x20240229;
static ngx_http_unit_json_watch_t  *test_watch;
static ngx_uint_t                   test_values;


/* xorshift64: the same texts in every run */

static ngx_uint_t
test_random(ngx_uint_t n)
{
    test_state ^= test_state << 13;
    test_state ^= test_state >> 7;
    test_state ^= test_state << 17;

    return (ngx_uint_t) ((test_state >> 11) % n);
}


/* Put n bytes in place of "cut" bytes at "at", if they fit. */

static size_t
test_splice(char *text, size_t len, size_t at, size_t cut, const char *p,
    size_t n)
{
    char  copy[TEST_MAX_LEN];

    cut = ngx_min(cut, len - at);

    if (len - cut + n > TEST_MAX_LEN) {
        return len;
    }

    memcpy(copy, p, n);
    memmove(text + at + n, text + at + cut, len - at - cut);
    memcpy(text + at, copy, n);

    return len - cut + n;
}


static size_t
test_mutate(char *text)
{
    char         c;
    size_t       len, at, from;
    const char  *p;
    ngx_uint_t   n;

    p = test_seeds[test_random(sizeof(test_seeds) / sizeof(test_seeds[0]))];
    len = strlen(p);
    memcpy(text, p, len);

    for (n = test_random(5); n; n--) {

        at = test_random(len + 1);

        switch (test_random(6)) {

        case 0: /* another byte */
            c = (char) test_random(256);
            len = test_splice(text, len, at, 1, &c, 1);
            break;

        case 1: /* cut some */
            len = test_splice(text, len, at, test_random(8), "", 0);
            break;

        case 2: /* repeat some */
            from = test_random(len + 1);
            len = test_splice(text, len, at, 0, text + from,
                              ngx_min(test_random(32), len - from));
            break;

        case 3: /* a value in place of a character */
            len = test_splice(text, len, at, 1, "[{\"a\":null}]", 12);
            break;

        default: /* a token, inserted or in place of another */
            p = test_tokens[test_random(sizeof(test_tokens)
                                        / sizeof(test_tokens[0]))];
            len = test_splice(text, len, at, test_random(2), p, strlen(p));
            break;
        }
    }

    return len;
}


/* Is the hit what jansson has there? */

static int
test_same(ngx_pool_t *pool, ngx_http_unit_json_hit_t *hit, json_t *v)
{
    double      d;
    int64_t     sec;
    ngx_int_t   rc;
    ngx_str_t   s;

    static const ngx_http_unit_json_type_e  types[] = {
        NGX_HTTP_UNIT_JSON_OBJECT, NGX_HTTP_UNIT_JSON_ARRAY,
        NGX_HTTP_UNIT_JSON_STRING, NGX_HTTP_UNIT_JSON_NUMBER,
        NGX_HTTP_UNIT_JSON_NUMBER, NGX_HTTP_UNIT_JSON_TRUE,
        NGX_HTTP_UNIT_JSON_FALSE, NGX_HTTP_UNIT_JSON_NULL
    };

    test_values++;

    if (hit->type != types[json_typeof(v)]) {
        return 0;
    }

    rc = ngx_http_unit_json_string(pool, hit, &s);

    if (json_is_string(v)) {
        return rc == NGX_OK
               && s.len == json_string_length(v)
               && memcmp(s.data, json_string_value(v), s.len) == 0
               && ngx_http_unit_json_equal(hit, &s);
    }

    if (rc != NGX_DECLINED) {
        return 0;
    }

    rc = ngx_http_unit_json_seconds(hit, &sec);

    if (!json_is_number(v)) {
        return rc == NGX_DECLINED;
    }

    if (json_is_integer(v)) {
        return (rc == NGX_OK && sec == json_integer_value(v))
               || (rc == NGX_DECLINED
                   && (json_integer_value(v) > (1LL << 53)
                       || json_integer_value(v) < - (1LL << 53)));
    }

    /* a double may have been rounded across a whole number */

    d = json_real_value(v);

    return (rc == NGX_OK && (double) sec >= d - 1 && (double) sec <= d + 1)
           || (rc == NGX_DECLINED && (d > 9e15 || d < -9e15));
}


/*
 * Walk jansson's tree along a path and count off the hits of that watch, in
 * order.  Returns how many there were, or -1 when one differs.
 */

static int
test_walk(ngx_pool_t *pool, ngx_http_unit_json_t *json, ngx_uint_t id,
    json_t *v, const char *path, int seen)
{
    size_t                     i, n;
    ngx_http_unit_json_hit_t  *hit;

    if (v == NULL) {
        return seen;
    }

    if (*path == '\0') {
        hit = ngx_http_unit_json_hit(json, id, seen);

        return hit && test_same(pool, hit, v) ? seen + 1 : -1;
    }

    if (*path == '[') {

        for (i = 0; seen >= 0 && i < json_array_size(v); i++) {
            seen = test_walk(pool, json, id, json_array_get(v, i), path + 2,
                             seen);
        }

        return seen;
    }

    path += (*path == '.');
    n = strcspn(path, ".[");

    return test_walk(pool, json, id, json_object_getn(v, path, n), path + n,
                     seen);
}


static int
test_text(const char *text, size_t len, ngx_uint_t *valid)
{
    int                    good, n;
    json_t                *v;
    u_char                *p;
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_pool_t            *pool;
    json_error_t           error;
    ngx_http_unit_json_t   json;

    p = malloc(len ? len : 1);
    memcpy(p, text, len);
    pool = ngx_create_pool(1024, NULL);

    rc = ngx_http_unit_json_scan(pool, p, len, test_watch, &json);
    v = json_loadb(text, len, JSON_REJECT_DUPLICATES|JSON_DECODE_ANY, &error);

    if (rc == NGX_OK) {
        good = (v != NULL);
        (*valid)++;

        for (i = 0; good && i < TEST_PATHS; i++) {
            n = test_walk(pool, &json, i, v, test_paths[i], 0);

            good = n >= 0 && ngx_http_unit_json_hit(&json, i, n) == NULL;
        }

    } else {
        /* jansson 2.14 loses a NUL that follows a number */

        good = rc == NGX_DECLINED && json.offset <= len
               && (v == NULL
                   || strcmp(json.reason, "nested too deeply") == 0
                   || memchr(text, '\0', len) != NULL);
    }

    json_decref(v);
    ngx_destroy_pool(pool);
    free(p);

    return good;
}


/* every byte at every place of a string: eight are looked at at a time */

static void
test_bytes(void)
{
    char        text[19];
    ngx_uint_t  c, i, valid, wrong;

    valid = 0;
    wrong = 0;

    for (i = 1; i < sizeof(text) - 1; i++) {
        for (c = 0; c < 256; c++) {

            memset(text, 'a', sizeof(text));
            text[0] = text[sizeof(text) - 1] = '"';
            text[i] = (char) c;

            wrong += !test_text(text, sizeof(text), &valid);
        }
    }

    is(wrong, 0, "jansson says the same of every byte in a string");
    is(valid, (sizeof(text) - 2) * (128 - 32 - 2), "so many are valid");
}


int
main(void)
{
    char         text[TEST_MAX_LEN];
    size_t       j, len;
    ngx_str_t    path;
    ngx_uint_t   i, valid, wrong;
    ngx_pool_t  *pool;

    ngx_http_unit_json_seed(3, 4);
    json_object_seed(5);

    pool = ngx_create_pool(1024, NULL);
    test_watch = ngx_http_unit_json_watch_create(pool, 0);

    for (i = 0; i < TEST_PATHS; i++) {
        path.data = (u_char *) test_paths[i];
        path.len = strlen(test_paths[i]);

        is(ngx_http_unit_json_watch_add(test_watch, &path), i, "path watched");
    }

    valid = 0;
    wrong = 0;

    for (i = 0; i < TEST_TEXTS; i++) {
        len = test_mutate(text);

        if (!test_text(text, len, &valid) && wrong++ < 5) {
            printf("# they differ: ");

            for (j = 0; j < len; j++) {
                printf(text[j] >= 0x20 && text[j] < 0x7f ? "%c" : "<%02x>",
                       (u_char) text[j]);
            }

            printf("\n");
        }
    }

    is(wrong, 0, "jansson says the same");
    test_bytes();
    ok(valid > TEST_TEXTS / 10 && valid < TEST_TEXTS / 2,
       "of %d texts %d were valid", TEST_TEXTS, (int) valid);
    ok(test_values > TEST_TEXTS / 10, "%d values compared", (int) test_values);

    ngx_destroy_pool(pool);

    return done_testing();
}
