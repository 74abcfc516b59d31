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
// WEFT_SPECIAL_PENDING).  So nothing is left to do on arrival, and what was delivered
// can't be lost to a cancel or a deadline that comes after.
//
// A tasklet waits in its leaf: its own coroutine, or a generator or coroutine it runs.
// While it waits that is WEFT_SPECIAL_BLOCKED, and if its own is another one that is
// BLOCKED and NESTED, which sends the switch to it on the slow way.
#ifndef WEFT_CORO_SCHEDULER_H
#define WEFT_CORO_SCHEDULER_H

#include <weft/channel.h>
#include <weft/tasklet.h>

#include "coroutine.h"
#include "timers.h"

typedef struct weft_private_waiter weft_private_waiter;
typedef struct weft_private_scheduler weft_private_scheduler;

// `value` of one whose wait was ended by a wake: a cancel has nothing to end any more.  The
// lower half is what the call returns.
#define WEFT_PRIVATE_WOKEN ((intptr_t)1 << 32)

// `index` of a waiter that a hand-off can end by itself: one tasklet's own, no deadline, no error.
#define WEFT_PRIVATE_PLAIN (-2)

// What a tasklet is doing.  From RECEIVES to SELECTS it is in queues; what is not READY, REMOVED or
// ENDED can be ended by an error.
enum {
    WEFT_IS_READY, // or running
    WEFT_IS_RECEIVING,
    WEFT_IS_SENDING,
    WEFT_IS_SENDING_ERROR,
    WEFT_IS_SELECTING,
    WEFT_IS_SLEEPING, // its deadline is success
    WEFT_IS_SUSPENDED,
    WEFT_IS_JOINING,
    WEFT_IS_CLOSING, // a scope
    WEFT_IS_RUNNING_ALL,
    WEFT_IS_POLLING, // for what the poller's owner will end by weft_private_unpark
    WEFT_IS_REMOVED, // was ready when it was taken out
    WEFT_IS_ENDED,
    WEFT_IS_TIMED = 128 // it has a deadline as well
};

struct weft_tasklet {
    // Of each switch.
    weft_tasklet *next, *previous; // in the ring
    weft_coro *coro;               // its own
    weft_private_scheduler *home;
    weft_private_scheduler *free_at; // home until it is cancelled, then NULL
    intptr_t value;                  // what its wait returns, once nobody says otherwise
    uint32_t cancelled;              // errno of each wait that begins; 0: none
    uint8_t state;                   // WEFT_IS_*
    uint8_t permit;                  // it was woken before it suspended itself
    uint8_t joinable;
    weft_coro *leaf; // where it waits

    // Of its wait.
    weft_private_waiter own;  // in a channel's queue
    weft_select_case *cases;  // of a select, instead
    int n;                    // of those
    weft_private_timer timer; // its deadline
    weft_tasklet *joins;      // whose end it waits for
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

// One per thread.
struct weft_private_scheduler {
    weft_tasklet *running;
    uint32_t budget; // switches until it looks at the clock
    uint32_t rounds; // budgets spent
    weft_private_timer *timers;
    weft_poller *poller;
    int64_t polled;       // when, last
    weft_tasklet *keeper; // waits for events when nobody is ready; not in the ring else
    const void *machine;  // the keeper's, where a leak checker looks
    weft_tasklet *corpse; // has ended and is to be released from another stack
    size_t alive;         // tasklets that have not ended
    uint32_t random;
    uint8_t main_runs; // the main one is in weft_tasklet_run
    uint8_t ending;    // the thread is
    weft_tasklet main;
};

extern __thread weft_private_scheduler weft_private_sched;
extern weft_tasklet weft_private_no_tasklet;

#ifdef __cplusplus
extern "C" {
#endif

// The thread's scheduler, made ready.  NULL: ENOMEM.
weft_private_scheduler *weft_private_sched_enter(void);

// weft_private_go when something is special, or the budget is spent.
int weft_private_go_slowly(weft_private_scheduler *s, weft_tasklet *me, weft_tasklet *to);

// Suspends the running one, which has put itself where it will be found, until it is woken or the
// deadline passes.  Returns `value`, unless its waker puts another one there; -1: an error.
int weft_private_tasklet_park(weft_private_scheduler *s, int state, intptr_t value,
                              weft_deadline d);

// The running one's deadline; returns what it adds to the state.
int weft_private_deadline(weft_private_scheduler *s, weft_deadline d);

// Ends the wait of `t` with an error.  Nothing if it does not wait.
void weft_private_unpark_error(weft_tasklet *t, int error);

// Takes `t` out of the queues, the timers and the hands of who would end its wait.
void weft_private_untie(weft_tasklet *t);

// 0 when the running tasklet may begin a wait until `d`, else the errno it fails with.
int weft_private_refusal(weft_private_scheduler *s, weft_deadline d);

// The suspended call of `t` will fail with `error`.
void weft_private_pend(weft_tasklet *t, int error);

// Who goes on after the running one, which has ended, and with what value.
weft_coro *weft_private_next(weft_private_scheduler *s, weft_tasklet *dead, void **value);

// A yield of one that was alone: is it still?
int weft_private_look_around(weft_private_scheduler *s);

// tasklet.cc: a tasklet's on_end.
weft_coro *weft_private_tasklet_ended(weft_coro *co, void **value);

// The last one that ended, if it is to be released.
void weft_private_bury(weft_private_scheduler *s);

// scope.cc: a child's start and end, and the end of a tasklet that has scopes open.
void weft_private_scope_add(weft_scope *scope, weft_tasklet *child);
void weft_private_scope_drop(weft_tasklet *child, int error);
void weft_private_scope_abandon(weft_tasklet *owner);

// channel.cc, for select.cc: 0 when the case is one for this thread, else an errno; whether it can
// happen at once; has it happen; puts it in its queue.
int weft_private_case_check(const weft_select_case *c);
int weft_private_case_ready(const weft_select_case *c);
void weft_private_case_happen(weft_select_case *c);
void weft_private_case_queue(weft_select_case *c, weft_tasklet *t, int index);

// channel.cc: what a tasklet's leaf waits for, for the dump.
void weft_private_describe(weft_tasklet *t, const char *what);

// watchdog.cc: the scheduler begins or ends a wait for events; the thread ends.
void weft_private_watchdog_rest(int resting);
void weft_private_watchdog_end(void);

#if WEFT_PRIVATE_SWAP
// The swap whose value is a result: a cast would keep the compiler from jumping.
int weft_private_swap_int(void **from, void *to, void *value) __asm__("weft_private_swap");
#endif

#ifdef __cplusplus
}
#endif

// ---- The ring ----

// `loaded`, which is often `likely`: then a branch, foretold, stands for the load.  What was just
// stored comes back after some 7 cycles, and a store whose address waits for that holds up
// every load behind it.
static inline void *weft_private_guess(void *loaded, void *likely)
{
    if (!weft_private_likely(loaded == likely))
        return loaded;
    __asm__("" : "+r"(likely)); // or the compiler finds that both are the same
    return likely;
}

static inline void weft_private_ring_insert(weft_tasklet *before, weft_tasklet *t)
{
    weft_tasklet *last = (weft_tasklet *)weft_private_guess(before->previous, before);
    // In this order: two adjacent stores made one would keep the next load waiting.
    t->next = before;
    last->next = t;
    t->previous = last;
    before->previous = t;
}

static inline void weft_private_ring_remove(weft_tasklet *t)
{
    t->previous->next = t->next;
    t->next->previous = t->previous;
}

// ---- The wait's end ----

// One waiter out of its queue, whose head is a waiter too.
static inline void weft_private_waiter_remove(weft_private_waiter *w)
{
    w->previous->next = w->next;
    w->next->previous = w->previous;
}

// Whatever could end the wait of `t` has forgotten it: it is ready again.
static inline void weft_private_ready(weft_private_scheduler *s, weft_tasklet *t)
{
    t->state = WEFT_IS_READY;
    weft_private_ring_insert(s->running, t);
}

// Ends the wait of `t`, which waits: its call returns its `value`.
static inline void weft_private_tasklet_unpark(weft_private_scheduler *s, weft_tasklet *t)
{
    weft_private_untie(t);
    weft_private_ready(s, t);
}

// ---- The switch ----

#if WEFT_PRIVATE_SWAP
// Whether nothing is special about a switch from the running tasklet to another; `cancelled` is 0
// when the caller knows that it is not.
static inline int weft_private_quick(weft_private_scheduler *s, weft_tasklet *me, weft_tasklet *to,
                                     uint32_t cancelled)
{
    const weft_private_coro_thread *t = &weft_private_coro;
    const weft_coro *self = me->coro, *co = to->coro;
    return t->current == self && --s->budget != 0 &&
           (self->special | (co->special ^ WEFT_SPECIAL_BLOCKED) | cancelled |
            weft_private_in_flight(t)) == 0;
}

static inline int weft_private_jump(weft_private_scheduler *s, weft_tasklet *me, weft_tasklet *to)
{
    weft_coro *self = me->coro, *co = to->coro;
    self->special = WEFT_SPECIAL_BLOCKED;
    co->special = 0;
    s->running = to;
    weft_private_coro.current = co;
    return weft_private_swap_int(&self->sp, co->sp, (void *)to->value);
}
#endif

// From the running tasklet to another, cancelled or not: whether it may wait the caller has seen
// to. Returns what the wait returns that `me` begins here.
static inline int weft_private_go(weft_private_scheduler *s, weft_tasklet *me, weft_tasklet *to)
{
#if WEFT_PRIVATE_SWAP
    if (weft_private_likely(weft_private_quick(s, me, to, 0)))
        return weft_private_jump(s, me, to);
#endif
    return weft_private_go_slowly(s, me, to);
}

// The same after `me` was put where its waker will find it.
static inline int weft_private_block(weft_private_scheduler *s, weft_tasklet *me, int state,
                                     intptr_t value)
{
    weft_tasklet *to = me->next, *before = me->previous;
    me->state = (uint8_t)state;
    me->value = WEFT_PRIVATE_WOKEN | value;
    if (__builtin_expect(to == me, 0)) {
        to = s->keeper;
        to->next = to->previous = to;
    } else {
        before->next = to;
        to->previous = before;
    }
    return weft_private_go(s, me, to);
}

#endif
