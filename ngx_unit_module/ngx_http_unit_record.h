
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
#define NGX_HTTP_UNIT_RECORD_TYPE   256

/* a lease lasts so long without being renewed, and is so often, in ms */
#define NGX_HTTP_UNIT_RECORD_LEASE  4000
#define NGX_HTTP_UNIT_RECORD_RENEW  1000


typedef enum {
    NGX_HTTP_UNIT_RECORD_BEGIN = 0,   /* ours: perform the write */
    NGX_HTTP_UNIT_RECORD_REPLAY,      /* done before: here is the answer */
    NGX_HTTP_UNIT_RECORD_IN_USE,      /* somebody is at it: 409 */
    NGX_HTTP_UNIT_RECORD_REUSED,      /* the key was for another write: 422 */
    NGX_HTTP_UNIT_RECORD_FULL         /* no room for a lease: 503 */
} ngx_http_unit_record_e;


typedef struct {
    ngx_uint_t   status;
    ngx_str_t    type;       /* Content-Type */
    ngx_str_t    body;
} ngx_http_unit_record_answer_t;


/*
 * Look a key up and take its lease when there is nothing to replay.
 *
 *   key          32 bytes, the derived key
 *   fingerprint  32 bytes, of the request without its key
 *   lease        out: id of the lease, on BEGIN
 *   answer       out, in pool, on REPLAY
 *
 * NGX_OK (*result says what), NGX_ERROR (no memory)
 */
ngx_int_t ngx_http_unit_record_begin(ngx_http_unit_shm_t *shm,
    ngx_pool_t *pool, const u_char *key, const u_char *fingerprint,
    ngx_http_unit_record_e *result, uint64_t *lease,
    ngx_http_unit_record_answer_t *answer);

/* Is there any record or lease of this key?  1 or 0 */
ngx_uint_t ngx_http_unit_record_exists(ngx_http_unit_shm_t *shm,
    const u_char *key);

/* Prolong a lease. */
void ngx_http_unit_record_renew(ngx_http_unit_shm_t *shm, const u_char *key,
    uint64_t lease);

/*
 * Give a lease back with the answer, or with NULL for "outcome unknown": the
 * next try with the same fingerprint goes upstream again.  An answer for which
 * there is no room becomes "outcome unknown".
 */
void ngx_http_unit_record_finish(ngx_http_unit_shm_t *shm, const u_char *key,
    const u_char *fingerprint, uint64_t lease,
    ngx_http_unit_record_answer_t *answer);

/* Give a lease back without a trace: nothing was sent. */
void ngx_http_unit_record_cancel(ngx_http_unit_shm_t *shm, const u_char *key,
    uint64_t lease);


#endif /* _NGX_HTTP_UNIT_RECORD_H_INCLUDED_ */
