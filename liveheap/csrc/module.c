/* The extension module liveheap._heap.
 *
 * It loads into the interpreter it was built for and into no other: the walker reads
 * structs that change with each minor version.  A wrong one is an ImportError that says
 * so, which liveheap/heap.py turns into "engine off"; so is a free-threaded build,
 * whose objects lie elsewhere.  Where the sources cannot be compiled at all, CMake
 * defines LIVEHEAP_UNSUPPORTED and this file stands alone.
 */
#ifdef LIVEHEAP_UNSUPPORTED

#include <Python.h>

static int
heap_exec(PyObject *module)
{
    (void)module;
    PyErr_Format(PyExc_ImportError,
                 "liveheap's engine does not support this build of CPython %d.%d%s",
                 PY_MAJOR_VERSION, PY_MINOR_VERSION,
#ifdef Py_GIL_DISABLED
                 " (free-threaded)"
#else
                 ""
#endif
    );
    return -1;
}

static PyMethodDef heap_methods[] = {{NULL, NULL, 0, NULL}};

#else

#include "allocator.h"
#include "copier.h"
#include "digest.h"
#include "forker.h"
#include "interruption.h"
#include "labels.h"
#include "process.h"
#include "selftest.h"
#include "undispatched.h"
#include "walker.h"

#include <errno.h>
#include <string.h>

static int
check_version(void)
{
    const char *running = Py_GetVersion();
    int major = 0, minor = 0;
    if (sscanf(running, "%d.%d", &major, &minor) == 2 &&
        major == HEAP_BUILT_FOR_MAJOR && minor == HEAP_BUILT_FOR_MINOR) {
        return 0;
    }
    PyErr_Format(PyExc_ImportError,
                 "liveheap's engine was built for CPython %d.%d and cannot be used "
                 "with %d.%d",
                 HEAP_BUILT_FOR_MAJOR, HEAP_BUILT_FOR_MINOR, major, minor);
    return -1;
}

static int
heap_exec(PyObject *module)
{
    if (check_version() < 0) {
        return -1;
    }
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "liveheap's engine works in the main interpreter only");
        return -1;
    }
    if (PyModule_AddFunctions(module, forker_methods) < 0 ||
        PyModule_AddFunctions(module, copier_methods) < 0 ||
        PyModule_AddFunctions(module, process_methods) < 0 ||
        PyModule_AddFunctions(module, allocator_methods) < 0) {
        return -1;
    }
    if (forker_add_types(module) < 0 || interruption_add_type(module) < 0 ||
        labels_add_types(module) < 0 || undispatched_add(module) < 0) {
        return -1;
    }
    return digest_add_type(module);
}

static int
put_number(PyObject *dict, const char *key, uint64_t number)
{
    PyObject *value = PyLong_FromUnsignedLongLong(number);
    int result = value == NULL ? -1 : PyDict_SetItemString(dict, key, value);
    Py_XDECREF(value);
    return result;
}

static PyObject *
status_dict(const struct walk_status *status)
{
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"code", status->code},
        {"flags", status->flags},
        {"system_error", (uint64_t)status->system_error},
        {"nodes", status->nodes},
        {"edges", status->edges},
        {"bytes", status->bytes},
        {"raw_bytes", status->raw_bytes},
        {"listed", status->listed},
        {"untracked", status->untracked},
        {"frames", status->frames},
        {"greenlets", status->greenlets},
        {"borrowed", status->borrowed},
        {"opaque", status->opaque},
        {"types", status->types},
        {"pool_used", status->pool_used},
        {"pool_free", status->pool_free},
        {"malloc_used", status->malloc_used},
        {"malloc_free", status->malloc_free},
        {"malloc_mapped", status->malloc_mapped},
        {"malloc_known", status->malloc_known},
        {"memory", status->memory},
        {"started_ns", status->started_ns},
        {"listed_ns", status->listed_ns},
        {"ended_ns", status->ended_ns},
    };
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && i < HEAP_LENGTH(numbers); i++) {
        if (put_number(dict, numbers[i].key, numbers[i].value) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

typedef void (*walk_runner)(const struct walk_request *, struct sink *,
                            struct walk_status *);

static PyObject *
walk_into(int fd, walk_runner runner, PyObject *options)
{
    struct walk_request request;
    struct walk_status status = {0};
    struct sink sink;
    if (walk_prepare(&request, options) < 0) {
        return NULL;
    }
    if (sink_open(&sink, fd) < 0) {
        errno = sink.error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    runner(&request, &sink, &status);
    sink_close(&sink);
    if (status.code == WALK_TABLE_FULL) {
        PyErr_SetString(PyExc_RuntimeError, "the heap has more types than the walker "
                                            "has room for");
        return NULL;
    }
    if (status.code != WALK_COMPLETE) {
        errno = status.system_error != 0 ? status.system_error : EIO;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return status_dict(&status);
}

PyDoc_STRVAR(
    walk_here_doc,
    "walk_here(fd, kind='graph', options=None) -> dict\n\n"
    "Walk the heap in this process, holding the GIL, and write the records of a\n"
    "'graph' or 'histogram' to fd (-1: nowhere).  Stops the worker for as long as it\n"
    "takes.");

static PyObject *
walk_here(PyObject *module, PyObject *args)
{
    int fd;
    const char *kind = "graph";
    PyObject *options = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "i|sO:walk_here", &fd, &kind, &options)) {
        return NULL;
    }
    if (strcmp(kind, "graph") == 0) {
        return walk_into(fd, walk_run_graph, options);
    }
    if (strcmp(kind, "histogram") == 0) {
        return walk_into(fd, walk_run_histogram, options);
    }
    PyErr_Format(PyExc_ValueError, "kind must be 'graph' or 'histogram', not '%.50s'",
                 kind);
    return NULL;
}

PyDoc_STRVAR(histogram_here_doc, "histogram_here(fd, options=None) -> dict\n\n"
                                 "walk_here() with kind 'histogram'.");

static PyObject *
histogram_here(PyObject *module, PyObject *args)
{
    int fd;
    PyObject *options = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "i|O:histogram_here", &fd, &options)) {
        return NULL;
    }
    return walk_into(fd, walk_run_histogram, options);
}

static int
call_pending(void *callable)
{
    PyObject *result = PyObject_CallNoArgs(callable);
    Py_DECREF((PyObject *)callable);
    if (result == NULL) {
        PyErr_WriteUnraisable(NULL);
        return 0;
    }
    Py_DECREF(result);
    return 0;
}

PyDoc_STRVAR(
    add_pending_call_doc,
    "add_pending_call(callable) -> bool\n\n"
    "Have the main thread call it soon, between two of its bytecodes.  False if the\n"
    "interpreter's queue is full.");

static PyObject *
add_pending_call(PyObject *module, PyObject *callable)
{
    (void)module;
    if (!PyCallable_Check(callable)) {
        PyErr_SetString(PyExc_TypeError, "add_pending_call() takes a callable");
        return NULL;
    }
    Py_INCREF(callable);
    if (Py_AddPendingCall(call_pending, callable) < 0) {
        Py_DECREF(callable);
        Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(
    selftest_doc,
    "selftest() -> None\n\n"
    "Compare what the walker reads with what the interpreter says; RuntimeError with\n"
    "the reason on a difference.");

static PyObject *
selftest(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return selftest_run() < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef heap_methods[] = {
    {"walk_here", walk_here, METH_VARARGS, walk_here_doc},
    {"histogram_here", histogram_here, METH_VARARGS, histogram_here_doc},
    {"add_pending_call", add_pending_call, METH_O, add_pending_call_doc},
    {"selftest", selftest, METH_NOARGS, selftest_doc},
    {NULL, NULL, 0, NULL},
};

#endif

static PyModuleDef_Slot heap_slots[] = {
    {Py_mod_exec, heap_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef heap_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "liveheap._heap",
    .m_doc = "The engine: reads the heap of this process.",
    .m_methods = heap_methods,
    .m_slots = heap_slots,
};

PyMODINIT_FUNC
PyInit__heap(void)
{
    return PyModuleDef_Init(&heap_module);
}
