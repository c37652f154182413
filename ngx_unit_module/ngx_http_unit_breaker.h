
/*
 * The circuit to Unit: a burst of failures opens it for a while, then one call
 * at a time tries whether Unit is back.  Pure; the state lives in the shared
 * zone, its mutex is held.
 */


#ifndef _NGX_HTTP_UNIT_BREAKER_H_INCLUDED_
#define _NGX_HTTP_UNIT_BREAKER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* ms that a probe may take: its worker may have died */
#define NGX_HTTP_UNIT_BREAKER_PROBE  10000


typedef struct {
    ngx_uint_t                 failures;   /* 0: off */
    ngx_msec_t                 window;
    ngx_msec_t                 open;
} ngx_http_unit_breaker_conf_t;


typedef enum {
    NGX_HTTP_UNIT_BREAKER_CLOSED = 0,
    NGX_HTTP_UNIT_BREAKER_OPEN,            /* until "until" */
    NGX_HTTP_UNIT_BREAKER_PROBING          /* a probe is under way, it has
                                              until "until" */
} ngx_http_unit_breaker_state_e;


typedef struct {
    ngx_http_unit_breaker_state_e  state;
    ngx_uint_t                     calls;     /* begun in the window */
    ngx_uint_t                     failures;  /* ended in it */
    ngx_uint_t                     opened;    /* so often */
    ngx_msec_t                     start;     /* of the window */
    ngx_msec_t                     until;
} ngx_http_unit_breaker_t;


typedef enum {
    NGX_HTTP_UNIT_BREAKER_SUCCESS = 0,
    NGX_HTTP_UNIT_BREAKER_FAILURE,
    NGX_HTTP_UNIT_BREAKER_UNKNOWN          /* the client has left, say */
} ngx_http_unit_breaker_outcome_e;


/*
 * May a call be made?  Changes nothing.
 *
 *   probe  out: 1 when it is to find out whether Unit is back
 *
 * Returns 0, or the ms after which to try again.
 */
ngx_msec_t ngx_http_unit_breaker_wait(const ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now,
    ngx_uint_t *probe);

/* A call is made, as a probe or not. */
void ngx_http_unit_breaker_call(ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now,
    ngx_uint_t probe);

/*
 * A call has ended; need not be told of a success that was no probe.
 *
 * Returns 1 when this has opened the circuit, or closed it; breaker->state
 * tells which.
 */
ngx_uint_t ngx_http_unit_breaker_done(ngx_http_unit_breaker_t *breaker,
    const ngx_http_unit_breaker_conf_t *conf, ngx_msec_t now,
    ngx_uint_t probe, ngx_http_unit_breaker_outcome_e outcome);


#endif /* _NGX_HTTP_UNIT_BREAKER_H_INCLUDED_ */
