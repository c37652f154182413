
/*
 * Stand-in for nginx's pools, arrays and strings; see ngx_stub.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stub.h"


#define NGX_STUB_JUNK  0xa5


typedef struct {
    uint64_t    u;
    ngx_uint_t  negative;
} ngx_stub_int_t;


static void *ngx_stub_alloc(size_t size);
static ngx_stub_int_t ngx_stub_integer(char conversion, ngx_uint_t sign,
    va_list *args);
static u_char *ngx_stub_number(u_char *buf, u_char *last, uint64_t n,
    u_char zero, ngx_uint_t hex, size_t width);


static ngx_time_t       ngx_stub_now;
static ngx_uint_t       ngx_stub_failing;
static ngx_uint_t       ngx_stub_count;
static size_t           ngx_stub_bytes;

ngx_uint_t              ngx_pagesize = 4096;
ngx_uint_t              ngx_pagesize_shift = 12;
ngx_uint_t              ngx_cacheline_size = 64;
volatile ngx_time_t    *ngx_cached_time = &ngx_stub_now;


void
ngx_stub_fail(ngx_uint_t n)
{
    ngx_stub_failing = n;
    ngx_stub_count = 0;
    ngx_stub_bytes = 0;
}


ngx_uint_t
ngx_stub_allocations(void)
{
    return ngx_stub_count;
}


size_t
ngx_stub_allocated(void)
{
    return ngx_stub_bytes;
}


void
ngx_stub_time(time_t sec)
{
    ngx_stub_now.sec = sec;
}


static void *
ngx_stub_alloc(size_t size)
{
    void  *p;

    ngx_stub_count++;
    ngx_stub_bytes += size;

    if (ngx_stub_count == ngx_stub_failing) {
        return NULL;
    }

    /* never NULL for an empty block, as in nginx */

    p = malloc(size ? size : 1);

    if (p != NULL) {
        ngx_memset(p, NGX_STUB_JUNK, size);
    }

    return p;
}


/* memory */

void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return ngx_stub_alloc(size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    void  *p;

    p = ngx_stub_alloc(size);

    if (p != NULL) {
        ngx_memzero(p, size);
    }

    return p;
}


ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    ngx_pool_t  *pool;

    pool = ngx_calloc(sizeof(ngx_pool_t), log);

    if (pool != NULL) {
        pool->log = log;
    }

    return pool;
}


void
ngx_destroy_pool(ngx_pool_t *pool)
{
    ngx_pool_large_t    *l;
    ngx_pool_cleanup_t  *c;

    for (c = pool->cleanup; c; c = c->next) {
        if (c->handler) {
            c->handler(c->data);
        }
    }

    while (pool->large) {
        l = pool->large;
        pool->large = l->next;
        free(l->alloc);
        free(l);
    }

    free(pool);
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    void              *p;
    ngx_pool_large_t  *l;

    p = ngx_stub_alloc(size);
    if (p == NULL) {
        return NULL;
    }

    /* the list is ours: it is neither counted nor made to fail */

    l = malloc(sizeof(ngx_pool_large_t));
    if (l == NULL) {
        free(p);
        return NULL;
    }

    l->alloc = p;
    l->next = pool->large;
    pool->large = l;

    return p;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_palloc(pool, size);

    if (p != NULL) {
        ngx_memzero(p, size);
    }

    return p;
}


/*
 * nginx keeps small blocks until the pool goes; here all are freed at once,
 * so that a use after ngx_pfree() shows.
 */

ngx_int_t
ngx_pfree(ngx_pool_t *pool, void *p)
{
    ngx_pool_large_t  *l, **ll;

    for (ll = &pool->large; *ll; ll = &(*ll)->next) {
        l = *ll;

        if (l->alloc == p) {
            *ll = l->next;
            free(l->alloc);
            free(l);

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    ngx_pool_cleanup_t  *c;

    c = ngx_palloc(pool, sizeof(ngx_pool_cleanup_t));
    if (c == NULL) {
        return NULL;
    }

    c->data = NULL;

    if (size) {
        c->data = ngx_palloc(pool, size);
        if (c->data == NULL) {
            return NULL;
        }
    }

    c->handler = NULL;
    c->next = pool->cleanup;
    pool->cleanup = c;

    return c;
}


/* arrays */

ngx_array_t *
ngx_array_create(ngx_pool_t *pool, ngx_uint_t n, size_t size)
{
    ngx_array_t  *a;

    a = ngx_palloc(pool, sizeof(ngx_array_t));

    if (a == NULL || ngx_array_init(a, pool, n, size) != NGX_OK) {
        return NULL;
    }

    return a;
}


void *
ngx_array_push(ngx_array_t *a)
{
    return ngx_array_push_n(a, 1);
}


void *
ngx_array_push_n(ngx_array_t *a, ngx_uint_t n)
{
    void        *elts;
    ngx_uint_t   nalloc;

    if (a->nelts + n > a->nalloc) {
        nalloc = 2 * ngx_max(n, a->nalloc);

        elts = ngx_palloc(a->pool, nalloc * a->size);
        if (elts == NULL) {
            return NULL;
        }

        /* the old block stays in the pool, as in nginx */

        ngx_memcpy(elts, a->elts, a->nelts * a->size);
        a->elts = elts;
        a->nalloc = nalloc;
    }

    elts = (u_char *) a->elts + a->size * a->nelts;
    a->nelts += n;

    return elts;
}


/* strings */

void
ngx_explicit_memzero(void *buf, size_t n)
{
    ngx_memzero(buf, n);
    ngx_memory_barrier();
}


void
ngx_strlow(u_char *dst, u_char *src, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        dst[i] = ngx_tolower(src[i]);
    }
}


ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    ngx_int_t  c1, c2;

    for ( /* void */ ; n; n--) {
        c1 = ngx_tolower(*s1);
        c2 = ngx_tolower(*s2);

        if (c1 != c2 || c1 == '\0') {
            return c1 - c2;
        }

        s1++;
        s2++;
    }

    return 0;
}


ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n; n--, line++) {

        if (*line < '0' || *line > '9'
            || value > (NGX_MAX_INT_T_VALUE - (*line - '0')) / 10)
        {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}


u_char *
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, (u_char *) -1, fmt, args);
    va_end(args);

    return p;
}


u_char *
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + max, fmt, args);
    va_end(args);

    return p;
}


u_char *
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, last, fmt, args);
    va_end(args);

    return p;
}


/*
 * Of nginx's conversions: [0][width][u|x|X] with d i D L z O T M, and V s *s
 * c p %.  Another one is a bug in the test or a reason to extend this.
 */

u_char *
ngx_vslprintf(u_char *buf, u_char *last, const char *fmt, va_list args)
{
    u_char           zero;
    va_list          ap;
    ngx_str_t       *v, s;
    ngx_uint_t       hex, sign, width;
    ngx_stub_int_t   n;

    va_copy(ap, args);

    for ( /* void */ ; *fmt && buf < last; fmt++) {

        s.data = (u_char *) fmt;
        s.len = 1;

        if (*fmt == '%') {
            fmt++;
            zero = (*fmt == '0') ? '0' : ' ';
            hex = 0;
            sign = 1;
            s.len = (size_t) -1;

            for (width = 0; *fmt >= '0' && *fmt <= '9'; fmt++) {
                width = width * 10 + (*fmt - '0');
            }

            for ( /* void */ ; strchr("uxX*", *fmt) && *fmt; fmt++) {

                if (*fmt == '*') {
                    s.len = va_arg(ap, size_t);
                    continue;
                }

                if (*fmt != 'u') {
                    hex = (*fmt == 'x') ? 1 : 2;
                }

                sign = 0;
            }

            switch (*fmt) {

            case 'V':
                v = va_arg(ap, ngx_str_t *);
                s = *v;
                break;

            case 's':
                s.data = va_arg(ap, u_char *);
                s.len = (s.len == (size_t) -1) ? ngx_strlen(s.data) : s.len;
                break;

            case 'c':
                *buf++ = (u_char) (va_arg(ap, int) & 0xff);
                continue;

            case 'Z':
                *buf++ = '\0';
                continue;

            case '%':
                *buf++ = '%';
                continue;

            case 'p':
                n.u = (uintptr_t) va_arg(ap, void *);
                buf = ngx_stub_number(buf, last, n.u, '0', 2,
                                      2 * sizeof(void *));
                continue;

            default:
                n = ngx_stub_integer(*fmt, sign, &ap);

                if (n.negative) {
                    *buf++ = '-';
                }

                buf = ngx_stub_number(buf, last, n.u, zero, hex, width);
                continue;
            }
        }

        s.len = ngx_min((size_t) (last - buf), s.len);

        if (s.len) {
            buf = ngx_cpymem(buf, s.data, s.len);
        }
    }

    va_end(ap);

    return buf;
}


static ngx_stub_int_t
ngx_stub_integer(char conversion, ngx_uint_t sign, va_list *args)
{
    int64_t         i;
    ngx_stub_int_t  n;

    switch (conversion) {

    case 'd':
        i = va_arg(*args, int);
        n.u = sign ? (uint64_t) i : (u_int) i;
        break;

    case 'D':
        i = va_arg(*args, int32_t);
        n.u = sign ? (uint64_t) i : (uint32_t) i;
        break;

    case 'i':
    case 'z':
    case 'T':
        n.u = (uint64_t) (int64_t) va_arg(*args, ngx_int_t);
        break;

    case 'L':
    case 'O':
        n.u = (uint64_t) va_arg(*args, int64_t);
        break;

    case 'M':
        n.u = va_arg(*args, ngx_msec_t);
        sign = 0;
        break;

    default:
        fprintf(stderr, "ngx_stub: conversion \"%%%c\" unknown\n", conversion);
        abort();
    }

    n.negative = sign && (int64_t) n.u < 0;

    if (n.negative) {
        n.u = - n.u;
    }

    return n;
}


static u_char *
ngx_stub_number(u_char *buf, u_char *last, uint64_t n, u_char zero,
    ngx_uint_t hex, size_t width)
{
    int                 i, len;
    char                tmp[NGX_INT64_LEN + 1];
    unsigned long long  u;

    u = n;

    if (hex) {
        len = snprintf(tmp, sizeof(tmp), (hex == 1) ? "%llx" : "%llX", u);

    } else {
        len = snprintf(tmp, sizeof(tmp), "%llu", u);
    }

    for (i = len; i < (int) width && buf < last; i++) {
        *buf++ = zero;
    }

    for (i = 0; i < len && buf < last; i++) {
        *buf++ = (u_char) tmp[i];
    }

    return buf;
}
