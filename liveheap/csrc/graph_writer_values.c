/* The records that hold contents, under scope values alone: PREVIEW.
 *
 * While the heap is walked, what has a content is noted, and what a name leads to of
 * which discretion.h says that its value is nobody's business.  The contents are read
 * when all names have been seen, for one object may have several: a token that some
 * list holds, too, is still a token.
 *
 * What such a name leads to is silent, and so is everything inside of it: the items and
 * keys of a container, down to the last, and the attributes of an object with the
 * containers in them.  There it ends, since behind the attributes of one object lies
 * the whole program.  Modules, types, functions and frames are never gone into.
 *
 * An object that was only guessed from the allocator's blocks (walker_blocks.c) has no
 * content here: it may be what freed memory looks like.
 */
#include "graph_writer.h"

#include <string.h>

#include "discretion.h"

enum preview_kind {
    PREVIEW_STR = 1,
    PREVIEW_BYTES = 2,
    PREVIEW_BYTEARRAY = 3,
    PREVIEW_INT = 4,
    PREVIEW_FLOAT = 5,
};

#define PREVIEW_CHARACTERS ((size_t)64)
#define PREVIEW_BYTES_MAX (4 * PREVIEW_CHARACTERS)
#define WHOLE_TYPE UINTPTR_MAX /* among the fields of a type: all of its objects */

int
writer_values_open(struct walk *walk)
{
    struct values *values = &walk->values;
    struct vector *vectors[] = {&values->contents, &values->silent, &values->inside,
                                &values->fields, &values->first_field};
    for (size_t i = 0; i < HEAP_LENGTH(vectors); i++) {
        if (vector_init(vectors[i], &walk->memory, 4096) < 0) {
            return -1;
        }
    }
    return bitmap_init(&values->found);
}

void
writer_values_close(struct walk *walk)
{
    struct values *values = &walk->values;
    if (values->contents.memory == NULL) {
        return;
    }
    vector_free(&values->contents);
    vector_free(&values->silent);
    vector_free(&values->inside);
    vector_free(&values->fields);
    vector_free(&values->first_field);
    bitmap_free(&values->found);
}

/* ---- names ---- */

static bool
is_discreet(PyObject *name)
{
    if (name == NULL) {
        return false;
    }
    if (PyBytes_Check(name)) {
        return discreet_name((const uint8_t *)PyBytes_AS_STRING(name),
                             (size_t)Py_SIZE(name));
    }
    struct heap_text text;
    if (!PyUnicode_Check(name) || !heap_str_text(name, &text)) {
        return false;
    }
    if (text.kind == 1) {
        return discreet_name(text.data, text.length);
    }
    uint8_t bytes[NAME_TEXT_MAX];
    Py_ssize_t length = names_utf8(name, bytes, sizeof(bytes));
    return length > 0 && discreet_name(bytes, (size_t)length);
}

static inline void
silence(struct walk *walk, uintptr_t object)
{
    if (object != 0) {
        vector_push(&walk->values.silent, object);
    }
}

struct field_at {
    const struct type_entry *entry;
    size_t index;
};

/* An attribute that is no identifier has no name in a graph; here its key counts. */
static PyObject *
attribute_key(const struct field_at *at)
{
    size_t first = at->entry->n_slots;
    if (at->index < first || at->index >= first + at->entry->n_values) {
        return NULL;
    }
    PyDictKeysObject *keys = heap_cached_keys(at->entry->type);
    return heap_keys_unicode_entries(keys)[at->index - first].me_key;
}

static void
note_field(struct walk *walk, void *argument, enum field_kind kind, PyObject *name,
           const char *text)
{
    struct field_at *at = argument;
    (void)kind;
    PyObject *key = name != NULL ? name : attribute_key(at);
    bool discreet = text != NULL && discreet_name((const uint8_t *)text, strlen(text));
    if (discreet || is_discreet(key)) {
        vector_push(&walk->values.fields, at->index);
    }
    at->index++;
}

void
writer_values_type(struct walk *walk, const struct type_entry *entry)
{
    struct values *values = &walk->values;
    struct field_at at = {.entry = entry};
    const char *name = entry->type->tp_name;
    vector_push(&values->first_field, values->fields.n);
    types_visit_fields(walk, entry, note_field, &at);
    if (entry->is_heap && !entry->is_ours &&
        discreet_name((const uint8_t *)name, strlen(name))) {
        vector_push(&values->fields, WHOLE_TYPE);
    }
}

/* ---- the references of one node ---- */

static void
note_fields(struct walk *walk, const struct node *node)
{
    const struct values *values = &walk->values;
    const uintptr_t *refs = walk->refs.items + (node->streamed ? 0 : node->n_items);
    size_t id = node->entry->id;
    size_t end =
        id < values->first_field.n ? values->first_field.items[id] : values->fields.n;
    for (size_t i = values->first_field.items[id - 1]; i < end; i++) {
        uintptr_t field = values->fields.items[i];
        if (field == WHOLE_TYPE) {
            silence(walk, (uintptr_t)node->object);
        }
        else if (field < node->n_fields) {
            silence(walk, refs[field]);
        }
    }
}

static void
note_pairs(struct walk *walk, const uintptr_t *refs, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (is_discreet((PyObject *)refs[i])) {
            silence(walk, refs[i + 1]);
        }
    }
}

static void
note_items(struct walk *walk, const struct node *node)
{
    enum container container = node->entry->container;
    if (node->streamed) {
        uintptr_t refs[TAKE_MAX + 1];
        size_t position = 0, n;
        while (container == CONTAINER_DICT &&
               (n = edges_take(node->object, container, &position, refs)) > 0) {
            note_pairs(walk, refs, n);
        }
    }
    else if (container == CONTAINER_DICT) {
        note_pairs(walk, walk->refs.items, node->n_items);
    }
    else if (node->n_items == 2 && container != CONTAINER_SET) {
        note_pairs(walk, walk->refs.items,
                   2); /* ("cookie", ...) in a list of headers */
    }
}

static PyObject *
local_name(PyCodeObject *code, size_t index)
{
    PyObject *tuples[3];
    int n_tuples = heap_code_local_names(code, tuples);
    for (int t = 0; t < n_tuples; t++) {
        size_t n = (size_t)PyTuple_GET_SIZE(tuples[t]);
        if (index < n) {
            return PyTuple_GET_ITEM(tuples[t], (Py_ssize_t)index);
        }
        index -= n;
    }
    return NULL;
}

static void
note_frame(struct walk *walk, const struct node *node)
{
    const uintptr_t *refs = walk->refs.items;
    const uintptr_t *borrowed = refs + node->n_items + node->n_fields;
    for (size_t i = 0; node->code != NULL && i < node->n_items; i++) {
        if (refs[i] != 0 && is_discreet(local_name(node->code, i))) {
            silence(walk, refs[i]);
        }
    }
    for (size_t i = 0; node->code != NULL && i < node->n_borrowed; i++) {
        if (is_discreet(local_name(node->code, borrowed[2 * i]))) {
            silence(walk, borrowed[2 * i + 1]);
        }
    }
}

/* The elements of a tuple are what names of a code from this one on stand for. */
static void
note_variables(struct walk *walk, PyObject *tuple, PyCodeObject *code, size_t first)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (is_discreet(local_name(code, first + (size_t)i))) {
            silence(walk, (uintptr_t)PyTuple_GET_ITEM(tuple, i));
        }
    }
}

static void
note_function(struct walk *walk, PyObject *object)
{
    const PyFunctionObject *function = (PyFunctionObject *)object;
    PyCodeObject *code = (PyCodeObject *)function->func_code;
    PyObject *closure = function->func_closure;
    PyObject *defaults = function->func_defaults;
    if (code == NULL || !PyCode_Check(code)) {
        return;
    }
    if (closure != NULL && PyTuple_Check(closure)) {
        size_t n_locals = 0;
        while (local_name(code, n_locals) != NULL) {
            n_locals++;
        }
        size_t n_free = (size_t)PyTuple_GET_SIZE(closure);
        note_variables(walk, closure, code, n_locals < n_free ? 0 : n_locals - n_free);
    }
    if (defaults != NULL && PyTuple_Check(defaults)) {
        size_t n = (size_t)PyTuple_GET_SIZE(defaults);
        size_t n_arguments = (size_t)code->co_argcount;
        note_variables(walk, defaults, code, n_arguments < n ? 0 : n_arguments - n);
    }
}

static bool
has_content(PyObject *object)
{
    return PyUnicode_Check(object) || PyBytes_Check(object) || PyFloat_Check(object) ||
           PyByteArray_Check(object) || (PyLong_Check(object) && !PyBool_Check(object));
}

void
writer_note_values(struct walk *walk, const struct node *node)
{
    if (walk->guesses || walk->memory.failed) {
        return;
    }
    if (node->entry != NULL && has_content(node->object)) {
        vector_push(&walk->values.contents, (uintptr_t)node->object);
    }
    if (node->form == NODE_FRAME) {
        note_frame(walk, node);
        return;
    }
    if (node->n_items > 0) {
        note_items(walk, node);
    }
    note_fields(walk, node);
    if (PyFunction_Check(node->object)) {
        note_function(walk, node->object);
    }
}

/* ---- what is silent with them ---- */

static bool
is_gone_into(const struct type_entry *entry, PyObject *object)
{
    switch ((enum type_kind)entry->kind) {
    case KIND_INSTANCE:
    case KIND_CONTAINER:
    case KIND_NDARRAY:
        return true;
    case KIND_GENERIC:
        return !entry->is_module && !PyFunction_Check(object) &&
               !PyCFunction_Check(object) && !PyMethod_Check(object) &&
               !PyModule_Check(object);
    default:
        return false;
    }
}

/* Containers and the like: what lies in them is one with them. */
static bool
is_transparent(const struct type_entry *entry, PyObject *object)
{
    return entry->container != CONTAINER_NONE || entry->kind == KIND_NDARRAY ||
           PyCell_Check(object);
}

static int
push_visited(PyObject *object, void *into)
{
    vector_push(into, (uintptr_t)object);
    return 0;
}

static void
push_collected(struct walk *walk, struct vector *into)
{
    for (size_t i = 0; i < walk->refs.n; i++) {
        if (walk->refs.items[i] != 0) {
            vector_push(into, walk->refs.items[i]);
        }
    }
}

/* Not by edges_collect(): it has one caller, and is the faster for being inlined there.
 * What comes twice, or is a type, does no harm here. */
static void
push_references(struct walk *walk, PyObject *object, const struct type_entry *entry,
                struct vector *into)
{
    uintptr_t refs[TAKE_MAX + 1];
    size_t position = 0, n;
    while ((n = edges_take(object, entry->container, &position, refs)) > 0) {
        for (size_t i = 0; i < n; i++) {
            if (refs[i] != 0) {
                vector_push(into, refs[i]);
            }
        }
    }
    walk->refs.n = 0;
    if (entry->kind == KIND_NDARRAY) {
        struct node node = {.object = object, .entry = entry};
        edges_collect_ndarray(walk, object, entry, &node);
    }
    else if (entry->kind != KIND_CONTAINER) {
        edges_push_attributes(walk, object, entry);
    }
    push_collected(walk, into);
    if (entry->kind == KIND_GENERIC && entry->traverse != NULL) {
        if (entry->is_foreign) {
            walk_name_foreign(walk, entry);
        }
        (void)entry->traverse(object, push_visited, into);
    }
}

/* Empties the vector: marks what is in it, and what lies inside of that.  What it finds
 * in attributes goes to `attributes`, or is not looked for if that is NULL. */
static void
go_inside(struct walk *walk, struct vector *objects, struct vector *attributes)
{
    while (objects->n > 0 && !walk_failed(walk)) {
        uintptr_t address = objects->items[--objects->n];
        if (!bitmap_contains(&walk->seen, address) ||
            !bitmap_add_listed(&walk->values.found, address)) {
            continue;
        }
        PyObject *object = (PyObject *)address;
        const struct type_entry *entry = walk_type(walk, Py_TYPE(object));
        if (entry == NULL || !is_gone_into(entry, object)) {
            continue;
        }
        if (is_transparent(entry, object)) {
            push_references(walk, object, entry, objects);
        }
        else if (attributes != NULL) {
            push_references(walk, object, entry, attributes);
        }
    }
}

/* ---- PREVIEW ---- */

/* Cuts UTF-8 behind so many characters. */
static size_t
cut(const uint8_t *text, size_t length)
{
    size_t characters = 0;
    for (size_t i = 0; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80 && characters++ == PREVIEW_CHARACTERS) {
            return i;
        }
    }
    return length;
}

static size_t
latin_text(const uint8_t *bytes, size_t n, uint8_t *out)
{
    uint8_t *p = out;
    for (size_t i = 0; i < n && i < PREVIEW_CHARACTERS; i++) {
        if (bytes[i] >= 0x80) {
            *p++ = (uint8_t)(0xC0 | bytes[i] >> 6);
            *p++ = (uint8_t)(0x80 | (bytes[i] & 0x3F));
        }
        else {
            *p++ = bytes[i];
        }
    }
    return (size_t)(p - out);
}

struct preview {
    enum preview_kind kind;
    uint64_t length; /* of the content, in characters or bytes; 0 of a number */
    size_t n;
    uint8_t text[PREVIEW_BYTES_MAX];
};

static bool
str_preview(PyObject *object, struct preview *preview)
{
    struct heap_text text;
    Py_ssize_t n = names_utf8(object, preview->text, sizeof(preview->text));
    if (n < 0 || !heap_str_text(object, &text)) {
        return false;
    }
    preview->kind = PREVIEW_STR;
    preview->length = text.length;
    preview->n = cut(preview->text, (size_t)n);
    return !discreet_text(preview->text, preview->n);
}

static bool
bytes_preview(enum preview_kind kind, const char *bytes, Py_ssize_t n,
              struct preview *preview)
{
    preview->kind = kind;
    preview->length = (uint64_t)n;
    preview->n = latin_text((const uint8_t *)bytes, (size_t)n, preview->text);
    return !discreet_text(preview->text, preview->n);
}

static size_t
decimal(uint64_t number, bool negative, uint8_t *out)
{
    uint8_t digits[20];
    size_t n = 0, used = 0;
    do {
        digits[n++] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    if (negative) {
        out[used++] = '-';
    }
    while (n > 0) {
        out[used++] = digits[--n];
    }
    return used;
}

/* Of an int beyond 64 bits nothing is said: to write it out would take its digits. */
static bool
int_preview(PyObject *object, struct preview *preview)
{
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    preview->kind = PREVIEW_INT;
    preview->length = 0;
    preview->n = decimal(magnitude, value < 0, preview->text);
    return overflow == 0;
}

/* As C writes it with %a, which would ask the locale for its point: exact, and nothing
 * is rounded here. */
static bool
float_preview(PyObject *object, struct preview *preview)
{
    double value = PyFloat_AS_DOUBLE(object);
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    unsigned exponent = (unsigned)(bits >> 52) & 0x7FF;
    uint8_t *p = preview->text;
    preview->kind = PREVIEW_FLOAT;
    preview->length = 0;
    if ((bits >> 63) != 0) {
        *p++ = '-';
    }
    if (exponent == 0x7FF) {
        memcpy(p, fraction == 0 ? "inf" : "nan", 3);
        preview->n = (size_t)(p + 3 - preview->text);
        return true;
    }
    memcpy(p, exponent == 0 ? "0x0." : "0x1.", 4);
    p += 4;
    for (int shift = 48; shift >= 0; shift -= 4) {
        *p++ = (uint8_t)"0123456789abcdef"[fraction >> shift & 15];
    }
    int power = exponent == 0 ? -1022 : (int)exponent - 1023;
    *p++ = 'p';
    p += decimal((uint64_t)(power < 0 ? -power : power), power < 0, p);
    preview->n = (size_t)(p - preview->text);
    return true;
}

static bool
make_preview(PyObject *object, struct preview *preview)
{
    if (PyUnicode_Check(object)) {
        return str_preview(object, preview);
    }
    if (PyBytes_Check(object)) {
        return bytes_preview(PREVIEW_BYTES, PyBytes_AS_STRING(object), Py_SIZE(object),
                             preview);
    }
    if (PyByteArray_Check(object)) {
        return bytes_preview(PREVIEW_BYTEARRAY, PyByteArray_AS_STRING(object),
                             Py_SIZE(object), preview);
    }
    return PyLong_Check(object) ? int_preview(object, preview)
                                : float_preview(object, preview);
}

static void
write_preview(struct walk *walk, uintptr_t address, const struct preview *preview)
{
    struct values *values = &walk->values;
    uint8_t *p =
        writer_begin_meta(walk, META_PREVIEW, 4 * VARINT_MAX + PREVIEW_BYTES_MAX);
    p = put_varint(p, zigzag((int64_t)((address >> 3) - values->previous)));
    p = put_varint(p, preview->kind);
    p = put_varint(p, preview->length);
    p = put_varint(p, preview->n);
    memcpy(p, preview->text, preview->n);
    sink_commit(walk->sink, p + preview->n);
    values->previous = address >> 3;
}

void
writer_values(struct walk *walk)
{
    struct values *values = &walk->values;
    struct preview preview;
    go_inside(walk, &values->silent, &values->inside);
    go_inside(walk, &values->inside, NULL);
    for (size_t i = 0; i < values->contents.n && !walk_failed(walk); i++) {
        uintptr_t address = values->contents.items[i];
        if (!bitmap_is_listed(&values->found, address) &&
            make_preview((PyObject *)address, &preview)) {
            write_preview(walk, address, &preview);
        }
    }
}
