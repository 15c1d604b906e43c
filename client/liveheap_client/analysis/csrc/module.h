/* What the files of the Python face share: module.c makes the module, and one file each
 * stands for a type (column.c, paths_type.c, graph_type.c, decoder_type.c); borrowed.c lets a Graph stand on
 * memory that is not its own.
 *
 * Everything here wants the GIL. Functions that return an object return a new reference,
 * or NULL with an exception.
 */
#ifndef LIVEHEAP_GRAPH_MODULE_H
#define LIVEHEAP_GRAPH_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "heapgraph.h"
#include "pathnodes.h"

struct module_state {
    PyObject *corrupt;
    PyObject *truncated;
    PyTypeObject *decoder;
    PyTypeObject *graph;
    PyTypeObject *paths;
    PyTypeObject *column;
};

extern PyType_Spec column_spec;
extern PyType_Spec paths_spec;
extern PyType_Spec graph_spec;
extern PyType_Spec decoder_spec;

static inline struct module_state *
state_of(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

/* Raise what a graph_error stands for; returns NULL. */
PyObject *raise_graph_error(const struct module_state *state, int rc, const char *why);

/* End an instance of one of the module's types, once its contents are freed. */
void free_instance(PyObject *self);

/* ---- column.c ---- */

/* A view of memory that `owner` keeps. */
PyObject *column_new(const struct module_state *state, PyObject *owner,
                     const void *data, size_t length, size_t item_size,
                     const char *format);

/* A column that frees its memory, which it takes in any case. */
PyObject *column_taking(const struct module_state *state, void *memory, size_t length,
                        size_t item_size, const char *format);

/* Where a named column lies in a struct. All VECs have the layout of vec_u8. */
struct column_place {
    const char *name;
    size_t offset;
    size_t item_size;
    const char *format;
};

/* The column of this name among `places`, which end with a nameless one. */
PyObject *column_find(const struct module_state *state, PyObject *owner,
                      const void *base, const struct column_place *places,
                      PyObject *name);

/* ---- paths_type.c, graph_type.c ---- */

/* Run the search of Graph.search; the arguments are that method's. */
PyObject *paths_search(PyObject *graph, const struct heapgraph *heap, PyObject *args);

/* A Graph that takes `heap` and, if its sections are borrowed, a reference to whose
 * memory that is, else NULL. Both stay the caller's if this fails. */
PyObject *graph_new(const struct module_state *state, struct heapgraph *heap,
                    PyObject *memory);

/* ---- borrowed.c ---- */

/* The sections of a graph as Columns of bytes; their item sizes. */
PyObject *graph_sections(PyObject *graph, struct heapgraph *heap);
PyObject *section_item_sizes(void);

/* The module's function `borrow`. */
PyObject *graph_borrow(PyObject *module, PyObject *args);

#endif
