#include "names.h"

#include <string.h>

#define FIRST_CAPACITY ((size_t)1 << 16)
#define FILTER_BYTES ((size_t)1 << (NAME_FILTER_BITS - 3))

static struct name lost; /* where entries go when there is no memory; the walk ends */

int
names_init(struct names *names, struct memory *memory)
{
    *names = (struct names){.memory = memory, .capacity = FIRST_CAPACITY};
    names->table = memory_map(memory, FIRST_CAPACITY * sizeof(struct name));
    names->filter = memory_map(memory, FILTER_BYTES);
    if (vector_init(&names->stack, memory, 4096) < 0) {
        return -1;
    }
    return names->table == NULL || names->filter == NULL ? -1 : 0;
}

void
names_free(struct names *names)
{
    if (names->memory == NULL) {
        return;
    }
    memory_unmap(names->memory, names->table, names->capacity * sizeof(struct name));
    memory_unmap(names->memory, names->filter, FILTER_BYTES);
    vector_free(&names->stack);
}

static struct name *
find_place(struct name *table, size_t capacity, uintptr_t address)
{
    size_t i = (size_t)(names_hash((const void *)address) >> 24);
    for (;; i++) {
        struct name *place = &table[i & (capacity - 1)];
        if (place->address == address || place->address == 0) {
            return place;
        }
    }
}

static bool
grow(struct names *names)
{
    size_t capacity = names->capacity * 2;
    struct name *table = memory_map(names->memory, capacity * sizeof(struct name));
    if (table == NULL) {
        return false;
    }
    for (size_t i = 0; i < names->capacity; i++) {
        if (names->table[i].address != 0) {
            *find_place(table, capacity, names->table[i].address) = names->table[i];
        }
    }
    memory_unmap(names->memory, names->table, names->capacity * sizeof(struct name));
    names->table = table;
    names->capacity = capacity;
    return true;
}

struct name *
names_entry(struct names *names, const void *address)
{
    struct name *place = find_place(names->table, names->capacity, (uintptr_t)address);
    if (place->address != 0) {
        return place;
    }
    if (names->n * 2 >= names->capacity) {
        if (!grow(names)) {
            lost = (struct name){0};
            return &lost;
        }
        place = find_place(names->table, names->capacity, (uintptr_t)address);
    }
    place->address = (uintptr_t)address;
    names->n++;
    return place;
}

static void
add_text(struct names *names, PyObject *text)
{
    names_entry(names, text)->flags |= NAME_CODE;
    uint64_t bit = names_hash(text) >> (64 - NAME_FILTER_BITS);
    names->filter[bit >> 6] |= (uint64_t)1 << (bit & 63);
}

static void
add_constant(struct names *names, PyObject *object)
{
    if (object == NULL) {
        return;
    }
    if (PyUnicode_CheckExact(object)) {
        add_text(names, object);
    }
    else if (PyTuple_CheckExact(object) || PyFrozenSet_CheckExact(object) ||
             PyCode_Check(object)) {
        vector_push(&names->stack, (uintptr_t)object);
    }
}

static void
add_parts(struct names *names, PyObject *object)
{
    if (PyTuple_CheckExact(object)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); i++) {
            add_constant(names, PyTuple_GET_ITEM(object, i));
        }
    }
    else if (PyFrozenSet_CheckExact(object)) {
        PySetObject *set = (PySetObject *)object;
        for (Py_ssize_t i = 0; i <= set->mask; i++) {
            if (set->table[i].key != NULL && set->table[i].hash != -1) {
                add_constant(names, set->table[i].key);
            }
        }
    }
    else {
        struct name *entry = names_entry(names, object);
        if ((entry->flags & NAME_CODE_SCANNED) == 0) {
            entry->flags |= NAME_CODE_SCANNED;
            PyCodeObject *code = (PyCodeObject *)object;
#define ADD_FIELD(pointer, name) add_constant(names, (PyObject *)(pointer));
            HEAP_CODE_FIELDS(code, ADD_FIELD)
#undef ADD_FIELD
        }
    }
}

void
names_add_code(struct names *names, PyObject *code)
{
    add_constant(names, code);
    while (names->stack.n > 0) {
        add_parts(names, (PyObject *)names->stack.items[--names->stack.n]);
    }
}

void
names_mark_key(struct names *names, PyObject *key)
{
    struct name *place = find_place(names->table, names->capacity, (uintptr_t)key);
    if (place->address != 0) {
        place->flags |= NAME_KEY;
    }
}

bool
names_is_identifier(PyObject *object)
{
    struct heap_text text;
    if (!heap_str_text(object, &text) || text.length == 0) {
        return false;
    }
    if (text.kind != 1 || !PyUnicode_IS_ASCII(object)) {
        return PyUnicode_IsIdentifier(object) == 1;
    }
    const uint8_t *p = text.data;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t lower = p[i] | 0x20;
        bool letter = (lower >= 'a' && lower <= 'z') || p[i] == '_';
        bool digit = p[i] >= '0' && p[i] <= '9';
        if (!letter && !(digit && i > 0)) {
            return false;
        }
    }
    return true;
}

static void
add_name(struct names *names, PyObject *key)
{
    if (key == NULL || !PyUnicode_CheckExact(key)) {
        return;
    }
    struct name *entry = names_entry(names, key);
    if ((entry->flags & (NAME_IDENTIFIER | NAME_REJECTED)) == 0) {
        entry->flags |= names_is_identifier(key) ? NAME_IDENTIFIER : NAME_REJECTED;
    }
}

void
names_add_shared_keys(struct names *names, PyDictKeysObject *keys)
{
    PyDictUnicodeEntry *entries = heap_keys_unicode_entries(keys);
    for (Py_ssize_t i = 0; i < keys->dk_nentries; i++) {
        add_name(names, entries[i].me_key);
    }
}

void
names_add_dict(struct names *names, PyObject *dict)
{
    PyObject *key, *value;
    for (Py_ssize_t i = 0; heap_dict_next(dict, &i, &key, &value);) {
        add_name(names, key);
    }
}

static bool
is_module_name(PyObject *key)
{
    struct heap_text text;
    if (!heap_str_text(key, &text) || text.kind != 1 || !PyUnicode_IS_ASCII(key)) {
        return false;
    }
    bool starts = true;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = ((const uint8_t *)text.data)[i];
        bool letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
        bool digit = c >= '0' && c <= '9';
        if (!letter && (starts || !(digit || c == '.'))) {
            return false;
        }
        starts = c == '.';
    }
    return !starts;
}

void
names_add_modules(struct names *names, PyObject *modules)
{
    PyObject *key, *value;
    for (Py_ssize_t i = 0; heap_dict_next(modules, &i, &key, &value);) {
        if (key != NULL && PyUnicode_CheckExact(key) && is_module_name(key)) {
            names_entry(names, key)->flags |= NAME_IDENTIFIER;
        }
    }
}

static uint32_t
read_character(const struct heap_text *text, size_t i)
{
    uint32_t c;
    switch (text->kind) {
    case 1:
        return ((const uint8_t *)text->data)[i];
    case 2:
        c = ((const uint16_t *)text->data)[i];
        break;
    default:
        c = ((const uint32_t *)text->data)[i];
        break;
    }
    return (c >= 0xD800 && c <= 0xDFFF) || c > 0x10FFFF ? 0xFFFD : c;
}

Py_ssize_t
names_utf8(PyObject *object, uint8_t *out, size_t limit)
{
    struct heap_text text;
    if (!heap_str_text(object, &text)) {
        return -1;
    }
    size_t used = 0;
    for (size_t i = 0; i < text.length; i++) {
        uint32_t c = read_character(&text, i);
        size_t width = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        if (used + width > limit) {
            break;
        }
        static const uint8_t first[] = {0, 0, 0xC0, 0xE0, 0xF0};
        uint8_t *p = out + used;
        for (size_t k = width; k-- > 1;) {
            p[k] = (uint8_t)(0x80 | (c & 0x3F));
            c >>= 6;
        }
        p[0] = (uint8_t)(first[width] | c);
        used += width;
    }
    return (Py_ssize_t)used;
}
