
/*
 * The calls about a customer's token that the gateway answers itself (DESIGN
 * 5.3, 5.4): start of a verification, token, status, logout.
 */


#ifndef _NGX_HTTP_UNIT_TWO_FACTOR_H_INCLUDED_
#define _NGX_HTTP_UNIT_TWO_FACTOR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit.h"
#include "ngx_http_unit_handle.h"


#define NGX_HTTP_UNIT_TWO_FACTOR_MAX_AGE  86400   /* s, Unit's and ours */


/* one call; in the request's pool */
struct ngx_http_unit_two_factor_s {
    ngx_http_unit_ctx_t     *ctx;
    ngx_http_unit_fetch_t    fetch;
    u_char                   owner[NGX_HTTP_UNIT_SHA256_LEN];

    /* what the client asks for */
    ngx_http_unit_scopes_t   scopes;
    ngx_str_t                handle;
    time_t                   expires_in;   /* 0: not said */

    u_char                   reserved[NGX_HTTP_UNIT_HANDLE_LEN];

    /* the outcome: code and reason, or the document to answer with */
    ngx_http_unit_code_e     code;
    const char              *reason;
    ngx_str_t                answer;

    unsigned                 fetching:1;
    unsigned                 plain:1;      /* a token without verification */
    unsigned                 taken:1;      /* the handle is ours now */
    unsigned                 handoff:1;    /* the token itself is the answer */
};


/*
 * Serve such a call; a step of the state machine, see _phase.c.
 *
 * NGX_AGAIN, NGX_DONE (answered), NGX_DECLINED (*code, *reason), NGX_ERROR
 */
ngx_int_t ngx_http_unit_two_factor(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * The members that the error document of two_factor_required has besides the
 * usual ones: the scopes, and a link to the call that starts a verification
 * (none where the identity provider does it).
 *
 *   names    of scopes, separated by spaces, may be empty
 *   members  out, in the request's pool: begins with a comma, or is empty
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_two_factor_hint(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_str_t *names, ngx_str_t *members);

/*
 * The attributes of the request body.  The body is strict JSON already.
 *
 *   type   what data.type has to be
 *   names  the attributes that there may be, ended by NULL
 *   root   out, on NGX_OK: to be released with json_decref()
 *
 * Returns the attributes, or NULL with *code and *reason.
 */
json_t *ngx_http_unit_two_factor_attributes(ngx_http_unit_ctx_t *ctx,
    const char *type, const char **names, json_t **root,
    ngx_http_unit_code_e *code, const char **reason);

/*
 * Send a call to Unit with the organisation token; phases run again when it
 * is over.
 *
 *   tail  of the URI, behind /customers/ID
 *   body  is sent as JSON
 *
 * NGX_AGAIN or NGX_ERROR
 */
ngx_int_t ngx_http_unit_two_factor_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, const char *tail, json_t *body,
    void (*handler)(ngx_http_unit_fetch_t *fetch));

/*
 * What an answer of Unit's that is no success means whichever call it was
 * for.  Sets tf->code and tf->reason, and returns 1; 0 when it is about the
 * content of the request (a 4xx), which the caller has to judge.
 */
ngx_uint_t ngx_http_unit_two_factor_failed(ngx_http_unit_two_factor_t *tf);

/*
 * POST /customers/ID/token/verification.  As ngx_http_unit_two_factor().
 */
ngx_int_t ngx_http_unit_verification(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * POST /customers/ID/token.  As ngx_http_unit_two_factor(); called again for
 * a token without verification, whose flight takes its time.
 */
ngx_int_t ngx_http_unit_session(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, ngx_http_unit_code_e *code,
    const char **reason);

/*
 * The same with a verification; fields and scopes are checked already.
 */
ngx_int_t ngx_http_unit_otp(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes,
    ngx_http_unit_code_e *code, const char **reason);

/*
 * Make tf->answer of what the client is to go on with: its own token, or with
 * tf->handoff Unit's.
 *
 *   seconds  the life time of Unit's token
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_session_answer(ngx_http_unit_two_factor_t *tf,
    ngx_str_t *token, time_t seconds);


#endif /* _NGX_HTTP_UNIT_TWO_FACTOR_H_INCLUDED_ */
