
/*
 * For LD_PRELOAD into the upstream of script/bench: as long as there is
 * something to do every few ms it does not sleep, but yields and looks again.
 * To wake it would cost the server under test, as an upstream on another
 * machine does not.
 */


#define _GNU_SOURCE

#include <sched.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>


#define SPIN_US  5000


static int64_t
spin_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* in place of that of the C library; timeout in ms, -1: none */

int
epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
    int      n;
    int64_t  start;

    start = spin_now();

    do {
        n = epoll_pwait(epfd, events, maxevents, 0, NULL);

        if (n != 0 || timeout == 0) {
            return n;
        }

        sched_yield();

    } while (spin_now() - start < SPIN_US);

    /* late by that, if it has a timeout: nothing here depends on it */

    return epoll_pwait(epfd, events, maxevents, timeout, NULL);
}
