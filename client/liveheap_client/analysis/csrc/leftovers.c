#include "pathsearch.h"

/* References known to each node, by what the leftovers are told apart. */
static uint32_t *
count_referrers(const struct heapgraph *graph)
{
    uint32_t *known = calloc(graph->address.n + 1, sizeof(*known));
    if (known == NULL) {
        return NULL;
    }
    for (size_t edge = 0; edge < graph->target.n; edge++) {
        if ((graph->edge_kind.at[edge] & EDGE_KINDS) != EDGE_BORROWED) {
            known[graph->target.at[edge]]++;
        }
    }
    for (size_t node = 0; node < graph->address.n; node++) {
        const struct type_info *type = &graph->types.at[graph->type.at[node]];
        if ((type->flags & TYPE_HEAP) && type->node >= 0) {
            known[type->node]++;
        }
    }
    return known;
}

static enum leftover
leftover_of(const struct heapgraph *graph, const uint32_t *known, int32_t node)
{
    uint16_t flags = graph->flags.at[node];
    if (flags & (NODE_IMMORTAL | NODE_INTERNED | NODE_TEXT)) {
        return LEFTOVER_SHARED;
    }
    if (flags & NODE_TYPE) {
        return LEFTOVER_TYPES;
    }
    return graph->refcount.at[node] > known[node] ? LEFTOVER_C : LEFTOVER_UNREACHABLE;
}

static int
is_left(const struct search *search, int32_t node)
{
    return search->out->node_path[node] < 0 &&
           search->graph->record.at[node] != RECORD_ROOT;
}

/* Attach what is left: of one kind first those that nothing left refers to, then,
 * one by one, members of cycles. */
static int
run_leftover(struct search *search, const uint8_t *referred, const uint32_t *known,
             enum leftover kind, int cycles)
{
    const struct heapgraph *graph = search->graph;
    int32_t group = (int32_t)search->plan->leftovers[kind];
    size_t begin = search->n_queue;
    for (int32_t node = 0; node < (int32_t)graph->address.n; node++) {
        if (!is_left(search, node) || (!cycles && referred[node]) ||
            leftover_of(graph, known, node) != kind) {
            continue;
        }
        struct child_key key = {
            .parent = group,
            .label = LABEL_ROOT,
            .type = graph->types.at[graph->type.at[node]].class_id,
            .code = NO_CODE,
        };
        int32_t path = pathtree_child(search, &key);
        if (path < 0) {
            return GRAPH_NO_MEMORY;
        }
        pathnodes_claim(search, node, path, NO_EDGE);
        search->queue[search->n_queue++] = node;
        if (cycles) {
            int rc = pathnodes_run(search, begin);
            if (rc < 0) {
                return rc;
            }
            begin = search->n_queue;
        }
    }
    return pathnodes_run(search, begin);
}

int
leftovers_run(struct search *search)
{
    const struct heapgraph *graph = search->graph;
    uint8_t *referred = calloc(graph->address.n + 1, 1);
    uint32_t *known = count_referrers(graph);
    int rc = referred == NULL || known == NULL ? GRAPH_NO_MEMORY : 0;
    for (int32_t node = 0; rc == 0 && node < (int32_t)graph->address.n; node++) {
        if (!is_left(search, node)) {
            continue;
        }
        uint32_t end = graph->row.at[node + 1];
        for (uint32_t edge = graph->row.at[node]; edge < end; edge++) {
            if ((graph->edge_kind.at[edge] & EDGE_OWNS) &&
                graph->target.at[edge] != node) {
                referred[graph->target.at[edge]] = 1;
            }
        }
    }
    for (int cycles = 0; cycles < 2; cycles++) {
        for (int kind = 0; rc == 0 && kind < N_LEFTOVERS; kind++) {
            rc = run_leftover(search, referred, known, (enum leftover)kind, cycles);
        }
    }
    free(referred);
    free(known);
    return rc;
}
