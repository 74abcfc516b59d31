/* file.h: files, for tasklets that wait while others run.
 *
 *     int fd = weft_file_open(path, O_RDONLY, 0, weft_in_s(5));
 *     ssize_t n = weft_file_pread(fd, text, sizeof text, 0, weft_in_s(5));
 *
 * In weft_io_run (io.h) the tasklet waits; elsewhere these are the plain system calls, which no
 * deadline ends.  Errors are the system calls', but never EINTR, and ETIMEDOUT (WEFT_NOW: only the
 * page cache is read), ECANCELED, EAGAIN: too much waits, EINVAL: NULL, an offset below 0, ENOMEM,
 * EMFILE, ENFILE.  After the first two what has begun ends by itself, with copies of its own. */
#ifndef WEFT_FILE_H
#define WEFT_FILE_H

#include <weft/deadline.h>

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct stat;

/* open(2), with O_CLOEXEC added.  The descriptor is the caller's, for close(2). */
int weft_file_open(const char *path, int flags, mode_t mode, weft_deadline d);

/* pread(2) until n bytes are there or the file ends.  Returns how many.  When a wait or a read
 * fails after some were read those are returned, and errno is set. */
ssize_t weft_file_pread(int fd, void *buf, size_t n, off_t offset, weft_deadline d);

/* pwrite(2) of all n bytes.  Returns n; a failure after some is as for pread.  After ETIMEDOUT and
 * ECANCELED up to 1 MiB more may be written. */
ssize_t weft_file_pwrite(int fd, const void *buf, size_t n, off_t offset, weft_deadline d);

/* fsync(2); ftruncate(2), which may make the file longer, too. */
int weft_file_fsync(int fd, weft_deadline d);
int weft_file_truncate(int fd, off_t length, weft_deadline d);

/* stat(2), lstat(2). */
int weft_file_stat(const char *path, struct stat *s, weft_deadline d);
int weft_file_lstat(const char *path, struct stat *s, weft_deadline d);

/* rename(2), unlink(2), mkdir(2), rmdir(2). */
int weft_file_rename(const char *from, const char *to, weft_deadline d);
int weft_file_unlink(const char *path, weft_deadline d);
int weft_file_mkdir(const char *path, mode_t mode, weft_deadline d);
int weft_file_rmdir(const char *path, weft_deadline d);

typedef struct weft_file_entry {
    const char *name;
    unsigned char type; /* DT_REG, DT_DIR, ...: d_type of readdir(3).  DT_UNKNOWN: ask lstat */
} weft_file_entry;

/* The whole directory, but . and .., in no order: stores it at *entries and returns how many there
 * are.  The names lie in the same memory, which the caller releases with one free(3). */
ssize_t weft_file_readdir(const char *path, weft_file_entry **entries, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
