
/*
 * A load generator: keep-alive connections to one port of this machine, one
 * request at a time on each, as fast as answers come or at a fixed rate.
 * Every request takes the next token of a file, so that many thousands of
 * different ones can be sent.  A line of the file is a token and, after it,
 * ids for Unit-Customer, each of which makes one request.  With a body it is
 * a write, and with a key each has an Idempotency-Key of its own, or one of so
 * many.
 *
 * At a fixed rate latency counts from when a request was due, whether or not
 * a connection was free then: a stall is not left out.
 *
 * With spin=1 it never sleeps: to wake it would cost the server that answers,
 * as a client on another machine does not.
 *
 * With control=1 it reads how many requests to send from its standard input,
 * a number in a line, sends them, reports, and reads on.  Connections stay, and
 * the next part goes on where the last one ended.
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "options.h"


#define LOAD_SECOND  1000000000L
#define LOAD_STALL   20               /* seconds without any answer */
#define LOAD_BUF     65536


typedef struct {
    const char  *token;
    const char  *customer;            /* or NULL */
} load_item_t;


typedef struct {
    int          fd;
    int          busy;
    size_t       len;
    int64_t      due;
    char         in[LOAD_BUF];
} load_conn_t;


static int           load_epoll;
static size_t        load_port, load_connections = 32, load_requests;
static size_t        load_skip, load_rate, load_random, load_keys;
static size_t        load_spin, load_control;
static size_t        load_nitems, load_nidle, load_sent, load_ended;
static size_t        load_statuses[1000];
static int64_t       load_start;
static int64_t      *load_latency;
static const char   *load_file, *load_path = "/accounts";
static const char   *load_method = "GET", *load_body_file, *load_key;
static char         *load_body = "";
static size_t        load_body_len;
static load_item_t  *load_items;
static load_conn_t  *load_conns, **load_idle;


static const bench_option_t  load_options[] = {
    { "port=", &load_port, NULL },
    { "file=", NULL, &load_file },
    { "path=", NULL, &load_path },
    { "connections=", &load_connections, NULL },
    { "requests=", &load_requests, NULL },      /* default: all of the file */
    { "skip=", &load_skip, NULL },              /* so many of them */
    { "rate=", &load_rate, NULL },              /* per second; 0: unbounded */
    { "random=", &load_random, NULL },          /* a seed; 0: in turn */
    { "spin=", &load_spin, NULL },              /* 1: see above */
    { "control=", &load_control, NULL },        /* 1: see above */
    { "method=", NULL, &load_method },
    { "body=", NULL, &load_body_file },
    { "key=", NULL, &load_key },                /* what keys begin with */
    { "keys=", &load_keys, NULL },              /* so many of them; 0: all */
    { NULL, NULL, NULL }
};


/* the lines are kept: the items point into them */

static void
load_read(const char *name)
{
    FILE         *f;
    char         *line, *token, *customer;
    size_t        len, size;

    f = fopen(name, "r");
    if (f == NULL) {
        err(2, "%s", name);
    }

    for (size = 0, line = NULL, len = 0; getline(&line, &len, f) > 0;
         line = NULL, len = 0)
    {
        token = strtok(line, " \n");
        customer = token ? strtok(NULL, " \n") : NULL;

        do {
            if (load_nitems == size) {
                size = size ? 2 * size : 1024;

                load_items = realloc(load_items, size * sizeof(load_item_t));
                if (load_items == NULL) {
                    err(2, "no memory");
                }
            }

            load_items[load_nitems].token = token ? token : "";
            load_items[load_nitems++].customer = customer;

            customer = customer ? strtok(NULL, " \n") : NULL;

        } while (customer);
    }

    fclose(f);

    if (load_nitems == 0) {
        errx(2, "%s is empty", name);
    }
}


static void
load_read_body(const char *name)
{
    FILE         *f;
    static char   body[LOAD_BUF];

    f = fopen(name, "r");
    if (f == NULL) {
        err(2, "%s", name);
    }

    load_body = body;
    load_body_len = fread(body, 1, LOAD_BUF / 2, f);

    fclose(f);
}


static void
load_connect(load_conn_t *c)
{
    int                 one;
    struct sockaddr_in  addr;
    struct epoll_event  ee;

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons(load_port);

    one = 1;
    ee.events = EPOLLIN;
    ee.data.ptr = c;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (c->fd == -1
        || connect(c->fd, (struct sockaddr *) &addr, sizeof(addr)) == -1
        || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1
        || fcntl(c->fd, F_SETFL, O_NONBLOCK) == -1
        || epoll_ctl(load_epoll, EPOLL_CTL_ADD, c->fd, &ee) == -1)
    {
        err(2, "cannot connect to port %zu", load_port);
    }
}


static int64_t
load_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * LOAD_SECOND + ts.tv_nsec;
}


/* the request is over, with status 0 for no answer */

static void
load_done(load_conn_t *c, unsigned status)
{
    if (status == 0) {
        close(c->fd);
        load_connect(c);
    }

    if (c->busy) {
        c->busy = 0;
        load_statuses[status]++;
        load_latency[load_ended++] = load_now() - c->due;
        load_idle[load_nidle++] = c;
    }
}


/* which of all requests this one is, from 0 on */

static size_t
load_next(void)
{
    size_t  n;

    n = load_skip + load_sent++;

    if (load_random) {

        /* xorshift64 */

        load_random ^= load_random << 13;
        load_random ^= load_random >> 7;
        load_random ^= load_random << 17;
        n = load_random;
    }

    return load_keys ? n % load_keys : n;
}


/* the lines of a head that only writes have; returns the end of them */

static char *
load_write_head(char *p, char *last, size_t n)
{
    if (load_body_len) {
        p += snprintf(p, last - p,
                      "Content-Type: application/vnd.api+json\r\n"
                      "Content-Length: %zu\r\n", load_body_len);
    }

    if (load_key) {
        p += snprintf(p, last - p, "Idempotency-Key: %s-%zu\r\n", load_key,
                      n);
    }

    return p;
}


static void
load_send(load_conn_t *c, int64_t due)
{
    char         *p, *last;
    size_t        n;
    load_item_t  *item;
    static char   out[LOAD_BUF];

    n = load_next();
    item = &load_items[n % load_nitems];

    c->len = 0;
    c->due = due;
    c->busy = 1;

    p = out;
    last = out + LOAD_BUF / 2;

    p += snprintf(p, last - p,
                  "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                  "User-Agent: bench/1\r\n"
                  "Accept: application/vnd.api+json\r\n"
                  "Authorization: Bearer %s\r\n%s%s%s",
                  load_method, load_path, item->token,
                  item->customer ? "Unit-Customer: " : "",
                  item->customer ? item->customer : "",
                  item->customer ? "\r\n" : "");

    if (last - p < 1024) {
        errx(2, "a token is too long");
    }

    p = load_write_head(p, last, n);

    *p++ = '\r';
    *p++ = '\n';

    memcpy(p, load_body, load_body_len);
    p += load_body_len;

    /* the socket buffer is empty and takes all of it */

    if (send(c->fd, out, p - out, MSG_NOSIGNAL) != p - out) {
        load_done(c, 0);
    }
}


/* Send what is due while connections are free.  Returns how long to wait. */

static int64_t
load_issue(int64_t now)
{
    int64_t  due;

    while (load_nidle && load_sent < load_requests) {

        due = now;

        if (load_rate) {
            due = load_start + (int64_t) load_sent * LOAD_SECOND / load_rate;

            if (due > now) {
                return due - now;
            }
        }

        load_send(load_idle[--load_nidle], due);
    }

    return LOAD_STALL * LOAD_SECOND;
}


static void
load_receive(load_conn_t *c)
{
    char     *end, *length;
    size_t    need;
    ssize_t   n;

    n = recv(c->fd, c->in + c->len, LOAD_BUF - 1 - c->len, 0);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0 || !c->busy) {
        load_done(c, 0);
        return;
    }

    c->len += n;
    c->in[c->len] = '\0';

    end = strstr(c->in, "\r\n\r\n");
    if (end == NULL) {
        return;
    }

    length = strcasestr(c->in, "\r\nContent-Length:");

    if (length == NULL || length > end
        || strncmp(c->in, "HTTP/1.1 ", 9) != 0)
    {
        load_done(c, 0);
        return;
    }

    need = end + 4 - c->in
           + strtoul(length + sizeof("\r\nContent-Length:") - 1, NULL, 10);

    if (c->len >= need) {
        load_done(c, c->len == need ? strtoul(c->in + 9, NULL, 10) % 1000 : 0);
    }
}


static int
load_compare(const void *a, const void *b)
{
    int64_t  d;

    d = *(const int64_t *) a - *(const int64_t *) b;

    return d < 0 ? -1 : d > 0;
}


static void
load_report(int64_t elapsed)
{
    size_t            i;
    static const int  points[] = { 50, 90, 99 };

    qsort(load_latency, load_requests, sizeof(int64_t), load_compare);

    printf("requests %zu\nseconds %.6f\n", load_requests,
           (double) elapsed / LOAD_SECOND);

    for (i = 0; i < 1000; i++) {
        if (load_statuses[i]) {
            printf("status_%zu %zu\n", i, load_statuses[i]);
        }
    }

    for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        printf("p%d %.2f\n", points[i],
               load_latency[(load_requests - 1) * points[i] / 100] / 1e3);
    }
}


/* send load_requests of them and wait for their answers */

static void
load_run(void)
{
    int                 i, n;
    int64_t             now, last, wait;
    struct timespec     ts;
    struct epoll_event  events[256];

    load_sent = 0;
    load_ended = 0;
    memset(load_statuses, 0, sizeof(load_statuses));

    free(load_latency);
    load_latency = calloc(load_requests, sizeof(int64_t));

    if (load_latency == NULL) {
        err(2, "no memory");
    }

    load_start = load_now();
    last = load_start;

    for (now = load_start; load_ended < load_requests; now = load_now()) {

        wait = load_issue(now);

        if (load_spin) {
            wait = 0;
        }

        ts.tv_sec = wait / LOAD_SECOND;
        ts.tv_nsec = wait % LOAD_SECOND;

        n = epoll_pwait2(load_epoll, events, 256, &ts, NULL);

        if (n > 0) {
            last = now;

        } else if (now - last >= LOAD_STALL * LOAD_SECOND) {
            errx(2, "no answer for %d s", LOAD_STALL);

        } else if (load_spin) {
            sched_yield();
        }

        for (i = 0; i < n; i++) {
            load_receive(events[i].data.ptr);
        }
    }

    load_report(now - load_start);

    load_skip += load_requests;
}


int
main(int argc, char **argv)
{
    char  line[32];

    bench_options(load_options, argc, argv);

    if (load_port == 0 || load_file == NULL || load_connections == 0) {
        errx(2, "port=NUMBER and file=NAME are needed");
    }

    load_read(load_file);

    if (load_body_file) {
        load_read_body(load_body_file);
    }

    load_conns = calloc(load_connections, sizeof(load_conn_t));
    load_idle = calloc(load_connections, sizeof(load_conn_t *));
    load_epoll = epoll_create1(0);

    if (load_conns == NULL || load_idle == NULL || load_epoll == -1) {
        err(2, "no resources");
    }

    for (load_nidle = 0; load_nidle < load_connections; load_nidle++) {
        load_idle[load_nidle] = &load_conns[load_nidle];
        load_connect(&load_conns[load_nidle]);
    }

    if (!load_control) {
        load_requests = load_requests ? load_requests : load_nitems;
        load_run();
        return 0;
    }

    while (fgets(line, sizeof(line), stdin)) {

        load_requests = strtoul(line, NULL, 10);

        if (load_requests == 0) {
            errx(2, "not a number of requests: %s", line);
        }

        load_run();

        printf("end\n");
        fflush(stdout);
    }

    return 0;
}
