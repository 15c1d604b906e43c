/* This process's open files, by kind, and the ports of its TCP sockets.
 *
 * Two or three system calls each, without the GIL: 0.2 s for a hundred thousand of them,
 * so there is a deadline, and what was not looked at by then is only said to be there.
 * Ports leave, addresses do not. No Python.h, no malloc.
 */
#ifndef LIVEHEAP_DESCRIPTORS_H
#define LIVEHEAP_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum descriptor_kind {
    FD_FILE,
    FD_DEVICE,
    FD_PIPE,
    FD_TCP,
    FD_TCP_LISTENING,
    FD_UDP,
    FD_UNIX,
    FD_SOCKET, /* of another family */
    FD_EPOLL,
    FD_EVENTFD,
    FD_TIMERFD,
    FD_SIGNALFD,
    FD_INOTIFY,
    FD_IO_URING,
    FD_PIDFD,
    FD_MEMFD,
    FD_OTHER,
    FD_KINDS
};

#define DESCRIPTOR_PORTS 65536

struct descriptors {
    uint64_t kinds[FD_KINDS];
    uint64_t n;
    bool cut_short;                    /* there are more */
    uint32_t local[DESCRIPTOR_PORTS];  /* TCP sockets by port: this end */
    uint32_t remote[DESCRIPTOR_PORTS]; /* and the other */
};

/* Fills `all`, which is zeroed. 0, or -1 with errno. */
int descriptors_count(struct descriptors *all, uint64_t deadline_ns);

extern const char *const descriptor_kinds[FD_KINDS];

#endif
