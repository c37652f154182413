
/*
 * Idempotency records in the shared zone: who is performing a write (lease),
 * and what came of it (answer, or "outcome unknown").
 */


#ifndef _NGX_HTTP_UNIT_RECORD_H_INCLUDED_
#define _NGX_HTTP_UNIT_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_shm.h"


#define NGX_HTTP_UNIT_RECORD_TTL    172800000      /* ms: 48 h, as at Unit */
#define NGX_HTTP_UNIT_RECORD_BODY   65536
#define NGX_HTTP_UNIT_RECORD_TYPE   255            /* type, and coding */
#define NGX_HTTP_UNIT_RECORD_FIELDS  8

/* a lease lasts so long without being renewed, and is so often, in ms */
#define NGX_HTTP_UNIT_RECORD_LEASE  4000
#define NGX_HTTP_UNIT_RECORD_RENEW  1000


typedef enum {
    NGX_HTTP_UNIT_RECORD_BEGIN = 0,   /* ours: perform the write */
    NGX_HTTP_UNIT_RECORD_REPLAY,      /* done before: here is the answer */
    NGX_HTTP_UNIT_RECORD_IN_USE,      /* somebody is at it: 409 */
    NGX_HTTP_UNIT_RECORD_REUSED,      /* the key was for another write: 422 */
    NGX_HTTP_UNIT_RECORD_FULL,        /* no room for a lease: 503 */
    NGX_HTTP_UNIT_RECORD_NONE         /* no record, and no base for one */
} ngx_http_unit_record_e;


typedef struct {
    ngx_uint_t   status;
    ngx_str_t    type;       /* Content-Type */
    ngx_str_t    coding;     /* Content-Encoding */
    ngx_str_t    body;
} ngx_http_unit_record_answer_t;


/* one request's view of a record */
typedef struct {
    u_char                         key[NGX_HTTP_UNIT_SHA256_LEN];
    u_char                         fingerprint[NGX_HTTP_UNIT_SHA256_LEN];

    /* what Unit's keys are made of: of the first try, for all that follow */
    u_char                         base[NGX_HTTP_UNIT_SHA256_LEN];

    ngx_uint_t                     based;    /* base is there */
    ngx_uint_t                     owner;    /* see _record_owner() */
    uint64_t                       lease;    /* 0: none held */
    ngx_http_unit_record_answer_t  answer;   /* to replay, or to keep */
} ngx_http_unit_record_t;


/*
 * The key of a record: of at most NGX_HTTP_UNIT_RECORD_FIELDS fields, and of
 * this zone's own random bytes, so that nobody can choose keys of one bucket.
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_record_key(ngx_http_unit_shm_t *shm,
    const ngx_str_t *fields, ngx_uint_t n, u_char *key);

/*
 * Whose record it is: a hash of partner and customer, of this zone.  Whoever
 * has many records loses its own ones first; see ngx_http_unit_shm.h.
 */
ngx_uint_t ngx_http_unit_record_owner(ngx_http_unit_shm_t *shm,
    const ngx_str_t *partner, const ngx_str_t *customer);

/*
 * Look a key up and take its lease when there is nothing to replay.
 *
 *   rec  key, fingerprint, owner: in.  On BEGIN: lease, and base as it was
 *        when the write was tried first.  On REPLAY: answer, in pool.
 *        base: in, if "based"; without it there is NONE instead of a new
 *        record, for replays need no base and it takes time to make one.
 *
 * NGX_OK (*result says what), NGX_ERROR (no memory)
 */
ngx_int_t ngx_http_unit_record_begin(ngx_http_unit_shm_t *shm,
    ngx_pool_t *pool, ngx_http_unit_record_t *rec,
    ngx_http_unit_record_e *result);

/* Prolong the lease. */
void ngx_http_unit_record_renew(ngx_http_unit_shm_t *shm,
    ngx_http_unit_record_t *rec);

/*
 * Give the lease back with the answer, or with none for "outcome unknown":
 * the next try with the same fingerprint goes upstream again.  An answer for
 * which there is no room is lost, never the record.
 *
 *   answer  NULL: unknown
 *
 * Returns 1 when the answer is kept.
 */
ngx_uint_t ngx_http_unit_record_finish(ngx_http_unit_shm_t *shm,
    ngx_http_unit_record_t *rec, ngx_http_unit_record_answer_t *answer);

/* Give the lease back: nothing was sent, all is as before. */
void ngx_http_unit_record_cancel(ngx_http_unit_shm_t *shm,
    ngx_http_unit_record_t *rec);


#endif /* _NGX_HTTP_UNIT_RECORD_H_INCLUDED_ */
