/* The module's door to memory: where it is, who gives it out, and giving it back. */
#ifndef LIVEHEAP_ALLOCATOR_H
#define LIVEHEAP_ALLOCATOR_H

#include "compat.h"

/* Whether malloc is glibc's. With the GIL held, or alone. */
bool allocator_is_glibc(void);

/* residence, allocators, trim, descriptors; for module.c. */
extern PyMethodDef allocator_methods[];

#endif
