// brief_lock.cc: who this thread is, and waiting for a brief lock.
//
// A sleeper sets FUTEX_WAITERS, and keeps it when it gets the lock, since it can't know whether
// it was the last.  In case the one woken was killed, somebody looks every HEAL.
#include "brief_lock.h"

#include "doorbell.h"

#include <sched.h>
#include <sys/syscall.h>

using namespace weft;

int weft::brief_spin = 100;

__thread brief_self weft::brief_mine;
static __thread struct robust_list_head
    nowhere; // if the kernel doesn't tell (an emulator's): not robust

// At the list's end; once in each process.
static void hang_anchor(brief_self *self)
{
    struct robust_list *head = &self->head->list, *at = head, *next;
    struct robust_list *anchor = (struct robust_list *)(void *)&self->anchor.next;
    // The lowest bit tells the kernel of priority inheritance.
    while ((next = (struct robust_list *)((uintptr_t)at->next & ~(uintptr_t)1)) != head) {
        if (next == anchor)
            break;
        at = next;
    }
    self->anchor.next = head; // what followed was the parent's
    self->anchor.prev = at;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    at->next = anchor;
}

brief_self *weft::brief_enlist(void)
{
    brief_self *self = &brief_mine;
    uint64_t process = holder_self();
    if (self->process == process)
        return self;
    int saved = errno;
    struct robust_list_head *head = nullptr;
    size_t n;
    if (syscall(SYS_get_robust_list, 0, &head, &n) != 0 || head == nullptr ||
        head->futex_offset != BRIEF_OFFSET) {
        nowhere.list.next = &nowhere.list;
        head = &nowhere;
    }
    self->head = head;
    hang_anchor(self);
    self->id = (uint32_t)syscall(SYS_gettid);
    self->process = process;
    errno = saved;
    return self;
}

void weft::brief_wake(uint32_t *lock)
{
    futex_wake(lock, 1, 1);
}

// Takes the lock if it has no owner; 0, EOWNERDEAD, or EBUSY with *seen as it is.
static int attempt(uint32_t *lock, uint32_t mine, uint32_t keep, uint32_t *seen)
{
    *seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
    while ((*seen & FUTEX_TID_MASK) == 0) {
        uint32_t next = mine | keep | (*seen & FUTEX_WAITERS);
        bool died = (*seen & FUTEX_OWNER_DIED) != 0;
        if (__atomic_compare_exchange_n(lock, seen, next, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return died ? EOWNERDEAD : 0;
    }
    return EBUSY;
}

static bool say_waiting(uint32_t *lock, uint32_t *seen)
{
    if (*seen & FUTEX_WAITERS)
        return true;
    bool said = __atomic_compare_exchange_n(lock, seen, *seen | FUTEX_WAITERS, false,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    if (said)
        *seen |= FUTEX_WAITERS;
    return said;
}

int weft::brief_wait(uint32_t *lock, brief_self *self, weft_deadline d, weft_shared_look *look)
{
    uint32_t seen;
    int code = attempt(lock, self->id, 0, &seen);
    for (int i = 0; i < brief_spin && code == EBUSY && d > WEFT_NOW; i++) {
        spin_pause();
        code = attempt(lock, self->id, 0, &seen);
    }
    for (uint32_t keep = 0; code == EBUSY;) {
        code = attempt(lock, self->id, keep, &seen);
        if (code == EBUSY && d <= WEFT_NOW)
            code = ETIMEDOUT;
        if (code != EBUSY || !say_waiting(lock, &seen))
            continue;
        if (doorbell_sleep(lock, seen, d, look, REGARDLESS) == ETIMEDOUT)
            d = WEFT_NOW; // one more look
        keep = FUTEX_WAITERS;
    }
    if (code == ETIMEDOUT)
        brief_forget(self->head);
    return code;
}

int weft::brief_lock_slowly(uint32_t *lock, brief_self *self, weft_deadline d)
{
    weft_deadline moment = d < WEFT_FOREVER ? weft_in_ms(20) : 0;
    return brief_wait(lock, self, d > moment ? d : moment, nullptr);
}
