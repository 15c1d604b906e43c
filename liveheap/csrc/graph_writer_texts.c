/* The records that hold text: TEXT, TYPE, CODE, STRING, WARNING. */
#include "graph_writer.h"

#include <string.h>

uint8_t *
writer_begin_meta(struct walk *walk, enum meta_kind kind, size_t room)
{
    uint8_t *p = sink_reserve(walk->sink, VARINT_MAX + room);
    return put_varint(p, (uint64_t)kind << TAG_BITS | TAG_META);
}

static uint32_t
write_text(struct walk *walk, const void *bytes, size_t length)
{
    uint8_t *p = writer_begin_meta(walk, META_TEXT, VARINT_MAX + NAME_TEXT_MAX);
    p = put_varint(p, length);
    memcpy(p, bytes, length);
    sink_commit(walk->sink, p + length);
    return ++walk->n_texts;
}

uint32_t
writer_text(struct walk *walk, PyObject *text)
{
    if (text == NULL || !PyUnicode_Check(text)) {
        return 0;
    }
    struct name *name = names_entry(&walk->names, text);
    if (name->text == 0) {
        uint8_t bytes[NAME_TEXT_MAX];
        Py_ssize_t length = names_utf8(text, bytes, sizeof(bytes));
        if (length >= 0) {
            name->text = write_text(walk, bytes, (size_t)length);
        }
    }
    return name->text;
}

/* Cuts at a character's boundary. */
static size_t
c_text_length(const char *text, size_t length)
{
    if (length > NAME_TEXT_MAX) {
        length = NAME_TEXT_MAX;
        while (length > 0 && ((uint8_t)text[length] & 0xC0) == 0x80) {
            length--;
        }
    }
    return length;
}

static uint32_t
c_text(struct walk *walk, const char *text, size_t length, uint32_t *known)
{
    if (*known == 0) {
        *known = write_text(walk, text, c_text_length(text, length));
    }
    return *known;
}

uint32_t
writer_c_text(struct walk *walk, const char *text)
{
    if (text == NULL) {
        return 0;
    }
    struct name *name = names_entry(&walk->names, text);
    return c_text(walk, text, strnlen(text, NAME_TEXT_MAX + 1), &name->text);
}

/* ---- types ---- */

static void
type_texts(struct walk *walk, PyTypeObject *type, uint32_t *module, uint32_t *name)
{
    PyObject *text = types_module(walk, type);
    const char *full = type->tp_name;
    const char *dot = strrchr(full, '.');
    *module = writer_text(walk, text);
    if (*module == 0 && dot != NULL) {
        uint32_t fresh = 0;
        *module = c_text(walk, full, (size_t)(dot - full), &fresh);
    }
    else if (*module == 0) {
        *module = writer_c_text(walk, "builtins");
    }
    *name = 0;
    if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) {
        *name = writer_text(walk, ((PyHeapTypeObject *)type)->ht_qualname);
    }
    if (*name == 0) {
        *name = writer_c_text(walk, dot == NULL ? full : dot + 1);
    }
}

/* A first pass writes the texts, so that their records do not fall into this one. */
static void
prepare_field(struct walk *walk, void *argument, enum field_kind kind, PyObject *name,
              const char *text)
{
    (void)argument;
    (void)kind;
    (void)(name != NULL ? writer_text(walk, name) : writer_c_text(walk, text));
}

static void
write_field(struct walk *walk, void *argument, enum field_kind kind, PyObject *name,
            const char *text)
{
    (void)argument;
    uint32_t id = name != NULL ? writer_text(walk, name) : writer_c_text(walk, text);
    uint8_t *p = sink_reserve(walk->sink, 2 * VARINT_MAX);
    p = put_varint(p, kind);
    p = put_varint(p, id);
    sink_commit(walk->sink, p);
}

void
writer_type(struct walk *walk, struct type_entry *entry, bool with_fields)
{
    uint32_t module, name;
    type_texts(walk, entry->type, &module, &name);
    if (with_fields) {
        types_visit_fields(walk, entry, prepare_field, NULL);
    }
    uint8_t *p = writer_begin_meta(walk, META_TYPE, 8 * VARINT_MAX);
    p = put_varint(p, entry->id);
    p = put_varint(p, (uintptr_t)entry->type >> 3);
    p = put_varint(p, types_flags(entry));
    p = put_varint(p, (uint64_t)entry->type->tp_basicsize);
    p = put_varint(p, (uint64_t)entry->type->tp_itemsize);
    p = put_varint(p, module);
    p = put_varint(p, name);
    p = put_varint(p, with_fields ? entry->n_fields : 0);
    sink_commit(walk->sink, p);
    if (with_fields) {
        types_visit_fields(walk, entry, write_field, NULL);
    }
}

/* ---- code ---- */

static size_t
local_name_ids(struct walk *walk, PyCodeObject *code, bool write)
{
    PyObject *tuples[3];
    int n_tuples = heap_code_local_names(code, tuples);
    size_t n = 0;
    for (int t = 0; t < n_tuples; t++) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuples[t]); i++, n++) {
            uint32_t id = writer_text(walk, PyTuple_GET_ITEM(tuples[t], i));
            if (write) {
                uint8_t *p = sink_reserve(walk->sink, VARINT_MAX);
                sink_commit(walk->sink, put_varint(p, id));
            }
        }
    }
    return n;
}

void
writer_code(struct walk *walk, PyCodeObject *code)
{
    struct name *entry = names_entry(&walk->names, code);
    if ((entry->flags & NAME_CODE_WRITTEN) != 0) {
        return;
    }
    entry->flags |= NAME_CODE_WRITTEN;
    uint32_t name = writer_text(walk, heap_code_qualname(code));
    uint32_t file = writer_text(walk, code->co_filename);
    size_t n = local_name_ids(walk, code, false);
    uint8_t *p = writer_begin_meta(walk, META_CODE, 6 * VARINT_MAX);
    p = put_varint(p, (uintptr_t)code >> 3);
    p = put_varint(p, name);
    p = put_varint(p, file);
    p = put_varint(p, code->co_firstlineno < 0 ? 0 : (uint64_t)code->co_firstlineno);
    p = put_varint(p, heap_code_n_free(code));
    p = put_varint(p, n);
    sink_commit(walk->sink, p);
    (void)local_name_ids(walk, code, true);
}

/* ---- strings and warnings ---- */

void
writer_warning(struct walk *walk, const char *text)
{
    uint32_t id = writer_c_text(walk, text);
    uint8_t *p = writer_begin_meta(walk, META_WARNING, VARINT_MAX);
    sink_commit(walk->sink, put_varint(p, id));
}

static void
write_string(struct walk *walk, uintptr_t address)
{
    uint8_t bytes[NAME_TEXT_MAX];
    Py_ssize_t length = names_utf8((PyObject *)address, bytes, sizeof(bytes));
    if (length < 0) {
        return;
    }
    uint8_t *p = writer_begin_meta(walk, META_STRING, 2 * VARINT_MAX + sizeof(bytes));
    p = put_varint(p, zigzag((int64_t)((address >> 3) - walk->previous_string)));
    p = put_varint(p, (uint64_t)length);
    memcpy(p, bytes, (size_t)length);
    sink_commit(walk->sink, p + length);
    walk->previous_string = address >> 3;
}

static bool
may_leave(unsigned flags)
{
    const unsigned key_of_code = NAME_CODE | NAME_KEY;
    return (flags & NAME_IDENTIFIER) != 0 || (flags & key_of_code) == key_of_code;
}

void
writer_strings(struct walk *walk)
{
    struct vector *strings = &walk->refs;
    struct vector *room = &walk->visited;
    strings->n = 0;
    room->n = 0;
    for (size_t i = 0; i < walk->names.capacity; i++) {
        const struct name *name = &walk->names.table[i];
        if (may_leave(name->flags) && bitmap_contains(&walk->seen, name->address)) {
            vector_push(strings, name->address);
        }
    }
    if (walk->memory.failed || !vector_reserve(room, strings->n)) {
        return;
    }
    memory_sort(strings->items, room->items, strings->n);
    for (size_t i = 0; i < strings->n; i++) {
        write_string(walk, strings->items[i]);
    }
}
