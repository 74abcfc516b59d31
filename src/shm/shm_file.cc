// shm_file.cc: the files that named segments are.
//
// Whether anybody lives is an OFD lock on the file: whoever has the segment holds a read
// lock on LIFE through its open file description, which forked children share, and which
// the kernel drops with the last of them.  So a write lock on LIFE can be had just when
// nobody has the segment.  Removing a name is done under a write lock on NAME: between the
// look whether the name still means this file and the unlink nobody else of weft's can
// remove it and make it anew.
#include "shm_segment.h"

#include <base/errno.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

using namespace weft;

// ---- locks on the file ----

int weft::shm_lock_byte(int fd, short type, int byte, int command)
{
    struct flock l = {};
    l.l_type = type;
    l.l_whence = SEEK_SET;
    l.l_start = byte;
    l.l_len = 1;
    int n;
    while ((n = uncancelled(fcntl, fd, command, &l)) != 0 && errno == EINTR)
        ;
    return n != 0 ? -1 : l.l_type;
}

bool weft::shm_nobody_has(int fd)
{
    return shm_lock_byte(fd, F_WRLCK, LIFE, F_OFD_GETLK) == F_UNLCK;
}

bool weft::shm_same_file(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

// Removes `path` if it still means the file of `fd`.
static int unlink_same(int fd, const char *path)
{
    if (shm_lock_byte(fd, F_WRLCK, NAME, F_OFD_SETLKW) < 0)
        return -1;
    return shm_same_file(fd, path) ? unlink(path) : fail_with(ENOENT);
}

int weft::shm_remove(int fd, const char *path)
{
    if (shm_lock_byte(fd, F_WRLCK, LIFE, F_OFD_SETLK) < 0)
        return -1;
    // Nobody has it now, so nobody makes it ready: it may have been since the caller looked.
    shm_head h = {};
    if (shm_examine(fd, &h, true) == 0 && h.keep && h.ready) {
        shm_lock_byte(fd, F_UNLCK, LIFE, F_OFD_SETLK);
        return fail_with(EBUSY);
    }
    return unlink_same(fd, path);
}

// ---- looking at what was opened ----

bool weft::shm_is_weft(int fd)
{
    struct stat st;
    uint64_t magic;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
           uncancelled(pread, fd, &magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
           magic == SHM_MAGIC;
}

bool weft::shm_may_go(int fd)
{
    shm_head h = {};
    bool kept = shm_examine(fd, &h, false) == 0 && h.keep && h.ready;
    return shm_is_weft(fd) && !kept && shm_nobody_has(fd);
}

// Reads, so that a file cut short can't hurt.
int weft::shm_examine(int fd, shm_head *h, bool others)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return EBADMSG;
    if (!others && st.st_uid != geteuid() && st.st_uid != 0)
        return EACCES;
    if (uncancelled(pread, fd, (void *)h, sizeof *h, 0) != (ssize_t)sizeof *h ||
        h->magic != SHM_MAGIC)
        return EBADMSG;
    if (h->layout != SHM_LAYOUT)
        return EPROTO;
    if (h->size > (uint64_t)st.st_size || h->size > h->room || h->room > (uint64_t)1 << 46 ||
        h->size < SHM_HEAD || h->fixed < SHM_HEAD || h->fixed > h->room)
        return EBADMSG;
    return 0;
}

// ---- names ----

int weft::shm_path_of(const char *name, char path[PATH_ROOM])
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

int weft::shm_open_path(const char *path, bool read_only)
{
    int fd = uncancelled(open, path,
                         (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    // A symbolic link, a folder, a socket.
    if (fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
        errno = EBADMSG;
    return fd;
}

int weft_shm_unlink(const char *name)
{
    char path[PATH_ROOM];
    int error = shm_path_of(name, path);
    if (error != 0)
        return fail_with(error);
    int fd = shm_open_path(path, false);
    if (fd < 0)
        return -1;
    // Also what was cut short, or is of another layout: nothing else would ever remove it.
    shm_head h;
    error = shm_is_weft(fd) ? 0 : shm_examine(fd, &h, false);
    int n = error != 0 ? fail_with(error) : unlink_same(fd, path);
    close_keep_errno(&fd);
    return n;
}

ssize_t weft_shm_reap(void)
{
    int saved = errno;
    ssize_t count = 0;
    DIR *folder = opendir(SHM_FOLDER);
    if (folder == nullptr)
        return -1;
    for (struct dirent *e; (e = readdir(folder)) != nullptr;) {
        char path[PATH_ROOM];
        snprintf(path, sizeof path, "%s%s", SHM_FOLDER, e->d_name);
        int fd = e->d_type == DT_REG ? shm_open_path(path, false) : -1;
        if (fd >= 0 && shm_may_go(fd) && shm_remove(fd, path) == 0)
            count++;
        close_keep_errno(&fd);
    }
    closedir(folder);
    errno = saved;
    return count;
}
