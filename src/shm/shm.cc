// shm.cc: segments.
//
// A named segment is made without a name (O_TMPFILE), locked, filled in, and only then linked
// to its name: link(2) is exclusive, and who dies on the way leaves nothing.
//
// Whether anybody lives is an OFD lock on the file: whoever has the segment holds a read
// lock on LIFE through its open file description, which forked children share, and which
// the kernel drops with the last of them.  So a write lock on LIFE can be had just when
// nobody has the segment.  Removing a name is done under a write lock on NAME: between the
// look whether the name still means this file and the unlink nobody else of weft's can
// remove it and make it anew.
//
// Each mapping is as long as the segment may ever grow; pages behind the file's end are
// never touched, and growth moves nothing.
#include "shm_segment.h"

#include <base/errno.h>
#include <base/futex.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

using namespace weft;

// ---- locks on the file ----

enum { LIFE = 0, NAME = 1 };

static int lock_byte(int fd, short type, int byte, int command)
{
    struct flock l = {};
    l.l_type = type;
    l.l_whence = SEEK_SET;
    l.l_start = byte;
    l.l_len = 1;
    int n;
    while ((n = fcntl(fd, command, &l)) != 0 && errno == EINTR)
        ;
    return n != 0 ? -1 : l.l_type;
}

static bool nobody_has(int fd)
{
    return lock_byte(fd, F_WRLCK, LIFE, F_OFD_GETLK) == F_UNLCK;
}

// Whether `path` means the file of `fd`.
static bool same_file(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

// Removes `path` if it still means the file of `fd`.
static int unlink_same(int fd, const char *path)
{
    if (lock_byte(fd, F_WRLCK, NAME, F_OFD_SETLKW) < 0)
        return -1;
    return same_file(fd, path) ? unlink(path) : fail_with(ENOENT);
}

// Removes what nobody has.  -1: somebody has it (or has removed it before us).
static int reap(int fd, const char *path)
{
    if (lock_byte(fd, F_WRLCK, LIFE, F_OFD_SETLK) < 0)
        return -1;
    return unlink_same(fd, path);
}

// ---- looking at what was opened ----

// The head of a file that may be anything; 0 or an errno.  Reads, so that a file cut short
// can't hurt.
static int examine(int fd, shm_head *h)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return EBADMSG;
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return EACCES;
    if (pread(fd, (void *)h, sizeof *h, 0) != (ssize_t)sizeof *h || h->magic != SHM_MAGIC)
        return EBADMSG;
    if (h->layout != SHM_LAYOUT)
        return EPROTO;
    if (h->size > (uint64_t)st.st_size || h->size > h->room || h->room > (uint64_t)1 << 46 ||
        h->size < SHM_HEAD || h->fixed < SHM_HEAD || h->fixed > h->room)
        return EBADMSG;
    return 0;
}

static weft_shm *handle_new(const char *path)
{
    weft_shm *s = (weft_shm *)malloc(sizeof *s);
    if (s == nullptr)
        return nullptr;
    s->head = (shm_head *)MAP_FAILED;
    s->fd = -1;
    s->room = 0;
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
    s->head = (shm_head *)mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                               s->fd, 0);
    return s->head == MAP_FAILED ? -1 : 0;
}

// "/dev/shm/name" for "name" and "/name"; 0 or an errno.
static int path_of(const char *name, char path[PATH_ROOM])
{
    if (name == nullptr)
        return EINVAL;
    if (*name == '/')
        name++;
    if (*name == 0 || strchr(name, '/') != nullptr || !strcmp(name, ".") || !strcmp(name, ".."))
        return EINVAL;
    if (strlen(name) > NAME_MAX)
        return ENAMETOOLONG;
    snprintf(path, PATH_ROOM, "%s%s", SHM_FOLDER, name);
    return 0;
}

static int open_path(const char *path)
{
    return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

// ---- create ----

static size_t whole_pages(size_t n)
{
    return (n + SHM_HEAD - 1) / SHM_HEAD * SHM_HEAD;
}

static int reserve(int fd, bool lazy, size_t size)
{
    if (lazy)
        return ftruncate(fd, (off_t)size);
    // The kernel would look for it until it has killed others to find it.
    struct sysinfo machine;
    if (sysinfo(&machine) == 0 && size / machine.mem_unit > machine.totalram + machine.totalswap)
        return fail_with(ENOSPC);
    int n;
    while ((n = fallocate(fd, 0, 0, (off_t)size)) != 0 && errno == EINTR)
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
        int old = open_path(s->path);
        if (old < 0 && errno == ENOENT)
            continue;
        shm_head h;
        bool gone = old >= 0 && examine(old, &h) == 0 && nobody_has(old);
        if (gone && reap(old, s->path) != 0 && errno != ENOENT)
            gone = false;
        close_keep_errno(&old);
        if (!gone)
            return fail_with(EEXIST);
    }
    return 0;
}

weft_shm *weft_shm_create(const char *name, size_t size, const weft_shm_options *opts)
{
    static const weft_shm_options defaults = {};
    const weft_shm_options *o = opts != nullptr ? opts : &defaults;
    char path[PATH_ROOM] = "";
    int error = name != nullptr ? path_of(name, path) : 0;
    size_t most = size > o->room ? size : o->room;
    if (error != 0 || size == 0 || most > (size_t)1 << 45 || o->fixed > size) {
        errno = error != 0 ? error : EINVAL;
        return nullptr;
    }

    weft_shm *s = handle_new(path);
    if (s == nullptr)
        return nullptr;
    size = SHM_HEAD + whole_pages(size);
    s->fd = name != nullptr ? open(SHM_FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
                            : memfd_create("weft", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (s->fd < 0 || reserve(s->fd, o->lazy, size) != 0 ||
        map(s, SHM_HEAD + whole_pages(most)) != 0 || fill_in(s, size, o, name == nullptr) != 0)
        return handle_fail(s, errno);
    if (lock_byte(s->fd, F_RDLCK, LIFE, F_OFD_SETLK) < 0 ||
        (name == nullptr ? fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK) : give_name(s)) != 0)
        return handle_fail(s, errno);
    return s;
}

int weft_shm_ready(weft_shm *s)
{
    // Release: what the creator has written is seen by who sees this.
    __atomic_store_n(&s->head->ready, 1, __ATOMIC_RELEASE);
    futex_wake(&s->head->ready, INT_MAX, 1);
    return 0;
}

// ---- attach ----

// Maps what `s->fd` is; 0 or an errno.
static int open_segment(weft_shm *s, const uint32_t *version)
{
    shm_head h;
    int error = examine(s->fd, &h);
    if (error != 0)
        return error;
    if (version != nullptr && h.version != *version)
        return EPROTO;
    return map(s, h.room) != 0 ? errno : 0;
}

// One look at the name.  0: `s` is attached and ready; EAGAIN: look again soon.
static int try_attach(weft_shm *s, uint32_t version)
{
    s->fd = open_path(s->path);
    if (s->fd < 0)
        return errno;
    int error = open_segment(s, &version);
    if (error != 0 && error != EPROTO)
        return error;
    if (nobody_has(s->fd))
        return reap(s->fd, s->path) == 0 || errno == ENOENT ? ENOENT : EAGAIN;
    if (error != 0)
        return error;
    // While it waits, it holds no lock: its own would hide the creator's death.
    if (!__atomic_load_n(&s->head->ready, __ATOMIC_ACQUIRE))
        return EAGAIN;
    // Who removed it meanwhile did so before we had the lock, or can't any more.
    if (lock_byte(s->fd, F_RDLCK, LIFE, F_OFD_SETLK) < 0 || !same_file(s->fd, s->path))
        return EAGAIN;
    return 0;
}

weft_shm *weft_shm_attach_version(const char *name, uint32_t version, weft_deadline d)
{
    char path[PATH_ROOM];
    int error = path_of(name, path);
    if (error != 0) {
        errno = error;
        return nullptr;
    }
    weft_shm *s = handle_new(path);
    if (s == nullptr)
        return nullptr;
    for (int ms = 5;; ms = ms < 80 ? ms * 2 : ms) {
        error = try_attach(s, version);
        if (error == 0)
            return s;
        if (error != EAGAIN || weft_left(d) == 0)
            return handle_fail(s, error != EAGAIN ? error : ETIMEDOUT);
        weft_deadline soon = weft_in_ms(ms);
        uint32_t nothing = 0;
        futex_wait(s->head != MAP_FAILED ? &s->head->ready : &nothing, 0, soon < d ? soon : d, 1);
        if (s->head != MAP_FAILED)
            munmap(s->head, s->room);
        s->head = (shm_head *)MAP_FAILED;
        close_keep_errno(&s->fd);
    }
}

weft_shm *weft_shm_attach(const char *name, weft_deadline d)
{
    return weft_shm_attach_version(name, 0, d);
}

weft_shm *weft_shm_attach_fd(int fd)
{
    weft_shm *s = handle_new("");
    if (s == nullptr)
        return nullptr;
    s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int error = s->fd < 0 ? errno : open_segment(s, nullptr);
    return error != 0 ? handle_fail(s, error) : s;
}

// ---- the end ----

int weft_shm_detach(weft_shm *s)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    // A description of our own, to ask after our share in the old one is closed.
    int fd = s->path[0] != 0 ? open_path(s->path) : -1;
    bool same = fd >= 0 && same_file(s->fd, s->path);
    munmap(s->head, s->room);
    close(s->fd);
    if (same)
        reap(fd, s->path);
    close_keep_errno(&fd);
    free(s);
    errno = saved;
    return 0;
}

int weft_shm_unlink(const char *name)
{
    char path[PATH_ROOM];
    int error = path_of(name, path);
    if (error != 0)
        return fail_with(error);
    int fd = open_path(path);
    if (fd < 0)
        return -1;
    shm_head h;
    error = examine(fd, &h);
    int n = error != 0 ? fail_with(error) : unlink_same(fd, path);
    close_keep_errno(&fd);
    return n;
}

int weft_shm_reap(void)
{
    int saved = errno, count = 0;
    DIR *folder = opendir(SHM_FOLDER);
    if (folder == nullptr)
        return -1;
    for (struct dirent *e; (e = readdir(folder)) != nullptr;) {
        char path[PATH_ROOM];
        shm_head h;
        snprintf(path, sizeof path, "%s%s", SHM_FOLDER, e->d_name);
        int fd = e->d_type == DT_REG ? open_path(path) : -1;
        if (fd >= 0 && examine(fd, &h) == 0 && nobody_has(fd) && reap(fd, path) == 0)
            count++;
        close_keep_errno(&fd);
    }
    closedir(folder);
    errno = saved;
    return count;
}

// ---- what it is ----

void *weft_shm_address(const weft_shm *s)
{
    return (char *)s->head + SHM_HEAD;
}

size_t weft_shm_size(const weft_shm *s)
{
    return __atomic_load_n(&s->head->size, __ATOMIC_ACQUIRE) - SHM_HEAD;
}

uint32_t weft_shm_version(const weft_shm *s)
{
    return s->head->version;
}

int weft_shm_fd(const weft_shm *s)
{
    return s->fd;
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
    if (size > s->room - SHM_HEAD)
        return fail_with(ENOMEM);
    shm_lock(s->head);
    int n = shm_grow_locked(s, SHM_HEAD + size);
    weft_mutex_unlock(&s->head->lock);
    return n;
}

int weft_shm_seal(weft_shm *s)
{
    shm_lock(s->head);
    __atomic_store_n(&s->head->sealed, 1, __ATOMIC_RELAXED);
    weft_mutex_unlock(&s->head->lock);
    int saved = errno;
    fcntl(s->fd, F_ADD_SEALS, F_SEAL_GROW); // a file in /dev/shm knows no seals
    errno = saved;
    return 0;
}
