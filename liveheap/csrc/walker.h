/* The walk over the heap: who asks for it, what it reports, how it is run.
 *
 * A walk has two halves.  walk_prepare() runs in the worker with the GIL held and may
 * use the Python API: it gathers what cannot be looked up later.  walk_run_*() runs
 * where nothing may be called: in a cloned child, or in the worker with the GIL held.
 * It allocates nothing but mmap memory of its own, changes no reference count and runs
 * no Python code, except for
 *   - tp_traverse of extension types (foreign C),
 *   - the gr_frame getter of suspended greenlets, and only with WALK_EXPOSE, which
 *     is for a child (it makes frame objects: see child_memory.h).
 * Both halves must lie in one hold of the GIL (a clone made in between keeps it held):
 * the pointers in a request are borrowed.
 */
#ifndef LIVEHEAP_WALKER_H
#define LIVEHEAP_WALKER_H

#include <stdint.h>

#include "compat.h"
#include "sink.h"
#include "siphash.h"

/* How a walk ended.  Exit codes of the child are the forker's business. */
enum walk_code {
    WALK_RUNNING = 0,
    WALK_COMPLETE = 1,
    WALK_NO_MEMORY = 2,    /* mmap failed: system_error */
    WALK_WRITE_FAILED = 3, /* the sink failed: system_error */
    WALK_TABLE_FULL = 4,   /* more types than the walker has room for */
};

enum walk_phase {
    WALK_PHASE_START = 0,
    WALK_PHASE_LISTS = 1, /* marking the collector's lists */
    WALK_PHASE_ROOTS = 2, /* interpreter, threads, greenlets */
    WALK_PHASE_SWEEP = 3, /* every object */
    WALK_PHASE_NAMES = 4, /* texts and counts */
    WALK_PHASE_END = 5,
};

/* Bits of walk_status.flags. */
#define WALK_GC_IN_PROGRESS 1u   /* a collection was going on: its garbage is missing */
#define WALK_SUBINTERPRETERS 2u  /* there are others; only the main one was walked */
#define WALK_GREENLETS_HIDDEN 4u /* suspended greenlets show their top frame only */

/* Lies at the start of a page shared with the parent.  Written by the walk alone and
 * read by the parent without a lock, so a reader may see numbers of different moments;
 * `code` is written last. */
struct walk_status {
    volatile uint32_t code;  /* enum walk_code */
    volatile uint32_t phase; /* enum walk_phase */
    int32_t system_error;    /* errno behind `code`, or 0 */
    uint32_t flags;
    volatile uint64_t nodes; /* so far; exact when complete, like the next ones */
    uint64_t edges;
    uint64_t bytes;
    volatile uint64_t raw_bytes; /* handed to the sink */
    uint64_t listed;             /* objects on the collector's lists */
    uint64_t untracked;          /* objects met as referents only */
    uint64_t frames;
    uint64_t greenlets;
    uint64_t borrowed; /* borrowed references in frames, 3.14 and later */
    uint64_t opaque;   /* objects of types without tp_traverse */
    uint64_t types;
    uint64_t pool_used;   /* bytes of pymalloc's blocks that are given out */
    uint64_t pool_free;   /* and of those that wait for the next object */
    uint64_t malloc_used; /* of glibc's heaps, in bytes of resident pages */
    uint64_t malloc_free;
    uint64_t malloc_mapped; /* in blocks with a mapping of their own */
    uint64_t malloc_known;  /* whether these three were found out */
    uint64_t memory;        /* bytes the walker mapped */
    uint64_t started_ns;    /* CLOCK_MONOTONIC */
    uint64_t listed_ns;     /* end of WALK_PHASE_LISTS */
    uint64_t ended_ns;
    /* The foreign type whose C code is being called, so that a crash has a name.
     * Empty while only the interpreter's own code runs. */
    volatile uint64_t type_address;
    char type_name[128];
};

/* Bits of walk_request.flags. */
#define WALK_EXPOSE 1u /* ask greenlets for their frames: in a child only */
#define WALK_POOLS 2u  /* read the allocator's pools: in a child only */
#define WALK_MALLOC 4u /* read malloc's heaps, which are glibc's: in a child only */

#define WALK_MAX_OWN_THREADS 64
#define WALK_MAX_SIZED 16

struct walk_request {
    PyInterpreterState *interpreter;
    unsigned flags;
    uintptr_t opaque_type; /* a type whose C code is not to be called, or 0 */
    size_t n_own_threads;
    unsigned long own_threads[WALK_MAX_OWN_THREADS]; /* native ids */

    bool has_pools; /* objects have pymalloc for an allocator */

    bool has_hash_key; /* contents of str and bytes are to be hashed */
    uint8_t hash_key[SIPHASH_KEY];

    bool wants_values; /* contents are to be told: scope values */

    PyTypeObject *ndarray; /* of modules that are loaded, else NULL */
    PyTypeObject *greenlet;
    PyTypeObject *deque;
    getter greenlet_frame; /* the C function behind greenlet.gr_frame */
    void *greenlet_frame_closure;

    traverseproc subtype_traverse; /* tp_traverse of every class made by Python code */
    PyObject *name_module;         /* interned, kept for ever */
    PyTypeObject *sized[WALK_MAX_SIZED]; /* see sizes_builtin.c */
};

/* Fills the request.  `options` is NULL or a dict with any of
 *     own_threads   sequence of native thread ids
 *     opaque_type   int, the address of a type whose C code must not be called
 *     expose        bool, sets WALK_EXPOSE
 *     hash_key      bytes, 16 of them: hash the contents of str and bytes with it
 *     values        bool: tell contents, which takes scope values
 * Other keys are ignored, so that the forker may keep its own in the same dict.
 * Needs the GIL.  Returns 0, or -1 with an exception. */
int walk_prepare(struct walk_request *request, PyObject *options);

/* Run the walk to its end and say in `status` how it ended.  The caller zeroes the
 * status and opens the sink; the walk flushes it. */
void walk_run_graph(const struct walk_request *request, struct sink *sink,
                    struct walk_status *status);
void walk_run_histogram(const struct walk_request *request, struct sink *sink,
                        struct walk_status *status);

#endif
