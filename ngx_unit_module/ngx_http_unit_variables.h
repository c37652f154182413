
/*
 * Variables for log formats (DESIGN section 9).
 */


#ifndef _NGX_HTTP_UNIT_VARIABLES_H_INCLUDED_
#define _NGX_HTTP_UNIT_VARIABLES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Register the variables; for preconfiguration.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_unit_variables_add(ngx_conf_t *cf);


#endif /* _NGX_HTTP_UNIT_VARIABLES_H_INCLUDED_ */
