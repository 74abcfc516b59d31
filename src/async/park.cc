// park.cc: how a tasklet sleeps on what threads sleep on (thread/sleep.h).
//
// Queues, futures, locks and such know nothing of tasklets: their waits end in one place, and that
// comes here in weft_io_run.  The tasklet lies in the parking lot (thread/parked.h); who wakes it,
// in this thread or another, takes it off there and leaves a note at the thread's post
// (offload.cc), by which it goes on.  A deadline or a cancel takes it off itself; if a waker was
// first, it was woken.  Where there is no descriptor for a post it looks every now and then.
#include "park.h"

#include <thread/forked.h>

#include <stddef.h>

using namespace weft;

static parking *parking_of(void *member, size_t offset)
{
    return (parking *)(void *)((char *)member - offset);
}

// By the waker.
static void woken(parked *spot)
{
    parking *me = parking_of(spot, offsetof(parking, spot));
    post(me->post, &me->item);
}

static void arrived(posted *item, bool)
{
    parking *me = parking_of(item, offsetof(parking, item));
    me->arrived = true;
    end_wait(me->waiter, 0);
}

void weft::parked_end(parking *all)
{
    for (parking *next, *each = all->next; each != all; each = next) {
        next = each->next;
        list_remove(each);
        each->over = true; // and the lot is empty
        end_wait(each->waiter, ECANCELED);
    }
}

// Takes it off everywhere: whether it was woken.
static bool leave(parking *me)
{
    list_remove(me);
    bool was_woken = lot_leave(&me->spot);
    if (was_woken && !me->arrived)
        post_collect(me->post);
    return was_woken;
}

static int suspend(io_state *io, weft_deadline d, int how)
{
    int error = io_suspend(io, d, how & REGARDLESS) != 0 ? errno : 0;
    return how & REGARDLESS && error == ECANCELED ? 0 : error; // 0: it looks again
}

// Without a descriptor for the post, or in a set that has failed, nobody can wake it.
static int look_soon(io_state *io, bool (*still)(void *arg), void *arg, weft_deadline d, int how)
{
    enum { PAUSE_MS = 2 };
    uint32_t generation = fork_generation;
    weft_deadline soon = weft_in_ms(PAUSE_MS);
    int error = still(arg) ? suspend(io, soon < d ? soon : d, how) : 0;
    if (generation != fork_generation)
        return ECANCELED;
    return error == ETIMEDOUT && soon < d ? 0 : error;
}

static int sleep(io_state *io, parking *me, weft_deadline d, int how)
{
    int error = suspend(io, d, how);
    if (!me->over && io_enter(io) != 0) { // in a child that has no set of its own
        list_remove(me);
        me->over = true;
    }
    return error;
}

int weft::park_tasklet(const void *word, bool (*still)(void *arg), void *arg, weft_deadline d,
                       int how)
{
    int saved = errno, error = 0;
    io_state *io = io_here;
    parking me = {};
    me.post = io->failed == 0 ? post_of(io) : nullptr;
    me.waiter = running_tasklet();
    if (me.post == nullptr)
        error = look_soon(io, still, arg, d, how);
    errno = saved;
    if (me.post == nullptr)
        return error;
    me.item.arrived = arrived;
    me.spot.word = word;
    me.spot.thread = how & REGARDLESS ? nullptr : weft_thread_self();
    me.spot.woken = woken;
    list_insert(post_parked(me.post), &me);
    lot_enter(&me.spot);
    if (still(arg))
        error = sleep(io, &me, d, how);
    if (me.over)
        error = ECANCELED;
    else if (leave(&me))
        error = 0;
    errno = saved;
    return error;
}
