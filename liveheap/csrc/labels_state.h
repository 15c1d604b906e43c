/* The tasks of one process as C sees them, between the type (labels.c) and what happens
 * to its dicts and tokens (labels_state.c); labels.h says what holds for both. */
#ifndef LIVEHEAP_LABELS_STATE_H
#define LIVEHEAP_LABELS_STATE_H

#include "holder.h"
#include "token.h"

typedef struct {
    PyObject_HEAD
    /* The head of each holder's chain of tokens, by the holder's address. */
    PyObject *innermost;
    /* How many have ended, by name; and how many of those had others beside them. */
    PyObject *done, *overlapped;
    /* A thread's local storage, where its anchor is; and who watches. NULL is as None:
     * Python code may take both away. */
    PyObject *local, *observer;
    struct holder_sources sources;
    /* What our own code may raise by mistake, and what names beyond the bound are. */
    PyObject *errors, *other;
    /* The type and the callback of all tokens. */
    PyTypeObject *token_type;
    PyObject *forget;
    Py_ssize_t max_holders, max_names, longest;
    int max_depth;
    /* Top-level tasks, ever. */
    unsigned long long begun;
    /* Until then the observer is not asked. */
    double rest_until;
    char is_on;
} Labels;

/* A task as its caller says it; all borrowed. */
struct task {
    PyObject *kind, *name, *id;
};

/* 0, or -1 with an exception set. To be called once before anything else here. */
int labels_prepare(void);

/* Whether an exception is set that is no mistake of ours. */
bool labels_hosts_error(const Labels *self);

/* The holder that runs here, as a key of the dict; NULL with or without an exception. */
PyObject *labels_key_here(Labels *self);

/* The first token here that is not over, borrowed; NULL with or without an exception. */
Token *labels_innermost(Labels *self);

/* The innermost of them that has this kind, and this id unless it is None. */
Token *labels_find(Labels *self, PyObject *kind, PyObject *id);

/* As text, and no longer than it may be. */
PyObject *labels_cut(const Labels *self, PyObject *text);

/* A token for what begins here, in its place, of which the observer knows. NULL if it
 * has none, with or without an exception set. */
Token *labels_begin_here(Labels *self, struct task task);

/* 0, or -1 with an exception that is the host's. */
int labels_finish(Labels *self, Token *token);

#endif
