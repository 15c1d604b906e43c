#include "undispatched.h"

#include "interned.h"

/* Of the strings below, in their order. */
enum { NAME, RECEIVERS, SELF, SENDER, TASK_ID, UNKNOWN, N_STRINGS };

static const char *const texts[N_STRINGS] = {
    "name", "receivers", "__self__", "sender", "task_id", "?",
};

static PyObject *strings[N_STRINGS];

/* What a `send` of ours is bound to: a tuple, in this order. */
enum { SEND, SIGNAL, RECEIVER, SAY, KIND, N_PARTS };

/* The arguments of a call, as vectorcall has them. */
struct call {
    PyObject *const *args;
    Py_ssize_t n;
    PyObject *names;
};

/* 1 if nobody but the receiver listens; 0 as well if that cannot be known, -1 with an
 * exception set. */
static int
is_sole(PyObject *signal, PyObject *receiver)
{
    PyObject *receivers = PyObject_GetAttr(signal, strings[RECEIVERS]);
    if (receivers == NULL) {
        return -1;
    }
    int result = 0;
    if (PyList_Check(receivers) && PyList_GET_SIZE(receivers) == 1) {
        PyObject *pair = PyList_GET_ITEM(receivers, 0);
        result = PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2 &&
                 PyTuple_GET_ITEM(pair, 1) == receiver;
    }
    Py_DECREF(receivers);
    return result;
}

/* The argument of this name, borrowed, or NULL. */
static PyObject *
named(struct call call, int name)
{
    Py_ssize_t n = call.names == NULL ? 0 : PyTuple_GET_SIZE(call.names);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyTuple_GET_ITEM(call.names, i) == strings[name]) {
            return call.args[call.n + i];
        }
    }
    return NULL;
}

/* The sender's name, or a question mark. */
static PyObject *
name_of(PyObject *sender)
{
    PyObject *name = PyObject_GetAttr(sender, strings[NAME]);
    if (name == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        name = Py_NewRef(strings[UNKNOWN]);
    }
    return name;
}

static PyObject *
begin(PyObject *say, PyObject *kind, PyObject *sender, PyObject *task_id)
{
    PyObject *name = name_of(sender);
    if (name == NULL) {
        return NULL;
    }
    PyObject *args[] = {kind, name, task_id};
    PyObject *said = PyObject_Vectorcall(say, args, HEAP_LENGTH(args), NULL);
    Py_DECREF(name);
    return said;
}

static PyObject *
end(PyObject *say, PyObject *kind, PyObject *sender, PyObject *task_id)
{
    PyObject *args[] = {kind, task_id};
    (void)sender;
    return PyObject_Vectorcall(say, args, HEAP_LENGTH(args), NULL);
}

typedef PyObject *(*receive)(PyObject *, PyObject *, PyObject *, PyObject *);

static PyObject *
send_or_receive(PyObject *bound, struct call call, receive receive)
{
    PyObject *sender = named(call, SENDER), *task_id = named(call, TASK_ID);
    int is_ours = 0;
    if (sender != NULL && task_id != NULL) {
        is_ours =
            is_sole(PyTuple_GET_ITEM(bound, SIGNAL), PyTuple_GET_ITEM(bound, RECEIVER));
    }
    if (is_ours < 0) {
        return NULL;
    }
    if (!is_ours) {
        return PyObject_Vectorcall(PyTuple_GET_ITEM(bound, SEND), call.args,
                                   (size_t)call.n, call.names);
    }
    PyObject *said = receive(PyTuple_GET_ITEM(bound, SAY),
                             PyTuple_GET_ITEM(bound, KIND), sender, task_id);
    if (said == NULL) {
        return NULL;
    }
    Py_DECREF(said);
    Py_RETURN_NONE;
}

static PyObject *
send_begin(PyObject *bound, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    return send_or_receive(bound, (struct call){args, n, names}, begin);
}

static PyObject *
send_end(PyObject *bound, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    return send_or_receive(bound, (struct call){args, n, names}, end);
}

#define AS_METHOD(function) ((PyCFunction)(void (*)(void))(function))
#define KEYWORDS (METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef send_begin_method = {"send", AS_METHOD(send_begin), KEYWORDS, NULL};
static PyMethodDef send_end_method = {"send", AS_METHOD(send_end), KEYWORDS, NULL};

static PyObject *
bind(PyMethodDef *method, PyObject *args)
{
    PyObject *send, *receiver, *say, *kind, *result = NULL;
    if (!PyArg_ParseTuple(args, "OOOU", &send, &receiver, &say, &kind)) {
        return NULL;
    }
    PyObject *signal = PyObject_GetAttr(send, strings[SELF]);
    PyObject *bound = signal == NULL
                          ? NULL
                          : PyTuple_Pack(N_PARTS, send, signal, receiver, say, kind);
    if (bound != NULL) {
        result = PyCFunction_New(method, bound);
    }
    Py_XDECREF(signal);
    Py_XDECREF(bound);
    return result;
}

PyDoc_STRVAR(send_that_begins_doc,
             "send_that_begins(send, receiver, begin, kind) -> send\n\n"
             "Return what does as a signal's bound `send`, but where its only\n"
             "receiver is this one calls begin(kind, sender.name, task_id) instead.");

static PyObject *
send_that_begins(PyObject *module, PyObject *args)
{
    (void)module;
    return bind(&send_begin_method, args);
}

PyDoc_STRVAR(send_that_ends_doc, "send_that_ends(send, receiver, end, kind) -> send\n\n"
                                 "The same with end(kind, task_id).");

static PyObject *
send_that_ends(PyObject *module, PyObject *args)
{
    (void)module;
    return bind(&send_end_method, args);
}

static PyMethodDef functions[] = {
    {"send_that_begins", send_that_begins, METH_VARARGS, send_that_begins_doc},
    {"send_that_ends", send_that_ends, METH_VARARGS, send_that_ends_doc},
    {NULL, NULL, 0, NULL},
};

int
undispatched_add(PyObject *module)
{
    if (interned_fill(strings, texts, N_STRINGS) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
