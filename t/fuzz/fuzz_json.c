
/*
 * Fuzz target: the JSON scanner.  The input is the text.  Besides memory
 * errors it looks for a verdict that jansson does not share, hits that are not
 * values by themselves, and offsets at which a value cannot be replaced.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_json.h"
#include "ngx_stub.h"
#include "fuzz.h"


#define FUZZ_HITS  16


static const char  *fuzz_paths[] = {
    "", "a", "a.b", "a[]", "a[].b", "[]", "[][].a", "data.type", "data[].type",
    "data.attributes.idempotencyKey", "aud[]", "exp"
};


static ngx_http_unit_json_watch_t *
fuzz_watch(ngx_uint_t guard)
{
    ngx_str_t                    path;
    ngx_uint_t                   i;
    ngx_pool_t                  *pool;
    ngx_http_unit_json_watch_t  *w;

    pool = ngx_create_pool(1024, NULL);
    w = ngx_http_unit_json_watch_create(pool, guard);

    for (i = 0; i < sizeof(fuzz_paths) / sizeof(fuzz_paths[0]); i++) {
        path.data = (u_char *) fuzz_paths[i];
        path.len = strlen(fuzz_paths[i]);

        fuzz_assert(ngx_http_unit_json_watch_add(w, &path) == (ngx_int_t) i);
    }

    return w;
}


/* A hit is a valid text of the same type; "null" can stand in its place. */

static void
fuzz_hit(ngx_pool_t *pool, u_char *p, size_t len, ngx_http_unit_json_hit_t *hit)
{
    u_char                *text, *last;
    int64_t                sec;
    ngx_int_t              rc;
    ngx_str_t              s;
    ngx_http_unit_json_t   json;

    fuzz_assert(hit->start >= p && hit->start < hit->end
                && hit->end <= p + len);
    fuzz_assert(hit->object == NULL || (hit->object < hit->start
                                        && hit->object >= p));

    rc = ngx_http_unit_json_scan(pool, hit->start, hit->end - hit->start, NULL,
                                 &json);
    fuzz_assert(rc == NGX_OK && json.type == hit->type);

    text = ngx_pnalloc(pool, len + 4);
    last = ngx_cpymem(text, p, hit->start - p);
    last = ngx_cpymem(last, "null", 4);
    last = ngx_cpymem(last, hit->end, p + len - hit->end);

    rc = ngx_http_unit_json_scan(pool, text, last - text, NULL, &json);
    fuzz_assert(rc == NGX_OK);

    rc = ngx_http_unit_json_string(pool, hit, &s);
    fuzz_assert((rc == NGX_OK) == (hit->type == NGX_HTTP_UNIT_JSON_STRING));

    if (rc == NGX_OK) {
        fuzz_assert(ngx_http_unit_json_equal(hit, &s) == 1);
        fuzz_assert(memchr(s.data, '\0', s.len) == NULL);

        if (s.len) {
            s.len--;
            fuzz_assert(ngx_http_unit_json_equal(hit, &s) == 0);
        }
    }

    rc = ngx_http_unit_json_seconds(hit, &sec);
    fuzz_assert(rc != NGX_OK || (hit->type == NGX_HTTP_UNIT_JSON_NUMBER
                                 && sec >= - (1LL << 53)
                                 && sec <= (1LL << 53)));
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    json_t                    *v;
    ngx_int_t                  rc, guarded, failing;
    ngx_uint_t                 i;
    ngx_pool_t                *pool;
    json_error_t               error;
    ngx_http_unit_json_t       json, other;
    ngx_http_unit_json_hit_t  *hit;

    static ngx_http_unit_json_watch_t  *plain, *guard;

    if (plain == NULL) {
        ngx_http_unit_json_seed(1, 2);
        plain = fuzz_watch(0);
        guard = fuzz_watch(1);
    }

    pool = ngx_create_pool(1024, NULL);

    rc = ngx_http_unit_json_scan(pool, data, len, plain, &json);
    fuzz_assert(rc == NGX_OK || rc == NGX_DECLINED);

    fuzz_assert(ngx_http_unit_json_scan(pool, data, len, NULL, &other) == rc);
    fuzz_assert(other.reason == json.reason && other.offset == json.offset);

    guarded = ngx_http_unit_json_scan(pool, data, len, guard, &other);
    fuzz_assert(guarded == NGX_DECLINED || rc == NGX_OK);

    v = json_loadb((char *) data, len, JSON_REJECT_DUPLICATES|JSON_DECODE_ANY,
                   &error);

    if (rc == NGX_OK) {
        fuzz_assert(v != NULL);

        hit = json.hits.elts;

        for (i = 0; i < json.hits.nelts && i < FUZZ_HITS; i++) {
            fuzz_assert(i == 0 || hit[i].start > hit[i - 1].start);
            fuzz_hit(pool, data, len, &hit[i]);
        }

    } else {
        fuzz_assert(json.offset <= len && json.hits.nelts == 0);

        /* jansson 2.14 loses a NUL that follows a number */

        fuzz_assert(v == NULL
                    || strcmp(json.reason, "nested too deeply") == 0
                    || memchr(data, '\0', len) != NULL);
    }

    json_decref(v);

    /* and with too little memory */

    ngx_stub_fail(1 + len % 5);
    failing = ngx_http_unit_json_scan(pool, data, len, plain, &other);
    ngx_stub_fail(0);
    fuzz_assert(failing == NGX_ERROR || failing == rc);

    ngx_destroy_pool(pool);
}
