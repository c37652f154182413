
/*
 * Verifications under way: the client holds an opaque handle, the zone holds
 * Unit's verification token (DESIGN 5.3).  The handle itself is kept only as
 * a hash, under a key made of its owner: whoever is not the owner looks in
 * another place and finds nothing.
 */


#ifndef _NGX_HTTP_UNIT_HANDLE_H_INCLUDED_
#define _NGX_HTTP_UNIT_HANDLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_shm.h"


/* 256 random bits, base64url */
#define NGX_HTTP_UNIT_HANDLE_LEN       43

#define NGX_HTTP_UNIT_HANDLE_TTL       600000     /* ms, as Unit's code */
#define NGX_HTTP_UNIT_HANDLE_ATTEMPTS  5

/* what becomes of a handle with the last attempt that it has */
#define NGX_HTTP_UNIT_HANDLE_LOCKED    2

/* the longest verification token that can be kept */
#define NGX_HTTP_UNIT_HANDLE_TOKEN     4096


typedef enum {
    NGX_HTTP_UNIT_HANDLE_USED = 0,    /* the code was right: gone for good */
    NGX_HTTP_UNIT_HANDLE_WRONG,       /* Unit says it was not: counts */
    NGX_HTTP_UNIT_HANDLE_UNSEEN       /* Unit gave no verdict: does not count */
} ngx_http_unit_handle_outcome_e;


/*
 * Make a handle, and room for what it is going to stand for: a code is sent
 * only when it can be used.  Until then it is good for nothing.
 *
 *   owner   SHA-256 of partner, subject, session and customer
 *   handle  out, NGX_HTTP_UNIT_HANDLE_LEN bytes
 *
 * NGX_OK        to be followed by _keep() or _drop()
 * NGX_DECLINED  no room, and nothing may be evicted for it
 * NGX_ERROR     no random bytes
 */
ngx_int_t ngx_http_unit_handle_reserve(ngx_http_unit_shm_t *shm,
    const u_char *owner, u_char *handle);

/*
 * Let a reserved handle stand for Unit's verification token, which is wiped
 * when the record goes.
 *
 * NGX_OK        it is good now, for NGX_HTTP_UNIT_HANDLE_TTL
 * NGX_DECLINED  it has gone meanwhile: the session was logged out
 * NGX_ERROR     no room for a token as long as this
 */
ngx_int_t ngx_http_unit_handle_keep(ngx_http_unit_shm_t *shm,
    const u_char *owner, u_char *handle, ngx_str_t *token);

/* Forget a reserved handle: no code was sent. */
void ngx_http_unit_handle_drop(ngx_http_unit_shm_t *shm, const u_char *owner,
    u_char *handle);

/*
 * Take a handle for one attempt.  While it is taken nobody else can take it;
 * the attempt is counted at once, so that a worker that dies in between has
 * used it up.
 *
 *   handle  as given by the client, any length
 *   pool    for *token
 *
 * NGX_OK        *token is Unit's; give the handle back with _return()
 * NGX_DECLINED  unknown, expired, somebody else's, used up or taken
 * NGX_ERROR     no memory
 */
ngx_int_t ngx_http_unit_handle_take(ngx_http_unit_shm_t *shm,
    const u_char *owner, ngx_str_t *handle, ngx_pool_t *pool,
    ngx_str_t *token);

/*
 * Give a taken handle back.
 *
 * Returns 1, or NGX_HTTP_UNIT_HANDLE_LOCKED when this wrong code was the last
 * that it can have, or 0 when it has gone meanwhile: the session was logged
 * out, the attempts of others have killed it, its time is over.  Then even a
 * right code has come too late.
 */
ngx_uint_t ngx_http_unit_handle_return(ngx_http_unit_shm_t *shm,
    const u_char *owner, ngx_str_t *handle,
    ngx_http_unit_handle_outcome_e outcome);

/*
 * Count an attempt that need not be put to Unit to be known as wrong.
 * Returns as ngx_http_unit_handle_return().
 */
ngx_uint_t ngx_http_unit_handle_wrong(ngx_http_unit_shm_t *shm,
    const u_char *owner, ngx_str_t *handle);

/*
 * Wipe, from time to time, what has expired: Unit's tokens are kept no longer
 * than they can be used.
 */
void ngx_http_unit_handle_init_process(ngx_cycle_t *cycle,
    ngx_http_unit_shm_t *shm);

/* Forget all verifications of an owner (logout). */
void ngx_http_unit_handle_forget(ngx_http_unit_shm_t *shm,
    const u_char *owner);


#endif /* _NGX_HTTP_UNIT_HANDLE_H_INCLUDED_ */
