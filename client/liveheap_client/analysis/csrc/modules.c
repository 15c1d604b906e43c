#include "judge.h"

#include <string.h>

static void
flag_interned(struct heapgraph *graph, int32_t node)
{
    if (graph->record.at[node] == RECORD_LEAF) {
        graph->flags.at[node] |= NODE_INTERNED;
        return;
    }
    if (graph->flags.at[node] & NODE_SEEN) {
        return;
    }
    graph->flags.at[node] |= NODE_SEEN;
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
    if (dict >= 0 && !(graph->flags.at[graph->target.at[dict]] & NODE_NAMESPACE)) {
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
    if (graph->flags.at[dict] & NODE_SEEN) {
        return 0;
    }
    graph->flags.at[dict] |= NODE_SEEN;
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
    uint32_t module_name = judge->names.module;
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
    uint32_t modules_name = judge->names.modules;
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

/* What a function of the module's dict tells: the module's file, if it was made there;
 * that the module is made in C, if it is a builtin one of its own; and that it is home. */
static void
inspect_function(struct judge *judge, struct module_info *module, int32_t value)
{
    struct heapgraph *graph = judge->graph;
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

int
modules_is_home(const struct judge *judge, const struct module_info *module,
                int32_t node)
{
    const struct heapgraph *graph = judge->graph;
    if (graph->flags.at[node] & NODE_TYPE) {
        return heapgraph_type(graph, node)->module == module->name;
    }
    int64_t globals = heapgraph_internal(graph, node, judge->names.globals);
    return graph->target.at[globals] == module->namespace;
}

/* Whether a module of this name may have come from this file: `a.b` is b.py, b.so or
 * b/__init__.py, `__main__` is any. */
static int
fits_file(const struct heapgraph *graph, uint32_t name, uint32_t filename)
{
    size_t name_length;
    size_t length;
    const char *text = (const char *)textpool_get(&graph->names, name, &name_length);
    const char *file = (const char *)textpool_get(&graph->names, filename, &length);
    if (filename == 0 || name == textpool_find(&graph->names, "__main__")) {
        return 1;
    }
    size_t last = name_length;
    while (last > 0 && text[last - 1] != '.') {
        last--;
    }
    size_t n = name_length - last;
    static const char INIT[] = "/__init__.py";
    if (length >= sizeof(INIT) - 1 &&
        memcmp(file + length - (sizeof(INIT) - 1), INIT, sizeof(INIT) - 1) == 0) {
        length -= sizeof(INIT) - 1;
    }
    size_t begin = length;
    while (begin > 0 && file[begin - 1] != '/') {
        begin--;
    }
    return length - begin >= n && memcmp(file + begin, text + last, n) == 0 &&
           (length - begin == n || file[begin + n] == '.');
}

/* The name that most of a nameless module's types give as theirs, if no other module has
 * it and it fits the file. `__main__`, which nobody imports from, needs one type. */
static uint32_t
name_by_types(const struct judge *judge, const struct module_info *module)
{
    const struct heapgraph *graph = judge->graph;
    enum { MAX_CANDIDATES = 16 };
    uint32_t names[MAX_CANDIDATES];
    unsigned votes[MAX_CANDIDATES];
    size_t n = 0;
    uint32_t main_name = textpool_find(&graph->names, "__main__");
    uint32_t end = graph->row.at[module->namespace + 1];
    for (uint32_t edge = graph->row.at[module->namespace]; edge < end; edge++) {
        int32_t value = graph->target.at[edge];
        const struct type_info *type =
            graph->flags.at[value] & NODE_TYPE ? heapgraph_type(graph, value) : NULL;
        if (type == NULL || type->module == 0 || judge->is_module[type->module]) {
            continue;
        }
        if (type->module == main_name) {
            return main_name;
        }
        size_t i = 0;
        while (i < n && names[i] != type->module) {
            i++;
        }
        if (i == n && n < MAX_CANDIDATES &&
            fits_file(graph, type->module, module->filename)) {
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

/* Mark the types that give this module as theirs as being at home here. */
static void
home_types(struct judge *judge, const struct module_info *module)
{
    struct heapgraph *graph = judge->graph;
    uint32_t end = graph->row.at[module->namespace + 1];
    for (uint32_t edge = graph->row.at[module->namespace]; edge < end; edge++) {
        int32_t value = graph->target.at[edge];
        const struct type_info *type =
            graph->flags.at[value] & NODE_TYPE ? heapgraph_type(graph, value) : NULL;
        if (type != NULL && type->module == module->name &&
            graph->edge_kind.at[edge] == EDGE_VALUE &&
            graph->record.at[value] == RECORD_FIELDS) {
            graph->flags.at[value] |= NODE_HOMED;
        }
    }
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
        uint32_t end = graph->row.at[module->namespace + 1];
        for (uint32_t edge = graph->row.at[module->namespace]; edge < end; edge++) {
            int32_t value = graph->target.at[edge];
            if (graph->edge_kind.at[edge] == EDGE_VALUE &&
                graph->record.at[value] == RECORD_FIELDS &&
                !(graph->flags.at[value] & NODE_TYPE)) {
                inspect_function(judge, module, value);
            }
        }
        if (module->name == 0) {
            module->name = name_by_types(judge, module);
        }
        if (module->name != 0) {
            home_types(judge, module);
        }
    }
}

const struct module_info *
modules_of_space(const struct judge *judge, int32_t node)
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

int
modules_find(struct judge *judge)
{
    int rc = read_roots(judge);
    if (rc == 0) {
        inspect_modules(judge);
    }
    return rc;
}
