
/*
 * Directives of limits, see docs/limits.md: unit_budget, unit_limit and
 * unit_breaker.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_conf.h"


#define NGX_HTTP_UNIT_BUDGET_MAX_DELAY    30000
#define NGX_HTTP_UNIT_BUDGET_MAX_RESERVE  90
#define NGX_HTTP_UNIT_BUDGET_MAX_BREAKER  3600000


static char *ngx_http_unit_budget_quota(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_unit_budget_window_t *window);
static char *ngx_http_unit_budget_option(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_unit_budget_window_t *window);
static ngx_int_t ngx_http_unit_budget_time(ngx_str_t *value, size_t skip,
    ngx_msec_t max, ngx_msec_t *ms);


/* by kind */
static const ngx_str_t  ngx_http_unit_budget_names[] = {
    ngx_string("partner"),
    ngx_string("customer"),
    ngx_string("address")
};


ngx_http_unit_budget_conf_t *
ngx_http_unit_budget_create_conf(ngx_conf_t *cf)
{
    ngx_http_unit_budget_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_budget_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /* set by ngx_pcalloc(): all else; 0 is no value of a limit */

    conf->reserve = NGX_HTTP_UNIT_BUDGET_UNSET;

    return conf;
}


char *
ngx_http_unit_budget_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    char                         *rv;
    ngx_int_t                     n;
    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_unit_budget_conf_t  *bconf;

    bconf = umcf->budget;

    if (bconf->budget.quota) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_http_unit_conf_word(cf, &value[1], &bconf->budget.word);

    rv = ngx_http_unit_budget_quota(cf, &value[1], &bconf->budget);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "reserve=", 8) == 0) {

            n = (value[i].data[value[i].len - 1] == '%')
                ? ngx_atoi(value[i].data + 8, value[i].len - 9) : NGX_ERROR;

            if (n == NGX_ERROR || n > NGX_HTTP_UNIT_BUDGET_MAX_RESERVE
                || bconf->reserve != NGX_HTTP_UNIT_BUDGET_UNSET)
            {
                return "needs one reserve of 0% to 90%";
            }

            bconf->reserve = (ngx_uint_t) n;
            continue;
        }

        rv = ngx_http_unit_budget_option(cf, &value[i], &bconf->budget);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_unit_budget_set_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    char                           *rv;
    ngx_str_t                      *value, rate;
    ngx_uint_t                      i, kind;
    ngx_http_unit_budget_set_t     *set;
    ngx_http_unit_budget_window_t  *window;

    value = cf->args->elts;

    for (kind = 0; kind < NGX_HTTP_UNIT_SHM_LIMIT_BUDGET; kind++) {
        if (value[1].len == ngx_http_unit_budget_names[kind].len
            && ngx_strcmp(value[1].data, ngx_http_unit_budget_names[kind].data)
               == 0)
        {
            break;
        }
    }

    if (kind == NGX_HTTP_UNIT_SHM_LIMIT_BUDGET) {
        return "must be about \"partner\", \"customer\" or \"address\"";
    }

    set = &umcf->budget->sets[kind];

    if (set->n == NGX_HTTP_UNIT_BUDGET_WINDOWS) {
        return "may be given three times for each";
    }

    window = &set->windows[set->n];

    ngx_http_unit_conf_word(cf, &value[1], &window->word);

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "rate=", 5) == 0 && !window->quota) {

            rate.data = value[i].data + 5;
            rate.len = value[i].len - 5;

            rv = ngx_http_unit_budget_quota(cf, &rate, window);

        } else {
            rv = ngx_http_unit_budget_option(cf, &value[i], window);
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (window->quota == 0) {
        return "needs a rate";
    }

    if (window->delay && kind == NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS) {
        return "has no delay for addresses: who fails does not wait";
    }

    if (window->burst > window->quota) {
        return "has a burst above its rate";
    }

    for (i = 0; i < set->n; i++) {
        if (set->windows[i].seconds == window->seconds) {
            return "has this window twice";
        }
    }

    set->n++;

    return NGX_CONF_OK;
}


char *
ngx_http_unit_budget_set_breaker(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_unit_main_conf_t  *umcf = conf;

    ngx_int_t                      n;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_http_unit_breaker_conf_t  *breaker;

    if (umcf->budget->breaker_set) {
        return "is duplicate";
    }

    umcf->budget->breaker_set = 1;

    value = cf->args->elts;
    breaker = &umcf->budget->breaker;

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (cf->args->nelts > 2) {
            return "is \"off\" or has parameters";
        }

        /* no failures make it open */

        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "failures=", 9) == 0
            && !breaker->failures)
        {
            n = ngx_atoi(value[i].data + 9, value[i].len - 9);

            if (n == NGX_ERROR || n == 0 || n > 1000000) {
                return "needs a number of failures";
            }

            breaker->failures = (ngx_uint_t) n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "window=", 7) == 0 && !breaker->window
            && ngx_http_unit_budget_time(&value[i], 7,
                                         NGX_HTTP_UNIT_BUDGET_MAX_BREAKER,
                                         &breaker->window)
               == NGX_OK)
        {
            continue;
        }

        if (ngx_strncmp(value[i].data, "open=", 5) == 0 && !breaker->open
            && ngx_http_unit_budget_time(&value[i], 5,
                                         NGX_HTTP_UNIT_BUDGET_MAX_BREAKER,
                                         &breaker->open)
               == NGX_OK)
        {
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (breaker->failures == 0) {
        breaker->failures = NGX_HTTP_UNIT_BUDGET_FAILURES;
    }

    return NGX_CONF_OK;
}


/* 1000r/m */

static char *
ngx_http_unit_budget_quota(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_unit_budget_window_t *window)
{
    u_char     *p;
    ngx_int_t   n;

    n = NGX_ERROR;
    window->seconds = 0;

    if (value->len > 3) {

        p = value->data + value->len - 3;

        if (p[0] == 'r' && p[1] == '/') {

            n = ngx_atoi(value->data, value->len - 3);

            window->seconds = (p[2] == 's') ? 1
                              : (p[2] == 'm') ? 60
                              : (p[2] == 'h') ? 3600
                              : (p[2] == 'd') ? 86400 : 0;
        }
    }

    if (n <= 0 || n > NGX_HTTP_UNIT_RATE_MAX || window->seconds == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rate \"%V\", it must be 1r/s to %dr/d",
                           value, NGX_HTTP_UNIT_RATE_MAX);
        return NGX_CONF_ERROR;
    }

    window->quota = (ngx_uint_t) n;

    return NGX_CONF_OK;
}


/* burst=N, delay=TIME */

static char *
ngx_http_unit_budget_option(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_unit_budget_window_t *window)
{
    ngx_int_t  n;

    if (ngx_strncmp(value->data, "burst=", 6) == 0 && !window->burst) {

        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n == NGX_ERROR || n == 0 || n > NGX_HTTP_UNIT_RATE_MAX_BURST) {
            return "needs a burst of 1 to 10000000";
        }

        window->burst = (ngx_uint_t) n;

        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "delay=", 6) == 0 && !window->delay) {

        return ngx_http_unit_budget_time(value, 6,
                                         NGX_HTTP_UNIT_BUDGET_MAX_DELAY,
                                         &window->delay)
               == NGX_OK ? NGX_CONF_OK : "needs a delay of 1ms to 30s";
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_unit_budget_time(ngx_str_t *value, size_t skip, ngx_msec_t max,
    ngx_msec_t *ms)
{
    ngx_int_t  n;
    ngx_str_t  s;

    s.data = value->data + skip;
    s.len = value->len - skip;

    n = ngx_parse_time(&s, 0);

    if (n == NGX_ERROR || n == 0 || (ngx_msec_t) n > max) {
        return NGX_ERROR;
    }

    *ms = (ngx_msec_t) n;

    return NGX_OK;
}
