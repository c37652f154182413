
/*
 * The one place where responses of our own are made (DESIGN section 9,
 * RFC 6750, RFC 9470, JSON:API errors).
 */


#ifndef _NGX_HTTP_UNIT_ERROR_H_INCLUDED_
#define _NGX_HTTP_UNIT_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_unit_code.h"


/*
 * Refuse the main request: discards its body, sends the error document and
 * finalizes the request.  Takes the scope, the allowed methods and the request
 * id from the context; logs reason (a stable word, may be NULL) at the level
 * of unit_log_level.
 *
 * Always NGX_DONE, for the phase handler to return.
 */
ngx_int_t ngx_http_unit_error(ngx_http_request_t *r,
    ngx_http_unit_code_e code, const char *reason);

/*
 * Refuse a main request that an internal redirect of the configuration has led
 * into the gateway, after it had been there: with the error that an error_page
 * was meant for, or because it may not.  Always NGX_DONE.
 */
ngx_int_t ngx_http_unit_error_redirected(ngx_http_request_t *r);

/*
 * Send a JSON document of our own (a success).
 *
 *   status  200, 201; 204 sends no body
 *   body    must live as long as the request
 *
 * Always NGX_DONE.
 */
ngx_int_t ngx_http_unit_answer(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body);

/*
 * Content handler of "unit_error": nginx's own errors as error documents, by
 * way of error_page.
 */
ngx_int_t ngx_http_unit_error_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_UNIT_ERROR_H_INCLUDED_ */
