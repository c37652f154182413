
/*
 * Hooks on stock upstreams: refuses answers that are not HTTP, keeps Unit from
 * steering nginx by X-Accel-*, sets the timeout of the operation's class and
 * what may be sent twice, starts the replay after a 401, and tells the limits
 * how Unit is.
 */


#ifndef _NGX_HTTP_UNIT_UPSTREAM_H_INCLUDED_
#define _NGX_HTTP_UNIT_UPSTREAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* what the hooks know of one use of an upstream */
typedef struct {
    ngx_int_t   (*process_header)(ngx_http_request_t *r);
    ngx_int_t   (*reinit_request)(ngx_http_request_t *r);
    void        (*finalize_request)(ngx_http_request_t *r, ngx_int_t rc);
    ngx_msec_t    timeout;        /* for the answer, 0: as configured */
    ngx_uint_t    nstates;        /* of r->upstream_states, counted so far */
    unsigned      hooked:1;
    unsigned      write:1;        /* never sent a second time by nginx, nor
                                     broken off when the client leaves */
    unsigned      repeatable:1;   /* once, if a kept connection is closed */
    unsigned      invalid:1;      /* the answer was not HTTP */
    unsigned      answered:1;     /* a whole header came */
    unsigned      counted:1;      /* a call to Unit, limits are on */
    unsigned      probe:1;        /* of the circuit */
} ngx_http_unit_upstream_t;


/* an element of umcf->upstreams, for the array's creation */
typedef struct {
    ngx_http_upstream_srv_conf_t    *uscf;
    ngx_http_upstream_init_peer_pt   init;     /* what was wrapped */
} ngx_http_unit_upstream_peer_t;


/*
 * Wrap peer.init of every upstream of the configuration.  To be called in
 * postconfiguration, when all upstreams are initialised.
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_upstream_init(ngx_conf_t *cf);

/*
 * Refuse what cannot go together with unit_gateway in one location: caches,
 * whose keys know nothing of customers, and a proxy_pass with variables, whose
 * upstreams need not be among those that are wrapped.  To be called when the
 * location is merged.
 *
 * NGX_OK, or NGX_ERROR after logging through cf
 */
ngx_int_t ngx_http_unit_upstream_check(ngx_conf_t *cf);


#endif /* _NGX_HTTP_UNIT_UPSTREAM_H_INCLUDED_ */
