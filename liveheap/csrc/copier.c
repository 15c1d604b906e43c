#include "compat.h"

#include "copier.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "clock.h"
#include "fences.h"
#include "forker.h"

/* All that the copy needs, gathered before the clone. */
struct copy {
    struct fence_plan plan;
    struct fork_page *page;
    PyObject *program; /* borrowed; called with the frames */
    PyObject *frames;
};

/* ---- In the child ---- */

_Noreturn static void
run_copy(struct copy *copy)
{
    struct fork_page *page = copy->page;
    uint32_t missing = 0;
    enum child_exit refused = fences_raise(&copy->plan, &missing);
    page->missing = missing;
    if (refused != CHILD_DONE) {
        fences_exit(refused);
    }
    page->stage = STAGE_FENCED;
    heap_keep_one_thread(PyThreadState_Get());
    PyGC_Disable(); /* a collection would be of the worker's whole heap */
    PyOS_AfterFork_Child();
    page->stage = STAGE_WALKING;
    PyObject *result = PyObject_CallOneArg(copy->program, copy->frames);
    page->stage = STAGE_ENDED;
    fences_exit(result == NULL ? CHILD_RAISED : CHILD_DONE);
}

/* ---- In the worker ---- */

/* From here to the end of the parent's side the GIL is not released, if the caller holds
 * the import lock: taking it a second time does not wait. */
static pid_t
clone_between_hooks(struct copy *copy)
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    const struct heap_fork_hooks none = {NULL, NULL, NULL};
    struct heap_fork_hooks hooks = heap_swap_fork_hooks(interpreter, none);
    uint64_t signals;
    PyOS_BeforeFork();
    fences_block_signals(&signals);
    pid_t pid = fences_clone_program();
    if (pid == 0) {
        run_copy(copy);
    }
    int error = errno;
    fences_restore_signals(&signals);
    PyOS_AfterFork_Parent();
    heap_swap_fork_hooks(interpreter, hooks);
    errno = error;
    return pid;
}

static PyObject *
copy_start(PyObject *module, PyObject *args)
{
    struct copy copy = {.program = NULL};
    double timeout_s;
    unsigned long long memory_bytes, file_bytes;
    int fd;
    if (!PyArg_ParseTuple(args, "iOdKK:copy_start", &fd, &copy.program, &timeout_s,
                          &memory_bytes, &file_bytes)) {
        return NULL;
    }
    if (fd < 0 || !PyCallable_Check(copy.program) ||
        !(timeout_s > 0 && timeout_s < 1e6)) {
        PyErr_SetString(PyExc_ValueError, "copy_start() wants a file, a callable, and "
                                          "a time that ends");
        return NULL;
    }
    copy.plan = (struct fence_plan){
        .name = "liveheap-clone",
        .thread = (pid_t)syscall(SYS_gettid),
        .parent = getpid(),
        .spool_fd = fd,
        .timeout_us = (uint64_t)(timeout_s * 1e6),
        .cpu_s = (uint64_t)timeout_s + 2,
        .memory_bytes = memory_bytes,
        .spool_bytes = file_bytes,
    };
    Child *self = child_new(module);
    PyObject *current_frames = PySys_GetObject("_current_frames"); /* borrowed */
    if (self == NULL || current_frames == NULL) {
        Py_XDECREF((PyObject *)self);
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_RuntimeError, "no frames");
    }
    copy.page = self->page;
    forker_wait_for_collector();
    uint64_t t0 = clock_ns();
    copy.frames = PyObject_CallNoArgs(current_frames);
    if (copy.frames == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    pid_t pid = clone_between_hooks(&copy);
    if (pid < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(copy.frames);
        Py_DECREF(self);
        return NULL;
    }
    child_born(self, pid, clock_ns() - t0);
    Py_DECREF(copy.frames);
    return (PyObject *)self;
}

PyMethodDef copier_methods[] = {
    {"copy_start", copy_start, METH_VARARGS,
     "copy_start(fd, program, timeout_s, memory_bytes, file_bytes) -> Child\n\n"
     "Clone this process; the copy keeps `fd` alone of its files, calls "
     "program(frames)\n"
     "with sys._current_frames() of the moment before, and ends with it. It may take\n"
     "memory_bytes more than at birth and write files of file_bytes (0: no limit), and "
     "is\n"
     "killed after timeout_s. Call it with the import lock held."},
    {NULL, NULL, 0, NULL},
};
