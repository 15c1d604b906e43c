/* A signal's `send` that spares the dispatch to a single receiver, where that is ours.
 *
 * Celery's dispatch of a signal costs more than all that a label does, and so did a
 * wrapper in Python, called with cold caches and keyword arguments.
 */
#ifndef LIVEHEAP_UNDISPATCHED_H
#define LIVEHEAP_UNDISPATCHED_H

#include "compat.h"

/* Add the functions to the module. 0, or -1 with an exception set. */
int undispatched_add(PyObject *module);

#endif
