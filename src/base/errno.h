// errno.h: clean-up that must not disturb the error being reported.
#ifndef WEFT_BASE_ERRNO_H
#define WEFT_BASE_ERRNO_H

#include "uncancelled.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

namespace weft {

// Sets errno and returns -1: `return fail_with(EINVAL);`.
static inline int fail_with(int error)
{
    errno = error;
    return -1;
}

// The same where a pointer is returned.
static inline decltype(nullptr) fail_null(int error)
{
    errno = error;
    return nullptr;
}

// fail_with for a pthread return code: 0 stays 0 and leaves errno alone.
static inline int from_pthread(int code)
{
    return code == 0 ? 0 : fail_with(code);
}

// A call of a newer kernel that failed because it is missing or forbidden here: ask the older one.
static inline bool is_refused(int error)
{
    return error == ENOSYS || error == EPERM || error == EINVAL || error == EACCES;
}

// A read or write that failed for now only.
static inline bool is_for_now(int error)
{
    return error == EAGAIN || error == EINTR;
}

static inline void free_keep_errno(void *p)
{
    int saved = errno;
    free(p);
    errno = saved;
}

// Closes *fd if it is open and makes it -1.
static inline void close_keep_errno(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        uncancelled(close, *fd);
    *fd = -1;
    errno = saved;
}

} // namespace weft

#endif
