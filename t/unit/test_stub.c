
/*
 * The stand-in itself: formats as in nginx, failing allocations, cleanups.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stub.h"
#include "tap.h"


#if (NGX_PTR_SIZE == 8)
#define LARGEST    "9223372036854775807"
#define TOO_LARGE  "9223372036854775808"
#else
#define LARGEST    "2147483647"
#define TOO_LARGE  "2147483648"
#endif


static ngx_uint_t  test_cleaned;


static void
test_cleanup(void *data)
{
    test_cleaned += *(ngx_uint_t *) data;
}


static void
test_format(void)
{
    u_char      buf[256], *p;
    ngx_str_t   s = ngx_string("abc");
    ngx_int_t   i = -5;

    p = ngx_sprintf(buf, "%V|%s|%*s|%c|%%", &s, "xyz", (size_t) 2, "pqr", 'c');
    is_text(buf, p - buf, "abc|xyz|pq|c|%", "strings");

    p = ngx_sprintf(buf, "%i|%ui|%d|%03d|%3d|%uD", i, (ngx_uint_t) 7, -1, 7, 7,
                    (uint32_t) 4294967295U);
    is_text(buf, p - buf, "-5|7|-1|007|  7|4294967295", "numbers");

    p = ngx_sprintf(buf, "%uz|%T|%xd|%02Xd|%L", (size_t) 9, (time_t) -3, 255,
                    10, (int64_t) -9223372036854775807LL - 1);
    is_text(buf, p - buf, "9|-3|ff|0A|-9223372036854775808", "more numbers");

    p = ngx_snprintf(buf, 4, "%V%V", &s, &s);
    is_text(buf, p - buf, "abca", "a limit cuts");

    p = ngx_snprintf(buf, 2, "%ui", (ngx_uint_t) 12345);
    is_text(buf, p - buf, "12", "a limit cuts numbers");
}


static void
test_strings(void)
{
    u_char  buf[8];

    ngx_strlow(buf, (u_char *) "AbZ[", 4);
    is_text(buf, 4, "abz[", "ngx_strlow");

    is(ngx_atoi((u_char *) "0120", 4), 120, "ngx_atoi");
    is(ngx_atoi((u_char *) LARGEST, sizeof(LARGEST) - 1), NGX_MAX_INT_T_VALUE,
       "ngx_atoi, largest");
    is(ngx_atoi((u_char *) TOO_LARGE, sizeof(TOO_LARGE) - 1), NGX_ERROR,
       "ngx_atoi, too large");
    is(ngx_atoi((u_char *) "1x", 2), NGX_ERROR, "ngx_atoi, not a number");
    is(ngx_atoi((u_char *) "", 0), NGX_ERROR, "ngx_atoi, empty");

    ok(ngx_strncasecmp((u_char *) "abC", (u_char *) "ABd", 2) == 0
       && ngx_strncasecmp((u_char *) "ab", (u_char *) "ABC", 9) < 0,
       "case-insensitive comparison");
}


static void
test_memory(void)
{
    ngx_uint_t           i, *elt;
    ngx_pool_t          *pool;
    ngx_array_t          a;
    ngx_pool_cleanup_t  *c;

    pool = ngx_create_pool(1024, NULL);

    ngx_stub_fail(2);
    ok(ngx_palloc(pool, 1) != NULL, "first allocation");
    ok(ngx_palloc(pool, 1) == NULL, "second one made to fail");
    ok(ngx_palloc(pool, 1) != NULL, "third one works again");
    is(ngx_stub_allocations(), 3, "three counted");
    ngx_stub_fail(0);

    if (!ok(ngx_array_init(&a, pool, 1, sizeof(ngx_uint_t)) == NGX_OK,
            "array made"))
    {
        return;
    }

    for (i = 0; i < 100; i++) {
        elt = ngx_array_push(&a);
        *elt = i;
    }

    elt = a.elts;
    ok(a.nelts == 100 && elt[0] == 0 && elt[99] == 99, "array grows");

    c = ngx_pool_cleanup_add(pool, sizeof(ngx_uint_t));
    c->handler = test_cleanup;
    *(ngx_uint_t *) c->data = 42;

    ngx_destroy_pool(pool);
    is(test_cleaned, 42, "cleanup was run");
}


int
main(void)
{
    test_format();
    test_strings();
    test_memory();

    return done_testing();
}
