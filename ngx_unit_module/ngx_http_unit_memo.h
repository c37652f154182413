
/*
 * The last partner token of a client's connection, and its hash: a client
 * sends the same token with request after request, and to compare costs a
 * twentieth of hashing.  What the hash is used for stays the same.
 */


#ifndef _NGX_HTTP_UNIT_MEMO_H_INCLUDED_
#define _NGX_HTTP_UNIT_MEMO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"


/*
 * SHA-256 of a token, computed or remembered.
 *
 *   c      the client's connection; its pool owns the memory, wiped at its end
 *   token  not empty
 *   key    the hash, on NGX_OK
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_memo_key(ngx_connection_t *c, const ngx_str_t *token,
    u_char key[NGX_HTTP_UNIT_SHA256_LEN]);


#endif /* _NGX_HTTP_UNIT_MEMO_H_INCLUDED_ */
