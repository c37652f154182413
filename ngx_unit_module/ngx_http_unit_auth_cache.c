
/*
 * Tokens that were seen before, see ngx_http_unit_auth_cache.h.
 */


#include "ngx_http_unit_auth_cache.h"
#include "ngx_http_unit_keys.h"


#define NGX_HTTP_UNIT_AUTH_BAD_MAX  4096
#define NGX_HTTP_UNIT_AUTH_BAD_TTL  60000


/* data of a NGX_HTTP_UNIT_SHM_JWT record; the strings follow it */
typedef struct {
    u_char      space[NGX_HTTP_UNIT_SHA256_LEN];     /* of the partner */
    u_char      key[NGX_HTTP_UNIT_SHA256_LEN];       /* thumbprint */
    u_char      token_key[NGX_HTTP_UNIT_SHA256_LEN];
    int64_t     exp;
    int64_t     auth_time;
    uint16_t    subject;                             /* lengths */
    uint16_t    session;
    uint16_t    customers;
    uint16_t    ncustomers;
    uint8_t     amr;
    uint8_t     read_only;
    uint8_t     no_role;
    uint8_t     has_key;
} ngx_http_unit_auth_record_t;


/* data of a NGX_HTTP_UNIT_SHM_JWT_BAD record */
typedef struct {
    u_char      space[NGX_HTTP_UNIT_SHA256_LEN];
    u_char      keys[NGX_HTTP_UNIT_SHA256_LEN];      /* set's fingerprint */
} ngx_http_unit_auth_bad_t;


static ngx_int_t ngx_http_unit_auth_cache_identity(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_partner_t *partner, size_t size);
static ngx_http_unit_partner_t *ngx_http_unit_auth_cache_partner(
    ngx_http_unit_main_conf_t *umcf, const u_char *space);


/* records leave the zone through this: no pool is touched under the lock */
static u_char  ngx_http_unit_auth_cache_buf[NGX_HTTP_UNIT_CLAIMS_MAX];


ngx_int_t
ngx_http_unit_auth_cache_find(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    size_t                         size;
    ngx_http_unit_shm_t           *shm;
    ngx_http_unit_keys_t          *keys;
    ngx_http_unit_partner_t       *partner;
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
        ngx_memcpy(ngx_http_unit_auth_cache_buf, node->data, size);
        ngx_http_unit_shm_touch_locked(node);

        /* of one customer: with more of them the key is not known yet */

        if (node->data[offsetof(ngx_http_unit_auth_record_t, has_key)]) {
            ngx_http_unit_shm_prefetch_locked(shm, node->data
                                + offsetof(ngx_http_unit_auth_record_t,
                                           token_key));
        }

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

        partner = ngx_http_unit_auth_cache_partner(ctx->umcf, bad.space);

        return (partner && partner->keys->set
                && ngx_memcmp(partner->keys->fingerprint, bad.keys,
                              NGX_HTTP_UNIT_SHA256_LEN)
                   == 0)
               ? NGX_ABORT : NGX_DECLINED;
    }

    ngx_memcpy(&rec, ngx_http_unit_auth_cache_buf, sizeof(rec));

    partner = ngx_http_unit_auth_cache_partner(ctx->umcf, rec.space);

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

    return ngx_http_unit_auth_cache_identity(r, ctx, partner, size);
}


/* what the record says, out of the buffer */

static ngx_int_t
ngx_http_unit_auth_cache_identity(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_partner_t *partner, size_t size)
{
    u_char                       *p;
    ngx_http_unit_identity_t     *id;
    ngx_http_unit_auth_record_t   rec;

    ngx_memcpy(&rec, ngx_http_unit_auth_cache_buf, sizeof(rec));

    id = &ctx->identity;
    size -= sizeof(ngx_http_unit_auth_record_t);

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, ngx_http_unit_auth_cache_buf + sizeof(rec), size);

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

    id->exp = (time_t) rec.exp;
    id->auth_time = (time_t) rec.auth_time;
    id->amr = rec.amr;
    id->read_only = rec.read_only;
    id->no_role = rec.no_role;

    ngx_memcpy(id->token_key, rec.token_key, sizeof(rec.token_key));
    id->has_key = rec.has_key;

    return NGX_OK;
}


static ngx_http_unit_partner_t *
ngx_http_unit_auth_cache_partner(ngx_http_unit_main_conf_t *umcf,
    const u_char *space)
{
    ngx_uint_t                i;
    ngx_http_unit_partner_t  *partner;

    partner = umcf->partners.elts;

    for (i = 0; i < umcf->partners.nelts; i++) {
        if (ngx_memcmp(partner[i].space, space, NGX_HTTP_UNIT_SHA256_LEN)
            == 0)
        {
            return &partner[i];
        }
    }

    return NULL;
}


void
ngx_http_unit_auth_cache_keep(ngx_http_unit_ctx_t *ctx,
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

    ngx_memcpy(rec.space, id->partner->space, sizeof(rec.space));
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
    rec.has_key = id->has_key;

    ngx_memcpy(rec.token_key, id->token_key, sizeof(rec.token_key));

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


void
ngx_http_unit_auth_cache_keep_bad(ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner)
{
    ngx_http_unit_shm_t       *shm;
    ngx_http_unit_auth_bad_t   bad;
    ngx_http_unit_shm_node_t  *node;

    shm = ctx->umcf->shm;

    ngx_memcpy(bad.space, partner->space, sizeof(bad.space));
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
