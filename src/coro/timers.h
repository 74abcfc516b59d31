// timers.h: deadlines in order, without allocation: a pairing heap through the waiters themselves.
//
// Most deadlines never pass: what matters is that adding and removing are cheap.  Adding
// is one comparison, removing a timer with no children one unlink, whatever the number of
// timers; only taking the earliest is logarithmic (amortized).  (M. L. Fredman et al., "The
// Pairing Heap", 1986.)
#ifndef WEFT_CORO_TIMERS_H
#define WEFT_CORO_TIMERS_H

#include <weft/deadline.h>

namespace weft {

struct coro_timer;
struct coro_timer {
    weft_deadline at;
    coro_timer *child;
    coro_timer *next;     // sibling
    coro_timer *previous; // sibling, or the parent of a first child
};

// *root is the earliest, NULL when there is none.
void coro_timer_add(coro_timer **root, coro_timer *t, weft_deadline at);
void coro_timer_remove(coro_timer **root, coro_timer *t);

} // namespace weft

#endif
