#include "decode.h"

#include <string.h>

#include "decode_units.h"

static const uint64_t FIRST_ADDRESS = (1u << 16) / 8;
static const uint64_t END_OF_ADDRESSES = (uint64_t)1 << 61;

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
    int rc = decode_name(decoder, cursor, &name);
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
        return decode_meta(decoder, cursor, value);
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
        int rc = decode_name(decoder, cursor, &name);
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

/* Read units until the cursor is at its end or within a unit. */
static int
read_units(struct decoder *decoder, struct cursor *cursor)
{
    static int (*const READERS[])(struct decoder *, struct cursor *) = {
        [STEP_RECORD] = read_record,   [STEP_REFS] = read_refs,
        [STEP_SECTION] = read_section, [STEP_FIELDS] = decode_field,
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
