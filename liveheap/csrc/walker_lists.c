/* Pass 1: every object that the collector tracks.
 *
 * The permanent generation too, where gc.freeze() puts everything and gc.get_objects()
 * sees nothing.
 */
#include "walker_state.h"

enum list_class {
    CLASS_UNKNOWN = 0,
    CLASS_PLAIN,
    CLASS_FUNCTION,
    CLASS_GREENLET,
};

#define CLASS_CACHE 256

/* What to do with the objects of a type; direct-mapped, by the type's address. */
struct class_cache {
    PyTypeObject *types[CLASS_CACHE];
    uint8_t classes[CLASS_CACHE];
};

static enum list_class
classify(const struct walk *walk, PyTypeObject *type)
{
    if (type == &PyFunction_Type) {
        return CLASS_FUNCTION;
    }
    PyTypeObject *greenlet = walk->request->greenlet;
    if (greenlet != NULL && PyType_IsSubtype(type, greenlet)) {
        return CLASS_GREENLET;
    }
    return CLASS_PLAIN;
}

static bool
mark(struct walk *walk, PyGC_Head *head, struct class_cache *cache)
{
    PyObject *object = (PyObject *)(head + 1);
    uintptr_t address = (uintptr_t)object;
    if ((address & 15) != 0) {
        walk_reach(walk, address);
        return true;
    }
    if (!bitmap_add_listed(&walk->seen, address)) {
        return false;
    }
    walk->status->listed++;
    PyTypeObject *type = Py_TYPE(object);
    size_t i = ((uintptr_t)type >> 5) % CLASS_CACHE;
    if (cache->types[i] != type) {
        cache->types[i] = type;
        cache->classes[i] = (uint8_t)classify(walk, type);
    }
    if (cache->classes[i] == CLASS_FUNCTION) {
        vector_push(&walk->functions, address);
    }
    else if (cache->classes[i] == CLASS_GREENLET) {
        vector_push(&walk->greenlets, address);
    }
    return true;
}

/* Two cursors, one from each end: two chains of cache misses at a time. */
static void
mark_list(struct walk *walk, PyGC_Head *list, struct class_cache *cache)
{
    PyGC_Head *forward = heap_gc_next(list);
    PyGC_Head *backward = heap_gc_prev(list);
    while (forward != list && mark(walk, forward, cache)) {
        if (backward == list || !mark(walk, backward, cache)) {
            break;
        }
        forward = heap_gc_next(forward);
        backward = heap_gc_prev(backward);
    }
}

void
lists_mark(struct walk *walk)
{
    struct class_cache cache = {0};
    for (int i = 0; i < HEAP_GC_LISTS; i++) {
        mark_list(walk, heap_gc_list(walk->request->interpreter, i), &cache);
    }
}
