// timers.h: deadlines in order, without allocation: a pairing heap through the waiters themselves.
//
// Most deadlines never pass: what matters is that adding and removing are cheap.  Adding
// is one comparison, removing a timer with no children one unlink, whatever the number of
// timers; only taking the earliest is logarithmic (amortized).  (M. L. Fredman et al., "The
// Pairing Heap", 1986.)
#ifndef WEFT_CORO_TIMERS_H
#define WEFT_CORO_TIMERS_H

#include <weft/deadline.h>

typedef struct weft_private_timer weft_private_timer;
struct weft_private_timer {
    weft_deadline at;
    weft_private_timer *child;
    weft_private_timer *next;     // sibling
    weft_private_timer *previous; // sibling, or the parent of a first child
};

#ifdef __cplusplus
extern "C" {
#endif

// *root is the earliest, NULL when there is none.
void weft_private_timer_add(weft_private_timer **root, weft_private_timer *t, weft_deadline at);
void weft_private_timer_remove(weft_private_timer **root, weft_private_timer *t);

#ifdef __cplusplus
}
#endif

#endif
