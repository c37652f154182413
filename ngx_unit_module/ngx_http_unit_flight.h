
/*
 * One record wanted by one request: looked up in the store, or fetched by
 * whoever gets the lease while the others wait ("single flight").  Customer
 * tokens, customer lookups and remote key sets are all flights.
 */


#ifndef _NGX_HTTP_UNIT_FLIGHT_H_INCLUDED_
#define _NGX_HTTP_UNIT_FLIGHT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_unit_fetch.h"
#include "ngx_http_unit_store.h"


typedef struct ngx_http_unit_flight_s  ngx_http_unit_flight_t;

/*
 * Fill flight->fetch (method, uri, args, authorization, body).
 * NGX_OK, NGX_DECLINED (flight->req.code says why not), NGX_ERROR
 */
typedef ngx_int_t (*ngx_http_unit_flight_prepare_pt)(
    ngx_http_unit_flight_t *flight);

/*
 * Read flight->fetch's complete answer into flight->req: value, ttl and
 * refresh_in on NGX_OK; code and ttl (how long to remember it, 0: not) on
 * NGX_DECLINED.
 */
typedef ngx_int_t (*ngx_http_unit_flight_parse_pt)(
    ngx_http_unit_flight_t *flight);


typedef enum {
    NGX_HTTP_UNIT_FLIGHT_START = 0,
    NGX_HTTP_UNIT_FLIGHT_WAITING,      /* somebody else has the lease */
    NGX_HTTP_UNIT_FLIGHT_FETCHING,     /* we have it */
    NGX_HTTP_UNIT_FLIGHT_LANDED        /* req.value, or req.code */
} ngx_http_unit_flight_e;


struct ngx_http_unit_flight_s {
    /* set by the caller, the rest zero */
    ngx_http_request_t               *request;   /* main */
    const ngx_http_unit_store_t      *store;
    void                             *store_data;
    ngx_http_unit_store_req_t         req;       /* class, key, scopes,
                                                    secret */
    ngx_http_unit_flight_prepare_pt   prepare;
    ngx_http_unit_flight_parse_pt     parse;
    void                             *data;
    ngx_msec_t                        wait;      /* ms, for another's lease */
    ngx_msec_t                        fail_ttl;  /* ms to remember that there
                                                    was no answer at all */

    ngx_http_unit_fetch_t             fetch;

    /* out */
    unsigned                          fetched:1; /* by us */
    unsigned                          waited:1;  /* for another */

    /* private */
    ngx_http_unit_flight_e            state;
    ngx_msec_t                        deadline;
    ngx_event_t                       event;     /* poll or renew timer */
    ngx_queue_t                       queue;     /* of this process' waiters */
    unsigned                          queued:1;
    unsigned                          background:1;
    unsigned                          cleanup:1;
};


/*
 * Go on with a flight.  Call again with the same flight whenever the request
 * is resumed, until it is not NGX_AGAIN; spurious calls do no harm.
 *
 * NGX_OK        flight->req.value is the record, in the request's pool
 * NGX_AGAIN     the request will be resumed
 * NGX_DECLINED  flight->req.code says why there is no record
 * NGX_ERROR     no memory or the store failed: answer 500
 */
ngx_int_t ngx_http_unit_flight_run(ngx_http_unit_flight_t *flight);

/*
 * For parse(): what becomes of an answer of Unit's that is no success (DESIGN
 * 5.2).  Sets req.code and req.ttl (4xx are remembered for a few seconds, 5xx
 * are not) and logs it.
 *
 *   not_found  the code for a 404
 *
 * Always NGX_DECLINED.
 */
ngx_int_t ngx_http_unit_flight_refused(ngx_http_unit_flight_t *flight,
    ngx_http_unit_code_e not_found);

/* Set up the queue of waiters of this process. */
void ngx_http_unit_flight_init_process(void);


#endif /* _NGX_HTTP_UNIT_FLIGHT_H_INCLUDED_ */
