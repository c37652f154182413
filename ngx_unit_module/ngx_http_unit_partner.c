
/*
 * unit_partner NAME { ... }: a block with directives of its own.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_conf.h"
#include "ngx_http_unit_keys.h"


#define NGX_HTTP_UNIT_PARTNER_MAX_LEEWAY  300
#define NGX_HTTP_UNIT_PARTNER_MAX_AGE     86400


/* what has been said so far inside a block */
typedef struct {
    ngx_http_unit_main_conf_t  *umcf;
    ngx_http_unit_partner_t    *partner;
    ngx_str_t                   jwks;
    ngx_str_t                   jwks_request;
    unsigned                    issuer:1;
    unsigned                    audience:1;
    unsigned                    leeway:1;
    unsigned                    customer:1;
    unsigned                    scopes:1;
    unsigned                    two_factor:1;
    unsigned                    token:1;
} ngx_http_unit_partner_block_t;


typedef char *(*ngx_http_unit_partner_set_pt)(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);

typedef struct {
    ngx_str_t                     name;
    ngx_uint_t                    min;      /* number of values */
    ngx_uint_t                    max;
    ngx_http_unit_partner_set_pt  set;
} ngx_http_unit_partner_command_t;


static char *ngx_http_unit_partner_line(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);
static char *ngx_http_unit_partner_issuer(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_audience(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_jwks(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_leeway(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_customer(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_role(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_session(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_scopes(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_two_factor(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_token(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_weight(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);
static char *ngx_http_unit_partner_claim(ngx_conf_t *cf, ngx_str_t *claim);
static char *ngx_http_unit_partner_done(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block);


static const ngx_http_unit_partner_command_t
    ngx_http_unit_partner_commands[] =
{
    { ngx_string("issuer"), 1, 1, ngx_http_unit_partner_issuer },
    { ngx_string("audience"), 1, 1, ngx_http_unit_partner_audience },
    { ngx_string("jwks"), 1, 1, ngx_http_unit_partner_jwks },
    { ngx_string("jwks_request"), 1, 1, ngx_http_unit_partner_jwks },
    { ngx_string("leeway"), 1, 1, ngx_http_unit_partner_leeway },
    { ngx_string("customer"), 1, 1, ngx_http_unit_partner_customer },
    { ngx_string("role"), 1, 1, ngx_http_unit_partner_role },
    { ngx_string("session"), 1, 1, ngx_http_unit_partner_session },
    { ngx_string("scopes"), 1, NGX_HTTP_UNIT_SCOPE_MAX,
      ngx_http_unit_partner_scopes },
    { ngx_string("two_factor"), 1, 3, ngx_http_unit_partner_two_factor },
    { ngx_string("token"), 1, 1, ngx_http_unit_partner_token },
    { ngx_string("weight"), 1, 1, ngx_http_unit_partner_weight },
    { ngx_null_string, 0, 0, NULL }
};


char *
ngx_http_unit_conf_partner(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    char                           *rv;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_conf_t                      save;
    ngx_http_unit_partner_t        *partner;
    ngx_http_unit_partner_block_t   block;

    value = cf->args->elts;
    partner = umcf->partners.elts;

    for (i = 0; i < umcf->partners.nelts; i++) {
        if (partner[i].name.len == value[1].len
            && ngx_memcmp(partner[i].name.data, value[1].data, value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate unit_partner \"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    partner = ngx_array_push(&umcf->partners);
    if (partner == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(partner, sizeof(ngx_http_unit_partner_t));

    partner->name = value[1];

    if (umcf->gateway.name.len == 0) {
        ngx_http_unit_conf_word(cf, &value[0], &umcf->gateway);
    }

    if (ngx_array_init(&partner->scopes, cf->pool, 8,
                       sizeof(ngx_http_unit_name_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&block, sizeof(ngx_http_unit_partner_block_t));

    block.umcf = umcf;
    block.partner = partner;

    save = *cf;
    cf->handler = ngx_http_unit_partner_line;
    cf->handler_conf = (void *) &block;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_unit_partner_done(cf, &block);
}


static char *
ngx_http_unit_partner_line(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    ngx_http_unit_partner_block_t  *block = conf;

    char                                   *rv;
    ngx_str_t                              *value;
    const ngx_http_unit_partner_command_t  *cmd;

    value = cf->args->elts;

    for (cmd = ngx_http_unit_partner_commands; cmd->name.len; cmd++) {

        if (cmd->name.len != value[0].len
            || ngx_memcmp(cmd->name.data, value[0].data, value[0].len) != 0)
        {
            continue;
        }

        if (cf->args->nelts - 1 < cmd->min || cf->args->nelts - 1 > cmd->max) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of arguments in \"%V\" "
                               "directive of unit_partner", &value[0]);
            return NGX_CONF_ERROR;
        }

        rv = cmd->set(cf, block);

        if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
            return rv;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive of unit_partner %s",
                           &value[0], rv);
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive \"%V\" in unit_partner", &value[0]);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_unit_partner_issuer(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_str_t                *value;
    ngx_uint_t                i;
    ngx_http_unit_partner_t  *partner;

    if (block->issuer) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "is empty";
    }

    /* the one being made is the last of the array */

    partner = block->umcf->partners.elts;

    for (i = 0; i < block->umcf->partners.nelts - 1; i++) {
        if (partner[i].rules.issuer.len == value[1].len
            && ngx_memcmp(partner[i].rules.issuer.data, value[1].data,
                          value[1].len)
               == 0)
        {
            return "is the issuer of another unit_partner, too";
        }
    }

    block->issuer = 1;
    block->partner->rules.issuer = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_unit_partner_audience(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_str_t  *value;

    if (block->audience) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "is empty";
    }

    block->audience = 1;

    if (ngx_strcmp(value[1].data, "off") != 0) {
        block->partner->rules.audience = value[1];
    }

    return NGX_CONF_OK;
}


/* jwks and jwks_request */

static char *
ngx_http_unit_partner_jwks(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_str_t  *value;

    if (block->jwks.len || block->jwks_request.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "jwks") == 0) {

        if (value[1].len == 0) {
            return "is empty";
        }

        block->jwks = value[1];

    } else {

        if (value[1].len == 0 || value[1].data[0] != '/') {
            return "must name an internal location";
        }

        block->jwks_request = value[1];
    }

    /* a file is read here, so that an error names this line */

    return ngx_http_unit_keys_init(cf, block->partner, &block->jwks,
                                   &block->jwks_request)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_unit_partner_leeway(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    time_t      leeway;
    ngx_str_t  *value;

    if (block->leeway) {
        return "is duplicate";
    }

    value = cf->args->elts;

    leeway = ngx_parse_time(&value[1], 1);

    if (leeway == (time_t) NGX_ERROR
        || leeway > NGX_HTTP_UNIT_PARTNER_MAX_LEEWAY)
    {
        return "must be a time of at most 5m";
    }

    block->leeway = 1;
    block->partner->rules.leeway = leeway;

    return NGX_CONF_OK;
}


static char *
ngx_http_unit_partner_customer(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_str_t  *value;

    if (block->customer) {
        return "is duplicate";
    }

    block->customer = 1;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "lookup") == 0) {
        block->partner->lookup = 1;
        return NGX_CONF_OK;
    }

    return ngx_http_unit_partner_claim(cf,
                                       &block->partner->rules.customer_claim);
}


static char *
ngx_http_unit_partner_role(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    return ngx_http_unit_partner_claim(cf, &block->partner->rules.role_claim);
}


static char *
ngx_http_unit_partner_session(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    return ngx_http_unit_partner_claim(cf,
                                       &block->partner->rules.session_claim);
}


static char *
ngx_http_unit_partner_claim(ngx_conf_t *cf, ngx_str_t *claim)
{
    ngx_str_t  *value;

    if (claim->len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len <= 6 || ngx_strncmp(value[1].data, "claim=", 6) != 0) {
        return "must be claim=NAME";
    }

    claim->data = value[1].data + 6;
    claim->len = value[1].len - 6;

    return NGX_CONF_OK;
}


static char *
ngx_http_unit_partner_scopes(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_str_t             *value;
    ngx_uint_t             i;
    ngx_http_unit_name_t  *word;

    value = cf->args->elts;

    if (block->partner->all
        || (block->scopes && ngx_strcmp(value[1].data, "all") == 0))
    {
        return "has both \"all\" and names";
    }

    block->scopes = 1;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "all") == 0) {
        block->partner->all = 1;
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        word = ngx_array_push(&block->partner->scopes);
        if (word == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_http_unit_conf_word(cf, &value[i], word);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_unit_partner_two_factor(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    if (block->two_factor) {
        return "is duplicate";
    }

    block->two_factor = 1;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "otp") == 0) {
        return cf->args->nelts == 2 ? NGX_CONF_OK : "otp takes no parameters";
    }

    if (ngx_strcmp(value[1].data, "jwt") != 0) {
        return "must be \"otp\" or \"jwt\"";
    }

    block->partner->two_factor_jwt = 1;
    block->partner->max_age = NGX_HTTP_UNIT_PARTNER_MAX_AGE;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "amr=", 4) == 0 && value[i].len > 4) {
            block->partner->rules.amr_value.data = value[i].data + 4;
            block->partner->rules.amr_value.len = value[i].len - 4;
            continue;
        }

        if (ngx_strncmp(value[i].data, "max_age=", 8) == 0) {
            s.data = value[i].data + 8;
            s.len = value[i].len - 8;

            block->partner->max_age = ngx_parse_time(&s, 1);

            /* NGX_ERROR is below 0 */

            if (block->partner->max_age > 0
                && block->partner->max_age <= NGX_HTTP_UNIT_PARTNER_MAX_AGE)
            {
                continue;
            }

            return "needs a max_age of at most 24h";
        }

        return "has an unknown parameter";
    }

    if (block->partner->rules.amr_value.len == 0) {
        return "jwt needs amr=VALUE";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_unit_partner_token(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_str_t  *value;

    if (block->token) {
        return "is duplicate";
    }

    block->token = 1;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "org") == 0) {
        block->partner->org = 1;
        return NGX_CONF_OK;
    }

    return ngx_strcmp(value[1].data, "customer") == 0
           ? NGX_CONF_OK : "must be \"customer\" or \"org\"";
}


static char *
ngx_http_unit_partner_weight(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    ngx_int_t   n;
    ngx_str_t  *value;

    if (block->partner->weight) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n == 0 || n > 1000) {
        return "must be a number from 1 to 1000";
    }

    block->partner->weight = (ngx_uint_t) n;

    return NGX_CONF_OK;
}


static char *
ngx_http_unit_partner_done(ngx_conf_t *cf,
    ngx_http_unit_partner_block_t *block)
{
    const char                *missing;
    ngx_http_unit_file_t     **file;
    ngx_http_unit_partner_t   *partner;

    partner = block->partner;

    missing = !block->issuer ? "issuer"
              : !block->audience ? "audience"
              : (!block->jwks.len && !block->jwks_request.len) ? "jwks"
              : !block->scopes ? "scopes"
              : (!block->customer && !partner->org) ? "customer"
              : NULL;

    if (missing) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unit_partner \"%V\" has no \"%s\" directive",
                           &partner->name, missing);
        return NGX_CONF_ERROR;
    }

    if (partner->org && (block->customer || block->two_factor)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unit_partner \"%V\" with \"token org\" can have "
                           "neither \"customer\" nor \"two_factor\"",
                           &partner->name);
        return NGX_CONF_ERROR;
    }

    if (partner->keys->file) {

        file = ngx_array_push(&block->umcf->files);
        if (file == NULL) {
            return NGX_CONF_ERROR;
        }

        *file = partner->keys->file;
    }

    return ngx_http_unit_jwt_rules_init(cf->pool, &partner->rules) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}
