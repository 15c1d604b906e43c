/* Where reachability starts besides the roots: entries into what they do not reach.
 * Pure.
 *
 * Some objects are reached by nobody: held by C code that no traverse shows, garbage not
 * yet collected, what everybody shares and nothing owns. A stray is an entry into them,
 * chosen so that all strays together reach all the rest. First come those that nothing
 * left refers to; then, one by one, members of cycles: instances of classes before lists
 * and dicts, and a part of an object (`__dict__`) only where its owner can be none. The
 * class is what a person looks for.
 *
 * The path search and the dominator tree both start here, so that one screen never
 * shows two truths.
 */
#ifndef LIVEHEAP_GRAPH_STRAYS_H
#define LIVEHEAP_GRAPH_STRAYS_H

#include "heapgraph.h"

enum leftover {
    LEFTOVER_SHARED,      /* immortal, interned, program text */
    LEFTOVER_TYPES,       /* types nobody else holds */
    LEFTOVER_C,           /* more references than we know */
    LEFTOVER_UNREACHABLE, /* garbage not yet collected */
    N_LEFTOVERS,
};

struct stray {
    int32_t node;
    uint8_t kind;  /* enum leftover */
    uint8_t cycle; /* reached from itself: search from it before the next one */
};

VEC(vec_stray, struct stray)

/* Append the strays, in the order to start from. `met` says of each node whether it was
 * reached, and says so of all but roots afterwards. 0 or GRAPH_NO_MEMORY. */
int strays_find(struct vec_stray *strays, const struct heapgraph *graph, uint8_t *met);

#endif
