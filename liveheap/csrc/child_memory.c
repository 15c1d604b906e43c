#define _GNU_SOURCE
#include "child_memory.h"

#include <sys/mman.h>

#include "compat.h"

#define CHUNK_SIZE ((size_t)1 << 18)
#define BLOCK_STEP ((size_t)16)

/* Process-wide as the allocators are; in use by the child's one thread. */
static char *free_space;
static size_t n_free;

static void *
take(void *Py_UNUSED(context), size_t size)
{
    size = size == 0 ? BLOCK_STEP : (size + BLOCK_STEP - 1) & ~(BLOCK_STEP - 1);
    if (size > n_free) {
        size_t length = size > CHUNK_SIZE ? size : CHUNK_SIZE;
        void *pages = size == 0 ? MAP_FAILED
                                : mmap(NULL, length, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) {
            return NULL;
        }
        free_space = pages;
        n_free = length;
    }
    void *block = free_space;
    free_space += size;
    n_free -= size;
    return block;
}

static void *
take_zeroed(void *context, size_t n, size_t size)
{
    return size != 0 && n > SIZE_MAX / size ? NULL : take(context, n * size);
}

/* How long a block is, is not known. */
static void *
take_again(void *context, void *block, size_t size)
{
    return block == NULL ? take(context, size) : NULL;
}

static void
give(void *Py_UNUSED(context), void *Py_UNUSED(block))
{
}

void
child_memory_replace(void)
{
    const PyMemAllocatorEx allocator = {NULL, take, take_zeroed, take_again, give};
    heap_replace_allocators(&allocator);
}
