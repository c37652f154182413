
/*
 * What the gateway has done, counted: for unit_status.  The counters are words
 * in a shared zone of their own, which is there only when some location has
 * unit_status; they are added to atomically, without a lock.  None of them is
 * about a customer, a subject or a token: their number is fixed by the
 * operations table.
 */


#ifndef _NGX_HTTP_UNIT_METRICS_H_INCLUDED_
#define _NGX_HTTP_UNIT_METRICS_H_INCLUDED_


#include "ngx_http_unit.h"
#include "ngx_http_unit_idem.h"


/* decisions: the codes, and what ended before there was a decision */
#define NGX_HTTP_UNIT_METRICS_UNDECIDED  NGX_HTTP_UNIT_CODES
#define NGX_HTTP_UNIT_METRICS_DECISIONS  (NGX_HTTP_UNIT_CODES + 1)

/* what an attempt came to: no answer, 1xx .. 5xx */
#define NGX_HTTP_UNIT_METRICS_CLASSES    6

#define NGX_HTTP_UNIT_METRICS_BUCKETS    15


/* whose attempts */
typedef enum {
    NGX_HTTP_UNIT_METRICS_REQUEST = 0,    /* of clients */
    NGX_HTTP_UNIT_METRICS_BROKER,         /* our own calls to Unit */
    NGX_HTTP_UNIT_METRICS_KEY_SERVER,
    NGX_HTTP_UNIT_METRICS_KINDS
} ngx_http_unit_metrics_kind_e;


/* the words, in their order; what has an index of its own begins at it */
typedef enum {
    /* + NGX_HTTP_UNIT_TOKEN_*, requests by where their token came from */
    NGX_HTTP_UNIT_METRICS_TOKEN = 0,
    NGX_HTTP_UNIT_METRICS_TOKEN_REFUSED =
        NGX_HTTP_UNIT_METRICS_TOKEN + NGX_HTTP_UNIT_TOKEN_WAITED + 1,
    NGX_HTTP_UNIT_METRICS_TOKEN_CALLS,
    NGX_HTTP_UNIT_METRICS_TOKEN_FAILED,

    NGX_HTTP_UNIT_METRICS_STARTED,        /* verifications */
    NGX_HTTP_UNIT_METRICS_VERIFIED,
    NGX_HTTP_UNIT_METRICS_WRONG_CODE,
    NGX_HTTP_UNIT_METRICS_LOCKED,         /* by the last wrong code */
    NGX_HTTP_UNIT_METRICS_EXPIRED,        /* no such handle, or not any more */

    /* + ngx_http_unit_idem_status_e */
    NGX_HTTP_UNIT_METRICS_IDEM,

    /* + ngx_http_unit_shm_limit_e, requests refused */
    NGX_HTTP_UNIT_METRICS_LIMIT =
        NGX_HTTP_UNIT_METRICS_IDEM + NGX_HTTP_UNIT_IDEM_CONFLICT + 1,
    NGX_HTTP_UNIT_METRICS_DELAYED =
        NGX_HTTP_UNIT_METRICS_LIMIT + NGX_HTTP_UNIT_SHM_LIMITS,
    NGX_HTTP_UNIT_METRICS_DRY_RUN,

    NGX_HTTP_UNIT_METRICS_RETRIES,

    /* ms, by kind */
    NGX_HTTP_UNIT_METRICS_TIME,

    /* by kind, class and bucket: see ngx_http_unit_metrics_attempt_word */
    NGX_HTTP_UNIT_METRICS_ATTEMPTS =
        NGX_HTTP_UNIT_METRICS_TIME + NGX_HTTP_UNIT_METRICS_KINDS,

    /* by operation and decision: see ngx_http_unit_metrics_operation_word */
    NGX_HTTP_UNIT_METRICS_OPERATIONS =
        NGX_HTTP_UNIT_METRICS_ATTEMPTS
        + NGX_HTTP_UNIT_METRICS_KINDS * NGX_HTTP_UNIT_METRICS_CLASSES
          * NGX_HTTP_UNIT_METRICS_BUCKETS
} ngx_http_unit_metrics_e;


/* the word of kind, class (0: no answer) and bucket */
#define ngx_http_unit_metrics_attempt_word(kind, class, bucket)               \
    (NGX_HTTP_UNIT_METRICS_ATTEMPTS                                           \
     + ((kind) * NGX_HTTP_UNIT_METRICS_CLASSES + (class))                     \
       * NGX_HTTP_UNIT_METRICS_BUCKETS + (bucket))

/* the word of an operation, by its index or the number of them: unknown */
#define ngx_http_unit_metrics_operation_word(index, decision)                 \
    (NGX_HTTP_UNIT_METRICS_OPERATIONS                                         \
     + (index) * NGX_HTTP_UNIT_METRICS_DECISIONS + (decision))


/* in the zone */
typedef struct {
    time_t                     since;     /* made then, written once */
    ngx_atomic_t               words[1];  /* by all workers */
} ngx_http_unit_metrics_sh_t;


/* allocated at configuration time; umcf->metrics is NULL without unit_status */
struct ngx_http_unit_metrics_s {
    ngx_shm_zone_t             *zone;
    ngx_http_unit_metrics_sh_t *sh;
    ngx_uint_t                  n;        /* words */
};


/* upper bounds of the buckets, as the clock and as people have them */
typedef struct {
    ngx_msec_t                  ms;
    const char                 *seconds;
} ngx_http_unit_metrics_bound_t;


extern const ngx_http_unit_metrics_bound_t
    ngx_http_unit_metrics_bounds[NGX_HTTP_UNIT_METRICS_BUCKETS];


/*
 * Make the zone and count requests, if some location has unit_status.  For
 * postconfiguration, when the operations table is there.
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_metrics_init(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf);

/* Add one to a word.  Does nothing without unit_status. */
void ngx_http_unit_metrics_count(const ngx_http_unit_main_conf_t *umcf,
    ngx_uint_t word);

/* The same for a flight, if it is one for a customer token. */
void ngx_http_unit_metrics_flight(const ngx_http_unit_flight_t *flight,
    ngx_uint_t word);

/*
 * A use of the upstream has ended: count its attempts, with how long Unit took
 * to answer, or did not.
 */
void ngx_http_unit_metrics_upstream(ngx_http_request_t *r,
    ngx_http_unit_upstream_t *hu);

/*
 * Copy all words, so that sums and their parts agree.
 *
 * Returns umcf->metrics->n words in pool, or NULL when out of memory.
 */
ngx_atomic_uint_t *ngx_http_unit_metrics_copy(ngx_pool_t *pool,
    const ngx_http_unit_metrics_t *metrics);


#endif /* _NGX_HTTP_UNIT_METRICS_H_INCLUDED_ */
