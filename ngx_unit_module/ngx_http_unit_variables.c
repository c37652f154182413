
/*
 * Variables, see ngx_http_unit_variables.h.  None of them ever holds a token,
 * a code or anything of a body.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_idem.h"
#include "ngx_http_unit_variables.h"


typedef enum {
    NGX_HTTP_UNIT_VAR_PARTNER = 0,
    NGX_HTTP_UNIT_VAR_SUBJECT,
    NGX_HTTP_UNIT_VAR_CUSTOMER,
    NGX_HTTP_UNIT_VAR_OPERATION,
    NGX_HTTP_UNIT_VAR_SCOPE,
    NGX_HTTP_UNIT_VAR_DECISION,
    NGX_HTTP_UNIT_VAR_TOKEN_STATUS,
    NGX_HTTP_UNIT_VAR_REQUEST_ID,
    NGX_HTTP_UNIT_VAR_ATTEMPTS,
    NGX_HTTP_UNIT_VAR_IDEMPOTENCY,
    NGX_HTTP_UNIT_VAR_LIMIT_STATUS
} ngx_http_unit_var_e;


static ngx_int_t ngx_http_unit_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_unit_variable_attempts(ngx_http_request_t *r,
    ngx_http_variable_value_t *v);


static ngx_http_variable_t  ngx_http_unit_vars[] = {

    { ngx_string("unit_partner"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_PARTNER, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_subject"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_SUBJECT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_customer"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_CUSTOMER, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_operation"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_OPERATION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_scope"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_SCOPE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_decision"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_DECISION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_token_status"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_TOKEN_STATUS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_request_id"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_REQUEST_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_attempts"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_ATTEMPTS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_idempotency_status"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_IDEMPOTENCY, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("unit_limit_status"), NULL, ngx_http_unit_variable,
      NGX_HTTP_UNIT_VAR_LIMIT_STATUS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


/* by NGX_HTTP_UNIT_TOKEN_* */
static const ngx_str_t  ngx_http_unit_token_statuses[] = {
    ngx_string("none"),
    ngx_string("hit"),
    ngx_string("minted"),
    ngx_string("waited")
};


/* by ngx_http_unit_idem_status_e */
static const ngx_str_t  ngx_http_unit_idem_statuses[] = {
    ngx_null_string,
    ngx_string("generated"),
    ngx_string("new"),
    ngx_string("stored"),
    ngx_string("unknown"),
    ngx_string("replayed"),
    ngx_string("conflict")
};


ngx_int_t
ngx_http_unit_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_unit_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t                            status;
    const ngx_str_t                     *value;
    ngx_http_unit_ctx_t                 *ctx;
    const ngx_http_unit_policy_scope_t  *scope;

    ctx = ngx_http_unit_get_ctx(r);
    value = NULL;

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_HTTP_UNIT_VAR_PARTNER:
        if (ctx->identity.partner) {
            value = &ctx->identity.partner->name;
        }
        break;

    case NGX_HTTP_UNIT_VAR_SUBJECT:
        value = &ctx->identity.subject;
        break;

    case NGX_HTTP_UNIT_VAR_CUSTOMER:
        value = &ctx->customer;
        break;

    case NGX_HTTP_UNIT_VAR_OPERATION:
        if (ctx->operation) {
            value = &ctx->operation->name;
        }
        break;

    case NGX_HTTP_UNIT_VAR_SCOPE:
        if (ctx->operation && ctx->verdict.scope >= 0) {
            scope = ngx_http_unit_policy_scope(ctx->umcf->policy,
                                               ctx->verdict.scope);
            value = &scope->name;
        }
        break;

    case NGX_HTTP_UNIT_VAR_DECISION:
        if (ctx->step == NGX_HTTP_UNIT_STEP_DONE || ctx->decision
            || ctx->answered)
        {
            value = &ngx_http_unit_code(ctx->decision)->name;
        }
        break;

    case NGX_HTTP_UNIT_VAR_TOKEN_STATUS:
        value = &ngx_http_unit_token_statuses[ctx->token_status];
        break;

    case NGX_HTTP_UNIT_VAR_REQUEST_ID:
        value = &ctx->request_id;
        break;

    case NGX_HTTP_UNIT_VAR_IDEMPOTENCY:
        if (ctx->idem) {
            value = &ngx_http_unit_idem_statuses[ctx->idem->status];
        }
        break;

    case NGX_HTTP_UNIT_VAR_LIMIT_STATUS:
        if (ngx_http_unit_budget_status(r, ctx, &status) != NGX_OK) {
            return NGX_ERROR;
        }

        value = &status;
        break;

    case NGX_HTTP_UNIT_VAR_ATTEMPTS:
        return ngx_http_unit_variable_attempts(r, v);

    default:
        break;
    }

    if (value == NULL || value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_variable_attempts(ngx_http_request_t *r,
    ngx_http_variable_value_t *v)
{
    u_char      *p;
    ngx_uint_t   i, n;

    ngx_http_upstream_state_t  *state;

    n = 0;

    if (r->main->upstream_states) {
        state = r->main->upstream_states->elts;

        for (i = 0; i < r->main->upstream_states->nelts; i++) {

            /* an internal redirect leaves an empty element between two */

            if (state[i].peer) {
                n++;
            }
        }
    }

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->data = p;
    v->len = ngx_sprintf(p, "%ui", n) - p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
