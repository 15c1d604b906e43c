#include "addrmap.h"

#include <stdlib.h>
#include <string.h>

#include "vec.h"

enum { PAGE_SHIFT = 9, BATCH = 32 };

static const size_t NOT_FOUND = SIZE_MAX;

static inline unsigned
popcount(uint64_t x)
{
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (unsigned)((x * 0x0101010101010101u) >> 56);
}

static inline size_t
slot_of(const struct addrmap *map, uint64_t key)
{
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    return (hash ^ (hash >> 32)) & (map->n_slots - 1);
}

/* The index of the page with this key, or NOT_FOUND. */
static size_t
find_page(struct addrmap *map, uint64_t key)
{
    if (key == map->last_key) {
        return map->last_page;
    }
    if (map->n_slots == 0 || addrmap_crowded(map)) {
        return NOT_FOUND;
    }
    size_t i = slot_of(map, key);
    map->probes.lookups++;
    for (; map->slots[i] != 0; map->probes.steps++) {
        size_t page = map->slots[i] - 1;
        if (map->pages[page].key == key) {
            map->last_key = key;
            map->last_page = page;
            return page;
        }
        i = (i + 1) & (map->n_slots - 1);
    }
    return NOT_FOUND;
}

static int
insert_slot(struct addrmap *map, size_t page)
{
    size_t i = slot_of(map, map->pages[page].key);
    map->probes.lookups++;
    for (; map->slots[i] != 0; map->probes.steps++) {
        i = (i + 1) & (map->n_slots - 1);
    }
    map->slots[i] = (uint32_t)page + 1;
    return addrmap_crowded(map) ? ADDRMAP_CROWDED : 0;
}

static int
grow_slots(struct addrmap *map)
{
    size_t n_slots = map->n_slots == 0 ? 1024 : map->n_slots * 2;
    uint32_t *slots = calloc(n_slots, sizeof(*slots));
    if (slots == NULL) {
        return ADDRMAP_NO_MEMORY;
    }
    free(map->slots);
    map->slots = slots;
    map->n_slots = n_slots;
    for (size_t page = 0; page < map->n_pages; page++) {
        int rc = insert_slot(map, page);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int
add_page(struct addrmap *map, uint64_t key, size_t *found)
{
    if (map->n_pages * 2 >= map->n_slots) {
        int rc = grow_slots(map);
        if (rc < 0) {
            return rc;
        }
    }
    if (map->n_pages == map->pages_capacity) {
        size_t capacity = vec_grown(map->pages_capacity);
        struct addrmap_page *pages = realloc(map->pages, capacity * sizeof(*pages));
        if (pages == NULL) {
            return ADDRMAP_NO_MEMORY;
        }
        map->pages = pages;
        map->pages_capacity = capacity;
    }
    *found = map->n_pages++;
    memset(&map->pages[*found], 0, sizeof(map->pages[*found]));
    map->pages[*found].key = key;
    map->last_key = key;
    map->last_page = *found;
    return insert_slot(map, *found);
}

static int
mark(struct addrmap *map, const uint64_t *addresses, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t key = (addresses[i] >> PAGE_SHIFT) + 1;
        size_t page = find_page(map, key);
        if (page == NOT_FOUND) {
            int rc = add_page(map, key, &page);
            if (rc < 0) {
                return rc;
            }
        }
        uint64_t *word = &map->pages[page].bits[(addresses[i] >> 6) & 7];
        uint64_t bit = (uint64_t)1 << (addresses[i] & 63);
        if (*word & bit) {
            return ADDRMAP_DUPLICATE;
        }
        *word |= bit;
    }
    return 0;
}

static void
rank_pages(struct addrmap *map)
{
    uint32_t base = 0;
    for (size_t page = 0; page < map->n_pages; page++) {
        struct addrmap_page *p = &map->pages[page];
        uint16_t before = 0;
        p->base = base;
        for (int word = 0; word < 8; word++) {
            p->before[word] = before;
            before = (uint16_t)(before + popcount(p->bits[word]));
        }
        base += before;
    }
}

/* The place in `order` of an address, NOT_FOUND if no node is there. */
static inline size_t
place_of(struct addrmap *map, uint64_t address)
{
    size_t page = find_page(map, (address >> PAGE_SHIFT) + 1);
    if (page == NOT_FOUND) {
        return NOT_FOUND;
    }
    const struct addrmap_page *p = &map->pages[page];
    unsigned word = (address >> 6) & 7;
    uint64_t bit = (uint64_t)1 << (address & 63);
    if ((p->bits[word] & bit) == 0) {
        return NOT_FOUND;
    }
    return p->base + p->before[word] + popcount(p->bits[word] & (bit - 1));
}

int
addrmap_build(struct addrmap *map, const uint64_t *addresses, size_t n)
{
    int rc = mark(map, addresses, n);
    if (rc < 0) {
        goto failed;
    }
    rank_pages(map);
    map->order = malloc((n + 1) * sizeof(*map->order));
    if (map->order == NULL) {
        rc = ADDRMAP_NO_MEMORY;
        goto failed;
    }
    for (size_t i = 0; i < n; i++) {
        size_t place = place_of(map, addresses[i]);
        if (place == NOT_FOUND) {
            rc = ADDRMAP_CROWDED;
            goto failed;
        }
        map->order[place] = (int32_t)i;
    }
    return 0;

failed:
    addrmap_clear(map);
    return rc;
}

int
addrmap_crowded(const struct addrmap *map)
{
    return probes_too_many(&map->probes);
}

void
addrmap_clear(struct addrmap *map)
{
    free(map->slots);
    free(map->pages);
    free(map->order);
    memset(map, 0, sizeof(*map));
}

int32_t
addrmap_find(struct addrmap *map, uint64_t address)
{
    size_t place = place_of(map, address);
    return place == NOT_FOUND ? -1 : map->order[place];
}

/* Each step asks for the memory of the next one, for all of a batch. */
static void
find_batch(struct addrmap *map, const uint64_t *addresses, size_t n, int32_t *nodes)
{
    size_t places[BATCH];
    for (size_t i = 0; i < n; i++) {
        __builtin_prefetch(&map->slots[slot_of(map, (addresses[i] >> PAGE_SHIFT) + 1)]);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = map->slots[slot_of(map, (addresses[i] >> PAGE_SHIFT) + 1)];
        if (slot != 0) {
            __builtin_prefetch(&map->pages[slot - 1]);
            __builtin_prefetch(&map->pages[slot - 1].bits[7]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        places[i] = place_of(map, addresses[i]);
        if (places[i] != NOT_FOUND) {
            __builtin_prefetch(&map->order[places[i]]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        nodes[i] = places[i] == NOT_FOUND ? -1 : map->order[places[i]];
    }
}

void
addrmap_find_all(struct addrmap *map, const uint64_t *addresses, size_t n,
                 int32_t *nodes)
{
    for (size_t i = 0; i < n; i += BATCH) {
        size_t batch = n - i < BATCH ? n - i : BATCH;
        if (map->n_slots == 0) {
            memset(nodes + i, 0xff, batch * sizeof(*nodes));
        }
        else {
            find_batch(map, addresses + i, batch, nodes + i);
        }
    }
}
