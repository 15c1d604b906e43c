#define _GNU_SOURCE
#include "descriptors.h"

#include "clock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const descriptor_kinds[FD_KINDS] = {
    [FD_FILE] = "file",
    [FD_DEVICE] = "device",
    [FD_PIPE] = "pipe",
    [FD_TCP] = "tcp",
    [FD_TCP_LISTENING] = "tcp-listening",
    [FD_UDP] = "udp",
    [FD_UNIX] = "unix",
    [FD_SOCKET] = "socket",
    [FD_EPOLL] = "epoll",
    [FD_EVENTFD] = "eventfd",
    [FD_TIMERFD] = "timerfd",
    [FD_SIGNALFD] = "signalfd",
    [FD_INOTIFY] = "inotify",
    [FD_IO_URING] = "io_uring",
    [FD_PIDFD] = "pidfd",
    [FD_MEMFD] = "memfd",
    [FD_OTHER] = "other",
};

/* What readlink() says of a descriptor, by its begin; the first that fits. */
static const struct {
    const char *prefix;
    enum descriptor_kind kind;
} prefixes[] = {
    {"/memfd:", FD_MEMFD},
    {"/dev/", FD_DEVICE},
    {"/", FD_FILE},
    {"pipe:[", FD_PIPE},
    {"anon_inode:[eventpoll]", FD_EPOLL},
    {"anon_inode:[eventfd]", FD_EVENTFD},
    {"anon_inode:[timerfd]", FD_TIMERFD},
    {"anon_inode:[signalfd]", FD_SIGNALFD},
    {"anon_inode:inotify", FD_INOTIFY},
    {"anon_inode:[io_uring]", FD_IO_URING},
    {"anon_inode:[pidfd]", FD_PIDFD},
    {"pidfd:[", FD_PIDFD},
};

struct entry { /* as getdents64 gives it */
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static int
option(int fd, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, name, &value, &length) < 0 ? -1 : value;
}

static void
add_port(uint32_t *ports, const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        ports[ntohs(((const struct sockaddr_in *)address)->sin_port)]++;
    }
    else if (address->ss_family == AF_INET6) {
        ports[ntohs(((const struct sockaddr_in6 *)address)->sin6_port)]++;
    }
}

static void
add_ports(struct descriptors *all, int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    address.ss_family = AF_UNSPEC;
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
        add_port(all->local, &address);
    }
    length = sizeof(address);
    address.ss_family = AF_UNSPEC;
    if (getpeername(fd, (struct sockaddr *)&address, &length) == 0) {
        add_port(all->remote, &address);
    }
}

static enum descriptor_kind
socket_kind(struct descriptors *all, int fd)
{
    int domain = option(fd, SO_DOMAIN);
    if (domain == AF_UNIX) {
        return FD_UNIX;
    }
    if (domain != AF_INET && domain != AF_INET6) {
        return FD_SOCKET;
    }
    int type = option(fd, SO_TYPE);
    if (type != SOCK_STREAM) {
        return type == SOCK_DGRAM ? FD_UDP : FD_SOCKET;
    }
    if (option(fd, SO_ACCEPTCONN) == 1) {
        return FD_TCP_LISTENING;
    }
    add_ports(all, fd);
    return FD_TCP;
}

static void
add_descriptor(struct descriptors *all, int directory, const char *name)
{
    char target[64];
    int fd = 0;
    for (const char *at = name; *at >= '0' && *at <= '9'; at++) {
        fd = fd * 10 + (*at - '0');
    }
    ssize_t n = readlinkat(directory, name, target, sizeof(target) - 1);
    if (n < 0 || fd == directory) {
        return; /* closed meanwhile, or the listing itself */
    }
    target[n] = '\0';
    enum descriptor_kind kind = FD_OTHER;
    if (strncmp(target, "socket:[", 8) == 0) {
        kind = socket_kind(all, fd);
    }
    else {
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
            const char *prefix = prefixes[i].prefix;
            if (strncmp(target, prefix, strlen(prefix)) == 0) {
                kind = prefixes[i].kind;
                break;
            }
        }
    }
    all->kinds[kind]++;
    all->n++;
}

int
descriptors_count(struct descriptors *all, uint64_t deadline_ns)
{
    _Alignas(struct entry) char room[8192];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return -1;
    }
    long n;
    while (!all->cut_short &&
           (n = syscall(SYS_getdents64, directory, room, sizeof(room))) > 0) {
        for (long at = 0; at < n;) {
            const struct entry *entry = (const struct entry *)(room + at);
            if (entry->name[0] != '.') {
                add_descriptor(all, directory, entry->name);
            }
            at += entry->length;
        }
        all->cut_short = clock_ns() > deadline_ns;
    }
    (void)close(directory);
    return 0;
}
