
/*
 * Hostile bodies: nothing may make a request pass as a weaker operation than
 * the one that Unit would perform, or hide what it changes or whom it names.
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
    const char  *expected;          /* an operation or a code */
} test_row_t;


static const test_row_t  test_rows[] = {

    /* the choice by the body */
    { "POST /payments", "{'data':{'type':'bookPayment'}}",
      "create-book-payment" },
    { "POST /payments", "{'data':{'type':'wirePayment'}}",
      "create-wire-payment" },
    { "POST /payments", "{'data':{'attributes':{'counterparty':{}},"
      "'type':'achPayment'}}", "create-ach-payment-inline" },
    { "POST /payments", "{'data':{'type':'achPayment','relationships':"
      "{'counterparty':{'data':{'type':'counterparty','id':'1'}}}}}",
      "create-ach-payment-linked" },
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'plaidProcessorToken':'x'}}}", "create-ach-payment-plaid" },
    { "PATCH /applications/1", "{'data':{'type':'businessApplication',"
      "'attributes':{'officer':{}}}}", "update-business-officer" },
    { "PATCH /applications/1", "{'data':{'type':'businessApplication'}}",
      "update-business-application" },
    { "POST /applications", "{'data':{'type':'individualApplication',"
      "'attributes':{'soleProprietorship':true}}}",
      "create-sole-proprietor-application" },
    { "POST /applications", "{'data':{'type':'individualApplication',"
      "'attributes':{'soleProprietorship':false}}}",
      "create-individual-application" },
    { "POST /applications", "{'data':{'type':'individualApplication',"
      "'attributes':{'soleProprietorship':'true'}}}",
      "create-individual-application" },

    /* two fit, one of them needs less: refused, whatever the order */
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'counterparty':{}},'relationships':{'counterparty':{}}}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'relationships':{'counterparty':{}},"
      "'attributes':{'counterparty':{}},'type':'achPayment'}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'plaidProcessorToken':'x'},'relationships':{'counterparty':{}}}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'plaidProcessorToken':'x','counterparty':{}}}}",
      "operation_not_allowed" },

    /* null is not there; anything else is, empty or not */
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'counterparty':null},'relationships':{'counterparty':{}}}}",
      "create-ach-payment-linked" },
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'counterparty':{}},'relationships':{'counterparty':null}}}",
      "create-ach-payment-inline" },
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'counterparty':false},'relationships':{'counterparty':''}}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'counterparty':null}}}", "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':'achPayment'}}",
      "operation_not_allowed" },

    /* types that are not the ones of the table */
    { "POST /payments", "{'data':{'type':'BookPayment'}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':'bookPayment '}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':'book\\u0050ayment'}}",
      "create-book-payment" },
    { "POST /payments", "{'data':{'type':['bookPayment']}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':{'x':'bookPayment'}}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':null}}", "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':''}}", "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':true}}", "operation_not_allowed" },
    { "POST /payments", "{'data':{}}", "operation_not_allowed" },
    { "POST /payments", "{}", "operation_not_allowed" },
    { "POST /payments", "[]", "operation_not_allowed" },
    { "POST /payments", "'bookPayment'", "operation_not_allowed" },
    { "POST /payments", "null", "operation_not_allowed" },
    { "POST /payments", "{'data':null}", "operation_not_allowed" },
    { "POST /payments", "{'data':'bookPayment'}", "operation_not_allowed" },
    { "POST /payments", "{'type':'bookPayment'}", "operation_not_allowed" },
    { "POST /payments", "{'data':{'data':{'type':'bookPayment'}}}",
      "operation_not_allowed" },
    { "POST /payments", "{'x':{'data':{'type':'bookPayment'}}}",
      "operation_not_allowed" },
    { "POST /payments", "{'data.type':'bookPayment'}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':{'type':'bookPayment','x':{'type':'y'}}}",
      "create-book-payment" },

    /* names in another letter case, escaped, twice */
    { "POST /payments", "{'Data':{'type':'bookPayment'}}", "invalid_body" },
    { "POST /payments", "{'data':{'type':'bookPayment','Type':'x'}}",
      "invalid_body" },
    { "POST /payments", "{'data':{'TYPE':'bookPayment'}}", "invalid_body" },
    { "POST /payments", "{'data':{'type':'achPayment','Attributes':{},"
      "'relationships':{'counterparty':{}}}}", "invalid_body" },
    { "POST /payments", "{'data':{'type':'achPayment','attributes':"
      "{'CounterParty':{}},'relationships':{'counterparty':{}}}}",
      "invalid_body" },
    { "POST /payments", "{'data':{'type':'bookPayment','relationships':"
      "{'Customer':{}}}}", "invalid_body" },
    { "POST /payments", "{'data':{'type':'bookPayment','attributes':"
      "{'idempotencykey':'x'}}}", "invalid_body" },
    { "POST /payments", "{'data':{'type':'bookPayment',"
      "'type':'wirePayment'}}", "invalid_body" },
    { "POST /payments", "{'data':{'type':'bookPayment'},"
      "'data':{'type':'wirePayment'}}", "invalid_body" },
    { "POST /payments", "{'data':{'type':'bookPayment',"
      "'\\u0074ype':'wirePayment'}}", "invalid_body" },
    { "POST /payments", "{'d\\u0061ta':{'typ\\u0065':'bookPayment'}}",
      "create-book-payment" },
    { "POST /payments", "{'data':{'type':'bookPayment'}} x", "invalid_body" },
    { "POST /payments", "", "invalid_body" },

    /* arrays for objects and objects for arrays */
    { "POST /payments", "{'data':[{'type':'bookPayment'}]}",
      "operation_not_allowed" },
    { "POST /payments", "{'data':[]}", "operation_not_allowed" },
    { "POST /counterparties", "{'data':['achCounterparty']}",
      "operation_not_allowed" },
    { "POST /customers/1/token", "{'data':[]}", "operation_not_allowed" },
    { "POST /batch-releases", "{'data':{'type':'batchRelease'}}",
      "operation_not_allowed" },
    { "POST /batch-releases", "{'data':[{'type':'batchRelease'}]}",
      "create-batch-releases" },
    { "POST /batch-releases", "{'data':[{'type':'batchRelease'},"
      "{'type':'batchRelease'}]}", "create-batch-releases" },
    { "POST /batch-releases", "{'data':[]}", "operation_not_allowed" },
    { "POST /batch-releases", "{'data':[{'type':'batchRelease'},"
      "{'type':'x'}]}", "operation_not_allowed" },
    { "POST /batch-releases", "{'data':[{'type':'batchRelease'},{}]}",
      "operation_not_allowed" },
    { "POST /batch-releases", "{'data':[{'type':'batchRelease'},1]}",
      "operation_not_allowed" },
    { "POST /batch-releases", "{'data':[[{'type':'batchRelease'}]]}",
      "operation_not_allowed" },
    { "POST /batch-releases", "{'data':[{'type':'batchRelease'},"
      "[{'type':'batchRelease'}]]}", "operation_not_allowed" },
    { "POST /batch-releases", "{'data':[{'type':'batchRelease',"
      "'Type':'x'}]}", "invalid_body" },
    { "POST /payments/bulk", "{'data':[{'type':'x'},{'type':null}]}",
      "operation_not_allowed" },
    { "POST /payments/bulk", "{'data':[{'type':'x'},{'type':'y'}]}",
      "create-payments-bulk" },

    /* what the gateway answers itself, half of it too */
    { "POST /customers/1/token", "{'data':{'type':'customerToken'}}",
      "create-customer-token" },
    { "POST /customers/1/token", "{'data':{'type':'customerToken',"
      "'attributes':{'verificationCode':'123456'}}}",
      "create-customer-token" },
    { "POST /customers/1/token", "{'data':{'type':'customerToken',"
      "'attributes':{'verificationCode':'123456',"
      "'verificationToken':'x'}}}", "create-customer-token-2fa" },
    { "POST /customers/1/token", "{'data':{'type':'customerToken',"
      "'attributes':{'verificationCode':'000001'}}}",
      "create-customer-token-sandbox" },
    { "POST /customers/1/token", "{'data':{'type':'customerToken',"
      "'attributes':{'verificationCode':'000001','jwtToken':'x'}}}",
      "create-customer-token-sandbox" },
    { "POST /customers/1/token", "{'data':{'type':'customerToken',"
      "'attributes':{'jwtToken':'x'}}}", "create-customer-token-jwt" },

    /* in, exists on data itself */
    { "POST /accounts/1/freeze", "{'data':{'type':'accountFreeze'}}",
      "freeze-account" },
    { "POST /accounts/1/freeze", "{'data':{'type':'walletAccountFreeze'}}",
      "freeze-account" },
    { "POST /accounts/1/freeze", "{'data':{'type':'accountfreeze'}}",
      "operation_not_allowed" },
    { "PATCH /transactions/1", "{'data':{}}", "update-transaction-by-id" },
    { "PATCH /transactions/1", "{'data':null}", "operation_not_allowed" },
    { "PATCH /transactions/1", "{'Data':{}}", "invalid_body" },
    { "PATCH /transactions/1", "{}", "operation_not_allowed" }
};


/* ' is easier to read than \" */

static char *
test_quotes(const char *s)
{
    char         *p;
    static char   buf[4096];

    snprintf(buf, sizeof(buf), "%s", s);

    for (p = buf; *p; p++) {
        if (*p == '\'') {
            *p = '"';
        }
    }

    return buf;
}


static void
test_matches(void)
{
    char                         method[8], path[128];
    ngx_str_t                    got;
    ngx_uint_t                   i;
    const test_row_t            *row;
    ngx_http_unit_code_e         code;

    for (i = 0; i < sizeof(test_rows) / sizeof(test_rows[0]); i++) {
        row = &test_rows[i];

        if (sscanf(row->request, "%7s %127s", method, path) != 2) {
            exit(1);
        }

        code = policy_kit_request(&kit, method, path, test_quotes(row->body));

        got = kit.op ? kit.op->name : ngx_http_unit_code(code)->name;

        is_text(got.data, got.len, row->expected, row->body);
    }
}


/* 1: the change needs a second factor */

static void
test_step_up(void)
{
    char                             body[512];
    ngx_uint_t                       i, t;
    ngx_http_unit_policy_verdict_t   v;

    static const char  *types[] = { "individualCustomer", "businessCustomer",
                                    "trustCustomer" };

    static const struct {
        const char  *rest;
        ngx_uint_t   verified;
    } rows[] = {
        { "", 0 },
        { ",'attributes':{}", 0 },
        { ",'attributes':{'tags':{'phone':'x'}}", 0 },
        { ",'attributes':{'address':{'jwtSubject':'x'}}", 0 },
        { ",'attributes':{'contact':{'email':'x'}}", 0 },
        { ",'phone':{}", 0 },
        { ",'attributes':{'phone':{'countryCode':'1'}}", 1 },
        { ",'attributes':{'phone':null}", 1 },
        { ",'attributes':{'\\u0070hone':null}", 1 },
        { ",'attributes':{'jwtSubject':'x'}", 1 },
        { ",'attributes':{'authorizedUsers':[]}", 1 },
        { ",'attributes':{'contact':{'phone':null}}", 1 },
        { ",'attributes':{'contact':{'jwtSubject':'x'}}", 1 },
        { ",'attributes':{'contact':null}", 1 },
        { ",'attributes':{'contact':[{'phone':null}]}", 1 },
        { ",'attributes':[{'phone':null}]", 1 },
        { ",'attributes':null", 1 }
    };

    for (t = 0; t < 3; t++) {
        for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

            snprintf(body, sizeof(body), "{'data':{'type':'%s'%s}}", types[t],
                     rows[i].rest);

            v = policy_kit_decide(&kit, "PATCH", "/customers/1",
                                  test_quotes(body), "", "");

            ok(v.code == NGX_HTTP_UNIT_ALLOWED
               && v.verified == rows[i].verified,
               "%s second factor for %s", rows[i].verified ? "a" : "no", body);
        }
    }

    is(policy_kit_request(&kit, "PATCH", "/customers/1",
                          "{\"data\":{\"type\":\"individualCustomer\","
                          "\"attributes\":{\"Phone\":null}}}"),
       NGX_HTTP_UNIT_INVALID_BODY, "phone in another letter case");
    is(policy_kit_request(&kit, "PATCH", "/customers/1",
                          "{\"data\":{\"type\":\"individualCustomer\","
                          "\"attributes\":{\"contact\":{\"JWTSubject\":1}}}}"),
       NGX_HTTP_UNIT_INVALID_BODY, "jwtSubject in another letter case");

    is(ngx_http_unit_policy_step_up(
                   policy_kit_find(&kit, "update-trust-customer"), NULL),
       1, "without a body seen it is one");
}


#define TEST_REL(r)  "{'data':{'relationships':" r "}}"

static void
test_customers(void)
{
    char        *body;
    ngx_int_t    rc;
    ngx_str_t    id = ngx_string("10001");
    ngx_uint_t   i;

    static const struct {
        const char  *body;
        ngx_int_t    rc;
    } rows[] = {
        { "{}", NGX_OK },
        { "{'data':{}}", NGX_OK },
        { "{'data':[]}", NGX_OK },
        { TEST_REL("{}"), NGX_OK },
        { TEST_REL("null"), NGX_OK },
        { TEST_REL("{'account':{'data':{'id':'7'}}}"), NGX_OK },
        { TEST_REL("{'customer':{'data':{'type':'customer','id':'10001'}}}"),
          NGX_OK },
        { TEST_REL("{'customer':{'data':{'id':'1000\\u0031'}}}"), NGX_OK },
        { TEST_REL("{'customer':{'data':null}}"), NGX_OK },
        { TEST_REL("{'customers':{'data':[]}}"), NGX_OK },
        { TEST_REL("{'customers':{'data':[{'id':'10001'},{'id':'10001'}]}}"),
          NGX_OK },

        { TEST_REL("{'customer':{'data':{'id':'10002'}}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':{'id':10001}}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':{'id':null}}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':{'id':'10001 '}}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':{'id':''}}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':{'id':'me'}}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':{}}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':[{'id':'10001'}]}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':'10001'}}"), NGX_DECLINED },
        { TEST_REL("{'customer':{'id':'10001'}}"), NGX_DECLINED },
        { TEST_REL("{'customer':'10001'}"), NGX_DECLINED },
        { TEST_REL("{'customer':null}"), NGX_DECLINED },
        { TEST_REL("{'customer':[]}"), NGX_DECLINED },
        { TEST_REL("{'customer':{}}"), NGX_DECLINED },
        { TEST_REL("{'customers':{'data':[{'id':'10001'},{'id':'2'}]}}"),
          NGX_DECLINED },
        { TEST_REL("{'customers':{'data':[{'id':'10001'},{}]}}"),
          NGX_DECLINED },
        { TEST_REL("{'customers':{'data':[{'id':'10001'},'2']}}"),
          NGX_DECLINED },
        { TEST_REL("{'customers':{'data':{'id':'10001'}}}"), NGX_DECLINED },
        { TEST_REL("{'customers':{'data':null}}"), NGX_DECLINED },
        { TEST_REL("{'customers':{}}"), NGX_DECLINED },
        { TEST_REL("{'customers':[{'id':'10001'}]}"), NGX_DECLINED },
        { TEST_REL("[{'customer':{'data':{'id':'2'}}}]"), NGX_DECLINED },
        { TEST_REL("'customer'"), NGX_DECLINED },
        { TEST_REL("{'customer':{'data':{'id':'10001'}},"
                   "'customers':{'data':[{'id':'2'}]}}"), NGX_DECLINED },

        { "{'data':[{'relationships':{'customer':{'data':{'id':'10001'}}}},"
          "{'relationships':{'customer':{'data':{'id':'10001'}}}}]}", NGX_OK },
        { "{'data':[{'relationships':{'customer':{'data':{'id':'10001'}}}},"
          "{'relationships':{'customer':{'data':{'id':'2'}}}}]}",
          NGX_DECLINED },
        { "{'data':[{'relationships':{'customer':{'data':null}}},"
          "{'relationships':{'customer':{'data':{}}}}]}", NGX_DECLINED },
        { "{'data':[[{'relationships':{'customer':{'data':{'id':'2'}}}}]]}",
          NGX_DECLINED },
        { "{'data':[{'relationships':{'customers':{'data':"
          "[{'id':'10001'},{'id':'2'}]}}}]}", NGX_DECLINED }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        body = test_quotes(rows[i].body);

        rc = ngx_http_unit_json_scan(kit.pool, (u_char *) body, strlen(body),
                                     ngx_http_unit_policy_watch(kit.policy),
                                     &kit.json);

        ok(rc == NGX_OK
           && ngx_http_unit_policy_body_customer(kit.policy, &kit.json, &id)
              == rows[i].rc,
           "%s %s", rows[i].rc == NGX_OK ? "none but 10001 in" : "not fit:",
           rows[i].body);
    }
}


static void
test_query(void)
{
    ngx_str_t    query, id = ngx_string("10001");
    ngx_uint_t   i;
    ngx_array_t  args;

    static const struct {
        const char  *query;
        ngx_int_t    rc;
    } rows[] = {
        { "", NGX_OK },
        { "page[limit]=5&filter[accountId]=7", NGX_OK },
        { "filter[customerId]=10001", NGX_OK },
        { "filter%5BcustomerId%5D=10001&filter[customerId][]=10001", NGX_OK },
        { "filter[customerId]=10002", NGX_DECLINED },
        { "filter[customerId]=10001&filter[customerId]=10002", NGX_DECLINED },
        { "filter[customerId]=10001,10002", NGX_DECLINED },
        { "filter%5bcustomerId%5d=10002", NGX_DECLINED },
        { "filter[customerId][0]=10002", NGX_DECLINED },
        { "FILTER[customerid]=10002", NGX_DECLINED },
        { "filter[customerId]", NGX_DECLINED },
        { "filter[customerId]=", NGX_DECLINED }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        query.data = (u_char *) rows[i].query;
        query.len = strlen(rows[i].query);

        ok(ngx_http_unit_uri_args(kit.pool, &query, &args) == NGX_OK
           && ngx_http_unit_policy_query_customer(&args, &id) == rows[i].rc,
           "query \"%s\"", rows[i].query);
    }
}


/* the ids that policy.h promises to others */

static void
test_watches(void)
{
    char                      *body;
    ngx_uint_t                 i;
    ngx_http_unit_json_hit_t  *hit;

    static const ngx_uint_t  object[] = { NGX_HTTP_UNIT_WATCH_DATA,
                                          NGX_HTTP_UNIT_WATCH_ATTRIBUTES,
                                          NGX_HTTP_UNIT_WATCH_KEY };
    static const ngx_uint_t  array[] = { NGX_HTTP_UNIT_WATCH_DATA,
                                         NGX_HTTP_UNIT_WATCH_ITEM,
                                         NGX_HTTP_UNIT_WATCH_ITEM_ATTRIBUTES,
                                         NGX_HTTP_UNIT_WATCH_ITEM_KEY };

    body = test_quotes("{'data':{'attributes':{'idempotencyKey':'k'}}}");

    ngx_http_unit_json_scan(kit.pool, (u_char *) body, strlen(body),
                            ngx_http_unit_policy_watch(kit.policy), &kit.json);
    hit = kit.json.hits.elts;

    is(kit.json.hits.nelts, 3, "three hits");

    for (i = 0; i < 3 && i < kit.json.hits.nelts; i++) {
        is(hit[i].watch, object[i], "watch id in an object");
    }

    body = test_quotes("{'data':[{'attributes':{'idempotencyKey':'k'}}]}");

    ngx_http_unit_json_scan(kit.pool, (u_char *) body, strlen(body),
                            ngx_http_unit_policy_watch(kit.policy), &kit.json);
    hit = kit.json.hits.elts;

    is(kit.json.hits.nelts, 4, "four hits");

    for (i = 0; i < 4 && i < kit.json.hits.nelts; i++) {
        is(hit[i].watch, array[i], "watch id in an array");
    }
}


int
main(void)
{
    policy_kit_init(&kit);

    test_matches();
    test_step_up();
    test_customers();
    test_query();
    test_watches();

    policy_kit_done(&kit);

    return done_testing();
}
