#include <Python.h>
static struct PyModuleDef heap_module = {PyModuleDef_HEAD_INIT, "_graph", NULL, 0, NULL, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__graph(void) { return PyModuleDef_Init(&heap_module); }
