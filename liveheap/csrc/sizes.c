/* Shallow sizes: the bytes an object really holds, found without calling anything.
 *
 * They equal sys.getsizeof() but for static types, to which some versions add a header
 * that is not there, for inline values, which lie inside the object (3.13 and later) or
 * in a block of its own (3.11, 3.12) and which getsizeof leaves out, for subclasses of
 * int and str, whose __sizeof__ forgets their own members, and for what has a __sizeof__
 * that nobody wrote down in sizes_builtin.c: that is never called, and the size is
 * tp_basicsize and the items.
 */
#include "walker_state.h"

static enum size_kind
find_kind(PyTypeObject *type)
{
    if (PyType_HasFeature(type, Py_TPFLAGS_UNICODE_SUBCLASS)) {
        return SIZE_STR;
    }
    if (PyType_HasFeature(type, Py_TPFLAGS_LONG_SUBCLASS)) {
        return SIZE_INT;
    }
    if (PyType_HasFeature(type, Py_TPFLAGS_LIST_SUBCLASS)) {
        return SIZE_LIST;
    }
    if (heap_is_dict_type(type)) {
        return SIZE_DICT;
    }
    if (PyType_IsSubtype(type, &PySet_Type) ||
        PyType_IsSubtype(type, &PyFrozenSet_Type)) {
        return SIZE_SET;
    }
    return type->tp_itemsize != 0 ? SIZE_VARIABLE : SIZE_FIXED;
}

void
sizes_classify(struct walk *walk, struct type_entry *entry)
{
    PyTypeObject *type = entry->type;
    entry->fixed_size = (uint32_t)(type->tp_basicsize + heap_pre_header(type));
    entry->item_size = (uint32_t)type->tp_itemsize;
    entry->more_size = sizes_find_more(walk->request, type);
    entry->size_kind =
        (uint8_t)(entry->more_size != NULL ? SIZE_MORE : find_kind(type));
    if (type == &PyBool_Type) {
        entry->fixed_size = HEAP_INT_BASE; /* its tp_basicsize counts a digit */
    }
    if (entry->size_kind == SIZE_STR) {
        entry->fixed_size -= (uint32_t)PyUnicode_Type.tp_basicsize;
    }
    if (HEAP_VALUES_ALWAYS_HELD && heap_has_inline_values(type)) {
        entry->fixed_size += (uint32_t)heap_values_size(type);
    }
}

uint64_t
sizes_dict_tables(PyObject *object)
{
    PyDictObject *dict = (PyDictObject *)object;
    PyDictKeysObject *keys = dict->ma_keys;
    uint64_t size = keys->dk_refcnt == 1 ? heap_keys_size(keys) : 0;
    if (dict->ma_values != NULL && !heap_dict_is_embedded(dict)) {
        size += heap_split_capacity(keys) * sizeof(PyObject *);
    }
    return size;
}

static inline uint64_t
values_outside(PyObject *object, const struct type_entry *entry)
{
    PyObject *dict;
    if (HEAP_VALUES_ALWAYS_HELD || entry->values_size == 0 ||
        heap_managed_attributes(object, entry->type, &dict) == NULL) {
        return 0;
    }
    return entry->values_size;
}

uint64_t
sizes_shallow(PyObject *object, const struct type_entry *entry)
{
    uint64_t fixed = entry->fixed_size + values_outside(object, entry);
    Py_ssize_t n;
    switch ((enum size_kind)entry->size_kind) {
    case SIZE_FIXED:
        return fixed;
    case SIZE_VARIABLE:
        n = ((PyVarObject *)object)->ob_size;
        return fixed + entry->item_size * (uint64_t)(n < 0 ? -n : n);
    case SIZE_STR:
        return fixed + heap_str_size(object);
    case SIZE_INT:
        return HEAP_INT_HEAD + sizeof(digit) * heap_int_digits(object) +
               (fixed - HEAP_INT_BASE);
    case SIZE_LIST:
        return fixed +
               sizeof(PyObject *) * (uint64_t)((PyListObject *)object)->allocated;
    case SIZE_DICT:
        return fixed + sizes_dict_tables(object);
    case SIZE_SET: {
        const PySetObject *set = (PySetObject *)object;
        bool own_table = set->table != set->smalltable;
        return fixed + (own_table ? ((uint64_t)set->mask + 1) * sizeof(setentry) : 0);
    }
    case SIZE_MORE:
        return fixed + entry->more_size(object);
    }
    return fixed;
}
