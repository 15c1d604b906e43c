#include "pathnodes.h"

#include <string.h>

#include "pathsearch.h"

/* Claimed by an entry which has not had its turn. */
#define PENDING_EDGE (NO_EDGE - 1)

static uint64_t
container_length(const struct heapgraph *graph, int32_t node)
{
    uint32_t begin = graph->row.at[node];
    uint32_t end = graph->row.at[node + 1];
    uint64_t length = 0;
    switch (graph->record.at[node]) {
    case RECORD_ITEMS:
        return end - begin;
    case RECORD_PAIRS:
        return (end - begin + 1) / 2;
    case RECORD_COMPOUND:
        for (uint32_t edge = begin; edge < end; edge++) {
            uint8_t kind = graph->edge_kind.at[edge] & EDGE_KINDS;
            length += kind == EDGE_ITEM || kind == EDGE_VALUE;
        }
        return length;
    default:
        return 0;
    }
}

void
pathnodes_claim(struct search *search, int32_t node, int32_t path, uint32_t edge)
{
    const struct heapgraph *graph = search->graph;
    struct pathnodes *out = search->out;
    out->node_path[node] = path;
    out->parent_edge[node] = edge;
    out->bytes.at[path] += graph->size.at[node];
    if (edge != NO_EDGE && (graph->flags.at[node] & NODE_FOLDED)) {
        return;
    }
    uint64_t length = container_length(graph, node);
    out->count.at[path]++;
    out->length.at[path] += length;
    if (length > out->max_length.at[path]) {
        out->max_length.at[path] = length;
    }
    if (out->example.at[path] == NO_NODE) {
        out->example.at[path] = node;
    }
}

static int
is_named(uint8_t kind, uint32_t name)
{
    switch (kind) {
    case EDGE_ITEM:
    case EDGE_KEY:
    case EDGE_UNNAMED:
    case EDGE_STACK:
        return 0;
    case EDGE_VALUE:
        return name != 0;
    default:
        return 1;
    }
}

static uint32_t
label_of(uint8_t kind, uint32_t name, int folded, int to_frame)
{
    switch (kind) {
    case EDGE_ATTRIBUTE:
    case EDGE_SLOT:
        return LABEL_ATTRIBUTE;
    case EDGE_INTERNAL:
    case EDGE_CODE:
        return LABEL_INTERNAL;
    case EDGE_VALUE:
        return name == 0 ? LABEL_ITEM : folded ? LABEL_ATTRIBUTE : LABEL_KEYED;
    case EDGE_KEY:
        return LABEL_KEY;
    case EDGE_LOCAL:
    case EDGE_BORROWED:
        return LABEL_LOCAL;
    case EDGE_CELL:
        return LABEL_CELL;
    case EDGE_ROOT:
        return to_frame ? LABEL_FRAME : LABEL_ROOT;
    case EDGE_UNNAMED:
        return LABEL_UNNAMED;
    case EDGE_STACK:
        return LABEL_STACK;
    default:
        return LABEL_ITEM;
    }
}

/* Claim the target of an edge, which nobody has, as a child of `path`. */
static int
follow(struct search *search, int32_t path, uint32_t edge, int folded)
{
    const struct heapgraph *graph = search->graph;
    int32_t target = graph->target.at[edge];
    uint8_t kind = graph->edge_kind.at[edge] & EDGE_KINDS;
    int32_t child = path;
    if (!(graph->flags.at[target] & NODE_FOLDED)) {
        int frame = graph->record.at[target] == RECORD_FRAME;
        uint32_t name = graph->edge_name.at[edge];
        struct child_key key = {
            .parent = path,
            .label = label_of(kind, name, folded, frame),
            .type = graph->types.at[graph->type.at[target]].class_id,
            .code = NO_CODE,
        };
        key.name = key.label == LABEL_FRAME ? 0 : name;
        if (frame) {
            const struct frame_info *info = heapgraph_frame(graph, target);
            if (info->code != NO_CODE) {
                key.code = (int32_t)graph->codes.at[info->code].class_id;
            }
        }
        child = pathtree_child(search, &key);
        if (child < 0) {
            return GRAPH_NO_MEMORY;
        }
    }
    pathnodes_claim(search, target, child, edge);
    search->queue[search->n_queue++] = target;
    return 0;
}

/* Follow the owning edges of a node: the named ones, or the others. */
static int
expand(struct search *search, int32_t node, int named)
{
    const struct heapgraph *graph = search->graph;
    const int32_t *node_path = search->out->node_path;
    int folded = (graph->flags.at[node] & (NODE_FOLDED | NODE_NAMESPACE)) != 0;
    uint32_t end = graph->row.at[node + 1];
    for (uint32_t edge = graph->row.at[node]; edge < end; edge++) {
        uint8_t kind = graph->edge_kind.at[edge];
        if (!(kind & EDGE_OWNS) ||
            is_named(kind & EDGE_KINDS, graph->edge_name.at[edge]) != named ||
            node_path[graph->target.at[edge]] >= 0) {
            continue;
        }
        int rc = follow(search, node_path[node], edge, folded);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int
pathnodes_run(struct search *search, size_t begin)
{
    while (begin < search->n_queue) {
        size_t end = search->n_queue;
        for (int named = 1; named >= 0; named--) {
            for (size_t i = begin; i < end; i++) {
                int rc = expand(search, search->queue[i], named);
                if (rc < 0) {
                    return rc;
                }
            }
        }
        begin = end;
    }
    return 0;
}

static int
run_entries(struct search *search)
{
    const struct path_plan *plan = search->plan;
    const struct path_entry *entries = plan->entries;
    for (size_t i = 0; i < plan->n_entries; i++) {
        if (entries[i].edge == NO_EDGE && search->out->node_path[entries[i].node] < 0) {
            pathnodes_claim(search, entries[i].node, (int32_t)entries[i].group,
                            PENDING_EDGE);
        }
    }
    for (size_t i = 0; i < plan->n_entries;) {
        size_t begin = search->n_queue;
        uint32_t class = entries[i].class;
        for (; i < plan->n_entries && entries[i].class == class; i++) {
            const struct path_entry *entry = &entries[i];
            uint32_t *reached_by = &search->out->parent_edge[entry->node];
            if (*reached_by == PENDING_EDGE) {
                *reached_by = NO_EDGE;
                search->queue[search->n_queue++] = entry->node;
            }
            else if (entry->edge != NO_EDGE &&
                     search->out->node_path[entry->node] < 0) {
                int rc = follow(search, (int32_t)entry->group, entry->edge, 0);
                if (rc < 0) {
                    return rc;
                }
            }
        }
        int rc = pathnodes_run(search, begin);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int
prepare(struct search *search)
{
    const struct path_plan *plan = search->plan;
    struct pathnodes *out = search->out;
    size_t n = search->graph->address.n;
    out->n_nodes = n;
    out->node_path = malloc((n + 1) * sizeof(*out->node_path));
    out->parent_edge = malloc((n + 1) * sizeof(*out->parent_edge));
    search->queue = malloc((n + 1) * sizeof(*search->queue));
    if (out->node_path == NULL || out->parent_edge == NULL || search->queue == NULL ||
        pathtree_init(search) < 0) {
        return GRAPH_NO_MEMORY;
    }
    memset(out->node_path, 0xff, (n + 1) * sizeof(*out->node_path));
    memset(out->parent_edge, 0xff, (n + 1) * sizeof(*out->parent_edge));
    for (size_t i = 0; i < plan->n_groups; i++) {
        struct child_key key = {
            .parent = -1,
            .label = plan->groups[i].kind,
            .name = plan->groups[i].name,
            .code = NO_CODE,
        };
        if (pathtree_new(search, &key) < 0) {
            return GRAPH_NO_MEMORY;
        }
    }
    struct child_key deep = {.parent = -1, .label = LABEL_DEEP, .code = NO_CODE};
    search->deep = pathtree_new(search, &deep);
    return search->deep < 0 ? GRAPH_NO_MEMORY : 0;
}

int
pathnodes_search(struct pathnodes *nodes, const struct heapgraph *graph,
                 const struct path_plan *plan)
{
    struct search search = {.graph = graph, .plan = plan, .out = nodes};
    int rc = prepare(&search);
    if (rc == 0) {
        rc = run_entries(&search);
    }
    if (rc == 0) {
        rc = leftovers_run(&search);
    }
    free(search.queue);
    pathtree_clear(&search);
    return rc;
}

void
pathnodes_clear(struct pathnodes *nodes)
{
    free(nodes->parent.at);
    free(nodes->label_kind.at);
    free(nodes->label_name.at);
    free(nodes->type.at);
    free(nodes->code.at);
    free(nodes->depth.at);
    free(nodes->group.at);
    free(nodes->key.at);
    free(nodes->count.at);
    free(nodes->bytes.at);
    free(nodes->length.at);
    free(nodes->max_length.at);
    free(nodes->example.at);
    free(nodes->node_path);
    free(nodes->parent_edge);
    memset(nodes, 0, sizeof(*nodes));
}
