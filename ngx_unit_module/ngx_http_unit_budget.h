
/*
 * Limits of requests (DESIGN section 8): the budget of calls to Unit with its
 * lanes and shares, limits per partner, customer and address, the pause that
 * Unit asks for, the circuit.  What belongs to all workers is in the shared
 * zone; the arithmetic is in _rate.c and _breaker.c.
 */


#ifndef _NGX_HTTP_UNIT_BUDGET_H_INCLUDED_
#define _NGX_HTTP_UNIT_BUDGET_H_INCLUDED_


#include "ngx_http_unit.h"


/* unit_limits */
#define NGX_HTTP_UNIT_LIMITS_OFF      0
#define NGX_HTTP_UNIT_LIMITS_ON       1
#define NGX_HTTP_UNIT_LIMITS_DRY_RUN  2

/* windows of one kind */
#define NGX_HTTP_UNIT_BUDGET_WINDOWS  3

#define NGX_HTTP_UNIT_BUDGET_TAG      2

/* in the window of unit_breaker, unless said otherwise */
#define NGX_HTTP_UNIT_BUDGET_FAILURES  50

#define NGX_HTTP_UNIT_BUDGET_UNSET    ((ngx_uint_t) -1)


/* one window of a limit, or the budget; made of one directive */
struct ngx_http_unit_budget_window_s {
    ngx_http_unit_shm_limit_e       kind;
    ngx_str_t                       name;      /* customer, customer-2 */
    ngx_str_t                       policy;    /* "customer";q=600;w=60 */
    const char                     *reason;    /* of a refusal, for the log */
    ngx_uint_t                      quota;
    ngx_uint_t                      seconds;
    ngx_uint_t                      burst;
    ngx_msec_t                      delay;     /* a request may wait so long */
    ngx_http_unit_rate_t            rate;
    ngx_http_unit_name_t            word;      /* the directive */
};


/* the windows of one kind: their states share a record */
typedef struct {
    ngx_http_unit_budget_window_t   windows[NGX_HTTP_UNIT_BUDGET_WINDOWS];
    ngx_uint_t                      n;
    ngx_msec_t                      ttl;
    uint64_t                        tag[NGX_HTTP_UNIT_BUDGET_TAG];
} ngx_http_unit_budget_set_t;


struct ngx_http_unit_budget_conf_s {
    ngx_http_unit_budget_window_t   budget;
    ngx_uint_t                      reserve;   /* percent */
    ngx_http_unit_budget_set_t      sets[NGX_HTTP_UNIT_SHM_LIMIT_BUDGET];
    ngx_http_unit_breaker_conf_t    breaker;
    ngx_http_unit_rate_t           *shares;    /* by partner, NULL for one */
    u_char                         *keys;      /* by partner, 32 bytes each */
    ngx_uint_t                      npartners;
    u_char                          share_key[NGX_HTTP_UNIT_SHM_KEY_LEN];
    uint64_t                        share_tag[NGX_HTTP_UNIT_BUDGET_TAG];
    unsigned                        breaker_set:1;
};


/* Setters, see docs/limits.md; what can be checked only at the end. */
ngx_http_unit_budget_conf_t *ngx_http_unit_budget_create_conf(ngx_conf_t *cf);
char *ngx_http_unit_budget_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_unit_budget_set_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_unit_budget_set_breaker(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_unit_budget_init_conf(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf);

/*
 * The step of the state machine before anything is asked of Unit: checks and
 * counts all limits of the request at once.  On a further attempt only the
 * budget.
 *
 * NGX_OK, NGX_AGAIN (waits for its turn), NGX_DECLINED (*code, *reason),
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_budget(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * Count a call of our own to Unit, before it is made.  Calls to anybody else
 * (key servers) are not counted.
 *
 * NGX_OK or NGX_DECLINED: fetch->error is NGX_HTTP_UNIT_FETCH_LIMITED and
 * fetch->code the reason, the call must not be made
 */
ngx_int_t ngx_http_unit_budget_fetch(ngx_http_request_t *r,
    ngx_http_unit_fetch_t *fetch);

/* nginx itself sends a request once more: count it. */
void ngx_http_unit_budget_resent(ngx_http_request_t *r,
    ngx_http_unit_upstream_t *hu);

/*
 * Has the client's address used up its failures?  To be asked before
 * expensive checks.  NGX_OK or NGX_DECLINED (*code, *reason)
 */
ngx_int_t ngx_http_unit_budget_address(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * A request is refused in the phases.  Counts failures of authentication and
 * unknown operations for the address, and changes *code and *reason when they
 * were too many; gives back what was not used.
 */
void ngx_http_unit_budget_refused(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * ms until another attempt of the request may be made at the earliest, or -1
 * when there is no sense in one.
 */
ngx_msec_int_t ngx_http_unit_budget_retry(ngx_http_unit_ctx_t *ctx);

/*
 * Unit has answered 429: nobody calls it for the time it says.
 *
 *   retry_after  value of the header, may be empty
 */
void ngx_http_unit_budget_pause(ngx_http_request_t *r, ngx_str_t *retry_after);

/* A use of the upstream has ended: tell the circuit. */
void ngx_http_unit_budget_done(ngx_http_request_t *r,
    ngx_http_unit_upstream_t *hu, ngx_http_unit_breaker_outcome_e outcome);

/* Add RateLimit and RateLimit-Policy to the answer.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_unit_budget_headers(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);

/* $unit_limit_status.  NGX_OK (value->len is 0 for none) or NGX_ERROR */
ngx_int_t ngx_http_unit_budget_status(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_str_t *value);


#endif /* _NGX_HTTP_UNIT_BUDGET_H_INCLUDED_ */
