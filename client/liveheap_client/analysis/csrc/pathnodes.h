/* One breadth-first search which gives every object its shortest path, and merges
 * equal paths into path nodes (ANALYSIS.md 2 and 5). Pure.
 *
 * A path node stands for all objects reached by the same sequence of (edge label,
 * type) from the same group of roots. Each object belongs to the first path node
 * that claims it. The search runs in classes, the best roots first; within a class by
 * levels, within a level the named edges before the unnamed ones, then in the order
 * of nodes: so the answer is the same in every run.
 *
 * Entries say where to begin. One with an edge (of a ROOT node) claims that edge's
 * target as a child of its group; one without claims its node for the group itself,
 * and does so before the search begins (modules: nobody else may claim them). What no
 * entry reaches is attached at the end to the leftover groups, and counted.
 *
 * Self-recursion is folded: a child whose label, type and code are those of its
 * parent's path node, or of one up to three steps above, joins that one. Beyond the
 * caps children join a node labelled LABEL_DEEP, and `truncated` is set.
 *
 * `key` is a hash of the whole path by its texts: equal in every process, so that path
 * nodes of two snapshots can be matched.
 */
#ifndef LIVEHEAP_GRAPH_PATHNODES_H
#define LIVEHEAP_GRAPH_PATHNODES_H

#include "heapgraph.h"
#include "strays.h"

enum label_kind {
    LABEL_ATTRIBUTE = 1,
    LABEL_INTERNAL = 2,
    LABEL_KEYED = 3, /* ['name'] */
    LABEL_ITEM = 4,  /* [*] */
    LABEL_KEY = 5,   /* {key} */
    LABEL_LOCAL = 6,
    LABEL_CELL = 7,
    LABEL_FRAME = 8,
    LABEL_ROOT = 9,
    LABEL_UNNAMED = 10,
    LABEL_DEEP = 11,
    LABEL_STACK = 12,
    LABEL_FIRST_GROUP = 32, /* from here on: kinds of groups, the caller's */
};

#define NO_EDGE UINT32_MAX

struct path_group {
    uint32_t kind; /* LABEL_FIRST_GROUP or above */
    uint32_t name;
};

struct path_entry {
    int32_t node;
    uint32_t edge; /* NO_EDGE: the node itself */
    uint32_t group;
    uint32_t class; /* entries are in ascending order of it */
};

struct path_plan {
    const struct path_group *groups;
    size_t n_groups;
    const struct path_entry *entries;
    size_t n_entries;
    uint32_t leftovers[N_LEFTOVERS]; /* groups */
    uint32_t max_depth;
    uint32_t max_nodes;
};

/* Path node i < n_groups is group i. */
struct pathnodes {
    struct vec_i32 parent; /* -1 for a group */
    struct vec_u8 label_kind;
    struct vec_u32 label_name;
    struct vec_u32 type; /* class_id of the type */
    struct vec_i32 code; /* class_id of a frame's code, or NO_CODE */
    struct vec_u16 depth;
    struct vec_u32 group;
    struct vec_u64 key;
    struct vec_u64 count;
    struct vec_u64 bytes;
    struct vec_u64 length;     /* sum over its containers */
    struct vec_u64 max_length; /* of one container */
    struct vec_i32 example;    /* the first object */

    /* one entry a node of the graph */
    int32_t *node_path;    /* path node, -1 for a ROOT */
    uint32_t *parent_edge; /* by which it was reached, or NO_EDGE */
    size_t n_nodes;

    int truncated;
};

/* 0 or GRAPH_NO_MEMORY. `nodes` must be zeroed memory; clear it in any case. The
 * plan's numbers must be in range; the caller checks them. */
int pathnodes_search(struct pathnodes *nodes, const struct heapgraph *graph,
                     const struct path_plan *plan);
void pathnodes_clear(struct pathnodes *nodes);

#endif
