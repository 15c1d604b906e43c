#include "interruption.h"

typedef struct {
    PyObject_HEAD
    /* Of the running call, else NULL; guarded by the GIL. The frame is owned. */
    PyThreadState *thread;
    PyFrameObject *frame;
    /* A function of Python's that does nothing. */
    PyObject *settle;
} Interruption;

static PyObject *
interruption_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *settle = NULL;
    if (!PyArg_ParseTuple(args, "O:Interruption", &settle) ||
        (keywords && PyDict_GET_SIZE(keywords))) {
        PyErr_SetString(PyExc_TypeError, "Interruption(settle) takes one argument");
        return NULL;
    }
    Interruption *self = (Interruption *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->settle = Py_NewRef(settle);
    }
    return (PyObject *)self;
}

static void
interruption_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF(((Interruption *)op)->frame);
    Py_XDECREF(((Interruption *)op)->settle);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Have what was raised too late raised in a function that does nothing.  To take it
 * back by PyThreadState_SetAsyncExc(id, NULL) would leave CPython 3.10 to 3.12 looking
 * for it at every turn of every loop, in all threads, for good. */
static void
settle(const Interruption *self, PyThreadState *thread)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    while (thread->async_exc != NULL) {
        Py_XDECREF(PyObject_CallNoArgs(self->settle));
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

static PyObject *
interruption_call(PyObject *op, PyObject *callable)
{
    Interruption *self = (Interruption *)op;
    if (self->thread != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this call is running");
        return NULL;
    }
    PyThreadState *thread = PyThreadState_Get();
    self->frame = PyThreadState_GetFrame(thread);
    self->thread = thread;
    PyObject *result = PyObject_CallNoArgs(callable);
    self->thread = NULL;
    settle(self, thread);
    Py_CLEAR(self->frame);
    return result;
}

/* Whether the call's frame is among those that its thread runs just now. */
static bool
is_current(const Interruption *self)
{
    PyFrameObject *frame = PyThreadState_GetFrame(self->thread);
    while (frame != NULL && frame != self->frame) {
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    bool found = frame != NULL;
    Py_XDECREF(frame);
    return found;
}

static PyObject *
interruption_interrupt(PyObject *op, PyObject *exception)
{
    Interruption *self = (Interruption *)op;
    if (self->thread == NULL || !is_current(self)) {
        Py_RETURN_FALSE;
    }
    PyThreadState_SetAsyncExc(self->thread->thread_id, exception);
    Py_RETURN_TRUE;
}

static PyMethodDef interruption_methods[] = {
    {"call", interruption_call, METH_O,
     "call(callable)\n\nCall it, and return what it returns."},
    {"interrupt", interruption_interrupt, METH_O,
     "interrupt(exception) -> bool\n\nRaise it in the running call, from another "
     "thread; false if none runs."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot interruption_slots[] = {
    {Py_tp_doc, "A call that another thread may interrupt."},
    {Py_tp_new, interruption_new},
    {Py_tp_dealloc, interruption_dealloc},
    {Py_tp_methods, interruption_methods},
    {0, NULL},
};

static PyType_Spec interruption_spec = {
    .name = "liveheap._heap.Interruption",
    .basicsize = sizeof(Interruption),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = interruption_slots,
};

int
interruption_add_type(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &interruption_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddObjectRef(module, "Interruption", type);
    Py_DECREF(type);
    return result;
}
