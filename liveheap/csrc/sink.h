/* Where the record stream goes: a buffer in front of a file descriptor.
 *
 * Written for a process that may call nothing but system calls: the buffer is an
 * mmap of its own, the bytes leave by write(2) alone, and no function here allocates,
 * locks or knows Python.  The first error sticks: later bytes are dropped, `error`
 * keeps its errno, and the caller looks at it when convenient.  fd -1 counts the
 * bytes and drops them.
 *
 * A writer of many small values reserves room once and then writes through a bare
 * pointer:
 *
 *     uint8_t *p = sink_reserve(sink, 3 * VARINT_MAX);
 *     p = put_varint(p, a);
 *     p = put_varint(p, b);
 *     sink_commit(sink, p);
 */
#ifndef LIVEHEAP_SINK_H
#define LIVEHEAP_SINK_H

#include <stddef.h>
#include <stdint.h>

#define SINK_CAPACITY ((size_t)1 << 18)
#define VARINT_MAX ((size_t)10)

struct sink {
    int fd;
    int error;       /* errno of the first failure, else 0 */
    uint8_t *buffer; /* SINK_CAPACITY bytes */
    size_t used;
    uint64_t flushed; /* bytes that left the buffer */
};

/* Maps the buffer.  Returns 0, or -1 with `error` set.  Does not own the descriptor. */
int sink_open(struct sink *sink, int fd);

/* Unmaps the buffer; what was not flushed is lost. */
void sink_close(struct sink *sink);

/* Writes out what is buffered.  Returns 0, or -1 if the sink has failed. */
int sink_flush(struct sink *sink);

/* Copies any number of bytes in. */
void sink_bytes(struct sink *sink, const void *bytes, size_t length);

static inline uint64_t
sink_total(const struct sink *sink)
{
    return sink->flushed + sink->used;
}

/* At least `length` free bytes, for length <= SINK_CAPACITY. */
static inline uint8_t *
sink_reserve(struct sink *sink, size_t length)
{
    if (SINK_CAPACITY - sink->used < length) {
        (void)sink_flush(sink);
    }
    return sink->buffer + sink->used;
}

static inline void
sink_commit(struct sink *sink, const uint8_t *end)
{
    sink->used = (size_t)(end - sink->buffer);
}

/* Unsigned LEB128; needs VARINT_MAX bytes of room. */
static inline uint8_t *
put_varint(uint8_t *p, uint64_t value)
{
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    return p;
}

static inline uint64_t
zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

#endif
