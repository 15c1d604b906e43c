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

void
own_close(struct ownmemory *own)
{
    if (own->mem >= 0) {
        (void)syscall(SYS_close, own->mem);
        own->mem = -1;
    }
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
    if (mincore((void *)at, length, own->pages) < 0) {
        own->pages_begin = own->pages_end = 0;
        return false;
    }
    own->pages_begin = at;
    own->pages_end = at + length;
    return true;
}

uintptr_t
own_next_resident(struct ownmemory *own, uintptr_t at, uintptr_t end)
{
    while (at < end) {
        if (!look_at_pages(own, at, end)) {
            return end;
        }
        size_t first = (at - own->pages_begin) / OWN_PAGE;
        size_t n = (own->pages_end - at) / OWN_PAGE;
        const unsigned char *found = memchr(own->pages + first, 1, n);
        if (found != NULL) {
            uintptr_t page =
                own->pages_begin + (uintptr_t)(found - own->pages) * OWN_PAGE;
            return page < end ? page : end;
        }
        at = own->pages_end;
    }
    return end;
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
