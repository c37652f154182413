
/*
 * The state machine of a request, one step after the other: who calls, which
 * operation, whose data, may it be done, with which token.  A step that has
 * to wait returns NGX_AGAIN and is entered again when the request is resumed.
 * Refusals leave through ngx_http_unit_error() only.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_auth.h"
#include "ngx_http_unit_body.h"
#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_customer.h"
#include "ngx_http_unit_early.h"
#include "ngx_http_unit_error.h"
#include "ngx_http_unit_header.h"
#include "ngx_http_unit_idem.h"
#include "ngx_http_unit_phase.h"
#include "ngx_http_unit_retry.h"
#include "ngx_http_unit_scrub.h"
#include "ngx_http_unit_token.h"
#include "ngx_http_unit_two_factor.h"


/*
 * A step: NGX_OK (go on with the next one), NGX_AGAIN or NGX_DONE (resumed
 * later), NGX_DECLINED (*code and *reason say why the request is refused),
 * NGX_ERROR (answer 500), or a status from 300 on.
 */
typedef ngx_int_t (*ngx_http_unit_phase_step_pt)(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);


static ngx_int_t ngx_http_unit_phase_resume(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static ngx_int_t ngx_http_unit_phase_start(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_route(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_pin(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_precheck(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_body(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_decide(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_wait(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_token(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_int_t ngx_http_unit_phase_forward(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static ngx_uint_t ngx_http_unit_phase_method(ngx_http_request_t *r);


/* by ngx_http_unit_step_e */
static const ngx_http_unit_phase_step_pt  ngx_http_unit_phase_steps[] = {
    ngx_http_unit_phase_start,
    ngx_http_unit_auth,
    ngx_http_unit_phase_route,
    ngx_http_unit_phase_pin,
    ngx_http_unit_phase_precheck,
    ngx_http_unit_phase_body,
    ngx_http_unit_phase_decide,
    ngx_http_unit_idem,
    ngx_http_unit_phase_wait,
    ngx_http_unit_budget,
    ngx_http_unit_phase_token,
    ngx_http_unit_phase_forward
};


ngx_int_t
ngx_http_unit_phase_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    const char                *reason;
    ngx_http_unit_ctx_t       *ctx;
    ngx_http_unit_code_e       code;
    ngx_http_unit_loc_conf_t  *ulcf;

    if (r != r->main) {
        return ngx_http_unit_scrub_subrequest(r);
    }

    ulcf = ngx_http_get_module_loc_conf(r, ngx_http_unit_module);

    if (!ulcf->enable || ulcf->status) {

        /* redirected out of the gateway: not with a Unit token */

        if (r->internal) {
            ctx = ngx_http_unit_get_ctx(r);

            if (ctx) {
                ngx_http_unit_scrub(r, ctx);
            }
        }

        return NGX_DECLINED;
    }

    ctx = ngx_http_unit_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->ulcf = ulcf;

    if (ctx->step == NGX_HTTP_UNIT_STEP_DONE) {

        rc = ngx_http_unit_phase_resume(r, ctx);

        if (rc != NGX_OK) {
            return rc;
        }

    } else if (ctx->step != NGX_HTTP_UNIT_STEP_START
               && ctx->uri_changes != r->uri_changes)
    {
        /* an error in between, of the body, say: nobody waits for it now */

        return ngx_http_unit_error_redirected(r);
    }

    ctx->uri_changes = r->uri_changes;

    while (ctx->step < NGX_HTTP_UNIT_STEP_DONE) {

        code = NGX_HTTP_UNIT_INTERNAL_ERROR;
        reason = NULL;

        rc = ngx_http_unit_phase_steps[ctx->step](r, ctx, &code, &reason);

        if (rc == NGX_OK) {
            ctx->step++;
            continue;
        }

        if (rc == NGX_AGAIN || rc == NGX_DONE) {
            return rc;
        }

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return rc;
        }

        if (rc == NGX_ERROR) {
            code = NGX_HTTP_UNIT_INTERNAL_ERROR;
            reason = "internal";
        }

        ngx_http_unit_budget_refused(r, ctx, &code, &reason);

        return ngx_http_unit_error(r, code, reason);
    }

    return NGX_DECLINED;
}


/*
 * The request was decided before: an internal redirect has brought it here
 * again, our own one after a 401 or somebody else's.
 */

static ngx_int_t
ngx_http_unit_phase_resume(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    if (!ctx->replay && !ctx->retry) {

        /*
         * An error_page or the like that leads into a gateway location: what
         * was authorised was another request
         */

        return ngx_http_unit_error_redirected(r);
    }

    /* the core's redirect has made a GET of it */

    r->method = ctx->method;
    r->method_name = ctx->method_name;

    if (ctx->retry) {
        ctx->step = NGX_HTTP_UNIT_STEP_WAIT;
        return NGX_OK;
    }

    ctx->replay = 0;

    if (ctx->verdict.org) {
        return ngx_http_unit_error(r, NGX_HTTP_UNIT_BROKER_UNAVAILABLE,
                                   "organisation_token_refused");
    }

    ctx->replayed = 1;
    ctx->step = NGX_HTTP_UNIT_STEP_WAIT;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_phase_start(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_str_t  raw;

    ctx->method = r->method;
    ctx->method_name = r->method_name;

    if (ngx_http_unit_phase_method(r)) {
        return NGX_OK;
    }

    /*
     * A method that no operation has, OPTIONS among them, needs no token to
     * be told so: browsers ask without one (CORS)
     */

    raw = r->unparsed_uri;
    raw.len = ngx_strlchr(raw.data, raw.data + raw.len, '?')
              ? (size_t) (ngx_strlchr(raw.data, raw.data + raw.len, '?')
                          - raw.data)
              : raw.len;

    *code = NGX_HTTP_UNIT_INVALID_URI;

    switch (ngx_http_unit_uri_canonical(r->pool, &raw, &ctx->uri)) {

    case NGX_ERROR:
        return NGX_ERROR;

    case NGX_DECLINED:
        *reason = ctx->uri.reason;
        return NGX_DECLINED;
    }

    (void) ngx_http_unit_policy_route(ctx->umcf->policy, &ctx->uri, 0,
                                      &ctx->route, &ctx->allow);

    *code = ctx->allow ? NGX_HTTP_UNIT_METHOD_NOT_ALLOWED
                       : NGX_HTTP_UNIT_UNKNOWN_OPERATION;
    *reason = "method";

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_unit_phase_route(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    u_char     *p;
    ngx_int_t   rc;
    ngx_str_t   raw, query;

    /* the raw target: nginx has decoded r->uri already (STYLE P38) */

    raw = r->unparsed_uri;
    ngx_str_set(&query, "");

    p = ngx_strlchr(raw.data, raw.data + raw.len, '?');

    if (p) {
        query.data = p + 1;
        query.len = raw.data + raw.len - query.data;
        raw.len = p - raw.data;
    }

    *code = NGX_HTTP_UNIT_INVALID_URI;

    rc = ngx_http_unit_uri_canonical(r->pool, &raw, &ctx->uri);

    if (rc != NGX_OK) {
        *reason = ctx->uri.reason;
        return rc;
    }

    rc = ngx_http_unit_uri_args(r->pool, &query, &ctx->args);

    if (rc != NGX_OK) {
        *reason = "query";
        return rc;
    }

    /* what was checked is what is sent, whatever else has touched it */

    r->args = query;

    rc = ngx_http_unit_policy_route(ctx->umcf->policy, &ctx->uri,
                                    ngx_http_unit_phase_method(r),
                                    &ctx->route, &ctx->allow);

    if (rc == NGX_ABORT) {
        *code = NGX_HTTP_UNIT_PCI_ROUTE_BLOCKED;
        *reason = "pci";
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        *code = ctx->allow ? NGX_HTTP_UNIT_METHOD_NOT_ALLOWED
                           : NGX_HTTP_UNIT_UNKNOWN_OPERATION;
        *reason = "route";
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_phase_pin(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                         rc;
    const ngx_http_unit_operation_t  *op;

    rc = ngx_http_unit_customer(r, ctx, code, reason);

    if (rc != NGX_OK) {
        return rc;
    }

    /* all operations of a route have one path */

    op = ngx_http_unit_policy_route_operation(ctx->route, 0);

    return ngx_http_unit_customer_pin(r, ctx, op->customer, code, reason);
}


/* what the head alone refuses is refused before any body is read (P11) */

static ngx_int_t
ngx_http_unit_phase_precheck(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                         rc;
    ngx_uint_t                        i;
    const ngx_http_unit_operation_t  *op;
    ngx_http_unit_policy_verdict_t    verdict;

    for (i = 0; /* void */; i++) {

        op = ngx_http_unit_policy_route_operation(ctx->route, i);
        if (op == NULL) {
            break;
        }

        ngx_http_unit_policy_decide(ctx->umcf->policy, op, ctx->ulcf->rules,
                                    &ctx->caller, NULL, &verdict);

        if (verdict.code == NGX_HTTP_UNIT_ALLOWED) {
            break;
        }

        if (i == 0) {
            ctx->operation = op;
            ctx->verdict = verdict;
        }
    }

    if (op == NULL) {

        /* none of the alternatives may be done */

        *code = ctx->verdict.code;
        *reason = ctx->verdict.reason;
        return NGX_DECLINED;
    }

    ctx->operation = NULL;

    rc = ngx_http_unit_early(r, code, reason);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_unit_idem_head(r, ctx, code, reason);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!ngx_http_unit_policy_needs_body(ctx->route)) {
        return NGX_OK;
    }

    return ngx_http_unit_body_check(r, code, reason);
}


static ngx_int_t
ngx_http_unit_phase_body(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_uint_t  scan;

    scan = ngx_http_unit_policy_needs_body(ctx->route);

    /* a write that is to be recognised when it comes again is read, too */

    if (!scan && ctx->idem == NULL) {
        return NGX_OK;
    }

    if (!ctx->body_done) {

        if (r->headers_in.content_length_n > NGX_HTTP_UNIT_BODY_MAX) {
            *code = NGX_HTTP_UNIT_BODY_TOO_LARGE;
            *reason = "content_length";
            return NGX_DECLINED;
        }

        return ngx_http_unit_body_read(r, ctx);
    }

    return scan ? ngx_http_unit_body_scan(r, ctx, code, reason)
                : ngx_http_unit_body_gather(r, ctx, code, reason);
}


static ngx_int_t
ngx_http_unit_phase_decide(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ctx->operation = ngx_http_unit_policy_select(ctx->route, ctx->json);

    if (ctx->operation == NULL) {
        *code = NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;
        *reason = "body_matches_none";
        return NGX_DECLINED;
    }

    if (ctx->json && ctx->customer.len
        && ngx_http_unit_policy_body_customer(ctx->umcf->policy, ctx->json,
                                              &ctx->customer)
           != NGX_OK)
    {
        *code = NGX_HTTP_UNIT_CUSTOMER_MISMATCH;
        *reason = "customer_body";
        return NGX_DECLINED;
    }

    ngx_http_unit_policy_decide(ctx->umcf->policy, ctx->operation,
                                ctx->ulcf->rules, &ctx->caller, ctx->json,
                                &ctx->verdict);

    if (ctx->verdict.code != NGX_HTTP_UNIT_ALLOWED) {
        *code = ctx->verdict.code;
        *reason = ctx->verdict.reason;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* before another attempt, when there is to be one */

static ngx_int_t
ngx_http_unit_phase_wait(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t  rc;

    if (!ctx->retry) {
        return NGX_OK;
    }

    rc = ngx_http_unit_retry_wait(r, ctx);

    if (rc == NGX_OK) {
        ctx->retry = 0;
    }

    return rc;
}


static ngx_int_t
ngx_http_unit_phase_token(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    if (ctx->operation->serve != NGX_HTTP_UNIT_SERVE_PROXY) {

        /* these are answered here and never passed on */

        return ngx_http_unit_two_factor(r, ctx, code, reason);
    }

    return ngx_http_unit_token(r, ctx, code, reason);
}


static ngx_int_t
ngx_http_unit_phase_forward(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t       rc;
    ngx_msec_t      budget;
    ngx_msec_int_t  left;

    if (ngx_http_unit_idem_is_replay(ctx)) {

        /* authorised anew, and done already */

        return ngx_http_unit_idem_replay(r, ctx);
    }

    if (ctx->budget.owing) {

        rc = ngx_http_unit_budget(r, ctx, code, reason);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    /* the operation's time is that of all attempts together */

    budget = (ngx_msec_t) ctx->operation->timeout * 1000;

    if (ctx->attempts == 0) {
        ctx->deadline = ngx_current_msec + budget;
    }

    left = (ngx_msec_int_t) (ctx->deadline - ngx_current_msec);

    if (left <= 0) {

        /* a new token took the rest of it: nothing is sent to be cut off */

        *code = NGX_HTTP_UNIT_UPSTREAM_TIMEOUT;
        *reason = "no_time_left";
        return NGX_DECLINED;
    }

    if (ngx_http_unit_header_forward(r, ctx) != NGX_OK
        || ngx_http_unit_idem_forward(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->attempts++;

    /* from here on what was paid for is used */

    ctx->budget.paid = NGX_HTTP_UNIT_RATE_UNPAID;

    ctx->upstream.answered = 0;
    ctx->upstream.invalid = 0;
    ctx->upstream.timeout = (ngx_msec_t) left;
    ctx->upstream.write = (ctx->operation->method
                           != NGX_HTTP_UNIT_METHOD_GET);

    return NGX_OK;
}


static ngx_uint_t
ngx_http_unit_phase_method(ngx_http_request_t *r)
{
    switch (r->method) {

    case NGX_HTTP_GET:
    case NGX_HTTP_HEAD:
        return NGX_HTTP_UNIT_METHOD_GET;

    case NGX_HTTP_POST:
        return NGX_HTTP_UNIT_METHOD_POST;

    case NGX_HTTP_PUT:
        return NGX_HTTP_UNIT_METHOD_PUT;

    case NGX_HTTP_PATCH:
        return NGX_HTTP_UNIT_METHOD_PATCH;

    case NGX_HTTP_DELETE:
        return NGX_HTTP_UNIT_METHOD_DELETE;

    default:
        return 0;
    }
}
