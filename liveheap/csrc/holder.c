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
static void
replace(struct holder_source *source, struct holder_source by)
{
    struct holder_source old = *source;
    *source = by;
    Py_XDECREF(old.module);
    Py_XDECREF(old.first);
    Py_XDECREF(old.second);
}

void
holder_forget(struct holder_sources *sources)
{
    replace(&sources->asyncio, (struct holder_source){NULL});
    replace(&sources->greenlet, (struct holder_source){NULL});
}

static int
traverse(const struct holder_source *source, visitproc visit, void *arg)
{
    Py_VISIT(source->module);
    Py_VISIT(source->first);
    Py_VISIT(source->second);
    return 0;
}

int
holder_traverse(const struct holder_sources *sources, visitproc visit, void *arg)
{
    int result = traverse(&sources->asyncio, visit, arg);
    return result != 0 ? result : traverse(&sources->greenlet, visit, arg);
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

static void
find_asyncio(struct holder_source *found)
{
    PyObject *events = attribute(found->module, EVENTS);
    found->first = events == NULL ? NULL : attributes(found->module);
    found->second = found->first == NULL ? NULL : attributes(events);
    Py_XDECREF(events);
}

static void
find_greenlet(struct holder_source *found)
{
    PyObject *type = attribute(found->module, GREENLET);
    found->first = type == NULL ? NULL : attribute(found->module, GETCURRENT);
    found->second = found->first == NULL ? NULL : attribute(type, PARENT);
    Py_XDECREF(type);
}

static struct holder_source
share(const struct holder_source *source)
{
    Py_XINCREF(source->module);
    Py_XINCREF(source->first);
    Py_XINCREF(source->second);
    return *source;
}

/* New references to what is kept, or to what is found now and kept from now on.  All
 * NULL if the module is not there, or not in full, with an exception set or without. */
static struct holder_source
look(struct holder_source *kept, int name, void (*find)(struct holder_source *))
{
    struct holder_source found = {module_named(strings[name]), NULL, NULL};
    if (found.module != NULL && found.module == kept->module) {
        Py_DECREF(found.module);
        return share(kept);
    }
    if (found.module != NULL) {
        find(&found);
    }
    if (found.second == NULL) {
        replace(&found, (struct holder_source){NULL});
        return found;
    }
    replace(kept, share(&found));
    return found;
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
    PyObject *answer = NULL;
    PyObject *function = Py_XNewRef(PyDict_GetItemWithError(names, strings[name]));
    if (function != NULL) {
        answer = argument == NULL ? PyObject_CallNoArgs(function)
                                  : PyObject_CallOneArg(function, argument);
    }
    Py_XDECREF(function);
    return none_to_null(answer);
}

static PyObject *
asyncio_task(struct holder_sources *sources)
{
    struct holder_source asyncio = look(&sources->asyncio, ASYNCIO_TASKS, find_asyncio);
    if (asyncio.module == NULL) {
        return NULL;
    }
    PyObject *loop = ask(asyncio.second, GET_RUNNING_LOOP, NULL);
    PyObject *task = loop == NULL ? NULL : ask(asyncio.first, CURRENT_TASK, loop);
    Py_XDECREF(loop);
    replace(&asyncio, (struct holder_source){NULL});
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
    struct holder_source greenlet = look(&sources->greenlet, GREENLET, find_greenlet);
    if (greenlet.module == NULL) {
        return NULL;
    }
    PyObject *current = PyObject_CallNoArgs(greenlet.first);
    PyObject *parent =
        current == NULL ? NULL : none_to_null(parent_of(greenlet.second, current));
    if (parent == NULL) {
        Py_CLEAR(current);
    }
    Py_XDECREF(parent);
    replace(&greenlet, (struct holder_source){NULL});
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
    *what = strings[ASYNCIO];
    PyObject *holder = none_if_half_there(asyncio_task(sources));
    if (holder == NULL && PyErr_Occurred() == NULL) {
        *what = strings[GREENLET];
        holder = none_if_half_there(current_greenlet(sources));
    }
    return holder;
}
