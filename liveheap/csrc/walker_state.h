/* The state of one walk, and the seam between the walker and its visitors.
 *
 * The walker knows no purpose.  It finds the objects, collects for each one its type,
 * size and references into a `struct node`, and hands that to a visitor; the graph
 * writer and the histogram are visitors.  A new question is a new visitor.
 *
 * The references of a node lie in walk->refs; NULL slots are 0 there.  A container too
 * big for that (`streamed`) is read in pieces through edges_take(), by the visitor for
 * its record and later by the walker for what it refers to.
 */
#ifndef LIVEHEAP_WALKER_STATE_H
#define LIVEHEAP_WALKER_STATE_H

#include "bitmap.h"
#include "compat.h"
#include "names.h"
#include "sink.h"
#include "walker.h"
#include "walker_memory.h"
#include "walker_types.h"

/* The tags of FORMAT.md. */
enum node_form {
    NODE_LEAF = 0,
    NODE_ITEMS = 1,
    NODE_PAIRS = 2,
    NODE_FIELDS = 3,
    NODE_COMPOUND = 4,
    NODE_FRAME = 5,
};

enum compound_form {
    COMPOUND_ITEMS = 1,
    COMPOUND_PAIRS = 2,
    COMPOUND_SET = 3,
};

enum root_kind {
    ROOT_INTERPRETER = 1,
    ROOT_THREAD = 2,
    ROOT_GREENLET = 3,
    ROOT_INTERNED = 4,
    ROOT_C = 5,
};

struct node {
    PyObject *object;
    const struct type_entry *entry; /* NULL for a bare frame */
    uint64_t size;
    uint64_t refcount; /* 0: immortal */
    enum node_form form;
    enum compound_form compound;
    bool streamed;      /* the items are not in walk->refs */
    size_t n_items;     /* refs of the first section (a pair has two) or locals */
    size_t n_fields;    /* refs after them */
    size_t n_borrowed;  /* (index, ref) pairs after those, frames only */
    PyCodeObject *code; /* frames only */
    int line;
};

struct root {
    enum root_kind kind;
    uint32_t id;
    uint64_t number;
    uint64_t flags;
};

struct visitor {
    bool wants_names; /* texts and names of fields are collected */
    void (*on_type)(struct walk *walk, struct type_entry *entry);
    void (*on_code)(struct walk *walk, PyCodeObject *code);
    void (*on_node)(struct walk *walk, const struct node *node);
    /* Refs in walk->refs, their names (const char *) in walk->ref_names. */
    void (*on_root)(struct walk *walk, const struct root *root);
    void (*on_warning)(struct walk *walk, const char *text);
    void (*on_end)(struct walk *walk);
};

#define RING 16 /* objects whose memory is being fetched ahead */

struct ring {
    uintptr_t items[RING];
    unsigned head;
    unsigned n;
};

/* What scope values needs to know: see graph_writer_values.c. */
struct values {
    struct vector contents;    /* objects whose contents may be told */
    struct vector silent;      /* what a name has led to that forbids it */
    struct vector inside;      /* of the attributes of such */
    struct bitmap found;       /* listed: all of these */
    struct vector fields;      /* positions of such names, type after type */
    struct vector first_field; /* by type id - 1: where in `fields` its own begin */
    uintptr_t previous;        /* for the writer's deltas, divided by 8 */
};

#define TYPES_RECENT ((size_t)256)

struct walk {
    const struct walk_request *request;
    const struct visitor *visitor;
    struct walk_status *status;
    struct sink *sink;

    struct memory memory;
    struct bitmap seen;

    struct type_entry *types;
    size_t n_types;
    struct type_entry *recent_types[TYPES_RECENT]; /* direct-mapped, in front of it */
    uint32_t *type_index; /* open addressing: position in `types` plus 1 */
    size_t type_index_capacity;
    struct vector slot_offsets;
    struct claim *claims; /* CLAIM_ROOM of them, used by n_claims */
    size_t n_claims;
    const struct type_entry *foreign; /* named in the status */
    bool types_full;
    bool guesses; /* objects come from the allocator's blocks now */

    struct vector refs;      /* of the node at hand */
    struct vector ref_names; /* of the root at hand */
    struct vector visited;   /* what tp_traverse gave; 0 is taken */
    size_t claimed;          /* where edges_claim() goes on */
    struct vector work;      /* objects met and not yet visited; bit 0: see below */
    struct vector pending;   /* (object, position) of streamed containers */
    struct ring ring;        /* of the sweep */
    struct ring work_ring;

    struct vector functions; /* found on the lists */
    struct vector greenlets;
    struct vector static_types;    /* met so far */
    struct vector frames;          /* bare frames to be nodes */
    struct vector greenlet_frames; /* for each greenlet: first and end in `frames` */

    struct names names;
    const PyObject *interned; /* the dict of interned strings: without edges */

    uint64_t nodes, edges, bytes; /* published now and then */
    uintptr_t previous_node;      /* for the writer's deltas, divided by 8 */
    uint32_t n_roots;
    uint32_t n_texts;
    uintptr_t previous_string;

    struct values values; /* open only if the request wants them */
};

/* In `work`: this dict holds the attributes of an instance. */
#define WORK_INSTANCE_DICT ((uintptr_t)1)

#define TYPES_MAX ((size_t)1 << 16)
#define CLAIM_ROOM ((size_t)1 << 16)

#define STREAMED_ABOVE ((size_t)8192) /* items */
#define TAKE_MAX ((size_t)2048)       /* refs that edges_take() gives at once */

static inline bool
walk_failed(const struct walk *walk)
{
    return walk->memory.failed || walk->seen.failed || walk->types_full ||
           walk->sink->error != 0;
}

/* Marks an object and queues it if it is new. */
static inline void
walk_reach(struct walk *walk, uintptr_t address)
{
    if (bitmap_add_reached(&walk->seen, address)) {
        vector_push(&walk->work, address);
    }
}

/* The entry of a type, made if missing; NULL when the table is full. */
static inline struct type_entry *
walk_type(struct walk *walk, PyTypeObject *type)
{
    struct type_entry **recent =
        &walk->recent_types[((uintptr_t)type >> 4) % TYPES_RECENT];
    if (*recent == NULL || (*recent)->type != type) {
        *recent = types_find(walk, type);
    }
    return *recent;
}

static inline void
push_ref(struct walk *walk, const void *object)
{
    vector_push(&walk->refs, (uintptr_t)object);
}

/* edges.c: fills node (form, counts, code, line) and walk->refs. */
void edges_collect(struct walk *walk, PyObject *object, const struct type_entry *entry,
                   struct node *node);

/* edges_containers.c: the next items of a container, at most TAKE_MAX refs; 0 at the end.  `*position`
 * starts at 0.  A dict gives key, value, key, value. */
size_t edges_take(PyObject *object, enum container container, size_t *position,
                  uintptr_t *refs);
size_t edges_count(PyObject *object, enum container container);

/* Puts a container's items into walk->refs, or says that they are to be streamed. */
void edges_collect_items(struct walk *walk, PyObject *object,
                         const struct type_entry *entry, struct node *node);

/* Drops from walk->visited what a container's items account for. */
void edges_drop_items(struct walk *walk, PyObject *object, enum container container);

/* Append to walk->refs: slots, values and dict of an instance; members of C structs;
 * what is left in walk->visited. */
void edges_push_attributes(struct walk *walk, PyObject *object,
                           const struct type_entry *entry);
void edges_push_claims(struct walk *walk, PyObject *object,
                       const struct type_entry *entry);
void edges_push_visited(struct walk *walk);

/* edges_builtin.c: kinds with code of their own. */
void edges_collect_type(struct walk *walk, PyObject *object,
                        const struct type_entry *entry);
void edges_collect_code(struct walk *walk, PyObject *object);
void edges_collect_ndarray(struct walk *walk, PyObject *object,
                           const struct type_entry *entry, struct node *node);

/* The bytes of an array's data and shape, as far as they are its own. */
uint64_t edges_ndarray_bytes(PyObject *object);
#define EDGES_NDARRAY_SIZE ((size_t)72) /* of the struct that is read */

/* Calls tp_traverse of the entry into walk->visited, and drops the type from it where
 * it is implied. */
void edges_traverse(struct walk *walk, PyObject *object,
                    const struct type_entry *entry);

/* Removes one occurrence of `object` from walk->visited; false if there is none. */
bool edges_claim(struct walk *walk, const void *object);

/* Tells the shared page whose C code runs next. */
void walk_name_foreign(struct walk *walk, const struct type_entry *entry);

/* Names of what the code of these kinds gives, in its order; NULL at the end. */
extern const char *const edges_type_fields[];
extern const char *const edges_code_fields[];
extern const char *const frames_object_fields[];
extern const char *const frames_generator_fields[];

/* edges_frames.c */

/* Appends the frames from `frame` outwards to walk->frames: what a root refers to, with
 * FRAME_IS_BARE where it is no object and is to be visited as a node. */
#define FRAME_IS_BARE ((uintptr_t)1)
#if HEAP_BARE_FRAMES
void frames_collect_chain(struct walk *walk, _PyInterpreterFrame *frame);
void frames_visit_bare(struct walk *walk, _PyInterpreterFrame *frame);
#else
void frames_collect_chain(struct walk *walk, PyFrameObject *frame);
#endif
void frames_collect_object(struct walk *walk, PyObject *object, struct node *node);
void frames_collect_generator(struct walk *walk, PyObject *object, struct node *node);

/* Finds the frames of all suspended greenlets; sorts walk->greenlets. */
void frames_find_greenlets(struct walk *walk);

/* Drops from walk->visited what the frames of a greenlet refer to, if they have been
 * found. */
void frames_drop_visited(struct walk *walk, PyObject *greenlet);

/* roots.c: all roots and the frames below them. */
void roots_visit(struct walk *walk);

/* After the sweep: the reference that each static type has from its own definition. */
void roots_visit_static_types(struct walk *walk);

/* sizes.c */
void sizes_classify(struct walk *walk, struct type_entry *entry);
uint64_t sizes_shallow(PyObject *object, const struct type_entry *entry);
uint64_t sizes_dict_tables(PyObject *object);

/* sizes_builtin.c: finds types by the modules that are loaded (needs the GIL), and the
 * function of a type or of its bases, or NULL. */
void sizes_prepare(struct walk_request *request);
size_function sizes_find_more(const struct walk_request *request, PyTypeObject *type);

/* walker_prepare.c: a type of a module that is loaded, borrowed from it, or NULL; never
 * an import.  Needs the GIL. */
PyTypeObject *walk_find_type(const char *module_name, const char *type_name);

/* walker_lists.c: marks what is on the collector's lists, and collects functions and
 * greenlets on the way. */
void lists_mark(struct walk *walk);

/* walker_blocks.c: after the sweep, objects that nothing has led to. */
void blocks_reach_unvisited(struct walk *walk);

/* Counts what malloc has given out and what it keeps. */
void blocks_count_malloc(struct walk *walk);

/* walker.c: the memory of a walk whose request, visitor, status and sink are set.
 * walk_open() returns 0, or -1 if there is no memory; walk_close() is due either way. */
int walk_open(struct walk *walk);
void walk_close(struct walk *walk);

/* Reports a node to the visitor and reaches what it refers to. */
void walk_emit(struct walk *walk, struct node *node);

#endif
