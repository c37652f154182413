
/*
 * Put an idempotency key into a JSON:API body, or take it out, without
 * touching any other byte.  Pure: works on the scanner's offsets.
 */


#ifndef _NGX_HTTP_UNIT_SPLICE_H_INCLUDED_
#define _NGX_HTTP_UNIT_SPLICE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json.h"


/* where a key is, or where one belongs, in one "attributes" object */
typedef struct {
    ngx_http_unit_json_hit_t  *attributes;  /* the object */
    ngx_http_unit_json_hit_t  *key;         /* its idempotencyKey, or NULL */
    ngx_str_t                  value;       /* to put in: plain ASCII without
                                               quotes and backslashes */
} ngx_http_unit_splice_t;


/*
 * Copy a text with the keys put in: the value of a key that is there is
 * replaced, else a member becomes the first of the object.
 *
 *   text     the body as scanned
 *   places   n, in the order of their place in the text
 *   out      in pool
 *
 * NGX_OK or NGX_ERROR (no memory)
 */
ngx_int_t ngx_http_unit_splice_put(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_unit_splice_t *places, ngx_uint_t n, ngx_str_t *out);

/*
 * Copy a text without the members of the keys: the white space before each
 * goes with it, and one comma, so that taking out what put() has put in gives
 * the original bytes, as does taking out what was written in their style.
 */
ngx_int_t ngx_http_unit_splice_cut(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_unit_splice_t *places, ngx_uint_t n, ngx_str_t *out);


#endif /* _NGX_HTTP_UNIT_SPLICE_H_INCLUDED_ */
