
/*
 * Decisions: may this caller perform that operation, with which scope and
 * which token.  And what the table says, for those who ask.  Whatever no rule
 * allows is refused.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy_int.h"


static void ngx_http_unit_policy_decide_rule(
    const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rules,
    ngx_http_unit_policy_rule_t *out);
static const char *ngx_http_unit_policy_decide_default(
    const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rule,
    const ngx_http_unit_policy_caller_t *caller);
static const char *ngx_http_unit_policy_decide_token(
    const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rule,
    const ngx_http_unit_policy_caller_t *caller,
    ngx_http_unit_policy_verdict_t *out);
static const char *ngx_http_unit_policy_decide_scope(
    const ngx_http_unit_policy_t *policy, const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_caller_t *caller,
    ngx_http_unit_policy_verdict_t *out);


void
ngx_http_unit_policy_decide(const ngx_http_unit_policy_t *policy,
    const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rules,
    const ngx_http_unit_policy_caller_t *caller, ngx_http_unit_json_t *json,
    ngx_http_unit_policy_verdict_t *out)
{
    ngx_http_unit_policy_rule_t  rule;

    ngx_memzero(out, sizeof(ngx_http_unit_policy_verdict_t));

    out->scope = -1;

    if (op->dflt == NGX_HTTP_UNIT_POLICY_PCI) {
        out->code = NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED;
        out->reason = "pci_route";
        return;
    }

    ngx_http_unit_policy_decide_rule(op, rules, &rule);

    out->code = NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;

    out->reason = ngx_http_unit_policy_decide_default(op, &rule, caller);
    if (out->reason != NULL) {
        return;
    }

    out->reason = ngx_http_unit_policy_decide_token(op, &rule, caller, out);
    if (out->reason != NULL) {
        return;
    }

    out->code = NGX_HTTP_UNIT_INSUFFICIENT_SCOPE;

    out->reason = ngx_http_unit_policy_decide_scope(policy, op, caller, out);
    if (out->reason != NULL) {
        return;
    }

    out->code = NGX_HTTP_UNIT_ALLOWED;
    out->reason = "allowed";

    /*
     * The org token stands for no user who could have a second factor; the
     * token routes are how one gets it.
     */

    if (!out->org && op->serve == NGX_HTTP_UNIT_SERVE_PROXY) {
        out->verified = op->two_factor
                        || rule.two_factor
                        || (out->scope >= 0
                            && policy->scopes[out->scope].two_factor)
                        || ngx_http_unit_policy_step_up(op, json);
    }
}


/* the directives for an operation and for those it cannot be told from */

static void
ngx_http_unit_policy_decide_rule(const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rules, ngx_http_unit_policy_rule_t *out)
{
    const ngx_http_unit_operation_t     *twin;
    const ngx_http_unit_policy_rule_t   *rule;
    const ngx_http_unit_policy_match_t  *match;

    ngx_memzero(out, sizeof(ngx_http_unit_policy_rule_t));

    if (rules == NULL) {
        return;
    }

    twin = op;
    out->allow = 1;

    do {
        rule = &rules[twin->index];

        out->allow &= rule->allow;
        out->deny |= rule->deny;
        out->two_factor |= rule->two_factor;

        match = twin->match;
        twin = match->twin;

    } while (twin != op);
}


static const char *
ngx_http_unit_policy_decide_default(const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rule,
    const ngx_http_unit_policy_caller_t *caller)
{
    if (rule->deny) {
        return "denied_by_rule";
    }

    switch (op->dflt) {

    case NGX_HTTP_UNIT_POLICY_ALLOW:
    case NGX_HTTP_UNIT_POLICY_ORG_ONLY:
        return NULL;

    case NGX_HTTP_UNIT_POLICY_SANDBOX:
        return caller->sandbox ? NULL : "sandbox_only";

    case NGX_HTTP_UNIT_POLICY_DENY:
        return rule->allow ? NULL : "denied_by_default";

    case NGX_HTTP_UNIT_POLICY_PCI:
        break;
    }

    return "denied_by_default";
}


static const char *
ngx_http_unit_policy_decide_token(const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_rule_t *rule,
    const ngx_http_unit_policy_caller_t *caller,
    ngx_http_unit_policy_verdict_t *out)
{
    if (caller->org) {

        /* these act for one customer, and a back end is none */

        if (op->serve != NGX_HTTP_UNIT_SERVE_PROXY
            || op->token == NGX_HTTP_UNIT_TOKEN_CUSTOMER)
        {
            return "customer_only";
        }

        out->org = 1;
        return NULL;
    }

    switch (op->serve) {

    case NGX_HTTP_UNIT_SERVE_TOKEN:
    case NGX_HTTP_UNIT_SERVE_VERIFICATION:
        out->org = 1;
        return NULL;

    case NGX_HTTP_UNIT_SERVE_TOKEN_STATUS:
    case NGX_HTTP_UNIT_SERVE_TOKEN_FORGET:
        return NULL;

    case NGX_HTTP_UNIT_SERVE_PROXY:
        break;
    }

    if (op->dflt == NGX_HTTP_UNIT_POLICY_ORG_ONLY && !rule->allow) {
        return "org_only";
    }

    if (op->token != NGX_HTTP_UNIT_TOKEN_ORG) {
        return NULL;
    }

    if (!op->pin_user) {
        return "org_only";
    }

    /* a second factor is wanted, but the org token cannot carry one */

    if (rule->two_factor || op->two_factor) {
        return "no_two_factor_with_org_token";
    }

    out->org = 1;
    out->pin_user = 1;

    return NULL;
}


static const char *
ngx_http_unit_policy_decide_scope(const ngx_http_unit_policy_t *policy,
    const ngx_http_unit_operation_t *op,
    const ngx_http_unit_policy_caller_t *caller,
    ngx_http_unit_policy_verdict_t *out)
{
    ngx_uint_t                           i;
    const char                          *reason;
    const ngx_http_unit_policy_match_t  *match;
    const ngx_http_unit_policy_scope_t  *scope;

    switch (op->serve) {

    case NGX_HTTP_UNIT_SERVE_TOKEN:
    case NGX_HTTP_UNIT_SERVE_VERIFICATION:

        /* which scopes it asks for is looked at when it is served */

        return caller->no_role ? "role" : NULL;

    case NGX_HTTP_UNIT_SERVE_TOKEN_STATUS:
    case NGX_HTTP_UNIT_SERVE_TOKEN_FORGET:
        return NULL;

    case NGX_HTTP_UNIT_SERVE_PROXY:
        break;
    }

    if (caller->no_role) {
        return "role";
    }

    if (op->nscopes == 0) {
        return (caller->read_only && op->method != NGX_HTTP_UNIT_METHOD_GET)
               ? "read_only" : NULL;
    }

    reason = "ceiling";
    match = op->match;

    for (i = 0; i < op->nscopes; i++) {
        scope = &policy->scopes[op->scopes[i]];

        if (!ngx_http_unit_scopes_has(&caller->ceiling, op->scopes[i])) {
            continue;
        }

        /*
         * Unit checks the body against such a scope when the token has no
         * more than it; the org token has more.
         */

        if (out->org && (match->partial >> i & 1)) {
            continue;
        }

        if (!out->org && !scope->customer) {
            continue;
        }

        if (caller->read_only && scope->write) {
            reason = "read_only";
            continue;
        }

        out->scope = op->scopes[i];

        return NULL;
    }

    return reason;
}


ngx_int_t
ngx_http_unit_policy_query_customer(const ngx_array_t *args,
    const ngx_str_t *customer)
{
    ngx_uint_t                i;
    ngx_http_unit_uri_arg_t  *arg;

    arg = args->elts;

    for (i = 0; i < args->nelts; i++) {

        if (ngx_http_unit_uri_is_filter(&arg[i].name, "customerId")
            && !ngx_http_unit_uri_list_only(&arg[i].value, customer))
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


const u_char *
ngx_http_unit_policy_fingerprint(const ngx_http_unit_policy_t *policy)
{
    return policy->fingerprint;
}


ngx_uint_t
ngx_http_unit_policy_noperations(const ngx_http_unit_policy_t *policy)
{
    return policy->nops;
}


const ngx_http_unit_operation_t *
ngx_http_unit_policy_operation(const ngx_http_unit_policy_t *policy,
    ngx_uint_t index)
{
    return index < policy->nops ? &policy->ops[index] : NULL;
}


const ngx_http_unit_operation_t *
ngx_http_unit_policy_find(const ngx_http_unit_policy_t *policy,
    const ngx_str_t *name)
{
    return ngx_http_unit_policy_map_get(&policy->names, name, NULL);
}


ngx_uint_t
ngx_http_unit_policy_nscopes(const ngx_http_unit_policy_t *policy)
{
    return policy->nscopes;
}


const ngx_http_unit_policy_scope_t *
ngx_http_unit_policy_scope(const ngx_http_unit_policy_t *policy,
    ngx_uint_t index)
{
    return index < policy->nscopes ? &policy->scopes[index] : NULL;
}


ngx_int_t
ngx_http_unit_policy_find_scope(const ngx_http_unit_policy_t *policy,
    const ngx_str_t *name)
{
    ngx_http_unit_policy_scope_t  *scope;

    scope = ngx_http_unit_policy_map_get(&policy->scope_names, name, NULL);

    return scope ? scope - policy->scopes : NGX_DECLINED;
}


const ngx_http_unit_json_watch_t *
ngx_http_unit_policy_watch(const ngx_http_unit_policy_t *policy)
{
    return policy->watch;
}
