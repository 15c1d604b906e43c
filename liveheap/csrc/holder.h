/* What the caller runs on: its asyncio task, else its greenlet, else its thread. */
#ifndef LIVEHEAP_HOLDER_H
#define LIVEHEAP_HOLDER_H

#include "compat.h"

/* 0, or -1 with an exception set. To be called once before anything else here. */
int holder_prepare(void);

/* Return the asyncio task or greenlet that runs here, and what it is (borrowed); NULL
 * with an exception set, or without one where nothing but a thread runs.  Imports
 * nothing: who has no asyncio or greenlet in sys.modules does not run on them. */
PyObject *holder_find(PyObject **what);

/* What a thread as a holder is called; borrowed. */
PyObject *holder_thread(void);

#endif
