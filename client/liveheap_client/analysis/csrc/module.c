/* liveheap_client._graph: the Python face of the heap graph.
 *
 *   Decoder()                      .feed(bytes)  .finish(allow_truncated) -> Graph
 *   Graph                          .column(name) .name(i) .find_name(text) .facts()
 *                                  .types() .codes() .frames() .roots() .modules()
 *                                  .warnings() .search(...) -> Paths  .reverse()
 *   Paths                          .column(name) .truncated
 *   Column                         a read-only buffer, for numpy.frombuffer
 *
 * Only the public C API. Columns are views: each keeps its graph alive. The work is
 * done without the GIL; a Graph does not change once it is made, and a Decoder
 * refuses to be fed by two threads at once.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "decode.h"
#include "pathnodes.h"
#include "resolve.h"
#include "reverse.h"

struct module_state {
    PyObject *corrupt;
    PyObject *truncated;
    PyTypeObject *decoder;
    PyTypeObject *graph;
    PyTypeObject *paths;
    PyTypeObject *column;
};

static struct module_state *
state_of(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

static PyObject *
raise_graph_error(const struct module_state *state, int rc, const char *why)
{
    switch (rc) {
    case GRAPH_CORRUPT:
        PyErr_SetString(state->corrupt, why);
        break;
    case GRAPH_TRUNCATED:
        PyErr_SetString(state->truncated, "the record stream ends without END");
        break;
    case GRAPH_TOO_LARGE:
        PyErr_SetString(PyExc_OverflowError, "more than 2^31 nodes or 2^32 edges");
        break;
    default:
        PyErr_NoMemory();
    }
    return NULL;
}

static void
free_instance(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- Column ---- */

struct column {
    PyObject_HEAD
    PyObject *owner; /* whose memory it is, or NULL */
    void *memory;    /* our own memory, or NULL */
    const void *data;
    Py_ssize_t length;
    Py_ssize_t item_size;
    const char *format;
};

static PyObject *
column_new(const struct module_state *state, PyObject *owner, const void *data,
           size_t length, size_t item_size, const char *format)
{
    struct column *column = (struct column *)state->column->tp_alloc(state->column, 0);
    if (column != NULL) {
        Py_XINCREF(owner);
        column->owner = owner;
        column->data = data == NULL ? "" : data;
        column->length = (Py_ssize_t)length;
        column->item_size = (Py_ssize_t)item_size;
        column->format = format;
    }
    return (PyObject *)column;
}

/* A column that frees its memory, which it takes in any case. */
static PyObject *
column_taking(const struct module_state *state, void *memory, size_t length,
              size_t item_size, const char *format)
{
    PyObject *column = column_new(state, NULL, memory, length, item_size, format);
    if (column == NULL) {
        free(memory);
        return NULL;
    }
    ((struct column *)column)->memory = memory;
    return column;
}

static void
column_dealloc(PyObject *self)
{
    struct column *column = (struct column *)self;
    Py_XDECREF(column->owner);
    free(column->memory);
    free_instance(self);
}

static int
column_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    struct column *column = (struct column *)self;
    if (flags & PyBUF_WRITABLE) {
        PyErr_SetString(PyExc_BufferError, "a column is read-only");
        return -1;
    }
    Py_INCREF(self);
    view->obj = self;
    view->buf = (void *)column->data;
    view->len = column->length * column->item_size;
    view->readonly = 1;
    view->itemsize = column->item_size;
    view->format = flags & PyBUF_FORMAT ? (char *)column->format : NULL;
    view->ndim = 1;
    view->shape = flags & PyBUF_ND ? &column->length : NULL;
    view->strides =
        (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &column->item_size : NULL;
    view->suboffsets = NULL;
    view->internal = NULL;
    return 0;
}

static PyType_Slot column_slots[] = {
    {Py_tp_dealloc, column_dealloc},
    {Py_bf_getbuffer, column_getbuffer},
    {0, NULL},
};

static PyType_Spec column_spec = {
    .name = "liveheap_client._graph.Column",
    .basicsize = sizeof(struct column),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = column_slots,
};

/* Where a named column lies in a struct. All VECs have the layout of vec_u8. */
struct column_place {
    const char *name;
    size_t offset;
    size_t item_size;
    const char *format;
};

static PyObject *
find_column(const struct module_state *state, PyObject *owner, const void *base,
            const struct column_place *places, PyObject *name)
{
    for (; places->name != NULL; places++) {
        if (PyUnicode_CompareWithASCIIString(name, places->name) == 0) {
            const struct vec_u8 *vec =
                (const void *)((const char *)base + places->offset);
            return column_new(state, owner, vec->at, vec->n, places->item_size,
                              places->format);
        }
    }
    return PyErr_Format(PyExc_KeyError, "no column %R", name);
}

/* ---- Paths ---- */

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
    return find_column(state, self, &paths->nodes, PATHS_PLACES, name);
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

static PyType_Spec paths_spec = {
    .name = "liveheap_client._graph.Paths",
    .basicsize = sizeof(struct paths),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = paths_slots,
};

/* ---- Graph ---- */

struct graph {
    PyObject_HEAD
    struct heapgraph *heap;
};

#define GRAPH_PLACE(field, size, format) \
    {#field, offsetof(struct heapgraph, field), size, format}

static const struct column_place GRAPH_PLACES[] = {
    GRAPH_PLACE(address, 8, "Q"),
    GRAPH_PLACE(type, 4, "I"),
    GRAPH_PLACE(size, 8, "Q"),
    GRAPH_PLACE(refcount, 4, "I"),
    GRAPH_PLACE(record, 1, "B"),
    GRAPH_PLACE(row, 4, "I"),
    GRAPH_PLACE(flags, 2, "H"),
    GRAPH_PLACE(target, 4, "i"),
    GRAPH_PLACE(edge_kind, 1, "B"),
    GRAPH_PLACE(edge_name, 4, "I"),
    {NULL, 0, 0, NULL},
};

static PyObject *
graph_column(PyObject *self, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "a column's name is a str");
        return NULL;
    }
    return find_column(state_of(Py_TYPE(self)), self, ((struct graph *)self)->heap,
                       GRAPH_PLACES, name);
}

static PyObject *
name_text(const struct heapgraph *heap, uint32_t name)
{
    size_t length;
    const uint8_t *text = textpool_get(&heap->names, name, &length);
    return PyUnicode_DecodeUTF8((const char *)text, (Py_ssize_t)length, "replace");
}

static PyObject *
graph_name(PyObject *self, PyObject *number)
{
    unsigned long name = PyLong_AsUnsignedLong(number);
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    if (name == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    if (name >= heap->names.end.n) {
        return PyErr_Format(PyExc_IndexError, "no name %lu", name);
    }
    return name_text(heap, (uint32_t)name);
}

static PyObject *
graph_find_name(PyObject *self, PyObject *text)
{
    const char *utf8 = PyUnicode_AsUTF8(text);
    if (utf8 == NULL) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(
        textpool_find(&((struct graph *)self)->heap->names, utf8));
}

static PyObject *
graph_facts(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    return Py_BuildValue(
        "{s:n,s:n,s:K,s:K,s:O,s:n}", "nodes",
        (Py_ssize_t)(heap->address.n - heap->roots.n), "edges",
        (Py_ssize_t)heap->target.n, "bytes", (unsigned long long)heap->total_bytes,
        "unknown_targets", (unsigned long long)heap->n_unknown_targets, "complete",
        heap->complete ? Py_True : Py_False, "names", (Py_ssize_t)heap->names.end.n);
}

/* A list of what `tuple_of` makes of each of n entries. */
static PyObject *
list_of(const struct heapgraph *heap, size_t n,
        PyObject *(*tuple_of)(const struct heapgraph *, size_t))
{
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list != NULL && i < n; i++) {
        PyObject *entry = tuple_of(heap, i);
        if (entry == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, entry);
    }
    return list;
}

static PyObject *
type_tuple(const struct heapgraph *heap, size_t i)
{
    const struct type_info *type = &heap->types.at[i];
    return Py_BuildValue("(NNIiK)", name_text(heap, type->module),
                         name_text(heap, type->qualname), type->class_id,
                         (int)type->node, (unsigned long long)type->flags);
}

static PyObject *
graph_types(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    return list_of(heap, heap->types.n, type_tuple);
}

static PyObject *
code_tuple(const struct heapgraph *heap, size_t i)
{
    const struct code_info *code = &heap->codes.at[i];
    return Py_BuildValue("(IIIIi)", code->qualname, code->filename, code->class_id,
                         code->first_line, (int)code->node);
}

static PyObject *
graph_codes(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    return list_of(heap, heap->codes.n, code_tuple);
}

static PyObject *
frame_tuple(const struct heapgraph *heap, size_t i)
{
    const struct frame_info *frame = &heap->frames.at[i];
    return Py_BuildValue("(iiI)", (int)frame->node, (int)frame->code, frame->line);
}

static PyObject *
graph_frames(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    return list_of(heap, heap->frames.n, frame_tuple);
}

static PyObject *
root_tuple(const struct heapgraph *heap, size_t i)
{
    const struct root_info *root = &heap->roots.at[i];
    return Py_BuildValue("(iINKI)", (int)root->node, root->kind,
                         name_text(heap, root->name), (unsigned long long)root->number,
                         root->flags);
}

static PyObject *
graph_roots(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    return list_of(heap, heap->roots.n, root_tuple);
}

static PyObject *
module_tuple(const struct heapgraph *heap, size_t i)
{
    const struct module_info *module = &heap->modules.at[i];
    return Py_BuildValue("(iiINNI)", (int)module->node, (int)module->namespace,
                         module->name, name_text(heap, module->name),
                         name_text(heap, module->filename), module->native);
}

static PyObject *
graph_modules(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    return list_of(heap, heap->modules.n, module_tuple);
}

static PyObject *
warning_text(const struct heapgraph *heap, size_t i)
{
    return name_text(heap, heap->warnings.at[i]);
}

static PyObject *
graph_warnings(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    return list_of(heap, heap->warnings.n, warning_text);
}

static PyObject *
graph_reverse(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct module_state *state = state_of(Py_TYPE(self));
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    struct reversed reversed;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = reverse_owning(&reversed, heap);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        return PyErr_NoMemory();
    }
    PyObject *row = column_taking(state, reversed.row, heap->address.n + 1, 4, "I");
    PyObject *edge = column_taking(state, reversed.edge, reversed.n_edges, 4, "I");
    if (row == NULL || edge == NULL) {
        Py_XDECREF(row);
        Py_XDECREF(edge);
        return NULL;
    }
    return Py_BuildValue("(NN)", row, edge);
}

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
search_plan(PyObject *self, const struct path_plan *plan)
{
    const struct module_state *state = state_of(Py_TYPE(self));
    const struct heapgraph *heap = ((struct graph *)self)->heap;
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

static PyObject *
graph_search(PyObject *self, PyObject *args)
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
    if (check_plan(((struct graph *)self)->heap, &plan) == 0) {
        result = search_plan(self, &plan);
    }

done:
    PyBuffer_Release(&entries);
    PyBuffer_Release(&groups);
    return result;
}

static void
graph_dealloc(PyObject *self)
{
    struct graph *graph = (struct graph *)self;
    if (graph->heap != NULL) {
        heapgraph_clear(graph->heap);
        PyMem_RawFree(graph->heap);
    }
    free_instance(self);
}

static PyMethodDef graph_methods[] = {
    {"column", graph_column, METH_O, "column(name) -> Column"},
    {"name", graph_name, METH_O, "name(i) -> str"},
    {"find_name", graph_find_name, METH_O, "find_name(text) -> int, 0 if unknown"},
    {"facts", graph_facts, METH_NOARGS, "facts() -> dict"},
    {"types", graph_types, METH_NOARGS,
     "types() -> [(module, qualname, class_id, node, flags)]"},
    {"codes", graph_codes, METH_NOARGS,
     "codes() -> [(qualname, filename, class_id, first_line, node)], names by number"},
    {"frames", graph_frames, METH_NOARGS, "frames() -> [(node, code, line)]"},
    {"roots", graph_roots, METH_NOARGS,
     "roots() -> [(node, kind, name, number, flags)]"},
    {"modules", graph_modules, METH_NOARGS,
     "modules() -> [(node, namespace, name number, name, filename, native)]"},
    {"warnings", graph_warnings, METH_NOARGS, "warnings() -> [text]"},
    {"search", graph_search, METH_VARARGS,
     "search(groups, entries, leftovers, max_depth, max_nodes) -> Paths"},
    {"reverse", graph_reverse, METH_NOARGS, "reverse() -> (row, edge) Columns"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot graph_slots[] = {
    {Py_tp_dealloc, graph_dealloc},
    {Py_tp_methods, graph_methods},
    {0, NULL},
};

static PyType_Spec graph_spec = {
    .name = "liveheap_client._graph.Graph",
    .basicsize = sizeof(struct graph),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = graph_slots,
};

/* ---- Decoder ---- */

struct py_decoder {
    PyObject_HEAD
    struct decoder decoder;
    struct heapgraph *heap; /* NULL once finished, or after an error */
    int busy;               /* guarded by the GIL */
};

static PyObject *
decoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || kwargs != NULL) {
        PyErr_SetString(PyExc_TypeError, "Decoder takes no arguments");
        return NULL;
    }
    struct py_decoder *self = (struct py_decoder *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->heap = PyMem_RawCalloc(1, sizeof(*self->heap));
    if (self->heap == NULL || decoder_init(&self->decoder, self->heap) < 0) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void
decoder_end(struct py_decoder *self)
{
    decoder_clear(&self->decoder);
    if (self->heap != NULL) {
        heapgraph_clear(self->heap);
        PyMem_RawFree(self->heap);
        self->heap = NULL;
    }
}

static void
decoder_dealloc(PyObject *self)
{
    decoder_end((struct py_decoder *)self);
    free_instance(self);
}

/* 0 if the decoder can be used, else -1 with an exception. */
static int
check_decoder(const struct py_decoder *self)
{
    if (self->heap == NULL || self->busy) {
        PyErr_SetString(PyExc_ValueError, self->busy ? "the decoder is in use"
                                                     : "the decoder is finished");
        return -1;
    }
    return 0;
}

/* Raise, and end the decoder. */
static PyObject *
decoder_fail(struct py_decoder *self, int rc)
{
    raise_graph_error(state_of(Py_TYPE(self)), rc, self->heap->why);
    decoder_end(self);
    return NULL;
}

static PyObject *
decoder_feed_method(PyObject *object, PyObject *piece)
{
    struct py_decoder *self = (struct py_decoder *)object;
    Py_buffer view;
    int rc;
    if (check_decoder(self) < 0 || PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    self->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    rc = decoder_feed(&self->decoder, view.buf, (size_t)view.len);
    Py_END_ALLOW_THREADS
    self->busy = 0;
    PyBuffer_Release(&view);
    if (rc < 0) {
        return decoder_fail(self, rc);
    }
    Py_RETURN_NONE;
}

static PyObject *
decoder_finish_method(PyObject *object, PyObject *allow_truncated)
{
    struct py_decoder *self = (struct py_decoder *)object;
    const struct module_state *state = state_of(Py_TYPE(object));
    int allow = PyObject_IsTrue(allow_truncated);
    int rc;
    if (allow < 0 || check_decoder(self) < 0) {
        return NULL;
    }
    self->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    rc = decoder_finish(&self->decoder);
    if (rc == 0 || (rc == GRAPH_TRUNCATED && allow)) {
        rc = resolve_graph(self->heap);
    }
    Py_END_ALLOW_THREADS
    self->busy = 0;
    if (rc < 0) {
        return decoder_fail(self, rc);
    }
    struct graph *graph = (struct graph *)state->graph->tp_alloc(state->graph, 0);
    if (graph != NULL) {
        graph->heap = self->heap;
        self->heap = NULL;
    }
    decoder_end(self);
    return (PyObject *)graph;
}

static PyMethodDef decoder_methods[] = {
    {"feed", decoder_feed_method, METH_O, "feed(bytes)"},
    {"finish", decoder_finish_method, METH_O, "finish(allow_truncated) -> Graph"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot decoder_slots[] = {
    {Py_tp_new, decoder_new},
    {Py_tp_dealloc, decoder_dealloc},
    {Py_tp_methods, decoder_methods},
    {0, NULL},
};

static PyType_Spec decoder_spec = {
    .name = "liveheap_client._graph.Decoder",
    .basicsize = sizeof(struct py_decoder),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = decoder_slots,
};

/* ---- module ---- */

static int
add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

static int
module_exec(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    state->corrupt =
        PyErr_NewException("liveheap_client._graph.CorruptStream", NULL, NULL);
    state->truncated =
        PyErr_NewException("liveheap_client._graph.TruncatedStream", NULL, NULL);
    if (state->corrupt == NULL || state->truncated == NULL ||
        PyModule_AddObjectRef(module, "CorruptStream", state->corrupt) < 0 ||
        PyModule_AddObjectRef(module, "TruncatedStream", state->truncated) < 0 ||
        add_type(module, &column_spec, &state->column) < 0 ||
        add_type(module, &paths_spec, &state->paths) < 0 ||
        add_type(module, &graph_spec, &state->graph) < 0 ||
        add_type(module, &decoder_spec, &state->decoder) < 0) {
        return -1;
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);
    Py_VISIT(state->corrupt);
    Py_VISIT(state->truncated);
    Py_VISIT(state->column);
    Py_VISIT(state->paths);
    Py_VISIT(state->graph);
    Py_VISIT(state->decoder);
    return 0;
}

static int
module_clear(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->corrupt);
    Py_CLEAR(state->truncated);
    Py_CLEAR(state->column);
    Py_CLEAR(state->paths);
    Py_CLEAR(state->graph);
    Py_CLEAR(state->decoder);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_graph",
    .m_size = sizeof(struct module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC
PyInit__graph(void)
{
    return PyModuleDef_Init(&module_def);
}
