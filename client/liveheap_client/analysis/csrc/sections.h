/* The parts of a resolved graph, as arrays that a file can hold. Pure.
 *
 * What a graph needs after resolve_graph, and nothing that only the decoder used. A
 * graph may borrow its sections from memory that somebody else keeps, a mapped file,
 * say; nothing of it is written to, and only the table of names is made anew.
 *
 * The memory is not believed: `sections_borrow` reads all of it once and refuses what
 * would lead a later pass out of an array. It does not ask whether the graph makes
 * sense; who maps a file checks first that it is one of ours.
 */
#ifndef LIVEHEAP_GRAPH_SECTIONS_H
#define LIVEHEAP_GRAPH_SECTIONS_H

#include "heapgraph.h"

enum { N_SECTIONS = 26 };

struct section {
    size_t offset; /* of the VEC in a heapgraph */
    size_t item_size;
};

extern const struct section SECTIONS[N_SECTIONS];

/* A section of a graph: where it begins, and how many items it has. All VECs have the
 * layout of vec_u8. */
struct vec_u8 *sections_at(struct heapgraph *graph, size_t section);

/* Let zeroed memory be a graph: section i is `counts[i]` items at `places[i]`, which is
 * aligned for them and outlives the graph. 0 or a graph_error; `sections_return` ends
 * it in both cases, never heapgraph_clear. */
int sections_borrow(struct heapgraph *graph, const void *const *places,
                    const size_t *counts);

/* Give back what is borrowed, and free the rest. */
void sections_return(struct heapgraph *graph);

#endif
