#include "module.h"

struct paths {
    PyObject_HEAD
    struct pathnodes nodes;
};

#define PATHS_PLACE(field, size, format) \
    {#field, offsetof(struct pathnodes, field), size, format}

static const struct column_place PATHS_PLACES[] = {
    PATHS_PLACE(parent, 4, "i"),     PATHS_PLACE(label_kind, 1, "B"),
    PATHS_PLACE(label_name, 4, "I"), PATHS_PLACE(type, 4, "I"),
    PATHS_PLACE(code, 4, "i"),       PATHS_PLACE(depth, 2, "H"),
    PATHS_PLACE(group, 4, "I"),      PATHS_PLACE(key, 8, "Q"),
    PATHS_PLACE(count, 8, "Q"),      PATHS_PLACE(bytes, 8, "Q"),
    PATHS_PLACE(length, 8, "Q"),     PATHS_PLACE(max_length, 8, "Q"),
    PATHS_PLACE(example, 4, "i"),    {NULL, 0, 0, NULL},
};

static PyObject *
paths_column(PyObject *self, PyObject *name)
{
    struct paths *paths = (struct paths *)self;
    const struct module_state *state = state_of(Py_TYPE(self));
    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "a column's name is a str");
        return NULL;
    }
    if (PyUnicode_CompareWithASCIIString(name, "node_path") == 0) {
        return column_new(state, self, paths->nodes.node_path, paths->nodes.n_nodes, 4,
                          "i");
    }
    if (PyUnicode_CompareWithASCIIString(name, "parent_edge") == 0) {
        return column_new(state, self, paths->nodes.parent_edge, paths->nodes.n_nodes,
                          4, "I");
    }
    return column_find(state, self, &paths->nodes, PATHS_PLACES, name);
}

static PyObject *
paths_truncated(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((struct paths *)self)->nodes.truncated);
}

static void
paths_dealloc(PyObject *self)
{
    pathnodes_clear(&((struct paths *)self)->nodes);
    free_instance(self);
}

static PyMethodDef paths_methods[] = {
    {"column", paths_column, METH_O, "column(name) -> Column"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef paths_getset[] = {
    {"truncated", paths_truncated, NULL, "whether a cap was reached", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot paths_slots[] = {
    {Py_tp_dealloc, paths_dealloc},
    {Py_tp_methods, paths_methods},
    {Py_tp_getset, paths_getset},
    {0, NULL},
};

PyType_Spec paths_spec = {
    .name = "liveheap_client._graph.Paths",
    .basicsize = sizeof(struct paths),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = paths_slots,
};

/* 0 if every number of the plan is in range, else -1 with an exception. */
static int
check_plan(const struct heapgraph *heap, const struct path_plan *plan)
{
    uint32_t class = 0;
    for (size_t i = 0; i < plan->n_groups; i++) {
        if (plan->groups[i].kind < LABEL_FIRST_GROUP ||
            plan->groups[i].kind > UINT8_MAX ||
            plan->groups[i].name >= heap->names.end.n) {
            PyErr_Format(PyExc_ValueError, "group %zu is out of range", i);
            return -1;
        }
    }
    for (size_t i = 0; i < plan->n_entries; i++) {
        const struct path_entry *entry = &plan->entries[i];
        int in_range = entry->node >= 0 && (size_t)entry->node < heap->address.n &&
                       entry->group < plan->n_groups && entry->class >= class &&
                       heap->record.at[entry->node] != RECORD_ROOT;
        if (in_range && entry->edge != NO_EDGE) {
            in_range = entry->edge < heap->target.n &&
                       heap->target.at[entry->edge] == entry->node;
        }
        if (!in_range) {
            PyErr_Format(PyExc_ValueError, "entry %zu is out of range", i);
            return -1;
        }
        class = entry->class;
    }
    for (int i = 0; i < N_LEFTOVERS; i++) {
        if (plan->leftovers[i] >= plan->n_groups) {
            PyErr_SetString(PyExc_ValueError, "a leftover group is out of range");
            return -1;
        }
    }
    if (plan->max_depth > UINT16_MAX - 2 || plan->max_nodes > INT32_MAX / 2) {
        PyErr_SetString(PyExc_ValueError, "a cap is out of range");
        return -1;
    }
    return 0;
}

static PyObject *
run_search(const struct module_state *state, const struct heapgraph *heap,
           const struct path_plan *plan)
{
    struct paths *paths = (struct paths *)state->paths->tp_alloc(state->paths, 0);
    int rc;
    if (paths == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = pathnodes_search(&paths->nodes, heap, plan);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        Py_DECREF(paths);
        return raise_graph_error(state, rc, "");
    }
    return (PyObject *)paths;
}

PyObject *
paths_search(PyObject *graph, const struct heapgraph *heap, PyObject *args)
{
    Py_buffer groups;
    Py_buffer entries;
    struct path_plan plan = {0};
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*(IIII)II:search", &groups, &entries,
                          &plan.leftovers[0], &plan.leftovers[1], &plan.leftovers[2],
                          &plan.leftovers[3], &plan.max_depth, &plan.max_nodes)) {
        return NULL;
    }
    if (groups.len % (Py_ssize_t)sizeof(struct path_group) != 0 ||
        entries.len % (Py_ssize_t)sizeof(struct path_entry) != 0) {
        PyErr_SetString(PyExc_ValueError, "groups are 2, entries 4 numbers of u32");
        goto done;
    }
    plan.groups = groups.buf;
    plan.n_groups = (size_t)groups.len / sizeof(struct path_group);
    plan.entries = entries.buf;
    plan.n_entries = (size_t)entries.len / sizeof(struct path_entry);
    if (check_plan(heap, &plan) == 0) {
        result = run_search(state_of(Py_TYPE(graph)), heap, &plan);
    }

done:
    PyBuffer_Release(&entries);
    PyBuffer_Release(&groups);
    return result;
}
