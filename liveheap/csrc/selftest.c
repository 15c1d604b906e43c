/* What is found through compat.h, compared with what the interpreter says.
 *
 * A patch version may move a field: then the walker would read nonsense, in the child
 * at best a crash.  So before its first use the engine looks at objects made for the
 * purpose, whose references, names and sizes are known, at a running frame, and at the
 * collector's lists.  All of it is bounded: a big heap makes it no slower.
 */
#include "selftest.h"

#include "walker_state.h"

#include <string.h>

struct selftest {
    PyObject *names; /* what the source defines */
    struct walk walk;
    struct walk_request request;
    struct walk_status status;
    struct sink sink;
};

static int
fail(const char *what, PyObject *object)
{
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_RuntimeError, "%s of %.100s", what,
                     object == NULL ? "the heap" : Py_TYPE(object)->tp_name);
    }
    return -1;
}

/* ---- a walk that writes nothing ---- */

static void
ignore_type(struct walk *walk, struct type_entry *entry)
{
    (void)walk;
    (void)entry;
}

static void
ignore_code(struct walk *walk, PyCodeObject *code)
{
    (void)walk;
    (void)code;
}

static const struct visitor silent = {.on_type = ignore_type, .on_code = ignore_code};

/* Gives the test a builtin module without running an import of the worker's. */
static int
give_module(struct selftest *test, const char *name)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), name);
    if (module != NULL) {
        return PyDict_SetItemString(test->names, name, module);
    }
    module = PyImport_ImportModule(name);
    int result = module == NULL ? -1 : PyDict_SetItemString(test->names, name, module);
    Py_XDECREF(module);
    return result;
}

static int
open_test(struct selftest *test)
{
    test->names = PyDict_New();
    if (test->names == NULL || walk_prepare(&test->request, NULL) < 0 ||
        PyDict_SetItemString(test->names, "__builtins__", PyEval_GetBuiltins()) < 0 ||
        give_module(test, "sys") < 0 || give_module(test, "gc") < 0) {
        return -1;
    }
    PyObject *result =
        PyRun_String(selftest_source, Py_file_input, test->names, test->names);
    Py_XDECREF(result);
    test->walk.request = &test->request;
    test->walk.status = &test->status;
    test->walk.sink = &test->sink;
    test->walk.visitor = &silent;
    if (result == NULL || sink_open(&test->sink, -1) < 0 ||
        walk_open(&test->walk) < 0) {
        return fail("no memory for a walk", NULL);
    }
    return 0;
}

static void
close_test(struct selftest *test)
{
    if (test->walk.request != NULL) {
        walk_close(&test->walk);
        sink_close(&test->sink);
    }
    Py_XDECREF(test->names);
}

/* ---- references and their names ---- */

static struct node
collect(struct walk *walk, PyObject *object)
{
    struct type_entry *entry = types_find(walk, Py_TYPE(object));
    struct node node = {.object = object, .entry = entry};
    walk->refs.n = 0;
    walk->work.n = 0;
    edges_collect(walk, object, entry, &node);
    return node;
}

struct wanted {
    size_t position;
    size_t next;
    const char *name;
    bool found;
};

static void
match_field(struct walk *walk, void *argument, enum field_kind kind, PyObject *name,
            const char *text)
{
    struct wanted *wanted = argument;
    (void)walk;
    (void)kind;
    if (wanted->next++ == wanted->position) {
        wanted->found = name != NULL
                            ? PyUnicode_CompareWithASCIIString(name, wanted->name) == 0
                            : text != NULL && strcmp(text, wanted->name) == 0;
    }
}

static bool
is_local(PyCodeObject *code, size_t position, const char *wanted)
{
    PyObject *tuples[3];
    int n = heap_code_local_names(code, tuples);
    for (int i = 0; i < n; i++) {
        size_t length = (size_t)PyTuple_GET_SIZE(tuples[i]);
        if (position < length) {
            PyObject *name = PyTuple_GET_ITEM(tuples[i], (Py_ssize_t)position);
            return PyUnicode_CompareWithASCIIString(name, wanted) == 0;
        }
        position -= length;
    }
    return false;
}

static bool
is_named(struct walk *walk, const struct node *node, size_t position, PyObject *name)
{
    if (PyLong_Check(name)) {
        return position < node->n_items && position == PyLong_AsSize_t(name);
    }
    struct wanted wanted = {.name = PyUnicode_AsUTF8(name)};
    if (position < node->n_items) {
        return node->code != NULL && is_local(node->code, position, wanted.name);
    }
    wanted.position = position - node->n_items;
    types_visit_fields(walk, node->entry, match_field, &wanted);
    return wanted.found;
}

/* In 3.10 a generator's locals lie in its frame object. */
static PyObject *
frame_of_generator(PyObject *object)
{
#if !HEAP_BARE_FRAMES
    if (PyGen_CheckExact(object)) {
        return (PyObject *)((PyGenObject *)object)->gi_frame;
    }
#endif
    return object;
}

/* In 3.10 attributes lie in a dict. */
static PyObject *
holder_of(PyObject *object, PyObject *target)
{
    if (!HEAP_BARE_FRAMES && PyUnicode_Check(target)) {
        PyTypeObject *type = Py_TYPE(object);
        bool is_plain = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
                        type->tp_dictoffset > 0 && !PyType_Check(object);
        if (is_plain) {
            return NULL;
        }
    }
    return frame_of_generator(object);
}

static int
check_case(struct selftest *test, PyObject *item)
{
    PyObject *target = PyTuple_GET_ITEM(item, 1);
    PyObject *name = PyTuple_GET_ITEM(item, 2);
    PyObject *object = PyTuple_GET_ITEM(item, 0);
    PyObject *holder = holder_of(object, name);
    if (holder == NULL) {
        return 0;
    }
    struct node node = collect(&test->walk, holder);
    if (target == Py_None) {
        return 0;
    }
    for (size_t i = 0; i < test->walk.refs.n; i++) {
        if (test->walk.refs.items[i] == (uintptr_t)target &&
            is_named(&test->walk, &node, i, name)) {
            return 0;
        }
    }
    return fail("a reference is missing or misnamed", object);
}

static int
check_cases(struct selftest *test)
{
    PyObject *cases = PyDict_GetItemString(test->names, "cases");
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(cases); i++) {
        if (check_case(test, PyList_GET_ITEM(cases, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- sizes ---- */

static int
check_size(struct selftest *test, PyObject *getsizeof, PyObject *object)
{
    PyObject *result = PyObject_CallOneArg(getsizeof, object);
    size_t wanted = result == NULL ? (size_t)-1 : PyLong_AsSize_t(result);
    Py_XDECREF(result);
    if (PyErr_Occurred()) {
        return -1;
    }
    struct type_entry *entry = types_find(&test->walk, Py_TYPE(object));
    if (sizes_shallow(object, entry) != wanted) {
        return fail("a wrong size", object);
    }
    return 0;
}

static int
check_sizes(struct selftest *test)
{
    PyObject *getsizeof = PySys_GetObject("getsizeof");
    PyObject *sized = PyDict_GetItemString(test->names, "sized");
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(sized); i++) {
        if (check_size(test, getsizeof, PyList_GET_ITEM(sized, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- a running frame ---- */

#if HEAP_BARE_FRAMES
static bool
frame_holds(PyThreadState *thread, PyObject *object)
{
    _PyInterpreterFrame *frame = heap_thread_frame(thread);
    while (frame != NULL && heap_frame_is_shim(frame)) {
        frame = frame->previous;
    }
    PyCodeObject *code = frame == NULL ? NULL : heap_frame_code(frame);
    size_t n = code == NULL ? 0 : (size_t)code->co_nlocalsplus;
    for (size_t i = 0; i < n; i++) {
        if (heap_slot_object(frame->localsplus[i]) == object) {
            int line = heap_frame_line(frame, code);
            return is_local(code, i, "running") && line == code->co_firstlineno + 2;
        }
    }
    return false;
}
#else
static bool
frame_holds(PyThreadState *thread, PyObject *object)
{
    const PyFrameObject *frame = thread->frame;
    size_t n = frame == NULL ? 0 : heap_code_n_locals(frame->f_code);
    for (size_t i = 0; i < n; i++) {
        if (frame->f_localsplus[i] == object) {
            return is_local(frame->f_code, i, "running");
        }
    }
    return false;
}
#endif

/* Called by hold() of the source with the object that is its local. */
static PyObject *
look(PyObject *capsule, PyObject *object)
{
    PyThreadState *current = PyThreadState_Get();
    PyThreadState *thread = heap_first_thread(PyInterpreterState_Get());
    (void)capsule;
    while (thread != NULL && thread != current) {
        thread = thread->next;
    }
    if (thread == NULL || !frame_holds(thread, object)) {
        (void)fail("a running frame does not show a local", object);
        return NULL;
    }
    return Py_NewRef(Py_None);
}

static PyMethodDef look_method = {"look", look, METH_O, NULL};

static int
check_frame(struct selftest *test)
{
    PyObject *hold = PyDict_GetItemString(test->names, "hold");
    PyObject *function = PyCFunction_New(&look_method, NULL);
    PyObject *result = function == NULL ? NULL : PyObject_CallOneArg(hold, function);
    Py_XDECREF(function);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* ---- the collector's lists ---- */

#define COUNT_MAX ((size_t)20000)

/* Objects on a list from its newest end, at most COUNT_MAX; whether one of them is
 * `wanted`. */
static size_t
count_list(PyGC_Head *list, const PyObject *wanted, bool *found)
{
    size_t n = 0;
    PyGC_Head *head = heap_gc_prev(list);
    while (head != list && n < COUNT_MAX) {
        *found = *found || (PyObject *)(head + 1) == wanted;
        if (heap_gc_next(heap_gc_prev(head)) != head) {
            return COUNT_MAX + 1;
        }
        head = heap_gc_prev(head);
        n++;
    }
    return n;
}

/* The number that gc.get_objects() gives, or -1. */
static Py_ssize_t
count_by_interpreter(PyObject *collector)
{
    PyObject *objects = PyObject_CallMethod(collector, "get_objects", NULL);
    Py_ssize_t n = objects == NULL ? -1 : PyList_GET_SIZE(objects);
    Py_XDECREF(objects);
    return n;
}

static int
check_lists(struct selftest *test)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyObject *collector = PyDict_GetItemString(test->names, "gc");
    PyObject *sentinel = PyList_New(0);
    if (sentinel == NULL) {
        return -1;
    }
    size_t total = 0;
    bool found = false;
    for (int i = 0; i < HEAP_GC_LISTS; i++) {
        size_t n = count_list(heap_gc_list(interp, i), sentinel, &found);
        bool is_permanent = i == HEAP_GC_LISTS - 1;
        total += n >= COUNT_MAX ? COUNT_MAX : is_permanent ? 0 : n;
        if (n > COUNT_MAX) {
            found = false;
            break;
        }
    }
    Py_DECREF(sentinel);
    if (!found) {
        return fail("the collector's lists do not hold a new object", NULL);
    }
    if (total < COUNT_MAX) {
        Py_ssize_t n = count_by_interpreter(collector);
        Py_ssize_t more = n - (Py_ssize_t)total;
        if (n < 0 || more < -16 || more > 16) {
            return fail("the collector's lists hold another number", NULL);
        }
    }
    return 0;
}

int
selftest_run(void)
{
    struct selftest test = {0};
    int result = -1;
    if (open_test(&test) == 0 && check_lists(&test) == 0 && check_cases(&test) == 0 &&
        check_sizes(&test) == 0 && check_frame(&test) == 0) {
        result = 0;
    }
    if (result < 0) {
        (void)fail("the self-test could not run", NULL);
    }
    close_test(&test);
    return result;
}
