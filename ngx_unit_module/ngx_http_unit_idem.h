
/*
 * Idempotency of one request (DESIGN section 7): its key, its record, the keys
 * that Unit gets.
 */


#ifndef _NGX_HTTP_UNIT_IDEM_H_INCLUDED_
#define _NGX_HTTP_UNIT_IDEM_H_INCLUDED_


#include "ngx_http_unit.h"
#include "ngx_http_unit_idem_key.h"
#include "ngx_http_unit_record.h"
#include "ngx_http_unit_splice.h"


/* unit_idempotency */
#define NGX_HTTP_UNIT_IDEM_OFF      0
#define NGX_HTTP_UNIT_IDEM_ON       1
#define NGX_HTTP_UNIT_IDEM_REQUIRE  2

/* unit_idempotency_full */
#define NGX_HTTP_UNIT_IDEM_REFUSE   0
#define NGX_HTTP_UNIT_IDEM_PASS     1


typedef enum {
    NGX_HTTP_UNIT_IDEM_NONE = 0,      /* no key, no record */
    NGX_HTTP_UNIT_IDEM_GENERATED,     /* a key of ours, no record */
    NGX_HTTP_UNIT_IDEM_NEW,           /* performing it */
    NGX_HTTP_UNIT_IDEM_STORED,        /* performed, the answer is kept */
    NGX_HTTP_UNIT_IDEM_UNKNOWN,       /* performed or not, nobody can say */
    NGX_HTTP_UNIT_IDEM_REPLAYED,      /* answered from the record */
    NGX_HTTP_UNIT_IDEM_CONFLICT       /* 409, 422 or 503 */
} ngx_http_unit_idem_status_e;


/* in the request's pool */
struct ngx_http_unit_idem_s {
    ngx_http_unit_ctx_t           *ctx;
    ngx_str_t                      key;       /* the client's, or ours */
    ngx_http_unit_record_t         record;
    ngx_http_unit_idem_status_e    status;

    /* where keys are in the body, or belong; own keys of an array's elements */
    ngx_http_unit_splice_t        *places;
    ngx_str_t                     *own;
    ngx_uint_t                     nplaces;
    ngx_uint_t                     nkeys;     /* of them, with a key in it */

    ngx_http_unit_record_answer_t  answer;    /* as it comes in */
    size_t                         size;      /* of its buffer */
    off_t                          length;    /* as promised, or -1 */
    ngx_event_t                    event;     /* renews the lease */

    unsigned                       array:1;   /* data is one */
    unsigned                       complete:1;  /* nothing is without a place */
    unsigned                       sent:1;    /* may have reached Unit */
    unsigned                       spliced:1;
    unsigned                       keyed:1;   /* Unit performs it once */
    unsigned                       capture:1; /* the answer is coming in */
    unsigned                       gone:1;    /* and nobody to send it to */
};


/*
 * What the head alone tells (STYLE P11): reads the Idempotency-Key header of a
 * write; ctx->idem is set when there is one.
 *
 * NGX_OK, NGX_DECLINED (*code, *reason), NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_head(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * The step of the state machine behind the decision: reads the key in the
 * body, and takes the lease or finds the record.
 *
 * NGX_OK        go on; ctx->idem is set for writes that have a key
 * NGX_DECLINED  *code, *reason
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason);

/*
 * Is there an answer to replay?  Then the write is not performed.  1 or 0
 */
ngx_uint_t ngx_http_unit_idem_is_replay(ngx_http_unit_ctx_t *ctx);

/* Send the stored answer.  Always NGX_DONE. */
ngx_int_t ngx_http_unit_idem_replay(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * The request is about to be sent upstream: put the derived keys into its body
 * (once, whatever the number of attempts).  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_forward(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * The upstream's answer begins (header filter): decide whether it is final,
 * and prepare to keep it.
 */
void ngx_http_unit_idem_header(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * Sending has failed.  Is there a reason to read the answer all the same?
 * 1 or 0; with 1 nothing more is to be sent.
 */
ngx_uint_t ngx_http_unit_idem_gone(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/* A part of the answer's body (body filter), its end, or no way to keep it. */
void ngx_http_unit_idem_body(ngx_http_unit_ctx_t *ctx, u_char *p, size_t len);
void ngx_http_unit_idem_end(ngx_http_unit_ctx_t *ctx);
void ngx_http_unit_idem_drop(ngx_http_unit_ctx_t *ctx);

/*
 * An answer is there that is not kept: give the lease back before the client
 * sees it.  Does nothing while an answer is being kept, or without a lease.
 */
void ngx_http_unit_idem_release(ngx_http_unit_ctx_t *ctx);

/*
 * May the operation be sent to Unit more than once by us?  Reads and
 * operations with a key.  1 or 0
 */
ngx_uint_t ngx_http_unit_idem_repeatable(ngx_http_unit_ctx_t *ctx);


/* of _idem_body.c */

/*
 * Find the places of keys in the body, and what keys there are.
 *
 *   key  out: that of the request, or of all elements together; empty: none
 *
 * NGX_OK, NGX_DECLINED (*code, *reason), NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_scan(ngx_http_request_t *r,
    ngx_http_unit_idem_t *idem, ngx_str_t *key, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * Of method, path, query, and the body without its keys.  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_fingerprint(ngx_http_request_t *r,
    ngx_http_unit_idem_t *idem, u_char *fingerprint);

/* Put the derived keys into the body.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_unit_idem_splice(ngx_http_request_t *r,
    ngx_http_unit_idem_t *idem);


#endif /* _NGX_HTTP_UNIT_IDEM_H_INCLUDED_ */
