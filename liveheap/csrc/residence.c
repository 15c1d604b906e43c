#define _GNU_SOURCE
#include "residence.h"

#include "chunks.h"
#include "clock.h"
#include "pools.h"
#include "smaps.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD_MAX ((uintptr_t)1 << 20)
#define MUCH_OFF ((uint64_t)4 << 20)
/* Larger ones are room that a library reserved, terabytes of it: not gone through. */
#define MAPPING_MAX ((uintptr_t)1 << 38)

struct survey {
    struct residence *all;
    struct ownmemory own;
    struct smaps smaps;
    struct mapping before; /* the mapping before the present one */
    const struct residence_request *request;
};

/* What lies in one anonymous mapping, in bytes of resident pages. */
struct parts {
    uint64_t pools;
    uint64_t mapped;
    uint64_t heaps;
    uint64_t rest;
};

/* ---- malloc's heaps ---- */

static void
add_heap(struct survey *survey, uintptr_t begin, uintptr_t end, uint64_t resident,
         bool is_main)
{
    struct residence *all = survey->all;
    struct chunks chunks = {0};
    bool known = survey->request->glibc &&
                 chunks_read(&survey->own, begin, end, is_main, &chunks);
    uint64_t n_free = chunks.free_resident;
    n_free = n_free < resident ? n_free : resident;
    all->malloc_known = all->malloc_known && known;
    all->malloc_free += n_free;
    all->malloc_used += resident - n_free;
    all->trimmable += chunks.trimmable;
    all->n_free_chunks += chunks.n_free;
}

static uintptr_t
add_arena_heap(struct survey *survey, uintptr_t at, uintptr_t end, struct parts *parts)
{
    uintptr_t heap_end = survey->request->glibc ? chunks_heap_end(&survey->own, at) : 0;
    if (heap_end == 0 || heap_end > end) {
        return at;
    }
    uint64_t resident = own_resident(&survey->own, at, heap_end);
    add_heap(survey, at, heap_end, resident, false);
    own_begin_range(&survey->own, end);
    survey->all->arenas += resident;
    survey->all->n_arenas++;
    parts->heaps += resident;
    return heap_end;
}

/* ---- anonymous memory ---- */

static uintptr_t
add_pool(struct survey *survey, uintptr_t at, uintptr_t end,
         const struct small_pool *header, struct parts *parts)
{
    if (at % POOL_BYTES != 0 || end - at < POOL_BYTES || !pool_is(header)) {
        return at;
    }
    struct residence *all = survey->all;
    uint64_t block = pool_block(header);
    uint64_t n_blocks = (POOL_BYTES - POOL_HEADER) / block;
    uint64_t resident = own_resident(&survey->own, at, at + POOL_BYTES);
    uint64_t n_used = header->used.count;
    if (n_used > n_blocks) {
        return at;
    }
    uint64_t overhead = POOL_BYTES - n_blocks * block;
    overhead = overhead < resident ? overhead : resident;
    uint64_t used = n_used * block;
    used = used < resident - overhead ? used : resident - overhead;
    all->objects += used;
    all->pool_overhead += overhead;
    all->pool_free += resident - overhead - used;
    all->n_pools++;
    parts->pools += resident;
    return at + POOL_BYTES;
}

static uintptr_t
add_mapped_block(struct survey *survey, uintptr_t at, uintptr_t end,
                 const uint64_t *words, struct parts *parts)
{
    uintptr_t length = survey->request->glibc ? chunks_mapped(words, end - at) : 0;
    if (length != 0) {
        parts->mapped += own_resident(&survey->own, at, at + length);
    }
    return at + length;
}

/* Tells what lies at a page; returns where the next thing begins. */
static uintptr_t
add_page(struct survey *survey, uintptr_t at, uintptr_t end, struct parts *parts)
{
    union {
        struct small_pool pool;
        uint64_t words[6];
    } header;
    uintptr_t next = at;
    if (at % CHUNKS_HEAP_MAX == 0) {
        next = add_arena_heap(survey, at, end, parts);
    }
    if (next == at && own_read(&survey->own, at, &header, sizeof(header))) {
        next = add_pool(survey, at, end, &header.pool, parts);
        if (next == at) {
            next = add_mapped_block(survey, at, end, header.words, parts);
        }
    }
    if (next == at) {
        parts->rest += OWN_PAGE;
        next = at + OWN_PAGE;
    }
    return (next + OWN_PAGE - 1) & ~(OWN_PAGE - 1);
}

/* A page of zeros that was only read counts for smaps as none, and pages come and go:
 * so the parts are made to add up to what smaps says. */
static void
close_on(struct residence *all, uint64_t rss, struct parts *parts)
{
    uint64_t n = parts->pools + parts->mapped + parts->heaps + parts->rest;
    if (n <= rss) {
        parts->rest += rss - n;
        return;
    }
    uint64_t excess = n - rss;
    uint64_t from_rest = excess < parts->rest ? excess : parts->rest;
    excess -= from_rest;
    parts->rest -= from_rest;
    uint64_t from_mapped = excess < parts->mapped ? excess : parts->mapped;
    parts->mapped -= from_mapped;
    all->rss += excess - from_mapped; /* pools and heaps that came since */
}

static void
add_anonymous(struct survey *survey, const struct mapping *mapping)
{
    struct parts parts = {0};
    bool is_looked_at =
        mapping->rss > 0 && mapping->end - mapping->begin <= MAPPING_MAX;
    uintptr_t at = is_looked_at ? mapping->begin : mapping->end;
    own_begin_range(&survey->own, mapping->end);
    while (at < mapping->end && !survey->all->cut_short) {
        at = own_next_resident(&survey->own, at, mapping->end);
        if (at >= mapping->end) {
            break;
        }
        at = add_page(survey, at, mapping->end, &parts);
        survey->all->cut_short = clock_ns() > survey->request->deadline_ns;
    }
    close_on(survey->all, mapping->rss, &parts);
    survey->all->malloc_mapped += parts.mapped;
    survey->all->anonymous += parts.rest;
}

/* ---- mappings ---- */

/* How many stacks of threads a mapping holds. One lies above a mapping that nobody may
 * touch; or, from glibc 2.42 on, where the kernel guards it by other means, around the
 * thread's own descriptor, and neighbours are one mapping. */
static uint64_t
count_stacks(const struct survey *survey, const struct mapping *mapping)
{
    const struct mapping *before = &survey->before;
    const struct residence_request *request = survey->request;
    bool is_guarded = before->end == mapping->begin && !before->readable &&
                      before->kind == MAPPING_ANONYMOUS &&
                      before->end - before->begin <= GUARD_MAX;
    uint64_t n = 0;
    for (size_t i = 0; i < request->n_threads && mapping->writable; i++) {
        n +=
            request->threads[i] >= mapping->begin && request->threads[i] < mapping->end;
    }
    return n > 0 || !mapping->writable ? n : is_guarded;
}

static void
add_private(struct survey *survey, const struct mapping *mapping)
{
    struct residence *all = survey->all;
    uint64_t n_stacks = 0;
    all->inherited +=
        mapping->rss > mapping->exclusive ? mapping->rss - mapping->exclusive : 0;
    if (mapping->kind == MAPPING_BRK) {
        own_begin_range(&survey->own, mapping->end);
        uint64_t resident = own_resident(&survey->own, mapping->begin, mapping->end);
        resident = resident < mapping->rss ? resident : mapping->rss;
        add_heap(survey, mapping->begin, mapping->end, resident, true);
        all->anonymous += mapping->rss - resident;
    }
    else if (mapping->kind == MAPPING_STACK) {
        all->main_stack += mapping->rss;
    }
    else if ((n_stacks = count_stacks(survey, mapping)) > 0) {
        all->stacks += mapping->rss;
        all->n_stacks += n_stacks;
    }
    else {
        add_anonymous(survey, mapping);
    }
}

static void
add_mapping(struct survey *survey, const struct mapping *mapping)
{
    struct residence *all = survey->all;
    all->n_mappings++;
    all->rss += mapping->rss;
    all->exclusive += mapping->exclusive;
    all->swapped += mapping->swap;
    switch (mapping->kind) {
    case MAPPING_SHARED:
        all->shared += mapping->rss;
        break;
    case MAPPING_FILE:
        all->relocations += mapping->anonymous;
        all->files += mapping->rss - mapping->anonymous;
        break;
    case MAPPING_OTHER:
        all->files += mapping->rss;
        break;
    default:
        if (mapping->readable) {
            add_private(survey, mapping);
        }
        else {
            all->anonymous += mapping->rss;
        }
    }
}

/* Its own copies of memory are large, and taken from nobody's malloc. */
static struct survey *
make_survey(void)
{
    void *pages = mmap(NULL, sizeof(struct survey), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

/* What smaps would say of it. */
static bool
count_pages(struct survey *survey, struct mapping *mapping)
{
    struct own_counts counts;
    if (mapping->kind == MAPPING_OTHER || !mapping->readable) {
        mapping->rss = 0;
        return true;
    }
    if (mapping->end - mapping->begin > MAPPING_MAX ||
        !own_count(&survey->own, mapping->begin, mapping->end, &counts)) {
        return false;
    }
    mapping->rss = counts.present;
    mapping->anonymous = counts.anonymous;
    mapping->exclusive = counts.exclusive;
    mapping->swap = counts.swapped;
    return true;
}

/* The second number of statm. */
static uint64_t
resident_bytes(void)
{
    struct proctext text;
    uint64_t n = 0;
    int c, n_spaces = 0;
    proctext_open(&text, "/proc/self/statm");
    while (text.fd >= 0 && n_spaces < 2 && (c = proctext_char(&text)) >= 0) {
        n_spaces += c == ' ';
        if (n_spaces == 1 && c != ' ') {
            n = n * 10 + (uint64_t)(c - '0');
        }
    }
    proctext_close(&text);
    return n * OWN_PAGE;
}

/* The kernel's own sum is some pages per CPU off. */
static bool
adds_up(const struct residence *all)
{
    uint64_t rss = resident_bytes();
    uint64_t off = all->rss > rss ? all->rss - rss : rss - all->rss;
    return off <= MUCH_OFF || off <= rss / 50;
}

static int
survey_all(struct survey *survey, const struct residence_request *request,
           const char *path)
{
    struct mapping mapping;
    bool by_pagemap = survey->own.pagemap >= 0;
    memset(survey->all, 0, sizeof(*survey->all));
    memset(&survey->before, 0, sizeof(survey->before));
    survey->all->malloc_known = request->glibc;
    int result = smaps_open(&survey->smaps, path);
    int error = errno;
    while (result == 0 && smaps_next(&survey->smaps, &mapping)) {
        if (by_pagemap && !count_pages(survey, &mapping)) {
            result = -1;
        }
        else {
            add_mapping(survey, &mapping);
            survey->before = mapping;
        }
    }
    smaps_close(&survey->smaps);
    errno = error;
    return result;
}

int
residence_read(struct residence *all, const struct residence_request *request)
{
    struct survey *survey = make_survey();
    if (survey == NULL) {
        return -1;
    }
    survey->all = all;
    survey->request = request;
    own_open(&survey->own, request->is_frozen);
    int result = -1;
    if (request->is_frozen) {
        result = survey_all(survey, request, "/proc/self/maps");
    }
    else if (request->smaps == NULL && own_use_pagemap(&survey->own)) {
        result = survey_all(survey, request, "/proc/self/maps");
        result = result == 0 && !adds_up(all) ? -1 : result;
        own_close(&survey->own);
    }
    if (result < 0 && !request->is_frozen) {
        const char *path = request->smaps != NULL ? request->smaps : "/proc/self/smaps";
        result = survey_all(survey, request, path);
    }
    int error = errno;
    own_close(&survey->own);
    (void)munmap(survey, sizeof(*survey));
    errno = error;
    return result;
}
