// shared_mutex.cc: a robust mutex that costs what a plain one does.
//
// A robust pthread_mutex takes twice the time of a plain one.  This one has its own word, and
// its own place among what the kernel looks at when a thread dies: see brief_lock.h.  It never
// becomes ENOTRECOVERABLE: if the one who learns of a death dies too before it has
// unlocked, the next learns of that death.
#include "brief_lock.h"

#include <base/errno.h>

using namespace weft;

static const uint32_t DEEPEST = UINT32_MAX - 1;

int weft_shared_mutex_init(weft_shared_mutex *m, int flags)
{
    if (m == nullptr)
        return fail_with(EINVAL);
    if (flags & ~(WEFT_RECURSIVE | WEFT_CHECKED) ||
        (flags & WEFT_RECURSIVE && flags & WEFT_CHECKED))
        return fail_with(EINVAL);
    *m = {};
    m->flags = (uint32_t)flags;
    return 0;
}

static bool has(const weft_shared_mutex *m, const brief_self *self)
{
    // Only this thread writes its own id there, or takes it away.
    return (__atomic_load_n(&m->word, __ATOMIC_RELAXED) & FUTEX_TID_MASK) == self->id;
}

static int lock_again(weft_shared_mutex *m)
{
    if (m->flags & WEFT_CHECKED)
        return fail_with(EDEADLK);
    if (m->count == DEEPEST)
        return fail_with(EAGAIN);
    m->count++;
    return 0;
}

// The note is set already, or not yet.
[[gnu::noinline, gnu::cold]] static int lock_slowly(weft_shared_mutex *m, weft_deadline d)
{
    brief_self *self = brief_this_thread();
    if (m->flags != 0 && has(m, self)) {
        brief_forget(self->head);
        return lock_again(m);
    }
    brief_note(self, &m->word);
    int code = brief_wait(&m->word, self, d, &m->look);
    if (code == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    m->count = 0;
    brief_link(self, m);
    return code != 0 ? fail_with(code) : 0;
}

[[gnu::noinline, gnu::cold]] static int unlock_slowly(weft_shared_mutex *m)
{
    brief_self *self = brief_this_thread();
    if (!has(m, self))
        return fail_with(EPERM);
    if (m->count != 0) {
        m->count--;
        return 0;
    }
    brief_note(self, &m->word);
    brief_unlink(self, m);
    brief_unlock(&m->word);
    return 0;
}

// The quick ways call nothing, so that they need no frame: that is a tenth of their time.

int weft_shared_mutex_lock(weft_shared_mutex *m, weft_deadline d)
{
    if (m == nullptr)
        return fail_with(EINVAL);
    uint32_t free = 0;
    if (brief_known()) {
        brief_note(&brief_mine, &m->word);
        if (__builtin_expect(__atomic_compare_exchange_n(&m->word, &free, brief_mine.id, false,
                                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED),
                             1)) {
            brief_link(&brief_mine, m);
            return 0;
        }
    }
    return lock_slowly(m, d);
}

[[gnu::noinline, gnu::cold]] static int wake_next(weft_shared_mutex *m)
{
    brief_wake(&m->word);
    brief_forget(brief_mine.head);
    return 0;
}

int weft_shared_mutex_unlock(weft_shared_mutex *m)
{
    if (m == nullptr)
        return fail_with(EINVAL);
    if (!brief_known() || !has(m, &brief_mine) || m->count != 0 ||
        brief_mine.anchor.next != (void *)&m->next)
        return unlock_slowly(m);
    brief_note(&brief_mine, &m->word);
    brief_mine.anchor.next = m->next;
    // A full barrier: see brief_unlock.
    if (__builtin_expect((__atomic_exchange_n(&m->word, 0, __ATOMIC_SEQ_CST) & FUTEX_WAITERS) != 0,
                         0))
        return wake_next(m);
    brief_forget(brief_mine.head);
    return 0;
}
