/* Where resident memory goes: each page of this process in one of a few parts.
 *
 * Which pages are in memory comes from maps and pagemap, for which the kernel holds its
 * lock for 2 MiB at a time. smaps holds it for a whole mapping, 20 ms a GB, and a worker
 * that maps memory meanwhile stops as long. It is asked where pagemap may not be read (a
 * process that has changed its user), or does not add up to RSS: it shows pages of zeros
 * that were only read, and of devices. The sums close on what was asked.
 *
 * Within anonymous memory pages are told apart by what lies in them: pools of pymalloc,
 * heaps and mapped blocks of malloc, and the rest, which is nobody's that is known. The
 * allocators are not asked: neither their locks nor the GIL are taken, so the worker
 * goes on; what it changes meanwhile may be counted before or after.
 *
 * Not malloc's blocks but its heaps are closed on: a block may be in use and its pages
 * never touched. No Python.h, no malloc.
 */
#ifndef LIVEHEAP_RESIDENCE_H
#define LIVEHEAP_RESIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes in memory, unless it says something else. */
struct residence {
    uint64_t rss;           /* the sum of all parts */
    uint64_t exclusive;     /* of it: what no other process has */
    uint64_t inherited;     /* of it: anonymous, shared with a process of one family */
    uint64_t swapped;       /* not in memory */
    uint64_t objects;       /* blocks of pymalloc that are given out */
    uint64_t pool_free;     /* blocks of pymalloc that are not */
    uint64_t pool_overhead; /* pools' headers and what is left behind the last block */
    uint64_t malloc_used;   /* malloc's heaps, without ... */
    uint64_t malloc_free;   /* ... this, which is free */
    uint64_t malloc_mapped; /* blocks for which malloc made mappings of their own */
    uint64_t trimmable; /* of malloc_free: whole pages, which malloc_trim gives back */
    uint64_t arenas;    /* of malloc_used and _free: outside the main arena */
    uint64_t files;     /* mapped files, as they are */
    uint64_t relocations; /* mapped files, written to */
    uint64_t shared;      /* shared memory */
    uint64_t stacks;      /* of threads */
    uint64_t main_stack;
    uint64_t anonymous; /* the rest */
    uint64_t n_mappings;
    uint64_t n_pools;
    uint64_t n_arenas; /* heaps, up to 64 MiB each, outside the main arena */
    uint64_t n_stacks;
    uint64_t n_free_chunks;
    bool malloc_known; /* else malloc_used has what is free, too */
    bool cut_short;    /* there was no time to tell all anonymous pages apart */
};

struct residence_request {
    const char *smaps; /* a path; NULL for maps and pagemap, if they will do */
    bool glibc;        /* malloc is glibc's */
    bool is_frozen; /* in a child that nobody but the reader runs in: only what malloc
                        * has is asked */
    uint64_t deadline_ns;     /* by clock_ns() */
    const uintptr_t *threads; /* where threads have their descriptor: in their stacks */
    size_t n_threads;
};

/* Fills `all`. 0, or -1 with errno. */
int residence_read(struct residence *all, const struct residence_request *request);

#endif
