// scheduler.h: what a tasklet is, and how control passes from one to the next.
//
// Tasklets that are ready stand in a ring, linked through their records, and the running one
// is the place in it: a yield goes on to the next and moves nothing.  One that waits
// leaves the ring; one that is woken enters it just behind the running one, which is last.
// There is no scheduler between two tasklets: the call that waits does all bookkeeping and
// jumps straight into the next one's stack (coroutine.h).
//
// Whoever ends a wait does it entirely: takes the waiter out of the queues and the timers and
// leaves in `value` what its call returns (an error: in its leaf's `error`, delivered by
// SPECIAL_PENDING).  So nothing is left to do on arrival, and what was delivered
// can't be lost to a cancel or a deadline that comes after.
//
// A tasklet waits in its leaf: its own coroutine, or a generator or coroutine it runs.
// While it waits that is SPECIAL_BLOCKED, and if its own is another one that is
// BLOCKED and NESTED, which sends the switch to it on the slow way; those between are NESTED.
#ifndef WEFT_CORO_SCHEDULER_H
#define WEFT_CORO_SCHEDULER_H

#include <weft/channel.h>
#include <weft/tasklet.h>

#include "coroutine.h"

#include <base/heap.h>
#include <base/list.h>

namespace weft {

typedef struct weft_private_waiter weft_private_waiter;
struct scheduler;

// `value` of one whose wait was ended by a wake: a cancel has nothing to end any more.  The
// lower half is what the call returns.
#define WOKEN ((intptr_t)1 << 32)

// `index` of a waiter that a hand-off can end by itself: one tasklet's own, no deadline, no error.
#define PLAIN_WAITER (-2)

// ---- `state`: what a tasklet is doing ----
//
// Only its own thread reads or writes it.  The tasklet sets it when it begins to wait; whoever ends
// that wait sets READY.
//
//  state         where it is found            what ends its wait
//  READY         in the ring, or running      -
//  RECEIVING     a channel's receivers        a sender, close
//  SENDING       a channel's senders          a receiver, close (SENDING_ERROR: with an error)
//  SELECTING     several of those             the case that happens
//  SLEEPING      the timers                   its deadline, which is success
//  SUSPENDED     -                            weft_tasklet_wake
//  JOINING       `joiner` of another          that one's end
//  CLOSING       its scope                    the last child's end
//  RUNNING_ALL   main                         the last tasklet's end
//  POLLING       with a floor above           end_wait (wait.h)
//  REMOVED       nowhere: it was ready        weft_tasklet_wake
//  ENDED         nowhere                      -
//
// An error (deadline, cancel) can end each but READY, REMOVED and ENDED: untie takes the tasklet
// out of wherever it is found.  TIMED is added while the timers have its deadline as well.
enum {
    IS_READY,
    IS_RECEIVING,
    IS_SENDING,
    IS_SENDING_ERROR,
    IS_SELECTING,
    IS_SLEEPING,
    IS_SUSPENDED,
    IS_JOINING,
    IS_CLOSING,
    IS_RUNNING_ALL,
    IS_POLLING,
    IS_REMOVED,
    IS_ENDED,
    IS_TIMED = 128
};

} // namespace weft

using namespace weft;

struct weft_tasklet {
    // Of each switch.
    weft_tasklet *next, *previous; // in the ring
    weft_coro *coro;               // its own
    scheduler *home;
    scheduler *free_at; // home until it is cancelled, then NULL
    intptr_t value;     // what its wait returns, once nobody says otherwise
    uint32_t cancelled; // errno of each wait that begins; 0: none
    uint8_t state;      // WEFT_IS_*
    uint8_t permit;     // it was woken before it suspended itself
    uint8_t joinable;
    weft_coro *leaf; // where it waits

    // Of its wait.
    weft_private_waiter own; // in a channel's queue
    weft_select_case *cases; // of a select, instead
    int n;                   // of those
    heap_link timer;         // its deadline
    weft_tasklet *joins;     // whose end it waits for
    weft_scope *closes;

    weft_tasklet *joiner; // who waits for its end
    void *(*fn)(void *arg);
    void *arg;
    int error; // errno when fn failed
    void *slot;
    weft_scope *scope;             // it is a child of
    weft_tasklet *older, *younger; // the others in there
    weft_tasklet *owner;           // of that scope
    weft_tasklet *children;        // in its own scopes
    weft_scope *scopes;            // it has open, the innermost
};

namespace weft {

// One per thread.
struct scheduler {
    weft_tasklet *running;
    uint32_t budget; // switches until it looks at the clock
    uint32_t rounds; // budgets spent
    heap timers;
    weft_poller *poller;
    int64_t polled;       // when, last
    weft_tasklet *keeper; // waits for events when nobody is ready; not in the ring else
    const void *machine;  // the keeper's, where a leak checker looks
    weft_tasklet *ended;  // has ended and is to be released from another stack
    size_t alive;         // tasklets that have not ended
    uint32_t random;
    uint8_t main_runs; // the main one is in weft_tasklet_run
    uint8_t ending;    // the thread is
    weft_tasklet main;
};

extern __thread scheduler scheduler_here;
extern weft_tasklet no_tasklet;

// Whose own `co` is.
static inline weft_tasklet *tasklet_of(weft_coro *co)
{
    return (weft_tasklet *)coro_extra(co, sizeof(weft_tasklet));
}

// The thread's scheduler, made ready.  NULL: ENOMEM.
scheduler *scheduler_enter(void);

// go when something is special, or the budget is spent.
int go_slowly(scheduler *s, weft_tasklet *me, weft_tasklet *to);

// Suspends the running one, which has put itself where it will be found, until it is woken or the
// deadline passes.  Returns `value`, unless its waker puts another one there; -1: an error.
int tasklet_suspend(scheduler *s, int state, intptr_t value, weft_deadline d);

// The running one's deadline; returns what it adds to the state.
int deadline(scheduler *s, weft_deadline d);

// Ends the wait of `t` with an error.  Nothing if it does not wait.
void tasklet_fail_wait(weft_tasklet *t, int error);

// Takes `t` out of the queues, the timers and the hands of who would end its wait.
void untie(weft_tasklet *t);

// 0 when the running tasklet may begin a wait until `d`, else the errno it fails with; `s` may be
// what scheduler_enter returned.
int refusal(scheduler *s, weft_deadline d);

// The suspended call of `t` will fail with `error`.
void pend(weft_tasklet *t, int error);

// Who goes on after the running one, which has ended, and with what value.
weft_coro *next_to_run(scheduler *s, weft_tasklet *dead, void **value);

// A yield of one that was alone: is it still?
int look_around(scheduler *s);

// tasklet.cc: a tasklet's on_end.
weft_coro *tasklet_ended(weft_coro *co, void **value);

// The last one that ended, if it is to be released.
void release_ended(scheduler *s);

// scope.cc: a child's start and end, and the end of a tasklet that has scopes open.
void scope_add(weft_scope *scope, weft_tasklet *child);
void scope_drop(weft_tasklet *child, int error);
void scope_abandon(weft_tasklet *owner);

// channel.cc, for select.cc: 0 when the case is one for this thread, else an errno; whether it can
// happen at once; has it happen; puts it in its queue.
int case_check(const weft_select_case *c);
int case_ready(const weft_select_case *c);
void case_happen(weft_select_case *c);
void case_queue(weft_select_case *c, weft_tasklet *t, int index);

// channel.cc: what a tasklet's leaf waits for, for the dump.
void describe(weft_tasklet *t, const char *what);

// watchdog.cc: the scheduler begins or ends a wait for events; the thread ends.
void watchdog_rest(int resting);
void watchdog_end(void);

// ---- The ring ----

// list_insert for rings that mostly are empty, or of one: tasklets', and a channel's queues.
template <class Link> static inline void ring_insert(Link *before, Link *link)
{
    Link *last = guess(before->previous, before);
    // In this order: two adjacent stores made one would keep the next load waiting.
    link->next = before;
    last->next = link;
    link->previous = last;
    before->previous = link;
}

// ---- The wait's end ----

// Whatever could end the wait of `t` has forgotten it: it is ready again.
static inline void ready(scheduler *s, weft_tasklet *t)
{
    t->state = IS_READY;
    ring_insert(s->running, t);
}

// Ends the wait of `t`, which waits: its call returns its `value`.
static inline void tasklet_wake(scheduler *s, weft_tasklet *t)
{
    untie(t);
    ready(s, t);
}

// ---- The switch ----

// Whether nothing is special about a switch from the running tasklet to another; `cancelled` is 0
// when the caller knows that it is not.
static inline int quick(scheduler *s, weft_tasklet *me, weft_tasklet *to, uint32_t cancelled)
{
    const coro_thread *t = &coro_here;
    const weft_coro *self = me->coro;
    return t->current == self && --s->budget != 0 && likely(cancelled == 0) &&
           hop_is_plain(t, self, to->coro, SPECIAL_BLOCKED);
}

static inline int jump(scheduler *s, weft_tasklet *me, weft_tasklet *to)
{
    me->coro->special = SPECIAL_BLOCKED;
    to->coro->special = 0;
    s->running = to;
    return hop<int>(&coro_here, me->coro, to->coro, (void *)to->value);
}

// From the running tasklet to another, cancelled or not: whether it may wait the caller has seen
// to. Returns what the wait returns that `me` begins here.
static inline int go(scheduler *s, weft_tasklet *me, weft_tasklet *to)
{
    if (likely(quick(s, me, to, 0)))
        return jump(s, me, to);
    return go_slowly(s, me, to);
}

// The same after `me` was put where its waker will find it.
static inline int coro_block(scheduler *s, weft_tasklet *me, int state, intptr_t value)
{
    weft_tasklet *to = me->next, *before = me->previous;
    me->state = (uint8_t)state;
    me->value = WOKEN | value;
    if (__builtin_expect(to == me, 0)) {
        to = s->keeper;
        to->next = to->previous = to;
    } else {
        before->next = to;
        to->previous = before;
    }
    return go(s, me, to);
}

} // namespace weft

#endif
