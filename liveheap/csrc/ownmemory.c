#define _GNU_SOURCE
#include "ownmemory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

void
own_open(struct ownmemory *own, bool is_frozen)
{
    own->is_frozen = is_frozen;
    own->pid = (int)syscall(SYS_getpid);
    own->mem = -1;
    own->pagemap = -1;
    own_begin_range(own, 0);
}

void
own_begin_range(struct ownmemory *own, uintptr_t end)
{
    own->range_end = end;
    own->pages_begin = own->pages_end = 0;
    own->begin = own->end = 0;
    own->step = OWN_PAGE;
}

bool
own_use_pagemap(struct ownmemory *own)
{
    own->pagemap =
        (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    return own->pagemap >= 0;
}

static void
close_file(int *fd)
{
    if (*fd >= 0) {
        (void)syscall(SYS_close, *fd);
        *fd = -1;
    }
}

void
own_close(struct ownmemory *own)
{
    close_file(&own->mem);
    close_file(&own->pagemap);
}

static bool
read_through_proc(struct ownmemory *own, uintptr_t at, void *to, size_t n)
{
    if (own->mem < 0) {
        own->mem =
            (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC);
    }
    return own->mem >= 0 && syscall(SYS_pread64, own->mem, to, n, (long)at) == (long)n;
}

bool
own_read(struct ownmemory *own, uintptr_t at, void *to, size_t n)
{
    if (own->is_frozen) {
        memcpy(to, (const void *)at, n);
        return true;
    }
    if (own->mem < 0) {
        struct iovec local = {to, n}, remote = {(void *)at, n};
        long copied =
            syscall(SYS_process_vm_readv, own->pid, &local, 1L, &remote, 1L, 0L);
        if (copied == (long)n) {
            return true;
        }
        if (copied >= 0 || (errno != EPERM && errno != ENOSYS)) {
            return false;
        }
    }
    return read_through_proc(own, at, to, n);
}

static unsigned char
flags_of(uint64_t entry)
{
    return (unsigned char)((entry >> 63 & 1 ? OWN_PRESENT : 0) |
                           (entry >> 61 & 1 ? OWN_FILE : 0) |
                           (entry >> 56 & 1 ? OWN_EXCLUSIVE : 0) |
                           (entry >> 62 & 1 ? OWN_SWAPPED : 0));
}

/* The kernel takes its lock anew for each 2 MiB of this. */
static size_t
read_pagemap(struct ownmemory *own, uintptr_t at, size_t length)
{
    size_t wanted = length / OWN_PAGE * sizeof(uint64_t);
    long n = syscall(SYS_pread64, own->pagemap, own->entries, wanted,
                     (long)(at / OWN_PAGE * sizeof(uint64_t)));
    size_t n_pages = n > 0 ? (size_t)n / sizeof(uint64_t) : 0;
    for (size_t i = 0; i < n_pages; i++) {
        own->pages[i] = flags_of(own->entries[i]);
    }
    return n_pages * OWN_PAGE;
}

/* Has `pages` say what is at `at`; false if nothing is mapped there. */
static bool
look_at_pages(struct ownmemory *own, uintptr_t at, uintptr_t end)
{
    if (at >= own->pages_begin && at < own->pages_end) {
        return true;
    }
    size_t length = OWN_PAGES_AT_ONCE * OWN_PAGE;
    end = at < own->range_end && end < own->range_end ? own->range_end : end;
    length = end - at < length ? end - at : length;
    if (own->pagemap >= 0) {
        length = read_pagemap(own, at, length);
    }
    else if (mincore((void *)at, length, own->pages) < 0) {
        length = 0;
    }
    own->pages_begin = at;
    own->pages_end = at + length;
    return length > 0;
}

uintptr_t
own_next_resident(struct ownmemory *own, uintptr_t at, uintptr_t end)
{
    while (at < end && look_at_pages(own, at, end)) {
        uintptr_t last = own->pages_end < end ? own->pages_end : end;
        for (; at < last; at += OWN_PAGE) {
            if (own->pages[(at - own->pages_begin) / OWN_PAGE] & OWN_PRESENT) {
                return at;
            }
        }
    }
    return end;
}

bool
own_count(struct ownmemory *own, uintptr_t begin, uintptr_t end,
          struct own_counts *counts)
{
    *counts = (struct own_counts){0};
    own_begin_range(own, end);
    for (uintptr_t at = begin; at < end; at = own->pages_end) {
        if (own->pagemap < 0 || !look_at_pages(own, at, end)) {
            return false;
        }
        size_t n = (own->pages_end - at) / OWN_PAGE;
        for (size_t i = 0; i < n; i++) {
            unsigned flags = own->pages[i];
            if ((flags & OWN_PRESENT) != 0) {
                counts->present += OWN_PAGE;
                counts->anonymous += (flags & OWN_FILE) != 0 ? 0 : OWN_PAGE;
                counts->exclusive += (flags & OWN_EXCLUSIVE) != 0 ? OWN_PAGE : 0;
            }
            counts->swapped += (flags & OWN_SWAPPED) != 0 ? OWN_PAGE : 0;
        }
    }
    return true;
}

size_t
own_resident(struct ownmemory *own, uintptr_t begin, uintptr_t end)
{
    size_t n = 0;
    begin = (begin + OWN_PAGE - 1) & ~(OWN_PAGE - 1);
    end &= ~(OWN_PAGE - 1);
    while ((begin = own_next_resident(own, begin, end)) < end) {
        n += OWN_PAGE;
        begin += OWN_PAGE;
    }
    return n;
}

/* How far a window from `at` may reach: pages in memory, no more than it has grown to. */
static uintptr_t
window_end(struct ownmemory *own, uintptr_t at, size_t n)
{
    uintptr_t end = at + n, page = at & ~(OWN_PAGE - 1);
    uintptr_t most =
        page + own->step < own->range_end ? page + own->step : own->range_end;
    while (page < most && own_next_resident(own, page, most) == page) {
        page += OWN_PAGE;
    }
    return page > end ? page : end;
}

const void *
own_peek(struct ownmemory *own, uintptr_t at, size_t n)
{
    if (own->is_frozen) {
        return at + n <= own->range_end ? (const void *)at : NULL;
    }
    if (at < own->begin || at + n > own->end) {
        bool in_order = own->end != 0 && at >= own->begin && at < own->end + OWN_PAGE;
        own->step = !in_order                    ? OWN_PAGE
                    : own->step < OWN_WINDOW / 2 ? own->step * 2
                                                 : OWN_WINDOW - OWN_PAGE;
        own->begin = at;
        own->end = window_end(own, at, n);
        if (own->end > own->range_end ||
            !own_read(own, own->begin, own->window, own->end - own->begin)) {
            own->begin = own->end = 0;
            return NULL;
        }
    }
    return own->window + (at - own->begin);
}
