
/*
 * POST /customers/ID/token: a token for the scopes asked for, with a
 * verification (_otp.c) or without.  The token stays here; the client goes on
 * with its own (DESIGN 5.3), but for the card vault (5.4).
 */


#include "ngx_http_unit_token.h"
#include "ngx_http_unit_two_factor.h"


#define NGX_HTTP_UNIT_SESSION_IDS  100


static ngx_int_t ngx_http_unit_session_begin(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes,
    ngx_http_unit_code_e *code, const char **reason);
static ngx_int_t ngx_http_unit_session_scopes(ngx_http_unit_two_factor_t *tf,
    json_t *attributes, ngx_http_unit_code_e *code, const char **reason);
static ngx_int_t ngx_http_unit_session_scope(ngx_http_unit_two_factor_t *tf,
    ngx_str_t *name, ngx_http_unit_code_e *code, const char **reason);
static ngx_int_t ngx_http_unit_session_plain(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_uint_t ngx_http_unit_session_resources(json_t *resources);


static const char  *ngx_http_unit_session_attributes[] = {
    "scope", "verificationToken", "verificationCode", "expiresIn",
    "resources", NULL
};


ngx_int_t
ngx_http_unit_session(ngx_http_request_t *r, ngx_http_unit_two_factor_t *tf,
    ngx_http_unit_code_e *code, const char **reason)
{
    json_t     *root, *attributes;
    ngx_int_t   rc;

    if (tf->plain) {
        return ngx_http_unit_session_plain(r, tf, code, reason);
    }

    attributes = ngx_http_unit_two_factor_attributes(tf->ctx, "customerToken",
                                           ngx_http_unit_session_attributes,
                                           &root, code, reason);
    if (attributes == NULL) {
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_session_begin(r, tf, attributes, code, reason);

    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_unit_session_begin(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes,
    ngx_http_unit_code_e *code, const char **reason)
{
    json_t      *expires, *handle, *otp, *resources;
    ngx_int_t    rc;
    json_int_t   seconds;

    *code = NGX_HTTP_UNIT_INVALID_BODY;

    expires = json_object_get(attributes, "expiresIn");

    if (expires) {
        seconds = json_integer_value(expires);

        if (!json_is_integer(expires) || seconds < 1
            || seconds > NGX_HTTP_UNIT_TWO_FACTOR_MAX_AGE)
        {
            *reason = "expires_in";
            return NGX_DECLINED;
        }

        tf->expires_in = (time_t) seconds;
    }

    handle = json_object_get(attributes, "verificationToken");
    otp = json_object_get(attributes, "verificationCode");
    resources = json_object_get(attributes, "resources");

    if ((handle && !json_is_string(handle))
        || (otp && !json_is_string(otp))
        || (handle && !otp)
        || (resources && (!otp || !ngx_http_unit_session_resources(resources))))
    {
        /* a token narrowed to resources could not serve other requests */

        *reason = "verification_fields";
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_session_scopes(tf, attributes, code, reason);

    if (rc != NGX_OK) {
        return rc;
    }

    if (otp) {
        return ngx_http_unit_otp(r, tf, attributes, code, reason);
    }

    return ngx_http_unit_session_plain(r, tf, code, reason);
}


static ngx_int_t
ngx_http_unit_session_scopes(ngx_http_unit_two_factor_t *tf,
    json_t *attributes, ngx_http_unit_code_e *code, const char **reason)
{
    u_char      *p, *last;
    json_t      *value;
    ngx_int_t    rc;
    ngx_str_t    name;

    value = json_object_get(attributes, "scope");

    *code = NGX_HTTP_UNIT_INVALID_BODY;
    *reason = "scope";

    if (!json_is_string(value) || json_string_length(value) == 0) {
        return NGX_DECLINED;
    }

    p = (u_char *) json_string_value(value);
    last = p + json_string_length(value);

    for ( ;; ) {

        /* names separated by single spaces (RFC 6749 3.3) */

        name.data = p;

        while (p < last && *p != ' ') {
            p++;
        }

        name.len = p - name.data;

        rc = ngx_http_unit_session_scope(tf, &name, code, reason);

        if (rc != NGX_OK) {
            return rc;
        }

        if (p == last) {
            return NGX_OK;
        }

        p++;
    }
}


static ngx_int_t
ngx_http_unit_session_scope(ngx_http_unit_two_factor_t *tf, ngx_str_t *name,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                            n;
    ngx_http_unit_ctx_t                 *ctx;
    const ngx_http_unit_policy_scope_t  *scope;

    ctx = tf->ctx;

    n = ngx_http_unit_policy_find_scope(ctx->umcf->policy, name);

    if (n < 0) {
        *code = NGX_HTTP_UNIT_INVALID_BODY;
        *reason = "scope_unknown";
        return NGX_DECLINED;
    }

    scope = ngx_http_unit_policy_scope(ctx->umcf->policy, (ngx_uint_t) n);

    if (!scope->customer
        || !ngx_http_unit_scopes_has(&ctx->caller.ceiling, (ngx_uint_t) n)
        || (scope->write && ctx->caller.read_only)
        || ctx->caller.no_role)
    {
        ctx->challenge = scope->name;
        *code = NGX_HTTP_UNIT_INSUFFICIENT_SCOPE;
        *reason = "scope_not_held";
        return NGX_DECLINED;
    }

    ngx_http_unit_scopes_add(&tf->scopes, (ngx_uint_t) n);

    return NGX_OK;
}


/* make, ahead of its use, a token that needs no second factor */

static ngx_int_t
ngx_http_unit_session_plain(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, ngx_http_unit_code_e *code,
    const char **reason)
{
    time_t                      seconds;
    ngx_int_t                   rc;
    ngx_uint_t                  i, n;
    ngx_http_unit_ctx_t        *ctx;
    ngx_http_unit_store_req_t  *req;

    ctx = tf->ctx;

    if (!tf->plain) {

        n = ngx_http_unit_policy_nscopes(ctx->umcf->policy);

        for (i = 0; i < n; i++) {

            if (!ngx_http_unit_scopes_has(&tf->scopes, i)
                || !ngx_http_unit_policy_scope(ctx->umcf->policy, i)
                        ->two_factor)
            {
                continue;
            }

            if (ngx_http_unit_token_names(r->pool, ctx->umcf->policy,
                                          &tf->scopes, &ctx->challenge)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            *code = NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED;
            *reason = "scope_two_factor";
            return NGX_DECLINED;
        }

        tf->plain = 1;
    }

    rc = ngx_http_unit_token_customer(r, ctx, &tf->scopes, &req, code);

    if (rc != NGX_OK) {
        *reason = "token_not_created";
        return rc;
    }

    seconds = (time_t) (req->ttl / 1000);

    ngx_explicit_memzero(req->value.data, req->value.len);

    if (ngx_http_unit_session_answer(tf, &ctx->bearer, seconds) != NGX_OK) {
        return NGX_ERROR;
    }

    /* answered by the caller of this step, which looks at fetch.done */

    tf->fetching = 1;
    tf->fetch.done = 1;

    return ngx_http_unit_two_factor(r, ctx, code, reason);
}


ngx_int_t
ngx_http_unit_session_answer(ngx_http_unit_two_factor_t *tf, ngx_str_t *token,
    time_t seconds)
{
    u_char               *p;
    size_t                len;
    time_t                left;
    ngx_http_unit_ctx_t  *ctx;

    static const char  format[] =
        "{\"data\":{\"type\":\"customerBearerToken\",\"attributes\":"
        "{\"token\":\"%V\",\"expiresIn\":%T}}}";

    ctx = tf->ctx;

    if (!tf->handoff) {
        left = ctx->identity.exp - ngx_time();
        seconds = ngx_min(seconds, ngx_max(left, 0));
    }

    if (tf->expires_in) {
        seconds = ngx_min(seconds, tf->expires_in);
    }

    len = sizeof(format) + token->len + NGX_TIME_T_LEN;

    p = ngx_pnalloc(ctx->request->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    tf->answer.data = p;
    tf->answer.len = ngx_snprintf(p, len, format, token, seconds) - p;

    return NGX_OK;
}


/* [{"type": "card" | "account", "ids": ["1", ...]}, ...] */

static ngx_uint_t
ngx_http_unit_session_resources(json_t *resources)
{
    size_t       i, n;
    json_t      *resource, *ids, *id;
    const char  *type;

    if (!json_is_array(resources) || json_array_size(resources) == 0
        || json_array_size(resources) > 2)
    {
        return 0;
    }

    json_array_foreach(resources, i, resource) {

        type = json_string_value(json_object_get(resource, "type"));
        ids = json_object_get(resource, "ids");

        if (json_object_size(resource) != 2 || type == NULL
            || (ngx_strcmp(type, "card") != 0
                && ngx_strcmp(type, "account") != 0)
            || !json_is_array(ids) || json_array_size(ids) == 0
            || json_array_size(ids) > NGX_HTTP_UNIT_SESSION_IDS)
        {
            return 0;
        }

        json_array_foreach(ids, n, id) {
            if (!json_is_string(id) || json_string_length(id) == 0
                || json_string_length(id) > 64)
            {
                return 0;
            }
        }
    }

    return 1;
}
