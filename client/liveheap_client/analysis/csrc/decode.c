#include "decode.h"

#include <string.h>

enum { NEED_MORE = 1 };

static const uint64_t FIRST_ADDRESS = (1u << 16) / 8;
static const uint64_t END_OF_ADDRESSES = (uint64_t)1 << 61;

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

static int
take_name(struct decoder *decoder, struct cursor *cursor, uint32_t *name)
{
    uint64_t id;
    TAKE(&id);
    return text_name(decoder, id, name);
}

/* Read a length and that many bytes, and set *name to their number. */
static int
take_text(struct decoder *decoder, struct cursor *cursor, uint32_t *name)
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
push_node(struct decoder *decoder, enum record record, uint64_t address, uint32_t type,
          uint64_t size, uint64_t refcount)
{
    struct heapgraph *graph = decoder->graph;
    if (graph->address.n >= INT32_MAX - 1) {
        return GRAPH_TOO_LARGE;
    }
    PUSH(vec_u64, graph->address, address);
    PUSH(vec_u32, graph->type, type);
    PUSH(vec_u64, graph->size, size);
    PUSH(vec_u32, graph->refcount, at_most_u32(refcount));
    PUSH(vec_u8, graph->record, (uint8_t)record);
    PUSH(vec_u32, graph->row, (uint32_t)graph->target_address.n);
    return 0;
}

static inline int
push_edge(struct decoder *decoder, uint64_t target, enum edge_kind kind, uint32_t name)
{
    struct heapgraph *graph = decoder->graph;
    if (graph->target_address.n >= UINT32_MAX - 1) {
        return GRAPH_TOO_LARGE;
    }
    PUSH(vec_u64, graph->target_address, target);
    PUSH(vec_u8, graph->edge_kind, (uint8_t)kind);
    PUSH(vec_u32, graph->edge_name, name);
    decoder->n_edges++;
    return 0;
}

/* Read a ref and set *target; 0 if it is absent. */
static inline int
take_ref(struct decoder *decoder, struct cursor *cursor, uint64_t *target)
{
    uint64_t value;
    TAKE(&value);
    *target = 0;
    if (value != 0) {
        *target = decoder->previous_target + unzigzag(value - 1);
        decoder->previous_target = *target;
    }
    return 0;
}

static void
begin_list(struct decoder *decoder, enum decode_section section, uint64_t count)
{
    decoder->step = STEP_REFS;
    decoder->section = section;
    decoder->remaining = count;
    decoder->index = 0;
    decoder->key_absent = 0;
}

static int
begin_section(struct decoder *decoder, enum decode_section section, uint64_t count)
{
    if (section == SECTION_PAIRS) {
        if (count > UINT64_MAX / 2) {
            return heapgraph_corrupt(decoder->graph, "%llu pairs",
                                     (unsigned long long)count);
        }
        count *= 2;
    }
    begin_list(decoder, section, count);
    return 0;
}

struct node_head {
    uint64_t address;
    uint64_t size;
    uint64_t refcount;
};

static int
take_node(struct decoder *decoder, struct cursor *cursor, uint64_t type,
          struct node_head *node)
{
    uint64_t delta;
    TAKE(&delta);
    TAKE(&node->size);
    TAKE(&node->refcount);
    node->address = decoder->previous_node + unzigzag(delta);
    if (node->address < FIRST_ADDRESS || node->address >= END_OF_ADDRESSES) {
        return heapgraph_corrupt(decoder->graph, "a node at address 0x%llx",
                                 (unsigned long long)node->address * 8);
    }
    if (type >= decoder->graph->types.n) {
        return heapgraph_corrupt(decoder->graph, "type %llu is used before it came",
                                 (unsigned long long)type);
    }
    return 0;
}

static int
commit_node(struct decoder *decoder, enum record record, uint64_t type,
            const struct node_head *node)
{
    struct heapgraph *graph = decoder->graph;
    if (node->size > UINT64_MAX - graph->total_bytes) {
        return heapgraph_corrupt(graph, "sizes add up to more than 2^64");
    }
    int rc = push_node(decoder, record, node->address, (uint32_t)type, node->size,
                       node->refcount);
    if (rc < 0) {
        return rc;
    }
    graph->total_bytes += node->size;
    decoder->n_nodes++;
    decoder->previous_node = node->address;
    decoder->previous_target = node->address;
    decoder->type = (uint32_t)type;
    decoder->frame = 0;
    return 0;
}

static int
read_node(struct decoder *decoder, struct cursor *cursor, enum record record,
          uint64_t type)
{
    static const enum decode_section SECTION_OF_RECORD[] = {
        [RECORD_ITEMS] = SECTION_ITEMS,
        [RECORD_PAIRS] = SECTION_PAIRS,
        [RECORD_FIELDS] = SECTION_FIELDS,
    };
    static const enum decode_section SECTION_OF_FORM[] = {
        [FORM_ITEMS] = SECTION_ITEMS,
        [FORM_PAIRS] = SECTION_PAIRS,
        [FORM_SET] = SECTION_ITEMS,
    };
    struct node_head node;
    enum decode_section section = SECTION_NONE;
    uint64_t count = 0;
    int rc = take_node(decoder, cursor, type, &node);
    if (rc != 0) {
        return rc;
    }
    if (record == RECORD_COMPOUND) {
        uint64_t form;
        TAKE(&form);
        if (form < FORM_ITEMS || form > FORM_SET) {
            return heapgraph_corrupt(decoder->graph, "form %llu",
                                     (unsigned long long)form);
        }
        section = SECTION_OF_FORM[form];
    }
    else if (record != RECORD_LEAF) {
        section = SECTION_OF_RECORD[record];
    }
    if (section != SECTION_NONE) {
        TAKE(&count);
    }
    if (type == 0) {
        return heapgraph_corrupt(decoder->graph, "an object without a type");
    }
    rc = commit_node(decoder, record, type, &node);
    if (rc < 0 || section == SECTION_NONE) {
        return rc;
    }
    return begin_section(decoder, section, count);
}

static int
read_frame(struct decoder *decoder, struct cursor *cursor, uint64_t type)
{
    struct node_head node;
    uint64_t code;
    uint64_t line;
    uint64_t count;
    int rc = take_node(decoder, cursor, type, &node);
    if (rc != 0) {
        return rc;
    }
    TAKE(&code);
    TAKE(&line);
    TAKE(&count);
    rc = commit_node(decoder, RECORD_FRAME, type, &node);
    if (rc < 0) {
        return rc;
    }
    struct frame_info frame = {
        .node = (int32_t)(decoder->graph->address.n - 1),
        .code = NO_CODE,
        .line = at_most_u32(line),
    };
    if (code != 0) {
        decoder->previous_target += unzigzag(code - 1);
        frame.code_address = decoder->previous_target;
        rc = push_edge(decoder, frame.code_address, EDGE_CODE, 0);
        if (rc < 0) {
            return rc;
        }
    }
    PUSH(vec_frame, decoder->graph->frames, frame);
    decoder->frame = 1;
    return begin_section(decoder, SECTION_LOCALS, count);
}

static int
read_root(struct decoder *decoder, struct cursor *cursor, uint64_t kind)
{
    uint64_t id;
    uint32_t name = 0;
    uint64_t number;
    uint64_t flags;
    uint64_t count;
    TAKE(&id);
    int rc = take_name(decoder, cursor, &name);
    if (rc != 0) {
        return rc;
    }
    TAKE(&number);
    TAKE(&flags);
    TAKE(&count);
    if (id == 0 || id >= FIRST_ADDRESS) {
        return heapgraph_corrupt(decoder->graph, "a root with id %llu",
                                 (unsigned long long)id);
    }
    rc = push_node(decoder, RECORD_ROOT, id, 0, 0, 0);
    if (rc < 0) {
        return rc;
    }
    struct root_info root = {
        .node = (int32_t)(decoder->graph->address.n - 1),
        .kind = at_most_u32(kind),
        .name = name,
        .flags = at_most_u32(flags),
        .number = number,
    };
    PUSH(vec_root, decoder->graph->roots, root);
    decoder->previous_target = id;
    decoder->type = 0;
    decoder->frame = 0;
    return begin_section(decoder, SECTION_ROOT, count);
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
    int rc = take_name(decoder, cursor, &type.module);
    if (rc == 0) {
        rc = take_name(decoder, cursor, &type.qualname);
    }
    if (rc != 0) {
        return rc;
    }
    TAKE(&count);
    if (id != graph->types.n) {
        return heapgraph_corrupt(graph, "type %llu comes as the %zu.",
                                 (unsigned long long)id, graph->types.n);
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
    int rc = take_name(decoder, cursor, &code.qualname);
    if (rc == 0) {
        rc = take_name(decoder, cursor, &code.filename);
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
    code.first_line = at_most_u32(line);
    code.n_free = n_free;
    PUSH(vec_code, graph->codes, code);
    decoder->step = STEP_LOCALS;
    decoder->remaining = count;
    return 0;
}

static int
read_meta(struct decoder *decoder, struct cursor *cursor, uint64_t kind)
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
        rc = take_text(decoder, cursor, &name);
        if (rc != 0) {
            return rc;
        }
        PUSH(vec_u32, decoder->texts, name);
        return 0;
    case META_STRING: {
        struct string_info string;
        uint64_t delta;
        TAKE(&delta);
        rc = take_text(decoder, cursor, &string.name);
        if (rc != 0) {
            return rc;
        }
        string.address = decoder->previous_string + unzigzag(delta);
        decoder->previous_string = string.address;
        PUSH(vec_string, graph->strings, string);
        return 0;
    }
    case META_WARNING:
        rc = take_name(decoder, cursor, &name);
        if (rc != 0) {
            return rc;
        }
        PUSH(vec_u32, graph->warnings, name);
        return 0;
    default:
        return heapgraph_corrupt(graph, "META of kind %llu", (unsigned long long)kind);
    }
}

static int
read_record(struct decoder *decoder, struct cursor *cursor)
{
    uint64_t head;
    TAKE(&head);
    uint64_t value = head >> 3;
    switch (head & 7) {
    case RECORD_FRAME:
        return read_frame(decoder, cursor, value);
    case RECORD_ROOT:
        return read_root(decoder, cursor, value);
    case RECORD_META:
        return read_meta(decoder, cursor, value);
    default:
        return read_node(decoder, cursor, (enum record)(head & 7), value);
    }
}

/* The kind and name of ref `index` of a FIELDS section. */
static inline enum edge_kind
field_of(const struct decoder *decoder, uint32_t *name)
{
    const struct heapgraph *graph = decoder->graph;
    const struct type_info *type = &graph->types.at[decoder->type];
    *name = 0;
    if (decoder->index >= type->n_fields) {
        return decoder->frame ? EDGE_STACK : EDGE_UNNAMED;
    }
    const struct field *field = &graph->fields.at[type->first_field + decoder->index];
    *name = field->name;
    return field->name == 0 ? EDGE_UNNAMED : (enum edge_kind)field->kind;
}

/* Read one ref of the section. */
static inline int
read_ref(struct decoder *decoder, struct cursor *cursor)
{
    uint64_t target;
    uint32_t name = 0;
    enum edge_kind kind = EDGE_ITEM;
    uint64_t local;
    switch (decoder->section) {
    case SECTION_PAIRS:
        kind = decoder->index % 2 == 0    ? EDGE_KEY
               : decoder->key_absent != 0 ? EDGE_ITEM
                                          : EDGE_VALUE;
        break;
    case SECTION_FIELDS:
        kind = field_of(decoder, &name);
        break;
    case SECTION_LOCALS:
        kind = EDGE_LOCAL;
        name = at_most_u32(decoder->index);
        break;
    case SECTION_BORROWED:
        TAKE(&local);
        kind = EDGE_BORROWED;
        name = at_most_u32(local);
        break;
    case SECTION_ROOT: {
        int rc = take_name(decoder, cursor, &name);
        if (rc != 0) {
            return rc;
        }
        kind = EDGE_ROOT;
        break;
    }
    default:
        break;
    }
    int rc = take_ref(decoder, cursor, &target);
    if (rc != 0) {
        return rc;
    }
    if (kind == EDGE_KEY) {
        decoder->key_absent = target == 0;
    }
    if (target != 0) {
        rc = push_edge(decoder, target, kind, name);
        if (rc < 0) {
            return rc;
        }
    }
    decoder->index++;
    decoder->remaining--;
    return 0;
}

static int
read_refs(struct decoder *decoder, struct cursor *cursor)
{
    while (decoder->remaining > 0) {
        struct cursor before = *cursor;
        int rc = read_ref(decoder, cursor);
        if (rc != 0) {
            *cursor = before;
            return rc;
        }
    }
    int more =
        decoder->section == SECTION_LOCALS ||
        (decoder->section == SECTION_FIELDS && decoder->frame) ||
        ((decoder->section == SECTION_ITEMS || decoder->section == SECTION_PAIRS) &&
         decoder->graph->record.at[decoder->graph->record.n - 1] == RECORD_COMPOUND);
    decoder->step = more ? STEP_SECTION : STEP_RECORD;
    return 0;
}

static int
read_section(struct decoder *decoder, struct cursor *cursor)
{
    uint64_t count;
    TAKE(&count);
    return begin_section(
        decoder, decoder->section == SECTION_FIELDS ? SECTION_BORROWED : SECTION_FIELDS,
        count);
}

static int
read_field(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    if (decoder->remaining == 0) {
        decoder->step = STEP_RECORD;
        return 0;
    }
    uint64_t kind;
    struct field field;
    TAKE(&kind);
    int rc = take_name(decoder, cursor, &field.name);
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

static int
read_local(struct decoder *decoder, struct cursor *cursor)
{
    struct heapgraph *graph = decoder->graph;
    if (decoder->remaining == 0) {
        decoder->step = STEP_RECORD;
        return 0;
    }
    uint32_t name = 0;
    int rc = take_name(decoder, cursor, &name);
    if (rc != 0) {
        return rc;
    }
    PUSH(vec_u32, graph->locals, name);
    graph->codes.at[graph->codes.n - 1].n_locals++;
    decoder->remaining--;
    return 0;
}

/* Read units until the cursor is at its end or within a unit. */
static int
read_units(struct decoder *decoder, struct cursor *cursor)
{
    static int (*const READERS[])(struct decoder *, struct cursor *) = {
        [STEP_RECORD] = read_record,   [STEP_REFS] = read_refs,
        [STEP_SECTION] = read_section, [STEP_FIELDS] = read_field,
        [STEP_LOCALS] = read_local,
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

/* Type 0 is that of interpreter frames, whose fields FORMAT.md names. */
static int
push_no_type(struct heapgraph *graph)
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

int
decoder_init(struct decoder *decoder, struct heapgraph *graph)
{
    decoder->graph = graph;
    decoder->step = STEP_RECORD;
    if (textpool_init(&graph->names) < 0) {
        return GRAPH_NO_MEMORY;
    }
    return push_no_type(graph);
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
