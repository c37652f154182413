
/*
 * Retries (DESIGN section 7): of what may be repeated, a few times, within the
 * time that the operation has, with full jitter.
 */


#ifndef _NGX_HTTP_UNIT_RETRY_H_INCLUDED_
#define _NGX_HTTP_UNIT_RETRY_H_INCLUDED_


#include "ngx_http_unit.h"


#define NGX_HTTP_UNIT_RETRY_ATTEMPTS  3


/*
 * An attempt has failed: is there to be another one?
 *
 *   status       of the answer; 0 when there was none
 *   retry_after  value of Unit's Retry-After, may be empty
 *
 * Returns 1, with ctx->retry set and the time of the next attempt fixed; 0
 * when the failure is final.
 */
ngx_uint_t ngx_http_unit_retry_plan(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_uint_t status, ngx_str_t *retry_after);

/*
 * Wait for that time.  A step of the state machine: NGX_OK when it has come,
 * else NGX_AGAIN (resumed then) or NGX_ERROR.
 */
ngx_int_t ngx_http_unit_retry_wait(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);


#endif /* _NGX_HTTP_UNIT_RETRY_H_INCLUDED_ */
