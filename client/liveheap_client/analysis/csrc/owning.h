/* Who owns whom: finds the modules, then decides for every edge. Pure.
 *
 * resolve.h states the predicate. Also marks the dicts that are folded into their
 * owner (NODE_FOLDED): exactly one owning edge leads to them, and it is a `__dict__`.
 */
#ifndef LIVEHEAP_GRAPH_OWNING_H
#define LIVEHEAP_GRAPH_OWNING_H

#include "heapgraph.h"

/* Fill graph->modules, the node flags and EDGE_OWNS. 0 or GRAPH_NO_MEMORY. */
int owning_decide(struct heapgraph *graph);

#endif
