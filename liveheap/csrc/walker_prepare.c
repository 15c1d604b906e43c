/* What a walk has to know beforehand and may ask Python for. */
#include <string.h>

#include "walker_state.h"

/* Process-wide: they never change, and the names are kept for ever. */
static struct {
    traverseproc subtype_traverse;
    PyObject *name_module;
} known;

static int
find_known(void)
{
    if (known.subtype_traverse != NULL) {
        return 0;
    }
    known.name_module = PyUnicode_InternFromString("__module__");
    PyObject *type = PyObject_CallFunction((PyObject *)&PyType_Type, "s(){}", "probe");
    if (known.name_module == NULL || type == NULL) {
        Py_XDECREF(type);
        return -1;
    }
    known.subtype_traverse = ((PyTypeObject *)type)->tp_traverse;
    Py_DECREF(type);
    return 0;
}

PyTypeObject *
walk_find_type(const char *module_name, const char *type_name)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), module_name);
    if (module == NULL || !PyModule_Check(module)) {
        return NULL;
    }
    PyObject *type = PyDict_GetItemString(PyModule_GetDict(module), type_name);
    return type != NULL && PyType_Check(type) ? (PyTypeObject *)type : NULL;
}

static void
find_greenlet(struct walk_request *request)
{
    request->greenlet = walk_find_type("greenlet", "greenlet");
    if (request->greenlet == NULL) {
        return;
    }
    PyObject *descriptor = PyDict_GetItemString(request->greenlet->tp_dict, "gr_frame");
    if (descriptor != NULL && Py_TYPE(descriptor) == &PyGetSetDescr_Type) {
        const PyGetSetDef *definition = ((PyGetSetDescrObject *)descriptor)->d_getset;
        request->greenlet_frame = definition->get;
        request->greenlet_frame_closure = definition->closure;
    }
}

static int
read_own_threads(struct walk_request *request, PyObject *threads)
{
    PyObject *items = PySequence_Fast(threads, "own_threads must be a sequence");
    if (items == NULL) {
        return -1;
    }
    Py_ssize_t n = PySequence_Fast_GET_SIZE(items);
    for (Py_ssize_t i = 0; i < n && i < WALK_MAX_OWN_THREADS; i++) {
        unsigned long id = PyLong_AsUnsignedLong(PySequence_Fast_GET_ITEM(items, i));
        if (id == (unsigned long)-1 && PyErr_Occurred()) {
            Py_DECREF(items);
            return -1;
        }
        request->own_threads[request->n_own_threads++] = id;
    }
    Py_DECREF(items);
    return 0;
}

static int
read_hash_key(struct walk_request *request, PyObject *key)
{
    if (!PyBytes_Check(key) || PyBytes_GET_SIZE(key) != SIPHASH_KEY) {
        PyErr_Format(PyExc_ValueError, "hash_key must be %d bytes", SIPHASH_KEY);
        return -1;
    }
    memcpy(request->hash_key, PyBytes_AS_STRING(key), SIPHASH_KEY);
    request->has_hash_key = true;
    return 0;
}

static int
read_options(struct walk_request *request, PyObject *options)
{
    if (options == NULL || options == Py_None) {
        return 0;
    }
    if (!PyDict_Check(options)) {
        PyErr_SetString(PyExc_TypeError, "options must be a dict");
        return -1;
    }
    PyObject *threads = PyDict_GetItemString(options, "own_threads");
    if (threads != NULL && read_own_threads(request, threads) < 0) {
        return -1;
    }
    PyObject *opaque = PyDict_GetItemString(options, "opaque_type");
    if (opaque != NULL && opaque != Py_None) {
        request->opaque_type = (uintptr_t)PyLong_AsVoidPtr(opaque);
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    PyObject *key = PyDict_GetItemString(options, "hash_key");
    if (key != NULL && key != Py_None && read_hash_key(request, key) < 0) {
        return -1;
    }
    PyObject *values = PyDict_GetItemString(options, "values");
    int wanted = values == NULL ? 0 : PyObject_IsTrue(values);
    if (wanted < 0) {
        return -1;
    }
    request->wants_values = wanted > 0;
    PyObject *expose = PyDict_GetItemString(options, "expose");
    int truth = expose == NULL ? 0 : PyObject_IsTrue(expose);
    if (truth > 0) {
        request->flags |= WALK_EXPOSE;
    }
    return truth < 0 ? -1 : 0;
}

/* Objects have an allocator of their own, unless PYTHONMALLOC says malloc. */
static bool
has_pools(void)
{
    PyMemAllocatorEx objects, raw;
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &objects);
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
    return objects.malloc != raw.malloc;
}

int
walk_prepare(struct walk_request *request, PyObject *options)
{
    *request = (struct walk_request){.interpreter = PyInterpreterState_Get()};
    if (find_known() < 0 || read_options(request, options) < 0) {
        return -1;
    }
    request->subtype_traverse = known.subtype_traverse;
    request->name_module = known.name_module;
    request->ndarray = walk_find_type("numpy", "ndarray");
    request->deque = walk_find_type("_collections", "deque");
    if (request->deque == NULL) {
        request->deque = walk_find_type("collections", "deque");
    }
    find_greenlet(request);
    request->has_pools = has_pools();
    sizes_prepare(request);
    return 0;
}
