#include "labels.h"

#include "labels_state.h"

/* None instead of an error of ours; anything else is the host's. */
static PyObject *
none_for_ours(const Labels *self)
{
    if (labels_hosts_error(self)) {
        return NULL;
    }
    PyErr_Clear();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(begin_doc, "begin(kind, name, id=None) -> Token | None\n\n"
                        "Say that a task begins here.  Raises nothing of its own.");

static PyObject *
labels_begin(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    Labels *self = (Labels *)op;
    if (n < 2 || n > 3) {
        PyErr_SetString(PyExc_TypeError, "begin() takes a kind, a name and an id");
        return NULL;
    }
    if (!self->is_on) {
        Py_RETURN_NONE;
    }
    struct task task = {args[0], args[1], n > 2 ? args[2] : Py_None};
    Token *token = labels_begin_here(self, task);
    return token != NULL ? (PyObject *)token : none_for_ours(self);
}

PyDoc_STRVAR(end_doc,
             "end(token) -> None\n\n"
             "Say that a task is over, from wherever; None is no task.  Raises\n"
             "nothing of its own.");

static PyObject *
labels_end(PyObject *op, PyObject *token)
{
    if (token == Py_None) {
        Py_RETURN_NONE;
    }
    if (!token_check(token)) {
        PyErr_SetString(PyExc_TypeError, "end() takes what begin() returned");
        return NULL;
    }
    return labels_finish((Labels *)op, (Token *)token) < 0 ? NULL : Py_NewRef(Py_None);
}

/* The token that a kind and an id name here, borrowed; NULL with or without an
 * exception set. */
static Token *
found(Labels *self, PyObject *const *args, Py_ssize_t n)
{
    return self->is_on ? labels_find(self, args[0], n > 1 ? args[1] : Py_None) : NULL;
}

static bool
takes_kind_and_id(Py_ssize_t n)
{
    if (n < 1 || n > 2) {
        PyErr_SetString(PyExc_TypeError, "a kind and an id are taken");
        return false;
    }
    return true;
}

PyDoc_STRVAR(end_here_doc,
             "end_here(kind, id=None) -> None\n\n"
             "End what runs here and has this kind, and this id if one is given.");

static PyObject *
labels_end_here(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    Labels *self = (Labels *)op;
    if (!takes_kind_and_id(n)) {
        return NULL;
    }
    Token *token = found(self, args, n);
    if (token != NULL) {
        return labels_finish(self, token) < 0 ? NULL : Py_NewRef(Py_None);
    }
    return none_for_ours(self);
}

/* ---- questions ---- */

PyDoc_STRVAR(
    find_here_doc,
    "find_here(kind, id=None) -> Token | None\n\n"
    "Return the innermost task here that has this kind, and this id if given.");

static PyObject *
labels_find_here(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    Labels *self = (Labels *)op;
    if (!takes_kind_and_id(n)) {
        return NULL;
    }
    Token *token = found(self, args, n);
    return token != NULL ? Py_NewRef((PyObject *)token) : none_for_ours(self);
}

PyDoc_STRVAR(innermost_here_doc, "innermost_here() -> Token | None\n\n"
                                 "Return the innermost task that runs here.");

static PyObject *
labels_innermost_here(PyObject *op, PyObject *unused)
{
    Labels *self = (Labels *)op;
    (void)unused;
    bool runs_any = self->is_on && PyDict_GET_SIZE(self->innermost) != 0;
    Token *token = runs_any ? labels_innermost(self) : NULL;
    return token != NULL ? Py_NewRef((PyObject *)token) : none_for_ours(self);
}

PyDoc_STRVAR(here_doc, "here() -> int\n\n"
                       "Return the key of the holder that asks; 0 if that cannot be\n"
                       "known.");

static PyObject *
labels_here(PyObject *op, PyObject *unused)
{
    Labels *self = (Labels *)op;
    (void)unused;
    PyObject *key = labels_key_here(self);
    if (key == NULL && !labels_hosts_error(self)) {
        PyErr_Clear();
        key = PyLong_FromLong(0);
    }
    return key;
}

PyDoc_STRVAR(
    rename_doc,
    "rename(token, name) -> None\n\n"
    "Call a task that runs by another name: what it is may be known only now.");

static PyObject *
labels_rename(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    Labels *self = (Labels *)op;
    if (n != 2 || !token_check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "rename() takes a token and a name");
        return NULL;
    }
    Token *token = (Token *)args[0];
    if (self->is_on && !token->over) {
        PyObject *name = labels_cut(self, args[1]);
        if (name == NULL) {
            return none_for_ours(self);
        }
        Py_SETREF(token->name, name);
    }
    Py_RETURN_NONE;
}

/* The holder is gone, and with it whatever ran on it. */
static PyObject *
labels_forget(PyObject *op, PyObject *token)
{
    const Labels *self = (const Labels *)op;
    if (token_check(token) && ((Token *)token)->key != NULL) {
        PyObject *key = Py_NewRef(((Token *)token)->key);
        if (PyDict_Contains(self->innermost, key) > 0) {
            (void)PyDict_DelItem(self->innermost, key);
        }
        PyErr_Clear();
        Py_DECREF(key);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(forget_sources_doc,
             "_forget_sources() -> None\n\n"
             "Look anew for whom to ask about what runs here: asyncio, greenlet.");

static PyObject *
labels_forget_sources(PyObject *op, PyObject *unused)
{
    (void)unused;
    holder_forget(&((Labels *)op)->sources);
    Py_RETURN_NONE;
}

/* ---- the type ---- */

static PyMethodDef forget_method = {"forget", labels_forget, METH_O, NULL};

static PyMethodDef labels_methods[] = {
    {"begin", (PyCFunction)(void (*)(void))labels_begin, METH_FASTCALL, begin_doc},
    {"end", labels_end, METH_O, end_doc},
    {"end_here", (PyCFunction)(void (*)(void))labels_end_here, METH_FASTCALL,
     end_here_doc},
    {"find_here", (PyCFunction)(void (*)(void))labels_find_here, METH_FASTCALL,
     find_here_doc},
    {"innermost_here", labels_innermost_here, METH_NOARGS, innermost_here_doc},
    {"here", labels_here, METH_NOARGS, here_doc},
    {"rename", (PyCFunction)(void (*)(void))labels_rename, METH_FASTCALL, rename_doc},
    {"_forget_sources", labels_forget_sources, METH_NOARGS, forget_sources_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef labels_members[] = {
    {"is_on", T_BOOL, offsetof(Labels, is_on), 0, "Whether labels are taken."},
    {"_innermost", HEAP_MEMBER_OBJECT_EX, offsetof(Labels, innermost), READONLY, NULL},
    {"_done", HEAP_MEMBER_OBJECT_EX, offsetof(Labels, done), READONLY, NULL},
    {"_overlapped", HEAP_MEMBER_OBJECT_EX, offsetof(Labels, overlapped), READONLY,
     NULL},
    {"_local", HEAP_MEMBER_OBJECT_EX, offsetof(Labels, local), 0, NULL},
    {"_observer", HEAP_MEMBER_OBJECT_EX, offsetof(Labels, observer), 0, NULL},
    {"_rest_until", T_DOUBLE, offsetof(Labels, rest_until), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static int
labels_traverse(PyObject *op, visitproc visit, void *arg)
{
    const Labels *self = (const Labels *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->innermost);
    Py_VISIT(self->done);
    Py_VISIT(self->overlapped);
    Py_VISIT(self->local);
    Py_VISIT(self->observer);
    Py_VISIT(self->errors);
    Py_VISIT(self->forget);
    Py_VISIT(self->token_type);
    return holder_traverse(&self->sources, visit, arg);
}

/* Only what a circle may run through; the rest stays usable to the end. */
static int
labels_clear(PyObject *op)
{
    Labels *self = (Labels *)op;
    Py_XSETREF(self->local, Py_NewRef(Py_None));
    Py_XSETREF(self->observer, Py_NewRef(Py_None));
    Py_XSETREF(self->forget, Py_NewRef(Py_None));
    holder_forget(&self->sources);
    return 0;
}

static void
labels_dealloc(PyObject *op)
{
    Labels *self = (Labels *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_XDECREF(self->innermost);
    Py_XDECREF(self->done);
    Py_XDECREF(self->overlapped);
    Py_XDECREF(self->local);
    Py_XDECREF(self->observer);
    Py_XDECREF(self->errors);
    Py_XDECREF(self->other);
    Py_XDECREF(self->forget);
    Py_XDECREF(self->token_type);
    holder_forget(&self->sources);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
labels_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    Labels *self = (Labels *)type->tp_alloc(type, 0);
    (void)args;
    (void)keywords;
    if (self == NULL) {
        return NULL;
    }
    self->local = Py_NewRef(Py_None);
    self->observer = Py_NewRef(Py_None);
    self->innermost = PyDict_New();
    self->done = PyDict_New();
    self->overlapped = PyDict_New();
    self->errors = PyTuple_New(0);
    self->other = PyUnicode_New(0, 0);
    self->forget = PyCFunction_New(&forget_method, (PyObject *)self);
    self->token_type =
        (PyTypeObject *)PyObject_GetAttrString((PyObject *)type, "Token");
    if (self->innermost == NULL || self->done == NULL || self->overlapped == NULL ||
        self->errors == NULL || self->other == NULL || self->forget == NULL ||
        self->token_type == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int
labels_init(PyObject *op, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"errors",    "other",   "max_depth", "max_holders",
                            "max_names", "longest", NULL};
    Labels *self = (Labels *)op;
    PyObject *errors, *other;
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "O!Uinnn:Labels", names, &PyTuple_Type, &errors, &other,
            &self->max_depth, &self->max_holders, &self->max_names, &self->longest)) {
        return -1;
    }
    Py_SETREF(self->errors, Py_NewRef(errors));
    Py_SETREF(self->other, Py_NewRef(other));
    return 0;
}

static PyType_Slot labels_slots[] = {
    {Py_tp_doc, "The tasks of one process, as the host's threads see them."},
    {Py_tp_new, labels_new},
    {Py_tp_init, labels_init},
    {Py_tp_methods, labels_methods},
    {Py_tp_members, labels_members},
    {Py_tp_traverse, labels_traverse},
    {Py_tp_clear, labels_clear},
    {Py_tp_dealloc, labels_dealloc},
    {0, NULL},
};

static PyType_Spec labels_spec = {
    .name = "liveheap._heap.Labels",
    .basicsize = sizeof(Labels),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = labels_slots,
};

/* Labels finds its tokens' type as an attribute of its own, whatever is derived. */
static int
add_both(PyObject *module, PyObject *token, PyObject *labels)
{
    if (PyObject_SetAttrString(labels, "Token", token) < 0 ||
        PyModule_AddObjectRef(module, "Token", token) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Labels", labels);
}

int
labels_add_types(PyObject *module)
{
    if (labels_prepare() < 0) {
        return -1;
    }
    PyObject *token = (PyObject *)token_make_type(module);
    PyObject *labels = PyType_FromModuleAndSpec(module, &labels_spec, NULL);
    int result = -1;
    if (token != NULL && labels != NULL) {
        result = add_both(module, token, labels);
    }
    Py_XDECREF(token);
    Py_XDECREF(labels);
    return result;
}
