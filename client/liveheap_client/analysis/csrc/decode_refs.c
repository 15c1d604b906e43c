#include "decode_units.h"

int
decode_edge(struct decoder *decoder, uint64_t target, enum edge_kind kind,
            uint32_t name)
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

int
decode_section(struct decoder *decoder, enum decode_section section, uint64_t count)
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
        rc = decode_edge(decoder, target, kind, name);
        if (rc < 0) {
            return rc;
        }
    }
    decoder->index++;
    decoder->remaining--;
    return 0;
}

int
decode_refs(struct decoder *decoder, struct cursor *cursor)
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

int
decode_next_section(struct decoder *decoder, struct cursor *cursor)
{
    uint64_t count;
    TAKE(&count);
    return decode_section(
        decoder, decoder->section == SECTION_FIELDS ? SECTION_BORROWED : SECTION_FIELDS,
        count);
}
