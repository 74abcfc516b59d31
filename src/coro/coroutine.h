// coroutine.h: a coroutine's record and the transfer, for the files of the coroutine library.
//
// The record lies at the top of the coroutine's own stack.  A transfer does all its
// bookkeeping before the stacks are swapped and then jumps into the swap, which leaves
// with the value in the return register: nothing is left to do on the other side, and
// the return stack buffer of the processor stays out of it.  What makes a transfer
// special (cancelled, dead, control words, a sanitizer, ...) is a bit in `special`,
// so the quick path, the hop, tests two words; everything else is in the slow one.
//
// A scheduler built on this
// - creates with coro_create, `extra` bytes below the record for its own
//   data (coro_extra), and takes it (coro_own; main too while it runs);
// - hands over with transfer(self, to, value), where self is
//   coro_here.current (not always the tasklet's own coroutine: a generator that runs
//   in a tasklet may block; remember the leaf that was suspended and resume that);
// - sets `on_end` to choose who runs when one has ended (it runs on the dying stack as the last
//   thing; free the coroutine from another stack with coro_release);
// - sets SPECIAL_BLOCKED in a leaf it suspends and SPECIAL_NESTED in its callers, and clears the
//   first before it transfers there: until then anybody else's transfer to them fails with EBUSY;
// - sets `waits_for` and `waits_on` while it blocks one, for the dump.
#ifndef WEFT_CORO_COROUTINE_H
#define WEFT_CORO_COROUTINE_H

#include <weft/coro.h>

#include "stack.h"

#include <base/leave.h>

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

namespace weft {

// The assembly swap, where there is one; the ucontext backend is always there.
#if !defined(WEFT_CORO_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))
#define HAVE_SWAP 1
#else
#define HAVE_SWAP 0
#endif

// ---- `special`: why a transfer from or to a coroutine takes the slow path ----
//
// Only the coroutine's own thread reads or writes it, without a lock.  0: the quick path.
//
//  bit         means                              set by                      cleared by
//  DEAD        it has no frames                   its end                     its next life
//  CANCELLED   yields and switches fail (`error`) cancel, its end, destroy    its next life
//  PENDING     ... as does the suspended call     cancel, a failed wait       its arrival
//  FP, MASK    own control words, signal mask     create, as in `keep`        -
//  EXCEPTIONS  those in flight are put aside      a transfer away from it     the transfer to it
//  WATCHED     a sanitizer hears of transfers     create, as in the thread    -
//  UCONTEXT    the ucontext backend runs it       create                      -
//  NOBODY      the stand-in for NULL              -                           -
//  BLOCKED     only a scheduler may go to it      the scheduler: it waits     its wait's end
//  NESTED      its callee is BLOCKED or NESTED    the same                    the transfer to it
//  ASKS        only its callee may go to it       generators' next, delegate  the answer
//
// NESTED may be out of date, for nobody climbs up to the callers when a wait ends: it only sends a
// transfer to where coro_refusal looks.  Destroy clears PENDING, BLOCKED, NESTED and ASKS, so that
// the deferred functions can run.
//
// Beside it:
// - `callee`, whom it resumed or asked (or switched to, if that is its child) and waits for: NULL
//   while it is suspended otherwise, anything while it runs or waits in a tasklet itself.  A yield
//   and an end are quick only to one that waits for them;
// - `owned`: user calls may not name it; set by a scheduler, for good;
// - `keep`: FP and MASK as asked for, since each life starts `special` anew;
// - the thread's `watched`: WATCHED and UCONTEXT, with which each life starts.
enum {
    SPECIAL_DEAD = 1,
    SPECIAL_CANCELLED = 2,
    SPECIAL_PENDING = 4,
    SPECIAL_FP = 8,
    SPECIAL_MASK = 16,
    SPECIAL_EXCEPTIONS = 32,
    SPECIAL_WATCHED = 64,
    SPECIAL_UCONTEXT = 128,
    SPECIAL_NOBODY = 256,
    SPECIAL_BLOCKED = 512,
    SPECIAL_NESTED = 1024,
    SPECIAL_ASKS = 2048
};

// The C++ runtime's state of exceptions in flight (Itanium C++ ABI, __cxa_eh_globals).
struct exceptions_in_flight {
    void *caught;
    uintptr_t uncaught; // an unsigned int and padding
};

struct coro_thread;
struct slow_machine;

// Destroyed coroutines of one kind: on default stacks, with `extra` bytes below the record.
// Coroutines, generators and tasklets each have a list, so that none has to look for its kind.
struct spare_list {
    size_t extra;
    weft_coro *first; // linked by `parent`
    size_t count;
};
enum { SPARE_LISTS = 3, SPARES = 64 }; // of each

} // namespace weft

using namespace weft;

struct weft_coro {
    // The transfer's: one cache line.
    void *sp;         // where the swap left it
    weft_coro *up;    // who gets its yields: the parent, or nobody (main, owned)
    uint32_t special; // WEFT_SPECIAL_*
    uint32_t owned;   // a scheduler's: not for user calls
    coro_thread *thread;
    weft_coro *callee; // whose answer it waits for; may be gone (coro_callee looks)
    void *value;       // passed by the ucontext backend; the result when dead
    void *(*fn)(void *arg, void *first);
    void *arg;
    int error;        // of the cancel, or errno of a result WEFT_FAILED
    uint8_t started;  // it has run
    uint8_t dropping; // being destroyed while suspended: only its deferred functions run
    uint8_t keep;     // SPECIAL_FP | _MASK as asked for

    // The tree of parents.
    weft_coro *parent;
    weft_coro *children;        // the eldest
    weft_coro *older, *younger; // siblings, in a ring

    leaving *deferred;                                    // the last one first
    weft_coro *(*on_end)(weft_coro *dying, void **value); // NULL: the parent gets the result
    void (*on_orphan)(weft_coro *co);                     // its parent waits for it no more
    const char *waits_for;                                // static text: "receive", "sleep"; NULL
    const void *waits_on;                                 // and the object, if there is one

    struct stack stack;
    spare_list *spares;    // where it is kept whole when it is destroyed; NULL: nowhere
    uint64_t life;         // tells it from others that had the same stack
    slow_machine *machine; // what only the slow path needs; NULL: nothing
    exceptions_in_flight exceptions;
    char name[32];
};

namespace weft {

// One per thread.  `current` and `exceptions` always point at something: at stand-ins before the
// thread's first call and without a C++ runtime.
struct coro_thread {
    weft_coro *current;
    exceptions_in_flight *exceptions; // the runtime's own, of this thread
    uint32_t watched;                 // what every coroutine's `special` starts with
    uint8_t ready;
    uint8_t valgrind;
    struct stacks *stacks;
    uint64_t births;
    weft_coro *last_ended; // only to compare with
    spare_list spares[SPARE_LISTS];
    weft_coro *(*shelter)(void);     // who goes on when one ends and its heir is blocked
    void (*scheduler_end)(int last); // the thread's end, before its coroutines go and after
    void (*before_dump)(void);       // sets waits_for and waits_on
    void *alternate_stack;           // made by weft_coro_report_overflow
    size_t alternate_size;
    weft_coro main;
};

extern __thread coro_thread coro_here;
extern weft_coro nobody;

#if HAVE_SWAP
// Saves the callee-saved registers and the stack pointer through `from`, goes on where
// `to` was saved, with `value` in the return register.
void *swap(void **from, void *to, void *value);

// The same for a value that is a result: a cast would keep the compiler from jumping there.
int swap_int(void **from, void *to, void *value) __asm__("_ZN4weft4swapEPPvS0_S0_");

// Goes on where `to` was saved and saves nothing.
void land(void *to, void *value) __attribute__((noreturn));
#else
// Never called: no transfer is plain.
static inline void *swap(void **, void *, void *)
{
    abort();
}
static inline int swap_int(void **, void *, void *)
{
    abort();
}
static inline void land(void *, void *)
{
    abort();
}
#endif

// The transfer when something is special.  `self` is current and `to` lives (or is new).
void *transfer_slowly(weft_coro *self, weft_coro *to, void *value);

// Leaves a coroutine for good.  `co` is current and dead.
void leave(weft_coro *co, weft_coro *to, void *value) __attribute__((noreturn));

// Makes `co` start at `top` of its stack (16-aligned) when control comes to it.
void prepare_ucontext(weft_coro *co, char *top);

// The first instructions of a coroutine on the assembly backend.
void coro_entry(void);

// The first function on every coroutine's stack.
void coro_begin(void *first) __attribute__((noreturn));

// Fills in what a thread's transfers depend on.
void transfer_setup(coro_thread *t);

// What a sanitizer wants done on the first arrival.
void coro_arrive(weft_coro *co);

// What the slow path needs beside the record, and the end of it.
int slow_machine_create(weft_coro *co);
void slow_machine_destroy(weft_coro *co);

// Makes this thread's state ready.  NULL: ENOMEM.
coro_thread *coro_start(void);

// Runs what all coroutines of a thread have deferred, which ends inside one of them.
void coro_leave_all(coro_thread *t);

// leavings_here (base/leave.h).
leaving **coro_leavings(void);

// weft_coro_create, with `extra` zeroed bytes below the record.
weft_coro *coro_create(void *(*fn)(void *arg, void *first), void *arg,
                       const weft_coro_options *opts, size_t extra);

// Makes it a scheduler's own: user calls can't transfer to it, nor yield or switch directly in it.
void coro_own(weft_coro *co);

// Runs the deferred functions of a suspended one, then frees it.  Not for the running
// one or an ancestor of it: the caller has seen to that.
void coro_release(weft_coro *co);

// Makes `parent` the parent; cycles are the caller's business.
void coro_adopt(weft_coro *parent, weft_coro *co);

// 1 when `co` is `of` or one of its ancestors.
int coro_is_ancestor(const weft_coro *co, const weft_coro *of);

// Whom `co` waits for; NULL when that one is not its child any more.
weft_coro *coro_callee(const weft_coro *co);

// Whether `co` waits in a tasklet, or for one that does.
int coro_waits(const weft_coro *co);

// Makes those NESTED who wait, one for the other, for the answer of `callee`.  Above one that is
// marked all are, so a chain that waits again and again is not climbed again.
void coro_mark_callers(const weft_coro *callee);

// Whether `by` may hand control to `to`: 0, or EBUSY when that one waits for somebody else.
int coro_refusal(const weft_coro *by, const weft_coro *to);

// One that ASKS will get no answer: its callee hears of it.
void coro_forget_callee(weft_coro *co);

// The next in the tree below `top`, elders first, children before younger siblings; NULL after the
// last.
const weft_coro *coro_next(const weft_coro *top, const weft_coro *co, int *depth);

// `co` or its nearest ancestor that is not dead (main never is).
weft_coro *coro_living(weft_coro *co);

// Who gets the result of `co`, which has ended, if nobody says otherwise.
weft_coro *coro_heir(const weft_coro *co);

// Makes new coroutines of threads not yet ready use the ucontext backend (tests compare both).
void coro_force_ucontext(int on);

#define likely(x) __builtin_expect(!!(x), 1)

static inline uintptr_t in_flight(const coro_thread *t)
{
    return (uintptr_t)t->exceptions->caught | t->exceptions->uncaught;
}

// This thread's state, ready; NULL: ENOMEM.
static inline coro_thread *coro_enter(void)
{
    coro_thread *t = &coro_here;
    return likely(t->ready) ? t : coro_start();
}

// `loaded`, which is often `expected`: then a branch, foretold, stands for the load.  What was just
// stored comes back after some 7 cycles, and a store whose address waits for that holds up
// every load behind it.
template <class T> static inline T *guess(T *loaded, T *expected)
{
    if (!likely(loaded == expected))
        return loaded;
    __asm__("" : "+r"(expected)); // or the compiler finds that both are the same
    return expected;
}

// ---- The hop ----
//
// Every transfer is a hop or transfer_slowly.  hop_is_plain says which, before anything is written:
// nothing is special about the running coroutine, no exception is in flight, and `to` is marked
// as the caller expects to find it.

static inline bool hop_is_plain(const coro_thread *t, const weft_coro *self, const weft_coro *to,
                                uint32_t found)
{
    return HAVE_SWAP && likely((self->special | (to->special ^ found) | in_flight(t)) == 0);
}

template <class Result> Result swap_as(void **from, void *to, void *value);
template <> inline void *swap_as<void *>(void **from, void *to, void *value)
{
    return swap(from, to, value);
}
template <> inline int swap_as<int>(void **from, void *to, void *value)
{
    return swap_int(from, to, value);
}

// Returns what comes back.  The compiler makes the swap a jump, so it is the last thing its caller
// does.
template <class Result>
static inline __attribute__((always_inline)) Result hop(coro_thread *t, weft_coro *self,
                                                        weft_coro *to, void *value)
{
    t->current = to;
    return swap_as<Result>(&self->sp, to->sp, value);
}

// From the running coroutine to another of the thread, whichever way.
template <class Result> static inline Result transfer(weft_coro *self, weft_coro *to, void *value)
{
    coro_thread *t = &coro_here;
    if (hop_is_plain(t, self, to, 0))
        return hop<Result>(t, self, to, value);
    return (Result)(intptr_t)transfer_slowly(self, to, value);
}

// Down to one that `self` then waits for.
static inline void *call(weft_coro *self, weft_coro *co, void *value)
{
    coro_adopt(self, co);
    self->callee = co;
    return transfer<void *>(self, co, value);
}

// The scheduler's data below the record.
static inline void *coro_extra(weft_coro *co, size_t extra)
{
    return (char *)co - ((extra + 15) & ~(size_t)15);
}

} // namespace weft

#endif
