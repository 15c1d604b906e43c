/* The type Sha256: sha256.h for the agent, which hashes what it sends. */
#ifndef LIVEHEAP_DIGEST_H
#define LIVEHEAP_DIGEST_H

#include "compat.h"

/* Add the type to the module. 0, or -1 with an exception set. */
int digest_add_type(PyObject *module);

#endif
