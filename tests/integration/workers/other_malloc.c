/* Preloaded: a malloc that is not in the C library, as jemalloc's is not. */
#define _GNU_SOURCE
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void __libc_free(void *block);

void *
malloc(size_t size)
{
    return __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
    return __libc_calloc(n, size);
}

void *
realloc(void *block, size_t size)
{
    return __libc_realloc(block, size);
}

void
free(void *block)
{
    __libc_free(block);
}
