
/*
 * Limits, when all of the configuration is known: defaults, conflicts, and
 * what requests need ready-made.  See ngx_http_unit_budget.h.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_conf.h"


static void ngx_http_unit_budget_default(ngx_http_unit_budget_set_t *set,
    ngx_uint_t quota, ngx_uint_t burst);
static ngx_int_t ngx_http_unit_budget_init_budget(ngx_conf_t *cf,
    ngx_http_unit_budget_conf_t *conf);
static ngx_int_t ngx_http_unit_budget_init_set(ngx_conf_t *cf,
    ngx_http_unit_budget_conf_t *conf, ngx_http_unit_shm_limit_e kind);
static ngx_int_t ngx_http_unit_budget_init_text(ngx_conf_t *cf,
    ngx_http_unit_budget_window_t *window, ngx_str_t *name, ngx_uint_t n);
static ngx_int_t ngx_http_unit_budget_init_shares(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf);


static const struct {
    ngx_str_t    name;
    const char  *reason;
} ngx_http_unit_budget_kinds[] = {
    { ngx_string("partner"), "limit_partner" },
    { ngx_string("customer"), "limit_customer" },
    { ngx_string("address"), "limit_address" },
    { ngx_string("budget"), "limit_budget" }
};


ngx_int_t
ngx_http_unit_budget_init_conf(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf)
{
    ngx_uint_t                     kind;
    ngx_http_unit_breaker_conf_t  *breaker;
    ngx_http_unit_budget_conf_t   *conf;

    conf = umcf->budget;
    breaker = &conf->breaker;

    if (!conf->breaker_set) {
        breaker->failures = NGX_HTTP_UNIT_BUDGET_FAILURES;
    }

    breaker->window = breaker->window ? breaker->window : 10000;
    breaker->open = breaker->open ? breaker->open : 5000;

    ngx_http_unit_budget_default(&conf->sets[NGX_HTTP_UNIT_SHM_LIMIT_CUSTOMER],
                                 600, 100);
    ngx_http_unit_budget_default(&conf->sets[NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS],
                                 300, 300);

    if (ngx_http_unit_budget_init_budget(cf, conf) != NGX_OK) {
        return NGX_ERROR;
    }

    for (kind = 0; kind < NGX_HTTP_UNIT_SHM_LIMIT_BUDGET; kind++) {
        if (ngx_http_unit_budget_init_set(cf, conf, kind) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_unit_budget_init_shares(cf, umcf);
}


static void
ngx_http_unit_budget_default(ngx_http_unit_budget_set_t *set,
    ngx_uint_t quota, ngx_uint_t burst)
{
    if (set->n) {
        return;
    }

    set->windows[0].quota = quota;
    set->windows[0].seconds = 60;
    set->windows[0].burst = burst;
    set->n = 1;
}


static ngx_int_t
ngx_http_unit_budget_init_budget(ngx_conf_t *cf,
    ngx_http_unit_budget_conf_t *conf)
{
    ngx_str_t                      *name;
    ngx_uint_t                      explicit, reserve;
    ngx_http_unit_budget_window_t  *budget;

    budget = &conf->budget;

    if (budget->quota == 0) {
        budget->quota = 1000;
        budget->seconds = 60;
    }

    if (budget->burst == 0) {
        budget->burst = ngx_max(budget->quota / 10, 1);
        budget->burst = ngx_min(budget->burst, NGX_HTTP_UNIT_RATE_MAX_BURST);
    }

    explicit = (conf->reserve != NGX_HTTP_UNIT_BUDGET_UNSET);

    if (!explicit) {
        conf->reserve = 10;
    }

    reserve = budget->quota / 100 * conf->reserve
              + budget->quota % 100 * conf->reserve / 100;

    if (conf->reserve && budget->quota > 1) {
        reserve = ngx_max(reserve, 1);
    }

    reserve = ngx_min(reserve, NGX_HTTP_UNIT_RATE_MAX_BURST);

    if (!explicit && budget->burst < budget->quota) {
        reserve = ngx_min(reserve, budget->quota - budget->burst);

    } else if (!explicit && budget->burst == budget->quota) {
        reserve = 0;
    }

    if (budget->burst + reserve > budget->quota) {
        ngx_http_unit_conf_error_at(cf, &budget->word,
                                    "\"unit_budget %V\" is less than its burst "
                                    "and reserve together");
        return NGX_ERROR;
    }

    budget->kind = NGX_HTTP_UNIT_SHM_LIMIT_BUDGET;
    budget->reason = ngx_http_unit_budget_kinds[budget->kind].reason;

    ngx_http_unit_rate_promise(&budget->rate, budget->quota,
                               (ngx_msec_t) budget->seconds * 1000,
                               budget->burst, reserve);

    name = (ngx_str_t *) &ngx_http_unit_budget_kinds[budget->kind].name;

    return ngx_http_unit_budget_init_text(cf, budget, name, 0);
}


static ngx_int_t
ngx_http_unit_budget_init_set(ngx_conf_t *cf,
    ngx_http_unit_budget_conf_t *conf, ngx_http_unit_shm_limit_e kind)
{
    u_char                          digest[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_str_t                      *name, fields[1];
    ngx_uint_t                      i, reserve;
    ngx_uint_t                      terms[3 * NGX_HTTP_UNIT_BUDGET_WINDOWS];
    ngx_http_unit_budget_set_t     *set;
    ngx_http_unit_budget_window_t  *window, *budget;

    set = &conf->sets[kind];
    budget = &conf->budget;

    ngx_memzero(terms, sizeof(terms));

    for (i = 0; i < set->n; i++) {

        window = &set->windows[i];

        if (window->burst == 0) {
            window->burst = (kind == NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS)
                            ? window->quota : ngx_max(window->quota / 6, 1);
            window->burst = ngx_min(window->burst,
                                    NGX_HTTP_UNIT_RATE_MAX_BURST);
        }

        if (window->word.name.len
            && kind != NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS
            && (uint64_t) window->quota * budget->seconds
               > (uint64_t) budget->quota * window->seconds)
        {
            ngx_http_unit_conf_error_at(cf, &window->word,
                                        "\"unit_limit %V\" allows more than "
                                        "\"unit_budget\"");
            return NGX_ERROR;
        }

        /* money movements have a little more at once */

        reserve = (kind == NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS)
                  ? 0 : window->burst * conf->reserve / 100;

        ngx_http_unit_rate_init(&window->rate, window->quota,
                                (ngx_msec_t) window->seconds * 1000,
                                window->burst, reserve);

        window->kind = kind;
        window->reason = ngx_http_unit_budget_kinds[kind].reason;

        name = (ngx_str_t *) &ngx_http_unit_budget_kinds[kind].name;

        if (ngx_http_unit_budget_init_text(cf, window, name, i) != NGX_OK) {
            return NGX_ERROR;
        }

        set->ttl = ngx_max(set->ttl, window->rate.full);

        terms[3 * i] = window->quota;
        terms[3 * i + 1] = window->seconds;
        terms[3 * i + 2] = window->burst;
    }

    /* other windows are other records */

    fields[0].data = (u_char *) terms;
    fields[0].len = sizeof(terms);

    if (ngx_http_unit_sha256(fields, 1, 0, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(set->tag, digest, sizeof(set->tag));

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_budget_init_text(ngx_conf_t *cf,
    ngx_http_unit_budget_window_t *window, ngx_str_t *name, ngx_uint_t n)
{
    u_char  *p;
    size_t   len;

    len = name->len + sizeof("-") - 1 + NGX_INT_T_LEN;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    window->name.data = p;
    p = ngx_cpymem(p, name->data, name->len);

    if (n) {
        p = ngx_sprintf(p, "-%ui", n + 1);
    }

    window->name.len = p - window->name.data;

    len = window->name.len + sizeof("\"\";q=;w=") - 1 + 2 * NGX_INT_T_LEN;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    window->policy.data = p;
    window->policy.len = ngx_snprintf(p, len, "\"%V\";q=%ui;w=%ui",
                                      &window->name, window->quota,
                                      window->seconds)
                         - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_budget_init_shares(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf)
{
    u_char                        digest[NGX_HTTP_UNIT_SHA256_LEN], *key;
    ngx_str_t                     fields[2];
    ngx_uint_t                    i, n, total;
    ngx_http_unit_partner_t      *partner;
    ngx_http_unit_budget_conf_t  *conf;

    conf = umcf->budget;
    n = umcf->partners.nelts;
    partner = umcf->partners.elts;

    conf->npartners = n;
    conf->keys = ngx_pcalloc(cf->pool, (n + 1) * NGX_HTTP_UNIT_SHM_KEY_LEN);
    if (conf->keys == NULL) {
        return NGX_ERROR;
    }

    total = 0;

    for (i = 0; i < n; i++) {

        key = conf->keys + i * NGX_HTTP_UNIT_SHM_KEY_LEN;

        ngx_str_set(&fields[0], "rate-partner");
        fields[1] = partner[i].name;

        if (ngx_http_unit_sha256(fields, 2, 0, key) != NGX_OK) {
            return NGX_ERROR;
        }

        partner[i].weight = ngx_max(partner[i].weight, 1);
        total += partner[i].weight;
    }

    if (n < 2) {
        return NGX_OK;
    }

    conf->shares = ngx_palloc(cf->pool, n * sizeof(ngx_http_unit_rate_t));
    if (conf->shares == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        ngx_http_unit_rate_part(&conf->shares[i], &conf->budget.rate,
                                partner[i].weight, total);
    }

    /* states are by partner: other partners are another record */

    ngx_str_set(&fields[0], "rate-shares");
    fields[1].data = conf->keys;
    fields[1].len = n * NGX_HTTP_UNIT_SHM_KEY_LEN;

    if (ngx_http_unit_sha256(fields, 2, 0, digest) != NGX_OK
        || ngx_http_unit_sha256(fields, 1, 0, conf->share_key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(conf->share_tag, digest, sizeof(conf->share_tag));

    return NGX_OK;
}
