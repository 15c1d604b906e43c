/* The module's door to memory: where it is, who gives it out, and giving it back. */
#ifndef LIVEHEAP_ALLOCATOR_H
#define LIVEHEAP_ALLOCATOR_H

#include "compat.h"

/* residence, allocators, trim, descriptors; for module.c. */
extern PyMethodDef allocator_methods[];

#endif
