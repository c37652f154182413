
/*
 * Fuzz target: keys in bodies.  The input is a body; when the scanner takes
 * it, keys are put in and taken out.  Besides memory errors it looks for other
 * bytes that have changed, for texts that are no strict JSON any more, and for
 * what jansson makes of the same edit.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_splice.h"
#include "ngx_stub.h"
#include "../unit/splice_kit.h"
#include "fuzz.h"


#define FUZZ_KEY  "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


static ngx_http_unit_splice_t  fuzz_places[KIT_PLACES];
static const char             *fuzz_keys[KIT_PLACES];


static ngx_int_t
fuzz_scan(ngx_pool_t *pool, ngx_http_unit_json_watch_t *w, ngx_str_t *text,
    ngx_http_unit_json_t *json)
{
    ngx_uint_t  i, n;

    if (ngx_http_unit_json_scan(pool, text->data, text->len, w, json)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    n = kit_places(json, fuzz_places);

    for (i = 0; i < n; i++) {
        ngx_str_set(&fuzz_places[i].value, FUZZ_KEY);
        fuzz_keys[i] = FUZZ_KEY;
    }

    return n;
}


/* the pieces between the places are the same bytes */

static void
fuzz_rest(ngx_str_t *text, ngx_str_t *put, ngx_int_t n)
{
    u_char     *a, *b, *next;
    size_t      len;
    ngx_int_t   i;

    a = text->data;
    b = put->data;

    for (i = 0; i < n; i++) {

        next = fuzz_places[i].key ? fuzz_places[i].key->start
                                  : fuzz_places[i].attributes->start + 1;
        len = next - a;
        fuzz_assert(memcmp(a, b, len) == 0);

        a = next;
        b += len;

        if (fuzz_places[i].key) {
            fuzz_assert(memcmp(b, "\"" FUZZ_KEY "\"", sizeof(FUZZ_KEY) + 1)
                        == 0);
            a = fuzz_places[i].key->end;
            b += sizeof(FUZZ_KEY) + 1;
            continue;
        }

        len = sizeof("\"idempotencyKey\":\"" FUZZ_KEY "\"") - 1;
        fuzz_assert(memcmp(b, "\"idempotencyKey\":\"" FUZZ_KEY "\"", len)
                    == 0);
        b += len;

        while (*next == ' ' || *next == '\t' || *next == '\r'
               || *next == '\n')
        {
            next++;
        }

        if (*next != '}') {
            fuzz_assert(*b++ == ',');
        }
    }

    len = text->data + text->len - a;

    fuzz_assert(b + len == put->data + put->len);
    fuzz_assert(memcmp(a, b, len) == 0);
}


static void
fuzz_jansson(ngx_str_t *text, ngx_str_t *edited, const char **keys)
{
    json_t  *want, *got;

    want = kit_jansson(text);
    got = kit_jansson(edited);

    /* numbers beyond its own range are its business */

    if (want) {
        kit_edit(want, keys);
        fuzz_assert(got != NULL && json_equal(want, got));
    }

    json_decref(want);
    json_decref(got);
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    ngx_int_t                    i, n, keyless;
    ngx_str_t                    text, put, cut, again;
    ngx_pool_t                  *pool;
    ngx_http_unit_json_t         json, second;
    ngx_http_unit_json_watch_t  *w;

    ngx_http_unit_json_seed(1, 2);

    pool = ngx_create_pool(4096, NULL);
    w = kit_watch(pool);

    text.data = data;
    text.len = len;

    n = fuzz_scan(pool, w, &text, &json);

    if (n < 0 || n == KIT_PLACES || json.type != NGX_HTTP_UNIT_JSON_OBJECT) {
        ngx_destroy_pool(pool);
        return;
    }

    fuzz_assert(ngx_http_unit_splice_put(pool, &text, fuzz_places, n, &put)
                == NGX_OK);
    fuzz_assert(ngx_http_unit_splice_cut(pool, &text, fuzz_places, n, &cut)
                == NGX_OK);

    keyless = 1;

    for (i = 0; i < n; i++) {
        keyless = keyless && fuzz_places[i].key == NULL;
    }

    fuzz_rest(&text, &put, n);
    fuzz_jansson(&text, &put, fuzz_keys);
    fuzz_jansson(&text, &cut, NULL);

    fuzz_assert(fuzz_scan(pool, w, &put, &second) == n);

    fuzz_assert(ngx_http_unit_splice_cut(pool, &put, fuzz_places, n, &again)
                == NGX_OK);
    fuzz_assert(again.len == cut.len
                && memcmp(again.data, cut.data, cut.len) == 0);

    /* the promise of the header: where no key was, the body is as before */

    fuzz_assert(!keyless || (again.len == text.len
                             && memcmp(again.data, text.data, text.len) == 0));

    fuzz_assert(fuzz_scan(pool, w, &cut, &second) == n);

    for (i = 0; i < n; i++) {
        fuzz_assert(fuzz_places[i].key == NULL);
    }

    ngx_destroy_pool(pool);
}
