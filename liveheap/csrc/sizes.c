/* Shallow sizes: the bytes an object really holds, found without Python code.
 *
 * They equal sys.getsizeof() but for static types, to which some versions add a header
 * that is not there, for inline values, which lie inside the object (3.13
 * and later) or in a block of its own (3.11, 3.12) and which getsizeof leaves out, and
 * for subclasses of int, whose __sizeof__ forgets their own members.
 */
#include "walker_state.h"

#include <limits.h>

static enum size_kind
known_kind(const PyTypeObject *type)
{
    if (type == &PyUnicode_Type) {
        return SIZE_STR;
    }
    if (type == &PyLong_Type || type == &PyBool_Type) {
        return SIZE_INT;
    }
    if (type == &PyList_Type) {
        return SIZE_LIST;
    }
    if (type == &PyDict_Type) {
        return SIZE_DICT;
    }
    if (type == &PySet_Type || type == &PyFrozenSet_Type) {
        return SIZE_SET;
    }
    return type->tp_itemsize != 0 ? SIZE_VARIABLE : SIZE_FIXED;
}

/* The kind of size of the type whose __sizeof__ a type inherits. */
static void
find_sizeof(struct walk *walk, struct type_entry *entry)
{
    PyObject *method = types_lookup(entry->type, walk->request->name_sizeof);
    if (method == NULL || method == walk->request->object_sizeof) {
        return;
    }
    entry->size_kind = SIZE_GUESS;
    if (Py_TYPE(method) != &PyMethodDescr_Type) {
        return;
    }
    PyTypeObject *owner = PyDescr_TYPE(method);
    const PyMethodDef *definition = ((PyMethodDescrObject *)method)->d_method;
    if (owner == &PyList_Type) {
        entry->size_kind = SIZE_LIST;
    }
    else if (owner == &PyDict_Type) {
        entry->size_kind = SIZE_DICT;
    }
    else if (owner == &PySet_Type || owner == &PyFrozenSet_Type) {
        entry->size_kind = SIZE_SET;
    }
    else if (owner == &PyLong_Type) {
        entry->size_kind = SIZE_INT;
    }
    else if ((definition->ml_flags & ~METH_COEXIST) == METH_NOARGS) {
        entry->size_kind = SIZE_CALL;
        entry->sizeof_method = definition->ml_meth;
    }
}

void
sizes_classify(struct walk *walk, struct type_entry *entry)
{
    PyTypeObject *type = entry->type;
    entry->fixed_size = (uint32_t)(type->tp_basicsize + heap_pre_header(type));
    entry->item_size = (uint32_t)type->tp_itemsize;
    entry->size_kind = (uint8_t)known_kind(type);
    bool opaque = (uintptr_t)type == walk->request->opaque_type;
    bool known = entry->size_kind != SIZE_FIXED && entry->size_kind != SIZE_VARIABLE;
    if (!opaque && !known) {
        find_sizeof(walk, entry);
    }
    if (type == &PyBool_Type) {
        entry->fixed_size = HEAP_INT_BASE; /* its tp_basicsize counts a digit */
    }
    if (HEAP_VALUES_ALWAYS_HELD && heap_has_inline_values(type)) {
        entry->fixed_size += (uint32_t)heap_values_size(type);
    }
}

static uint64_t
dict_size(PyObject *object)
{
    PyDictObject *dict = (PyDictObject *)object;
    PyDictKeysObject *keys = dict->ma_keys;
    uint64_t size = keys->dk_refcnt == 1 ? heap_keys_size(keys) : 0;
    if (dict->ma_values != NULL && !heap_dict_is_embedded(dict)) {
        size += heap_split_capacity(keys) * sizeof(PyObject *);
    }
    return size;
}

static uint64_t
called_size(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    bool own = layouts_is_interpreters_own(entry->type);
    if (!own && walk->foreign != entry) {
        walk_name_foreign(walk, entry);
    }
    PyObject *result = entry->sizeof_method(object, NULL);
    uint64_t size = entry->fixed_size;
    if (result != NULL) {
        Py_ssize_t n = PyLong_AsSsize_t(result);
        size = n < 0 ? size : (uint64_t)n + heap_pre_header(entry->type);
        Py_DECREF(result);
    }
    if (PyErr_Occurred()) {
        PyErr_Clear();
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

/* Static types have no collector's header, though their type has. */
static uint64_t
absent_header(PyObject *object, const struct type_entry *entry)
{
    bool is_static = entry->kind == KIND_TYPE &&
                     !PyType_HasFeature((PyTypeObject *)object, Py_TPFLAGS_HEAPTYPE);
    return is_static ? sizeof(PyGC_Head) : 0;
}

uint64_t
sizes_shallow(struct walk *walk, PyObject *object, const struct type_entry *entry)
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
        return heap_str_size(object);
    case SIZE_INT:
        return HEAP_INT_HEAD + sizeof(digit) * heap_int_digits(object) +
               (fixed - HEAP_INT_BASE);
    case SIZE_LIST:
        return fixed +
               sizeof(PyObject *) * (uint64_t)((PyListObject *)object)->allocated;
    case SIZE_DICT:
        return fixed + dict_size(object);
    case SIZE_SET: {
        const PySetObject *set = (PySetObject *)object;
        bool own_table = set->table != set->smalltable;
        return fixed + (own_table ? ((uint64_t)set->mask + 1) * sizeof(setentry) : 0);
    }
    case SIZE_CALL:
        return called_size(walk, object, entry) - absent_header(object, entry);
    default:
        walk->status->python_sizeof++;
        n = entry->item_size == 0 ? 0 : ((PyVarObject *)object)->ob_size;
        return fixed + entry->item_size * (uint64_t)(n < 0 ? -n : n);
    }
}
