// beneath.cc: the kernel sees to it that no path leaves the folder (openat2(2), RESOLVE_BENEATH,
// since Linux 5.6).
//
// Where it has no openat2, a sandbox forbids it, or names are moved about so often that it gives
// up, paths are walked by hand.  Each component is opened without following links, from the folder
// that was opened before; a link is read, and its text takes its place in what is still to be
// walked.  .. is never opened: its parent is walked to from the root again, by components that were
// no links.  So whatever others rename meanwhile, each open is of a name in a folder that was
// reached from the root by names alone.
#include "beneath.h"

#include <base/above_streams.h>
#include <base/errno.h>

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

using namespace weft;

enum { LINKS_MOST = 40, TRIES = 8 };

static const int ALWAYS = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

// O_PATH is for few others (openat2 refuses the rest).
static int all_flags(int flags)
{
    return (flags & O_PATH) != 0 ? flags | O_CLOEXEC : flags | ALWAYS;
}

static int by_kernel(int root, const char *path, int flags)
{
    struct open_how how = {};
    how.flags = (unsigned)all_flags(flags);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    return (int)syscall(SYS_openat2, root, *path != 0 ? path : ".", &how, sizeof how);
}

// ---- By hand ----

namespace {
struct walk {
    int root, flags;
    int at;          // the folder that `done` has led to
    int links;       // followed so far
    size_t done_end; // names that are no links, a / behind each
    const char *next;
    char done[PATH_MAX], rest[PATH_MAX];
};
} // namespace

static void leave(walk *w)
{
    if (w->at != w->root)
        close_keep_errno(&w->at);
    w->at = w->root;
}

// What is to be walked, from the root on, is done[0..n), more, and what was next.
static int again(walk *w, size_t n, const char *more)
{
    size_t more_size = strlen(more), next_size = strlen(w->next);
    if (n + more_size + next_size >= sizeof w->rest)
        return fail_with(ENAMETOOLONG);
    memmove(w->rest + n + more_size, w->next, next_size + 1);
    memcpy(w->rest, w->done, n);
    memcpy(w->rest + n, more, more_size);
    w->next = w->rest;
    w->done_end = 0;
    leave(w);
    return 0;
}

static int go_up(walk *w)
{
    if (w->done_end == 0)
        return fail_with(EXDEV);
    size_t n = w->done_end - 1;
    while (n > 0 && w->done[n - 1] != '/')
        n--;
    return again(w, n, "");
}

static int follow(walk *w, int link)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(link, "", target, sizeof target - 1);
    if (n < 0)
        return -1;
    target[n] = 0;
    if (target[0] == '/')
        return fail_with(EXDEV);
    if (++w->links > LINKS_MOST)
        return fail_with(ELOOP);
    return again(w, w->done_end, target);
}

// Goes into the folder `fd`, which is open from now on.
static int go_down(walk *w, const char *name, size_t n, int fd)
{
    if (w->done_end + n + 1 >= sizeof w->done) {
        close_keep_errno(&fd);
        return fail_with(ENAMETOOLONG);
    }
    memcpy(w->done + w->done_end, name, n);
    w->done_end += n;
    w->done[w->done_end++] = '/';
    leave(w);
    w->at = fd;
    return 0;
}

// What the last component is, opened as it was asked for.
static int finish(walk *w, const char *name, int fd)
{
    if ((w->flags & O_PATH) != 0)
        return fd;
    close_keep_errno(&fd);
    return uncancelled(openat, w->at, name, all_flags(w->flags) | O_NOFOLLOW);
}

// Walks a component.  The descriptor at the end; -2: there are more; -1.
static int step(walk *w)
{
    char name[NAME_MAX + 1];
    w->next += strspn(w->next, "/");
    size_t n = strcspn(w->next, "/");
    if (n == 0)
        return uncancelled(openat, w->at, ".", all_flags(w->flags));
    if (n > NAME_MAX)
        return fail_with(ENAMETOOLONG);
    memcpy(name, w->next, n);
    name[n] = 0;
    w->next += n;
    if (strcmp(name, ".") == 0)
        return -2;
    if (strcmp(name, "..") == 0)
        return go_up(w) == 0 ? -2 : -1;
    int fd = uncancelled(openat, w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0) {
        close_keep_errno(&fd);
        return -1;
    }
    if (S_ISLNK(s.st_mode)) {
        int result = follow(w, fd);
        close_keep_errno(&fd);
        return result == 0 ? -2 : -1;
    }
    if (S_ISDIR(s.st_mode))
        return go_down(w, name, n, fd) == 0 ? -2 : -1;
    if (*w->next != 0 || (w->flags & O_DIRECTORY) != 0) {
        close_keep_errno(&fd);
        return fail_with(ENOTDIR);
    }
    return finish(w, name, fd);
}

static int by_hand(int root, const char *path, int flags)
{
    walk w;
    w.root = w.at = root;
    w.flags = flags;
    w.links = 0;
    w.done_end = 0;
    if (path[0] == '/' || strlen(path) >= sizeof w.rest)
        return fail_with(path[0] == '/' ? EXDEV : ENAMETOOLONG);
    w.next = strcpy(w.rest, path);
    int fd;
    do
        fd = step(&w);
    while (fd == -2);
    leave(&w);
    return fd;
}

// ---- Either ----

int weft::root_open(root *r, const char *dir)
{
    int saved = errno;
    r->fd = above_streams(uncancelled(open, dir, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (r->fd < 0)
        return -1;
    int probe = by_kernel(r->fd, ".", O_PATH);
    r->by_hand = probe < 0 && is_refused(errno);
    close_keep_errno(&probe);
    errno = saved;
    return 0;
}

void weft::root_close(root *r)
{
    close_keep_errno(&r->fd);
}

int weft::root_openat(root *r, const char *path, int flags)
{
    int fd = -1;
    for (int i = 0; !r->by_hand && i < TRIES; i++) {
        fd = by_kernel(r->fd, path, flags);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    // A sandbox may have come since.
    if (fd < 0 && (r->by_hand || errno == EAGAIN || errno == ENOSYS || errno == EPERM))
        fd = by_hand(r->fd, path, flags);
    return above_streams(fd);
}

int weft::root_stat(root *r, const char *path, struct stat *s)
{
    int fd = root_openat(r, path, O_PATH);
    if (fd < 0)
        return -1;
    int result = fstat(fd, s);
    close_keep_errno(&fd);
    return result;
}
