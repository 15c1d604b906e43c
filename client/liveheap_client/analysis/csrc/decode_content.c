/* What the contents of objects are: HASH, of the str or bytes before it what they hash
 * to, and PREVIEW, of some object how its content begins. */
#include "decode_units.h"

int
decode_hash(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    const struct vec_i32 *nodes = &graph->content_node;
    uint64_t kind;
    uint64_t length;
    uint64_t hash = 0;
    TAKE(&kind);
    TAKE(&length);
    if (cursor->end - cursor->at < (ptrdiff_t)sizeof(hash)) {
        return NEED_MORE;
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        hash |= (uint64_t)*cursor->at++ << shift;
    }
    if (kind != CONTENT_STR && kind != CONTENT_BYTES) {
        return heapgraph_corrupt(graph, "a hash of contents of kind %llu",
                                 (unsigned long long)kind);
    }
    if (graph->address.n == 0) {
        return heapgraph_corrupt(graph, "a hash before any object");
    }
    int32_t node = (int32_t)(graph->address.n - 1);
    uint8_t record = graph->record.at[node];
    if (record != RECORD_LEAF && record != RECORD_FIELDS) {
        return heapgraph_corrupt(graph, "a hash of what is no str and no bytes");
    }
    if (nodes->n > 0 && nodes->at[nodes->n - 1] == node) {
        return heapgraph_corrupt(graph, "two hashes of one object");
    }
    PUSH(vec_i32, graph->content_node, node);
    PUSH(vec_u8, graph->content_kind, (uint8_t)kind);
    PUSH(vec_u64, graph->content_length, length);
    PUSH(vec_u64, graph->content_hash, hash);
    return 0;
}

int
decode_preview(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    struct preview_info preview = {.node = NO_NODE};
    uint64_t delta;
    uint64_t kind;
    TAKE(&delta);
    TAKE(&kind);
    TAKE(&preview.length);
    int rc = decode_text(decoder, cursor, &preview.name);
    if (rc != 0) {
        return rc;
    }
    if (kind < CONTENT_STR || kind > CONTENT_FLOAT) {
        return heapgraph_corrupt(graph, "a preview of contents of kind %llu",
                                 (unsigned long long)kind);
    }
    preview.kind = (uint32_t)kind;
    preview.address = decoder->previous_preview + unzigzag(delta);
    decoder->previous_preview = preview.address;
    PUSH(vec_preview, graph->previews, preview);
    return 0;
}
