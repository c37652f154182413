
/*
 * Failures of addresses, and the end of requests that are refused; see
 * ngx_http_unit_budget.h.
 */


#include "ngx_http_unit_budget_int.h"


/* failures of an address */
#define NGX_HTTP_UNIT_BUDGET_AUTH       "authentication"
#define NGX_HTTP_UNIT_BUDGET_OPERATION  "operation"


static ngx_int_t ngx_http_unit_budget_address_key(struct sockaddr *addr,
    const char *kind, u_char *key);
static ngx_msec_t ngx_http_unit_budget_failed(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, const char *kind, ngx_uint_t count);


static ngx_int_t
ngx_http_unit_budget_address_key(struct sockaddr *addr, const char *kind,
    u_char *key)
{
    ngx_str_t             fields[3];
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_str_set(&fields[0], "rate-address");
    fields[1].data = (u_char *) kind;
    fields[1].len = ngx_strlen(kind);

    switch (addr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) addr;

        fields[2].data = sin6->sin6_addr.s6_addr;
        fields[2].len = 8;

        /* a subscriber has the whole /64 */

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            fields[2].data += 12;
            fields[2].len = 4;
        }

        break;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) addr;

        fields[2].data = (u_char *) &sin->sin_addr;
        fields[2].len = 4;
        break;

    default: /* AF_UNIX */
        ngx_str_set(&fields[2], "unix");
        break;
    }

    return ngx_http_unit_sha256(fields, 3, 0, key);
}


/* a failure of the client's address; returns the ms until the next, or 0 */

static ngx_msec_t
ngx_http_unit_budget_failed(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    const char *kind, ngx_uint_t count)
{
    u_char                          key[NGX_HTTP_UNIT_SHM_KEY_LEN];
    ngx_uint_t                      full;
    ngx_msec_t                      wait;
    ngx_http_unit_shm_t            *shm;
    ngx_http_unit_budget_ctx_t     *bc;
    ngx_http_unit_budget_report_t   report;

    if (ctx->ulcf->limits == NGX_HTTP_UNIT_LIMITS_OFF) {
        return 0;
    }

    bc = &ctx->budget;

    /* behind realip this is the address that it has found */

    if (ngx_http_unit_budget_address_key(r->connection->sockaddr, kind, key)
        != NGX_OK)
    {
        return 0;
    }

    wait = ngx_http_unit_budget_failure(ctx->umcf, key, count, &report, &full);

    if (wait == 0) {
        return 0;
    }

    if (full) {
        ngx_http_unit_budget_degraded(ctx);
    }

    bc->refused = report.window;

    if (ctx->ulcf->limits == NGX_HTTP_UNIT_LIMITS_DRY_RUN) {

        if (count) {
            shm = ctx->umcf->shm;

            ngx_http_unit_shm_lock(shm);
            shm->sh->budget.dry_run++;
            ngx_http_unit_shm_unlock(shm);
        }

        bc->dry_run = 1;

        return 0;
    }

    bc->reports[0] = report;
    bc->nreports = 1;

    ctx->retry_after = ngx_http_unit_budget_seconds(wait);

    return wait;
}


ngx_int_t
ngx_http_unit_budget_address(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    if (ngx_http_unit_budget_failed(r, ctx, NGX_HTTP_UNIT_BUDGET_AUTH, 0)) {
        *code = NGX_HTTP_UNIT_RATE_LIMITED;
        *reason = "limit_address";
        return NGX_DECLINED;
    }

    return NGX_OK;
}


void
ngx_http_unit_budget_refused(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    const char                  *kind;
    ngx_msec_int_t               wait;
    ngx_http_unit_partner_t     *partners;
    ngx_http_unit_budget_ctx_t  *bc;

    bc = &ctx->budget;

    if (bc->paid) {

        /* there was no token: the call that was paid for is not made */

        partners = ctx->umcf->partners.elts;

        ngx_http_unit_budget_refund(ctx->umcf,
                                    ctx->identity.partner - partners,
                                    bc->paid);
        bc->paid = NGX_HTTP_UNIT_RATE_UNPAID;
    }

    if (ctx->upstream.probe) {
        ngx_http_unit_budget_done(r, &ctx->upstream,
                                  NGX_HTTP_UNIT_BREAKER_UNKNOWN);
    }

    kind = NULL;

    switch (*code) {

    case NGX_HTTP_UNIT_TOKEN_MISSING:
    case NGX_HTTP_UNIT_TOKEN_INVALID:
        kind = NGX_HTTP_UNIT_BUDGET_AUTH;
        break;

    case NGX_HTTP_UNIT_UNKNOWN_OPERATION:
        kind = NGX_HTTP_UNIT_BUDGET_OPERATION;
        break;

    case NGX_HTTP_UNIT_RATE_LIMITED:

        /* another request was refused what this one has waited for */

        if (ctx->retry_after == 0) {
            wait = ngx_http_unit_budget_retry(ctx);
            ctx->retry_after = (wait > 0) ? ngx_http_unit_budget_seconds(wait)
                                          : 1;
        }

        if (bc->refused == NULL) {
            bc->refused = &ctx->umcf->budget->budget;
        }

        return;

    default:
        return;
    }

    if (ngx_http_unit_budget_failed(r, ctx, kind, 1)) {
        *code = NGX_HTTP_UNIT_RATE_LIMITED;
        *reason = "limit_address";
    }
}
