/* Preloaded: a malloc that is not glibc's, as jemalloc's is not. It cuts blocks from
 * what it maps, and takes none back. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define PIECE ((size_t)1 << 22)
#define ALIGNMENT ((size_t)16)

static char lock;
static char *next;
static size_t n_left;

static void *
map(size_t size)
{
    void *pages =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static char *
cut(size_t size)
{
    char *found = NULL;
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE)) {
    }
    if (size > n_left && size <= PIECE) {
        next = map(PIECE);
        n_left = next == NULL ? 0 : PIECE;
    }
    if (size <= n_left) {
        found = next;
        next += size;
        n_left -= size;
    }
    __atomic_clear(&lock, __ATOMIC_RELEASE);
    return found != NULL || size <= PIECE ? found : map(size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    alignment = alignment < ALIGNMENT ? ALIGNMENT : alignment;
    char *room = cut(((size + ALIGNMENT - 1) & ~(ALIGNMENT - 1)) + 2 * alignment);
    if (room == NULL) {
        return NULL;
    }
    char *block = room + ALIGNMENT;
    block += -(uintptr_t)block % alignment;
    memcpy(block - ALIGNMENT, &size, sizeof(size));
    return block;
}

void *
malloc(size_t size)
{
    return aligned_alloc(ALIGNMENT, size);
}

void *
calloc(size_t n, size_t size)
{
    return size != 0 && n > SIZE_MAX / size ? NULL : malloc(n * size);
}

void *
realloc(void *block, size_t size)
{
    void *other = malloc(size);
    size_t had = 0;
    if (block != NULL && other != NULL) {
        memcpy(&had, (char *)block - ALIGNMENT, sizeof(had));
        memcpy(other, block, had < size ? had : size);
    }
    return other;
}

int
posix_memalign(void **block, size_t alignment, size_t size)
{
    *block = aligned_alloc(alignment, size);
    return *block == NULL ? 12 : 0;
}

void *
memalign(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}

void
free(void *block)
{
    (void)block;
}
