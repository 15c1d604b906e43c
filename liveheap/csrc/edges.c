/* The references of one object, in the order and with the names of FORMAT.md.
 *
 * Containers are read by loops of our own (a dict's tp_traverse does not visit keys
 * that are all strs), and so are the attributes of instances.  What is left comes from
 * tp_traverse of the nearest C base, into walk->visited, from which known members are
 * claimed by pointer.  Nothing is called that could make a dict.
 */
#include "walker_state.h"

#include <string.h>

/* ---- containers ---- */

static size_t
take_array(PyObject **array, size_t n, size_t *position, uintptr_t *refs)
{
    size_t left = n - *position;
    size_t count = left < TAKE_MAX ? left : TAKE_MAX;
    if (count > 0) {
        memcpy(refs, array + *position, count * sizeof(uintptr_t));
    }
    *position += count;
    return count;
}

static size_t
take_set(PyObject *object, size_t *position, uintptr_t *refs)
{
    const PySetObject *set = (PySetObject *)object;
    size_t n = 0;
    size_t i = *position;
    for (; i <= (size_t)set->mask && n < TAKE_MAX; i++) {
        const setentry *entry = &set->table[i];
        if (entry->key != NULL && entry->hash != -1) {
            refs[n++] = (uintptr_t)entry->key;
        }
    }
    *position = i;
    return n;
}

static size_t
take_dict(PyObject *object, size_t *position, uintptr_t *refs)
{
    PyDictObject *dict = (PyDictObject *)object;
    PyDictKeysObject *keys = dict->ma_keys;
    size_t end = (size_t)keys->dk_nentries;
    size_t n = 0;
    size_t i = *position;
    if (heap_dict_is_embedded(dict)) {
        return 0;
    }
    if (dict->ma_values != NULL) {
        const PyDictUnicodeEntry *entries = heap_keys_unicode_entries(keys);
        PyObject **values = heap_split_values(dict);
        for (; i < end && n < TAKE_MAX; i++) {
            if (values[i] != NULL) {
                refs[n++] = (uintptr_t)entries[i].me_key;
                refs[n++] = (uintptr_t)values[i];
            }
        }
    } else if (heap_keys_are_unicode(keys)) {
        const PyDictUnicodeEntry *entries = heap_keys_unicode_entries(keys);
        for (; i < end && n < TAKE_MAX; i++) {
            if (entries[i].me_value != NULL) {
                refs[n++] = (uintptr_t)entries[i].me_key;
                refs[n++] = (uintptr_t)entries[i].me_value;
            }
        }
    } else {
        const PyDictKeyEntry *entries = heap_keys_entries(keys);
        for (; i < end && n < TAKE_MAX; i++) {
            if (entries[i].me_value != NULL) {
                refs[n++] = (uintptr_t)entries[i].me_key;
                refs[n++] = (uintptr_t)entries[i].me_value;
            }
        }
    }
    *position = i;
    return n;
}

size_t
edges_take(PyObject *object, enum container container, size_t *position,
           uintptr_t *refs)
{
    size_t size = (size_t)Py_SIZE(object);
    switch (container) {
    case CONTAINER_LIST:
        return take_array(((PyListObject *)object)->ob_item, size, position, refs);
    case CONTAINER_TUPLE:
        return take_array(((PyTupleObject *)object)->ob_item, size, position, refs);
    case CONTAINER_SET:
        return take_set(object, position, refs);
    case CONTAINER_DICT:
        return take_dict(object, position, refs);
    default:
        return 0;
    }
}

/* An upper bound of the refs that edges_take() will give in all, without reading the
 * table. */
static size_t
most_items(PyObject *object, enum container container)
{
    switch (container) {
    case CONTAINER_LIST:
    case CONTAINER_TUPLE:
        return (size_t)Py_SIZE(object);
    case CONTAINER_SET:
        return (size_t)((PySetObject *)object)->used;
    case CONTAINER_DICT:
        return 2 * (size_t)((PyDictObject *)object)->ma_keys->dk_nentries;
    default:
        return 0;
    }
}

/* Counted by reading, so that the number is right whatever the header says. */
size_t
edges_count(PyObject *object, enum container container)
{
    uintptr_t refs[TAKE_MAX + 1];
    size_t position = 0;
    size_t total = 0;
    if (container == CONTAINER_LIST || container == CONTAINER_TUPLE) {
        return (size_t)Py_SIZE(object);
    }
    for (;;) {
        size_t n = edges_take(object, container, &position, refs);
        if (n == 0) {
            return total;
        }
        total += n;
    }
}

static void
collect_items(struct walk *walk, PyObject *object, const struct type_entry *entry,
              struct node *node)
{
    enum container container = entry->container;
    size_t most = most_items(object, container);
    if (most > STREAMED_ABOVE) {
        node->streamed = true;
        node->n_items = edges_count(object, container);
        return;
    }
    if (!vector_reserve(&walk->refs, most + TAKE_MAX + 1)) {
        return;
    }
    size_t position = 0;
    for (;;) {
        uintptr_t *refs = walk->refs.items + walk->refs.n;
        size_t n = edges_take(object, container, &position, refs);
        if (n == 0) {
            break;
        }
        walk->refs.n += n;
    }
    node->n_items = walk->refs.n;
    if (container == CONTAINER_DICT && walk->visitor->wants_names) {
        for (size_t i = 0; i < node->n_items; i += 2) {
            names_saw_key(&walk->names, (const void *)walk->refs.items[i]);
        }
    }
}

static enum compound_form
compound_form(enum container container)
{
    return container == CONTAINER_DICT ? COMPOUND_PAIRS
        : container == CONTAINER_SET   ? COMPOUND_SET
                                       : COMPOUND_ITEMS;
}

/* ---- tp_traverse ---- */

static int
collect_visited(PyObject *object, void *argument)
{
    vector_push(argument, (uintptr_t)object);
    return 0;
}

/* Claims tend to come in the order of the visits: the search goes on behind the last
 * hit and comes round. */
bool
edges_claim(struct walk *walk, const void *object)
{
    struct vector *visited = &walk->visited;
    size_t i = walk->claimed;
    for (size_t n = visited->n; n > 0; n--, i++) {
        if (i >= visited->n) {
            i = 0;
        }
        if (visited->items[i] == (uintptr_t)object) {
            visited->items[i] = 0;
            walk->claimed = i + 1;
            return object != NULL;
        }
    }
    return false;
}

void
edges_traverse(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    walk->visited.n = 0;
    walk->claimed = 0;
    if (entry->is_foreign && walk->foreign != entry) {
        walk_name_foreign(walk, entry);
    }
    (void)entry->traverse(object, collect_visited, &walk->visited);
    if (entry->base_is_heap) {
        (void)edges_claim(walk, entry->type);
    }
}

static bool
dict_visits_keys(PyObject *object)
{
    const PyDictObject *dict = (PyDictObject *)object;
    return dict->ma_values == NULL && !heap_keys_are_unicode(dict->ma_keys);
}

struct items {
    PyObject *object;
    enum container container;
    size_t position;
    size_t n, next; /* in refs */
    uintptr_t refs[TAKE_MAX + 1];
};

static bool
next_item(struct items *items, uintptr_t *item)
{
    if (items->next == items->n) {
        items->n = edges_take(items->object, items->container, &items->position,
                              items->refs);
        items->next = 0;
        if (items->n == 0) {
            return false;
        }
    }
    *item = items->refs[items->next++];
    return true;
}

/* Drops from walk->visited what a container's items account for.  Items are visited in
 * their order, so one pass is enough.  A dict visits the value, then the key, and the
 * key only if not all keys are strs. */
static void
drop_items(struct walk *walk, PyObject *object, enum container container)
{
    struct items items = {.object = object, .container = container};
    struct vector *visited = &walk->visited;
    bool visits_keys = container == CONTAINER_DICT && dict_visits_keys(object);
    uintptr_t item, key = 0;
    size_t i = 0;
    while (i < visited->n && next_item(&items, &item)) {
        if (container == CONTAINER_DICT) {
            key = item;
            (void)next_item(&items, &item);
        }
        if (item == 0) {
            continue;
        }
        while (i < visited->n && visited->items[i] != item) {
            i++;
        }
        if (i < visited->n) {
            visited->items[i++] = 0;
        }
        if (visits_keys && i < visited->n && visited->items[i] == key) {
            visited->items[i++] = 0;
        }
    }
}

static void
push_visited(struct walk *walk)
{
    for (size_t i = 0; i < walk->visited.n; i++) {
        if (walk->visited.items[i] != 0) {
            vector_push(&walk->refs, walk->visited.items[i]);
        }
    }
}

/* ---- the attributes of instances ---- */

/* The dict's keys are names of attributes; see WORK_INSTANCE_DICT.  A listed dict is
 * flagged for the time of its own visit, a new one is queued with a mark, any other has
 * been visited already. */
static void
note_instance_dict(struct walk *walk, PyObject *dict)
{
    uintptr_t address = (uintptr_t)dict;
    if (!walk->visitor->wants_names) {
        return;
    }
    if (bitmap_is_listed(&walk->seen, address)) {
        bitmap_flag(&walk->seen, address);
    } else if (bitmap_add_reached(&walk->seen, address)) {
        vector_push(&walk->work, address | WORK_INSTANCE_DICT);
    } else if (PyDict_Check(dict)) {
        names_add_dict(&walk->names, dict);
    }
}

static PyObject *
dict_at_offset(PyObject *object, const struct type_entry *entry)
{
    Py_ssize_t offset = entry->dict_offset;
    if (offset < 0) {
        Py_ssize_t n = ((PyVarObject *)object)->ob_size;
        size_t size = _PyObject_VAR_SIZE(entry->type, n < 0 ? -n : n);
        offset += (Py_ssize_t)size;
    }
    return *(PyObject **)(void *)((char *)object + offset);
}

static void
collect_attributes(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    struct vector *refs = &walk->refs;
    if (!vector_reserve(refs, (size_t)entry->n_slots + entry->n_values + 1)) {
        return;
    }
    uintptr_t *out = refs->items + refs->n;
    const uintptr_t *offsets = &walk->slot_offsets.items[entry->first_slot];
    for (size_t i = 0; i < entry->n_slots; i++) {
        *out++ = offsets[i] == 0
            ? 0 : *(uintptr_t *)(void *)((char *)object + offsets[i]);
    }
    if (entry->dict_kind != DICT_NONE) {
        PyObject *dict;
        PyObject **values = NULL;
        if (entry->dict_kind == DICT_MANAGED) {
            values = heap_managed_attributes(object, entry->type, &dict);
        } else {
            dict = dict_at_offset(object, entry);
        }
        size_t n = entry->n_values * sizeof(uintptr_t);
        if (values != NULL) {
            memcpy(out, values, n);
        } else {
            memset(out, 0, n);
        }
        out += entry->n_values;
        *out++ = (uintptr_t)dict;
        if (dict != NULL) {
            note_instance_dict(walk, dict);
        }
    }
    refs->n = (size_t)(out - refs->items);
}

static void
collect_claims(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    for (size_t i = 0; i < entry->n_claims; i++) {
        const struct claim *claim = &entry->claims[i];
        void *member = *(void **)(void *)((char *)object + claim->offset);
        bool holds = member != NULL && edges_claim(walk, member);
        push_ref(walk, holds || claim->certain ? member : NULL);
    }
}

/* ---- the kinds ---- */

static void
collect_generic(struct walk *walk, PyObject *object, const struct type_entry *entry,
                struct node *node)
{
    enum container container = entry->container;
    if (container != CONTAINER_NONE) {
        node->form = NODE_COMPOUND;
        node->compound = compound_form(container);
        collect_items(walk, object, entry, node);
    }
    walk->visited.n = 0;
    if (entry->traverse != NULL) {
        edges_traverse(walk, object, entry);
        if (container == CONTAINER_DEQUE) {
            push_visited(walk);
            node->n_items = walk->refs.n;
            walk->visited.n = 0;
        } else if (container != CONTAINER_NONE) {
            drop_items(walk, object, container);
        } else if (entry->kind == KIND_GREENLET) {
            frames_drop_visited(walk, object);
        }
    }
    size_t start = walk->refs.n;
    collect_attributes(walk, object, entry);
    if (entry->shares_dict) {
        for (size_t i = start; i < walk->refs.n; i++) {
            if (walk->refs.items[i] != 0) {
                (void)edges_claim(walk, (void *)walk->refs.items[i]);
            }
        }
    }
    collect_claims(walk, object, entry);
    push_visited(walk);
}

const char *const edges_type_fields[] = {
    "__dict__",  "__bases__",      "__mro__", "__base__",  "tp_cache", "tp_subclasses",
    "ht_module", "__name__", "__qualname__", "__slots__", NULL,
};

static void
collect_type(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    PyTypeObject *type = (PyTypeObject *)object;
    bool is_heap = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE);
    PyHeapTypeObject *heap = (PyHeapTypeObject *)object;
    walk->visited.n = 0;
    if (is_heap) {
        edges_traverse(walk, object, entry);
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
    push_visited(walk);
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

static void
collect_code(struct walk *walk, PyObject *object)
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

static void
collect_ndarray(struct walk *walk, PyObject *object, const struct type_entry *entry,
                struct node *node)
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
    collect_attributes(walk, object, entry);
    collect_claims(walk, object, entry);
    (void)edges_claim(walk, array->base);
    (void)edges_claim(walk, array->descr);
    push_ref(walk, array->base);
    push_ref(walk, array->descr);
    push_visited(walk);
}

/* Absent slots at the end say nothing, and a node without references is a leaf. */
static void
finish(struct walk *walk, const struct type_entry *entry, struct node *node)
{
    struct vector *refs = &walk->refs;
    if (node->form == NODE_FRAME) {
        return;
    }
    size_t items = node->streamed ? 0 : node->n_items;
    if (refs->n - items <= entry->n_fields) {
        while (refs->n > items && refs->items[refs->n - 1] == 0) {
            refs->n--;
        }
    }
    node->n_fields = refs->n - items;
    if (node->n_items + node->n_fields == 0) {
        node->form = NODE_LEAF;
    } else if (node->form == NODE_COMPOUND && node->n_items == 0) {
        node->form = NODE_FIELDS;
    }
}

void
edges_collect(struct walk *walk, PyObject *object, const struct type_entry *entry,
              struct node *node)
{
    node->form = NODE_FIELDS;
    switch ((enum type_kind)entry->kind) {
    case KIND_LEAF:
        break;
    case KIND_INSTANCE:
        collect_attributes(walk, object, entry);
        break;
    case KIND_CONTAINER:
        node->form = entry->container == CONTAINER_DICT ? NODE_PAIRS
            : entry->container == CONTAINER_SET         ? NODE_COMPOUND
                                                        : NODE_ITEMS;
        node->compound = COMPOUND_SET;
        if (object == walk->interned) {
            break;
        }
        collect_items(walk, object, entry, node);
        break;
    case KIND_GENERIC:
    case KIND_GREENLET:
        collect_generic(walk, object, entry, node);
        break;
    case KIND_CODE:
        collect_code(walk, object);
        break;
    case KIND_TYPE:
        collect_type(walk, object, entry);
        break;
    case KIND_FRAME:
        frames_collect_object(walk, object, node);
        break;
    case KIND_GENERATOR:
        frames_collect_generator(walk, object, node);
        break;
    case KIND_NDARRAY:
        collect_ndarray(walk, object, entry, node);
        break;
    }
    finish(walk, entry, node);
}
