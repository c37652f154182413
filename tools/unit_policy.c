
/*
 * unit-policy: asks the policy code of the gateway, the very same that the
 * module is built from, without a gateway.  docs/policy.md has examples.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "unit_policy.h"


#define UNIT_POLICY_MAX_FILE  (64 * 1024 * 1024)


typedef struct {
    const char   *name;
    int         (*set)(unit_policy_t *up, char *value);
} unit_policy_option_t;


static int unit_policy_usage(void);
static int unit_policy_load(unit_policy_t *up, const char *name);
static int unit_policy_read(ngx_pool_t *pool, const char *name, ngx_str_t *out);
static int unit_policy_options(unit_policy_t *up, int argc, char **argv);
static int unit_policy_arguments(unit_policy_t *up, int argc, char **argv);
static int unit_policy_set_role(unit_policy_t *up, char *value);
static int unit_policy_set_scopes(unit_policy_t *up, char *value);
static int unit_policy_set_customer(unit_policy_t *up, char *value);
static int unit_policy_set_allow(unit_policy_t *up, char *value);
static int unit_policy_set_deny(unit_policy_t *up, char *value);
static int unit_policy_set_require_2fa(unit_policy_t *up, char *value);
static ngx_http_unit_policy_rule_t *unit_policy_rule(unit_policy_t *up,
    char *value);
static int unit_policy_list(unit_policy_t *up);


static const unit_policy_option_t  unit_policy_values[] = {
    { "--operations",  NULL },                   /* read before the others */
    { "--role",        unit_policy_set_role },
    { "--scopes",      unit_policy_set_scopes },
    { "--customer",    unit_policy_set_customer },
    { "--allow",       unit_policy_set_allow },
    { "--deny",        unit_policy_set_deny },
    { "--require-2fa", unit_policy_set_require_2fa },
    { NULL, NULL }
};


int
main(int argc, char **argv)
{
    int            rc, i;
    const char    *table;
    unit_policy_t  up;

    if (argc < 2) {
        return unit_policy_usage();
    }

    ngx_memzero(&up, sizeof(unit_policy_t));

    up.pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, NULL);
    if (up.pool == NULL) {
        return 2;
    }

    table = "conf/operations.json";

    for (i = 2; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--operations") == 0) {
            table = argv[i + 1];
        }
    }

    rc = 2;

    if (strcmp(argv[1], "check") == 0 && argc == 3) {
        rc = unit_policy_load(&up, argv[2]);

        if (rc == 0) {
            printf("%s: %lu operations, %lu scopes\n", argv[2],
                   (unsigned long) ngx_http_unit_policy_noperations(up.policy),
                   (unsigned long) ngx_http_unit_policy_nscopes(up.policy));
        }

    } else if (strcmp(argv[1], "list") == 0) {

        if (unit_policy_load(&up, table) == 0
            && unit_policy_arguments(&up, argc, argv) == 0)
        {
            rc = up.method.data ? unit_policy_usage() : unit_policy_list(&up);
        }

    } else if (strcmp(argv[1], "explain") == 0) {

        if (unit_policy_load(&up, table) == 0
            && unit_policy_arguments(&up, argc, argv) == 0)
        {
            rc = up.target.data ? unit_policy_explain(&up)
                                : unit_policy_usage();
        }

    } else {
        rc = unit_policy_usage();
    }

    ngx_destroy_pool(up.pool);

    return rc;
}


static int
unit_policy_usage(void)
{
    fprintf(stderr,
        "usage: unit-policy explain METHOD PATH [BODY|@FILE] [option ...]\n"
        "       unit-policy list [--operations FILE]\n"
        "       unit-policy check FILE\n"
        "options:\n"
        "  --operations FILE     table (conf/operations.json)\n"
        "  --role ROLE           Admin, ReadOnly, or any other word\n"
        "  --scopes \"A B\"|all    the caller's ceiling (all)\n"
        "  --org                 a partner with \"token org\"\n"
        "  --sandbox             \"unit_sandbox on\"\n"
        "  --customer ID         the caller's customer: check who is named\n"
        "  --allow NAME          \"unit_allow NAME\"\n"
        "  --deny NAME           \"unit_deny NAME\"\n"
        "  --require-2fa NAME    \"unit_require_2fa NAME\"\n"
        "exit: 0 allowed, 1 denied, 2 neither\n");

    return 2;
}


static int
unit_policy_load(unit_policy_t *up, const char *name)
{
    ngx_int_t   rc;
    ngx_str_t   text, error;
    ngx_uint_t  i;

    if (unit_policy_read(up->pool, name, &text) != 0) {
        return 2;
    }

    rc = ngx_http_unit_policy_load(up->pool, text.data, text.len, &up->policy,
                                   &error);

    if (rc == NGX_DECLINED) {
        fprintf(stderr, "%s: %.*s\n", name, (int) error.len, error.data);
        return 1;
    }

    if (rc != NGX_OK) {
        fprintf(stderr, "%s: no memory\n", name);
        return 2;
    }

    up->rules = ngx_pcalloc(up->pool,
                            ngx_http_unit_policy_noperations(up->policy)
                            * sizeof(ngx_http_unit_policy_rule_t));
    if (up->rules == NULL) {
        return 2;
    }

    for (i = 0; i < ngx_http_unit_policy_nscopes(up->policy); i++) {
        ngx_http_unit_scopes_add(&up->caller.ceiling, i);
    }

    return 0;
}


static int
unit_policy_read(ngx_pool_t *pool, const char *name, ngx_str_t *out)
{
    long   size;
    FILE  *f;

    f = fopen(name, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", name, strerror(errno));
        return 2;
    }

    if (fseek(f, 0, SEEK_END) != 0) {
        goto failed;
    }

    size = ftell(f);

    if (size < 0 || size > UNIT_POLICY_MAX_FILE || fseek(f, 0, SEEK_SET) != 0) {
        goto failed;
    }

    out->data = ngx_pnalloc(pool, size + 1);
    if (out->data == NULL) {
        goto failed;
    }

    out->len = fread(out->data, 1, size, f);

    if (out->len != (size_t) size) {
        goto failed;
    }

    fclose(f);

    return 0;

failed:

    fclose(f);
    fprintf(stderr, "%s: cannot be read\n", name);

    return 2;
}


static int
unit_policy_arguments(unit_policy_t *up, int argc, char **argv)
{
    int         i, rc;
    ngx_str_t  *next;

    next = &up->method;

    for (i = 2; i < argc; i++) {

        if (strncmp(argv[i], "--", 2) == 0) {

            rc = unit_policy_options(up, argc - i, &argv[i]);
            if (rc < 0) {
                return 2;
            }

            i += rc;
            continue;
        }

        if (next == NULL) {
            return unit_policy_usage();
        }

        next->data = (u_char *) argv[i];
        next->len = strlen(argv[i]);

        if (next == &up->body && argv[i][0] == '@'
            && unit_policy_read(up->pool, argv[i] + 1, &up->body) != 0)
        {
            return 2;
        }

        if (next == &up->method) {
            next = &up->target;

        } else if (next == &up->target) {
            next = &up->body;

        } else {
            next = NULL;
        }
    }

    return 0;
}


/* one option; returns how many words its value took, -1 for an error */

static int
unit_policy_options(unit_policy_t *up, int argc, char **argv)
{
    const unit_policy_option_t  *o;

    if (strcmp(argv[0], "--org") == 0) {
        up->caller.org = 1;
        return 0;
    }

    if (strcmp(argv[0], "--sandbox") == 0) {
        up->caller.sandbox = 1;
        return 0;
    }

    for (o = unit_policy_values; o->name; o++) {

        if (strcmp(argv[0], o->name) != 0) {
            continue;
        }

        if (argc < 2) {
            fprintf(stderr, "%s needs a value\n", o->name);
            return -1;
        }

        if (o->set != NULL && o->set(up, argv[1]) != 0) {
            return -1;
        }

        return 1;
    }

    fprintf(stderr, "unknown option %s\n", argv[0]);

    return -1;
}


static int
unit_policy_set_role(unit_policy_t *up, char *value)
{
    up->caller.read_only = (strcmp(value, "ReadOnly") == 0);
    up->caller.no_role = (!up->caller.read_only && strcmp(value, "Admin") != 0);

    return 0;
}


static int
unit_policy_set_scopes(unit_policy_t *up, char *value)
{
    ngx_int_t  i;
    ngx_str_t  name;

    if (strcmp(value, "all") == 0) {
        return 0;
    }

    ngx_http_unit_scopes_zero(&up->caller.ceiling);

    for ( ;; ) {
        value += strspn(value, " ");

        name.data = (u_char *) value;
        name.len = strcspn(value, " ");

        if (name.len == 0) {
            return 0;
        }

        i = ngx_http_unit_policy_find_scope(up->policy, &name);

        if (i == NGX_DECLINED) {
            fprintf(stderr, "unknown scope \"%.*s\"\n", (int) name.len, value);
            return 2;
        }

        ngx_http_unit_scopes_add(&up->caller.ceiling, (ngx_uint_t) i);

        value += name.len;
    }
}


static int
unit_policy_set_customer(unit_policy_t *up, char *value)
{
    up->customer.data = (u_char *) value;
    up->customer.len = strlen(value);

    return 0;
}


static ngx_http_unit_policy_rule_t *
unit_policy_rule(unit_policy_t *up, char *value)
{
    ngx_str_t                         name;
    const ngx_http_unit_operation_t  *op;

    name.data = (u_char *) value;
    name.len = strlen(value);

    op = ngx_http_unit_policy_find(up->policy, &name);

    if (op == NULL) {
        fprintf(stderr, "unknown operation \"%s\"\n", value);
        return NULL;
    }

    return &up->rules[op->index];
}


static int
unit_policy_set_allow(unit_policy_t *up, char *value)
{
    ngx_http_unit_policy_rule_t  *rule;

    rule = unit_policy_rule(up, value);

    if (rule != NULL) {
        rule->allow = 1;
    }

    return rule == NULL;
}


static int
unit_policy_set_deny(unit_policy_t *up, char *value)
{
    ngx_http_unit_policy_rule_t  *rule;

    rule = unit_policy_rule(up, value);

    if (rule != NULL) {
        rule->deny = 1;
    }

    return rule == NULL;
}


static int
unit_policy_set_require_2fa(unit_policy_t *up, char *value)
{
    ngx_http_unit_policy_rule_t  *rule;

    rule = unit_policy_rule(up, value);

    if (rule != NULL) {
        rule->two_factor = 1;
    }

    return rule == NULL;
}


static int
unit_policy_list(unit_policy_t *up)
{
    ngx_uint_t                           i, j;
    const ngx_http_unit_operation_t     *op;
    const ngx_http_unit_policy_scope_t  *scope;

    static const char  *tokens[] = { "both", "org", "customer" };
    static const char  *defaults[] = { "allow", "deny", "org_only", "sandbox",
                                       "pci" };

    printf("%-40s %-6s %-60s %-8s %-8s %-3s %s\n", "operation", "method",
           "path", "token", "default", "sec", "scopes");

    for (i = 0; i < ngx_http_unit_policy_noperations(up->policy); i++) {
        op = ngx_http_unit_policy_operation(up->policy, i);

        printf("%-40.*s %-6s %-60.*s %-8s %-8s %3lu",
               (int) op->name.len, op->name.data,
               unit_policy_method(op->method),
               (int) op->path.len, op->path.data,
               tokens[op->token], defaults[op->dflt],
               (unsigned long) op->timeout);

        for (j = 0; j < op->nscopes; j++) {
            scope = ngx_http_unit_policy_scope(up->policy, op->scopes[j]);
            printf(" %.*s", (int) scope->name.len, scope->name.data);
        }

        printf("%s\n", op->nscopes ? "" : " -");
    }

    return 0;
}
