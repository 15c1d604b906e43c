#include "token.h"

#define OBJECT(name, doc) \
    {#name, HEAP_MEMBER_OBJECT_EX, offsetof(Token, name), READONLY, doc}

/* The objects that a token refers to; none but the note is ever NULL while it lives. */
static const size_t fields[] = {
    offsetof(Token, kind),   offsetof(Token, name), offsetof(Token, id),
    offsetof(Token, holder), offsetof(Token, key),  offsetof(Token, callers),
    offsetof(Token, outer),  offsetof(Token, note),
};

static PyObject **
field_at(Token *self, size_t i)
{
    return (PyObject **)((char *)self + fields[i]);
}

static PyMemberDef token_members[] = {
    OBJECT(kind, "Which framework's task it is."),
    OBJECT(name, "Which task it is."),
    OBJECT(id, "Which one of that name, or None."),
    OBJECT(holder, "What it runs on: asyncio, greenlet or thread."),
    OBJECT(key, "The holder's address."),
    OBJECT(callers, "Addresses of the frames that said begin, and above them."),
    OBJECT(outer, "The token around it on the same holder, or None."),
    {"note", HEAP_MEMBER_OBJECT_EX, offsetof(Token, note), 0, "An observer's."},
    {"started", T_DOUBLE, offsetof(Token, started), READONLY, "time.monotonic()"},
    {"thread", T_ULONG, offsetof(Token, thread), READONLY, "As get_ident() says."},
    {"depth", T_INT, offsetof(Token, depth), READONLY, "How many are around it."},
    {"over", T_BOOL, offsetof(Token, over), READONLY, "Whether it has ended."},
    {"alone", T_BOOL, offsetof(Token, alone), READONLY,
     "Whether it began with nothing beside it; at its end, whether that stayed so."},
    {NULL, 0, 0, 0, NULL},
};

static int
token_traverse(PyObject *op, visitproc visit, void *arg)
{
    const Token *self = (const Token *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->outer);
    Py_VISIT(self->note);
    return _PyWeakref_RefType.tp_traverse(op, visit, arg);
}

/* Only what a circle may run through; the rest stays usable to the end. */
static int
token_clear(PyObject *op)
{
    Token *self = (Token *)op;
    Py_SETREF(self->outer, Py_NewRef(Py_None));
    Py_XSETREF(self->note, Py_NewRef(Py_None));
    return _PyWeakref_RefType.tp_clear(op);
}

/* The reference goes first: whoever asks a holder for its references, while a note is
 * finished, would be given an object that is half gone. */
static void
token_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)_PyWeakref_RefType.tp_clear(op);
    Py_TRASHCAN_BEGIN(op, token_dealloc);
    for (size_t i = 0; i < HEAP_LENGTH(fields); i++) {
        Py_CLEAR(*field_at((Token *)op, i));
    }
    _PyWeakref_RefType.tp_dealloc(op);
    Py_DECREF(type);
    Py_TRASHCAN_END;
}

static PyType_Slot token_slots[] = {
    {Py_tp_doc, "A task that runs, and weakly its holder."},
    {Py_tp_members, token_members},
    {Py_tp_traverse, token_traverse},
    {Py_tp_clear, token_clear},
    {Py_tp_dealloc, token_dealloc},
    {0, NULL},
};

static PyType_Spec token_spec = {
    .name = "liveheap._heap.Token",
    .basicsize = sizeof(Token),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = token_slots,
};

PyTypeObject *
token_make_type(PyObject *module)
{
    PyObject *base = (PyObject *)&_PyWeakref_RefType;
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, &token_spec, base);
}

bool
token_check(PyObject *op)
{
    return Py_TYPE(op)->tp_dealloc == token_dealloc; /* it has no subclasses */
}

Token *
token_new(PyTypeObject *type, PyObject *holder, PyObject *callback)
{
    PyObject *arguments = PyTuple_Pack(2, holder, callback);
    if (arguments == NULL) {
        return NULL;
    }
    Token *token = (Token *)_PyWeakref_RefType.tp_new(type, arguments, NULL);
    Py_DECREF(arguments);
    for (size_t i = 0; token != NULL && i < HEAP_LENGTH(fields); i++) {
        *field_at(token, i) = Py_NewRef(Py_None);
    }
    return token;
}

Token *
token_live(PyObject *head)
{
    while (head != NULL && token_check(head) && ((Token *)head)->over) {
        head = ((Token *)head)->outer;
    }
    return head != NULL && token_check(head) ? (Token *)head : NULL;
}
