#include "owning.h"

#include "judge.h"

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
        .module = known_name(graph, "module"),
        .modules = known_name(graph, "modules"),
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
        return source->module != NULL && modules_is_home(judge, source->module, target);
    }
    return 1;
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
            source.module = modules_of_space(judge, (int32_t)node);
        }
        for (; edge < end; edge++) {
            int32_t target = graph->target.at[edge];
            if (edge + (size_t)AHEAD < graph->target.n) {
                int32_t next = graph->target.at[edge + AHEAD];
                __builtin_prefetch(&graph->flags.at[next]);
                __builtin_prefetch(&judge->as_part[next]);
            }
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
        rc = modules_find(&judge);
    }
    if (rc == 0) {
        mark_internals(&judge);
        judge_edges(&judge);
        fold_parts(&judge);
    }
    free(judge.as_part);
    free(judge.is_module);
    free(judge.spaces.at);
    return rc;
}
