
/*
 * The key set of a partner in this process: from a file that is watched, or
 * fetched from a URL through an internal location and shared by the workers.
 */


#ifndef _NGX_HTTP_UNIT_KEYS_H_INCLUDED_
#define _NGX_HTTP_UNIT_KEYS_H_INCLUDED_


#include "ngx_http_unit.h"


/* how often a process looks in the store for a newer remote set, in ms */
#define NGX_HTTP_UNIT_KEYS_CHECK  1000


/* run-time state of one process, allocated at configuration time */
struct ngx_http_unit_keys_s {
    ngx_http_unit_jwks_t  *set;          /* in force; NULL: none yet (remote) */
    u_char                 fingerprint[NGX_HTTP_UNIT_SHA256_LEN];
                                         /* of the set: changes with it */
    ngx_http_unit_file_t  *file;         /* NULL when remote */
    ngx_msec_t             loaded;       /* when the set was put in force */

    /* remote sets only */
    ngx_str_t              uri;          /* internal location */
    u_char                 key[NGX_HTTP_UNIT_SHA256_LEN];     /* in the store */
    u_char                 unknown[NGX_HTTP_UNIT_SHA256_LEN]; /* its marker */
    u_char                 text[NGX_HTTP_UNIT_SHA256_LEN];    /* last loaded */
    ngx_msec_t             checked;      /* when the store was looked at */
    ngx_msec_t             fetched;      /* when the set was fetched */
    ngx_uint_t             loads;
    ngx_uint_t             failures;
    ngx_msec_t             failed;       /* when, the last time */
};


/*
 * Set up a partner's keys at configuration time.
 *
 *   file  name of a key set, read and parsed now; or
 *   uri   internal location to fetch it from, when a request needs it
 *
 * NGX_OK, or NGX_ERROR after logging through cf.
 */
ngx_int_t ngx_http_unit_keys_init(ngx_conf_t *cf,
    ngx_http_unit_partner_t *partner, ngx_str_t *file, ngx_str_t *uri);

/*
 * Make sure that the partner's set is there and, when it is remote, not
 * stale.  Nothing to do for files.
 *
 * NGX_OK        partner->keys->set is usable until control returns to the
 *               event loop
 * NGX_AGAIN     being fetched: call again when the request is resumed
 * NGX_DECLINED  cannot be had: 503 broker_unavailable
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_keys_current(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_partner_t *partner);

/*
 * A token names a key that the set does not have: fetch a remote set again,
 * at most once per 30 s on this machine whoever asks.
 *
 * NGX_OK        the set may be newer now: try once more
 * NGX_AGAIN     being fetched
 * NGX_DECLINED  no: the token is refused
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_keys_unknown(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_partner_t *partner);


#endif /* _NGX_HTTP_UNIT_KEYS_H_INCLUDED_ */
