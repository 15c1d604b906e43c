/* The mappings of this process, one after another, from /proc/self/smaps or maps.
 *
 * smaps says what of each mapping is in memory, and walks the page tables for it: 20 ms
 * a GB here, with the process's mmap lock held for a whole mapping. maps costs little and
 * says none of that. No Python.h.
 */
#ifndef LIVEHEAP_SMAPS_H
#define LIVEHEAP_SMAPS_H

#include "proctext.h"

#include <stdbool.h>

enum mapping_kind {
    MAPPING_ANONYMOUS, /* what malloc, pymalloc, mmap and thread stacks get */
    MAPPING_BRK,       /* [heap]: malloc's main arena */
    MAPPING_STACK,     /* the main thread's */
    MAPPING_FILE,
    MAPPING_SHARED, /* anonymous or memfd, shared with whoever has it */
    MAPPING_OTHER,  /* the kernel's own: [vdso] and the like */
};

struct mapping {
    uintptr_t begin;
    uintptr_t end;
    enum mapping_kind kind;
    bool readable;
    bool writable;
    uint64_t rss;       /* bytes, all below; all pages where maps was read */
    uint64_t anonymous; /* of rss: pages that no file has */
    uint64_t exclusive; /* of rss: pages that nobody else has */
    uint64_t swap;
};

struct smaps {
    struct proctext text;
    char line[256]; /* the header line of the next mapping, cut */
    bool is_pending;
};

/* 0, or -1 if it cannot be opened. Close it in any case. */
int smaps_open(struct smaps *smaps, const char *path);
void smaps_close(struct smaps *smaps);

/* The next one; false at the end. */
bool smaps_next(struct smaps *smaps, struct mapping *mapping);

#endif
