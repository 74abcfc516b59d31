// file_perform.cc: system calls for files, in a thread that they may block (file_request.h).
#include "file_request.h"

#include <weft/file.h>

#include <base/bytes.h>
#include <base/errno.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

using namespace weft;

// ---- Directories ----

static bool is_self_or_parent(const char *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

// Each as its type and its name.
static ssize_t collect(DIR *d, bytes *names)
{
    ssize_t count = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (e == nullptr)
            return errno == 0 ? count : -1;
        if (is_self_or_parent(e->d_name))
            continue;
        size_t n = strlen(e->d_name) + 1;
        char *to = bytes_room(names, n + 1, 4096, realloc);
        if (to == nullptr)
            return -1;
        *to = (char)e->d_type;
        memcpy(to + 1, e->d_name, n);
        bytes_put(names, n + 1);
        count++;
    }
}

// The array and what it points at in one piece.
static weft_file_entry *arrange(const bytes *names, size_t count)
{
    size_t size = count * sizeof(weft_file_entry);
    weft_file_entry *list = (weft_file_entry *)malloc(size + bytes_count(names) + 1);
    if (list == nullptr)
        return nullptr;
    char *at = (char *)list + size;
    if (count > 0)
        memcpy(at, bytes_at(names), bytes_count(names));
    for (size_t i = 0; i < count; i++) {
        list[i] = {at + 1, (unsigned char)*at};
        at += 1 + strlen(at + 1) + 1;
    }
    return list;
}

static int64_t read_directory(file_request *r)
{
    DIR *d = opendir(r->data);
    if (d == nullptr)
        return -1;
    bytes names = {};
    ssize_t count = collect(d, &names);
    if (count >= 0 && (r->list = arrange(&names, (size_t)count)) == nullptr)
        count = -1;
    int saved = errno;
    closedir(d);
    bytes_release(&names);
    errno = saved;
    return count;
}

// ---- The rest ----

static int64_t call(file_request *r)
{
    switch (r->call) {
    case FILE_FSYNC:
        return fsync(r->fd);
    case FILE_OPEN:
        return open(r->data, r->how, r->mode);
    case FILE_STAT:
        return fstatat(AT_FDCWD, r->data, &r->stat, r->how);
    case FILE_READ:
        return r->offset < 0 ? read(r->fd, r->data, r->n) : pread(r->fd, r->data, r->n, r->offset);
    case FILE_WRITE:
        return r->offset < 0 ? write(r->fd, r->data, r->n)
                             : pwrite(r->fd, r->data, r->n, r->offset);
    case FILE_RENAME:
        return rename(r->data, r->other);
    case FILE_UNLINK:
        return unlinkat(AT_FDCWD, r->data, r->how);
    case FILE_MKDIR:
        return mkdir(r->data, r->mode);
    case FILE_TRUNCATE:
        return ftruncate(r->fd, r->offset);
    default:
        return read_directory(r);
    }
}

void weft::file_perform(file_request *r)
{
    do
        r->result = call(r);
    while (r->result < 0 && errno == EINTR);
    if (r->result < 0)
        r->result = -errno;
}
