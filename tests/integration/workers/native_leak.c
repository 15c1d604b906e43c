/* What a faulty extension does. The sink is volatile: a compiler may remove memory that
 * nobody reads. */
#include <stdlib.h>

volatile unsigned char sink;

void
leak(unsigned long n, size_t size)
{
    for (unsigned long i = 0; i < n; i++) {
        volatile unsigned char *block = malloc(size);
        for (size_t at = 0; block != NULL && at < size; at += 64) {
            block[at] = 1;
            sink = block[at];
        }
    }
}

void
use_stack(size_t size)
{
    volatile unsigned char room[size];
    for (size_t at = 0; at < size; at += 4096) {
        room[at] = 1;
        sink = room[at];
    }
}
