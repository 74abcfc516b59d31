/* posix_semaphore.h: POSIX semaphores (sem_overview(7)) with deadlines.
 *
 *     weft_posix_semaphore *s = weft_posix_semaphore_open("/printers", 3);
 *     if (weft_posix_semaphore_wait(s, weft_in_s(1)) == 0)
 *         print(page), weft_posix_semaphore_post(s);
 *     weft_posix_semaphore_detach(s);
 *
 * For what is shared with programs that are not weft's: **what a killed process held is gone**.
 * Among weft's own take weft_shared_semaphore.
 */
#ifndef WEFT_POSIX_SEMAPHORE_H
#define WEFT_POSIX_SEMAPHORE_H

#include <weft/deadline.h>

#include <semaphore.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_posix_semaphore {
    sem_t posix;
} weft_posix_semaphore;

/* An unnamed one, in shared memory or not.  -1: EINVAL (count above SEM_VALUE_MAX). */
int weft_posix_semaphore_init(weft_posix_semaphore *s, unsigned count);
int weft_posix_semaphore_destroy(weft_posix_semaphore *s);

/* A named one ("/name"), made with `count` units, mode 0600, if there is none; the caller's until
 * detach.  The system keeps it until unlink.  NULL and -1: errors of sem_open, sem_unlink. */
weft_posix_semaphore *weft_posix_semaphore_open(const char *name, unsigned count);
int weft_posix_semaphore_detach(weft_posix_semaphore *s);
int weft_posix_semaphore_unlink(const char *name);

/* Takes a unit, waits for one.  -1: ETIMEDOUT.  weft_thread_stop does not end this wait. */
int weft_posix_semaphore_wait(weft_posix_semaphore *s, weft_deadline d);
int weft_posix_semaphore_post(weft_posix_semaphore *s); /* EOVERFLOW */

/* The units there are now.  -1: EINVAL. */
ssize_t weft_posix_semaphore_value(weft_posix_semaphore *s);

#ifdef __cplusplus
}
#endif

#endif
