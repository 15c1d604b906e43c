#define _GNU_SOURCE
#include "bitmap.h"

#include <sys/mman.h>

#define FIRST_CAPACITY ((size_t)1 << 12)
#define SLAB_BYTES ((size_t)1 << 20)
#define REGION_BYTES (2 * REGION_WORDS * sizeof(uint64_t))
#define SLAB_HEAD ((size_t)64) /* the link, and the alignment of what follows */

static void *
map_pages(struct bitmap *bitmap, size_t length)
{
    void *pages = mmap(NULL, length, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        bitmap->failed = true;
        return NULL;
    }
    bitmap->mapped += length;
    return pages;
}

int
bitmap_init(struct bitmap *bitmap)
{
    *bitmap = (struct bitmap){.capacity = FIRST_CAPACITY};
    bitmap->table = map_pages(bitmap, FIRST_CAPACITY * sizeof(struct region));
    return bitmap->table == NULL ? -1 : 0;
}

void
bitmap_free(struct bitmap *bitmap)
{
    uint8_t *slab = bitmap->first_slab;
    while (slab != NULL) {
        uint8_t *next = *(uint8_t **)(void *)slab;
        (void)munmap(slab, SLAB_BYTES);
        slab = next;
    }
    if (bitmap->table != NULL) {
        (void)munmap(bitmap->table, bitmap->capacity * sizeof(struct region));
    }
    *bitmap = (struct bitmap){0};
}

static struct region *
find_place(struct region *table, size_t capacity, uint64_t key)
{
    size_t i = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 40);
    for (;; i++) {
        struct region *place = &table[i & (capacity - 1)];
        if (place->key == key || place->key == 0) {
            return place;
        }
    }
}

static int
grow(struct bitmap *bitmap)
{
    size_t capacity = bitmap->capacity * 2;
    struct region *table = map_pages(bitmap, capacity * sizeof(struct region));
    if (table == NULL) {
        return -1;
    }
    for (size_t i = 0; i < bitmap->capacity; i++) {
        const struct region *old = &bitmap->table[i];
        if (old->key != 0) {
            *find_place(table, capacity, old->key) = *old;
        }
    }
    (void)munmap(bitmap->table, bitmap->capacity * sizeof(struct region));
    bitmap->mapped -= bitmap->capacity * sizeof(struct region);
    bitmap->table = table;
    bitmap->capacity = capacity;
    return 0;
}

static uint64_t *
new_words(struct bitmap *bitmap)
{
    if (bitmap->slab_left < REGION_BYTES) {
        uint8_t *slab = map_pages(bitmap, SLAB_BYTES);
        if (slab == NULL) {
            return NULL;
        }
        *(uint8_t **)(void *)slab = bitmap->first_slab;
        bitmap->first_slab = slab;
        bitmap->slab = slab + SLAB_HEAD;
        bitmap->slab_left = SLAB_BYTES - SLAB_HEAD;
    }
    uint64_t *words = (uint64_t *)(void *)bitmap->slab;
    bitmap->slab += REGION_BYTES;
    bitmap->slab_left -= REGION_BYTES;
    return words;
}

uint64_t *
bitmap_find_region(struct bitmap *bitmap, uintptr_t address)
{
    uint64_t key = (uint64_t)(address >> REGION_SHIFT) + 1;
    struct region *place = find_place(bitmap->table, bitmap->capacity, key);
    if (place->key == 0) {
        if (bitmap->n_regions * 2 >= bitmap->capacity) {
            if (grow(bitmap) < 0) {
                return NULL;
            }
            place = find_place(bitmap->table, bitmap->capacity, key);
        }
        uint64_t *words = new_words(bitmap);
        if (words == NULL) {
            return NULL;
        }
        *place = (struct region){.key = key, .words = words};
        bitmap->n_regions++;
    }
    bitmap->recent[key % REGIONS_RECENT] = *place;
    return place->words;
}

static void
sift_down(struct region *regions, size_t root, size_t n)
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n) {
            return;
        }
        if (child + 1 < n && regions[child].key < regions[child + 1].key) {
            child++;
        }
        if (regions[root].key >= regions[child].key) {
            return;
        }
        struct region region = regions[root];
        regions[root] = regions[child];
        regions[child] = region;
        root = child;
    }
}

/* A heap sort of our own: qsort(3) may allocate. */
void
bitmap_sorted_regions(const struct bitmap *bitmap, struct region *regions)
{
    size_t n = 0;
    for (size_t i = 0; i < bitmap->capacity; i++) {
        if (bitmap->table[i].key != 0) {
            regions[n++] = bitmap->table[i];
        }
    }
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(regions, i, n);
    }
    for (size_t end = n; end-- > 1;) {
        struct region region = regions[0];
        regions[0] = regions[end];
        regions[end] = region;
        sift_down(regions, 0, end);
    }
}
