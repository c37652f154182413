
/*
 * Authentication, see ngx_http_unit_auth.h.  What was verified before is
 * remembered in _auth_cache.c.
 */


#include "ngx_http_unit_auth.h"
#include "ngx_http_unit_auth_cache.h"
#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_keys.h"
#include "ngx_http_unit_memo.h"
#include "ngx_http_unit_token.h"


static ngx_int_t ngx_http_unit_auth_bearer(ngx_http_request_t *r,
    ngx_str_t *token, const char **reason);
static ngx_int_t ngx_http_unit_auth_verify(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_http_unit_partner_t *ngx_http_unit_auth_partner(
    ngx_http_unit_main_conf_t *umcf, const ngx_str_t *issuer);
static ngx_int_t ngx_http_unit_auth_identity(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_partner_t *partner,
    ngx_http_unit_jwt_claims_t *claims);
static void ngx_http_unit_auth_caller(ngx_http_unit_ctx_t *ctx);


ngx_int_t
ngx_http_unit_auth(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t  rc;

    if (ctx->bearer.len == 0) {

        rc = ngx_http_unit_auth_bearer(r, &ctx->bearer, reason);

        if (rc != NGX_OK) {
            *code = (rc == NGX_ABORT) ? NGX_HTTP_UNIT_TOKEN_MISSING
                                      : NGX_HTTP_UNIT_TOKEN_INVALID;
            return NGX_DECLINED;
        }

        if (ngx_http_unit_memo_key(r->connection, &ctx->bearer, ctx->key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    *code = NGX_HTTP_UNIT_TOKEN_INVALID;

    rc = ngx_http_unit_auth_cache_find(r, ctx);

    if (rc == NGX_ABORT) {
        *reason = "jwt_signature";
        return NGX_DECLINED;

    } else if (rc == NGX_DECLINED) {
        rc = ngx_http_unit_budget_address(r, ctx, code, reason);

        if (rc == NGX_OK) {
            rc = ngx_http_unit_auth_verify(r, ctx, code, reason);
        }
    }

    if (rc == NGX_OK) {
        ngx_http_unit_auth_caller(ctx);
    }

    return rc;
}


/*
 * NGX_OK; NGX_ABORT: no bearer token at all; NGX_DECLINED: not a good one
 */

static ngx_int_t
ngx_http_unit_auth_bearer(ngx_http_request_t *r, ngx_str_t *token,
    const char **reason)
{
    u_char           *p, *last;
    ngx_table_elt_t  *h;

    /* nginx itself refuses a second Authorization header with 400 */

    h = r->headers_in.authorization;

    *reason = "jwt_missing";

    /* in any case, and in this one nearly always */

    if (h == NULL
        || h->value.len < sizeof("Bearer") - 1
        || (ngx_memcmp(h->value.data, "Bearer", sizeof("Bearer") - 1) != 0
            && ngx_strncasecmp(h->value.data, (u_char *) "Bearer",
                               sizeof("Bearer") - 1)
               != 0))
    {
        return NGX_ABORT;
    }

    p = h->value.data + sizeof("Bearer") - 1;
    last = h->value.data + h->value.len;

    *reason = "jwt_malformed";

    if (p == last || *p != ' ') {
        return NGX_DECLINED;
    }

    while (p < last && *p == ' ') {
        p++;
    }

    token->data = p;
    token->len = last - p;

    if (token->len == 0) {
        return NGX_DECLINED;
    }

    if (token->len > NGX_HTTP_UNIT_JWT_MAX_LEN) {
        *reason = "jwt_too_long";
        token->len = 0;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_auth_verify(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                    rc;
    ngx_str_t                    issuer;
    ngx_http_unit_jwk_t         *key;
    ngx_http_unit_jwt_t          jwt;
    ngx_http_unit_partner_t     *partner;
    ngx_http_unit_jwt_claims_t   claims;

    rc = ngx_http_unit_jwt_split(r->pool, &ctx->bearer, &jwt);

    if (rc != NGX_OK) {
        *reason = jwt.reason;
        return rc;
    }

    partner = ctx->umcf->partners.elts;

    rc = ngx_http_unit_jwt_issuer_unsafe(r->pool, &jwt, &partner->rules,
                                         &issuer);

    if (rc != NGX_OK) {
        *reason = "jwt_payload";
        return rc;
    }

    partner = ngx_http_unit_auth_partner(ctx->umcf, &issuer);

    if (partner == NULL) {
        *reason = "jwt_iss";
        return NGX_DECLINED;
    }

    for ( ;; ) {

        if (!ctx->keys_unknown) {

            rc = ngx_http_unit_keys_current(r, ctx, partner);

            if (rc == NGX_DECLINED) {
                *code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
                *reason = "jwt_keys_unavailable";
            }

            if (rc != NGX_OK) {
                return rc;
            }

            rc = ngx_http_unit_jwt_verify(&jwt, partner->keys->set, &key);

            if (rc == NGX_OK || rc == NGX_ERROR) {
                break;
            }

            *reason = jwt.reason;

            if (ngx_strcmp(jwt.reason, "jwt_key_unknown") != 0) {
                ngx_http_unit_auth_cache_keep_bad(ctx, partner);
                return NGX_DECLINED;
            }

            ctx->keys_unknown = 1;
        }

        *reason = "jwt_key_unknown";

        rc = ngx_http_unit_keys_unknown(r, ctx, partner);

        if (rc != NGX_OK) {
            return rc;
        }

        ctx->keys_unknown = 0;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_unit_jwt_claims(r->pool, &jwt, &partner->rules,
                                  ngx_time(), &claims);

    if (rc != NGX_OK) {
        *reason = claims.reason;
        return rc;
    }

    if (ngx_http_unit_auth_identity(r, ctx, partner, &claims) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_unit_auth_cache_keep(ctx, key);

    return NGX_OK;
}


static ngx_http_unit_partner_t *
ngx_http_unit_auth_partner(ngx_http_unit_main_conf_t *umcf,
    const ngx_str_t *issuer)
{
    ngx_uint_t                i;
    ngx_http_unit_partner_t  *partner;

    partner = umcf->partners.elts;

    for (i = 0; i < umcf->partners.nelts; i++) {
        if (partner[i].rules.issuer.len == issuer->len
            && ngx_memcmp(partner[i].rules.issuer.data, issuer->data,
                          issuer->len)
               == 0)
        {
            return &partner[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_unit_auth_identity(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner, ngx_http_unit_jwt_claims_t *claims)
{
    u_char                    *p;
    size_t                     len;
    ngx_uint_t                 i;
    ngx_http_unit_identity_t  *id;

    id = &ctx->identity;

    id->partner = partner;
    id->subject = claims->subject;
    id->ncustomers = claims->ncustomers;
    id->exp = claims->exp;
    id->auth_time = claims->auth_time;
    id->amr = claims->amr;

    /* an absent one is empty and not NULL: it is copied like the others */

    ngx_str_set(&id->session, "");
    ngx_str_set(&id->customers, "");

    if (claims->session.len) {
        id->session = claims->session;
    }

    if (claims->has_role) {

        if (claims->role.len == sizeof("ReadOnly") - 1
            && ngx_memcmp(claims->role.data, "ReadOnly",
                          sizeof("ReadOnly") - 1)
               == 0)
        {
            id->read_only = 1;

        } else if (claims->role.len != sizeof("Admin") - 1
                   || ngx_memcmp(claims->role.data, "Admin",
                                 sizeof("Admin") - 1)
                      != 0)
        {
            id->no_role = 1;
        }
    }

    len = 0;

    for (i = 0; i < claims->ncustomers; i++) {
        len += claims->customers[i].len + 1;
    }

    if (len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    id->customers.data = p;
    id->customers.len = len - 1;

    for (i = 0; i < claims->ncustomers; i++) {

        if (i) {
            *p++ = ',';
        }

        p = ngx_copy(p, claims->customers[i].data, claims->customers[i].len);
    }

    if (id->ncustomers == 1) {

        if (ngx_http_unit_token_key_of(id, &id->customers, id->token_key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        id->has_key = 1;
    }

    return NGX_OK;
}


static void
ngx_http_unit_auth_caller(ngx_http_unit_ctx_t *ctx)
{
    ngx_http_unit_partner_t        *partner;
    ngx_http_unit_policy_caller_t  *caller;

    partner = ctx->identity.partner;
    caller = &ctx->caller;

    caller->ceiling = partner->ceiling;
    caller->org = partner->org;
    caller->read_only = ctx->identity.read_only;
    caller->no_role = ctx->identity.no_role;
    caller->sandbox = (ctx->ulcf->sandbox == 1);
}
