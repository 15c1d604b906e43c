/* The record stream of FORMAT.md, section 2, into the columns of a heapgraph. Pure.
 *
 * The stream is fed in pieces cut anywhere. What is parsed at once (a *unit*) is
 * small: a record's head, one reference, one field; a unit that lies across two
 * pieces is parsed again when the rest has come. So a list of a million elements
 * costs no more than its elements.
 *
 * Nothing is believed: a count only says how many units follow, and memory grows
 * with the bytes that came, never with a number in them.
 */
#ifndef LIVEHEAP_GRAPH_DECODE_H
#define LIVEHEAP_GRAPH_DECODE_H

#include "heapgraph.h"

enum { MAX_TEXT_LENGTH = 1 << 20 };

enum decode_step {
    STEP_RECORD,
    STEP_REFS,
    STEP_SECTION, /* the count of the next section of refs */
    STEP_FIELDS,  /* of a TYPE */
    STEP_LOCALS,  /* of a CODE */
    STEP_DONE,
};

enum decode_section {
    SECTION_NONE,
    SECTION_ITEMS,
    SECTION_PAIRS,
    SECTION_FIELDS,
    SECTION_LOCALS,
    SECTION_BORROWED,
    SECTION_ROOT,
};

struct decoder {
    struct heapgraph *graph;
    enum decode_step step;

    /* of the list being read */
    enum decode_section section;
    uint64_t remaining;
    uint64_t index;
    uint64_t previous_target;
    uint32_t type;
    int frame; /* locals are being read, attributes and borrowed ones follow */
    int key_absent;

    uint64_t previous_node;
    uint64_t previous_string;
    uint64_t previous_preview;
    uint64_t n_nodes;
    uint64_t n_edges;
    struct vec_u32 texts; /* names by text id */
    struct vec_u8 carry;  /* an unfinished unit */
};

/* 0 or GRAPH_NO_MEMORY. Both must be zeroed memory. */
int decoder_init(struct decoder *decoder, struct heapgraph *graph);
void decoder_clear(struct decoder *decoder);

/* Read one more piece. 0 or a graph_error; after an error only clear it. */
int decoder_feed(struct decoder *decoder, const uint8_t *bytes, size_t length);

/* Say that there is no more. 0, or GRAPH_TRUNCATED if END is missing, after which
 * the graph holds what came. */
int decoder_finish(struct decoder *decoder);

#endif
