// file.cc: files for tasklets (file.h).
#include "descriptor.h"
#include "file_request.h"
#include "job.h"

#include <weft/file.h>
#include <weft/offload.h>

#include <fcntl.h>
#include <limits.h>
#include <string.h>

using namespace weft;

static const size_t PART = 1 << 20; // of a long read or write
static const size_t PAGE = 4096;

// ---- Requests ----

static void end(file_request *r)
{
    close_keep_errno(&r->fd);
    free_keep_errno(r);
}

void weft::file_release(file_request *r, bool performed)
{
    int fd = performed && r->call == FILE_OPEN ? (int)r->result : -1;
    close_keep_errno(&fd);
    free_keep_errno(r->list);
    end(r);
}

static void release(void *performed, void *arg)
{
    file_release((file_request *)arg, performed != nullptr);
}

static void *perform(void *arg)
{
    file_perform((file_request *)arg);
    return arg;
}

// With n bytes that lie in a page as `like` does, which matters to O_DIRECT.
static file_request *create(file_call call, const void *like, size_t n)
{
    file_request *r = (file_request *)malloc(sizeof *r + PAGE + n);
    if (r == nullptr)
        return nullptr;
    memset(r, 0, sizeof *r);
    r->call = call;
    r->fd = -1;
    r->n = n;
    r->data = (char *)(r + 1);
    r->data += ((uintptr_t)like - (uintptr_t)r->data) % PAGE;
    return r;
}

static file_request *create_fd(file_call call, int fd, const void *like, size_t n)
{
    file_request *r = create(call, like, n);
    if (r == nullptr)
        return nullptr;
    r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (r->fd >= 0)
        return r;
    end(r);
    return nullptr;
}

static file_request *create_path(file_call call, const char *path, const char *other = "")
{
    if (path == nullptr || other == nullptr)
        return fail_null(EINVAL);
    size_t n = strlen(path) + 1, m = strlen(other) + 1;
    file_request *r = create(call, nullptr, n + m);
    if (r == nullptr)
        return nullptr;
    r->other = r->data + n;
    memcpy(r->data, path, n);
    memcpy(r->other, other, m);
    return r;
}

// True when it was done, well or ill; else errno, and `r` is gone.
static bool await(file_request *r, weft_deadline d)
{
    int saved = errno;
    if (io_here == nullptr) {
        file_perform(r);
        errno = saved;
        return true;
    }
    int error = d <= WEFT_NOW ? ETIMEDOUT : wait_refusal(d);
    if (error != 0) {
        end(r);
        errno = error;
        return false;
    }
    int by_ring = r->offset < 0 ? 0 : ring_await(r, d); // it takes no turn at the place of a file
    if (by_ring >= 0)
        errno = saved;
    if (by_ring != 0)
        return by_ring > 0;
    if (offload_to(WEFT_OFFLOAD_FILES, perform, r, release, nullptr, d, &r->fd) == 0)
        return true;
    if (errno != ETIMEDOUT && errno != ECANCELED)
        end(r);
    return false;
}

static int64_t result_of(const file_request *r)
{
    return r->result < 0 ? fail_with((int)-r->result) : r->result;
}

// Does it and ends it; nullptr: errno says why it was not made.
static int64_t carry_out(file_request *r, weft_deadline d)
{
    if (r == nullptr || !await(r, d))
        return -1;
    int64_t result = result_of(r);
    end(r);
    return result;
}

// ---- Reading and writing ----

// Before a call that may do without a wait: each 256th lets the others have a turn, in which they
// may close the file.
static int begin(int fd, weft_deadline d)
{
    io_state *io = io_here;
    io_held held;
    int error = io != nullptr ? wait_refusal(d) : 0;
    if (error != 0)
        return fail_with(error);
    if (io == nullptr || ++io->spree < 256 || d <= WEFT_NOW)
        return 0;
    io->spree = 0;
    if (io_hold(&held, fd) != 0 || weft_tasklet_yield() != 0)
        return -1;
    return io_is_same(&held) ? 0 : fail_with(ECANCELED);
}

// What is in the page cache.  1: that was all there is; 0: the rest is to be waited for; -1: errno.
static int read_cached(int fd, char *buf, size_t n, off_t offset, size_t *all)
{
    while (*all < n) {
        struct iovec piece = {buf + *all, n - *all};
        ssize_t got = preadv2(fd, &piece, 1, offset + (off_t)*all, RWF_NOWAIT);
        if (got == 0)
            return 1;
        if (got > 0)
            *all += (size_t)got;
        else if (errno == EAGAIN || errno == EOPNOTSUPP || is_refused(errno))
            return 0; // (the last two: this file, or kernel, can't say)
        else if (errno != EINTR)
            return -1;
    }
    return 1;
}

static size_t part_of(size_t left)
{
    return left < PART ? left : PART;
}

// The next part at that place, as read_cached; 0: go on.  After -1 *r may be gone, and is null.
static int do_part(file_request **r, off_t offset, size_t n, weft_deadline d)
{
    (*r)->offset = offset;
    (*r)->n = n;
    if (!await(*r, d))
        *r = nullptr;
    int64_t got = *r != nullptr ? result_of(*r) : -1;
    return got > 0 ? 0 : got == 0 ? 1 : -1;
}

// A failure after some bytes: those count.
static ssize_t finish(file_request *r, int is, size_t all, int saved)
{
    if (r != nullptr)
        end(r);
    if (is >= 0)
        errno = saved;
    return is < 0 && all == 0 ? -1 : (ssize_t)all;
}

ssize_t weft_file_pread(int fd, void *buf, size_t n, off_t offset, weft_deadline d)
{
    int saved = errno, is = 1;
    size_t all = 0;
    file_request *r = nullptr;
    // preadv2(2) takes -1 as the place where the file stands, which would move.
    if (offset < 0 || n > SSIZE_MAX || (buf == nullptr && n > 0))
        return fail_with(EINVAL);
    if (begin(fd, d) != 0)
        return -1;
    while (all < n &&
           (is = read_cached(r != nullptr ? r->fd : fd, (char *)buf, n, offset, &all)) == 0) {
        char *to = (char *)buf + all;
        if (r == nullptr && (r = create_fd(FILE_READ, fd, to, part_of(n - all))) == nullptr)
            return finish(nullptr, -1, all, saved);
        is = do_part(&r, offset + (off_t)all, part_of(n - all), d);
        if (is != 0)
            break;
        memcpy(to, r->data, (size_t)r->result);
        all += (size_t)r->result;
    }
    return finish(r, is, all, saved);
}

ssize_t weft_file_pwrite(int fd, const void *buf, size_t n, off_t offset, weft_deadline d)
{
    int saved = errno, is;
    size_t all = 0;
    if (offset < 0 || n > SSIZE_MAX || (buf == nullptr && n > 0))
        return fail_with(EINVAL);
    if (begin(fd, d) != 0)
        return -1;
    // (Of nothing, which tells of what has no places, such as a pipe: a ring would write there.)
    if (pwritev(fd, nullptr, 0, offset) != 0)
        return -1;
    file_request *r = create_fd(FILE_WRITE, fd, buf, part_of(n));
    if (r == nullptr)
        return -1;
    do {
        size_t part = part_of(n - all);
        if (part > 0)
            memcpy(r->data, (const char *)buf + all, part);
        is = do_part(&r, offset + (off_t)all, part, d);
        if (is == 0)
            all += (size_t)r->result;
    } while (is == 0 && all < n);
    return finish(r, is, all, saved);
}

// ---- Where the file stands ----

static size_t total(const struct iovec *pieces, int count)
{
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += pieces[i].iov_len;
    return n;
}

// Between n bytes in one place and the pieces.
static void copy_pieces(char *data, size_t n, const struct iovec *pieces, bool in)
{
    for (; n > 0; pieces++) {
        size_t part = n < pieces->iov_len ? n : pieces->iov_len;
        if (part > 0)
            memcpy(in ? data : (char *)pieces->iov_base, in ? pieces->iov_base : data, part);
        data += part;
        n -= part;
    }
}

// Which the system would say, but here it never sees them.
static bool lacks_memory(const struct iovec *pieces, int count)
{
    for (int i = 0; i < count; i++)
        if (pieces[i].iov_base == nullptr && pieces[i].iov_len > 0)
            return true;
    return false;
}

// By the system call alone where there is nothing that could do it meanwhile.
static ssize_t move_here(file_call call, int fd, const struct iovec *pieces, int count)
{
    return call == FILE_READ ? readv(fd, pieces, count) : writev(fd, pieces, count);
}

// The kernel moves the place, so that all who share the file share it as ever.
static ssize_t move_on(file_call call, int fd, const struct iovec *pieces, int count,
                       weft_deadline d)
{
    ssize_t moved = call == FILE_READ ? preadv2(fd, pieces, count, -1, RWF_NOWAIT)
                                      : pwritev2(fd, pieces, count, -1, RWF_NOWAIT);
    if (moved >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP && !is_refused(errno)))
        return moved;
    if (d <= WEFT_NOW && errno == EAGAIN)
        return fail_with(ETIMEDOUT);
    if (lacks_memory(pieces, count))
        return fail_with(EFAULT);
    size_t n = part_of(total(pieces, count));
    if (n == 0 || d <= WEFT_NOW)
        return move_here(call, fd, pieces, count);
    file_request *r = create_fd(call, fd, pieces->iov_base, n);
    if (r == nullptr)
        return move_here(call, fd, pieces, count);
    r->offset = -1;
    if (call == FILE_WRITE)
        copy_pieces(r->data, n, pieces, true);
    if (!await(r, d))
        return errno == EAGAIN ? move_here(call, fd, pieces, count) : -1;
    moved = (ssize_t)result_of(r);
    if (call == FILE_READ && moved > 0)
        copy_pieces(r->data, (size_t)moved, pieces, false);
    end(r);
    return moved;
}

ssize_t weft::file_read_on(int fd, const struct iovec *pieces, int count, weft_deadline d)
{
    return move_on(FILE_READ, fd, pieces, count, d);
}

ssize_t weft::file_write_on(int fd, const struct iovec *pieces, int count, weft_deadline d)
{
    return move_on(FILE_WRITE, fd, pieces, count, d);
}

int weft_file_fsync(int fd, weft_deadline d)
{
    return (int)carry_out(create_fd(FILE_FSYNC, fd, nullptr, 0), d);
}

int weft_file_truncate(int fd, off_t length, weft_deadline d)
{
    if (length < 0)
        return fail_with(EINVAL);
    file_request *r = create_fd(FILE_TRUNCATE, fd, nullptr, 0);
    if (r != nullptr)
        r->offset = length;
    return (int)carry_out(r, d);
}

// ---- Names ----

int weft_file_open(const char *path, int flags, mode_t mode, weft_deadline d)
{
    file_request *r = create_path(FILE_OPEN, path);
    if (r != nullptr) {
        r->how = flags | O_CLOEXEC;
        r->mode = mode;
    }
    return (int)carry_out(r, d);
}

static int stat_path(const char *path, struct stat *s, int how, weft_deadline d)
{
    file_request *r = s != nullptr ? create_path(FILE_STAT, path) : fail_null(EINVAL);
    if (r == nullptr)
        return -1;
    r->how = how;
    if (!await(r, d))
        return -1;
    int result = (int)result_of(r);
    if (result == 0)
        *s = r->stat;
    end(r);
    return result;
}

int weft_file_stat(const char *path, struct stat *s, weft_deadline d)
{
    return stat_path(path, s, 0, d);
}

int weft_file_lstat(const char *path, struct stat *s, weft_deadline d)
{
    return stat_path(path, s, AT_SYMLINK_NOFOLLOW, d);
}

int weft_file_rename(const char *from, const char *to, weft_deadline d)
{
    return (int)carry_out(create_path(FILE_RENAME, from, to), d);
}

int weft_file_unlink(const char *path, weft_deadline d)
{
    return (int)carry_out(create_path(FILE_UNLINK, path), d);
}

int weft_file_mkdir(const char *path, mode_t mode, weft_deadline d)
{
    file_request *r = create_path(FILE_MKDIR, path);
    if (r != nullptr)
        r->mode = mode;
    return (int)carry_out(r, d);
}

int weft_file_rmdir(const char *path, weft_deadline d)
{
    file_request *r = create_path(FILE_UNLINK, path);
    if (r != nullptr)
        r->how = AT_REMOVEDIR;
    return (int)carry_out(r, d);
}

ssize_t weft_file_readdir(const char *path, weft_file_entry **entries, weft_deadline d)
{
    file_request *r = entries != nullptr ? create_path(FILE_READDIR, path) : fail_null(EINVAL);
    if (r == nullptr || !await(r, d))
        return -1;
    ssize_t count = (ssize_t)result_of(r);
    if (count >= 0)
        *entries = (weft_file_entry *)r->list;
    end(r);
    return count;
}
