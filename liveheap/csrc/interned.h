/* Names of Python's that C asks for again and again: interned once, kept for good. */
#ifndef LIVEHEAP_INTERNED_H
#define LIVEHEAP_INTERNED_H

#include "compat.h"

/* Fill in those strings that are not there yet. 0, or -1 with an exception set. */
static inline int
interned_fill(PyObject **strings, const char *const *texts, int n)
{
    for (int i = 0; i < n; i++) {
        if (strings[i] == NULL) {
            strings[i] = PyUnicode_InternFromString(texts[i]);
        }
        if (strings[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

#endif
