
/*
 * Verifications under way, see ngx_http_unit_handle.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_handle.h"


/* longer than a call to Unit may take: a dead worker's attempt ends then */
#define NGX_HTTP_UNIT_HANDLE_TAKEN   15000

/* attempts without a verdict are free, but not without end */
#define NGX_HTTP_UNIT_HANDLE_TRIES   20

/* what Unit's tokens are expected to take; longer ones are moved */
#define NGX_HTTP_UNIT_HANDLE_ROOM    256

/* of one owner at a time; the oldest makes room */
#define NGX_HTTP_UNIT_HANDLE_OWNED   8

/* how often, in ms, and how many at once, expired ones are wiped */
#define NGX_HTTP_UNIT_HANDLE_SWEEP   5000
#define NGX_HTTP_UNIT_HANDLE_SWEPT   256


/* data of a record; Unit's token follows it */
typedef struct {
    u_char      hash[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_msec_t  taken;         /* until then, 0: free */
    uint32_t    attempts;      /* wrong or undecided */
    uint32_t    tries;
    uint32_t    len;           /* of the token, 0: reserved */
} ngx_http_unit_handle_record_t;


static ngx_http_unit_shm_node_t *ngx_http_unit_handle_find_locked(
    ngx_http_unit_shm_t *shm, const u_char *owner, const u_char *hash,
    ngx_http_unit_handle_record_t *rec);
static ngx_int_t ngx_http_unit_handle_hash(ngx_str_t *handle, u_char *hash);
static void ngx_http_unit_handle_sweep(ngx_event_t *ev);


/* tokens leave the zone through this: no pool is touched under the lock */
static u_char  ngx_http_unit_handle_buf[NGX_HTTP_UNIT_HANDLE_TOKEN];

static ngx_event_t           ngx_http_unit_handle_event;
static ngx_connection_t      ngx_http_unit_handle_dummy;
static ngx_http_unit_shm_t  *ngx_http_unit_handle_shm;


ngx_int_t
ngx_http_unit_handle_reserve(ngx_http_unit_shm_t *shm, const u_char *owner,
    u_char *handle)
{
    u_char                          random[32];
    ngx_str_t                       s;
    ngx_uint_t                      n;
    ngx_http_unit_shm_node_t       *node, *next, *oldest;
    ngx_http_unit_handle_record_t   rec;

    ngx_memzero(&rec, sizeof(ngx_http_unit_handle_record_t));

    if (ngx_http_unit_random(random, sizeof(random)) != NGX_OK) {
        return NGX_ERROR;
    }

    s.data = handle;
    s.len = ngx_http_unit_base64url_encode(handle, random, sizeof(random));

    ngx_explicit_memzero(random, sizeof(random));

    if (ngx_http_unit_handle_hash(&s, rec.hash) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_unit_shm_lock(shm);

    n = 0;
    oldest = NULL;

    for (node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_HANDLE,
                                              owner, NULL);
         node;
         node = next)
    {
        /* the newest come first in a bucket */

        next = ngx_http_unit_shm_next_locked(node);
        oldest = node;
        n++;
    }

    if (n >= NGX_HTTP_UNIT_HANDLE_OWNED) {
        ngx_http_unit_shm_remove_locked(shm, oldest);
    }

    node = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_HANDLE,
                                          sizeof(rec)
                                          + NGX_HTTP_UNIT_HANDLE_ROOM);
    if (node) {
        node->secret = 1;
        ngx_memcpy(node->data, &rec, sizeof(rec));
        ngx_http_unit_shm_link_locked(shm, node, owner, NULL,
                                      NGX_HTTP_UNIT_HANDLE_TTL);
    }

    ngx_http_unit_shm_unlock(shm);

    return node ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_unit_handle_keep(ngx_http_unit_shm_t *shm, const u_char *owner,
    u_char *handle, ngx_str_t *token)
{
    u_char                          hash[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_int_t                       rc;
    ngx_str_t                       s;
    ngx_http_unit_shm_node_t       *node, *longer;
    ngx_http_unit_handle_record_t   rec;

    s.data = handle;
    s.len = NGX_HTTP_UNIT_HANDLE_LEN;

    if (token->len > NGX_HTTP_UNIT_HANDLE_TOKEN
        || ngx_http_unit_handle_hash(&s, hash) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_handle_find_locked(shm, owner, hash, &rec);

    if (node && token->len > node->size - sizeof(rec)) {

        rc = NGX_ERROR;
        ngx_http_unit_shm_remove_locked(shm, node);

        longer = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_HANDLE,
                                                sizeof(rec) + token->len);
        if (longer) {
            longer->secret = 1;
            ngx_memcpy(longer->data, &rec, sizeof(rec));
            ngx_http_unit_shm_link_locked(shm, longer, owner, NULL,
                                          NGX_HTTP_UNIT_HANDLE_TTL);
        }

        node = longer;
    }

    if (node) {
        rec.len = (uint32_t) token->len;

        ngx_memcpy(node->data + sizeof(rec), token->data, token->len);
        ngx_memcpy(node->data, &rec, sizeof(rec));
        node->expire = ngx_current_msec + NGX_HTTP_UNIT_HANDLE_TTL;

        rc = NGX_OK;
    }

    ngx_http_unit_shm_unlock(shm);

    return rc;
}


void
ngx_http_unit_handle_drop(ngx_http_unit_shm_t *shm, const u_char *owner,
    u_char *handle)
{
    ngx_str_t  s;

    s.data = handle;
    s.len = NGX_HTTP_UNIT_HANDLE_LEN;

    (void) ngx_http_unit_handle_return(shm, owner, &s,
                                       NGX_HTTP_UNIT_HANDLE_USED);
}


ngx_int_t
ngx_http_unit_handle_take(ngx_http_unit_shm_t *shm, const u_char *owner,
    ngx_str_t *handle, ngx_pool_t *pool, ngx_str_t *token)
{
    u_char                          hash[NGX_HTTP_UNIT_SHA256_LEN];
    size_t                          len;
    ngx_int_t                       rc;
    ngx_http_unit_shm_node_t       *node;
    ngx_http_unit_handle_record_t   rec;

    ngx_str_null(token);

    if (ngx_http_unit_handle_hash(handle, hash) != NGX_OK) {
        return NGX_ERROR;
    }

    len = 0;
    rc = NGX_DECLINED;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_handle_find_locked(shm, owner, hash, &rec);

    if (node && rec.len
        && (rec.taken == 0
            || (ngx_msec_int_t) (rec.taken - ngx_current_msec) <= 0))
    {
        rec.attempts++;
        rec.tries++;
        rec.taken = ngx_current_msec + NGX_HTTP_UNIT_HANDLE_TAKEN;
        rec.taken += (rec.taken == 0);

        if (rec.attempts > NGX_HTTP_UNIT_HANDLE_ATTEMPTS
            || rec.tries > NGX_HTTP_UNIT_HANDLE_TRIES)
        {
            /* attempts of workers that died */
            ngx_http_unit_shm_remove_locked(shm, node);

        } else {
            ngx_memcpy(node->data, &rec, sizeof(rec));

            len = rec.len;
            ngx_memcpy(ngx_http_unit_handle_buf, node->data + sizeof(rec),
                       len);
            rc = NGX_OK;
        }
    }

    ngx_http_unit_shm_unlock(shm);

    if (rc != NGX_OK) {
        return rc;
    }

    token->data = ngx_pnalloc(pool, len);

    if (token->data) {
        ngx_memcpy(token->data, ngx_http_unit_handle_buf, len);
        token->len = len;
    }

    ngx_explicit_memzero(ngx_http_unit_handle_buf, len);

    if (token->data == NULL) {
        (void) ngx_http_unit_handle_return(shm, owner, handle,
                                           NGX_HTTP_UNIT_HANDLE_UNSEEN);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_handle_return(ngx_http_unit_shm_t *shm, const u_char *owner,
    ngx_str_t *handle, ngx_http_unit_handle_outcome_e outcome)
{
    u_char                          hash[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_uint_t                      rv;
    ngx_http_unit_shm_node_t       *node;
    ngx_http_unit_handle_record_t   rec;

    if (ngx_http_unit_handle_hash(handle, hash) != NGX_OK) {
        return 0;
    }

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_handle_find_locked(shm, owner, hash, &rec);
    rv = (node != NULL);

    if (node) {

        rec.taken = 0;

        if (outcome == NGX_HTTP_UNIT_HANDLE_UNSEEN && rec.attempts) {
            rec.attempts--;
        }

        if (outcome == NGX_HTTP_UNIT_HANDLE_USED
            || rec.attempts >= NGX_HTTP_UNIT_HANDLE_ATTEMPTS)
        {
            if (outcome != NGX_HTTP_UNIT_HANDLE_USED) {
                rv = NGX_HTTP_UNIT_HANDLE_LOCKED;
            }

            ngx_http_unit_shm_remove_locked(shm, node);

        } else {
            ngx_memcpy(node->data, &rec, sizeof(rec));
        }
    }

    ngx_http_unit_shm_unlock(shm);

    return rv;
}


ngx_uint_t
ngx_http_unit_handle_wrong(ngx_http_unit_shm_t *shm, const u_char *owner,
    ngx_str_t *handle)
{
    u_char                          hash[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_uint_t                      rv;
    ngx_http_unit_shm_node_t       *node;
    ngx_http_unit_handle_record_t   rec;

    if (ngx_http_unit_handle_hash(handle, hash) != NGX_OK) {
        return 0;
    }

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_handle_find_locked(shm, owner, hash, &rec);
    rv = (node != NULL);

    if (node) {

        if (++rec.attempts >= NGX_HTTP_UNIT_HANDLE_ATTEMPTS) {
            rv = NGX_HTTP_UNIT_HANDLE_LOCKED;
            ngx_http_unit_shm_remove_locked(shm, node);

        } else {
            ngx_memcpy(node->data, &rec, sizeof(rec));
        }
    }

    ngx_http_unit_shm_unlock(shm);

    return rv;
}


void
ngx_http_unit_handle_forget(ngx_http_unit_shm_t *shm, const u_char *owner)
{
    ngx_http_unit_shm_node_t  *node;

    ngx_http_unit_shm_lock(shm);

    for ( ;; ) {

        node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_HANDLE,
                                             owner, NULL);
        if (node == NULL) {
            break;
        }

        ngx_http_unit_shm_remove_locked(shm, node);
    }

    ngx_http_unit_shm_unlock(shm);
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_handle_find_locked(ngx_http_unit_shm_t *shm,
    const u_char *owner, const u_char *hash,
    ngx_http_unit_handle_record_t *rec)
{
    ngx_http_unit_shm_node_t  *node;

    for (node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_HANDLE,
                                              owner, NULL);
         node;
         node = ngx_http_unit_shm_next_locked(node))
    {
        ngx_memcpy(rec, node->data, sizeof(ngx_http_unit_handle_record_t));

        if (ngx_http_unit_equal(rec->hash, NGX_HTTP_UNIT_SHA256_LEN, hash,
                                NGX_HTTP_UNIT_SHA256_LEN))
        {
            return node;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_unit_handle_hash(ngx_str_t *handle, u_char *hash)
{
    ngx_str_t  fields[2];

    ngx_str_set(&fields[0], "handle");
    fields[1] = *handle;

    return ngx_http_unit_sha256(fields, 2, 0, hash);
}


void
ngx_http_unit_handle_init_process(ngx_cycle_t *cycle,
    ngx_http_unit_shm_t *shm)
{
    ngx_event_t  *ev;

    ngx_http_unit_handle_shm = shm;

    /* debug builds look for a connection behind a timer (STYLE P31) */
    ngx_http_unit_handle_dummy.fd = (ngx_socket_t) -1;

    ev = &ngx_http_unit_handle_event;
    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_http_unit_handle_sweep;
    ev->log = cycle->log;
    ev->data = &ngx_http_unit_handle_dummy;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_UNIT_HANDLE_SWEEP);
}


static void
ngx_http_unit_handle_sweep(ngx_event_t *ev)
{
    ngx_http_unit_shm_t  *shm;

    if (ngx_exiting) {
        return;
    }

    shm = ngx_http_unit_handle_shm;

    ngx_http_unit_shm_lock(shm);

    ngx_http_unit_shm_expire_locked(shm, NGX_HTTP_UNIT_SHM_HANDLE,
                                    NGX_HTTP_UNIT_HANDLE_SWEPT);

    ngx_http_unit_shm_unlock(shm);

    ngx_add_timer(ev, NGX_HTTP_UNIT_HANDLE_SWEEP);
}
