
/*
 * Loading of what the policy reads in request bodies: which members are
 * watched, the conditions of operations and the members whose change needs a
 * second factor.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy_int.h"


static ngx_int_t ngx_http_unit_policy_cond_watch(
    ngx_http_unit_policy_load_t *ctx, const char *path, size_t len,
    ngx_uint_t *watch);
static ngx_int_t ngx_http_unit_policy_cond_path(
    ngx_http_unit_policy_load_t *ctx, const char *path);
static ngx_int_t ngx_http_unit_policy_cond_values(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_policy_cond_t *cond,
    const char *path, json_t *json);
static ngx_int_t ngx_http_unit_policy_cond_value(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_policy_value_t *value,
    const char *path, json_t *json);


/*
 * In the order of ngx_http_unit_watch_e, then of
 * ngx_http_unit_policy_relative_e below "data" and below "data[]".  The rest
 * is watched for the guard: no variant in another letter case may stand at
 * these places, because Unit might read what we do not.
 */

static const char  *ngx_http_unit_policy_cond_watches[] = {
    "data",
    "data.attributes",
    "data.attributes.idempotencyKey",
    "data[]",
    "data[].attributes",
    "data[].attributes.idempotencyKey",

    "data.relationships",
    "data.relationships.customer",
    "data.relationships.customer.data",
    "data.relationships.customer.data.id",
    "data.relationships.customers",
    "data.relationships.customers.data",
    "data.relationships.customers.data[]",
    "data.relationships.customers.data[].id",

    "data[].relationships",
    "data[].relationships.customer",
    "data[].relationships.customer.data",
    "data[].relationships.customer.data.id",
    "data[].relationships.customers",
    "data[].relationships.customers.data",
    "data[].relationships.customers.data[]",
    "data[].relationships.customers.data[].id",

    "data.type",
    "data.id",
    "data.attributes.phone",
    "data.attributes.jwtSubject",
    "data.attributes.authorizedUsers",
    "data.attributes.contact",
    "data.attributes.contact.phone",
    "data.attributes.contact.jwtSubject",

    "data[].type",
    "data[].attributes.phone",
    "data[].attributes.jwtSubject",
    "data[].attributes.authorizedUsers",
    "data[].attributes.contact",
    "data[].attributes.contact.phone",
    "data[].attributes.contact.jwtSubject",

    NULL
};


ngx_int_t
ngx_http_unit_policy_watch_init(ngx_http_unit_policy_load_t *ctx)
{
    ngx_uint_t    i, watch;
    const char  **path;

    ctx->policy->watch = ngx_http_unit_json_watch_create(ctx->pool, 1);
    if (ctx->policy->watch == NULL) {
        return NGX_ERROR;
    }

    path = ngx_http_unit_policy_cond_watches;

    for (i = 0; path[i]; i++) {

        if (ngx_http_unit_policy_cond_watch(ctx, path[i], ngx_strlen(path[i]),
                                            &watch)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        /* the enums rely on it */
        if (watch != i) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_cond_watch(ngx_http_unit_policy_load_t *ctx,
    const char *path, size_t len, ngx_uint_t *watch)
{
    ngx_int_t  id;
    ngx_str_t  s;

    *watch = 0;

    s.data = (u_char *) path;
    s.len = len;

    id = ngx_http_unit_json_watch_add(ctx->policy->watch, &s);
    if (id == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (id >= NGX_HTTP_UNIT_POLICY_MAX_WATCHES) {
        return ngx_http_unit_policy_fail(ctx, "more than %d body paths",
                                         NGX_HTTP_UNIT_POLICY_MAX_WATCHES);
    }

    *watch = id;

    return NGX_OK;
}


/* data, data.name.name or data[].name.name */

static ngx_int_t
ngx_http_unit_policy_cond_path(ngx_http_unit_policy_load_t *ctx,
    const char *path)
{
    size_t       len;
    ngx_uint_t   depth;
    const char  *p;

    if (ngx_strncmp(path, "data", 4) != 0) {
        goto invalid;
    }

    p = path + 4;

    if (p[0] == '\0') {
        return NGX_OK;
    }

    if (p[0] == '[' && p[1] == ']') {
        p += 2;
    }

    for (depth = 1; depth < NGX_HTTP_UNIT_POLICY_MAX_DEPTH; depth++) {

        if (*p != '.') {
            goto invalid;
        }

        p++;
        len = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_-"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (len == 0 || len > NGX_HTTP_UNIT_POLICY_MAX_NAME) {
            goto invalid;
        }

        p += len;

        if (*p == '\0') {
            return NGX_OK;
        }
    }

invalid:

    return ngx_http_unit_policy_fail(ctx, "bad body path \"%s\"", path);
}


ngx_int_t
ngx_http_unit_policy_load_cond(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_policy_cond_t *cond, const char *path, json_t *json)
{
    void       *iter;
    json_t     *value;
    ngx_int_t   rc;

    rc = ngx_http_unit_policy_cond_path(ctx, path);
    if (rc != NGX_OK) {
        return rc;
    }

    if (path[4] == '.') {
        cond->data = NGX_HTTP_UNIT_JSON_OBJECT;

    } else if (path[4] == '[') {
        cond->data = NGX_HTTP_UNIT_JSON_ARRAY;
    }

    rc = ngx_http_unit_policy_cond_watch(ctx, path, ngx_strlen(path),
                                         &cond->watch);
    if (rc != NGX_OK) {
        return rc;
    }

    cond->kind = NGX_HTTP_UNIT_POLICY_EQUAL;

    if (!json_is_object(json) && !json_is_array(json)) {
        return ngx_http_unit_policy_cond_values(ctx, cond, path, json);
    }

    if (json_object_size(json) == 1) {
        iter = json_object_iter(json);
        value = json_object_iter_value(iter);

        if (ngx_strcmp(json_object_iter_key(iter), "exists") == 0
            && json_is_boolean(value))
        {
            cond->kind = json_is_true(value) ? NGX_HTTP_UNIT_POLICY_PRESENT
                                             : NGX_HTTP_UNIT_POLICY_ABSENT;
            return NGX_OK;
        }

        if (ngx_strcmp(json_object_iter_key(iter), "not") == 0
            && !json_is_array(value))
        {
            cond->kind = NGX_HTTP_UNIT_POLICY_NOT;
            return ngx_http_unit_policy_cond_values(ctx, cond, path, value);
        }

        if (ngx_strcmp(json_object_iter_key(iter), "in") == 0
            && json_array_size(value) > 0)
        {
            return ngx_http_unit_policy_cond_values(ctx, cond, path, value);
        }
    }

    return ngx_http_unit_policy_fail(ctx, "bad condition for \"%s\"", path);
}


/* one value, or an array of them */

static ngx_int_t
ngx_http_unit_policy_cond_values(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_policy_cond_t *cond, const char *path, json_t *json)
{
    size_t      i, n;
    ngx_int_t   rc;

    n = json_is_array(json) ? json_array_size(json) : 1;

    cond->values = ngx_pcalloc(ctx->pool,
                               (n + 1) * sizeof(ngx_http_unit_policy_value_t));
    if (cond->values == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        rc = ngx_http_unit_policy_cond_value(ctx, &cond->values[i], path,
                        json_is_array(json) ? json_array_get(json, i) : json);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    cond->nvalues = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_cond_value(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_policy_value_t *value, const char *path, json_t *json)
{
    switch (json ? json_typeof(json) : JSON_NULL) {

    case JSON_TRUE:
        value->type = NGX_HTTP_UNIT_JSON_TRUE;
        return NGX_OK;

    case JSON_FALSE:
        value->type = NGX_HTTP_UNIT_JSON_FALSE;
        return NGX_OK;

    case JSON_STRING:
        value->type = NGX_HTTP_UNIT_JSON_STRING;
        return ngx_http_unit_policy_string(ctx, json, &value->text);

    default:
        /* 1, 1.0 and 10e-1 are one number: too many spellings to compare */
        return ngx_http_unit_policy_fail(ctx, "value for \"%s\" is neither a "
                                         "string nor a boolean", path);
    }
}


ngx_int_t
ngx_http_unit_policy_load_step_up(ngx_http_unit_policy_load_t *ctx,
    ngx_array_t *list, const char *path)
{
    size_t                           len;
    ngx_int_t                        rc;
    ngx_uint_t                       i, watch;
    ngx_http_unit_policy_step_up_t  *step;

    rc = ngx_http_unit_policy_cond_path(ctx, path);
    if (rc != NGX_OK) {
        return rc;
    }

    if (path[4] != '.') {
        return ngx_http_unit_policy_fail(ctx, "bad body path \"%s\"", path);
    }

    /* what contains the member first: data.attributes, ... */

    for (len = 5; len <= ngx_strlen(path); len++) {

        if (path[len] != '.' && path[len] != '\0') {
            continue;
        }

        rc = ngx_http_unit_policy_cond_watch(ctx, path, len, &watch);
        if (rc != NGX_OK) {
            return rc;
        }

        step = list->elts;

        for (i = 0; i < list->nelts; i++) {
            if (step[i].watch == (ngx_int_t) watch
                && step[i].container == (path[len] == '.'))
            {
                break;
            }
        }

        if (i < list->nelts) {
            continue;
        }

        step = ngx_array_push(list);
        if (step == NULL) {
            return NGX_ERROR;
        }

        step->watch = watch;
        step->container = (path[len] == '.');
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_policy_same_match(const ngx_http_unit_policy_match_t *a,
    const ngx_http_unit_policy_match_t *b)
{
    ngx_uint_t                          i, j, k;
    const ngx_http_unit_policy_cond_t  *ca, *cb;

    if (a->nconds != b->nconds) {
        return 0;
    }

    for (i = 0; i < a->nconds; i++) {
        ca = &a->conds[i];
        cb = NULL;

        for (j = 0; j < b->nconds; j++) {
            cb = &b->conds[j];

            if (ca->watch == cb->watch) {
                break;
            }
        }

        if (j == b->nconds || ca->kind != cb->kind
            || ca->nvalues != cb->nvalues)
        {
            return 0;
        }

        for (k = 0; k < ca->nvalues; k++) {

            if (ca->values[k].type != cb->values[k].type
                || ca->values[k].text.len != cb->values[k].text.len)
            {
                return 0;
            }

            if (ca->values[k].text.len
                && ngx_memcmp(ca->values[k].text.data, cb->values[k].text.data,
                              ca->values[k].text.len)
                   != 0)
            {
                return 0;
            }
        }
    }

    return 1;
}
