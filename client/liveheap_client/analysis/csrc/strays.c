#include "strays.h"

struct hunt {
    const struct heapgraph *graph;
    struct vec_stray *strays;
    uint8_t *met;
    uint8_t *referred; /* something left refers to it */
    uint32_t *known;   /* references known to it, by which leftovers are told apart */
    struct vec_i32 stack;
};

static void
count_referrers(const struct hunt *hunt)
{
    const struct heapgraph *graph = hunt->graph;
    for (size_t edge = 0; edge < graph->target.n; edge++) {
        if ((graph->edge_kind.at[edge] & EDGE_KINDS) != EDGE_BORROWED) {
            hunt->known[graph->target.at[edge]]++;
        }
    }
    for (size_t node = 0; node < graph->address.n; node++) {
        const struct type_info *type = &graph->types.at[graph->type.at[node]];
        if ((type->flags & TYPE_HEAP) && type->node >= 0) {
            hunt->known[type->node]++;
        }
    }
}

static int
is_left(const struct hunt *hunt, int32_t node)
{
    return !hunt->met[node] && hunt->graph->record.at[node] != RECORD_ROOT;
}

static void
mark_referred(const struct hunt *hunt)
{
    const struct heapgraph *graph = hunt->graph;
    for (int32_t node = 0; node < (int32_t)graph->address.n; node++) {
        if (!is_left(hunt, node)) {
            continue;
        }
        uint32_t end = graph->row.at[node + 1];
        for (uint32_t edge = graph->row.at[node]; edge < end; edge++) {
            if ((graph->edge_kind.at[edge] & EDGE_OWNS) &&
                graph->target.at[edge] != node) {
                hunt->referred[graph->target.at[edge]] = 1;
            }
        }
    }
}

static enum leftover
leftover_of(const struct hunt *hunt, int32_t node)
{
    const struct heapgraph *graph = hunt->graph;
    uint16_t flags = graph->flags.at[node];
    if (flags & (NODE_IMMORTAL | NODE_INTERNED | NODE_TEXT)) {
        return LEFTOVER_SHARED;
    }
    if (flags & NODE_TYPE) {
        return LEFTOVER_TYPES;
    }
    return graph->refcount.at[node] > hunt->known[node] ? LEFTOVER_C
                                                        : LEFTOVER_UNREACHABLE;
}

/* Meet everything that a node reaches. */
static int
meet(struct hunt *hunt, int32_t node)
{
    const struct heapgraph *graph = hunt->graph;
    hunt->met[node] = 1;
    hunt->stack.n = 0;
    for (;;) {
        uint32_t end = graph->row.at[node + 1];
        for (uint32_t edge = graph->row.at[node]; edge < end; edge++) {
            int32_t target = graph->target.at[edge];
            if ((graph->edge_kind.at[edge] & EDGE_OWNS) && !hunt->met[target]) {
                hunt->met[target] = 1;
                if (vec_i32_push(&hunt->stack, target) < 0) {
                    return GRAPH_NO_MEMORY;
                }
            }
        }
        if (hunt->stack.n == 0) {
            return 0;
        }
        node = hunt->stack.at[--hunt->stack.n];
    }
}

enum turn { TURN_UNREFERRED, TURN_INSTANCES, TURN_CYCLES, TURN_PARTS, N_TURNS };

/* Of a class that somebody wrote in Python, or in an extension: what a person knows. */
static int
is_instance(const struct heapgraph *graph, int32_t node)
{
    return !(graph->flags.at[node] & (NODE_FOLDED | NODE_TYPE)) &&
           (graph->types.at[graph->type.at[node]].flags & TYPE_HEAP);
}

static int
has_turn(const struct hunt *hunt, int32_t node, enum turn turn)
{
    switch (turn) {
    case TURN_UNREFERRED:
        return !hunt->referred[node];
    case TURN_INSTANCES:
        return is_instance(hunt->graph, node);
    case TURN_CYCLES:
        return !(hunt->graph->flags.at[node] & NODE_FOLDED);
    default:
        return 1;
    }
}

static int
take_turn(struct hunt *hunt, enum turn turn, enum leftover kind)
{
    for (int32_t node = 0; node < (int32_t)hunt->graph->address.n; node++) {
        if (!is_left(hunt, node) || !has_turn(hunt, node, turn) ||
            leftover_of(hunt, node) != kind) {
            continue;
        }
        struct stray stray = {node, (uint8_t)kind, turn != TURN_UNREFERRED};
        if (vec_stray_push(hunt->strays, stray) < 0) {
            return GRAPH_NO_MEMORY;
        }
        int rc = meet(hunt, node);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int
strays_find(struct vec_stray *strays, const struct heapgraph *graph, uint8_t *met)
{
    size_t n = graph->address.n;
    struct hunt hunt = {.graph = graph, .strays = strays, .met = met};
    hunt.referred = calloc(n + 1, sizeof(*hunt.referred));
    hunt.known = calloc(n + 1, sizeof(*hunt.known));
    int rc = hunt.referred == NULL || hunt.known == NULL ? GRAPH_NO_MEMORY : 0;
    if (rc == 0) {
        count_referrers(&hunt);
        mark_referred(&hunt);
    }
    for (int turn = 0; turn < N_TURNS; turn++) {
        for (int kind = 0; rc == 0 && kind < N_LEFTOVERS; kind++) {
            rc = take_turn(&hunt, (enum turn)turn, (enum leftover)kind);
        }
    }
    free(hunt.referred);
    free(hunt.known);
    free(hunt.stack.at);
    return rc;
}
