
/*
 * Fuzz target: watched paths of the JSON scanner.  The first line of the input
 * holds paths, separated by spaces; the rest is the text.  The hits must be
 * what a walk through the tree that jansson makes of the text finds under the
 * same paths, neither fewer nor more, and the letter-case guard must refuse
 * exactly what it promises to.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <math.h>
#include <jansson.h>
#include "ngx_http_unit_json.h"
#include "ngx_stub.h"
#include "fuzz.h"


#define FUZZ_PATHS     16
#define FUZZ_SEGMENTS  32
#define FUZZ_FOUND     256


/* a path, split: an empty name stands for "[]" */
typedef struct {
    ngx_int_t  id;
    size_t     n;
    char       names[FUZZ_SEGMENTS][64];
} fuzz_path_t;


/* a path of which the first "done" segments have led here */
typedef struct {
    fuzz_path_t  *path;
    size_t        done;
} fuzz_place_t;


typedef struct {
    ngx_int_t   id;
    json_t     *value;
    size_t      element;
    int         in_array;
} fuzz_found_t;


static fuzz_path_t   fuzz_paths[FUZZ_PATHS];
static size_t        fuzz_npaths;
static fuzz_found_t  fuzz_found[FUZZ_FOUND];
static size_t        fuzz_nfound;
static int           fuzz_misspelt;


/* 1: a path, -1: no path, 0: beyond what is modelled here */

static int
fuzz_split(const char *p, size_t len, fuzz_path_t *path)
{
    size_t       n;
    json_t      *text;
    const char  *last;

    last = p + len;
    path->n = 0;

    while (p < last) {

        if (path->n == FUZZ_SEGMENTS) {
            return 0;
        }

        path->names[path->n][0] = '\0';

        if (*p == '[') {
            if (last - p < 2 || p[1] != ']') {
                return -1;
            }

            path->n++;
            p += 2;
            continue;
        }

        if (path->n) {
            if (*p != '.') {
                return -1;
            }

            p++;
        }

        for (n = 0; p + n < last; n++) {
            if (p[n] == '.' || p[n] == '[' || p[n] == ']') {
                break;
            }
        }

        if (n == 0) {
            return -1;
        }

        text = json_stringn(p, n);

        if (text == NULL || memchr(p, '\0', n) != NULL) {
            json_decref(text);
            return -1;
        }

        json_decref(text);

        if (n >= sizeof(path->names[0])) {
            return 0;
        }

        memcpy(path->names[path->n], p, n);
        path->names[path->n++][n] = '\0';
        p += n;
    }

    return 1;
}


static void
fuzz_watches(ngx_pool_t *pool, uint8_t *p, uint8_t *last,
    ngx_http_unit_json_watch_t **watches)
{
    int           rc;
    uint8_t      *end;
    ngx_int_t     id;
    ngx_str_t     s;
    fuzz_path_t  *path;

    watches[0] = ngx_http_unit_json_watch_create(pool, 0);
    watches[1] = ngx_http_unit_json_watch_create(pool, 1);
    fuzz_npaths = 0;

    for ( /* void */ ; p <= last && fuzz_npaths < FUZZ_PATHS; p = end + 1) {

        end = memchr(p, ' ', last - p);
        if (end == NULL) {
            end = last;
        }

        s.data = p;
        s.len = end - p;

        path = &fuzz_paths[fuzz_npaths];
        rc = fuzz_split((char *) p, end - p, path);

        if (rc != 1) {

            /* what is refused may leave parts behind: not in those */

            id = ngx_http_unit_json_watch_add(
                              ngx_http_unit_json_watch_create(pool, 0), &s);
            fuzz_assert(rc == 0 || id == NGX_ERROR);
            continue;
        }

        path->id = ngx_http_unit_json_watch_add(watches[0], &s);
        fuzz_assert(path->id >= 0 && path->id <= (ngx_int_t) fuzz_npaths);
        fuzz_assert(ngx_http_unit_json_watch_add(watches[1], &s) == path->id);

        fuzz_npaths++;
    }
}


static void
fuzz_walk(json_t *value, fuzz_place_t *places, size_t n, size_t element,
    int in_array)
{
    int            same, similar;
    size_t         i, k, m;
    json_t        *item;
    const char    *name, *key;
    fuzz_place_t   next[FUZZ_PATHS];

    for (i = 0; i < n && fuzz_nfound < FUZZ_FOUND; i++) {

        if (places[i].done == places[i].path->n) {
            fuzz_found[fuzz_nfound].id = places[i].path->id;
            fuzz_found[fuzz_nfound].value = value;
            fuzz_found[fuzz_nfound].element = element;
            fuzz_found[fuzz_nfound++].in_array = in_array;
        }
    }

    json_array_foreach(value, k, item) {
        m = 0;

        for (i = 0; i < n; i++) {
            if (places[i].done < places[i].path->n
                && places[i].path->names[places[i].done][0] == '\0')
            {
                next[m].path = places[i].path;
                next[m++].done = places[i].done + 1;
            }
        }

        if (m) {
            fuzz_walk(item, next, m, k, 1);
        }
    }

    json_object_foreach(value, key, item) {
        m = 0;
        same = 0;
        similar = 0;

        for (i = 0; i < n; i++) {

            if (places[i].done == places[i].path->n) {
                continue;
            }

            name = places[i].path->names[places[i].done];

            if (name[0] == '\0') {
                continue;
            }

            if (strcmp(name, key) == 0) {
                same = 1;
                next[m].path = places[i].path;
                next[m++].done = places[i].done + 1;

            } else if (strcasecmp(name, key) == 0) {
                similar = 1;
            }
        }

        fuzz_misspelt |= (similar && !same);

        if (m) {
            fuzz_walk(item, next, m, element, 0);
        }
    }
}


/* what is read of a hit is what jansson reads in it */

static void
fuzz_value(ngx_pool_t *pool, ngx_http_unit_json_hit_t *hit, json_t *value)
{
    double      d;
    int64_t     sec;
    ngx_str_t   s;

    if (ngx_http_unit_json_string(pool, hit, &s) == NGX_OK) {
        fuzz_assert(json_is_string(value)
                    && json_string_length(value) == s.len
                    && memcmp(json_string_value(value), s.data, s.len) == 0);

        s.data = (u_char *) json_string_value(value);
        fuzz_assert(ngx_http_unit_json_equal(hit, &s) == 1);

    } else {
        fuzz_assert(!json_is_string(value));
    }

    if (ngx_http_unit_json_seconds(hit, &sec) == NGX_OK) {
        d = json_number_value(value);

        /*
         * 2^52: beyond it doubles have no fractions.  Below they may have
         * been rounded up to a whole number, or have underflowed to -0, where
         * ours are read exactly.
         */

        fuzz_assert(json_is_number(value));
        fuzz_assert(fabs(d) >= 4503599627370496.0
                    || (double) sec == floor(d)
                    || (json_is_real(value) && floor(d) == d
                        && (double) sec == d - 1));

    } else {
        fuzz_assert(!json_is_number(value)
                    || fabs(json_number_value(value)) >= 4503599627370496.0);
    }
}


/* the hits of one watch, one by one */

static void
fuzz_compare(ngx_pool_t *pool, ngx_http_unit_json_t *json, ngx_int_t id)
{
    size_t                     i, n;
    json_t                    *value;
    ngx_http_unit_json_hit_t  *hit;

    n = 0;

    for (i = 0; i < fuzz_nfound; i++) {

        if (fuzz_found[i].id != id) {
            continue;
        }

        hit = ngx_http_unit_json_hit(json, id, n++);

        fuzz_assert(hit != NULL && hit->element == fuzz_found[i].element);
        fuzz_assert(hit->object == NULL
                    || *hit->object == (fuzz_found[i].in_array ? '[' : '{'));

        value = json_loadb((char *) hit->start, hit->end - hit->start,
                           JSON_DECODE_ANY, NULL);
        fuzz_assert(value != NULL && json_equal(value, fuzz_found[i].value));
        json_decref(value);

        fuzz_value(pool, hit, fuzz_found[i].value);
    }

    fuzz_assert(ngx_http_unit_json_hit(json, id, n) == NULL);
}


static void
fuzz_text(ngx_pool_t *pool, ngx_http_unit_json_watch_t **watches, uint8_t *p,
    size_t len)
{
    size_t                 i, k, n;
    json_t                *root;
    ngx_int_t              rc;
    fuzz_place_t           places[FUZZ_PATHS];
    ngx_http_unit_json_t   json, guarded;

    if (ngx_http_unit_json_scan(pool, p, len, watches[0], &json) != NGX_OK) {
        return;
    }

    root = json_loadb((char *) p, len, JSON_DECODE_ANY, NULL);
    fuzz_assert(root != NULL);

    /* a path that was given twice has one id and one place */

    n = 0;

    for (i = 0; i < fuzz_npaths; i++) {
        for (k = 0; k < n; k++) {
            if (places[k].path->id == fuzz_paths[i].id) {
                break;
            }
        }

        if (k == n) {
            places[n].path = &fuzz_paths[i];
            places[n++].done = 0;
        }
    }

    fuzz_nfound = 0;
    fuzz_misspelt = 0;
    fuzz_walk(root, places, n, 0, 0);

    rc = ngx_http_unit_json_scan(pool, p, len, watches[1], &guarded);
    fuzz_assert(rc == (fuzz_misspelt ? NGX_DECLINED : NGX_OK));

    if (fuzz_nfound < FUZZ_FOUND) {
        fuzz_assert(json.hits.nelts == fuzz_nfound);

        for (i = 0; i < n; i++) {
            fuzz_compare(pool, &json, places[i].path->id);
        }
    }

    json_decref(root);
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    uint8_t                     *eol;
    ngx_pool_t                  *pool;
    ngx_http_unit_json_watch_t  *watches[2];

    ngx_http_unit_json_seed(1, 2);

    eol = memchr(data, '\n', len);

    if (eol == NULL) {
        return;
    }

    pool = ngx_create_pool(1024, NULL);

    fuzz_watches(pool, data, eol, watches);
    fuzz_text(pool, watches, eol + 1, data + len - eol - 1);

    ngx_destroy_pool(pool);
}
