/* offload.h: what blocks, done by other threads while the tasklet waits.
 *
 *     void *tree;
 *     weft_offload(parse, text, &tree, WEFT_FOREVER); // runs parse(text) elsewhere
 *
 * For tasklets in weft_io_run (io.h), else EPERM.  All share these errors, too: ETIMEDOUT
 * (WEFT_NOW: nothing is begun), ECANCELED, EAGAIN: too much waits already, or no thread can be
 * started, ENOMEM, EMFILE, ENFILE.  After the first two what has begun ends by itself; the calls
 * for names and files keep copies of all that they need. */
#ifndef WEFT_OFFLOAD_H
#define WEFT_OFFLOAD_H

#include <weft/deadline.h>

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct addrinfo;
struct stat;

#define WEFT_OFFLOAD_WORK 0  /* the pool for functions: 8 threads */
#define WEFT_OFFLOAD_NAMES 1 /* for getaddrinfo and getnameinfo: 4, or as many as are under way */
#define WEFT_OFFLOAD_FILES 2 /* for files: 4, and more while some hang */

/* How many threads a pool is to have, from now on or from its start.  Any thread; does not wait.
 * EINVAL: no such pool, or below 1; EAGAIN, ENOMEM: fewer could be started. */
int weft_offload_set_threads(int pool, int threads);

/* Runs fn(arg) in another thread and stores what it returns in *result (unless NULL); if that is
 * WEFT_FAILED, with fn's errno.  After ETIMEDOUT and ECANCELED fn may still use `arg`.  EINVAL: no
 * fn. */
int weft_offload(void *(*fn)(void *arg), void *arg, void **result, weft_deadline d);

/* The same, and after those two release(result, arg) is called, in any thread, once fn has ended or
 * (NULL) is known never to begin; never else. */
int weft_offload_owned(void *(*fn)(void *arg), void *arg, void (*release)(void *result, void *arg),
                       void **result, weft_deadline d);

/* getaddrinfo(3).  On failure *code (unless NULL) is what it returned, 0 if it was not that;
 * ENOENT: no such name; EAGAIN: no server can be reached; EINVAL: bad hints or service; EIO. */
int weft_offload_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                             struct addrinfo **list, int *code, weft_deadline d);

/* getnameinfo(3).  *code and errors are as above; ENOENT: it has no name (NI_NAMEREQD), ENOBUFS: no
 * room, EINVAL: NULL, or no such address. */
int weft_offload_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
                             socklen_t host_room, char *service, socklen_t service_room, int flags,
                             int *code, weft_deadline d);

/* As weft_file_open and the like (file.h), which work outside of weft_io_run, too. */
int weft_offload_open(const char *path, int flags, mode_t mode, weft_deadline d);
int weft_offload_stat(const char *path, struct stat *s, weft_deadline d);
int weft_offload_fsync(int fd, weft_deadline d);
ssize_t weft_offload_pread(int fd, void *buf, size_t n, off_t offset, weft_deadline d);
ssize_t weft_offload_pwrite(int fd, const void *buf, size_t n, off_t offset, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
