/* The set of addresses a walk has met: two bits per 16 bytes of memory.
 *
 * Memory is cut into regions of 1 MiB; a region met for the first time gets 16 KiB of
 * bits, found through a small hash table.  Two bitmaps lie interleaved, word by word,
 * so that one cache line answers both questions:
 *
 *     words[2 * i]      listed:  the object is on a list of the collector
 *     words[2 * i + 1]  reached: it was met in another way (or, for a listed one, a
 *                       mark of the walker's own)
 *
 * An open-addressing set of addresses takes eight times the memory and three times
 * the time; a flat bitmap in virtual memory is slower too (page faults).  Objects are
 * at least 16 bytes long, so no two begin in one unit, even where they are aligned
 * to 8.
 *
 * Memory comes from mmap only.  When there is no more, `failed` is set and the
 * functions answer "already there", so that a walk comes to its end.
 */
#ifndef LIVEHEAP_BITMAP_H
#define LIVEHEAP_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGION_SHIFT 20
#define REGION_WORDS ((size_t)1 << (REGION_SHIFT - 4 - 6)) /* of each bitmap */

struct region {
    uint64_t key; /* address >> REGION_SHIFT, plus 1; 0 is an empty place */
    uint64_t *words;
};

#define REGIONS_RECENT ((size_t)64)

struct bitmap {
    struct region recent[REGIONS_RECENT]; /* direct-mapped: most questions end here */
    struct region *table;                 /* open addressing, at most half full */
    size_t capacity;                      /* a power of two */
    size_t n_regions;
    uint8_t *slab; /* region bits are cut from slabs, never returned singly */
    size_t slab_left;
    uint8_t *first_slab; /* slabs form a list through their first word */
    uint64_t mapped;     /* bytes of memory taken */
    bool failed;
};

/* Returns 0, or -1 if there is no memory. */
int bitmap_init(struct bitmap *bitmap);
void bitmap_free(struct bitmap *bitmap);

/* The words of the region of an address, made if missing; NULL when out of memory. */
uint64_t *bitmap_find_region(struct bitmap *bitmap, uintptr_t address);

/* Copies the regions, sorted by address, to `regions` (room for n_regions). */
void bitmap_sorted_regions(const struct bitmap *bitmap, struct region *regions);

static inline uintptr_t
region_base(const struct region *region)
{
    return (uintptr_t)(region->key - 1) << REGION_SHIFT;
}

static inline uint64_t *
bitmap_words(struct bitmap *bitmap, uintptr_t address, uint64_t *mask)
{
    uint64_t key = (address >> REGION_SHIFT) + 1;
    const struct region *recent = &bitmap->recent[key % REGIONS_RECENT];
    uint64_t *words = recent->words;
    if (recent->key != key) {
        words = bitmap_find_region(bitmap, address);
        if (words == NULL) {
            return NULL;
        }
    }
    size_t unit = (address & (((uintptr_t)1 << REGION_SHIFT) - 1)) >> 4;
    *mask = (uint64_t)1 << (unit & 63);
    return words + (unit >> 6) * 2;
}

/* True if the address was not yet listed. */
static inline bool
bitmap_add_listed(struct bitmap *bitmap, uintptr_t address)
{
    uint64_t mask;
    uint64_t *pair = bitmap_words(bitmap, address, &mask);
    if (pair == NULL || (pair[0] & mask) != 0) {
        return false;
    }
    pair[0] |= mask;
    return true;
}

/* True if the address is new: neither listed nor reached before. */
static inline bool
bitmap_add_reached(struct bitmap *bitmap, uintptr_t address)
{
    uint64_t mask;
    uint64_t *pair = bitmap_words(bitmap, address, &mask);
    if (pair == NULL || ((pair[0] | pair[1]) & mask) != 0) {
        return false;
    }
    pair[1] |= mask;
    return true;
}

static inline bool
bitmap_contains(struct bitmap *bitmap, uintptr_t address)
{
    uint64_t mask;
    uint64_t *pair = bitmap_words(bitmap, address, &mask);
    return pair != NULL && ((pair[0] | pair[1]) & mask) != 0;
}

static inline bool
bitmap_is_listed(struct bitmap *bitmap, uintptr_t address)
{
    uint64_t mask;
    uint64_t *pair = bitmap_words(bitmap, address, &mask);
    return pair != NULL && (pair[0] & mask) != 0;
}

/* The second bit of a listed address is free for the walker's own use. */
static inline void
bitmap_flag(struct bitmap *bitmap, uintptr_t address)
{
    uint64_t mask;
    uint64_t *pair = bitmap_words(bitmap, address, &mask);
    if (pair != NULL) {
        pair[1] |= mask;
    }
}

/* Clears the flag; true if it was set. */
static inline bool
bitmap_take_flag(struct bitmap *bitmap, uintptr_t address)
{
    uint64_t mask;
    uint64_t *pair = bitmap_words(bitmap, address, &mask);
    if (pair == NULL || (pair[1] & mask) == 0) {
        return false;
    }
    pair[1] &= ~mask;
    return true;
}

#endif
