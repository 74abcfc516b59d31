// loop_state.h: what a loop is made of, for the files that make it.
//
// All is touched by the owner alone, except the fields under "any thread".
#ifndef WEFT_ASYNC_LOOP_STATE_H
#define WEFT_ASYNC_LOOP_STATE_H

#include "events.h"
#include "wheel.h"

namespace weft {

// What the loop knows of a descriptor.
struct watch_slot {
    weft_watch *watch;   // nullptr: nobody's
    uint32_t generation; // of the watch that is, or was the last
    uint32_t registered; // the mask that the kernel has
    bool attached;       // the kernel has it
    bool dirty;          // it is in `dirty`
    int next_dirty;
};

} // namespace weft

using namespace weft;

struct weft_loop {
    // ---- Who may call ----
    const char *owner; // the owner's thread_mark; any thread reads it
    bool running;

    // ---- Descriptors ----
    event_set set;
    record_table<watch_slot> slots;
    int dirty; // the first descriptor whose mask may differ from the kernel's; -1: none
    struct epoll_event *events;
    int batch;
    bool lost;  // it may have one that was closed before it could be taken out
    bool stuck; // it has

    // ---- Alarms ----
    struct wheel wheel;
    weft_loop_link near; // those whose tick has begun
    size_t near_count;
    weft_deadline look;  // when to look through them
    int64_t looked;      // when that was done last
    weft_loop_link soon; // those that were due when they were armed
    weft_loop_link due;  // those about to be called
    int64_t now;         // when this round's callbacks began

    // ---- Functions ----
    weft_loop_link deferred, idle;
    size_t tasks; // deferred and idle

    // ---- Signals ----
    weft_loop_link signals;
    weft_watch signal_watch; // of the signalfd, which is there as long as a signal is watched
    uint64_t watched;        // a bit a signal (signo - 1)
    uint32_t watchers[65];   // by signal

    // ---- Being nested ----
    bool nested;            // in weft_io_run, or where weft_loop_fd is watched
    weft_watch clock_watch; // of the timerfd; its fd is -1 until weft_loop_fd
    weft_deadline clock_at; // what it is set to

    int hold;
    size_t internal; // watches of our own
    weft_loop_counters stats;
    int64_t blocked_ns;
    void (*blocked)(weft_loop *l, const weft_loop_callback *c, void *arg);
    void *arg;

    // ---- Any thread ----
    weft_loop_link *posted; // atomic: a stack, last first
    weft_watch wake_watch;  // its fd: the eventfd
    uint32_t stopped;       // atomic
    struct {
        const char *kind; // atomic
        void (*fn)(void); // atomic
        int fd;           // atomic
        int64_t since;    // atomic; 0: none runs
    } current;
};

namespace weft {

// Its address tells threads apart, at the price of an addition.
extern __thread char thread_mark;

int loop_reborn(weft_loop *l);

static inline bool loop_owned(const weft_loop *l)
{
    return __atomic_load_n(&l->owner, __ATOMIC_RELAXED) == &thread_mark;
}

// Whether a call may begin at once: the owner's, and not the first in a forked child.
static inline bool loop_ready(const weft_loop *l)
{
    return loop_owned(l) && l->set.kept != nullptr && *l->set.kept != 0;
}

// At the start of each call: the owner's, in the process that made the kernel's part?
static inline int loop_enter(weft_loop *l)
{
    if (__builtin_expect(l == nullptr || !loop_owned(l), 0))
        return fail_with(l == nullptr ? EINVAL : EPERM);
    return __builtin_expect(events_forked(&l->set), 0) ? loop_reborn(l) : 0;
}

// The same for a call about what a loop has: that loop.  Null: also EINVAL, it is NULL; EALREADY,
// no loop has it.
template <class Thing> static inline weft_loop *loop_enter_of(const Thing *thing)
{
    int code = thing == nullptr         ? fail_with(EINVAL)
               : thing->loop == nullptr ? fail_with(EALREADY)
                                        : loop_enter(thing->loop);
    return code == 0 ? thing->loop : nullptr;
}

// The same for a call that gives the loop something, which may be NULL, or a loop's already.
template <class Thing>
static inline int loop_enter_with(weft_loop *l, bool valid, const Thing *thing)
{
    if (loop_enter(l) != 0)
        return -1;
    if (!valid || thing == nullptr)
        return fail_with(EINVAL);
    return thing->loop != nullptr ? fail_with(EBUSY) : 0;
}

// Brings the kernel's masks up to date; until when there is nothing to do unless it tells.
weft_deadline loop_due(weft_loop *l);

// At the end of each call that changes something: a nested loop shows it to the outer one now.
// (weft_io_run asks by loop_due.)
void loop_show(weft_loop *l);

static inline void loop_changed(weft_loop *l)
{
    if (__builtin_expect(l->clock_watch.fd >= 0 && !l->running, 0))
        loop_show(l);
}

// loop_watch.cc: brings the kernel's masks up to date.  `tell`: call the watches that the kernel
// refuses (else they are left); returns how many those were.
size_t loop_flush(weft_loop *l, bool tell);
void loop_dispatch(weft_loop *l, const struct epoll_event *e);
int loop_watch_internal(weft_loop *l, weft_watch *w, int fd,
                        void (*fn)(weft_watch *w, int events, void *));
void loop_stop_internal(weft_loop *l, weft_watch *w);
void loop_attach_all(weft_loop *l);
void loop_drop_watches(weft_loop *l);

// loop.cc: a new set for a stuck loop, under the old one's number; false: not yet.
bool loop_unstick(weft_loop *l);

// timer.cc: when the next alarm is due; calls those that are.
weft_deadline loop_next_alarm(weft_loop *l);
size_t loop_run_alarms(weft_loop *l);
void loop_drop_alarms(weft_loop *l);

// loop_task.cc
size_t loop_run_posted(weft_loop *l);
size_t loop_run_list(weft_loop *l, weft_loop_link *list);
void loop_drop_tasks(weft_loop *l);

// loop_child.cc: closes the pidfd of a child that is dropped with its loop.
void loop_drop_child(weft_watch *w);

// signal.cc
int loop_reborn_signals(weft_loop *l);
void loop_move_signals(weft_loop *l);
void loop_drop_signals(weft_loop *l);

// loop_blocked.cc: around each callback, if the detector is on.
void loop_callback_begins(weft_loop *l, const char *kind, void (*fn)(void), int fd);
void loop_callback_ends(weft_loop *l);

// Calls what a watch, an alarm or a task has to be called.
template <class Handle, class... More>
static inline void loop_call(weft_loop *l, const char *kind, int fd, Handle *h, More... more)
{
    if (__builtin_expect(l->blocked_ns == 0, 1)) {
        h->fn(h, more..., h->arg);
        return;
    }
    loop_callback_begins(l, kind, (void (*)(void))h->fn, fd);
    h->fn(h, more..., h->arg);
    loop_callback_ends(l);
}

// What the running callback is in the user's eyes, who did not write the watch's own function.
static inline void loop_callback_is(weft_loop *l, const char *kind, void (*fn)(void))
{
    __atomic_store_n(&l->current.kind, kind, __ATOMIC_RELAXED);
    __atomic_store_n(&l->current.fn, fn, __ATOMIC_RELAXED);
}

} // namespace weft

#endif
