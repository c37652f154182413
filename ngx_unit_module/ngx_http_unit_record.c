
/*
 * Idempotency records, see ngx_http_unit_record.h.  The lease is a record of
 * its own in a class that is never evicted; the answers are a cache.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_record.h"


typedef struct {
    uint64_t    id;
    u_char      fingerprint[NGX_HTTP_UNIT_SHA256_LEN];
} ngx_http_unit_record_lease_t;


/* data of a record; type and body follow it */
typedef struct {
    u_char      fingerprint[NGX_HTTP_UNIT_SHA256_LEN];
    uint16_t    status;                 /* 0: outcome unknown */
    uint16_t    type;
    uint32_t    body;
} ngx_http_unit_record_head_t;


static ngx_http_unit_shm_node_t *ngx_http_unit_record_lease_locked(
    ngx_http_unit_shm_t *shm, const u_char *key, uint64_t id);
static ngx_uint_t ngx_http_unit_record_keep_locked(ngx_http_unit_shm_t *shm,
    const u_char *key, const u_char *fingerprint,
    ngx_http_unit_record_answer_t *answer);


/* answers leave the zone through this: no pool is touched under the lock */
static u_char  ngx_http_unit_record_buf[NGX_HTTP_UNIT_RECORD_TYPE
                                        + NGX_HTTP_UNIT_RECORD_BODY];


ngx_int_t
ngx_http_unit_record_begin(ngx_http_unit_shm_t *shm, ngx_pool_t *pool,
    const u_char *key, const u_char *fingerprint,
    ngx_http_unit_record_e *result, uint64_t *lease,
    ngx_http_unit_record_answer_t *answer)
{
    u_char                        *p;
    size_t                         len;
    ngx_http_unit_shm_node_t      *node;
    ngx_http_unit_record_head_t    head;
    ngx_http_unit_record_lease_t   rec;

    *lease = 0;
    *result = NGX_HTTP_UNIT_RECORD_BEGIN;

    ngx_memzero(&head, sizeof(ngx_http_unit_record_head_t));

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM_LEASE,
                                         key, NULL);
    if (node) {
        ngx_memcpy(&rec, node->data, sizeof(rec));

        *result = ngx_memcmp(rec.fingerprint, fingerprint,
                             NGX_HTTP_UNIT_SHA256_LEN)
                  ? NGX_HTTP_UNIT_RECORD_REUSED
                  : NGX_HTTP_UNIT_RECORD_IN_USE;

        ngx_http_unit_shm_unlock(shm);
        return NGX_OK;
    }

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM, key,
                                         NULL);
    if (node) {
        ngx_memcpy(&head, node->data, sizeof(head));

        if (ngx_memcmp(head.fingerprint, fingerprint,
                       NGX_HTTP_UNIT_SHA256_LEN))
        {
            *result = NGX_HTTP_UNIT_RECORD_REUSED;

        } else if (head.status) {
            *result = NGX_HTTP_UNIT_RECORD_REPLAY;

            ngx_memcpy(ngx_http_unit_record_buf, node->data + sizeof(head),
                       head.type + head.body);

            ngx_http_unit_shm_touch_locked(shm, node);
        }
    }

    if (*result == NGX_HTTP_UNIT_RECORD_BEGIN) {

        rec.id = ++shm->sh->serial;
        ngx_memcpy(rec.fingerprint, fingerprint, NGX_HTTP_UNIT_SHA256_LEN);

        node = ngx_http_unit_shm_alloc_locked(shm,
                                              NGX_HTTP_UNIT_SHM_IDEM_LEASE,
                                              sizeof(rec));
        if (node) {
            ngx_memcpy(node->data, &rec, sizeof(rec));
            ngx_http_unit_shm_link_locked(shm, node, key, NULL,
                                          NGX_HTTP_UNIT_RECORD_LEASE);
            *lease = rec.id;

        } else {
            *result = NGX_HTTP_UNIT_RECORD_FULL;
        }
    }

    ngx_http_unit_shm_unlock(shm);

    if (*result != NGX_HTTP_UNIT_RECORD_REPLAY) {
        return NGX_OK;
    }

    len = head.type + head.body;

    p = ngx_pnalloc(pool, len ? len : 1);

    if (p) {
        ngx_memcpy(p, ngx_http_unit_record_buf, len);

        answer->status = head.status;
        answer->type.data = p;
        answer->type.len = head.type;
        answer->body.data = p + head.type;
        answer->body.len = head.body;
    }

    /* somebody's money */
    ngx_explicit_memzero(ngx_http_unit_record_buf, len);

    return p ? NGX_OK : NGX_ERROR;
}


ngx_uint_t
ngx_http_unit_record_exists(ngx_http_unit_shm_t *shm, const u_char *key)
{
    ngx_uint_t  found;

    ngx_http_unit_shm_lock(shm);

    found = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM_LEASE,
                                          key, NULL)
            || ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM, key,
                                             NULL);

    ngx_http_unit_shm_unlock(shm);

    return found;
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_record_lease_locked(ngx_http_unit_shm_t *shm, const u_char *key,
    uint64_t id)
{
    ngx_http_unit_shm_node_t      *node;
    ngx_http_unit_record_lease_t   rec;

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM_LEASE,
                                         key, NULL);
    if (node == NULL) {
        return NULL;
    }

    ngx_memcpy(&rec, node->data, sizeof(rec));

    return rec.id == id ? node : NULL;
}


void
ngx_http_unit_record_renew(ngx_http_unit_shm_t *shm, const u_char *key,
    uint64_t lease)
{
    ngx_http_unit_shm_node_t  *node;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_record_lease_locked(shm, key, lease);
    if (node) {
        node->expire = ngx_current_msec + NGX_HTTP_UNIT_RECORD_LEASE;
    }

    ngx_http_unit_shm_unlock(shm);
}


void
ngx_http_unit_record_finish(ngx_http_unit_shm_t *shm, const u_char *key,
    const u_char *fingerprint, uint64_t lease,
    ngx_http_unit_record_answer_t *answer)
{
    ngx_http_unit_shm_node_t  *node;

    ngx_http_unit_shm_lock(shm);

    /* the answer first: between the two steps the key is still in use */

    if (answer == NULL
        || !ngx_http_unit_record_keep_locked(shm, key, fingerprint, answer))
    {
        (void) ngx_http_unit_record_keep_locked(shm, key, fingerprint, NULL);
    }

    node = ngx_http_unit_record_lease_locked(shm, key, lease);
    if (node) {
        ngx_http_unit_shm_remove_locked(shm, node);
    }

    ngx_http_unit_shm_unlock(shm);
}


static ngx_uint_t
ngx_http_unit_record_keep_locked(ngx_http_unit_shm_t *shm, const u_char *key,
    const u_char *fingerprint, ngx_http_unit_record_answer_t *answer)
{
    u_char                       *p;
    size_t                        len;
    ngx_http_unit_shm_node_t     *node, *old;
    ngx_http_unit_record_head_t   head;

    ngx_memzero(&head, sizeof(ngx_http_unit_record_head_t));
    ngx_memcpy(head.fingerprint, fingerprint, NGX_HTTP_UNIT_SHA256_LEN);

    if (answer) {

        if (answer->body.len > NGX_HTTP_UNIT_RECORD_BODY
            || answer->type.len > NGX_HTTP_UNIT_RECORD_TYPE)
        {
            return 0;
        }

        head.status = (uint16_t) answer->status;
        head.type = (uint16_t) answer->type.len;
        head.body = (uint32_t) answer->body.len;
    }

    len = sizeof(head) + head.type + head.body;

    node = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_IDEM, len);
    if (node == NULL) {
        return 0;
    }

    node->secret = 1;

    p = ngx_cpymem(node->data, &head, sizeof(head));

    if (answer) {
        p = ngx_cpymem(p, answer->type.data, answer->type.len);
        ngx_memcpy(p, answer->body.data, answer->body.len);
    }

    old = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM, key,
                                        NULL);

    ngx_http_unit_shm_link_locked(shm, node, key, NULL,
                                  NGX_HTTP_UNIT_RECORD_TTL);
    if (old) {
        ngx_http_unit_shm_remove_locked(shm, old);
    }

    return 1;
}


void
ngx_http_unit_record_cancel(ngx_http_unit_shm_t *shm, const u_char *key,
    uint64_t lease)
{
    ngx_http_unit_shm_node_t  *node;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_record_lease_locked(shm, key, lease);
    if (node) {
        ngx_http_unit_shm_remove_locked(shm, node);
    }

    ngx_http_unit_shm_unlock(shm);
}
