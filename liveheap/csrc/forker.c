#include "compat.h"

#include "forker.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator.h"
#include "child.h"
#include "child_memory.h"
#include "clock.h"
#include "fences.h"
#include "sink.h"
#include "walker.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define COLLECTOR_PATIENCE_NS (50 * NS_PER_MS)

enum child_hold { HOLD_NOT = 0, HOLD_STOP = 1, HOLD_HANG = 2, HOLD_END = 3 };

/* All the child needs, gathered before the clone. */
struct run {
    struct walk_request request;
    struct fence_plan plan;
    struct fork_page *page;
    int histogram;
    enum child_hold hold;
};

/* ---- In the child: from here on nothing of Python and nothing of libc's state ---- */

_Noreturn static void
run_child(struct run *run)
{
    struct fork_page *page = run->page;
    uint32_t missing = 0;
    enum child_exit refused = fences_raise(&run->plan, &missing);
    page->missing = missing;
    if (refused != CHILD_DONE) {
        fences_exit(refused);
    }
    page->stage = STAGE_FENCED;
    if (run->hold == HOLD_STOP) {
        fences_stop_self();
    }
    if (run->hold == HOLD_HANG) {
        fences_hang();
    }
    child_memory_replace();
    page->stage = STAGE_WALKING;
    struct sink sink;
    if (sink_open(&sink, run->plan.spool_fd) < 0) {
        page->walk.system_error = sink.error;
        page->walk.code = WALK_NO_MEMORY;
    }
    else if (run->histogram) {
        walk_run_histogram(&run->request, &sink, &page->walk);
    }
    else {
        walk_run_graph(&run->request, &sink, &page->walk);
    }
    page->stage = STAGE_ENDED;
    if (run->hold == HOLD_END) {
        fences_stop_self();
    }
    fences_exit(CHILD_DONE);
}

/* ---- Starting a walk ---- */

/* A number of the options that must not be negative; 0 if absent. */
static int
option_number(PyObject *options, const char *key, double *value)
{
    *value = 0;
    PyObject *item = PyDict_GetItemString(options, key);
    if (item == NULL || item == Py_None) {
        return 0;
    }
    *value = PyFloat_AsDouble(item);
    if (*value == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(*value >= 0 && *value < 1e18)) {
        PyErr_Format(PyExc_ValueError, "option %s is out of range", key);
        return -1;
    }
    return 0;
}

static int
option_hold(PyObject *options, enum child_hold *hold)
{
    static const struct {
        const char *word;
        enum child_hold hold;
    } words[] = {{"stop", HOLD_STOP}, {"hang", HOLD_HANG}, {"end", HOLD_END}};
    *hold = HOLD_NOT;
    PyObject *item = PyDict_GetItemString(options, "hold");
    if (item == NULL || item == Py_None) {
        return 0;
    }
    for (size_t i = 0; PyUnicode_Check(item) && i < Py_ARRAY_LENGTH(words); i++) {
        if (PyUnicode_CompareWithASCIIString(item, words[i].word) == 0) {
            *hold = words[i].hold;
            return 0;
        }
    }
    PyErr_SetString(PyExc_ValueError, "option hold is stop, hang or end");
    return -1;
}

static int
read_options(struct run *run, int spool_fd, const char *kind, PyObject *options)
{
    double timeout_s, cpu_s, memory_bytes, spool_bytes;
    if (option_number(options, "timeout_s", &timeout_s) < 0 ||
        option_number(options, "cpu_s", &cpu_s) < 0 ||
        option_number(options, "memory_bytes", &memory_bytes) < 0 ||
        option_number(options, "spool_bytes", &spool_bytes) < 0 ||
        option_hold(options, &run->hold) < 0) {
        return -1;
    }
    run->histogram = strcmp(kind, "histogram") == 0;
    if (!run->histogram && strcmp(kind, "graph") != 0) {
        PyErr_SetString(PyExc_ValueError, "kind is \"graph\" or \"histogram\"");
        return -1;
    }
    if (spool_fd < 0) {
        PyErr_SetString(PyExc_ValueError, "spool_fd is not a file descriptor");
        return -1;
    }
    run->plan = (struct fence_plan){
        .name = "liveheap-walk",
        .thread = (pid_t)syscall(SYS_gettid),
        .parent = getpid(),
        .spool_fd = spool_fd,
        .timeout_us = (uint64_t)(timeout_s * 1e6),
        .cpu_s = (uint64_t)cpu_s,
        .memory_bytes = (uint64_t)memory_bytes,
        .spool_bytes = (uint64_t)spool_bytes,
    };
    return 0;
}

void
forker_wait_for_collector(void)
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    uint64_t deadline = clock_ns() + COLLECTOR_PATIENCE_NS;
    while (interpreter->gc.collecting && clock_ns() < deadline) {
        Py_BEGIN_ALLOW_THREADS
        clock_sleep(NS_PER_MS / 2);
        Py_END_ALLOW_THREADS
    }
}

/* The pause: from t0 to t1 the kernel copies the page tables while we hold the GIL. */
static int
clone_and_run(Child *self, struct run *run)
{
    uint64_t signals;
    fences_block_signals(&signals);
    uint64_t t0 = clock_ns();
    pid_t pid = fences_clone();
    if (pid == 0) {
        run_child(run);
    }
    int error = errno;
    uint64_t t1 = clock_ns();
    fences_restore_signals(&signals);
    if (pid < 0) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    child_born(self, pid, t1 - t0);
    return 0;
}

static PyObject *
snapshot_start(PyObject *module, PyObject *args)
{
    int spool_fd;
    const char *kind;
    PyObject *options;
    if (!PyArg_ParseTuple(args, "isO!:snapshot_start", &spool_fd, &kind, &PyDict_Type,
                          &options)) {
        return NULL;
    }
    struct run run = {.hold = HOLD_NOT};
    if (read_options(&run, spool_fd, kind, options) < 0) {
        return NULL;
    }
    Child *self = child_new(module);
    if (self == NULL) {
        return NULL;
    }
    run.page = self->page;
    forker_wait_for_collector();
    if (walk_prepare(&run.request, options) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    bool is_graph = strcmp(kind, "graph") == 0;
    run.request.flags |= WALK_EXPOSE | (run.request.has_pools ? WALK_POOLS : 0) |
                         (is_graph && allocator_is_glibc() ? WALK_MALLOC : 0);
    if (clone_and_run(self, &run) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* ---- Helpers of the benchmark and of prepare() ---- */

static PyObject *
bare_clone(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    uint64_t signals;
    fences_block_signals(&signals);
    uint64_t t0 = clock_ns();
    pid_t pid = fences_clone();
    if (pid == 0) {
        fences_exit(0);
    }
    int error = errno;
    uint64_t t1 = clock_ns();
    fences_restore_signals(&signals);
    if (pid < 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_BEGIN_ALLOW_THREADS
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) {
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLongLong(t1 - t0);
}

static void
sleep_seconds(double seconds)
{
    if (seconds > 0) {
        clock_sleep((uint64_t)(seconds < 10 ? seconds * 1e9 : 1e10));
    }
}

static PyObject *
rest(PyObject *Py_UNUSED(module), PyObject *args)
{
    double seconds;
    if (!PyArg_ParseTuple(args, "d:rest", &seconds)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    sleep_seconds(seconds);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *
collapse(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long address, length;
    double rest_s = 0;
    if (!PyArg_ParseTuple(args, "KK|d:collapse", &address, &length, &rest_s)) {
        return NULL;
    }
    int error = 0;
    Py_BEGIN_ALLOW_THREADS
    if (madvise((void *)(uintptr_t)address, (size_t)length, MADV_COLLAPSE) < 0) {
        error = errno;
    }
    sleep_seconds(rest_s);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(error);
}

PyMethodDef forker_methods[] = {
    {"snapshot_start", snapshot_start, METH_VARARGS,
     "snapshot_start(spool_fd, kind, options) -> Child\n\n"
     "Clone this process; the child writes its heap's 'graph' or 'histogram' to the\n"
     "spool. Options, besides the walker's: timeout_s, cpu_s, memory_bytes (more than\n"
     "at birth), spool_bytes; and for tests hold: the child stops itself\n"
     "before its walk ('stop') or after it ('end'), or hangs before it ('hang')."},
    {"bare_clone", bare_clone, METH_NOARGS,
     "Clone, let the child end at once, and return the nanoseconds of the clone."},
    {"rest", rest, METH_VARARGS,
     "rest(seconds)\n\n"
     "Sleep without the GIL, whatever the worker has made of time.sleep."},
    {"collapse", collapse, METH_VARARGS,
     "collapse(address, length, rest_s=0) -> errno\n\n"
     "madvise(MADV_COLLAPSE), then rest, both without the GIL."},
    {NULL, NULL, 0, NULL},
};

int
forker_add_types(PyObject *module)
{
    return child_add_type(module);
}
