
/*
 * unit_status: a location that tells what the gateway has counted and how its
 * budget, keys and zone stand; as JSON, or for Prometheus.
 */


#ifndef _NGX_HTTP_UNIT_STATUS_H_INCLUDED_
#define _NGX_HTTP_UNIT_STATUS_H_INCLUDED_


#include "ngx_http_unit.h"
#include "ngx_http_unit_metrics.h"


/* names of counters that stand side by side */
typedef struct {
    const char                      *name;
    ngx_uint_t                       word;    /* ngx_http_unit_metrics_e */
} ngx_http_unit_status_name_t;


/* one answer: all of what it tells, read at one time, and its text so far */
typedef struct {
    ngx_pool_t                      *pool;
    const ngx_http_unit_main_conf_t *umcf;
    ngx_uint_t                       workers;
    ngx_uint_t                       noperations;

    ngx_atomic_uint_t               *words;   /* a copy */

    /* of the head of the zone, copied under its lock */
    ngx_http_unit_shm_budget_t       budget;
    ngx_uint_t                       count[NGX_HTTP_UNIT_SHM_CLASSES];
    ngx_uint_t                       evicted[NGX_HTTP_UNIT_SHM_CLASSES];
    ngx_uint_t                       nomem;
    ngx_uint_t                       pages;   /* free */

    /* made of it */
    ngx_uint_t                       left;    /* of the budget, ordinary */
    ngx_uint_t                       all;     /* with the reserve */
    ngx_msec_t                       paused;  /* ms */

    ngx_chain_t                     *out;
    ngx_chain_t                    **last;
    ngx_buf_t                       *buf;
    off_t                            len;
    unsigned                         failed:1;  /* no memory */
    unsigned                         comma:1;   /* JSON: before the next */
} ngx_http_unit_status_t;


/* what both formats show under the same names, each list ended by NULL */
extern const ngx_http_unit_status_name_t  ngx_http_unit_status_tokens[];
extern const ngx_http_unit_status_name_t  ngx_http_unit_status_verifications[];
extern const ngx_http_unit_status_name_t  ngx_http_unit_status_idempotency[];
extern const ngx_http_unit_status_name_t  ngx_http_unit_status_limits[];

/* by ngx_http_unit_metrics_kind_e, class of answers, class of the zone */
extern const char  *ngx_http_unit_status_kinds[NGX_HTTP_UNIT_METRICS_KINDS];
extern const char  *ngx_http_unit_status_classes[NGX_HTTP_UNIT_METRICS_CLASSES];
extern const char  *ngx_http_unit_status_records[NGX_HTTP_UNIT_SHM_CLASSES];


/* Setter of unit_status. */
char *ngx_http_unit_status_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * A location that is merged: is unit_status all that answers in it?
 *
 * NGX_OK, or NGX_ERROR after logging through cf
 */
ngx_int_t ngx_http_unit_status_check(ngx_conf_t *cf,
    ngx_http_unit_loc_conf_t *ulcf);

/* "ok" or the code of a decision, "undecided". */
const ngx_str_t *ngx_http_unit_status_decision(ngx_uint_t decision);

/* An operation's name by its index; "unknown" behind the last one. */
const ngx_str_t *ngx_http_unit_status_operation(
    const ngx_http_unit_status_t *st, ngx_uint_t index);

/* "closed", "open", "probing" */
const char *ngx_http_unit_status_breaker(const ngx_http_unit_status_t *st);

/* Attempts of a class of answers; of a bucket, with all classes. */
ngx_uint_t ngx_http_unit_status_answers(const ngx_http_unit_status_t *st,
    ngx_uint_t kind, ngx_uint_t class);
ngx_uint_t ngx_http_unit_status_bucket(const ngx_http_unit_status_t *st,
    ngx_uint_t kind, ngx_uint_t bucket);

/* Requests that ended with a decision, all operations together. */
ngx_uint_t ngx_http_unit_status_decided(const ngx_http_unit_status_t *st,
    ngx_uint_t decision);

/*
 * A partner's keys in this worker.
 *
 *   age       out: seconds since the set in force was loaded, or fetched
 *   failures  out: since the worker began
 *   failing   out: 1 if the last try to get another set has failed, or 0
 *
 * Returns the number of keys; 0: there is no set yet, and no age.
 */
ngx_uint_t ngx_http_unit_status_keys(const ngx_http_unit_partner_t *partner,
    ngx_uint_t *age, ngx_uint_t *failures, ngx_uint_t *failing);

/* Where they come from: "file" or "uri". */
const char *ngx_http_unit_status_source(
    const ngx_http_unit_partner_t *partner);

/* Bytes of the zone in use, in whole pages. */
size_t ngx_http_unit_status_used(const ngx_http_unit_status_t *st);

/* The text goes on with this; when memory is short st->failed is set. */
void ngx_http_unit_status_put(ngx_http_unit_status_t *st, const u_char *p,
    size_t len);
void ngx_http_unit_status_text(ngx_http_unit_status_t *st, const char *text);
void ngx_http_unit_status_number(ngx_http_unit_status_t *st, ngx_uint_t n);
void ngx_http_unit_status_seconds(ngx_http_unit_status_t *st, ngx_uint_t ms);

/* Write all of it: of _status_json.c, _status_prometheus.c. */
void ngx_http_unit_status_json(ngx_http_unit_status_t *st);
void ngx_http_unit_status_prometheus(ngx_http_unit_status_t *st);


#endif /* _NGX_HTTP_UNIT_STATUS_H_INCLUDED_ */
