/* What the files of the decoder share: reading units. Pure, internal to them.
 *
 * decode.c feeds pieces and keeps what is unfinished, decode_nodes.c reads the records
 * of nodes up to their references, decode_refs.c the references, decode_meta.c META
 * and, of it, decode_content.c HASH and PREVIEW.
 *
 * A function that reads a unit returns 0, NEED_MORE if the piece ends within the unit
 * (it then has changed nothing but the cursor), or a graph_error.
 */
#ifndef LIVEHEAP_GRAPH_DECODE_UNITS_H
#define LIVEHEAP_GRAPH_DECODE_UNITS_H

#include "decode.h"

enum { NEED_MORE = 1 };

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

/* Read one varint. 0, NEED_MORE, or GRAPH_CORRUPT for one of more than 64 bits. */
static inline int
take(struct cursor *cursor, uint64_t *value)
{
    const uint8_t *p = cursor->at;
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p == cursor->end) {
            return NEED_MORE;
        }
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) {
            return GRAPH_CORRUPT;
        }
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            cursor->at = p;
            *value = result;
            return 0;
        }
    }
    return GRAPH_CORRUPT;
}

#define TAKE(value)                          \
    do {                                     \
        int take_rc = take(cursor, (value)); \
        if (take_rc != 0) {                  \
            return take_rc;                  \
        }                                    \
    } while (0)

#define PUSH(vec, column, element)                  \
    do {                                            \
        if (vec##_push(&(column), (element)) < 0) { \
            return GRAPH_NO_MEMORY;                 \
        }                                           \
    } while (0)

static inline uint64_t
unzigzag(uint64_t value)
{
    return (value >> 1) ^ (0 - (value & 1));
}

static inline uint32_t
at_most_u32(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/* Read the head of a record: what stands before its list. */
int decode_record(struct decoder *decoder, struct cursor *cursor);

/* Begin a section of `count` references, or as many pairs. 0 or GRAPH_CORRUPT. */
int decode_section(struct decoder *decoder, enum decode_section section,
                   uint64_t count);

/* Append an edge of the newest node. 0 or a graph_error. */
int decode_edge(struct decoder *decoder, uint64_t target, enum edge_kind kind,
                uint32_t name);

/* Read references to the end of their section; the count of the section after it. */
int decode_refs(struct decoder *decoder, struct cursor *cursor);
int decode_next_section(struct decoder *decoder, struct cursor *cursor);

/* Read a text id and set *name to its text's number. */
int decode_name(struct decoder *decoder, struct cursor *cursor, uint32_t *name);

/* Read a META record of this kind, up to its list if it has one. */
int decode_meta(struct decoder *decoder, struct cursor *cursor, uint64_t kind);

/* Read a length and that many bytes, and set *name to their number. */
int decode_text(struct decoder *decoder, struct cursor *cursor, uint32_t *name);

/* Read a HASH or PREVIEW record behind its head. */
int decode_hash(struct decoder *decoder, struct cursor *cursor);
int decode_preview(struct decoder *decoder, struct cursor *cursor);

/* Read one field of a TYPE, one local of a CODE; or go on to the next record. */
int decode_field(struct decoder *decoder, struct cursor *cursor);
int decode_local(struct decoder *decoder, struct cursor *cursor);

/* Make type 0, that of interpreter frames, whose fields FORMAT.md names. */
int decode_begin(struct heapgraph *graph);

#endif
