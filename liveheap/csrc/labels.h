/* The type Labels: the half of liveheap/tasks.py that runs on the host's own threads.
 *
 * A task's begin and end are the one thing that an agent at rest costs a worker, some
 * thousand times a second, and with cold caches: as Python code they came to 14 to 20
 * us of a task in a Celery worker, ten times what they take in a loop.  tasks.py says
 * what is kept and why; here is only how.
 *
 * All of it happens with the GIL held.  What may let it go, and let anything else run,
 * is to ask somebody: for a holder, a name, an observer's opinion, or memory (the
 * collector and whatever it finishes).  The dicts are never replaced, so they stay valid
 * over a question; whatever else is asked, or asked about, is held meanwhile.  A token is
 * looked up and put in its place without a question in between, and its holder is held
 * until it is there.
 */
#ifndef LIVEHEAP_LABELS_H
#define LIVEHEAP_LABELS_H

#include "compat.h"

/* Add the types to the module. 0, or -1 with an exception set. */
int labels_add_types(PyObject *module);

#endif
