
/*
 * The token calls that the gateway answers itself, see
 * ngx_http_unit_two_factor.h.  Here is what they share, and the status and
 * logout; _verification.c and _session.c have the two calls of Unit's.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_error.h"
#include "ngx_http_unit_token.h"
#include "ngx_http_unit_two_factor.h"


static ngx_int_t ngx_http_unit_two_factor_serve(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_two_factor_start(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static void ngx_http_unit_two_factor_cleanup(void *data);
static ngx_int_t ngx_http_unit_two_factor_status(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf);
static ngx_int_t ngx_http_unit_two_factor_forget(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf);
static size_t ngx_http_unit_two_factor_list_len(ngx_str_t *names);
static u_char *ngx_http_unit_two_factor_list(u_char *p, ngx_str_t *names);


ngx_int_t
ngx_http_unit_two_factor(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                    rc;
    ngx_http_unit_two_factor_t  *tf;

    if (ctx->two_factor == NULL
        && ngx_http_unit_two_factor_start(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    tf = ctx->two_factor;

    if (!tf->fetching) {

        rc = ngx_http_unit_two_factor_serve(r, ctx, code, reason);

        /* a call that was not allowed to be sent is over at once */

        if (rc != NGX_AGAIN || !tf->fetching) {
            return rc;
        }
    }

    if (!tf->fetch.done) {
        return NGX_AGAIN;
    }

    if (tf->code) {
        *code = tf->code;
        *reason = tf->reason;
        return tf->code == NGX_HTTP_UNIT_INTERNAL_ERROR ? NGX_ERROR
                                                        : NGX_DECLINED;
    }

    return ngx_http_unit_answer(r, NGX_HTTP_CREATED, &tf->answer);
}


static ngx_int_t
ngx_http_unit_two_factor_serve(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason)
{
    ngx_http_unit_two_factor_t  *tf;

    tf = ctx->two_factor;

    switch (ctx->operation->serve) {

    case NGX_HTTP_UNIT_SERVE_VERIFICATION:
        return ngx_http_unit_verification(r, tf, code, reason);

    case NGX_HTTP_UNIT_SERVE_TOKEN:
        return ngx_http_unit_session(r, tf, code, reason);

    case NGX_HTTP_UNIT_SERVE_TOKEN_STATUS:
        return ngx_http_unit_two_factor_status(r, tf);

    case NGX_HTTP_UNIT_SERVE_TOKEN_FORGET:
        return ngx_http_unit_two_factor_forget(r, tf);

    default:
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_http_unit_two_factor_start(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx)
{
    ngx_str_t                    fields[5];
    ngx_http_cleanup_t          *cln;
    ngx_http_unit_two_factor_t  *tf;

    tf = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_two_factor_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (tf == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_unit_two_factor_cleanup;
    cln->data = tf;

    tf->ctx = ctx;

    /* bound to the session that began it: nobody else can end it */

    ngx_str_set(&fields[0], "verification");
    fields[1].data = ctx->identity.partner->fingerprint;
    fields[1].len = NGX_HTTP_UNIT_SHA256_LEN;
    fields[2] = ctx->identity.subject;
    fields[3] = ctx->identity.session;
    fields[4] = ctx->customer;

    if (ngx_http_unit_sha256(fields, 5, 0, tf->owner) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->two_factor = tf;

    return NGX_OK;
}


static void
ngx_http_unit_two_factor_cleanup(void *data)
{
    ngx_http_unit_two_factor_t  *tf = data;

    /* a late end of the fetch finds nobody */

    tf->fetch.done = 1;

    if (tf->fetch.body.len) {
        ngx_explicit_memzero(tf->fetch.body.data, tf->fetch.body.len);
    }
}


json_t *
ngx_http_unit_two_factor_attributes(ngx_http_unit_ctx_t *ctx,
    const char *type, const char **names, json_t **root,
    ngx_http_unit_code_e *code, const char **reason)
{
    json_t        *data, *attributes, *value;
    const char    *key, **name;
    json_error_t   error;

    *code = NGX_HTTP_UNIT_INVALID_BODY;
    *reason = "body_json";

    *root = json_loadb((char *) ctx->body.data, ctx->body.len,
                       JSON_REJECT_DUPLICATES, &error);
    if (*root == NULL) {
        return NULL;
    }

    data = json_object_get(*root, "data");
    value = json_object_get(data, "type");

    if (!json_is_string(value)
        || ngx_strcmp(json_string_value(value), type) != 0)
    {
        *code = NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;
        *reason = "body_matches_none";
        goto failed;
    }

    attributes = json_object_get(data, "attributes");

    if (!json_is_object(attributes)
        || json_object_get(data, "relationships") != NULL)
    {
        *reason = "body_shape";
        goto failed;
    }

    json_object_foreach(attributes, key, value) {

        for (name = names; *name; name++) {
            if (ngx_strcmp(*name, key) == 0) {
                break;
            }
        }

        if (*name == NULL) {
            *reason = "attribute_unknown";
            goto failed;
        }
    }

    return attributes;

failed:

    json_decref(*root);
    *root = NULL;

    return NULL;
}


ngx_int_t
ngx_http_unit_two_factor_hint(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_str_t *names, ngx_str_t *members)
{
    u_char  *p;
    size_t   len;

    static const char  about[] =
        ",\"links\":{\"about\":\"/customers/%V/token/verification\"}";
    static const char  meta[] = ",\"meta\":{\"scopes\":";

    /* ids are checked where they come from: nothing in them needs escaping */

    len = sizeof(about) + ctx->customer.len + sizeof(meta)
          + ngx_http_unit_two_factor_list_len(names) + sizeof("}");

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    members->data = p;

    if (!ctx->identity.partner->two_factor_jwt) {
        p = ngx_snprintf(p, len, about, &ctx->customer);
    }

    p = ngx_cpymem(p, meta, sizeof(meta) - 1);
    p = ngx_http_unit_two_factor_list(p, names);
    *p++ = '}';

    members->len = p - members->data;

    return NGX_OK;
}


/* each name grows by two quotes and a comma at most */

static size_t
ngx_http_unit_two_factor_list_len(ngx_str_t *names)
{
    return sizeof("[\"\"]") + 3 * names->len;
}


/* names separated by spaces as a list in JSON; they are of our table */

static u_char *
ngx_http_unit_two_factor_list(u_char *p, ngx_str_t *names)
{
    size_t  i;

    *p++ = '[';

    for (i = 0; i < names->len; i++) {

        if (i == 0) {
            *p++ = '"';
        }

        if (names->data[i] == ' ') {
            p = ngx_cpymem(p, "\",\"", 3);

        } else {
            *p++ = names->data[i];
        }
    }

    if (names->len) {
        *p++ = '"';
    }

    *p++ = ']';

    return p;
}


ngx_int_t
ngx_http_unit_two_factor_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, const char *tail, json_t *body,
    void (*handler)(ngx_http_unit_fetch_t *fetch))
{
    char                   *text;
    size_t                  len;
    ngx_http_unit_fetch_t  *fetch;

    fetch = &tf->fetch;

    text = json_dumps(body, JSON_COMPACT);
    if (text == NULL) {
        return NGX_ERROR;
    }

    len = ngx_strlen(text);

    fetch->body.data = ngx_pnalloc(r->pool, len);

    if (fetch->body.data) {
        ngx_memcpy(fetch->body.data, text, len);
        fetch->body.len = len;
    }

    /* it holds a code, or Unit's verification token */

    ngx_explicit_memzero(text, len);
    free(text);

    if (fetch->body.data == NULL
        || ngx_http_unit_token_org(r, tf->ctx, &fetch->authorization)
           != NGX_OK
        || ngx_http_unit_token_uri(r, tf->ctx, tail, &fetch->uri) != NGX_OK)
    {
        return NGX_ERROR;
    }

    fetch->method = NGX_HTTP_POST;
    fetch->request_id = tf->ctx->request_id;
    fetch->handler = handler;
    fetch->data = tf;

    if (ngx_http_unit_budget_fetch(r, fetch) != NGX_OK) {

        tf->fetching = 1;
        fetch->done = 1;
        handler(fetch);

        return NGX_AGAIN;
    }

    if (ngx_http_unit_fetch_start(r, fetch) != NGX_OK) {
        return NGX_ERROR;
    }

    tf->fetching = 1;

    return NGX_AGAIN;
}


ngx_uint_t
ngx_http_unit_two_factor_failed(ngx_http_unit_two_factor_t *tf)
{
    ngx_http_unit_fetch_t  *fetch;

    fetch = &tf->fetch;

    tf->reason = "unit_failed";

    switch (fetch->error) {

    case NGX_HTTP_UNIT_FETCH_UNAVAILABLE:
        tf->code = NGX_HTTP_UNIT_UPSTREAM_UNAVAILABLE;
        return 1;

    case NGX_HTTP_UNIT_FETCH_TIMEOUT:
        tf->code = NGX_HTTP_UNIT_UPSTREAM_TIMEOUT;
        return 1;

    case NGX_HTTP_UNIT_FETCH_INVALID:
        tf->code = NGX_HTTP_UNIT_UPSTREAM_INVALID;
        return 1;

    case NGX_HTTP_UNIT_FETCH_LIMITED:
        tf->code = fetch->code;
        tf->reason = "limit_budget";
        return 1;

    default: /* NGX_HTTP_UNIT_FETCH_OK */
        break;
    }

    switch (fetch->status) {

    case NGX_HTTP_UNAUTHORIZED:
    case NGX_HTTP_TOO_MANY_REQUESTS:
        tf->code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
        return 1;

    case NGX_HTTP_NOT_FOUND:
        tf->code = NGX_HTTP_UNIT_CUSTOMER_NOT_LINKED;
        return 1;

    case NGX_HTTP_REQUEST_TIME_OUT:
        tf->code = NGX_HTTP_UNIT_UPSTREAM_TIMEOUT;
        return 1;

    default:
        break;
    }

    if (fetch->status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        tf->code = NGX_HTTP_UNIT_UPSTREAM_UNAVAILABLE;
        return 1;
    }

    if (fetch->status < NGX_HTTP_BAD_REQUEST) {

        /* a success that could not be read, or a redirect */

        tf->code = NGX_HTTP_UNIT_UPSTREAM_INVALID;
        return 1;
    }

    return 0;
}


static ngx_int_t
ngx_http_unit_two_factor_status(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf)
{
    u_char                     *p, *last;
    size_t                      len;
    time_t                      seconds;
    ngx_str_t                   names;
    ngx_uint_t                  verified;
    ngx_http_unit_ctx_t        *ctx;
    ngx_http_unit_store_req_t   req;

    static const char  head[] =
        "{\"data\":{\"type\":\"customerTokenStatus\",\"attributes\":"
        "{\"scopes\":";
    static const char  tail[] = ",\"verified\":%s,\"expiresIn\":%T}}}";

    ctx = tf->ctx;

    /* what two-factor authentication has earned, else what there is */

    for (verified = 1; /* void */ ; verified = 0) {

        if (ngx_http_unit_token_key(ctx, verified, ctx->token_key) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_memzero(&req, sizeof(ngx_http_unit_store_req_t));

        req.class = NGX_HTTP_UNIT_SHM_TOKEN;
        req.key = ctx->token_key;

        if (ctx->umcf->store->survey(ctx->umcf->shm, &req) != NGX_OK) {
            return NGX_ERROR;
        }

        if (req.ttl || !verified) {
            break;
        }
    }

    seconds = ngx_min((time_t) (req.ttl / 1000),
                      ngx_max(ctx->identity.exp - ngx_time(), 0));

    if (ngx_http_unit_token_names(r->pool, ctx->umcf->policy, &req.scopes,
                                  &names)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = sizeof(head) + sizeof(tail) + sizeof("false") + NGX_TIME_T_LEN
          + ngx_http_unit_two_factor_list_len(&names);

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    tf->answer.data = p;
    last = p + len;

    p = ngx_cpymem(p, head, sizeof(head) - 1);
    p = ngx_http_unit_two_factor_list(p, &names);

    p = ngx_slprintf(p, last, tail, verified && req.ttl ? "true" : "false",
                     seconds);

    tf->answer.len = p - tf->answer.data;

    return ngx_http_unit_answer(r, NGX_HTTP_OK, &tf->answer);
}


static ngx_int_t
ngx_http_unit_two_factor_forget(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf)
{
    ngx_uint_t                  verified;
    ngx_http_unit_ctx_t        *ctx;
    ngx_http_unit_store_req_t   req;

    ctx = tf->ctx;

    for (verified = 0; verified < 2; verified++) {

        if (ngx_http_unit_token_key(ctx, verified, ctx->token_key) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_memzero(&req, sizeof(ngx_http_unit_store_req_t));

        req.class = NGX_HTTP_UNIT_SHM_TOKEN;
        req.key = ctx->token_key;

        if (ctx->umcf->store->purge(ctx->umcf->shm, &req) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_http_unit_handle_forget(ctx->umcf->shm, tf->owner);

    return ngx_http_unit_answer(r, NGX_HTTP_NO_CONTENT, NULL);
}
