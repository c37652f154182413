
/*
 * The status as JSON: members and their meaning are in docs/status.md.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_status.h"


static void ngx_http_unit_status_json_requests(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_json_operations(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_json_outcomes(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_json_attempts(ngx_http_unit_status_t *st,
    const char *name, ngx_uint_t kind);
static void ngx_http_unit_status_json_latency(ngx_http_unit_status_t *st,
    ngx_uint_t kind);
static void ngx_http_unit_status_json_budget(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_json_keys(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_json_zone(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_json_names(ngx_http_unit_status_t *st,
    const ngx_http_unit_status_name_t *name);
static void ngx_http_unit_status_json_begin(ngx_http_unit_status_t *st,
    const char *key, const char *bracket);
static void ngx_http_unit_status_json_end(ngx_http_unit_status_t *st,
    const char *bracket);
static void ngx_http_unit_status_json_key(ngx_http_unit_status_t *st,
    const char *key);
static void ngx_http_unit_status_json_number(ngx_http_unit_status_t *st,
    const char *key, ngx_uint_t n);
static void ngx_http_unit_status_json_string(ngx_http_unit_status_t *st,
    const char *key, const ngx_str_t *value);
static void ngx_http_unit_status_json_quote(ngx_http_unit_status_t *st,
    const u_char *p, size_t len);


void
ngx_http_unit_status_json(ngx_http_unit_status_t *st)
{
    ngx_http_unit_status_json_begin(st, NULL, "{");

    ngx_http_unit_status_json_number(st, "time", ngx_time());
    ngx_http_unit_status_json_number(st, "since", st->umcf->metrics->sh->since);
    ngx_http_unit_status_json_number(st, "workers", st->workers);

    ngx_http_unit_status_json_requests(st);
    ngx_http_unit_status_json_operations(st);
    ngx_http_unit_status_json_outcomes(st);

    ngx_http_unit_status_json_attempts(st, "upstream",
                                       NGX_HTTP_UNIT_METRICS_REQUEST);
    ngx_http_unit_status_json_attempts(st, "broker",
                                       NGX_HTTP_UNIT_METRICS_BROKER);
    ngx_http_unit_status_json_attempts(st, "key_server",
                                       NGX_HTTP_UNIT_METRICS_KEY_SERVER);

    ngx_http_unit_status_json_budget(st);
    ngx_http_unit_status_json_keys(st);
    ngx_http_unit_status_json_zone(st);

    ngx_http_unit_status_json_end(st, "}");
    ngx_http_unit_status_text(st, "\n");
}


/* by decision, all of them */

static void
ngx_http_unit_status_json_requests(ngx_http_unit_status_t *st)
{
    ngx_uint_t        i, total, n[NGX_HTTP_UNIT_METRICS_DECISIONS];
    const ngx_str_t  *name;

    total = 0;

    for (i = 0; i < NGX_HTTP_UNIT_METRICS_DECISIONS; i++) {
        n[i] = ngx_http_unit_status_decided(st, i);
        total += n[i];
    }

    ngx_http_unit_status_json_begin(st, "requests", "{");
    ngx_http_unit_status_json_number(st, "total", total);
    ngx_http_unit_status_json_begin(st, "decisions", "{");

    for (i = 0; i < NGX_HTTP_UNIT_METRICS_DECISIONS; i++) {
        name = ngx_http_unit_status_decision(i);
        ngx_http_unit_status_json_number(st, (const char *) name->data, n[i]);
    }

    ngx_http_unit_status_json_end(st, "}");
    ngx_http_unit_status_json_end(st, "}");
}


/* by operation and decision, what is not zero */

static void
ngx_http_unit_status_json_operations(ngx_http_unit_status_t *st)
{
    ngx_uint_t        i, d, n, begun;
    const ngx_str_t  *name;

    ngx_http_unit_status_json_begin(st, "operations", "{");

    for (i = 0; i <= st->noperations; i++) {

        begun = 0;

        for (d = 0; d < NGX_HTTP_UNIT_METRICS_DECISIONS; d++) {

            n = st->words[ngx_http_unit_metrics_operation_word(i, d)];

            if (n == 0) {
                continue;
            }

            if (!begun) {
                name = ngx_http_unit_status_operation(st, i);
                ngx_http_unit_status_json_string(st, NULL, name);
                ngx_http_unit_status_text(st, ":{");
                st->comma = 0;
                begun = 1;
            }

            name = ngx_http_unit_status_decision(d);
            ngx_http_unit_status_json_number(st, (const char *) name->data, n);
        }

        if (begun) {
            ngx_http_unit_status_json_end(st, "}");
        }
    }

    ngx_http_unit_status_json_end(st, "}");
}


static void
ngx_http_unit_status_json_outcomes(ngx_http_unit_status_t *st)
{
    ngx_http_unit_status_json_begin(st, "tokens", "{");
    ngx_http_unit_status_json_names(st, ngx_http_unit_status_tokens);
    ngx_http_unit_status_json_number(st, "evicted",
                                     st->evicted[NGX_HTTP_UNIT_SHM_TOKEN]);
    ngx_http_unit_status_json_number(st, "calls",
                               st->words[NGX_HTTP_UNIT_METRICS_TOKEN_CALLS]);
    ngx_http_unit_status_json_number(st, "failed",
                               st->words[NGX_HTTP_UNIT_METRICS_TOKEN_FAILED]);
    ngx_http_unit_status_json_end(st, "}");

    ngx_http_unit_status_json_begin(st, "verifications", "{");
    ngx_http_unit_status_json_names(st, ngx_http_unit_status_verifications);
    ngx_http_unit_status_json_number(st, "limited",
        ngx_http_unit_status_decided(st, NGX_HTTP_UNIT_TWO_FACTOR_LIMITED));
    ngx_http_unit_status_json_end(st, "}");

    ngx_http_unit_status_json_begin(st, "idempotency", "{");
    ngx_http_unit_status_json_names(st, ngx_http_unit_status_idempotency);
    ngx_http_unit_status_json_number(st, "evicted",
                                     st->evicted[NGX_HTTP_UNIT_SHM_IDEM]);
    ngx_http_unit_status_json_end(st, "}");

    ngx_http_unit_status_json_begin(st, "limits", "{");
    ngx_http_unit_status_json_names(st, ngx_http_unit_status_limits);
    ngx_http_unit_status_json_number(st, "delayed",
                                     st->words[NGX_HTTP_UNIT_METRICS_DELAYED]);
    ngx_http_unit_status_json_number(st, "dry_run",
                                     st->words[NGX_HTTP_UNIT_METRICS_DRY_RUN]);
    ngx_http_unit_status_json_number(st, "degraded", st->budget.degraded);
    ngx_http_unit_status_json_end(st, "}");
}


static void
ngx_http_unit_status_json_attempts(ngx_http_unit_status_t *st,
    const char *name, ngx_uint_t kind)
{
    ngx_uint_t  i, total, n[NGX_HTTP_UNIT_METRICS_CLASSES];

    total = 0;

    for (i = 0; i < NGX_HTTP_UNIT_METRICS_CLASSES; i++) {
        n[i] = ngx_http_unit_status_answers(st, kind, i);
        total += n[i];
    }

    ngx_http_unit_status_json_begin(st, name, "{");
    ngx_http_unit_status_json_number(st, "attempts", total);

    if (kind == NGX_HTTP_UNIT_METRICS_REQUEST) {
        ngx_http_unit_status_json_number(st, "retries",
                                   st->words[NGX_HTTP_UNIT_METRICS_RETRIES]);
    }

    ngx_http_unit_status_json_begin(st, "responses", "{");

    for (i = 0; i < NGX_HTTP_UNIT_METRICS_CLASSES; i++) {
        ngx_http_unit_status_json_number(st, ngx_http_unit_status_classes[i],
                                         n[i]);
    }

    ngx_http_unit_status_json_end(st, "}");
    ngx_http_unit_status_json_latency(st, kind);
    ngx_http_unit_status_json_end(st, "}");
}


static void
ngx_http_unit_status_json_latency(ngx_http_unit_status_t *st, ngx_uint_t kind)
{
    ngx_uint_t  i, n;

    ngx_http_unit_status_json_begin(st, "latency", "{");
    ngx_http_unit_status_json_begin(st, "buckets", "[");

    n = 0;

    for (i = 0; i < NGX_HTTP_UNIT_METRICS_BUCKETS; i++) {

        n += ngx_http_unit_status_bucket(st, kind, i);

        ngx_http_unit_status_json_begin(st, NULL, "{");
        ngx_http_unit_status_json_key(st, "le");

        if (i == NGX_HTTP_UNIT_METRICS_BUCKETS - 1) {
            ngx_http_unit_status_text(st, "\"+Inf\"");

        } else {
            ngx_http_unit_status_text(st,
                                      ngx_http_unit_metrics_bounds[i].seconds);
        }

        ngx_http_unit_status_json_number(st, "count", n);
        ngx_http_unit_status_json_end(st, "}");
    }

    ngx_http_unit_status_json_end(st, "]");

    ngx_http_unit_status_json_key(st, "sum");
    ngx_http_unit_status_seconds(st,
                                 st->words[NGX_HTTP_UNIT_METRICS_TIME + kind]);

    ngx_http_unit_status_json_number(st, "count", n);
    ngx_http_unit_status_json_end(st, "}");
}


/* an array, for there may be more budgets some day */

static void
ngx_http_unit_status_json_budget(ngx_http_unit_status_t *st)
{
    ngx_str_t                             breaker;
    const ngx_http_unit_budget_conf_t    *conf;
    const ngx_http_unit_budget_window_t  *window;

    conf = st->umcf->budget;
    window = &conf->budget;

    breaker.data = (u_char *) ngx_http_unit_status_breaker(st);
    breaker.len = ngx_strlen(breaker.data);

    ngx_http_unit_status_json_begin(st, "budget", "[");
    ngx_http_unit_status_json_begin(st, NULL, "{");

    ngx_http_unit_status_json_string(st, "name", &window->name);
    ngx_http_unit_status_json_number(st, "rate", window->quota);
    ngx_http_unit_status_json_number(st, "per", window->seconds);
    ngx_http_unit_status_json_number(st, "burst", window->burst);
    ngx_http_unit_status_json_number(st, "left", st->left);

    ngx_http_unit_status_json_begin(st, "reserve", "{");
    ngx_http_unit_status_json_number(st, "percent", conf->reserve);
    ngx_http_unit_status_json_number(st, "size",
                                     window->rate.floor
                                     / NGX_HTTP_UNIT_RATE_ONE);
    ngx_http_unit_status_json_number(st, "left", st->all - st->left);
    ngx_http_unit_status_json_end(st, "}");

    ngx_http_unit_status_json_number(st, "paused_ms", st->paused);
    ngx_http_unit_status_json_number(st, "pauses", st->budget.paused);
    ngx_http_unit_status_json_string(st, "breaker", &breaker);
    ngx_http_unit_status_json_number(st, "breaker_opened",
                                     st->budget.breaker.opened);

    ngx_http_unit_status_json_end(st, "}");
    ngx_http_unit_status_json_end(st, "]");
}


static void
ngx_http_unit_status_json_keys(ngx_http_unit_status_t *st)
{
    ngx_str_t                 source;
    ngx_uint_t                i, n, age, failures, failing;
    ngx_http_unit_partner_t  *partner;

    partner = st->umcf->partners.elts;

    ngx_http_unit_status_json_begin(st, "keys", "[");

    for (i = 0; i < st->umcf->partners.nelts; i++) {

        n = ngx_http_unit_status_keys(&partner[i], &age, &failures, &failing);

        source.data = (u_char *) ngx_http_unit_status_source(&partner[i]);
        source.len = ngx_strlen(source.data);

        ngx_http_unit_status_json_begin(st, NULL, "{");
        ngx_http_unit_status_json_string(st, "partner", &partner[i].name);
        ngx_http_unit_status_json_string(st, "source", &source);
        ngx_http_unit_status_json_number(st, "keys", n);

        if (n) {
            ngx_http_unit_status_json_number(st, "age", age);

        } else {
            ngx_http_unit_status_json_key(st, "age");
            ngx_http_unit_status_text(st, "null");
        }

        ngx_http_unit_status_json_number(st, "failures", failures);
        ngx_http_unit_status_json_number(st, "failing", failing);
        ngx_http_unit_status_json_end(st, "}");
    }

    ngx_http_unit_status_json_end(st, "]");
}


static void
ngx_http_unit_status_json_zone(ngx_http_unit_status_t *st)
{
    ngx_uint_t       i;
    ngx_shm_zone_t  *zone;

    zone = st->umcf->shm->zone;

    ngx_http_unit_status_json_begin(st, "zone", "[");
    ngx_http_unit_status_json_begin(st, NULL, "{");

    ngx_http_unit_status_json_string(st, "name", &zone->shm.name);
    ngx_http_unit_status_json_number(st, "size", zone->shm.size);
    ngx_http_unit_status_json_number(st, "used",
                                     ngx_http_unit_status_used(st));
    ngx_http_unit_status_json_number(st, "full", st->nomem);

    for (i = 0; i < NGX_HTTP_UNIT_SHM_CLASSES; i++) {
        ngx_http_unit_status_json_number(st, ngx_http_unit_status_records[i],
                                         st->count[i]);
    }

    ngx_http_unit_status_json_begin(st, "evicted", "{");

    for (i = 0; i < NGX_HTTP_UNIT_SHM_CLASSES; i++) {
        if (st->evicted[i]) {
            ngx_http_unit_status_json_number(st,
                                             ngx_http_unit_status_records[i],
                                             st->evicted[i]);
        }
    }

    ngx_http_unit_status_json_end(st, "}");
    ngx_http_unit_status_json_end(st, "}");
    ngx_http_unit_status_json_end(st, "]");
}


static void
ngx_http_unit_status_json_names(ngx_http_unit_status_t *st,
    const ngx_http_unit_status_name_t *name)
{
    for ( /* void */ ; name->name; name++) {
        ngx_http_unit_status_json_number(st, name->name,
                                         st->words[name->word]);
    }
}


/* an object or an array; key is NULL for an element of an array */

static void
ngx_http_unit_status_json_begin(ngx_http_unit_status_t *st, const char *key,
    const char *bracket)
{
    ngx_http_unit_status_json_key(st, key);
    ngx_http_unit_status_text(st, bracket);
    st->comma = 0;
}


static void
ngx_http_unit_status_json_end(ngx_http_unit_status_t *st, const char *bracket)
{
    ngx_http_unit_status_text(st, bracket);
    st->comma = 1;
}


/* keys are words of ours: nothing in them needs escaping */

static void
ngx_http_unit_status_json_key(ngx_http_unit_status_t *st, const char *key)
{
    if (st->comma) {
        ngx_http_unit_status_text(st, ",");
    }

    if (key) {
        ngx_http_unit_status_text(st, "\"");
        ngx_http_unit_status_text(st, key);
        ngx_http_unit_status_text(st, "\":");
    }

    st->comma = 1;
}


static void
ngx_http_unit_status_json_number(ngx_http_unit_status_t *st, const char *key,
    ngx_uint_t n)
{
    ngx_http_unit_status_json_key(st, key);
    ngx_http_unit_status_number(st, n);
}


static void
ngx_http_unit_status_json_string(ngx_http_unit_status_t *st, const char *key,
    const ngx_str_t *value)
{
    ngx_http_unit_status_json_key(st, key);
    ngx_http_unit_status_text(st, "\"");
    ngx_http_unit_status_json_quote(st, value->data, value->len);
    ngx_http_unit_status_text(st, "\"");
}


/* names of the configuration may hold anything */

static void
ngx_http_unit_status_json_quote(ngx_http_unit_status_t *st, const u_char *p,
    size_t len)
{
    size_t   n;
    u_char  *buf;

    n = ngx_escape_json(NULL, (u_char *) p, len);

    if (n == 0) {
        ngx_http_unit_status_put(st, p, len);
        return;
    }

    buf = ngx_pnalloc(st->pool, len + n);
    if (buf == NULL) {
        st->failed = 1;
        return;
    }

    (void) ngx_escape_json(buf, (u_char *) p, len);

    ngx_http_unit_status_put(st, buf, len + n);
}
