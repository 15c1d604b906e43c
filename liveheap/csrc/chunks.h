/* What of glibc's heaps is in use and what is free, read from the chunks themselves.
 *
 * mallinfo2 and malloc_info know it too, but go through every free chunk with the
 * arena's lock held: 0.35 us each, and whoever calls malloc meanwhile waits, most
 * likely with the GIL. A heap of 2 GB with half a million free chunks stopped for
 * 170 ms. Chunks lie one behind the other, each with its length before it and a bit
 * that says whether the one before is in use, as they have since glibc 2.0: so they are
 * read in the order of their addresses, from a copy, and no lock is taken. It costs
 * 0.3 s of another core per GB.
 *
 * The worker goes on meanwhile. A length that cannot be says that the copy was torn;
 * then it is read again, and if that happens too often nothing is said. What threads
 * keep for their next use (tcache, fast bins) counts as in use. No Python.h.
 */
#ifndef LIVEHEAP_CHUNKS_H
#define LIVEHEAP_CHUNKS_H

#include "ownmemory.h"

/* The alignment and room of each heap of an arena that is not the main one. */
#define CHUNKS_HEAP_MAX ((uintptr_t)64 << 20)

struct chunks {
    uint64_t used;          /* bytes */
    uint64_t free;          /* bytes, the unused end of the heap among them */
    uint64_t free_resident; /* bytes of it in memory */
    uint64_t trimmable;     /* of these: what malloc_trim would give back */
    uint64_t n_free;        /* pieces */
};

/* Reads the heap from `begin` to `end`, whose first chunk is not far from its begin.
 * Fills `found`; false if it is no heap or will not hold still. Of other arenas than the
 * main one malloc_trim leaves the end alone. */
bool chunks_read(struct ownmemory *own, uintptr_t begin, uintptr_t end, bool is_main,
                 struct chunks *found);

/* The end of the heap that begins at an aligned address; 0 if none does. */
uintptr_t chunks_heap_end(struct ownmemory *own, uintptr_t begin);

/* The length of the block that malloc mapped for itself at the begin of a page; 0 if it
 * is none. */
uintptr_t chunks_mapped(const uint64_t *words, uintptr_t room);

#endif
