#include <string.h>

#include "decode_units.h"

/* Set *name to that of a text id. */
static int
text_name(struct decoder *decoder, uint64_t id, uint32_t *name)
{
    if (id > decoder->texts.n) {
        return heapgraph_corrupt(decoder->graph, "text %llu is used before it came",
                                 (unsigned long long)id);
    }
    *name = id == 0 ? 0 : decoder->texts.at[id - 1];
    return 0;
}

int
decode_name(struct decoder *decoder, struct cursor *cursor, uint32_t *name)
{
    uint64_t id;
    TAKE(&id);
    return text_name(decoder, id, name);
}

int
decode_text(struct decoder *decoder, struct cursor *cursor, uint32_t *name)
{
    uint64_t length;
    TAKE(&length);
    if (length > MAX_TEXT_LENGTH) {
        return heapgraph_corrupt(decoder->graph, "a text of %llu bytes",
                                 (unsigned long long)length);
    }
    if ((size_t)(cursor->end - cursor->at) < length) {
        return NEED_MORE;
    }
    int rc = textpool_add(&decoder->graph->names, cursor->at, length, name);
    cursor->at += length;
    if (rc == TEXTPOOL_CROWDED) {
        return heapgraph_corrupt(decoder->graph, "texts chosen to collide");
    }
    return rc < 0 ? GRAPH_NO_MEMORY : 0;
}

static int
read_end(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    uint64_t nodes;
    uint64_t edges;
    uint64_t bytes;
    TAKE(&nodes);
    TAKE(&edges);
    TAKE(&bytes);
    if (nodes != decoder->n_nodes || edges != decoder->n_edges ||
        bytes != graph->total_bytes) {
        return heapgraph_corrupt(
            graph,
            "END says %llu nodes, %llu edges, %llu bytes; there were %llu, %llu, %llu",
            (unsigned long long)nodes, (unsigned long long)edges,
            (unsigned long long)bytes, (unsigned long long)decoder->n_nodes,
            (unsigned long long)decoder->n_edges,
            (unsigned long long)graph->total_bytes);
    }
    graph->complete = 1;
    decoder->step = STEP_DONE;
    return 0;
}

static int
read_type(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    struct type_info type = {.node = NO_NODE, .first_field = graph->fields.n};
    uint64_t id;
    uint64_t basicsize;
    uint64_t itemsize;
    uint64_t count;
    TAKE(&id);
    TAKE(&type.address);
    TAKE(&type.flags);
    TAKE(&basicsize);
    TAKE(&itemsize);
    int rc = decode_name(decoder, cursor, &type.module);
    if (rc == 0) {
        rc = decode_name(decoder, cursor, &type.qualname);
    }
    if (rc != 0) {
        return rc;
    }
    TAKE(&count);
    if (id != graph->types.n) {
        return heapgraph_corrupt(graph, "type %llu comes as the %zu.",
                                 (unsigned long long)id, graph->types.n);
    }
    if (id >= INT32_MAX) {
        return GRAPH_TOO_LARGE;
    }
    PUSH(vec_type, graph->types, type);
    decoder->step = STEP_FIELDS;
    decoder->remaining = count;
    return 0;
}

static int
read_code(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    struct code_info code = {.node = NO_NODE, .first_local = graph->locals.n};
    uint64_t line;
    uint64_t n_free;
    uint64_t count;
    TAKE(&code.address);
    int rc = decode_name(decoder, cursor, &code.qualname);
    if (rc == 0) {
        rc = decode_name(decoder, cursor, &code.filename);
    }
    if (rc != 0) {
        return rc;
    }
    TAKE(&line);
    TAKE(&n_free);
    TAKE(&count);
    if (n_free > count) {
        return heapgraph_corrupt(graph, "a code with %llu free of %llu variables",
                                 (unsigned long long)n_free, (unsigned long long)count);
    }
    if (graph->codes.n >= INT32_MAX) {
        return GRAPH_TOO_LARGE;
    }
    code.first_line = at_most_u32(line);
    code.n_free = n_free;
    PUSH(vec_code, graph->codes, code);
    decoder->step = STEP_LOCALS;
    decoder->remaining = count;
    return 0;
}

int
decode_meta(struct decoder *decoder, struct cursor *cursor, uint64_t kind)
{
    struct heapgraph *graph = decoder->graph;
    uint32_t name = 0;
    int rc;
    switch (kind) {
    case META_END:
        return read_end(decoder, cursor);
    case META_TYPE:
        return read_type(decoder, cursor);
    case META_CODE:
        return read_code(decoder, cursor);
    case META_TEXT:
        rc = decode_text(decoder, cursor, &name);
        if (rc != 0) {
            return rc;
        }
        PUSH(vec_u32, decoder->texts, name);
        return 0;
    case META_STRING: {
        struct string_info string;
        uint64_t delta;
        TAKE(&delta);
        rc = decode_text(decoder, cursor, &string.name);
        if (rc != 0) {
            return rc;
        }
        string.address = decoder->previous_string + unzigzag(delta);
        decoder->previous_string = string.address;
        PUSH(vec_string, graph->strings, string);
        return 0;
    }
    case META_WARNING:
        rc = decode_name(decoder, cursor, &name);
        if (rc != 0) {
            return rc;
        }
        PUSH(vec_u32, graph->warnings, name);
        return 0;
    case META_HASH:
        return decode_hash(decoder, cursor);
    case META_PREVIEW:
        return decode_preview(decoder, cursor);
    default:
        return heapgraph_corrupt(graph, "META of kind %llu", (unsigned long long)kind);
    }
}

int
decode_field(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    if (decoder->remaining == 0) {
        decoder->step = STEP_RECORD;
        return 0;
    }
    uint64_t kind;
    struct field field;
    TAKE(&kind);
    int rc = decode_name(decoder, cursor, &field.name);
    if (rc != 0) {
        return rc;
    }
    if (kind < EDGE_ATTRIBUTE || kind > EDGE_INTERNAL) {
        return heapgraph_corrupt(graph, "a field of kind %llu",
                                 (unsigned long long)kind);
    }
    field.kind = (uint8_t)kind;
    PUSH(vec_field, graph->fields, field);
    graph->types.at[graph->types.n - 1].n_fields++;
    decoder->remaining--;
    return 0;
}

int
decode_local(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    if (decoder->remaining == 0) {
        decoder->step = STEP_RECORD;
        return 0;
    }
    uint32_t name = 0;
    int rc = decode_name(decoder, cursor, &name);
    if (rc != 0) {
        return rc;
    }
    PUSH(vec_u32, graph->locals, name);
    graph->codes.at[graph->codes.n - 1].n_locals++;
    decoder->remaining--;
    return 0;
}

int
decode_begin(struct heapgraph *graph)
{
    static const char *const FIELDS[] = {"frame_obj", "f_func", "f_locals"};
    struct type_info type = {.node = NO_NODE};
    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(FIELDS[0]); i++) {
        struct field field = {.kind = EDGE_INTERNAL};
        int rc = textpool_add(&graph->names, (const uint8_t *)FIELDS[i],
                              strlen(FIELDS[i]), &field.name);
        if (rc < 0) {
            return GRAPH_NO_MEMORY;
        }
        PUSH(vec_field, graph->fields, field);
        type.n_fields++;
    }
    PUSH(vec_type, graph->types, type);
    return 0;
}
