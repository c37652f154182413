
/*
 * The shared zone, see ngx_http_unit_shm.h.  Owns the layout of the zone and
 * the rules of eviction; knows nothing of what the records mean.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_shm.h"


/* changes with every change of the structures in the zone */
#define NGX_HTTP_UNIT_SHM_LAYOUT      8

/* one bucket per so many bytes of zone: about one per record */
#define NGX_HTTP_UNIT_SHM_PER_BUCKET  1024

/* one bucket of owners per so many; few share one with another */
#define NGX_HTTP_UNIT_SHM_PER_OWNER   16384
#define NGX_HTTP_UNIT_SHM_OWNERS_MIN  256
#define NGX_HTTP_UNIT_SHM_OWNERS_MAX  65536

#define NGX_HTTP_UNIT_SHM_EXPIRE_MAX  2

/* bytes of a record that are loaded in advance: its head, and some data */
#define NGX_HTTP_UNIT_SHM_PREFETCH    384


static ngx_int_t ngx_http_unit_shm_init(ngx_shm_zone_t *zone, void *data);
static ngx_http_unit_shm_node_t **ngx_http_unit_shm_bucket(
    ngx_http_unit_shctx_t *sh, const u_char *key);
static ngx_int_t ngx_http_unit_shm_owners(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shctx_t *sh);
static size_t ngx_http_unit_shm_size(ngx_http_unit_shm_node_t *node);
static void ngx_http_unit_shm_enter_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node);
static void ngx_http_unit_shm_leave_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node);
static ngx_queue_t *ngx_http_unit_shm_owner_link(
    ngx_http_unit_shm_node_t *node);


ngx_http_unit_shm_t *
ngx_http_unit_shm_add(ngx_conf_t *cf, ngx_str_t *name, size_t size, void *tag)
{
    ngx_shm_zone_t       *zone;
    ngx_http_unit_shm_t  *shm;

    if (size < NGX_HTTP_UNIT_SHM_MIN_SIZE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, at least %uzk are needed",
                           name, (size_t) NGX_HTTP_UNIT_SHM_MIN_SIZE / 1024);
        return NULL;
    }

    shm = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_shm_t));
    if (shm == NULL) {
        return NULL;
    }

    zone = ngx_shared_memory_add(cf, name, size, tag);
    if (zone == NULL) {
        return NULL;
    }

    if (zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is already in use", name);
        return NULL;
    }

    zone->init = ngx_http_unit_shm_init;
    zone->data = shm;
    shm->zone = zone;

    return shm;
}


static ngx_int_t
ngx_http_unit_shm_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_unit_shm_t  *old = data;

    size_t                  len;
    ngx_uint_t              i, n;
    ngx_http_unit_shm_t    *shm;
    ngx_http_unit_shctx_t  *sh;

    shm = zone->data;

    if (old) {

        /* a reload: old workers are using the zone, nothing is written */

        if (old->sh->layout != NGX_HTTP_UNIT_SHM_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "unit zone \"%V\" was made by another version of "
                          "the module, restart nginx", &zone->shm.name);
            return NGX_ERROR;
        }

        shm->shpool = old->shpool;
        shm->sh = old->sh;

        return NGX_OK;
    }

    shm->shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        shm->sh = shm->shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(shm->shpool, sizeof(ngx_http_unit_shctx_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    for (n = 256; n < zone->shm.size / NGX_HTTP_UNIT_SHM_PER_BUCKET; n *= 2) {
        /* void */
    }

    if (ngx_http_unit_random(sh->salt, sizeof(sh->salt)) != NGX_OK) {
        return NGX_ERROR;
    }

    sh->layout = NGX_HTTP_UNIT_SHM_LAYOUT;
    sh->mask = n - 1;
    sh->buckets = ngx_slab_calloc(shm->shpool,
                                  n * sizeof(ngx_http_unit_shm_node_t *));
    if (sh->buckets == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_HTTP_UNIT_SHM_CLASSES; i++) {
        ngx_queue_init(&sh->queues[i]);
    }

    if (ngx_http_unit_shm_owners(shm, sh) != NGX_OK) {
        return NGX_ERROR;
    }

    len = sizeof(" in unit zone \"\"") + zone->shm.name.len;

    shm->shpool->log_ctx = ngx_slab_alloc(shm->shpool, len);
    if (shm->shpool->log_ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(shm->shpool->log_ctx, " in unit zone \"%V\"%Z",
                &zone->shm.name);

    /* a full zone is normal here: the oldest records make room */
    shm->shpool->log_nomem = 0;

    shm->shpool->data = sh;
    shm->sh = sh;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_shm_owners(ngx_http_unit_shm_t *shm, ngx_http_unit_shctx_t *sh)
{
    ngx_uint_t  i, n;

    for (n = NGX_HTTP_UNIT_SHM_OWNERS_MIN;
         n < NGX_HTTP_UNIT_SHM_OWNERS_MAX
             && n < shm->zone->shm.size / NGX_HTTP_UNIT_SHM_PER_OWNER;
         n *= 2)
    {
        /* void */
    }

    sh->owners = ngx_slab_calloc(shm->shpool,
                                 n * sizeof(ngx_http_unit_shm_owner_t));
    if (sh->owners == NULL) {
        return NGX_ERROR;
    }

    sh->owner_mask = n - 1;

    for (i = 0; i < n; i++) {
        ngx_queue_init(&sh->owners[i].queue);
    }

    return NGX_OK;
}


static ngx_http_unit_shm_node_t **
ngx_http_unit_shm_bucket(ngx_http_unit_shctx_t *sh, const u_char *key)
{
    uint64_t  hash;

    /* keys are SHA-256: any part of them is a good hash */

    ngx_memcpy(&hash, key, sizeof(uint64_t));

    return &sh->buckets[hash & sh->mask];
}


ngx_http_unit_shm_node_t *
ngx_http_unit_shm_find_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, const u_char *key, const uint64_t *tag)
{
    ngx_http_unit_shm_node_t  *node;

    for (node = *ngx_http_unit_shm_bucket(shm->sh, key);
         node;
         node = node->next)
    {
        if (node->class != class
            || ngx_memcmp(node->key, key, NGX_HTTP_UNIT_SHM_KEY_LEN) != 0
            || (tag && (node->tag[0] != tag[0] || node->tag[1] != tag[1]))
            || (ngx_msec_int_t) (node->expire - ngx_current_msec) <= 0)
        {
            continue;
        }

        return node;
    }

    return NULL;
}


void
ngx_http_unit_shm_prefetch_locked(ngx_http_unit_shm_t *shm, const u_char *key)
{
#if (__GNUC__)
    size_t   i;
    u_char  *p;

    p = (u_char *) *ngx_http_unit_shm_bucket(shm->sh, key);

    if (p == NULL) {
        return;
    }

    for (i = 0; i < NGX_HTTP_UNIT_SHM_PREFETCH; i += 64) {
        __builtin_prefetch(p + i);
    }
#endif
}


ngx_http_unit_shm_node_t *
ngx_http_unit_shm_next_locked(ngx_http_unit_shm_node_t *node)
{
    ngx_http_unit_shm_node_t  *next;

    for (next = node->next; next; next = next->next) {

        if (next->class == node->class
            && ngx_memcmp(next->key, node->key, NGX_HTTP_UNIT_SHM_KEY_LEN) == 0
            && (ngx_msec_int_t) (next->expire - ngx_current_msec) > 0)
        {
            return next;
        }
    }

    return NULL;
}


ngx_http_unit_shm_node_t *
ngx_http_unit_shm_alloc_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, size_t size)
{
    return ngx_http_unit_shm_alloc_owned_locked(shm, class, NULL, size);
}


ngx_http_unit_shm_node_t *
ngx_http_unit_shm_alloc_owned_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_http_unit_shm_owner_t *owner,
    size_t size)
{
    ngx_http_unit_shm_node_t   *node;
    ngx_http_unit_shm_owned_t  *owned;

    if (size > NGX_HTTP_UNIT_SHM_MAX_DATA) {
        return NULL;
    }

    ngx_http_unit_shm_expire_locked(shm, class, NGX_HTTP_UNIT_SHM_EXPIRE_MAX);

    node = ngx_http_unit_shm_room_locked(shm, class, owner,
                            offsetof(ngx_http_unit_shm_node_t, data) + size);
    if (node == NULL) {
        shm->sh->nomem++;
        return NULL;
    }

    ngx_memzero(node, offsetof(ngx_http_unit_shm_node_t, data));
    node->class = (uint8_t) class;
    node->size = (uint32_t) size;

    if (owner) {
        ngx_memzero(node->data, size);

        node->owned = 1;
        node->chained = 1;

        owned = (ngx_http_unit_shm_owned_t *) node->data;
        owned->owner = owner;
    }

    return node;
}


static size_t
ngx_http_unit_shm_size(ngx_http_unit_shm_node_t *node)
{
    return offsetof(ngx_http_unit_shm_node_t, data) + node->size
           + ngx_http_unit_shm_chain_size(ngx_http_unit_shm_chain(node));
}


void
ngx_http_unit_shm_link_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, const u_char *key, const uint64_t *tag,
    ngx_msec_t ttl)
{
    ngx_http_unit_shm_node_t  **bucket;

    ngx_memcpy(node->key, key, NGX_HTTP_UNIT_SHM_KEY_LEN);

    if (tag) {
        node->tag[0] = tag[0];
        node->tag[1] = tag[1];
    }

    node->expire = ngx_current_msec + ttl;

    bucket = ngx_http_unit_shm_bucket(shm->sh, key);
    node->next = *bucket;
    *bucket = node;

    ngx_http_unit_shm_enter_locked(shm, node);
}


void
ngx_http_unit_shm_move_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_shm_class_e class,
    ngx_msec_t ttl)
{
    ngx_http_unit_shm_leave_locked(shm, node);

    node->class = (uint8_t) class;
    node->expire = ngx_current_msec + ttl;
    node->used = 0;

    ngx_http_unit_shm_enter_locked(shm, node);
}


void
ngx_http_unit_shm_remove_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node)
{
    ngx_http_unit_shm_node_t  **p;

    for (p = ngx_http_unit_shm_bucket(shm->sh, node->key);
         *p;
         p = &(*p)->next)
    {
        if (*p == node) {
            *p = node->next;
            break;
        }
    }

    ngx_http_unit_shm_leave_locked(shm, node);

    ngx_http_unit_shm_free_locked(shm, ngx_http_unit_shm_chain(node),
                                  node->secret);

    if (node->secret) {
        ngx_explicit_memzero(node->data, node->size);
    }

    ngx_slab_free_locked(shm->shpool, node);
}


/* into the queues and the sums, and out of them */

static void
ngx_http_unit_shm_enter_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node)
{
    ngx_queue_t                *link;
    ngx_http_unit_shm_owned_t  *owned;

    ngx_queue_insert_head(&shm->sh->queues[node->class], &node->queue);

    link = ngx_http_unit_shm_owner_link(node);

    if (link) {
        owned = (ngx_http_unit_shm_owned_t *) node->data;
        ngx_queue_insert_head(&owned->owner->queue, link);
    }

    shm->sh->count[node->class]++;

    ngx_http_unit_shm_sum_locked(shm, node, ngx_http_unit_shm_size(node), 0);
}


static void
ngx_http_unit_shm_leave_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node)
{
    ngx_queue_t  *link;

    shm->sh->count[node->class]--;

    ngx_http_unit_shm_sum_locked(shm, node, 0, ngx_http_unit_shm_size(node));

    link = ngx_http_unit_shm_owner_link(node);

    if (link) {
        ngx_queue_remove(link);
    }

    ngx_queue_remove(&node->queue);
}


/* the link in the queue of its owner; a lease, which stays, is in none */

static ngx_queue_t *
ngx_http_unit_shm_owner_link(ngx_http_unit_shm_node_t *node)
{
    if (!node->owned || node->class != NGX_HTTP_UNIT_SHM_IDEM) {
        return NULL;
    }

    return &((ngx_http_unit_shm_owned_t *) node->data)->queue;
}


void
ngx_http_unit_shm_sum_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, size_t more, size_t less)
{
    ngx_http_unit_shm_owner_t  *owner;

    shm->sh->bytes[node->class] += more - less;

    if (!node->owned) {
        return;
    }

    owner = ((ngx_http_unit_shm_owned_t *) node->data)->owner;

    /*
     * A worker that is killed between two of these steps leaves sums that are
     * a record too small: never below zero, which would be an owner of all
     */

    owner->bytes -= ngx_min(owner->bytes, less);
    shm->sh->owned -= ngx_min(shm->sh->owned, less);

    shm->sh->owned += more;
    owner->bytes += more;
}
