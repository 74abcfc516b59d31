// close_others.h: closing every descriptor that is not wanted, in a child.
//
// With close_range(2); where it is missing or refused, what /proc lists; without /proc, each
// number.  Only system calls, and without sanitizers, whose shadow state is the parent's where the
// child shares its memory.
#ifndef WEFT_BASE_CLOSE_OTHERS_H
#define WEFT_BASE_CLOSE_OTHERS_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
#define PLAIN __attribute__((disable_sanitizer_instrumentation))
#endif
#endif
#ifndef PLAIN
#define PLAIN                                                                                      \
    __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))
#endif

namespace weft {

// What the kernel is taken not to have: for the tests of the fallbacks.
enum { NO_CLOSE_RANGE = 4, NO_PROC = 8 };

// As close_others wants them.
static inline void sort_descriptors(int *fds, size_t n)
{
    qsort(fds, n, sizeof *fds, [](const void *a, const void *b) {
        return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
    });
}

PLAIN static inline bool is_kept(const int *keep, size_t n, int fd)
{
    for (size_t i = 0; i < n; i++)
        if (keep[i] == fd)
            return true;
    return fd < 3;
}

PLAIN static inline int digits(const char *text)
{
    int n = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (*text - '0');
    return n;
}

struct kernel_dirent {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[1];
};

// Without close_range (Linux before 5.9, some sandboxes): what /proc lists, so
// that a limit of a million descriptors costs nothing.
PLAIN static inline bool close_listed(const int *keep, size_t n, int without)
{
    alignas(8) char entries[1024];
    long bytes;
    int dir = without & NO_PROC ? -1
                                : (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd",
                                               O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return false;
    while ((bytes = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0)
        for (long at = 0; at < bytes;) {
            const kernel_dirent *e = (const kernel_dirent *)(entries + at);
            int fd = digits(e->name);
            if (e->name[0] != '.' && fd != dir && !is_kept(keep, n, fd))
                syscall(SYS_close, fd);
            at += e->length;
        }
    syscall(SYS_close, dir);
    return bytes == 0;
}

PLAIN static inline void close_all(const int *keep, size_t n, rlim_t limit)
{
    for (rlim_t fd = 3; fd < limit && fd < INT32_MAX; fd++)
        if (!is_kept(keep, n, (int)fd))
            syscall(SYS_close, fd);
}

// All above 2 but those in keep, which is in order.  `limit`: of their numbers, when they were
// opened.  `without`: see above.
PLAIN static inline void close_others(const int *keep, size_t n, rlim_t limit, int without)
{
    int from = 3;
    bool ranges = !(without & NO_CLOSE_RANGE);
    for (size_t i = 0; ranges && i < n; i++) {
        if (keep[i] > from)
            ranges = syscall(SYS_close_range, from, keep[i] - 1, 0) == 0;
        if (keep[i] >= from)
            from = keep[i] + 1;
    }
    if (ranges && syscall(SYS_close_range, from, ~0U, 0) == 0)
        return;
    if (!close_listed(keep, n, without))
        close_all(keep, n, limit);
}

// The same, with the limit as it is.
static inline void close_others(const int *keep, size_t n)
{
    struct rlimit limit;
    close_others(keep, n, getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 1024, 0);
}

} // namespace weft

#endif
