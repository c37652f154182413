
/*
 * The store: records that workers share and that are expensive to make
 * (customer tokens, customer lists, remote key sets), each made by one holder
 * of a lease while the others wait.  One small interface whose calls may
 * complete later, so that a networked store can stand behind it; the one here
 * is the shared zone and always completes at once.
 */


#ifndef _NGX_HTTP_UNIT_STORE_H_INCLUDED_
#define _NGX_HTTP_UNIT_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_code.h"
#include "ngx_http_unit_scope.h"
#include "ngx_http_unit_shm.h"


typedef enum {
    NGX_HTTP_UNIT_STORE_HIT = 0,   /* value, ttl; refresh: lease taken too */
    NGX_HTTP_UNIT_STORE_REFUSED,   /* code: somebody was refused lately */
    NGX_HTTP_UNIT_STORE_LEASED,    /* nothing there, the caller is to make it */
    NGX_HTTP_UNIT_STORE_BUSY       /* nothing there, another is making it */
} ngx_http_unit_store_result_e;


typedef struct ngx_http_unit_store_req_s  ngx_http_unit_store_req_t;

typedef void (*ngx_http_unit_store_handler_pt)(ngx_http_unit_store_req_t *req);

struct ngx_http_unit_store_req_s {
    /* which record */
    ngx_http_unit_shm_class_e       class;
    const u_char                   *key;      /* 32 bytes, must stay valid */
    ngx_http_unit_scopes_t          scopes;   /* of the record that put()
                                                 keeps, and of the lease */
    ngx_http_unit_scopes_t          need;     /* a record that covers these
                                                 will do; zero: scopes */

    /* the record, in put() and out of acquire() */
    ngx_pool_t                     *pool;     /* for value */
    size_t                          reserve;  /* bytes left free before it */
    ngx_str_t                       value;
    ngx_msec_t                      ttl;      /* ms the record may be used */
    ngx_msec_t                      refresh_in;  /* put(): ms after which a new
                                                 one may be made in advance,
                                                 0: never */
    unsigned                        secret:1; /* wipe when freed */
    unsigned                        fresh:1;  /* find(): one that is due to be
                                                 refreshed will not do */

    /* out of acquire() */
    ngx_http_unit_store_result_e    result;
    ngx_http_unit_code_e            code;     /* also in refuse() */
    unsigned                        refresh:1;

    uint64_t                        lease;    /* id of the lease held */
    uint64_t                        waited;   /* id of the lease waited for */

    /* completion of a call that returned NGX_AGAIN */
    ngx_http_unit_store_handler_pt  handler;
    void                           *data;
};


/*
 * All calls return NGX_OK (done), NGX_AGAIN (req->handler will be called) or
 * NGX_ERROR (the store failed; the caller answers 503).
 */
typedef struct {
    /*
     * Look a record up; take the lease when there is none, or when it is due
     * to be refreshed and nobody does it yet.  A refusal or failure of the
     * lease that the caller waited for is its own result, too.
     */
    ngx_int_t  (*acquire)(void *store, ngx_http_unit_store_req_t *req);

    /* Keep a record and give the lease back.  No room is not an error. */
    ngx_int_t  (*put)(void *store, ngx_http_unit_store_req_t *req);

    /*
     * Give the lease back with a code.  With ttl != 0 the code is remembered
     * for all that come within ttl ms, else only for those that wait now.
     */
    ngx_int_t  (*refuse)(void *store, ngx_http_unit_store_req_t *req);

    /* Prolong the lease; it ends by itself if the holder dies. */
    ngx_int_t  (*renew)(void *store, ngx_http_unit_store_req_t *req);

    /* Give the lease back without a result (the holder gave up). */
    ngx_int_t  (*release)(void *store, ngx_http_unit_store_req_t *req);

    /* Forget the records of a key: those whose value is req->value, or all
       when that is empty. */
    ngx_int_t  (*purge)(void *store, ngx_http_unit_store_req_t *req);

    /* As acquire(), but without a lease: HIT, or BUSY when there is none. */
    ngx_int_t  (*find)(void *store, ngx_http_unit_store_req_t *req);

    /*
     * What there is under a key: req->scopes becomes the scopes of all its
     * records, req->ttl the longest time that one of them has left, 0 when
     * there is none.
     */
    ngx_int_t  (*survey)(void *store, ngx_http_unit_store_req_t *req);
} ngx_http_unit_store_t;


/* how long a lease lasts without being renewed, and how often it is */
#define NGX_HTTP_UNIT_STORE_LEASE  2000
#define NGX_HTTP_UNIT_STORE_RENEW  500


/* The store in the shared zone; its "store" argument is ngx_http_unit_shm_t. */
extern const ngx_http_unit_store_t  ngx_http_unit_store_shm;


#endif /* _NGX_HTTP_UNIT_STORE_H_INCLUDED_ */
