
/*
 * An answer of Unit's after which the request is sent once more: a 401, with a
 * new token, or one that the retries are for.  The answer is dropped and the
 * request runs through the phases again, by a redirect of the core's.
 */


#ifndef _NGX_HTTP_UNIT_REPLAY_H_INCLUDED_
#define _NGX_HTTP_UNIT_REPLAY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Look at an answer's head, which has just been read into r->upstream, and
 * prepare the redirect if the request is to be sent once more.  Of the main
 * request only.
 *
 * NGX_OK (either way) or NGX_ERROR
 */
ngx_int_t ngx_http_unit_replay(ngx_http_request_t *r);

/*
 * This use of the upstream ends in another way than by our redirect: whatever
 * redirect comes now is somebody else's.
 */
void ngx_http_unit_replay_forget(ngx_http_request_t *r);

/* The answer's Retry-After, in the buffer of u; empty if there is none. */
ngx_str_t ngx_http_unit_replay_retry_after(ngx_http_upstream_t *u);


#endif /* _NGX_HTTP_UNIT_REPLAY_H_INCLUDED_ */
