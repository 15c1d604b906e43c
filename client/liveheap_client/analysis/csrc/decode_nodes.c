#include "decode_units.h"

static const uint64_t FIRST_ADDRESS = (1u << 16) / 8;

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
    /* Who sums sizes up later may use signed numbers. */
    if (node->size > INT64_MAX - graph->total_bytes) {
        return heapgraph_corrupt(graph, "sizes add up to more than 2^63");
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
    return decode_section(decoder, section, count);
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
        rc = decode_edge(decoder, frame.code_address, EDGE_CODE, 0);
        if (rc < 0) {
            return rc;
        }
    }
    PUSH(vec_frame, decoder->graph->frames, frame);
    decoder->frame = 1;
    return decode_section(decoder, SECTION_LOCALS, count);
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
    if (id == 0 || id >= INT32_MAX) {
        return heapgraph_corrupt(decoder->graph, "a root with id %llu",
                                 (unsigned long long)id);
    }
    rc = push_node(decoder, RECORD_ROOT, END_OF_ADDRESSES + id, 0, 0, 0);
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
    return decode_section(decoder, SECTION_ROOT, count);
}

int
decode_record(struct decoder *decoder, struct cursor *cursor)
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
