#include "owning.h"

#include <string.h>

struct names {
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

/* The name, or one that no edge has. */
static uint32_t
known_name(const struct heapgraph *graph, const char *text)
{
    uint32_t name = textpool_find(&graph->names, text);
    return name == 0 ? UINT32_MAX : name;
}

static void
find_names(struct judge *judge)
{
    const struct heapgraph *graph = judge->graph;
    judge->names = (struct names){
        .dict = known_name(graph, "__dict__"),
        .mro = known_name(graph, "__mro__"),
        .bases = known_name(graph, "__bases__"),
        .base = known_name(graph, "__base__"),
        .globals = known_name(graph, "__globals__"),
        .code = known_name(graph, "__code__"),
        .self = known_name(graph, "__self__"),
        .f_back = known_name(graph, "f_back"),
        .f_frame = known_name(graph, "f_frame"),
        .frame_obj = known_name(graph, "frame_obj"),
        .parent = known_name(graph, "parent"),
        .referent = known_name(graph, "__referent__"),
    };
}

static void
flag_interned(struct heapgraph *graph, int32_t node)
{
    if (graph->record.at[node] == RECORD_LEAF) {
        graph->flags.at[node] |= NODE_INTERNED;
        return;
    }
    for (uint32_t edge = graph->row.at[node]; edge < graph->row.at[node + 1]; edge++) {
        if (graph->edge_kind.at[edge] == EDGE_KEY) {
            graph->flags.at[graph->target.at[edge]] |= NODE_INTERNED;
        }
    }
}

static int
add_module(struct judge *judge, int32_t node, uint32_t name)
{
    struct heapgraph *graph = judge->graph;
    struct module_info module = {.node = node, .namespace = NO_NODE, .name = name};
    if ((graph->flags.at[node] & (NODE_MODULE | NODE_IMMORTAL)) ||
        graph->record.at[node] == RECORD_LEAF) {
        return 0;
    }
    graph->flags.at[node] |= NODE_MODULE;
    judge->is_module[name] = 1;
    int64_t dict = heapgraph_internal(graph, node, judge->names.dict);
    if (dict >= 0) {
        module.namespace = graph->target.at[dict];
        graph->flags.at[module.namespace] |= NODE_NAMESPACE;
        struct node_index entry = {module.namespace, (int32_t)graph->modules.n};
        if (vec_node_index_push(&judge->spaces, entry) < 0) {
            return GRAPH_NO_MEMORY;
        }
    }
    return vec_module_push(&graph->modules, module) < 0 ? GRAPH_NO_MEMORY : 0;
}

static int
add_modules_of(struct judge *judge, int32_t dict)
{
    struct heapgraph *graph = judge->graph;
    for (uint32_t edge = graph->row.at[dict]; edge < graph->row.at[dict + 1]; edge++) {
        if (graph->edge_kind.at[edge] == EDGE_VALUE) {
            int rc =
                add_module(judge, graph->target.at[edge], graph->edge_name.at[edge]);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

/* Without sys.modules in the stream: every object of the type `module`. */
static int
add_module_objects(struct judge *judge)
{
    struct heapgraph *graph = judge->graph;
    uint32_t module_name = known_name(graph, "module");
    for (size_t node = 0; node < graph->address.n; node++) {
        const struct type_info *type = &graph->types.at[graph->type.at[node]];
        if (type->qualname == module_name && graph->record.at[node] == RECORD_FIELDS) {
            int rc = add_module(judge, (int32_t)node, 0);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

static int
read_roots(struct judge *judge)
{
    struct heapgraph *graph = judge->graph;
    uint32_t modules_name = known_name(graph, "modules");
    for (size_t i = 0; i < graph->roots.n; i++) {
        const struct root_info *root = &graph->roots.at[i];
        uint32_t end = graph->row.at[root->node + 1];
        for (uint32_t edge = graph->row.at[root->node]; edge < end; edge++) {
            int32_t target = graph->target.at[edge];
            if (root->kind == ROOT_INTERNED) {
                flag_interned(graph, target);
            }
            else if (root->kind == ROOT_INTERPRETER &&
                     graph->edge_name.at[edge] == modules_name) {
                int rc = add_modules_of(judge, target);
                if (rc < 0) {
                    return rc;
                }
            }
        }
    }
    int rc = graph->modules.n == 0 ? add_module_objects(judge) : 0;
    node_index_sort(&judge->spaces);
    return rc;
}

/* The module's file, from a function that was made there; whether it is made in C, from
 * a builtin function that is its own; and which types and functions have it as home. */
static void
inspect_global(struct judge *judge, struct module_info *module, int32_t value)
{
    struct heapgraph *graph = judge->graph;
    if (graph->flags.at[value] & NODE_TYPE) {
        const struct type_info *type = heapgraph_type(graph, value);
        if (type != NULL && module->name != 0 && type->module == module->name) {
            graph->flags.at[value] |= NODE_HOMED;
        }
        return;
    }
    int64_t self = heapgraph_internal(graph, value, judge->names.self);
    if (self >= 0 && graph->target.at[self] == module->node) {
        module->native = 1;
    }
    int64_t globals = heapgraph_internal(graph, value, judge->names.globals);
    if (globals < 0 || graph->target.at[globals] != module->namespace) {
        return;
    }
    graph->flags.at[value] |= NODE_HOMED;
    int64_t code = heapgraph_internal(graph, value, judge->names.code);
    if (code >= 0 && module->filename == 0) {
        const struct code_info *info = heapgraph_code(graph, graph->target.at[code]);
        module->filename = info == NULL ? 0 : info->filename;
    }
}

/* Whether this module is the home of a node that has one. */
static int
is_home(const struct judge *judge, const struct module_info *module, int32_t node)
{
    const struct heapgraph *graph = judge->graph;
    if (graph->flags.at[node] & NODE_TYPE) {
        return heapgraph_type(graph, node)->module == module->name;
    }
    int64_t globals = heapgraph_internal(graph, node, judge->names.globals);
    return graph->target.at[globals] == module->namespace;
}

/* The name that most of a module's types give as theirs, if no other module has it. */
static uint32_t
name_by_types(const struct judge *judge, int32_t namespace)
{
    const struct heapgraph *graph = judge->graph;
    enum { MAX_CANDIDATES = 16 };
    uint32_t names[MAX_CANDIDATES];
    unsigned votes[MAX_CANDIDATES];
    size_t n = 0;
    uint32_t end = graph->row.at[namespace + 1];
    for (uint32_t edge = graph->row.at[namespace]; edge < end; edge++) {
        int32_t value = graph->target.at[edge];
        const struct type_info *type =
            graph->flags.at[value] & NODE_TYPE ? heapgraph_type(graph, value) : NULL;
        if (type == NULL || type->module == 0) {
            continue;
        }
        size_t i = 0;
        while (i < n && names[i] != type->module) {
            i++;
        }
        if (i == n && n < MAX_CANDIDATES && !judge->is_module[type->module]) {
            names[n] = type->module;
            votes[n++] = 0;
        }
        if (i < n) {
            votes[i]++;
        }
    }
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = votes[i] > votes[best] ? i : best;
    }
    return n == 0 ? 0 : names[best];
}

static void
inspect_modules(struct judge *judge)
{
    struct heapgraph *graph = judge->graph;
    for (size_t i = 0; i < graph->modules.n; i++) {
        struct module_info *module = &graph->modules.at[i];
        if (module->namespace == NO_NODE) {
            continue;
        }
        if (module->name == 0) {
            module->name = name_by_types(judge, module->namespace);
        }
        uint32_t end = graph->row.at[module->namespace + 1];
        for (uint32_t edge = graph->row.at[module->namespace]; edge < end; edge++) {
            int32_t value = graph->target.at[edge];
            if (graph->edge_kind.at[edge] == EDGE_VALUE &&
                graph->record.at[value] == RECORD_FIELDS) {
                inspect_global(judge, module, value);
            }
        }
    }
}

/* Whether an edge leads to what may be a part of its source: an object's dict, the
 * frame object of an interpreter frame. */
static int
leads_to_part(const struct judge *judge, size_t edge)
{
    const struct heapgraph *graph = judge->graph;
    uint32_t name = graph->edge_name.at[edge];
    uint8_t record = graph->record.at[graph->target.at[edge]];
    if ((graph->edge_kind.at[edge] & EDGE_KINDS) != EDGE_INTERNAL) {
        return 0;
    }
    if (name == judge->names.dict) {
        return record == RECORD_PAIRS || record == RECORD_COMPOUND;
    }
    return name == judge->names.frame_obj;
}

/* Mark what internal names lead to: possible parts and tuples of bases. */
static void
mark_internals(struct judge *judge)
{
    struct heapgraph *graph = judge->graph;
    for (size_t edge = 0; edge < graph->target.n; edge++) {
        if (graph->edge_kind.at[edge] != EDGE_INTERNAL) {
            continue;
        }
        uint32_t name = graph->edge_name.at[edge];
        int32_t target = graph->target.at[edge];
        if (leads_to_part(judge, edge)) {
            judge->as_part[target] = 1;
        }
        else if (name == judge->names.mro || name == judge->names.bases) {
            graph->flags.at[target] |= NODE_BASES;
        }
    }
}

struct source {
    uint16_t flags;
    uint8_t record;
    const struct module_info *module; /* whose dict this is, or NULL */
};

/* THE predicate; resolve.h states it. */
static inline int
edge_owns(const struct judge *judge, const struct source *source, uint8_t kind,
          uint32_t name, int32_t target)
{
    const struct names *names = &judge->names;
    uint16_t flags = judge->graph->flags.at[target];
    if (source->record == RECORD_ROOT) {
        return 1;
    }
    if (kind == EDGE_BORROWED || kind == EDGE_CODE ||
        (flags & (NODE_IMMORTAL | NODE_INTERNED | NODE_MODULE)) ||
        (kind == EDGE_KEY && (flags & NODE_TEXT)) ||
        ((source->flags & NODE_BASES) && (flags & NODE_TYPE))) {
        return 0;
    }
    if (flags & NODE_NAMESPACE) {
        return kind == EDGE_INTERNAL && name == names->dict &&
               (source->flags & NODE_MODULE);
    }
    if (kind == EDGE_INTERNAL &&
        (name == names->base || name == names->f_back || name == names->f_frame ||
         name == names->parent || name == names->referent)) {
        return 0;
    }
    if (flags & NODE_HOMED) {
        return source->module != NULL && is_home(judge, source->module, target);
    }
    return 1;
}

static const struct module_info *
module_of_space(const struct judge *judge, int32_t node)
{
    for (size_t low = 0, high = judge->spaces.n; low < high;) {
        size_t middle = low + (high - low) / 2;
        const struct node_index *entry = &judge->spaces.at[middle];
        if (entry->node == node) {
            return &judge->graph->modules.at[entry->index];
        }
        if (entry->node < node) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return NULL;
}

static void
judge_edges(struct judge *judge)
{
    struct heapgraph *graph = judge->graph;
    for (size_t node = 0; node < graph->address.n; node++) {
        uint32_t edge = graph->row.at[node];
        uint32_t end = graph->row.at[node + 1];
        if (edge == end) {
            continue;
        }
        struct source source = {
            .flags = graph->flags.at[node],
            .record = graph->record.at[node],
        };
        if (source.flags & NODE_NAMESPACE) {
            source.module = module_of_space(judge, (int32_t)node);
        }
        for (; edge < end; edge++) {
            int32_t target = graph->target.at[edge];
            if (edge_owns(judge, &source, graph->edge_kind.at[edge],
                          graph->edge_name.at[edge], target)) {
                graph->edge_kind.at[edge] |= EDGE_OWNS;
                uint8_t seen = judge->as_part[target];
                judge->as_part[target] =
                    (uint8_t)(seen + (seen != 0 && seen < UINT8_MAX));
            }
        }
    }
}

/* What has one owner, which holds it as a part, is a part of that owner. */
static void
fold_parts(struct judge *judge)
{
    struct heapgraph *graph = judge->graph;
    for (size_t edge = 0; edge < graph->target.n; edge++) {
        int32_t target = graph->target.at[edge];
        if (graph->edge_kind.at[edge] == (EDGE_INTERNAL | EDGE_OWNS) &&
            judge->as_part[target] == 2 && leads_to_part(judge, edge)) {
            graph->flags.at[target] |= NODE_FOLDED;
        }
    }
}

int
owning_decide(struct heapgraph *graph)
{
    struct judge judge = {.graph = graph};
    judge.as_part = calloc(graph->address.n + 1, 1);
    judge.is_module = calloc(graph->names.end.n + 1, 1);
    int rc = judge.as_part == NULL || judge.is_module == NULL ? GRAPH_NO_MEMORY : 0;
    if (rc == 0) {
        find_names(&judge);
        rc = read_roots(&judge);
    }
    if (rc == 0) {
        inspect_modules(&judge);
        mark_internals(&judge);
        judge_edges(&judge);
        fold_parts(&judge);
    }
    free(judge.as_part);
    free(judge.is_module);
    free(judge.spaces.at);
    return rc;
}
