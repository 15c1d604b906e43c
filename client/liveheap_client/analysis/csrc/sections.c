#include "sections.h"

#include <string.h>

#define SECTION(column, type) {offsetof(struct heapgraph, column), sizeof(type)}

const struct section SECTIONS[N_SECTIONS] = {
    SECTION(address, uint64_t),
    SECTION(type, uint32_t),
    SECTION(size, uint64_t),
    SECTION(refcount, uint32_t),
    SECTION(record, uint8_t),
    SECTION(row, uint32_t),
    SECTION(flags, uint16_t),
    SECTION(target, int32_t),
    SECTION(edge_kind, uint8_t),
    SECTION(edge_name, uint32_t),
    SECTION(types, struct type_info),
    SECTION(codes, struct code_info),
    SECTION(frames, struct frame_info),
    SECTION(roots, struct root_info),
    SECTION(modules, struct module_info),
    SECTION(warnings, uint32_t),
    SECTION(content_node, int32_t),
    SECTION(content_kind, uint8_t),
    SECTION(content_length, uint64_t),
    SECTION(content_hash, uint64_t),
    SECTION(preview_node, int32_t),
    SECTION(preview_kind, uint8_t),
    SECTION(preview_length, uint64_t),
    SECTION(preview_name, uint32_t),
    SECTION(names.bytes, uint8_t),
    SECTION(names.end, uint64_t),
};

struct vec_u8 *
sections_at(struct heapgraph *graph, size_t section)
{
    return (void *)((char *)graph + SECTIONS[section].offset);
}

/* ---- what the passes rely on ---- */

static int
is_node(const struct heapgraph *graph, int32_t node)
{
    return node >= 0 && (size_t)node < graph->address.n;
}

static int
is_node_or_none(const struct heapgraph *graph, int32_t node)
{
    return node == NO_NODE || is_node(graph, node);
}

static int
is_name(const struct heapgraph *graph, uint32_t name)
{
    return name < graph->names.end.n;
}

static int
lengths_fit(const struct heapgraph *graph)
{
    size_t nodes = graph->address.n;
    size_t edges = graph->target.n;
    size_t contents = graph->content_node.n;
    size_t previews = graph->preview_node.n;
    return nodes < INT32_MAX && edges < UINT32_MAX - 1 && graph->type.n == nodes &&
           graph->size.n == nodes && graph->refcount.n == nodes &&
           graph->record.n == nodes && graph->row.n == nodes + 1 &&
           graph->flags.n == nodes && graph->edge_kind.n == edges &&
           graph->edge_name.n == edges && graph->types.n > 0 &&
           graph->types.n < INT32_MAX && graph->codes.n < INT32_MAX &&
           graph->content_kind.n == contents && graph->content_length.n == contents &&
           graph->content_hash.n == contents && graph->preview_kind.n == previews &&
           graph->preview_length.n == previews && graph->preview_name.n == previews;
}

/* The loops over nodes and edges gather what is wrong without a branch: they are most of
 * the work, and it is hardly ever wrong. */
static int
nodes_fit(struct heapgraph *graph)
{
    size_t n = graph->address.n;
    size_t n_roots = 0;
    size_t n_frames = 0;
    uint64_t total = 0;
    int wrong = graph->row.at[0] != 0 || graph->row.at[n] != graph->target.n;
    for (size_t node = 0; node < n; node++) {
        uint8_t record = graph->record.at[node];
        uint64_t size = graph->size.at[node];
        wrong |= graph->row.at[node] > graph->row.at[node + 1];
        wrong |= graph->type.at[node] >= graph->types.n;
        wrong |= record > RECORD_ROOT;
        wrong |= size > INT64_MAX - total;
        total += size;
        n_roots += record == RECORD_ROOT;
        n_frames += record == RECORD_FRAME;
    }
    graph->total_bytes = total;
    return !wrong && n_roots == graph->roots.n && n_frames == graph->frames.n;
}

static int
edges_fit(const struct heapgraph *graph)
{
    size_t n = graph->target.n;
    int wrong = 0;
    for (size_t edge = 0; edge < n; edge++) {
        uint8_t kind = graph->edge_kind.at[edge] & EDGE_KINDS;
        wrong |= !is_node(graph, graph->target.at[edge]);
        wrong |= !is_name(graph, graph->edge_name.at[edge]);
        wrong |= kind < EDGE_ATTRIBUTE || kind > EDGE_STACK;
    }
    for (size_t edge = 0; !wrong && edge < n; edge++) {
        if (edge + AHEAD < n) {
            __builtin_prefetch(&graph->record.at[graph->target.at[edge + AHEAD]]);
        }
        wrong = graph->record.at[graph->target.at[edge]] == RECORD_ROOT;
    }
    return !wrong;
}

static int
types_and_codes_fit(const struct heapgraph *graph)
{
    for (size_t i = 0; i < graph->types.n; i++) {
        const struct type_info *type = &graph->types.at[i];
        if (!is_name(graph, type->module) || !is_name(graph, type->qualname) ||
            type->class_id >= graph->types.n || !is_node_or_none(graph, type->node)) {
            return 0;
        }
    }
    for (size_t i = 0; i < graph->codes.n; i++) {
        const struct code_info *code = &graph->codes.at[i];
        if (!is_name(graph, code->qualname) || !is_name(graph, code->filename) ||
            !is_name(graph, code->basename) || code->class_id >= graph->codes.n ||
            !is_node_or_none(graph, code->node)) {
            return 0;
        }
    }
    return 1;
}

/* Each frame and each root stands here once, in the order of the nodes. */
static int
frames_and_roots_fit(const struct heapgraph *graph)
{
    int32_t last = NO_NODE;
    for (size_t i = 0; i < graph->frames.n; i++) {
        const struct frame_info *frame = &graph->frames.at[i];
        int known = frame->code == NO_CODE ||
                    (frame->code >= 0 && (size_t)frame->code < graph->codes.n);
        if (!known || frame->node <= last || !is_node(graph, frame->node) ||
            graph->record.at[frame->node] != RECORD_FRAME) {
            return 0;
        }
        last = frame->node;
    }
    last = NO_NODE;
    for (size_t i = 0; i < graph->roots.n; i++) {
        const struct root_info *root = &graph->roots.at[i];
        if (root->node <= last || !is_node(graph, root->node) ||
            graph->record.at[root->node] != RECORD_ROOT ||
            !is_name(graph, root->name)) {
            return 0;
        }
        last = root->node;
    }
    return 1;
}

static int
nodes_ascend(const struct heapgraph *graph, const struct vec_i32 *nodes)
{
    int32_t last = NO_NODE;
    for (size_t i = 0; i < nodes->n; i++) {
        if (nodes->at[i] <= last || !is_node(graph, nodes->at[i])) {
            return 0;
        }
        last = nodes->at[i];
    }
    return 1;
}

static int
rest_fits(const struct heapgraph *graph)
{
    for (size_t i = 0; i < graph->modules.n; i++) {
        const struct module_info *module = &graph->modules.at[i];
        if (!is_node(graph, module->node) || !is_name(graph, module->name) ||
            !is_node_or_none(graph, module->namespace) ||
            !is_name(graph, module->filename)) {
            return 0;
        }
    }
    for (size_t i = 0; i < graph->warnings.n; i++) {
        if (!is_name(graph, graph->warnings.at[i])) {
            return 0;
        }
    }
    for (size_t i = 0; i < graph->preview_name.n; i++) {
        if (!is_name(graph, graph->preview_name.at[i])) {
            return 0;
        }
    }
    return nodes_ascend(graph, &graph->content_node) &&
           nodes_ascend(graph, &graph->preview_node);
}

/* Make the table of names from their texts: only so is each known to be there once. */
static int
make_names(struct heapgraph *graph, const struct vec_u8 *bytes,
           const struct vec_u64 *ends)
{
    struct textpool *names = &graph->names;
    if (ends->n == 0 || ends->n > UINT32_MAX || ends->at[0] != 0 ||
        ends->at[ends->n - 1] != bytes->n) {
        return heapgraph_corrupt(graph, "names of another length");
    }
    if (textpool_init(names) < 0) {
        return GRAPH_NO_MEMORY;
    }
    for (size_t i = 1; i < ends->n; i++) {
        uint64_t begin = ends->at[i - 1];
        uint64_t end = ends->at[i];
        uint32_t name = 0;
        int rc = begin < end && end <= bytes->n
                     ? textpool_add(names, bytes->at + begin, end - begin, &name)
                     : 0;
        if (rc == TEXTPOOL_NO_MEMORY) {
            return GRAPH_NO_MEMORY;
        }
        if (name != i) {
            return heapgraph_corrupt(graph, "name %zu is none of its own", i);
        }
    }
    return 0;
}

static int
check(struct heapgraph *graph)
{
    if (!lengths_fit(graph)) {
        return heapgraph_corrupt(graph, "columns of different lengths");
    }
    if (!nodes_fit(graph) || !edges_fit(graph) || !types_and_codes_fit(graph) ||
        !frames_and_roots_fit(graph) || !rest_fits(graph)) {
        return heapgraph_corrupt(graph, "columns that lead out of the graph");
    }
    return 0;
}

int
sections_borrow(struct heapgraph *graph, const void *const *places,
                const size_t *counts)
{
    for (size_t i = 0; i < N_SECTIONS; i++) {
        *sections_at(graph, i) =
            (struct vec_u8){(uint8_t *)places[i], counts[i], counts[i]};
    }
    struct vec_u8 bytes = graph->names.bytes;
    struct vec_u64 ends = graph->names.end;
    memset(&graph->names, 0, sizeof(graph->names));
    int rc = make_names(graph, &bytes, &ends);
    if (rc == 0) {
        rc = check(graph);
    }
    graph->complete = 1;
    return rc;
}

void
sections_return(struct heapgraph *graph)
{
    struct textpool names = graph->names;
    for (size_t i = 0; i < N_SECTIONS; i++) {
        memset(sections_at(graph, i), 0, sizeof(struct vec_u8));
    }
    graph->names = names;
    heapgraph_clear(graph);
}
