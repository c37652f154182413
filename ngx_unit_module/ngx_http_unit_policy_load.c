
/*
 * Loading of the operations table (conf/operations.json, docs/policy.md).
 * Runs at configuration time only.  Strict: what is not understood is an
 * error with the operation and the member named, because a member that is
 * skipped could be the one that denies something.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_policy_int.h"


#define NGX_HTTP_UNIT_POLICY_VERSION  1


static ngx_int_t ngx_http_unit_policy_load_document(
    ngx_http_unit_policy_load_t *ctx, json_t *root);
static ngx_int_t ngx_http_unit_policy_load_scopes(
    ngx_http_unit_policy_load_t *ctx, json_t *list);
static ngx_int_t ngx_http_unit_policy_load_scope(
    ngx_http_unit_policy_load_t *ctx, json_t *json);
static ngx_int_t ngx_http_unit_policy_load_fingerprint(
    ngx_http_unit_policy_load_t *ctx);
static ngx_int_t ngx_http_unit_policy_load_operations(
    ngx_http_unit_policy_load_t *ctx, json_t *list);
static ngx_int_t ngx_http_unit_policy_load_operation(
    ngx_http_unit_policy_load_t *ctx, json_t *json);

ngx_int_t
ngx_http_unit_policy_load(ngx_pool_t *pool, const u_char *text, size_t len,
    ngx_http_unit_policy_t **out, ngx_str_t *error)
{
    json_t                       *root;
    ngx_int_t                     rc;
    json_error_t                  e;
    ngx_http_unit_policy_load_t   ctx;

    *out = NULL;
    ngx_str_null(error);

    ngx_memzero(&ctx, sizeof(ngx_http_unit_policy_load_t));

    ctx.pool = pool;
    ctx.error = error;

    ctx.policy = ngx_pcalloc(pool, sizeof(ngx_http_unit_policy_t));
    if (ctx.policy == NULL) {
        return NGX_ERROR;
    }

    root = json_loadb((const char *) text, len, JSON_REJECT_DUPLICATES, &e);
    if (root == NULL) {

        if (json_error_code(&e) == json_error_out_of_memory) {
            return NGX_ERROR;
        }

        return ngx_http_unit_policy_fail(&ctx, "not valid JSON, line %d: %s",
                                         e.line, e.text);
    }

    rc = ngx_http_unit_policy_load_document(&ctx, root);

    json_decref(root);

    if (rc == NGX_OK) {
        *out = ctx.policy;
    }

    return rc;
}


ngx_int_t
ngx_http_unit_policy_fail(ngx_http_unit_policy_load_t *ctx, const char *fmt,
    ...)
{
    u_char   *p, *last;
    va_list   args;

    p = ngx_pnalloc(ctx->pool, NGX_MAX_ERROR_STR);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->error->data = p;
    last = p + NGX_MAX_ERROR_STR;

    if (ctx->name.len) {
        p = ngx_slprintf(p, last, "%s[%ui] \"%V\": ", ctx->what, ctx->index,
                         &ctx->name);

    } else if (ctx->what != NULL) {
        p = ngx_slprintf(p, last, "%s[%ui]: ", ctx->what, ctx->index);
    }

    va_start(args, fmt);
    p = ngx_vslprintf(p, last, fmt, args);
    va_end(args);

    ctx->error->len = p - ctx->error->data;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_unit_policy_load_document(ngx_http_unit_policy_load_t *ctx,
    json_t *root)
{
    json_t      *value, *scopes, *operations;
    ngx_int_t    rc;
    ngx_uint_t   version;
    const char  *key;

    if (!json_is_object(root)) {
        return ngx_http_unit_policy_fail(ctx, "not an object");
    }

    version = 0;
    scopes = NULL;
    operations = NULL;

    json_object_foreach(root, key, value) {

        if (ngx_strcmp(key, "version") == 0) {
            version = json_is_integer(value)
                      && json_integer_value(value)
                         == NGX_HTTP_UNIT_POLICY_VERSION;

        } else if (ngx_strcmp(key, "scopes") == 0) {
            scopes = value;

        } else if (ngx_strcmp(key, "operations") == 0) {
            operations = value;

        } else {
            return ngx_http_unit_policy_fail(ctx, "unknown member \"%s\"", key);
        }
    }

    if (version == 0) {
        return ngx_http_unit_policy_fail(ctx, "\"version\" is not %d",
                                         NGX_HTTP_UNIT_POLICY_VERSION);
    }

    rc = ngx_http_unit_policy_load_scopes(ctx, scopes);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx->what = NULL;
    ngx_str_null(&ctx->name);

    return ngx_http_unit_policy_load_operations(ctx, operations);
}


static ngx_int_t
ngx_http_unit_policy_load_scopes(ngx_http_unit_policy_load_t *ctx, json_t *list)
{
    size_t      n;
    ngx_int_t   rc;

    n = json_array_size(list);

    if (n == 0 || n > NGX_HTTP_UNIT_SCOPE_MAX) {
        return ngx_http_unit_policy_fail(ctx,
                                     "\"scopes\" is not an array of 1 to %d",
                                     NGX_HTTP_UNIT_SCOPE_MAX);
    }

    ctx->policy->scopes = ngx_pcalloc(ctx->pool,
                                  n * sizeof(ngx_http_unit_policy_scope_t));
    if (ctx->policy->scopes == NULL) {
        return NGX_ERROR;
    }

    ctx->what = "scopes";

    for (ctx->index = 0; ctx->index < n; ctx->index++) {
        ngx_str_null(&ctx->name);

        rc = ngx_http_unit_policy_load_scope(ctx,
                                            json_array_get(list, ctx->index));
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_unit_policy_load_fingerprint(ctx);
}


static ngx_int_t
ngx_http_unit_policy_load_scope(ngx_http_unit_policy_load_t *ctx, json_t *json)
{
    json_t                        *value;
    ngx_uint_t                     flag, seen;
    const char                    *key;
    ngx_http_unit_policy_scope_t  *scope;

    scope = &ctx->policy->scopes[ctx->index];

    if (ngx_http_unit_policy_string(ctx, json_object_get(json, "name"),
                                    &scope->name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!ngx_http_unit_policy_is_name(&scope->name)) {
        return ngx_http_unit_policy_fail(ctx, "bad \"name\"");
    }

    ctx->name = scope->name;
    seen = 0;

    json_object_foreach(json, key, value) {

        if (ngx_strcmp(key, "name") == 0) {
            continue;
        }

        if (!json_is_boolean(value)) {
            return ngx_http_unit_policy_fail(ctx,
                             "member \"%s\" is unknown or no boolean", key);
        }

        flag = json_is_true(value) ? 1 : 0;
        seen++;

        if (ngx_strcmp(key, "write") == 0) {
            scope->write = flag;

        } else if (ngx_strcmp(key, "two_factor") == 0) {
            scope->two_factor = flag;

        } else if (ngx_strcmp(key, "pci") == 0) {
            scope->pci = flag;

        } else if (ngx_strcmp(key, "customer") == 0) {
            scope->customer = flag;

        } else {
            return ngx_http_unit_policy_fail(ctx, "unknown member \"%s\"", key);
        }
    }

    if (seen != 4) {
        return ngx_http_unit_policy_fail(ctx, "\"write\", \"two_factor\", "
                                    "\"pci\" and \"customer\" are required");
    }

    if (ngx_http_unit_policy_find_scope(ctx->policy, &scope->name)
        != NGX_DECLINED)
    {
        return ngx_http_unit_policy_fail(ctx, "duplicate scope");
    }

    ctx->policy->nscopes++;

    return ngx_http_unit_policy_map_add(ctx->pool, &ctx->policy->scope_names,
                                        &scope->name, scope);
}


/* a scope is a bit by its index: tables that differ must not share bits */

static ngx_int_t
ngx_http_unit_policy_load_fingerprint(ngx_http_unit_policy_load_t *ctx)
{
    u_char                        *p;
    ngx_str_t                     *fields;
    ngx_uint_t                     i, n;
    ngx_http_unit_policy_scope_t  *scope;

    n = ctx->policy->nscopes;

    fields = ngx_palloc(ctx->pool, 2 * n * sizeof(ngx_str_t));
    p = ngx_pnalloc(ctx->pool, n);

    if (fields == NULL || p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        scope = &ctx->policy->scopes[i];

        p[i] = (u_char) (scope->write | scope->two_factor << 1
                         | scope->pci << 2 | scope->customer << 3);

        fields[2 * i] = scope->name;
        fields[2 * i + 1].data = &p[i];
        fields[2 * i + 1].len = 1;
    }

    return ngx_http_unit_sha256(fields, 2 * n, 0, ctx->policy->fingerprint);
}


static ngx_int_t
ngx_http_unit_policy_load_operations(ngx_http_unit_policy_load_t *ctx,
    json_t *list)
{
    size_t      n;
    ngx_int_t   rc;

    n = json_array_size(list);

    if (n == 0 || n > NGX_HTTP_UNIT_POLICY_MAX_OPERATIONS) {
        return ngx_http_unit_policy_fail(ctx,
                                 "\"operations\" is not an array of 1 to %d",
                                 NGX_HTTP_UNIT_POLICY_MAX_OPERATIONS);
    }

    ctx->policy->ops = ngx_pcalloc(ctx->pool,
                                   n * sizeof(ngx_http_unit_operation_t));
    if (ctx->policy->ops == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_unit_policy_watch_init(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->what = "operations";

    for (ctx->index = 0; ctx->index < n; ctx->index++) {
        ngx_str_null(&ctx->name);

        rc = ngx_http_unit_policy_load_operation(ctx,
                                            json_array_get(list, ctx->index));
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_load_operation(ngx_http_unit_policy_load_t *ctx,
    json_t *json)
{
    ngx_int_t                      rc;
    ngx_http_unit_operation_t     *op;
    ngx_http_unit_policy_match_t  *match;

    if (!json_is_object(json)) {
        return ngx_http_unit_policy_fail(ctx, "not an object");
    }

    match = ngx_pcalloc(ctx->pool, sizeof(ngx_http_unit_policy_match_t));
    if (match == NULL) {
        return NGX_ERROR;
    }

    op = &ctx->policy->ops[ctx->index];
    op->index = ctx->index;
    op->match = match;
    match->twin = op;

    rc = ngx_http_unit_policy_load_members(ctx, op, json);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx->policy->nops++;

    return ngx_http_unit_policy_insert(ctx, op);
}


ngx_int_t
ngx_http_unit_policy_string(ngx_http_unit_policy_load_t *ctx, json_t *json,
    ngx_str_t *out)
{
    size_t  len;

    ngx_str_null(out);

    if (!json_is_string(json)) {
        return NGX_OK;
    }

    len = json_string_length(json);

    out->data = ngx_pnalloc(ctx->pool, len + 1);
    if (out->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(out->data, json_string_value(json), len);
    out->len = len;

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_policy_is_name(const ngx_str_t *s)
{
    u_char      ch;
    ngx_uint_t  i;

    if (s->len == 0 || s->len > NGX_HTTP_UNIT_POLICY_MAX_NAME) {
        return 0;
    }

    for (i = 0; i < s->len; i++) {
        ch = s->data[i];

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9') && ch != '-') {
            return 0;
        }
    }

    return 1;
}
