// wiped.h: memory that a forked child finds zeroed (MADV_WIPEONFORK).
//
// Who keeps something there that is not 0 learns from one load whether it runs in the
// process that wrote it, without getpid(2).  Not for what vfork(2) or clone(CLONE_VM) starts,
// which shares it.
#ifndef WEFT_BASE_WIPED_H
#define WEFT_BASE_WIPED_H

#include "errno.h"

#include <sys/mman.h>

namespace weft {

enum { WIPED_SIZE = 4096 }; // what lies there must fit into it

// Zeros.  nullptr: ENOMEM; EINVAL: the kernel has no such memory (before Linux 4.14).
static inline void *wiped_make(void)
{
    void *p = mmap(nullptr, WIPED_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return nullptr;
    if (madvise(p, WIPED_SIZE, MADV_WIPEONFORK) == 0)
        return p;
    int saved = errno;
    munmap(p, WIPED_SIZE);
    errno = saved;
    return nullptr;
}

// nullptr: nothing.  Leaves errno alone.
static inline void wiped_free(void *p)
{
    int saved = errno;
    if (p != nullptr)
        munmap(p, WIPED_SIZE);
    errno = saved;
}

} // namespace weft

#endif
