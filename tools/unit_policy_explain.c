
/*
 * The decision about one request, step by step as the gateway takes it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "ngx_http_unit_policy_int.h"
#include "unit_policy.h"


typedef struct {
    const char  *reason;
    const char  *text;
} unit_policy_reason_t;


static int unit_policy_denied(ngx_http_unit_code_e code, const char *fmt, ...)
    __attribute__ ((format(printf, 2, 3)));
static int unit_policy_route(unit_policy_t *up, ngx_http_unit_uri_t *uri);
static int unit_policy_no_operation(const ngx_http_unit_route_t *route,
    const ngx_http_unit_json_t *json);
static int unit_policy_decided(unit_policy_t *up, ngx_http_unit_uri_t *uri,
    const ngx_http_unit_operation_t *op, ngx_http_unit_json_t *json);
static int unit_policy_customers(unit_policy_t *up, ngx_http_unit_uri_t *uri,
    const ngx_http_unit_operation_t *op, ngx_http_unit_json_t *json);
static void unit_policy_operation(unit_policy_t *up,
    const ngx_http_unit_operation_t *op);
static const char *unit_policy_two_factor(unit_policy_t *up,
    const ngx_http_unit_operation_t *op, ngx_http_unit_json_t *json,
    const ngx_http_unit_policy_verdict_t *verdict);


static const unit_policy_reason_t  unit_policy_reasons[] = {
    { "allowed", "nothing speaks against it" },
    { "pci_route", "card data goes from the browser to the card vault" },
    { "denied_by_rule", "unit_deny names it, or one it cannot be told from" },
    { "denied_by_default", "unit_allow does not name it: what Unit demands "
                           "for it is not known well enough, or the answer "
                           "would hold a Unit token" },
    { "sandbox_only", "simulations need unit_sandbox on" },
    { "customer_only", "it acts for one customer, a back end is none" },
    { "org_only", "for partners with \"token org\" only" },
    { "no_two_factor_with_org_token", "a second factor is required, but the "
                                      "org token cannot carry one" },
    { "role", "the role is neither Admin nor ReadOnly" },
    { "read_only", "the role ReadOnly never writes" },
    { "ceiling", "none of the scopes is in the caller's ceiling and usable "
                 "with that token" },
    { NULL, NULL }
};


int
unit_policy_explain(unit_policy_t *up)
{
    ngx_int_t             rc;
    ngx_str_t             path, query;
    ngx_array_t           args;
    ngx_http_unit_uri_t   uri;
    u_char               *p, *last;

    path = up->target;
    last = path.data + path.len;

    ngx_str_null(&query);

    for (p = path.data; p < last; p++) {
        if (*p == '?') {
            path.len = p - path.data;
            query.data = p + 1;
            query.len = last - query.data;
            break;
        }
    }

    rc = ngx_http_unit_uri_canonical(up->pool, &path, &uri);

    if (rc == NGX_DECLINED) {
        return unit_policy_denied(NGX_HTTP_UNIT_INVALID_URI, "%s", uri.reason);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_unit_uri_args(up->pool, &query, &args);

        if (rc == NGX_DECLINED) {
            return unit_policy_denied(NGX_HTTP_UNIT_INVALID_URI,
                                      "the query string is not in plain form");
        }
    }

    if (rc != NGX_OK) {
        fprintf(stderr, "no memory\n");
        return 2;
    }

    if (up->customer.len
        && ngx_http_unit_policy_query_customer(&args, &up->customer) != NGX_OK)
    {
        return unit_policy_denied(NGX_HTTP_UNIT_CUSTOMER_MISMATCH,
                                  "filter[customerId] names another customer");
    }

    return unit_policy_route(up, &uri);
}


static int
unit_policy_denied(ngx_http_unit_code_e code, const char *fmt, ...)
{
    va_list                      args;
    const ngx_http_unit_code_t  *c;

    c = ngx_http_unit_code(code);

    printf("verdict      %lu %.*s\n", (unsigned long) c->status,
           (int) c->name.len, c->name.data);

    printf("why          ");

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    return code != NGX_HTTP_UNIT_ALLOWED;
}


static int
unit_policy_route(unit_policy_t *up, ngx_http_unit_uri_t *uri)
{
    ngx_int_t                         rc;
    ngx_uint_t                        m, method, allow;
    ngx_http_unit_json_t              json;
    const ngx_http_unit_route_t      *route;
    const ngx_http_unit_operation_t  *op;

    method = 0;

    for (m = 1; m <= NGX_HTTP_UNIT_METHOD_DELETE; m <<= 1) {
        if (strcmp((char *) up->method.data, unit_policy_method(m)) == 0) {
            method = m;
        }
    }

    if (strcmp((char *) up->method.data, "HEAD") == 0) {
        method = NGX_HTTP_UNIT_METHOD_GET;
    }

    rc = ngx_http_unit_policy_route(up->policy, uri, method, &route, &allow);

    if (rc == NGX_ABORT) {
        return unit_policy_denied(NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED,
                                  "card data goes from the browser to the "
                                  "card vault");
    }

    if (rc != NGX_OK) {

        if (allow == 0) {
            return unit_policy_denied(NGX_HTTP_UNIT_UNKNOWN_OPERATION,
                                      "no operation has this path");
        }

        printf("allow       ");

        for (m = 1; m <= NGX_HTTP_UNIT_METHOD_DELETE; m <<= 1) {
            if (allow & m) {
                printf(" %s", unit_policy_method(m));
            }
        }

        printf("\n");

        return unit_policy_denied(NGX_HTTP_UNIT_METHOD_NOT_ALLOWED,
                                  "the path does not have this method");
    }

    if (!ngx_http_unit_policy_needs_body(route)) {
        return unit_policy_decided(up, uri,
                                   ngx_http_unit_policy_select(route, NULL),
                                   NULL);
    }

    if (up->body.data == NULL) {
        return unit_policy_no_operation(route, NULL);
    }

    rc = ngx_http_unit_json_scan(up->pool, up->body.data, up->body.len,
                                 ngx_http_unit_policy_watch(up->policy),
                                 &json);

    if (rc == NGX_ERROR) {
        fprintf(stderr, "no memory\n");
        return 2;
    }

    if (rc == NGX_DECLINED) {
        return unit_policy_denied(NGX_HTTP_UNIT_INVALID_BODY,
                                  "%s at byte %lu", json.reason,
                                  (unsigned long) json.offset);
    }

    op = ngx_http_unit_policy_select(route, &json);

    if (op == NULL) {
        return unit_policy_no_operation(route, &json);
    }

    return unit_policy_decided(up, uri, op, &json);
}


static int
unit_policy_no_operation(const ngx_http_unit_route_t *route,
    const ngx_http_unit_json_t *json)
{
    ngx_uint_t                   i, n;
    ngx_http_unit_operation_t   *op;

    n = 0;

    for (i = 0; i < route->nops; i++) {
        op = route->ops[i];

        if (json == NULL || ngx_http_unit_policy_match_body(op->match, json)) {
            printf("%s %.*s\n", n ? "            " : "candidates  ",
                   (int) op->name.len, op->name.data);
            n++;
        }
    }

    if (json == NULL) {
        return unit_policy_denied(NGX_HTTP_UNIT_INVALID_BODY,
                                  "the operation depends on the body, and "
                                  "none was given");
    }

    return unit_policy_denied(NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "%s",
                     n ? "the body fits several operations equally well"
                       : "no operation of this path takes such a body");
}


static int
unit_policy_decided(unit_policy_t *up, ngx_http_unit_uri_t *uri,
    const ngx_http_unit_operation_t *op, ngx_http_unit_json_t *json)
{
    const unit_policy_reason_t           *r;
    const ngx_http_unit_policy_scope_t   *scope;
    ngx_http_unit_policy_verdict_t        verdict;

    if (op == NULL) {
        return unit_policy_denied(NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED,
                                  "several operations fit equally well");
    }

    unit_policy_operation(up, op);

    ngx_http_unit_policy_decide(up->policy, op, up->rules, &up->caller, json,
                                &verdict);

    if (verdict.code == NGX_HTTP_UNIT_ALLOWED) {

        if (verdict.scope >= 0) {
            scope = ngx_http_unit_policy_scope(up->policy, verdict.scope);
            printf("scope        %.*s\n", (int) scope->name.len,
                   scope->name.data);

        } else {
            printf("scope        none\n");
        }

        printf("2fa          %s\n", unit_policy_two_factor(up, op, json,
                                                           &verdict));

        printf("sent with    %s\n",
               op->serve == NGX_HTTP_UNIT_SERVE_TOKEN_STATUS
               || op->serve == NGX_HTTP_UNIT_SERVE_TOKEN_FORGET
               ? "nothing, the gateway answers"
               : verdict.pin_user ? "org token, filter[userId] forced"
               : verdict.org ? "org token" : "customer token");

        if (up->customer.len && !up->caller.org
            && unit_policy_customers(up, uri, op, json) != 0)
        {
            return 1;
        }
    }

    for (r = unit_policy_reasons; r->reason; r++) {
        if (strcmp(r->reason, verdict.reason) == 0) {
            break;
        }
    }

    return unit_policy_denied(verdict.code, "%s: %s", verdict.reason,
                              r->reason ? r->text : "");
}


static int
unit_policy_customers(unit_policy_t *up, ngx_http_unit_uri_t *uri,
    const ngx_http_unit_operation_t *op, ngx_http_unit_json_t *json)
{
    ngx_str_t  *id;

    if (op->customer >= 0) {
        id = &uri->segments[op->customer];

        if (!(id->len == 2 && ngx_strncmp(id->data, "me", 2) == 0)
            && !(id->len == up->customer.len
                 && ngx_memcmp(id->data, up->customer.data, id->len) == 0))
        {
            return unit_policy_denied(NGX_HTTP_UNIT_CUSTOMER_MISMATCH,
                                      "the path names another customer");
        }
    }

    if (json != NULL
        && ngx_http_unit_policy_body_customer(up->policy, json, &up->customer)
           != NGX_OK)
    {
        return unit_policy_denied(NGX_HTTP_UNIT_CUSTOMER_MISMATCH,
                                  "the body names another customer, or one "
                                  "in another form than JSON:API's");
    }

    return 0;
}


/* what the table says of an operation */

static void
unit_policy_operation(unit_policy_t *up, const ngx_http_unit_operation_t *op)
{
    ngx_uint_t                           i;
    const ngx_http_unit_operation_t     *twin;
    const ngx_http_unit_policy_scope_t  *scope;

    static const char  *tokens[] = { "org or customer", "org", "customer" };

    printf("operation    %.*s\n", (int) op->name.len, op->name.data);

    for (twin = ((ngx_http_unit_policy_match_t *) op->match)->twin;
         twin != op;
         twin = ((ngx_http_unit_policy_match_t *) twin->match)->twin)
    {
        printf("or           %.*s\n", (int) twin->name.len, twin->name.data);
    }

    printf("scopes      ");

    for (i = 0; i < op->nscopes; i++) {
        scope = ngx_http_unit_policy_scope(up->policy, op->scopes[i]);
        printf("%s %.*s", i ? " or" : "", (int) scope->name.len,
               scope->name.data);
    }

    printf("%s\n", op->nscopes ? "" : " none");
    printf("token kind   %s\n", tokens[op->token]);
    printf("timeout      %lu s\n", (unsigned long) op->timeout);

    if (op->family.len) {
        printf("idempotency  %.*s\n", (int) op->family.len, op->family.data);

    } else {
        printf("idempotency  none at Unit\n");
    }
}


static const char *
unit_policy_two_factor(unit_policy_t *up, const ngx_http_unit_operation_t *op,
    ngx_http_unit_json_t *json, const ngx_http_unit_policy_verdict_t *verdict)
{
    if (!verdict->verified) {
        return "no";
    }

    if (verdict->scope >= 0
        && ngx_http_unit_policy_scope(up->policy, verdict->scope)->two_factor)
    {
        return "yes, the scope requires it";
    }

    if (op->two_factor) {
        return "yes, the operation requires it";
    }

    if (ngx_http_unit_policy_step_up(op, json)) {
        return "yes, the body changes who can pass it";
    }

    return "yes, unit_require_2fa says so";
}


const char *
unit_policy_method(ngx_uint_t method)
{
    switch (method) {
    case NGX_HTTP_UNIT_METHOD_GET:
        return "GET";
    case NGX_HTTP_UNIT_METHOD_POST:
        return "POST";
    case NGX_HTTP_UNIT_METHOD_PUT:
        return "PUT";
    case NGX_HTTP_UNIT_METHOD_PATCH:
        return "PATCH";
    case NGX_HTTP_UNIT_METHOD_DELETE:
        return "DELETE";
    default:
        return "-";
    }
}
