#include "labels_state.h"

#include "clock.h"
#include "interned.h"

/* Of the strings below, in their order. */
enum { ANCHOR, BEGIN, END, NEW_ANCHOR, N_STRINGS };

static const char *const texts[N_STRINGS] = {"anchor", "begin", "end", "_new_anchor"};

static PyObject *strings[N_STRINGS];

int
labels_prepare(void)
{
    return interned_fill(strings, texts, N_STRINGS) < 0 ? -1 : holder_prepare();
}

bool
labels_hosts_error(const Labels *self)
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
    PyObject *holder = holder_find(&self->sources, what);
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

PyObject *
labels_key_here(Labels *self)
{
    PyObject *what, *key = NULL, *holder = find_holder(self, &what);
    if (holder != NULL) {
        key = PyLong_FromVoidPtr(holder);
        Py_DECREF(holder);
    }
    return key;
}

Token *
labels_innermost(Labels *self)
{
    PyObject *key = labels_key_here(self);
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

PyObject *
labels_cut(const Labels *self, PyObject *text)
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

/* A token with everything but its place in a chain. */
static Token *
new_token(const Labels *self, PyObject *holder, PyObject *what, struct task task)
{
    Token *token = token_new(self->token_type, holder, self->forget);
    if (token == NULL) {
        return NULL;
    }
    Py_SETREF(token->holder, Py_NewRef(what));
    token->thread = PyThread_get_thread_ident();
    token->started = clock_s();
    if (!set(&token->key, PyLong_FromVoidPtr(holder)) ||
        !set(&token->kind, labels_cut(self, task.kind)) ||
        !set(&token->name, labels_cut(self, task.name)) ||
        (task.id != Py_None && !set(&token->id, labels_cut(self, task.id))) ||
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

/* A token for what runs here, in its place; NULL with or without an exception. */
static Token *
token_here(Labels *self, struct task task)
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

/* One rest after the other, where tasks run within each other. */
static void
rest(Labels *self, double seconds)
{
    double now = clock_s();
    if (PyErr_Occurred() == NULL) {
        self->rest_until = seconds + (now > self->rest_until ? now : self->rest_until);
    }
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
        rest(self, PyFloat_AsDouble(answer));
    }
    Py_XDECREF(answer);
    if (labels_hosts_error(self)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* What never began, for its observer raised what is the host's. */
static void
take_back(const Labels *self, Token *token)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    token->over = 1;
    (void)relink(self, token);
    PyErr_Restore(type, value, traceback);
}

Token *
labels_begin_here(Labels *self, struct task task)
{
    Token *token = token_here(self, task);
    if (token != NULL && token->alone && token->started >= self->rest_until &&
        tell(self, strings[BEGIN], token) < 0) {
        take_back(self, token);
        Py_CLEAR(token);
    }
    return token;
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

int
labels_finish(Labels *self, Token *token)
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

/* ---- what runs here ---- */

static bool
is_same(PyObject *text, PyObject *other)
{
    return text == other || (PyUnicode_Check(text) && PyUnicode_Check(other) &&
                             PyUnicode_Compare(text, other) == 0);
}

Token *
labels_find(Labels *self, PyObject *kind, PyObject *id)
{
    PyObject *wanted = id == Py_None ? NULL : labels_cut(self, id);
    Token *token = PyErr_Occurred() == NULL ? labels_innermost(self) : NULL;
    while (token != NULL && !(is_same(token->kind, kind) &&
                              (wanted == NULL || is_same(token->id, wanted)))) {
        token = token_live(token->outer);
    }
    Py_XDECREF(wanted);
    return token;
}
