
/*
 * The operations table (conf/operations.json): loading, matching, deciding.
 * Loaded with jansson at configuration time into an immutable structure; a
 * match costs one hash lookup per path segment, whatever the number of
 * operations.  Pure: the module and script/policy share this code.
 */


#ifndef _NGX_HTTP_UNIT_POLICY_H_INCLUDED_
#define _NGX_HTTP_UNIT_POLICY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_code.h"
#include "ngx_http_unit_json.h"
#include "ngx_http_unit_scope.h"
#include "ngx_http_unit_uri.h"


#define NGX_HTTP_UNIT_POLICY_MAX_OPERATIONS  10000
#define NGX_HTTP_UNIT_POLICY_MAX_SCOPES_ANY  8


/* methods as a mask; HEAD is matched as GET */
#define NGX_HTTP_UNIT_METHOD_GET     0x01
#define NGX_HTTP_UNIT_METHOD_POST    0x02
#define NGX_HTTP_UNIT_METHOD_PUT     0x04
#define NGX_HTTP_UNIT_METHOD_PATCH   0x08
#define NGX_HTTP_UNIT_METHOD_DELETE  0x10


typedef enum {
    NGX_HTTP_UNIT_TOKEN_BOTH = 0,
    NGX_HTTP_UNIT_TOKEN_ORG,
    NGX_HTTP_UNIT_TOKEN_CUSTOMER
} ngx_http_unit_token_e;


/* "default" of an operation: what holds when no directive says otherwise */
typedef enum {
    NGX_HTTP_UNIT_POLICY_ALLOW = 0,
    NGX_HTTP_UNIT_POLICY_DENY,       /* unsure scopes, unknown host */
    NGX_HTTP_UNIT_POLICY_ORG_ONLY,   /* moves funds without a 2FA scope */
    NGX_HTTP_UNIT_POLICY_SANDBOX,    /* simulations: unit_sandbox on only */
    NGX_HTTP_UNIT_POLICY_PCI         /* browser to vault: never through us,
                                        not even with unit_allow */
} ngx_http_unit_policy_default_e;


typedef enum {
    NGX_HTTP_UNIT_SERVE_PROXY = 0,
    NGX_HTTP_UNIT_SERVE_TOKEN,         /* POST /customers/:id/token */
    NGX_HTTP_UNIT_SERVE_VERIFICATION,  /* .../token/verification */
    NGX_HTTP_UNIT_SERVE_TOKEN_STATUS,  /* GET .../token, ours */
    NGX_HTTP_UNIT_SERVE_TOKEN_FORGET   /* DELETE .../token, ours */
} ngx_http_unit_serve_e;


typedef struct {
    ngx_str_t                       name;
    unsigned                        write:1;
    unsigned                        two_factor:1;  /* "sensitive" at Unit */
    unsigned                        pci:1;
    unsigned                        customer:1;    /* a customer token may
                                                      hold it */
} ngx_http_unit_policy_scope_t;


/* one operation; all of it const after loading */
typedef struct {
    ngx_str_t                       name;
    ngx_uint_t                      index;         /* in the table */
    ngx_uint_t                      method;        /* one bit of the mask */
    ngx_str_t                       path;          /* "/accounts/:accountId" */
    ngx_uint_t                      scopes[NGX_HTTP_UNIT_POLICY_MAX_SCOPES_ANY];
    ngx_uint_t                      nscopes;       /* any one suffices,
                                                      narrowest first */
    ngx_http_unit_token_e           token;
    ngx_http_unit_policy_default_e  dflt;
    ngx_http_unit_serve_e           serve;
    ngx_uint_t                      timeout;       /* seconds: 5, 60, 120 */
    ngx_str_t                       family;        /* idempotency key space,
                                                      empty: not idempotent */
    ngx_int_t                       customer;      /* segment of the path that
                                                      is the customer's id,
                                                      or -1 */
    unsigned                        two_factor:1;  /* always */
    unsigned                        moves_funds:1;
    unsigned                        pci:1;
    unsigned                        pin_user:1;    /* filter[userId] can be
                                                      forced: may be served to
                                                      customers with the org
                                                      token */
    unsigned                        body:1;        /* has a body match */
    unsigned                        plain_json:1;  /* takes application/json,
                                                      too */
    void                           *match;         /* private: conditions */
    void                           *step_up;       /* private: watches whose
                                                      presence needs 2FA */
} ngx_http_unit_operation_t;


typedef struct ngx_http_unit_policy_s  ngx_http_unit_policy_t;
typedef struct ngx_http_unit_route_s   ngx_http_unit_route_t;


/*
 * Watch ids in the set of ngx_http_unit_policy_watch() for use by others; all
 * that is watched lies in "data", so its hit is always the first one.
 */
typedef enum {
    NGX_HTTP_UNIT_WATCH_DATA = 0,           /* data */
    NGX_HTTP_UNIT_WATCH_ATTRIBUTES,         /* data.attributes */
    NGX_HTTP_UNIT_WATCH_KEY,                /* data.attributes.idempotencyKey */
    NGX_HTTP_UNIT_WATCH_ITEM,               /* data[] */
    NGX_HTTP_UNIT_WATCH_ITEM_ATTRIBUTES,    /* data[].attributes */
    NGX_HTTP_UNIT_WATCH_ITEM_KEY,           /* ... .idempotencyKey */
    NGX_HTTP_UNIT_WATCH_LAST
} ngx_http_unit_watch_e;


/* per operation, made from unit_allow, unit_deny, unit_require_2fa */
typedef struct {
    unsigned                        allow:1;
    unsigned                        deny:1;
    unsigned                        two_factor:1;
} ngx_http_unit_policy_rule_t;


typedef struct {
    ngx_http_unit_scopes_t          ceiling;       /* of the partner */
    unsigned                        org:1;         /* token org partner */
    unsigned                        read_only:1;   /* role ReadOnly */
    unsigned                        no_role:1;     /* role present but not one
                                                      we know: no scope */
    unsigned                        sandbox:1;     /* unit_sandbox on */
} ngx_http_unit_policy_caller_t;


typedef struct {
    ngx_http_unit_code_e            code;          /* ALLOWED or why not */
    const char                     *reason;        /* stable word for logs */
    ngx_int_t                       scope;         /* chosen, -1: none needed */
    unsigned                        verified:1;    /* a 2FA-verified token is
                                                      needed */
    unsigned                        org:1;         /* goes with the org token */
    unsigned                        pin_user:1;    /* force filter[userId] */
} ngx_http_unit_policy_verdict_t;


/*
 * Parse and check an operations table.
 *
 *   pool   owns the result (configuration pool)
 *   error  on NGX_DECLINED a text in pool that says what is wrong and where
 *          (operation name, member): unknown member, unknown scope, duplicate
 *          operation name, bad path, unknown method, unknown default ...
 *
 * NGX_OK, NGX_DECLINED, NGX_ERROR
 */
ngx_int_t ngx_http_unit_policy_load(ngx_pool_t *pool, const u_char *text,
    size_t len, ngx_http_unit_policy_t **out, ngx_str_t *error);

/* SHA-256 over the scope table: part of cache keys that hold scope bits. */
const u_char *ngx_http_unit_policy_fingerprint(
    const ngx_http_unit_policy_t *policy);

ngx_uint_t ngx_http_unit_policy_noperations(const ngx_http_unit_policy_t *p);
const ngx_http_unit_operation_t *ngx_http_unit_policy_operation(
    const ngx_http_unit_policy_t *policy, ngx_uint_t index);

/* Find by name; NULL when unknown. */
const ngx_http_unit_operation_t *ngx_http_unit_policy_find(
    const ngx_http_unit_policy_t *policy, const ngx_str_t *name);

ngx_uint_t ngx_http_unit_policy_nscopes(const ngx_http_unit_policy_t *policy);
const ngx_http_unit_policy_scope_t *ngx_http_unit_policy_scope(
    const ngx_http_unit_policy_t *policy, ngx_uint_t index);

/* Index of a scope by name, or NGX_DECLINED. */
ngx_int_t ngx_http_unit_policy_find_scope(const ngx_http_unit_policy_t *policy,
    const ngx_str_t *name);

/* What to watch for in request bodies: give it to the JSON scanner. */
const ngx_http_unit_json_watch_t *ngx_http_unit_policy_watch(
    const ngx_http_unit_policy_t *policy);

/*
 * First step: path and method, before any body is read.
 *
 *   method  one bit of the mask, 0 for a method that we do not know
 *   allow   out: mask of the methods the path has (for "Allow"), 0 when the
 *           path is unknown
 *
 * NGX_OK        *out is the route: the operations of that path and method
 * NGX_DECLINED  *allow == 0: unknown_operation, else method_not_allowed
 * NGX_ABORT     an operation of that path, whatever its method, is PCI
 */
ngx_int_t ngx_http_unit_policy_route(const ngx_http_unit_policy_t *policy,
    const ngx_http_unit_uri_t *uri, ngx_uint_t method,
    const ngx_http_unit_route_t **out, ngx_uint_t *allow);

/*
 * The nth operation of a route (n from 0), or NULL.  All have the same path.
 */
const ngx_http_unit_operation_t *ngx_http_unit_policy_route_operation(
    const ngx_http_unit_route_t *route, ngx_uint_t n);

/*
 * Does the body have to be read and scanned to know the operation (or to pin
 * its customer)?  1 or 0.
 */
ngx_uint_t ngx_http_unit_policy_needs_body(const ngx_http_unit_route_t *route);

/*
 * Second step: choose the operation.  The most specific match wins (most
 * conditions).  json is NULL when the route does not need a body.
 *
 * NULL: no operation matches, or two that are equally specific do and the
 * gateway cannot know which one Unit would perform (operation_not_allowed).
 * Twins, which no body can tell apart, have the same policy: the first in the
 * table wins, and the rules of all of them hold.
 */
const ngx_http_unit_operation_t *ngx_http_unit_policy_select(
    const ngx_http_unit_route_t *route, ngx_http_unit_json_t *json);

/*
 * Third step: may this caller do it, with which scope and which token.
 * Pinning of the customer is the caller's business (it needs the customer).
 *
 *   rules  array indexed by operation, or NULL
 *   json   as in select; tells whether the body changes what needs a step-up
 */
void ngx_http_unit_policy_decide(const ngx_http_unit_policy_t *policy,
    const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rules,
    const ngx_http_unit_policy_caller_t *caller, ngx_http_unit_json_t *json,
    ngx_http_unit_policy_verdict_t *out);

/*
 * Are all customers that the body names in data.relationships.customer,
 * data.relationships.customers and the same of data[] the given one?
 *
 * NGX_OK        yes, or it names none
 * NGX_DECLINED  no, or such a member has another shape than JSON:API's
 */
ngx_int_t ngx_http_unit_policy_body_customer(
    const ngx_http_unit_policy_t *policy, ngx_http_unit_json_t *json,
    const ngx_str_t *customer);

/*
 * Are all customers that the query names in filter[customerId], in any
 * spelling, the given one?  NGX_OK or NGX_DECLINED.
 */
ngx_int_t ngx_http_unit_policy_query_customer(const ngx_array_t *args,
    const ngx_str_t *customer);


#endif /* _NGX_HTTP_UNIT_POLICY_H_INCLUDED_ */
