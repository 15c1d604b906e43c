/* A file of /proc, read by bare system calls into a small buffer: for a child, and for
 * a thread that should leave the worker's malloc alone. No Python.h.
 */
#ifndef LIVEHEAP_PROCTEXT_H
#define LIVEHEAP_PROCTEXT_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct proctext {
    int fd; /* -1 if the file could not be opened */
    ssize_t n;
    ssize_t at;
    char bytes[4096];
};

static inline void
proctext_open(struct proctext *text, const char *path)
{
    text->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    text->n = text->at = 0;
}

static inline void
proctext_close(struct proctext *text)
{
    if (text->fd >= 0) {
        (void)syscall(SYS_close, text->fd);
        text->fd = -1;
    }
}

/* The next character, or -1 at the end. */
static inline int
proctext_char(struct proctext *text)
{
    if (text->at == text->n) {
        text->n = syscall(SYS_read, text->fd, text->bytes, sizeof(text->bytes));
        text->at = 0;
        if (text->n <= 0) {
            text->n = 0;
            return -1;
        }
    }
    return (unsigned char)text->bytes[text->at++];
}

#endif
