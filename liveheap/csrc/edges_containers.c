/* Lists, tuples, dicts and sets: read by loops of our own, in pieces if they are big. */
#include "walker_state.h"

#include <string.h>

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
    }
    else if (heap_keys_are_unicode(keys)) {
        const PyDictUnicodeEntry *entries = heap_keys_unicode_entries(keys);
        for (; i < end && n < TAKE_MAX; i++) {
            if (entries[i].me_value != NULL) {
                refs[n++] = (uintptr_t)entries[i].me_key;
                refs[n++] = (uintptr_t)entries[i].me_value;
            }
        }
    }
    else {
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

void
edges_collect_items(struct walk *walk, PyObject *object, const struct type_entry *entry,
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
    size_t n;
    do {
        uintptr_t *refs = walk->refs.items + walk->refs.n;
        n = edges_take(object, container, &position, refs);
        walk->refs.n += n;
    } while (n >= TAKE_MAX); /* else that was all */
    node->n_items = walk->refs.n;
    if (container == CONTAINER_DICT && walk->visitor->wants_names) {
        for (size_t i = 0; i < node->n_items; i += 2) {
            names_saw_key(&walk->names, (const void *)walk->refs.items[i]);
        }
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
        items->n =
            edges_take(items->object, items->container, &items->position, items->refs);
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
void
edges_drop_items(struct walk *walk, PyObject *object, enum container container)
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
