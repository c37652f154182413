
/*
 * The table of ngx_http_unit_code.h.  Details are fixed texts: they never
 * carry anything that a client sent, and need no JSON escaping.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_code.h"


/* in the order of ngx_http_unit_code_e */
static const ngx_http_unit_code_t  ngx_http_unit_codes[] = {

    { ngx_string("allowed"), 200,
      ngx_string("OK"),
      ngx_string("The request is allowed.") },

    { ngx_string("invalid_request"), 400,
      ngx_string("Bad Request"),
      ngx_string("The request is malformed.") },

    { ngx_string("invalid_uri"), 400,
      ngx_string("Bad Request"),
      ngx_string("The path or the query string is not in its plain form.") },

    { ngx_string("invalid_body"), 400,
      ngx_string("Bad Request"),
      ngx_string("The request body is not what this operation takes.") },

    { ngx_string("customer_required"), 400,
      ngx_string("Bad Request"),
      ngx_string("The caller has several customers: name one of them in the "
                 "Unit-Customer header.") },

    { ngx_string("idempotency_key_missing"), 400,
      ngx_string("Bad Request"),
      ngx_string("This operation requires an idempotency key.") },

    { ngx_string("idempotency_key_invalid"), 400,
      ngx_string("Bad Request"),
      ngx_string("The idempotency key must be one string of 1 to 255 "
                 "characters without control characters.") },

    { ngx_string("token_missing"), 401,
      ngx_string("Unauthorized"),
      ngx_string("A bearer token is required.") },

    /* one sentence whatever is wrong: the reason is for the log only */
    { ngx_string("token_invalid"), 401,
      ngx_string("Unauthorized"),
      ngx_string("The bearer token is not valid.") },

    { ngx_string("two_factor_required"), 401,
      ngx_string("Unauthorized"),
      ngx_string("This operation requires a recent two-factor "
                 "authentication.") },

    { ngx_string("insufficient_scope"), 403,
      ngx_string("Forbidden"),
      ngx_string("The caller does not have the scope that this operation "
                 "requires.") },

    { ngx_string("operation_not_allowed"), 403,
      ngx_string("Forbidden"),
      ngx_string("This operation is not available here.") },

    { ngx_string("customer_mismatch"), 403,
      ngx_string("Forbidden"),
      ngx_string("The request names a customer that is not the caller's.") },

    { ngx_string("customer_not_linked"), 403,
      ngx_string("Forbidden"),
      ngx_string("No customer belongs to the caller.") },

    { ngx_string("pci_route_blocked"), 403,
      ngx_string("Forbidden"),
      ngx_string("Card data goes from the browser to the card vault and not "
                 "through this gateway.") },

    { ngx_string("verification_failed"), 403,
      ngx_string("Forbidden"),
      ngx_string("The verification did not succeed.") },

    { ngx_string("unknown_operation"), 404,
      ngx_string("Not Found"),
      ngx_string("There is no such operation.") },

    { ngx_string("method_not_allowed"), 405,
      ngx_string("Method Not Allowed"),
      ngx_string("The path does not have this method.") },

    { ngx_string("request_timeout"), 408,
      ngx_string("Request Timeout"),
      ngx_string("The request did not arrive in time.") },

    { ngx_string("idempotency_key_in_use"), 409,
      ngx_string("Conflict"),
      ngx_string("A request with this idempotency key is still being "
                 "worked on.") },

    { ngx_string("idempotency_key_reused"), 422,
      ngx_string("Unprocessable Content"),
      ngx_string("This idempotency key was used with another request.") },

    { ngx_string("body_too_large"), 413,
      ngx_string("Content Too Large"),
      ngx_string("The request body is too large.") },

    { ngx_string("unsupported_media_type"), 415,
      ngx_string("Unsupported Media Type"),
      ngx_string("The request body must be application/vnd.api+json without "
                 "content encoding.") },

    { ngx_string("too_early"), 425,
      ngx_string("Too Early"),
      ngx_string("The request came in TLS early data, which can be replayed: "
                 "send it again.") },

    { ngx_string("rate_limited"), 429,
      ngx_string("Too Many Requests"),
      ngx_string("A request limit is reached, try again later.") },

    { ngx_string("two_factor_limited"), 429,
      ngx_string("Too Many Requests"),
      ngx_string("Too many verifications were started, try again later.") },

    { ngx_string("internal_error"), 500,
      ngx_string("Internal Server Error"),
      ngx_string("The gateway failed to handle the request.") },

    { ngx_string("upstream_invalid"), 502,
      ngx_string("Bad Gateway"),
      ngx_string("The Unit API gave an answer that cannot be used.") },

    { ngx_string("upstream_unavailable"), 502,
      ngx_string("Bad Gateway"),
      ngx_string("The Unit API cannot be reached.") },

    { ngx_string("broker_unavailable"), 503,
      ngx_string("Service Unavailable"),
      ngx_string("No token can be had at the moment, try again later.") },

    { ngx_string("upstream_timeout"), 504,
      ngx_string("Gateway Timeout"),
      ngx_string("The Unit API did not answer in time.") }
};


/* fails to compile when a code has no row */
typedef char  ngx_http_unit_code_check_t[
    (sizeof(ngx_http_unit_codes) / sizeof(ngx_http_unit_codes[0])
     == NGX_HTTP_UNIT_CODES) ? 1 : -1];


const ngx_http_unit_code_t *
ngx_http_unit_code(ngx_http_unit_code_e code)
{
    if ((ngx_uint_t) code >= NGX_HTTP_UNIT_CODES) {
        code = NGX_HTTP_UNIT_INTERNAL_ERROR;
    }

    return &ngx_http_unit_codes[code];
}
