
/*
 * Single flight, see ngx_http_unit_flight.h.  Waiters of this process are
 * woken by the one who fetched; those of other processes poll the store, as
 * proxy_cache_lock does (STYLE P28).
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_metrics.h"


/* in ms: how often the store is polled, how long a refusal is remembered */
#define NGX_HTTP_UNIT_FLIGHT_POLL     20
#define NGX_HTTP_UNIT_FLIGHT_REFUSED  3000
#define NGX_HTTP_UNIT_FLIGHT_LIMITED  1000


static ngx_int_t ngx_http_unit_flight_wait(ngx_http_unit_flight_t *flight);
static void ngx_http_unit_flight_wait_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_unit_flight_fetch(ngx_http_unit_flight_t *flight);
static void ngx_http_unit_flight_renew_handler(ngx_event_t *ev);
static void ngx_http_unit_flight_fetched(ngx_http_unit_fetch_t *fetch);
static void ngx_http_unit_flight_wake(ngx_http_unit_flight_t *flight);
static void ngx_http_unit_flight_refresh(ngx_http_unit_flight_t *flight);
static void ngx_http_unit_flight_cleanup(void *data);


#define ngx_http_unit_flight_of(ev)                                           \
    ((ngx_http_unit_flight_t *)                                               \
     ((u_char *) (ev) - offsetof(ngx_http_unit_flight_t, event)))


static ngx_queue_t  ngx_http_unit_flight_waiters;

/* by ngx_http_unit_fetch_e */
static const char  *ngx_http_unit_flight_errors[] = {
    "none", "no answer", "timed out", "not a whole HTTP answer"
};


void
ngx_http_unit_flight_init_process(void)
{
    ngx_queue_init(&ngx_http_unit_flight_waiters);
}


ngx_int_t
ngx_http_unit_flight_run(ngx_http_unit_flight_t *flight)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;
    ngx_http_cleanup_t  *cln;

    r = flight->request;

    switch (flight->state) {

    case NGX_HTTP_UNIT_FLIGHT_LANDED:
        return flight->req.code ? NGX_DECLINED : NGX_OK;

    case NGX_HTTP_UNIT_FLIGHT_FETCHING:
        return NGX_AGAIN;

    case NGX_HTTP_UNIT_FLIGHT_WAITING:

        if (flight->queued) {
            /* some other event has run the phases */
            return NGX_AGAIN;
        }

        break;

    default: /* NGX_HTTP_UNIT_FLIGHT_START */
        break;
    }

    flight->req.pool = r->pool;

    rc = flight->store->acquire(flight->store_data, &flight->req);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (flight->req.result == NGX_HTTP_UNIT_STORE_HIT
        || flight->req.result == NGX_HTTP_UNIT_STORE_REFUSED)
    {
        flight->state = NGX_HTTP_UNIT_FLIGHT_LANDED;

        if (flight->req.refresh) {
            ngx_http_unit_flight_refresh(flight);
        }

        return flight->req.code ? NGX_DECLINED : NGX_OK;
    }

    if (!flight->cleanup) {

        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            ngx_http_unit_flight_cleanup(flight);
            return NGX_ERROR;
        }

        cln->handler = ngx_http_unit_flight_cleanup;
        cln->data = flight;
        flight->cleanup = 1;
    }

    if (flight->req.result == NGX_HTTP_UNIT_STORE_BUSY) {
        return ngx_http_unit_flight_wait(flight);
    }

    return ngx_http_unit_flight_fetch(flight);
}


static ngx_int_t
ngx_http_unit_flight_wait(ngx_http_unit_flight_t *flight)
{
    ngx_int_t            left;
    ngx_msec_t           delay;
    ngx_http_request_t  *r;

    r = flight->request;

    if (flight->state == NGX_HTTP_UNIT_FLIGHT_START) {
        flight->deadline = ngx_current_msec + flight->wait;
        flight->waited = 1;
    }

    left = (ngx_msec_int_t) (flight->deadline - ngx_current_msec);

    if (left <= 0) {
        flight->state = NGX_HTTP_UNIT_FLIGHT_LANDED;
        flight->req.code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
        return NGX_DECLINED;
    }

    /* notice when the client leaves (STYLE P5) */

    r->read_event_handler = ngx_http_test_reading;

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    delay = NGX_HTTP_UNIT_FLIGHT_POLL
            + ngx_random() % (3 * NGX_HTTP_UNIT_FLIGHT_POLL);

    flight->event.handler = ngx_http_unit_flight_wait_handler;
    flight->event.data = r->connection;
    flight->event.log = r->connection->log;

    ngx_add_timer(&flight->event, ngx_min(delay, (ngx_msec_t) left));

    ngx_queue_insert_tail(&ngx_http_unit_flight_waiters, &flight->queue);
    flight->queued = 1;
    flight->state = NGX_HTTP_UNIT_FLIGHT_WAITING;

    return NGX_AGAIN;
}


static void
ngx_http_unit_flight_wait_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_http_request_t      *r;
    ngx_http_unit_flight_t  *flight;

    flight = ngx_http_unit_flight_of(ev);
    r = flight->request;
    c = r->connection;

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (flight->queued) {
        ngx_queue_remove(&flight->queue);
        flight->queued = 0;
    }

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;

    r->write_event_handler(r);

    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_unit_flight_fetch(ngx_http_unit_flight_t *flight)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = flight->request;

    rc = flight->prepare(flight);

    if (rc == NGX_DECLINED) {
        flight->state = NGX_HTTP_UNIT_FLIGHT_LANDED;
        flight->req.ttl = 0;
        (void) flight->store->refuse(flight->store_data, &flight->req);
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        ngx_http_unit_flight_cleanup(flight);
        return NGX_ERROR;
    }

    flight->fetch.handler = ngx_http_unit_flight_fetched;
    flight->fetch.data = flight;
    flight->fetch.background = flight->background;

    /*
     * A call to Unit that fails has its answer, whoever's fault it was; each
     * is made once.  A key server is not Unit: its answers do not count, and
     * a kept connection that it has closed is no failure
     */
    flight->fetch.repeatable = (flight->req.class == NGX_HTTP_UNIT_SHM_KEYS);

    if (flight->req.class != NGX_HTTP_UNIT_SHM_KEYS
        && ngx_http_unit_budget_fetch(r, &flight->fetch) != NGX_OK)
    {
        ngx_http_unit_flight_fetched(&flight->fetch);
        return NGX_DECLINED;
    }

    if (ngx_http_unit_fetch_start(r, &flight->fetch) != NGX_OK) {
        ngx_http_unit_flight_cleanup(flight);
        return NGX_ERROR;
    }

    ngx_http_unit_metrics_flight(flight, NGX_HTTP_UNIT_METRICS_TOKEN_CALLS);

    flight->event.handler = ngx_http_unit_flight_renew_handler;
    flight->event.data = r->connection;
    flight->event.log = r->connection->log;

    ngx_add_timer(&flight->event, NGX_HTTP_UNIT_STORE_RENEW);

    flight->fetched = 1;
    flight->state = NGX_HTTP_UNIT_FLIGHT_FETCHING;

    return NGX_AGAIN;
}


static void
ngx_http_unit_flight_renew_handler(ngx_event_t *ev)
{
    ngx_http_unit_flight_t  *flight;

    flight = ngx_http_unit_flight_of(ev);

    (void) flight->store->renew(flight->store_data, &flight->req);

    ngx_add_timer(ev, NGX_HTTP_UNIT_STORE_RENEW);
}


static void
ngx_http_unit_flight_fetched(ngx_http_unit_fetch_t *fetch)
{
    ngx_int_t                   rc;
    ngx_http_unit_flight_t     *flight;
    ngx_http_unit_store_req_t  *req;

    flight = fetch->data;
    req = &flight->req;

    if (flight->event.timer_set) {
        ngx_del_timer(&flight->event);
    }

    req->ttl = flight->fail_ttl;
    req->refresh_in = 0;
    req->code = NGX_HTTP_UNIT_ALLOWED;
    ngx_str_null(&req->value);

    rc = NGX_DECLINED;

    if (fetch->error != NGX_HTTP_UNIT_FETCH_OK
        && fetch->error != NGX_HTTP_UNIT_FETCH_LIMITED)
    {
        ngx_log_error(NGX_LOG_ERR, flight->request->connection->log, 0,
                      "unit fetch failed: %s, location: \"%V\", id: %V",
                      ngx_http_unit_flight_errors[fetch->error], &fetch->uri,
                      &fetch->request_id);
    }

    switch (fetch->error) {

    case NGX_HTTP_UNIT_FETCH_OK:
        req->ttl = 0;
        rc = flight->parse(flight);
        break;

    case NGX_HTTP_UNIT_FETCH_TIMEOUT:
        req->code = NGX_HTTP_UNIT_UPSTREAM_TIMEOUT;
        break;

    case NGX_HTTP_UNIT_FETCH_INVALID:
        req->code = NGX_HTTP_UNIT_UPSTREAM_INVALID;
        break;

    case NGX_HTTP_UNIT_FETCH_LIMITED:
        req->code = fetch->code;

        /* what was to be made in advance can wait a little */
        req->ttl = flight->background ? NGX_HTTP_UNIT_FLIGHT_LIMITED : 0;
        break;

    default: /* NGX_HTTP_UNIT_FETCH_UNAVAILABLE */
        req->code = NGX_HTTP_UNIT_UPSTREAM_UNAVAILABLE;
        break;
    }

    if (rc == NGX_ERROR) {
        req->code = NGX_HTTP_UNIT_INTERNAL_ERROR;
    }

    if (rc == NGX_OK) {
        (void) flight->store->put(flight->store_data, req);

    } else {
        (void) flight->store->refuse(flight->store_data, req);

        if (fetch->error != NGX_HTTP_UNIT_FETCH_LIMITED) {
            ngx_http_unit_metrics_flight(flight,
                                         NGX_HTTP_UNIT_METRICS_TOKEN_FAILED);
        }
    }

    if (flight->background && req->secret && req->value.len) {
        ngx_explicit_memzero(req->value.data, req->value.len);
    }

    flight->state = NGX_HTTP_UNIT_FLIGHT_LANDED;

    ngx_http_unit_flight_wake(flight);
}


ngx_int_t
ngx_http_unit_flight_refused(ngx_http_unit_flight_t *flight,
    ngx_http_unit_code_e not_found)
{
    ngx_uint_t                  status;
    ngx_http_unit_store_req_t  *req;

    req = &flight->req;
    status = flight->fetch.status;

    switch (status) {

    case NGX_HTTP_NOT_FOUND:
        req->code = not_found;
        break;

    case NGX_HTTP_UNAUTHORIZED:
    case NGX_HTTP_FORBIDDEN:
    case NGX_HTTP_TOO_MANY_REQUESTS:

        /* our own token or budget */

        req->code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
        break;

    default:
        req->code = (status >= NGX_HTTP_INTERNAL_SERVER_ERROR)
                    ? NGX_HTTP_UNIT_UPSTREAM_UNAVAILABLE
                    : NGX_HTTP_UNIT_UPSTREAM_INVALID;
        break;
    }

    req->ttl = (status >= 400 && status < NGX_HTTP_INTERNAL_SERVER_ERROR)
               ? NGX_HTTP_UNIT_FLIGHT_REFUSED : 0;

    ngx_log_error(NGX_LOG_ERR, flight->request->connection->log, 0,
                  "unit fetch refused: status %ui, location: \"%V\", id: %V",
                  status, &flight->fetch.uri, &flight->fetch.request_id);

    return NGX_DECLINED;
}


static void
ngx_http_unit_flight_wake(ngx_http_unit_flight_t *flight)
{
    ngx_queue_t             *q;
    ngx_http_unit_flight_t  *other;

    /* posted, never called from here: the handlers may free requests (P5) */

    for (q = ngx_queue_head(&ngx_http_unit_flight_waiters);
         q != ngx_queue_sentinel(&ngx_http_unit_flight_waiters);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_http_unit_flight_t, queue);

        if (other->req.class == flight->req.class
            && ngx_memcmp(other->req.key, flight->req.key,
                          NGX_HTTP_UNIT_SHM_KEY_LEN)
               == 0)
        {
            ngx_post_event(&other->event, &ngx_posted_events);
        }
    }
}


/* make the next record while the present one still serves */

static void
ngx_http_unit_flight_refresh(ngx_http_unit_flight_t *flight)
{
    ngx_http_request_t      *r;
    ngx_http_cleanup_t      *cln;
    ngx_http_unit_flight_t  *bg;

    r = flight->request;

    bg = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_flight_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (bg == NULL || cln == NULL) {
        (void) flight->store->release(flight->store_data, &flight->req);
        return;
    }

    *bg = *flight;
    bg->background = 1;
    bg->cleanup = 1;

    cln->handler = ngx_http_unit_flight_cleanup;
    cln->data = bg;

    flight->req.lease = 0;
    flight->req.refresh = 0;

    (void) ngx_http_unit_flight_fetch(bg);
}


static void
ngx_http_unit_flight_cleanup(void *data)
{
    ngx_http_unit_flight_t  *flight = data;

    if (flight->event.timer_set) {
        ngx_del_timer(&flight->event);
    }

    if (flight->event.posted) {
        ngx_delete_posted_event(&flight->event);
    }

    if (flight->queued) {
        ngx_queue_remove(&flight->queue);
        flight->queued = 0;
    }

    if (flight->req.lease) {
        (void) flight->store->release(flight->store_data, &flight->req);
    }

    /* a late end of the fetch finds nobody */

    flight->fetch.done = 1;
}
