#include "walker_state.h"

#include <string.h>

static size_t
type_place(const struct walk *walk, const PyTypeObject *type)
{
    uint64_t hash = (uint64_t)(uintptr_t)type * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(hash >> 40) & (walk->type_index_capacity - 1);
    for (;;) {
        uint32_t position = walk->type_index[i];
        if (position == 0 || walk->types[position - 1].type == type) {
            return i;
        }
        i = (i + 1) & (walk->type_index_capacity - 1);
    }
}

static bool
grow_index(struct walk *walk)
{
    size_t old = walk->type_index_capacity * sizeof(uint32_t);
    uint32_t *index = memory_map(&walk->memory, old * 2);
    if (index == NULL) {
        return false;
    }
    memory_unmap(&walk->memory, walk->type_index, old);
    walk->type_index = index;
    walk->type_index_capacity *= 2;
    for (size_t i = 0; i < walk->n_types; i++) {
        walk->type_index[type_place(walk, walk->types[i].type)] = (uint32_t)i + 1;
    }
    return true;
}

static bool
is_leaf(const PyTypeObject *type)
{
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyBool_Type ||
           type == &PyFloat_Type || type == &PyBytes_Type || type == &PyComplex_Type ||
           type == &_PyNone_Type || type == &PyEllipsis_Type ||
           type == &_PyNotImplemented_Type;
}

static enum container
find_container(const struct walk *walk, PyTypeObject *type)
{
    if (PyType_HasFeature(type, Py_TPFLAGS_LIST_SUBCLASS)) {
        return CONTAINER_LIST;
    }
    if (PyType_HasFeature(type, Py_TPFLAGS_TUPLE_SUBCLASS)) {
        return CONTAINER_TUPLE;
    }
    if (heap_is_dict_type(type)) {
        return CONTAINER_DICT;
    }
    if (PyType_IsSubtype(type, &PySet_Type) ||
        PyType_IsSubtype(type, &PyFrozenSet_Type)) {
        return CONTAINER_SET;
    }
    if (walk->request->deque != NULL && PyType_IsSubtype(type, walk->request->deque)) {
        return CONTAINER_DEQUE;
    }
    return CONTAINER_NONE;
}

static bool
is_plain_container(const PyTypeObject *type)
{
    return type == &PyList_Type || type == &PyTuple_Type || heap_is_exact_dict(type) ||
           type == &PySet_Type || type == &PyFrozenSet_Type;
}

static bool
is_generator(const PyTypeObject *type)
{
    return type == &PyGen_Type || type == &PyCoro_Type || type == &PyAsyncGen_Type;
}

static enum type_kind
special_kind(const struct walk *walk, PyTypeObject *type)
{
    const struct walk_request *request = walk->request;
    if (is_leaf(type)) {
        return KIND_LEAF;
    }
    if (is_plain_container(type)) {
        return KIND_CONTAINER;
    }
    if (type == &PyCode_Type) {
        return KIND_CODE;
    }
    if (PyType_HasFeature(type, Py_TPFLAGS_TYPE_SUBCLASS)) {
        return KIND_TYPE;
    }
    if (HEAP_BARE_FRAMES && is_generator(type)) {
        return KIND_GENERATOR;
    }
    if (type == &PyFrame_Type) {
        return KIND_FRAME;
    }
    if (request->ndarray != NULL && PyType_IsSubtype(type, request->ndarray)) {
        return KIND_NDARRAY;
    }
    if (request->greenlet != NULL && PyType_IsSubtype(type, request->greenlet)) {
        return KIND_GREENLET;
    }
    return KIND_GENERIC;
}

/* The slots of the Python classes from `type` down to `base`, base first: the classes
 * are counted, then each writes its offsets in front of its subclass's. */
static void
find_slots(struct walk *walk, struct type_entry *entry, const PyTypeObject *base)
{
    struct vector *offsets = &walk->slot_offsets;
    entry->first_slot = (uint32_t)offsets->n;
    size_t n = 0;
    for (PyTypeObject *t = entry->type; t != base; t = t->tp_base) {
        n += (size_t)Py_SIZE(t);
    }
    if (n > UINT16_MAX || !vector_reserve(offsets, n)) {
        return;
    }
    size_t end = offsets->n + n;
    for (PyTypeObject *t = entry->type; t != base; t = t->tp_base) {
        end -= (size_t)Py_SIZE(t);
        const PyMemberDef *members = heap_type_members(t);
        for (Py_ssize_t i = 0; i < Py_SIZE(t); i++) {
            bool visited = members[i].type == HEAP_MEMBER_OBJECT_EX;
            offsets->items[end + (size_t)i] =
                visited ? (uintptr_t)members[i].offset : 0;
        }
    }
    offsets->n += n;
    entry->n_slots = (uint16_t)n;
}

static void
find_dict(struct type_entry *entry, const PyTypeObject *base)
{
    PyTypeObject *type = entry->type;
    if (heap_has_managed_dict(type)) {
        entry->dict_kind = DICT_MANAGED;
        entry->shares_dict = heap_has_managed_dict((PyTypeObject *)base);
        if (heap_has_inline_values(type)) {
            entry->n_values = (uint16_t)heap_cached_keys(type)->dk_nentries;
            entry->values_size = (uint32_t)heap_values_size(type);
        }
    }
    else if (type->tp_dictoffset != 0 && type->tp_dictoffset != base->tp_dictoffset) {
        entry->dict_kind = DICT_AT_OFFSET;
        entry->dict_offset = type->tp_dictoffset;
    }
}

static void
find_claims(struct walk *walk, struct type_entry *entry, PyTypeObject *base)
{
    if (walk->n_claims + CLAIMS_MAX > CLAIM_ROOM) {
        return;
    }
    struct claim *claims = walk->claims + walk->n_claims;
    entry->claims = claims;
    entry->n_claims = (uint16_t)layouts_claims(base, claims);
    walk->n_claims += entry->n_claims;
    for (size_t i = 0; entry->traverse == NULL && i < entry->n_claims; i++) {
        claims[i].certain = true; /* there is nothing to confirm them */
    }
}

static void
classify(struct walk *walk, struct type_entry *entry)
{
    PyTypeObject *type = entry->type;
    entry->is_heap = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE);
    entry->kind = (uint8_t)special_kind(walk, type);
    entry->is_module = PyType_IsSubtype(type, &PyModule_Type);
    if ((uintptr_t)type == walk->request->opaque_type) {
        entry->kind = KIND_LEAF;
        return;
    }
    entry->container = (uint8_t)find_container(walk, type);
    entry->traverse = type->tp_traverse;
    if (entry->kind == KIND_LEAF || entry->kind == KIND_CONTAINER) {
        return;
    }
    PyTypeObject *base = type;
    while (base->tp_traverse == walk->request->subtype_traverse) {
        base = base->tp_base;
    }
    entry->traverse = base->tp_traverse;
    entry->base_is_heap = PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE);
    entry->is_foreign = entry->traverse != NULL && !layouts_is_interpreters_own(base);
    if (entry->kind == KIND_CODE) {
        return;
    }
    if (entry->kind != KIND_TYPE) {
        find_slots(walk, entry, base);
        find_dict(entry, base);
    }
    bool by_tables = entry->kind == KIND_FRAME || entry->kind == KIND_GENERATOR ||
                     entry->kind == KIND_TYPE;
    if (is_plain_container(base)) {
        entry->traverse = NULL;
    }
    else if (!by_tables && base != &PyBaseObject_Type) {
        find_claims(walk, entry, base);
    }
    if (entry->kind == KIND_GENERIC && entry->traverse == NULL &&
        entry->container == CONTAINER_NONE && entry->n_claims == 0) {
        bool empty = entry->n_slots == 0 && entry->dict_kind == DICT_NONE;
        entry->kind = empty ? KIND_LEAF : KIND_INSTANCE;
        entry->is_opaque = empty && base != &PyBaseObject_Type;
    }
}

static void
find_fixed_names(struct type_entry *entry)
{
    switch (entry->kind) {
    case KIND_TYPE:
        entry->fixed_names = edges_type_fields;
        break;
    case KIND_CODE:
        entry->fixed_names = edges_code_fields;
        break;
    case KIND_FRAME:
        entry->fixed_names = frames_object_fields;
        break;
    case KIND_GENERATOR:
        entry->fixed_names = frames_generator_fields;
        break;
    default:
        return;
    }
    while (entry->fixed_names[entry->n_fixed] != NULL) {
        entry->n_fixed++;
    }
}

/* The value of a key of a dict, by the address of the key; borrowed, or NULL. */
static PyObject *
dict_find(PyObject *dict, const PyObject *wanted)
{
    PyObject *key, *value;
    for (Py_ssize_t i = 0; heap_dict_next(dict, &i, &key, &value);) {
        if (key == wanted) {
            return value;
        }
    }
    return NULL;
}

PyObject *
types_module(const struct walk *walk, PyTypeObject *type)
{
    PyObject *dict = type->tp_dict;
    if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) || dict == NULL) {
        return NULL;
    }
    PyObject *module = dict_find(dict, walk->request->name_module);
    return module != NULL && PyUnicode_CheckExact(module) ? module : NULL;
}

static bool
is_made_by_us(const struct walk *walk, PyTypeObject *type)
{
    static const char ours[] = "liveheap";
    const size_t length = sizeof(ours) - 1;
    uint8_t text[sizeof(ours)];
    PyObject *module = types_module(walk, type);
    if (module == NULL || names_utf8(module, text, sizeof(text)) < (Py_ssize_t)length) {
        return false;
    }
    size_t used = (size_t)names_utf8(module, text, sizeof(text));
    return memcmp(text, ours, length) == 0 && (used == length || text[length] == '.');
}

unsigned
types_flags(const struct type_entry *entry)
{
    PyTypeObject *type = entry->type;
    unsigned flags = 0;
    flags |= entry->is_heap ? TYPE_HEAP : 0;
    flags |= PyType_IS_GC(type) ? TYPE_TRACKED : 0;
    flags |= heap_is_static_builtin(type) ? TYPE_STATIC_BUILTIN : 0;
    flags |= entry->is_ours ? TYPE_OURS : 0;
    flags |= entry->container == CONTAINER_DICT ? TYPE_DICT_SUBCLASS : 0;
    flags |= PyType_HasFeature(type, Py_TPFLAGS_BASE_EXC_SUBCLASS) ? TYPE_EXCEPTION : 0;
    flags |= PyType_HasFeature(type, Py_TPFLAGS_TYPE_SUBCLASS) ? TYPE_METATYPE : 0;
    return flags;
}

static void
visit_slots(struct walk *walk, const struct type_entry *entry, field_visitor with,
            void *argument)
{
    const uintptr_t *offsets = &walk->slot_offsets.items[entry->first_slot];
    for (size_t i = 0; i < entry->n_slots; i++) {
        const char *name = NULL;
        for (PyTypeObject *t = entry->type; t != NULL && name == NULL; t = t->tp_base) {
            const PyMemberDef *members = heap_type_members(t);
            Py_ssize_t n = PyType_HasFeature(t, Py_TPFLAGS_HEAPTYPE) ? Py_SIZE(t) : 0;
            for (Py_ssize_t k = 0; k < n; k++) {
                if (offsets[i] != 0 && (uintptr_t)members[k].offset == offsets[i]) {
                    name = members[k].name;
                }
            }
        }
        with(walk, argument, FIELD_SLOT, NULL, name);
    }
}

void
types_visit_fields(struct walk *walk, const struct type_entry *entry,
                   field_visitor with, void *argument)
{
    visit_slots(walk, entry, with, argument);
    if (entry->n_values > 0) {
        PyDictUnicodeEntry *values =
            heap_keys_unicode_entries(heap_cached_keys(entry->type));
        for (size_t i = 0; i < entry->n_values; i++) {
            PyObject *key = values[i].me_key;
            bool named = key != NULL && names_is_identifier(key);
            with(walk, argument, FIELD_ATTRIBUTE, named ? key : NULL, NULL);
        }
    }
    if (entry->dict_kind != DICT_NONE) {
        with(walk, argument, FIELD_INTERNAL, NULL, "__dict__");
    }
    for (size_t i = 0; i < entry->n_claims; i++) {
        with(walk, argument, FIELD_INTERNAL, NULL, entry->claims[i].name);
    }
    for (size_t i = 0; i < entry->n_fixed; i++) {
        with(walk, argument, FIELD_INTERNAL, NULL, entry->fixed_names[i]);
    }
}

static struct type_entry *
make_entry(struct walk *walk, PyTypeObject *type, size_t place)
{
    if (walk->n_types == TYPES_MAX) {
        walk->types_full = true;
        return NULL;
    }
    if (walk->n_types * 2 >= walk->type_index_capacity) {
        if (!grow_index(walk)) {
            return NULL;
        }
        place = type_place(walk, type);
    }
    struct type_entry *entry = &walk->types[walk->n_types++];
    walk->type_index[place] = (uint32_t)walk->n_types;
    *entry = (struct type_entry){.type = type, .id = (uint32_t)walk->n_types};
    classify(walk, entry);
    sizes_classify(walk, entry);
    find_fixed_names(entry);
    entry->is_ours = is_made_by_us(walk, type);
    entry->n_fields =
        (uint16_t)(entry->n_slots + entry->n_values + (entry->dict_kind != DICT_NONE) +
                   entry->n_claims + entry->n_fixed);
    walk_reach(walk, (uintptr_t)type);
    walk->visitor->on_type(walk, entry);
    return entry;
}

bool
types_is_known(const struct walk *walk, const PyTypeObject *type)
{
    return walk->type_index[type_place(walk, type)] != 0;
}

struct type_entry *
types_find(struct walk *walk, PyTypeObject *type)
{
    size_t place = type_place(walk, type);
    uint32_t position = walk->type_index[place];
    if (position != 0) {
        return &walk->types[position - 1];
    }
    return make_entry(walk, type, place);
}
