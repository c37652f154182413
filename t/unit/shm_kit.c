
/*
 * The shared zone in a test of one process, see shm_kit.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stub.h"
#include "shm_kit.h"


/* a piece of the zone: one of malloc's, so that a sanitizer sees its ends */
typedef struct {
    ngx_queue_t                queue;
    size_t                     size;
    size_t                     unused;      /* data is aligned to 16 */
} shm_kit_block_t;


volatile ngx_msec_t     ngx_current_msec = 1000;

static ngx_shm_zone_t   shm_kit_zone;
static ngx_slab_pool_t  shm_kit_slab;
static size_t           shm_kit_used;
static ngx_queue_t      shm_kit_blocks;


/* a slab with powers of two, as nginx's, but that is never in pieces */

static size_t
shm_kit_size(size_t size)
{
    size_t  n;

    for (n = 8; n < size; n *= 2) { /* void */ }

    return n;
}


void *
ngx_slab_alloc_locked(ngx_slab_pool_t *pool, size_t size)
{
    shm_kit_block_t  *block;

    size = shm_kit_size(size);

    if (shm_kit_used + size > SHM_KIT_ZONE) {
        return NULL;
    }

    block = malloc(sizeof(shm_kit_block_t) + size);
    if (block == NULL) {
        abort();
    }

    shm_kit_used += size;

    block->size = size;
    ngx_queue_insert_head(&shm_kit_blocks, &block->queue);

    return block + 1;
}


void *
ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size)
{
    return ngx_slab_alloc_locked(pool, size);
}


void *
ngx_slab_calloc(ngx_slab_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_slab_alloc_locked(pool, size);

    if (p) {
        ngx_memzero(p, size);
    }

    return p;
}


void
ngx_slab_free_locked(ngx_slab_pool_t *pool, void *p)
{
    shm_kit_block_t  *block;

    block = (shm_kit_block_t *) p - 1;
    shm_kit_used -= block->size;

    ngx_queue_remove(&block->queue);
    free(block);
}


void
ngx_shmtx_lock(ngx_shmtx_t *mtx)
{
}


void
ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
}


ngx_shm_zone_t *
ngx_shared_memory_add(ngx_conf_t *cf, ngx_str_t *name, size_t size, void *tag)
{
    ngx_memzero(&shm_kit_zone, sizeof(ngx_shm_zone_t));

    shm_kit_zone.shm.name = *name;
    shm_kit_zone.shm.size = size;
    shm_kit_zone.shm.addr = (u_char *) &shm_kit_slab;

    return &shm_kit_zone;
}


void
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t err,
    const char *fmt, ...)
{
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


void
shm_kit_end(void)
{
    ngx_queue_t  *q;

    while (shm_kit_blocks.next && !ngx_queue_empty(&shm_kit_blocks)) {

        q = ngx_queue_head(&shm_kit_blocks);

        ngx_slab_free_locked(&shm_kit_slab,
                             ngx_queue_data(q, shm_kit_block_t, queue) + 1);
    }
}


ngx_http_unit_shm_t *
shm_kit_start(ngx_pool_t *pool)
{
    ngx_conf_t            cf;
    ngx_http_unit_shm_t  *shm;
    ngx_str_t             name = ngx_string("unit");

    shm_kit_end();

    ngx_queue_init(&shm_kit_blocks);

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    cf.pool = pool;

    shm = ngx_http_unit_shm_add(&cf, &name, SHM_KIT_ZONE, NULL);

    if (shm == NULL || shm_kit_zone.init(&shm_kit_zone, NULL) != NGX_OK) {
        abort();
    }

    return shm;
}
