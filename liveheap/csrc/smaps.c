/* Reading /proc/self/smaps: header lines begin with an address, the others with a name
 * in capitals. What a mapping is named is a path that somebody chose, or ours to know:
 * it ends the line, and the kernel spells its newlines. */
#include "smaps.h"

#include <string.h>

int
smaps_open(struct smaps *smaps, const char *path)
{
    smaps->is_pending = false;
    proctext_open(&smaps->text, path);
    return smaps->text.fd < 0 ? -1 : 0;
}

void
smaps_close(struct smaps *smaps)
{
    proctext_close(&smaps->text);
}

/* The next line, cut to the room there is; false at the end of the file. */
static bool
read_line(struct smaps *smaps)
{
    size_t n = 0;
    int c;
    while ((c = proctext_char(&smaps->text)) >= 0 && c != '\n') {
        if (n < sizeof(smaps->line) - 1) {
            smaps->line[n++] = (char)c;
        }
    }
    smaps->line[n] = '\0';
    return n > 0 || c == '\n';
}

static bool
is_header(const char *line)
{
    return (*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f');
}

static uintptr_t
read_hex(const char **at)
{
    uintptr_t number = 0;
    for (;; (*at)++) {
        if (**at >= '0' && **at <= '9') {
            number = number * 16 + (uintptr_t)(**at - '0');
        }
        else if (**at >= 'a' && **at <= 'f') {
            number = number * 16 + (uintptr_t)(**at - 'a' + 10);
        }
        else {
            return number;
        }
    }
}

static const char *
skip_word(const char *at)
{
    while (*at != '\0' && *at != ' ') {
        at++;
    }
    while (*at == ' ') {
        at++;
    }
    return at;
}

static bool
begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Anonymous memory that is shared has an inode and a name that looks like a file's. */
static enum mapping_kind
kind_of(const char *name, bool has_inode)
{
    static const char *const shared[] = {"/dev/zero", "/memfd:", "/dev/shm/", "/SYSV",
                                         "[anon_shmem"};
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
        if (begins(name, shared[i])) {
            return MAPPING_SHARED;
        }
    }
    if (has_inode) {
        return MAPPING_FILE;
    }
    if (*name == '\0' || begins(name, "[anon")) {
        return MAPPING_ANONYMOUS;
    }
    if (begins(name, "[heap]")) {
        return MAPPING_BRK;
    }
    return begins(name, "[stack") ? MAPPING_STACK : MAPPING_OTHER;
}

/* `begin-end perms offset device inode   name` */
static void
read_header(const char *line, struct mapping *mapping)
{
    memset(mapping, 0, sizeof(*mapping));
    mapping->begin = read_hex(&line);
    line += *line == '-';
    mapping->end = read_hex(&line);
    line += *line == ' ';
    mapping->readable = *line == 'r';
    mapping->writable = *line != '\0' && line[1] == 'w';
    const char *inode = skip_word(skip_word(skip_word(line)));
    mapping->kind = kind_of(skip_word(inode), *inode != '\0' && *inode != '0');
}

/* The number of a line `Name:    123 kB`, in bytes; 0 if it has another name. */
static uint64_t
kilobytes(const char *line, const char *name)
{
    size_t length = strlen(name);
    uint64_t number = 0;
    if (strncmp(line, name, length) != 0 || line[length] != ':') {
        return 0;
    }
    for (line += length + 1; *line == ' '; line++) {
    }
    for (; *line >= '0' && *line <= '9'; line++) {
        number = number * 10 + (uint64_t)(*line - '0');
    }
    return number * 1024;
}

static void
read_detail(const char *line, struct mapping *mapping)
{
    mapping->rss += kilobytes(line, "Rss");
    mapping->anonymous += kilobytes(line, "Anonymous");
    mapping->exclusive += kilobytes(line, "Private_Clean");
    mapping->exclusive += kilobytes(line, "Private_Dirty");
    mapping->swap += kilobytes(line, "Swap");
}

bool
smaps_next(struct smaps *smaps, struct mapping *mapping)
{
    if (!smaps->is_pending && !read_line(smaps)) {
        return false;
    }
    if (!is_header(smaps->line)) {
        return false; /* not a file of this kind */
    }
    read_header(smaps->line, mapping);
    smaps->is_pending = false;
    bool has_details = false;
    while (read_line(smaps)) {
        if (is_header(smaps->line)) {
            smaps->is_pending = true;
            break;
        }
        read_detail(smaps->line, mapping);
        has_details = true;
    }
    if (!has_details) {
        mapping->rss = mapping->end - mapping->begin;
    }
    return true;
}
