
/*
 * Under which key tokens are kept in the store, and how Unit calls their
 * scopes.
 */


#include "ngx_http_unit_token.h"


ngx_int_t
ngx_http_unit_token_key(ngx_http_unit_ctx_t *ctx, ngx_uint_t verified,
    u_char *key)
{
    ngx_http_unit_identity_t  *id;

    id = &ctx->identity;

    if (id->has_key
        && id->customers.len == ctx->customer.len
        && ngx_memcmp(id->customers.data, ctx->customer.data,
                      ctx->customer.len)
           == 0)
    {
        ngx_memcpy(key, id->token_key, NGX_HTTP_UNIT_SHA256_LEN);

    } else if (ngx_http_unit_token_key_of(id, &ctx->customer, key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (verified) {
        key[NGX_HTTP_UNIT_SHA256_LEN - 1] |= 1;
    }

    return NGX_OK;
}


/*
 * Whoever shares this key shares the tokens: everything that tells callers
 * apart is in it.  The fingerprint of the scope table is, in the partner's
 * space, because the records hold scopes as bits.
 */

ngx_int_t
ngx_http_unit_token_key_of(const ngx_http_unit_identity_t *id,
    const ngx_str_t *customer, u_char *key)
{
    ngx_str_t  fields[5];

    ngx_str_set(&fields[0], "token");
    fields[1].data = id->partner->space;
    fields[1].len = NGX_HTTP_UNIT_SHA256_LEN;
    fields[2] = id->subject;
    fields[3] = id->session;
    fields[4] = *customer;

    if (ngx_http_unit_sha256(fields, 5, 0, key) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the last bit tells verified tokens from others: both of one hash */

    key[NGX_HTTP_UNIT_SHA256_LEN - 1] &= 0xfe;

    return NGX_OK;
}


ngx_int_t
ngx_http_unit_token_names(ngx_pool_t *pool,
    const ngx_http_unit_policy_t *policy, const ngx_http_unit_scopes_t *scopes,
    ngx_str_t *names)
{
    u_char                              *p;
    size_t                               len;
    ngx_uint_t                           i, n;
    const ngx_http_unit_policy_scope_t  *scope;

    len = 0;
    n = ngx_http_unit_policy_nscopes(policy);

    for (i = 0; i < n; i++) {
        if (ngx_http_unit_scopes_has(scopes, i)) {
            len += ngx_http_unit_policy_scope(policy, i)->name.len + 1;
        }
    }

    p = ngx_pnalloc(pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    names->data = p;

    for (i = 0; i < n; i++) {

        if (!ngx_http_unit_scopes_has(scopes, i)) {
            continue;
        }

        if (p != names->data) {
            *p++ = ' ';
        }

        scope = ngx_http_unit_policy_scope(policy, i);
        p = ngx_cpymem(p, scope->name.data, scope->name.len);
    }

    names->len = p - names->data;

    return NGX_OK;
}
