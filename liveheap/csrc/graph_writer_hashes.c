/* The record that says which contents are equal: HASH.
 *
 * The contents are read and stay here.  What leaves is their length and a hash whose
 * key was made for this one walk and is in no record.
 *
 * Objects that were found in the allocator's blocks are guesses (walker_blocks.c): what
 * lies within the size that was checked may be read, and no pointer may be followed.
 */
#include "graph_writer.h"

#include <string.h>

#include "siphash.h"

enum content_kind { CONTENT_STR = 1, CONTENT_BYTES = 2 };

struct content {
    enum content_kind kind;
    uint64_t width; /* of a character; 0 for bytes */
    uint64_t length;
    const uint8_t *data;
    size_t n_bytes;
    bool is_inside; /* the data follow the object's head */
};

static bool
find_content(PyObject *object, struct content *content)
{
    if (PyBytes_Check(object)) {
        size_t n = (size_t)Py_SIZE(object);
        const void *data = ((PyBytesObject *)object)->ob_sval;
        *content = (struct content){CONTENT_BYTES, 0, n, data, n, true};
        return true;
    }
    struct heap_text text;
    if (!PyUnicode_Check(object) || !heap_str_text(object, &text)) {
        return false;
    }
    /* An interpreter keeps each str in the narrowest width that holds it, so equal
     * strs have equal widths and bytes. */
    size_t width = PyUnicode_IS_COMPACT_ASCII(object) ? 1 : text.kind;
    *content = (struct content){
        .kind = CONTENT_STR,
        .width = width,
        .length = text.length,
        .data = text.data,
        .n_bytes = text.length * width,
        .is_inside = ((PyASCIIObject *)object)->state.compact,
    };
    return true;
}

static bool
may_read(const struct walk *walk, const struct node *node,
         const struct content *content)
{
    if (!content->is_inside) {
        return !walk->guesses;
    }
    uintptr_t before = (uintptr_t)content->data - (uintptr_t)node->object;
    return before <= node->size && content->n_bytes <= node->size - before;
}

void
writer_hash(struct walk *walk, const struct node *node)
{
    struct content content;
    if (node->entry == NULL || !find_content(node->object, &content) ||
        !may_read(walk, node, &content)) {
        return;
    }
    uint64_t hash =
        siphash(walk->request->hash_key, content.width, content.data, content.n_bytes);
    uint8_t *p = writer_begin_meta(walk, META_HASH, VARINT_MAX + 1 + sizeof(hash));
    *p++ = (uint8_t)content.kind;
    p = put_varint(p, content.length);
    for (unsigned shift = 0; shift < 64; shift += 8) {
        *p++ = (uint8_t)(hash >> shift);
    }
    sink_commit(walk->sink, p);
}
