/* What the caller runs on: its asyncio task, else its greenlet, else its thread. */
#ifndef LIVEHEAP_HOLDER_H
#define LIVEHEAP_HOLDER_H

#include "compat.h"

/* Whom to ask, as found in a module; all NULL until it has been imported.  What is kept
 * counts as long as sys.modules has this very module.  Looked up for every task, in
 * dicts that nobody else had touched since the last one, they were half of what a label
 * cost. */
struct holder_source {
    PyObject *module;
    PyObject *first, *second;
};

struct holder_sources {
    struct holder_source asyncio;  /* the names in asyncio.tasks and asyncio.events */
    struct holder_source greenlet; /* getcurrent, and the descriptor greenlet.parent */
};

/* 0, or -1 with an exception set. To be called once before anything else here. */
int holder_prepare(void);

/* Return the asyncio task or greenlet that runs here, and what it is (borrowed); NULL
 * with an exception set, or without one where nothing but a thread runs.  Imports
 * nothing: who has no asyncio or greenlet in sys.modules does not run on them. */
PyObject *holder_find(struct holder_sources *sources, PyObject **what);

/* Let go of them, until they are asked again. */
void holder_forget(struct holder_sources *sources);

int holder_traverse(const struct holder_sources *sources, visitproc visit, void *arg);

/* What a thread as a holder is called; borrowed. */
PyObject *holder_thread(void);

#endif
