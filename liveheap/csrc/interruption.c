#include "interruption.h"

typedef struct {
    PyObject_HEAD
    /* Of the running call, else NULL; guarded by the GIL. The frame is owned. */
    PyThreadState *thread;
    PyFrameObject *frame;
    bool asked;
} Interruption;

static PyObject *
interruption_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    if (!PyArg_ParseTuple(args, ":Interruption") ||
        (keywords && PyDict_GET_SIZE(keywords))) {
        PyErr_SetString(PyExc_TypeError, "Interruption() takes no arguments");
        return NULL;
    }
    return type->tp_alloc(type, 0);
}

static void
interruption_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF(((Interruption *)op)->frame);
    type->tp_free(op);
    Py_DECREF(type);
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
    self->asked = false;
    self->thread = thread;
    PyObject *result = PyObject_CallNoArgs(callable);
    self->thread = NULL;
    if (self->asked) {
        PyThreadState_SetAsyncExc(thread->thread_id, NULL);
    }
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
    self->asked = true;
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
