#include "holder.h"

#include "interned.h"

/* Of the strings below, in their order. */
enum {
    ASYNCIO,
    ASYNCIO_TASKS,
    CURRENT_TASK,
    EVENTS,
    GET_RUNNING_LOOP,
    GETCURRENT,
    GREENLET,
    PARENT,
    THREAD,
    N_STRINGS
};

static const char *const texts[N_STRINGS] = {
    "asyncio",    "asyncio.tasks", "current_task", "events", "_get_running_loop",
    "getcurrent", "greenlet",      "parent",       "thread",
};

static PyObject *strings[N_STRINGS];

int
holder_prepare(void)
{
    return interned_fill(strings, texts, N_STRINGS);
}

PyObject *
holder_thread(void)
{
    return strings[THREAD];
}

/* A module that has been imported, or NULL, with an exception set or without one.
 * PyImport_GetModuleDict() would end a process that exits and has no modules any more. */
static PyObject *
module_named(PyObject *name)
{
    PyObject *modules = heap_modules(PyInterpreterState_Get());
    if (modules == NULL || !PyDict_Check(modules)) {
        return NULL;
    }
    PyObject *module = PyDict_GetItemWithError(modules, name);
    return module == Py_None ? NULL : Py_XNewRef(module);
}

static PyObject *
none_to_null(PyObject *found)
{
    if (found == Py_None) {
        Py_CLEAR(found);
    }
    return found;
}

static PyObject *
running_loop(PyObject *tasks)
{
    PyObject *events = PyObject_GetAttr(tasks, strings[EVENTS]);
    if (events == NULL) {
        return NULL;
    }
    PyObject *loop = PyObject_CallMethodNoArgs(events, strings[GET_RUNNING_LOOP]);
    Py_DECREF(events);
    return none_to_null(loop);
}

static PyObject *
asyncio_task(void)
{
    PyObject *tasks = module_named(strings[ASYNCIO_TASKS]);
    if (tasks == NULL) {
        return NULL;
    }
    PyObject *task = NULL, *loop = running_loop(tasks);
    if (loop != NULL) {
        task = PyObject_CallMethodOneArg(tasks, strings[CURRENT_TASK], loop);
        Py_DECREF(loop);
    }
    Py_DECREF(tasks);
    return none_to_null(task);
}

/* The greenlet that runs here, unless it is its thread's first one. */
static PyObject *
current_greenlet(void)
{
    PyObject *module = module_named(strings[GREENLET]);
    if (module == NULL) {
        return NULL;
    }
    PyObject *current = PyObject_CallMethodNoArgs(module, strings[GETCURRENT]);
    Py_DECREF(module);
    PyObject *parent =
        current == NULL ? NULL : PyObject_GetAttr(current, strings[PARENT]);
    if (parent == NULL || parent == Py_None) {
        Py_CLEAR(current);
    }
    Py_XDECREF(parent);
    return current;
}

/* On what is not imported in full yet, by another thread, nothing runs. */
static PyObject *
none_if_half_there(PyObject *found)
{
    if (found == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
    }
    return found;
}

PyObject *
holder_find(PyObject **what)
{
    *what = strings[ASYNCIO];
    PyObject *holder = none_if_half_there(asyncio_task());
    if (holder == NULL && PyErr_Occurred() == NULL) {
        *what = strings[GREENLET];
        holder = none_if_half_there(current_greenlet());
    }
    return holder;
}
