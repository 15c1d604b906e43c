#include "child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fences.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static const char *const stage_names[] = {"born", "fenced", "walking", "ended"};
static const char *const phase_names[] = {"start", "lists", "roots",
                                          "sweep", "names", "end"};
static const char *const code_names[] = {"running", "complete", "no-memory",
                                         "write-failed", "table-full"};
static const char *const child_exit_names[] = {"orphan", "files-open", "signals-open",
                                               "no-watchdog", "raised"};

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
    if (is_mine(self) && !self->reaped) {
        kill(self->pid, SIGKILL);
    }
}

/* A worker may close descriptors that it did not open (daemons close all), and open
 * others under their numbers. A number that is no pidfd any more is not ours. */
static void
drop_pidfd(Child *self)
{
    if (self->pidfd >= 0 &&
        (syscall(SYS_pidfd_send_signal, self->pidfd, 0, NULL, 0) == 0 ||
         errno != EBADF)) {
        close(self->pidfd);
    }
    self->pidfd = -1;
    self->pidfd_is_off = 1;
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

/* The number must not be closed under a thread that is about to poll it. */
static void
close_pidfd_if_done(Child *self)
{
    if (self->reaped && self->n_waiting == 0) {
        drop_pidfd(self);
    }
}

/* As subprocess.returncode: the exit code, or minus the signal. */
static long
end_code(const Child *self)
{
    int status = self->wait_status;
    if (status < 0) {
        return -SIGKILL;
    }
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
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
    close_pidfd_if_done(self);
    return PyLong_FromLong(end_code(self));
}

/* One wait without the GIL, no longer than `span_ns`. 1 if the pidfd says that the
 * child has ended. */
static int
wait_a_while(int pidfd, uint64_t span_ns, uint64_t *step_ns)
{
    if (pidfd >= 0) {
        struct pollfd ended = {.fd = pidfd, .events = POLLIN};
        struct timespec span = clock_span(span_ns);
        return ppoll(&ended, 1, &span, NULL) > 0;
    }
    clock_sleep(*step_ns < span_ns ? *step_ns : span_ns);
    if (*step_ns < 20 * NS_PER_MS) {
        *step_ns *= 2;
    }
    return 0;
}

/* Opened here, with the GIL held, so that no fork of the worker can fall between the
 * opening and the moment when Child.forget can find it. */
static int
pidfd_of(Child *self)
{
    if (self->pidfd < 0 && !self->pidfd_is_off) {
        self->pidfd = (int)syscall(SYS_pidfd_open, self->pid, 0);
        self->pidfd_is_off = self->pidfd < 0;
    }
    return self->pidfd;
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
    uint64_t deadline = clock_ns() + (uint64_t)(timeout_s * 1e9);
    uint64_t step_ns = NS_PER_MS / 4;
    while (!reap(self, WNOHANG)) {
        uint64_t now = clock_ns();
        if (now >= deadline) {
            Py_RETURN_NONE;
        }
        int pidfd = pidfd_of(self);
        int ended;
        self->n_waiting++;
        Py_BEGIN_ALLOW_THREADS
        ended = wait_a_while(pidfd, deadline - now, &step_ns);
        Py_END_ALLOW_THREADS
        self->n_waiting--;
        if (ended && !reap(self, WNOHANG) && self->n_waiting == 0) {
            drop_pidfd(self);
        }
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }
    close_pidfd_if_done(self);
    return PyLong_FromLong(end_code(self));
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
        PyErr_SetString(PyExc_RuntimeError,
                        "only a process forked meanwhile may forget");
        return NULL;
    }
    drop_pidfd(self);
    Py_RETURN_NONE;
}

static const char *
name_of(const char *const *names, size_t n_names, uint32_t index)
{
    return index < n_names ? names[index] : "unknown";
}
#define NAME_OF(names, index) \
    name_of((names), sizeof(names) / sizeof(*(names)), (index))

static const char *
end_of(const Child *self)
{
    if (!self->reaped) {
        return "running";
    }
    long code = end_code(self);
    if (code <= 0) {
        return code < 0 ? "signal" : "done";
    }
    return NAME_OF(child_exit_names, (uint32_t)(code - CHILD_ORPHAN));
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
        {"opaque", walk->opaque},
        {"types", walk->types},
        {"pool_used", walk->pool_used},
        {"pool_free", walk->pool_free},
        {"malloc_used", walk->malloc_used},
        {"malloc_free", walk->malloc_free},
        {"malloc_mapped", walk->malloc_mapped},
        {"malloc_known", walk->malloc_known},
        {"memory", walk->memory},
        {"started_ns", walk->started_ns},
        {"listed_ns", walk->listed_ns},
        {"ended_ns", walk->ended_ns},
        {"flags", walk->flags},
        {"system_error", (uint64_t)walk->system_error},
        {"type_address", walk->type_address},
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        if (put(dict, counts[i].key, PyLong_FromUnsignedLongLong(counts[i].value)) <
            0) {
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
    long code = self->reaped ? end_code(self) : 0;
    if (put(dict, "end", PyUnicode_FromString(end_of(self))) < 0 ||
        put(dict, "signal", PyLong_FromLong(code < 0 ? -code : 0)) < 0 ||
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
    if (put(dict, "stage", PyUnicode_FromString(NAME_OF(stage_names, page->stage))) <
            0 ||
        put(dict, "phase",
            PyUnicode_FromString(NAME_OF(phase_names, page->walk.phase))) < 0 ||
        put(dict, "code", PyUnicode_FromString(NAME_OF(code_names, page->walk.code))) <
            0 ||
        put(dict, "missing_fences", PyLong_FromUnsignedLong(page->missing)) < 0 ||
        put(dict, "type_name",
            PyUnicode_DecodeUTF8(type_name, (Py_ssize_t)strlen(type_name), "replace")) <
            0 ||
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
    drop_pidfd(self);
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

Child *
child_new(PyObject *module)
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

void
child_born(Child *self, pid_t pid, uint64_t pause_ns)
{
    self->pid = pid;
    self->pause_ns = pause_ns;
}

int
child_add_type(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &child_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddObjectRef(module, "Child", type);
    Py_DECREF(type);
    return result;
}
