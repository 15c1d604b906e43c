/* The references of one object, in the order and with the names of FORMAT.md.
 *
 * Containers are read by loops of our own (a dict's tp_traverse does not visit keys
 * that are all strs), and so are the attributes of instances.  What is left comes from
 * tp_traverse of the nearest C base, into walk->visited, from which known members are
 * claimed by pointer.  Nothing is called that could make a dict.
 */
#include "walker_state.h"

#include <string.h>

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

void
edges_push_visited(struct walk *walk)
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
    }
    else if (bitmap_add_reached(&walk->seen, address)) {
        vector_push(&walk->work, address | WORK_INSTANCE_DICT);
    }
    else if (PyDict_Check(dict)) {
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

void
edges_push_attributes(struct walk *walk, PyObject *object,
                      const struct type_entry *entry)
{
    struct vector *refs = &walk->refs;
    if (!vector_reserve(refs, (size_t)entry->n_slots + entry->n_values + 1)) {
        return;
    }
    uintptr_t *out = refs->items + refs->n;
    const uintptr_t *offsets = &walk->slot_offsets.items[entry->first_slot];
    for (size_t i = 0; i < entry->n_slots; i++) {
        *out++ =
            offsets[i] == 0 ? 0 : *(uintptr_t *)(void *)((char *)object + offsets[i]);
    }
    if (entry->dict_kind != DICT_NONE) {
        PyObject *dict;
        PyObject **values = NULL;
        if (entry->dict_kind == DICT_MANAGED) {
            values = heap_managed_attributes(object, entry->type, &dict);
        }
        else {
            dict = dict_at_offset(object, entry);
        }
        size_t n = entry->n_values * sizeof(uintptr_t);
        if (values != NULL) {
            memcpy(out, values, n);
        }
        else {
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

void
edges_push_claims(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    for (size_t i = 0; i < entry->n_claims; i++) {
        const struct claim *claim = &entry->claims[i];
        void *member = *(void **)(void *)((char *)object + claim->offset);
        bool holds = member != NULL && edges_claim(walk, member);
        push_ref(walk, holds || claim->certain ? member : NULL);
    }
}

/* ---- the kinds ---- */

static enum compound_form
compound_form(enum container container)
{
    return container == CONTAINER_DICT  ? COMPOUND_PAIRS
           : container == CONTAINER_SET ? COMPOUND_SET
                                        : COMPOUND_ITEMS;
}

static void
collect_generic(struct walk *walk, PyObject *object, const struct type_entry *entry,
                struct node *node)
{
    enum container container = entry->container;
    if (container != CONTAINER_NONE) {
        node->form = NODE_COMPOUND;
        node->compound = compound_form(container);
        edges_collect_items(walk, object, entry, node);
    }
    walk->visited.n = 0;
    if (entry->traverse != NULL) {
        edges_traverse(walk, object, entry);
        if (container == CONTAINER_DEQUE) {
            edges_push_visited(walk);
            node->n_items = walk->refs.n;
            walk->visited.n = 0;
        }
        else if (container != CONTAINER_NONE) {
            edges_drop_items(walk, object, container);
        }
        else if (entry->kind == KIND_GREENLET) {
            frames_drop_visited(walk, object);
        }
    }
    size_t start = walk->refs.n;
    edges_push_attributes(walk, object, entry);
    if (entry->shares_dict) {
        for (size_t i = start; i < walk->refs.n; i++) {
            if (walk->refs.items[i] != 0) {
                (void)edges_claim(walk, (void *)walk->refs.items[i]);
            }
        }
    }
    edges_push_claims(walk, object, entry);
    edges_push_visited(walk);
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
    }
    else if (node->form == NODE_COMPOUND && node->n_items == 0) {
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
        edges_push_attributes(walk, object, entry);
        break;
    case KIND_CONTAINER:
        node->form = entry->container == CONTAINER_DICT  ? NODE_PAIRS
                     : entry->container == CONTAINER_SET ? NODE_COMPOUND
                                                         : NODE_ITEMS;
        node->compound = COMPOUND_SET;
        if (object == walk->interned) {
            break;
        }
        edges_collect_items(walk, object, entry, node);
        break;
    case KIND_GENERIC:
    case KIND_GREENLET:
        collect_generic(walk, object, entry, node);
        break;
    case KIND_CODE:
        edges_collect_code(walk, object);
        break;
    case KIND_TYPE:
        edges_collect_type(walk, object, entry);
        break;
    case KIND_FRAME:
        frames_collect_object(walk, object, node);
        break;
    case KIND_GENERATOR:
        frames_collect_generator(walk, object, node);
        break;
    case KIND_NDARRAY:
        edges_collect_ndarray(walk, object, entry, node);
        break;
    }
    finish(walk, entry, node);
}
