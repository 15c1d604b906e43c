#include "decode.h"

#include <string.h>

#include "decode_units.h"

/* Read units until the cursor is at its end or within a unit. */
static int
read_units(struct decoder *decoder, struct cursor *cursor)
{
    static int (*const READERS[])(struct decoder *, struct cursor *) = {
        [STEP_RECORD] = decode_record,        [STEP_REFS] = decode_refs,
        [STEP_SECTION] = decode_next_section, [STEP_FIELDS] = decode_field,
        [STEP_LOCALS] = decode_local,
    };
    for (;;) {
        if (decoder->step == STEP_DONE) {
            return cursor->at == cursor->end
                       ? 0
                       : heapgraph_corrupt(decoder->graph, "bytes follow END");
        }
        struct cursor before = *cursor;
        enum decode_step step = decoder->step;
        int rc = READERS[step](decoder, cursor);
        if (rc == NEED_MORE) {
            if (step != STEP_REFS) {
                *cursor = before;
            }
            return 0;
        }
        if (rc == GRAPH_CORRUPT && decoder->graph->why[0] == '\0') {
            return heapgraph_corrupt(decoder->graph, "a varint of more than 64 bits");
        }
        if (rc < 0) {
            return rc;
        }
    }
}

static int
keep_rest(struct decoder *decoder, const uint8_t *bytes, size_t length)
{
    struct vec_u8 *carry = &decoder->carry;
    if (bytes == carry->at) {
        carry->n = length;
        return 0;
    }
    if (carry->capacity < length) {
        uint8_t *at = malloc(length + length / 2);
        if (at == NULL) {
            return GRAPH_NO_MEMORY;
        }
        memcpy(at, bytes, length);
        free(carry->at);
        carry->at = at;
        carry->capacity = length + length / 2;
    }
    else if (length > 0) {
        memmove(carry->at, bytes, length);
    }
    carry->n = length;
    return 0;
}

int
decoder_init(struct decoder *decoder, struct heapgraph *graph)
{
    decoder->graph = graph;
    decoder->step = STEP_RECORD;
    if (textpool_init(&graph->names) < 0) {
        return GRAPH_NO_MEMORY;
    }
    return decode_begin(graph);
}

void
decoder_clear(struct decoder *decoder)
{
    free(decoder->texts.at);
    free(decoder->carry.at);
    memset(decoder, 0, sizeof(*decoder));
}

int
decoder_feed(struct decoder *decoder, const uint8_t *bytes, size_t length)
{
    struct vec_u8 *carry = &decoder->carry;
    size_t total = carry->n + length;
    if (length == 0) {
        return 0;
    }
    struct cursor cursor = {bytes, bytes + length};
    if (carry->n > 0) {
        if (total > carry->capacity) {
            uint8_t *at = realloc(carry->at, total + total / 2);
            if (at == NULL) {
                return GRAPH_NO_MEMORY;
            }
            carry->at = at;
            carry->capacity = total + total / 2;
        }
        memcpy(carry->at + carry->n, bytes, length);
        cursor = (struct cursor){carry->at, carry->at + total};
    }
    int rc = read_units(decoder, &cursor);
    if (rc < 0) {
        return rc;
    }
    return keep_rest(decoder, cursor.at, (size_t)(cursor.end - cursor.at));
}

int
decoder_finish(struct decoder *decoder)
{
    struct heapgraph *graph = decoder->graph;
    PUSH(vec_u32, graph->row, (uint32_t)graph->target_address.n);
    return graph->complete ? 0 : GRAPH_TRUNCATED;
}
