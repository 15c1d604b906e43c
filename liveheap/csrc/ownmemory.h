/* Reading this process's own memory while it runs: no fault, no lock, no GIL.
 *
 * What was mapped a moment ago may be gone, so nothing is read through a pointer: the
 * kernel copies it (process_vm_readv, or /proc/self/mem where a filter forbids that),
 * and says no where there is nothing. What is read may be half changed.
 *
 * In a child of ours nobody but the reader runs: what /proc says is mapped there is
 * frozen, and is read as it lies. No Python.h.
 */
#ifndef LIVEHEAP_OWNMEMORY_H
#define LIVEHEAP_OWNMEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OWN_PAGE ((uintptr_t)4096)
#define OWN_PAGES_AT_ONCE ((size_t)4096)
#define OWN_WINDOW ((size_t)1 << 18)

struct ownmemory {
    int pid;
    int mem;     /* /proc/self/mem, or -1 */
    int pagemap; /* /proc/self/pagemap, or -1: then mincore() tells what is in memory */
    bool is_frozen;
    uintptr_t
        range_end; /* of what is being looked through: pages are asked for ahead */
    /* Which pages are in memory, from `pages_begin` on: OWN_PRESENT and, by pagemap
     * alone, the other flags. */
    uintptr_t pages_begin;
    uintptr_t pages_end;
    unsigned char pages[OWN_PAGES_AT_ONCE];
    uint64_t entries[OWN_PAGES_AT_ONCE];
    /* A copy of what lies from `begin` on. */
    uintptr_t begin;
    uintptr_t end;
    size_t step;
    unsigned char window[OWN_WINDOW];
};

#define OWN_PRESENT 1u
#define OWN_FILE 2u      /* a file has it, or shared memory */
#define OWN_EXCLUSIVE 4u /* nobody else has it */
#define OWN_SWAPPED 8u

struct own_counts { /* bytes */
    uint64_t present;
    uint64_t anonymous;
    uint64_t exclusive;
    uint64_t swapped;
};

void own_open(struct ownmemory *own, bool is_frozen);

/* Has pagemap say what is in memory from now on; false if it cannot be opened: then a
 * process has become another user, or the kernel shows it to nobody. */
bool own_use_pagemap(struct ownmemory *own);

/* What pagemap says of all pages between the two; false if it says nothing. */
bool own_count(struct ownmemory *own, uintptr_t begin, uintptr_t end,
               struct own_counts *counts);

void own_close(struct ownmemory *own);

/* Says that what lies before `end` will be looked through, and forgets what was seen. */
void own_begin_range(struct ownmemory *own, uintptr_t end);

/* Copies n bytes; false if they cannot all be had. */
bool own_read(struct ownmemory *own, uintptr_t at, void *to, size_t n);

/* The n (at most 64) bytes at `at`, from a window that grows while it is read in order,
 * over pages in memory only: a look at others would give them page tables, or fetch
 * them from swap. NULL if they cannot be had; valid until the next call. */
const void *own_peek(struct ownmemory *own, uintptr_t at, size_t n);

/* The first page at or after `at` and before `end` that is in memory; `end` if none
 * is. Both are multiples of a page. */
uintptr_t own_next_resident(struct ownmemory *own, uintptr_t at, uintptr_t end);

/* How many bytes of whole pages between the two are in memory. */
size_t own_resident(struct ownmemory *own, uintptr_t begin, uintptr_t end);

#endif
