
/*
 * The members of an operation in the table: one small function each, called
 * in the order of the table below.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy_int.h"


typedef struct {
    const char   *name;
    ngx_uint_t    value;
} ngx_http_unit_policy_word_t;


typedef ngx_int_t (*ngx_http_unit_policy_member_pt)(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);

typedef struct {
    const char                       *name;
    ngx_http_unit_policy_member_pt    load;
    ngx_uint_t                        required;
} ngx_http_unit_policy_member_t;


static ngx_int_t ngx_http_unit_policy_member_check(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op);

static ngx_int_t ngx_http_unit_policy_member_name(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_word(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_flag(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_text(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_body(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_any(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_partial(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_steps(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_timeout(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);
static ngx_int_t ngx_http_unit_policy_member_note(
    ngx_http_unit_policy_load_t *ctx, ngx_http_unit_operation_t *op,
    const char *member, json_t *value);


/*
 * In the order of loading.  Whatever a decision hangs on is required: leaving
 * it out must not weaken anything.
 */

static const ngx_http_unit_policy_member_t  ngx_http_unit_policy_members[] = {
    { "name",           ngx_http_unit_policy_member_name,     1 },
    { "method",         ngx_http_unit_policy_member_word,     1 },
    { "path",           ngx_http_unit_policy_member_text,     1 },
    { "body",           ngx_http_unit_policy_member_body,     1 },
    { "scopes",         ngx_http_unit_policy_member_any,      1 },
    { "partial_scopes", ngx_http_unit_policy_member_partial,  0 },
    { "token",          ngx_http_unit_policy_member_word,     1 },
    { "two_factor",     ngx_http_unit_policy_member_flag,     1 },
    { "step_up",        ngx_http_unit_policy_member_steps,    0 },
    { "timeout",        ngx_http_unit_policy_member_timeout,  1 },
    { "idempotency",    ngx_http_unit_policy_member_text,     1 },
    { "moves_funds",    ngx_http_unit_policy_member_flag,     1 },
    { "pci",            ngx_http_unit_policy_member_flag,     1 },
    { "required_query", ngx_http_unit_policy_member_note,     0 },
    { "pin_user",       ngx_http_unit_policy_member_flag,     0 },
    { "content_types",  ngx_http_unit_policy_member_note,     0 },
    { "default",        ngx_http_unit_policy_member_word,     1 },
    { "serve",          ngx_http_unit_policy_member_word,     1 },
    { NULL, NULL, 0 }
};


static const ngx_http_unit_policy_word_t  ngx_http_unit_policy_methods[] = {
    { "GET",    NGX_HTTP_UNIT_METHOD_GET },
    { "POST",   NGX_HTTP_UNIT_METHOD_POST },
    { "PUT",    NGX_HTTP_UNIT_METHOD_PUT },
    { "PATCH",  NGX_HTTP_UNIT_METHOD_PATCH },
    { "DELETE", NGX_HTTP_UNIT_METHOD_DELETE },
    { NULL, 0 }
};

static const ngx_http_unit_policy_word_t  ngx_http_unit_policy_tokens[] = {
    { "both",     NGX_HTTP_UNIT_TOKEN_BOTH },
    { "org",      NGX_HTTP_UNIT_TOKEN_ORG },
    { "customer", NGX_HTTP_UNIT_TOKEN_CUSTOMER },
    { NULL, 0 }
};

static const ngx_http_unit_policy_word_t  ngx_http_unit_policy_defaults[] = {
    { "allow",    NGX_HTTP_UNIT_POLICY_ALLOW },
    { "deny",     NGX_HTTP_UNIT_POLICY_DENY },
    { "org_only", NGX_HTTP_UNIT_POLICY_ORG_ONLY },
    { "sandbox",  NGX_HTTP_UNIT_POLICY_SANDBOX },
    { "pci",      NGX_HTTP_UNIT_POLICY_PCI },
    { NULL, 0 }
};

static const ngx_http_unit_policy_word_t  ngx_http_unit_policy_serves[] = {
    { "proxy",        NGX_HTTP_UNIT_SERVE_PROXY },
    { "token",        NGX_HTTP_UNIT_SERVE_TOKEN },
    { "verification", NGX_HTTP_UNIT_SERVE_VERIFICATION },
    { "token_status", NGX_HTTP_UNIT_SERVE_TOKEN_STATUS },
    { "token_forget", NGX_HTTP_UNIT_SERVE_TOKEN_FORGET },
    { NULL, 0 }
};



ngx_int_t
ngx_http_unit_policy_load_members(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, json_t *json)
{
    json_t                               *value;
    ngx_int_t                             rc;
    const char                           *key;
    const ngx_http_unit_policy_member_t  *m;

    for (m = ngx_http_unit_policy_members; m->name; m++) {
        value = json_object_get(json, m->name);

        if (value == NULL) {
            if (m->required) {
                return ngx_http_unit_policy_fail(ctx, "no \"%s\"", m->name);
            }

            continue;
        }

        rc = m->load(ctx, op, m->name, value);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    json_object_foreach(json, key, value) {

        for (m = ngx_http_unit_policy_members; m->name; m++) {
            if (ngx_strcmp(key, m->name) == 0) {
                break;
            }
        }

        if (m->name == NULL) {
            return ngx_http_unit_policy_fail(ctx, "unknown member \"%s\"", key);
        }
    }

    return ngx_http_unit_policy_member_check(ctx, op);
}


/* what the members must be to one another */

static ngx_int_t
ngx_http_unit_policy_member_check(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op)
{
    if (op->method == NGX_HTTP_UNIT_METHOD_GET
        && (op->body || op->family.len))
    {
        return ngx_http_unit_policy_fail(ctx, "\"GET\" with a \"body\" or an "
                                         "\"idempotency\" family");
    }

    if (op->step_up && !op->body) {
        return ngx_http_unit_policy_fail(ctx,
                                     "\"step_up\" without a \"body\" match");
    }

    if (op->pin_user && (op->method != NGX_HTTP_UNIT_METHOD_GET
                         || op->token != NGX_HTTP_UNIT_TOKEN_ORG))
    {
        return ngx_http_unit_policy_fail(ctx, "\"pin_user\" is for \"GET\" "
                                         "with token \"org\"");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_member_name(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    if (ngx_http_unit_policy_string(ctx, value, &op->name) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_unit_policy_is_name(&op->name)) {
        return ngx_http_unit_policy_fail(ctx, "bad \"name\"");
    }

    ctx->name = op->name;

    if (ngx_http_unit_policy_find(ctx->policy, &op->name) != NULL) {
        return ngx_http_unit_policy_fail(ctx, "duplicate operation");
    }

    return ngx_http_unit_policy_map_add(ctx->pool, &ctx->policy->names,
                                        &op->name, op);
}


static ngx_int_t
ngx_http_unit_policy_member_word(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    const char                         *s;
    const ngx_http_unit_policy_word_t  *w;

    switch (member[0]) {
    case 'm':
        w = ngx_http_unit_policy_methods;
        break;
    case 't':
        w = ngx_http_unit_policy_tokens;
        break;
    case 'd':
        w = ngx_http_unit_policy_defaults;
        break;
    default: /* 's' */
        w = ngx_http_unit_policy_serves;
        break;
    }

    s = json_string_value(value);

    while (s != NULL && w->name && ngx_strcmp(s, w->name) != 0) {
        w++;
    }

    if (s == NULL || w->name == NULL) {
        return ngx_http_unit_policy_fail(ctx, "unknown \"%s\"%s%s", member,
                                         s ? " " : "", s ? s : "");
    }

    switch (member[0]) {
    case 'm':
        op->method = w->value;
        break;
    case 't':
        op->token = w->value;
        break;
    case 'd':
        op->dflt = w->value;
        break;
    default: /* 's' */
        op->serve = w->value;
        break;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_member_flag(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    ngx_uint_t  flag;

    if (!json_is_boolean(value)) {
        return ngx_http_unit_policy_fail(ctx, "\"%s\" is no boolean", member);
    }

    flag = json_is_true(value) ? 1 : 0;

    if (ngx_strcmp(member, "two_factor") == 0) {
        op->two_factor = flag;

    } else if (ngx_strcmp(member, "moves_funds") == 0) {
        op->moves_funds = flag;

    } else if (ngx_strcmp(member, "pci") == 0) {
        op->pci = flag;

    } else {
        op->pin_user = flag;
    }

    return NGX_OK;
}


/* path is checked when it is added to the tree */

static ngx_int_t
ngx_http_unit_policy_member_text(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    if (member[0] == 'p') {

        if (ngx_http_unit_policy_string(ctx, value, &op->path) != NGX_OK) {
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (json_is_null(value)) {
        return NGX_OK;
    }

    if (ngx_http_unit_policy_string(ctx, value, &op->family) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_unit_policy_is_name(&op->family)) {
        return ngx_http_unit_policy_fail(ctx, "bad \"%s\"", member);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_member_body(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    json_t                        *item;
    size_t                         n;
    ngx_int_t                      rc;
    const char                    *path;
    ngx_http_unit_policy_match_t  *match;

    if (json_is_null(value)) {
        return NGX_OK;
    }

    n = json_object_size(value);

    if (n == 0 || n > NGX_HTTP_UNIT_POLICY_MAX_CONDITIONS) {
        return ngx_http_unit_policy_fail(ctx, "\"%s\" is neither null nor an "
                                         "object of 1 to %d conditions", member,
                                         NGX_HTTP_UNIT_POLICY_MAX_CONDITIONS);
    }

    match = op->match;

    match->conds = ngx_pcalloc(ctx->pool,
                               n * sizeof(ngx_http_unit_policy_cond_t));
    if (match->conds == NULL) {
        return NGX_ERROR;
    }

    json_object_foreach(value, path, item) {

        rc = ngx_http_unit_policy_load_cond(ctx, &match->conds[match->nconds],
                                            path, item);
        if (rc != NGX_OK) {
            return rc;
        }

        match->nconds++;
    }

    op->body = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_member_any(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    json_t      *item;
    size_t       n;
    ngx_int_t    scope;
    ngx_str_t    name;
    ngx_uint_t   i, j;

    n = json_array_size(value);

    if (!json_is_array(value) || n > NGX_HTTP_UNIT_POLICY_MAX_SCOPES_ANY) {
        return ngx_http_unit_policy_fail(ctx,
                                     "\"%s\" is not an array of at most %d",
                                     member,
                                     NGX_HTTP_UNIT_POLICY_MAX_SCOPES_ANY);
    }

    for (i = 0; i < n; i++) {
        item = json_array_get(value, i);

        if (ngx_http_unit_policy_string(ctx, item, &name) != NGX_OK) {
            return NGX_ERROR;
        }

        scope = ngx_http_unit_policy_find_scope(ctx->policy, &name);

        if (scope == NGX_DECLINED) {
            return ngx_http_unit_policy_fail(ctx, "unknown scope \"%V\"",
                                             &name);
        }

        for (j = 0; j < i; j++) {
            if (op->scopes[j] == (ngx_uint_t) scope) {
                return ngx_http_unit_policy_fail(ctx, "scope \"%V\" twice",
                                                 &name);
            }
        }

        op->scopes[i] = scope;
    }

    op->nscopes = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_member_partial(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    json_t                        *item;
    size_t                         i;
    ngx_int_t                      scope;
    ngx_str_t                      name;
    ngx_uint_t                     j;
    ngx_http_unit_policy_match_t  *match;

    if (!json_is_array(value)) {
        return ngx_http_unit_policy_fail(ctx, "\"%s\" is no array", member);
    }

    match = op->match;

    json_array_foreach(value, i, item) {

        if (ngx_http_unit_policy_string(ctx, item, &name) != NGX_OK) {
            return NGX_ERROR;
        }

        scope = ngx_http_unit_policy_find_scope(ctx->policy, &name);

        for (j = 0; j < op->nscopes; j++) {
            if (scope == (ngx_int_t) op->scopes[j]) {
                break;
            }
        }

        if (j == op->nscopes) {
            return ngx_http_unit_policy_fail(ctx, "partial scope \"%V\" is not "
                                             "among its scopes", &name);
        }

        match->partial |= (ngx_uint_t) 1 << j;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_member_steps(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    json_t                          *item;
    size_t                           i;
    ngx_int_t                        rc;
    ngx_array_t                      list;
    ngx_http_unit_policy_step_up_t  *step;

    if (json_array_size(value) == 0) {
        return ngx_http_unit_policy_fail(ctx, "\"%s\" is no array of paths",
                                         member);
    }

    if (ngx_array_init(&list, ctx->pool, 8,
                       sizeof(ngx_http_unit_policy_step_up_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    json_array_foreach(value, i, item) {

        if (!json_is_string(item)) {
            return ngx_http_unit_policy_fail(ctx, "\"%s\" is no array of paths",
                                             member);
        }

        rc = ngx_http_unit_policy_load_step_up(ctx, &list,
                                               json_string_value(item));
        if (rc != NGX_OK) {
            return rc;
        }
    }

    step = ngx_array_push(&list);
    if (step == NULL) {
        return NGX_ERROR;
    }

    step->watch = -1;
    step->container = 0;

    op->step_up = list.elts;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_policy_member_timeout(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    json_int_t  n;

    /* 0 when it is no integer */
    n = json_integer_value(value);

    if (n != 5 && n != 60 && n != 120) {
        return ngx_http_unit_policy_fail(ctx, "\"%s\" is not 5, 60 or 120",
                                         member);
    }

    op->timeout = (ngx_uint_t) n;

    return NGX_OK;
}


/* for readers of the table: checked, not used */

static ngx_int_t
ngx_http_unit_policy_member_note(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, const char *member, json_t *value)
{
    json_t  *item;
    size_t   i;

    if (!json_is_array(value)) {
        return ngx_http_unit_policy_fail(ctx, "\"%s\" is no array", member);
    }

    json_array_foreach(value, i, item) {

        if (!json_is_string(item)) {
            return ngx_http_unit_policy_fail(ctx,
                                             "\"%s\" is no array of strings",
                                             member);
        }

        if (ngx_strcmp(member, "content_types") == 0
            && ngx_strcmp(json_string_value(item), "application/json") == 0)
        {
            op->plain_json = 1;
        }
    }

    return NGX_OK;
}
