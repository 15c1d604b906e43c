#include "compat.h"

#include "forker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fences.h"
#include "sink.h"
#include "walker.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define COLLECTOR_PATIENCE_NS (50 * NS_PER_MS)

enum child_stage { STAGE_BORN = 0, STAGE_FENCED = 1, STAGE_WALKING = 2, STAGE_ENDED = 3 };

enum child_hold { HOLD_NOT = 0, HOLD_STOP = 1, HOLD_HANG = 2 };

static const char *const stage_names[] = {"born", "fenced", "walking", "ended"};
static const char *const phase_names[] = {"start", "lists", "roots",
                                          "sweep", "names", "end"};
static const char *const code_names[] = {"running", "complete", "no-memory",
                                         "write-failed", "table-full"};
static const char *const child_exit_names[] = {"orphan", "files-open", "signals-open",
                                               "no-watchdog"};

/* Shared with the child. The child writes, the parent reads, nobody locks. */
struct fork_page {
    struct walk_status walk;
    volatile uint32_t stage;
    volatile uint32_t missing; /* enum fence_missing */
};

typedef struct {
    PyObject_HEAD
    pid_t pid;
    pid_t owner; /* the process whose child it is */
    int pidfd;   /* -1 where the kernel has none */
    int reaped;
    int wait_status; /* valid once reaped; -1 if somebody else reaped it */
    struct rusage usage;
    uint64_t pause_ns;
    struct fork_page *page;
} Child;

/* All the child needs, gathered before the clone. */
struct run {
    struct walk_request request;
    struct fence_plan plan;
    struct fork_page *page;
    int histogram;
    enum child_hold hold;
};

static uint64_t
monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void
sleep_ns(uint64_t ns)
{
    struct timespec span = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    nanosleep(&span, NULL);
}

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
    fences_exit(CHILD_DONE);
}

/* ---- The type Child ---- */

/* Nobody but the process that cloned may signal or reap: elsewhere the number may by
 * now be anybody's. */
static int
is_mine(const Child *self)
{
    return self->pid > 0 && self->owner == getpid();
}

static void
send_kill(const Child *self)
{
    if (!is_mine(self) || self->reaped) {
        return;
    }
    if (self->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, self->pidfd, SIGKILL, NULL, 0);
    }
    else {
        kill(self->pid, SIGKILL);
    }
}

/* Reap with these wait4 options. Returns 1 if the child is known to have ended. */
static int
reap(Child *self, int options)
{
    if (self->reaped) {
        return 1;
    }
    int status = 0;
    struct rusage usage;
    pid_t got;
    do {
        got = wait4(self->pid, &status, options | __WALL, &usage);
    } while (got < 0 && errno == EINTR);
    if (got == 0) {
        return 0;
    }
    self->reaped = 1;
    self->wait_status = got == self->pid ? status : -1;
    if (got == self->pid) {
        self->usage = usage;
    }
    return 1;
}

/* As subprocess.returncode: the exit code, or minus the signal. */
static PyObject *
return_code(const Child *self)
{
    int status = self->wait_status;
    if (status < 0) {
        return PyLong_FromLong(-SIGKILL);
    }
    if (WIFSIGNALED(status)) {
        return PyLong_FromLong(-WTERMSIG(status));
    }
    return PyLong_FromLong(WEXITSTATUS(status));
}

static PyObject *
child_poll(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Child *self = (Child *)op;
    if (!is_mine(self)) {
        PyErr_SetString(PyExc_ChildProcessError, "not a child of this process");
        return NULL;
    }
    if (!reap(self, WNOHANG)) {
        Py_RETURN_NONE;
    }
    return return_code(self);
}

/* One wait without the GIL, no longer than `span_ns`. */
static void
wait_a_while(int pidfd, uint64_t span_ns, uint64_t *step_ns)
{
    if (pidfd >= 0) {
        struct pollfd ended = {.fd = pidfd, .events = POLLIN};
        struct timespec span = {(time_t)(span_ns / NS_PER_S),
                                (long)(span_ns % NS_PER_S)};
        ppoll(&ended, 1, &span, NULL);
        return;
    }
    sleep_ns(*step_ns < span_ns ? *step_ns : span_ns);
    if (*step_ns < 20 * NS_PER_MS) {
        *step_ns *= 2;
    }
}

static PyObject *
child_wait(PyObject *op, PyObject *args)
{
    Child *self = (Child *)op;
    double timeout_s = 0;
    if (!PyArg_ParseTuple(args, "d:wait", &timeout_s)) {
        return NULL;
    }
    if (!is_mine(self)) {
        PyErr_SetString(PyExc_ChildProcessError, "not a child of this process");
        return NULL;
    }
    timeout_s = timeout_s > 0 ? (timeout_s < 1e6 ? timeout_s : 1e6) : 0;
    uint64_t deadline = monotonic_ns() + (uint64_t)(timeout_s * 1e9);
    uint64_t step_ns = NS_PER_MS / 4;
    while (!reap(self, WNOHANG)) {
        uint64_t now = monotonic_ns();
        if (now >= deadline) {
            Py_RETURN_NONE;
        }
        Py_BEGIN_ALLOW_THREADS
        wait_a_while(self->pidfd, deadline - now, &step_ns);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }
    return return_code(self);
}

static PyObject *
child_kill(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    send_kill((Child *)op);
    Py_RETURN_NONE;
}

static PyObject *
child_forget(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Child *self = (Child *)op;
    if (self->owner == getpid() && !self->reaped) {
        PyErr_SetString(PyExc_RuntimeError, "only a process forked meanwhile may forget");
        return NULL;
    }
    if (self->pidfd >= 0) {
        close(self->pidfd);
        self->pidfd = -1;
    }
    Py_RETURN_NONE;
}

static const char *
name_of(const char *const *names, size_t n_names, uint32_t index)
{
    return index < n_names ? names[index] : "unknown";
}
#define NAME_OF(names, index) name_of((names), sizeof(names) / sizeof(*(names)), (index))

static const char *
end_of(const Child *self)
{
    int status = self->wait_status;
    if (!self->reaped) {
        return "running";
    }
    if (status < 0 || WIFSIGNALED(status)) {
        return "signal";
    }
    if (WEXITSTATUS(status) == CHILD_DONE) {
        return "done";
    }
    return NAME_OF(child_exit_names, (uint32_t)(WEXITSTATUS(status) - CHILD_ORPHAN));
}

/* Steals `value`. */
static int
put(PyObject *dict, const char *key, PyObject *value)
{
    int result = value == NULL ? -1 : PyDict_SetItemString(dict, key, value);
    Py_XDECREF(value);
    return result;
}

static int
put_counts(PyObject *dict, const struct walk_status *walk)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"nodes", walk->nodes},
        {"edges", walk->edges},
        {"bytes", walk->bytes},
        {"raw_bytes", walk->raw_bytes},
        {"listed", walk->listed},
        {"untracked", walk->untracked},
        {"frames", walk->frames},
        {"greenlets", walk->greenlets},
        {"borrowed", walk->borrowed},
        {"python_sizeof", walk->python_sizeof},
        {"opaque", walk->opaque},
        {"types", walk->types},
        {"memory", walk->memory},
        {"started_ns", walk->started_ns},
        {"listed_ns", walk->listed_ns},
        {"ended_ns", walk->ended_ns},
        {"flags", walk->flags},
        {"system_error", (uint64_t)walk->system_error},
        {"type_address", walk->type_address},
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        if (put(dict, counts[i].key, PyLong_FromUnsignedLongLong(counts[i].value)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
put_end(PyObject *dict, const Child *self)
{
    const struct rusage *usage = &self->usage;
    double cpu_s = (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
                   (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
    int by_signal = self->reaped && self->wait_status >= 0 &&
                    WIFSIGNALED(self->wait_status);
    if (put(dict, "end", PyUnicode_FromString(end_of(self))) < 0 ||
        put(dict, "signal",
            PyLong_FromLong(by_signal ? WTERMSIG(self->wait_status) : 0)) < 0 ||
        put(dict, "cpu_s", PyFloat_FromDouble(cpu_s)) < 0 ||
        put(dict, "minor_faults", PyLong_FromLong(usage->ru_minflt)) < 0) {
        return -1;
    }
    return 0;
}

static PyObject *
child_status(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const Child *self = (const Child *)op;
    const struct fork_page *page = self->page;
    char type_name[sizeof(page->walk.type_name)];
    memcpy(type_name, page->walk.type_name, sizeof(type_name));
    type_name[sizeof(type_name) - 1] = '\0';
    PyObject *dict = PyDict_New();
    if (dict == NULL) {
        return NULL;
    }
    if (put(dict, "stage",
            PyUnicode_FromString(NAME_OF(stage_names, page->stage))) < 0 ||
        put(dict, "phase",
            PyUnicode_FromString(NAME_OF(phase_names, page->walk.phase))) < 0 ||
        put(dict, "code",
            PyUnicode_FromString(NAME_OF(code_names, page->walk.code))) < 0 ||
        put(dict, "missing_fences", PyLong_FromUnsignedLong(page->missing)) < 0 ||
        put(dict, "type_name",
            PyUnicode_DecodeUTF8(type_name, (Py_ssize_t)strlen(type_name),
                                 "replace")) < 0 ||
        put_counts(dict, &page->walk) < 0 || put_end(dict, self) < 0) {
        Py_DECREF(dict);
        return NULL;
    }
    return dict;
}

static void
child_dealloc(PyObject *op)
{
    Child *self = (Child *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (is_mine(self) && !self->reaped) {
        send_kill(self);
        Py_BEGIN_ALLOW_THREADS
        reap(self, 0);
        Py_END_ALLOW_THREADS
    }
    if (self->pidfd >= 0) {
        close(self->pidfd);
    }
    if (self->page != NULL) {
        munmap(self->page, sizeof(*self->page));
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
child_get_pid(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(((Child *)op)->pid);
}

static PyObject *
child_get_pause_ns(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((Child *)op)->pause_ns);
}

static PyMethodDef child_methods[] = {
    {"status", child_status, METH_NOARGS, "What the walk says of itself, as a dict."},
    {"poll", child_poll, METH_NOARGS, "Exit code, minus the signal, or None."},
    {"wait", child_wait, METH_VARARGS, "As poll, after at most timeout_s seconds."},
    {"kill", child_kill, METH_NOARGS, "Kill it if it lives; wait() reaps."},
    {"forget", child_forget, METH_NOARGS, "In a forked process: close our copies."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef child_getset[] = {
    {"pid", child_get_pid, NULL, "The walking process.", NULL},
    {"pause_ns", child_get_pause_ns, NULL, "How long the clone stopped us.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot child_slots[] = {
    {Py_tp_doc, "A cloned process in which the walker runs."},
    {Py_tp_dealloc, child_dealloc},
    {Py_tp_methods, child_methods},
    {Py_tp_getset, child_getset},
    {0, NULL},
};

static PyType_Spec child_spec = {
    .name = "liveheap._heap.Child",
    .basicsize = sizeof(Child),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = child_slots,
};

/* A Child without a process, its page mapped. */
static Child *
new_child(PyObject *module)
{
    PyTypeObject *type = (PyTypeObject *)PyObject_GetAttrString(module, "Child");
    if (type == NULL) {
        return NULL;
    }
    if (!PyType_Check(type) || type->tp_dealloc != child_dealloc) {
        PyErr_SetString(PyExc_TypeError, "_heap.Child was replaced");
        Py_DECREF(type);
        return NULL;
    }
    Child *self = (Child *)type->tp_alloc(type, 0);
    Py_DECREF(type);
    if (self == NULL) {
        return NULL;
    }
    self->pidfd = -1;
    self->owner = getpid();
    void *page = mmap(NULL, sizeof(*self->page), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    self->page = page;
    return self;
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
    *hold = HOLD_NOT;
    PyObject *item = PyDict_GetItemString(options, "hold");
    if (item == NULL || item == Py_None) {
        return 0;
    }
    if (PyUnicode_Check(item) && PyUnicode_CompareWithASCIIString(item, "stop") == 0) {
        *hold = HOLD_STOP;
        return 0;
    }
    if (PyUnicode_Check(item) && PyUnicode_CompareWithASCIIString(item, "hang") == 0) {
        *hold = HOLD_HANG;
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, "option hold is \"stop\" or \"hang\"");
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
        .parent = getpid(),
        .spool_fd = spool_fd,
        .timeout_us = (uint64_t)(timeout_s * 1e6),
        .cpu_s = (uint64_t)cpu_s,
        .memory_bytes = (uint64_t)memory_bytes,
        .spool_bytes = (uint64_t)spool_bytes,
    };
    return 0;
}

/* Finalizers that run inside a collection may hand the GIL over; then its garbage is
 * on another thread's stack and on no list. Give it a little time, then go on: the
 * walk says so by WALK_GC_IN_PROGRESS. */
static void
wait_for_collector(void)
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    uint64_t deadline = monotonic_ns() + COLLECTOR_PATIENCE_NS;
    while (heap_is_collecting(interpreter) && monotonic_ns() < deadline) {
        Py_BEGIN_ALLOW_THREADS
        sleep_ns(NS_PER_MS / 2);
        Py_END_ALLOW_THREADS
    }
}

/* The pause: from t0 to t1 the kernel copies the page tables while we hold the GIL. */
static int
clone_and_run(Child *self, struct run *run)
{
    uint64_t signals;
    fences_block_signals(&signals);
    uint64_t t0 = monotonic_ns();
    pid_t pid = fences_clone();
    if (pid == 0) {
        run_child(run);
    }
    int error = errno;
    uint64_t t1 = monotonic_ns();
    fences_restore_signals(&signals);
    if (pid < 0) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    self->pid = pid;
    self->pause_ns = t1 - t0;
    self->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
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
    Child *self = new_child(module);
    if (self == NULL) {
        return NULL;
    }
    run.page = self->page;
    wait_for_collector();
    if (walk_prepare(&run.request, options) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    run.request.flags |= WALK_EXPOSE;
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
    uint64_t t0 = monotonic_ns();
    pid_t pid = fences_clone();
    if (pid == 0) {
        fences_exit(0);
    }
    int error = errno;
    uint64_t t1 = monotonic_ns();
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
    if (rest_s > 0) {
        sleep_ns((uint64_t)(rest_s < 10 ? rest_s * 1e9 : 1e10));
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(error);
}

PyMethodDef forker_methods[] = {
    {"snapshot_start", snapshot_start, METH_VARARGS,
     "snapshot_start(spool_fd, kind, options) -> Child\n\n"
     "Clone this process; the child writes its heap's 'graph' or 'histogram' to the\n"
     "spool. Options, besides the walker's: timeout_s, cpu_s, memory_bytes (more than\n"
     "at birth), spool_bytes; and for tests hold: 'stop' stops the child with SIGSTOP\n"
     "once its fences stand, 'hang' lets it hang there."},
    {"bare_clone", bare_clone, METH_NOARGS,
     "Clone, let the child end at once, and return the nanoseconds of the clone."},
    {"collapse", collapse, METH_VARARGS,
     "collapse(address, length, rest_s=0) -> errno\n\n"
     "madvise(MADV_COLLAPSE), then rest, both without the GIL."},
    {NULL, NULL, 0, NULL},
};

int
forker_add_types(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &child_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddObjectRef(module, "Child", type);
    Py_DECREF(type);
    return result;
}
