// offload_files.cc: files in their own pool.
//
// A request holds copies of all it needs, the descriptor's number included (dup(2)): a caller
// that gave up may close the file and reuse its memory at once.
#include "descriptor.h"
#include "job.h"

#include <weft/offload.h>

#include <base/errno.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

using namespace weft;

namespace {
struct request {
    ssize_t (*fn)(struct request *r);
    int fd; // -1, or its own
    int flags;
    mode_t mode;
    off_t offset;
    struct stat stat;
    ssize_t result;
    int error;
    size_t n;
    char *data; // behind this: a path, or what is written or was read
};
} // namespace

// ---- In the pool ----

static ssize_t do_open(request *r)
{
    return open(r->data, r->flags | O_CLOEXEC, r->mode);
}

static ssize_t do_stat(request *r)
{
    return stat(r->data, &r->stat);
}

static ssize_t do_fsync(request *r)
{
    return fsync(r->fd);
}

// All bytes, by calls that may do a part.  Errors after some bytes: those count.
template <class Call> static ssize_t do_all(request *r, Call call)
{
    size_t all = 0;
    while (all < r->n) {
        ssize_t n = call(r->fd, r->data + all, r->n - all, r->offset + (off_t)all);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && all == 0 ? -1 : (ssize_t)all;
        all += (size_t)n;
    }
    return (ssize_t)all;
}

static ssize_t do_pread(request *r)
{
    return do_all(r, pread);
}

static ssize_t do_pwrite(request *r)
{
    return do_all(r, pwrite);
}

static void *serve(void *arg)
{
    request *r = (request *)arg;
    r->result = r->fn(r);
    r->error = errno;
    return r;
}

// ---- In the tasklet ----

static void end(request *r)
{
    close_keep_errno(&r->fd);
    free_keep_errno(r);
}

// Nobody wants what came of it.
static void release(void *arg, void *result)
{
    request *r = (request *)arg;
    if (result != nullptr && r->fn == do_open && r->result >= 0)
        close((int)r->result);
    end(r);
}

static request *create(ssize_t (*fn)(request *r), size_t n)
{
    request *r = n < SIZE_MAX / 2 ? (request *)malloc(sizeof *r + n) : nullptr;
    if (r == nullptr) {
        errno = ENOMEM;
        return nullptr;
    }
    memset(r, 0, sizeof *r);
    r->fn = fn;
    r->fd = -1;
    r->n = n;
    r->data = (char *)(r + 1);
    return r;
}

static request *create_path(ssize_t (*fn)(request *r), const char *path)
{
    if (path == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    size_t n = strlen(path) + 1;
    request *r = create(fn, n);
    if (r != nullptr)
        memcpy(r->data, path, n);
    return r;
}

static request *create_fd(ssize_t (*fn)(request *r), int fd, size_t n)
{
    request *r = create(fn, n);
    if (r == nullptr)
        return nullptr;
    r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (r->fd >= 0)
        return r;
    end(r);
    return nullptr;
}

// True when it was done, well or ill; else errno, and `r` is gone.
static bool await(request *r, weft_deadline d)
{
    if (offload_to(WEFT_OFFLOAD_FILES, serve, r, release, nullptr, d) == 0)
        return true;
    if (errno != ETIMEDOUT && errno != ECANCELED)
        end(r);
    return false;
}

static ssize_t finish(request *r)
{
    ssize_t result = r->result;
    if (result < 0)
        errno = r->error;
    end(r);
    return result;
}

int weft_offload_open(const char *path, int flags, mode_t mode, weft_deadline d)
{
    request *r = create_path(do_open, path);
    if (r == nullptr)
        return -1;
    r->flags = flags;
    r->mode = mode;
    return await(r, d) ? (int)finish(r) : -1;
}

int weft_offload_stat(const char *path, struct stat *s, weft_deadline d)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    request *r = create_path(do_stat, path);
    if (r == nullptr || !await(r, d))
        return -1;
    if (r->result == 0)
        *s = r->stat;
    return (int)finish(r);
}

int weft_offload_fsync(int fd, weft_deadline d)
{
    request *r = create_fd(do_fsync, fd, 0);
    return r != nullptr && await(r, d) ? (int)finish(r) : -1;
}

// What is in the page cache; -1 with EAGAIN: *all bytes were, a thread is to read the rest.
static ssize_t read_cached(int fd, char *buf, size_t n, off_t offset, size_t *all)
{
    while (*all < n) {
        struct iovec piece = {buf + *all, n - *all};
        ssize_t got = preadv2(fd, &piece, 1, offset + (off_t)*all, RWF_NOWAIT);
        if (got == 0)
            break;
        if (got > 0)
            *all += (size_t)got;
        else if (errno == EOPNOTSUPP || is_refused(errno))
            return fail_with(EAGAIN); // this file system can't say
        else if (errno != EINTR)
            return errno == EAGAIN || *all == 0 ? -1 : (ssize_t)*all;
    }
    return (ssize_t)*all;
}

ssize_t weft_offload_pread(int fd, void *buf, size_t n, off_t offset, weft_deadline d)
{
    int saved = errno;
    size_t all = 0;
    // preadv2(2) takes -1 as the place where the file stands, which would move.
    int error = io_here == nullptr ? EPERM : offset < 0 ? EINVAL : wait_refusal(d);
    if (error != 0)
        return fail_with(error);
    ssize_t got = read_cached(fd, (char *)buf, n, offset, &all);
    if (got < 0 && errno != EAGAIN)
        return -1;
    if (got < 0) {
        request *r = create_fd(do_pread, fd, n - all);
        if (r == nullptr)
            return -1;
        r->offset = offset + (off_t)all;
        if (!await(r, d))
            return -1;
        if (r->result > 0)
            memcpy((char *)buf + all, r->data, (size_t)r->result);
        got = finish(r);
        if (got < 0 && all == 0)
            return -1;
        got = (ssize_t)all + (got > 0 ? got : 0);
    }
    errno = saved;
    return got;
}

ssize_t weft_offload_pwrite(int fd, const void *buf, size_t n, off_t offset, weft_deadline d)
{
    if (offset < 0)
        return fail_with(EINVAL);
    request *r = create_fd(do_pwrite, fd, n);
    if (r == nullptr)
        return -1;
    memcpy(r->data, buf, n);
    r->offset = offset;
    return await(r, d) ? finish(r) : -1;
}
