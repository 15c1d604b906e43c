/* A decoded heap graph: columns, and nothing but columns. Pure.
 *
 * Life of a graph: `decoder` (decode.h) appends nodes and edges as the stream
 * arrives; `resolve_graph` (resolve.h) turns addresses into node numbers, names what
 * could not be named before, and decides for every edge whether it owns. After that
 * it is only read.
 *
 * Nodes are numbered in the order of the stream. ROOT records are nodes too (record
 * RECORD_ROOT, type 0, size 0), since they have edges; they are no objects.
 */
#ifndef LIVEHEAP_GRAPH_HEAPGRAPH_H
#define LIVEHEAP_GRAPH_HEAPGRAPH_H

#include "textpool.h"
#include "vec.h"

enum graph_error {
    GRAPH_OK = 0,
    GRAPH_NO_MEMORY = -1,
    GRAPH_CORRUPT = -2,   /* heapgraph.why says what */
    GRAPH_TRUNCATED = -3, /* the stream ends without END */
    GRAPH_TOO_LARGE = -4, /* more than 2^31 nodes, types or codes, or 2^32 edges */
};

enum record {
    RECORD_LEAF,
    RECORD_ITEMS,
    RECORD_PAIRS,
    RECORD_FIELDS,
    RECORD_COMPOUND,
    RECORD_FRAME,
    RECORD_ROOT,
    RECORD_META,
};

enum form { FORM_ITEMS = 1, FORM_PAIRS = 2, FORM_SET = 3 };

enum root_kind {
    ROOT_INTERPRETER = 1,
    ROOT_THREAD = 2,
    ROOT_GREENLET = 3,
    ROOT_INTERNED = 4,
    ROOT_C = 5,
};

enum meta {
    META_END,
    META_TYPE,
    META_TEXT,
    META_STRING,
    META_CODE,
    META_WARNING,
    META_HASH = 7,
    META_PREVIEW = 8,
};

enum content_kind {
    CONTENT_STR = 1,
    CONTENT_BYTES = 2,
    CONTENT_BYTEARRAY = 3, /* from here on in a PREVIEW only */
    CONTENT_INT = 4,
    CONTENT_FLOAT = 5,
};

/* What a reference is. The name of the edge says which one. */
enum edge_kind {
    EDGE_ATTRIBUTE = 1, /* name: the attribute's */
    EDGE_SLOT = 2,
    EDGE_INTERNAL = 3,
    EDGE_ITEM = 4,  /* no name: an index, a set item, a value without its key */
    EDGE_KEY = 5,   /* no name; in its row the value follows */
    EDGE_VALUE = 6, /* name: the key's text if that is program text, else 0 */
    EDGE_LOCAL = 7, /* name: the variable's */
    EDGE_BORROWED = 8,
    EDGE_CELL = 9, /* from the closure tuple; name: the variable's */
    EDGE_ROOT = 10,
    EDGE_UNNAMED = 11,
    EDGE_CODE = 12,  /* from a frame to what it runs */
    EDGE_STACK = 13, /* from a frame to an element of its evaluation stack */

    EDGE_KINDS = 0x7f,
    EDGE_OWNS = 0x80, /* set by the predicate in resolve.c, and only there */
};

enum node_flag {
    NODE_IMMORTAL = 1,
    NODE_INTERNED = 2,
    NODE_TEXT = 4,       /* a str that is program text */
    NODE_TYPE = 8,       /* is a type */
    NODE_MODULE = 16,    /* stands in sys.modules */
    NODE_NAMESPACE = 32, /* the dict of such a module */
    NODE_FOLDED = 64, /* a part of its only owner: __dict__, a frame's frame object */
    NODE_BASES = 128, /* a type's tuple of bases or its mro */
    NODE_HOMED = 256, /* a type or function that stands in the module it is from */
    NODE_SEEN = 512,  /* a dict of a root that was read: each is read once */
};

enum type_flag { TYPE_HEAP = 1, TYPE_METATYPE = 64 };

enum { NO_NODE = -1, NO_CODE = -1 };

/* On a large heap a pass over the edges mostly waits for what lies at their targets. It
 * knows them early, and asks for the memory this many edges ahead. */
enum { AHEAD = 16 };

struct field {
    uint32_t name;
    uint8_t kind;
};

struct type_info {
    uint64_t address;
    uint64_t flags;
    uint32_t module;
    uint32_t qualname;
    uint32_t class_id; /* the first type with these names */
    int32_t node;
    size_t first_field;
    size_t n_fields;
};

struct code_info {
    uint64_t address;
    uint32_t qualname;
    uint32_t filename;
    uint32_t basename;
    uint32_t class_id; /* the first code with this qualname and base name */
    uint32_t first_line;
    int32_t node;
    size_t first_local;
    size_t n_locals;
    size_t n_free;
};

struct frame_info {
    int32_t node;
    int32_t code; /* index of the code, NO_CODE if unknown */
    uint32_t line;
    uint64_t code_address;
};

struct root_info {
    int32_t node;
    uint32_t kind;
    uint32_t name;
    uint32_t flags;
    uint64_t number;
};

struct module_info {
    int32_t node;
    int32_t namespace; /* node of its dict, NO_NODE if unknown */
    uint32_t name;
    uint32_t filename; /* of a function defined there, 0 if none */
    uint32_t native;   /* 1 if it has builtin functions of its own */
};

struct string_info {
    uint64_t address;
    uint32_t name;
};

/* The beginning of a content, as text. */
struct preview_info {
    uint64_t address; /* until resolve_graph */
    uint64_t length;  /* of the whole */
    uint32_t name;
    int32_t node;
    uint32_t kind;
};

/* From a node to what a record says of it. */
struct node_index {
    int32_t node;
    int32_t index;
};

VEC(vec_field, struct field)
VEC(vec_type, struct type_info)
VEC(vec_code, struct code_info)
VEC(vec_frame, struct frame_info)
VEC(vec_root, struct root_info)
VEC(vec_module, struct module_info)
VEC(vec_string, struct string_info)
VEC(vec_preview, struct preview_info)
VEC(vec_node_index, struct node_index)

/* All addresses, divided by 8, are below. Until resolve_graph roots are numbered from
 * here on, for the ids of many roots would reach the addresses of objects. */
#define END_OF_ADDRESSES ((uint64_t)1 << 61)

struct heapgraph {
    /* one entry a node; `row` has one more, at the end */
    struct vec_u64 address; /* divided by 8; of a root: its id */
    struct vec_u32 type;    /* index into types; 0 is no type */
    struct vec_u64 size;
    struct vec_u32 refcount; /* 0 immortal; at most UINT32_MAX */
    struct vec_u8 record;
    struct vec_u32 row;
    struct vec_u16 flags; /* filled by resolve_graph */

    /* one entry an edge. Until resolve_graph the targets are addresses. */
    struct vec_u64 target_address;
    struct vec_i32 target;
    struct vec_u8 edge_kind;
    struct vec_u32 edge_name;

    struct vec_type types; /* entry 0 is no type */
    struct vec_field fields;
    struct vec_code codes;
    struct vec_u32 locals;
    struct vec_frame frames; /* in the order of their nodes */
    struct vec_root roots;   /* in the order of their nodes */
    struct vec_module modules;
    struct vec_string strings;
    struct vec_u32 warnings;
    struct textpool names;
    struct vec_node_index code_of_node; /* sorted, filled by resolve_graph */
    struct vec_node_index type_of_node;

    /* one entry a HASH record, in the order of their nodes */
    struct vec_i32 content_node;
    struct vec_u8 content_kind;
    struct vec_u64 content_length;
    struct vec_u64 content_hash;

    /* one entry a PREVIEW record of a node, in the order of the nodes: first as they
     * come, then, filled by resolve_graph, as columns */
    struct vec_preview previews;
    struct vec_i32 preview_node;
    struct vec_u8 preview_kind;
    struct vec_u64 preview_length;
    struct vec_u32 preview_name;

    uint64_t total_bytes;
    uint64_t n_unknown_targets; /* references to no node, dropped */
    int complete;               /* END was seen */
    char why[160];
};

void heapgraph_clear(struct heapgraph *graph);

/* Record why the file is corrupt; returns GRAPH_CORRUPT. */
int heapgraph_corrupt(struct heapgraph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The frame of a node, NULL if it is none. */
const struct frame_info *heapgraph_frame(const struct heapgraph *graph, int32_t node);

/* What a CODE or TYPE record says of a node, NULL if there is none. */
const struct code_info *heapgraph_code(const struct heapgraph *graph, int32_t node);
const struct type_info *heapgraph_type(const struct heapgraph *graph, int32_t node);

/* Sort an index by node, the lower index first. */
void node_index_sort(struct vec_node_index *vec);

/* The edge of a node with this internal name, -1 if there is none. */
int64_t heapgraph_internal(const struct heapgraph *graph, int32_t node, uint32_t name);

#endif
