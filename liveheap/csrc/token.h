/* The type Token: a task that runs, and weakly the holder that it runs on.
 *
 * A subclass of weakref.ref, so that one object is both: where the holder dies, the
 * callback is given the token itself.
 */
#ifndef LIVEHEAP_TOKEN_H
#define LIVEHEAP_TOKEN_H

#include "compat.h"

typedef struct {
    PyWeakReference reference;
    PyObject *kind, *name, *id;
    /* What the holder is, its address, and who called there: a tuple of addresses. */
    PyObject *holder, *key, *callers;
    /* The token around it, and what an observer left; None if there is none. */
    PyObject *outer, *note;
    double started;
    unsigned long thread;
    /* How many tasks had begun in the process by then. */
    unsigned long long number;
    int depth;
    /* Whether it has ended; and whether it has had the process to itself. */
    char over, alone;
} Token;

/* The type, or NULL with an exception set.  It goes with its module and its tokens: an
 * agent that was brought leaves nothing of ours behind. */
PyTypeObject *token_make_type(PyObject *module);

/* Whether it is a token, of whichever of the types. */
bool token_check(PyObject *op);

/* A token without fields, or NULL with an exception set. */
Token *token_new(PyTypeObject *type, PyObject *holder, PyObject *callback);

/* The innermost of a chain of tokens that is not over; borrowed, NULL if none is. */
Token *token_live(PyObject *head);

#endif
