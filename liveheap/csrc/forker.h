/* The forker: takes a clone of the worker in which the walker runs, and looks after it.
 *
 * The clone is made by the bare system call with exit signal 0: no atfork handlers of
 * other libraries, no SIGCHLD, invisible to the worker's waitpid, and every thread's
 * frames still there to be read. It is reaped with __WALL. What the child does before
 * it reads the heap stands in fences.h.
 *
 * PDEATHSIG, the fence against a worker that dies, belongs to the thread that forked:
 * let the thread that calls snapshot_start live for as long as the request does. When
 * it ends, the child ends with it (an incomplete walk, and said so); the watchdog is
 * there for what is left.
 */
#ifndef LIVEHEAP_FORKER_H
#define LIVEHEAP_FORKER_H

#include "compat.h"

/* snapshot_start, rest, collapse, bare_clone; for module.c. */
extern PyMethodDef forker_methods[];

/* Finalizers that run inside a collection may hand the GIL over; then its garbage is
 * on another thread's stack and on no list. Give it a little time, then go on: the
 * walk says so by WALK_GC_IN_PROGRESS. Releases the GIL meanwhile. */
void forker_wait_for_collector(void);

/* Add the type Child to the module. 0, or -1 with an exception set. */
int forker_add_types(PyObject *module);

#endif
