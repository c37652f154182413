
/*
 * The error codes of DESIGN section 9: one table of code, status, title and
 * default detail, used by the responses, the variables, the log and the
 * operator's tools.  Pure data.
 */


#ifndef _NGX_HTTP_UNIT_CODE_H_INCLUDED_
#define _NGX_HTTP_UNIT_CODE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_HTTP_UNIT_ALLOWED = 0,

    NGX_HTTP_UNIT_INVALID_REQUEST,
    NGX_HTTP_UNIT_INVALID_URI,
    NGX_HTTP_UNIT_INVALID_BODY,
    NGX_HTTP_UNIT_CUSTOMER_REQUIRED,
    NGX_HTTP_UNIT_IDEMPOTENCY_KEY_MISSING,
    NGX_HTTP_UNIT_IDEMPOTENCY_KEY_INVALID,

    NGX_HTTP_UNIT_TOKEN_MISSING,
    NGX_HTTP_UNIT_TOKEN_INVALID,
    NGX_HTTP_UNIT_TWO_FACTOR_REQUIRED,

    NGX_HTTP_UNIT_INSUFFICIENT_SCOPE,
    NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED,
    NGX_HTTP_UNIT_CUSTOMER_MISMATCH,
    NGX_HTTP_UNIT_CUSTOMER_NOT_LINKED,
    NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED,
    NGX_HTTP_UNIT_VERIFICATION_FAILED,

    NGX_HTTP_UNIT_UNKNOWN_OPERATION,
    NGX_HTTP_UNIT_METHOD_NOT_ALLOWED,

    NGX_HTTP_UNIT_REQUEST_TIMEOUT,

    NGX_HTTP_UNIT_IDEMPOTENCY_KEY_IN_USE,
    NGX_HTTP_UNIT_IDEMPOTENCY_KEY_REUSED,

    NGX_HTTP_UNIT_BODY_TOO_LARGE,
    NGX_HTTP_UNIT_UNSUPPORTED_MEDIA_TYPE,

    NGX_HTTP_UNIT_TOO_EARLY,

    NGX_HTTP_UNIT_RATE_LIMITED,
    NGX_HTTP_UNIT_TWO_FACTOR_LIMITED,

    NGX_HTTP_UNIT_INTERNAL_ERROR,
    NGX_HTTP_UNIT_UPSTREAM_INVALID,
    NGX_HTTP_UNIT_UPSTREAM_UNAVAILABLE,
    NGX_HTTP_UNIT_BROKER_UNAVAILABLE,
    NGX_HTTP_UNIT_UPSTREAM_TIMEOUT,

    NGX_HTTP_UNIT_CODES
} ngx_http_unit_code_e;


typedef struct {
    ngx_str_t    name;       /* "insufficient_scope"; "allowed" for 0 */
    ngx_uint_t   status;     /* HTTP status */
    ngx_str_t    title;      /* "Forbidden" */
    ngx_str_t    detail;     /* fixed text for clients, JSON-safe */
} ngx_http_unit_code_t;


/* The row of a code; never NULL. */
const ngx_http_unit_code_t *ngx_http_unit_code(ngx_http_unit_code_e code);


#endif /* _NGX_HTTP_UNIT_CODE_H_INCLUDED_ */
