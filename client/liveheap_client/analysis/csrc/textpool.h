/* Texts, each stored once and known by a number. Pure.
 *
 * Name 0 is the empty text, which stands for "no name". The same bytes always give
 * the same number; numbers follow the order of first appearance, so that they are
 * the same in every run over one file.
 *
 * Each text has a 64-bit hash of its bytes which is the same in every process; path
 * nodes of different snapshots are matched by hashes made from it.
 */
#ifndef LIVEHEAP_GRAPH_TEXTPOOL_H
#define LIVEHEAP_GRAPH_TEXTPOOL_H

#include "probes.h"
#include "vec.h"

enum {
    TEXTPOOL_NO_MEMORY = -1,
    TEXTPOOL_CROWDED = -2, /* so many equal hashes that it cannot be chance */
};

struct textpool {
    struct vec_u8 bytes;
    struct vec_u64 end;  /* of text i in bytes; it begins at end[i - 1] */
    struct vec_u64 hash; /* of text i */
    uint32_t *slots;     /* open addressing: name, 0 is free */
    size_t n_slots;      /* a power of two */
    struct probes probes;
};

/* 0, or TEXTPOOL_NO_MEMORY. The pool must be zeroed memory. */
int textpool_init(struct textpool *pool);
void textpool_clear(struct textpool *pool);

/* Set *name to the number of the text, adding it if it is new. 0 or an error. */
int textpool_add(struct textpool *pool, const uint8_t *text, size_t length,
                 uint32_t *name);

/* The number of a text, 0 if it is not there. */
uint32_t textpool_find(const struct textpool *pool, const char *text);

/* The bytes of a name, not terminated. */
const uint8_t *textpool_get(const struct textpool *pool, uint32_t name, size_t *length);

#endif
