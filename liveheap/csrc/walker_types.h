/* What a walk knows about each type it meets: how to find the references and the size
 * of its objects, and the names of their fields.
 *
 * An entry is made when the first object of a type is met and costs a few hundred
 * nanoseconds; from then on an object costs one lookup.
 *
 * The fields of an object come in this order, and so do their names:
 *     slots     of the Python classes among its bases, base first
 *     values    attributes beside a dict, by the order of the cached keys
 *     __dict__
 *     claims    members of known C structs
 *     fixed     for types, code, frames and generators: read by code of their own
 * References that are none of these follow without a name.
 */
#ifndef LIVEHEAP_WALKER_TYPES_H
#define LIVEHEAP_WALKER_TYPES_H

#include "compat.h"

enum type_kind {
    KIND_LEAF,      /* no references */
    KIND_INSTANCE,  /* only fields that are read directly; tp_traverse is not called */
    KIND_GENERIC,   /* fields, perhaps a container's items, the rest by tp_traverse */
    KIND_CONTAINER, /* exactly a built-in container */
    KIND_CODE,
    KIND_TYPE,
    KIND_FRAME,     /* frame objects over bare frames */
    KIND_GENERATOR, /* generators, coroutines and so on with a bare frame inside */
    KIND_NDARRAY,
    KIND_GREENLET,
};

enum container {
    CONTAINER_NONE,
    CONTAINER_LIST,
    CONTAINER_TUPLE,
    CONTAINER_DICT,
    CONTAINER_SET,
    CONTAINER_DEQUE, /* its items are those that tp_traverse gives */
};

enum size_kind {
    SIZE_FIXED,
    SIZE_VARIABLE,
    SIZE_STR,
    SIZE_INT,
    SIZE_LIST,
    SIZE_DICT,
    SIZE_SET,
    SIZE_MORE, /* a function of sizes_builtin.c says what comes on top */
};

enum dict_kind {
    DICT_NONE,
    DICT_MANAGED,
    DICT_AT_OFFSET,
};

/* The numbers of FORMAT.md. */
enum field_kind {
    FIELD_ATTRIBUTE = 1,
    FIELD_SLOT = 2,
    FIELD_INTERNAL = 3,
};

enum type_flag {
    TYPE_HEAP = 1,
    TYPE_TRACKED = 2,
    TYPE_STATIC_BUILTIN = 4,
    TYPE_OURS = 8,
    TYPE_DICT_SUBCLASS = 16,
    TYPE_EXCEPTION = 32,
    TYPE_METATYPE = 64,
};

/* A member of a C struct that holds a reference.  `certain`: what lies there is a
 * counted reference whether or not tp_traverse shows it (public structs, and the members
 * of types that have no tp_traverse); else the claim
 * holds only if tp_traverse shows the same pointer (structs that C files keep to
 * themselves, members found in tp_members). */
struct claim {
    const char *name;
    uint32_t offset;
    bool certain;
};

#define CLAIMS_MAX 64 /* of one type */

/* Writes the claims on objects of a C type, the bases' too.  Returns their number. */
size_t layouts_claims(PyTypeObject *type, struct claim claims[CLAIMS_MAX]);

/* What an object holds beside its struct and headers, in bytes. */
typedef uint64_t (*size_function)(PyObject *object);

struct type_entry {
    PyTypeObject *type;
    uint32_t id;
    uint8_t kind;        /* enum type_kind */
    uint8_t size_kind;   /* enum size_kind */
    uint8_t container;   /* enum container */
    uint8_t dict_kind;   /* enum dict_kind */
    uint32_t fixed_size; /* tp_basicsize and what lies in front */
    uint32_t item_size;
    uint32_t values_size; /* of inline values, else 0 */
    bool is_heap;
    bool is_foreign; /* C code of an extension */
    bool is_ours;
    bool shares_dict;  /* the dict is a C base's, whose tp_traverse visits it too */
    bool base_is_heap; /* tp_traverse of the base visits the type */
    bool is_module;
    bool is_opaque; /* C objects that show no reference */
    uint16_t n_slots;
    uint16_t n_values;
    uint16_t n_claims;
    uint16_t n_fixed;
    uint16_t n_fields;   /* all of them, __dict__ too */
    uint32_t first_slot; /* in the table of slot offsets */
    Py_ssize_t dict_offset;
    traverseproc traverse; /* of the nearest base that is not a Python class; or NULL */
    size_function more_size;
    const struct claim *claims; /* in a table of the walk */
    const char *const *fixed_names;
    uint64_t count; /* for the visitor */
    uint64_t bytes;
};

struct walk;

/* Whether a static type's C code is the interpreter's: known not to crash. */
bool layouts_is_interpreters_own(PyTypeObject *type);

/* As walk_type(), which asks here when it does not know. */
struct type_entry *types_find(struct walk *walk, PyTypeObject *type);

/* Whether an address is that of a type whose objects the walk has met. */
bool types_is_known(const struct walk *walk, const PyTypeObject *type);

/* The text of __module__ of a class, or NULL; borrowed. */
PyObject *types_module(const struct walk *walk, PyTypeObject *type);

/* enum type_flag. */
unsigned types_flags(const struct type_entry *entry);

/* Calls with(walk, argument, kind, name object, name text) for each field. */
typedef void (*field_visitor)(struct walk *walk, void *argument, enum field_kind kind,
                              PyObject *name, const char *text);
void types_visit_fields(struct walk *walk, const struct type_entry *entry,
                        field_visitor with, void *argument);

#endif
