
/*
 * Who gives way to whom in a full zone, see ngx_http_unit_shm.h.  Tokens can
 * be had again, records of writes cannot, so that tokens go first; and nobody
 * pushes out the records of many others.  Each step takes one of the last of a
 * queue: nothing is searched.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_shm.h"


/* tries to make room for one allocation */
#define NGX_HTTP_UNIT_SHM_EVICT_MAX     64

/* used ones that get a second chance, when one is to go; or an expired one */
#define NGX_HTTP_UNIT_SHM_CHANCES       16
#define NGX_HTTP_UNIT_SHM_CHANCES_EXP   1

/* parts of the zone: records fill one, caches have the other from them */
#define NGX_HTTP_UNIT_SHM_RECORDS_PART  2
#define NGX_HTTP_UNIT_SHM_CACHES_PART   8

/* an owner with this part of all records makes room for itself */
#define NGX_HTTP_UNIT_SHM_OWNER_PART    8


static void *ngx_http_unit_shm_owned_room_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_owner_t *owner, size_t len);
static void *ngx_http_unit_shm_class_room_locked(ngx_http_unit_shm_t *shm,
    ngx_uint_t class, ngx_http_unit_shm_owner_t *owner, size_t len);
static void *ngx_http_unit_shm_caches_room_locked(ngx_http_unit_shm_t *shm,
    ngx_uint_t records, size_t len);
static ngx_uint_t ngx_http_unit_shm_caches_evict_locked(
    ngx_http_unit_shm_t *shm);
static ngx_uint_t ngx_http_unit_shm_is_cache(ngx_uint_t class);
static size_t ngx_http_unit_shm_caches_bytes(ngx_http_unit_shctx_t *sh);
static ngx_uint_t ngx_http_unit_shm_evict_locked(ngx_http_unit_shm_t *shm,
    ngx_uint_t class, ngx_http_unit_shm_owner_t *owner,
    ngx_uint_t expired_only);
static ngx_http_unit_shm_node_t *ngx_http_unit_shm_victim_locked(
    ngx_http_unit_shm_t *shm, ngx_uint_t class,
    ngx_http_unit_shm_owner_t *owner, ngx_uint_t chances);


/* what can be had again, least valuable first */
static const ngx_http_unit_shm_class_e  ngx_http_unit_shm_caches[] = {
    NGX_HTTP_UNIT_SHM_JWT_BAD,
    NGX_HTTP_UNIT_SHM_JWT,
    NGX_HTTP_UNIT_SHM_REFUSAL,
    NGX_HTTP_UNIT_SHM_CUSTOMERS,
    NGX_HTTP_UNIT_SHM_TOKEN
};

#define NGX_HTTP_UNIT_SHM_NCACHES                                             \
    (sizeof(ngx_http_unit_shm_caches) / sizeof(ngx_http_unit_shm_caches[0]))


void *
ngx_http_unit_shm_room_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_http_unit_shm_owner_t *owner,
    size_t len)
{
    void  *p;

    p = ngx_slab_alloc_locked(shm->shpool, len);

    if (p) {
        return p;
    }

    if (owner) {
        return ngx_http_unit_shm_owned_room_locked(shm, owner, len);
    }

    if (!ngx_http_unit_shm_is_cache(class)) {
        return ngx_http_unit_shm_caches_room_locked(shm, 1, len);
    }

    if (ngx_http_unit_shm_caches_bytes(shm->sh)
        < shm->zone->shm.size / NGX_HTTP_UNIT_SHM_CACHES_PART)
    {
        p = ngx_http_unit_shm_class_room_locked(shm, NGX_HTTP_UNIT_SHM_IDEM,
                                                NULL, len);
        if (p) {
            return p;
        }
    }

    p = ngx_http_unit_shm_class_room_locked(shm, class, NULL, len);

    if (p) {
        return p;
    }

    return ngx_http_unit_shm_caches_room_locked(shm, 0, len);
}


static void *
ngx_http_unit_shm_owned_room_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_owner_t *owner, size_t len)
{
    void        *p;
    ngx_uint_t   few;

    few = (shm->sh->bytes[NGX_HTTP_UNIT_SHM_IDEM]
           < shm->zone->shm.size / NGX_HTTP_UNIT_SHM_RECORDS_PART);

    if (few) {
        p = ngx_http_unit_shm_caches_room_locked(shm, 0, len);

        if (p) {
            return p;
        }
    }

    p = ngx_http_unit_shm_class_room_locked(shm, NGX_HTTP_UNIT_SHM_IDEM, owner,
                                            len);

    /* pieces of records may be where no piece of this size can be made */

    if (p == NULL && !few) {
        p = ngx_http_unit_shm_caches_room_locked(shm, 0, len);
    }

    return p;
}


static void *
ngx_http_unit_shm_class_room_locked(ngx_http_unit_shm_t *shm, ngx_uint_t class,
    ngx_http_unit_shm_owner_t *owner, size_t len)
{
    void        *p;
    ngx_uint_t   n;

    for (n = 0; n < NGX_HTTP_UNIT_SHM_EVICT_MAX; n++) {

        if (!ngx_http_unit_shm_evict_locked(shm, class, owner, 0)) {
            return NULL;
        }

        p = ngx_slab_alloc_locked(shm->shpool, len);

        if (p) {
            return p;
        }
    }

    return NULL;
}


static void *
ngx_http_unit_shm_caches_room_locked(ngx_http_unit_shm_t *shm,
    ngx_uint_t records, size_t len)
{
    void        *p;
    ngx_uint_t   n;

    for (n = 0; n < NGX_HTTP_UNIT_SHM_EVICT_MAX; n++) {

        if (!ngx_http_unit_shm_caches_evict_locked(shm)
            && !(records
                 && ngx_http_unit_shm_evict_locked(shm, NGX_HTTP_UNIT_SHM_IDEM,
                                                   NULL, 0)))
        {
            return NULL;
        }

        p = ngx_slab_alloc_locked(shm->shpool, len);

        if (p) {
            return p;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_unit_shm_caches_evict_locked(ngx_http_unit_shm_t *shm)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_UNIT_SHM_NCACHES; i++) {

        if (ngx_http_unit_shm_evict_locked(shm, ngx_http_unit_shm_caches[i],
                                           NULL, 0))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_unit_shm_is_cache(ngx_uint_t class)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_UNIT_SHM_NCACHES; i++) {
        if (ngx_http_unit_shm_caches[i] == class) {
            return 1;
        }
    }

    return 0;
}


static size_t
ngx_http_unit_shm_caches_bytes(ngx_http_unit_shctx_t *sh)
{
    size_t      bytes;
    ngx_uint_t  i;

    bytes = 0;

    for (i = 0; i < NGX_HTTP_UNIT_SHM_NCACHES; i++) {
        bytes += sh->bytes[ngx_http_unit_shm_caches[i]];
    }

    return bytes;
}


void
ngx_http_unit_shm_expire_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_uint_t max)
{
    ngx_uint_t  n;

    for (n = 0; n < max; n++) {
        if (!ngx_http_unit_shm_evict_locked(shm, class, NULL, 1)) {
            break;
        }
    }
}


void
ngx_http_unit_shm_bound_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_uint_t max)
{
    if (shm->sh->count[class] > max) {
        (void) ngx_http_unit_shm_evict_locked(shm, class, NULL, 0);
    }

    if (shm->sh->count[class] > max) {
        (void) ngx_http_unit_shm_evict_locked(shm, class, NULL, 0);
    }
}


void
ngx_http_unit_shm_bound_owned_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_owner_t *owner)
{
    size_t      max;
    ngx_uint_t  n;

    max = shm->zone->shm.size / NGX_HTTP_UNIT_SHM_RECORDS_PART;

    for (n = 0;
         n < NGX_HTTP_UNIT_SHM_EVICT_MAX
             && shm->sh->bytes[NGX_HTTP_UNIT_SHM_IDEM] > max;
         n++)
    {
        if (!ngx_http_unit_shm_evict_locked(shm, NGX_HTTP_UNIT_SHM_IDEM, owner,
                                            0))
        {
            break;
        }
    }
}


static ngx_uint_t
ngx_http_unit_shm_evict_locked(ngx_http_unit_shm_t *shm, ngx_uint_t class,
    ngx_http_unit_shm_owner_t *owner, ngx_uint_t expired_only)
{
    ngx_uint_t                 expired;
    ngx_http_unit_shm_node_t  *node;

    node = ngx_http_unit_shm_victim_locked(shm, class, owner,
                                      expired_only
                                      ? NGX_HTTP_UNIT_SHM_CHANCES_EXP
                                      : NGX_HTTP_UNIT_SHM_CHANCES);

    if (node == NULL) {
        return 0;
    }

    expired = ((ngx_msec_int_t) (node->expire - ngx_current_msec) <= 0);

    if (!expired) {

        if (expired_only) {
            return 0;
        }

        shm->sh->evicted[class]++;
    }

    ngx_http_unit_shm_remove_locked(shm, node);

    return 1;
}


/*
 * The oldest of the class that was not used since it came to the young end; or
 * the oldest of its owner, if that has so many that they would push out those
 * of others.  Such an owner that has nothing but leases gets nothing.  Used
 * ones go to the young end, as many as there are chances.
 */

static ngx_http_unit_shm_node_t *
ngx_http_unit_shm_victim_locked(ngx_http_unit_shm_t *shm, ngx_uint_t class,
    ngx_http_unit_shm_owner_t *owner, ngx_uint_t chances)
{
    u_char                    *p;
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    ngx_http_unit_shm_node_t  *node;

    if (owner && owner->bytes
                 >= shm->sh->owned / NGX_HTTP_UNIT_SHM_OWNER_PART)
    {
        if (ngx_queue_empty(&owner->queue)) {
            return NULL;
        }

        q = ngx_queue_last(&owner->queue);
        p = (u_char *) ngx_queue_data(q, ngx_http_unit_shm_owned_t, queue);

        return (ngx_http_unit_shm_node_t *)
                   (p - offsetof(ngx_http_unit_shm_node_t, data));
    }

    if (ngx_queue_empty(&shm->sh->queues[class])) {
        return NULL;
    }

    for (n = 0; /* void */ ; n++) {

        q = ngx_queue_last(&shm->sh->queues[class]);
        node = ngx_queue_data(q, ngx_http_unit_shm_node_t, queue);

        if (!node->used
            || (ngx_msec_int_t) (node->expire - ngx_current_msec) <= 0
            || n == chances)
        {
            return node;
        }

        node->used = 0;

        ngx_queue_remove(q);
        ngx_queue_insert_head(&shm->sh->queues[class], q);
    }
}
