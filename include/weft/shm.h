/* shm.h: memory that processes share, and an allocator in it.
 *
 *     weft_shm *s = weft_shm_create("prices", 1 << 20, NULL);         // one program
 *     weft_shm_set_root(s, weft_shm_allocate(s, sizeof(struct prices)));
 *     weft_shm_ready(s);
 *     weft_shm *s = weft_shm_attach("prices", NULL, weft_in_ms(500)); // another
 *     struct prices *p = weft_shm_root(s);
 *
 * Processes that attach see a segment at different addresses: keep offsets in it, not pointers.
 * All that weft keeps there survives a SIGKILL of any process at any instruction.
 */
#ifndef WEFT_SHM_H
#define WEFT_SHM_H

#include <weft/deadline.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_shm weft_shm;

typedef struct weft_shm_options {
    uint32_t version; /* of what the user keeps in it; attach compares it */
    bool lazy;        /* don't reserve the memory: when it runs out, a write is SIGBUS */
    size_t room;      /* how far it may grow; default: not at all */
    size_t fixed;     /* bytes at weft_shm_address that the allocator leaves alone */
    bool keep;        /* once ready, a name stays, with all that is in it, until weft_shm_unlink */
    mode_t mode;      /* who may attach to a name, as in chmod(2); 0: 0600 */
    gid_t group;      /* the name's group; 0: the process's own */
} weft_shm_options;

typedef struct weft_shm_attach_options {
    uint32_t version;
    bool read_only; /* map it for reading: what would write fails with EACCES */
    bool others;    /* also another user's, who may change it at any time; else EACCES */
} weft_shm_attach_options;

/* ---- segments ---- */

/* Makes a segment of `size` zero bytes, anonymous (memfd_create(2)) if `name` is NULL.  A
 * name is without slashes but for one at its front; it is made exclusively, others' attach waits
 * until weft_shm_ready, and the last process to detach removes it, unless it is to be kept.  The
 * handle is the caller's until weft_shm_detach; after a fork the child has one too.
 * NULL: EEXIST (a living process has that name, or it is no segment of weft's), EINVAL,
 * ENAMETOOLONG, ENOSPC (no memory to reserve), EFBIG (RLIMIT_FSIZE), EPERM (not in that group),
 * ENOMEM, EMFILE. */
weft_shm *weft_shm_create(const char *name, size_t size, const weft_shm_options *opts);

/* What the creator keeps in it is in place: attach may go on.  Anonymous ones are born ready. */
int weft_shm_ready(weft_shm *s);

/* Opens a named segment of the version of opts (NULL: 0); waits until it is ready.
 * NULL: ENOENT (no such name, or only what the dead have left, which is removed), ETIMEDOUT,
 * ECANCELED (the thread was told to stop), EPROTO (another version of the user's or of weft's
 * layout), EBADMSG (no segment of weft's, or cut short), EACCES (not this user's), EINVAL,
 * ENAMETOOLONG, ENOMEM, EMFILE. */
weft_shm *weft_shm_attach(const char *name, const weft_shm_attach_options *opts, weft_deadline d);

/* The same from a descriptor, inherited over exec or received; it is duplicated.  One that can only
 * be read makes a segment that can only be read.  Any version (see weft_shm_version).  NULL: EBADF,
 * EBADMSG, EPROTO, ENOMEM, EMFILE. */
weft_shm *weft_shm_attach_fd(int fd);

/* Unmaps the segment and releases the handle; the last process to do so removes the name, unless
 * it is to be kept. */
int weft_shm_detach(weft_shm *s);

/* Removes the name now, also of what was cut short; who has the segment keeps it.  -1: ENOENT,
 * EBADMSG, EACCES, EINVAL. */
int weft_shm_unlink(const char *name);

/* Removes all of this user's segments in /dev/shm that no living process has, and that are not to
 * be kept; how many. */
ssize_t weft_shm_reap(void);

/* The first of its bytes (page-aligned); how many there are now; their version; the descriptor,
 * which stays the segment's. */
void *weft_shm_address(const weft_shm *s);
size_t weft_shm_size(const weft_shm *s);
uint32_t weft_shm_version(const weft_shm *s);
int weft_shm_fd(const weft_shm *s);

/* Makes it `size` bytes or leaves it larger, for all processes at once and at the same address.
 * -1: ENOMEM (more than its room), EPERM (sealed), ENOSPC, EFBIG. */
int weft_shm_grow(weft_shm *s, size_t size);

/* Forbids growth from now on; an anonymous one by the kernel (F_SEAL_GROW).  None can be
 * shrunk: an anonymous one is sealed against it at birth. */
int weft_shm_seal(weft_shm *s);

/* Passes the segment's descriptor over a Unix socket; takes one from there (any version).
 * -1, NULL: ETIMEDOUT, ECANCELED, EPIPE (the other end is closed), EBADMSG (what came is no
 * segment), and errors of sendmsg(2), recvmsg(2), weft_shm_attach_fd. */
int weft_shm_send(const weft_shm *s, int socket, weft_deadline d);
weft_shm *weft_shm_receive(int socket, weft_deadline d);

/* ---- the allocator ---- */

/* A block of `size` bytes on a cache line of its own, not cleared; the segment grows for it
 * as far as it may.  First fit, for some hundreds of objects rather than millions.  A process
 * killed before it has written down what it got leaves the block allocated.
 * NULL: ENOMEM, ENOSPC, EFBIG. */
void *weft_shm_allocate(weft_shm *s, size_t size);

/* Gives a block back; NULL is fine.  -1: EINVAL (not a block in use). */
int weft_shm_free(weft_shm *s, void *block);

/* Where something lies in the segment: the same number in each process, never 0.  And back:
 * NULL for 0 and for what lies outside.  weft_shm_offset: 0 for what lies outside. */
uint64_t weft_shm_offset(const weft_shm *s, const void *p);
void *weft_shm_at(const weft_shm *s, uint64_t offset);

/* The one thing by which the others find the rest; NULL until it is set.
 * -1: EINVAL (outside the segment). */
int weft_shm_set_root(weft_shm *s, const void *p);
void *weft_shm_root(const weft_shm *s);

/* ---- named objects ---- */

/* The object of that name in the segment, on a cache line of its own.  If there is none it is
 * made, once, whoever else asks: `size` zero bytes, then make(s, p, arg) if that is not NULL, which
 * may use the segment; others wait for it.  If its process dies in make, another begins anew.  With
 * size 0 it is only looked for.  For some dozens of names.
 * NULL: ENOENT (size 0), EINVAL (another size; a name of 0 or more than 255 bytes), ENOMEM, ENOSPC,
 * EACCES (read-only), ETIMEDOUT, ECANCELED; make's errno, if that is not 0. */
void *weft_shm_object(weft_shm *s, const char *name, size_t size,
                      int (*make)(weft_shm *s, void *p, void *arg), void *arg, weft_deadline d);

/* Takes the name away and gives the memory back, which nobody may use any more.  -1: ENOENT, EBUSY
 * (it is being made), EACCES. */
int weft_shm_object_remove(weft_shm *s, const char *name);

#ifdef __cplusplus
}
#endif

#endif
