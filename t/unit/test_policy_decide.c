
/*
 * Decisions: each default, each directive, each kind of caller.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "policy_kit.h"
#include "tap.h"


static policy_kit_t  kit;


typedef struct {
    const char  *request;           /* "METHOD PATH" */
    const char  *body;
    const char  *caller;
    const char  *rules;
    const char  *expected;          /* "code reason", or "allowed scope token
                                       [2fa]" */
} test_row_t;


#define TEST_BOOK  "{'data':{'type':'bookPayment'}}"
#define TEST_LINKED                                                           \
    "{'data':{'type':'achPayment','relationships':{'counterparty':{}}}}"
#define TEST_INLINE                                                           \
    "{'data':{'type':'achPayment','attributes':{'counterparty':{}}}}"
#define TEST_TAGS                                                             \
    "{'data':{'type':'businessCustomer','attributes':{'tags':{}}}}"
#define TEST_PHONE                                                            \
    "{'data':{'type':'businessCustomer','attributes':{'phone':null}}}"
#define TEST_FEE   "{'data':{'type':'fee'}}"
#define TEST_MINT  "{'data':{'type':'customerToken'}}"
#define TEST_SMS   "{'data':{'type':'customerTokenVerification'}}"
#define TEST_USERS "{'data':{'type':'addAuthorizedUsers'}}"
#define TEST_SOLE  "{'data':{'type':'individualApplication'}}"
#define TEST_CARD  "{'data':{'type':'replaceCard'}}"
#define TEST_REPAY "{'data':{'type':'achRepayment'}}"


static const test_row_t  test_rows[] = {

    /* plain reads and writes */
    { "GET /accounts/1", NULL, "", "", "allowed accounts customer" },
    { "GET /accounts/1", NULL, "org", "", "allowed accounts org" },
    { "POST /payments", TEST_BOOK, "", "",
      "allowed payments-write customer 2fa" },
    { "POST /payments", TEST_BOOK, "org", "", "allowed payments-write org" },
    { "POST /cards/1/freeze", NULL, "", "",
      "allowed cards-write customer 2fa" },
    { "POST /accounts/1/unfreeze", NULL, "", "",
      "allowed accounts-write customer" },

    /* ceilings: the first of the scopes that the caller has */
    { "GET /accounts/1", NULL, ": customers", "",
      "insufficient_scope ceiling" },
    { "GET /accounts/1", NULL, "org : customers", "",
      "insufficient_scope ceiling" },
    { "GET /accounts/1", NULL, ":", "", "insufficient_scope ceiling" },
    { "POST /payments", TEST_LINKED, "", "",
      "allowed payments-write-counterparty customer 2fa" },
    { "POST /payments", TEST_LINKED, ": payments-write", "",
      "allowed payments-write customer 2fa" },
    { "POST /payments", TEST_LINKED, "org : payments-write-counterparty", "",
      "allowed payments-write-counterparty org" },
    { "POST /payments", TEST_INLINE, ": payments-write-counterparty", "",
      "insufficient_scope ceiling" },
    { "POST /payments", TEST_INLINE, ": ach-payments-write", "",
      "allowed ach-payments-write customer 2fa" },
    { "POST /payments", TEST_BOOK, ": ach-payments-write", "",
      "insufficient_scope ceiling" },

    /* scopes that cover a part: Unit checks a customer token, not the org's */
    { "POST /payments", TEST_INLINE, ": payments-write-ach-debit", "",
      "allowed payments-write-ach-debit customer 2fa" },
    { "POST /payments", TEST_INLINE, "org : payments-write-ach-debit", "",
      "insufficient_scope ceiling" },
    { "PATCH /customers/1", TEST_TAGS, ": customer-tags-write", "",
      "allowed customer-tags-write customer" },
    { "PATCH /customers/1", TEST_TAGS, "org : customer-tags-write", "",
      "insufficient_scope ceiling" },
    { "PATCH /customers/1", TEST_TAGS, "", "",
      "allowed customers-write customer" },

    /* roles */
    { "GET /accounts/1", NULL, "read_only", "", "allowed accounts customer" },
    { "POST /payments", TEST_BOOK, "read_only", "",
      "insufficient_scope read_only" },
    { "POST /accounts/1/unfreeze", NULL, "read_only org", "",
      "insufficient_scope read_only" },
    { "GET /accounts/1", NULL, "no_role", "", "insufficient_scope role" },
    { "POST /payments", TEST_BOOK, "no_role", "", "insufficient_scope role" },
    { "GET /identity", NULL, "read_only", "allow get-identity",
      "allowed - customer" },
    { "GET /identity", NULL, "no_role", "allow get-identity",
      "insufficient_scope role" },
    { "POST /sandbox/cards/1/activate", NULL, "org sandbox read_only", "",
      "insufficient_scope read_only" },
    { "GET /accounts/1", NULL, "read_only : customers-write", "",
      "insufficient_scope ceiling" },

    /* a second factor: the scope, the operation, the body, a directive */
    { "PATCH /customers/1", TEST_PHONE, "", "",
      "allowed customers-write customer 2fa" },
    { "PATCH /customers/1", TEST_PHONE, "org", "",
      "allowed customers-write org" },
    { "POST /customers/1/authorized-users", TEST_USERS, "", "",
      "allowed customers-write customer 2fa" },
    { "DELETE /counterparties/1", NULL, "", "",
      "allowed counterparties-write customer 2fa" },
    { "DELETE /counterparties/1", NULL, ": counterparties", "",
      "insufficient_scope ceiling" },
    { "GET /accounts/1", NULL, "", "2fa get-account",
      "allowed accounts customer 2fa" },
    { "GET /accounts/1", NULL, "org", "2fa get-account",
      "allowed accounts org" },

    /* defaults and directives */
    { "GET /accounts/1", NULL, "", "deny get-account",
      "operation_not_allowed denied_by_rule" },
    { "GET /accounts/1", NULL, "org", "deny get-account",
      "operation_not_allowed denied_by_rule" },
    { "GET /accounts/1", NULL, "", "deny list-accounts",
      "allowed accounts customer" },
    { "GET /identity", NULL, "", "",
      "operation_not_allowed denied_by_default" },
    { "GET /identity", NULL, "", "allow get-identity", "allowed - customer" },
    { "GET /disputes", NULL, "", "allow list-disputes",
      "operation_not_allowed org_only" },
    { "GET /disputes", NULL, "org", "allow list-disputes", "allowed - org" },
    { "POST /repayments", TEST_REPAY, "org", "",
      "operation_not_allowed denied_by_default" },
    { "POST /sandbox/cards/1/activate", NULL, "org", "",
      "operation_not_allowed sandbox_only" },
    { "POST /sandbox/cards/1/activate", NULL, "org",
      "allow sandbox-activate-card", "operation_not_allowed sandbox_only" },
    { "POST /sandbox/cards/1/activate", NULL, "org sandbox", "",
      "allowed - org" },
    { "POST /sandbox/cards/1/activate", NULL, "sandbox", "",
      "operation_not_allowed org_only" },
    { "POST /fees", TEST_FEE, "", "", "operation_not_allowed org_only" },
    { "POST /fees", TEST_FEE, "", "allow create-fee",
      "allowed accounts-write customer" },
    { "POST /fees", TEST_FEE, "org", "", "allowed accounts-write org" },
    { "POST /fees/reverse", "{'data':{'type':'feeReversal'}}", "",
      "allow reverse-fee", "operation_not_allowed org_only" },
    { "POST /cards/1/cardholder/token", "{'data':{'type':'cardholderToken'}}",
      "org", "", "operation_not_allowed denied_by_default" },

    /* token kinds */
    { "POST /accounts/1/close", NULL, "", "",
      "operation_not_allowed org_only" },
    { "POST /accounts/1/close", NULL, "", "allow close-account",
      "operation_not_allowed org_only" },
    { "POST /accounts/1/close", NULL, "org", "",
      "allowed accounts-write org" },
    { "POST /cards/1/replace", TEST_CARD, "", "",
      "allowed cards-sensitive-write customer 2fa" },
    { "POST /cards/1/replace", TEST_CARD, "org", "",
      "operation_not_allowed customer_only" },
    { "POST /applications", TEST_SOLE, "", "",
      "operation_not_allowed org_only" },

    /* Ready-to-Launch lists, pinned to the caller */
    { "GET /ready-to-launch/accounts", NULL, "", "",
      "allowed accounts org pin" },
    { "GET /ready-to-launch/transactions", NULL, "read_only", "",
      "allowed transactions org pin" },
    { "GET /ready-to-launch/accounts", NULL, ": transactions", "",
      "insufficient_scope ceiling" },
    { "GET /ready-to-launch/accounts", NULL, "", "2fa rtl-list-accounts",
      "operation_not_allowed no_two_factor_with_org_token" },
    { "GET /ready-to-launch/accounts", NULL, "org", "",
      "allowed accounts org" },
    { "GET /ready-to-launch/customers", NULL, "", "",
      "operation_not_allowed org_only" },
    { "GET /ready-to-launch/accounts/1", NULL, "", "",
      "operation_not_allowed org_only" },

    /* what the gateway serves itself */
    { "POST /customers/1/token", TEST_MINT, "", "", "allowed - org" },
    { "POST /customers/1/token", TEST_MINT, ":", "", "allowed - org" },
    { "POST /customers/1/token", TEST_MINT, "read_only", "",
      "allowed - org" },
    { "POST /customers/1/token", TEST_MINT, "no_role", "",
      "insufficient_scope role" },
    { "POST /customers/1/token", TEST_MINT, "org", "",
      "operation_not_allowed customer_only" },
    { "POST /customers/1/token", TEST_MINT, "", "deny create-customer-token",
      "operation_not_allowed denied_by_rule" },
    { "POST /customers/1/token/verification", TEST_SMS, "read_only", "",
      "allowed - org" },
    { "POST /customers/1/token/verification", TEST_SMS, "org", "",
      "operation_not_allowed customer_only" },
    { "GET /customers/1/token", NULL, "read_only", "", "allowed - customer" },
    { "DELETE /customers/1/token", NULL, "read_only", "",
      "allowed - customer" },
    { "DELETE /customers/1/token", NULL, "org", "",
      "operation_not_allowed customer_only" },

    /* twins: the rules of both hold, an allow must be for both */
    { "PATCH /applications/1", TEST_SOLE, "org", "",
      "allowed applications-write org" },
    { "PATCH /applications/1", TEST_SOLE, "org",
      "deny update-sole-proprietor-application",
      "operation_not_allowed denied_by_rule" },
    { "PATCH /applications/1", TEST_SOLE, "org",
      "deny update-individual-application",
      "operation_not_allowed denied_by_rule" }
};


static char *
test_quotes(const char *s)
{
    char         *p;
    static char   buf[4096];

    if (s == NULL) {
        return NULL;
    }

    snprintf(buf, sizeof(buf), "%s", s);

    for (p = buf; *p; p++) {
        if (*p == '\'') {
            *p = '"';
        }
    }

    return buf;
}


static void
test_decisions(void)
{
    char                                 method[8], path[128], got[256],
                                         name[512];
    ngx_str_t                            scope = ngx_string("-");
    ngx_uint_t                           i;
    const test_row_t                    *row;
    const ngx_http_unit_code_t          *code;
    ngx_http_unit_policy_verdict_t       v;

    for (i = 0; i < sizeof(test_rows) / sizeof(test_rows[0]); i++) {
        row = &test_rows[i];

        if (sscanf(row->request, "%7s %127s", method, path) != 2) {
            exit(1);
        }

        v = policy_kit_decide(&kit, method, path, test_quotes(row->body),
                              row->caller, row->rules);

        code = ngx_http_unit_code(v.code);

        ngx_str_set(&scope, "-");

        if (v.scope >= 0) {
            scope = ngx_http_unit_policy_scope(kit.policy, v.scope)->name;
        }

        if (v.code != NGX_HTTP_UNIT_ALLOWED) {
            snprintf(got, sizeof(got), "%.*s %s%s", (int) code->name.len,
                     code->name.data, v.reason, v.verified ? " 2fa" : "");

        } else {
            snprintf(got, sizeof(got), "%.*s %.*s %s%s%s",
                     (int) code->name.len, code->name.data, (int) scope.len,
                     scope.data, v.org ? "org" : "customer",
                     v.pin_user ? " pin" : "", v.verified ? " 2fa" : "");
        }

        snprintf(name, sizeof(name), "%s %s [%s] [%s]", row->request,
                 row->body ? row->body : "", row->caller, row->rules);

        is_text(got, strlen(got), row->expected, name);
    }
}


/* card data: by no caller and no directive */

static void
test_pci(void)
{
    ngx_uint_t                       i, n, blocked;
    ngx_http_unit_policy_rule_t     *rules;
    ngx_http_unit_policy_caller_t    caller;
    ngx_http_unit_policy_verdict_t   v;
    const ngx_http_unit_operation_t *op;

    n = ngx_http_unit_policy_noperations(kit.policy);
    rules = ngx_pcalloc(kit.pool, n * sizeof(ngx_http_unit_policy_rule_t));

    for (i = 0; i < n; i++) {
        rules[i].allow = 1;
    }

    blocked = 0;

    for (i = 0; i < n; i++) {
        op = ngx_http_unit_policy_operation(kit.policy, i);

        if (op->dflt != NGX_HTTP_UNIT_POLICY_PCI) {
            continue;
        }

        ngx_memset(&caller, 0xff, sizeof(ngx_http_unit_policy_caller_t));
        ngx_http_unit_policy_decide(kit.policy, op, rules, &caller, NULL, &v);
        blocked += (v.code == NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED);

        caller.org = 0;
        ngx_http_unit_policy_decide(kit.policy, op, rules, &caller, NULL, &v);
        blocked += (v.code == NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED);
    }

    is(blocked, 8, "four operations with card data, for nobody");
}


/*
 * Over all operations: what must never come out, whoever asks.
 */

static void
test_invariants(void)
{
    ngx_uint_t                           i, bits, wrong, allowed;
    ngx_http_unit_policy_caller_t        caller;
    ngx_http_unit_policy_verdict_t       v;
    const ngx_http_unit_operation_t     *op;
    const ngx_http_unit_policy_scope_t  *scope;

    wrong = 0;
    allowed = 0;

    for (i = 0; i < ngx_http_unit_policy_noperations(kit.policy); i++) {
        op = ngx_http_unit_policy_operation(kit.policy, i);

        for (bits = 0; bits < 16; bits++) {
            ngx_memset(&caller.ceiling, 0xff, sizeof(caller.ceiling));

            caller.org = bits & 1;
            caller.read_only = bits >> 1 & 1;
            caller.no_role = bits >> 2 & 1;
            caller.sandbox = bits >> 3 & 1;

            ngx_http_unit_policy_decide(kit.policy, op, NULL, &caller, NULL,
                                        &v);

            if (v.code != NGX_HTTP_UNIT_ALLOWED) {
                wrong += (v.verified || v.scope >= 0);
                continue;
            }

            allowed++;

            scope = v.scope >= 0
                    ? ngx_http_unit_policy_scope(kit.policy, v.scope) : NULL;

            if (op->serve != NGX_HTTP_UNIT_SERVE_PROXY) {
                wrong += caller.org || scope != NULL;
                continue;
            }

            wrong += (caller.read_only
                      && (op->method != NGX_HTTP_UNIT_METHOD_GET
                          || (scope && scope->write)));
            wrong += caller.no_role;
            wrong += caller.org && !v.org;
            wrong += !caller.org && v.org && !v.pin_user;
            wrong += !v.org && scope && !scope->customer;
            wrong += !v.org && scope && scope->two_factor && !v.verified;
            wrong += !v.org && op->moves_funds && !v.verified;
            wrong += v.org && v.verified;
            wrong += !caller.sandbox
                     && op->dflt == NGX_HTTP_UNIT_POLICY_SANDBOX;
        }
    }

    is(wrong, 0, "no decision breaks a rule");
    ok(allowed > 500, "and many allow something (%lu)",
       (unsigned long) allowed);
}


/* what the table of the tree has no case of */

#define TEST_OP(name, method, path, body, scopes, dflt)                       \
    "{'name':'" name "','method':'" method "','path':'" path "','body':" body \
    ",'scopes':" scopes ",'token':'both','two_factor':false,'timeout':5,"     \
    "'idempotency':null,'moves_funds':false,'pci':false,'default':'" dflt "',"\
    "'serve':'proxy'}"

static void
test_other_table(void)
{
    char                        *table;
    ngx_str_t                    text;
    policy_kit_t                 other;
    const ngx_http_unit_route_t *route;

    table = test_quotes("{'version':1,'scopes':["
        "{'name':'org','write':false,'two_factor':false,'pci':false,"
        "'customer':false},"
        "{'name':'any','write':false,'two_factor':false,'pci':false,"
        "'customer':true}],'operations':["
        TEST_OP("org", "GET", "/org", "null", "['org']", "allow") ","
        TEST_OP("both", "GET", "/both", "null", "['org','any']", "allow") ","
        TEST_OP("lacks", "POST", "/lacks",
                "{'data.attributes.x':{'exists':false}}", "[]", "allow") ","
        TEST_OP("items", "POST", "/items", "{'data[].x':{'not':'a'}}", "[]",
                "allow") ","
        TEST_OP("open", "GET", "/pci", "null", "[]", "allow") ","
        TEST_OP("closed", "PUT", "/pci", "null", "[]", "pci")
        "]}");

    text.data = (u_char *) table;
    text.len = strlen(table);

    policy_kit_init_text(&other, &text);

    is(policy_kit_decide(&other, "GET", "/org", NULL, "", "").code,
       NGX_HTTP_UNIT_INSUFFICIENT_SCOPE,
       "a scope that no customer token may hold");
    is(policy_kit_decide(&other, "GET", "/org", NULL, "org", "").scope, 0,
       "but the org token does");
    is(policy_kit_decide(&other, "GET", "/both", NULL, "", "").scope, 1,
       "the next one is taken");

    /* what is absent in an array is not absent in an object, or vice versa */
    is(policy_kit_request(&other, "POST", "/lacks", "{\"data\":{}}"), 0,
       "absent in an object");
    is(policy_kit_request(&other, "POST", "/lacks", "{\"data\":[]}"),
       NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "absent in an empty array");
    is(policy_kit_request(&other, "POST", "/lacks",
                          "{\"data\":[{\"attributes\":{\"x\":1}}]}"),
       NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "not looked for in an array");
    is(policy_kit_request(&other, "POST", "/lacks", "{}"),
       NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "no data, nothing absent in it");
    is(policy_kit_request(&other, "POST", "/items", "{\"data\":[{},{}]}"), 0,
       "not that in any element");
    is(policy_kit_request(&other, "POST", "/items", "{\"data\":[{},1]}"),
       NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "an element that is no object");
    is(policy_kit_request(&other, "POST", "/items", "{\"data\":[]}"),
       NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "no element");
    is(policy_kit_request(&other, "POST", "/items", "{\"data\":{}}"),
       NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "no array");
    is(policy_kit_request(&other, "POST", "/items",
                          "{\"data\":[{},{\"x\":\"a\"}]}"),
       NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, "that in one element");

    is(ngx_http_unit_policy_route(other.policy, &other.uri,
                                  NGX_HTTP_UNIT_METHOD_POST, &route,
                                  &other.allow),
       NGX_OK, "a route that needs a body");
    ok(ngx_http_unit_policy_select(route, NULL) == NULL,
       "has no operation without one");

    is(policy_kit_request(&other, "GET", "/pci", NULL),
       NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED, "pci is of the path");

    policy_kit_done(&other);
}


int
main(void)
{
    policy_kit_init(&kit);

    test_decisions();
    test_pci();
    test_invariants();
    test_other_table();

    policy_kit_done(&kit);

    return done_testing();
}
