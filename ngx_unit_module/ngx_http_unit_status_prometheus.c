
/*
 * The status in Prometheus' text format 0.0.4; the metrics are listed in
 * docs/status.md.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_status.h"


#define NGX_HTTP_UNIT_STATUS_PREFIX  "unit_gateway_"


static void ngx_http_unit_status_prom_requests(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_prom_outcomes(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_prom_upstream(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_prom_latency(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_prom_budget(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_prom_keys(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_prom_zone(ngx_http_unit_status_t *st);
static void ngx_http_unit_status_prom_names(ngx_http_unit_status_t *st,
    const char *metric, const char *label,
    const ngx_http_unit_status_name_t *name);
static void ngx_http_unit_status_prom_head(ngx_http_unit_status_t *st,
    const char *metric, const char *type, const char *help);
static void ngx_http_unit_status_prom_one(ngx_http_unit_status_t *st,
    const char *metric, const char *type, const char *help, ngx_uint_t n);
static void ngx_http_unit_status_prom_begin(ngx_http_unit_status_t *st,
    const char *metric);
static void ngx_http_unit_status_prom_label(ngx_http_unit_status_t *st,
    const char *name, const char *value);
static void ngx_http_unit_status_prom_string(ngx_http_unit_status_t *st,
    const char *name, const ngx_str_t *value);
static void ngx_http_unit_status_prom_value(ngx_http_unit_status_t *st,
    ngx_uint_t n);
static void ngx_http_unit_status_prom_close(ngx_http_unit_status_t *st);


void
ngx_http_unit_status_prometheus(ngx_http_unit_status_t *st)
{
    ngx_http_unit_status_prom_one(st, "counters_start_time_seconds", "gauge",
        "When the counters began, in seconds since the epoch.",
        st->umcf->metrics->sh->since);
    ngx_http_unit_status_prom_one(st, "workers", "gauge",
        "Worker processes, as configured.", st->workers);

    ngx_http_unit_status_prom_requests(st);
    ngx_http_unit_status_prom_outcomes(st);
    ngx_http_unit_status_prom_upstream(st);
    ngx_http_unit_status_prom_latency(st);
    ngx_http_unit_status_prom_budget(st);
    ngx_http_unit_status_prom_keys(st);
    ngx_http_unit_status_prom_zone(st);
}


static void
ngx_http_unit_status_prom_requests(ngx_http_unit_status_t *st)
{
    ngx_uint_t  i, d, n;

    ngx_http_unit_status_prom_head(st, "requests_total", "counter",
        "Requests that have ended, by operation and decision.");

    for (i = 0; i <= st->noperations; i++) {

        for (d = 0; d < NGX_HTTP_UNIT_METRICS_DECISIONS; d++) {

            n = st->words[ngx_http_unit_metrics_operation_word(i, d)];

            if (n == 0) {
                continue;
            }

            ngx_http_unit_status_prom_begin(st, "requests_total");
            ngx_http_unit_status_prom_string(st, "operation",
                                      ngx_http_unit_status_operation(st, i));
            ngx_http_unit_status_prom_string(st, "decision",
                                         ngx_http_unit_status_decision(d));
            ngx_http_unit_status_prom_value(st, n);
        }
    }
}


static void
ngx_http_unit_status_prom_outcomes(ngx_http_unit_status_t *st)
{
    ngx_http_unit_status_prom_head(st, "tokens_total", "counter",
        "Requests by where their customer token came from.");
    ngx_http_unit_status_prom_names(st, "tokens_total", "outcome",
                                    ngx_http_unit_status_tokens);

    ngx_http_unit_status_prom_one(st, "token_calls_total", "counter",
        "Calls to Unit that create a customer token.",
        st->words[NGX_HTTP_UNIT_METRICS_TOKEN_CALLS]);
    ngx_http_unit_status_prom_one(st, "token_call_failures_total", "counter",
        "Calls to Unit that were to create a customer token and did not.",
        st->words[NGX_HTTP_UNIT_METRICS_TOKEN_FAILED]);

    ngx_http_unit_status_prom_head(st, "verifications_total", "counter",
        "Two-factor verifications by what became of them.");
    ngx_http_unit_status_prom_names(st, "verifications_total", "outcome",
                                    ngx_http_unit_status_verifications);
    ngx_http_unit_status_prom_begin(st, "verifications_total");
    ngx_http_unit_status_prom_label(st, "outcome", "limited");
    ngx_http_unit_status_prom_value(st,
        ngx_http_unit_status_decided(st, NGX_HTTP_UNIT_TWO_FACTOR_LIMITED));

    ngx_http_unit_status_prom_head(st, "idempotency_total", "counter",
        "Writes with a key by what became of them.");
    ngx_http_unit_status_prom_names(st, "idempotency_total", "outcome",
                                    ngx_http_unit_status_idempotency);

    ngx_http_unit_status_prom_head(st, "limit_refusals_total", "counter",
        "Requests that a limit has refused.");
    ngx_http_unit_status_prom_names(st, "limit_refusals_total", "kind",
                                    ngx_http_unit_status_limits);
    ngx_http_unit_status_prom_one(st, "limit_delayed_total", "counter",
        "Requests that have waited for their turn.",
        st->words[NGX_HTTP_UNIT_METRICS_DELAYED]);
    ngx_http_unit_status_prom_one(st, "limit_dry_run_total", "counter",
        "Requests that would have been refused, were it not a dry run.",
        st->words[NGX_HTTP_UNIT_METRICS_DRY_RUN]);
    ngx_http_unit_status_prom_one(st, "limit_degraded_total", "counter",
        "Checks of limits that could not count all for lack of room.",
        st->budget.degraded);
}


static void
ngx_http_unit_status_prom_upstream(ngx_http_unit_status_t *st)
{
    ngx_uint_t  kind, i;

    ngx_http_unit_status_prom_head(st, "upstream_attempts_total", "counter",
        "Attempts to reach Unit or a key server, by what was answered.");

    for (kind = 0; kind < NGX_HTTP_UNIT_METRICS_KINDS; kind++) {

        for (i = 0; i < NGX_HTTP_UNIT_METRICS_CLASSES; i++) {

            ngx_http_unit_status_prom_begin(st, "upstream_attempts_total");
            ngx_http_unit_status_prom_label(st, "kind",
                                            ngx_http_unit_status_kinds[kind]);
            ngx_http_unit_status_prom_label(st, "outcome",
                                            ngx_http_unit_status_classes[i]);
            ngx_http_unit_status_prom_value(st,
                                 ngx_http_unit_status_answers(st, kind, i));
        }
    }

    ngx_http_unit_status_prom_one(st, "upstream_retries_total", "counter",
        "Further attempts of requests, after the first one.",
        st->words[NGX_HTTP_UNIT_METRICS_RETRIES]);
}


static void
ngx_http_unit_status_prom_latency(ngx_http_unit_status_t *st)
{
    ngx_uint_t   kind, i, n;
    const char  *name;

    ngx_http_unit_status_prom_head(st, "upstream_duration_seconds",
        "histogram", "Time until an attempt was answered or had failed.");

    for (kind = 0; kind < NGX_HTTP_UNIT_METRICS_KINDS; kind++) {

        name = ngx_http_unit_status_kinds[kind];
        n = 0;

        for (i = 0; i < NGX_HTTP_UNIT_METRICS_BUCKETS; i++) {

            n += ngx_http_unit_status_bucket(st, kind, i);

            ngx_http_unit_status_prom_begin(st,
                                          "upstream_duration_seconds_bucket");
            ngx_http_unit_status_prom_label(st, "kind", name);
            ngx_http_unit_status_prom_label(st, "le",
                                   ngx_http_unit_metrics_bounds[i].seconds);
            ngx_http_unit_status_prom_value(st, n);
        }

        ngx_http_unit_status_prom_begin(st, "upstream_duration_seconds_sum");
        ngx_http_unit_status_prom_label(st, "kind", name);
        ngx_http_unit_status_prom_close(st);
        ngx_http_unit_status_seconds(st,
                                 st->words[NGX_HTTP_UNIT_METRICS_TIME + kind]);
        ngx_http_unit_status_text(st, "\n");

        ngx_http_unit_status_prom_begin(st, "upstream_duration_seconds_count");
        ngx_http_unit_status_prom_label(st, "kind", name);
        ngx_http_unit_status_prom_value(st, n);
    }
}


static void
ngx_http_unit_status_prom_budget(ngx_http_unit_status_t *st)
{
    ngx_uint_t                            i;
    const char                           *breaker;
    const ngx_http_unit_budget_window_t  *window;

    static const char  *states[] = { "closed", "open", "probing" };

    window = &st->umcf->budget->budget;

    ngx_http_unit_status_prom_one(st, "budget_calls", "gauge",
        "Calls to Unit that the budget allows in its window.", window->quota);
    ngx_http_unit_status_prom_one(st, "budget_window_seconds", "gauge",
        "The window of the budget.", window->seconds);

    ngx_http_unit_status_prom_head(st, "budget_burst_calls", "gauge",
        "Calls that may be made at once when nothing is used up.");
    ngx_http_unit_status_prom_begin(st, "budget_burst_calls");
    ngx_http_unit_status_prom_label(st, "kind", "ordinary");
    ngx_http_unit_status_prom_value(st, window->burst);
    ngx_http_unit_status_prom_begin(st, "budget_burst_calls");
    ngx_http_unit_status_prom_label(st, "kind", "reserve");
    ngx_http_unit_status_prom_value(st, window->rate.floor
                                        / NGX_HTTP_UNIT_RATE_ONE);

    ngx_http_unit_status_prom_head(st, "budget_left_calls", "gauge",
        "Calls that may be made at once now.");
    ngx_http_unit_status_prom_begin(st, "budget_left_calls");
    ngx_http_unit_status_prom_label(st, "kind", "ordinary");
    ngx_http_unit_status_prom_value(st, st->left);
    ngx_http_unit_status_prom_begin(st, "budget_left_calls");
    ngx_http_unit_status_prom_label(st, "kind", "reserve");
    ngx_http_unit_status_prom_value(st, st->all - st->left);

    ngx_http_unit_status_prom_head(st, "budget_paused_seconds", "gauge",
        "How long nobody is to call Unit, because it has said so.");
    ngx_http_unit_status_prom_begin(st, "budget_paused_seconds");
    ngx_http_unit_status_prom_close(st);
    ngx_http_unit_status_seconds(st, st->paused);
    ngx_http_unit_status_text(st, "\n");

    ngx_http_unit_status_prom_one(st, "budget_pauses_total", "counter",
        "Answers 429 of Unit's, each of which pauses the budget.",
        st->budget.paused);

    breaker = ngx_http_unit_status_breaker(st);

    ngx_http_unit_status_prom_head(st, "breaker_state", "gauge",
        "The circuit to Unit: 1 for the state that it is in.");

    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        ngx_http_unit_status_prom_begin(st, "breaker_state");
        ngx_http_unit_status_prom_label(st, "kind", states[i]);
        ngx_http_unit_status_prom_value(st, ngx_strcmp(states[i], breaker)
                                            == 0);
    }

    ngx_http_unit_status_prom_one(st, "breaker_opened_total", "counter",
        "How often failures have opened the circuit.",
        st->budget.breaker.opened);
}


/* of the worker that answers; without a set there is no age */

static void
ngx_http_unit_status_prom_keys(ngx_http_unit_status_t *st)
{
    ngx_uint_t                m, i, v[4];
    ngx_http_unit_partner_t  *partner;

    static const char  *metrics[][2] = {
        { "keys", "Keys of a partner that can be used, in this worker." },
        { "keys_age_seconds", "Age of the key set in force, in this worker." },
        { "keys_load_failures", "Key sets that could not be loaded or "
                                "fetched, by this worker." },
        { "keys_failing", "1 if the last try of this worker to get another "
                          "key set has failed." }
    };

    partner = st->umcf->partners.elts;

    for (m = 0; m < 4; m++) {

        ngx_http_unit_status_prom_head(st, metrics[m][0], "gauge",
                                       metrics[m][1]);

        for (i = 0; i < st->umcf->partners.nelts; i++) {

            v[0] = ngx_http_unit_status_keys(&partner[i], &v[1], &v[2],
                                             &v[3]);

            if (m == 1 && v[0] == 0) {
                continue;
            }

            ngx_http_unit_status_prom_begin(st, metrics[m][0]);
            ngx_http_unit_status_prom_string(st, "partner", &partner[i].name);
            ngx_http_unit_status_prom_label(st, "kind",
                                  ngx_http_unit_status_source(&partner[i]));
            ngx_http_unit_status_prom_value(st, v[m]);
        }
    }
}


static void
ngx_http_unit_status_prom_zone(ngx_http_unit_status_t *st)
{
    ngx_uint_t       m, i, v[3];
    ngx_shm_zone_t  *zone;

    static const char  *metrics[][3] = {
        { "zone_size_bytes", "gauge", "Size of the zone." },
        { "zone_used_bytes", "gauge", "Bytes of the zone in pages in use." },
        { "zone_full_total", "counter",
          "Records for which no room could be made." }
    };

    zone = st->umcf->shm->zone;

    v[0] = zone->shm.size;
    v[1] = ngx_http_unit_status_used(st);
    v[2] = st->nomem;

    for (m = 0; m < 3; m++) {
        ngx_http_unit_status_prom_head(st, metrics[m][0], metrics[m][1],
                                       metrics[m][2]);
        ngx_http_unit_status_prom_begin(st, metrics[m][0]);
        ngx_http_unit_status_prom_string(st, "zone", &zone->shm.name);
        ngx_http_unit_status_prom_value(st, v[m]);
    }

    ngx_http_unit_status_prom_head(st, "zone_records", "gauge",
        "Records in the zone, expired ones that nothing has removed yet "
        "among them.");

    for (i = 0; i < NGX_HTTP_UNIT_SHM_CLASSES; i++) {
        ngx_http_unit_status_prom_begin(st, "zone_records");
        ngx_http_unit_status_prom_string(st, "zone", &zone->shm.name);
        ngx_http_unit_status_prom_label(st, "kind",
                                        ngx_http_unit_status_records[i]);
        ngx_http_unit_status_prom_value(st, st->count[i]);
    }

    ngx_http_unit_status_prom_head(st, "zone_evictions_total", "counter",
        "Live records that had to make room for others.");

    for (i = 0; i < NGX_HTTP_UNIT_SHM_CLASSES; i++) {
        ngx_http_unit_status_prom_begin(st, "zone_evictions_total");
        ngx_http_unit_status_prom_string(st, "zone", &zone->shm.name);
        ngx_http_unit_status_prom_label(st, "kind",
                                        ngx_http_unit_status_records[i]);
        ngx_http_unit_status_prom_value(st, st->evicted[i]);
    }
}


static void
ngx_http_unit_status_prom_names(ngx_http_unit_status_t *st,
    const char *metric, const char *label,
    const ngx_http_unit_status_name_t *name)
{
    for ( /* void */ ; name->name; name++) {
        ngx_http_unit_status_prom_begin(st, metric);
        ngx_http_unit_status_prom_label(st, label, name->name);
        ngx_http_unit_status_prom_value(st, st->words[name->word]);
    }
}


static void
ngx_http_unit_status_prom_head(ngx_http_unit_status_t *st,
    const char *metric, const char *type, const char *help)
{
    ngx_http_unit_status_text(st, "# HELP " NGX_HTTP_UNIT_STATUS_PREFIX);
    ngx_http_unit_status_text(st, metric);
    ngx_http_unit_status_text(st, " ");
    ngx_http_unit_status_text(st, help);
    ngx_http_unit_status_text(st, "\n# TYPE " NGX_HTTP_UNIT_STATUS_PREFIX);
    ngx_http_unit_status_text(st, metric);
    ngx_http_unit_status_text(st, " ");
    ngx_http_unit_status_text(st, type);
    ngx_http_unit_status_text(st, "\n");
}


/* a metric without labels */

static void
ngx_http_unit_status_prom_one(ngx_http_unit_status_t *st,
    const char *metric, const char *type, const char *help, ngx_uint_t n)
{
    ngx_http_unit_status_prom_head(st, metric, type, help);
    ngx_http_unit_status_prom_begin(st, metric);
    ngx_http_unit_status_prom_value(st, n);
}


/* a sample: _begin(), any number of labels, then _value() or _close() */

static void
ngx_http_unit_status_prom_begin(ngx_http_unit_status_t *st,
    const char *metric)
{
    ngx_http_unit_status_text(st, NGX_HTTP_UNIT_STATUS_PREFIX);
    ngx_http_unit_status_text(st, metric);
    st->comma = 0;
}


/* value is a word of ours: nothing in it needs escaping */

static void
ngx_http_unit_status_prom_label(ngx_http_unit_status_t *st,
    const char *name, const char *value)
{
    ngx_str_t  s;

    s.data = (u_char *) value;
    s.len = ngx_strlen(value);

    ngx_http_unit_status_prom_string(st, name, &s);
}


/* names of the configuration may hold anything */

static void
ngx_http_unit_status_prom_string(ngx_http_unit_status_t *st,
    const char *name, const ngx_str_t *value)
{
    u_char  *p, *last, *start;

    ngx_http_unit_status_text(st, st->comma ? "," : "{");
    st->comma = 1;

    ngx_http_unit_status_text(st, name);
    ngx_http_unit_status_text(st, "=\"");

    start = value->data;
    last = value->data + value->len;

    for (p = start; p < last; p++) {

        if (*p != '\\' && *p != '"' && *p != '\n') {
            continue;
        }

        ngx_http_unit_status_put(st, start, p - start);
        ngx_http_unit_status_text(st, *p == '\n' ? "\\n"
                                      : *p == '"' ? "\\\"" : "\\\\");
        start = p + 1;
    }

    ngx_http_unit_status_put(st, start, last - start);
    ngx_http_unit_status_text(st, "\"");
}


static void
ngx_http_unit_status_prom_value(ngx_http_unit_status_t *st, ngx_uint_t n)
{
    ngx_http_unit_status_prom_close(st);
    ngx_http_unit_status_number(st, n);
    ngx_http_unit_status_text(st, "\n");
}


static void
ngx_http_unit_status_prom_close(ngx_http_unit_status_t *st)
{
    ngx_http_unit_status_text(st, st->comma ? "} " : " ");
}
