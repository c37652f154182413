
/*
 * Watched paths of the JSON scanner: a trie built at configuration time, and
 * the look-up of a member name in it during a scan.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json_int.h"
#include "ngx_http_unit_utf8.h"


#define NGX_HTTP_UNIT_JSON_MAX_SEGMENTS  32
#define NGX_HTTP_UNIT_JSON_MAX_NODES     1024


static ngx_http_unit_json_node_t *ngx_http_unit_json_watch_member_node(
    ngx_http_unit_json_watch_t *w, ngx_http_unit_json_node_t *parent,
    u_char *name, size_t len);
static ngx_http_unit_json_node_t *ngx_http_unit_json_watch_element_node(
    ngx_http_unit_json_watch_t *w, ngx_http_unit_json_node_t *parent);
static ngx_http_unit_json_node_t *ngx_http_unit_json_watch_node(
    ngx_http_unit_json_watch_t *w);
static ngx_int_t ngx_http_unit_json_watch_id(ngx_http_unit_json_watch_t *w,
    ngx_http_unit_json_node_t *node);
static ngx_uint_t ngx_http_unit_json_watch_same(const u_char *a,
    const u_char *b, size_t len);


ngx_http_unit_json_watch_t *
ngx_http_unit_json_watch_create(ngx_pool_t *pool, ngx_uint_t guard)
{
    ngx_http_unit_json_watch_t  *w;

    w = ngx_pcalloc(pool, sizeof(ngx_http_unit_json_watch_t));
    if (w == NULL) {
        return NULL;
    }

    w->root.id = NGX_ERROR;
    w->pool = pool;
    w->nnodes = 1;
    w->guard = guard;

    return w;
}


ngx_int_t
ngx_http_unit_json_watch_add(ngx_http_unit_json_watch_t *w, ngx_str_t *path)
{
    u_char                     *p, *last, *name;
    ngx_uint_t                  n;
    ngx_http_unit_json_node_t  *node;

    p = path->data;
    last = p + path->len;
    node = &w->root;

    for (n = 0; p < last; n++) {

        if (n == NGX_HTTP_UNIT_JSON_MAX_SEGMENTS) {
            return NGX_ERROR;
        }

        if (*p == '[') {

            if (last - p < 2 || p[1] != ']') {
                return NGX_ERROR;
            }

            node = ngx_http_unit_json_watch_element_node(w, node);
            p += 2;

        } else {

            /* a name follows a dot, unless it is the first segment */

            if (n != 0 && *p++ != '.') {
                return NGX_ERROR;
            }

            name = p;

            while (p < last && *p != '.' && *p != '[' && *p != ']') {
                p++;
            }

            if (p == name) {
                return NGX_ERROR;
            }

            node = ngx_http_unit_json_watch_member_node(w, node, name,
                                                        p - name);
        }

        if (node == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_unit_json_watch_id(w, node);
}


ngx_int_t
ngx_http_unit_json_watch_member(ngx_http_unit_json_watch_t *w, ngx_str_t *name)
{
    ngx_http_unit_json_node_t  *node;

    node = ngx_http_unit_json_watch_member_node(w, &w->root, name->data,
                                                name->len);
    if (node == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_unit_json_watch_id(w, node);
}


static ngx_http_unit_json_node_t *
ngx_http_unit_json_watch_member_node(ngx_http_unit_json_watch_t *w,
    ngx_http_unit_json_node_t *parent, u_char *name, size_t len)
{
    size_t                       i, n;
    ngx_uint_t                   hint;
    ngx_http_unit_json_node_t   *node, **bucket;

    hint = ngx_http_unit_json_hint(name, len);
    bucket = &parent->members[hint % NGX_HTTP_UNIT_JSON_BUCKETS];

    for (node = *bucket; node; node = node->next) {
        if (node->name.len == len
            && ngx_memcmp(node->name.data, name, len) == 0)
        {
            return node;
        }
    }

    /* a name that no valid text can have is a mistake */

    for (i = 0; i < len; i += n) {
        n = ngx_http_unit_utf8(&name[i], &name[len]);

        if (n == 0 || name[i] == '\0') {
            return NULL;
        }
    }

    node = ngx_http_unit_json_watch_node(w);
    if (node == NULL) {
        return NULL;
    }

    node->name.data = ngx_pnalloc(w->pool, len);
    if (node->name.data == NULL) {
        return NULL;
    }

    if (len) {
        ngx_memcpy(node->name.data, name, len);
    }

    node->name.len = len;
    node->next = *bucket;
    *bucket = node;
    parent->hints |= (uint64_t) 1 << hint;

    return node;
}


static ngx_http_unit_json_node_t *
ngx_http_unit_json_watch_element_node(ngx_http_unit_json_watch_t *w,
    ngx_http_unit_json_node_t *parent)
{
    if (parent->element == NULL) {
        parent->element = ngx_http_unit_json_watch_node(w);
    }

    return parent->element;
}


static ngx_http_unit_json_node_t *
ngx_http_unit_json_watch_node(ngx_http_unit_json_watch_t *w)
{
    ngx_http_unit_json_node_t  *node;

    if (w->nnodes == NGX_HTTP_UNIT_JSON_MAX_NODES) {
        return NULL;
    }

    node = ngx_pcalloc(w->pool, sizeof(ngx_http_unit_json_node_t));
    if (node == NULL) {
        return NULL;
    }

    node->id = NGX_ERROR;
    w->nnodes++;

    return node;
}


static ngx_int_t
ngx_http_unit_json_watch_id(ngx_http_unit_json_watch_t *w,
    ngx_http_unit_json_node_t *node)
{
    if (node->id == NGX_ERROR) {
        node->id = w->nids++;
    }

    return node->id;
}


ngx_int_t
ngx_http_unit_json_watch_find(const ngx_http_unit_json_watch_t *w,
    const ngx_http_unit_json_node_t *parent, u_char *name, size_t len,
    ngx_uint_t hint, const ngx_http_unit_json_node_t **node)
{
    ngx_uint_t                        similar;
    const ngx_http_unit_json_node_t  *n;

    *node = NULL;

    if ((parent->hints & ((uint64_t) 1 << hint)) == 0) {
        return NGX_OK;
    }

    /* hints and buckets are the same for all spellings of a name */

    similar = 0;
    n = parent->members[hint % NGX_HTTP_UNIT_JSON_BUCKETS];

    for ( /* void */ ; n; n = n->next) {

        if (n->name.len != len) {
            continue;
        }

        if (ngx_memcmp(n->name.data, name, len) == 0) {
            *node = n;
            return NGX_OK;
        }

        if (w->guard && ngx_http_unit_json_watch_same(n->name.data, name, len))
        {
            similar = 1;
        }
    }

    return similar ? NGX_DECLINED : NGX_OK;
}


/* Equal but for the case of ASCII letters. */

static ngx_uint_t
ngx_http_unit_json_watch_same(const u_char *a, const u_char *b, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (ngx_tolower(a[i]) != ngx_tolower(b[i])) {
            return 0;
        }
    }

    return 1;
}
