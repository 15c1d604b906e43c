/* The copier: takes a clone of the worker that goes on as a Python program of ours.
 *
 * Made like the walker's clone (forker.h: bare system call, no exit signal, no atfork
 * handlers, same fences, one kept file), but between CPython's own code before and after
 * a fork, so that its locks are right in the child. Three things differ from os.fork():
 *
 * Nothing that os.register_at_fork was given is called, on neither side. Those hooks are
 * the host's: they start exporters and pools again, make event loops, take locks; and one
 * of them is ours. In the child they are gone for good.
 *
 * The frames of other threads survive. CPython frees them in a child; here their thread
 * states leave the interpreter's list before it can, and the frame objects that were
 * made in the parent, just before the clone, are handed to the program.
 *
 * The program never returns into the interpreter: when it ends, the process does.
 *
 * What nobody mends is malloc: glibc makes its locks right in a child of its own fork()
 * only, and that one sends SIGCHLD. Another thread may have held one of them. The
 * program therefore says that it is ready, and who started it clones again if it sleeps
 * before it has.
 */
#ifndef LIVEHEAP_COPIER_H
#define LIVEHEAP_COPIER_H

#include "compat.h"

/* copy_start; for module.c. */
extern PyMethodDef copier_methods[];

#endif
