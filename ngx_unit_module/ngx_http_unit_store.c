
/*
 * The store in the shared zone.  A record's data is an 8-byte time after
 * which it may be refreshed, then its value.  A lease is a record of its own
 * whose expiry is the deadline: a worker that dies leaves nothing to clean up.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_store.h"


/* for those that waited for a lease that failed, in ms */
#define NGX_HTTP_UNIT_STORE_FAILED  1000

#define NGX_HTTP_UNIT_STORE_VALUE_MAX  65000


typedef struct {
    uint64_t    id;
    uint32_t    failed;
    uint32_t    code;
} ngx_http_unit_store_lease_t;


static ngx_int_t ngx_http_unit_store_acquire(void *store,
    ngx_http_unit_store_req_t *req);
static ngx_http_unit_shm_node_t *ngx_http_unit_store_find_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_store_req_t *req);
static ngx_uint_t ngx_http_unit_store_is_due(ngx_http_unit_shm_node_t *node);
static ngx_uint_t ngx_http_unit_store_refresh_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_store_req_t *req,
    ngx_http_unit_shm_node_t *node);
static ngx_uint_t ngx_http_unit_store_lease_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_store_req_t *req);
static ngx_http_unit_shm_node_t *ngx_http_unit_store_own_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_store_req_t *req,
    ngx_http_unit_store_lease_t *lease);
static ngx_int_t ngx_http_unit_store_put(void *store,
    ngx_http_unit_store_req_t *req);
static ngx_int_t ngx_http_unit_store_refuse(void *store,
    ngx_http_unit_store_req_t *req);
static ngx_int_t ngx_http_unit_store_renew(void *store,
    ngx_http_unit_store_req_t *req);
static ngx_int_t ngx_http_unit_store_release(void *store,
    ngx_http_unit_store_req_t *req);
static ngx_int_t ngx_http_unit_store_purge(void *store,
    ngx_http_unit_store_req_t *req);
static ngx_int_t ngx_http_unit_store_find(void *store,
    ngx_http_unit_store_req_t *req);
static ngx_int_t ngx_http_unit_store_survey(void *store,
    ngx_http_unit_store_req_t *req);
static size_t ngx_http_unit_store_read_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_store_req_t *req);
static ngx_int_t ngx_http_unit_store_value(ngx_http_unit_store_req_t *req,
    size_t len);


const ngx_http_unit_store_t  ngx_http_unit_store_shm = {
    ngx_http_unit_store_acquire,
    ngx_http_unit_store_put,
    ngx_http_unit_store_refuse,
    ngx_http_unit_store_renew,
    ngx_http_unit_store_release,
    ngx_http_unit_store_purge,
    ngx_http_unit_store_find,
    ngx_http_unit_store_survey
};


/* values leave the zone through this: no pool is touched under the lock */
static u_char  ngx_http_unit_store_buf[NGX_HTTP_UNIT_STORE_VALUE_MAX];


static ngx_int_t
ngx_http_unit_store_acquire(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    size_t                     len;
    ngx_http_unit_shm_node_t  *node;

    len = 0;
    req->refresh = 0;
    req->code = NGX_HTTP_UNIT_ALLOWED;
    ngx_str_null(&req->value);

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_store_find_locked(shm, req);

    if (node) {
        len = ngx_http_unit_store_read_locked(shm, node, req);

        if (ngx_http_unit_store_is_due(node)
            && ngx_http_unit_store_refresh_locked(shm, req, node)
            && ngx_http_unit_store_lease_locked(shm, req))
        {
            req->refresh = 1;
        }

    } else {

        node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_REFUSAL,
                                             req->key, req->scopes.w);
        if (node) {
            ngx_memcpy(&req->code, node->data, sizeof(ngx_http_unit_code_e));
            req->result = NGX_HTTP_UNIT_STORE_REFUSED;

        } else if (ngx_http_unit_store_lease_locked(shm, req)) {
            req->result = NGX_HTTP_UNIT_STORE_LEASED;

        } else if (req->code) {
            req->result = NGX_HTTP_UNIT_STORE_REFUSED;

        } else {
            req->result = NGX_HTTP_UNIT_STORE_BUSY;
        }
    }

    ngx_http_unit_shm_unlock(shm);

    if (req->result == NGX_HTTP_UNIT_STORE_HIT) {

        /* a failed refresh that somebody waited for is not our failure */
        req->code = NGX_HTTP_UNIT_ALLOWED;

        if (ngx_http_unit_store_value(req, len) != NGX_OK) {

            if (req->refresh) {
                (void) ngx_http_unit_store_release(store, req);
            }

            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* copy a record out of the zone; _value() brings it on from there */

static size_t
ngx_http_unit_store_read_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_store_req_t *req)
{
    size_t  len;

    req->result = NGX_HTTP_UNIT_STORE_HIT;
    req->ttl = node->expire - ngx_current_msec;

    len = node->size - sizeof(ngx_msec_t);
    ngx_memcpy(ngx_http_unit_store_buf, node->data + sizeof(ngx_msec_t), len);

    ngx_http_unit_shm_touch_locked(node);

    return len;
}


static ngx_int_t
ngx_http_unit_store_value(ngx_http_unit_store_req_t *req, size_t len)
{
    u_char  *p;

    p = ngx_pnalloc(req->pool, req->reserve + len);

    if (p) {
        req->value.data = p + req->reserve;
        req->value.len = len;
        ngx_memcpy(req->value.data, ngx_http_unit_store_buf, len);
    }

    if (req->secret) {
        ngx_explicit_memzero(ngx_http_unit_store_buf, len);
    }

    return p ? NGX_OK : NGX_ERROR;
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_store_find_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_store_req_t *req)
{
    ngx_uint_t                 n, best;
    ngx_http_unit_scopes_t     scopes, *need;
    ngx_http_unit_shm_node_t  *node, *found;

    need = ngx_http_unit_scopes_empty(&req->need) ? &req->scopes : &req->need;
    best = NGX_HTTP_UNIT_SCOPE_MAX + 1;
    found = NULL;

    for (node = ngx_http_unit_shm_find_locked(shm, req->class, req->key, NULL);
         node;
         node = ngx_http_unit_shm_next_locked(node))
    {
        scopes.w[0] = node->tag[0];
        scopes.w[1] = node->tag[1];

        if (!ngx_http_unit_scopes_cover(&scopes, need)) {
            continue;
        }

        n = ngx_http_unit_scopes_count(&scopes);

        if (n < best) {
            best = n;
            found = node;
        }
    }

    return found;
}


/* has the time come after which a new one may be made in advance */

static ngx_uint_t
ngx_http_unit_store_is_due(ngx_http_unit_shm_node_t *node)
{
    ngx_msec_t  refresh;

    ngx_memcpy(&refresh, node->data, sizeof(ngx_msec_t));

    return refresh && (ngx_msec_int_t) (refresh - ngx_current_msec) <= 0;
}


/* is it time to replace this record: nobody does it, or has failed just now */

static ngx_uint_t
ngx_http_unit_store_refresh_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_store_req_t *req, ngx_http_unit_shm_node_t *node)
{
    ngx_http_unit_shm_node_t  *same;

    /* what would be made may be there already, with more scopes than this */

    same = ngx_http_unit_shm_find_locked(shm, req->class, req->key,
                                         req->scopes.w);

    return (same == NULL || same == node)
           && ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_REFUSAL,
                                            req->key, req->scopes.w)
              == NULL
           && ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_LEASE,
                                            req->key, req->scopes.w)
              == NULL;
}


/*
 * Take the lease.  Returns 1 when it is ours; 0 when another one has it, or,
 * with req->code set, when the one that was waited for failed.
 */
static ngx_uint_t
ngx_http_unit_store_lease_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_store_lease_t   lease;

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_LEASE,
                                         req->key, req->scopes.w);

    if (node) {
        ngx_memcpy(&lease, node->data, sizeof(lease));

        if (!lease.failed) {
            req->waited = lease.id;
            return 0;
        }

        if (lease.id == req->waited) {
            req->code = lease.code;
            return 0;
        }

        ngx_http_unit_shm_remove_locked(shm, node);
    }

    lease.id = ++shm->sh->serial;
    lease.failed = 0;
    lease.code = 0;

    req->lease = lease.id;

    node = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_LEASE,
                                          sizeof(lease));
    if (node) {
        ngx_memcpy(node->data, &lease, sizeof(lease));
        ngx_http_unit_shm_link_locked(shm, node, req->key, req->scopes.w,
                                      NGX_HTTP_UNIT_STORE_LEASE);
    }

    /* without room for the lease the request is served all the same */

    return 1;
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_store_own_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_store_req_t *req, ngx_http_unit_store_lease_t *lease)
{
    ngx_http_unit_shm_node_t  *node;

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_LEASE,
                                         req->key, req->scopes.w);
    if (node == NULL) {
        return NULL;
    }

    ngx_memcpy(lease, node->data, sizeof(ngx_http_unit_store_lease_t));

    return lease->id == req->lease ? node : NULL;
}


static ngx_int_t
ngx_http_unit_store_put(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    ngx_msec_t                    refresh;
    ngx_http_unit_shm_node_t     *node, *old;
    ngx_http_unit_store_lease_t   lease;

    refresh = 0;

    if (req->refresh_in) {
        refresh = ngx_current_msec + req->refresh_in;

        /* 0 means never, the clock may pass it on 32-bit platforms */
        refresh += (refresh == 0);
    }

    ngx_http_unit_shm_lock(shm);

    node = NULL;

    if (req->ttl && req->value.len <= NGX_HTTP_UNIT_STORE_VALUE_MAX) {
        node = ngx_http_unit_shm_alloc_locked(shm, req->class,
                                              sizeof(ngx_msec_t)
                                              + req->value.len);
    }

    if (node) {
        node->secret = req->secret;
        ngx_memcpy(node->data, &refresh, sizeof(ngx_msec_t));
        ngx_memcpy(node->data + sizeof(ngx_msec_t), req->value.data,
                   req->value.len);

        /* the new one first: between the two steps there is never none */

        old = ngx_http_unit_shm_find_locked(shm, req->class, req->key,
                                            req->scopes.w);

        ngx_http_unit_shm_link_locked(shm, node, req->key, req->scopes.w,
                                      req->ttl);
        if (old) {
            ngx_http_unit_shm_remove_locked(shm, old);
        }
    }

    node = ngx_http_unit_store_own_locked(shm, req, &lease);
    if (node) {
        ngx_http_unit_shm_remove_locked(shm, node);
    }

    ngx_http_unit_shm_unlock(shm);

    req->lease = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_store_refuse(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_store_lease_t   lease;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_store_own_locked(shm, req, &lease);

    if (node) {

        if (req->ttl) {
            ngx_http_unit_shm_remove_locked(shm, node);

        } else {
            lease.failed = 1;
            lease.code = req->code;
            ngx_memcpy(node->data, &lease, sizeof(lease));
            node->expire = ngx_current_msec + NGX_HTTP_UNIT_STORE_FAILED;
        }
    }

    if (req->ttl) {
        node = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_REFUSAL,
                                              sizeof(ngx_http_unit_code_e));
        if (node) {
            ngx_memcpy(node->data, &req->code, sizeof(ngx_http_unit_code_e));
            ngx_http_unit_shm_link_locked(shm, node, req->key, req->scopes.w,
                                          req->ttl);
        }
    }

    ngx_http_unit_shm_unlock(shm);

    req->lease = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_store_renew(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_store_lease_t   lease;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_store_own_locked(shm, req, &lease);
    if (node) {
        node->expire = ngx_current_msec + NGX_HTTP_UNIT_STORE_LEASE;
    }

    ngx_http_unit_shm_unlock(shm);

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_store_release(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_store_lease_t   lease;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_store_own_locked(shm, req, &lease);
    if (node) {
        ngx_http_unit_shm_remove_locked(shm, node);
    }

    ngx_http_unit_shm_unlock(shm);

    req->lease = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_store_purge(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    ngx_http_unit_shm_node_t  *node, *next;

    ngx_http_unit_shm_lock(shm);

    for (node = ngx_http_unit_shm_find_locked(shm, req->class, req->key, NULL);
         node;
         node = next)
    {
        next = ngx_http_unit_shm_next_locked(node);

        if (req->value.len == 0
            || (node->size == sizeof(ngx_msec_t) + req->value.len
                && ngx_memcmp(node->data + sizeof(ngx_msec_t),
                              req->value.data, req->value.len)
                   == 0))
        {
            ngx_http_unit_shm_remove_locked(shm, node);
        }
    }

    ngx_http_unit_shm_unlock(shm);

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_store_find(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    size_t                     len;
    ngx_http_unit_shm_node_t  *node;

    len = 0;
    req->result = NGX_HTTP_UNIT_STORE_BUSY;
    ngx_str_null(&req->value);

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_store_find_locked(shm, req);

    if (node && !(req->fresh && ngx_http_unit_store_is_due(node))) {
        len = ngx_http_unit_store_read_locked(shm, node, req);
    }

    ngx_http_unit_shm_unlock(shm);

    if (req->result != NGX_HTTP_UNIT_STORE_HIT) {
        return NGX_OK;
    }

    return ngx_http_unit_store_value(req, len);
}


static ngx_int_t
ngx_http_unit_store_survey(void *store, ngx_http_unit_store_req_t *req)
{
    ngx_http_unit_shm_t  *shm = store;

    ngx_msec_t                 ttl;
    ngx_http_unit_shm_node_t  *node;

    req->ttl = 0;
    ngx_http_unit_scopes_zero(&req->scopes);

    ngx_http_unit_shm_lock(shm);

    for (node = ngx_http_unit_shm_find_locked(shm, req->class, req->key, NULL);
         node;
         node = ngx_http_unit_shm_next_locked(node))
    {
        req->scopes.w[0] |= node->tag[0];
        req->scopes.w[1] |= node->tag[1];

        ttl = node->expire - ngx_current_msec;
        req->ttl = ngx_max(req->ttl, ttl);
    }

    ngx_http_unit_shm_unlock(shm);

    return NGX_OK;
}
