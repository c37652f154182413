
/*
 * Fuzz target: the policy.  Input that starts with "{" is a table: it loads or
 * is refused with a message, and what loads can be found and decided upon.
 * Other input is a request, "METHOD PATH", a newline and a body, put to the
 * table of the tree; what the scanner's hits lead to is compared with what a
 * plain reading of the parsed body (jansson) says.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_policy_int.h"
#include "ngx_stub.h"
#include "fuzz.h"


static ngx_pool_t              *fuzz_pool;
static ngx_http_unit_policy_t  *fuzz_policy;
static json_t                  *fuzz_table;


static void
fuzz_init(void)
{
    FILE            *f;
    size_t           len;
    ngx_str_t        error;
    static u_char    buf[1 << 20];

    f = fopen("conf/operations.json", "rb");
    fuzz_assert(f != NULL);

    len = fread(buf, 1, sizeof(buf), f);
    fclose(f);

    fuzz_pool = ngx_create_pool(4096, NULL);

    fuzz_assert(ngx_http_unit_policy_load(fuzz_pool, buf, len, &fuzz_policy,
                                          &error)
                == NGX_OK);

    fuzz_table = json_loadb((char *) buf, len, 0, NULL);
    fuzz_assert(fuzz_table != NULL);
}


static void
fuzz_decide(const ngx_http_unit_policy_t *policy,
    const ngx_http_unit_operation_t *op, ngx_http_unit_json_t *json)
{
    ngx_uint_t                           bits;
    ngx_http_unit_policy_caller_t        caller;
    ngx_http_unit_policy_verdict_t       v;
    const ngx_http_unit_policy_scope_t  *scope;

    for (bits = 0; bits < 16; bits++) {
        ngx_memset(&caller, 0xff, sizeof(ngx_http_unit_policy_caller_t));

        caller.org = bits & 1;
        caller.read_only = bits >> 1 & 1;
        caller.no_role = bits >> 2 & 1;
        caller.sandbox = bits >> 3 & 1;

        ngx_http_unit_policy_decide(policy, op, NULL, &caller, json, &v);

        fuzz_assert(v.reason != NULL);

        if (v.code != NGX_HTTP_UNIT_ALLOWED) {
            fuzz_assert(v.scope == -1 && !v.verified);
            continue;
        }

        fuzz_assert(op->dflt == NGX_HTTP_UNIT_POLICY_ALLOW
                    || (op->dflt == NGX_HTTP_UNIT_POLICY_ORG_ONLY
                        && (caller.org
                            || op->serve != NGX_HTTP_UNIT_SERVE_PROXY))
                    || (op->dflt == NGX_HTTP_UNIT_POLICY_SANDBOX
                        && caller.sandbox));

        if (v.scope < 0) {
            continue;
        }

        scope = ngx_http_unit_policy_scope(policy, v.scope);

        fuzz_assert(scope != NULL && !caller.no_role);
        fuzz_assert(!caller.read_only || !scope->write);
        fuzz_assert(v.org || (scope->customer && !caller.org));
        fuzz_assert(v.org || !scope->two_factor || v.verified);
    }
}


static void
fuzz_load(uint8_t *data, size_t len)
{
    ngx_int_t                         rc;
    ngx_str_t                         error;
    ngx_uint_t                        i, n, allow;
    ngx_pool_t                       *pool;
    ngx_http_unit_uri_t               uri;
    ngx_http_unit_policy_t           *policy;
    const ngx_http_unit_route_t      *route;
    const ngx_http_unit_operation_t  *op;

    pool = ngx_create_pool(4096, NULL);

    rc = ngx_http_unit_policy_load(pool, data, len, &policy, &error);

    if (rc != NGX_OK) {
        fuzz_assert(rc == NGX_DECLINED && error.len > 0 && policy == NULL);
        ngx_destroy_pool(pool);
        return;
    }

    n = ngx_http_unit_policy_noperations(policy);

    for (i = 0; i < n; i++) {
        op = ngx_http_unit_policy_operation(policy, i);

        fuzz_assert(ngx_http_unit_policy_find(policy, &op->name) == op);

        /* a path of literals is a request; others have no ":" in segments */

        if (memchr(op->path.data, ':', op->path.len) == NULL) {
            rc = ngx_http_unit_uri_canonical(pool, (ngx_str_t *) &op->path,
                                             &uri);
            fuzz_assert(rc == NGX_OK);

            rc = ngx_http_unit_policy_route(policy, &uri, op->method, &route,
                                            &allow);
            fuzz_assert(allow & op->method);

            if (rc == NGX_ABORT) {
                continue;
            }

            fuzz_assert(rc == NGX_OK);
            fuzz_assert(!op->body || ngx_http_unit_policy_needs_body(route));

            (void) ngx_http_unit_policy_select(route, NULL);
        }

        fuzz_decide(policy, op, NULL);
    }

    ngx_destroy_pool(pool);
}


/* the member that a dotted path names, NULL when there is none */

static json_t *
fuzz_get(json_t *json, const char *path)
{
    char    name[128];
    size_t  len;

    while (json != NULL && *path) {
        len = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int) len, path);

        json = json_object_get(json, name);
        path += len + (path[len] == '.');
    }

    return json;
}


static int
fuzz_value(json_t *cond, json_t *value)
{
    size_t   i;
    json_t  *item;

    if (!json_is_object(cond)) {
        return value != NULL && json_equal(cond, value);
    }

    if (json_object_get(cond, "exists") != NULL) {
        return json_is_true(json_object_get(cond, "exists"))
               == (value != NULL && !json_is_null(value));
    }

    if (json_object_get(cond, "not") != NULL) {
        return value == NULL
               || !json_equal(json_object_get(cond, "not"), value);
    }

    json_array_foreach(json_object_get(cond, "in"), i, item) {
        if (value != NULL && json_equal(item, value)) {
            return 1;
        }
    }

    return 0;
}


static int
fuzz_holds(json_t *root, json_t *body)
{
    json_t      *cond, *data, *item;
    size_t       i;
    const char  *path;

    data = json_object_get(root, "data");

    json_object_foreach(body, path, cond) {

        if (path[4] == '\0') {
            if (!fuzz_value(cond, data)) {
                return 0;
            }

        } else if (path[4] == '.') {
            if (!json_is_object(data)
                || !fuzz_value(cond, fuzz_get(data, path + 5)))
            {
                return 0;
            }

        } else {
            if (json_array_size(data) == 0) {
                return 0;
            }

            json_array_foreach(data, i, item) {
                if (!json_is_object(item)
                    || !fuzz_value(cond, fuzz_get(item, path + 7)))
                {
                    return 0;
                }
            }
        }
    }

    return 1;
}


/* the same choice, from the table and the parsed body */

static void
fuzz_compare(const ngx_http_unit_route_t *route,
    const ngx_http_unit_operation_t *op, json_t *root)
{
    json_t      *list, *item, *body, *first;
    size_t       n, best;
    ngx_uint_t   i, ambiguous;
    const char  *serve;

    list = json_object_get(fuzz_table, "operations");
    best = 0;
    first = NULL;
    ambiguous = 0;

    for (i = 0; i < route->nops; i++) {
        item = json_array_get(list, route->ops[i]->index);
        body = json_object_get(item, "body");
        n = json_object_size(body);

        if (!fuzz_holds(root, body)) {
            continue;
        }

        if (first == NULL || n > best) {
            best = n;
            first = item;
            ambiguous = 0;
            continue;
        }

        serve = json_string_value(json_object_get(item, "serve"));

        if (n == best && !json_equal(body, json_object_get(first, "body"))
            && strcmp(serve, "proxy") == 0)
        {
            ambiguous = 1;
        }
    }

    if (first == NULL || ambiguous) {
        fuzz_assert(op == NULL);
        return;
    }

    fuzz_assert(op != NULL);
    fuzz_assert(json_array_get(list, op->index) == first);
}


static int
fuzz_related(json_t *relations, const char *customer)
{
    size_t   i;
    json_t  *one, *many, *item;

    if (relations == NULL || json_is_null(relations)) {
        return 1;
    }

    if (!json_is_object(relations)) {
        return 0;
    }

    one = json_object_get(relations, "customer");

    if (one != NULL) {
        item = json_object_get(one, "data");

        if (item == NULL || (!json_is_null(item)
            && (json_string_value(json_object_get(item, "id")) == NULL
                || strcmp(json_string_value(json_object_get(item, "id")),
                          customer)
                   != 0)))
        {
            return 0;
        }
    }

    many = json_object_get(relations, "customers");

    if (many != NULL) {

        if (!json_is_array(json_object_get(many, "data"))) {
            return 0;
        }

        json_array_foreach(json_object_get(many, "data"), i, item) {
            item = json_object_get(item, "id");

            if (item == NULL || json_string_value(item) == NULL
                || strcmp(json_string_value(item), customer) != 0)
            {
                return 0;
            }
        }
    }

    return 1;
}


static void
fuzz_customer(ngx_http_unit_json_t *json, json_t *root)
{
    int         good;
    json_t     *data, *item;
    size_t      i;
    ngx_str_t   id = ngx_string("10001");

    data = json_object_get(root, "data");
    good = 1;

    if (json_is_object(data)) {
        good = fuzz_related(json_object_get(data, "relationships"), "10001");
    }

    json_array_foreach(data, i, item) {
        good = good && json_is_object(item)
               && fuzz_related(json_object_get(item, "relationships"),
                               "10001");
    }

    fuzz_assert(ngx_http_unit_policy_body_customer(fuzz_policy, json, &id)
                == (good ? NGX_OK : NGX_DECLINED));
}


static void
fuzz_step_up(const ngx_http_unit_operation_t *op, ngx_http_unit_json_t *json,
    json_t *root)
{
    int      step;
    json_t  *attributes, *contact;

    attributes = fuzz_get(root, "data.attributes");
    contact = json_object_get(attributes, "contact");

    step = (attributes != NULL && !json_is_object(attributes))
           || (contact != NULL && !json_is_object(contact))
           || json_object_get(attributes, "phone") != NULL
           || json_object_get(attributes, "jwtSubject") != NULL
           || json_object_get(attributes, "authorizedUsers") != NULL
           || json_object_get(contact, "phone") != NULL
           || json_object_get(contact, "jwtSubject") != NULL;

    fuzz_assert(ngx_http_unit_policy_step_up(op, json)
                == (op->step_up != NULL && step));
}


static void
fuzz_request(ngx_pool_t *pool, uint8_t *data, size_t len)
{
    u_char                           *space, *eol;
    json_t                           *root;
    ngx_str_t                         path;
    ngx_uint_t                        m, allow;
    ngx_http_unit_uri_t               uri;
    ngx_http_unit_json_t              json;
    const ngx_http_unit_route_t      *route;
    const ngx_http_unit_operation_t  *op;

    static const char  *methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };

    eol = ngx_strlchr(data, data + len, '\n');
    space = ngx_strlchr(data, data + len, ' ');

    if (eol == NULL || space == NULL || space > eol) {
        return;
    }

    for (m = 0; m < 5; m++) {
        if (strlen(methods[m]) == (size_t) (space - data)
            && memcmp(methods[m], data, space - data) == 0)
        {
            break;
        }
    }

    path.data = space + 1;
    path.len = eol - path.data;

    if (ngx_http_unit_uri_canonical(pool, &path, &uri) != NGX_OK
        || ngx_http_unit_policy_route(fuzz_policy, &uri, m < 5 ? 1 << m : 0,
                                      &route, &allow)
           != NGX_OK)
    {
        return;
    }

    if (!ngx_http_unit_policy_needs_body(route)) {
        op = ngx_http_unit_policy_select(route, NULL);
        fuzz_assert(op != NULL);
        fuzz_decide(fuzz_policy, op, NULL);
        return;
    }

    fuzz_assert(ngx_http_unit_policy_select(route, NULL) == NULL);

    eol++;

    if (ngx_http_unit_json_scan(pool, eol, data + len - eol,
                                ngx_http_unit_policy_watch(fuzz_policy), &json)
        != NGX_OK)
    {
        return;
    }

    op = ngx_http_unit_policy_select(route, &json);

    if (op != NULL) {
        fuzz_decide(fuzz_policy, op, &json);
    }

    root = json_loadb((char *) eol, data + len - eol, JSON_DECODE_ANY, NULL);
    if (root == NULL) {
        return;
    }

    fuzz_compare(route, op, root);
    fuzz_customer(&json, root);

    if (op != NULL) {
        fuzz_step_up(op, &json, root);
    }

    json_decref(root);
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    ngx_pool_t  *pool;

    if (fuzz_pool == NULL) {
        fuzz_init();
    }

    if (len && data[0] == '{') {
        fuzz_load(data, len);
        return;
    }

    pool = ngx_create_pool(1024, NULL);

    fuzz_request(pool, data, len);

    ngx_destroy_pool(pool);
}
