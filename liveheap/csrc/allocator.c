/* Which allocator a worker has is seen in its blocks, not in the build: LD_PRELOAD puts
 * jemalloc before glibc, musl has no gnu_get_libc_version, PYTHONMALLOC takes pymalloc
 * away. Where the symbol malloc lies is no answer: an executable that takes its address
 * has a stub of its own for it. glibc writes a block's length before it.
 */
#define _GNU_SOURCE
#include "allocator.h"

#include "clock.h"
#include "descriptors.h"
#include "residence.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_PORTS 8
#define MOST_THREADS 512
#define TOO_SMALL_TO_SPLIT 16u

typedef const char *(*version_function)(void);
typedef int (*trim_function)(size_t);

/* The file that a function of this process lies in; NULL if nobody knows. */
static const char *
file_of(void *function)
{
    Dl_info info;
    if (function == NULL || dladdr(function, &info) == 0) {
        return NULL;
    }
    return info.dli_fname;
}

/* Whether glibc's account of its length stands before a block. Copied by the kernel: a
 * block of somebody else's may begin where memory begins. */
static bool
has_glibc_header(const void *block, size_t size)
{
    uint64_t word = 0;
    struct iovec local = {&word, sizeof(word)};
    struct iovec remote = {(char *)block - sizeof(word), sizeof(word)};
    size_t length = (size + sizeof(word) + 15) & ~(size_t)15;
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof(word) &&
           (word & ~UINT64_C(7)) - length <= TOO_SMALL_TO_SPLIT;
}

static bool
behaves_like_glibc(void)
{
    static const size_t sizes[] = {104, 1000, 3000};
    bool is_alike = true;
    for (size_t i = 0; i < HEAP_LENGTH(sizes); i++) {
        void *block = malloc(sizes[i]);
        is_alike = is_alike && block != NULL && has_glibc_header(block, sizes[i]);
        free(block);
    }
    return is_alike;
}

/* glibc's version, if malloc is glibc's; NULL if it is somebody else's. */
static const char *
glibc_version(void)
{
    void *version = dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
    if (version == NULL || !behaves_like_glibc()) {
        return NULL;
    }
    version_function function;
    memcpy(&function, &version, sizeof(function));
    return function();
}

bool
allocator_is_glibc(void)
{
    return glibc_version() != NULL;
}

static const char *
base_name(const char *path)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

PyDoc_STRVAR(
    allocators_doc,
    "allocators() -> dict\n\n"
    "Who gives out memory: python ('pymalloc', 'malloc', ..., or None), glibc\n"
    "(its version if malloc is its own, or None), malloc (the file it is in).");

static PyObject *
allocators(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    const char *glibc = glibc_version();
    void *malloc_or_libc =
        dlsym(RTLD_DEFAULT, glibc == NULL ? "malloc" : "gnu_get_libc_version");
    return Py_BuildValue("{s:z,s:z,s:z}", "python", heap_allocator_name(), "glibc",
                         glibc, "malloc", base_name(file_of(malloc_or_libc)));
}

static int
put(PyObject *dict, const char *key, PyObject *value)
{
    int result = value == NULL ? -1 : PyDict_SetItemString(dict, key, value);
    Py_XDECREF(value);
    return result;
}

static PyObject *
residence_dict(const struct residence *all)
{
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"rss", all->rss},
        {"exclusive", all->exclusive},
        {"inherited", all->inherited},
        {"swapped", all->swapped},
        {"objects", all->objects},
        {"pool_free", all->pool_free},
        {"pool_overhead", all->pool_overhead},
        {"malloc_used", all->malloc_used},
        {"malloc_free", all->malloc_free},
        {"malloc_mapped", all->malloc_mapped},
        {"trimmable", all->trimmable},
        {"arenas", all->arenas},
        {"files", all->files},
        {"relocations", all->relocations},
        {"shared", all->shared},
        {"stacks", all->stacks},
        {"main_stack", all->main_stack},
        {"anonymous", all->anonymous},
        {"n_mappings", all->n_mappings},
        {"n_pools", all->n_pools},
        {"n_arenas", all->n_arenas},
        {"n_stacks", all->n_stacks},
        {"n_free_chunks", all->n_free_chunks},
    };
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && i < HEAP_LENGTH(numbers); i++) {
        if (put(dict, numbers[i].key, PyLong_FromUnsignedLongLong(numbers[i].value)) <
            0) {
            Py_CLEAR(dict);
        }
    }
    if (dict != NULL &&
        (put(dict, "malloc_known", PyBool_FromLong(all->malloc_known)) < 0 ||
         put(dict, "cut_short", PyBool_FromLong(all->cut_short)) < 0)) {
        Py_CLEAR(dict);
    }
    return dict;
}

static uint64_t
deadline(double seconds)
{
    return clock_ns() + (uint64_t)(seconds * (double)NS_PER_S);
}

/* The address of a thread's descriptor is what Python calls its ident. The main thread's
 * is in a small mapping of the loader's. */
static size_t
list_threads(uintptr_t *threads, size_t most)
{
    size_t n = 0;
    PyThreadState *thread = heap_first_thread(PyInterpreterState_Get());
    for (; thread != NULL && n < most; thread = thread->next) {
        if (thread->thread_id != _PyRuntime.main_thread) {
            threads[n++] = (uintptr_t)thread->thread_id;
        }
    }
    return n;
}

PyDoc_STRVAR(
    residence_doc,
    "residence(seconds, smaps=None) -> dict\n\n"
    "Where resident memory goes; see residence.h. Without the GIL, and for no\n"
    "longer than some seconds. smaps is a path to read instead of pagemap.");

static PyObject *
residence(PyObject *module, PyObject *args)
{
    double seconds;
    const char *path = NULL;
    struct residence all;
    (void)module;
    if (!PyArg_ParseTuple(args, "d|z:residence", &seconds, &path)) {
        return NULL;
    }
    uintptr_t threads[MOST_THREADS];
    const struct residence_request request = {
        .smaps = path,
        .glibc = allocator_is_glibc(),
        .deadline_ns = deadline(seconds),
        .threads = threads,
        .n_threads = list_threads(threads, MOST_THREADS),
    };
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = residence_read(&all, &request);
    Py_END_ALLOW_THREADS
    return result < 0 ? PyErr_SetFromErrno(PyExc_OSError) : residence_dict(&all);
}

PyDoc_STRVAR(trim_doc, "trim() -> nanoseconds\n\n"
                       "malloc_trim(0) without the GIL; RuntimeError if malloc is not\n"
                       "glibc's. Whoever calls malloc meanwhile waits.");

static PyObject *
trim(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    void *found = dlsym(RTLD_DEFAULT, "malloc_trim");
    trim_function function;
    if (found == NULL || !allocator_is_glibc()) {
        PyErr_SetString(PyExc_RuntimeError, "malloc is not glibc's");
        return NULL;
    }
    memcpy(&function, &found, sizeof(function));
    uint64_t began, ended;
    Py_BEGIN_ALLOW_THREADS
    began = clock_ns();
    (void)function(0);
    ended = clock_ns();
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLongLong(ended - began);
}

/* ---- descriptors ---- */

/* The ports with the most sockets, as a list of (port, number). */
static PyObject *
most_used(uint32_t *ports)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < MOST_PORTS; i++) {
        int most = 0;
        for (int port = 0; port < DESCRIPTOR_PORTS; port++) {
            most = ports[port] > ports[most] ? port : most;
        }
        if (ports[most] == 0) {
            break;
        }
        PyObject *pair = Py_BuildValue("(iI)", most, (unsigned)ports[most]);
        ports[most] = 0;
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *
kinds_dict(const struct descriptors *all)
{
    PyObject *dict = PyDict_New();
    for (int kind = 0; dict != NULL && kind < FD_KINDS; kind++) {
        if (all->kinds[kind] != 0 &&
            put(dict, descriptor_kinds[kind],
                PyLong_FromUnsignedLongLong(all->kinds[kind])) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyObject *
descriptors_dict(struct descriptors *all)
{
    PyObject *dict = PyDict_New();
    if (dict != NULL && (put(dict, "n", PyLong_FromUnsignedLongLong(all->n)) < 0 ||
                         put(dict, "cut_short", PyBool_FromLong(all->cut_short)) < 0 ||
                         put(dict, "kinds", kinds_dict(all)) < 0 ||
                         put(dict, "local_ports", most_used(all->local)) < 0 ||
                         put(dict, "remote_ports", most_used(all->remote)) < 0)) {
        Py_CLEAR(dict);
    }
    return dict;
}

PyDoc_STRVAR(
    descriptors_doc,
    "descriptors(seconds) -> dict\n\n"
    "Count open files: n, kinds (a dict), local_ports and remote_ports of TCP\n"
    "sockets (the most used first, with their number), cut_short (there was no\n"
    "time for all). Without the GIL.");

static PyObject *
descriptors(PyObject *module, PyObject *arg)
{
    double seconds = PyFloat_AsDouble(arg);
    (void)module;
    if (PyErr_Occurred()) {
        return NULL;
    }
    struct descriptors *all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        return PyErr_NoMemory();
    }
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = descriptors_count(all, deadline(seconds));
    Py_END_ALLOW_THREADS
    PyObject *dict =
        result < 0 ? PyErr_SetFromErrno(PyExc_OSError) : descriptors_dict(all);
    (void)munmap(all, sizeof(*all));
    return dict;
}

PyMethodDef allocator_methods[] = {
    {"allocators", allocators, METH_NOARGS, allocators_doc},
    {"residence", residence, METH_VARARGS, residence_doc},
    {"trim", trim, METH_NOARGS, trim_doc},
    {"descriptors", descriptors, METH_O, descriptors_doc},
    {NULL, NULL, 0, NULL},
};
