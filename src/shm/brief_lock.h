// brief_lock.h: a robust lock of one word for sections that end soon.
//
// The kernel sets FUTEX_OWNER_DIED in each lock that a thread had when it died, if it finds
// the lock on the thread's robust list (get_robust_list(2)), or in the list head's
// `list_op_pending`, where glibc notes a mutex while it enters or leaves it in the list.
// A thread that takes no other robust lock meanwhile can have its lock noted there
// for the whole section, and need no list: robust at the price of a plain lock, half that of a
// robust pthread_mutex.
//
// So between lock and unlock: no waiting, no other lock, no call that might take one.
// (A signal handler that locks robust mutexes, which POSIX doesn't allow, would break it.)
//
// The word: 0, or the owner's thread id, FUTEX_WAITERS if some may sleep, FUTEX_OWNER_DIED
// without an id when the owner is dead.
#ifndef WEFT_SHM_BRIEF_LOCK_H
#define WEFT_SHM_BRIEF_LOCK_H

#include "holder.h"

#include <base/futex.h>

struct brief_self {
    struct robust_list_head *head; // this thread's
    uint64_t process;              // whose thread it is; another one's after a fork
    uint32_t id;
};

extern __thread brief_self weft_private_brief_self;
brief_self *weft_private_brief_enlist(void);
int weft_private_brief_lock_slowly(uint32_t *lock, brief_self *self, weft_deadline d);

static inline brief_self *brief_this_thread(void)
{
    brief_self *self = &weft_private_brief_self;
    uint64_t process = weft_private_holder_known();
    if (__builtin_expect(process != 0 && self->process == process, 1))
        return self;
    return weft_private_brief_enlist();
}

// The kernel reads the note when the thread is dead; nobody else does.
static inline void brief_note(brief_self *self, uint32_t *lock)
{
    volatile struct robust_list_head *head = self->head;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    head->list_op_pending = (struct robust_list *)(void *)((char *)lock - head->futex_offset);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void brief_forget(brief_self *self)
{
    volatile struct robust_list_head *head = self->head;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    head->list_op_pending = nullptr;
}

// 0, EOWNERDEAD (taken from a dead owner) or ETIMEDOUT.  Owners never sleep, but they may have
// lost their processor: also WEFT_NOW gives them a moment (20 ms).  Leaves errno alone.
static inline int brief_lock(uint32_t *lock, weft_deadline d)
{
    brief_self *self = brief_this_thread();
    uint32_t free = 0;
    brief_note(self, lock);
    // Acquire: sees what the last owner did.
    if (__builtin_expect(__atomic_compare_exchange_n(lock, &free, self->id, false, __ATOMIC_ACQUIRE,
                                                     __ATOMIC_RELAXED),
                         1))
        return 0;
    return weft_private_brief_lock_slowly(lock, self, d);
}

// A full barrier too: what was stored before is seen by others before what is loaded after.
static inline void brief_unlock(uint32_t *lock)
{
    uint32_t was = __atomic_exchange_n(lock, 0, __ATOMIC_SEQ_CST);
    if (__builtin_expect((was & FUTEX_WAITERS) != 0, 0))
        weft_futex_wake(lock, 1, 1);
    brief_forget(&weft_private_brief_self);
}

#endif
