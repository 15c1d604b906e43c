#include "module.h"

struct column {
    PyObject_HEAD
    PyObject *owner; /* whose memory it is, or NULL */
    void *memory;    /* our own memory, or NULL */
    const void *data;
    Py_ssize_t length;
    Py_ssize_t item_size;
    const char *format;
};

PyObject *
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

PyObject *
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

PyType_Spec column_spec = {
    .name = "liveheap_client._graph.Column",
    .basicsize = sizeof(struct column),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = column_slots,
};

PyObject *
column_find(const struct module_state *state, PyObject *owner, const void *base,
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
