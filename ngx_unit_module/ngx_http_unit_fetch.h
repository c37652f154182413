
/*
 * Transport: one request to Unit (or to a key server) as an in-memory
 * subrequest through an internal location, with a header list of its own
 * (STYLE P14 to P18).
 */


#ifndef _NGX_HTTP_UNIT_FETCH_H_INCLUDED_
#define _NGX_HTTP_UNIT_FETCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_unit_code.h"
#include "ngx_http_unit_upstream.h"


typedef enum {
    NGX_HTTP_UNIT_FETCH_OK = 0,         /* there is a complete answer */
    NGX_HTTP_UNIT_FETCH_UNAVAILABLE,    /* no connection, or it was cut */
    NGX_HTTP_UNIT_FETCH_TIMEOUT,
    NGX_HTTP_UNIT_FETCH_INVALID,        /* not HTTP, or not all of it */
    NGX_HTTP_UNIT_FETCH_LIMITED         /* not sent, see code */
} ngx_http_unit_fetch_e;


typedef struct ngx_http_unit_fetch_s  ngx_http_unit_fetch_t;

struct ngx_http_unit_fetch_s {
    /* the request; all strings must live as long as the main request */
    ngx_uint_t                method;         /* NGX_HTTP_GET or _POST */
    ngx_str_t                 uri;            /* internal location + path */
    ngx_str_t                 args;
    ngx_str_t                 authorization;  /* "Bearer ...", may be empty */
    ngx_str_t                 request_id;
    ngx_str_t                 body;           /* JSON:API, may be empty */
    unsigned                  background:1;   /* the client does not wait */
    unsigned                  repeatable:1;   /* does no harm twice: may be
                                                 sent once more if a kept
                                                 connection is closed */

    /* called once when it is over, in the context of the subrequest */
    void                    (*handler)(ngx_http_unit_fetch_t *fetch);
    void                     *data;

    /* the answer */
    ngx_http_unit_fetch_e     error;
    ngx_uint_t                status;         /* HTTP status, when OK */
    ngx_str_t                 answer;         /* its body, not terminated */
    time_t                    max_age;        /* of Cache-Control, or -1 */
    ngx_http_unit_code_e      code;           /* why a limit has refused it */
    unsigned                  done:1;
    unsigned                  sent:1;         /* Unit may have seen it */

    /* private */
    ngx_http_unit_upstream_t  upstream;
    off_t                     received;       /* bytes of body so far */
};


/*
 * Start a fetch from the main request r.  The main request is resumed by the
 * core after the handler was called (phases are run again).
 *
 * NGX_OK or NGX_ERROR (nothing was started, the handler will not be called)
 */
ngx_int_t ngx_http_unit_fetch_start(ngx_http_request_t *r,
    ngx_http_unit_fetch_t *fetch);


#endif /* _NGX_HTTP_UNIT_FETCH_H_INCLUDED_ */
