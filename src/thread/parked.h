// parked.h: tasklets asleep on a word of this process; for async, whose they are.
//
// The kernel knows threads alone.  So a tasklet that sleeps lies in the parking lot, a table by the
// word's address, and who wakes a word looks there, too.  What is woken gets only a message: its
// own thread has it go on.
//
// Who parks is counted and linked first, then looks whether there still is a reason to sleep; who
// wakes has changed that first, then looks at the count, by an atomic step that changes nothing.
// The two steps on one count have an order: so one of the two sees the other.
//
// A semaphore may be posted by a signal's handler, so no handler runs while a bucket is locked.
#ifndef WEFT_THREAD_PARKED_H
#define WEFT_THREAD_PARKED_H

#include <base/futex.h>

#include <weft/thread.h>

namespace weft {

struct parked_link {
    parked_link *next, *previous;
};

struct parked {
    parked_link link; // the first member
    const void *word;
    const weft_thread *thread; // a stop of it wakes; null: no stop does
    // Called by who wakes it, in any thread, with the bucket locked.
    void (*woken)(parked *p);
    bool there;
};

struct alignas(32) lot_bucket {
    uint32_t lock;
    uint32_t count; // atomic
    parked_link list;
};

enum { LOT_BITS = 7 };

extern lot_bucket lot[1 << LOT_BITS];

static inline lot_bucket *lot_bucket_of(const void *word)
{
    return &lot[(uint64_t)(uintptr_t)word * 0x9e3779b97f4a7c15 >> (64 - LOT_BITS)];
}

void lot_enter(parked *p);
// Afterwards nobody knows it any more.  Whether it was woken.
bool lot_leave(parked *p);
// Those who sleep on this thread's account.
void lot_stop(const weft_thread *t);
// In a forked child: it is empty.
void lot_forked(void);

// Up to `n`, the first come first: how many.
int wake_found(const void *word, int n);

static inline int wake_parked(const void *word, int n)
{
    if (__builtin_expect(__atomic_fetch_add(&lot_bucket_of(word)->count, 0, __ATOMIC_SEQ_CST), 0))
        return wake_found(word, n);
    return 0;
}

// Wakes up to `n` threads and tasklets that sleep on a word of this process (INT_MAX: all).
static inline void wake_sleepers(const uint32_t *word, int n)
{
    n -= wake_parked(word, n);
    if (n > 0)
        futex_wake(word, n, 0);
}

} // namespace weft

#endif
