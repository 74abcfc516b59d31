// shm.cc: segments.
//
// A named segment is made without a name (O_TMPFILE), locked, filled in, and only then linked
// to its name: link(2) is exclusive, and who dies on the way leaves nothing.
//
// Each mapping is as long as the segment may ever grow; pages behind the file's end are
// never touched, and growth moves nothing.
#include "empty_table.h"
#include "shm_segment.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <base/futex.h>
#include <thread/sleep.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

using namespace weft;

// ---- the handle ----

static weft_shm *handle_new(const char *path)
{
    weft_shm *s = (weft_shm *)malloc(sizeof *s);
    if (s == nullptr)
        return nullptr;
    s->head = (shm_head *)MAP_FAILED;
    s->fd = -1;
    s->room = 0;
    s->read_only = false;
    strcpy(s->path, path);
    return s;
}

static weft_shm *handle_fail(weft_shm *s, int error)
{
    if (s->head != MAP_FAILED)
        munmap(s->head, s->room);
    close_keep_errno(&s->fd);
    free(s);
    errno = error;
    return nullptr;
}

static int map(weft_shm *s, size_t room)
{
    s->room = room;
    s->head = (shm_head *)mmap(nullptr, room, s->read_only ? PROT_READ : PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_NORESERVE, s->fd, 0);
    return s->head == MAP_FAILED ? -1 : 0;
}

// ---- create ----

static size_t whole_pages(size_t n)
{
    return (n + SHM_HEAD - 1) / SHM_HEAD * SHM_HEAD;
}

static int reserve(int fd, bool lazy, size_t size)
{
    // Longer files than that are a signal, SIGXFSZ, that kills.
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && size > limit.rlim_cur)
        return fail_with(EFBIG);
    if (lazy)
        return ftruncate(fd, (off_t)size);
    // The kernel would look for it until it has killed others to find it.
    struct sysinfo machine;
    if (sysinfo(&machine) == 0 && size / machine.mem_unit > machine.totalram + machine.totalswap)
        return fail_with(ENOSPC);
    int n;
    while ((n = uncancelled(fallocate, fd, 0, 0, (off_t)size)) != 0 && errno == EINTR)
        ;
    return n;
}

static int fill_in(weft_shm *s, size_t size, const weft_shm_options *o, bool ready)
{
    shm_head *h = s->head;
    if (weft_mutex_init(&h->lock, WEFT_SHARED | WEFT_ROBUST) != 0)
        return -1;
    h->layout = SHM_LAYOUT;
    h->version = o->version;
    h->room = s->room;
    h->size = size;
    h->lazy = o->lazy;
    h->keep = o->keep;
    h->fixed = h->top = SHM_HEAD + (o->fixed + 63) / 64 * 64;
    h->ready = ready;
    h->magic = SHM_MAGIC;
    return 0;
}

// Links the nameless file to its name, past what the dead have left there.
static int give_name(weft_shm *s)
{
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", s->fd);
    while (linkat(AT_FDCWD, self, AT_FDCWD, s->path, AT_SYMLINK_FOLLOW) != 0) {
        if (errno != EEXIST)
            return -1;
        int old = shm_open_path(s->path, false);
        if (old < 0 && errno == ENOENT)
            continue;
        bool gone = old >= 0 && shm_may_go(old);
        if (gone && shm_remove(old, s->path) != 0 && errno != ENOENT)
            gone = false;
        close_keep_errno(&old);
        if (!gone)
            return fail_with(EEXIST);
    }
    return 0;
}

// Who may attach to the name it will have.
static int admit(weft_shm *s, const weft_shm_options *o)
{
    if (o->group != 0 && fchown(s->fd, (uid_t)-1, o->group) != 0)
        return -1;
    return o->mode != 0 ? fchmod(s->fd, o->mode & 0777) : 0;
}

weft_shm *weft_shm_create(const char *name, size_t size, const weft_shm_options *opts)
{
    static const weft_shm_options defaults = {};
    const weft_shm_options *o = opts != nullptr ? opts : &defaults;
    char path[PATH_ROOM] = "";
    int error = name != nullptr ? shm_path_of(name, path) : 0;
    size_t most = size > o->room ? size : o->room;
    if (error != 0 || size == 0 || most > (size_t)1 << 45 || o->fixed > size) {
        errno = error != 0 ? error : EINVAL;
        return nullptr;
    }

    weft_shm *s = handle_new(path);
    if (s == nullptr)
        return nullptr;
    size = SHM_HEAD + whole_pages(size);
    s->fd = above_streams(name != nullptr
                              ? uncancelled(open, SHM_FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
                              : memfd_create("weft", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (s->fd < 0 || (name != nullptr && admit(s, o) != 0) || reserve(s->fd, o->lazy, size) != 0 ||
        map(s, SHM_HEAD + whole_pages(most)) != 0 || fill_in(s, size, o, name == nullptr) != 0)
        return handle_fail(s, errno);
    if (shm_lock_byte(s->fd, F_RDLCK, LIFE, F_OFD_SETLK) < 0 ||
        (name == nullptr ? fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK) : give_name(s)) != 0)
        return handle_fail(s, errno);
    return s;
}

int weft_shm_ready(weft_shm *s)
{
    if (shm_check_writable(s) != 0)
        return -1;
    // Release: what the creator has written is seen by who sees this.
    __atomic_store_n(&s->head->ready, 1, __ATOMIC_RELEASE);
    futex_wake(&s->head->ready, INT_MAX, 1);
    return 0;
}

// ---- attach ----

// Maps what `s->fd` is; 0 or an errno.
static int open_segment(weft_shm *s, const weft_shm_attach_options *o, bool *kept)
{
    shm_head h;
    int error = shm_examine(s->fd, &h, o != nullptr && o->others);
    if (error != 0)
        return error;
    *kept = h.keep && h.ready;
    if (o != nullptr && h.version != o->version)
        return EPROTO;
    return map(s, h.room) != 0 ? errno : 0;
}

// Removes what the dead have left, if we may: ENOENT, or EAGAIN when somebody has it after all.
static int remove_left(weft_shm *s)
{
    int fd = s->read_only ? shm_open_path(s->path, false) : s->fd;
    bool gone = fd < 0 || shm_remove(fd, s->path) == 0 || errno == ENOENT || errno == EPERM;
    if (fd != s->fd)
        close_keep_errno(&fd);
    return gone ? ENOENT : EAGAIN;
}

// One look at the name.  0: `s` is attached and ready; EAGAIN: look again soon.
static int try_attach(weft_shm *s, const weft_shm_attach_options *o)
{
    bool kept = false;
    s->fd = above_streams(shm_open_path(s->path, o->read_only));
    if (s->fd < 0)
        return errno;
    int error = open_segment(s, o, &kept);
    if (error != 0 && error != EPROTO)
        return error;
    if (!kept && shm_nobody_has(s->fd))
        return remove_left(s);
    if (error != 0)
        return error;
    // While it waits, it holds no lock: its own would hide the creator's death.
    if (!__atomic_load_n(&s->head->ready, __ATOMIC_ACQUIRE))
        return EAGAIN;
    // Who removed it meanwhile did so before we had the lock, or can't any more.
    if (shm_lock_byte(s->fd, F_RDLCK, LIFE, F_OFD_SETLK) < 0 || !shm_same_file(s->fd, s->path))
        return EAGAIN;
    return 0;
}

weft_shm *weft_shm_attach(const char *name, const weft_shm_attach_options *opts, weft_deadline d)
{
    static const weft_shm_attach_options defaults = {};
    const weft_shm_attach_options *o = opts != nullptr ? opts : &defaults;
    char path[PATH_ROOM];
    int error = shm_path_of(name, path);
    if (error != 0) {
        errno = error;
        return nullptr;
    }
    weft_shm *s = handle_new(path);
    if (s == nullptr)
        return nullptr;
    s->read_only = o->read_only;
    for (int ms = 5;; ms = ms < 80 ? ms * 2 : ms) {
        error = try_attach(s, o);
        if (error == 0)
            return s;
        if (error != EAGAIN || weft_left(d) == 0)
            return handle_fail(s, error != EAGAIN ? error : ETIMEDOUT);
        weft_deadline soon = weft_in_ms(ms);
        uint32_t nothing = 0;
        error =
            sleep_on(s->head != MAP_FAILED ? &s->head->ready : &nothing, 0, soon < d ? soon : d, 1);
        if (error == ECANCELED)
            return handle_fail(s, error);
        if (s->head != MAP_FAILED)
            munmap(s->head, s->room);
        s->head = (shm_head *)MAP_FAILED;
        close_keep_errno(&s->fd);
    }
}

weft_shm *weft_shm_attach_fd(int fd)
{
    weft_shm *s = handle_new("");
    if (s == nullptr)
        return nullptr;
    bool kept;
    s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    s->read_only = s->fd >= 0 && (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
    int error = s->fd < 0 ? errno : open_segment(s, nullptr, &kept);
    return error != 0 ? handle_fail(s, error) : s;
}

// ---- the end ----

// Removes the name of a segment that nobody has any more; the caller has given up its own share.
static int remove_last(void *arg)
{
    int fd = shm_open_path((const char *)arg, false);
    if (fd < 0)
        return -1;
    if (shm_may_go(fd))
        shm_remove(fd, (const char *)arg);
    close_keep_errno(&fd);
    return 0;
}

int weft_shm_detach(weft_shm *s)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    bool same = s->path[0] != 0 && shm_same_file(s->fd, s->path);
    munmap(s->head, s->room);
    uncancelled(close, s->fd);
    // By a description of our own, to ask whether others have one.
    if (same && remove_last(s->path) != 0 && errno == EMFILE)
        in_empty_table(remove_last, s->path);
    free(s);
    errno = saved;
    return 0;
}

// ---- what it is ----

void *weft_shm_address(const weft_shm *s)
{
    return s != nullptr ? (char *)s->head + SHM_HEAD : fail_null(EINVAL);
}

size_t weft_shm_size(const weft_shm *s)
{
    return s != nullptr ? __atomic_load_n(&s->head->size, __ATOMIC_ACQUIRE) - SHM_HEAD : 0;
}

uint32_t weft_shm_version(const weft_shm *s)
{
    return s != nullptr ? s->head->version : 0;
}

int weft_shm_fd(const weft_shm *s)
{
    return s != nullptr ? s->fd : fail_with(EINVAL);
}

// ---- grow and seal ----

void weft::shm_lock(shm_head *h)
{
    int saved = errno;
    if (weft_mutex_lock(&h->lock, WEFT_FOREVER) != 0 && errno == EOWNERDEAD)
        weft_mutex_consistent(&h->lock);
    errno = saved;
}

// `end` counts from the head.  The file grows first: who sees the new size may use it.
int weft::shm_grow_locked(weft_shm *s, uint64_t end)
{
    shm_head *h = s->head;
    if (end <= h->size)
        return 0;
    if (end > h->room)
        return fail_with(ENOMEM);
    if (__atomic_load_n(&h->sealed, __ATOMIC_RELAXED))
        return fail_with(EPERM);
    end = whole_pages(end);
    if (reserve(s->fd, h->lazy, end) != 0)
        return -1;
    __atomic_store_n(&h->size, end, __ATOMIC_RELEASE);
    return 0;
}

int weft_shm_grow(weft_shm *s, size_t size)
{
    if (shm_check_writable(s) != 0)
        return -1;
    if (size > s->room - SHM_HEAD)
        return fail_with(ENOMEM);
    shm_lock(s->head);
    int n = shm_grow_locked(s, SHM_HEAD + size);
    weft_mutex_unlock(&s->head->lock);
    return n;
}

int weft_shm_seal(weft_shm *s)
{
    if (shm_check_writable(s) != 0)
        return -1;
    shm_lock(s->head);
    __atomic_store_n(&s->head->sealed, 1, __ATOMIC_RELAXED);
    weft_mutex_unlock(&s->head->lock);
    int saved = errno;
    fcntl(s->fd, F_ADD_SEALS, F_SEAL_GROW); // a file in /dev/shm knows no seals
    errno = saved;
    return 0;
}
