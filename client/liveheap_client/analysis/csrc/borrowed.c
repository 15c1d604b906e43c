#include "module.h"

#include "sections.h"

PyObject *
graph_sections(PyObject *graph, struct heapgraph *heap)
{
    const struct module_state *state = state_of(Py_TYPE(graph));
    PyObject *list = PyList_New(N_SECTIONS);
    for (size_t i = 0; list != NULL && i < N_SECTIONS; i++) {
        const struct vec_u8 *vec = sections_at(heap, i);
        PyObject *section =
            column_new(state, graph, vec->at, vec->n * SECTIONS[i].item_size, 1, "B");
        if (section == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, section);
    }
    return list;
}

PyObject *
section_item_sizes(void)
{
    PyObject *sizes = PyTuple_New(N_SECTIONS);
    for (size_t i = 0; sizes != NULL && i < N_SECTIONS; i++) {
        PyObject *size = PyLong_FromSize_t(SECTIONS[i].item_size);
        if (size == NULL) {
            Py_CLEAR(sizes);
            break;
        }
        PyTuple_SET_ITEM(sizes, (Py_ssize_t)i, size);
    }
    return sizes;
}

/* Find the sections in the memory. 0, or -1 with an exception. */
static int
find_places(const Py_buffer *memory, PyObject *lengths, const void **places,
            size_t *counts)
{
    enum { ALIGNMENT = 8 };
    size_t left = (size_t)memory->len;
    const char *at = memory->buf;
    if (PyTuple_GET_SIZE(lengths) != N_SECTIONS || (uintptr_t)at % ALIGNMENT != 0) {
        PyErr_SetString(PyExc_ValueError, "memory or lengths that nothing here made");
        return -1;
    }
    for (size_t i = 0; i < N_SECTIONS; i++) {
        size_t length = PyLong_AsSize_t(PyTuple_GET_ITEM(lengths, (Py_ssize_t)i));
        if (length == (size_t)-1 && PyErr_Occurred()) {
            return -1;
        }
        size_t padding = (ALIGNMENT - length % ALIGNMENT) % ALIGNMENT;
        if (length > left || padding > left - length ||
            length % SECTIONS[i].item_size != 0) {
            PyErr_SetString(PyExc_ValueError, "a section leads out of the memory");
            return -1;
        }
        places[i] = at;
        counts[i] = length / SECTIONS[i].item_size;
        at += length + padding;
        left -= length + padding;
    }
    return 0;
}

PyObject *
graph_borrow(PyObject *module, PyObject *args)
{
    const struct module_state *state = PyModule_GetState(module);
    PyObject *source;
    PyObject *lengths;
    unsigned long long unknown_targets;
    const void *places[N_SECTIONS];
    size_t counts[N_SECTIONS];
    int rc;
    if (!PyArg_ParseTuple(args, "OO!K:borrow", &source, &PyTuple_Type, &lengths,
                          &unknown_targets)) {
        return NULL;
    }
    PyObject *memory = PyMemoryView_GetContiguous(source, PyBUF_READ, 'C');
    if (memory == NULL) {
        return NULL;
    }
    struct heapgraph *heap = PyMem_RawCalloc(1, sizeof(*heap));
    if (heap == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    if (find_places(PyMemoryView_GET_BUFFER(memory), lengths, places, counts) < 0) {
        goto failed;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = sections_borrow(heap, places, counts);
    Py_END_ALLOW_THREADS
    heap->n_unknown_targets = unknown_targets;
    PyObject *graph = rc < 0 ? raise_graph_error(state, rc, heap->why)
                             : graph_new(state, heap, memory);
    if (graph != NULL) {
        return graph;
    }
    sections_return(heap);
failed:
    PyMem_RawFree(heap);
    Py_DECREF(memory);
    return NULL;
}
