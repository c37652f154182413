
/*
 * Retries, see ngx_http_unit_retry.h.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_idem.h"
#include "ngx_http_unit_retry.h"


/* ms: the back-off doubles from the first to the last */
#define NGX_HTTP_UNIT_RETRY_BASE  100
#define NGX_HTTP_UNIT_RETRY_CAP   2000


typedef struct {
    ngx_http_request_t  *request;
    ngx_event_t          event;
} ngx_http_unit_retry_t;


static ngx_uint_t ngx_http_unit_retry_status(ngx_uint_t status);
static ngx_msec_t ngx_http_unit_retry_after(ngx_str_t *value);
static void ngx_http_unit_retry_handler(ngx_event_t *ev);
static void ngx_http_unit_retry_cleanup(void *data);


ngx_uint_t
ngx_http_unit_retry_plan(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *retry_after)
{
    ngx_msec_t      delay, max, asked;
    ngx_msec_int_t  paused;

    if (!ngx_http_unit_retry_status(status)
        || ctx->attempts >= NGX_HTTP_UNIT_RETRY_ATTEMPTS
        || !ngx_http_unit_idem_repeatable(ctx))
    {
        return 0;
    }

    /* a body that was passed on while it came in is gone */

    if (r->request_body_no_buffering
        && (r->headers_in.content_length_n > 0 || r->headers_in.chunked))
    {
        return 0;
    }

    /* full jitter: anything between nothing and twice as much each time */

    max = NGX_HTTP_UNIT_RETRY_BASE << ctx->attempts;
    max = ngx_min(max, NGX_HTTP_UNIT_RETRY_CAP);

    delay = (ngx_msec_t) ngx_random() % (max + 1);

    asked = ngx_http_unit_retry_after(retry_after);
    delay = ngx_max(delay, asked);

    /* not before the budget allows it, and not to who is known to be down */

    paused = ngx_http_unit_budget_retry(ctx);

    if (paused < 0) {
        return 0;
    }

    delay = ngx_max(delay, (ngx_msec_t) paused);

    ctx->retry_at = ngx_current_msec + delay;

    if ((ngx_msec_int_t) (ctx->deadline - ctx->retry_at) <= 0) {

        /* the operation's time is up before that */
        return 0;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "unit retry: attempt %ui failed with status %ui, next in "
                  "%M ms, id: %V", ctx->attempts, status, delay,
                  &ctx->request_id);

    ctx->retry = 1;

    return 1;
}


static ngx_uint_t
ngx_http_unit_retry_status(ngx_uint_t status)
{
    return status == 0
           || status == NGX_HTTP_REQUEST_TIME_OUT
           || status == NGX_HTTP_TOO_MANY_REQUESTS
           || status >= NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* seconds or a date (RFC 9110 10.2.3), as ms from now */

static ngx_msec_t
ngx_http_unit_retry_after(ngx_str_t *value)
{
    time_t     date;
    ngx_int_t  n;

    if (value->len == 0) {
        return 0;
    }

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR) {

        date = ngx_parse_http_time(value->data, value->len);

        if (date == (time_t) NGX_ERROR || date <= ngx_time()) {
            return 0;
        }

        n = (ngx_int_t) ngx_min(date - ngx_time(), 86400);
    }

    /* whatever is longer than any operation's time is long enough */

    return (ngx_msec_t) ngx_min(n, 86400) * 1000;
}


ngx_int_t
ngx_http_unit_retry_wait(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_msec_int_t          left;
    ngx_http_cleanup_t     *cln;
    ngx_http_unit_retry_t  *retry;

    left = (ngx_msec_int_t) (ctx->retry_at - ngx_current_msec);

    if (left <= 0) {
        return NGX_OK;
    }

    if (ctx->retry_waiting) {

        /* some other event has run the phases */
        return NGX_AGAIN;
    }

    retry = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_retry_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (retry == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_unit_retry_cleanup;
    cln->data = retry;

    retry->request = r;
    retry->event.handler = ngx_http_unit_retry_handler;
    retry->event.data = r->connection;
    retry->event.log = r->connection->log;

    /* a client that leaves meanwhile ends the wait (STYLE P5) */

    r->read_event_handler = ngx_http_test_reading;

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_add_timer(&retry->event, (ngx_msec_t) left);

    ctx->retry_waiting = 1;

    return NGX_AGAIN;
}


static void
ngx_http_unit_retry_handler(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_unit_ctx_t    *ctx;
    ngx_http_unit_retry_t  *retry;

    retry = (ngx_http_unit_retry_t *)
                ((u_char *) ev - offsetof(ngx_http_unit_retry_t, event));

    r = retry->request;
    c = r->connection;

    ctx = ngx_http_unit_get_ctx(r);
    ctx->retry_waiting = 0;
    ctx->retry_at = ngx_current_msec;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;

    r->write_event_handler(r);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_unit_retry_cleanup(void *data)
{
    ngx_http_unit_retry_t  *retry = data;

    if (retry->event.timer_set) {
        ngx_del_timer(&retry->event);
    }
}
