#define _GNU_SOURCE
#include "sink.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int
sink_open(struct sink *sink, int fd)
{
    *sink = (struct sink){.fd = fd};
    void *buffer = mmap(NULL, SINK_CAPACITY, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) {
        sink->error = errno;
        return -1;
    }
    sink->buffer = buffer;
    return 0;
}

void
sink_close(struct sink *sink)
{
    if (sink->buffer != NULL) {
        (void)munmap(sink->buffer, SINK_CAPACITY);
        sink->buffer = NULL;
    }
}

static int
write_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno;
        }
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

int
sink_flush(struct sink *sink)
{
    if (sink->error == 0 && sink->fd >= 0) {
        sink->error = write_all(sink->fd, sink->buffer, sink->used);
    }
    if (sink->error == 0) {
        sink->flushed += sink->used;
    }
    sink->used = 0;
    return sink->error == 0 ? 0 : -1;
}

void
sink_bytes(struct sink *sink, const void *bytes, size_t length)
{
    const uint8_t *from = bytes;
    while (length > 0) {
        size_t piece = length < SINK_CAPACITY ? length : SINK_CAPACITY;
        memcpy(sink_reserve(sink, piece), from, piece);
        sink->used += piece;
        from += piece;
        length -= piece;
    }
}
