
/*
 * PLANTED MISTAKES.  The negative control of the sanitizer and valgrind jobs:
 * each of them sends one request for each mistake, and fails unless its tool
 * reports it (t/plant/plant.t).  No other build contains this file.
 *
 *     location = /plant { unit_plant; }
 *
 * /plant?heap writes one byte behind an allocation, /plant?int overflows a
 * signed integer, /plant?uninit takes a decision on a byte that nobody wrote.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#if !(NGX_HTTP_UNIT_PLANT)
#error "ngx_http_unit_plant_module is for the negative controls alone"
#endif


static ngx_int_t ngx_http_unit_plant_handler(ngx_http_request_t *r);
static char *ngx_http_unit_plant(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_unit_plant_commands[] = {

    { ngx_string("unit_plant"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_unit_plant,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_unit_plant_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_unit_plant_module = {
    NGX_MODULE_V1,
    &ngx_http_unit_plant_module_ctx,       /* module context */
    ngx_http_unit_plant_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_unit_plant_handler(ngx_http_request_t *r)
{
    u_char              *p;
    volatile ngx_int_t   n;

    p = ngx_pnalloc(r->pool, r->uri.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (r->args.len) {

    case sizeof("heap") - 1:
        p[r->uri.len] = '\0';
        break;

    case sizeof("int") - 1:
        n = NGX_MAX_INT_T_VALUE;
        n += (ngx_int_t) r->method;
        break;

    case sizeof("uninit") - 1:
        if (p[0] == '/') {
            return NGX_HTTP_NOT_FOUND;
        }

        break;
    }

    return NGX_HTTP_NO_CONTENT;
}


static char *
ngx_http_unit_plant(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_unit_plant_handler;

    return NGX_CONF_OK;
}
