
/*
 * What nginx adds to each line of the error log about the request: as much of
 * it as may be written down.
 */


#ifndef _NGX_HTTP_UNIT_LOG_H_INCLUDED_
#define _NGX_HTTP_UNIT_LOG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Handler of the post-read phase, the first there is: from here on the lines
 * about this request have no query and no referrer.
 *
 * NGX_DECLINED
 */
ngx_int_t ngx_http_unit_log_init(ngx_http_request_t *r);


#endif /* _NGX_HTTP_UNIT_LOG_H_INCLUDED_ */
