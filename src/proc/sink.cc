// sink.cc: collecting, limiting, filing and giving on what is read from a pipe.
//
// A file is written by us, so that a limit or a full disk is an error here, and not a signal to the
// child.  What it could not take is still in memory, and is found behind it in the mapping.
#include "sink.h"

#include "streams.h"

#include <base/bytes.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

using namespace weft;

static const size_t PIPE_SIZE = 65536, FIRST_ROOM = PIPE_SIZE + 4096, LONGEST_LINE = 1 << 20,
                    LARGE = 1 << 20;
enum { POPULATE_WRITE = 23 }; // MADV_POPULATE_WRITE (Linux 5.14)

static bool is_mapped(const weft_buffer *b)
{
    return b->data != nullptr && b->capacity == 0;
}

void weft_buffer_free(weft_buffer *b)
{
    if (b == nullptr)
        return;
    int saved = errno;
    if (is_mapped(b))
        munmap(b->data, b->size + 1);
    else
        free(b->data);
    errno = saved;
    memset(b, 0, sizeof *b);
}

// Room for at least a pipe's content, and for the 0 after it.
static int make_room(weft_buffer *b)
{
    return b->capacity - b->size > PIPE_SIZE
               ? 0
               : grow(&b->data, &b->capacity, b->size + PIPE_SIZE + 1, FIRST_ROOM, realloc);
}

// The kernel gives much memory at once for less than page by page, as the read comes upon them.
static void prepare(outlet *o, const weft_buffer *b)
{
    const size_t page = 4096; // a larger one is asked for in vain
    int saved = errno;
    size_t left = b->capacity - b->size, n = (left < LARGE ? left : LARGE) & ~(page - 1);
    o->ready = b->size + n;
    uintptr_t begin = ((uintptr_t)b->data + b->size) & ~(page - 1);
    madvise((void *)begin, n, POPULATE_WRITE);
    errno = saved;
}

void weft::outlet_init(outlet *o, const weft_stream *s)
{
    *o = {};
    o->file = -1;
    if (s->sink != nullptr)
        o->how = *s->sink;
}

void weft::outlet_free(outlet *o)
{
    weft_buffer_free(&o->held);
    close_keep_errno(&o->file);
}

int weft::outlet_begin(outlet *o, weft_buffer *to)
{
    o->to = to;
    o->ready = 0;
    if (to == nullptr)
        return 0;
    if (is_mapped(to))
        return fail_with(EINVAL);
    if (make_room(to) != 0)
        return -1;
    to->data[to->size] = 0;
    return 0;
}

// ---- A file ----

static int open_file(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    if (folder == nullptr || *folder == 0)
        folder = "/tmp";
    int fd = uncancelled(open, folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return above_streams(fd);
    if (errno != EOPNOTSUPP && errno != EISDIR)
        return -1;
    if (snprintf(path, sizeof path, "%s/weft-XXXXXX", folder) >= (int)sizeof path)
        return fail_with(ENAMETOOLONG);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -1;
    unlink(path);
    return above_streams(fd);
}

// As write(2), without the signal that is sent at the limit of our files' sizes.
static ssize_t write_below_limit(int fd, const char *bytes, size_t n, size_t at)
{
    struct rlimit most;
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur <= at)
        return fail_with(EFBIG);
    return uncancelled(write, fd, bytes, n);
}

// The buffer's bytes go to the file's end.  0, or errno: then the rest is still here.
static int file_bytes(outlet *o)
{
    weft_buffer *b = o->to;
    int error = 0;
    size_t done = 0;
    if (o->file < 0 && (o->file = open_file()) < 0)
        return errno;
    while (done < b->size && error == 0) {
        ssize_t put = write_below_limit(o->file, b->data + done, b->size - done, o->filed);
        done += put > 0 ? (size_t)put : 0;
        o->filed += put > 0 ? (size_t)put : 0;
        error = put < 0 && errno != EINTR ? errno : 0;
    }
    b->size -= done;
    memmove(b->data, b->data + done, b->size);
    b->data[b->size] = 0;
    return error;
}

// The buffer becomes the file, the rest, and a 0.
static int map_file(outlet *o)
{
    const int rights = PROT_READ | PROT_WRITE, how = MAP_PRIVATE;
    weft_buffer *b = o->to;
    size_t size = o->filed + b->size;
    char *all = (char *)mmap(nullptr, size + 1, rights, how | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return errno;
    if (mmap(all, o->filed, rights, how | MAP_FIXED, o->file, 0) == MAP_FAILED) {
        int error = errno;
        munmap(all, size + 1);
        return error;
    }
    memcpy(all + o->filed, b->data, b->size);
    free_keep_errno(b->data);
    *b = {all, size, 0};
    close_keep_errno(&o->file);
    return 0;
}

// ---- To a callback ----

static int give(const outlet *o, const char *bytes, size_t n)
{
    errno = 0;
    if (o->how.take(bytes, n, o->how.arg) == 0)
        return 0;
    return errno != 0 ? errno : ECANCELED;
}

// The lines that are whole; `all`: also what is left.
static int give_lines(outlet *o, bool all)
{
    weft_buffer *b = &o->held;
    size_t longest = o->how.limit > 0 ? o->how.limit : LONGEST_LINE, at = 0;
    int error = 0;
    while (error == 0 && at < b->size) {
        size_t left = b->size - at, most = left < longest ? left : longest;
        const char *end = (const char *)memchr(b->data + at, '\n', most);
        if (end == nullptr && most < longest && !all)
            break;
        size_t n = end != nullptr ? (size_t)(end + 1 - (b->data + at)) : most;
        error = give(o, b->data + at, n);
        at += n;
    }
    b->size -= at;
    if (at > 0)
        memmove(b->data, b->data + at, b->size);
    return error;
}

static int give_on(outlet *o)
{
    if (o->how.lines)
        return give_lines(o, false);
    int error = give(o, o->held.data, o->held.size);
    o->held.size = 0;
    return error;
}

// ---- Reading ----

// Apart from outlet_read, whose callers may have little stack.
__attribute__((noinline)) static ssize_t read_and_drop(int fd)
{
    char dropped[16 * 1024];
    return uncancelled(read, fd, dropped, sizeof dropped);
}

// What has been collected is too long for the buffer or at all.
static int bound(outlet *o)
{
    const weft_sink *how = &o->how;
    if (how->limit > 0 && o->came > how->limit) { // by one
        o->came--;
        o->to->data[--o->to->size] = 0;
        return ENOBUFS;
    }
    size_t most = o->file < 0 ? how->memory : PIPE_SIZE;
    return how->memory > 0 && o->to->size > most ? file_bytes(o) : 0;
}

ssize_t weft::outlet_read(outlet *o, int fd, int *error)
{
    weft_buffer *b = o->how.take != nullptr ? &o->held : o->to;
    *error = 0;
    if (b == nullptr)
        return read_and_drop(fd);
    if (make_room(b) != 0) {
        *error = ENOMEM;
        return -1;
    }
    if (b->size >= LARGE && b->size + PIPE_SIZE > o->ready)
        prepare(o, b);
    size_t room = b->capacity - b->size - 1;
    if (b == o->to && o->how.limit > 0 && room > o->how.limit - o->came)
        room = o->how.limit - o->came + 1;
    ssize_t n = uncancelled(read, fd, b->data + b->size, room);
    if (n <= 0)
        return n;
    b->size += (size_t)n;
    b->data[b->size] = 0;
    o->came += (size_t)n;
    *error = b == o->to ? bound(o) : give_on(o);
    if (*error != 0)
        o->held.size = 0; // nobody wants it
    return n;
}

int weft::outlet_end(outlet *o)
{
    bool is_filed = o->file >= 0 && o->to != nullptr; // else it is dropped
    int error = o->how.take != nullptr ? give_lines(o, true) : is_filed ? map_file(o) : 0;
    weft_buffer_free(&o->held);
    return error;
}
