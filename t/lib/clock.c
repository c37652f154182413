
/*
 * Clocks that a test can move: loaded into nginx by the dynamic linker, see
 * UnitGateway::Clock.  What is added, in seconds, is read from the file
 * UNIT_TEST_CLOCK at every look: first for the monotonic clock, then for the
 * time of day.
 */


#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


#define CLOCK_MONOTONIC_ADDED  0
#define CLOCK_WALL_ADDED       1


typedef int (*clock_gettime_pt)(clockid_t id, struct timespec *ts);


static volatile int64_t  *clock_added;
static clock_gettime_pt   clock_real;


static void __attribute__ ((constructor))
clock_init(void)
{
    int          fd;
    void        *p;
    const char  *file;

    clock_real = (clock_gettime_pt) dlsym(RTLD_NEXT, "clock_gettime");

    file = getenv("UNIT_TEST_CLOCK");

    if (file == NULL) {
        return;
    }

    fd = open(file, O_RDONLY);

    if (fd == -1) {
        return;
    }

    p = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

    if (p != MAP_FAILED) {
        clock_added = p;
    }

    close(fd);
}


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int  rc;

    if (clock_real == NULL) {
        clock_init();
    }

    rc = clock_real(id, ts);

    if (rc != 0 || clock_added == NULL || id == CLOCK_PROCESS_CPUTIME_ID
        || id == CLOCK_THREAD_CPUTIME_ID)
    {
        return rc;
    }

    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) {
        ts->tv_sec += clock_added[CLOCK_WALL_ADDED];

    } else {
        ts->tv_sec += clock_added[CLOCK_MONOTONIC_ADDED];
    }

    return 0;
}


int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec  ts;

    (void) tz;

    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }

    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}


time_t
time(time_t *t)
{
    struct timespec  ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return (time_t) -1;
    }

    if (t) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}
