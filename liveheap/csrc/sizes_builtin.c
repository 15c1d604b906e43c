/* What objects of some types hold beside their struct, where sys.getsizeof() asks a
 * __sizeof__ in C.  A walk must not call that: it makes an int, and the child of a
 * clone may find malloc's lock held for ever.  So the few members that tell are read
 * here, through the first members of structs that their C files keep to themselves;
 * they have stood still from 3.10 to 3.15, and the tests compare with getsizeof on each.
 *
 * Any other type counts tp_basicsize and its items, which may be too little: what it
 * keeps in blocks of its own is missing.
 */
#include "walker_state.h"

#include <string.h>

/* ---- types that the interpreter exports ---- */

static uint64_t
code_more(PyObject *object)
{
    return heap_code_more((PyCodeObject *)object);
}

/* A class has its cached keys; a static type has no more than a PyTypeObject, and no
 * collector's header either. */
static uint64_t
type_more(PyObject *object)
{
    PyTypeObject *metatype = Py_TYPE(object);
    int64_t more = -(int64_t)metatype->tp_basicsize;
    if (!PyType_HasFeature((PyTypeObject *)object, Py_TPFLAGS_HEAPTYPE)) {
        more += (int64_t)sizeof(PyTypeObject) - (int64_t)heap_pre_header(metatype);
        return (uint64_t)more;
    }
    PyDictKeysObject *keys = heap_cached_keys((PyTypeObject *)object);
    more += (int64_t)sizeof(PyHeapTypeObject);
    return (uint64_t)more + (keys == NULL ? 0 : heap_keys_size(keys));
}

#if HEAP_BARE_FRAMES
static uint64_t
slots_size(PyCodeObject *code)
{
    return code == NULL ? 0
                        : (uint64_t)(code->co_nlocalsplus + code->co_stacksize) *
                              sizeof(PyObject *);
}

static uint64_t
generator_more(PyObject *object)
{
    return slots_size(heap_generator_code(object));
}

static uint64_t
frame_more(PyObject *object)
{
    _PyInterpreterFrame *frame = ((PyFrameObject *)object)->f_frame;
    return frame == NULL ? 0 : slots_size(heap_frame_code(frame));
}
#else
static uint64_t
frame_more(PyObject *object)
{
    PyCodeObject *code = ((PyFrameObject *)object)->f_code;
    size_t n = heap_code_n_locals(code) + (size_t)code->co_stacksize;
    return (n - 1) * sizeof(PyObject *); /* the struct has room for one */
}
#endif

static uint64_t
bytearray_more(PyObject *object)
{
    return heap_bytearray_more((PyByteArrayObject *)object);
}

struct ordered_node {
    void *members[4];
};

struct ordered_dict {
    PyDictObject dict;
    struct ordered_node *first, *last;
    struct ordered_node **fast_nodes;
    Py_ssize_t n_fast_nodes;
};

static uint64_t
ordered_dict_more(PyObject *object)
{
    const struct ordered_dict *ordered = (const struct ordered_dict *)object;
    uint64_t nodes = ordered->first == NULL ? 0 : (uint64_t)ordered->dict.ma_used;
    return sizes_dict_tables(object) + nodes * sizeof(struct ordered_node) +
           (uint64_t)ordered->n_fast_nodes * sizeof(void *);
}

/* ---- types of modules ---- */

#define DEQUE_BLOCK 64 /* items; a block has two links as well */

struct deque_head {
    PyObject_VAR_HEAD void *left, *right;
    Py_ssize_t left_index;
};

static uint64_t
deque_more(PyObject *object)
{
    const struct deque_head *deque = (const struct deque_head *)object;
    size_t places = (size_t)(deque->left_index + Py_SIZE(object));
    size_t blocks = (places + DEQUE_BLOCK - 1) / DEQUE_BLOCK;
    return blocks * (DEQUE_BLOCK + 2) * sizeof(void *);
}

struct array_head {
    PyObject_VAR_HEAD char *items;
    Py_ssize_t allocated;
    const struct {
        char type_code;
        int item_size;
    } *descr;
};

static uint64_t
array_more(PyObject *object)
{
    const struct array_head *array = (const struct array_head *)object;
    return (uint64_t)array->allocated * (uint64_t)array->descr->item_size;
}

struct buffered_head {
    PyObject_HEAD
    uint64_t members[5];
    char *buffer;
    uint64_t more_members[7];
    Py_ssize_t size;
};

static uint64_t
buffered_more(PyObject *object)
{
    const struct buffered_head *buffered = (const struct buffered_head *)object;
    return buffered->buffer == NULL ? 0 : (uint64_t)buffered->size;
}

struct bytes_io_head {
    PyObject_HEAD
    PyObject *buffer;
};

/* A buffer that somebody else has too is an object in its own right. */
static uint64_t
bytes_io_more(PyObject *object)
{
    PyObject *buffer = ((const struct bytes_io_head *)object)->buffer;
    if (buffer == NULL || heap_refcount(buffer) != 1) {
        return 0;
    }
    return (uint64_t)(PyBytes_Type.tp_basicsize + Py_SIZE(buffer));
}

/* What is written piles up in a writer's string until somebody reads or seeks; from then
 * on four bytes a character.  No __sizeof__ counts either. */
struct string_io_head {
    PyObject_HEAD
    Py_UCS4 *buffer;
    Py_ssize_t position, length;
    size_t capacity;
    int state;
#if HEAP_STRING_IO_WRITER == 2
    PyObject **writer;
#elif HEAP_STRING_IO_WRITER == 1
    PyObject *writer;
#endif
};

#define STRING_IO_PILES_UP 2

static uint64_t
string_io_more(PyObject *object)
{
    const struct string_io_head *text = (const struct string_io_head *)object;
    uint64_t more = text->buffer == NULL ? 0 : text->capacity * sizeof(Py_UCS4);
#if HEAP_STRING_IO_WRITER
    if (text->state == STRING_IO_PILES_UP && text->writer != NULL) {
#if HEAP_STRING_IO_WRITER == 2
        PyObject *written = *text->writer;
#else
        PyObject *written = text->writer;
#endif
        if (written != NULL && heap_refcount(written) == 1) {
            more += heap_str_size(written);
        }
    }
#endif
    return more;
}

struct struct_code {
    const void *format;
    Py_ssize_t members[3];
};

struct struct_head {
    PyObject_HEAD
    Py_ssize_t size, length;
    const struct struct_code *codes;
};

static uint64_t
struct_more(PyObject *object)
{
    const struct struct_code *code = ((const struct struct_head *)object)->codes;
    uint64_t n = code != NULL;
    for (; n > 0 && code->format != NULL; code++) {
        n++;
    }
    return n * sizeof(struct struct_code);
}

#define DECIMAL_DATA_INSIDE 0xE0 /* static, shared, constant */

struct decimal_head {
    PyObject_HEAD
    Py_hash_t hash;
    uint8_t flags;
    Py_ssize_t members[3];
    Py_ssize_t allocated; /* words */
};

static uint64_t
decimal_more(PyObject *object)
{
    const struct decimal_head *decimal = (const struct decimal_head *)object;
    bool inside = (decimal->flags & DECIMAL_DATA_INSIDE) != 0;
    return inside ? 0 : (uint64_t)decimal->allocated * sizeof(uint64_t);
}

struct element_extra {
    PyObject *attributes;
    Py_ssize_t length, allocated;
    PyObject **children;
    PyObject *first_children[4];
};

struct element_head {
    PyObject_HEAD
    PyObject *tag, *text, *tail;
    struct element_extra *extra;
};

static uint64_t
element_more(PyObject *object)
{
    const struct element_extra *extra = ((const struct element_head *)object)->extra;
    if (extra == NULL) {
        return 0;
    }
    bool inside = extra->children == extra->first_children;
    return sizeof(*extra) +
           (inside ? 0 : (uint64_t)extra->allocated * sizeof(PyObject *));
}

/* A ring since 3.13, which __sizeof__ counts since 3.15; before, it was a list. */
struct queue_head {
    PyObject_HEAD
    uint64_t members[3];
    PyObject **items;
    Py_ssize_t capacity;
};

static uint64_t
queue_more(PyObject *object)
{
    const struct queue_head *queue = (const struct queue_head *)object;
    return (uint64_t)queue->capacity * sizeof(PyObject *);
}

static uint64_t
ndarray_more(PyObject *object)
{
    return edges_ndarray_bytes(object);
}

/* ---- the tables ---- */

struct known_type {
    PyTypeObject *type;
    size_function more;
};

static const struct known_type exported[] = {
    {&PyCode_Type, code_more},          {&PyType_Type, type_more},
    {&PyFrame_Type, frame_more},        {&PyByteArray_Type, bytearray_more},
    {&PyODict_Type, ordered_dict_more},
#if HEAP_BARE_FRAMES
    {&PyGen_Type, generator_more},      {&PyCoro_Type, generator_more},
    {&PyAsyncGen_Type, generator_more},
#endif
};

struct module_type {
    const char *module, *name; /* where it is found */
    const char *full_name;     /* so that nothing else is taken for it */
    size_t least;              /* of its tp_basicsize */
    size_function more;
};

static const struct module_type of_modules[] = {
    {"_collections", "deque", "collections.deque", sizeof(struct deque_head),
     deque_more},
    {"array", "array", "array.array", sizeof(struct array_head), array_more},
    {"_io", "BufferedReader", "_io.BufferedReader", sizeof(struct buffered_head),
     buffered_more},
    {"_io", "BufferedWriter", "_io.BufferedWriter", sizeof(struct buffered_head),
     buffered_more},
    {"_io", "BufferedRandom", "_io.BufferedRandom", sizeof(struct buffered_head),
     buffered_more},
    {"_io", "StringIO", "_io.StringIO", sizeof(struct string_io_head), string_io_more},
    {"_io", "BytesIO", "_io.BytesIO", sizeof(struct bytes_io_head), bytes_io_more},
    {"_struct", "Struct", "_struct.Struct", sizeof(struct struct_head), struct_more},
    {"_decimal", "Decimal", "decimal.Decimal", sizeof(struct decimal_head),
     decimal_more},
    {"_elementtree", "Element", "xml.etree.ElementTree.Element",
     sizeof(struct element_head), element_more},
    {"_queue", "SimpleQueue", "_queue.SimpleQueue",
     HEAP_SIZES_QUEUES ? sizeof(struct queue_head) : SIZE_MAX, queue_more},
    {"numpy", "ndarray", "numpy.ndarray", EDGES_NDARRAY_SIZE, ndarray_more},
};

_Static_assert(HEAP_LENGTH(of_modules) <= WALK_MAX_SIZED, "room in the request");

void
sizes_prepare(struct walk_request *request)
{
    for (size_t i = 0; i < HEAP_LENGTH(of_modules); i++) {
        const struct module_type *known = &of_modules[i];
        PyTypeObject *type = walk_find_type(known->module, known->name);
        bool fits = type != NULL && (size_t)type->tp_basicsize >= known->least &&
                    strcmp(type->tp_name, known->full_name) == 0;
        request->sized[i] = fits ? type : NULL;
    }
}

size_function
sizes_find_more(const struct walk_request *request, PyTypeObject *type)
{
    for (; type != NULL; type = type->tp_base) {
        for (size_t i = 0; i < HEAP_LENGTH(exported); i++) {
            if (exported[i].type == type) {
                return exported[i].more;
            }
        }
        for (size_t i = 0; i < HEAP_LENGTH(of_modules); i++) {
            if (request->sized[i] == type) {
                return of_modules[i].more;
            }
        }
    }
    return NULL;
}
