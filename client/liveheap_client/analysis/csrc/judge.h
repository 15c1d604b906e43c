/* What finding the modules and judging the edges share. Pure, internal to them.
 *
 * owning.c holds the predicate, modules.c finds what stands in sys.modules, whose dicts
 * these are, and which types and functions have a module as home.
 */
#ifndef LIVEHEAP_GRAPH_JUDGE_H
#define LIVEHEAP_GRAPH_JUDGE_H

#include "heapgraph.h"

/* Internal names, each UINT32_MAX if the stream lacks it. */
struct names {
    uint32_t module;
    uint32_t modules;
    uint32_t dict;
    uint32_t mro;
    uint32_t bases;
    uint32_t base;
    uint32_t globals;
    uint32_t code;
    uint32_t self;
    uint32_t f_back;
    uint32_t f_frame;
    uint32_t frame_obj;
    uint32_t parent;
    uint32_t referent;
};

struct judge {
    struct heapgraph *graph;
    struct names names;
    uint8_t *as_part;             /* per node: 1 + owning edges, if perhaps a part */
    uint8_t *is_module;           /* per name: that of a module */
    struct vec_node_index spaces; /* modules by the node of their dict */
};

/* Fill graph->modules and the spaces; flag modules, their dicts, what has a home, and
 * interned strings. 0 or GRAPH_NO_MEMORY. */
int modules_find(struct judge *judge);

/* Whether this module is the home of a node that has one. */
int modules_is_home(const struct judge *judge, const struct module_info *module,
                    int32_t node);

/* The module whose dict this is, NULL if it is none's. */
const struct module_info *modules_of_space(const struct judge *judge, int32_t node);

#endif
