/* Growable arrays of addresses for a walk: mmap memory only, no Python.
 *
 * All arrays of a walk share one `struct memory`, which knows how much is mapped and
 * whether mmap has failed.  After a failure an array stays usable and forgets what it
 * held, so that callers need no check per element: the walk looks at `failed` between
 * objects and ends.
 */
#ifndef LIVEHEAP_WALKER_MEMORY_H
#define LIVEHEAP_WALKER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory {
    uint64_t mapped; /* bytes */
    int error;       /* errno of the first failure */
    bool failed;
};

struct vector {
    uintptr_t *items;
    size_t n;
    size_t capacity; /* never 0 after vector_init() */
    struct memory *memory;
};

/* Zeroed pages, or NULL with memory->failed set. */
void *memory_map(struct memory *memory, size_t length);
void memory_unmap(struct memory *memory, void *pages, size_t length);

/* Returns 0, or -1 if there is no memory. */
int vector_init(struct vector *vector, struct memory *memory, size_t capacity);
void vector_free(struct vector *vector);

/* Makes room for `extra` more items.  When out of memory the vector is emptied and
 * false returned. */
bool vector_grow(struct vector *vector, size_t extra);

static inline bool
vector_reserve(struct vector *vector, size_t extra)
{
    return vector->capacity - vector->n >= extra || vector_grow(vector, extra);
}

static inline void
vector_push(struct vector *vector, uintptr_t item)
{
    if (vector->n == vector->capacity) {
        (void)vector_grow(vector, 1);
    }
    vector->items[vector->n++] = item;
}

/* Sorts upwards; `room` holds n items too.  A radix sort: qsort(3) may allocate. */
void memory_sort(uintptr_t *items, uintptr_t *room, size_t n);

#endif
