
/*
 * Authentication, see ngx_http_unit_auth.h.  A verified token is remembered
 * in the shared zone by the SHA-256 of all of it, with the key that verified
 * it and the partner's settings: the entry counts only while both are still
 * in force.  A token whose signature is wrong is remembered, too, in a class
 * of bounded size.
 */


#include "ngx_http_unit_auth.h"
#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_keys.h"
#include "ngx_http_unit_memo.h"


#define NGX_HTTP_UNIT_AUTH_BAD_MAX  4096
#define NGX_HTTP_UNIT_AUTH_BAD_TTL  60000


/* data of a NGX_HTTP_UNIT_SHM_JWT record; the strings follow it */
typedef struct {
    u_char      partner[NGX_HTTP_UNIT_SHA256_LEN];   /* fingerprint */
    u_char      key[NGX_HTTP_UNIT_SHA256_LEN];       /* thumbprint */
    int64_t     exp;
    int64_t     auth_time;
    uint16_t    subject;                             /* lengths */
    uint16_t    session;
    uint16_t    customers;
    uint16_t    ncustomers;
    uint8_t     amr;
    uint8_t     read_only;
    uint8_t     no_role;
} ngx_http_unit_auth_record_t;


/* data of a NGX_HTTP_UNIT_SHM_JWT_BAD record */
typedef struct {
    u_char      partner[NGX_HTTP_UNIT_SHA256_LEN];
    u_char      keys[NGX_HTTP_UNIT_SHA256_LEN];      /* set's fingerprint */
} ngx_http_unit_auth_bad_t;


static ngx_int_t ngx_http_unit_auth_bearer(ngx_http_request_t *r,
    ngx_str_t *token, const char **reason);
static ngx_int_t ngx_http_unit_auth_cached(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static ngx_http_unit_partner_t *ngx_http_unit_auth_partner(
    ngx_http_unit_main_conf_t *umcf, const u_char *fingerprint);
static ngx_int_t ngx_http_unit_auth_verify(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_auth_identity(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_partner_t *partner,
    ngx_http_unit_jwt_claims_t *claims);
static void ngx_http_unit_auth_remember(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_jwk_t *key);
static void ngx_http_unit_auth_remember_bad(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner);
static void ngx_http_unit_auth_caller(ngx_http_unit_ctx_t *ctx);


ngx_int_t
ngx_http_unit_auth(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t  rc;

    if (ctx->bearer.len == 0) {

        rc = ngx_http_unit_auth_bearer(r, &ctx->bearer, reason);

        if (rc == NGX_ABORT) {
            *code = NGX_HTTP_UNIT_TOKEN_MISSING;
            return NGX_DECLINED;
        }

        *code = NGX_HTTP_UNIT_TOKEN_INVALID;

        if (rc != NGX_OK) {
            return NGX_DECLINED;
        }

        if (ngx_http_unit_memo_key(r->connection, &ctx->bearer, ctx->key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    *code = NGX_HTTP_UNIT_TOKEN_INVALID;

    rc = ngx_http_unit_auth_cached(r, ctx);

    if (rc == NGX_ABORT) {
        *reason = "jwt_signature";
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {

        /* who has failed too often is not worth a signature's time */

        if (ngx_http_unit_budget_address(r, ctx) != NGX_OK) {
            *code = NGX_HTTP_UNIT_RATE_LIMITED;
            *reason = "limit_address";
            return NGX_DECLINED;
        }

        rc = ngx_http_unit_auth_verify(r, ctx, code, reason);
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

    if (h == NULL
        || h->value.len < sizeof("Bearer") - 1
        || ngx_strncasecmp(h->value.data, (u_char *) "Bearer",
                           sizeof("Bearer") - 1)
           != 0)
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


/*
 * NGX_OK: verified before, the identity is set; NGX_ABORT: known to be bad;
 * NGX_DECLINED: not known
 */

static ngx_int_t
ngx_http_unit_auth_cached(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    u_char                        *p;
    size_t                         size;
    ngx_http_unit_shm_t           *shm;
    ngx_http_unit_keys_t          *keys;
    ngx_http_unit_partner_t       *partner;
    ngx_http_unit_identity_t      *id;
    ngx_http_unit_shm_node_t      *node;
    ngx_http_unit_auth_bad_t       bad;
    ngx_http_unit_auth_record_t    rec;

    shm = ctx->umcf->shm;
    size = 0;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_JWT, ctx->key,
                                         NULL);

    if (node && node->size <= NGX_HTTP_UNIT_CLAIMS_MAX) {
        size = node->size;
        ngx_memcpy(ctx->claims, node->data, size);
        ngx_http_unit_shm_touch_locked(shm, node);

    } else {
        node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_JWT_BAD,
                                             ctx->key, NULL);
        if (node) {
            ngx_memcpy(&bad, node->data, sizeof(bad));
        }
    }

    ngx_http_unit_shm_unlock(shm);

    if (size == 0) {

        if (node == NULL) {
            return NGX_DECLINED;
        }

        /* bad for the keys of then, which may have been replaced */

        partner = ngx_http_unit_auth_partner(ctx->umcf, bad.partner);

        return (partner && partner->keys->set
                && ngx_memcmp(partner->keys->fingerprint, bad.keys,
                              NGX_HTTP_UNIT_SHA256_LEN)
                   == 0)
               ? NGX_ABORT : NGX_DECLINED;
    }

    ngx_memcpy(&rec, ctx->claims, sizeof(rec));

    partner = ngx_http_unit_auth_partner(ctx->umcf, rec.partner);

    if (partner == NULL || (time_t) rec.exp <= ngx_time()) {
        return NGX_DECLINED;
    }

    keys = partner->keys;

    if (keys->set == NULL
        || ngx_http_unit_jwks_find_thumbprint(keys->set, rec.key) == NULL)
    {
        return NGX_DECLINED;
    }

    /* a remote set must be looked at again from time to time */

    if (keys->file == NULL
        && (ngx_msec_int_t) (ngx_current_msec - keys->checked)
           >= NGX_HTTP_UNIT_KEYS_CHECK)
    {
        return NGX_DECLINED;
    }

    id = &ctx->identity;
    p = ctx->claims + sizeof(ngx_http_unit_auth_record_t);

    id->partner = partner;

    id->subject.data = p;
    id->subject.len = rec.subject;
    p += rec.subject;

    id->session.data = p;
    id->session.len = rec.session;
    p += rec.session;

    id->customers.data = p;
    id->customers.len = rec.customers;
    id->ncustomers = rec.ncustomers;

    id->exp = rec.exp;
    id->auth_time = rec.auth_time;
    id->amr = rec.amr;
    id->read_only = rec.read_only;
    id->no_role = rec.no_role;

    return NGX_OK;
}


static ngx_http_unit_partner_t *
ngx_http_unit_auth_partner(ngx_http_unit_main_conf_t *umcf,
    const u_char *fingerprint)
{
    ngx_uint_t                i;
    ngx_http_unit_partner_t  *partner;

    partner = umcf->partners.elts;

    for (i = 0; i < umcf->partners.nelts; i++) {
        if (ngx_memcmp(partner[i].fingerprint, fingerprint,
                       NGX_HTTP_UNIT_SHA256_LEN)
            == 0)
        {
            return &partner[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_unit_auth_verify(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                    rc;
    ngx_str_t                    issuer;
    ngx_uint_t                   i;
    ngx_http_unit_jwk_t         *key;
    ngx_http_unit_jwt_t          jwt;
    ngx_http_unit_partner_t     *partner;
    ngx_http_unit_jwt_claims_t   claims;

    rc = ngx_http_unit_jwt_split(r->pool, &ctx->bearer, &jwt);

    if (rc != NGX_OK) {
        *reason = jwt.reason;
        return rc;
    }

    rc = ngx_http_unit_jwt_issuer_unsafe(r->pool, &jwt, &issuer);

    if (rc != NGX_OK) {
        *reason = "jwt_payload";
        return rc;
    }

    partner = ctx->umcf->partners.elts;

    for (i = 0; i < ctx->umcf->partners.nelts; i++, partner++) {
        if (partner->rules.issuer.len == issuer.len
            && ngx_memcmp(partner->rules.issuer.data, issuer.data, issuer.len)
               == 0)
        {
            break;
        }
    }

    if (i == ctx->umcf->partners.nelts) {
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
                ngx_http_unit_auth_remember_bad(ctx, partner);
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

    rc = ngx_http_unit_jwt_claims(r->pool, &jwt, &partner->rules, ngx_time(),
                                  &claims);

    if (rc != NGX_OK) {
        *reason = claims.reason;
        return rc;
    }

    if (ngx_http_unit_auth_identity(r, ctx, partner, &claims) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_unit_auth_remember(ctx, key);

    return NGX_OK;
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

    return NGX_OK;
}


static void
ngx_http_unit_auth_remember(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_jwk_t *key)
{
    u_char                       *p;
    time_t                        left;
    size_t                        len;
    ngx_http_unit_shm_t          *shm;
    ngx_http_unit_identity_t     *id;
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_auth_record_t   rec;

    id = &ctx->identity;
    shm = ctx->umcf->shm;

    left = id->exp - ngx_time();

    len = sizeof(rec) + id->subject.len + id->session.len + id->customers.len;

    if (left <= 0 || len > NGX_HTTP_UNIT_CLAIMS_MAX) {
        return;
    }

    ngx_memzero(&rec, sizeof(rec));

    ngx_memcpy(rec.partner, id->partner->fingerprint, sizeof(rec.partner));
    ngx_memcpy(rec.key, ngx_http_unit_rsa_thumbprint(key->rsa),
               sizeof(rec.key));

    rec.exp = id->exp;
    rec.auth_time = id->auth_time;
    rec.subject = (uint16_t) id->subject.len;
    rec.session = (uint16_t) id->session.len;
    rec.customers = (uint16_t) id->customers.len;
    rec.ncustomers = (uint16_t) id->ncustomers;
    rec.amr = id->amr;
    rec.read_only = id->read_only;
    rec.no_role = id->no_role;

    /* a day is enough, and keeps the sum far from the clock's wrap */

    left = ngx_min(left, 86400);

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_JWT, ctx->key,
                                         NULL);
    if (node) {
        ngx_http_unit_shm_remove_locked(shm, node);
    }

    node = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_JWT, len);

    if (node) {
        p = ngx_cpymem(node->data, &rec, sizeof(rec));
        p = ngx_cpymem(p, id->subject.data, id->subject.len);
        p = ngx_cpymem(p, id->session.data, id->session.len);
        ngx_memcpy(p, id->customers.data, id->customers.len);

        ngx_http_unit_shm_link_locked(shm, node, ctx->key, NULL,
                                      (ngx_msec_t) left * 1000);
    }

    ngx_http_unit_shm_unlock(shm);
}


static void
ngx_http_unit_auth_remember_bad(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner)
{
    ngx_http_unit_shm_t       *shm;
    ngx_http_unit_auth_bad_t   bad;
    ngx_http_unit_shm_node_t  *node;

    shm = ctx->umcf->shm;

    ngx_memcpy(bad.partner, partner->fingerprint, sizeof(bad.partner));
    ngx_memcpy(bad.keys, partner->keys->fingerprint, sizeof(bad.keys));

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_JWT_BAD,
                                         ctx->key, NULL);
    if (node) {
        ngx_http_unit_shm_remove_locked(shm, node);
    }

    /* bounded, and made room for by its own kind only */

    ngx_http_unit_shm_bound_locked(shm, NGX_HTTP_UNIT_SHM_JWT_BAD,
                                   NGX_HTTP_UNIT_AUTH_BAD_MAX - 1);

    node = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_JWT_BAD,
                                          sizeof(bad));
    if (node) {
        ngx_memcpy(node->data, &bad, sizeof(bad));
        ngx_http_unit_shm_link_locked(shm, node, ctx->key, NULL,
                                      NGX_HTTP_UNIT_AUTH_BAD_TTL);
    }

    ngx_http_unit_shm_unlock(shm);
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
