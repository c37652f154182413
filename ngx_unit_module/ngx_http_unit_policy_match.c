
/*
 * Matching: from path and method to a route, one hash lookup per segment, and
 * from there by the body to an operation.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy_int.h"


static ngx_uint_t ngx_http_unit_policy_match_is_twin(
    const ngx_http_unit_operation_t *op,
    const ngx_http_unit_operation_t *other);


const ngx_http_unit_policy_node_t *
ngx_http_unit_policy_walk(const ngx_http_unit_policy_t *policy,
    const ngx_http_unit_uri_t *uri, ngx_uint_t *lookups, ngx_uint_t *steps)
{
    ngx_uint_t                          i;
    const ngx_http_unit_policy_node_t  *node, *child;

    node = &policy->root;

    for (i = 0; i < uri->nsegments; i++) {

        if (lookups != NULL) {
            (*lookups)++;
        }

        /* a literal wins over a parameter and there is no way back */

        child = ngx_http_unit_policy_map_get(&node->children,
                                             &uri->segments[i], steps);

        if (child == NULL
            && ngx_http_unit_policy_is_segment(&uri->segments[i]))
        {
            child = node->param;
        }

        if (child == NULL) {
            return NULL;
        }

        node = child;
    }

    return node;
}


ngx_int_t
ngx_http_unit_policy_route(const ngx_http_unit_policy_t *policy,
    const ngx_http_unit_uri_t *uri, ngx_uint_t method,
    const ngx_http_unit_route_t **out, ngx_uint_t *allow)
{
    ngx_uint_t                          m;
    const ngx_http_unit_policy_node_t  *node;

    *out = NULL;
    *allow = 0;

    node = ngx_http_unit_policy_walk(policy, uri, NULL, NULL);

    if (node == NULL) {
        return NGX_DECLINED;
    }

    *allow = node->methods;

    if (node->pci) {
        return NGX_ABORT;
    }

    for (m = 0; m < NGX_HTTP_UNIT_POLICY_METHODS; m++) {

        if (method == (ngx_uint_t) 1 << m && node->routes[m] != NULL) {
            *out = node->routes[m];
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_uint_t
ngx_http_unit_policy_needs_body(const ngx_http_unit_route_t *route)
{
    return route->body;
}


const ngx_http_unit_operation_t *
ngx_http_unit_policy_select(const ngx_http_unit_route_t *route,
    ngx_http_unit_json_t *json)
{
    ngx_uint_t                           i;
    ngx_http_unit_operation_t           *op, *found;
    const ngx_http_unit_policy_match_t  *match, *best;

    if (route->body && json == NULL) {
        return NULL;
    }

    best = NULL;
    found = NULL;

    for (i = 0; i < route->nops; i++) {
        op = route->ops[i];
        match = op->match;

        if (found != NULL) {

            if (match->nconds < best->nconds) {
                break;
            }

            if (ngx_http_unit_policy_match_is_twin(op, found)) {
                continue;
            }
        }

        if (!ngx_http_unit_policy_match_body(match, json)) {
            continue;
        }

        if (found != NULL) {
            return NULL;
        }

        best = match;
        found = op;
    }

    return found;
}


/*
 * Does it not matter which of the two is taken?  So it is for twins, and for
 * what the same part of the gateway answers, which reads the body itself.
 */

static ngx_uint_t
ngx_http_unit_policy_match_is_twin(const ngx_http_unit_operation_t *op,
    const ngx_http_unit_operation_t *other)
{
    const ngx_http_unit_operation_t     *twin;
    const ngx_http_unit_policy_match_t  *match;

    if (op->serve != NGX_HTTP_UNIT_SERVE_PROXY && op->serve == other->serve) {
        return 1;
    }

    match = other->match;
    twin = match->twin;

    while (twin != other) {

        if (twin == op) {
            return 1;
        }

        match = twin->match;
        twin = match->twin;
    }

    return 0;
}


const ngx_http_unit_operation_t *
ngx_http_unit_policy_route_operation(const ngx_http_unit_route_t *route,
    ngx_uint_t n)
{
    return n < route->nops ? route->ops[n] : NULL;
}
