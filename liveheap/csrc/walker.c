/* The walk itself: mark the collector's lists, visit the roots, sweep the marked
 * objects in the order of their addresses, and follow what they refer to.
 *
 * The sweep takes the listed objects by address, not by list, and asks for the memory
 * of the next sixteen while it works on one; what they refer to and is on no list
 * (strs, ints, untracked tuples and dicts) goes through a second ring, depth first.
 */
#define _GNU_SOURCE
#include "graph_writer.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static uint64_t
now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void
publish(struct walk *walk)
{
    struct walk_status *status = walk->status;
    status->nodes = walk->nodes;
    status->edges = walk->edges;
    status->bytes = walk->bytes;
    status->raw_bytes = sink_total(walk->sink);
    status->memory = walk->memory.mapped + walk->seen.mapped;
}

void
walk_name_foreign(struct walk *walk, const struct type_entry *entry)
{
    struct walk_status *status = walk->status;
    const char *name = entry->type->tp_name;
    size_t length = strnlen(name, sizeof(status->type_name) - 1);
    memcpy(status->type_name, name, length);
    status->type_name[length] = '\0';
    status->type_address = (uintptr_t)entry->type;
    walk->foreign = entry;
}

/* ---- one object ---- */

static void
reach_refs(struct walk *walk, size_t n)
{
    const uintptr_t *refs = walk->refs.items;
    uint64_t present = 0;
    for (size_t i = 0; i < n; i++) {
        if (refs[i] != 0) {
            present++;
            walk_reach(walk, refs[i]);
        }
    }
    walk->edges += present;
}

static void
reach_borrowed(struct walk *walk, const struct node *node)
{
    const uintptr_t *pairs = walk->refs.items + node->n_items + node->n_fields;
    for (size_t i = 0; i < node->n_borrowed; i++) {
        walk_reach(walk, pairs[2 * i + 1]);
    }
    walk->edges += node->n_borrowed;
    walk->status->borrowed += node->n_borrowed;
}

void
walk_emit(struct walk *walk, struct node *node)
{
    if (walk->memory.failed) {
        return;
    }
    walk->nodes++;
    walk->bytes += node->size;
    walk->visitor->on_node(walk, node);
    if (node->form == NODE_LEAF) {
        return;
    }
    size_t n = node->n_fields + (node->streamed ? 0 : node->n_items);
    reach_refs(walk, n);
    if (node->streamed) {
        vector_push(&walk->pending, (uintptr_t)node->object);
        vector_push(&walk->pending, 0);
    }
    if (node->code != NULL) {
        walk_reach(walk, (uintptr_t)node->code);
        walk->edges++;
    }
    if (node->n_borrowed > 0) {
        reach_borrowed(walk, node);
    }
}

static void
note_names(struct walk *walk, PyObject *object, const struct type_entry *entry)
{
    if (entry->is_module) {
        PyObject *dict = PyModule_GetDict(object);
        if (dict != NULL) {
            names_add_dict(&walk->names, dict);
        }
    }
    else if (entry->container == CONTAINER_DICT &&
             bitmap_is_listed(&walk->seen, (uintptr_t)object) &&
             bitmap_take_flag(&walk->seen, (uintptr_t)object)) {
        names_add_dict(&walk->names, object);
    }
}

static void
visit(struct walk *walk, uintptr_t address)
{
    PyObject *object = (PyObject *)address;
    struct type_entry *entry = walk_type(walk, Py_TYPE(object));
    if (entry == NULL) {
        return;
    }
    struct node node = {.object = object, .entry = entry};
    node.size = sizes_shallow(object, entry);
    node.refcount = heap_refcount(object);
    if (entry->kind == KIND_LEAF) {
        walk->status->opaque += entry->is_opaque;
    }
    else {
        walk->refs.n = 0;
        edges_collect(walk, object, entry, &node);
        if ((entry->is_module || entry->container == CONTAINER_DICT) &&
            walk->visitor->wants_names) {
            note_names(walk, object, entry);
        }
    }
    walk_emit(walk, &node);
}

/* ---- queues ---- */

static inline void
fetch(uintptr_t address)
{
    __builtin_prefetch((const void *)address);
    __builtin_prefetch((const void *)(address + 64));
}

/* Queues the next items of a streamed container. */
static void
feed(struct walk *walk)
{
    size_t top = walk->pending.n - 2;
    PyObject *object = (PyObject *)walk->pending.items[top];
    size_t position = walk->pending.items[top + 1];
    const struct type_entry *entry = types_find(walk, Py_TYPE(object));
    uintptr_t refs[TAKE_MAX + 1];
    size_t n =
        entry == NULL ? 0 : edges_take(object, entry->container, &position, refs);
    walk->pending.items[top + 1] = position;
    if (n == 0) {
        walk->pending.n -= 2;
    }
    for (size_t i = 0; i < n; i++) {
        if (refs[i] != 0) {
            walk->edges++;
            walk_reach(walk, refs[i]);
        }
    }
}

static void
visit_queued(struct walk *walk, uintptr_t item)
{
    uintptr_t address = item & ~WORK_INSTANCE_DICT;
    if ((item & WORK_INSTANCE_DICT) != 0 && PyDict_Check((PyObject *)address)) {
        names_add_dict(&walk->names, (PyObject *)address);
    }
    walk->status->untracked++;
    visit(walk, address);
}

static void
drain(struct walk *walk)
{
    struct ring *ring = &walk->work_ring;
    for (;;) {
        while (ring->n < RING && walk->work.n > 0) {
            uintptr_t item = walk->work.items[--walk->work.n];
            fetch(item & ~WORK_INSTANCE_DICT);
            ring->items[(ring->head + ring->n++) % RING] = item;
        }
        if (ring->n > 0) {
            uintptr_t item = ring->items[ring->head];
            ring->head = (ring->head + 1) % RING;
            ring->n--;
            visit_queued(walk, item);
        }
        else if (walk->pending.n > 0) {
            feed(walk);
        }
        else {
            return;
        }
        if ((walk->nodes & 4095) == 0) {
            publish(walk);
            if (walk_failed(walk)) {
                return;
            }
        }
    }
}

/* ---- the sweep ---- */

static void
visit_swept(struct walk *walk)
{
    struct ring *ring = &walk->ring;
    uintptr_t address = ring->items[ring->head];
    ring->head = (ring->head + 1) % RING;
    ring->n--;
    visit(walk, address);
    if (walk->work.n + walk->pending.n > 0) {
        drain(walk);
    }
}

static void
sweep_region(struct walk *walk, const struct region *region)
{
    struct ring *ring = &walk->ring;
    uintptr_t base = region_base(region);
    for (size_t w = 0; w < REGION_WORDS; w++) {
        uint64_t listed = region->words[2 * w];
        while (listed != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(listed);
            listed &= listed - 1;
            uintptr_t address = base + (((uintptr_t)w * 64 + bit) << 4);
            fetch(address);
            if (ring->n == RING) {
                visit_swept(walk);
            }
            ring->items[(ring->head + ring->n++) % RING] = address;
        }
    }
}

static void
sweep(struct walk *walk)
{
    size_t n = walk->seen.n_regions;
    size_t length = n * sizeof(struct region) + 1;
    struct region *regions = memory_map(&walk->memory, length);
    if (regions == NULL) {
        return;
    }
    bitmap_sorted_regions(&walk->seen, regions);
    for (size_t i = 0; i < n && !walk_failed(walk); i++) {
        sweep_region(walk, &regions[i]);
        publish(walk);
    }
    while (walk->ring.n > 0 && !walk_failed(walk)) {
        visit_swept(walk);
    }
    memory_unmap(&walk->memory, regions, length);
}

/* Dicts of instances that were visited before their instance: listed, with the flag
 * still set. */
static void
note_late_dicts(struct walk *walk)
{
    const struct bitmap *seen = &walk->seen;
    for (size_t i = 0; i < seen->capacity && !walk_failed(walk); i++) {
        const struct region *region = &seen->table[i];
        for (size_t w = 0; region->key != 0 && w < REGION_WORDS; w++) {
            uint64_t flagged = region->words[2 * w] & region->words[2 * w + 1];
            while (flagged != 0) {
                unsigned bit = (unsigned)__builtin_ctzll(flagged);
                flagged &= flagged - 1;
                uintptr_t unit = (uintptr_t)w * 64 + bit;
                PyObject *dict = (PyObject *)(region_base(region) + (unit << 4));
                if (PyDict_Check(dict)) {
                    names_add_dict(&walk->names, dict);
                }
            }
        }
    }
}

/* ---- the whole ---- */

#define N_VECTORS 11

static void
list_vectors(struct walk *walk, struct vector *vectors[N_VECTORS])
{
    struct vector *all[N_VECTORS] = {
        &walk->slot_offsets, &walk->refs,    &walk->ref_names,       &walk->visited,
        &walk->work,         &walk->pending, &walk->functions,       &walk->greenlets,
        &walk->static_types, &walk->frames,  &walk->greenlet_frames,
    };
    memcpy(vectors, all, sizeof(all));
}

int
walk_open(struct walk *walk)
{
    struct memory *memory = &walk->memory;
    struct vector *vectors[N_VECTORS];
    list_vectors(walk, vectors);
    for (size_t i = 0; i < N_VECTORS; i++) {
        if (vector_init(vectors[i], memory, 4096) < 0) {
            return -1;
        }
    }
    walk->type_index_capacity = 1 << 13;
    walk->types = memory_map(memory, TYPES_MAX * sizeof(struct type_entry));
    walk->type_index = memory_map(memory, walk->type_index_capacity * sizeof(uint32_t));
    walk->claims = memory_map(memory, CLAIM_ROOM * sizeof(struct claim));
    if (walk->types == NULL || walk->type_index == NULL || walk->claims == NULL ||
        names_init(&walk->names, memory) < 0 ||
        (walk->request->wants_values && writer_values_open(walk) < 0)) {
        return -1;
    }
    return bitmap_init(&walk->seen);
}

void
walk_close(struct walk *walk)
{
    struct memory *memory = &walk->memory;
    struct vector *vectors[N_VECTORS];
    list_vectors(walk, vectors);
    for (size_t i = 0; i < N_VECTORS; i++) {
        vector_free(vectors[i]);
    }
    memory_unmap(memory, walk->types, TYPES_MAX * sizeof(struct type_entry));
    memory_unmap(memory, walk->type_index,
                 walk->type_index_capacity * sizeof(uint32_t));
    memory_unmap(memory, walk->claims, CLAIM_ROOM * sizeof(struct claim));
    names_free(&walk->names);
    writer_values_close(walk);
    bitmap_free(&walk->seen);
}

static void
begin_phase(struct walk *walk, enum walk_phase phase)
{
    walk->status->phase = phase;
    publish(walk);
}

static void
warn(struct walk *walk)
{
    PyInterpreterState *interp = walk->request->interpreter;
    unsigned *flags = &walk->status->flags;
    if (interp->gc.collecting) {
        *flags |= WALK_GC_IN_PROGRESS;
        walk->visitor->on_warning(walk, "gc-in-progress");
    }
    if (PyInterpreterState_Head()->next != NULL) {
        *flags |= WALK_SUBINTERPRETERS;
        walk->visitor->on_warning(walk, "subinterpreters");
    }
    if ((*flags & WALK_GREENLETS_HIDDEN) != 0) {
        walk->visitor->on_warning(walk, "greenlets-hidden");
    }
}

static void
run_phases(struct walk *walk)
{
    begin_phase(walk, WALK_PHASE_LISTS);
    lists_mark(walk);
    walk->status->listed_ns = now_ns();
    begin_phase(walk, WALK_PHASE_ROOTS);
    roots_visit(walk);
    if (!walk_failed(walk)) {
        drain(walk);
    }
    begin_phase(walk, WALK_PHASE_SWEEP);
    if (!walk_failed(walk)) {
        sweep(walk);
    }
    if (!walk_failed(walk) && (walk->request->flags & WALK_POOLS) != 0) {
        walk->guesses = true;
        blocks_reach_unvisited(walk);
        drain(walk);
        walk->guesses = false;
    }
    if (!walk_failed(walk) && (walk->request->flags & WALK_MALLOC) != 0) {
        blocks_count_malloc(walk);
    }
    begin_phase(walk, WALK_PHASE_NAMES);
    if (!walk_failed(walk)) {
        if (walk->visitor->wants_names) {
            note_late_dicts(walk);
        }
        roots_visit_static_types(walk);
        warn(walk);
        walk->visitor->on_end(walk);
    }
    (void)sink_flush(walk->sink);
}

static enum walk_code
find_code(struct walk *walk)
{
    struct walk_status *status = walk->status;
    if (walk->sink->error != 0) {
        status->system_error = walk->sink->error;
        return WALK_WRITE_FAILED;
    }
    if (walk->memory.failed || walk->seen.failed) {
        status->system_error = walk->memory.failed ? walk->memory.error : ENOMEM;
        return WALK_NO_MEMORY;
    }
    return walk->types_full ? WALK_TABLE_FULL : WALK_COMPLETE;
}

static void
run(const struct walk_request *request, struct sink *sink, struct walk_status *status,
    const struct visitor *visitor)
{
    struct walk walk = {
        .request = request, .visitor = visitor, .status = status, .sink = sink};
    status->started_ns = now_ns();
    if (walk_open(&walk) == 0) {
        run_phases(&walk);
    }
    else {
        walk.memory.failed = true;
    }
    publish(&walk);
    status->types = walk.n_types;
    status->ended_ns = now_ns();
    status->phase = WALK_PHASE_END;
    status->type_name[0] = '\0';
    status->type_address = 0;
    enum walk_code code = find_code(&walk);
    walk_close(&walk);
    status->code = code;
}

void
walk_run_graph(const struct walk_request *request, struct sink *sink,
               struct walk_status *status)
{
    run(request, sink, status,
        request->wants_values   ? &graph_writer_valued
        : request->has_hash_key ? &graph_writer_hashing
                                : &graph_writer);
}

void
walk_run_histogram(const struct walk_request *request, struct sink *sink,
                   struct walk_status *status)
{
    run(request, sink, status, &histogram_writer);
}
