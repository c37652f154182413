
/*
 * The table of the tree: every operation can be reached by the request that
 * Unit documents, and by that only; the codes of the gateway's answers; what
 * a match costs in a table of 10,000 operations.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include <jansson.h>
#include "policy_kit.h"
#include "tap.h"


static policy_kit_t  kit;


static void
test_codes(void)
{
    ngx_uint_t                   i;
    const ngx_http_unit_code_t  *c;

    static const struct {
        ngx_http_unit_code_e  code;
        ngx_uint_t            status;
        const char           *name;
    } rows[] = {
        { NGX_HTTP_UNIT_ALLOWED, 200, "allowed" },
        { NGX_HTTP_UNIT_INVALID_REQUEST, 400, "invalid_request" },
        { NGX_HTTP_UNIT_INVALID_URI, 400, "invalid_uri" },
        { NGX_HTTP_UNIT_INVALID_BODY, 400, "invalid_body" },
        { NGX_HTTP_UNIT_CUSTOMER_REQUIRED, 400, "customer_required" },
        { NGX_HTTP_UNIT_IDEMPOTENCY_KEY_MISSING, 400,
          "idempotency_key_missing" },
        { NGX_HTTP_UNIT_IDEMPOTENCY_KEY_INVALID, 400,
          "idempotency_key_invalid" },
        { NGX_HTTP_UNIT_TOKEN_MISSING, 401, "token_missing" },
        { NGX_HTTP_UNIT_TOKEN_INVALID, 401, "token_invalid" },
        { NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED, 401, "two_factor_required" },
        { NGX_HTTP_UNIT_INSUFFICIENT_SCOPE, 403, "insufficient_scope" },
        { NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED, 403, "operation_not_allowed" },
        { NGX_HTTP_UNIT_CUSTOMER_MISMATCH, 403, "customer_mismatch" },
        { NGX_HTTP_UNIT_CUSTOMER_NOT_LINKED, 403, "customer_not_linked" },
        { NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED, 403, "pci_route_blocked" },
        { NGX_HTTP_UNIT_VERIFICATION_FAILED, 403, "verification_failed" },
        { NGX_HTTP_UNIT_UNKNOWN_OPERATION, 404, "unknown_operation" },
        { NGX_HTTP_UNIT_METHOD_NOT_ALLOWED, 405, "method_not_allowed" },
        { NGX_HTTP_UNIT_REQUEST_TIMEOUT, 408, "request_timeout" },
        { NGX_HTTP_UNIT_IDEMPOTENCY_KEY_IN_USE, 409, "idempotency_key_in_use" },
        { NGX_HTTP_UNIT_IDEMPOTENCY_KEY_REUSED, 422, "idempotency_key_reused" },
        { NGX_HTTP_UNIT_BODY_TOO_LARGE, 413, "body_too_large" },
        { NGX_HTTP_UNIT_UNSUPPORTED_MEDIA_TYPE, 415, "unsupported_media_type" },
        { NGX_HTTP_UNIT_TOO_EARLY, 425, "too_early" },
        { NGX_HTTP_UNIT_RATE_LIMITED, 429, "rate_limited" },
        { NGX_HTTP_UNIT_TWO_FACTOR_LIMITED, 429, "two_factor_limited" },
        { NGX_HTTP_UNIT_INTERNAL_ERROR, 500, "internal_error" },
        { NGX_HTTP_UNIT_UPSTREAM_INVALID, 502, "upstream_invalid" },
        { NGX_HTTP_UNIT_UPSTREAM_UNAVAILABLE, 502, "upstream_unavailable" },
        { NGX_HTTP_UNIT_BROKER_UNAVAILABLE, 503, "broker_unavailable" },
        { NGX_HTTP_UNIT_UPSTREAM_TIMEOUT, 504, "upstream_timeout" },
        { NGX_HTTP_UNIT_CODES, 500, "internal_error" }
    };

    is(sizeof(rows) / sizeof(rows[0]), NGX_HTTP_UNIT_CODES + 1,
       "every code is tested");

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        c = ngx_http_unit_code(rows[i].code);

        ok(c->status == rows[i].status && c->name.len == strlen(rows[i].name)
           && memcmp(c->name.data, rows[i].name, c->name.len) == 0
           && c->title.len && c->detail.len
           && strpbrk((char *) c->detail.data, "\"\\\n") == NULL,
           "code %s", rows[i].name);
    }
}


/* put a value where a path says, into an object or the first array element */

static void
test_put(json_t *root, const char *path, json_t *value)
{
    char     name[65];
    size_t   len;
    json_t  *next;

    for ( ;; ) {
        len = strcspn(path, ".[");
        snprintf(name, sizeof(name), "%.*s", (int) len, path);

        if (path[len] == '\0') {
            json_object_set_new(root, name, value);
            return;
        }

        next = json_object_get(root, name);

        if (next == NULL) {
            next = path[len] == '[' ? json_pack("[{}]") : json_object();
            json_object_set_new(root, name, next);
        }

        if (path[len] == '[') {
            next = json_array_get(next, 0);
            len += 2;
        }

        root = next;
        path += len + 1;
    }
}


/* the smallest body that its conditions let pass, to be freed */

static char *
test_body(json_t *conditions)
{
    char        *text;
    json_t      *body, *cond, *value;
    const char  *path;

    body = json_object();

    json_object_foreach(conditions, path, cond) {

        value = json_incref(cond);

        if (json_is_object(cond)) {
            json_decref(value);
            value = NULL;

            if (json_is_true(json_object_get(cond, "exists"))) {
                value = json_object();

            } else if (json_object_get(cond, "in")) {
                value = json_array_get(json_object_get(cond, "in"), 0);
                json_incref(value);
            }
        }

        if (value != NULL) {
            test_put(body, path, value);
        }
    }

    text = json_dumps(body, 0);
    json_decref(body);

    return text;
}


static ngx_uint_t
test_is_twin(const ngx_http_unit_operation_t *op,
    const ngx_http_unit_operation_t *other)
{
    const ngx_http_unit_operation_t  *twin;

    for (twin = ((ngx_http_unit_policy_match_t *) op->match)->twin;
         twin != op;
         twin = ((ngx_http_unit_policy_match_t *) twin->match)->twin)
    {
        if (twin == other) {
            return 1;
        }
    }

    return 0;
}


static void
test_reach(void)
{
    char                              path[256], *body;
    json_t                           *root, *list, *item;
    size_t                            i, n;
    ngx_str_t                         text;
    ngx_uint_t                        twins;
    const char                       *p;
    ngx_http_unit_code_e              code, expected;
    const ngx_http_unit_operation_t  *op;

    text = policy_kit_read(kit.pool, "conf/operations.json");
    root = json_loadb((char *) text.data, text.len, 0, NULL);
    list = json_object_get(root, "operations");

    is(json_array_size(list), 218, "216 operations of Unit's and two of ours");
    is(ngx_http_unit_policy_noperations(kit.policy), 218, "all of them loaded");
    is(ngx_http_unit_policy_nscopes(kit.policy), 47, "scopes, none legacy");

    twins = 0;

    json_array_foreach(list, i, item) {

        op = ngx_http_unit_policy_operation(kit.policy, i);

        /* /accounts/:accountId becomes /accounts/17 */

        n = 0;

        for (p = json_string_value(json_object_get(item, "path")); *p; p++) {
            if (*p == ':') {
                path[n++] = '1';
                path[n++] = '7';
                p += strcspn(p, "/") - 1;
                continue;
            }

            path[n++] = *p;
        }

        path[n] = '\0';

        body = test_body(json_object_get(item, "body"));

        code = policy_kit_request(&kit,
                        json_string_value(json_object_get(item, "method")),
                        path, body);

        expected = op->dflt == NGX_HTTP_UNIT_POLICY_PCI
                   ? NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED : NGX_HTTP_UNIT_ALLOWED;

        ok(code == expected && (code != NGX_HTTP_UNIT_ALLOWED || kit.op == op
                                || test_is_twin(kit.op, op)),
           "%.*s by %s %s", (int) op->name.len, op->name.data, path, body);

        if (code == NGX_HTTP_UNIT_ALLOWED && kit.op != op) {
            twins++;
            is_text(op->name.data, op->name.len,
                    "update-sole-proprietor-application", "a known twin");
        }

        free(body);
    }

    is(twins, 1, "one pair of twins");

    json_decref(root);
}


static void
test_paths(void)
{
    is(policy_kit_request(&kit, "GET", "/accounts", NULL), 0, "a list");
    is(policy_kit_request(&kit, "HEAD", "/accounts", NULL), 0, "HEAD is GET");

    is(policy_kit_request(&kit, "GET", "/accounts/", NULL),
       NGX_HTTP_UNIT_UNKNOWN_OPERATION, "trailing slash");
    is(policy_kit_request(&kit, "GET", "/", NULL),
       NGX_HTTP_UNIT_UNKNOWN_OPERATION, "root");
    is(policy_kit_request(&kit, "GET", "/Accounts", NULL),
       NGX_HTTP_UNIT_UNKNOWN_OPERATION, "another letter case");
    is(policy_kit_request(&kit, "GET", "/accounts/1/2", NULL),
       NGX_HTTP_UNIT_UNKNOWN_OPERATION, "too deep");
    is(policy_kit_request(&kit, "GET", "/accounts/a@b", NULL),
       NGX_HTTP_UNIT_UNKNOWN_OPERATION, "a character that no id has");
    is(policy_kit_request(&kit, "GET", "/accounts/:accountId", NULL),
       NGX_HTTP_UNIT_UNKNOWN_OPERATION, "the placeholder itself");
    is(policy_kit_request(&kit, "GET", "/accounts/"
       "1234567890123456789012345678901234567890123456789012345678901234"
       "1234567890123456789012345678901234567890123456789012345678901234",
       NULL), 0, "an id of 128 characters");
    is(policy_kit_request(&kit, "GET", "/accounts/"
       "1234567890123456789012345678901234567890123456789012345678901234"
       "12345678901234567890123456789012345678901234567890123456789012345",
       NULL), NGX_HTTP_UNIT_UNKNOWN_OPERATION, "an id of 129");

    is(policy_kit_request(&kit, "PUT", "/accounts", NULL),
       NGX_HTTP_UNIT_METHOD_NOT_ALLOWED, "a method that the path has not");
    is(kit.allow, NGX_HTTP_UNIT_METHOD_GET|NGX_HTTP_UNIT_METHOD_POST,
       "and those that it has");
    is(policy_kit_request(&kit, "OPTIONS", "/accounts", NULL),
       NGX_HTTP_UNIT_METHOD_NOT_ALLOWED, "a method that no path has");

    /* POST /payments/bulk is an operation, PATCH of a payment "bulk" is not */
    is(policy_kit_request(&kit, "PATCH", "/payments/bulk",
                          "{\"data\":{\"type\":\"achPayment\"}}"),
       NGX_HTTP_UNIT_METHOD_NOT_ALLOWED, "a literal wins over a parameter");
    is(kit.allow, NGX_HTTP_UNIT_METHOD_POST, "and does not go back");

    is(policy_kit_request(&kit, "GET", "/cards/1/secure-data/pin/status", NULL),
       0, "not all below secure-data is card data");
    is(policy_kit_request(&kit, "DELETE", "/cards/1/secure-data/pin", NULL),
       NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED, "card data by whatever method");
    is(policy_kit_request(&kit, "OPTIONS", "/cards/1/activate", NULL),
       NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED, "card activation by whatever method");
    is(policy_kit_request(&kit, "POST", "/sandbox/cards/1/activate", NULL), 0,
       "but its simulation is an operation");

    is(policy_kit_find(&kit, "get-customer")->customer, 1,
       "the customer's segment");
    is(policy_kit_find(&kit, "create-customer-token-verification")->customer,
       1, "the customer's segment in a longer path");
    is(policy_kit_find(&kit, "get-account")->customer, -1, "none in others");
    is(policy_kit_find(&kit, "rtl-list-customers")->customer, -1,
       "nor where customers is a literal");
}


/* 10,000 operations: as many lookups as segments, few slots in each */

static void
test_scale(void)
{
    u_char                             *buf, *p;
    ngx_int_t                           rc;
    ngx_str_t                           raw, error;
    ngx_uint_t                          i, n, lookups, steps, most, wrong;
    ngx_pool_t                         *pool, *small;
    ngx_http_unit_uri_t                 uri;
    ngx_http_unit_policy_t             *policy;
    const ngx_http_unit_policy_node_t  *node;

    n = NGX_HTTP_UNIT_POLICY_MAX_OPERATIONS;
    pool = ngx_create_pool(4096, NULL);
    buf = ngx_palloc(pool, n * 300 + 1000);

    p = ngx_sprintf(buf, "{\"version\":1,\"scopes\":[{\"name\":\"s\","
                    "\"write\":false,\"two_factor\":false,\"pci\":false,"
                    "\"customer\":true}],\"operations\":[");

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, "%s{\"name\":\"op-%ui\",\"method\":\"GET\","
                        "\"path\":\"/list%ui/:id/part%ui\",\"body\":null,"
                        "\"scopes\":[\"s\"],\"token\":\"both\","
                        "\"two_factor\":false,\"timeout\":5,"
                        "\"idempotency\":null,\"moves_funds\":false,"
                        "\"pci\":false,\"default\":\"allow\","
                        "\"serve\":\"proxy\"}", i ? "," : "", i,
                        (ngx_uint_t) (i % 7000), i);
    }

    p = ngx_sprintf(p, "]}");

    rc = ngx_http_unit_policy_load(pool, buf, p - buf, &policy, &error);

    if (!ok(rc == NGX_OK, "10,000 operations load")) {
        diag("%.*s", (int) error.len, error.data);
        return;
    }

    most = 0;
    wrong = 0;

    for (i = 0; i < n; i++) {
        small = ngx_create_pool(4096, NULL);

        p = ngx_sprintf(buf, "/list%ui/x/part%ui", (ngx_uint_t) (i % 7000), i);
        raw.data = buf;
        raw.len = p - buf;

        lookups = 0;
        steps = 0;

        ngx_http_unit_uri_canonical(small, &raw, &uri);
        node = ngx_http_unit_policy_walk(policy, &uri, &lookups, &steps);

        if (node == NULL || node->routes[0]->ops[0]->index != i
            || lookups != 3)
        {
            wrong++;
        }

        most = ngx_max(most, steps);

        ngx_destroy_pool(small);
    }

    is(wrong, 0, "each is found with one hash lookup per segment");
    ok(most <= 64, "and few slots are looked at (%lu)", (unsigned long) most);

    raw.data = (u_char *) "/accounts/1/limits";
    raw.len = sizeof("/accounts/1/limits") - 1;
    lookups = 0;

    ngx_http_unit_uri_canonical(pool, &raw, &uri);
    ngx_http_unit_policy_walk(kit.policy, &uri, &lookups, NULL);

    is(lookups, 3, "no fewer in the table of 218");

    ngx_destroy_pool(pool);
}


int
main(void)
{
    policy_kit_init(&kit);

    test_codes();
    test_reach();
    test_paths();
    test_scale();

    policy_kit_done(&kit);

    return done_testing();
}
