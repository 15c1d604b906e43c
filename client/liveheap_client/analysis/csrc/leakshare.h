/* What each of some suspects alone keeps, shared parts divided among them (ANALYSIS.md
 * 2.4, after BLeak). Pure.
 *
 * Retained size gives what two leaking caches share to their common ancestor, so both
 * look innocent. A leak share does not: first all is marked that reachability finds
 * without entering a suspect's members; of the rest each object is credited in equal
 * parts to those suspects that lead to it. Owning edges only; nothing recursive.
 */
#ifndef LIVEHEAP_GRAPH_LEAKSHARE_H
#define LIVEHEAP_GRAPH_LEAKSHARE_H

#include "heapgraph.h"

#define MAX_SHARES 64

/* `member` has one entry a node: the number of the suspect it belongs to, from 1 to
 * `n_suspects`, or 0; other values are none. `starts` are nodes where reachability
 * begins; those out of range are left out. Fills `share` with n_suspects numbers of
 * bytes. 0 or GRAPH_NO_MEMORY. */
int leakshare_find(const struct heapgraph *graph, const uint8_t *member,
                   unsigned n_suspects, const int32_t *starts, size_t n_starts,
                   double *share);

#endif
