
/*
 * For the tests of the splice: bodies scanned as the policy scans them, the
 * places of keys in them, and what jansson makes of a text.
 */


#ifndef _SPLICE_KIT_H_INCLUDED_
#define _SPLICE_KIT_H_INCLUDED_


#include <jansson.h>
#include "ngx_http_unit_splice.h"


#define KIT_PLACES  256


enum {
    KIT_DATA = 0,
    KIT_ATTRIBUTES,
    KIT_KEY,
    KIT_ITEM,
    KIT_ITEM_ATTRIBUTES,
    KIT_ITEM_KEY
};


static inline ngx_http_unit_json_watch_t *
kit_watch(ngx_pool_t *pool)
{
    ngx_uint_t                   i;
    ngx_http_unit_json_watch_t  *w;

    static ngx_str_t  paths[] = {
        ngx_string("data"),
        ngx_string("data.attributes"),
        ngx_string("data.attributes.idempotencyKey"),
        ngx_string("data[]"),
        ngx_string("data[].attributes"),
        ngx_string("data[].attributes.idempotencyKey")
    };

    w = ngx_http_unit_json_watch_create(pool, 1);

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (ngx_http_unit_json_watch_add(w, &paths[i]) != (ngx_int_t) i) {
            return NULL;
        }
    }

    return w;
}


/* the places in a scanned body: their number, at most KIT_PLACES */

static inline ngx_uint_t
kit_places(ngx_http_unit_json_t *json, ngx_http_unit_splice_t *places)
{
    ngx_uint_t                 i, n;
    ngx_http_unit_json_hit_t  *hit;

    n = 0;
    hit = json->hits.elts;

    for (i = 0; i < json->hits.nelts; i++) {

        if ((hit[i].watch == KIT_ATTRIBUTES
             || hit[i].watch == KIT_ITEM_ATTRIBUTES)
            && hit[i].type == NGX_HTTP_UNIT_JSON_OBJECT)
        {
            if (n == KIT_PLACES) {
                break;
            }

            memset(&places[n], 0, sizeof(ngx_http_unit_splice_t));
            places[n++].attributes = &hit[i];
        }

        if (n && (hit[i].watch == KIT_KEY || hit[i].watch == KIT_ITEM_KEY)
            && hit[i].object == places[n - 1].attributes->start)
        {
            places[n - 1].key = &hit[i];
        }
    }

    return n;
}


static inline json_t *
kit_jansson(const ngx_str_t *text)
{
    return json_loadb((const char *) text->data, text->len,
                      JSON_REJECT_DUPLICATES,
                      NULL);
}


/* puts keys[i] (or takes the key away, NULL) where the places are */

static inline void
kit_edit(json_t *root, const char **keys)
{
    size_t   i, n;
    json_t  *data, *attributes;

    data = json_object_get(root, "data");
    n = 0;

    for (i = 0; i < (json_is_array(data) ? json_array_size(data) : 1); i++) {

        attributes = json_object_get(json_is_array(data)
                                     ? json_array_get(data, i) : data,
                                     "attributes");

        if (!json_is_object(attributes)) {
            continue;
        }

        if (keys == NULL) {
            (void) json_object_del(attributes, "idempotencyKey");

        } else {
            (void) json_object_set_new(attributes, "idempotencyKey",
                                       json_string(keys[n++]));
        }
    }
}


#endif /* _SPLICE_KIT_H_INCLUDED_ */
