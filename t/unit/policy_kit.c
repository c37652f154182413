
/*
 * What the tests of the policy share.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "policy_kit.h"


static void
policy_kit_die(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}


ngx_str_t
policy_kit_read(ngx_pool_t *pool, const char *name)
{
    FILE       *f;
    ngx_str_t   s;

    f = fopen(name, "rb");
    if (f == NULL) {
        policy_kit_die(name);
    }

    s.data = ngx_palloc(pool, 4 * 1024 * 1024);
    s.len = fread(s.data, 1, 4 * 1024 * 1024, f);

    fclose(f);

    return s;
}


void
policy_kit_init(policy_kit_t *kit)
{
    ngx_str_t    text;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);

    text = policy_kit_read(pool, "conf/operations.json");
    policy_kit_init_text(kit, &text);

    ngx_destroy_pool(pool);
}


void
policy_kit_init_text(policy_kit_t *kit, ngx_str_t *text)
{
    ngx_str_t  error;

    ngx_memzero(kit, sizeof(policy_kit_t));

    kit->pool = ngx_create_pool(4096, NULL);

    if (ngx_http_unit_policy_load(kit->pool, text->data, text->len,
                                  &kit->policy, &error)
        != NGX_OK)
    {
        printf("# %.*s\n", (int) error.len, error.data);
        policy_kit_die("the table does not load");
    }
}


void
policy_kit_done(policy_kit_t *kit)
{
    ngx_destroy_pool(kit->pool);
}


ngx_uint_t
policy_kit_method(const char *method)
{
    ngx_uint_t          i;
    static const char  *names[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };

    for (i = 0; i < 5; i++) {
        if (strcmp(method, names[i]) == 0) {
            return (ngx_uint_t) 1 << i;
        }
    }

    return strcmp(method, "HEAD") == 0 ? NGX_HTTP_UNIT_METHOD_GET : 0;
}


/* a copy of its own, so that a byte read past the end is seen */

static ngx_str_t
policy_kit_copy(ngx_pool_t *pool, const char *s)
{
    ngx_str_t  copy;

    copy.len = strlen(s);
    copy.data = ngx_pnalloc(pool, copy.len ? copy.len : 1);
    ngx_memcpy(copy.data, s, copy.len);

    return copy;
}


ngx_http_unit_code_e
policy_kit_request(policy_kit_t *kit, const char *method, const char *path,
    const char *body)
{
    ngx_int_t                     rc;
    ngx_str_t                     raw, text;
    const ngx_http_unit_route_t  *route;

    kit->op = NULL;
    kit->has_json = 0;
    kit->reason = "";

    raw = policy_kit_copy(kit->pool, path);

    if (ngx_http_unit_uri_canonical(kit->pool, &raw, &kit->uri) != NGX_OK) {
        kit->reason = kit->uri.reason;
        return NGX_HTTP_UNIT_INVALID_URI;
    }

    rc = ngx_http_unit_policy_route(kit->policy, &kit->uri,
                                    policy_kit_method(method), &route,
                                    &kit->allow);

    if (rc == NGX_ABORT) {
        return NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED;
    }

    if (rc != NGX_OK) {
        return kit->allow ? NGX_HTTP_UNIT_METHOD_NOT_ALLOWED
                          : NGX_HTTP_UNIT_UNKNOWN_OPERATION;
    }

    if (ngx_http_unit_policy_needs_body(route)) {

        text = policy_kit_copy(kit->pool, body ? body : "");

        if (ngx_http_unit_json_scan(kit->pool, text.data, text.len,
                                    ngx_http_unit_policy_watch(kit->policy),
                                    &kit->json)
            != NGX_OK)
        {
            kit->reason = kit->json.reason;
            return NGX_HTTP_UNIT_INVALID_BODY;
        }

        kit->has_json = 1;
    }

    kit->op = ngx_http_unit_policy_select(route,
                                          kit->has_json ? &kit->json : NULL);

    return kit->op ? NGX_HTTP_UNIT_ALLOWED
                   : NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;
}


const ngx_http_unit_operation_t *
policy_kit_find(policy_kit_t *kit, const char *name)
{
    ngx_str_t                         s;
    const ngx_http_unit_operation_t  *op;

    s.data = (u_char *) name;
    s.len = strlen(name);

    op = ngx_http_unit_policy_find(kit->policy, &s);

    if (op == NULL) {
        policy_kit_die(name);
    }

    return op;
}


static void
policy_kit_caller(policy_kit_t *kit, const char *words,
    ngx_http_unit_policy_caller_t *caller)
{
    size_t       len;
    ngx_int_t    i;
    ngx_str_t    name;
    ngx_uint_t   scopes;
    const char  *p;

    ngx_memzero(caller, sizeof(ngx_http_unit_policy_caller_t));

    scopes = 0;

    for (p = words; *p; p += len) {
        p += strspn(p, " ");
        len = strcspn(p, " ");

        if (len == 1 && *p == ':') {
            scopes = 1;

        } else if (scopes && len) {
            name.data = (u_char *) p;
            name.len = len;

            i = ngx_http_unit_policy_find_scope(kit->policy, &name);
            if (i < 0) {
                policy_kit_die(p);
            }

            ngx_http_unit_scopes_add(&caller->ceiling, (ngx_uint_t) i);

        } else if (len) {
            caller->org |= (strncmp(p, "org", len) == 0);
            caller->read_only |= (strncmp(p, "read_only", len) == 0);
            caller->no_role |= (strncmp(p, "no_role", len) == 0);
            caller->sandbox |= (strncmp(p, "sandbox", len) == 0);
        }
    }

    if (!scopes) {
        ngx_memset(&caller->ceiling, 0xff, sizeof(ngx_http_unit_scopes_t));
    }
}


ngx_http_unit_policy_verdict_t
policy_kit_decide(policy_kit_t *kit, const char *method, const char *path,
    const char *body, const char *caller, const char *rules)
{
    size_t                           len;
    ngx_uint_t                       i;
    ngx_http_unit_policy_rule_t     *rule;
    ngx_http_unit_policy_caller_t    c;
    ngx_http_unit_policy_verdict_t   v;

    ngx_memzero(&v, sizeof(v));

    v.scope = -1;
    v.reason = "request";
    v.code = policy_kit_request(kit, method, path, body);

    if (kit->op == NULL) {
        return v;
    }

    policy_kit_caller(kit, caller, &c);

    rule = ngx_pcalloc(kit->pool, ngx_http_unit_policy_noperations(kit->policy)
                                  * sizeof(ngx_http_unit_policy_rule_t));

    if (*rules) {
        len = strcspn(rules, " ");
        i = policy_kit_find(kit, rules + len + 1)->index;

        rule[i].allow = (strncmp(rules, "allow", len) == 0);
        rule[i].deny = (strncmp(rules, "deny", len) == 0);
        rule[i].two_factor = (strncmp(rules, "2fa", len) == 0);
    }

    ngx_http_unit_policy_decide(kit->policy, kit->op, rule, &c,
                                kit->has_json ? &kit->json : NULL, &v);

    return v;
}
