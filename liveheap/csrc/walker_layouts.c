/* Names for what lies in C structs.  Three sources, in this order: the public structs
 * of the interpreter, a few that its C files keep to themselves (where a claim must be
 * confirmed by tp_traverse), and the T_OBJECT members that a type publishes. */
#include "walker_types.h"

#include <string.h>

struct layout {
    PyTypeObject *type;
    const struct claim *claims;
    size_t n;
};

#define SURE(type, member, name) {name, offsetof(type, member), true}
#define AT(position, name) \
    {name, (uint32_t)(sizeof(PyObject) + (position) * sizeof(void *)), false}

static const struct claim function_claims[] = {
    SURE(PyFunctionObject, func_globals, "__globals__"),
    SURE(PyFunctionObject, func_code, "__code__"),
    SURE(PyFunctionObject, func_closure, "__closure__"),
    SURE(PyFunctionObject, func_defaults, "__defaults__"),
    SURE(PyFunctionObject, func_kwdefaults, "__kwdefaults__"),
    SURE(PyFunctionObject, func_dict, "__dict__"),
    SURE(PyFunctionObject, func_annotations, "__annotations__"),
    SURE(PyFunctionObject, func_builtins, "__builtins__"),
    SURE(PyFunctionObject, func_module, "__module__"),
    SURE(PyFunctionObject, func_name, "__name__"),
    SURE(PyFunctionObject, func_qualname, "__qualname__"),
    SURE(PyFunctionObject, func_doc, "__doc__"),
};
static const struct claim cell_claims[] = {
    SURE(PyCellObject, ob_ref, "cell_contents"),
};
static const struct claim method_claims[] = {
    SURE(PyMethodObject, im_self, "__self__"),
    SURE(PyMethodObject, im_func, "__func__"),
};
static const struct claim builtin_claims[] = {
    SURE(PyCFunctionObject, m_self, "__self__"),
    SURE(PyCFunctionObject, m_module, "__module__"),
};
static const struct claim descriptor_claims[] = {
    SURE(PyDescrObject, d_type, "__objclass__"),
    SURE(PyDescrObject, d_name, "__name__"),
    SURE(PyDescrObject, d_qualname, "__qualname__"),
};
static const struct claim weakref_claims[] = {
    SURE(PyWeakReference, wr_callback, "__callback__"),
};
static const struct claim exception_claims[] = {
    SURE(PyBaseExceptionObject, dict, "__dict__"),
    SURE(PyBaseExceptionObject, args, "args"),
    SURE(PyBaseExceptionObject, traceback, "__traceback__"),
    SURE(PyBaseExceptionObject, context, "__context__"),
    SURE(PyBaseExceptionObject, cause, "__cause__"),
};
static const struct claim traceback_claims[] = {
    SURE(PyTracebackObject, tb_next, "tb_next"),
    SURE(PyTracebackObject, tb_frame, "tb_frame"),
};
static const struct claim slice_claims[] = {
    SURE(PySliceObject, start, "start"),
    SURE(PySliceObject, stop, "stop"),
    SURE(PySliceObject, step, "step"),
};
static const struct claim module_claims[] = {
    SURE(PyModuleObject, md_dict, "__dict__"),
    SURE(PyModuleObject, md_name, "__name__"),
};
static const struct claim property_claims[] = {
    AT(0, "fget"), AT(1, "fset"), AT(2, "fdel"), AT(3, "__doc__"), AT(4, "__name__"),
};
static const struct claim wrapped_claims[] = {AT(0, "__func__"), AT(1, "__dict__")};
static const struct claim proxy_claims[] = {AT(0, "mapping")};
static const struct claim alias_claims[] = {
    AT(0, "__origin__"),
    AT(1, "__args__"),
    AT(2, "__parameters__"),
};
static const struct claim view_claims[] = {AT(0, "mapping")};
#if !HEAP_BARE_FRAMES
static const struct claim generator_claims[] = {
    SURE(PyGenObject, gi_frame, "gi_frame"),
    SURE(PyGenObject, gi_code, "gi_code"),
    SURE(PyGenObject, gi_name, "__name__"),
    SURE(PyGenObject, gi_qualname, "__qualname__"),
};
#endif

#if HEAP_STRING_IO_WRITER == 0
/* Lists that its tp_traverse keeps to itself: long pieces, and short ones to be joined. */
static const struct claim string_io_claims[] = {
    {"long pieces", (uint32_t)(sizeof(PyObject) + 5 * sizeof(void *)), true},
    {"pieces", (uint32_t)(sizeof(PyObject) + 6 * sizeof(void *)), true},
};

static bool
is_string_io(PyTypeObject *type)
{
    return !PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
           strcmp(type->tp_name, "_io.StringIO") == 0;
}
#endif

#define LAYOUT(type, claims) {&(type), claims, HEAP_LENGTH(claims)}

static const struct layout layouts[] = {
    LAYOUT(PyFunction_Type, function_claims),
    LAYOUT(PyCell_Type, cell_claims),
    LAYOUT(PyMethod_Type, method_claims),
    LAYOUT(PyCFunction_Type, builtin_claims),
    LAYOUT(PyMethodDescr_Type, descriptor_claims),
    LAYOUT(PyClassMethodDescr_Type, descriptor_claims),
    LAYOUT(PyWrapperDescr_Type, descriptor_claims),
    LAYOUT(PyGetSetDescr_Type, descriptor_claims),
    LAYOUT(PyMemberDescr_Type, descriptor_claims),
    LAYOUT(_PyWeakref_RefType, weakref_claims),
    LAYOUT(_PyWeakref_ProxyType, weakref_claims),
    LAYOUT(_PyWeakref_CallableProxyType, weakref_claims),
    LAYOUT(PyTraceBack_Type, traceback_claims),
    LAYOUT(PySlice_Type, slice_claims),
    LAYOUT(PyModule_Type, module_claims),
    LAYOUT(PyProperty_Type, property_claims),
    LAYOUT(PyStaticMethod_Type, wrapped_claims),
    LAYOUT(PyClassMethod_Type, wrapped_claims),
    LAYOUT(PyDictProxy_Type, proxy_claims),
    LAYOUT(Py_GenericAliasType, alias_claims),
    LAYOUT(PyDictKeys_Type, view_claims),
    LAYOUT(PyDictValues_Type, view_claims),
    LAYOUT(PyDictItems_Type, view_claims),
#if !HEAP_BARE_FRAMES
    LAYOUT(PyGen_Type, generator_claims),
    LAYOUT(PyCoro_Type, generator_claims),
    LAYOUT(PyAsyncGen_Type, generator_claims),
#endif
};

struct claim_list {
    struct claim *items;
    size_t n;
    Py_ssize_t size; /* of the objects */
};

static void
add_claim(struct claim_list *list, struct claim claim)
{
    if (list->n == CLAIMS_MAX || claim.offset % sizeof(void *) != 0 ||
        claim.offset < sizeof(PyObject) ||
        (Py_ssize_t)(claim.offset + sizeof(void *)) > list->size) {
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i].offset == claim.offset) {
            return;
        }
    }
    list->items[list->n++] = claim;
}

static void
add_members(struct claim_list *list, PyTypeObject *type)
{
    const PyMemberDef *member = type->tp_members;
    for (; member != NULL && member->name != NULL; member++) {
        if ((member->type == T_OBJECT || member->type == T_OBJECT_EX) &&
            member->offset > 0 && member->offset <= list->size) {
            add_claim(list,
                      (struct claim){member->name, (uint32_t)member->offset, false});
        }
    }
}

static void
add_all(struct claim_list *list, const struct claim *claims, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_claim(list, claims[i]);
    }
}

size_t
layouts_claims(PyTypeObject *type, struct claim claims[CLAIMS_MAX])
{
    struct claim_list list = {claims, 0, type->tp_basicsize};
    if (PyType_HasFeature(type, Py_TPFLAGS_BASE_EXC_SUBCLASS)) {
        add_all(&list, exception_claims, HEAP_LENGTH(exception_claims));
    }
    for (PyTypeObject *base = type; base != NULL; base = base->tp_base) {
        for (size_t i = 0; i < HEAP_LENGTH(layouts); i++) {
            if (layouts[i].type == base) {
                add_all(&list, layouts[i].claims, layouts[i].n);
            }
        }
#if HEAP_STRING_IO_WRITER == 0
        if (is_string_io(base)) {
            add_all(&list, string_io_claims, HEAP_LENGTH(string_io_claims));
        }
#endif
        add_members(&list, base);
    }
    if (type->tp_dictoffset > 0) {
        add_claim(&list,
                  (struct claim){"__dict__", (uint32_t)type->tp_dictoffset, true});
    }
    return list.n;
}

bool
layouts_is_interpreters_own(PyTypeObject *type)
{
    if (heap_is_static_builtin(type)) {
        return true;
    }
    for (size_t i = 0; i < HEAP_LENGTH(layouts); i++) {
        if (layouts[i].type == type) {
            return true;
        }
    }
    return false;
}
