
/*
 * Chains of chunks: records that are larger than what a full zone can give in
 * one piece, see ngx_http_unit_shm.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_shm.h"


/* small enough to be had in a full zone, large enough to be few */
#define NGX_HTTP_UNIT_SHM_CHUNK_MIN  128
#define NGX_HTTP_UNIT_SHM_CHUNK_LOW  256


ngx_http_unit_shm_chunk_t *
ngx_http_unit_shm_chunk_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_http_unit_shm_owner_t *owner,
    size_t size)
{
    size_t                      head, len;
    ngx_http_unit_shm_chunk_t  *chunk;

    head = offsetof(ngx_http_unit_shm_chunk_t, data);
    size += head;

    /* the slab has powers of two: the next one, or the one below for a part */

    for (len = NGX_HTTP_UNIT_SHM_CHUNK_MIN;
         len < size && len < ngx_pagesize;
         len *= 2)
    {
        /* void */
    }

    if (size < len && size <= len / 4 * 3
        && len > NGX_HTTP_UNIT_SHM_CHUNK_LOW)
    {
        len /= 2;
    }

    for ( ;; ) {

        chunk = ngx_http_unit_shm_room_locked(shm, class, owner, len);

        if (chunk || len <= NGX_HTTP_UNIT_SHM_CHUNK_LOW) {
            break;
        }

        len /= 2;
    }

    if (chunk == NULL) {
        shm->sh->nomem++;
        return NULL;
    }

    chunk->next = NULL;
    chunk->size = len - head;

    return chunk;
}


void
ngx_http_unit_shm_chain_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_shm_chunk_t *chunk)
{
    ngx_http_unit_shm_chunk_t  *old;

    old = ngx_http_unit_shm_chain(node);

    ngx_http_unit_shm_sum_locked(shm, node,
                                 ngx_http_unit_shm_chain_size(chunk),
                                 ngx_http_unit_shm_chain_size(old));

    ngx_memcpy(node->data, &chunk, sizeof(ngx_http_unit_shm_chunk_t *));

    ngx_http_unit_shm_free_locked(shm, old, node->secret);
}


void
ngx_http_unit_shm_free_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_chunk_t *chunk, ngx_uint_t secret)
{
    ngx_http_unit_shm_chunk_t  *next;

    for ( /* void */ ; chunk; chunk = next) {

        next = chunk->next;

        if (secret) {
            ngx_explicit_memzero(chunk->data, chunk->size);
        }

        ngx_slab_free_locked(shm->shpool, chunk);
    }
}


ngx_http_unit_shm_chunk_t *
ngx_http_unit_shm_chain(ngx_http_unit_shm_node_t *node)
{
    ngx_http_unit_shm_chunk_t  *chunk;

    if (!node->chained) {
        return NULL;
    }

    ngx_memcpy(&chunk, node->data, sizeof(ngx_http_unit_shm_chunk_t *));

    return chunk;
}


size_t
ngx_http_unit_shm_chain_size(ngx_http_unit_shm_chunk_t *chunk)
{
    size_t  size;

    for (size = 0; chunk; chunk = chunk->next) {
        size += offsetof(ngx_http_unit_shm_chunk_t, data) + chunk->size;
    }

    return size;
}
