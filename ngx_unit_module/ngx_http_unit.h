
/*
 * What the files of the module share: configuration, partners, the context of
 * a request.  Configuration is const once it is merged; the state of a
 * request lives in its context; what changes at run time in one process
 * (key sets, the organisation token) hangs on ngx_http_unit_file_t.
 */


#ifndef _NGX_HTTP_UNIT_H_INCLUDED_
#define _NGX_HTTP_UNIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_unit_code.h"
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_file.h"
#include "ngx_http_unit_flight.h"
#include "ngx_http_unit_idem_key.h"
#include "ngx_http_unit_json.h"
#include "ngx_http_unit_jwk.h"
#include "ngx_http_unit_jwt.h"
#include "ngx_http_unit_policy.h"
#include "ngx_http_unit_scope.h"
#include "ngx_http_unit_shm.h"
#include "ngx_http_unit_store.h"
#include "ngx_http_unit_upstream.h"
#include "ngx_http_unit_uri.h"


/* statuses of $unit_token_status */
#define NGX_HTTP_UNIT_TOKEN_NONE    0
#define NGX_HTTP_UNIT_TOKEN_HIT     1
#define NGX_HTTP_UNIT_TOKEN_MINTED  2
#define NGX_HTTP_UNIT_TOKEN_WAITED  3

/* unit_token_scopes */
#define NGX_HTTP_UNIT_SCOPES_MINIMAL  0
#define NGX_HTTP_UNIT_SCOPES_CEILING  1

/* what a verified partner token tells, as it is cached, with its strings */
#define NGX_HTTP_UNIT_CLAIMS_MAX    1024

#define NGX_HTTP_UNIT_SECRET_MAX    4096

/* two kinds of limits with three windows each, and the budget */
#define NGX_HTTP_UNIT_BUDGET_REPORTS  7


typedef struct ngx_http_unit_keys_s  ngx_http_unit_keys_t;
typedef struct ngx_http_unit_ctx_s   ngx_http_unit_ctx_t;
typedef struct ngx_http_unit_two_factor_s  ngx_http_unit_two_factor_t;
typedef struct ngx_http_unit_idem_s  ngx_http_unit_idem_t;
typedef struct ngx_http_unit_budget_conf_s  ngx_http_unit_budget_conf_t;
typedef struct ngx_http_unit_budget_window_s  ngx_http_unit_budget_window_t;
typedef struct ngx_http_unit_metrics_s  ngx_http_unit_metrics_t;


typedef struct {
    ngx_str_t                    name;
    ngx_http_unit_jwt_rules_t    rules;        /* issuer, audience, claims */
    ngx_http_unit_keys_t        *keys;         /* run-time state of a process */
    ngx_http_unit_scopes_t       ceiling;
    ngx_array_t                  scopes;       /* ngx_http_unit_name_t */
    time_t                       max_age;      /* two_factor jwt */
    ngx_uint_t                   weight;       /* of its share */
    u_char                       fingerprint[NGX_HTTP_UNIT_SHA256_LEN];
    u_char                       space[NGX_HTTP_UNIT_SHA256_LEN];
                                               /* of the caches' keys: its
                                                  fingerprint and that of the
                                                  scope table */
    unsigned                     all:1;        /* scopes all */
    unsigned                     lookup:1;     /* customer lookup */
    unsigned                     two_factor_jwt:1;
    unsigned                     org:1;        /* token org */
} ngx_http_unit_partner_t;


/* a bearer token read from a file; replaced in place when the file changes */
typedef struct {
    size_t                       len;
    u_char                       data[NGX_HTTP_UNIT_SECRET_MAX];
} ngx_http_unit_secret_t;


/* a word of the configuration that can be checked only later */
typedef struct {
    ngx_str_t                    name;
    ngx_str_t                    file;
    ngx_uint_t                   line;
} ngx_http_unit_name_t;


/* a unit_gateway on, and the server that it is in */
typedef struct {
    ngx_http_unit_name_t         word;
    ngx_http_core_srv_conf_t    *conf;
} ngx_http_unit_server_t;


typedef struct {
    ngx_http_unit_shm_t         *shm;
    const ngx_http_unit_store_t *store;
    ngx_http_unit_policy_t      *policy;
    ngx_http_unit_secret_t      *org_token;    /* run-time state */
    ngx_http_unit_idem_secret_t *idem_secret;  /* run-time state */
    ngx_http_unit_budget_conf_t *budget;
    ngx_http_unit_metrics_t     *metrics;      /* NULL: nothing is counted */
    ngx_str_t                    broker;       /* internal location */
    ngx_array_t                  partners;     /* ngx_http_unit_partner_t */
    ngx_array_t                  files;        /* ngx_http_unit_file_t * */
    ngx_http_unit_name_t         gateway;      /* first unit_gateway on or
                                                  unit_partner */
    ngx_array_t                  servers;      /* ngx_http_unit_server_t */
    ngx_array_t                  upstreams;    /* see _upstream.c */
    unsigned                     status:1;     /* unit_status somewhere */
} ngx_http_unit_main_conf_t;


typedef struct {
    ngx_flag_t                   enable;
    ngx_uint_t                   status;       /* not inherited */
    ngx_flag_t                   sandbox;
    ngx_uint_t                   limits;
    ngx_uint_t                   token_scopes;
    ngx_uint_t                   idempotency;
    ngx_uint_t                   idempotency_full;
    ngx_uint_t                   log_level;
    ngx_msec_t                   token_wait;
    time_t                       token_lifetime;
    ngx_array_t                 *allow;        /* ngx_http_unit_name_t */
    ngx_array_t                 *deny;
    ngx_array_t                 *require_2fa;
    ngx_array_t                 *pass_headers;
    ngx_array_t                 *handoff_names;
    ngx_http_unit_scopes_t       handoff;      /* unit_token_handoff */
    ngx_http_unit_policy_rule_t *rules;        /* by operation, or NULL */
    ngx_array_t                 *headers;      /* allow-list, see _header.c */
} ngx_http_unit_loc_conf_t;


/* what comes next; the order of the steps in _phase.c */
typedef enum {
    NGX_HTTP_UNIT_STEP_START = 0,
    NGX_HTTP_UNIT_STEP_AUTH,
    NGX_HTTP_UNIT_STEP_ROUTE,
    NGX_HTTP_UNIT_STEP_PIN,
    NGX_HTTP_UNIT_STEP_PRECHECK,
    NGX_HTTP_UNIT_STEP_BODY,
    NGX_HTTP_UNIT_STEP_DECIDE,
    NGX_HTTP_UNIT_STEP_IDEM,
    NGX_HTTP_UNIT_STEP_WAIT,
    NGX_HTTP_UNIT_STEP_LIMIT,
    NGX_HTTP_UNIT_STEP_TOKEN,
    NGX_HTTP_UNIT_STEP_FORWARD,
    NGX_HTTP_UNIT_STEP_DONE
} ngx_http_unit_step_e;


/* how one limit stands, for the client */
typedef struct {
    const ngx_http_unit_budget_window_t  *window;
    ngx_uint_t                   left;
    ngx_msec_t                   reset;        /* ms */
} ngx_http_unit_budget_report_t;


/* what limits have made of a request; see _budget.c */
typedef struct {
    ngx_http_unit_budget_report_t  reports[NGX_HTTP_UNIT_BUDGET_REPORTS];
    ngx_uint_t                   nreports;
    const ngx_http_unit_budget_window_t  *refused;
    ngx_msec_t                   since;        /* waiting */
    ngx_http_unit_rate_paid_e    paid;         /* the call to come */
    unsigned                     passed:1;
    unsigned                     delayed:1;
    unsigned                     dry_run:1;
    unsigned                     counted:1;    /* for all but the budget */
    unsigned                     waiting:1;
    unsigned                     circuit:1;    /* is open */
    unsigned                     owing:1;      /* what it was paid with has
                                                  made its token */
} ngx_http_unit_budget_ctx_t;


/* who calls; strings are in the request's pool */
typedef struct {
    ngx_http_unit_partner_t     *partner;
    ngx_str_t                    subject;
    ngx_str_t                    session;
    ngx_str_t                    customers;    /* ids, separated by commas */
    ngx_uint_t                   ncustomers;
    time_t                       exp;
    time_t                       auth_time;
    u_char                       token_key[NGX_HTTP_UNIT_SHA256_LEN];
                                               /* of its only customer */
    unsigned                     amr:1;
    unsigned                     read_only:1;
    unsigned                     no_role:1;
    unsigned                     has_key:1;    /* token_key is set */
} ngx_http_unit_identity_t;


/* belongs to the main request; survives internal redirects */
struct ngx_http_unit_ctx_s {
    ngx_http_request_t             *request;
    ngx_http_unit_main_conf_t      *umcf;
    ngx_http_unit_loc_conf_t       *ulcf;      /* of the current location */
    ngx_http_unit_step_e            step;

    ngx_str_t                       request_id;
    ngx_http_unit_identity_t        identity;
    ngx_str_t                       customer;
    ngx_str_t                       bearer;    /* the partner token */
    u_char                          key[NGX_HTTP_UNIT_SHA256_LEN];

    ngx_http_unit_uri_t             uri;
    ngx_array_t                     args;
    const ngx_http_unit_route_t    *route;
    const ngx_http_unit_operation_t *operation;
    ngx_http_unit_policy_caller_t   caller;
    ngx_http_unit_policy_verdict_t  verdict;
    ngx_http_unit_json_t           *json;
    ngx_str_t                       body;
    off_t                           body_received;  /* so far, while read */

    ngx_http_unit_flight_t         *flight;    /* in progress, or NULL */
    ngx_http_unit_two_factor_t     *two_factor;  /* a token call, or NULL */
    ngx_http_unit_idem_t           *idem;      /* a write, or NULL */
    ngx_str_t                       challenge; /* scopes to name in it */
    time_t                          retry_after; /* seconds, or 0 */
    ngx_str_t                       token;     /* "Bearer ..." to Unit */
    u_char                          token_key[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_table_elt_t                *authorization;

    ngx_http_unit_budget_ctx_t      budget;
    ngx_http_unit_upstream_t        upstream;
    ngx_http_unit_code_e            decision;
    ngx_uint_t                      allow;     /* methods, for 405 */
    ngx_uint_t                      method;    /* of the client's request */
    ngx_uint_t                      uri_changes; /* left, in the request */
    ngx_str_t                       method_name;
    ngx_uint_t                      token_status;
    ngx_str_t                       query;     /* as sent upstream */
    ngx_uint_t                      attempts;  /* begun so far */
    ngx_msec_t                      deadline;  /* of all attempts */
    ngx_msec_t                      retry_at;

    unsigned                        authenticated:1;
    unsigned                        keys_fetched:1;  /* for an unknown kid */
    unsigned                        keys_unknown:1;  /* fetch is under way */
    unsigned                        body_waiting:1;
    unsigned                        body_done:1;
    unsigned                        replay:1;  /* redirected after a 401 */
    unsigned                        retry:1;   /* redirected to try again */
    unsigned                        retry_waiting:1;
    unsigned                        replayed:1;
    unsigned                        answered:1;  /* by us, not by Unit */
    unsigned                        pinned:1;  /* filter[userId] was added */
    unsigned                        looked_up:1;
    unsigned                        scrubbed:1;  /* at its end */

    u_char                          id[32];
};


extern ngx_module_t  ngx_http_unit_module;


/*
 * The context of the main request that r belongs to, also after an internal
 * redirect has cleared the module contexts (STYLE P4); NULL when the gateway
 * has not seen the request.
 */
ngx_http_unit_ctx_t *ngx_http_unit_get_ctx(ngx_http_request_t *r);

/* The context, made when there is none.  NULL when out of memory. */
ngx_http_unit_ctx_t *ngx_http_unit_create_ctx(ngx_http_request_t *r);


#endif /* _NGX_HTTP_UNIT_H_INCLUDED_ */
