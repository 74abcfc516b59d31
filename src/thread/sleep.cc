// sleep.cc: sleeping where weft_thread_stop can reach.
//
// The sleeper says where it sleeps, then looks whether it was told to stop, then
// sleeps; the stopper first sets the flag, then looks where the thread sleeps.  Both
// orders are sequentially consistent, so one of the two sees the other.  A stopper that
// comes between the sleeper's look and its sleep wakes nobody: so it wakes again until
// the sleeper has said that it is awake, for which that needs no lock.
#include "sleep.h"

#include "forked.h"
#include "record.h"
#include <base/errno.h>
#include <weft/sync.h>

#include <limits.h>

using namespace weft;

__thread weft_thread *weft::this_thread;
__thread sleep_way *weft::way_to_sleep;

static bool told_to_stop(weft_thread *self)
{
    return __atomic_load_n(&self->stopping, __ATOMIC_SEQ_CST) != 0;
}

namespace {
struct reason {
    const uint32_t *word;
    uint32_t expected;
    weft_thread *self; // null: no stop ends it
};
} // namespace

static bool is_stopped(const reason *r)
{
    return r->self != nullptr && told_to_stop(r->self);
}

static bool is_still(void *arg)
{
    const reason *r = (const reason *)arg;
    return !is_stopped(r) && __atomic_load_n(r->word, __ATOMIC_SEQ_CST) == r->expected;
}

static int tasklet_sleeps(const uint32_t *word, uint32_t expected, weft_deadline d, int how)
{
    reason r = {word, expected, how & REGARDLESS ? nullptr : this_thread};
    int error = is_stopped(&r) ? 0 : way_to_sleep(word, is_still, &r, d, how);
    return is_stopped(&r) ? ECANCELED : error;
}

// What other processes change: they wake threads alone.  So the tasklet looks again and again,
// after pauses that grow.
static int tasklet_looks(const uint32_t *word, uint32_t expected, weft_deadline d)
{
    static const uint32_t nothing = 0;
    enum { FIRST_US = 20, LAST_US = 2000 };
    int error = 0;
    for (int us = FIRST_US; error == 0 && __atomic_load_n(word, __ATOMIC_SEQ_CST) == expected;
         us = us * 2 < LAST_US ? us * 2 : LAST_US) {
        weft_deadline soon = weft_in_us(us);
        error = tasklet_sleeps(&nothing, 0, soon < d ? soon : d, 0);
        if (error == ETIMEDOUT && soon < d)
            error = 0;
    }
    return error;
}

void weft::sleep_as_tasklets(sleep_way *way)
{
    watch_forks(); // what is parked is the parent's
    way_to_sleep = way;
    __atomic_fetch_add(&weft_private_tasklets_lock, way != nullptr ? 1 : -1, __ATOMIC_SEQ_CST);
}

int weft::sleep_on(const uint32_t *word, uint32_t expected, weft_deadline d, int how)
{
    weft_thread *self = this_thread;
    int shared = how & SHARED;
    // A shared lock is taken regardless, and notes meanwhile what its thread is about to hold.
    if (way_to_sleep != nullptr && how != (SHARED | REGARDLESS)) {
        int error =
            shared ? tasklet_looks(word, expected, d) : tasklet_sleeps(word, expected, d, how);
        if (error != EPERM)
            return error;
    }
    if (self == nullptr || how & REGARDLESS)
        return futex_wait(word, expected, d, shared);
    if (told_to_stop(self))
        return ECANCELED;

    __atomic_store_n(&self->sleeps_shared, shared, __ATOMIC_RELAXED);
    __atomic_store_n(&self->sleeps_on, word, __ATOMIC_SEQ_CST);
    int error = told_to_stop(self) ? 0 : futex_wait(word, expected, d, shared);
    __atomic_store_n(&self->sleeps_on, nullptr, __ATOMIC_RELEASE);
    return told_to_stop(self) ? ECANCELED : error;
}

static void awake(void *self)
{
    if (self != nullptr)
        __atomic_store_n(&((weft_thread *)self)->sleeps_on, nullptr, __ATOMIC_RELEASE);
}

// What sleep_on does can be left at any instruction, but for what `awake` makes good.
int weft::sleep_cancellable(const uint32_t *word, uint32_t expected, weft_deadline d)
{
    int before, error;
    if (way_to_sleep != nullptr) // a tasklet can't be left at any instruction
        return sleep_on(word, expected, d, 0);
    pthread_cleanup_push(awake, this_thread);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before); // acts on a cancel before, too
    error = sleep_on(word, expected, d, 0);
    pthread_setcanceltype(before, nullptr);
    pthread_cleanup_pop(0);
    return error;
}

int weft::await_word(const uint32_t *word, weft_deadline d, int how)
{
    return wait_for(
        d, [=] { return __atomic_load_n(word, __ATOMIC_ACQUIRE) != 0 ? 0 : EAGAIN; },
        [=](weft_deadline until) { return sleep_on(word, 0, until, how); });
}

// To ask for many descriptors is dear: if nothing comes for a slice, one set stands for them all.
static int poll_slice(struct pollfd *fds, nfds_t n, int *set, weft_deadline d)
{
    enum { MANY = 64 };
    struct pollfd all = {*set, POLLIN, 0};
    if (*set >= 0 && uncancelled(poll, &all, 1, poll_ms(d)) == 0)
        return 0;
    int ready = uncancelled(poll, fds, n, *set >= 0 ? 0 : poll_ms(d));
    if (ready == 0 && *set < 0 && n > MANY)
        *set = poll_set(fds, n);
    return ready;
}

// In slices: nothing but its end wakes a poll.
int weft::poll_stoppable(struct pollfd *fds, nfds_t n, weft_deadline d)
{
    int set = -1, saved = errno, ready, error;
    do {
        weft_deadline slice = weft_thread_stopping() ? WEFT_NOW : weft_in_ms(50);
        ready = poll_slice(fds, n, &set, slice < d ? slice : d);
        error = ready < 0 && errno != EINTR ? errno
                : ready > 0                 ? 0 // what is ready comes first
                : weft_thread_stopping()    ? ECANCELED
                : weft_left(d) == 0         ? ETIMEDOUT
                                            : 0;
    } while (ready <= 0 && error == 0);
    close_keep_errno(&set);
    errno = error != 0 ? error : saved;
    return error != 0 ? -1 : ready;
}

void weft::disown_thread(void)
{
    this_thread = nullptr;
    way_to_poll = nullptr;
    way_to_sleep = nullptr;
}

int weft_thread_stop(weft_thread *t)
{
    if (t == nullptr || (__atomic_load_n(&t->state, __ATOMIC_ACQUIRE) & RECORD_FREE))
        return fail_with(EINVAL);
    __atomic_store_n(&t->stopping, 1, __ATOMIC_SEQ_CST);
    lot_stop(t);
    for (int tries = 0;; tries++) {
        const uint32_t *word = __atomic_load_n(&t->sleeps_on, __ATOMIC_SEQ_CST);
        if (word == nullptr || t == this_thread)
            return 0;
        // All, since nobody can wake one of them: the others look again and sleep on.
        futex_wake(word, INT_MAX, __atomic_load_n(&t->sleeps_shared, __ATOMIC_RELAXED));
        if (tries < 20)
            sched_yield();
        else // a sleeper that doesn't get a processor; don't burn one for it
            futex_wait(&t->stopping, 1, weft_in_us(200), 0);
    }
}

bool weft_thread_stopping(void)
{
    return this_thread != nullptr && told_to_stop(this_thread);
}
