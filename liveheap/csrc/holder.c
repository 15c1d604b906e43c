#include "holder.h"

#include "interned.h"

/* Of the strings below, in their order. */
enum {
    ASYNCIO,
    ASYNCIO_TASKS,
    CURRENT_TASK,
    DICT,
    EVENTS,
    GET_RUNNING_LOOP,
    GETCURRENT,
    GREENLET,
    PARENT,
    THREAD,
    N_STRINGS
};

static const char *const texts[N_STRINGS] = {
    "asyncio",           "asyncio.tasks", "current_task", "__dict__", "events",
    "_get_running_loop", "getcurrent",    "greenlet",     "parent",   "thread",
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

/* ---- whom to ask ---- */

/* All at once: who is finished by the last reference may ask for a holder. */
void
holder_forget(struct holder_sources *sources)
{
    struct holder_sources old = *sources;
    *sources = (struct holder_sources){NULL};
    Py_XDECREF(old.tasks);
    Py_XDECREF(old.events);
    Py_XDECREF(old.getcurrent);
    Py_XDECREF(old.parent);
}

int
holder_traverse(const struct holder_sources *sources, visitproc visit, void *arg)
{
    Py_VISIT(sources->tasks);
    Py_VISIT(sources->events);
    Py_VISIT(sources->getcurrent);
    Py_VISIT(sources->parent);
    return 0;
}

/* The attribute of what may be NULL, with an exception set or without one. */
static PyObject *
attribute(PyObject *op, int name)
{
    return op == NULL ? NULL : PyObject_GetAttr(op, strings[name]);
}

static PyObject *
attributes(PyObject *module)
{
    PyObject *names = attribute(module, DICT);
    if (names != NULL && !PyDict_Check(names)) {
        Py_CLEAR(names);
    }
    return names;
}

/* Put two new references in their places, if the second one is there; whether they are
 * in place in the end. */
static bool
keep(PyObject **place, PyObject *first, PyObject **other_place, PyObject *second)
{
    PyObject *old = first, *other_old = second;
    if (second != NULL) {
        old = *place;
        other_old = *other_place;
        *place = first;
        *other_place = second;
    }
    Py_XDECREF(old);
    Py_XDECREF(other_old);
    return second != NULL && *place != NULL;
}

static bool
find_asyncio(struct holder_sources *sources)
{
    PyObject *module = module_named(strings[ASYNCIO_TASKS]);
    PyObject *inner = attribute(module, EVENTS);
    PyObject *tasks = inner == NULL ? NULL : attributes(module);
    PyObject *events = tasks == NULL ? NULL : attributes(inner);
    Py_XDECREF(module);
    Py_XDECREF(inner);
    return keep(&sources->tasks, tasks, &sources->events, events);
}

static bool
find_greenlet(struct holder_sources *sources)
{
    PyObject *module = module_named(strings[GREENLET]);
    PyObject *type = attribute(module, GREENLET);
    PyObject *getcurrent = type == NULL ? NULL : attribute(module, GETCURRENT);
    PyObject *parent = getcurrent == NULL ? NULL : attribute(type, PARENT);
    Py_XDECREF(module);
    Py_XDECREF(type);
    return keep(&sources->getcurrent, getcurrent, &sources->parent, parent);
}

/* ---- what they say ---- */

static PyObject *
none_to_null(PyObject *found)
{
    if (found == Py_None) {
        Py_CLEAR(found);
    }
    return found;
}

/* Call what a module has under this name, with one argument or none. */
static PyObject *
ask(PyObject *names, int name, PyObject *argument)
{
    Py_INCREF(names); /* whoever switches the labels off meanwhile lets go of them */
    PyObject *answer = NULL;
    PyObject *function = Py_XNewRef(PyDict_GetItemWithError(names, strings[name]));
    if (function != NULL) {
        answer = argument == NULL ? PyObject_CallNoArgs(function)
                                  : PyObject_CallOneArg(function, argument);
    }
    Py_XDECREF(function);
    Py_DECREF(names);
    return none_to_null(answer);
}

static PyObject *
asyncio_task(struct holder_sources *sources)
{
    if (sources->events == NULL && !find_asyncio(sources)) {
        return NULL;
    }
    PyObject *loop = ask(sources->events, GET_RUNNING_LOOP, NULL);
    bool knows = loop != NULL && sources->tasks != NULL;
    PyObject *task = knows ? ask(sources->tasks, CURRENT_TASK, loop) : NULL;
    Py_XDECREF(loop);
    return task;
}

static PyObject *
parent_of(PyObject *parent, PyObject *greenlet)
{
    descrgetfunc get = Py_TYPE(parent)->tp_descr_get;
    return get == NULL ? NULL : get(parent, greenlet, (PyObject *)Py_TYPE(greenlet));
}

/* The greenlet that runs here, unless it is its thread's first one. */
static PyObject *
current_greenlet(struct holder_sources *sources)
{
    if (sources->getcurrent == NULL && !find_greenlet(sources)) {
        return NULL;
    }
    PyObject *getcurrent = Py_NewRef(sources->getcurrent);
    PyObject *descriptor = Py_NewRef(sources->parent);
    PyObject *current = PyObject_CallNoArgs(getcurrent);
    PyObject *parent =
        current == NULL ? NULL : none_to_null(parent_of(descriptor, current));
    if (parent == NULL) {
        Py_CLEAR(current);
    }
    Py_XDECREF(parent);
    Py_DECREF(getcurrent);
    Py_DECREF(descriptor);
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
holder_find(struct holder_sources *sources, PyObject **what)
{
    if (heap_is_finalizing()) { /* the modules go: they are asked as long as they stay */
        holder_forget(sources);
    }
    *what = strings[ASYNCIO];
    PyObject *holder = none_if_half_there(asyncio_task(sources));
    if (holder == NULL && PyErr_Occurred() == NULL) {
        *what = strings[GREENLET];
        holder = none_if_half_there(current_greenlet(sources));
    }
    return holder;
}
