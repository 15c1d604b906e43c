/* What the child of a raw clone does before it looks at the first object, so that it
 * can harm nobody: not the worker, not the worker's clients, not the machine.
 *
 * Pure C over raw system calls; no Python.h, no malloc, no stdio, no lock. After a raw
 * clone another thread of the worker may own any lock for ever, and glibc's cached
 * thread id is the worker's: only system calls that take no such state are allowed.
 */
#ifndef LIVEHEAP_FENCES_H
#define LIVEHEAP_FENCES_H

#include <stdint.h>
#include <sys/types.h>

/* What the child exits with. 0 is a walk that ended; its result is in walk_status.
 * A copy that runs Python (copier.h) ends with 0 as well, or with CHILD_RAISED.
 * Kept away from 1 and 2 (other people's favourites) and from 128 up (shells).
 * The names stand in child.c's table child_exit_names, in this order. */
enum child_exit {
    CHILD_DONE = 0,
    CHILD_ORPHAN = 40,  /* worker or thread were gone before the first fence */
    CHILD_FILES_OPEN,   /* inherited files could not be closed */
    CHILD_SIGNALS_OPEN, /* signals could not be put to default */
    CHILD_NO_WATCHDOG,  /* no timer: a hung walk would live for ever */
    CHILD_RAISED,       /* Python code of ours in a copy failed */
    CHILD_EXIT_END
};

/* Fences without which a walk is still harmless enough; reported, not fatal. */
enum fence_missing {
    FENCE_MISSING_OOM_SCORE = 1,
    FENCE_MISSING_SCHEDULER = 2,
    FENCE_MISSING_MEMORY_LIMIT = 4,
    FENCE_MISSING_SPOOL_LIMIT = 8,
};

struct fence_plan {
    const char *name;      /* of the process, for ps and top */
    pid_t thread;          /* that clones; the child dies with it */
    pid_t parent;          /* the worker, noted before the clone */
    int spool_fd;          /* the one file kept; a copy's is its socket */
    uint64_t timeout_us;   /* own watchdog: SIGALRM after so long; 0 means none */
    uint64_t cpu_s;        /* RLIMIT_CPU; 0 means none */
    uint64_t memory_bytes; /* RLIMIT_AS over the size at birth; 0 means none */
    uint64_t spool_bytes;  /* RLIMIT_FSIZE: a bigger spool ends as EFBIG; 0: none */
};

/* Raise all fences, in the order that leaves no window. Returns CHILD_DONE or the code
 * to exit with. plan->spool_fd may be moved out of the way of 0, 1 and 2. */
enum child_exit fences_raise(struct fence_plan *plan, uint32_t *missing);

/* exit_group, without anything of libc's. */
_Noreturn void fences_exit(int code);

/* Block all signals of this thread, even those glibc keeps for itself; give back. */
void fences_block_signals(uint64_t *old);
void fences_restore_signals(const uint64_t *old);

/* clone without an exit signal and, where the child calls nothing of libc's, without any
 * flag. -1 and errno, 0, or the pid. */
pid_t fences_clone(void);

/* The same, for a child that goes on as a program: glibc knows its thread's id. */
pid_t fences_clone_program(void);

/* For tests: stop until SIGCONT; hang until a signal kills. */
void fences_stop_self(void);
_Noreturn void fences_hang(void);

#endif
