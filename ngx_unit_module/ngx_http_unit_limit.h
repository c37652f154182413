
/*
 * Limits on verification starts: each costs a message to somebody's phone
 * (DESIGN 5.3).  Counted in the shared zone; a record is never evicted, and
 * when there is no room for one the start is refused.
 */


#ifndef _NGX_HTTP_UNIT_LIMIT_H_INCLUDED_
#define _NGX_HTTP_UNIT_LIMIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_shm.h"


/*
 * Count a start, both for the customer (3 per 10 min, 10 per day) and for the
 * client's address (60 per 10 min; IPv6 by /64), in one step: either both are
 * counted or none is.
 *
 *   retry_after  seconds, on NGX_DECLINED
 *
 * NGX_OK, NGX_DECLINED (too many, or no room to count), NGX_ERROR
 */
ngx_int_t ngx_http_unit_limit_start(ngx_http_unit_shm_t *shm,
    ngx_str_t *customer, struct sockaddr *addr, time_t *retry_after);

/*
 * Take a start back: Unit has refused it and sent no message.
 *
 *   addr  NULL when it goes on counting for the address, which it does when
 *         the client itself may be the cause
 */
void ngx_http_unit_limit_undo(ngx_http_unit_shm_t *shm, ngx_str_t *customer,
    struct sockaddr *addr);


#endif /* _NGX_HTTP_UNIT_LIMIT_H_INCLUDED_ */
