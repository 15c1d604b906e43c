/* The type Interruption: a call that another thread may interrupt, and nothing else.
 *
 * PyThreadState_SetAsyncExc() raises in whatever the thread happens to run by then: a
 * moment too late, and the exception hits code that never asked for it, which on the
 * worker's main thread is the worker.  Here the call's begin and end, and the question
 * whether it runs, all happen with the GIL held and without a bytecode in between; and
 * what was raised too late is taken back before the caller sees a return.
 *
 * A greenlet that has been switched away is not interrupted, although its thread runs:
 * the frame of the call has to be among those of the thread.
 */
#ifndef LIVEHEAP_INTERRUPTION_H
#define LIVEHEAP_INTERRUPTION_H

#include "compat.h"

/* Add the type to the module. 0, or -1 with an exception set. */
int interruption_add_type(PyObject *module);

#endif
