#include "pathnodes.h"

#include <string.h>

enum { FOLD_STEPS = 4 };

/* Claimed by an entry which has not had its turn. */
#define PENDING_EDGE (NO_EDGE - 1)

struct child_key {
    int32_t parent;
    uint32_t name;
    uint32_t type;
    int32_t code;
    uint32_t label;
};

struct child_slot {
    struct child_key key;
    int32_t node; /* + 1; 0 is free */
};

struct search {
    const struct heapgraph *graph;
    const struct path_plan *plan;
    struct pathnodes *out;

    int32_t *queue;
    size_t n_queue;

    struct child_slot *slots;
    size_t n_slots;
    size_t n_children;
    struct child_key last_key;
    int32_t last_node;
    int32_t deep; /* what takes the rest once max_nodes is reached */
};

static uint64_t
mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static inline int
same_key(const struct child_key *a, const struct child_key *b)
{
    return a->parent == b->parent && a->name == b->name && a->type == b->type &&
           a->code == b->code && a->label == b->label;
}

static size_t
key_slot(const struct search *search, const struct child_key *key)
{
    uint64_t hash = mix((uint32_t)key->parent, key->name);
    hash = mix(hash, (uint64_t)key->type << 8 | key->label);
    hash = mix(hash, (uint32_t)key->code);
    return hash & (search->n_slots - 1);
}

static struct child_slot *
find_child(const struct search *search, const struct child_key *key)
{
    size_t i = key_slot(search, key);
    while (search->slots[i].node != 0 && !same_key(&search->slots[i].key, key)) {
        i = (i + 1) & (search->n_slots - 1);
    }
    return &search->slots[i];
}

static int
grow_children(struct search *search)
{
    size_t old_n = search->n_slots;
    struct child_slot *old = search->slots;
    search->n_slots = old_n == 0 ? 4096 : old_n * 2;
    search->slots = calloc(search->n_slots, sizeof(*search->slots));
    if (search->slots == NULL) {
        search->slots = old;
        search->n_slots = old_n;
        return GRAPH_NO_MEMORY;
    }
    for (size_t i = 0; i < old_n; i++) {
        if (old[i].node != 0) {
            *find_child(search, &old[i].key) = old[i];
        }
    }
    free(old);
    return 0;
}

static uint64_t
name_hash(const struct heapgraph *graph, uint32_t name)
{
    return graph->names.hash.at[name];
}

static uint64_t
path_key(const struct search *search, const struct child_key *key)
{
    const struct heapgraph *graph = search->graph;
    uint64_t hash = key->parent < 0 ? 0 : search->out->key.at[key->parent];
    hash = mix(mix(hash, key->label), name_hash(graph, key->name));
    if (key->type != 0) {
        const struct type_info *type = &graph->types.at[key->type];
        hash = mix(mix(hash, name_hash(graph, type->module)),
                   name_hash(graph, type->qualname));
    }
    if (key->code != NO_CODE) {
        const struct code_info *code = &graph->codes.at[key->code];
        hash = mix(mix(hash, name_hash(graph, code->qualname)),
                   name_hash(graph, code->basename));
    }
    return hash;
}

/* Append a path node; -1 if there is no memory. */
static int32_t
new_node(struct search *search, const struct child_key *key)
{
    struct pathnodes *out = search->out;
    int32_t node = (int32_t)out->parent.n;
    int top = key->parent < 0;
    uint16_t depth = top ? 0 : (uint16_t)(out->depth.at[key->parent] + 1);
    uint32_t group = top ? (uint32_t)node : out->group.at[key->parent];
    if (vec_i32_push(&out->parent, key->parent) < 0 ||
        vec_u8_push(&out->label_kind, (uint8_t)key->label) < 0 ||
        vec_u32_push(&out->label_name, key->name) < 0 ||
        vec_u32_push(&out->type, key->type) < 0 ||
        vec_i32_push(&out->code, key->code) < 0 ||
        vec_u16_push(&out->depth, depth) < 0 || vec_u32_push(&out->group, group) < 0 ||
        vec_u64_push(&out->key, path_key(search, key)) < 0 ||
        vec_u64_push(&out->count, 0) < 0 || vec_u64_push(&out->bytes, 0) < 0 ||
        vec_u64_push(&out->length, 0) < 0 || vec_u64_push(&out->max_length, 0) < 0 ||
        vec_i32_push(&out->example, NO_NODE) < 0) {
        return -1;
    }
    return node;
}

/* The path node which this child repeats, -1 if none. */
static int32_t
recursion_of(const struct search *search, const struct child_key *key)
{
    const struct pathnodes *out = search->out;
    int32_t node = key->parent;
    for (int step = 0; step < FOLD_STEPS && node >= 0; step++) {
        if (out->label_kind.at[node] == key->label &&
            out->label_name.at[node] == key->name && out->type.at[node] == key->type &&
            out->code.at[node] == key->code) {
            return node;
        }
        node = out->parent.at[node];
    }
    return -1;
}

/* The path node of a child, made if it is new; -1 if there is no memory. */
static int32_t
child_node(struct search *search, struct child_key *key)
{
    struct pathnodes *out = search->out;
    if (out->label_kind.at[key->parent] == LABEL_DEEP) {
        return key->parent;
    }
    if (out->depth.at[key->parent] >= search->plan->max_depth) {
        *key = (struct child_key){key->parent, 0, 0, NO_CODE, LABEL_DEEP};
        out->truncated = 1;
    }
    if (same_key(key, &search->last_key)) {
        return search->last_node;
    }
    if (search->n_children * 2 >= search->n_slots && grow_children(search) < 0) {
        return -1;
    }
    struct child_slot *slot = find_child(search, key);
    if (slot->node == 0) {
        int32_t node = recursion_of(search, key);
        if (node < 0 && out->parent.n >= search->plan->max_nodes) {
            out->truncated = 1;
            return search->deep;
        }
        if (node < 0) {
            node = new_node(search, key);
            if (node < 0) {
                return -1;
            }
        }
        *slot = (struct child_slot){*key, node + 1};
        search->n_children++;
    }
    search->last_key = *key;
    search->last_node = slot->node - 1;
    return search->last_node;
}

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

static void
claim(struct search *search, int32_t node, int32_t path, uint32_t edge)
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
        child = child_node(search, &key);
        if (child < 0) {
            return GRAPH_NO_MEMORY;
        }
    }
    claim(search, target, child, edge);
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

/* Search on from queue[begin] to the end, level by level. */
static int
run(struct search *search, size_t begin)
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
            claim(search, entries[i].node, (int32_t)entries[i].group, PENDING_EDGE);
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
        int rc = run(search, begin);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

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
        int32_t path = child_node(search, &key);
        if (path < 0) {
            return GRAPH_NO_MEMORY;
        }
        claim(search, node, path, NO_EDGE);
        search->queue[search->n_queue++] = node;
        if (cycles) {
            int rc = run(search, begin);
            if (rc < 0) {
                return rc;
            }
            begin = search->n_queue;
        }
    }
    return run(search, begin);
}

static int
run_leftovers(struct search *search)
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
        grow_children(search) < 0) {
        return GRAPH_NO_MEMORY;
    }
    memset(out->node_path, 0xff, (n + 1) * sizeof(*out->node_path));
    memset(out->parent_edge, 0xff, (n + 1) * sizeof(*out->parent_edge));
    search->last_key.parent = -2;
    for (size_t i = 0; i < plan->n_groups; i++) {
        struct child_key key = {
            .parent = -1,
            .label = plan->groups[i].kind,
            .name = plan->groups[i].name,
            .code = NO_CODE,
        };
        if (new_node(search, &key) < 0) {
            return GRAPH_NO_MEMORY;
        }
    }
    struct child_key deep = {.parent = -1, .label = LABEL_DEEP, .code = NO_CODE};
    search->deep = new_node(search, &deep);
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
        rc = run_leftovers(&search);
    }
    free(search.queue);
    free(search.slots);
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
