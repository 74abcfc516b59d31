// posix_semaphore.cc: sem_t with deadlines on the monotonic clock.
#include <base/errno.h>
#include <base/time.h>
#include <weft/posix_semaphore.h>

#include <fcntl.h>

using namespace weft;

int weft_posix_semaphore_init(weft_posix_semaphore *s, unsigned count)
{
    return s != nullptr ? sem_init(&s->posix, 1, count) : fail_with(EINVAL);
}

int weft_posix_semaphore_destroy(weft_posix_semaphore *s)
{
    return s != nullptr ? sem_destroy(&s->posix) : 0;
}

weft_posix_semaphore *weft_posix_semaphore_open(const char *name, unsigned count)
{
    sem_t *s = sem_open(name, O_CREAT, 0600, count);
    return s != SEM_FAILED ? (weft_posix_semaphore *)(void *)s : nullptr;
}

int weft_posix_semaphore_detach(weft_posix_semaphore *s)
{
    return s != nullptr ? sem_close(&s->posix) : fail_with(EINVAL);
}

int weft_posix_semaphore_unlink(const char *name)
{
    return sem_unlink(name);
}

int weft_posix_semaphore_wait(weft_posix_semaphore *s, weft_deadline d)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    int saved = errno, n;
    struct timespec t = timespec_of(d < 0 ? 0 : d);
    do
        n = d == WEFT_FOREVER ? uncancelled(sem_wait, &s->posix)
            : d <= WEFT_NOW   ? sem_trywait(&s->posix)
                              : uncancelled(sem_clockwait, &s->posix, CLOCK_MONOTONIC, &t);
    while (n != 0 && errno == EINTR);
    if (n != 0)
        return errno == EAGAIN ? fail_with(ETIMEDOUT) : -1;
    errno = saved;
    return 0;
}

int weft_posix_semaphore_post(weft_posix_semaphore *s)
{
    return s != nullptr ? sem_post(&s->posix) : fail_with(EINVAL);
}

ssize_t weft_posix_semaphore_value(weft_posix_semaphore *s)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    int n;
    return sem_getvalue(&s->posix, &n) == 0 ? n : -1;
}
