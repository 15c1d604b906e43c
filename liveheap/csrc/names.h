/* Which texts may leave the process, and which already have.
 *
 * Under the scope of a graph only program text leaves: see FORMAT.md, section 3.  A str
 * object is program text if it is the name of something (NAME: a key of a type's,
 * module's or instance's dict that has the form of an identifier, a key of sys.modules
 * that has the form of a module's name), or if some code
 * object refers to that very object (CODE) and it serves as a dict key (KEY).  All
 * decisions are by address; no text is compared.
 *
 * One table holds, by address: strs with these flags and their text id, code objects
 * already seen, C strings with their text id.  A filter of one bit per hash stands in
 * front, since the hot question (is this dict key a text of some code?) is nearly
 * always answered no.
 */
#ifndef LIVEHEAP_NAMES_H
#define LIVEHEAP_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compat.h"
#include "walker_memory.h"

enum name_flag {
    NAME_IDENTIFIER = 1, /* of a type, module or instance, or a module's own */
    NAME_CODE = 2,       /* a code object refers to it */
    NAME_KEY = 4,        /* it is a dict key */
    NAME_CODE_SCANNED = 8,
    NAME_CODE_WRITTEN = 16,
    NAME_REJECTED = 32, /* looked at and not of identifier form */
};

struct name {
    uintptr_t address; /* 0 is an empty place */
    uint32_t text;     /* id, or 0 */
    uint32_t flags;
};

#define NAME_FILTER_BITS 20

struct names {
    struct memory *memory;
    struct name *table;
    size_t capacity;
    size_t n;
    uint64_t *filter;
    struct vector stack;
};

struct walk;

int names_init(struct names *names, struct memory *memory);
void names_free(struct names *names);

/* The entry of an address, made if missing.  Valid until the next call.  Out of memory
 * it is an entry that does not last. */
struct name *names_entry(struct names *names, const void *address);

/* All texts of a code object, its constants and nested code. */
void names_add_code(struct names *names, PyObject *code);

/* The keys of a dict of names; of instance dicts only those that keep their own keys,
 * since shared keys are named by their type. */
void names_add_dict(struct names *names, PyObject *dict);
void names_add_shared_keys(struct names *names, PyDictKeysObject *keys);

/* The keys of sys.modules: identifiers with dots between them. */
void names_add_modules(struct names *names, PyObject *modules);

bool names_is_identifier(PyObject *text);

/* The text as UTF-8, cut at `limit` bytes on a character's boundary.  Returns its
 * length, or -1 if there is no text. */
#define NAME_TEXT_MAX ((size_t)256)
Py_ssize_t names_utf8(PyObject *text, uint8_t *out, size_t limit);

static inline uint64_t
names_hash(const void *address)
{
    return (uint64_t)(uintptr_t)address * UINT64_C(0x9E3779B97F4A7C15);
}

void names_mark_key(struct names *names, PyObject *key);

static inline void
names_saw_key(struct names *names, const void *key)
{
    uint64_t bit = names_hash(key) >> (64 - NAME_FILTER_BITS);
    if ((names->filter[bit >> 6] >> (bit & 63) & 1) != 0) {
        names_mark_key(names, (PyObject *)key);
    }
}

#endif
