#include "module.h"

#include "decode.h"
#include "resolve.h"

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
    PyObject *graph = graph_new(state, self->heap, NULL);
    if (graph != NULL) {
        self->heap = NULL;
    }
    decoder_end(self);
    return graph;
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

PyType_Spec decoder_spec = {
    .name = "liveheap_client._graph.Decoder",
    .basicsize = sizeof(struct py_decoder),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = decoder_slots,
};
