#define _GNU_SOURCE
#include "fences.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_IDLE (3 << 13)
#define NICE_STEP 10
#define N_SIGNALS 64
#define SIGNAL_SET_BYTES 8

struct linux_dirent64 {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

_Noreturn void
fences_exit(int code)
{
    for (;;) {
        syscall(SYS_exit_group, code);
    }
}

void
fences_block_signals(uint64_t *old)
{
    uint64_t all = ~UINT64_C(0);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, SIGNAL_SET_BYTES);
}

void
fences_restore_signals(const uint64_t *old)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, SIGNAL_SET_BYTES);
}

pid_t
fences_clone(void)
{
    return (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
}

/* The kernel writes the child's id where glibc keeps the cloning thread's: it has been
 * told that place, to clear it when the thread ends. Kernels that do not tell it again
 * (CONFIG_CHECKPOINT_RESTORE) leave glibc with the worker's id in the child; only
 * raise() in old versions uses it. */
pid_t
fences_clone_program(void)
{
    int *place = NULL;
    if (syscall(SYS_prctl, PR_GET_TID_ADDRESS, &place, 0, 0, 0) < 0 || place == NULL) {
        return fences_clone();
    }
    return (pid_t)syscall(SYS_clone, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, 0, NULL,
                          place, 0);
}

void
fences_stop_self(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
}

_Noreturn void
fences_hang(void)
{
    for (;;) {
        syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
    }
}

/* The signal comes when the cloning thread ends. Had it ended before we asked for the
 * signal, it would never come: so look for both, process and thread. */
static int
die_with(pid_t parent, pid_t thread)
{
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (syscall(SYS_getppid) != parent) {
        return -1;
    }
    return syscall(SYS_tgkill, parent, thread, 0) < 0 && errno == ESRCH ? -1 : 0;
}

/* The child raises its own score, first thing: done by the parent it would leave a
 * window in which the kernel may choose the worker. Raising needs no privilege. */
static int
volunteer_for_oom(void)
{
    static const char score[] = "1000";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY);
    if (fd < 0) {
        return -1;
    }
    long written = syscall(SYS_write, fd, score, sizeof(score) - 1);
    syscall(SYS_close, fd);
    return written == (long)sizeof(score) - 1 ? 0 : -1;
}

static int
descriptor_of(const char *name)
{
    int fd = 0;
    for (; *name; name++) {
        if (*name < '0' || *name > '9') {
            return -1;
        }
        fd = fd * 10 + (*name - '0');
    }
    return fd;
}

/* Before Linux 5.9: read the list of open files until a pass finds none to close,
 * for closing while reading may skip entries. */
static int
close_listed_but(int keep)
{
    static _Alignas(8) char buffer[4096];
    int dir = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd",
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return -1;
    }
    int n_closed;
    do {
        n_closed = 0;
        syscall(SYS_lseek, dir, 0, SEEK_SET);
        long length;
        while ((length = syscall(SYS_getdents64, dir, buffer, sizeof(buffer))) > 0) {
            for (long at = 0; at < length;) {
                const struct linux_dirent64 *entry = (const void *)(buffer + at);
                int fd = descriptor_of(entry->name);
                if (fd >= 0 && fd != keep && fd != dir) {
                    syscall(SYS_close, fd);
                    n_closed++;
                }
                at += entry->length;
            }
        }
        if (length < 0) {
            return -1;
        }
    } while (n_closed > 0);
    syscall(SYS_close, dir);
    return 0;
}

static int
close_all_but(int keep)
{
    unsigned int last = ~0U;
    if (keep > 0 && syscall(SYS_close_range, 0, keep - 1, 0) < 0) {
        return close_listed_but(keep);
    }
    if (syscall(SYS_close_range, keep + 1, last, 0) < 0) {
        return close_listed_but(keep);
    }
    return 0;
}

/* Sockets, epoll sets, flocks of the worker all go here: a child that kept a listening
 * socket was seen to answer connections meant for the worker. */
static int
keep_only_spool(struct fence_plan *plan)
{
    if (plan->spool_fd < 3) {
        int moved = (int)syscall(SYS_fcntl, plan->spool_fd, F_DUPFD, 3);
        if (moved < 0) {
            return -1;
        }
        plan->spool_fd = moved;
    }
    if (close_all_but(plan->spool_fd) < 0) {
        return -1;
    }
    int null_fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);
    while (null_fd >= 0 && null_fd < 2) {
        null_fd = (int)syscall(SYS_fcntl, null_fd, F_DUPFD, 0);
    }
    return 0;
}

/* All signals were blocked before the clone. The worker's handlers must never run
 * here; of the defaults only the watchdog's may arrive. A fault kills even while its
 * signal is blocked, and SIGXFSZ and SIGXCPU stay pending without effect. */
static int
default_signals(void)
{
    char zeroed[64];
    memset(zeroed, 0, sizeof(zeroed));
    for (int signal_number = 1; signal_number <= N_SIGNALS; signal_number++) {
        if (signal_number == SIGKILL || signal_number == SIGSTOP) {
            continue;
        }
        if (syscall(SYS_rt_sigaction, signal_number, zeroed, NULL, SIGNAL_SET_BYTES) <
            0) {
            return -1;
        }
    }
    uint64_t blocked = ~(UINT64_C(1) << (SIGALRM - 1));
    return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL,
                        SIGNAL_SET_BYTES);
}

static int
set_watchdog(uint64_t timeout_us)
{
    struct itimerval timer;
    memset(&timer, 0, sizeof(timer));
    timer.it_value.tv_sec = (time_t)(timeout_us / 1000000);
    timer.it_value.tv_usec = (suseconds_t)(timeout_us % 1000000);
    return (int)syscall(SYS_setitimer, ITIMER_REAL, &timer, NULL);
}

/* Behind the worker, but not behind everybody: SCHED_IDLE was tried, and on a core kept
 * busy by one thread a walk of 0.15 s took 55 s, with the worker paying copy on write
 * all the while. With nice 10 it takes a tenth of that core. SCHED_BATCH: never preempt
 * a thread that was there before. */
static int
step_behind_worker(void)
{
    struct sched_param param;
    memset(&param, 0, sizeof(param));
    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
    int batched = (int)syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &param);
    long nice = 20 - syscall(SYS_getpriority, PRIO_PROCESS, 0);
    nice = nice + NICE_STEP > 19 ? 19 : nice + NICE_STEP;
    return (int)syscall(SYS_setpriority, PRIO_PROCESS, 0, nice) < 0 ? -1 : batched;
}

/* Lower a limit, soft and hard alike; an inherited lower one stays. */
static int
lower_limit(int which, uint64_t value)
{
    struct rlimit limit;
    if (syscall(SYS_prlimit64, 0, which, NULL, &limit) < 0) {
        return -1;
    }
    rlim_t wanted = (rlim_t)value;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
        wanted = limit.rlim_cur;
    }
    limit.rlim_cur = wanted;
    limit.rlim_max = wanted;
    return (int)syscall(SYS_prlimit64, 0, which, &limit, NULL);
}

/* A dump of this process is the worker's memory.  With a limit of 0 the kernel writes no
 * file, but a core_pattern that is a pipe (apport, for one) gets it all the same; 1 ends
 * that as well, and is too little for a file. */
static void
leave_no_core(void)
{
    struct rlimit one = {.rlim_cur = 1, .rlim_max = 1};
    if (syscall(SYS_prlimit64, 0, RLIMIT_CORE, &one, NULL) < 0) {
        lower_limit(RLIMIT_CORE, 0);
    }
}

/* The first number of /proc/self/statm, in bytes; 0 if it cannot be read. */
static uint64_t
address_space_bytes(void)
{
    char text[64];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/statm", O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    long length = syscall(SYS_read, fd, text, sizeof(text) - 1);
    syscall(SYS_close, fd);
    uint64_t n_pages = 0;
    for (long i = 0; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        n_pages = n_pages * 10 + (uint64_t)(text[i] - '0');
    }
    return n_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint32_t
lower_limits(const struct fence_plan *plan)
{
    uint32_t missing = 0;
    leave_no_core();
    if (plan->cpu_s > 0) {
        lower_limit(RLIMIT_CPU, plan->cpu_s);
    }
    if (plan->memory_bytes > 0) {
        uint64_t size = address_space_bytes();
        if (size == 0 || lower_limit(RLIMIT_AS, size + plan->memory_bytes) < 0) {
            missing |= FENCE_MISSING_MEMORY_LIMIT;
        }
    }
    if (plan->spool_bytes > 0 && lower_limit(RLIMIT_FSIZE, plan->spool_bytes) < 0) {
        missing |= FENCE_MISSING_SPOOL_LIMIT;
    }
    return missing;
}

enum child_exit
fences_raise(struct fence_plan *plan, uint32_t *missing)
{
    if (die_with(plan->parent, plan->thread) < 0) {
        return CHILD_ORPHAN;
    }
    int volunteered = volunteer_for_oom();
    /* Before what takes longer: at the worker's own rank we would take its core. */
    if (step_behind_worker() < 0) {
        *missing |= FENCE_MISSING_SCHEDULER;
    }
    if (keep_only_spool(plan) < 0) {
        return CHILD_FILES_OPEN;
    }
    /* A worker with all its descriptors in use left none for that file until now. */
    if (volunteered < 0 && volunteer_for_oom() < 0) {
        *missing |= FENCE_MISSING_OOM_SCORE;
    }
    if (default_signals() < 0) {
        return CHILD_SIGNALS_OPEN;
    }
    if (plan->timeout_us > 0 && set_watchdog(plan->timeout_us) < 0) {
        return CHILD_NO_WATCHDOG;
    }
    *missing |= lower_limits(plan);
    syscall(SYS_prctl, PR_SET_NAME, plan->name, 0, 0, 0);
    return CHILD_DONE;
}
