
/*
 * What the policy reads in request bodies: the conditions that choose between
 * the operations of one path, the members whose change needs a second factor,
 * and the customers that a body names.  Bodies are hostile: whatever has not
 * the shape that Unit documents matches nothing.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy_int.h"


static ngx_uint_t ngx_http_unit_policy_body_items(
    const ngx_http_unit_json_t *json);
static ngx_uint_t ngx_http_unit_policy_body_holds(
    const ngx_http_unit_policy_cond_t *cond, const ngx_http_unit_json_t *json,
    ngx_uint_t items);
static ngx_uint_t ngx_http_unit_policy_body_equal(
    const ngx_http_unit_policy_cond_t *cond,
    const ngx_http_unit_json_hit_t *hit);
static ngx_int_t ngx_http_unit_policy_body_relative(ngx_uint_t part,
    const ngx_http_unit_json_hit_t *hit, const ngx_str_t *customer);


ngx_uint_t
ngx_http_unit_policy_match_body(const ngx_http_unit_policy_match_t *match,
    const ngx_http_unit_json_t *json)
{
    ngx_uint_t                          i, items;
    ngx_http_unit_json_hit_t           *hit;
    ngx_http_unit_json_type_e           data;
    const ngx_http_unit_policy_cond_t  *cond;

    if (match->nconds == 0) {
        return 1;
    }

    hit = json->hits.elts;

    if (json->hits.nelts == 0 || hit[0].watch != NGX_HTTP_UNIT_WATCH_DATA) {
        return 0;
    }

    data = hit[0].type;
    items = 0;

    for (i = 0; i < match->nconds; i++) {
        cond = &match->conds[i];

        /*
         * a condition on members of an object says nothing of an array: that
         * they are absent there must not count
         */

        if (cond->data && cond->data != data) {
            return 0;
        }

        if (cond->data != NGX_HTTP_UNIT_JSON_ARRAY) {

            if (!ngx_http_unit_policy_body_holds(cond, json, 1)) {
                return 0;
            }

            continue;
        }

        if (items == 0) {
            items = ngx_http_unit_policy_body_items(json);

            if (items == 0) {
                return 0;
            }
        }

        if (!ngx_http_unit_policy_body_holds(cond, json, items)) {
            return 0;
        }
    }

    return 1;
}


/* the number of elements in data[], 0 when one of them is no object */

static ngx_uint_t
ngx_http_unit_policy_body_items(const ngx_http_unit_json_t *json)
{
    ngx_uint_t                 i, n;
    ngx_http_unit_json_hit_t  *hit;

    n = 0;
    hit = json->hits.elts;

    for (i = 0; i < json->hits.nelts; i++) {

        if (hit[i].watch != NGX_HTTP_UNIT_WATCH_ITEM) {
            continue;
        }

        if (hit[i].type != NGX_HTTP_UNIT_JSON_OBJECT) {
            return 0;
        }

        n++;
    }

    return n;
}


/*
 * In each of the items the member is there at most once, so counting tells
 * whether the condition holds in every one of them.
 */

static ngx_uint_t
ngx_http_unit_policy_body_holds(const ngx_http_unit_policy_cond_t *cond,
    const ngx_http_unit_json_t *json, ngx_uint_t items)
{
    ngx_uint_t                 i, n, seen;
    ngx_http_unit_json_hit_t  *hit;

    n = 0;
    seen = 0;
    hit = json->hits.elts;

    for (i = 0; i < json->hits.nelts && seen < items; i++) {

        if (hit[i].watch != cond->watch) {
            continue;
        }

        seen++;

        if (cond->nvalues) {
            n += ngx_http_unit_policy_body_equal(cond, &hit[i]);

        } else {
            n += (hit[i].type != NGX_HTTP_UNIT_JSON_NULL);
        }
    }

    switch (cond->kind) {

    case NGX_HTTP_UNIT_POLICY_EQUAL:
    case NGX_HTTP_UNIT_POLICY_PRESENT:
        return n == items;

    case NGX_HTTP_UNIT_POLICY_NOT:
    case NGX_HTTP_UNIT_POLICY_ABSENT:
        return n == 0;
    }

    return 0;
}


static ngx_uint_t
ngx_http_unit_policy_body_equal(const ngx_http_unit_policy_cond_t *cond,
    const ngx_http_unit_json_hit_t *hit)
{
    ngx_uint_t                     i;
    ngx_http_unit_policy_value_t  *value;

    for (i = 0; i < cond->nvalues; i++) {
        value = &cond->values[i];

        if (value->type != hit->type) {
            continue;
        }

        if (value->type != NGX_HTTP_UNIT_JSON_STRING
            || ngx_http_unit_json_equal(hit, &value->text))
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_unit_policy_step_up(const ngx_http_unit_operation_t *op,
    const ngx_http_unit_json_t *json)
{
    ngx_uint_t                             i;
    ngx_http_unit_json_hit_t              *hit;
    const ngx_http_unit_policy_step_up_t  *step;

    if (op->step_up == NULL) {
        return 0;
    }

    if (json == NULL) {
        return 1;
    }

    hit = json->hits.elts;

    for (i = 0; i < json->hits.nelts; i++) {

        for (step = op->step_up; step->watch >= 0; step++) {

            if (hit[i].watch != (ngx_uint_t) step->watch) {
                continue;
            }

            /* null counts: it may well be how the member is deleted */

            if (!step->container || hit[i].type != NGX_HTTP_UNIT_JSON_OBJECT) {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * Counts prove the shape, without looking at what contains what: each hit
 * lies in a hit of the watch before it, and holds at most one of the next.
 * So when there are as many ids as objects that must have one, all have.
 */

ngx_int_t
ngx_http_unit_policy_body_customer(const ngx_http_unit_policy_t *policy,
    ngx_http_unit_json_t *json, const ngx_str_t *customer)
{
    ngx_int_t                  w;
    ngx_uint_t                 i;
    ngx_uint_t                 n[NGX_HTTP_UNIT_POLICY_RELATIVES];
    ngx_http_unit_json_hit_t  *hit;

    ngx_memzero(n, sizeof(n));

    hit = json->hits.elts;

    for (i = 0; i < json->hits.nelts; i++) {

        if (hit[i].watch < NGX_HTTP_UNIT_WATCH_LAST) {

            if (hit[i].watch == NGX_HTTP_UNIT_WATCH_ITEM
                && hit[i].type != NGX_HTTP_UNIT_JSON_OBJECT)
            {
                return NGX_DECLINED;
            }

            continue;
        }

        /* the same watches below "data" and below "data[]" */

        w = hit[i].watch - NGX_HTTP_UNIT_WATCH_LAST;

        if (w >= 2 * NGX_HTTP_UNIT_POLICY_RELATIVES) {
            continue;
        }

        w %= NGX_HTTP_UNIT_POLICY_RELATIVES;

        if (ngx_http_unit_policy_body_relative(w, &hit[i], customer)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }

        /* an empty relation to one: nothing is in it, nothing is expected */

        if (w == NGX_HTTP_UNIT_POLICY_CUSTOMER_DATA
            && hit[i].type == NGX_HTTP_UNIT_JSON_NULL)
        {
            n[NGX_HTTP_UNIT_POLICY_CUSTOMER_ID]++;
        }

        n[w]++;
    }

    if (n[NGX_HTTP_UNIT_POLICY_CUSTOMER_DATA]
        != n[NGX_HTTP_UNIT_POLICY_CUSTOMER]
        || n[NGX_HTTP_UNIT_POLICY_CUSTOMER_ID]
           != n[NGX_HTTP_UNIT_POLICY_CUSTOMER_DATA]
        || n[NGX_HTTP_UNIT_POLICY_CUSTOMERS_DATA]
           != n[NGX_HTTP_UNIT_POLICY_CUSTOMERS]
        || n[NGX_HTTP_UNIT_POLICY_CUSTOMERS_ID]
           != n[NGX_HTTP_UNIT_POLICY_CUSTOMERS_ITEM])
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* is a relation's part what JSON:API says it is, and the id the customer's? */

static ngx_int_t
ngx_http_unit_policy_body_relative(ngx_uint_t part,
    const ngx_http_unit_json_hit_t *hit, const ngx_str_t *customer)
{
    ngx_uint_t  good;

    switch (part) {

    case NGX_HTTP_UNIT_POLICY_CUSTOMER_ID:
    case NGX_HTTP_UNIT_POLICY_CUSTOMERS_ID:
        good = ngx_http_unit_json_equal(hit, customer);
        break;

    case NGX_HTTP_UNIT_POLICY_CUSTOMERS_DATA:
        good = (hit->type == NGX_HTTP_UNIT_JSON_ARRAY);
        break;

    case NGX_HTTP_UNIT_POLICY_RELATIONS:
    case NGX_HTTP_UNIT_POLICY_CUSTOMER_DATA:
        good = (hit->type == NGX_HTTP_UNIT_JSON_OBJECT
                || hit->type == NGX_HTTP_UNIT_JSON_NULL);
        break;

    default:
        good = (hit->type == NGX_HTTP_UNIT_JSON_OBJECT);
        break;
    }

    return good ? NGX_OK : NGX_DECLINED;
}
