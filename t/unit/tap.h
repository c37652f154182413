
/*
 * Test Anything Protocol for the unit tests: each program counts its checks,
 * prints the plan at the end and exits non-zero when one failed.
 */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <stdarg.h>
#include <stdio.h>
#include <string.h>


static int  tap_count;
static int  tap_failed;


/* ok(cond, format, ...), is(got, expected, name): one check each */

#define ok(cond, ...)  tap_ok((cond) ? 1 : 0, __FILE__, __LINE__, __VA_ARGS__)
#define is(got, expected, name)                                               \
    tap_is(got, expected, __FILE__, __LINE__, name)

/* is_text(got, len, expected, name): equal bytes; expected is a C string */

#define is_text(got, len, expected, name)                                     \
    tap_text(got, len, expected, __FILE__, __LINE__, name)


/* They return the outcome, so that a test can stop when it makes no sense. */

static inline int __attribute__((format(printf, 4, 5)))
tap_ok(int cond, const char *file, int line, const char *fmt, ...)
{
    va_list  args;

    tap_count++;

    printf("%sok %d - ", cond ? "" : "not ", tap_count);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    if (!cond) {
        tap_failed++;
        printf("#   failed at %s line %d\n", file, line);
    }

    return cond;
}


static inline int
tap_is(long long got, long long expected, const char *file, int line,
    const char *name)
{
    if (!tap_ok(got == expected, file, line, "%s", name)) {
        printf("#   got %lld, expected %lld\n", got, expected);
    }

    return got == expected;
}


static inline int
tap_text(const void *got, size_t len, const char *expected, const char *file,
    int line, const char *name)
{
    int  equal;

    equal = len == strlen(expected)
            && (len == 0 || memcmp(got, expected, len) == 0);

    if (!tap_ok(equal, file, line, "%s", name)) {
        printf("#   got \"%.*s\"\n#   expected \"%s\"\n", (int) len,
               len ? (const char *) got : "", expected);
    }

    return equal;
}


static inline void __attribute__((format(printf, 1, 2)))
diag(const char *fmt, ...)
{
    va_list  args;

    printf("# ");

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");
}


/* To be returned from main(). */

static inline int
done_testing(void)
{
    printf("1..%d\n", tap_count);

    if (tap_failed) {
        printf("# %d of %d failed\n", tap_failed, tap_count);
    }

    fflush(stdout);

    return tap_failed != 0 || tap_count == 0;
}


#endif /* _TAP_H_INCLUDED_ */
