
/*
 * The shared zone, see ngx_http_unit_shm.h.  Owns the layout of the zone and
 * the rules of eviction; knows nothing of what the records mean.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_shm.h"


/* changes with every change of the structures in the zone */
#define NGX_HTTP_UNIT_SHM_LAYOUT      6

/* one bucket per so many bytes of zone: about one per record */
#define NGX_HTTP_UNIT_SHM_PER_BUCKET  1024

#define NGX_HTTP_UNIT_SHM_EXPIRE_MAX  2
#define NGX_HTTP_UNIT_SHM_EVICT_MAX   64


static ngx_int_t ngx_http_unit_shm_init(ngx_shm_zone_t *zone, void *data);
static ngx_http_unit_shm_node_t **ngx_http_unit_shm_bucket(
    ngx_http_unit_shctx_t *sh, const u_char *key);
static size_t ngx_http_unit_shm_size(ngx_http_unit_shm_node_t *node);
static ngx_uint_t ngx_http_unit_shm_is_cache(ngx_uint_t class);
static ngx_uint_t ngx_http_unit_shm_evict_locked(ngx_http_unit_shm_t *shm,
    ngx_uint_t class, ngx_uint_t expired_only);


/* the classes that may be evicted for another one, least valuable first */
static const ngx_http_unit_shm_class_e  ngx_http_unit_shm_caches[] = {
    NGX_HTTP_UNIT_SHM_JWT_BAD,
    NGX_HTTP_UNIT_SHM_JWT,
    NGX_HTTP_UNIT_SHM_REFUSAL,
    NGX_HTTP_UNIT_SHM_CUSTOMERS,
    NGX_HTTP_UNIT_SHM_TOKEN,
    NGX_HTTP_UNIT_SHM_IDEM
};


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
        ngx_queue_init(&sh->lru[i]);
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


void
ngx_http_unit_shm_touch_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node)
{
    uint16_t  now;

    /* moving writes to three cache lines: not for every request */

    now = (uint16_t) (ngx_current_msec / 1024);

    if (node->touched == now) {
        return;
    }

    node->touched = now;

    ngx_queue_remove(&node->queue);
    ngx_queue_insert_head(&shm->sh->lru[node->class], &node->queue);
}


ngx_http_unit_shm_node_t *
ngx_http_unit_shm_alloc_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, size_t size)
{
    ngx_uint_t                 n;
    ngx_http_unit_shm_node_t  *node;

    if (size > NGX_HTTP_UNIT_SHM_MAX_DATA) {
        return NULL;
    }

    for (n = 0; n < NGX_HTTP_UNIT_SHM_EXPIRE_MAX; n++) {
        if (!ngx_http_unit_shm_evict_locked(shm, class, 1)) {
            break;
        }
    }

    node = ngx_http_unit_shm_room_locked(shm, class,
                            offsetof(ngx_http_unit_shm_node_t, data) + size);
    if (node == NULL) {
        shm->sh->nomem++;
        return NULL;
    }

    ngx_memzero(node, offsetof(ngx_http_unit_shm_node_t, data));
    node->class = (uint8_t) class;
    node->size = (uint32_t) size;

    return node;
}


void *
ngx_http_unit_shm_room_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, size_t len)
{
    void        *p;
    ngx_uint_t   i, n;

    p = ngx_slab_alloc_locked(shm->shpool, len);

    for (n = 0; p == NULL && n < NGX_HTTP_UNIT_SHM_EVICT_MAX; n++) {

        if (!ngx_http_unit_shm_is_cache(class)
            || !ngx_http_unit_shm_evict_locked(shm, class, 0))
        {
            break;
        }

        p = ngx_slab_alloc_locked(shm->shpool, len);
    }

    for (n = 0; p == NULL && n < NGX_HTTP_UNIT_SHM_EVICT_MAX; n++) {

        for (i = 0;
             i < sizeof(ngx_http_unit_shm_caches)
                 / sizeof(ngx_http_unit_shm_caches[0]);
             i++)
        {
            if (ngx_http_unit_shm_evict_locked(shm,
                                               ngx_http_unit_shm_caches[i], 0))
            {
                break;
            }
        }

        p = ngx_slab_alloc_locked(shm->shpool, len);
    }

    return p;
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
    node->touched = (uint16_t) (ngx_current_msec / 1024);

    ngx_queue_insert_head(&shm->sh->lru[node->class], &node->queue);

    bucket = ngx_http_unit_shm_bucket(shm->sh, key);
    node->next = *bucket;
    *bucket = node;

    shm->sh->count[node->class]++;
    shm->sh->bytes[node->class] += ngx_http_unit_shm_size(node);
}


void
ngx_http_unit_shm_move_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_shm_class_e class,
    ngx_msec_t ttl)
{
    size_t  size;

    size = ngx_http_unit_shm_size(node);

    ngx_queue_remove(&node->queue);
    shm->sh->count[node->class]--;
    shm->sh->bytes[node->class] -= size;

    node->class = (uint8_t) class;
    node->expire = ngx_current_msec + ttl;
    node->touched = (uint16_t) (ngx_current_msec / 1024);

    ngx_queue_insert_head(&shm->sh->lru[class], &node->queue);
    shm->sh->count[class]++;
    shm->sh->bytes[class] += size;
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

    ngx_queue_remove(&node->queue);
    shm->sh->count[node->class]--;
    shm->sh->bytes[node->class] -= ngx_http_unit_shm_size(node);

    ngx_http_unit_shm_free_locked(shm, ngx_http_unit_shm_chain(node),
                                  node->secret);

    if (node->secret) {
        ngx_explicit_memzero(node->data, node->size);
    }

    ngx_slab_free_locked(shm->shpool, node);
}


void
ngx_http_unit_shm_expire_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_uint_t max)
{
    ngx_uint_t  n;

    for (n = 0; n < max; n++) {
        if (!ngx_http_unit_shm_evict_locked(shm, class, 1)) {
            break;
        }
    }
}


void
ngx_http_unit_shm_bound_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_uint_t max)
{
    if (shm->sh->count[class] > max) {
        (void) ngx_http_unit_shm_evict_locked(shm, class, 0);
    }

    if (shm->sh->count[class] > max) {
        (void) ngx_http_unit_shm_evict_locked(shm, class, 0);
    }
}


void
ngx_http_unit_shm_bound_bytes_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, size_t max)
{
    ngx_uint_t  n;

    for (n = 0;
         n < NGX_HTTP_UNIT_SHM_EVICT_MAX && shm->sh->bytes[class] > max;
         n++)
    {
        if (!ngx_http_unit_shm_evict_locked(shm, class, 0)) {
            break;
        }
    }
}


static ngx_uint_t
ngx_http_unit_shm_is_cache(ngx_uint_t class)
{
    ngx_uint_t  i;

    for (i = 0;
         i < sizeof(ngx_http_unit_shm_caches)
             / sizeof(ngx_http_unit_shm_caches[0]);
         i++)
    {
        if (ngx_http_unit_shm_caches[i] == class) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_unit_shm_evict_locked(ngx_http_unit_shm_t *shm, ngx_uint_t class,
    ngx_uint_t expired_only)
{
    ngx_uint_t                 expired;
    ngx_queue_t               *q;
    ngx_http_unit_shm_node_t  *node;

    if (ngx_queue_empty(&shm->sh->lru[class])) {
        return 0;
    }

    q = ngx_queue_last(&shm->sh->lru[class]);
    node = ngx_queue_data(q, ngx_http_unit_shm_node_t, queue);

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
