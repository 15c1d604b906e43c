#include "digest.h"

#include "sha256.h"

#define SMALL 4096

typedef struct {
    PyObject_HEAD
    struct sha256 hash;
} Sha256;

static PyObject *
digest_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    if (!PyArg_ParseTuple(args, ":Sha256") || (keywords && PyDict_GET_SIZE(keywords))) {
        PyErr_SetString(PyExc_TypeError, "Sha256() takes no arguments");
        return NULL;
    }
    Sha256 *self = (Sha256 *)type->tp_alloc(type, 0);
    if (self != NULL) {
        sha256_begin(&self->hash);
    }
    return (PyObject *)self;
}

static void
digest_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
digest_update(PyObject *op, PyObject *data)
{
    Sha256 *self = (Sha256 *)op;
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (view.len < SMALL) {
        sha256_update(&self->hash, view.buf, (size_t)view.len);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        sha256_update(&self->hash, view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyObject *
digest_hexdigest(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST];
    char text[2 * SHA256_DIGEST];
    sha256_digest(&((Sha256 *)op)->hash, digest);
    for (int i = 0; i < SHA256_DIGEST; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    return PyUnicode_FromStringAndSize(text, sizeof(text));
}

static PyMethodDef digest_methods[] = {
    {"update", digest_update, METH_O, "update(bytes)\n\nAdd bytes, without the GIL."},
    {"hexdigest", digest_hexdigest, METH_NOARGS, "The hash of the bytes so far."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot digest_slots[] = {
    {Py_tp_doc, "SHA-256, as hashlib's, for one thread."},
    {Py_tp_new, digest_new},
    {Py_tp_dealloc, digest_dealloc},
    {Py_tp_methods, digest_methods},
    {0, NULL},
};

static PyType_Spec digest_spec = {
    .name = "liveheap._heap.Sha256",
    .basicsize = sizeof(Sha256),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = digest_slots,
};

int
digest_add_type(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &digest_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddObjectRef(module, "Sha256", type);
    Py_DECREF(type);
    return result;
}
