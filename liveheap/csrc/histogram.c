/* Counts and bytes by type.  Bare frames are no objects and are not counted. */
#include "graph_writer.h"

static void
on_type(struct walk *walk, struct type_entry *entry)
{
    (void)walk;
    (void)entry;
}

static void
on_code(struct walk *walk, PyCodeObject *code)
{
    (void)walk;
    (void)code;
}

static void
on_node(struct walk *walk, const struct node *node)
{
    if (node->entry == NULL) {
        walk->nodes--;
        walk->bytes -= node->size;
        return;
    }
    struct type_entry *entry = &walk->types[node->entry->id - 1];
    entry->count++;
    entry->bytes += node->size;
}

static void
on_root(struct walk *walk, const struct root *root)
{
    (void)walk;
    (void)root;
}

static void
on_end(struct walk *walk)
{
    for (size_t i = 0; i < walk->n_types; i++) {
        struct type_entry *entry = &walk->types[i];
        writer_type(walk, entry, false);
        uint8_t *p = writer_begin_meta(walk, META_COUNT, 3 * VARINT_MAX);
        p = put_varint(p, entry->id);
        p = put_varint(p, entry->count);
        p = put_varint(p, entry->bytes);
        sink_commit(walk->sink, p);
    }
    writer_end(walk);
}

const struct visitor histogram_writer = {
    .wants_names = false,
    .on_type = on_type,
    .on_code = on_code,
    .on_node = on_node,
    .on_root = on_root,
    .on_warning = writer_warning,
    .on_end = on_end,
};
