
/*
 * The content handler of unit_status, see ngx_http_unit_status.h: reads the
 * counters and the state of the zone, and sends what _status_json.c or
 * _status_prometheus.c makes of them.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_conf.h"
#include "ngx_http_unit_error.h"
#include "ngx_http_unit_keys.h"
#include "ngx_http_unit_list.h"
#include "ngx_http_unit_status.h"


#define NGX_HTTP_UNIT_STATUS_BUFFER  4096


typedef void (*ngx_http_unit_status_format_pt)(ngx_http_unit_status_t *st);


static ngx_int_t ngx_http_unit_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_unit_status_refuse(ngx_http_request_t *r,
    ngx_http_unit_code_e code, const char *reason);
static ngx_int_t ngx_http_unit_status_send(ngx_http_request_t *r,
    ngx_http_unit_status_t *st);
static ngx_int_t ngx_http_unit_status_read(ngx_http_request_t *r,
    ngx_http_unit_status_t *st);


const ngx_http_unit_status_name_t  ngx_http_unit_status_tokens[] = {
    { "hit", NGX_HTTP_UNIT_METRICS_TOKEN + NGX_HTTP_UNIT_TOKEN_HIT },
    { "minted", NGX_HTTP_UNIT_METRICS_TOKEN + NGX_HTTP_UNIT_TOKEN_MINTED },
    { "waited", NGX_HTTP_UNIT_METRICS_TOKEN + NGX_HTTP_UNIT_TOKEN_WAITED },
    { "refused", NGX_HTTP_UNIT_METRICS_TOKEN_REFUSED },
    { NULL, 0 }
};


const ngx_http_unit_status_name_t  ngx_http_unit_status_verifications[] = {
    { "started", NGX_HTTP_UNIT_METRICS_STARTED },
    { "verified", NGX_HTTP_UNIT_METRICS_VERIFIED },
    { "wrong_code", NGX_HTTP_UNIT_METRICS_WRONG_CODE },
    { "locked", NGX_HTTP_UNIT_METRICS_LOCKED },
    { "expired", NGX_HTTP_UNIT_METRICS_EXPIRED },
    { NULL, 0 }
};


const ngx_http_unit_status_name_t  ngx_http_unit_status_idempotency[] = {
    { "generated",
      NGX_HTTP_UNIT_METRICS_IDEM + NGX_HTTP_UNIT_IDEM_GENERATED },
    { "new", NGX_HTTP_UNIT_METRICS_IDEM + NGX_HTTP_UNIT_IDEM_NEW },
    { "stored", NGX_HTTP_UNIT_METRICS_IDEM + NGX_HTTP_UNIT_IDEM_STORED },
    { "unknown", NGX_HTTP_UNIT_METRICS_IDEM + NGX_HTTP_UNIT_IDEM_UNKNOWN },
    { "replayed", NGX_HTTP_UNIT_METRICS_IDEM + NGX_HTTP_UNIT_IDEM_REPLAYED },
    { "conflict", NGX_HTTP_UNIT_METRICS_IDEM + NGX_HTTP_UNIT_IDEM_CONFLICT },
    { NULL, 0 }
};


const ngx_http_unit_status_name_t  ngx_http_unit_status_limits[] = {
    { "budget",
      NGX_HTTP_UNIT_METRICS_LIMIT + NGX_HTTP_UNIT_SHM_LIMIT_BUDGET },
    { "partner",
      NGX_HTTP_UNIT_METRICS_LIMIT + NGX_HTTP_UNIT_SHM_LIMIT_PARTNER },
    { "customer",
      NGX_HTTP_UNIT_METRICS_LIMIT + NGX_HTTP_UNIT_SHM_LIMIT_CUSTOMER },
    { "address",
      NGX_HTTP_UNIT_METRICS_LIMIT + NGX_HTTP_UNIT_SHM_LIMIT_ADDRESS },
    { "circuit",
      NGX_HTTP_UNIT_METRICS_LIMIT + NGX_HTTP_UNIT_SHM_LIMIT_CIRCUIT },
    { NULL, 0 }
};


const char  *ngx_http_unit_status_kinds[] = {
    "request", "broker", "key_server"
};


const char  *ngx_http_unit_status_classes[] = {
    "none", "1xx", "2xx", "3xx", "4xx", "5xx"
};


const char  *ngx_http_unit_status_records[] = {
    "verified_jwts", "refused_jwts", "tokens", "customers", "key_sets",
    "leases", "refusals", "verifications", "verification_limits",
    "record_leases", "records", "partner_limits", "customer_limits",
    "address_limits"
};


char *
ngx_http_unit_status_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_unit_loc_conf_t  *ulcf = conf;

    ngx_str_t                  *value;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_unit_main_conf_t  *umcf;

    if (ulcf->status) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "cannot go together with another handler";
    }

    ulcf->status = 1;
    clcf->handler = ngx_http_unit_status_handler;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_unit_module);
    umcf->status = 1;

    /* there is nothing to tell without a gateway */

    if (umcf->gateway.name.len == 0) {
        value = cf->args->elts;
        ngx_http_unit_conf_word(cf, &value[0], &umcf->gateway);
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_unit_status_check(ngx_conf_t *cf, ngx_http_unit_loc_conf_t *ulcf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* the phases let it pass: nothing else may be behind it */

    if (!ulcf->status || clcf->handler == ngx_http_unit_status_handler) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"unit_status\" cannot go together with another "
                       "handler, in location \"%V\"", &clcf->name);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_unit_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_str_t                        format;
    ngx_http_unit_status_t           st;
    ngx_http_unit_status_format_pt   write;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_unit_status_refuse(r, NGX_HTTP_UNIT_METHOD_NOT_ALLOWED,
                                           "status_method");
    }

    write = ngx_http_unit_status_json;
    ngx_str_set(&r->headers_out.content_type, "application/json");

    if (ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK) {

        if (format.len == 10
            && ngx_memcmp(format.data, "prometheus", 10) == 0)
        {
            write = ngx_http_unit_status_prometheus;
            ngx_str_set(&r->headers_out.content_type,
                        "text/plain; version=0.0.4");

        } else if (format.len != 4
                   || ngx_memcmp(format.data, "json", 4) != 0)
        {
            return ngx_http_unit_status_refuse(r,
                                               NGX_HTTP_UNIT_INVALID_REQUEST,
                                               "status_format");
        }
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_unit_status_read(r, &st) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    write(&st);

    if (st.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_unit_status_send(r, &st);
}


static ngx_int_t
ngx_http_unit_status_refuse(ngx_http_request_t *r, ngx_http_unit_code_e code,
    const char *reason)
{
    ngx_http_unit_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_unit_code(code)->status;
    }

    ctx = ngx_http_unit_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->allow = NGX_HTTP_UNIT_METHOD_GET;

    /* it finalizes the request, and so does the content phase */

    r->main->count++;

    return ngx_http_unit_error(r, code, reason);
}


static ngx_int_t
ngx_http_unit_status_send(ngx_http_request_t *r, ngx_http_unit_status_t *st)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    ngx_str_set(&value, "no-store");

    if (ngx_http_unit_list_add(&r->headers_out.headers, "Cache-Control",
                               &value)
        == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = st->len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    st->buf->last_buf = (r == r->main);
    st->buf->last_in_chain = 1;

    return ngx_http_output_filter(r, st->out);
}


static ngx_int_t
ngx_http_unit_status_read(ngx_http_request_t *r, ngx_http_unit_status_t *st)
{
    ngx_core_conf_t              *ccf;
    ngx_http_unit_shm_t          *shm;
    ngx_http_unit_rate_state_t   *state, paused;
    const ngx_http_unit_rate_t   *rate;

    ngx_memzero(st, sizeof(ngx_http_unit_status_t));

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    st->pool = r->pool;
    st->last = &st->out;
    st->workers = ccf->worker_processes;
    st->umcf = ngx_http_get_module_main_conf(r, ngx_http_unit_module);
    st->noperations = ngx_http_unit_policy_noperations(st->umcf->policy);

    st->words = ngx_http_unit_metrics_copy(r->pool, st->umcf->metrics);
    if (st->words == NULL) {
        return NGX_ERROR;
    }

    shm = st->umcf->shm;

    ngx_http_unit_shm_lock(shm);

    st->budget = shm->sh->budget;
    ngx_memcpy(st->count, shm->sh->count, sizeof(st->count));
    ngx_memcpy(st->evicted, shm->sh->evicted, sizeof(st->evicted));
    st->nomem = shm->sh->nomem;
    st->pages = shm->shpool->pfree;

    ngx_http_unit_shm_unlock(shm);

    state = &st->budget.state;
    rate = &st->umcf->budget->budget.rate;

    ngx_http_unit_rate_drain(state, rate, ngx_current_msec);

    st->left = ngx_http_unit_rate_left(state, rate, rate->floor);
    st->all = ngx_http_unit_rate_left(state, rate, 0);

    /* with nothing used only a pause is left to wait for */

    paused = *state;
    paused.used = 0;

    st->paused = ngx_http_unit_rate_wait(&paused, rate, 0, ngx_current_msec);

    return NGX_OK;
}


const ngx_str_t *
ngx_http_unit_status_decision(ngx_uint_t decision)
{
    static const ngx_str_t  ok = ngx_string("ok");
    static const ngx_str_t  undecided = ngx_string("undecided");

    if (decision == NGX_HTTP_UNIT_ALLOWED) {
        return &ok;
    }

    if (decision == NGX_HTTP_UNIT_METRICS_UNDECIDED) {
        return &undecided;
    }

    return &ngx_http_unit_code(decision)->name;
}


const ngx_str_t *
ngx_http_unit_status_operation(const ngx_http_unit_status_t *st,
    ngx_uint_t index)
{
    static const ngx_str_t  unknown = ngx_string("unknown");

    if (index == st->noperations) {
        return &unknown;
    }

    return &ngx_http_unit_policy_operation(st->umcf->policy, index)->name;
}


const char *
ngx_http_unit_status_breaker(const ngx_http_unit_status_t *st)
{
    if (st->umcf->budget->breaker.failures == 0) {
        return "closed";
    }

    switch (st->budget.breaker.state) {

    case NGX_HTTP_UNIT_BREAKER_OPEN:
        return "open";

    case NGX_HTTP_UNIT_BREAKER_PROBING:
        return "probing";

    default: /* NGX_HTTP_UNIT_BREAKER_CLOSED */
        return "closed";
    }
}


ngx_uint_t
ngx_http_unit_status_answers(const ngx_http_unit_status_t *st,
    ngx_uint_t kind, ngx_uint_t class)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_HTTP_UNIT_METRICS_BUCKETS; i++) {
        n += st->words[ngx_http_unit_metrics_attempt_word(kind, class, i)];
    }

    return n;
}


ngx_uint_t
ngx_http_unit_status_bucket(const ngx_http_unit_status_t *st,
    ngx_uint_t kind, ngx_uint_t bucket)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_HTTP_UNIT_METRICS_CLASSES; i++) {
        n += st->words[ngx_http_unit_metrics_attempt_word(kind, i, bucket)];
    }

    return n;
}


ngx_uint_t
ngx_http_unit_status_decided(const ngx_http_unit_status_t *st,
    ngx_uint_t decision)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i <= st->noperations; i++) {
        n += st->words[ngx_http_unit_metrics_operation_word(i, decision)];
    }

    return n;
}


ngx_uint_t
ngx_http_unit_status_keys(const ngx_http_unit_partner_t *partner,
    ngx_uint_t *age, ngx_uint_t *failures, ngx_uint_t *failing)
{
    ngx_msec_t             good, failed;
    ngx_msec_int_t         ms;
    ngx_http_unit_keys_t  *keys;

    keys = partner->keys;

    if (keys->file) {
        *failures = keys->file->failures;
        failed = keys->file->failed;
        good = keys->loaded;

    } else {
        *failures = keys->failures;
        failed = keys->failed;
        good = keys->fetched;
    }

    *age = 0;

    if (keys->set == NULL) {
        *failing = (*failures > 0);
        return 0;
    }

    *failing = (*failures > 0 && (ngx_msec_int_t) (failed - good) > 0);

    ms = (ngx_msec_int_t) (ngx_current_msec - good);
    if (ms > 0) {
        *age = (ngx_uint_t) ms / 1000;
    }

    return keys->set->nkeys;
}


const char *
ngx_http_unit_status_source(const ngx_http_unit_partner_t *partner)
{
    return partner->keys->file ? "file" : "uri";
}


size_t
ngx_http_unit_status_used(const ngx_http_unit_status_t *st)
{
    return st->umcf->shm->zone->shm.size - st->pages * ngx_pagesize;
}


void
ngx_http_unit_status_put(ngx_http_unit_status_t *st, const u_char *p,
    size_t len)
{
    size_t        n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    while (len && !st->failed) {

        b = st->buf;

        if (b == NULL || b->last == b->end) {

            b = ngx_create_temp_buf(st->pool, NGX_HTTP_UNIT_STATUS_BUFFER);
            cl = ngx_alloc_chain_link(st->pool);

            if (b == NULL || cl == NULL) {
                st->failed = 1;
                return;
            }

            cl->buf = b;
            cl->next = NULL;

            *st->last = cl;
            st->last = &cl->next;
            st->buf = b;
        }

        n = ngx_min(len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, p, n);
        st->len += n;

        p += n;
        len -= n;
    }
}


void
ngx_http_unit_status_text(ngx_http_unit_status_t *st, const char *text)
{
    ngx_http_unit_status_put(st, (const u_char *) text, ngx_strlen(text));
}


void
ngx_http_unit_status_number(ngx_http_unit_status_t *st, ngx_uint_t n)
{
    u_char  buf[NGX_INT_T_LEN];

    ngx_http_unit_status_put(st, buf, ngx_sprintf(buf, "%ui", n) - buf);
}


/* ms as seconds, with a point */

void
ngx_http_unit_status_seconds(ngx_http_unit_status_t *st, ngx_uint_t ms)
{
    u_char  buf[NGX_INT_T_LEN + sizeof(".000")];

    ngx_http_unit_status_put(st, buf,
                             ngx_sprintf(buf, "%ui.%03ui", ms / 1000,
                                         ms % 1000)
                             - buf);
}
