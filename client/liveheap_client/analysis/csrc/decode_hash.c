/* HASH: what the contents of the str or bytes before it hash to. */
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
