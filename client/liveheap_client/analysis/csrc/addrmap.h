/* From addresses to node numbers. Pure.
 *
 * Made once from the column of addresses (in units of 8 bytes), then only read. A
 * page of 512 units has a bitmap of its nodes' places; the rank of a bit, added to
 * the page's base, indexes the nodes in order of pages. So the map needs about a
 * tenth of a hash table's memory, and neighbours in the heap are neighbours in the
 * map: looking up 30 million edges stays within the caches.
 *
 * A hostile file costs at most some 200 bytes of map per node.
 */
#ifndef LIVEHEAP_GRAPH_ADDRMAP_H
#define LIVEHEAP_GRAPH_ADDRMAP_H

#include <stddef.h>
#include <stdint.h>

#include "probes.h"

enum {
    ADDRMAP_NO_MEMORY = -1,
    ADDRMAP_DUPLICATE = -2, /* two nodes at one address */
    ADDRMAP_CROWDED = -3,   /* pages chosen to collide */
};

struct addrmap_page {
    uint64_t key; /* the page's number + 1; 0 is a free slot */
    uint32_t base;
    uint16_t before[8]; /* bits in the words before this one */
    uint64_t bits[8];
};

struct addrmap {
    uint32_t *slots; /* index into pages + 1 */
    size_t n_slots;
    struct addrmap_page *pages;
    size_t n_pages;
    size_t pages_capacity;
    int32_t *order;    /* node at base + rank */
    uint64_t last_key; /* the page found last */
    size_t last_page;
    struct probes probes;
};

/* 0 or an error, after which the map is empty. The map must be zeroed memory. */
int addrmap_build(struct addrmap *map, const uint64_t *addresses, size_t n);
void addrmap_clear(struct addrmap *map);

/* The node at an address, -1 if there is none, or if the map is crowded. */
int32_t addrmap_find(struct addrmap *map, uint64_t address);

/* The same for n addresses. Faster than one by one: a large map's memory is asked for
 * before it is needed. */
void addrmap_find_all(struct addrmap *map, const uint64_t *addresses, size_t n,
                      int32_t *nodes);

/* Whether look-ups took so long that addresses were chosen for it: answers are then
 * no longer to be believed. */
int addrmap_crowded(const struct addrmap *map);

#endif
