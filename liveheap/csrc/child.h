/* The type Child: a cloned process, seen from the worker that cloned it.
 *
 * Its status page is mapped shared before the clone; its pid is filled in afterwards.
 * It is reaped with __WALL, since it sends no signal when it ends. Several threads may
 * use one Child; its fields are guarded by the GIL, and all waiting is done without.
 *
 * Dropping the last reference kills and reaps. In a process forked from the worker a
 * Child is dead weight: the walking process is not that process's child, and by then
 * its number may be anybody's.
 */
#ifndef LIVEHEAP_CHILD_H
#define LIVEHEAP_CHILD_H

#include "compat.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "walker.h"

enum child_stage {
    STAGE_BORN = 0,
    STAGE_FENCED = 1,
    STAGE_WALKING = 2,
    STAGE_ENDED = 3
};

/* Shared with the child. The child writes, the parent reads, nobody locks. */
struct fork_page {
    struct walk_status walk;
    volatile uint32_t stage;
    volatile uint32_t missing; /* enum fence_missing */
};

typedef struct {
    PyObject_HEAD
    pid_t pid;
    pid_t owner;      /* the process whose child it is */
    int pidfd;        /* opened by the first wait; -1 else, and once reaped */
    int pidfd_is_off; /* the kernel has none, or the worker closed ours */
    int n_waiting;    /* threads that use pidfd without the GIL */
    int reaped;
    int wait_status; /* valid once reaped; -1 if somebody else reaped it */
    struct rusage usage;
    uint64_t pause_ns;
    struct fork_page *page;
} Child;

/* A Child without a process, its page mapped; `module` is _heap. */
Child *child_new(PyObject *module);

/* A process was just cloned for it. Needs the GIL held since the clone. */
void child_born(Child *self, pid_t pid, uint64_t pause_ns);

/* Add the type to the module. 0, or -1 with an exception set. */
int child_add_type(PyObject *module);

#endif
