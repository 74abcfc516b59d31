// brief_lock.h: a robust lock of one word for sections that end soon.
//
// The kernel sets FUTEX_OWNER_DIED in each lock that a thread had when it died, if it finds
// the lock on the thread's robust list (get_robust_list(2)), or in the list head's
// `list_op_pending`, where glibc notes a mutex while it enters or leaves it in the list.
// A thread that takes no other robust lock meanwhile can have its lock noted there
// for the whole section, and need no list: robust at the price of a plain lock, half that of a
// robust pthread_mutex.
//
// So between brief_lock and brief_unlock: no waiting, no other lock, no call that might take one.
// (A signal handler that locks robust mutexes, which POSIX doesn't allow, would break it.)
//
// The word: 0, or the owner's thread id, FUTEX_WAITERS if some may sleep, FUTEX_OWNER_DIED
// without an id when the owner is dead.
//
// A weft_shared_mutex is held as long as its owner likes, so it must be on the list.  That is
// glibc's, but at its end hangs an anchor of each thread, a mutex that nobody locks, and
// what follows the anchor is weft's alone: glibc adds at the front, and when it takes out
// the anchor's neighbour it writes the anchor's `prev`, which lies where a
// pthread_mutex_t has it.  The kernel follows `next` to the list's head, and so do we: what was
// locked last is first, and what is unlocked out of turn is looked for.
#ifndef WEFT_SHM_BRIEF_LOCK_H
#define WEFT_SHM_BRIEF_LOCK_H

#include "holder.h"

#include <base/futex.h>
#include <weft/shared_sync.h>

namespace weft {

struct brief_self {
    struct robust_list_head *head; // this thread's
    uint64_t process;              // whose thread it is; another one's after a fork
    uint32_t id;
    weft_shared_mutex anchor;
};
static_assert(offsetof(pthread_mutex_t, __data.__lock) == offsetof(weft_shared_mutex, word) &&
                  offsetof(pthread_mutex_t, __data.__list.__prev) ==
                      offsetof(weft_shared_mutex, prev) &&
                  offsetof(pthread_mutex_t, __data.__list.__next) ==
                      offsetof(weft_shared_mutex, next),
              "where glibc and the kernel look for them");

// From what is on the list to its word: one for all locks of a thread, so glibc's.
static const long BRIEF_OFFSET =
    (long)offsetof(weft_shared_mutex, word) - (long)offsetof(weft_shared_mutex, next);

extern __thread brief_self brief_mine __attribute__((visibility("hidden")));
extern int brief_spin; // looks before sleeping; the torture steps through a few only
brief_self *brief_enlist(void);
void brief_wake(uint32_t *lock);
int brief_lock_slowly(uint32_t *lock, brief_self *self, weft_deadline d);

// Takes the lock, which is noted, until `d`; the note stays unless it is ETIMEDOUT.  `look` as in
// doorbell.h.
int brief_wait(uint32_t *lock, brief_self *self, weft_deadline d, weft_shared_look *look);

// Whether this thread has been enlisted: brief_mine is itself.
static inline bool brief_known(void)
{
    uint64_t process = holder_known();
    return __builtin_expect(process != 0 && brief_mine.process == process, 1);
}

static inline brief_self *brief_this_thread(void)
{
    return brief_known() ? &brief_mine : brief_enlist();
}

// The kernel reads the note when the thread is dead; nobody else does.
static inline void brief_note(brief_self *self, uint32_t *lock)
{
    volatile struct robust_list_head *head = self->head;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    head->list_op_pending = (struct robust_list *)(void *)((char *)lock - BRIEF_OFFSET);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void brief_forget(struct robust_list_head *list)
{
    volatile struct robust_list_head *head = list;
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
    return brief_lock_slowly(lock, self, d);
}

// A full barrier too: what was stored before is seen by others before what is loaded after.
static inline void brief_unlock(uint32_t *lock)
{
    uint32_t was = __atomic_exchange_n(lock, 0, __ATOMIC_SEQ_CST);
    if (__builtin_expect((was & FUTEX_WAITERS) != 0, 0))
        brief_wake(lock);
    // Not by a pointer to what is there for sure: gcc 12 gets UBSan's look for null wrong here.
    brief_forget(brief_mine.head);
}

// Puts a noted mutex behind the anchor, or takes it out; at each instruction the list is whole,
// or the note says what it lacks.  `next` points to another mutex's `next`.
static inline void brief_link(brief_self *self, weft_shared_mutex *m)
{
    m->next = self->anchor.next;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->anchor.next = &m->next;
    brief_forget(self->head);
}

static inline void brief_unlink(brief_self *self, weft_shared_mutex *m)
{
    void **at = &self->anchor.next;
    while (*at != (void *)&m->next)
        at = (void **)*at;
    *at = m->next;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

} // namespace weft

#endif
