#include "module.h"

#include "dominators.h"
#include "leakshare.h"
#include "reverse.h"
#include "sections.h"

struct graph {
    PyObject_HEAD
    struct heapgraph *heap;
    PyObject *memory; /* of the sections, if they are borrowed */
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
    GRAPH_PLACE(content_node, 4, "i"),
    GRAPH_PLACE(content_kind, 1, "B"),
    GRAPH_PLACE(content_length, 8, "Q"),
    GRAPH_PLACE(content_hash, 8, "Q"),
    GRAPH_PLACE(preview_node, 4, "i"),
    GRAPH_PLACE(preview_kind, 1, "B"),
    GRAPH_PLACE(preview_length, 8, "Q"),
    GRAPH_PLACE(preview_name, 4, "I"),
    {NULL, 0, 0, NULL},
};

static PyObject *
graph_column(PyObject *self, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "a column's name is a str");
        return NULL;
    }
    return column_find(state_of(Py_TYPE(self)), self, ((struct graph *)self)->heap,
                       GRAPH_PLACES, name);
}

/* In characters.  An agent cuts each name at as many bytes; a longer one was not made to
 * be read. */
enum { LONGEST_NAME = 256 };

static PyObject *
name_text(const struct heapgraph *heap, uint32_t name)
{
    size_t length;
    const uint8_t *text = textpool_get(&heap->names, name, &length);
    if (length > 4 * LONGEST_NAME) {
        length = 4 * LONGEST_NAME;
    }
    PyObject *whole =
        PyUnicode_DecodeUTF8((const char *)text, (Py_ssize_t)length, "replace");
    if (whole == NULL || PyUnicode_GET_LENGTH(whole) <= LONGEST_NAME) {
        return whole;
    }
    PyObject *begin = PyUnicode_Substring(whole, 0, LONGEST_NAME - 1);
    PyObject *cut = begin == NULL ? NULL : PyUnicode_FromFormat("%U%c", begin, 0x2026);
    Py_DECREF(whole);
    Py_XDECREF(begin);
    return cut;
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

static PyObject *
graph_dominators(PyObject *self, PyObject *Py_UNUSED(none))
{
    const struct module_state *state = state_of(Py_TYPE(self));
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    struct dominators tree = {0};
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = dominators_find(&tree, heap);
    if (rc < 0) {
        dominators_clear(&tree);
    }
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        return raise_graph_error(state, rc, "");
    }
    size_t n = heap->address.n;
    PyObject *idom = column_taking(state, tree.idom, n, 4, "i");
    PyObject *retained = column_taking(state, tree.retained, n, 8, "Q");
    PyObject *order = column_taking(state, tree.order, n, 4, "i");
    if (idom == NULL || retained == NULL || order == NULL) {
        Py_XDECREF(idom);
        Py_XDECREF(retained);
        Py_XDECREF(order);
        return NULL;
    }
    return Py_BuildValue("(NNN)", idom, retained, order);
}

static PyObject *
shares_list(const double *shares, unsigned n)
{
    PyObject *list = PyList_New(n);
    for (unsigned k = 0; list != NULL && k < n; k++) {
        PyObject *share = PyFloat_FromDouble(shares[k]);
        if (share == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, k, share);
    }
    return list;
}

static PyObject *
graph_leak_shares(PyObject *self, PyObject *args)
{
    const struct heapgraph *heap = ((struct graph *)self)->heap;
    Py_buffer member, starts;
    unsigned n;
    if (!PyArg_ParseTuple(args, "y*y*I:leak_shares", &member, &starts, &n)) {
        return NULL;
    }
    PyObject *list = NULL;
    double shares[MAX_SHARES];
    if ((size_t)member.len != heap->address.n || n > MAX_SHARES) {
        PyErr_SetString(PyExc_ValueError, "a byte a node, and 64 suspects at most");
    }
    else {
        int rc;
        Py_BEGIN_ALLOW_THREADS
        rc = leakshare_find(heap, member.buf, n, starts.buf, (size_t)starts.len / 4,
                            shares);
        Py_END_ALLOW_THREADS
        list = rc < 0 ? raise_graph_error(state_of(Py_TYPE(self)), rc, "")
                      : shares_list(shares, n);
    }
    PyBuffer_Release(&member);
    PyBuffer_Release(&starts);
    return list;
}

static PyObject *
graph_search(PyObject *self, PyObject *args)
{
    return paths_search(self, ((struct graph *)self)->heap, args);
}

static PyObject *
graph_sections_method(PyObject *self, PyObject *Py_UNUSED(none))
{
    return graph_sections(self, ((struct graph *)self)->heap);
}

static void
graph_dealloc(PyObject *self)
{
    struct graph *graph = (struct graph *)self;
    if (graph->heap != NULL) {
        if (graph->memory != NULL) {
            sections_return(graph->heap);
        }
        else {
            heapgraph_clear(graph->heap);
        }
        PyMem_RawFree(graph->heap);
    }
    Py_XDECREF(graph->memory);
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
    {"sections", graph_sections_method, METH_NOARGS,
     "sections() -> [Column], what `borrow` takes"},
    {"search", graph_search, METH_VARARGS,
     "search(groups, entries, leftovers, max_depth, max_nodes) -> Paths"},
    {"reverse", graph_reverse, METH_NOARGS, "reverse() -> (row, edge) Columns"},
    {"dominators", graph_dominators, METH_NOARGS,
     "dominators() -> (idom, retained, order) Columns"},
    {"leak_shares", graph_leak_shares, METH_VARARGS,
     "leak_shares(member, starts, n) -> [bytes], one for each suspect"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot graph_slots[] = {
    {Py_tp_dealloc, graph_dealloc},
    {Py_tp_methods, graph_methods},
    {0, NULL},
};

PyType_Spec graph_spec = {
    .name = "liveheap_client._graph.Graph",
    .basicsize = sizeof(struct graph),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = graph_slots,
};

PyObject *
graph_new(const struct module_state *state, struct heapgraph *heap, PyObject *memory)
{
    struct graph *graph = (struct graph *)state->graph->tp_alloc(state->graph, 0);
    if (graph != NULL) {
        graph->heap = heap;
        graph->memory = memory;
    }
    return (PyObject *)graph;
}
