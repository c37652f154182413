
/*
 * The token broker: which token goes to Unit, from where it comes.
 */


#ifndef _NGX_HTTP_UNIT_TOKEN_H_INCLUDED_
#define _NGX_HTTP_UNIT_TOKEN_H_INCLUDED_


#include "ngx_http_unit.h"


/*
 * Set ctx->token to "Bearer ..." for the decided operation: the organisation
 * token, or a customer token from the store or newly created at Unit
 * (DESIGN 5.2).
 *
 * NGX_OK        done
 * NGX_AGAIN     waiting; call again when resumed
 * NGX_DECLINED  *code and *reason say why not
 * NGX_ERROR     answer 500
 */
ngx_int_t ngx_http_unit_token(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason);

/*
 * Get a customer token that covers the scopes: cached, or newly created.
 * Without ctx->flight it begins, with it it goes on.
 *
 *   scopes  at least one
 *   req     out, on NGX_OK: value is the token (wipe it after use), ttl its
 *           rest of life in ms
 *
 * NGX_OK, NGX_AGAIN, NGX_DECLINED (*code), NGX_ERROR
 */
ngx_int_t ngx_http_unit_token_customer(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, const ngx_http_unit_scopes_t *scopes,
    ngx_http_unit_store_req_t **req, ngx_http_unit_code_e *code);

/*
 * The key of the caller's tokens in the store.
 *
 *   verified  1: of those that were earned by two-factor authentication
 *   key       out, 32 bytes
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_token_key(ngx_http_unit_ctx_t *ctx,
    ngx_uint_t verified, u_char *key);

/* The same for one of the caller's customers, tokens not verified. */
ngx_int_t ngx_http_unit_token_key_of(const ngx_http_unit_identity_t *id,
    const ngx_str_t *customer, u_char *key);

/*
 * Read Unit's answer to the creation of a token (customerBearerToken).
 *
 *   answer   wiped
 *   token    out, in pool; the caller wipes it
 *   seconds  out, its life time, 1 to 86400
 *
 * NGX_OK, NGX_DECLINED (not such an answer), NGX_ERROR
 */
ngx_int_t ngx_http_unit_token_read(ngx_pool_t *pool, ngx_str_t *answer,
    ngx_str_t *token, time_t *seconds);

/*
 * ngx_http_unit_flight_parse_pt of token flights: an ordinary one, and one
 * that goes with the caller's own token as proof of a second factor, which
 * lives no longer than that counts and is not refreshed.
 */
ngx_int_t ngx_http_unit_token_parse(ngx_http_unit_flight_t *flight);
ngx_int_t ngx_http_unit_token_parse_jwt(ngx_http_unit_flight_t *flight);

/*
 * The names of a set of scopes, separated by spaces, in the order of the
 * table.  NGX_OK (in pool) or NGX_ERROR
 */
ngx_int_t ngx_http_unit_token_names(ngx_pool_t *pool,
    const ngx_http_unit_policy_t *policy, const ngx_http_unit_scopes_t *scopes,
    ngx_str_t *names);

/*
 * The internal URI of a call about the caller's customer.
 *
 *   tail  what follows "/customers/ID"
 *
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_token_uri(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, const char *tail, ngx_str_t *uri);

/*
 * Did the identity provider itself authenticate the user by a second factor,
 * and recently enough (two_factor jwt)?  Returns the seconds that this counts
 * on, or 0.
 */
time_t ngx_http_unit_token_jwt_verified(ngx_http_unit_ctx_t *ctx);

/*
 * Unit has answered 401 to ctx->token: forget it.
 *
 * Returns 1 when the request is to run through the phases again, either to be
 * sent once more with a new token or to be refused.
 */
ngx_uint_t ngx_http_unit_token_rejected(ngx_http_unit_ctx_t *ctx);

/*
 * Set *bearer to "Bearer " and the organisation token, in the request's pool
 * (the file may change while it is in use).  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_token_org(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_str_t *bearer);

/* ngx_http_unit_file_load_pt for unit_org_token_file; data is the secret. */
ngx_int_t ngx_http_unit_token_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason);


#endif /* _NGX_HTTP_UNIT_TOKEN_H_INCLUDED_ */
