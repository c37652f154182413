
/*
 * The shared zone: one hash table of records of several classes, with a queue
 * by age per class, in a slab pool.  Everything the workers share lives here.
 * Functions ending in _locked need the zone mutex; nothing slow is done under
 * it and no pointer into the zone outlives it (STYLE P24 to P30).
 */


#ifndef _NGX_HTTP_UNIT_SHM_H_INCLUDED_
#define _NGX_HTTP_UNIT_SHM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_breaker.h"
#include "ngx_http_unit_rate.h"


#define NGX_HTTP_UNIT_SHM_KEY_LEN   32
#define NGX_HTTP_UNIT_SHM_MAX_DATA  (128 * 1024)
#define NGX_HTTP_UNIT_SHM_MIN_SIZE  (32 * ngx_pagesize)


typedef enum {
    NGX_HTTP_UNIT_SHM_JWT = 0,      /* verified partner tokens */
    NGX_HTTP_UNIT_SHM_JWT_BAD,      /* tokens whose signature is wrong */
    NGX_HTTP_UNIT_SHM_TOKEN,        /* Unit customer tokens */
    NGX_HTTP_UNIT_SHM_CUSTOMERS,    /* subject -> customers */
    NGX_HTTP_UNIT_SHM_KEYS,         /* remote key sets, as text */
    NGX_HTTP_UNIT_SHM_LEASE,        /* who is fetching what */
    NGX_HTTP_UNIT_SHM_REFUSAL,      /* fetches that Unit refused */
    NGX_HTTP_UNIT_SHM_HANDLE,       /* verifications under way */
    NGX_HTTP_UNIT_SHM_LIMIT,        /* who has used up what */
    NGX_HTTP_UNIT_SHM_IDEM_LEASE,   /* writes under way */
    NGX_HTTP_UNIT_SHM_IDEM,         /* writes done, and their answers */
    NGX_HTTP_UNIT_SHM_RATE_PARTNER, /* rate limits; each class has records */
    NGX_HTTP_UNIT_SHM_RATE_CUSTOMER,  /* of one life time, so that the one */
    NGX_HTTP_UNIT_SHM_RATE_ADDRESS, /* not used for longest expires first */
    NGX_HTTP_UNIT_SHM_CLASSES
} ngx_http_unit_shm_class_e;


/* what refuses: the kinds of limits, in their order in sh->budget.refused */
typedef enum {
    NGX_HTTP_UNIT_SHM_LIMIT_PARTNER = 0,
    NGX_HTTP_UNIT_SHM_LIMIT_CUSTOMER,
    NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS,
    NGX_HTTP_UNIT_SHM_LIMIT_BUDGET,
    NGX_HTTP_UNIT_SHM_LIMIT_CIRCUIT,
    NGX_HTTP_UNIT_SHM_LIMITS
} ngx_http_unit_shm_limit_e;


typedef struct ngx_http_unit_shm_node_s  ngx_http_unit_shm_node_t;

struct ngx_http_unit_shm_node_s {
    ngx_queue_t                queue;     /* those of its class */
    ngx_http_unit_shm_node_t  *next;      /* in the bucket */
    ngx_msec_t                 expire;    /* ngx_current_msec, monotonic */
    uint32_t                   size;      /* of data */
    uint8_t                    class;
    unsigned                   used:1;    /* since it came to the young end */
    unsigned                   secret:1;  /* wipe data before it is freed */
    unsigned                   chained:1; /* data begins with the pointer to
                                             its first chunk, or NULL */
    unsigned                   owned:1;   /* data begins with _owned_t */
    u_char                     key[NGX_HTTP_UNIT_SHM_KEY_LEN];
    uint64_t                   tag[2];    /* second part of the key: scopes */
    u_char                     data[1];
};


/*
 * More data of a record.  Big records are chains: whole pages in a row are
 * what a full zone has no more of (STYLE P26).
 */
typedef struct ngx_http_unit_shm_chunk_s  ngx_http_unit_shm_chunk_t;

struct ngx_http_unit_shm_chunk_s {
    ngx_http_unit_shm_chunk_t *next;
    size_t                     size;      /* of data */
    u_char                     data[1];
};


/*
 * Who has records that others must not push out: a bucket of a few of those
 * (partner and customer), by a hash.  Buckets are never freed.
 */
typedef struct {
    ngx_queue_t                queue;     /* its records by age, no leases */
    size_t                     bytes;     /* in them, and in its leases */
} ngx_http_unit_shm_owner_t;


/* what the data of such a record begins with */
typedef struct {
    ngx_http_unit_shm_chunk_t *chunk;     /* as of all that are chained */
    ngx_queue_t                queue;     /* in that of its owner */
    ngx_http_unit_shm_owner_t *owner;
} ngx_http_unit_shm_owned_t;


/* the upstream budget, and what became of requests; see _budget.c */
typedef struct {
    ngx_http_unit_rate_state_t  state;
    ngx_http_unit_breaker_t     breaker;
    ngx_uint_t                  passed;
    ngx_uint_t                  delayed;   /* of them */
    ngx_uint_t                  refused[NGX_HTTP_UNIT_SHM_LIMITS];
    ngx_uint_t                  dry_run;   /* would have been refused */
    ngx_uint_t                  degraded;  /* not counted for lack of room */
    ngx_uint_t                  paused;    /* Unit said 429 */
} ngx_http_unit_shm_budget_t;


typedef struct {
    ngx_uint_t                 layout;
    u_char                     salt[NGX_HTTP_UNIT_SHM_KEY_LEN];
                                          /* random, of this zone; for keys
                                             that a client could choose */
    ngx_uint_t                 mask;      /* number of buckets - 1 */
    ngx_http_unit_shm_node_t **buckets;
    ngx_queue_t                queues[NGX_HTTP_UNIT_SHM_CLASSES];
    ngx_uint_t                 count[NGX_HTTP_UNIT_SHM_CLASSES];
    ngx_uint_t                 evicted[NGX_HTTP_UNIT_SHM_CLASSES];
    size_t                     bytes[NGX_HTTP_UNIT_SHM_CLASSES];
    ngx_http_unit_shm_owner_t *owners;
    ngx_uint_t                 owner_mask;  /* number of them - 1 */
    size_t                     owned;     /* bytes, of all owners */
    ngx_uint_t                 nomem;     /* allocations that failed for good */
    uint64_t                   serial;    /* gives leases their ids */
    ngx_http_unit_shm_budget_t budget;
} ngx_http_unit_shctx_t;


/* process-local handle, allocated at configuration time */
typedef struct {
    ngx_shm_zone_t            *zone;
    ngx_slab_pool_t           *shpool;
    ngx_http_unit_shctx_t     *sh;
} ngx_http_unit_shm_t;


/*
 * Add the zone to the configuration.
 *
 *   tag  the module, as for ngx_shared_memory_add()
 *
 * Returns the handle, or NULL after logging through cf.
 */
ngx_http_unit_shm_t *ngx_http_unit_shm_add(ngx_conf_t *cf, ngx_str_t *name,
    size_t size, void *tag);

#define ngx_http_unit_shm_lock(shm)    ngx_shmtx_lock(&(shm)->shpool->mutex)
#define ngx_http_unit_shm_unlock(shm)  ngx_shmtx_unlock(&(shm)->shpool->mutex)

/*
 * Find a live record: the first of its key when tag is NULL, else the one
 * whose tag is equal.  Expired ones met on the way are not returned (and not
 * freed: that is done when something is inserted).  NULL when there is none.
 */
ngx_http_unit_shm_node_t *ngx_http_unit_shm_find_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_shm_class_e class,
    const u_char *key, const uint64_t *tag);

/*
 * A record of this key will be looked up soon: begin to load what that will
 * touch.  Only a hint; with many records each of these reads misses the cache.
 */
void ngx_http_unit_shm_prefetch_locked(ngx_http_unit_shm_t *shm,
    const u_char *key);

/* The next live record of the same class and key after node, or NULL. */
ngx_http_unit_shm_node_t *ngx_http_unit_shm_next_locked(
    ngx_http_unit_shm_node_t *node);

/*
 * Mark as used: when its turn to make room comes, the record goes to the young
 * end instead (second chance).  Nothing is moved here, for that writes to the
 * neighbours, too: with many records three cache misses for each request.  Not
 * for records with owners: the oldest of those is the one that was made first.
 */
static ngx_inline void
ngx_http_unit_shm_touch_locked(ngx_http_unit_shm_node_t *node)
{
    /* not written to each time: all workers read it */

    if (!node->used) {
        node->used = 1;
    }
}


/*
 * Allocate an unlinked record with room for size bytes of data.  Frees expired
 * records of the class and makes room as _room_locked() says.
 * Fill data, then link (a crash in between leaves a valid table).
 *
 *   size  at most NGX_HTTP_UNIT_SHM_MAX_DATA
 *
 * Returns NULL when no room could be made; counted in sh->nomem.
 */
ngx_http_unit_shm_node_t *ngx_http_unit_shm_alloc_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_shm_class_e class, size_t size);

/*
 * The same for a record of an owner: data is zeroed and begins with
 * ngx_http_unit_shm_owned_t, filled in.
 */
ngx_http_unit_shm_node_t *ngx_http_unit_shm_alloc_owned_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_shm_class_e class,
    ngx_http_unit_shm_owner_t *owner, size_t size);

#define ngx_http_unit_shm_owner(shm, hash)                                    \
    (&(shm)->sh->owners[(hash) & (shm)->sh->owner_mask])

/* Give an allocated record its key and make it visible. */
void ngx_http_unit_shm_link_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, const u_char *key, const uint64_t *tag,
    ngx_msec_t ttl);

/* Make a record one of another class, with a new time to live. */
void ngx_http_unit_shm_move_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_shm_class_e class,
    ngx_msec_t ttl);

/*
 * Allocate a chunk for up to size bytes, see its size for how many; makes room
 * as for a record of the class and the owner.  NULL when no room could be
 * made.
 */
ngx_http_unit_shm_chunk_t *ngx_http_unit_shm_chunk_locked(
    ngx_http_unit_shm_t *shm, ngx_http_unit_shm_class_e class,
    ngx_http_unit_shm_owner_t *owner, size_t size);

/*
 * Give a linked record that is chained another chain (or NULL) and free the
 * one it had.
 */
void ngx_http_unit_shm_chain_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_http_unit_shm_chunk_t *chunk);

/* Free a chain that belongs to no record, wiped before if it is secret. */
void ngx_http_unit_shm_free_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_chunk_t *chunk, ngx_uint_t secret);

/* The chain of a record, NULL when it has none; and the bytes of a chain. */
ngx_http_unit_shm_chunk_t *ngx_http_unit_shm_chain(
    ngx_http_unit_shm_node_t *node);
size_t ngx_http_unit_shm_chain_size(ngx_http_unit_shm_chunk_t *chunk);

/*
 * Allocate so many bytes, making room in a full zone: the oldest that were not
 * used lately go first, never a lease, a verification or a limit (what must not
 * be forgotten), and at most a bounded number.
 *
 * For a cache (tokens and the like, which can be had again): its own, then
 * other caches; records only as long as all caches together have less than an
 * eighth of the zone.  For what is never evicted: caches, and records when
 * there is nothing else.
 *
 *   owner  NULL, or that of the record.  While records have less than half of
 *          the zone caches make room for them; then records do: those of the
 *          owner alone if it has an eighth of what all have, else the oldest.
 *
 * NULL when there is none.
 */
void *ngx_http_unit_shm_room_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_http_unit_shm_owner_t *owner,
    size_t len);

/* The size of a linked record has changed, or it comes or goes: count it. */
void ngx_http_unit_shm_sum_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, size_t more, size_t less);

/* Unlink, wipe if secret, and free, with its chain. */
void ngx_http_unit_shm_remove_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node);

/*
 * Free expired records of a class whose records all live equally long and are
 * never touched: the oldest ones, max at most.
 */
void ngx_http_unit_shm_expire_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_uint_t max);

/* Keep at most max records of a class: evicts one or two when above. */
void ngx_http_unit_shm_bound_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_class_e class, ngx_uint_t max);

/*
 * Keep at most half of the zone in records with owners: evicts a few when
 * above, as for a record of the owner.
 */
void ngx_http_unit_shm_bound_owned_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_owner_t *owner);


#endif /* _NGX_HTTP_UNIT_SHM_H_INCLUDED_ */
