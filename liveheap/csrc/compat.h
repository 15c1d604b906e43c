/* Every difference between the supported CPythons (3.10 to 3.15, default builds).
 *
 * PY_VERSION_HEX stands in this file only.  Everything here reads memory and nothing
 * else: no reference count changes, nothing is made.
 *
 * The internal headers change with each minor version, hence one build per minor
 * version; module.c refuses to load into another one, and selftest.c compares what is
 * found through these definitions with what the interpreter says itself.
 */
#ifndef LIVEHEAP_COMPAT_H
#define LIVEHEAP_COMPAT_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#include <Python.h>

#include <frameobject.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <structmember.h>

#if PY_VERSION_HEX >= 0x030B0000
#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#endif
#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_interpframe.h"
#include "internal/pycore_tstate.h"
#endif
#include "internal/pycore_code.h"
#include "internal/pycore_gc.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_moduleobject.h"
#include "internal/pycore_object.h"
#include "internal/pycore_pymem.h"
#include "internal/pycore_pystate.h"
#include "internal/pycore_runtime.h"

/* Py_ARRAY_LENGTH() is no constant expression everywhere. */
#define HEAP_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define HEAP_BUILT_FOR_MAJOR PY_MAJOR_VERSION
#define HEAP_BUILT_FOR_MINOR PY_MINOR_VERSION

#if PY_VERSION_HEX < 0x030C0000
#define HEAP_MEMBER_OBJECT_EX T_OBJECT_EX
#else
#define HEAP_MEMBER_OBJECT_EX Py_T_OBJECT_EX
#endif

/* Frames are PyFrameObjects in 3.10; later they are bare structs without a header, and
 * a frame object is made only when somebody asks. */
#define HEAP_BARE_FRAMES (PY_VERSION_HEX >= 0x030B0000)
/* The tp_traverse of a suspended greenlet visits what its frames hold. */
#define HEAP_GREENLET_VISITS_FRAMES (PY_VERSION_HEX >= 0x030F0000)
#define HEAP_HAS_IMMORTALS (PY_VERSION_HEX >= 0x030C0000)

/* ---- allocators ---- */

/* `pymalloc`, `malloc`, `pymalloc_debug`, ...; NULL if somebody has put a hook there. */
static inline const char *
heap_allocator_name(void)
{
    return _PyMem_GetCurrentAllocatorName();
}

/* Without the lock that PyMem_SetAllocator() takes where the first branch holds. */
static inline void
heap_replace_allocators(const PyMemAllocatorEx *allocator)
{
#if PY_VERSION_HEX >= 0x030C0000
    _PyRuntime.allocators.standard.raw = *allocator;
    _PyRuntime.allocators.standard.mem = *allocator;
    _PyRuntime.allocators.standard.obj = *allocator;
#else
    PyMemAllocatorEx copy = *allocator;
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &copy);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &copy);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &copy);
#endif
}

/* ---- the collector's lists ---- */

#define HEAP_GC_LISTS (NUM_GENERATIONS + 1)

/* 3.14.0 to 3.14.4 have an incremental collector: young and old[2] lie where
 * generations[3] lay before and lies again since 3.14.5. */
#ifdef _PyGC_NEXT_MASK_OLD_SPACE_1
#define HEAP_GENERATIONS(gc) (&(gc)->young)
#else
#define HEAP_GENERATIONS(gc) ((gc)->generations)
#endif

static inline PyGC_Head *
heap_gc_list(PyInterpreterState *interp, int i)
{
    if (i == NUM_GENERATIONS) {
        return &interp->gc.permanent_generation.head;
    }
    return &HEAP_GENERATIONS(&interp->gc)[i].head;
}

/* The low bits are flags: of _gc_prev always, of _gc_next in the incremental collector
 * and during a collection. */
static inline PyGC_Head *
heap_gc_next(const PyGC_Head *head)
{
    return (PyGC_Head *)(head->_gc_next & ~(uintptr_t)3);
}

static inline PyGC_Head *
heap_gc_prev(const PyGC_Head *head)
{
    return (PyGC_Head *)(head->_gc_prev & ~(uintptr_t)3);
}

/* ---- objects and types ---- */

#ifndef _Py_TPFLAGS_STATIC_BUILTIN
#define _Py_TPFLAGS_STATIC_BUILTIN 0
#endif

/* 0 says immortal: such a count means nothing. */
static inline uint64_t
heap_refcount(PyObject *object)
{
#if HEAP_HAS_IMMORTALS
    if (_Py_IsImmortal(object)) {
        return 0;
    }
#else
    /* Objects frozen into 3.11's executable begin at 999999999, so that no count of
     * theirs ever ends. */
    if (Py_REFCNT(object) > 900000000) {
        return 0;
    }
#endif
    return (uint64_t)Py_REFCNT(object);
}

/* Bytes in front of an object of this type. */
static inline size_t
heap_pre_header(PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030B0000
    return PyType_IS_GC(type) ? sizeof(PyGC_Head) : 0;
#else
    return _PyType_PreHeaderSize(type);
#endif
}

static inline bool
heap_is_static_builtin(PyTypeObject *type)
{
    return (type->tp_flags & _Py_TPFLAGS_STATIC_BUILTIN) != 0;
}

/* Since 3.12 the interpreter keeps what belongs to a static builtin type in a table of
 * its own, where tp_subclasses is an index. */
#if PY_VERSION_HEX >= 0x030D0000
typedef managed_static_type_state heap_static_state;
#elif PY_VERSION_HEX >= 0x030C0000
typedef static_builtin_state heap_static_state;
#endif

#if PY_VERSION_HEX >= 0x030C0000
static inline const heap_static_state *
heap_find_static_state(const PyTypeObject *type)
{
    const struct types_state *types = &PyInterpreterState_Main()->types;
    size_t index = (size_t)type->tp_subclasses - 1;
    const heap_static_state *state = NULL;
#if PY_VERSION_HEX >= 0x030D0000
    size_t n = HEAP_LENGTH(types->builtins.initialized);
    if (index < n) {
        state = &types->builtins.initialized[index];
    }
    else if (index - n < HEAP_LENGTH(types->for_extensions.initialized)) {
        state = &types->for_extensions.initialized[index - n];
    }
#else
    if (index < HEAP_LENGTH(types->builtins)) {
        state = &types->builtins[index];
    }
#endif
    return state != NULL && state->type == type ? state : NULL;
}
#endif

/* Borrowed, or NULL. */
static inline PyObject *
heap_type_dict(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (heap_is_static_builtin(type)) {
        const heap_static_state *state = heap_find_static_state(type);
        return state == NULL ? NULL : state->tp_dict;
    }
#endif
    return type->tp_dict;
}

/* Borrowed, or NULL. */
static inline PyObject *
heap_type_subclasses(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (heap_is_static_builtin(type)) {
        const heap_static_state *state = heap_find_static_state(type);
        return state == NULL ? NULL : state->tp_subclasses;
    }
#endif
    return (PyObject *)type->tp_subclasses;
}

static inline PyMemberDef *
heap_type_members(PyTypeObject *type)
{
    return (PyMemberDef *)((char *)type + Py_TYPE(type)->tp_basicsize);
}

static inline PyDictKeysObject *
heap_cached_keys(PyTypeObject *type)
{
    if ((type->tp_flags & Py_TPFLAGS_HEAPTYPE) == 0) {
        return NULL;
    }
    return ((PyHeapTypeObject *)type)->ht_cached_keys;
}

/* ---- str ---- */

struct heap_text {
    const void *data;
    size_t length;
    unsigned kind; /* bytes of a character */
};

static inline bool
heap_str_text(PyObject *object, struct heap_text *text)
{
    PyASCIIObject *ascii = (PyASCIIObject *)object;
#if PY_VERSION_HEX < 0x030C0000
    if (!ascii->state.ready) {
        return false;
    }
#endif
    text->length = (size_t)ascii->length;
    text->kind = (unsigned)ascii->state.kind;
    if (!ascii->state.compact) {
        text->data = ((PyUnicodeObject *)object)->data.any;
    }
    else if (ascii->state.ascii) {
        text->data = ascii + 1;
    }
    else {
        text->data = (PyCompactUnicodeObject *)object + 1;
    }
    return text->data != NULL;
}

static inline size_t
heap_str_size(PyObject *object)
{
    PyASCIIObject *ascii = (PyASCIIObject *)object;
    PyCompactUnicodeObject *compact = (PyCompactUnicodeObject *)object;
    size_t length = (size_t)ascii->length;
    if (ascii->state.compact && ascii->state.ascii) {
        return sizeof(PyASCIIObject) + length + 1;
    }
    size_t size;
    const void *data = NULL;
    if (ascii->state.compact) {
        size = sizeof(PyCompactUnicodeObject) + (length + 1) * ascii->state.kind;
    }
    else {
        data = ((PyUnicodeObject *)object)->data.any;
        size = sizeof(PyUnicodeObject);
        size += data == NULL ? 0 : (length + 1) * ascii->state.kind;
    }
    if (compact->utf8 != NULL && (const void *)compact->utf8 != data) {
        size += (size_t)compact->utf8_length + 1;
    }
#if PY_VERSION_HEX < 0x030C0000
    if (ascii->wstr != NULL && (const void *)ascii->wstr != data &&
        !(ascii->state.compact && ascii->state.ascii)) {
        bool shared = ascii->state.compact
                          ? sizeof(wchar_t) == ascii->state.kind
                          : ascii->state.ready && sizeof(wchar_t) == ascii->state.kind;
        size += shared ? 0 : ((size_t)compact->wstr_length + 1) * sizeof(wchar_t);
    }
#endif
    return size;
}

/* ---- int ---- */

static inline size_t
heap_int_digits(PyObject *object)
{
#if PY_VERSION_HEX >= 0x030C0000
    size_t digits = ((PyLongObject *)object)->long_value.lv_tag >> 3;
    return digits == 0 ? 1 : digits;
#else
    Py_ssize_t size = ((PyVarObject *)object)->ob_size;
    size_t digits = (size_t)(size < 0 ? -size : size);
    return digits == 0 && PY_VERSION_HEX >= 0x030B0000 ? 1 : digits;
#endif
}

#if PY_VERSION_HEX >= 0x030C0000
#define HEAP_INT_HEAD offsetof(PyLongObject, long_value.ob_digit)
#define HEAP_INT_BASE HEAP_INT_HEAD
#else
#define HEAP_INT_HEAD offsetof(PyLongObject, ob_digit)
#define HEAP_INT_BASE HEAP_INT_HEAD
#endif

/* ---- bytearray, SimpleQueue ---- */

/* 3.15 keeps the bytes in a bytes object of its own. */
static inline uint64_t
heap_bytearray_more(const PyByteArrayObject *array)
{
    uint64_t n = (uint64_t)array->ob_alloc;
#if PY_VERSION_HEX >= 0x030F0000
    return n == 0 ? 0 : n + (uint64_t)PyBytes_Type.tp_basicsize;
#else
    return n;
#endif
}

#define HEAP_SIZES_QUEUES (PY_VERSION_HEX >= 0x030F0000)
/* Where a StringIO keeps what is written: 0 in lists, 1 in a writer that is a member,
 * 2 in one that a member points to; a writer begins with its string. */
#define HEAP_STRING_IO_WRITER \
    (PY_VERSION_HEX >= 0x030E0000 ? 2 : PY_VERSION_HEX >= 0x030C0000 ? 1 : 0)

/* ---- dict ---- */

#if PY_VERSION_HEX < 0x030B0000
/* Not among the installed headers of 3.10. */
typedef struct {
    Py_hash_t me_hash;
    PyObject *me_key, *me_value;
} PyDictKeyEntry;
typedef PyDictKeyEntry PyDictUnicodeEntry; /* one shape */
struct _dictkeysobject {
    Py_ssize_t dk_refcnt, dk_size;
    void *dk_lookup;
    Py_ssize_t dk_usable, dk_nentries;
    char dk_indices[];
};

static inline size_t
heap_keys_index_bytes(const PyDictKeysObject *keys)
{
    size_t size = (size_t)keys->dk_size;
    return size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : size <= 0xffffffff ? 4 : 8);
}

static inline PyDictKeyEntry *
heap_keys_entries(PyDictKeysObject *keys)
{
    return (PyDictKeyEntry *)(void *)(keys->dk_indices + heap_keys_index_bytes(keys));
}

static inline PyDictUnicodeEntry *
heap_keys_unicode_entries(PyDictKeysObject *keys)
{
    return heap_keys_entries(keys);
}

static inline bool
heap_keys_are_unicode(const PyDictKeysObject *keys)
{
    (void)keys;
    return false;
}

static inline size_t
heap_keys_size(PyDictKeysObject *keys)
{
    size_t usable = (size_t)(keys->dk_size << 1) / 3;
    return sizeof(PyDictKeysObject) + heap_keys_index_bytes(keys) +
           usable * sizeof(PyDictKeyEntry);
}

static inline size_t
heap_split_capacity(const PyDictKeysObject *keys)
{
    return (size_t)(keys->dk_size << 1) / 3;
}

static inline PyObject **
heap_split_values(PyDictObject *dict)
{
    return dict->ma_values;
}
#else
static inline PyDictKeyEntry *
heap_keys_entries(PyDictKeysObject *keys)
{
    return DK_ENTRIES(keys);
}

static inline PyDictUnicodeEntry *
heap_keys_unicode_entries(PyDictKeysObject *keys)
{
    return DK_UNICODE_ENTRIES(keys);
}

static inline bool
heap_keys_are_unicode(const PyDictKeysObject *keys)
{
    return keys->dk_kind != DICT_KEYS_GENERAL;
}

static inline size_t
heap_keys_size(PyDictKeysObject *keys)
{
    size_t usable = (((size_t)1 << keys->dk_log2_size) << 1) / 3;
    size_t entry = heap_keys_are_unicode(keys) ? sizeof(PyDictUnicodeEntry)
                                               : sizeof(PyDictKeyEntry);
    return sizeof(PyDictKeysObject) + ((size_t)1 << keys->dk_log2_index_bytes) +
           usable * entry;
}

static inline size_t
heap_split_capacity(const PyDictKeysObject *keys)
{
    return (size_t)(keys->dk_nentries + keys->dk_usable);
}

static inline PyObject **
heap_split_values(PyDictObject *dict)
{
    return dict->ma_values->values;
}
#endif

/* The next key of a dict with a table of its own, with its value; both are NULL where
 * something was deleted.  `*position` starts at 0; false at the end, and at once for a
 * dict that shares its keys. */
static inline bool
heap_dict_next(PyObject *object, Py_ssize_t *position, PyObject **key, PyObject **value)
{
    PyDictObject *dict = (PyDictObject *)object;
    PyDictKeysObject *keys = dict->ma_keys;
    Py_ssize_t i = (*position)++;
    if (dict->ma_values != NULL || i >= keys->dk_nentries) {
        return false;
    }
    if (heap_keys_are_unicode(keys)) {
        *key = heap_keys_unicode_entries(keys)[i].me_key;
        *value = heap_keys_unicode_entries(keys)[i].me_value;
    }
    else {
        *key = heap_keys_entries(keys)[i].me_key;
        *value = heap_keys_entries(keys)[i].me_value;
    }
    return true;
}

/* The values lie in the instance that has this dict and are counted there. */
static inline bool
heap_dict_is_embedded(PyDictObject *dict)
{
#if PY_VERSION_HEX >= 0x030D0000
    return dict->ma_values != NULL && dict->ma_values->embedded;
#else
    (void)dict;
    return false;
#endif
}

/* frozendict has a dict's layout and is no subclass of it. */
static inline bool
heap_is_exact_dict(const PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030F0000
    return type == &PyDict_Type || type == &PyFrozenDict_Type;
#else
    return type == &PyDict_Type;
#endif
}

static inline bool
heap_is_dict_type(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030F0000
    if (PyType_IsSubtype(type, &PyFrozenDict_Type)) {
        return true;
    }
#endif
    return PyType_HasFeature(type, Py_TPFLAGS_DICT_SUBCLASS);
}

/* ---- attributes of instances ---- */

/* Where an instance of a Python class keeps its attributes. */
static inline bool
heap_has_managed_dict(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030B0000
    return (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) != 0;
#else
    (void)type;
    return false;
#endif
}

/* True if instances may have values beside a dict, by the order of the cached keys. */
static inline bool
heap_has_inline_values(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030D0000
    return (type->tp_flags & Py_TPFLAGS_INLINE_VALUES) != 0 &&
           heap_cached_keys(type) != NULL;
#else
    return heap_has_managed_dict(type) && heap_cached_keys(type) != NULL;
#endif
}

/* For a type with a managed dict: its values, or NULL, and its dict, or NULL. */
static inline PyObject **
heap_managed_attributes(PyObject *object, PyTypeObject *type, PyObject **dict)
{
#if PY_VERSION_HEX >= 0x030D0000
    *dict = (PyObject *)_PyObject_GetManagedDict(object);
    if ((type->tp_flags & Py_TPFLAGS_INLINE_VALUES) == 0) {
        return NULL;
    }
    PyDictValues *values = _PyObject_InlineValues(object);
    return values->valid ? values->values : NULL;
#elif PY_VERSION_HEX >= 0x030C0000
    (void)type;
    PyDictOrValues either = *_PyObject_DictOrValuesPointer(object);
    if (_PyDictOrValues_IsValues(either)) {
        *dict = NULL;
        return _PyDictOrValues_GetValues(either)->values;
    }
    *dict = _PyDictOrValues_GetDict(either);
    return NULL;
#elif PY_VERSION_HEX >= 0x030B0000
    (void)type;
    PyDictValues *values = *_PyObject_ValuesPointer(object);
    *dict = *_PyObject_ManagedDictPointer(object);
    return values == NULL ? NULL : values->values;
#else
    (void)object;
    (void)type;
    *dict = NULL;
    return NULL;
#endif
}

/* Bytes of an instance's values: inside the object since 3.13 (but not counted in
 * tp_basicsize), in a block of their own before. */
static inline size_t
heap_values_size(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030D0000
    return _PyInlineValuesSize(type);
#elif PY_VERSION_HEX >= 0x030B0000
    size_t n = heap_split_capacity(heap_cached_keys(type));
    return ((n + 2 + 7) & ~(size_t)7) + n * sizeof(PyObject *);
#else
    (void)type;
    return 0;
#endif
}

#define HEAP_VALUES_ALWAYS_HELD (PY_VERSION_HEX >= 0x030D0000)

/* ---- code ---- */

static inline PyObject *
heap_code_qualname(PyCodeObject *code)
{
#if PY_VERSION_HEX >= 0x030B0000
    return code->co_qualname;
#else
    return code->co_name;
#endif
}

/* What it holds beside its struct: its instructions and what others attached to it. */
static inline uint64_t
heap_code_more(PyCodeObject *code)
{
    uint64_t more = 0;
    const Py_ssize_t *extra = code->co_extra;
    if (extra != NULL) {
        more += (1 + (uint64_t)*extra) * sizeof(void *);
    }
#if PY_VERSION_HEX >= 0x030B0000
    size_t size = _PyObject_VAR_SIZE(&PyCode_Type, Py_SIZE(code));
    more += size - (size_t)PyCode_Type.tp_basicsize;
#else
    if (code->co_cell2arg != NULL && code->co_cellvars != NULL) {
        more += (uint64_t)PyTuple_GET_SIZE(code->co_cellvars) * sizeof(Py_ssize_t);
    }
    if (code->co_opcache != NULL) {
        more += (uint64_t)PyBytes_GET_SIZE(code->co_code) / sizeof(_Py_CODEUNIT);
        more += code->co_opcache_size * sizeof(_PyOpcache);
    }
#endif
    return more;
}

/* Everything a code object refers to, as X(pointer, name). */
#if PY_VERSION_HEX >= 0x030C0000
#define HEAP_CODE_CACHED_NAMES \
    "_co_code", "_co_varnames", "_co_cellvars", "_co_freevars",
#define HEAP_CODE_CACHED(code, X)                           \
    if ((code)->_co_cached != NULL) {                       \
        X((code)->_co_cached->_co_code, "_co_code")         \
        X((code)->_co_cached->_co_varnames, "_co_varnames") \
        X((code)->_co_cached->_co_cellvars, "_co_cellvars") \
        X((code)->_co_cached->_co_freevars, "_co_freevars") \
    }
#elif PY_VERSION_HEX >= 0x030B0000
#define HEAP_CODE_CACHED_NAMES "_co_code",
#define HEAP_CODE_CACHED(code, X) X((code)->_co_code, "_co_code")
#endif
#if PY_VERSION_HEX >= 0x030B0000
#define HEAP_CODE_FIELDS(code, X)                       \
    X((code)->co_consts, "co_consts")                   \
    X((code)->co_names, "co_names")                     \
    X((code)->co_localsplusnames, "co_localsplusnames") \
    X((code)->co_localspluskinds, "co_localspluskinds") \
    X((code)->co_filename, "co_filename")               \
    X((code)->co_name, "co_name")                       \
    X((code)->co_qualname, "co_qualname")               \
    X((code)->co_linetable, "co_linetable")             \
    X((code)->co_exceptiontable, "co_exceptiontable")
#else
#define HEAP_CODE_CACHED_NAMES
#define HEAP_CODE_CACHED(code, X)
#define HEAP_CODE_FIELDS(code, X)           \
    X((code)->co_consts, "co_consts")       \
    X((code)->co_names, "co_names")         \
    X((code)->co_varnames, "co_varnames")   \
    X((code)->co_freevars, "co_freevars")   \
    X((code)->co_cellvars, "co_cellvars")   \
    X((code)->co_filename, "co_filename")   \
    X((code)->co_name, "co_name")           \
    X((code)->co_linetable, "co_linetable") \
    X((code)->co_code, "co_code")
#endif

/* The names of a frame's locals: up to three tuples, laid end to end. */
static inline int
heap_code_local_names(PyCodeObject *code, PyObject *tuples[3])
{
#if PY_VERSION_HEX >= 0x030B0000
    tuples[0] = code->co_localsplusnames;
    return 1;
#else
    tuples[0] = code->co_varnames;
    tuples[1] = code->co_cellvars;
    tuples[2] = code->co_freevars;
    return 3;
#endif
}

static inline size_t
heap_code_n_locals(PyCodeObject *code)
{
#if PY_VERSION_HEX >= 0x030B0000
    return (size_t)code->co_nlocalsplus;
#else
    return (size_t)(code->co_nlocals + PyTuple_GET_SIZE(code->co_cellvars) +
                    PyTuple_GET_SIZE(code->co_freevars));
#endif
}

static inline size_t
heap_code_n_free(PyCodeObject *code)
{
#if PY_VERSION_HEX >= 0x030B0000
    return (size_t)code->co_nfreevars;
#else
    return (size_t)PyTuple_GET_SIZE(code->co_freevars);
#endif
}

/* ---- frames ---- */

#if HEAP_BARE_FRAMES

#if PY_VERSION_HEX >= 0x030E0000
typedef _PyStackRef heap_slot;

/* Bit 1 set: no object (a tagged int or a wrapped C pointer).  Bit 0 alone: borrowed,
 * no reference is counted; also set for immortal objects, and NULL is 1. */
static inline PyObject *
heap_slot_object(heap_slot slot)
{
    return (slot.bits & 2) != 0 ? NULL : (PyObject *)(slot.bits & ~(uintptr_t)3);
}

static inline bool
heap_slot_is_borrowed(heap_slot slot)
{
    return (slot.bits & 1) != 0;
}
#else
typedef PyObject *heap_slot;

static inline PyObject *
heap_slot_object(heap_slot slot)
{
    return slot;
}

static inline bool
heap_slot_is_borrowed(heap_slot slot)
{
    (void)slot;
    return false;
}
#endif

/* NULL if the frame runs no code object. */
static inline PyCodeObject *
heap_frame_code(_PyInterpreterFrame *frame)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *code = heap_slot_object(frame->f_executable);
    return code != NULL && PyCode_Check(code) ? (PyCodeObject *)code : NULL;
#else
    return frame->f_code;
#endif
}

static inline PyObject *
heap_frame_function(_PyInterpreterFrame *frame)
{
#if PY_VERSION_HEX >= 0x030E0000
    return heap_slot_is_borrowed(frame->f_funcobj) ? NULL
                                                   : heap_slot_object(frame->f_funcobj);
#elif PY_VERSION_HEX >= 0x030C0000
    return frame->f_funcobj;
#else
    return (PyObject *)frame->f_func;
#endif
}

/* Frames of the interpreter's own, which run nothing. */
static inline bool
heap_frame_is_shim(_PyInterpreterFrame *frame)
{
#if PY_VERSION_HEX >= 0x030E0000
    return frame->owner >= FRAME_OWNED_BY_INTERPRETER;
#elif PY_VERSION_HEX >= 0x030C0000
    return frame->owner == FRAME_OWNED_BY_CSTACK;
#else
    (void)frame;
    return false;
#endif
}

/* How many of localsplus are live: the locals, and the evaluation stack above them
 * where its height is known (never for a running frame before 3.14). */
static inline size_t
heap_frame_n_slots(_PyInterpreterFrame *frame, PyCodeObject *code)
{
    int64_t n = code->co_nlocalsplus;
#if PY_VERSION_HEX >= 0x030E0000
    int64_t top = frame->stackpointer == NULL
                      ? 0
                      : (int64_t)(frame->stackpointer - frame->localsplus);
#else
    int64_t top = frame->stacktop;
#endif
    return (size_t)(top > n && top <= n + code->co_stacksize ? top : n);
}

static inline int
heap_frame_line(_PyInterpreterFrame *frame, PyCodeObject *code)
{
    int lasti = _PyInterpreterFrame_LASTI(frame) * (int)sizeof(_Py_CODEUNIT);
    return PyCode_Addr2Line(code, lasti);
}

static inline _PyInterpreterFrame *
heap_thread_frame(PyThreadState *thread)
{
#if PY_VERSION_HEX >= 0x030D0000
    return thread->current_frame;
#else
    return thread->cframe == NULL ? NULL : thread->cframe->current_frame;
#endif
}

/* The frame inside a generator, coroutine or asynchronous generator. */
static inline _PyInterpreterFrame *
heap_generator_frame(PyObject *object)
{
    return (_PyInterpreterFrame *)(void *)&((PyGenObject *)object)->gi_iframe;
}

static inline bool
heap_generator_is_cleared(PyObject *object)
{
    return ((PyGenObject *)object)->gi_frame_state >= FRAME_CLEARED;
}

static inline PyObject *
heap_frame_generator(_PyInterpreterFrame *frame)
{
    return (PyObject *)(void *)((char *)frame - offsetof(PyGenObject, gi_iframe));
}

/* A cleared generator keeps its code. */
static inline PyCodeObject *
heap_generator_code(PyObject *object)
{
#if PY_VERSION_HEX < 0x030C0000
    return ((PyGenObject *)object)->gi_code;
#elif PY_VERSION_HEX < 0x030D0000
    return heap_generator_frame(object)->f_code;
#else
    return heap_frame_code(heap_generator_frame(object));
#endif
}

/* Before 3.12 a generator counts its code a second time, beside its frame. */
static inline PyObject *
heap_generator_second_code(PyObject *object)
{
#if PY_VERSION_HEX < 0x030C0000
    return (PyObject *)((PyGenObject *)object)->gi_code;
#else
    (void)object;
    return NULL;
#endif
}

#if PY_VERSION_HEX >= 0x030E0000
#define HEAP_FRAME_OBJECT_FIELDS(frame, X)       \
    X((frame)->f_back, "f_back")                 \
    X((frame)->f_trace, "f_trace")               \
    X((frame)->f_extra_locals, "f_extra_locals") \
    X((frame)->f_locals_cache, "f_locals_cache") \
    X((frame)->f_overwritten_fast_locals, "f_overwritten_fast_locals")
#elif PY_VERSION_HEX >= 0x030D0000
#define HEAP_FRAME_OBJECT_FIELDS(frame, X)       \
    X((frame)->f_back, "f_back")                 \
    X((frame)->f_trace, "f_trace")               \
    X((frame)->f_extra_locals, "f_extra_locals") \
    X((frame)->f_locals_cache, "f_locals_cache")
#else
#define HEAP_FRAME_OBJECT_FIELDS(frame, X) \
    X((frame)->f_back, "f_back")           \
    X((frame)->f_trace, "f_trace")
#endif

#else /* !HEAP_BARE_FRAMES */

#define HEAP_FRAME_OBJECT_FIELDS(frame, X) \
    X((frame)->f_back, "f_back")           \
    X((frame)->f_trace, "f_trace")         \
    X((frame)->f_builtins, "f_builtins")   \
    X((frame)->f_globals, "f_globals")     \
    X((frame)->f_locals, "f_locals")

#endif /* HEAP_BARE_FRAMES */

/* Of a bare frame, or of a frame object where frames are objects. */
static inline PyObject *
heap_any_frame_code(uintptr_t frame)
{
#if HEAP_BARE_FRAMES
    return (PyObject *)heap_frame_code((_PyInterpreterFrame *)frame);
#else
    return (PyObject *)((PyFrameObject *)frame)->f_code;
#endif
}

/* ---- threads ---- */

static inline PyThreadState *
heap_first_thread(PyInterpreterState *interp)
{
#if PY_VERSION_HEX >= 0x030B0000
    return interp->threads.head;
#else
    return interp->tstate_head;
#endif
}

/* 0 where the interpreter does not know it. */
static inline unsigned long
heap_thread_native_id(PyThreadState *thread)
{
#if PY_VERSION_HEX >= 0x030B0000
    return thread->native_thread_id;
#else
    (void)thread;
    return 0;
#endif
}

/* Take all other threads off the interpreter's list.  In a child only: its one thread is
 * `mine`.  CPython's own code after a fork frees the states on the list together with
 * the frames that stand in them; off the list they stay, and so does what they hold. */
static inline void
heap_keep_one_thread(PyThreadState *mine)
{
    mine->prev = NULL;
    mine->next = NULL;
#if PY_VERSION_HEX >= 0x030B0000
    mine->interp->threads.head = mine;
#else
    mine->interp->tstate_head = mine;
#endif
#if PY_VERSION_HEX >= 0x030D0000
    _PyRuntime.main_tstate = mine; /* whom signals are told */
#endif
}

static inline bool
heap_thread_is_main(PyThreadState *thread)
{
    return thread->thread_id == _PyRuntime.main_thread;
}

#if PY_VERSION_HEX >= 0x030C0000
#define HEAP_THREAD_EXCEPTIONS(ts, X) X((ts)->current_exception, "current_exception")
#else
#define HEAP_THREAD_EXCEPTIONS(ts, X)     \
    X((ts)->curexc_type, "curexc_type")   \
    X((ts)->curexc_value, "curexc_value") \
    X((ts)->curexc_traceback, "curexc_traceback")
#endif
#if PY_VERSION_HEX >= 0x030E0000
#define HEAP_THREAD_EXTRA(ts, X)                                          \
    X(((_PyThreadStateImpl *)(ts))->asyncio_running_loop, "running_loop") \
    X(((_PyThreadStateImpl *)(ts))->asyncio_running_task, "running_task") \
    X((ts)->threading_local_key, "threading_local_key")                   \
    X((ts)->threading_local_sentinel, "threading_local_sentinel")
#else
#define HEAP_THREAD_EXTRA(ts, X)
#endif

/* What a thread state refers to, without its frames and handled exceptions. */
#define HEAP_THREAD_FIELDS(ts, X)                       \
    X((ts)->dict, "dict")                               \
    X((ts)->context, "context")                         \
    X((ts)->async_exc, "async_exc")                     \
    X((ts)->async_gen_firstiter, "async_gen_firstiter") \
    X((ts)->async_gen_finalizer, "async_gen_finalizer") \
    X((ts)->c_profileobj, "profile")                    \
    X((ts)->c_traceobj, "trace")                        \
    HEAP_THREAD_EXCEPTIONS(ts, X)                       \
    HEAP_THREAD_EXTRA(ts, X)

#if PY_VERSION_HEX >= 0x030B0000
#define HEAP_HANDLED_FIELDS(item, X) X((item)->exc_value, "handled_exception")
#else
#define HEAP_HANDLED_FIELDS(item, X)          \
    X((item)->exc_value, "handled_exception") \
    X((item)->exc_type, "handled_exception")  \
    X((item)->exc_traceback, "handled_exception")
#endif

/* ---- interpreter state ---- */

#if PY_VERSION_HEX >= 0x030D0000
#define HEAP_CODEC_FIELDS(in, X)                       \
    X((in)->codecs.search_path, "codec_search_path")   \
    X((in)->codecs.search_cache, "codec_search_cache") \
    X((in)->codecs.error_registry, "codec_error_registry")
#else
#define HEAP_CODEC_FIELDS(in, X)                      \
    X((in)->codec_search_path, "codec_search_path")   \
    X((in)->codec_search_cache, "codec_search_cache") \
    X((in)->codec_error_registry, "codec_error_registry")
#endif
#if PY_VERSION_HEX >= 0x030C0000
#define HEAP_IMPORT_FIELDS(in, X)                         \
    X((in)->imports.modules, "modules")                   \
    X((in)->imports.modules_by_index, "modules_by_index") \
    X((in)->imports.importlib, "importlib")               \
    X((in)->imports.import_func, "import_func")           \
    X((in)->sysdict_copy, "sysdict_copy")                 \
    HEAP_IMPORT_EXTRA(in, X)
#else
#define HEAP_IMPORT_FIELDS(in, X)                 \
    X((in)->modules, "modules")                   \
    X((in)->modules_by_index, "modules_by_index") \
    X((in)->importlib, "importlib")               \
    X((in)->import_func, "import_func")
#endif
#if PY_VERSION_HEX >= 0x030F0000
#define HEAP_IMPORT_EXTRA(in, X)                                \
    X((in)->imports.lazy_import_func, "lazy_import_func")       \
    X((in)->imports.lazy_imports_filter, "lazy_imports_filter") \
    X((in)->imports.lazy_modules, "lazy_modules")
#else
#define HEAP_IMPORT_EXTRA(in, X)
#endif

static inline PyObject *
heap_modules(const PyInterpreterState *interp)
{
#if PY_VERSION_HEX >= 0x030C0000
    return interp->imports.modules;
#else
    return interp->modules;
#endif
}

#define HEAP_INTERPRETER_FIELDS(in, X)                        \
    HEAP_IMPORT_FIELDS(in, X)                                 \
    X((in)->sysdict, "sys")                                   \
    X((in)->builtins, "builtins")                             \
    X((in)->builtins_copy, "builtins_copy")                   \
    HEAP_CODEC_FIELDS(in, X)                                  \
    X((in)->dict, "dict")                                     \
    X((in)->before_forkers, "before_forkers")                 \
    X((in)->after_forkers_child, "after_forkers_child")       \
    X((in)->after_forkers_parent, "after_forkers_parent")     \
    X((in)->audit_hooks, "audit_hooks")                       \
    X((in)->gc.garbage, "gc.garbage")                         \
    X((in)->gc.callbacks, "gc.callbacks")                     \
    X((in)->warnings.filters, "warnings.filters")             \
    X((in)->warnings.once_registry, "warnings.once_registry") \
    X((in)->warnings.default_action, "warnings.default_action")

/* What os.register_at_fork was given.  Taken away, a fork calls nothing. */
struct heap_fork_hooks {
    PyObject *before, *in_child, *in_parent;
};

static inline struct heap_fork_hooks
heap_swap_fork_hooks(PyInterpreterState *interp, struct heap_fork_hooks given)
{
    struct heap_fork_hooks found = {interp->before_forkers, interp->after_forkers_child,
                                    interp->after_forkers_parent};
    interp->before_forkers = given.before;
    interp->after_forkers_child = given.in_child;
    interp->after_forkers_parent = given.in_parent;
    return found;
}

/* The dict of interned strings, or NULL where it cannot be seen. */
static inline PyObject *
heap_interned_strings(PyInterpreterState *interp)
{
#if PY_VERSION_HEX >= 0x030C0000
    return _Py_INTERP_CACHED_OBJECT(interp, interned_strings);
#else
    (void)interp;
    return NULL;
#endif
}

/* Counted references that C structs of the interpreter hold and that no object has:
 * one call each.  A visitor that skips NULL. */
typedef void (*heap_ref_visitor)(void *argument, PyObject *object, const char *name);

static inline void
heap_visit_atexit(PyInterpreterState *interp, heap_ref_visitor visit, void *argument)
{
#if PY_VERSION_HEX >= 0x030E0000
    visit(argument, interp->atexit.callbacks, "atexit");
#else
    for (int i = 0; i < interp->atexit.ncallbacks; i++) {
        if (interp->atexit.callbacks[i] != NULL) {
            visit(argument, interp->atexit.callbacks[i]->func, "atexit");
            visit(argument, interp->atexit.callbacks[i]->args, "atexit");
            visit(argument, interp->atexit.callbacks[i]->kwargs, "atexit");
        }
    }
#endif
}

#if PY_VERSION_HEX >= 0x030C0000
#define HEAP_TYPE_CACHE(interp) ((interp)->types.type_cache.hashtable)
#else
#define HEAP_TYPE_CACHE(interp) ((interp)->type_cache.hashtable)
#endif

static inline void
heap_visit_held(PyInterpreterState *interp, heap_ref_visitor visit, void *argument)
{
    for (size_t i = 0; i < HEAP_LENGTH(HEAP_TYPE_CACHE(interp)); i++) {
        visit(argument, HEAP_TYPE_CACHE(interp)[i].name, "type_cache");
    }
    for (Py_ssize_t i = 0; i < interp->unicode.ids.size; i++) {
        visit(argument, interp->unicode.ids.array[i], "identifiers");
    }
#if PY_VERSION_HEX < 0x030B0000
    for (size_t i = 0; i < HEAP_LENGTH(interp->small_ints); i++) {
        visit(argument, (PyObject *)interp->small_ints[i], "small_ints");
    }
    for (size_t i = 0; i < HEAP_LENGTH(interp->unicode.latin1); i++) {
        visit(argument, interp->unicode.latin1[i], "characters");
        visit(argument, (PyObject *)interp->bytes.characters[i], "characters");
    }
    visit(argument, interp->unicode.empty_string, "characters");
    visit(argument, interp->bytes.empty_string, "characters");
#endif
#if PY_VERSION_HEX >= 0x030C0000
    visit(argument, interp->cached_objects.objreduce, "cached_objects");
    visit(argument, (PyObject *)interp->cached_objects.generic_type, "cached_objects");
    visit(argument, (PyObject *)interp->cached_objects.typevar_type, "cached_objects");
    visit(argument, (PyObject *)interp->cached_objects.typevartuple_type,
          "cached_objects");
    visit(argument, (PyObject *)interp->cached_objects.paramspec_type,
          "cached_objects");
    visit(argument, (PyObject *)interp->cached_objects.paramspecargs_type,
          "cached_objects");
    visit(argument, (PyObject *)interp->cached_objects.paramspeckwargs_type,
          "cached_objects");
#endif
}

#endif
