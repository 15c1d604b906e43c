/* What nothing leads to: live blocks of pymalloc that hold an object nobody visited.
 *
 * A reference that C code never gives back keeps its object for ever. If the collector
 * tracks it, it is on a list. A str, bytes, int or untracked tuple is on none, and no
 * object refers to it either: only its memory still shows it. So after the sweep the
 * pools of the allocator are read, and a block that looks like an object is visited as
 * one that nothing refers to. On the way the bytes given out and the free ones are
 * counted: what RSS keeps after its objects have gone.
 *
 * A pool is recognised, not looked up, for the allocator keeps its table of arenas to
 * itself: 16 KiB, aligned, in anonymous memory, with a header whose six numbers agree
 * with each other and with the length of its free list. A block looks like an object
 * if its type is one that the walk has met, its reference count a small number, and
 * its size that of the block. Freed objects that the interpreter keeps for the next
 * use have the count 0.
 *
 * Objects above 512 bytes are malloc's and stay unseen, as does everything where
 * PYTHONMALLOC says malloc or debug. Nothing here trusts a header: what it says is
 * only read within its own 16 KiB.
 *
 * For a child only: in a worker another thread may unmap what is about to be read. And
 * only pages in memory are looked at: a look would fetch what was swapped out, and
 * give page tables to what a library reserved and never used.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "pools.h"
#include "proctext.h"
#include "residence.h"
#include "walker_state.h"

#include <string.h>
#include <sys/mman.h>

#define UNIT POOL_UNIT
#define MALLOC_NS (2 * NS_PER_S)
#define MOST_RANGES ((size_t)1 << 16)
#define MOST_POOLS ((size_t)1 << 22) /* 64 GiB of them */
#define SPARE_POOLS ((size_t)16384)  /* the kernel counts pages per CPU, not exactly */
#define POOL_WORDS (POOL_BYTES / UNIT / 64)
#define PAGE_BYTES ((uintptr_t)4096)
#define PAGES_AT_ONCE ((size_t)4096)

struct pool {
    uintptr_t base;
    unsigned block;             /* bytes */
    unsigned n_blocks;          /* ever given out */
    bool all_met;               /* as many objects as blocks in use */
    uint64_t freed[POOL_WORDS]; /* a bit for each block */
    uint64_t met[POOL_WORDS];   /* a bit for each unit of the pool */
};

/* ---- anonymous memory ---- */

/* A hexadecimal number and the character after it. */
static uintptr_t
next_number(struct proctext *text, int *after)
{
    uintptr_t number = 0;
    for (;;) {
        int c = proctext_char(text);
        if (c >= '0' && c <= '9') {
            number = number * 16 + (uintptr_t)(c - '0');
        }
        else if (c >= 'a' && c <= 'f') {
            number = number * 16 + (uintptr_t)(c - 'a' + 10);
        }
        else {
            *after = c;
            return number;
        }
    }
}

/* The rest of a line of maps, from the permissions on: whether this is memory that
 * malloc or mmap gave. `[anon:...]` is what a kernel calls memory with a name. */
static bool
is_anonymous(struct proctext *text)
{
    char words[5][8] = {{0}};
    size_t word = 0, length = 0;
    int c;
    while ((c = proctext_char(text)) >= 0 && c != '\n') {
        if (c != ' ') {
            if (length < sizeof(words[0]) - 1) {
                words[word][length++] = (char)c;
            }
        }
        else if (length > 0 && word < 4) {
            word++;
            length = 0;
        }
    }
    return strcmp(words[0], "rw-p") == 0 && strcmp(words[3], "0") == 0 &&
           (words[4][0] == '\0' || strncmp(words[4], "[anon", 5) == 0);
}

/* The second number of statm; each pool has a page of these. A library may reserve far
 * more than there is memory: room for pools in all of that would break the limit set
 * to our address space, and so end the walk. */
static size_t
count_resident_pages(void)
{
    struct proctext text;
    size_t n = 0;
    int c, n_spaces = 0;
    proctext_open(&text, "/proc/self/statm");
    while (text.fd >= 0 && n_spaces < 2 && (c = proctext_char(&text)) >= 0) {
        n_spaces += c == ' ';
        if (n_spaces == 1 && c != ' ') {
            n = n * 10 + (size_t)(c - '0');
        }
    }
    proctext_close(&text);
    return n < MOST_POOLS ? n : MOST_POOLS;
}

/* Fills `ranges` with begin and end of each, as many as it has room for. */
static void
list_ranges(struct vector *ranges)
{
    struct proctext text;
    proctext_open(&text, "/proc/self/maps");
    if (text.fd < 0) {
        return;
    }
    while (ranges->n + 2 <= ranges->capacity) {
        int after;
        uintptr_t first = next_number(&text, &after);
        if (after != '-') {
            break;
        }
        uintptr_t end = next_number(&text, &after);
        if (is_anonymous(&text)) {
            vector_push(ranges, first);
            vector_push(ranges, end);
        }
    }
    proctext_close(&text);
}

/* ---- pools ---- */

static bool
read_free_list(struct pool *pool, uintptr_t block, unsigned n_used)
{
    unsigned n_free = 0;
    for (; block != 0; n_free++) {
        uintptr_t offset = block - pool->base - POOL_HEADER;
        uintptr_t number = offset / pool->block;
        if (n_free == pool->n_blocks || offset % pool->block != 0 ||
            number >= pool->n_blocks) {
            return false;
        }
        pool->freed[number / 64] |= (uint64_t)1 << (number % 64);
        block = *(const uintptr_t *)block;
    }
    return n_used == pool->n_blocks - n_free;
}

/* Reads what is free and what is met; false if it is no pool after all. */
static bool
read_pool(struct walk *walk, struct pool *pool, uintptr_t base)
{
    const struct small_pool *header = (const struct small_pool *)base;
    const uint64_t *words = bitmap_find_region(&walk->seen, base);
    if (words == NULL || !pool_is(header)) {
        return false;
    }
    memset(pool, 0, sizeof(*pool));
    pool->base = base;
    pool->block = pool_block(header);
    pool->n_blocks = (header->next_offset - POOL_HEADER) / pool->block;
    size_t first = (base & (((uintptr_t)1 << REGION_SHIFT) - 1)) / UNIT / 64;
    unsigned n_met = 0;
    for (size_t i = 0; i < POOL_WORDS; i++) {
        pool->met[i] = words[2 * (first + i)] | words[2 * (first + i) + 1];
        n_met += (unsigned)__builtin_popcountll(pool->met[i]);
    }
    pool->all_met = n_met == header->used.count;
    return pool->all_met ||
           read_free_list(pool, header->free_block, header->used.count);
}

/* ---- objects ---- */

/* The count's 64 bits hold nothing but a small number; from 3.14 on its upper half has
 * flags, but none in the lower part of that. */
static bool
is_counted(uintptr_t address)
{
    uint64_t word = *(const uint64_t *)address;
#if PY_VERSION_HEX >= 0x030E0000
    word &= 0xffffffffffffu;
#endif
    return word > 0 && word <= UINT32_MAX;
}

/* What has to be there before an object's size may be read. */
static uintptr_t
least_bytes(const struct type_entry *entry)
{
    switch ((enum size_kind)entry->size_kind) {
    case SIZE_FIXED:
        return UNIT;
    case SIZE_STR:
        return sizeof(PyASCIIObject) + 1;
    default:
        return 2 * UNIT;
    }
}

/* Only what can be checked against the length of its block: a wrong guess must never
 * be followed. That leaves what refers to nothing, and tuples. */
static bool
is_object(struct walk *walk, uintptr_t address, uintptr_t block_end)
{
    PyObject *object = (PyObject *)address;
    if (!is_counted(address) || !types_is_known(walk, object->ob_type)) {
        return false;
    }
    const struct type_entry *entry = types_find(walk, object->ob_type);
    bool is_tuple = entry->type == &PyTuple_Type;
    if (!is_tuple && (entry->kind != KIND_LEAF || entry->size_kind > SIZE_INT)) {
        return false;
    }
    if (block_end - address < least_bytes(entry)) {
        return false;
    }
    if (is_tuple && (size_t)Py_SIZE(object) > POOL_BYTES) {
        return false; /* below zero, or so many that the size would wrap */
    }
    uintptr_t begin = address - (is_tuple ? UNIT : 0);
    uintptr_t end = begin + sizes_shallow(object, entry);
    return end <= block_end && block_end - end < UNIT;
}

/* Whether an object was met in a block: at its begin, behind a header of the collector,
 * or, for some classes, behind two words more. */
static bool
is_met(const struct pool *pool, size_t offset)
{
    size_t end = offset + (pool->block < 3 * UNIT ? pool->block : 3 * UNIT);
    for (size_t unit = offset / UNIT; unit < end / UNIT; unit++) {
        if ((pool->met[unit / 64] >> (unit % 64) & 1) != 0) {
            return true;
        }
    }
    return false;
}

static void
count_pool(struct walk *walk, const struct pool *pool)
{
    const struct small_pool *header = (const struct small_pool *)pool->base;
    uint64_t used = (uint64_t)header->used.count * pool->block;
    walk->status->pool_used += used;
    walk->status->pool_free += (uint64_t)pool->n_blocks * pool->block - used;
}

static void
reach_pool(struct walk *walk, const struct pool *pool)
{
    for (unsigned n = 0; n < pool->n_blocks && !pool->all_met; n++) {
        size_t offset = POOL_HEADER + (size_t)n * pool->block;
        if ((pool->freed[n / 64] >> (n % 64) & 1) != 0 || is_met(pool, offset)) {
            continue;
        }
        uintptr_t block = pool->base + offset;
        uintptr_t end = block + pool->block;
        if (is_object(walk, block, end)) {
            walk_reach(walk, block);
        }
        else if (pool->block > 2 * UNIT && is_object(walk, block + UNIT, end)) {
            walk_reach(walk, block + UNIT);
        }
    }
}

/* ---- the whole ---- */

/* Adds the pools in [begin, end), which is whole pools, to the list. */
static void
list_pools_between(struct vector *pools, uintptr_t begin, uintptr_t end)
{
    unsigned char resident[PAGES_AT_ONCE];
    uintptr_t step = PAGES_AT_ONCE * PAGE_BYTES;
    for (uintptr_t at = begin; at < end; at += step) {
        size_t length = end - at < step ? end - at : step;
        if (mincore((void *)at, length, resident) < 0) {
            continue;
        }
        for (size_t offset = 0; offset < length; offset += POOL_BYTES) {
            if ((resident[offset / PAGE_BYTES] & 1) != 0 &&
                pools->n < pools->capacity &&
                pool_is((const struct small_pool *)(at + offset))) {
                vector_push(pools, at + offset);
            }
        }
    }
}

/* The walk's own mappings are among the ranges and go when it needs larger ones. So the
 * pools are listed first, into room made before, and only then is anything visited. */
static void
list_pools(struct walk *walk, struct vector *pools)
{
    struct vector ranges;
    if (vector_init(&ranges, &walk->memory, MOST_RANGES) < 0) {
        return;
    }
    if (vector_reserve(pools, count_resident_pages() + SPARE_POOLS)) {
        list_ranges(&ranges);
    }
    for (size_t i = 0; i + 1 < ranges.n; i += 2) {
        uintptr_t begin = (ranges.items[i] + POOL_BYTES - 1) & ~(POOL_BYTES - 1);
        list_pools_between(pools, begin, ranges.items[i + 1] & ~(POOL_BYTES - 1));
    }
    vector_free(&ranges);
}

void
blocks_reach_unvisited(struct walk *walk)
{
    struct vector pools;
    struct pool pool;
    if (vector_init(&pools, &walk->memory, 4096) < 0) {
        return;
    }
    list_pools(walk, &pools);
    for (size_t i = 0; i < pools.n && !walk_failed(walk); i++) {
        if (read_pool(walk, &pool, pools.items[i])) {
            count_pool(walk, &pool);
            reach_pool(walk, &pool);
        }
    }
    vector_free(&pools);
}

/* The child is nobody's to keep waiting, but its life costs the worker copies of pages:
 * so it reads maps and not smaps, and not for long. */
void
blocks_count_malloc(struct walk *walk)
{
    const struct residence_request request = {
        .glibc = true, .is_frozen = true, .deadline_ns = clock_ns() + MALLOC_NS};
    struct residence found;
    if (residence_read(&found, &request) < 0 || !found.malloc_known ||
        found.cut_short) {
        return;
    }
    walk->status->malloc_used = found.malloc_used;
    walk->status->malloc_free = found.malloc_free;
    walk->status->malloc_mapped = found.malloc_mapped;
    walk->status->malloc_known = 1;
}
