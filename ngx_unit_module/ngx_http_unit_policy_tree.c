
/*
 * The tree of paths and how it is built: a node per segment, a hash table of
 * its literal children and at most one child for a parameter; the operations
 * of a path and method in the order in which a request is held against them.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy_int.h"


static uint32_t ngx_http_unit_policy_tree_hash(const ngx_str_t *key);
static ngx_http_unit_policy_slot_t *ngx_http_unit_policy_tree_slot(
    const ngx_http_unit_policy_map_t *map, const ngx_str_t *key, uint32_t hash,
    ngx_uint_t *steps);
static ngx_int_t ngx_http_unit_policy_tree_segment(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_policy_node_t **node,
    const ngx_str_t *segment);
static ngx_int_t ngx_http_unit_policy_tree_add(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_policy_node_t *node,
    ngx_http_unit_operation_t *op);
static ngx_int_t ngx_http_unit_policy_tree_twins(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *first,
    ngx_http_unit_operation_t *op);
static ngx_uint_t ngx_http_unit_policy_tree_same_step_up(
    const ngx_http_unit_operation_t *a, const ngx_http_unit_operation_t *b);


void *
ngx_http_unit_policy_map_get(const ngx_http_unit_policy_map_t *map,
    const ngx_str_t *key, ngx_uint_t *steps)
{
    if (map->size == 0) {
        return NULL;
    }

    return ngx_http_unit_policy_tree_slot(map, key,
                       ngx_http_unit_policy_tree_hash(key), steps)->value;
}


ngx_int_t
ngx_http_unit_policy_map_add(ngx_pool_t *pool, ngx_http_unit_policy_map_t *map,
    const ngx_str_t *key, void *value)
{
    uint32_t                      hash;
    ngx_uint_t                    i;
    ngx_http_unit_policy_map_t    grown;
    ngx_http_unit_policy_slot_t  *slot;

    if (2 * (map->used + 1) > map->size) {
        grown.size = map->size ? 2 * map->size : 4;
        grown.used = map->used;

        grown.slots = ngx_pcalloc(pool,
                          grown.size * sizeof(ngx_http_unit_policy_slot_t));
        if (grown.slots == NULL) {
            return NGX_ERROR;
        }

        for (i = 0; i < map->size; i++) {
            slot = &map->slots[i];

            if (slot->value != NULL) {
                *ngx_http_unit_policy_tree_slot(&grown, &slot->key,
                                                 slot->hash, NULL)
                    = *slot;
            }
        }

        if (map->slots != NULL) {
            ngx_pfree(pool, map->slots);
        }

        *map = grown;
    }

    hash = ngx_http_unit_policy_tree_hash(key);
    slot = ngx_http_unit_policy_tree_slot(map, key, hash, NULL);

    slot->key = *key;
    slot->hash = hash;
    slot->value = value;
    map->used++;

    return NGX_OK;
}


/* FNV-1a: the keys of the maps are ours, only the ones looked up are not */

static uint32_t
ngx_http_unit_policy_tree_hash(const ngx_str_t *key)
{
    size_t    i;
    uint32_t  hash;

    hash = 2166136261U;

    for (i = 0; i < key->len; i++) {
        hash ^= key->data[i];
        hash *= 16777619U;
    }

    return hash;
}


/* the slot of a key or the free one where it would be: half of them are free */

static ngx_http_unit_policy_slot_t *
ngx_http_unit_policy_tree_slot(const ngx_http_unit_policy_map_t *map,
    const ngx_str_t *key, uint32_t hash, ngx_uint_t *steps)
{
    ngx_uint_t                    i;
    ngx_http_unit_policy_slot_t  *slot;

    for (i = hash; /* void */ ; i++) {
        slot = &map->slots[i & (map->size - 1)];

        if (steps != NULL) {
            (*steps)++;
        }

        if (slot->value == NULL) {
            return slot;
        }

        if (slot->hash == hash && slot->key.len == key->len
            && ngx_memcmp(slot->key.data, key->data, key->len) == 0)
        {
            return slot;
        }
    }
}


ngx_int_t
ngx_http_unit_policy_insert(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op)
{
    u_char                       *p, *last;
    ngx_int_t                     rc;
    ngx_str_t                     segment;
    ngx_uint_t                    n;
    ngx_http_unit_policy_node_t  *node;

    op->customer = -1;

    p = op->path.data;

    if (op->path.len < 2 || op->path.len > NGX_HTTP_UNIT_URI_MAX_LEN
        || *p != '/')
    {
        return ngx_http_unit_policy_fail(ctx, "bad \"path\"");
    }

    last = p + op->path.len;

    node = &ctx->policy->root;

    for (n = 0; p < last; n++) {
        segment.data = ++p;

        while (p < last && *p != '/') {
            p++;
        }

        segment.len = p - segment.data;

        if (n == NGX_HTTP_UNIT_URI_MAX_SEGMENTS) {
            return ngx_http_unit_policy_fail(ctx, "\"path\" is too deep");
        }

        rc = ngx_http_unit_policy_tree_segment(ctx, &node, &segment);
        if (rc != NGX_OK) {
            return rc;
        }

        /*
         * whoever pins requests to the caller's customer relies on it for
         * all operations of a route: no other name at this place
         */

        if (n == 1 && segment.data[0] == ':'
            && ngx_strncmp(op->path.data, "/customers/",
                           sizeof("/customers/") - 1)
               == 0)
        {
            if (segment.len != sizeof(":customerId") - 1
                || ngx_strncmp(segment.data, ":customerId", segment.len) != 0)
            {
                return ngx_http_unit_policy_fail(ctx, "\"%V\" in \"path\" is "
                                                 "not :customerId", &segment);
            }

            op->customer = n;
        }
    }

    if (op->serve != NGX_HTTP_UNIT_SERVE_PROXY && op->customer < 0) {
        return ngx_http_unit_policy_fail(ctx, "\"serve\" needs a \"path\" "
                                         "below /customers/:customerId");
    }

    return ngx_http_unit_policy_tree_add(ctx, node, op);
}


/* step down from a node, making the child if need be */

static ngx_int_t
ngx_http_unit_policy_tree_segment(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_policy_node_t **node, const ngx_str_t *segment)
{
    ngx_str_t                     name;
    ngx_uint_t                    param;
    ngx_http_unit_policy_node_t  *child;

    name = *segment;
    param = (name.len > 0 && name.data[0] == ':');

    if (param) {
        name.data++;
        name.len--;
    }

    if (!ngx_http_unit_policy_is_segment(&name) || name.data[0] == '.') {
        return ngx_http_unit_policy_fail(ctx, "bad segment \"%V\" in \"path\"",
                                         segment);
    }

    child = param ? (*node)->param
                  : ngx_http_unit_policy_map_get(&(*node)->children, segment,
                                                 NULL);
    if (child != NULL) {
        *node = child;
        return NGX_OK;
    }

    child = ngx_pcalloc(ctx->pool, sizeof(ngx_http_unit_policy_node_t));
    if (child == NULL) {
        return NGX_ERROR;
    }

    if (param) {
        (*node)->param = child;

    } else if (ngx_http_unit_policy_map_add(ctx->pool, &(*node)->children,
                                            segment, child)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    *node = child;

    return NGX_OK;
}


/* add an operation to its route, behind those with as many conditions */

static ngx_int_t
ngx_http_unit_policy_tree_add(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_policy_node_t *node, ngx_http_unit_operation_t *op)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i, m;
    ngx_http_unit_route_t         *route;
    ngx_http_unit_policy_match_t  *match, *other;

    for (m = 0; op->method >> m != 1; m++) { /* void */ }

    route = node->routes[m];

    if (route == NULL) {
        route = ngx_pcalloc(ctx->pool, sizeof(ngx_http_unit_route_t)
                            + NGX_HTTP_UNIT_POLICY_MAX_ALTERNATIVES
                              * sizeof(ngx_http_unit_operation_t *));
        if (route == NULL) {
            return NGX_ERROR;
        }

        route->ops = (ngx_http_unit_operation_t **) &route[1];

        node->routes[m] = route;
        node->methods |= op->method;
    }

    if (route->nops == NGX_HTTP_UNIT_POLICY_MAX_ALTERNATIVES) {
        return ngx_http_unit_policy_fail(ctx,
                                 "more than %d operations of one path",
                                 NGX_HTTP_UNIT_POLICY_MAX_ALTERNATIVES);
    }

    match = op->match;

    for (i = 0; i < route->nops; i++) {
        other = route->ops[i]->match;

        if (ngx_http_unit_policy_same_match(other, match)) {

            rc = ngx_http_unit_policy_tree_twins(ctx, route->ops[i], op);
            if (rc != NGX_OK) {
                return rc;
            }

            break;
        }
    }

    for (i = route->nops; i > 0; i--) {
        other = route->ops[i - 1]->match;

        if (other->nconds >= match->nconds) {
            break;
        }

        route->ops[i] = route->ops[i - 1];
    }

    route->ops[i] = op;
    route->nops++;

    if (op->body) {
        route->body = 1;
    }

    if (op->dflt == NGX_HTTP_UNIT_POLICY_PCI) {
        node->pci = 1;
    }

    return NGX_OK;
}


/*
 * Operations that no body tells apart: one of them stands for all, so it must
 * not matter which one.
 */

static ngx_int_t
ngx_http_unit_policy_tree_twins(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *first, ngx_http_unit_operation_t *op)
{
    ngx_http_unit_policy_match_t  *a, *b;

    a = first->match;
    b = op->match;

    if (first->nscopes != op->nscopes
        || ngx_memcmp(first->scopes, op->scopes, sizeof(op->scopes)) != 0
        || a->partial != b->partial
        || first->token != op->token
        || first->dflt != op->dflt
        || first->serve != op->serve
        || first->timeout != op->timeout
        || first->family.len != op->family.len
        || (op->family.len
            && ngx_memcmp(first->family.data, op->family.data, op->family.len)
               != 0)
        || first->two_factor != op->two_factor
        || first->moves_funds != op->moves_funds
        || first->pci != op->pci
        || first->pin_user != op->pin_user
        || !ngx_http_unit_policy_tree_same_step_up(first, op))
    {
        return ngx_http_unit_policy_fail(ctx, "the same request as \"%V\", but "
                                         "another policy", &first->name);
    }

    b->twin = a->twin;
    a->twin = op;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_unit_policy_tree_same_step_up(const ngx_http_unit_operation_t *a,
    const ngx_http_unit_operation_t *b)
{
    ngx_uint_t                             i;
    const ngx_http_unit_policy_step_up_t  *sa, *sb;

    sa = a->step_up;
    sb = b->step_up;

    if (sa == NULL || sb == NULL) {
        return sa == sb;
    }

    for (i = 0; sa[i].watch >= 0; i++) {
        if (sa[i].watch != sb[i].watch || sa[i].container != sb[i].container) {
            return 0;
        }
    }

    return sb[i].watch < 0;
}


ngx_uint_t
ngx_http_unit_policy_is_segment(const ngx_str_t *s)
{
    u_char  ch;
    size_t  i;

    if (s->len == 0 || s->len > NGX_HTTP_UNIT_POLICY_MAX_PARAM) {
        return 0;
    }

    for (i = 0; i < s->len; i++) {
        ch = s->data[i];

        if ((ch < 'a' || ch > 'z') && (ch < 'A' || ch > 'Z')
            && (ch < '0' || ch > '9')
            && ch != '-' && ch != '.' && ch != '_' && ch != '~')
        {
            return 0;
        }
    }

    return 1;
}
