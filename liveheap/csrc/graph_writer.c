#include "graph_writer.h"

#include <string.h>

static void
on_type(struct walk *walk, struct type_entry *entry)
{
    writer_type(walk, entry, true);
}

/* ---- references ---- */

static inline uint8_t *
put_ref(uint8_t *p, uintptr_t ref, uintptr_t *previous)
{
    if (ref == 0) {
        *p++ = 0;
        return p;
    }
    uintptr_t target = ref >> 3;
    p = put_varint(p, zigzag((int64_t)(target - *previous)) + 1);
    *previous = target;
    return p;
}

#define REFS_AT_ONCE ((size_t)1024)

static void
write_refs(struct walk *walk, const uintptr_t *refs, size_t n, uintptr_t *previous)
{
    while (n > 0) {
        size_t piece = n < REFS_AT_ONCE ? n : REFS_AT_ONCE;
        uint8_t *p = sink_reserve(walk->sink, piece * VARINT_MAX);
        for (size_t i = 0; i < piece; i++) {
            p = put_ref(p, refs[i], previous);
        }
        sink_commit(walk->sink, p);
        refs += piece;
        n -= piece;
    }
}

static void
write_streamed(struct walk *walk, const struct node *node, uintptr_t *previous)
{
    uintptr_t refs[TAKE_MAX + 1];
    size_t position = 0;
    enum container container = node->entry->container;
    for (;;) {
        size_t n = edges_take(node->object, container, &position, refs);
        if (n == 0) {
            return;
        }
        write_refs(walk, refs, n, previous);
        for (size_t i = 0; container == CONTAINER_DICT && i < n; i += 2) {
            names_saw_key(&walk->names, (const void *)refs[i]);
        }
    }
}

static void
write_number(struct walk *walk, uint64_t number)
{
    uint8_t *p = sink_reserve(walk->sink, VARINT_MAX);
    sink_commit(walk->sink, put_varint(p, number));
}

static void
write_items(struct walk *walk, const struct node *node, bool pairs, uintptr_t *previous)
{
    write_number(walk, pairs ? node->n_items / 2 : node->n_items);
    if (node->streamed) {
        write_streamed(walk, node, previous);
    }
    else {
        write_refs(walk, walk->refs.items, node->n_items, previous);
    }
}

static void
write_fields(struct walk *walk, const struct node *node, uintptr_t *previous)
{
    size_t first = node->streamed ? 0 : node->n_items;
    write_number(walk, node->n_fields);
    write_refs(walk, walk->refs.items + first, node->n_fields, previous);
}

static void
write_frame(struct walk *walk, const struct node *node, uintptr_t *previous)
{
    uint8_t *p = sink_reserve(walk->sink, 2 * VARINT_MAX);
    p = put_ref(p, (uintptr_t)node->code, previous);
    p = put_varint(p, node->line > 0 ? (uint64_t)node->line : 0);
    sink_commit(walk->sink, p);
    write_items(walk, node, false, previous);
    write_fields(walk, node, previous);
    write_number(walk, node->n_borrowed);
    const uintptr_t *pairs = walk->refs.items + node->n_items + node->n_fields;
    for (size_t i = 0; i < node->n_borrowed; i++) {
        write_number(walk, pairs[2 * i]);
        write_refs(walk, &pairs[2 * i + 1], 1, previous);
    }
}

/* ---- nodes and roots ---- */

static uint8_t *
put_head(struct walk *walk, uint8_t *p, const struct node *node)
{
    uintptr_t address = (uintptr_t)node->object >> 3;
    uint64_t type = node->entry == NULL ? 0 : node->entry->id;
    p = put_varint(p, type << TAG_BITS | node->form);
    p = put_varint(p, zigzag((int64_t)(address - walk->previous_node)));
    p = put_varint(p, node->size);
    p = put_varint(p, node->refcount);
    if (node->form == NODE_COMPOUND) {
        p = put_varint(p, node->compound);
    }
    walk->previous_node = address;
    return p;
}

/* Most nodes have one short section of references: one reservation is enough. */
static void
write_short(struct walk *walk, const struct node *node)
{
    const uintptr_t *refs = walk->refs.items;
    size_t n = node->n_items + node->n_fields;
    uint8_t *p = sink_reserve(walk->sink, (n + 8) * VARINT_MAX);
    p = put_head(walk, p, node);
    if (node->form != NODE_LEAF) {
        uintptr_t previous = (uintptr_t)node->object >> 3;
        p = put_varint(p, node->form == NODE_PAIRS ? n / 2 : n);
        for (size_t i = 0; i < n; i++) {
            p = put_ref(p, refs[i], &previous);
        }
    }
    sink_commit(walk->sink, p);
}

static void
write_long(struct walk *walk, const struct node *node)
{
    uintptr_t previous = (uintptr_t)node->object >> 3;
    uint8_t *p = sink_reserve(walk->sink, 8 * VARINT_MAX);
    sink_commit(walk->sink, put_head(walk, p, node));
    switch (node->form) {
    case NODE_LEAF:
        break;
    case NODE_ITEMS:
    case NODE_PAIRS:
        write_items(walk, node, node->form == NODE_PAIRS, &previous);
        break;
    case NODE_FIELDS:
        write_fields(walk, node, &previous);
        break;
    case NODE_COMPOUND:
        write_items(walk, node, node->compound == COMPOUND_PAIRS, &previous);
        write_fields(walk, node, &previous);
        break;
    case NODE_FRAME:
        write_frame(walk, node, &previous);
        break;
    }
}

/* Not inlined, so that it is the same code with hashes and without. */
__attribute__((noinline)) static void
on_node(struct walk *walk, const struct node *node)
{
    if (node->form <= NODE_FIELDS && !node->streamed &&
        node->n_items + node->n_fields <= REFS_AT_ONCE) {
        write_short(walk, node);
    }
    else {
        write_long(walk, node);
    }
}

static void
on_node_hashing(struct walk *walk, const struct node *node)
{
    on_node(walk, node);
    writer_hash(walk, node);
}

static void
on_type_valued(struct walk *walk, struct type_entry *entry)
{
    on_type(walk, entry);
    writer_values_type(walk, entry);
}

static void
on_node_valued(struct walk *walk, const struct node *node)
{
    on_node(walk, node);
    if (walk->request->has_hash_key) {
        writer_hash(walk, node);
    }
    writer_note_values(walk, node);
}

static void
on_root(struct walk *walk, const struct root *root)
{
    size_t n = walk->refs.n;
    const uintptr_t *names = walk->ref_names.items;
    for (size_t i = 0; i < n; i++) {
        (void)writer_c_text(walk, (const char *)names[i]);
    }
    uint8_t *p = sink_reserve(walk->sink, 6 * VARINT_MAX);
    p = put_varint(p, (uint64_t)root->kind << TAG_BITS | TAG_ROOT);
    p = put_varint(p, root->id);
    p = put_varint(p, 0);
    p = put_varint(p, root->number);
    p = put_varint(p, root->flags);
    p = put_varint(p, n);
    sink_commit(walk->sink, p);
    uintptr_t previous = root->id;
    for (size_t i = 0; i < n; i++) {
        uint32_t name = writer_c_text(walk, (const char *)names[i]);
        p = sink_reserve(walk->sink, 2 * VARINT_MAX);
        p = put_varint(p, name);
        p = put_ref(p, walk->refs.items[i], &previous);
        sink_commit(walk->sink, p);
    }
}

/* ---- the end ---- */

void
writer_end(struct walk *walk)
{
    uint8_t *p = writer_begin_meta(walk, META_END, 3 * VARINT_MAX);
    p = put_varint(p, walk->nodes);
    p = put_varint(p, walk->edges);
    p = put_varint(p, walk->bytes);
    sink_commit(walk->sink, p);
}

static void
on_end(struct walk *walk)
{
    writer_strings(walk);
    if (!walk_failed(walk)) {
        writer_end(walk);
    }
}

static void
on_end_valued(struct walk *walk)
{
    writer_strings(walk);
    if (!walk_failed(walk)) {
        writer_values(walk);
    }
    if (!walk_failed(walk)) {
        writer_end(walk);
    }
}

const struct visitor graph_writer = {
    .wants_names = true,
    .on_type = on_type,
    .on_code = writer_code,
    .on_node = on_node,
    .on_root = on_root,
    .on_warning = writer_warning,
    .on_end = on_end,
};

const struct visitor graph_writer_hashing = {
    .wants_names = true,
    .on_type = on_type,
    .on_code = writer_code,
    .on_node = on_node_hashing,
    .on_root = on_root,
    .on_warning = writer_warning,
    .on_end = on_end,
};

const struct visitor graph_writer_valued = {
    .wants_names = true,
    .on_type = on_type_valued,
    .on_code = writer_code,
    .on_node = on_node_valued,
    .on_root = on_root,
    .on_warning = writer_warning,
    .on_end = on_end_valued,
};
