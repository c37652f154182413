
/*
 * POST /customers/ID/token: a token for the scopes asked for, with a
 * verification or without.  The token stays here; the client goes on with its
 * own (DESIGN 5.3), but for the card vault (5.4).
 */


#include "ngx_http_unit_token.h"
#include "ngx_http_unit_two_factor.h"


#define NGX_HTTP_UNIT_SESSION_CODE_LEN  6
#define NGX_HTTP_UNIT_SESSION_SANDBOX   "000001"

/* of a token for the vault, in seconds */
#define NGX_HTTP_UNIT_SESSION_HANDOFF   300

#define NGX_HTTP_UNIT_SESSION_IDS       100


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
static ngx_int_t ngx_http_unit_session_verify(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes,
    ngx_http_unit_code_e *code, const char **reason);
static ngx_int_t ngx_http_unit_session_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes, ngx_str_t *token);
static void ngx_http_unit_session_done(ngx_http_unit_fetch_t *fetch);
static void ngx_http_unit_session_keep(ngx_http_unit_two_factor_t *tf,
    ngx_str_t *token, time_t seconds);
static ngx_int_t ngx_http_unit_session_answer(ngx_http_unit_two_factor_t *tf,
    ngx_str_t *token, time_t seconds);
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
        return ngx_http_unit_session_verify(r, tf, attributes, code, reason);
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


static ngx_int_t
ngx_http_unit_session_verify(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes,
    ngx_http_unit_code_e *code, const char **reason)
{
    size_t                i;
    json_t               *value;
    ngx_int_t             rc;
    ngx_str_t             otp, token;
    ngx_uint_t            sandbox;
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    if (ctx->identity.partner->two_factor_jwt) {
        *code = NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;
        *reason = "two_factor_jwt";
        return NGX_DECLINED;
    }

    value = json_object_get(attributes, "verificationCode");
    otp.data = (u_char *) json_string_value(value);
    otp.len = json_string_length(value);

    for (i = 0; i < otp.len; i++) {
        if (otp.data[i] < '0' || otp.data[i] > '9') {
            break;
        }
    }

    if (otp.len != NGX_HTTP_UNIT_SESSION_CODE_LEN || i != otp.len) {
        *code = NGX_HTTP_UNIT_INVALID_BODY;
        *reason = "verification_code";
        return NGX_DECLINED;
    }

    *code = NGX_HTTP_UNIT_VERIFICATION_FAILED;
    *reason = "verification_failed";

    sandbox = (ngx_memcmp(otp.data, NGX_HTTP_UNIT_SESSION_SANDBOX, otp.len)
               == 0);

    ngx_str_null(&token);

    value = json_object_get(attributes, "verificationToken");

    if (value == NULL) {

        /* what only Unit's sandbox knows */

        if (!sandbox || !ctx->ulcf->sandbox) {
            return NGX_DECLINED;
        }

        return ngx_http_unit_session_send(r, tf, attributes, &token);
    }

    tf->handle.len = json_string_length(value);
    tf->handle.data = ngx_pnalloc(r->pool, tf->handle.len);
    if (tf->handle.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(tf->handle.data, json_string_value(value), tf->handle.len);

    if (sandbox && !ctx->ulcf->sandbox) {
        ngx_http_unit_handle_wrong(ctx->umcf->shm, tf->owner, &tf->handle);
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_handle_take(ctx->umcf->shm, tf->owner, &tf->handle,
                                   r->pool, &token);

    if (rc != NGX_OK) {
        return rc;
    }

    tf->taken = 1;

    rc = ngx_http_unit_session_send(r, tf, attributes, &token);

    ngx_explicit_memzero(token.data, token.len);

    if (rc == NGX_ERROR) {
        ngx_http_unit_handle_return(ctx->umcf->shm, tf->owner, &tf->handle,
                                    NGX_HTTP_UNIT_HANDLE_UNSEEN);
    }

    return rc;
}


static ngx_int_t
ngx_http_unit_session_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes, ngx_str_t *token)
{
    json_t                     *body, *to, *resources;
    ngx_int_t                   rc;
    ngx_str_t                   names;
    ngx_http_unit_ctx_t        *ctx;
    ngx_http_unit_loc_conf_t   *ulcf;

    ctx = tf->ctx;
    ulcf = ctx->ulcf;

    if (ngx_http_unit_token_names(r->pool, ctx->umcf->policy, &tf->scopes,
                                  &names)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (tf->expires_in == 0) {
        tf->expires_in = NGX_HTTP_UNIT_TWO_FACTOR_MAX_AGE;
    }

    if (!ngx_http_unit_scopes_empty(&ulcf->handoff)
        && ngx_http_unit_scopes_cover(&ulcf->handoff, &tf->scopes))
    {
        tf->handoff = 1;
        tf->expires_in = ngx_min(tf->expires_in,
                                 NGX_HTTP_UNIT_SESSION_HANDOFF);
    }

    to = json_pack("{s:s%, s:O, s:I}",
                   "scope", (char *) names.data, names.len,
                   "verificationCode",
                   json_object_get(attributes, "verificationCode"),
                   "expiresIn", (json_int_t) tf->expires_in);

    if (to && token->len
        && json_object_set_new(to, "verificationToken",
                               json_stringn((char *) token->data, token->len))
           != 0)
    {
        json_decref(to);
        return NGX_ERROR;
    }

    resources = json_object_get(attributes, "resources");

    if (to && resources && json_object_set(to, "resources", resources) != 0) {
        json_decref(to);
        return NGX_ERROR;
    }

    /* "o" takes the reference, also when it fails */

    body = json_pack("{s:{s:s, s:o}}",
                     "data", "type", "customerToken", "attributes", to);
    if (body == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_two_factor_send(r, tf, "/token", body,
                                       ngx_http_unit_session_done);
    json_decref(body);

    return rc;
}


/* in the context of the subrequest: also when the client has gone */

static void
ngx_http_unit_session_done(ngx_http_unit_fetch_t *fetch)
{
    time_t                           seconds;
    ngx_int_t                        rc;
    ngx_str_t                        token;
    ngx_http_unit_ctx_t             *ctx;
    ngx_http_unit_two_factor_t      *tf;
    ngx_http_unit_handle_outcome_e   outcome;

    tf = fetch->data;
    ctx = tf->ctx;

    outcome = NGX_HTTP_UNIT_HANDLE_UNSEEN;
    rc = NGX_DECLINED;

    if (fetch->error == NGX_HTTP_UNIT_FETCH_OK
        && (fetch->status == NGX_HTTP_CREATED || fetch->status == NGX_HTTP_OK))
    {
        rc = ngx_http_unit_token_read(ctx->request->pool, &fetch->answer,
                                      &token, &seconds);
    }

    if (rc == NGX_OK) {
        outcome = NGX_HTTP_UNIT_HANDLE_USED;

        seconds = ngx_min(seconds, tf->expires_in);

        if (tf->handoff) {
            rc = ngx_http_unit_session_answer(tf, &token, seconds);

        } else {
            ngx_http_unit_session_keep(tf, &token, seconds);
            rc = ngx_http_unit_session_answer(tf, &ctx->bearer, seconds);
        }

        ngx_explicit_memzero(token.data, token.len);

    } else if (rc == NGX_DECLINED && !ngx_http_unit_two_factor_failed(tf)) {

        /* Unit does not say that the code was wrong, but it has seen it */

        outcome = NGX_HTTP_UNIT_HANDLE_WRONG;
        tf->code = NGX_HTTP_UNIT_VERIFICATION_FAILED;
        tf->reason = "verification_failed";
    }

    if (rc == NGX_ERROR) {
        tf->code = NGX_HTTP_UNIT_INTERNAL_ERROR;
    }

    if (tf->taken) {
        ngx_http_unit_handle_return(ctx->umcf->shm, tf->owner, &tf->handle,
                                    outcome);
    }

    if (fetch->body.len) {
        ngx_explicit_memzero(fetch->body.data, fetch->body.len);
    }
}


/* never refreshed, never beyond a day of the verification */

static void
ngx_http_unit_session_keep(ngx_http_unit_two_factor_t *tf, ngx_str_t *token,
    time_t seconds)
{
    ngx_http_unit_ctx_t        *ctx;
    ngx_http_unit_store_req_t   req;

    ctx = tf->ctx;

    if (ngx_http_unit_token_key(ctx, 1, ctx->token_key) != NGX_OK) {
        return;
    }

    ngx_memzero(&req, sizeof(ngx_http_unit_store_req_t));

    req.class = NGX_HTTP_UNIT_SHM_TOKEN;
    req.key = ctx->token_key;
    req.scopes = tf->scopes;
    req.value = *token;
    req.secret = 1;

    /* a moment less, so that it reaches Unit alive */

    req.ttl = (ngx_msec_t) seconds * 1000;
    req.ttl -= ngx_min(req.ttl / 10, 10000);

    (void) ctx->umcf->store->put(ctx->umcf->shm, &req);
}


static ngx_int_t
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
