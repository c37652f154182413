
/*
 * The state machine of a request.
 */


#ifndef _NGX_HTTP_UNIT_PHASE_H_INCLUDED_
#define _NGX_HTTP_UNIT_PHASE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Preaccess phase handler.  Returns NGX_DECLINED (go on; never NGX_OK, which
 * would skip limit_req, STYLE P3), NGX_AGAIN or NGX_DONE, or a status.
 */
ngx_int_t ngx_http_unit_phase_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_UNIT_PHASE_H_INCLUDED_ */
