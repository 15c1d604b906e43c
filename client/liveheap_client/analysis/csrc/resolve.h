/* From what was decoded to a graph that can be searched. Pure.
 *
 * Once all records are there: targets become node numbers, dict values get the names
 * of their keys, locals those of their code, cells those of their function's free
 * variables; the modules are found; and for every edge the one predicate decides
 * whether it owns (EDGE_OWNS). Everything after this reads that bit and decides
 * nothing itself.
 *
 * The predicate (ANALYSIS.md 3.2). An edge owns unless
 *   - it is a frame's borrowed local, or goes from a frame to its code, or is `f_back`,
 *     `f_frame` or a greenlet's `parent`: frames hang off their thread or greenlet;
 *   - its target is immortal, an interned string, or a key that is program text:
 *     everybody shares it and code keeps it;
 *   - its target is a module that stands in sys.modules, which alone owns it;
 *   - its target is such a module's dict and it is not the module's `__dict__`: so a
 *     function does not own its globals, nor a frame;
 *   - it goes to a base or a subclass: `__base__`, an element of `__bases__` or `__mro__`;
 *   - its target is a type or function which stands in the module that made it, and this
 *     is not that module's dict: `from lib import Thing` does not make Thing ours;
 *   - it is a weak reference's referent.
 * References from an object to its type are not among the edges at all.
 * A root's references always own.
 */
#ifndef LIVEHEAP_GRAPH_RESOLVE_H
#define LIVEHEAP_GRAPH_RESOLVE_H

#include "heapgraph.h"

/* 0 or a graph_error. Frees the graph's target_address. */
int resolve_graph(struct heapgraph *graph);

#endif
