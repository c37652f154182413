
/*
 * The lock check: linked into an nginx that has the module in it, by
 * script/locks only.  The pages of the shared zone can be touched by a process
 * while it holds the zone's lock, and at no other time: whatever else touches
 * them is a fault, which is reported with the call stack.  And while the lock
 * is held, no other function than those listed in t/locks/allowed may be
 * called; that is what the generated stubs ask lock_check_held for.
 *
 * A report is an [alert] on stderr, which nginx has made its error log, and
 * the end of the process.  x86-64 Linux only.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "ngx_http_unit_shm.h"


#define LOCK_CHECK_ZONES   8
#define LOCK_CHECK_FRAMES  24

#define LOCK_CHECK_TF      0x100   /* trap after one instruction */
#define LOCK_CHECK_WRITE   2       /* in the error code of a page fault */


typedef struct {
    u_char                 *addr;
    size_t                  size;
    ngx_http_unit_shctx_t  *sh;
} lock_check_zone_t;


/* what may be read, never written, without the lock, and why that is right */
typedef struct {
    size_t                  offset;
    size_t                  size;
    const char             *why;
} lock_check_field_t;


void lock_check_slow(const char *function);

ngx_http_unit_shm_t *__real_ngx_http_unit_shm_add(ngx_conf_t *cf,
    ngx_str_t *name, size_t size, void *tag);
ngx_http_unit_shm_t *__wrap_ngx_http_unit_shm_add(ngx_conf_t *cf,
    ngx_str_t *name, size_t size, void *tag);
void __real_ngx_shm_free(ngx_shm_t *shm);
void __wrap_ngx_shm_free(ngx_shm_t *shm);
void __real_ngx_shmtx_lock(ngx_shmtx_t *mtx);
void __wrap_ngx_shmtx_lock(ngx_shmtx_t *mtx);
ngx_uint_t __real_ngx_shmtx_trylock(ngx_shmtx_t *mtx);
ngx_uint_t __wrap_ngx_shmtx_trylock(ngx_shmtx_t *mtx);
void __real_ngx_shmtx_unlock(ngx_shmtx_t *mtx);
void __wrap_ngx_shmtx_unlock(ngx_shmtx_t *mtx);
ngx_uint_t __real_ngx_shmtx_force_unlock(ngx_shmtx_t *mtx, ngx_pid_t pid);
ngx_uint_t __wrap_ngx_shmtx_force_unlock(ngx_shmtx_t *mtx, ngx_pid_t pid);

static ngx_int_t lock_check_init(ngx_shm_zone_t *zone, void *data);
static lock_check_zone_t *lock_check_find(void *p);
static void lock_check_protect(lock_check_zone_t *zone, int access);
static void lock_check_before(lock_check_zone_t *zone);
static void lock_check_taken(lock_check_zone_t *zone, void *from);
static void lock_check_handle(int signo, void (*handler)(int, siginfo_t *,
    void *));
static void lock_check_fault(int signo, siginfo_t *si, void *context);
static void lock_check_step(int signo, siginfo_t *si, void *context);
static ngx_uint_t lock_check_is_listed(lock_check_zone_t *zone, u_char *p);
static void lock_check_report(const char *fmt, ...);
static void lock_check_account(void);
static uint64_t lock_check_now(void);


static const lock_check_field_t  lock_check_fields[] = {

    { offsetof(ngx_http_unit_shctx_t, layout), sizeof(ngx_uint_t),
      "written before there are workers; the master reads it at a reload, and "
      "must not wait for a lock which it may itself have to break" },

    { offsetof(ngx_http_unit_shctx_t, salt), NGX_HTTP_UNIT_SHM_KEY_LEN,
      "written before there are workers, never again" }
};


/* the zone whose lock is held: read by the stubs */
lock_check_zone_t                 *lock_check_held;

static lock_check_zone_t           lock_check_zones[LOCK_CHECK_ZONES];
static lock_check_zone_t          *lock_check_stepping;
static ngx_shm_zone_init_pt        lock_check_real_init;
static const char                 *lock_check_accounts;

static ngx_uint_t                  lock_check_others;  /* nginx's own locks */
static ngx_uint_t                  lock_check_count;
static uint64_t                    lock_check_since;
static uint64_t                    lock_check_sum;
static uint64_t                    lock_check_longest;
static void                       *lock_check_from;
static void                       *lock_check_longest_from;


ngx_http_unit_shm_t *
__wrap_ngx_http_unit_shm_add(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    void *tag)
{
    ngx_http_unit_shm_t  *shm;

    shm = __real_ngx_http_unit_shm_add(cf, name, size, tag);

    if (shm) {
        lock_check_real_init = shm->zone->init;
        shm->zone->init = lock_check_init;
    }

    return shm;
}


static ngx_int_t
lock_check_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_http_unit_shm_t  *shm;

    rc = lock_check_real_init(zone, data);

    if (rc != NGX_OK || lock_check_find(zone->shm.addr)) {
        return rc;
    }

    if (lock_check_accounts == NULL) {
        lock_check_accounts = getenv("LOCK_CHECK_ACCOUNTS");

        if (lock_check_accounts == NULL) {
            lock_check_accounts = "";
        }

        (void) atexit(lock_check_account);
    }

    for (i = 0; i < LOCK_CHECK_ZONES && lock_check_zones[i].addr; i++) {
        /* void */
    }

    if (i == LOCK_CHECK_ZONES) {
        lock_check_report("more than %d zones", LOCK_CHECK_ZONES);
    }

    shm = zone->data;

    lock_check_zones[i].addr = zone->shm.addr;
    lock_check_zones[i].size = zone->shm.size;
    lock_check_zones[i].sh = shm->sh;

    lock_check_handle(SIGSEGV, lock_check_fault);
    lock_check_handle(SIGTRAP, lock_check_step);
    lock_check_protect(&lock_check_zones[i], PROT_NONE);

    return NGX_OK;
}


void
__wrap_ngx_shm_free(ngx_shm_t *shm)
{
    lock_check_zone_t  *zone;

    zone = lock_check_find(shm->addr);
    if (zone) {
        zone->addr = NULL;
    }

    __real_ngx_shm_free(shm);
}


static lock_check_zone_t *
lock_check_find(void *p)
{
    ngx_uint_t          i;
    lock_check_zone_t  *zone;

    for (i = 0; i < LOCK_CHECK_ZONES; i++) {
        zone = &lock_check_zones[i];

        if (zone->addr && (u_char *) p >= zone->addr
            && (u_char *) p < zone->addr + zone->size)
        {
            return zone;
        }
    }

    return NULL;
}


static void
lock_check_protect(lock_check_zone_t *zone, int access)
{
    if (mprotect(zone->addr, zone->size, access) == -1) {
        lock_check_report("mprotect() failed: %s", strerror(errno));
    }
}


static void
lock_check_before(lock_check_zone_t *zone)
{
    if (lock_check_held) {
        lock_check_report(zone == lock_check_held
                          ? "the lock is taken again by its holder"
                          : "another lock is taken while the lock is held");
    }

    if (zone == NULL) {
        return;
    }

    if (lock_check_others) {
        lock_check_report("the lock is taken while another lock is held");
    }

    lock_check_protect(zone, PROT_READ|PROT_WRITE);
}


static void
lock_check_taken(lock_check_zone_t *zone, void *from)
{
    if (zone == NULL) {
        lock_check_others++;
        return;
    }

    lock_check_count++;
    lock_check_from = from;
    lock_check_since = lock_check_now();
    lock_check_held = zone;
}


void
__wrap_ngx_shmtx_lock(ngx_shmtx_t *mtx)
{
    lock_check_zone_t  *zone;

    zone = lock_check_find(mtx);

    lock_check_before(zone);
    __real_ngx_shmtx_lock(mtx);
    lock_check_taken(zone, __builtin_return_address(0));
}


ngx_uint_t
__wrap_ngx_shmtx_trylock(ngx_shmtx_t *mtx)
{
    lock_check_zone_t  *zone;

    zone = lock_check_find(mtx);

    lock_check_before(zone);

    if (!__real_ngx_shmtx_trylock(mtx)) {
        if (zone) {
            lock_check_protect(zone, PROT_NONE);
        }

        return 0;
    }

    /* a worker waits for events with this one held: it is not a zone's */

    if (mtx != &ngx_accept_mutex) {
        lock_check_taken(zone, __builtin_return_address(0));
    }

    return 1;
}


void
__wrap_ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
    uint64_t            spent;
    lock_check_zone_t  *zone;

    zone = lock_check_find(mtx);

    if (zone == NULL) {
        if (mtx != &ngx_accept_mutex) {
            lock_check_others--;
        }

        __real_ngx_shmtx_unlock(mtx);
        return;
    }

    if (lock_check_held != zone) {
        lock_check_report("the lock is given back by one who has not got it");
    }

    lock_check_held = NULL;

    spent = lock_check_now() - lock_check_since;
    lock_check_sum += spent;

    if (spent > lock_check_longest) {
        lock_check_longest = spent;
        lock_check_longest_from = lock_check_from;
    }

    __real_ngx_shmtx_unlock(mtx);
    lock_check_protect(zone, PROT_NONE);
}


/* the master, after a worker has died */

ngx_uint_t
__wrap_ngx_shmtx_force_unlock(ngx_shmtx_t *mtx, ngx_pid_t pid)
{
    ngx_uint_t          rc;
    lock_check_zone_t  *zone;

    zone = lock_check_find(mtx);

    if (zone) {
        lock_check_protect(zone, PROT_READ|PROT_WRITE);
    }

    rc = __real_ngx_shmtx_force_unlock(mtx, pid);

    if (zone) {
        lock_check_protect(zone, PROT_NONE);
    }

    return rc;
}


/* called by the stubs, with the lock held */

void
lock_check_slow(const char *function)
{
    lock_check_report("%s() is called while the lock is held", function);
}


static void
lock_check_handle(int signo, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction  sa;

    ngx_memzero(&sa, sizeof(struct sigaction));

    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO;
    sigemptyset(&sa.sa_mask);

    if (sigaction(signo, &sa, NULL) == -1) {
        lock_check_report("sigaction() failed: %s", strerror(errno));
    }
}


static void
lock_check_fault(int signo, siginfo_t *si, void *context)
{
    u_char             *p;
    ucontext_t         *uc = context;
    ngx_uint_t          write;
    lock_check_zone_t  *zone;

    p = si->si_addr;
    zone = lock_check_find(p);

    if (zone == NULL || zone == lock_check_held) {

        /* nothing of ours: the same fault again ends the process */

        (void) signal(SIGSEGV, SIG_DFL);
        return;
    }

    write = uc->uc_mcontext.gregs[REG_ERR] & LOCK_CHECK_WRITE;

    if (!write && lock_check_is_listed(zone, p)) {
        lock_check_stepping = zone;
        lock_check_protect(zone, PROT_READ);
        uc->uc_mcontext.gregs[REG_EFL] |= LOCK_CHECK_TF;
        return;
    }

    lock_check_report("the zone is %s at %zd without its lock",
                      write ? "written" : "read", p - zone->addr);
}


/* the one instruction has read what it may read */

static void
lock_check_step(int signo, siginfo_t *si, void *context)
{
    ucontext_t  *uc = context;

    if (lock_check_stepping == NULL) {
        (void) signal(SIGTRAP, SIG_DFL);
        return;
    }

    uc->uc_mcontext.gregs[REG_EFL] &= ~LOCK_CHECK_TF;
    lock_check_protect(lock_check_stepping, PROT_NONE);
    lock_check_stepping = NULL;
}


static ngx_uint_t
lock_check_is_listed(lock_check_zone_t *zone, u_char *p)
{
    u_char      *field;
    ngx_uint_t   i;

    for (i = 0;
         i < sizeof(lock_check_fields) / sizeof(lock_check_fields[0]);
         i++)
    {
        field = (u_char *) zone->sh + lock_check_fields[i].offset;

        if (p >= field && p < field + lock_check_fields[i].size) {
            return 1;
        }
    }

    return 0;
}


static void
lock_check_report(const char *fmt, ...)
{
    int       i, n;
    char      text[2048];
    void     *frame[LOCK_CHECK_FRAMES];
    size_t    len;
    va_list   args;

    /* what follows is not what is checked */

    lock_check_held = NULL;

    len = (size_t) snprintf(text, sizeof(text), "[alert] %d: lock check: ",
                            (int) getpid());

    va_start(args, fmt);
    len += (size_t) vsnprintf(text + len, sizeof(text) - len, fmt, args);
    va_end(args);

    /* one line: script/locks turns the addresses into names */

    n = backtrace(frame, LOCK_CHECK_FRAMES);

    for (i = 1; i < n && len < sizeof(text) - 64; i++) {
        len += (size_t) snprintf(text + len, sizeof(text) - len, " %p",
                                 frame[i]);
    }

    text[len++] = '\n';

    (void) !write(STDERR_FILENO, text, len);

    abort();
}


/* at the end of a process: how often it had the lock, and for how long */

static void
lock_check_account(void)
{
    int       n;
    char      line[256];
    ngx_fd_t  fd;

    if (*lock_check_accounts == '\0' || lock_check_count == 0) {
        return;
    }

    fd = open(lock_check_accounts, O_WRONLY|O_APPEND|O_CREAT, 0644);
    if (fd == -1) {
        return;
    }

    n = snprintf(line, sizeof(line), "%lu %llu %llu %p\n",
                 (unsigned long) lock_check_count,
                 (unsigned long long) lock_check_sum,
                 (unsigned long long) lock_check_longest,
                 lock_check_longest_from);

    (void) !write(fd, line, (size_t) n);
    (void) close(fd);
}


/* nanoseconds of this process alone: the machine may be busy otherwise */

static uint64_t
lock_check_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}
