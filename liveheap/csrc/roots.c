/* Where reachability starts: the interpreter's state, threads, suspended greenlets, the
 * interned strings.  Each is a root record; the frames below threads and greenlets
 * follow as nodes. */
#include "walker_state.h"

static void
start_root(struct walk *walk)
{
    walk->refs.n = 0;
    walk->ref_names.n = 0;
}

static void
push_named(struct walk *walk, const void *object, const char *name)
{
    if (object != NULL) {
        push_ref(walk, object);
        vector_push(&walk->ref_names, (uintptr_t)name);
    }
}

static void
finish_root(struct walk *walk, enum root_kind kind, uint64_t number, uint64_t flags)
{
    struct root root = {
        .kind = kind, .id = ++walk->n_roots, .number = number, .flags = flags};
    if (walk_failed(walk)) {
        return;
    }
    walk->visitor->on_root(walk, &root);
    walk->edges += walk->refs.n;
    for (size_t i = 0; i < walk->refs.n; i++) {
        walk_reach(walk, walk->refs.items[i]);
    }
}

#define PUSH(pointer, name) push_named(walk, pointer, name);

static void
push_held(void *walk, PyObject *object, const char *name)
{
    push_named(walk, object, name);
}

static void
visit_interpreter(struct walk *walk)
{
    PyInterpreterState *interp = walk->request->interpreter;
    start_root(walk);
    HEAP_INTERPRETER_FIELDS(interp, PUSH)
    heap_visit_atexit(interp, push_held, walk);
    finish_root(walk, ROOT_INTERPRETER, 0, 0);
    start_root(walk);
    heap_visit_held(interp, push_held, walk);
    finish_root(walk, ROOT_C, 0, 0);
}

/* Reaching a bare frame again would queue it as an object, but it has been marked when
 * its chain was collected. */
static void
push_frames(struct walk *walk, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        uintptr_t frame = walk->frames.items[i] & ~FRAME_IS_BARE;
        push_named(walk, (const void *)frame, "frame");
    }
}

enum { THREAD_MAIN = 1, THREAD_OURS = 2 };

static uint64_t
thread_flags(const struct walk_request *request, PyThreadState *thread)
{
    uint64_t flags = heap_thread_is_main(thread) ? THREAD_MAIN : 0;
    unsigned long native = heap_thread_native_id(thread);
    for (size_t i = 0; i < request->n_own_threads; i++) {
        unsigned long own = request->own_threads[i];
        if (own != 0 && (own == native || own == thread->thread_id)) {
            flags |= THREAD_OURS;
        }
    }
    return flags;
}

static void
visit_thread(struct walk *walk, PyThreadState *thread)
{
    size_t first = walk->frames.n;
    start_root(walk);
#if HEAP_BARE_FRAMES
    frames_collect_chain(walk, heap_thread_frame(thread));
#else
    frames_collect_chain(walk, thread->frame);
#endif
    push_frames(walk, first, walk->frames.n);
    HEAP_THREAD_FIELDS(thread, PUSH)
    const _PyErr_StackItem *item = thread->exc_info;
    for (; item != NULL; item = item->previous_item) {
        HEAP_HANDLED_FIELDS(item, PUSH)
    }
    unsigned long id = heap_thread_native_id(thread);
    finish_root(walk, ROOT_THREAD, id != 0 ? id : thread->thread_id,
                thread_flags(walk->request, thread));
}

static void
visit_greenlets(struct walk *walk)
{
    for (size_t i = 0; 2 * i + 1 < walk->greenlet_frames.n; i++) {
        size_t first = walk->greenlet_frames.items[2 * i];
        size_t end = walk->greenlet_frames.items[2 * i + 1];
        if (first == end) {
            continue;
        }
        start_root(walk);
        push_named(walk, (const void *)walk->greenlets.items[i], "greenlet");
        push_frames(walk, first, end);
        finish_root(walk, ROOT_GREENLET, ++walk->status->greenlets, 0);
    }
}

/* The dict's references are not counted by the strings, so they are the root's; the
 * dict itself is a leaf. */
static void
visit_interned(struct walk *walk)
{
    PyObject *interned = heap_interned_strings(walk->request->interpreter);
    if (interned == NULL) {
        return;
    }
    start_root(walk);
    push_named(walk, interned, "interned");
    size_t position = 0;
    uintptr_t refs[TAKE_MAX + 1];
    for (;;) {
        size_t n = edges_take(interned, CONTAINER_DICT, &position, refs);
        if (n == 0) {
            break;
        }
        for (size_t i = 0; i < n; i += 2) {
            push_named(walk, (const void *)refs[i], NULL);
        }
    }
    walk->interned = interned;
    finish_root(walk, ROOT_INTERNED, 0, 0);
}

static void
visit_bare_frames(struct walk *walk)
{
#if HEAP_BARE_FRAMES
    for (size_t i = 0; i < walk->frames.n && !walk_failed(walk); i++) {
        uintptr_t frame = walk->frames.items[i];
        if ((frame & FRAME_IS_BARE) != 0) {
            frames_visit_bare(walk, (_PyInterpreterFrame *)(frame & ~FRAME_IS_BARE));
        }
    }
#else
    (void)walk;
#endif
}

static void
collect_code_texts(struct walk *walk)
{
    for (size_t i = 0; i < walk->functions.n; i++) {
        PyFunctionObject *function = (PyFunctionObject *)walk->functions.items[i];
        names_add_code(&walk->names, function->func_code);
    }
    for (size_t i = 0; i < walk->frames.n; i++) {
        uintptr_t frame = walk->frames.items[i];
        if ((frame & FRAME_IS_BARE) != 0 || !HEAP_BARE_FRAMES) {
            names_add_code(&walk->names, heap_any_frame_code(frame & ~FRAME_IS_BARE));
        }
    }
}

/* Roots only queue what they refer to.  No dict is read before the texts of all code
 * are known. */
void
roots_visit(struct walk *walk)
{
    frames_find_greenlets(walk);
    visit_interpreter(walk);
    PyThreadState *thread = heap_first_thread(walk->request->interpreter);
    for (; thread != NULL && !walk_failed(walk); thread = thread->next) {
        visit_thread(walk, thread);
    }
    visit_greenlets(walk);
    visit_interned(walk);
    if (walk->visitor->wants_names) {
        collect_code_texts(walk);
        PyObject *modules = heap_modules(walk->request->interpreter);
        if (modules != NULL && PyDict_Check(modules)) {
            names_add_modules(&walk->names, modules);
        }
    }
    visit_bare_frames(walk);
}

void
roots_visit_static_types(struct walk *walk)
{
    start_root(walk);
    for (size_t i = 0; i < walk->static_types.n; i++) {
        push_named(walk, (const void *)walk->static_types.items[i], "static_type");
    }
    finish_root(walk, ROOT_C, 0, 0);
}
