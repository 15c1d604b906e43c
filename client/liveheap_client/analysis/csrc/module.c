/* liveheap_client._graph: the Python face of the heap graph.
 *
 *   Decoder()                      .feed(bytes)  .finish(allow_truncated) -> Graph
 *   Graph                          .column(name) .name(i) .find_name(text) .facts()
 *                                  .types() .codes() .frames() .roots() .modules()
 *                                  .warnings() .search(...) -> Paths  .reverse()
 *                                  .dominators() .leak_shares(...) .sections()
 *   borrow(memory, lengths, ...)   -> Graph, of what .sections() gave
 *   Paths                          .column(name) .truncated
 *   Column                         a read-only buffer, for numpy.frombuffer
 *
 * Only the public C API. Columns are views: each keeps its graph alive. The work is
 * done without the GIL; a Graph does not change once it is made, and a Decoder
 * refuses to be fed by two threads at once.
 */
#include "module.h"

PyObject *
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

void
free_instance(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

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
    PyObject *sizes = section_item_sizes();
    int rc =
        sizes == NULL ? -1 : PyModule_AddObjectRef(module, "SECTION_ITEM_SIZES", sizes);
    Py_XDECREF(sizes);
    return rc;
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

static PyMethodDef module_methods[] = {
    {"borrow", graph_borrow, METH_VARARGS,
     "borrow(memory, lengths, unknown_targets) -> Graph"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_graph",
    .m_size = sizeof(struct module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC
PyInit__graph(void)
{
    return PyModuleDef_Init(&module_def);
}
