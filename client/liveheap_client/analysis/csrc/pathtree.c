#include "pathsearch.h"

#include <string.h>

enum { FOLD_STEPS = 4 };

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
find_child(struct search *search, const struct child_key *key)
{
    size_t i = key_slot(search, key);
    search->probes.lookups++;
    while (search->slots[i].node != 0 && !same_key(&search->slots[i].key, key)) {
        search->probes.steps++;
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

int32_t
pathtree_new(struct search *search, const struct child_key *key)
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

int32_t
pathtree_child(struct search *search, struct child_key *key)
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
    if (probes_too_many(&search->probes)) {
        out->truncated = 1;
        return search->deep;
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
            node = pathtree_new(search, key);
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

int
pathtree_init(struct search *search)
{
    search->last_key.parent = -2;
    return grow_children(search);
}

void
pathtree_clear(struct search *search)
{
    free(search->slots);
    search->slots = NULL;
}
