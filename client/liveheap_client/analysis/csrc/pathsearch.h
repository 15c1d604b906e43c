/* What the files of the path search share. Pure, internal to them.
 *
 * pathnodes.c searches, pathtree.c makes path nodes and finds them again, leftovers.c
 * attaches what the search did not reach.
 */
#ifndef LIVEHEAP_GRAPH_PATHSEARCH_H
#define LIVEHEAP_GRAPH_PATHSEARCH_H

#include "pathnodes.h"

struct child_key {
    int32_t parent;
    uint32_t name;
    uint32_t type;
    int32_t code;
    uint32_t label;
};

struct child_slot {
    struct child_key key;
    int32_t node; /* + 1; 0 is free */
};

struct search {
    const struct heapgraph *graph;
    const struct path_plan *plan;
    struct pathnodes *out;

    int32_t *queue;
    size_t n_queue;

    struct child_slot *slots;
    size_t n_slots;
    size_t n_children;
    struct probes probes;
    struct child_key last_key;
    int32_t last_node;
    int32_t deep; /* what takes the rest once max_nodes is reached */
};

/* ---- pathtree.c ---- */

/* Make the table of children. 0 or GRAPH_NO_MEMORY. */
int pathtree_init(struct search *search);
void pathtree_clear(struct search *search);

/* Append a path node, whose parent may be -1; -1 if there is no memory. */
int32_t pathtree_new(struct search *search, const struct child_key *key);

/* The path node of a child, made if it is new; -1 if there is no memory. A key beyond
 * the caps becomes that of the node which stands for all of those. */
int32_t pathtree_child(struct search *search, struct child_key *key);

/* ---- pathnodes.c ---- */

/* Count an object, reached by this edge, for a path node. */
void pathnodes_claim(struct search *search, int32_t node, int32_t path, uint32_t edge);

/* Search on from queue[begin] to the end, level by level. 0 or GRAPH_NO_MEMORY. */
int pathnodes_run(struct search *search, size_t begin);

/* ---- leftovers.c ---- */

/* Attach what no entry reached to the leftover groups. 0 or GRAPH_NO_MEMORY. */
int leftovers_run(struct search *search);

#endif
