// park.cc: how a tasklet sleeps on what threads sleep on (thread/sleep.h).
//
// Queues, futures, locks and such know nothing of tasklets: their waits end in one place, and that
// comes here in weft_io_run.  The tasklet lies in the parking lot (thread/parked.h); who wakes it,
// in this thread or another, takes it off there and leaves a note at the thread's post
// (offload.cc), by which it goes on.  A deadline or a cancel takes it off itself; if a waker was
// first, it was woken.
#include "park.h"

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

void weft::parked_end(parking *all, bool forked)
{
    for (parking *next, *each = all->next; each != all; each = next) {
        next = each->next;
        list_remove(each);
        each->over = true;
        if (!forked) // else the lot is empty
            lot_leave(&each->spot);
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

static int sleep(io_state *io, parking *me, weft_deadline d, int how)
{
    int error = io_suspend(io, d, how & REGARDLESS) != 0 ? errno : 0;
    if (how & REGARDLESS && error == ECANCELED)
        error = 0;                        // it looks again
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
    me.post = post_of(io);
    me.waiter = running_tasklet();
    errno = saved;
    if (me.post == nullptr)
        return EPERM;
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
