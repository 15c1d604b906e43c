#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAT_ROOM 1024
#define MOST_COUNTED 384

/* As read(2) does; 0 for a file that is not there. */
static size_t
read_start(const char *path, char *room, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t length = read(fd, room, size);
    close(fd);
    return length < 0 ? 0 : (size_t)length;
}

/* Since Linux 6.2 the directory's size is their number; before, they are counted up to
 * a limit.  -1: more than that, or unknown. */
static long
count_descriptors(void)
{
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0) {
        return (long)status.st_size;
    }
    DIR *entries = opendir("/proc/self/fd");
    if (entries == NULL) {
        return -1;
    }
    long counted = 0;
    for (struct dirent *entry; counted <= MOST_COUNTED;) {
        if ((entry = readdir(entries)) == NULL) {
            break;
        }
        counted += entry->d_name[0] != '.';
    }
    closedir(entries);
    return counted > MOST_COUNTED ? -1 : counted - 1; /* the directory itself */
}

/* /proc answers from memory, within microseconds: not worth giving the GIL away. */
static PyObject *
process_look(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    char room[STAT_ROOM];
    size_t length = read_start("/proc/self/stat", room, sizeof(room));
    return Py_BuildValue("y#l", room, (Py_ssize_t)length, count_descriptors());
}

/* What is asked again and again: statm takes no lock of the process, as stat does. */
static PyObject *
process_size(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    char room[STAT_ROOM];
    size_t length = read_start("/proc/self/statm", room, sizeof(room));
    return Py_BuildValue("y#l", room, (Py_ssize_t)length, count_descriptors());
}

struct log_line {
    const char *path, *text;
    size_t length, limit;
};

static int
open_log(const struct log_line *line)
{
    return open(line->path,
                O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC,
                0600);
}

/* Rename the log unless somebody did so meanwhile, and open a new one.
 *
 * All workers of a run directory write to it, and several may find it full at once.  Who
 * has the lock of the full file looks and renames; in between nobody can have put a new
 * one under its name, which would go over the old one and leave no name to open.  For
 * the others there is the new one, or the full one once more. */
static int
turn_over(const struct log_line *line, int fd, const struct stat *status)
{
    struct stat named;
    char old[PATH_MAX];
    int length = snprintf(old, sizeof(old), "%s.1", line->path);
    int error = length >= (int)sizeof(old) ? ENAMETOOLONG : 0;
    if (error == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        stat(line->path, &named) == 0 && named.st_ino == status->st_ino &&
        rename(line->path, old) < 0) {
        error = errno;
    }
    close(fd);
    errno = error;
    return error != 0 ? -1 : open_log(line);
}

/* A disk became full in the middle of a line.  What got there goes again, if nobody has
 * written behind it: the next line would be read as its end. */
static int
take_back(int fd, const struct stat *before, size_t written)
{
    struct stat after;
    if (fstat(fd, &after) == 0 && S_ISREG(after.st_mode) &&
        (size_t)after.st_size == (size_t)before->st_size + written) {
        (void)!ftruncate(fd, before->st_size);
    }
    return ENOSPC;
}

/* 0, or an errno. */
static int
append(const struct log_line *line)
{
    struct stat status;
    int fd = open_log(line);
    if (fd < 0) {
        return errno;
    }
    int known = fstat(fd, &status);
    if (known == 0 && (size_t)status.st_size + line->length > line->limit) {
        fd = turn_over(line, fd, &status);
        if (fd < 0) {
            return errno;
        }
        known = fstat(fd, &status);
    }
    ssize_t written = write(fd, line->text, line->length);
    int error = written < 0 ? errno : 0;
    if (known == 0 && written >= 0 && (size_t)written < line->length) {
        error = take_back(fd, &status, (size_t)written);
    }
    close(fd);
    return error;
}

static PyObject *
process_append(PyObject *Py_UNUSED(module), PyObject *args)
{
    struct log_line line;
    PyObject *path;
    Py_ssize_t length, limit;
    int error;
    if (!PyArg_ParseTuple(args, "O&y#n:append", PyUnicode_FSConverter, &path,
                          &line.text, &length, &limit)) {
        return NULL;
    }
    line.path = PyBytes_AS_STRING(path);
    line.length = (size_t)length;
    line.limit = (size_t)limit;
    Py_BEGIN_ALLOW_THREADS
    error = append(&line);
    Py_END_ALLOW_THREADS
    Py_DECREF(path);
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

PyMethodDef process_methods[] = {
    {"size", process_size, METH_NOARGS,
     "size() -> (bytes, int)\n\n"
     "The text of /proc/self/statm, and how many files are open; -1 is unknown."},
    {"look", process_look, METH_NOARGS,
     "look() -> (bytes, int)\n\n"
     "/proc/self/stat, and how many files are open (-1: too many to count). The GIL\n"
     "is kept."},
    {"append", process_append, METH_VARARGS,
     "append(path, line, limit)\n\n"
     "Add a line to a log; one that would exceed the limit becomes PATH.1 first. The\n"
     "GIL is given away once."},
    {NULL, NULL, 0, NULL},
};
