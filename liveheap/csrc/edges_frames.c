/* Frames: running ones of all threads, those of suspended greenlets, and those inside
 * frame objects and generators.
 *
 * Since 3.11 a frame is a bare struct.  A running one becomes a node of its own, of
 * type 0, below the thread or greenlet that runs it; a suspended generator's is part of
 * the generator's node, and a frame object that has outlived its frame holds it itself.
 * f_globals and f_builtins of a bare frame are borrowed from its function.
 */
#include "walker_state.h"

#define FIELD_NAME(pointer, name) name,

static void
start_frame(struct walk *walk, PyCodeObject *code, struct node *node)
{
    node->form = NODE_FRAME;
    node->code = code;
    if (code != NULL) {
        walk->visitor->on_code(walk, code);
    }
}

#if HEAP_BARE_FRAMES

const char *const frames_object_fields[] = {
    HEAP_FRAME_OBJECT_FIELDS(NULL, FIELD_NAME) "f_frame", "f_func", "f_locals", NULL};
const char *const frames_generator_fields[] = {
    "__name__", "__qualname__", "exc_value", "origin_or_finalizer",
    "gi_code",  "frame_obj",    "f_func",    "f_locals",
    NULL};

void
frames_collect_chain(struct walk *walk, _PyInterpreterFrame *frame)
{
    for (; frame != NULL; frame = frame->previous) {
        if (heap_frame_is_shim(frame) || heap_frame_code(frame) == NULL) {
            continue;
        }
        if (frame->owner == FRAME_OWNED_BY_GENERATOR) {
            vector_push(&walk->frames, (uintptr_t)heap_frame_generator(frame));
        }
        else if (frame->owner == FRAME_OWNED_BY_FRAME_OBJECT) {
            vector_push(&walk->frames, (uintptr_t)frame->frame_obj);
        }
        else {
            if (!bitmap_add_reached(&walk->seen, (uintptr_t)frame)) {
                return;
            }
            vector_push(&walk->frames, (uintptr_t)frame | FRAME_IS_BARE);
        }
    }
}

static bool
is_borrowed(heap_slot slot)
{
    PyObject *object = heap_slot_object(slot);
    return object != NULL && heap_slot_is_borrowed(slot) && heap_refcount(object) != 0;
}

static void
push_slots(struct walk *walk, _PyInterpreterFrame *frame, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        heap_slot slot = frame->localsplus[i];
        push_ref(walk, is_borrowed(slot) ? NULL : heap_slot_object(slot));
    }
}

static void
push_borrowed(struct walk *walk, _PyInterpreterFrame *frame, size_t n,
              struct node *node)
{
    for (size_t i = 0; i < n; i++) {
        if (is_borrowed(frame->localsplus[i])) {
            vector_push(&walk->refs, i);
            push_ref(walk, heap_slot_object(frame->localsplus[i]));
            node->n_borrowed++;
        }
    }
}

/* Locals, the named fields, the evaluation stack, and what is borrowed. */
static void
collect_frame(struct walk *walk, _PyInterpreterFrame *frame, PyCodeObject *code,
              const void *const fields[], size_t n_fields, struct node *node)
{
    size_t n_locals = (size_t)code->co_nlocalsplus;
    size_t n_slots = heap_frame_n_slots(frame, code);
    start_frame(walk, code, node);
    node->line = heap_frame_line(frame, code);
    push_slots(walk, frame, 0, n_locals);
    node->n_items = walk->refs.n;
    for (size_t i = 0; i < n_fields; i++) {
        push_ref(walk, fields[i]);
    }
    push_ref(walk, heap_frame_function(frame));
    push_ref(walk, frame->f_locals);
    push_slots(walk, frame, n_locals, n_slots);
    node->n_fields = walk->refs.n - node->n_items;
    push_borrowed(walk, frame, n_slots, node);
}

void
frames_visit_bare(struct walk *walk, _PyInterpreterFrame *frame)
{
    PyCodeObject *code = heap_frame_code(frame);
    size_t n_words =
        FRAME_SPECIALS_SIZE + (size_t)code->co_nlocalsplus + (size_t)code->co_stacksize;
    struct node node = {.object = (PyObject *)(void *)frame,
                        .size = n_words * sizeof(PyObject *)};
    const void *fields[] = {frame->frame_obj};
    walk->refs.n = 0;
    collect_frame(walk, frame, code, fields, HEAP_LENGTH(fields), &node);
    walk->status->frames++;
    walk_emit(walk, &node);
}

void
frames_collect_object(struct walk *walk, PyObject *object, struct node *node)
{
    PyFrameObject *frame_object = (PyFrameObject *)object;
    _PyInterpreterFrame *frame = frame_object->f_frame;
#define FIELD_VALUE(pointer, name) pointer,
    const void *fields[] = {HEAP_FRAME_OBJECT_FIELDS(frame_object, FIELD_VALUE) frame};
#undef FIELD_VALUE
    size_t n = HEAP_LENGTH(fields);
    bool own_node = frame != NULL && frame->owner == FRAME_OWNED_BY_THREAD &&
                    bitmap_contains(&walk->seen, (uintptr_t)frame);
    bool generators = frame != NULL && frame->owner == FRAME_OWNED_BY_GENERATOR;
    if (generators) {
        fields[n - 1] = NULL;
    }
    if (frame == NULL || own_node || generators || heap_frame_code(frame) == NULL) {
        for (size_t i = 0; i < n; i++) {
            push_ref(walk, fields[i]);
        }
        return;
    }
    fields[n - 1] = NULL;
    collect_frame(walk, frame, heap_frame_code(frame), fields, n, node);
}

void
frames_collect_generator(struct walk *walk, PyObject *object, struct node *node)
{
    const PyGenObject *generator = (const PyGenObject *)object;
    bool cleared = heap_generator_is_cleared(object);
    bool is_plain = PyGen_CheckExact(object); /* the origin is not initialised */
    _PyInterpreterFrame *frame = heap_generator_frame(object);
    PyCodeObject *code = heap_generator_code(object);
    const void *fields[] = {
        generator->gi_name,
        generator->gi_qualname,
        generator->gi_exc_state.exc_value,
        is_plain ? NULL : generator->gi_origin_or_finalizer,
        cleared ? NULL : heap_generator_second_code(object),
        cleared ? NULL : frame->frame_obj,
    };
    size_t n = HEAP_LENGTH(fields);
    if (!cleared && code != NULL) {
        collect_frame(walk, frame, code, fields, n, node);
        return;
    }
    start_frame(walk, code, node);
    for (size_t i = 0; i < n; i++) {
        push_ref(walk, fields[i]);
    }
    node->n_fields = n;
}

#else /* frames are objects */

const char *const frames_object_fields[] = {HEAP_FRAME_OBJECT_FIELDS(NULL, FIELD_NAME)
                                                NULL};
const char *const frames_generator_fields[] = {NULL};

void
frames_collect_chain(struct walk *walk, PyFrameObject *frame)
{
    for (; frame != NULL; frame = frame->f_back) {
        vector_push(&walk->frames, (uintptr_t)frame);
    }
}

void
frames_collect_object(struct walk *walk, PyObject *object, struct node *node)
{
    PyFrameObject *frame = (PyFrameObject *)object;
    PyCodeObject *code = frame->f_code;
    size_t n_locals = heap_code_n_locals(code);
    start_frame(walk, code, node);
    node->line = frame->f_trace != NULL ? frame->f_lineno
                                        : PyCode_Addr2Line(code, frame->f_lasti * 2);
    for (size_t i = 0; i < n_locals; i++) {
        push_ref(walk, frame->f_localsplus[i]);
    }
    node->n_items = walk->refs.n;
#define PUSH_FIELD(pointer, name) push_ref(walk, pointer);
    HEAP_FRAME_OBJECT_FIELDS(frame, PUSH_FIELD)
#undef PUSH_FIELD
    for (int i = 0; i < frame->f_stackdepth; i++) {
        push_ref(walk, frame->f_valuestack[i]);
    }
    node->n_fields = walk->refs.n - node->n_items;
}

void
frames_collect_generator(struct walk *walk, PyObject *object, struct node *node)
{
    (void)walk;
    (void)object;
    (void)node;
}

#endif

/* ---- greenlets ---- */

/* The frame object of a suspended greenlet, borrowed, or NULL.  From 3.12 on the call
 * makes greenlet link the frames of the greenlet past what lay on its C stack. */
static PyFrameObject *
expose(struct walk *walk, PyObject *greenlet)
{
    const struct walk_request *request = walk->request;
    PyObject *frame =
        request->greenlet_frame(greenlet, request->greenlet_frame_closure);
    if (frame == NULL) {
        PyErr_Clear();
        return NULL;
    }
    bool is_frame = PyFrame_Check(frame);
    if (Py_REFCNT(frame) > 1) {
        Py_DECREF(frame);
    }
    return is_frame ? (PyFrameObject *)frame : NULL;
}

void
frames_find_greenlets(struct walk *walk)
{
    struct vector *greenlets = &walk->greenlets;
    if (greenlets->n == 0) {
        return;
    }
    if ((walk->request->flags & WALK_EXPOSE) == 0 ||
        walk->request->greenlet_frame == NULL) {
        walk->status->flags |= WALK_GREENLETS_HIDDEN;
        return;
    }
    if (!vector_reserve(&walk->visited, greenlets->n)) {
        return;
    }
    memory_sort(greenlets->items, walk->visited.items, greenlets->n);
    walk->request->interpreter->gc.enabled = 0;
    for (size_t i = 0; i < greenlets->n; i++) {
        vector_push(&walk->greenlet_frames, walk->frames.n);
        PyFrameObject *frame = expose(walk, (PyObject *)greenlets->items[i]);
        if (frame != NULL) {
#if HEAP_BARE_FRAMES
            frames_collect_chain(walk, frame->f_frame);
#else
            frames_collect_chain(walk, frame);
#endif
        }
        vector_push(&walk->greenlet_frames, walk->frames.n);
    }
}

#if HEAP_GREENLET_VISITS_FRAMES
static void
drop_frame(struct walk *walk, _PyInterpreterFrame *frame)
{
    PyCodeObject *code = heap_frame_code(frame);
    size_t n = heap_frame_n_slots(frame, code);
    (void)edges_claim(walk, code);
    (void)edges_claim(walk, heap_frame_function(frame));
    (void)edges_claim(walk, frame->f_locals);
    (void)edges_claim(walk, frame->frame_obj);
    for (size_t i = 0; i < n; i++) {
        (void)edges_claim(walk, heap_slot_object(frame->localsplus[i]));
    }
}

void
frames_drop_visited(struct walk *walk, PyObject *greenlet)
{
    const struct vector *greenlets = &walk->greenlets;
    size_t low = 0, high = greenlets->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (greenlets->items[middle] < (uintptr_t)greenlet) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    if (2 * low + 1 >= walk->greenlet_frames.n || low == greenlets->n ||
        greenlets->items[low] != (uintptr_t)greenlet) {
        return;
    }
    size_t end = walk->greenlet_frames.items[2 * low + 1];
    for (size_t i = walk->greenlet_frames.items[2 * low]; i < end; i++) {
        uintptr_t frame = walk->frames.items[i];
        if ((frame & FRAME_IS_BARE) != 0) {
            drop_frame(walk, (_PyInterpreterFrame *)(frame & ~FRAME_IS_BARE));
        }
    }
}
#else
void
frames_drop_visited(struct walk *walk, PyObject *greenlet)
{
    (void)walk;
    (void)greenlet;
}
#endif
