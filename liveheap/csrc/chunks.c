#include "chunks.h"

#define IN_USE_BEFORE UINT64_C(1)
#define IS_MAPPED UINT64_C(2)
#define FLAGS UINT64_C(7)
#define STEP ((uintptr_t)16)
#define LEAST_CHUNK ((uintptr_t)32)
#define LEAST_MAPPED ((uintptr_t)8192)
#define FENCE ((uintptr_t)64) /* a heap that another follows ends with less than this */
#define FIRST_WITHIN ((uintptr_t)4096)
#define ATTEMPTS 3
#define LENGTHS_AT_ONCE 16 /* a false begin is known after fewer */

struct heap_info {
    uint64_t arena;
    uint64_t previous;
    uint64_t size;
    uint64_t writable;
};

/* The length of the chunk at `at`; 0 if there is none. */
static uintptr_t
length_at(struct ownmemory *own, uintptr_t at, uintptr_t end, uint64_t *flags)
{
    const uint64_t *words = own_peek(own, at, 16);
    if (words == NULL) {
        return 0;
    }
    uint64_t length = words[1] & ~FLAGS;
    *flags = words[1] & FLAGS;
    if (length < LEAST_CHUNK || length % STEP != 0 || length > end - at ||
        (*flags & IS_MAPPED) != 0) {
        return 0;
    }
    return (uintptr_t)length;
}

/* malloc's own words stay in a page that it gives back, so whole pages go after them. */
static void
add_free(struct ownmemory *own, struct chunks *found, uintptr_t at, uintptr_t length,
         bool can_trim)
{
    uintptr_t first = (at + 3 * STEP + OWN_PAGE - 1) & ~(OWN_PAGE - 1);
    uintptr_t last = (at + length) & ~(OWN_PAGE - 1);
    uintptr_t whole = first < last ? last - first : 0;
    uintptr_t resident = whole == 0 ? 0 : own_resident(own, first, last);
    found->free += length;
    found->free_resident += length - whole + resident;
    found->trimmable += can_trim ? resident : 0;
    found->n_free++;
}

/* Whether a chunk that is free is so by its own account, too. */
static bool
agrees(struct ownmemory *own, uintptr_t next, uintptr_t length)
{
    const uint64_t *words = own_peek(own, next, 16);
    return words != NULL && words[0] == length;
}

struct route {
    struct ownmemory *own;
    uintptr_t end;
    bool is_main;
};

/* Follows the chunks from `at`; whether they lead to the end. At most `most` of them,
 * if that is not 0. */
static bool
follow(const struct route *route, uintptr_t at, uint64_t most, struct chunks *found)
{
    struct ownmemory *own = route->own;
    uintptr_t end = route->end;
    uint64_t flags;
    uintptr_t length = length_at(own, at, end, &flags);
    for (uint64_t n = 1; length != 0; n++) {
        uintptr_t next = at + length;
        if (next == end) { /* the top, from which malloc cuts */
            add_free(own, found, at, length, route->is_main);
            return true;
        }
        uintptr_t next_length = length_at(own, next, end, &flags);
        if (next_length == 0) {
            found->used += length;
            return end - next <= FENCE;
        }
        if ((flags & IN_USE_BEFORE) != 0) {
            found->used += length;
        }
        else if (agrees(own, next, length)) {
            add_free(own, found, at, length, true);
        }
        else {
            return false;
        }
        if (n == most) {
            return true;
        }
        at = next;
        length = next_length;
    }
    return false;
}

/* Where the first chunk is: behind what the allocator keeps there of its own, which
 * has another length in each version. 0 if nowhere. */
static uintptr_t
find_first(const struct route *route, uintptr_t begin)
{
    struct chunks ignored = {0};
    for (uintptr_t at = begin; at < begin + FIRST_WITHIN && at < route->end;
         at += STEP) {
        if (follow(route, at, LENGTHS_AT_ONCE, &ignored)) {
            return at;
        }
    }
    return 0;
}

bool
chunks_read(struct ownmemory *own, uintptr_t begin, uintptr_t end, bool is_main,
            struct chunks *found)
{
    const struct route route = {own, end, is_main};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        *found = (struct chunks){0};
        own_begin_range(own, end);
        uintptr_t first = find_first(&route, begin);
        if (first != 0 && follow(&route, first, 0, found)) {
            found->used += first - begin;
            return true;
        }
    }
    *found = (struct chunks){0};
    return false;
}

uintptr_t
chunks_heap_end(struct ownmemory *own, uintptr_t begin)
{
    struct heap_info info;
    if (!own_read(own, begin, &info, sizeof(info)) || info.size == 0 ||
        info.size > info.writable || info.writable > CHUNKS_HEAP_MAX ||
        info.size % STEP != 0 || info.writable % OWN_PAGE != 0) {
        return 0;
    }
    uint64_t home = info.arena & ~(uint64_t)(CHUNKS_HEAP_MAX - 1);
    uint64_t offset = info.arena - home;
    bool is_first = home == begin && info.previous == 0;
    if (home == 0 || offset < sizeof(info) || offset > FIRST_WITHIN ||
        (!is_first && info.previous % CHUNKS_HEAP_MAX != 0)) {
        return 0;
    }
    return begin + info.size;
}

uintptr_t
chunks_mapped(const uint64_t *words, uintptr_t room)
{
    uint64_t length = words[1] & ~FLAGS;
    length += (length + STEP) % OWN_PAGE == 0 ? STEP : 0; /* so from glibc 2.43 on */
    if (words[0] != 0 || (words[1] & FLAGS) != IS_MAPPED || length > room ||
        length < LEAST_MAPPED || length % OWN_PAGE != 0) {
        return 0;
    }
    return (uintptr_t)length;
}
