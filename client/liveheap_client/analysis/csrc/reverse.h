/* The owning edges by their targets. Pure. */
#ifndef LIVEHEAP_GRAPH_REVERSE_H
#define LIVEHEAP_GRAPH_REVERSE_H

#include "heapgraph.h"

struct reversed {
    uint32_t *row;  /* n_nodes + 1 */
    uint32_t *edge; /* numbers of edges, those to one target together, ascending */
    size_t n_edges;
};

/* 0 or GRAPH_NO_MEMORY. Both arrays then belong to the caller. */
int reverse_owning(struct reversed *reversed, const struct heapgraph *graph);

#endif
