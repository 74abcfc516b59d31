/* offload.h: what blocks, done by other threads while the tasklet waits.
 *
 *     struct addrinfo *list;
 *     if (weft_offload_getaddrinfo("example.org", "80", NULL, &list, NULL, weft_in_s(5)) == 0)
 *         freeaddrinfo(list);
 *     void *tree;
 *     weft_offload(parse, text, &tree, WEFT_FOREVER);          // runs parse(text) elsewhere
 *
 * For tasklets in weft_io_run (io.h).  The work is done by three pools of threads which all
 * threads of the process share and which start with their first use: one for functions, one for
 * names and one for files, so that slow name servers never hold up a read.  After a
 * fork the child gets pools of its own.
 *
 * A call that fails with ETIMEDOUT or ECANCELED leaves work that had begun to finish by
 * itself; what had not begun never does.  The calls for names and files keep copies of all they
 * need, so nothing of the caller's is touched then.
 *
 * All share these errors:
 *   ETIMEDOUT  the deadline has passed (WEFT_NOW: nothing is begun)
 *   ECANCELED  the tasklet was cancelled
 *   EAGAIN     too much waits for the pool already (4096), or no thread can be started
 *   EPERM      not in weft_io_run
 *   ENOMEM, EMFILE, ENFILE
 */
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

/* The pools: for functions 8 threads; for getaddrinfo 4, and up to 64 while so many look-ups are
 * under way; for files 4, and up to 64 while some do what nobody waits for any more. */
#define WEFT_OFFLOAD_WORK 0
#define WEFT_OFFLOAD_NAMES 1
#define WEFT_OFFLOAD_FILES 2

/* How many threads a pool is to have, from now on or from its start.  Any thread; does not wait.
 * EINVAL: no such pool, or below 1; EAGAIN, ENOMEM: fewer could be started. */
int weft_offload_threads(int pool, int threads);

/* Runs fn(arg) in another thread and stores what it returns in *result (unless NULL).  If that is
 * WEFT_FAILED, errno is what it was in fn.
 * After ETIMEDOUT and ECANCELED fn may still run: `arg` must last as long as that takes (or use
 * weft_offload_owned).  EINVAL: no fn. */
int weft_offload(void *(*fn)(void *arg), void *arg, void **result, weft_deadline d);

/* The same, and release(arg, result) is called when the caller gave up, once fn has ended (result
 * is then its) or is known never to begin (NULL); in any thread, and before this call
 * returns if fn had not begun.  Not called when this call succeeds, nor when it fails otherwise. */
int weft_offload_owned(void *(*fn)(void *arg), void *arg, void (*release)(void *arg, void *result),
                       void **result, weft_deadline d);

/* getaddrinfo(3).  On failure *code (unless NULL) is what it returned, 0 if it was not
 * that; errno ENOENT: no such name; EAGAIN: servers can't be reached; EINVAL: bad hints or service;
 * EIO: they failed.  Numbers are answered without a thread, and what is in /etc/hosts or ends in
 * localhost however many look-ups hang. */
int weft_offload_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                             struct addrinfo **list, int *code, weft_deadline d);

/* getnameinfo(3): the name of an address, such as a peer's (getpeername(2)), where it has none its
 * number.  Numbers (NI_NUMERICHOST, NI_NUMERICSERV) are written at once, without a thread.  *code
 * and errors are as above; ENOENT: it has none (NI_NAMEREQD), ENOBUFS: no room, EINVAL: NULL or no
 * such address. */
int weft_offload_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
                             socklen_t host_room, char *service, socklen_t service_room, int flags,
                             int *code, weft_deadline d);

/* As weft_file_open, weft_file_stat, weft_file_fsync, weft_file_pread, weft_file_pwrite (file.h),
 * which work outside of weft_io_run, too. */
int weft_offload_open(const char *path, int flags, mode_t mode, weft_deadline d);
int weft_offload_stat(const char *path, struct stat *s, weft_deadline d);
int weft_offload_fsync(int fd, weft_deadline d);
ssize_t weft_offload_pread(int fd, void *buf, size_t n, off_t offset, weft_deadline d);
ssize_t weft_offload_pwrite(int fd, const void *buf, size_t n, off_t offset, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
