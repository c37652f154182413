
/*
 * What _budget.c asks of _budget_shm.c: decisions made in one locked step over
 * the shared zone.
 */


#ifndef _NGX_HTTP_UNIT_BUDGET_INT_H_INCLUDED_
#define _NGX_HTTP_UNIT_BUDGET_INT_H_INCLUDED_


#include "ngx_http_unit_budget.h"


/* rounded up: who waits so long is not too early */
#define ngx_http_unit_budget_seconds(ms)  ((time_t) (((ms) + 999) / 1000))


/* one decision */
typedef struct {
    ngx_http_unit_main_conf_t             *umcf;
    ngx_uint_t                             partner;  /* index */
    const u_char                          *customer; /* key, or NULL */
    unsigned                               unit:1;   /* is a call to Unit */
    unsigned                               clients:1;  /* limits of clients
                                                          apply */
    unsigned                               priority:1;
    unsigned                               passed:1; /* the circuit, before */

    /* out */
    ngx_msec_t                             wait;     /* 0: passed, counted */
    ngx_msec_t                             delay;    /* it may wait so long */
    const ngx_http_unit_budget_window_t   *refused;  /* by which limit */
    ngx_http_unit_rate_paid_e              paid;
    ngx_uint_t                             probe;
    ngx_uint_t                             circuit;  /* is open */
    ngx_uint_t                             degraded; /* not all was counted */
    ngx_http_unit_budget_report_t         *reports;  /* of the caller, or
                                                        NULL */
    ngx_uint_t                             nreports;
} ngx_http_unit_budget_call_t;


/* Tell the log, now and then, that the zone is full. */
void ngx_http_unit_budget_degraded(ngx_http_unit_ctx_t *ctx);

/* Check all limits of a call and, if it passes, count it for all of them. */
void ngx_http_unit_budget_admit(ngx_http_unit_budget_call_t *call);

/* Count a call that is made anyway. */
void ngx_http_unit_budget_charge(ngx_http_unit_main_conf_t *umcf,
    ngx_uint_t partner);

/* Take back what was paid for a call that is not made. */
void ngx_http_unit_budget_refund(ngx_http_unit_main_conf_t *umcf,
    ngx_uint_t partner, ngx_http_unit_rate_paid_e paid);

/*
 * An address' failures.
 *
 *   key      of the address and the kind of failure
 *   count    0: only look
 *   report   out, when it is refused
 *   full     out: 1 when it is refused because it cannot be counted
 *
 * Returns 0, or the ms until there may be another one.
 */
ngx_msec_t ngx_http_unit_budget_failure(ngx_http_unit_main_conf_t *umcf,
    const u_char *key, ngx_uint_t count,
    ngx_http_unit_budget_report_t *report, ngx_uint_t *full);


#endif /* _NGX_HTTP_UNIT_BUDGET_INT_H_INCLUDED_ */
