
/*
 * A monotonic clock that a test can move: loaded into nginx by the dynamic
 * linker, see UnitGateway::Clock.  What is added to the clock, in seconds, is
 * read from the file UNIT_TEST_CLOCK at every look.
 */


#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>


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

    p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

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

    if (rc == 0 && clock_added && id != CLOCK_REALTIME
        && id != CLOCK_PROCESS_CPUTIME_ID && id != CLOCK_THREAD_CPUTIME_ID)
    {
        ts->tv_sec += *clock_added;
    }

    return rc;
}
