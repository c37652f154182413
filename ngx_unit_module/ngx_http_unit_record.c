
/*
 * Idempotency records, see ngx_http_unit_record.h.  A record is one node from
 * the first try on.  While somebody performs the write it is in a class that
 * is never evicted, with a deadline in it: a worker that dies leaves a record
 * whose outcome is unknown.  Afterwards it is in a cache: what Unit performs
 * once by itself may be forgotten here.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_record.h"


/* bytes of a node: a power of two, for the slab has no other sizes */
#define NGX_HTTP_UNIT_RECORD_NODE     256

/* dead leases that are looked for when one is taken */
#define NGX_HTTP_UNIT_RECORD_RECLAIM  2


/* data of a record; type, coding and body follow it, and go on in the chain */
typedef struct {
    ngx_http_unit_shm_owned_t   owned;       /* first: see shm.h */
    ngx_msec_t                  deadline;    /* of the lease */
    uint64_t                    lease;       /* 0: none */
    unsigned                    tried:1;     /* something may have been sent */
    unsigned                    body:31;
    uint16_t                    status;      /* 0: outcome unknown */
    uint8_t                     type;
    uint8_t                     coding;
    u_char                      fingerprint[NGX_HTTP_UNIT_SHA256_LEN];
    u_char                      base[NGX_HTTP_UNIT_SHA256_LEN];
    u_char                      text[1];
} ngx_http_unit_record_data_t;


#define ngx_http_unit_record_room                                             \
    (NGX_HTTP_UNIT_RECORD_NODE - offsetof(ngx_http_unit_shm_node_t, data))

#define ngx_http_unit_record_inline                                           \
    (ngx_http_unit_record_room                                                \
     - offsetof(ngx_http_unit_record_data_t, text))

#define ngx_http_unit_record_live(data)                                       \
    ((data)->lease                                                            \
     && (ngx_msec_int_t) ((data)->deadline - ngx_current_msec) > 0)


static ngx_http_unit_shm_node_t *ngx_http_unit_record_find_locked(
    ngx_http_unit_shm_t *shm, const u_char *key,
    ngx_http_unit_record_data_t **data);
static ngx_http_unit_shm_node_t *ngx_http_unit_record_create_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_record_t *rec,
    ngx_http_unit_record_data_t **data);
static void ngx_http_unit_record_reclaim_locked(ngx_http_unit_shm_t *shm);
static void ngx_http_unit_record_take_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_record_t *rec);
static void ngx_http_unit_record_release_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node);
static size_t ngx_http_unit_record_read_locked(
    ngx_http_unit_record_data_t *data);
static ngx_uint_t ngx_http_unit_record_keep_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_record_answer_t *answer);
static ngx_http_unit_shm_chunk_t *ngx_http_unit_record_chain_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_shm_owner_t *owner, size_t len);
static void ngx_http_unit_record_write(u_char **p, u_char **last,
    ngx_http_unit_shm_chunk_t **chunk, ngx_str_t *text);
static ngx_int_t ngx_http_unit_record_answer(ngx_pool_t *pool,
    ngx_http_unit_record_data_t *head, ngx_http_unit_record_answer_t *answer);


/* answers leave the zone through this: no pool is touched under the lock */
static u_char  ngx_http_unit_record_buf[2 * NGX_HTTP_UNIT_RECORD_TYPE
                                        + NGX_HTTP_UNIT_RECORD_BODY];


ngx_int_t
ngx_http_unit_record_key(ngx_http_unit_shm_t *shm, const ngx_str_t *fields,
    ngx_uint_t n, u_char *key)
{
    ngx_str_t  all[NGX_HTTP_UNIT_RECORD_FIELDS + 1];

    if (n > NGX_HTTP_UNIT_RECORD_FIELDS) {
        return NGX_ERROR;
    }

    all[0].data = shm->sh->salt;
    all[0].len = sizeof(shm->sh->salt);

    ngx_memcpy(&all[1], fields, n * sizeof(ngx_str_t));

    return ngx_http_unit_sha256(all, n + 1, 0, key);
}


/*
 * Ids of customers are not chosen by callers and names of partners are in the
 * configuration: a mixture with random bytes is enough
 */

ngx_uint_t
ngx_http_unit_record_owner(ngx_http_unit_shm_t *shm, const ngx_str_t *partner,
    const ngx_str_t *customer)
{
    size_t            i;
    uint64_t          hash, odd;
    ngx_uint_t        n;
    const ngx_str_t  *field[2];

    field[0] = partner;
    field[1] = customer;

    ngx_memcpy(&hash, shm->sh->salt, sizeof(uint64_t));
    ngx_memcpy(&odd, shm->sh->salt + sizeof(uint64_t), sizeof(uint64_t));
    odd |= 1;

    for (n = 0; n < 2; n++) {

        hash = (hash ^ field[n]->len) * odd;

        for (i = 0; i < field[n]->len; i++) {
            hash = (hash ^ field[n]->data[i]) * odd;
            hash ^= hash >> 32;
        }
    }

    return (ngx_uint_t) (hash ^ (hash >> 29));
}


ngx_int_t
ngx_http_unit_record_begin(ngx_http_unit_shm_t *shm, ngx_pool_t *pool,
    ngx_http_unit_record_t *rec, ngx_http_unit_record_e *result)
{
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_record_data_t  *data, head;

    rec->lease = 0;
    ngx_memzero(&head, sizeof(ngx_http_unit_record_data_t));

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_record_find_locked(shm, rec->key, &data);

    if (node == NULL && !rec->based) {
        *result = NGX_HTTP_UNIT_RECORD_NONE;

    } else if (node == NULL) {
        ngx_http_unit_record_reclaim_locked(shm);

        node = ngx_http_unit_record_create_locked(shm, rec, &data);

        if (node) {
            ngx_http_unit_record_take_locked(shm, node, rec);
            *result = NGX_HTTP_UNIT_RECORD_BEGIN;

        } else {
            *result = NGX_HTTP_UNIT_RECORD_FULL;
        }

    } else if (ngx_memcmp(data->fingerprint, rec->fingerprint,
                          NGX_HTTP_UNIT_SHA256_LEN)
               != 0)
    {
        *result = NGX_HTTP_UNIT_RECORD_REUSED;

    } else if (data->status) {
        *result = NGX_HTTP_UNIT_RECORD_REPLAY;

        head = *data;
        (void) ngx_http_unit_record_read_locked(data);

    } else if (ngx_http_unit_record_live(data)) {
        *result = NGX_HTTP_UNIT_RECORD_IN_USE;

    } else {

        /* tried before, perhaps performed: with the same keys at Unit */

        data->tried |= (data->lease != 0);
        ngx_memcpy(rec->base, data->base, NGX_HTTP_UNIT_SHA256_LEN);

        ngx_http_unit_record_take_locked(shm, node, rec);
        *result = NGX_HTTP_UNIT_RECORD_BEGIN;
    }

    ngx_http_unit_shm_unlock(shm);

    if (*result == NGX_HTTP_UNIT_RECORD_REPLAY) {
        return ngx_http_unit_record_answer(pool, &head, &rec->answer);
    }

    return NGX_OK;
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_record_find_locked(ngx_http_unit_shm_t *shm, const u_char *key,
    ngx_http_unit_record_data_t **data)
{
    ngx_http_unit_shm_node_t  *node;

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM_LEASE,
                                         key, NULL);
    if (node == NULL) {
        node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_IDEM, key,
                                             NULL);
    }

    *data = node ? (ngx_http_unit_record_data_t *) node->data : NULL;

    return node;
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_record_create_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_record_t *rec, ngx_http_unit_record_data_t **out)
{
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_record_data_t  *data;

    /* among the records it finds room as one of them */

    node = ngx_http_unit_shm_alloc_owned_locked(shm, NGX_HTTP_UNIT_SHM_IDEM,
                                     ngx_http_unit_shm_owner(shm, rec->owner),
                                     ngx_http_unit_record_room);
    if (node == NULL) {
        return NULL;
    }

    node->class = NGX_HTTP_UNIT_SHM_IDEM_LEASE;
    node->secret = 1;

    data = (ngx_http_unit_record_data_t *) node->data;

    ngx_memcpy(data->fingerprint, rec->fingerprint, NGX_HTTP_UNIT_SHA256_LEN);
    ngx_memcpy(data->base, rec->base, NGX_HTTP_UNIT_SHA256_LEN);

    ngx_http_unit_shm_link_locked(shm, node, rec->key, NULL,
                                  NGX_HTTP_UNIT_RECORD_TTL);

    *out = data;

    return node;
}


/* leases of workers that have died become records like others, the oldest
   first */

static void
ngx_http_unit_record_reclaim_locked(ngx_http_unit_shm_t *shm)
{
    ngx_uint_t                    n;
    ngx_queue_t                  *q, *queue;
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_record_data_t  *data;

    queue = &shm->sh->queues[NGX_HTTP_UNIT_SHM_IDEM_LEASE];

    for (n = 0; n < NGX_HTTP_UNIT_RECORD_RECLAIM; n++) {

        if (ngx_queue_empty(queue)) {
            return;
        }

        q = ngx_queue_last(queue);
        node = ngx_queue_data(q, ngx_http_unit_shm_node_t, queue);
        data = (ngx_http_unit_record_data_t *) node->data;

        if (ngx_http_unit_record_live(data)) {
            return;
        }

        data->tried = 1;
        ngx_http_unit_record_release_locked(shm, node);
    }
}


static void
ngx_http_unit_record_take_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_record_t *rec)
{
    ngx_http_unit_record_data_t  *data;

    data = (ngx_http_unit_record_data_t *) node->data;

    rec->lease = ++shm->sh->serial;

    data->lease = rec->lease;
    data->deadline = ngx_current_msec + NGX_HTTP_UNIT_RECORD_LEASE;

    ngx_http_unit_shm_move_locked(shm, node, NGX_HTTP_UNIT_SHM_IDEM_LEASE,
                                  NGX_HTTP_UNIT_RECORD_TTL);
}


static void
ngx_http_unit_record_release_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node)
{
    ngx_http_unit_record_data_t  *data;

    data = (ngx_http_unit_record_data_t *) node->data;
    data->lease = 0;

    ngx_http_unit_shm_move_locked(shm, node, NGX_HTTP_UNIT_SHM_IDEM,
                                  NGX_HTTP_UNIT_RECORD_TTL);

    ngx_http_unit_shm_bound_owned_locked(shm, data->owned.owner);
}


void
ngx_http_unit_record_renew(ngx_http_unit_shm_t *shm,
    ngx_http_unit_record_t *rec)
{
    ngx_http_unit_record_data_t  *data;

    ngx_http_unit_shm_lock(shm);

    /* also one that has run out while nobody wanted it */

    if (ngx_http_unit_record_find_locked(shm, rec->key, &data)
        && data->lease == rec->lease)
    {
        data->deadline = ngx_current_msec + NGX_HTTP_UNIT_RECORD_LEASE;
    }

    ngx_http_unit_shm_unlock(shm);
}


ngx_uint_t
ngx_http_unit_record_finish(ngx_http_unit_shm_t *shm,
    ngx_http_unit_record_t *rec, ngx_http_unit_record_answer_t *answer)
{
    ngx_uint_t                    kept;
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_record_data_t  *data;

    kept = 0;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_record_find_locked(shm, rec->key, &data);

    if (node == NULL) {

        /* our lease had run out, and the record was evicted since */

        node = ngx_http_unit_record_create_locked(shm, rec, &data);

    } else if (node->class == NGX_HTTP_UNIT_SHM_IDEM) {

        /* it must not be evicted for its own answer */

        ngx_http_unit_shm_move_locked(shm, node, NGX_HTTP_UNIT_SHM_IDEM_LEASE,
                                      NGX_HTTP_UNIT_RECORD_TTL);
    }

    if (node) {
        data->tried = 1;

        /* an answer stays, whatever another try has met */

        if (answer
            && ngx_memcmp(data->fingerprint, rec->fingerprint,
                          NGX_HTTP_UNIT_SHA256_LEN)
               == 0)
        {
            kept = ngx_http_unit_record_keep_locked(shm, node, answer);
        }

        if (data->lease == rec->lease || !ngx_http_unit_record_live(data)) {
            ngx_http_unit_record_release_locked(shm, node);
        }
    }

    ngx_http_unit_shm_unlock(shm);

    rec->lease = 0;

    return kept;
}


void
ngx_http_unit_record_cancel(ngx_http_unit_shm_t *shm,
    ngx_http_unit_record_t *rec)
{
    ngx_http_unit_shm_node_t     *node;
    ngx_http_unit_record_data_t  *data;

    ngx_http_unit_shm_lock(shm);

    node = ngx_http_unit_record_find_locked(shm, rec->key, &data);

    if (node && data->lease == rec->lease) {

        if (data->tried) {
            ngx_http_unit_record_release_locked(shm, node);

        } else {
            ngx_http_unit_shm_remove_locked(shm, node);
        }
    }

    ngx_http_unit_shm_unlock(shm);

    rec->lease = 0;
}


static ngx_uint_t
ngx_http_unit_record_keep_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_record_answer_t *answer)
{
    u_char                       *p, *last;
    size_t                        len;
    ngx_http_unit_shm_chunk_t    *chunk, *next;
    ngx_http_unit_record_data_t  *data;

    if (answer->body.len > NGX_HTTP_UNIT_RECORD_BODY
        || answer->type.len > NGX_HTTP_UNIT_RECORD_TYPE
        || answer->coding.len > NGX_HTTP_UNIT_RECORD_TYPE)
    {
        return 0;
    }

    data = (ngx_http_unit_record_data_t *) node->data;

    len = answer->type.len + answer->coding.len + answer->body.len;
    chunk = NULL;

    if (len > ngx_http_unit_record_inline) {

        chunk = ngx_http_unit_record_chain_locked(shm, data->owned.owner,
                                            len - ngx_http_unit_record_inline);
        if (chunk == NULL) {
            return 0;
        }
    }

    /* a worker that dies in here leaves no answer, or a whole one */

    data->status = 0;
    ngx_memory_barrier();

    data->type = (uint8_t) answer->type.len;
    data->coding = (uint8_t) answer->coding.len;
    data->body = (unsigned) answer->body.len;

    p = data->text;
    last = p + ngx_http_unit_record_inline;
    next = chunk;

    ngx_http_unit_record_write(&p, &last, &next, &answer->type);
    ngx_http_unit_record_write(&p, &last, &next, &answer->coding);
    ngx_http_unit_record_write(&p, &last, &next, &answer->body);

    ngx_http_unit_shm_chain_locked(shm, node, chunk);

    ngx_memory_barrier();
    data->status = (uint16_t) answer->status;

    return 1;
}


static ngx_http_unit_shm_chunk_t *
ngx_http_unit_record_chain_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_owner_t *owner, size_t len)
{
    ngx_http_unit_shm_chunk_t  *first, *chunk, **next;

    first = NULL;
    next = &first;

    while (len) {

        chunk = ngx_http_unit_shm_chunk_locked(shm, NGX_HTTP_UNIT_SHM_IDEM,
                                               owner, len);
        if (chunk == NULL) {
            ngx_http_unit_shm_free_locked(shm, first, 0);
            return NULL;
        }

        *next = chunk;
        next = &chunk->next;

        len -= ngx_min(len, chunk->size);
    }

    return first;
}


static void
ngx_http_unit_record_write(u_char **p, u_char **last,
    ngx_http_unit_shm_chunk_t **chunk, ngx_str_t *text)
{
    u_char  *from;
    size_t   n, left;

    from = text->data;

    for (left = text->len; left; left -= n) {

        if (*p == *last) {

            if (*chunk == NULL) {
                /* cannot be: the chain was made for all of it */
                return;
            }

            *p = (*chunk)->data;
            *last = *p + (*chunk)->size;
            *chunk = (*chunk)->next;
        }

        n = ngx_min(left, (size_t) (*last - *p));

        *p = ngx_cpymem(*p, from, n);
        from += n;
    }
}


static size_t
ngx_http_unit_record_read_locked(ngx_http_unit_record_data_t *data)
{
    u_char                     *p;
    size_t                      n, left;
    ngx_http_unit_shm_chunk_t  *chunk;

    left = data->type + data->coding + data->body;
    p = ngx_http_unit_record_buf;

    n = ngx_min(left, ngx_http_unit_record_inline);
    p = ngx_cpymem(p, data->text, n);
    left -= n;

    for (chunk = data->owned.chunk; chunk && left; chunk = chunk->next) {
        n = ngx_min(left, chunk->size);
        p = ngx_cpymem(p, chunk->data, n);
        left -= n;
    }

    return p - ngx_http_unit_record_buf;
}


static ngx_int_t
ngx_http_unit_record_answer(ngx_pool_t *pool,
    ngx_http_unit_record_data_t *head, ngx_http_unit_record_answer_t *answer)
{
    u_char  *p;
    size_t   len;

    len = head->type + head->coding + head->body;

    p = ngx_pnalloc(pool, len ? len : 1);

    if (p) {
        ngx_memcpy(p, ngx_http_unit_record_buf, len);

        answer->status = head->status;
        answer->type.data = p;
        answer->type.len = head->type;
        answer->coding.data = p + head->type;
        answer->coding.len = head->coding;
        answer->body.data = p + head->type + head->coding;
        answer->body.len = head->body;
    }

    /* somebody's money */
    ngx_explicit_memzero(ngx_http_unit_record_buf, len);

    return p ? NGX_OK : NGX_ERROR;
}
