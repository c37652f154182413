
/*
 * The token broker, see ngx_http_unit_token.h.  What is cached, leased and
 * waited for is the business of the flight; here is which token an operation
 * goes with, and what the request for one looks like.  Under which key it is
 * kept is said in _token_key.c; Unit's answer is read in _token_answer.c.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_token.h"


static ngx_int_t ngx_http_unit_token_find(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_uint_t verified,
    const ngx_http_unit_scopes_t *scopes);
static ngx_int_t ngx_http_unit_token_bearer(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_unit_token_verified(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_http_unit_flight_t *ngx_http_unit_token_flight(
    ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx, ngx_uint_t verified,
    const ngx_http_unit_scopes_t *scopes);
static void ngx_http_unit_token_scopes(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_scopes_t *scopes);
static ngx_int_t ngx_http_unit_token_prepare(ngx_http_unit_flight_t *flight);


ngx_int_t
ngx_http_unit_token(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                   rc;
    ngx_http_unit_scopes_t      scopes;
    ngx_http_unit_store_req_t  *req;

    if (ctx->verdict.org) {
        return ngx_http_unit_token_org(r, ctx, &ctx->token);
    }

    if (ctx->verdict.verified) {
        return ngx_http_unit_token_verified(r, ctx, code, reason);
    }

    ngx_http_unit_token_scopes(ctx, &scopes);

    if (ctx->flight == NULL) {

        /* nearly always it is there: without the means to make one, then */

        rc = ngx_http_unit_token_find(r, ctx, 0, &scopes);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        ctx->flight = ngx_http_unit_token_flight(r, ctx, 0, &scopes);

        if (ctx->flight == NULL) {
            return NGX_ERROR;
        }

        /* more may be minted than is needed */

        if (ctx->verdict.scope >= 0) {
            ngx_http_unit_scopes_add(&ctx->flight->req.need,
                                     ctx->verdict.scope);
        }
    }

    rc = ngx_http_unit_token_customer(r, ctx, &scopes, &req, code);

    if (rc != NGX_OK) {
        *reason = "token_not_created";
        return rc;
    }

    return ngx_http_unit_token_bearer(r, ctx, &req->value);
}


/*
 * A token that is there and needs no refreshing.  NGX_OK, NGX_DECLINED (there
 * is none), NGX_ERROR
 */

static ngx_int_t
ngx_http_unit_token_find(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_uint_t verified, const ngx_http_unit_scopes_t *scopes)
{
    ngx_http_unit_store_req_t  req;

    if (ngx_http_unit_token_key(ctx, verified, ctx->token_key) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&req, sizeof(ngx_http_unit_store_req_t));

    req.class = NGX_HTTP_UNIT_SHM_TOKEN;
    req.key = ctx->token_key;
    req.scopes = *scopes;
    req.pool = r->pool;
    req.reserve = sizeof("Bearer ") - 1;
    req.secret = 1;
    req.fresh = 1;

    /* more may have been granted than is needed */

    if (ctx->verdict.scope >= 0) {
        ngx_http_unit_scopes_add(&req.need, ctx->verdict.scope);
    }

    if (ctx->umcf->store->find(ctx->umcf->shm, &req) != NGX_OK) {
        return NGX_ERROR;
    }

    if (req.result != NGX_HTTP_UNIT_STORE_HIT) {
        return NGX_DECLINED;
    }

    ctx->token.data = req.value.data - req.reserve;
    ctx->token.len = req.reserve + req.value.len;

    ngx_memcpy(ctx->token.data, "Bearer ", sizeof("Bearer ") - 1);

    ctx->token_status = NGX_HTTP_UNIT_TOKEN_HIT;

    return NGX_OK;
}


/* "Bearer " and the token; the value is wiped, only our copy goes on */

static ngx_int_t
ngx_http_unit_token_bearer(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_str_t *value)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, sizeof("Bearer ") - 1 + value->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->token.data = p;
    ctx->token.len = sizeof("Bearer ") - 1 + value->len;

    p = ngx_cpymem(p, "Bearer ", sizeof("Bearer ") - 1);
    ngx_memcpy(p, value->data, value->len);

    ngx_explicit_memzero(value->data, value->len);

    return NGX_OK;
}


/*
 * A verified token is made by the caller's own two-factor authentication,
 * here or at the identity provider, never by this request alone.
 */

static ngx_int_t
ngx_http_unit_token_verified(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                   rc;
    ngx_http_unit_scopes_t      scopes;
    ngx_http_unit_flight_t     *flight;

    ngx_http_unit_scopes_zero(&scopes);

    if (ctx->verdict.scope >= 0) {
        ngx_http_unit_scopes_add(&scopes, ctx->verdict.scope);
    }

    if (ctx->identity.partner->two_factor_jwt) {

        /*
         * Each partner token has to prove it for itself: one without a second
         * factor does not profit from another one of the same session
         */

        if (ngx_http_unit_token_jwt_verified(ctx) == 0) {
            *code = NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED;
            *reason = "not_verified";
            return NGX_DECLINED;
        }

        if (ctx->flight == NULL) {
            ctx->flight = ngx_http_unit_token_flight(r, ctx, 1, &scopes);

            if (ctx->flight == NULL) {
                return NGX_ERROR;
            }

            ctx->flight->parse = ngx_http_unit_token_parse_jwt;
        }

        flight = ctx->flight;
        rc = ngx_http_unit_flight_run(flight);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        ctx->flight = NULL;

        if (rc != NGX_OK) {
            *code = flight->req.code;
            *reason = "token_not_created";
            return rc;
        }

        ctx->token_status = flight->fetched ? NGX_HTTP_UNIT_TOKEN_MINTED
                            : flight->waited ? NGX_HTTP_UNIT_TOKEN_WAITED
                            : NGX_HTTP_UNIT_TOKEN_HIT;

        return ngx_http_unit_token_bearer(r, ctx, &flight->req.value);
    }

    rc = ngx_http_unit_token_find(r, ctx, 1, &scopes);

    if (rc == NGX_DECLINED) {
        *code = NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED;
        *reason = "not_verified";
    }

    return rc;
}


time_t
ngx_http_unit_token_jwt_verified(ngx_http_unit_ctx_t *ctx)
{
    time_t                     now, left;
    ngx_http_unit_partner_t   *partner;
    ngx_http_unit_identity_t  *id;

    id = &ctx->identity;
    partner = id->partner;
    now = ngx_time();

    if (!partner->two_factor_jwt || !id->amr || id->auth_time <= 0
        || id->auth_time > now + partner->rules.leeway)
    {
        return 0;
    }

    left = id->auth_time + partner->max_age - now;
    left = ngx_min(left, partner->max_age);

    return left > 0 ? left : 0;
}


ngx_int_t
ngx_http_unit_token_customer(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    const ngx_http_unit_scopes_t *scopes, ngx_http_unit_store_req_t **req,
    ngx_http_unit_code_e *code)
{
    ngx_int_t                rc;
    ngx_http_unit_flight_t  *flight;

    if (ctx->flight == NULL) {
        ctx->flight = ngx_http_unit_token_flight(r, ctx, 0, scopes);

        if (ctx->flight == NULL) {
            return NGX_ERROR;
        }
    }

    flight = ctx->flight;
    rc = ngx_http_unit_flight_run(flight);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ctx->flight = NULL;

    if (rc != NGX_OK) {
        *code = flight->req.code;
        return rc;
    }

    ctx->token_status = flight->fetched ? NGX_HTTP_UNIT_TOKEN_MINTED
                        : flight->waited ? NGX_HTTP_UNIT_TOKEN_WAITED
                        : NGX_HTTP_UNIT_TOKEN_HIT;

    *req = &flight->req;

    return NGX_OK;
}


static ngx_http_unit_flight_t *
ngx_http_unit_token_flight(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_uint_t verified, const ngx_http_unit_scopes_t *scopes)
{
    ngx_http_unit_flight_t  *flight;

    flight = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_flight_t));
    if (flight == NULL) {
        return NULL;
    }

    if (ngx_http_unit_token_key(ctx, verified, ctx->token_key) != NGX_OK) {
        return NULL;
    }

    flight->request = r;
    flight->store = ctx->umcf->store;
    flight->store_data = ctx->umcf->shm;
    flight->req.class = NGX_HTTP_UNIT_SHM_TOKEN;
    flight->req.key = ctx->token_key;
    flight->req.scopes = *scopes;
    flight->req.secret = 1;
    flight->prepare = ngx_http_unit_token_prepare;
    flight->parse = ngx_http_unit_token_parse;
    flight->data = ctx;
    flight->wait = ctx->ulcf->token_wait;

    return flight;
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
    u_char                 *p;
    time_t                  life, left;
    size_t                  len;
    ngx_str_t               names;
    ngx_http_request_t     *r;
    ngx_http_unit_ctx_t    *ctx;
    ngx_http_unit_fetch_t  *fetch;

    /* nothing in it needs escaping: names of the table, digits, base64url */

    static const char  plain[] =
        "{\"data\":{\"type\":\"customerToken\",\"attributes\":"
        "{\"scope\":\"%V\",\"expiresIn\":%T}}}";

    static const char  jwt[] =
        "{\"data\":{\"type\":\"customerToken\",\"attributes\":"
        "{\"scope\":\"%V\",\"expiresIn\":%T,\"jwtToken\":\"%V\"}}}";

    r = flight->request;
    ctx = flight->data;
    fetch = &flight->fetch;

    if (ngx_http_unit_token_org(r, ctx, &fetch->authorization) != NGX_OK
        || ngx_http_unit_token_uri(r, ctx, "/token", &fetch->uri) != NGX_OK
        || ngx_http_unit_token_names(r->pool, ctx->umcf->policy,
                                     &flight->req.scopes, &names)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = sizeof(jwt) + names.len + NGX_TIME_T_LEN + ctx->bearer.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fetch->body.data = p;

    if (flight->parse == ngx_http_unit_token_parse_jwt) {

        left = ngx_http_unit_token_jwt_verified(ctx);
        life = ngx_min(ctx->ulcf->token_lifetime, ngx_max(left, 1));

        p = ngx_slprintf(p, p + len, jwt, &names, life, &ctx->bearer);

    } else {
        p = ngx_slprintf(p, p + len, plain, &names,
                         ctx->ulcf->token_lifetime);
    }

    fetch->body.len = p - fetch->body.data;
    fetch->method = NGX_HTTP_POST;
    fetch->request_id = ctx->request_id;

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_token_uri(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    const char *tail, ngx_str_t *uri)
{
    u_char  *p;
    size_t   len;

    /* ids are checked where they come from: they hold no "/" or "%" */

    len = ctx->umcf->broker.len + sizeof("/customers/") - 1
          + ctx->customer.len + ngx_strlen(tail);

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    uri->data = p;
    uri->len = ngx_snprintf(p, len, "%V/customers/%V%s", &ctx->umcf->broker,
                            &ctx->customer, tail)
               - p;

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
