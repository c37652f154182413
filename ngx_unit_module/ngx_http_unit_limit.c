
/*
 * Limits on verification starts, see ngx_http_unit_limit.h.  A record is the
 * list of the last starts, newest first: few enough to count exactly.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_crypto.h"
#include "ngx_http_unit_limit.h"


#define NGX_HTTP_UNIT_LIMIT_SHORT      600000       /* ms */
#define NGX_HTTP_UNIT_LIMIT_LONG       86400000

#define NGX_HTTP_UNIT_LIMIT_CUSTOMER   3            /* per short window */
#define NGX_HTTP_UNIT_LIMIT_DAY        10           /* per long window */
#define NGX_HTTP_UNIT_LIMIT_ADDRESS    60           /* per short window */

/* when there is no room to count, in seconds */
#define NGX_HTTP_UNIT_LIMIT_FULL       60


typedef struct {
    ngx_uint_t   n;             /* in times[], at most max */
    ngx_msec_t   times[1];
} ngx_http_unit_limit_log_t;


static ngx_int_t ngx_http_unit_limit_key(const char *kind, u_char *data,
    size_t len, u_char *key);
static ngx_int_t ngx_http_unit_limit_address(struct sockaddr *addr,
    u_char *key);
static ngx_msec_t ngx_http_unit_limit_wait(ngx_http_unit_shm_node_t *node,
    ngx_uint_t max, ngx_msec_t window);
static ngx_http_unit_shm_node_t *ngx_http_unit_limit_create_locked(
    ngx_http_unit_shm_t *shm, ngx_uint_t max);
static void ngx_http_unit_limit_push_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_uint_t max, ngx_msec_t window);
static void ngx_http_unit_limit_pop_locked(ngx_http_unit_shm_t *shm,
    const u_char *key);


ngx_int_t
ngx_http_unit_limit_start(ngx_http_unit_shm_t *shm, ngx_str_t *customer,
    struct sockaddr *addr, time_t *retry_after)
{
    u_char                      ckey[NGX_HTTP_UNIT_SHA256_LEN];
    u_char                      akey[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_msec_t                 wait, w;
    ngx_http_unit_shm_node_t  *cnode, *anode, *cnew, *anew;

    *retry_after = 0;

    if (ngx_http_unit_limit_key("start-customer", customer->data,
                                customer->len, ckey)
        != NGX_OK
        || ngx_http_unit_limit_address(addr, akey) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_unit_shm_lock(shm);

    cnode = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_LIMIT, ckey,
                                          NULL);
    anode = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_LIMIT, akey,
                                          NULL);

    wait = ngx_http_unit_limit_wait(cnode, NGX_HTTP_UNIT_LIMIT_CUSTOMER,
                                    NGX_HTTP_UNIT_LIMIT_SHORT);

    w = ngx_http_unit_limit_wait(cnode, NGX_HTTP_UNIT_LIMIT_DAY,
                                 NGX_HTTP_UNIT_LIMIT_LONG);
    wait = ngx_max(wait, w);

    w = ngx_http_unit_limit_wait(anode, NGX_HTTP_UNIT_LIMIT_ADDRESS,
                                 NGX_HTTP_UNIT_LIMIT_SHORT);
    wait = ngx_max(wait, w);

    if (wait) {

        /* who is over a limit gets no new record: those are never evicted */

        ngx_http_unit_shm_unlock(shm);
        *retry_after = (time_t) ((wait + 999) / 1000);
        return NGX_DECLINED;
    }

    cnew = cnode ? cnode : ngx_http_unit_limit_create_locked(shm,
                                              NGX_HTTP_UNIT_LIMIT_DAY);
    anew = anode ? anode : ngx_http_unit_limit_create_locked(shm,
                                              NGX_HTTP_UNIT_LIMIT_ADDRESS);

    if (cnew == NULL || anew == NULL) {

        if (cnew && cnode == NULL) {
            ngx_slab_free_locked(shm->shpool, cnew);
        }

        if (anew && anode == NULL) {
            ngx_slab_free_locked(shm->shpool, anew);
        }

        ngx_http_unit_shm_unlock(shm);
        *retry_after = NGX_HTTP_UNIT_LIMIT_FULL;
        return NGX_DECLINED;
    }

    if (cnode == NULL) {
        ngx_http_unit_shm_link_locked(shm, cnew, ckey, NULL,
                                      NGX_HTTP_UNIT_LIMIT_LONG);
    }

    if (anode == NULL) {
        ngx_http_unit_shm_link_locked(shm, anew, akey, NULL,
                                      NGX_HTTP_UNIT_LIMIT_SHORT);
    }

    ngx_http_unit_limit_push_locked(shm, cnew, NGX_HTTP_UNIT_LIMIT_DAY,
                                    NGX_HTTP_UNIT_LIMIT_LONG);
    ngx_http_unit_limit_push_locked(shm, anew, NGX_HTTP_UNIT_LIMIT_ADDRESS,
                                    NGX_HTTP_UNIT_LIMIT_SHORT);

    ngx_http_unit_shm_unlock(shm);

    return NGX_OK;
}


void
ngx_http_unit_limit_undo(ngx_http_unit_shm_t *shm, ngx_str_t *customer,
    struct sockaddr *addr)
{
    u_char  ckey[NGX_HTTP_UNIT_SHA256_LEN];
    u_char  akey[NGX_HTTP_UNIT_SHA256_LEN];

    if (ngx_http_unit_limit_key("start-customer", customer->data,
                                customer->len, ckey)
        != NGX_OK
        || (addr && ngx_http_unit_limit_address(addr, akey) != NGX_OK))
    {
        return;
    }

    ngx_http_unit_shm_lock(shm);

    ngx_http_unit_limit_pop_locked(shm, ckey);

    if (addr) {
        ngx_http_unit_limit_pop_locked(shm, akey);
    }

    ngx_http_unit_shm_unlock(shm);
}


static ngx_int_t
ngx_http_unit_limit_key(const char *kind, u_char *data, size_t len,
    u_char *key)
{
    ngx_str_t  fields[2];

    fields[0].data = (u_char *) kind;
    fields[0].len = ngx_strlen(kind);
    fields[1].data = data;
    fields[1].len = len;

    return ngx_http_unit_sha256(fields, 2, 0, key);
}


static ngx_int_t
ngx_http_unit_limit_address(struct sockaddr *addr, u_char *key)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (addr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) addr;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            return ngx_http_unit_limit_key("start-address",
                                           &sin6->sin6_addr.s6_addr[12], 4,
                                           key);
        }

        /* a subscriber has the whole /64 */

        return ngx_http_unit_limit_key("start-address",
                                       sin6->sin6_addr.s6_addr, 8, key);
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) addr;
        return ngx_http_unit_limit_key("start-address",
                                       (u_char *) &sin->sin_addr, 4, key);

    default: /* AF_UNIX */
        return ngx_http_unit_limit_key("start-address", (u_char *) "unix", 4,
                                       key);
    }
}


/* how long until one more fits into the window, 0: it does now */

static ngx_msec_t
ngx_http_unit_limit_wait(ngx_http_unit_shm_node_t *node, ngx_uint_t max,
    ngx_msec_t window)
{
    ngx_msec_t                  age;
    ngx_http_unit_limit_log_t  *log;

    if (node == NULL) {
        return 0;
    }

    log = (ngx_http_unit_limit_log_t *) node->data;

    if (log->n < max) {
        return 0;
    }

    /* the one that has to leave the window first */

    age = ngx_current_msec - log->times[max - 1];

    return age >= window ? 0 : window - age;
}


static ngx_http_unit_shm_node_t *
ngx_http_unit_limit_create_locked(ngx_http_unit_shm_t *shm, ngx_uint_t max)
{
    ngx_http_unit_shm_node_t   *node;
    ngx_http_unit_limit_log_t  *log;

    node = ngx_http_unit_shm_alloc_locked(shm, NGX_HTTP_UNIT_SHM_LIMIT,
                                offsetof(ngx_http_unit_limit_log_t, times)
                                + max * sizeof(ngx_msec_t));
    if (node) {
        log = (ngx_http_unit_limit_log_t *) node->data;
        log->n = 0;
    }

    return node;
}


static void
ngx_http_unit_limit_push_locked(ngx_http_unit_shm_t *shm,
    ngx_http_unit_shm_node_t *node, ngx_uint_t max, ngx_msec_t window)
{
    ngx_http_unit_limit_log_t  *log;

    log = (ngx_http_unit_limit_log_t *) node->data;

    if (log->n < max) {
        log->n++;
    }

    ngx_memmove(&log->times[1], &log->times[0],
                (log->n - 1) * sizeof(ngx_msec_t));

    log->times[0] = ngx_current_msec;

    /* it is of use for one window more */

    node->expire = ngx_current_msec + window;
    ngx_http_unit_shm_touch_locked(node);
}


/*
 * The newest is taken for the one that failed.  It may be another's that has
 * begun meanwhile: the window then moves by the time of a call, no more.
 */

static void
ngx_http_unit_limit_pop_locked(ngx_http_unit_shm_t *shm, const u_char *key)
{
    ngx_http_unit_shm_node_t   *node;
    ngx_http_unit_limit_log_t  *log;

    node = ngx_http_unit_shm_find_locked(shm, NGX_HTTP_UNIT_SHM_LIMIT, key,
                                         NULL);
    if (node == NULL) {
        return;
    }

    log = (ngx_http_unit_limit_log_t *) node->data;

    if (log->n <= 1) {

        /* nobody fills the zone with starts that failed */

        ngx_http_unit_shm_remove_locked(shm, node);
        return;
    }

    log->n--;
    ngx_memmove(&log->times[0], &log->times[1],
                log->n * sizeof(ngx_msec_t));
}
