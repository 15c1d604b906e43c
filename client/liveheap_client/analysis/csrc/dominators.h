/* Immediate dominators and retained sizes. Pure.
 *
 * The tree hangs from a virtual super-root which refers to every ROOT record, every
 * module of sys.modules and every stray (strays.h): where the path search starts, so
 * does this. Edges count if they have EDGE_OWNS. Thus every node is reached.
 *
 * Method: semi-NCA (Georgiadis, Tarjan, Werneck 2006) over a depth-first numbering; no
 * recursion, since a heap has lists of millions of links. Its last step climbs the tree
 * from each node's parent to its semidominator. That is one step on most heaps, but a
 * list whose links share what they hold with a dict (an LRU cache) makes it as long as
 * the list, for each link. So the steps are counted, and once they are more than
 * CLIMBS_A_NODE a node the rest climbs by skip pointers, in log(depth) each. No input
 * costs more than O(edges * log(nodes)).
 *
 * The source is one long file: five phases of one method over the same numbers, of which
 * none makes sense without the one before.
 *
 * A part of an object (NODE_FOLDED) is a leaf below its owner: what it holds hangs off
 * the owner, and its own size counts there.
 *
 * Memory while it runs: at most 40 bytes a node and 4 an owning edge that is not its
 * target's only one, the result included.
 */
#ifndef LIVEHEAP_GRAPH_DOMINATORS_H
#define LIVEHEAP_GRAPH_DOMINATORS_H

#include "heapgraph.h"

struct dominators {
    int32_t *idom;      /* by node; -1 is the super-root */
    uint64_t *retained; /* by node: bytes that would go with it, its own included */
    int32_t *order;     /* all nodes, each after its idom */
};

/* 0 or a graph_error. The arrays have an entry a node; dominators_clear frees them.
 * `tree` must be zeroed memory; clear it in any case. */
int dominators_find(struct dominators *tree, const struct heapgraph *graph);
void dominators_clear(struct dominators *tree);

#endif
