/* Types, code objects and numpy's arrays: what their tp_traverse does not show. */
#include "walker_state.h"

#include <string.h>

const char *const edges_type_fields[] = {
    "__dict__",  "__bases__", "__mro__",      "__base__",  "tp_cache", "tp_subclasses",
    "ht_module", "__name__",  "__qualname__", "__slots__", NULL,
};

void
edges_collect_type(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    PyTypeObject *type = (PyTypeObject *)object;
    bool is_heap = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE);
    PyHeapTypeObject *heap = (PyHeapTypeObject *)object;
    walk->visited.n = 0;
    if (is_heap) {
        edges_traverse(walk, object, entry);
    }
    else {
        vector_push(&walk->static_types, (uintptr_t)object);
    }
    PyObject *dict = heap_type_dict(type);
    const void *members[] = {
        dict,
        type->tp_bases,
        type->tp_mro,
        type->tp_base,
        heap_is_static_builtin(type) ? NULL : type->tp_cache,
        heap_type_subclasses(type),
        is_heap ? heap->ht_module : NULL,
        is_heap ? heap->ht_name : NULL,
        is_heap ? heap->ht_qualname : NULL,
        is_heap ? heap->ht_slots : NULL,
    };
    for (size_t i = 0; i < HEAP_LENGTH(members); i++) {
        (void)edges_claim(walk, members[i]);
        push_ref(walk, members[i]);
    }
    edges_push_visited(walk);
    PyDictKeysObject *keys = heap_cached_keys(type);
    if (keys != NULL) {
        PyDictUnicodeEntry *entries = heap_keys_unicode_entries(keys);
        for (Py_ssize_t i = 0; i < keys->dk_nentries; i++) {
            push_ref(walk, entries[i].me_key);
        }
    }
    if (walk->visitor->wants_names) {
        if (dict != NULL) {
            names_add_dict(&walk->names, dict);
        }
        if (keys != NULL) {
            names_add_shared_keys(&walk->names, keys);
        }
    }
}

#define CODE_NAME(pointer, name) name,
const char *const edges_code_fields[] = {HEAP_CODE_FIELDS(NULL, CODE_NAME)
                                             HEAP_CODE_CACHED_NAMES NULL};

void
edges_collect_code(struct walk *walk, PyObject *object)
{
    PyCodeObject *code = (PyCodeObject *)object;
#define PUSH(pointer, name) push_ref(walk, pointer);
    HEAP_CODE_FIELDS(code, PUSH)
    HEAP_CODE_CACHED(code, PUSH)
#undef PUSH
    walk->visitor->on_code(walk, code);
}

/* numpy's public structs, unchanged since its first release. */
struct array_object {
    PyObject_HEAD
    char *data;
    int n_dimensions;
    Py_ssize_t *dimensions;
    Py_ssize_t *strides;
    PyObject *base;
    PyObject *descr;
    int flags;
};

struct array_descr {
    PyObject_HEAD
    PyTypeObject *type;
    char kind;
};

#define ARRAY_CONTIGUOUS 3 /* C or Fortran order */
#define ARRAY_OWNS_DATA 4

static size_t
object_array_length(const struct array_object *array)
{
    const struct array_descr *descr = (const struct array_descr *)array->descr;
    if (descr == NULL || descr->kind != 'O' || array->base != NULL ||
        (array->flags & ARRAY_CONTIGUOUS) == 0 || array->data == NULL) {
        return 0;
    }
    Py_ssize_t n = 1;
    for (int i = 0; i < array->n_dimensions; i++) {
        n *= array->dimensions[i];
    }
    return n > 0 ? (size_t)n : 0;
}

_Static_assert(sizeof(struct array_object) == EDGES_NDARRAY_SIZE, "see walker_state.h");

/* Owned data is contiguous: its outermost dimension spans all of it.  (The size of an
 * item stands in the descr, at another place in each numpy.) */
uint64_t
edges_ndarray_bytes(PyObject *object)
{
    const struct array_object *array = (const struct array_object *)object;
    uint64_t bytes = 2 * sizeof(Py_ssize_t) * (uint64_t)array->n_dimensions;
    uint64_t span = 0;
    for (int i = 0; i < array->n_dimensions; i++) {
        if (array->dimensions[i] == 0) {
            return bytes;
        }
        int64_t reach = array->dimensions[i] * array->strides[i];
        span = reach > (int64_t)span ? (uint64_t)reach : span;
    }
    return bytes + ((array->flags & ARRAY_OWNS_DATA) != 0 ? span : 0);
}

void
edges_collect_ndarray(struct walk *walk, PyObject *object,
                      const struct type_entry *entry, struct node *node)
{
    const struct array_object *array = (const struct array_object *)object;
    size_t n = object_array_length(array);
    if (n > 0 && vector_reserve(&walk->refs, n)) {
        node->form = NODE_COMPOUND;
        node->compound = COMPOUND_ITEMS;
        memcpy(walk->refs.items, array->data, n * sizeof(PyObject *));
        walk->refs.n = node->n_items = n;
    }
    walk->visited.n = 0;
    if (entry->traverse != NULL) {
        edges_traverse(walk, object, entry);
    }
    edges_push_attributes(walk, object, entry);
    edges_push_claims(walk, object, entry);
    (void)edges_claim(walk, array->base);
    (void)edges_claim(walk, array->descr);
    push_ref(walk, array->base);
    push_ref(walk, array->descr);
    edges_push_visited(walk);
}
