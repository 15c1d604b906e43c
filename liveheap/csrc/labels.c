#include "labels.h"

#include "clock.h"
#include "holder.h"
#include "token.h"

/* Of the strings below, in their order. */
enum { ANCHOR, BEGIN, END, NEW_ANCHOR, N_STRINGS };

static const char *const texts[N_STRINGS] = {"anchor", "begin", "end", "_new_anchor"};

static PyObject *strings[N_STRINGS];

typedef struct {
    PyObject_HEAD
    /* The head of each holder's chain of tokens, by the holder's address. */
    PyObject *innermost;
    /* How many have ended, by name; and how many of those had others beside them. */
    PyObject *done, *overlapped;
    /* A thread's local storage, where its anchor is; and who watches. NULL is as None:
     * Python code may take both away. */
    PyObject *local, *observer;
    /* What our own code may raise by mistake, and what names beyond the bound are. */
    PyObject *errors, *other;
    /* The callback of all tokens. */
    PyObject *forget;
    Py_ssize_t max_holders, max_names, longest;
    int max_depth;
    /* Top-level tasks, ever. */
    unsigned long long begun;
    /* Until then the observer is not asked. */
    double rest_until;
    char is_on;
} Labels;

/* ---- what happens on errors ---- */

/* None instead of an error of ours; anything else is the host's. */
static PyObject *
none_for_ours(const Labels *self)
{
    if (PyErr_Occurred() != NULL) {
        if (!PyErr_ExceptionMatches(self->errors)) {
            return NULL;
        }
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

static bool
is_hosts_error(const Labels *self)
{
    return PyErr_Occurred() != NULL && !PyErr_ExceptionMatches(self->errors);
}

/* ---- one holder's chain ---- */

static bool
is_there(const PyObject *op)
{
    return op != NULL && op != Py_None;
}

static PyObject *
new_anchor(Labels *self)
{
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return NULL;
    }
    PyErr_Clear();
    return PyObject_CallMethodNoArgs((PyObject *)self, strings[NEW_ANCHOR]);
}

static PyObject *
find_holder(Labels *self, PyObject **what)
{
    PyObject *holder = holder_find(what);
    if (holder == NULL && PyErr_Occurred() == NULL) {
        *what = holder_thread();
        PyObject *local = Py_XNewRef(self->local); /* whoever switches off drops it */
        holder = local == NULL ? NULL : PyObject_GetAttr(local, strings[ANCHOR]);
        Py_XDECREF(local);
        if (holder == NULL) {
            holder = new_anchor(self);
        }
    }
    return holder;
}

static PyObject *
find_key(Labels *self)
{
    PyObject *what, *key = NULL, *holder = find_holder(self, &what);
    if (holder != NULL) {
        key = PyLong_FromVoidPtr(holder);
        Py_DECREF(holder);
    }
    return key;
}

/* The first token here that is not over, borrowed; NULL with or without an exception. */
static Token *
innermost_here(Labels *self)
{
    PyObject *key = find_key(self);
    if (key == NULL) {
        return NULL;
    }
    PyObject *head = PyDict_GetItemWithError(self->innermost, key);
    Py_DECREF(key);
    return token_live(head);
}

/* Have the holder's chain begin with a token that is not over. */
static int
relink(const Labels *self, const Token *token)
{
    PyObject *head = PyDict_GetItemWithError(self->innermost, token->key);
    if (head == NULL) {
        return PyErr_Occurred() == NULL ? 0 : -1;
    }
    Token *live = token_live(head);
    if (live == NULL) {
        return PyDict_DelItem(self->innermost, token->key);
    }
    return (PyObject *)live == head
               ? 0
               : PyDict_SetItem(self->innermost, token->key, (PyObject *)live);
}

/* What a task of this name is counted as, borrowed. */
static PyObject *
counted_as(const Labels *self, PyObject *name)
{
    bool is_full = PyDict_GET_SIZE(self->done) >= self->max_names;
    return is_full && PyDict_Contains(self->done, name) == 0 ? self->other : name;
}

static int
count(PyObject *counts, PyObject *name)
{
    PyObject *known = PyDict_GetItemWithError(counts, name);
    if (known == NULL && PyErr_Occurred() != NULL) {
        return -1;
    }
    PyObject *more =
        PyLong_FromLongLong(known == NULL ? 1 : PyLong_AsLongLong(known) + 1);
    int result = more == NULL ? -1 : PyDict_SetItem(counts, name, more);
    Py_XDECREF(more);
    return result;
}

/* ---- begin ---- */

/* As text, and no longer than it may be. */
static PyObject *
cut(const Labels *self, PyObject *text)
{
    if (PyUnicode_CheckExact(text) && PyUnicode_GET_LENGTH(text) <= self->longest) {
        return Py_NewRef(text);
    }
    PyObject *whole = PyObject_Str(text);
    if (whole == NULL) {
        return NULL;
    }
    PyObject *piece = PyUnicode_Substring(whole, 0, self->longest);
    Py_DECREF(whole);
    return piece;
}

/* Addresses of the frame that said begin and of those above it; see Token.callers. */
static PyObject *
callers(void)
{
    PyObject *addresses[4];
    Py_ssize_t n = 0;
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    while (frame != NULL && n < (Py_ssize_t)HEAP_LENGTH(addresses)) {
        addresses[n] = PyLong_FromVoidPtr(frame);
        PyFrameObject *back = addresses[n] == NULL ? NULL : PyFrame_GetBack(frame);
        n += addresses[n] != NULL;
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    PyObject *found = PyErr_Occurred() == NULL ? PyTuple_New(n) : NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (found != NULL) {
            PyTuple_SET_ITEM(found, i, addresses[i]);
        }
        else {
            Py_DECREF(addresses[i]);
        }
    }
    return found;
}

/* Put a new reference into a field; false if there is none, with an exception set. */
static bool
set(PyObject **field, PyObject *value)
{
    if (value == NULL) {
        return false;
    }
    Py_SETREF(*field, value);
    return true;
}

/* As the caller says it; all borrowed. */
struct task {
    PyObject *kind, *name, *id;
};

/* A token with everything but its place in a chain. */
static Token *
new_token(const Labels *self, PyObject *holder, PyObject *what, struct task task)
{
    Token *token = token_new(holder, self->forget);
    if (token == NULL) {
        return NULL;
    }
    Py_SETREF(token->holder, Py_NewRef(what));
    token->thread = PyThread_get_thread_ident();
    token->started = (double)clock_ns() / (double)NS_PER_S;
    if (!set(&token->key, PyLong_FromVoidPtr(holder)) ||
        !set(&token->kind, cut(self, task.kind)) ||
        !set(&token->name, cut(self, task.name)) ||
        (task.id != Py_None && !set(&token->id, cut(self, task.id))) ||
        !set(&token->callers, what == holder_thread() ? callers() : PyTuple_New(0))) {
        Py_CLEAR(token);
    }
    return token;
}

/* Put a token before its holder's others. False if there are too many of them, or with
 * an exception set. */
static bool
put_in_place(Labels *self, Token *token)
{
    PyObject *head = PyDict_GetItemWithError(self->innermost, token->key);
    if (head != NULL && token_check(head)) {
        token->depth = ((Token *)head)->depth + 1;
        Py_SETREF(token->outer, Py_NewRef(head));
    }
    if (PyErr_Occurred() != NULL || token->depth >= self->max_depth ||
        PyDict_GET_SIZE(self->innermost) >= self->max_holders || !self->is_on ||
        PyDict_SetItem(self->innermost, token->key, (PyObject *)token) < 0) {
        return false;
    }
    self->begun += token->depth == 0; /* a part of a task is no task beside it */
    token->number = self->begun;
    token->alone = PyDict_GET_SIZE(self->innermost) == 1;
    return true;
}

/* A token for what runs here, in its place. NULL if it has none, with or without an
 * exception set. */
static Token *
begin_here(Labels *self, struct task task)
{
    PyObject *what, *holder = find_holder(self, &what);
    if (holder == NULL) {
        return NULL;
    }
    Token *token = new_token(self, holder, what, task);
    if (token != NULL && !put_in_place(self, token)) {
        Py_CLEAR(token);
    }
    /* Not before: whoever was asked for a name may have had the labels switched off and
     * on, which ends what stood for a thread; now it takes the token along. */
    Py_DECREF(holder);
    return token;
}

/* Ask the observer, if there is one, about a token; -1 with an exception if an error is
 * the host's. */
static int
tell(Labels *self, PyObject *what, Token *token)
{
    if (!is_there(self->observer)) {
        return 0;
    }
    PyObject *observer = Py_NewRef(self->observer);
    PyObject *answer = PyObject_CallMethodOneArg(observer, what, (PyObject *)token);
    Py_DECREF(observer);
    if (answer != NULL && answer != Py_None) {
        double until = PyFloat_AsDouble(answer);
        self->rest_until = PyErr_Occurred() == NULL ? until : self->rest_until;
    }
    Py_XDECREF(answer);
    if (is_hosts_error(self)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
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
    Token *token = begin_here(self, task);
    if (token == NULL) {
        return none_for_ours(self);
    }
    if (token->alone && token->started >= self->rest_until &&
        tell(self, strings[BEGIN], token) < 0) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        token->over = 1;
        (void)relink(self, token);
        PyErr_Restore(type, value, traceback);
        Py_CLEAR(token);
    }
    return (PyObject *)token;
}

/* ---- end ---- */

static void
close_token(const Labels *self, Token *token)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    token->over = 1;
    int is_relinked = relink(self, token);
    PyObject *name = counted_as(self, token->name);
    if (is_relinked < 0 || count(self->done, name) < 0 ||
        (!token->alone && count(self->overlapped, name) < 0)) {
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

/* 0, or -1 with an exception that is the host's. */
static int
finish(Labels *self, Token *token)
{
    if (token->over || !self->is_on) {
        return 0;
    }
    int result = 0;
    Py_INCREF(token);
    token->alone = token->alone && token->number == self->begun;
    if (is_there(token->note)) {
        result = tell(self, strings[END], token);
    }
    if (!token->over) { /* the observer may have let others run */
        close_token(self, token);
    }
    Py_DECREF(token);
    return result;
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
    return finish((Labels *)op, (Token *)token) < 0 ? NULL : Py_NewRef(Py_None);
}

static bool
is_same(PyObject *text, PyObject *other)
{
    return text == other || (PyUnicode_Check(text) && PyUnicode_Check(other) &&
                             PyUnicode_Compare(text, other) == 0);
}

/* Borrowed; NULL with or without an exception. */
static Token *
find_here(Labels *self, PyObject *const *args, Py_ssize_t n)
{
    PyObject *kind = args[0],
             *id = n > 1 && args[1] != Py_None ? cut(self, args[1]) : NULL;
    Token *token = PyErr_Occurred() == NULL ? innermost_here(self) : NULL;
    while (token != NULL &&
           !(is_same(token->kind, kind) && (id == NULL || is_same(token->id, id)))) {
        token = token_live(token->outer);
    }
    Py_XDECREF(id);
    return token;
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
    Token *token = self->is_on ? find_here(self, args, n) : NULL;
    if (token != NULL) {
        return finish(self, token) < 0 ? NULL : Py_NewRef(Py_None);
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
    Token *token = self->is_on ? find_here(self, args, n) : NULL;
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
    Token *token = runs_any ? innermost_here(self) : NULL;
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
    PyObject *key = find_key(self);
    if (key == NULL && !is_hosts_error(self)) {
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
        PyObject *name = cut(self, args[1]);
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
    return 0;
}

/* Only what a circle may run through; the rest stays usable to the end. */
static int
labels_clear(PyObject *op)
{
    Labels *self = (Labels *)op;
    Py_XSETREF(self->local, Py_NewRef(Py_None));
    Py_XSETREF(self->observer, Py_NewRef(Py_None));
    Py_XSETREF(self->forget, Py_NewRef(Py_None));
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
    if (self->innermost == NULL || self->done == NULL || self->overlapped == NULL ||
        self->errors == NULL || self->other == NULL || self->forget == NULL) {
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

int
labels_add_types(PyObject *module)
{
    for (int i = 0; i < N_STRINGS; i++) {
        if (strings[i] == NULL) {
            strings[i] = PyUnicode_InternFromString(texts[i]);
        }
        if (strings[i] == NULL) {
            return -1;
        }
    }
    if (holder_prepare() < 0 || token_add_type(module) < 0) {
        return -1;
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &labels_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddObjectRef(module, "Labels", type);
    Py_DECREF(type);
    return result;
}
