#define _GNU_SOURCE
#include "walker_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

void *
memory_map(struct memory *memory, size_t length)
{
    void *pages = mmap(NULL, length, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        if (!memory->failed) {
            memory->error = errno;
        }
        memory->failed = true;
        return NULL;
    }
    memory->mapped += length;
    return pages;
}

void
memory_unmap(struct memory *memory, void *pages, size_t length)
{
    if (pages != NULL) {
        (void)munmap(pages, length);
        memory->mapped -= length;
    }
}

int
vector_init(struct vector *vector, struct memory *memory, size_t capacity)
{
    *vector = (struct vector){.memory = memory};
    vector->items = memory_map(memory, capacity * sizeof(uintptr_t));
    if (vector->items == NULL) {
        return -1;
    }
    vector->capacity = capacity;
    return 0;
}

void
vector_free(struct vector *vector)
{
    if (vector->items != NULL) {
        memory_unmap(vector->memory, vector->items,
                     vector->capacity * sizeof(uintptr_t));
    }
    vector->items = NULL;
    vector->n = vector->capacity = 0;
}

bool
vector_grow(struct vector *vector, size_t extra)
{
    struct memory *memory = vector->memory;
    size_t capacity = vector->capacity;
    while (capacity - vector->n < extra) {
        capacity *= 2;
    }
    size_t old_length = vector->capacity * sizeof(uintptr_t);
    size_t length = capacity * sizeof(uintptr_t);
    void *items = MAP_FAILED;
    if (!memory->failed) {
        items = mremap(vector->items, old_length, length, MREMAP_MAYMOVE);
    }
    if (items == MAP_FAILED) {
        if (!memory->failed) {
            memory->error = errno;
        }
        memory->failed = true;
        vector->n = 0;
        return vector->capacity >= extra;
    }
    memory->mapped += length - old_length;
    vector->items = items;
    vector->capacity = capacity;
    return true;
}

#define DIGIT_BITS 11
#define DIGITS ((size_t)1 << DIGIT_BITS)

void
memory_sort(uintptr_t *items, uintptr_t *room, size_t n)
{
    uint32_t starts[DIGITS];
    for (unsigned shift = 0; shift < 8 * sizeof(uintptr_t); shift += 2 * DIGIT_BITS) {
        for (unsigned half = 0; half < 2; half++) {
            unsigned at = shift + half * DIGIT_BITS;
            uintptr_t *from = half == 0 ? items : room;
            uintptr_t *to = half == 0 ? room : items;
            memset(starts, 0, sizeof(starts));
            for (size_t i = 0; i < n && at < 64; i++) {
                starts[from[i] >> at & (DIGITS - 1)]++;
            }
            uint32_t sum = 0;
            for (size_t d = 0; d < DIGITS; d++) {
                uint32_t count = starts[d];
                starts[d] = sum;
                sum += count;
            }
            for (size_t i = 0; i < n; i++) {
                size_t digit = at < 64 ? from[i] >> at & (DIGITS - 1) : 0;
                to[starts[digit]++] = from[i];
            }
        }
    }
}
