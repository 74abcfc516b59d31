// fork.h: how this library forks.
#ifndef WEFT_SHM_FORK_H
#define WEFT_SHM_FORK_H

#include <stddef.h>
#include <sys/types.h>

namespace weft {

// fork(2) with standard output and error flushed before, so that what waits there is not
// written twice.  The child holds none of the pipes by which other children notice this
// process's death, and counts as a main thread.
pid_t fork_child(void);

// Closes every descriptor above 2 that is not in keep, which is sorted.
void close_others(const int *keep, size_t n);

// A sorted copy of keep and `more` others, to be freed; n grows.  Null: ENOMEM, or EBADF if one of
// them is negative.
int *sorted_descriptors(const int *keep, size_t *n, const int *also, size_t more);

// Names the calling process; null does nothing.
void name_process(const char *name);

} // namespace weft

#endif
