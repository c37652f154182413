
/*
 * The token broker, see ngx_http_unit_token.h.  What is cached, leased and
 * waited for is the business of the flight; here is what a customer token's
 * request and answer look like, and under which key it is kept.
 */


#include <jansson.h>
#include "ngx_http_unit_token.h"


#define NGX_HTTP_UNIT_TOKEN_MAX      8192
#define NGX_HTTP_UNIT_TOKEN_MAX_AGE  86400

/* a token is not used in its last moments: it has to reach Unit alive */
#define NGX_HTTP_UNIT_TOKEN_MARGIN   10000


static ngx_int_t ngx_http_unit_token_customer(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static ngx_int_t ngx_http_unit_token_key(ngx_http_unit_ctx_t *ctx,
    ngx_uint_t verified, u_char *key);
static void ngx_http_unit_token_scopes(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_scopes_t *scopes);
static ngx_int_t ngx_http_unit_token_prepare(ngx_http_unit_flight_t *flight);
static ngx_int_t ngx_http_unit_token_parse(ngx_http_unit_flight_t *flight);
static ngx_int_t ngx_http_unit_token_value(ngx_http_unit_flight_t *flight,
    json_t *root);


ngx_int_t
ngx_http_unit_token(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_str_t               *value;
    ngx_http_unit_flight_t  *flight;

    if (ctx->verdict.org) {
        return ngx_http_unit_token_org(r, ctx, &ctx->token);
    }

    if (ctx->verdict.verified) {

        /* verified tokens are made by the two-factor calls only */

        *code = NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED;
        *reason = "not_verified";
        return NGX_DECLINED;
    }

    if (ctx->flight == NULL
        && ngx_http_unit_token_customer(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    flight = ctx->flight;
    rc = ngx_http_unit_flight_run(flight);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ctx->flight = NULL;

    ctx->token_status = flight->fetched ? NGX_HTTP_UNIT_TOKEN_MINTED
                        : flight->waited ? NGX_HTTP_UNIT_TOKEN_WAITED
                        : NGX_HTTP_UNIT_TOKEN_HIT;

    if (rc == NGX_DECLINED) {
        ctx->token_status = NGX_HTTP_UNIT_TOKEN_NONE;
        *code = flight->req.code;
        *reason = "token_not_created";
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    value = &flight->req.value;

    p = ngx_pnalloc(r->pool, sizeof("Bearer ") - 1 + value->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->token.data = p;
    ctx->token.len = sizeof("Bearer ") - 1 + value->len;

    p = ngx_cpymem(p, "Bearer ", sizeof("Bearer ") - 1);
    ngx_memcpy(p, value->data, value->len);

    /* the value is what the zone or Unit gave; only our copy goes on */

    ngx_explicit_memzero(value->data, value->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_token_customer(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_http_unit_flight_t  *flight;

    flight = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_flight_t));
    if (flight == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_unit_token_key(ctx, 0, ctx->token_key) != NGX_OK) {
        return NGX_ERROR;
    }

    flight->request = r;
    flight->store = ctx->umcf->store;
    flight->store_data = ctx->umcf->shm;
    flight->req.class = NGX_HTTP_UNIT_SHM_TOKEN;
    flight->req.key = ctx->token_key;
    flight->req.secret = 1;
    flight->prepare = ngx_http_unit_token_prepare;
    flight->parse = ngx_http_unit_token_parse;
    flight->data = ctx;
    flight->wait = ctx->ulcf->token_wait;

    ngx_http_unit_token_scopes(ctx, &flight->req.scopes);

    ctx->flight = flight;

    return NGX_OK;
}


/*
 * Whoever shares this key shares the tokens: everything that tells callers
 * apart is in it.  The fingerprint of the scope table is, because the records
 * hold scopes as bits.
 */

static ngx_int_t
ngx_http_unit_token_key(ngx_http_unit_ctx_t *ctx, ngx_uint_t verified,
    u_char *key)
{
    ngx_str_t  fields[7];

    ngx_str_set(&fields[0], "token");
    fields[1] = ctx->identity.partner->name;
    fields[2] = ctx->identity.subject;
    fields[3] = ctx->identity.session;
    fields[4] = ctx->customer;

    fields[5].data = (u_char *) (verified ? "1" : "0");
    fields[5].len = 1;

    fields[6].data = (u_char *)
                        ngx_http_unit_policy_fingerprint(ctx->umcf->policy);
    fields[6].len = NGX_HTTP_UNIT_SHA256_LEN;

    return ngx_http_unit_sha256(fields, 7, 0, key);
}


static void
ngx_http_unit_token_scopes(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_scopes_t *scopes)
{
    ngx_uint_t                           i, n;
    const ngx_http_unit_policy_scope_t  *scope;

    ngx_http_unit_scopes_zero(scopes);

    if (ctx->verdict.scope >= 0) {
        ngx_http_unit_scopes_add(scopes, ctx->verdict.scope);
    }

    if (ctx->ulcf->token_scopes == NGX_HTTP_UNIT_SCOPES_MINIMAL) {
        return;
    }

    n = ngx_http_unit_policy_nscopes(ctx->umcf->policy);

    for (i = 0; i < n; i++) {

        scope = ngx_http_unit_policy_scope(ctx->umcf->policy, i);

        if (!scope->customer || scope->two_factor || scope->pci
            || (scope->write && ctx->caller.read_only)
            || !ngx_http_unit_scopes_has(&ctx->caller.ceiling, i))
        {
            continue;
        }

        ngx_http_unit_scopes_add(scopes, i);
    }
}


static ngx_int_t
ngx_http_unit_token_prepare(ngx_http_unit_flight_t *flight)
{
    u_char                              *p, *last;
    size_t                               len;
    ngx_uint_t                           i, n;
    ngx_http_request_t                  *r;
    ngx_http_unit_ctx_t                 *ctx;
    ngx_http_unit_fetch_t               *fetch;
    const ngx_http_unit_policy_scope_t  *scope;

    static const char  head[] =
        "{\"data\":{\"type\":\"customerToken\",\"attributes\":{\"scope\":\"";
    static const char  tail[] = "\",\"expiresIn\":%T}}}";

    r = flight->request;
    ctx = flight->data;
    fetch = &flight->fetch;

    if (ngx_http_unit_token_org(r, ctx, &fetch->authorization) != NGX_OK) {
        return NGX_ERROR;
    }

    /* ids are checked where they come from: they hold no "/" or "%" */

    len = ctx->umcf->broker.len + sizeof("/customers//token") - 1
          + ctx->customer.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fetch->uri.data = p;
    fetch->uri.len = ngx_snprintf(p, len, "%V/customers/%V/token",
                                  &ctx->umcf->broker, &ctx->customer)
                     - p;

    len = sizeof(head) + sizeof(tail) + NGX_TIME_T_LEN;
    n = ngx_http_unit_policy_nscopes(ctx->umcf->policy);

    for (i = 0; i < n; i++) {
        scope = ngx_http_unit_policy_scope(ctx->umcf->policy, i);

        if (ngx_http_unit_scopes_has(&flight->req.scopes, i)) {
            len += scope->name.len + 1;
        }
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fetch->body.data = p;
    last = p + len;

    p = ngx_cpymem(p, head, sizeof(head) - 1);

    for (i = 0; i < n; i++) {

        if (!ngx_http_unit_scopes_has(&flight->req.scopes, i)) {
            continue;
        }

        scope = ngx_http_unit_policy_scope(ctx->umcf->policy, i);

        if (p[-1] != '"') {
            *p++ = ' ';
        }

        p = ngx_cpymem(p, scope->name.data, scope->name.len);
    }

    p = ngx_slprintf(p, last, tail, ctx->ulcf->token_lifetime);

    fetch->body.len = p - fetch->body.data;
    fetch->method = NGX_HTTP_POST;
    fetch->request_id = ctx->request_id;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_token_parse(ngx_http_unit_flight_t *flight)
{
    json_t                 *root;
    ngx_int_t               rc;
    json_error_t            error;
    ngx_http_unit_fetch_t  *fetch;

    fetch = &flight->fetch;

    if (fetch->status != NGX_HTTP_CREATED && fetch->status != NGX_HTTP_OK) {
        return ngx_http_unit_flight_refused(flight,
                                            NGX_HTTP_UNIT_CUSTOMER_NOT_LINKED);
    }

    rc = NGX_DECLINED;

    root = json_loadb((char *) fetch->answer.data, fetch->answer.len,
                      JSON_REJECT_DUPLICATES, &error);

    if (root) {
        rc = ngx_http_unit_token_value(flight, root);
        json_decref(root);
    }

    /* it holds a token: nothing of it stays behind */

    if (fetch->answer.len) {
        ngx_explicit_memzero(fetch->answer.data, fetch->answer.len);
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, flight->request->connection->log, 0,
                      "unit token: unreadable answer, status %ui, id: %V",
                      fetch->status, &fetch->request_id);

        flight->req.code = NGX_HTTP_UNIT_UPSTREAM_INVALID;
        flight->req.ttl = 0;
    }

    return rc;
}


static ngx_int_t
ngx_http_unit_token_value(ngx_http_unit_flight_t *flight, json_t *root)
{
    size_t                      i, len;
    json_t                     *data, *attributes, *token, *expires;
    ngx_msec_t                  life, margin;
    const char                 *p;
    json_int_t                  seconds;
    ngx_http_unit_store_req_t  *req;

    data = json_object_get(root, "data");
    attributes = json_object_get(data, "attributes");
    token = json_object_get(attributes, "token");
    expires = json_object_get(attributes, "expiresIn");

    p = json_string_value(token);
    len = json_string_length(token);

    if (p == NULL || len == 0 || len > NGX_HTTP_UNIT_TOKEN_MAX
        || !json_is_integer(expires))
    {
        return NGX_DECLINED;
    }

    /* it becomes a header: token68 and nothing else (RFC 9110 11.2) */

    for (i = 0; i < len; i++) {

        if (!((p[i] >= '0' && p[i] <= '9')
              || ((p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z')
              || ngx_strchr("-._~+/=", p[i])))
        {
            return NGX_DECLINED;
        }
    }

    seconds = json_integer_value(expires);

    if (seconds <= 0) {
        return NGX_DECLINED;
    }

    req = &flight->req;

    req->value.data = ngx_pnalloc(flight->request->pool, len);
    if (req->value.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(req->value.data, p, len);
    req->value.len = len;

    ngx_explicit_memzero((void *) p, len);

    life = (ngx_msec_t) ngx_min(seconds, NGX_HTTP_UNIT_TOKEN_MAX_AGE) * 1000;
    margin = ngx_min(life / 10, NGX_HTTP_UNIT_TOKEN_MARGIN);

    req->ttl = life - margin;

    /* with jitter, so that what was made together is not renewed together */

    req->refresh_in = req->ttl - req->ttl / 10
                      - (ngx_msec_t) ngx_random() % (req->ttl / 10 + 1);

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_token_rejected(ngx_http_unit_ctx_t *ctx)
{
    ngx_http_request_t         *r;
    ngx_http_unit_store_req_t   req;

    r = ctx->request;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "unit token: refused by the API with status 401, "
                  "organisation's: %ui, id: %V",
                  (ngx_uint_t) ctx->verdict.org, &ctx->request_id);

    if (ctx->verdict.org) {

        /* our own credential is bad, which is not the client's fault */

        return 1;
    }

    ngx_memzero(&req, sizeof(ngx_http_unit_store_req_t));

    req.class = NGX_HTTP_UNIT_SHM_TOKEN;
    req.key = ctx->token_key;
    req.value.data = ctx->token.data + sizeof("Bearer ") - 1;
    req.value.len = ctx->token.len - (sizeof("Bearer ") - 1);

    (void) ctx->umcf->store->purge(ctx->umcf->shm, &req);

    if (ctx->replayed) {
        return 0;
    }

    /* a body that was passed on while it came in cannot be sent again */

    if (r->request_body_no_buffering
        && (r->headers_in.content_length_n > 0 || r->headers_in.chunked))
    {
        return 0;
    }

    return 1;
}


ngx_int_t
ngx_http_unit_token_org(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_str_t *bearer)
{
    u_char                  *p;
    ngx_http_unit_secret_t  *secret;

    secret = ctx->umcf->org_token;

    p = ngx_pnalloc(r->pool, sizeof("Bearer ") - 1 + secret->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    bearer->data = p;
    bearer->len = sizeof("Bearer ") - 1 + secret->len;

    p = ngx_cpymem(p, "Bearer ", sizeof("Bearer ") - 1);
    ngx_memcpy(p, secret->data, secret->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_token_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason)
{
    ngx_http_unit_secret_t  *secret = data;

    size_t  i;

    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'
                   || text[len - 1] == ' '))
    {
        len--;
    }

    if (len == 0 || len > NGX_HTTP_UNIT_SECRET_MAX) {
        *reason = "holds no token";
        return NGX_DECLINED;
    }

    for (i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            *reason = "holds more than one token or unprintable bytes";
            return NGX_DECLINED;
        }
    }

    ngx_memcpy(secret->data, text, len);

    if (secret->len > len) {
        ngx_explicit_memzero(secret->data + len, secret->len - len);
    }

    secret->len = len;

    return NGX_OK;
}
