#include "resolve.h"

#include <string.h>

#include "addrmap.h"
#include "owning.h"

static int
build_map(struct heapgraph *graph, struct addrmap *map)
{
    int rc = addrmap_build(map, graph->address.at, graph->address.n);
    switch (rc) {
    case ADDRMAP_NO_MEMORY:
        return GRAPH_NO_MEMORY;
    case ADDRMAP_DUPLICATE:
        return heapgraph_corrupt(graph, "two nodes at one address");
    case ADDRMAP_CROWDED:
        return heapgraph_corrupt(graph, "addresses chosen to collide");
    default:
        return 0;
    }
}

/* Turn addresses into nodes. Edges to no node are dropped and the rows close up, so
 * a key that goes leaves its value without a name. */
static int
resolve_targets(struct heapgraph *graph, struct addrmap *map)
{
    size_t n_nodes = graph->address.n;
    size_t n_edges = graph->target_address.n;
    int32_t *target = malloc((n_edges + 1) * sizeof(*target));
    uint8_t *kind = graph->edge_kind.at;
    uint32_t *name = graph->edge_name.at;
    size_t kept = 0;
    size_t edge = 0;
    if (target == NULL) {
        return GRAPH_NO_MEMORY;
    }
    addrmap_find_all(map, graph->target_address.at, n_edges, target);
    for (size_t node = 0; node < n_nodes; node++) {
        size_t end = graph->row.at[node + 1];
        int key_dropped = 0;
        graph->row.at[node] = (uint32_t)kept;
        for (; edge < end; edge++) {
            int32_t to = target[edge];
            if (edge + AHEAD < n_edges && target[edge + AHEAD] >= 0) {
                __builtin_prefetch(&graph->record.at[target[edge + AHEAD]]);
            }
            if (to >= 0 && graph->record.at[to] != RECORD_ROOT) {
                int orphan = kind[edge] == EDGE_VALUE && key_dropped;
                target[kept] = to;
                kind[kept] = orphan ? EDGE_ITEM : kind[edge];
                name[kept] = name[edge];
                kept++;
                key_dropped = 0;
            }
            else {
                key_dropped = kind[edge] == EDGE_KEY;
                graph->n_unknown_targets++;
            }
        }
    }
    graph->row.at[n_nodes] = (uint32_t)kept;
    free(graph->target_address.at);
    memset(&graph->target_address, 0, sizeof(graph->target_address));
    graph->target = (struct vec_i32){target, kept, n_edges + 1};
    graph->edge_kind.n = kept;
    graph->edge_name.n = kept;
    return 0;
}

/* Name each dict value after its key, where the key's text is known. */
static int
name_values(struct heapgraph *graph, struct addrmap *map)
{
    uint32_t *text = calloc(graph->address.n + 1, sizeof(*text));
    if (text == NULL) {
        return GRAPH_NO_MEMORY;
    }
    for (size_t i = 0; i < graph->strings.n; i++) {
        int32_t node = addrmap_find(map, graph->strings.at[i].address);
        if (node >= 0) {
            text[node] = graph->strings.at[i].name;
            graph->flags.at[node] |= NODE_TEXT;
        }
    }
    for (size_t edge = 1; edge < graph->target.n; edge++) {
        if (graph->edge_kind.at[edge] == EDGE_VALUE) {
            graph->edge_name.at[edge] = text[graph->target.at[edge - 1]];
        }
    }
    free(text);
    return 0;
}

static int
compare_previews(const void *left, const void *right)
{
    const struct preview_info *a = left;
    const struct preview_info *b = right;
    return a->node < b->node ? -1 : a->node > b->node;
}

static int
resolve_previews(struct heapgraph *graph, struct addrmap *map)
{
    struct vec_preview *previews = &graph->previews;
    for (size_t i = 0; i < previews->n; i++) {
        previews->at[i].node = addrmap_find(map, previews->at[i].address);
    }
    if (previews->n > 0) {
        qsort(previews->at, previews->n, sizeof(*previews->at), compare_previews);
    }
    int32_t last = NO_NODE;
    for (size_t i = 0; i < previews->n; i++) {
        const struct preview_info *preview = &previews->at[i];
        if (preview->node < 0 || graph->record.at[preview->node] == RECORD_ROOT) {
            continue;
        }
        if (preview->node == last) {
            return heapgraph_corrupt(graph, "two previews of one object");
        }
        last = preview->node;
        if (vec_i32_push(&graph->preview_node, preview->node) < 0 ||
            vec_u8_push(&graph->preview_kind, (uint8_t)preview->kind) < 0 ||
            vec_u64_push(&graph->preview_length, preview->length) < 0 ||
            vec_u32_push(&graph->preview_name, preview->name) < 0) {
            return GRAPH_NO_MEMORY;
        }
    }
    free(previews->at);
    *previews = (struct vec_preview){0};
    return 0;
}

static void
name_locals(struct heapgraph *graph, const struct frame_info *frame)
{
    const struct code_info *code =
        frame->code == NO_CODE ? NULL : &graph->codes.at[frame->code];
    uint32_t end = graph->row.at[frame->node + 1];
    for (uint32_t edge = graph->row.at[frame->node]; edge < end; edge++) {
        uint8_t kind = graph->edge_kind.at[edge];
        if (kind == EDGE_LOCAL || kind == EDGE_BORROWED) {
            uint32_t index = graph->edge_name.at[edge];
            int known = code != NULL && index < code->n_locals;
            graph->edge_name.at[edge] =
                known ? graph->locals.at[code->first_local + index] : 0;
        }
    }
}

/* A frame knows its code by address, so it finds a CODE whose object is not there. */
struct code_by_address {
    uint64_t address;
    int32_t code;
};

static int
compare_by_address(const void *left, const void *right)
{
    const struct code_by_address *a = left;
    const struct code_by_address *b = right;
    if (a->address != b->address) {
        return a->address < b->address ? -1 : 1;
    }
    return a->code < b->code ? -1 : a->code > b->code;
}

static int
resolve_frames(struct heapgraph *graph)
{
    size_t n = graph->codes.n;
    struct code_by_address *index = malloc((n + 1) * sizeof(*index));
    if (index == NULL) {
        return GRAPH_NO_MEMORY;
    }
    for (size_t i = 0; i < n; i++) {
        index[i] = (struct code_by_address){graph->codes.at[i].address, (int32_t)i};
    }
    qsort(index, n, sizeof(*index), compare_by_address);
    for (size_t i = 0; i < graph->frames.n; i++) {
        struct frame_info *frame = &graph->frames.at[i];
        size_t low = 0;
        size_t high = n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (index[middle].address < frame->code_address) {
                low = middle + 1;
            }
            else {
                high = middle;
            }
        }
        if (low < n && index[low].address == frame->code_address &&
            frame->code_address != 0) {
            frame->code = index[low].code;
        }
        name_locals(graph, frame);
    }
    free(index);
    return 0;
}

/* Name the cells of a closure after the free variables of its function's code; of two
 * functions with one closure the first does. */
static void
name_cells(struct heapgraph *graph, int32_t closure, const struct code_info *code)
{
    uint32_t edge = graph->row.at[closure];
    uint32_t end = graph->row.at[closure + 1];
    if (graph->record.at[closure] != RECORD_ITEMS || end - edge != code->n_free ||
        code->n_free > code->n_locals || edge == end ||
        graph->edge_kind.at[edge] == EDGE_CELL) {
        return;
    }
    size_t local = code->first_local + code->n_locals - code->n_free;
    for (; edge < end; edge++, local++) {
        graph->edge_kind.at[edge] = EDGE_CELL;
        graph->edge_name.at[edge] = graph->locals.at[local];
    }
}

static void
resolve_closures(struct heapgraph *graph)
{
    uint32_t closure_name = textpool_find(&graph->names, "__closure__");
    uint32_t code_name = textpool_find(&graph->names, "__code__");
    if (closure_name == 0 || code_name == 0) {
        return;
    }
    for (int32_t node = 0; node < (int32_t)graph->address.n; node++) {
        if (graph->record.at[node] != RECORD_FIELDS) {
            continue;
        }
        int64_t closure = heapgraph_internal(graph, node, closure_name);
        int64_t code = closure < 0 ? -1 : heapgraph_internal(graph, node, code_name);
        if (code < 0) {
            continue;
        }
        const struct code_info *info = heapgraph_code(graph, graph->target.at[code]);
        if (info != NULL) {
            name_cells(graph, graph->target.at[closure], info);
        }
    }
}

/* Give things with equal names the number of the first of them. The table is open
 * addressing over pairs of names, which are small numbers. */
struct pair_table {
    uint64_t *keys;
    uint32_t *values;
    size_t n_slots;
    struct probes probes;
};

static int
pair_table_init(struct pair_table *table, size_t n)
{
    table->n_slots = 64;
    while (table->n_slots < n * 2) {
        table->n_slots *= 2;
    }
    table->keys = calloc(table->n_slots, sizeof(*table->keys));
    table->values = calloc(table->n_slots, sizeof(*table->values));
    return table->keys == NULL || table->values == NULL ? GRAPH_NO_MEMORY : 0;
}

/* Free the table. Returns rc, or GRAPH_CORRUPT if the answers cannot be believed. */
static int
pair_table_end(struct pair_table *table, struct heapgraph *graph, int rc)
{
    free(table->keys);
    free(table->values);
    if (rc == 0 && probes_too_many(&table->probes)) {
        return heapgraph_corrupt(graph, "names chosen to collide");
    }
    return rc;
}

static uint32_t
pair_table_first(struct pair_table *table, uint32_t a, uint32_t b, uint32_t value)
{
    uint64_t key = ((uint64_t)a << 32 | b) + 1;
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    size_t i = (hash ^ (hash >> 29)) & (table->n_slots - 1);
    table->probes.lookups++;
    for (; table->keys[i] != 0 && table->keys[i] != key; table->probes.steps++) {
        if (probes_too_many(&table->probes)) {
            return value;
        }
        i = (i + 1) & (table->n_slots - 1);
    }
    if (table->keys[i] == 0) {
        table->keys[i] = key;
        table->values[i] = value;
    }
    return table->values[i];
}

static int
resolve_types(struct heapgraph *graph, struct addrmap *map)
{
    struct pair_table table = {0};
    int rc = pair_table_init(&table, graph->types.n);
    for (size_t i = 1; rc == 0 && i < graph->types.n; i++) {
        struct type_info *type = &graph->types.at[i];
        type->class_id =
            pair_table_first(&table, type->module, type->qualname, (uint32_t)i);
        type->node = addrmap_find(map, type->address);
        if (type->node >= 0) {
            struct node_index entry = {type->node, (int32_t)i};
            graph->flags.at[type->node] |= NODE_TYPE;
            rc = vec_node_index_push(&graph->type_of_node, entry);
        }
    }
    node_index_sort(&graph->type_of_node);
    return pair_table_end(&table, graph, rc);
}

static int
basename_of(struct heapgraph *graph, uint32_t filename, uint32_t *basename)
{
    size_t length;
    const uint8_t *text = textpool_get(&graph->names, filename, &length);
    size_t begin = length;
    while (begin > 0 && text[begin - 1] != '/' && text[begin - 1] != '\\') {
        begin--;
    }
    if (begin == 0) {
        *basename = filename;
        return 0;
    }
    /* The pool's bytes may move while it grows: work on a copy. */
    length -= begin;
    uint8_t *copy = malloc(length + 1);
    if (copy == NULL) {
        return GRAPH_NO_MEMORY;
    }
    memcpy(copy, text + begin, length);
    int rc = textpool_add(&graph->names, copy, length, basename);
    free(copy);
    if (rc == TEXTPOOL_CROWDED) {
        return heapgraph_corrupt(graph, "texts chosen to collide");
    }
    return rc < 0 ? GRAPH_NO_MEMORY : 0;
}

static int
resolve_codes(struct heapgraph *graph, struct addrmap *map)
{
    struct pair_table table = {0};
    int rc = pair_table_init(&table, graph->codes.n);
    for (size_t i = 0; rc == 0 && i < graph->codes.n; i++) {
        struct code_info *code = &graph->codes.at[i];
        code->node = addrmap_find(map, code->address);
        rc = basename_of(graph, code->filename, &code->basename);
        code->class_id =
            pair_table_first(&table, code->qualname, code->basename, (uint32_t)i);
        if (rc == 0 && code->node >= 0) {
            struct node_index entry = {code->node, (int32_t)i};
            rc = vec_node_index_push(&graph->code_of_node, entry);
        }
    }
    node_index_sort(&graph->code_of_node);
    return pair_table_end(&table, graph, rc);
}

static int
flag_nodes(struct heapgraph *graph)
{
    size_t n = graph->address.n;
    graph->flags.at = calloc(n + 1, sizeof(*graph->flags.at));
    if (graph->flags.at == NULL) {
        return GRAPH_NO_MEMORY;
    }
    graph->flags.n = n;
    graph->flags.capacity = n + 1;
    for (size_t node = 0; node < n; node++) {
        uint8_t record = graph->record.at[node];
        int object = record != RECORD_ROOT && record != RECORD_FRAME;
        int immortal = object && graph->refcount.at[node] == 0;
        int type = (graph->types.at[graph->type.at[node]].flags & TYPE_METATYPE) != 0;
        graph->flags.at[node] =
            (uint16_t)((immortal ? NODE_IMMORTAL : 0) | (type ? NODE_TYPE : 0));
    }
    return 0;
}

int
resolve_graph(struct heapgraph *graph)
{
    struct addrmap map = {0};
    int rc = build_map(graph, &map);
    if (rc == 0) {
        rc = resolve_targets(graph, &map);
    }
    if (rc == 0) {
        rc = flag_nodes(graph);
    }
    if (rc == 0) {
        rc = name_values(graph, &map);
    }
    if (rc == 0) {
        rc = resolve_previews(graph, &map);
    }
    if (rc == 0) {
        rc = resolve_types(graph, &map);
    }
    if (rc == 0) {
        rc = resolve_codes(graph, &map);
    }
    if (rc == 0 && addrmap_crowded(&map)) {
        rc = heapgraph_corrupt(graph, "addresses chosen to collide");
    }
    addrmap_clear(&map);
    for (size_t i = 0; i < graph->roots.n; i++) {
        graph->address.at[graph->roots.at[i].node] -= END_OF_ADDRESSES;
    }
    if (rc == 0) {
        rc = resolve_frames(graph);
    }
    if (rc == 0) {
        resolve_closures(graph);
        rc = owning_decide(graph);
    }
    return rc;
}
