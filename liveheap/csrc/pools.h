/* pymalloc's pools, recognised by their headers: 16 KiB, aligned, in anonymous memory,
 * with six numbers that agree with each other. The allocator keeps its table of arenas
 * to itself. No Python.h.
 */
#ifndef LIVEHEAP_POOLS_H
#define LIVEHEAP_POOLS_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_BYTES ((uintptr_t)16384)
#define POOL_HEADER 48u
#define POOL_UNIT 16u /* of block sizes, and of addresses */
#define POOL_SIZE_CLASSES 32u

/* As in Objects/obmalloc.c, which shows it to nobody. */
struct small_pool {
    union {
        uint8_t *padding;
        unsigned count;
    } used;
    uintptr_t free_block; /* the first of a list */
    void *next;
    void *previous;
    unsigned arena;
    unsigned size_class;
    unsigned next_offset;
    unsigned max_next_offset;
};

static inline unsigned
pool_block(const struct small_pool *header)
{
    return (header->size_class + 1) * POOL_UNIT;
}

static inline bool
pool_is(const struct small_pool *header)
{
    unsigned block = pool_block(header);
    return header->size_class < POOL_SIZE_CLASSES &&
           header->max_next_offset == POOL_BYTES - block &&
           header->next_offset > POOL_HEADER && header->next_offset <= POOL_BYTES &&
           (header->next_offset - POOL_HEADER) % block == 0;
}

#endif
