
/*
 * Directive setters, see ngx_http_unit_conf.h.  Everything that is wrong is
 * said by "nginx -t", with file and line.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_conf.h"
#include "ngx_http_unit_error.h"
#include "ngx_http_unit_token.h"


#define NGX_HTTP_UNIT_CONF_OPERATIONS_MAX  (16 * 1024 * 1024)


/* what ngx_http_unit_file_add() is told to do with an operations table */
typedef struct {
    ngx_pool_t              *pool;
    ngx_http_unit_policy_t  *policy;
    ngx_str_t                error;
} ngx_http_unit_conf_table_t;


static ngx_int_t ngx_http_unit_conf_table(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason);
static ngx_int_t ngx_http_unit_conf_rule(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf, ngx_http_unit_policy_rule_t *rules,
    ngx_array_t *names, ngx_uint_t which);


char *
ngx_http_unit_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t  *value, name, s;

    if (umcf->shm) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "zone=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    name.data = value[1].data + 5;
    p = (u_char *) ngx_strchr(name.data, ':');

    if (p == NULL || p == name.data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    name.len = p - name.data;

    s.data = p + 1;
    s.len = value[1].data + value[1].len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    umcf->shm = ngx_http_unit_shm_add(cf, &name, size, &ngx_http_unit_module);

    return umcf->shm ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_unit_conf_operations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    ngx_str_t                   *value;
    ngx_http_unit_conf_table_t   table;

    if (umcf->policy) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_memzero(&table, sizeof(ngx_http_unit_conf_table_t));
    table.pool = cf->pool;

    /* read once: what requests may do changes with a reload only */

    if (ngx_http_unit_file_add(cf, &value[1],
                               NGX_HTTP_UNIT_CONF_OPERATIONS_MAX,
                               ngx_http_unit_conf_table, &table)
        == NULL)
    {
        if (table.error.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "operations table: %V",
                               &table.error);
        }

        return NGX_CONF_ERROR;
    }

    umcf->policy = table.policy;

    return NGX_CONF_OK;
}


/* ngx_http_unit_file_load_pt */

static ngx_int_t
ngx_http_unit_conf_table(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason)
{
    ngx_http_unit_conf_table_t  *table = data;

    *reason = "is not a good operations table";

    return ngx_http_unit_policy_load(table->pool, text, len, &table->policy,
                                     &table->error);
}


char *
ngx_http_unit_conf_org_token(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    ngx_str_t              *value;
    ngx_http_unit_file_t   *file, **p;

    if (umcf->org_token) {
        return "is duplicate";
    }

    value = cf->args->elts;

    umcf->org_token = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_secret_t));
    p = ngx_array_push(&umcf->files);

    if (umcf->org_token == NULL || p == NULL) {
        return NGX_CONF_ERROR;
    }

    /* room for the white space at its end */

    file = ngx_http_unit_file_add(cf, &value[1],
                                  NGX_HTTP_UNIT_SECRET_MAX + 64,
                                  ngx_http_unit_token_load, umcf->org_token);
    if (file == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = file;

    return NGX_CONF_OK;
}


char *
ngx_http_unit_conf_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    ngx_str_t              *value;
    ngx_http_unit_file_t   *file, **p;

    if (umcf->idem_secret) {
        return "is duplicate";
    }

    value = cf->args->elts;

    umcf->idem_secret = ngx_pcalloc(cf->pool,
                                    sizeof(ngx_http_unit_idem_secret_t));
    p = ngx_array_push(&umcf->files);

    if (umcf->idem_secret == NULL || p == NULL) {
        return NGX_CONF_ERROR;
    }

    file = ngx_http_unit_file_add(cf, &value[1], NGX_HTTP_UNIT_SECRET_MAX,
                                  ngx_http_unit_idem_key_load,
                                  umcf->idem_secret);
    if (file == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = file;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_unit_conf_default_secret(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf)
{
    ngx_str_t                     fields[2];
    ngx_http_unit_idem_secret_t  *secret;

    if (umcf->idem_secret) {
        return NGX_OK;
    }

    secret = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_idem_secret_t));
    if (secret == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&fields[0], "idempotency-secret");
    fields[1].data = umcf->org_token->data;
    fields[1].len = umcf->org_token->len;

    if (ngx_http_unit_sha256(fields, 2, 0, secret->data) != NGX_OK) {
        return NGX_ERROR;
    }

    secret->len = NGX_HTTP_UNIT_SHA256_LEN;

    umcf->idem_secret = secret;

    return NGX_OK;
}


char *
ngx_http_unit_conf_gateway(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_loc_conf_t  *ulcf = conf;

    char                       *rv;
    ngx_str_t                  *value;
    ngx_http_unit_server_t     *server;
    ngx_http_unit_main_conf_t  *umcf;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK || !ulcf->enable) {
        return rv;
    }

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_unit_module);

    server = ngx_array_push(&umcf->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    ngx_http_unit_conf_word(cf, &value[0], &server->word);

    server->conf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    if (umcf->gateway.name.len == 0) {
        umcf->gateway = server->word;
    }

    return NGX_CONF_OK;
}


/* a list of names, to be looked up when the table is there */

char *
ngx_http_unit_conf_names(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t             *value;
    ngx_uint_t             i;
    ngx_array_t          **names;
    ngx_http_unit_name_t  *word;

    names = (ngx_array_t **) (p + cmd->offset);

    if (*names == NGX_CONF_UNSET_PTR) {
        *names = ngx_array_create(cf->pool, 4, sizeof(ngx_http_unit_name_t));
        if (*names == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        word = ngx_array_push(*names);
        if (word == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_http_unit_conf_word(cf, &value[i], word);
    }

    return NGX_CONF_OK;
}


char *
ngx_http_unit_conf_lifetime(ngx_conf_t *cf, void *post, void *data)
{
    time_t  *sp = data;

    return (*sp < 60 || *sp > 86400) ? "must be between 1m and 24h"
                                     : NGX_CONF_OK;
}


char *
ngx_http_unit_conf_wait(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t  *msp = data;

    return (*msp == 0 || *msp > 60000) ? "must be between 1ms and 60s"
                                       : NGX_CONF_OK;
}


char *
ngx_http_unit_conf_error(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    clcf->handler = ngx_http_unit_error_handler;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_unit_conf_rules(ngx_conf_t *cf, ngx_http_unit_main_conf_t *umcf,
    ngx_http_unit_loc_conf_t *ulcf)
{
    ngx_uint_t                    n;
    ngx_http_unit_policy_rule_t  *rules;

    if (umcf->policy == NULL
        || (ulcf->allow == NULL && ulcf->deny == NULL
            && ulcf->require_2fa == NULL))
    {
        return NGX_OK;
    }

    n = ngx_http_unit_policy_noperations(umcf->policy);

    rules = ngx_pcalloc(cf->pool, n * sizeof(ngx_http_unit_policy_rule_t));
    if (rules == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_unit_conf_rule(cf, umcf, rules, ulcf->allow, 0) != NGX_OK
        || ngx_http_unit_conf_rule(cf, umcf, rules, ulcf->deny, 1) != NGX_OK
        || ngx_http_unit_conf_rule(cf, umcf, rules, ulcf->require_2fa, 2)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ulcf->rules = rules;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_conf_rule(ngx_conf_t *cf, ngx_http_unit_main_conf_t *umcf,
    ngx_http_unit_policy_rule_t *rules, ngx_array_t *names, ngx_uint_t which)
{
    ngx_uint_t                        i;
    ngx_http_unit_name_t             *word;
    const ngx_http_unit_operation_t  *op;

    if (names == NULL) {
        return NGX_OK;
    }

    word = names->elts;

    for (i = 0; i < names->nelts; i++) {

        op = ngx_http_unit_policy_find(umcf->policy, &word[i].name);

        if (op == NULL) {
            ngx_http_unit_conf_error_at(cf, &word[i],
                                        "unknown operation \"%V\"");
            return NGX_ERROR;
        }

        switch (which) {

        case 0:
            if (op->dflt == NGX_HTTP_UNIT_POLICY_PCI) {
                ngx_http_unit_conf_error_at(cf, &word[i],
                              "operation \"%V\" handles card data and cannot "
                              "be allowed");
                return NGX_ERROR;
            }

            rules[op->index].allow = 1;
            break;

        case 1:
            if (rules[op->index].allow) {
                ngx_http_unit_conf_error_at(cf, &word[i],
                              "operation \"%V\" is both allowed and denied");
                return NGX_ERROR;
            }

            rules[op->index].deny = 1;
            break;

        default: /* 2 */
            rules[op->index].two_factor = 1;
            break;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_conf_handoff(ngx_conf_t *cf, ngx_http_unit_main_conf_t *umcf,
    ngx_http_unit_loc_conf_t *ulcf)
{
    ngx_int_t                            n;
    ngx_uint_t                           i;
    ngx_http_unit_name_t                *word;
    const ngx_http_unit_policy_scope_t  *scope;

    if (umcf->policy == NULL || ulcf->handoff_names == NULL) {
        return NGX_OK;
    }

    word = ulcf->handoff_names->elts;

    for (i = 0; i < ulcf->handoff_names->nelts; i++) {

        n = ngx_http_unit_policy_find_scope(umcf->policy, &word[i].name);

        if (n < 0) {
            ngx_http_unit_conf_error_at(cf, &word[i], "unknown scope \"%V\"");
            return NGX_ERROR;
        }

        scope = ngx_http_unit_policy_scope(umcf->policy, (ngx_uint_t) n);

        if (!scope->pci) {
            ngx_http_unit_conf_error_at(cf, &word[i],
                              "\"unit_token_handoff\" is for card data and "
                              "may not hand out \"%V\"");
            return NGX_ERROR;
        }

        ngx_http_unit_scopes_add(&ulcf->handoff, (ngx_uint_t) n);
    }

    return NGX_OK;
}


void
ngx_http_unit_conf_word(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_unit_name_t *word)
{
    word->name = *value;
    word->line = cf->conf_file ? cf->conf_file->line : 0;

    ngx_str_null(&word->file);

    if (cf->conf_file) {
        word->file = cf->conf_file->file.name;
    }
}


void
ngx_http_unit_conf_error_at(ngx_conf_t *cf, ngx_http_unit_name_t *word,
    const char *fmt)
{
    u_char     buf[NGX_MAX_CONF_ERRSTR];
    ngx_str_t  text;

    text.data = buf;
    text.len = ngx_snprintf(buf, sizeof(buf), fmt, &word->name) - buf;

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%V in %V:%ui", &text,
                  &word->file, word->line);
}
