// shared_mutex.cc: a robust mutex that never becomes ENOTRECOVERABLE.
//
// The one who learns of the owner's death makes the mutex consistent at once.  If it dies too
// before it has unlocked, the next learns of that death.
#include <base/saved_errno.h>
#include <weft/shared_sync.h>

int weft_shared_mutex_init(weft_shared_mutex *m, int flags)
{
    if (flags & ~(WEFT_RECURSIVE | WEFT_CHECKED))
        return weft_fail(EINVAL);
    return weft_mutex_init(&m->lock, flags | WEFT_SHARED | WEFT_ROBUST);
}

int weft_private_shared_mutex_failed(weft_shared_mutex *m, int error)
{
    if (error == EOWNERDEAD)
        pthread_mutex_consistent(&m->lock.pthread);
    return weft_fail(error);
}
