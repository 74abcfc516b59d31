// fork.h: how this library forks.
#ifndef WEFT_SHM_FORK_H
#define WEFT_SHM_FORK_H

#include <base/child.h>

namespace weft {

// child_fork, with standard output and error flushed before, so that what waits there is not
// written twice.  The child counts as a main thread.  c null: fork(2) alone, for who has no other
// threads and reaps its children itself.
pid_t fork_child(child *c);

// A sorted copy of keep and `more` others, to be freed; n grows.  Null: ENOMEM, or EBADF if one of
// them is negative.
int *sorted_descriptors(const int *keep, size_t *n, const int *also, size_t more);

// Names the calling process; null does nothing.
void name_process(const char *name);

} // namespace weft

#endif
