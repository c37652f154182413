
/*
 * Partners, when the whole configuration has been read: what needs the table
 * of operations, and what is derived from all of a block.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_conf.h"
#include "ngx_http_unit_keys.h"


static ngx_int_t ngx_http_unit_partner_fingerprint(
    ngx_http_unit_partner_t *partner, const ngx_http_unit_policy_t *policy);


/* of all that decides what a token means, so that caches follow a reload */

static ngx_int_t
ngx_http_unit_partner_fingerprint(ngx_http_unit_partner_t *partner,
    const ngx_http_unit_policy_t *policy)
{
    ngx_str_t   fields[10];
    ngx_uint_t  flags[2];

    flags[0] = partner->lookup | (partner->org << 1)
               | (partner->two_factor_jwt << 2);
    flags[1] = (ngx_uint_t) partner->rules.leeway;

    ngx_str_set(&fields[0], "partner");
    fields[1] = partner->name;
    fields[2] = partner->rules.issuer;
    fields[3] = partner->rules.audience;
    fields[4] = partner->rules.customer_claim;
    fields[5] = partner->rules.role_claim;
    fields[6] = partner->rules.session_claim;
    fields[7] = partner->rules.amr_value;
    fields[8] = partner->keys->uri;
    fields[9].data = (u_char *) flags;
    fields[9].len = sizeof(flags);

    if (ngx_http_unit_sha256(fields, 10, 0, partner->fingerprint) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&fields[0], "space");
    fields[1].data = partner->fingerprint;
    fields[1].len = NGX_HTTP_UNIT_SHA256_LEN;
    fields[2].data = (u_char *) ngx_http_unit_policy_fingerprint(policy);
    fields[2].len = NGX_HTTP_UNIT_SHA256_LEN;

    return ngx_http_unit_sha256(fields, 3, 0, partner->space);
}


ngx_int_t
ngx_http_unit_conf_partners(ngx_conf_t *cf, ngx_http_unit_main_conf_t *umcf)
{
    ngx_int_t                 scope;
    ngx_uint_t                i, n;
    ngx_http_unit_name_t     *word;
    ngx_http_unit_partner_t  *partner;

    partner = umcf->partners.elts;

    for (i = 0; i < umcf->partners.nelts; i++, partner++) {

        if (ngx_http_unit_partner_fingerprint(partner, umcf->policy)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (partner->all) {
            for (n = 0; n < ngx_http_unit_policy_nscopes(umcf->policy); n++) {
                ngx_http_unit_scopes_add(&partner->ceiling, n);
            }

            continue;
        }

        word = partner->scopes.elts;

        for (n = 0; n < partner->scopes.nelts; n++) {

            scope = ngx_http_unit_policy_find_scope(umcf->policy,
                                                    &word[n].name);
            if (scope < 0) {
                ngx_http_unit_conf_error_at(cf, &word[n],
                                            "unknown scope \"%V\"");
                return NGX_ERROR;
            }

            ngx_http_unit_scopes_add(&partner->ceiling, (ngx_uint_t) scope);
        }
    }

    return NGX_OK;
}
