// fork.h: how this library forks.
#ifndef WEFT_SHM_FORK_H
#define WEFT_SHM_FORK_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

// fork(2) with standard output and error flushed before, so that what waits there is not
// written twice.  The child holds none of the pipes by which other children notice this
// process's death, and counts as a main thread.
pid_t weft_private_fork(void);

// Closes every descriptor above 2 that is not in keep, which is sorted.
void weft_private_close_others(const int *keep, size_t n);

// A sorted copy of keep and `more` others, to be freed; n grows.  Null: ENOMEM, or EBADF if one of
// them is negative.
int *weft_private_sorted_descriptors(const int *keep, size_t *n, const int *also, size_t more);

// Names the calling process; null does nothing.
void weft_private_name_process(const char *name);

#ifdef __cplusplus
}
#endif

#endif
