
/*
 * Idempotency of one request (DESIGN section 7): its key, its record, the key
 * that Unit gets.
 */


#ifndef _NGX_HTTP_UNIT_IDEM_H_INCLUDED_
#define _NGX_HTTP_UNIT_IDEM_H_INCLUDED_


#include "ngx_http_unit.h"
#include "ngx_http_unit_idem_key.h"
#include "ngx_http_unit_record.h"


/* unit_idempotency */
#define NGX_HTTP_UNIT_IDEM_OFF      0
#define NGX_HTTP_UNIT_IDEM_ON       1
#define NGX_HTTP_UNIT_IDEM_REQUIRE  2


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
    ngx_str_t                      client_key;  /* empty: none given */
    u_char                         key[NGX_HTTP_UNIT_SHA256_LEN];
    u_char                         fingerprint[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_uint_t                     secret;      /* which one, see below */
    uint64_t                       lease;       /* 0: none held */
    ngx_http_unit_idem_status_e    status;
    ngx_http_unit_record_answer_t  answer;      /* to replay, or captured */
    size_t                         size;        /* of the capture buffer */
    ngx_event_t                    event;       /* renews the lease */
    unsigned                       sent:1;      /* may have reached Unit */
    unsigned                       capture:1;   /* the answer is coming in */
    unsigned                       spliced:1;
};


/*
 * Does the request carry an idempotency key for which a body has to be read
 * that policy alone would not ask for?  1 or 0.  From the head alone.
 */
ngx_uint_t ngx_http_unit_idem_needs_body(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * The step of the state machine behind the decision: reads the key, and takes
 * the lease or finds the record.
 *
 * NGX_OK        go on; ctx->idem is set for writes
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
 * The request is about to be sent upstream: put the derived key into its body
 * (once, whatever the number of attempts).  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_forward(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/*
 * The upstream's answer begins (header filter): decide whether it is final,
 * and prepare to keep it.  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_idem_header(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/* A part of the answer's body (body filter), and its end. */
void ngx_http_unit_idem_body(ngx_http_unit_ctx_t *ctx, u_char *p, size_t len);
void ngx_http_unit_idem_end(ngx_http_unit_ctx_t *ctx);

/*
 * May the operation be sent to Unit more than once by us?  Reads and
 * operations with a key.  1 or 0
 */
ngx_uint_t ngx_http_unit_idem_repeatable(ngx_http_unit_ctx_t *ctx);


#endif /* _NGX_HTTP_UNIT_IDEM_H_INCLUDED_ */
