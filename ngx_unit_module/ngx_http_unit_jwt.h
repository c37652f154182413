
/*
 * Compact JWS tokens (RFC 7515, 7519, 8725), RS256 only.  Splits, verifies,
 * then reads claims; nothing in a token chooses the algorithm or the key's
 * origin.  Pure: key sets and clock are given by the caller.
 */


#ifndef _NGX_HTTP_UNIT_JWT_H_INCLUDED_
#define _NGX_HTTP_UNIT_JWT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json.h"
#include "ngx_http_unit_jwk.h"


#define NGX_HTTP_UNIT_JWT_MAX_LEN        8192
#define NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS  64


/* what a partner demands of a token; built at configuration time, const */
typedef struct {
    ngx_str_t                    issuer;
    ngx_str_t                    audience;        /* empty: not checked */
    ngx_str_t                    customer_claim;  /* empty: none */
    ngx_str_t                    role_claim;
    ngx_str_t                    session_claim;
    ngx_str_t                    amr_value;       /* two_factor jwt amr=... */
    time_t                       leeway;          /* seconds */
    ngx_http_unit_json_watch_t  *watch;           /* rules_init() fills these */
    ngx_int_t                    id_iss, id_sub, id_exp, id_nbf, id_iat,
                                 id_aud, id_customer, id_role, id_session,
                                 id_auth_time, id_amr, id_item;
} ngx_http_unit_jwt_rules_t;


/* a token split and its header read, nothing verified */
typedef struct {
    ngx_str_t    signed_part;   /* header.payload, into the token */
    ngx_str_t    payload;       /* decoded, in pool */
    ngx_str_t    signature;     /* decoded, in pool */
    ngx_str_t    kid;
    ngx_uint_t   has_kid;
    const char  *reason;        /* stable word for the log, on NGX_DECLINED */

    /* what was found in the payload by these rules' claims; NULL: not yet */
    const ngx_http_unit_jwt_rules_t *rules;
    ngx_http_unit_json_t             json;
} ngx_http_unit_jwt_t;


typedef struct {
    ngx_str_t    subject;
    ngx_str_t    customers[NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS];
    ngx_uint_t   ncustomers;    /* claim was a string: 1; array: its length */
    ngx_str_t    role;          /* empty when absent */
    ngx_uint_t   has_role;      /* present, whatever its type */
    ngx_str_t    session;       /* empty when absent */
    time_t       exp;
    time_t       auth_time;     /* 0 when absent or not a sane number */
    ngx_uint_t   amr;           /* 1: amr holds amr_value */
    const char  *reason;
} ngx_http_unit_jwt_claims_t;


/*
 * Split a token and read its header strictly: three non-empty canonical
 * base64url parts, at most NGX_HTTP_UNIT_JWT_MAX_LEN bytes, a JSON object
 * without duplicate members whose "alg" is the string RS256, without "crit"
 * in any form, without "b64", "kid" absent or a string of 1 to
 * NGX_HTTP_UNIT_JWK_MAX_KID bytes.  typ, jku, x5u, jwk, x5c are ignored.
 *
 * NGX_OK
 * NGX_DECLINED  not such a token; out->reason: jwt_too_long, jwt_malformed,
 *               jwt_header, jwt_alg, jwt_crit (also b64), jwt_kid
 * NGX_ERROR     no memory
 */
ngx_int_t ngx_http_unit_jwt_split(ngx_pool_t *pool, const ngx_str_t *token,
    ngx_http_unit_jwt_t *out);

/*
 * The issuer claim of a split but UNVERIFIED token: only to choose whose keys
 * to try.  Never use it for anything else.
 *
 *   rules  those that the token is likely to be checked by: all their claims
 *          are found on the way, and ngx_http_unit_jwt_claims() with the same
 *          rules need not scan again
 *
 * NGX_OK, NGX_DECLINED (payload no strict JSON object, or no string iss),
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_jwt_issuer_unsafe(ngx_pool_t *pool,
    ngx_http_unit_jwt_t *jwt, const ngx_http_unit_jwt_rules_t *rules,
    ngx_str_t *issuer);

/*
 * Verify the signature with the key that the token names.
 *
 * NGX_OK        good; *key is the key
 * NGX_DECLINED  jwt->reason: jwt_key_unknown (no such key in the set: the
 *               caller may re-fetch the set) or jwt_signature
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_jwt_verify(ngx_http_unit_jwt_t *jwt,
    const ngx_http_unit_jwks_t *set, ngx_http_unit_jwk_t **key);

/* Register the claims of a partner.  Once, at configuration time. */
ngx_int_t ngx_http_unit_jwt_rules_init(ngx_pool_t *pool,
    ngx_http_unit_jwt_rules_t *rules);

/*
 * Check the claims of a VERIFIED token against the rules.
 *
 * Mandatory: iss equal, sub a non-empty string without control characters of
 * at most 255 bytes, exp a number after now - leeway.  nbf and iat, when
 * present, numbers not after now + leeway.  aud, when the rules name one, a
 * string equal to it or an array (of strings only) that holds it.  Role: a
 * string when present, else role is empty and has_role 1.  Session, when
 * present: a string of at most 255 bytes without control characters, else
 * refused.  Customer claim: null counts as absent; a string, a non-negative
 * integer (taken as its digits: some identity providers emit numbers), or an
 * array of these, each 1 to 64 characters of [A-Za-z0-9_-]; of another shape
 * or more than NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS: refused.
 *
 *   out  strings are in pool
 *
 * NGX_OK
 * NGX_DECLINED  out->reason: jwt_payload, jwt_iss, jwt_sub, jwt_exp (missing
 *               or mistyped), jwt_expired, jwt_nbf, jwt_iat, jwt_aud,
 *               jwt_customer, jwt_session
 * NGX_ERROR
 */
ngx_int_t ngx_http_unit_jwt_claims(ngx_pool_t *pool,
    const ngx_http_unit_jwt_t *jwt, const ngx_http_unit_jwt_rules_t *rules,
    time_t now, ngx_http_unit_jwt_claims_t *out);


#endif /* _NGX_HTTP_UNIT_JWT_H_INCLUDED_ */
