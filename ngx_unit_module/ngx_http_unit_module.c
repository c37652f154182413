
/*
 * The module: directives, configuration life cycle, handlers.  No logic: that
 * is in the other files, see ngx_http_unit.h for where.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_conf.h"
#include "ngx_http_unit_handle.h"
#include "ngx_http_unit_header.h"
#include "ngx_http_unit_log.h"
#include "ngx_http_unit_idem.h"
#include "ngx_http_unit_metrics.h"
#include "ngx_http_unit_phase.h"
#include "ngx_http_unit_status.h"
#include "ngx_http_unit_variables.h"


static ngx_int_t ngx_http_unit_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_unit_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_unit_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_unit_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_unit_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_unit_init_process(ngx_cycle_t *cycle);


static ngx_conf_enum_t  ngx_http_unit_token_scopes[] = {
    { ngx_string("minimal"), NGX_HTTP_UNIT_SCOPES_MINIMAL },
    { ngx_string("ceiling"), NGX_HTTP_UNIT_SCOPES_CEILING },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_unit_limits[] = {
    { ngx_string("off"), NGX_HTTP_UNIT_LIMITS_OFF },
    { ngx_string("on"), NGX_HTTP_UNIT_LIMITS_ON },
    { ngx_string("dry_run"), NGX_HTTP_UNIT_LIMITS_DRY_RUN },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_unit_idempotency[] = {
    { ngx_string("off"), NGX_HTTP_UNIT_IDEM_OFF },
    { ngx_string("on"), NGX_HTTP_UNIT_IDEM_ON },
    { ngx_string("require"), NGX_HTTP_UNIT_IDEM_REQUIRE },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_unit_idempotency_full[] = {
    { ngx_string("refuse"), NGX_HTTP_UNIT_IDEM_REFUSE },
    { ngx_string("pass"), NGX_HTTP_UNIT_IDEM_PASS },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_unit_log_levels[] = {
    { ngx_string("info"), NGX_LOG_INFO },
    { ngx_string("notice"), NGX_LOG_NOTICE },
    { ngx_string("warn"), NGX_LOG_WARN },
    { ngx_string("error"), NGX_LOG_ERR },
    { ngx_null_string, 0 }
};


static ngx_conf_post_t  ngx_http_unit_token_lifetime = {
    ngx_http_unit_conf_lifetime
};


static ngx_conf_post_t  ngx_http_unit_token_wait = {
    ngx_http_unit_conf_wait
};


static ngx_command_t  ngx_http_unit_commands[] = {

    { ngx_string("unit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_unit_conf_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_operations"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_unit_conf_operations,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_org_token_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_unit_conf_org_token,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_org_token_request"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_unit_main_conf_t, broker),
      NULL },

    { ngx_string("unit_partner"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_unit_conf_partner,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_gateway"),
      NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_unit_conf_gateway,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, enable),
      NULL },

    { ngx_string("unit_sandbox"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, sandbox),
      NULL },

    { ngx_string("unit_limits"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, limits),
      &ngx_http_unit_limits },

    { ngx_string("unit_budget"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_unit_budget_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_limit"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_unit_budget_set_limit,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_breaker"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_unit_budget_set_breaker,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_token_handoff"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_unit_conf_names,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, handoff_names),
      NULL },

    { ngx_string("unit_token_scopes"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, token_scopes),
      &ngx_http_unit_token_scopes },

    { ngx_string("unit_idempotency"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, idempotency),
      &ngx_http_unit_idempotency },

    { ngx_string("unit_idempotency_full"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, idempotency_full),
      &ngx_http_unit_idempotency_full },

    { ngx_string("unit_idempotency_secret_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_unit_conf_secret,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_token_lifetime"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, token_lifetime),
      &ngx_http_unit_token_lifetime },

    { ngx_string("unit_token_wait"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, token_wait),
      &ngx_http_unit_token_wait },

    { ngx_string("unit_allow"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_unit_conf_names,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, allow),
      NULL },

    { ngx_string("unit_deny"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_unit_conf_names,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, deny),
      NULL },

    { ngx_string("unit_require_2fa"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_unit_conf_names,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, require_2fa),
      NULL },

    { ngx_string("unit_pass_header"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_unit_conf_names,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, pass_headers),
      NULL },

    { ngx_string("unit_log_level"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_unit_loc_conf_t, log_level),
      &ngx_http_unit_log_levels },

    { ngx_string("unit_error"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_unit_conf_error,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("unit_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_unit_status_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_unit_module_ctx = {
    ngx_http_unit_preconfiguration,        /* preconfiguration */
    ngx_http_unit_postconfiguration,       /* postconfiguration */

    ngx_http_unit_create_main_conf,        /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_unit_create_loc_conf,         /* create location configuration */
    ngx_http_unit_merge_loc_conf           /* merge location configuration */
};


ngx_module_t  ngx_http_unit_module = {
    NGX_MODULE_V1,
    &ngx_http_unit_module_ctx,             /* module context */
    ngx_http_unit_commands,                /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_unit_init_process,            /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_unit_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_unit_variables_add(cf);
}


static ngx_int_t
ngx_http_unit_postconfiguration(ngx_conf_t *cf)
{
    const char                 *missing;
    ngx_http_handler_pt        *h;
    ngx_http_unit_main_conf_t  *umcf;
    ngx_http_core_main_conf_t  *cmcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_unit_module);

    if (umcf->gateway.name.len == 0) {
        return NGX_OK;
    }

    missing = umcf->shm == NULL ? "\"%V\" needs \"unit_zone\""
              : umcf->policy == NULL ? "\"%V\" needs \"unit_operations\""
              : umcf->partners.nelts == 0 ? "\"%V\" needs \"unit_partner\""
              : umcf->org_token == NULL ? "\"%V\" needs \"unit_org_token_file\""
              : (umcf->broker.len < 2 || umcf->broker.data[0] != '/')
                ? "\"%V\" needs \"unit_org_token_request\" with the name of "
                  "an internal location"
              : NULL;

    if (missing) {
        ngx_http_unit_conf_error_at(cf, &umcf->gateway, missing);
        return NGX_ERROR;
    }

    if (umcf->broker.data[umcf->broker.len - 1] == '/') {
        umcf->broker.len--;
    }

    if (ngx_http_unit_conf_partners(cf, umcf) != NGX_OK
        || ngx_http_unit_conf_servers(cf, umcf) != NGX_OK
        || ngx_http_unit_conf_default_secret(cf, umcf) != NGX_OK
        || ngx_http_unit_budget_init_conf(cf, umcf) != NGX_OK
        || ngx_http_unit_upstream_init(cf) != NGX_OK
        || ngx_http_unit_metrics_init(cf, umcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    umcf->store = &ngx_http_unit_store_shm;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_unit_phase_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_unit_log_init;

    return NGX_OK;
}


static void *
ngx_http_unit_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_unit_main_conf_t  *umcf;

    umcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_main_conf_t));
    if (umcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     umcf->shm = NULL;
     *     umcf->store = NULL;
     *     umcf->policy = NULL;
     *     umcf->org_token = NULL;
     *     umcf->idem_secret = NULL;
     *     umcf->metrics = NULL;
     *     umcf->status = 0;
     *     umcf->broker = { 0, NULL };
     *     umcf->gateway = { { 0, NULL }, { 0, NULL }, 0 };
     */

    umcf->budget = ngx_http_unit_budget_create_conf(cf);
    if (umcf->budget == NULL) {
        return NULL;
    }

    if (ngx_array_init(&umcf->partners, cf->pool, 4,
                       sizeof(ngx_http_unit_partner_t))
        != NGX_OK
        || ngx_array_init(&umcf->servers, cf->pool, 4,
                          sizeof(ngx_http_unit_server_t))
           != NGX_OK
        || ngx_array_init(&umcf->files, cf->pool, 4,
                          sizeof(ngx_http_unit_file_t *))
           != NGX_OK
        || ngx_array_init(&umcf->upstreams, cf->pool, 4,
                          sizeof(ngx_http_unit_upstream_peer_t))
           != NGX_OK)
    {
        return NULL;
    }

    return umcf;
}


static void *
ngx_http_unit_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_unit_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->status = 0;
     *     conf->rules = NULL;
     *     conf->headers = NULL;
     *     conf->handoff = { { 0, 0 } };
     */

    conf->enable = NGX_CONF_UNSET;
    conf->sandbox = NGX_CONF_UNSET;
    conf->limits = NGX_CONF_UNSET_UINT;
    conf->token_scopes = NGX_CONF_UNSET_UINT;
    conf->idempotency = NGX_CONF_UNSET_UINT;
    conf->idempotency_full = NGX_CONF_UNSET_UINT;
    conf->log_level = NGX_CONF_UNSET_UINT;
    conf->token_wait = NGX_CONF_UNSET_MSEC;
    conf->token_lifetime = NGX_CONF_UNSET;
    conf->allow = NGX_CONF_UNSET_PTR;
    conf->deny = NGX_CONF_UNSET_PTR;
    conf->require_2fa = NGX_CONF_UNSET_PTR;
    conf->pass_headers = NGX_CONF_UNSET_PTR;
    conf->handoff_names = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_unit_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_unit_loc_conf_t  *prev = parent;
    ngx_http_unit_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_unit_main_conf_t  *umcf;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->sandbox, prev->sandbox, 0);
    ngx_conf_merge_uint_value(conf->limits, prev->limits,
                              NGX_HTTP_UNIT_LIMITS_ON);
    ngx_conf_merge_uint_value(conf->token_scopes, prev->token_scopes,
                              NGX_HTTP_UNIT_SCOPES_MINIMAL);
    ngx_conf_merge_uint_value(conf->idempotency, prev->idempotency,
                              NGX_HTTP_UNIT_IDEM_ON);
    ngx_conf_merge_uint_value(conf->idempotency_full, prev->idempotency_full,
                              NGX_HTTP_UNIT_IDEM_REFUSE);
    ngx_conf_merge_uint_value(conf->log_level, prev->log_level, NGX_LOG_INFO);
    ngx_conf_merge_msec_value(conf->token_wait, prev->token_wait, 5000);
    ngx_conf_merge_sec_value(conf->token_lifetime, prev->token_lifetime, 3600);
    ngx_conf_merge_ptr_value(conf->allow, prev->allow, NULL);
    ngx_conf_merge_ptr_value(conf->deny, prev->deny, NULL);
    ngx_conf_merge_ptr_value(conf->require_2fa, prev->require_2fa, NULL);
    ngx_conf_merge_ptr_value(conf->pass_headers, prev->pass_headers, NULL);
    ngx_conf_merge_ptr_value(conf->handoff_names, prev->handoff_names, NULL);

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_unit_module);

    if (ngx_http_unit_conf_rules(cf, umcf, conf) != NGX_OK
        || ngx_http_unit_conf_handoff(cf, umcf, conf) != NGX_OK
        || ngx_http_unit_status_check(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (!conf->enable || conf->status) {
        return NGX_CONF_OK;
    }

    if (ngx_http_unit_upstream_check(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    conf->headers = ngx_http_unit_header_list(cf, conf->pass_headers);
    if (conf->headers == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->client_body_buffer_size < 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"client_body_buffer_size\" below 1m makes "
                           "\"unit_gateway\" write bodies to disk, include "
                           "unit_proxy.conf");
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_unit_init_process(ngx_cycle_t *cycle)
{
    ngx_http_unit_main_conf_t  *umcf;

    /* also called in the cache manager and loader (STYLE P31) */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    umcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_unit_module);

    if (umcf == NULL || umcf->store == NULL) {
        return NGX_OK;
    }

    if (ngx_http_unit_header_init_process(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_unit_flight_init_process();
    ngx_http_unit_file_init_process(cycle, &umcf->files);
    ngx_http_unit_handle_init_process(cycle, umcf->shm);

    return NGX_OK;
}
