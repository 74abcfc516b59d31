// barrier.cc: threads that wait for one another, round after round.
//
// Sleepers watch `generation`, which changes under the lock when a round ends: all have
// come, or the barrier broke, or it was reset.  How it ended stands in `failed`, one
// word for even rounds and one for odd ones, written before the generation.  A slow
// sleeper still finds its own round's word there, because the first to arrive for the
// round after the next waits until all threads of that parity have left (`inside`).
// destroy waits for the same: then nobody will touch the barrier again.
#include "forked.h"
#include "sleep.h"

#include <base/errno.h>
#include <weft/sync.h>

using namespace weft;

static void end_round(weft_barrier *b, bool failed)
{
    b->failed[b->generation % 2] = failed;
    b->arrived = 0;
    __atomic_store_n(&b->generation, b->generation + 1, __ATOMIC_RELEASE);
    wake_sleepers(&b->generation, INT_MAX);
}

// In a forked child nobody else is there, and a round has not begun.
static bool tidy(void *arg)
{
    weft_barrier *b = (weft_barrier *)arg;
    b->arrived = b->inside[0] = b->inside[1] = 0;
    weft_mutex_init(&b->lock, 0);
    return true;
}

// The thread waits, also in a tasklet: the lock is held for an instant only, and what gave way here
// could go on in a forked child.
static void lock(weft_barrier *b)
{
    watch_forks();
    is_ours(&b->forks, tidy, b);
    pthread_mutex_lock(&b->lock.pthread);
}

static void unlock(weft_barrier *b)
{
    weft_mutex_unlock(&b->lock);
}

// Threads that have not left such a round yet; they need no lock for that.
static uint32_t count_inside(const weft_barrier *b, uint32_t round)
{
    return __atomic_load_n(&b->inside[round % 2], __ATOMIC_ACQUIRE);
}

// Waits until they have, no round being under way.
static void drain(weft_barrier *b, uint32_t round)
{
    uint32_t n;
    while ((n = count_inside(b, round)) != 0) {
        sleep_on(&b->inside[round % 2], n, WEFT_FOREVER, REGARDLESS);
        is_ours(&b->forks, tidy, b); // a tasklet may go on in a forked child
    }
}

int weft_barrier_init(weft_barrier *b, uint32_t parties)
{
    if (b == nullptr || parties == 0)
        return fail_with(EINVAL);
    *b = {};
    b->parties = parties;
    b->forks = fork_generation;
    return weft_mutex_init(&b->lock, 0);
}

int weft_barrier_destroy(weft_barrier *b)
{
    if (b == nullptr)
        return 0;
    lock(b);
    bool waited_on = b->arrived != 0;
    unlock(b);
    if (waited_on)
        return fail_with(EBUSY);
    drain(b, 0);
    drain(b, 1);
    return weft_mutex_destroy(&b->lock);
}

// Sleeps until round `mine` has ended: 0, or EPIPE when it failed, or our own error when
// it is we who break it.
static int await_round(weft_barrier *b, uint32_t mine, weft_deadline d)
{
    uint32_t generation = fork_generation;
    int error = wait_for(
        d, [=] { return __atomic_load_n(&b->generation, __ATOMIC_ACQUIRE) != mine ? 0 : EAGAIN; },
        [=](weft_deadline until) { return sleep_on(&b->generation, mine, until, 0); });
    if (error != 0 && generation != fork_generation)
        return error; // nobody's round: there is none to break
    if (error != 0) {
        lock(b);
        bool still = b->generation == mine;
        if (still) { // not all will come in time: the others needn't wait either
            b->broken = 1;
            end_round(b, true);
        }
        unlock(b);
        if (still)
            return error;
    }
    return b->failed[mine % 2] ? EPIPE : 0;
}

// The end of a wait: afterwards the barrier may be gone.
static void depart(weft_barrier *b, uint32_t parity)
{
    if (__atomic_sub_fetch(&b->inside[parity], 1, __ATOMIC_ACQ_REL) == 0)
        wake_sleepers(&b->inside[parity], INT_MAX);
}

int weft_barrier_wait(weft_barrier *b, weft_deadline d)
{
    if (b == nullptr)
        return fail_with(EINVAL);
    lock(b);
    for (uint32_t n; b->arrived == 0 && !b->broken && (n = count_inside(b, b->generation)) != 0;) {
        const uint32_t *inside = &b->inside[b->generation % 2];
        unlock(b);
        sleep_on(inside, n, WEFT_FOREVER, REGARDLESS);
        lock(b); // another may have arrived meanwhile, whom to wait for would be in vain
    }
    uint32_t mine = b->generation;
    if (b->broken) {
        unlock(b);
        return fail_with(EPIPE);
    }
    __atomic_fetch_add(&b->inside[mine % 2], 1, __ATOMIC_ACQ_REL);
    bool last = ++b->arrived == b->parties;
    if (last)
        end_round(b, false);
    unlock(b);
    uint32_t generation = fork_generation;
    int error = last ? 0 : await_round(b, mine, d);
    if (generation == fork_generation) // else it is nobody's round
        depart(b, mine % 2);
    return error != 0 ? fail_with(error) : last;
}

// Ends a round that has begun.
static int end_early(weft_barrier *b, bool broken)
{
    lock(b);
    b->broken = broken;
    if (b->arrived != 0)
        end_round(b, true);
    unlock(b);
    return 0;
}

int weft_barrier_abort(weft_barrier *b)
{
    return b != nullptr ? end_early(b, true) : fail_with(EINVAL);
}

int weft_barrier_reset(weft_barrier *b)
{
    return b != nullptr ? end_early(b, false) : fail_with(EINVAL);
}

bool weft_barrier_is_broken(weft_barrier *b)
{
    if (b == nullptr)
        return false;
    lock(b);
    bool broken = b->broken != 0;
    unlock(b);
    return broken;
}

uint32_t weft_barrier_waiting(weft_barrier *b)
{
    if (b == nullptr)
        return 0;
    lock(b);
    uint32_t n = b->arrived;
    unlock(b);
    return n;
}
