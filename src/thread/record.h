// record.h: what a thread's handle points to.
#ifndef WEFT_THREAD_RECORD_H
#define WEFT_THREAD_RECORD_H

#include <weft/thread.h>

#include <stdint.h>

namespace weft {

// Bits of `state`, one atomic word, so that each of join, detach and the thread's end
// learns from its own change who is to release the record.
enum {
    RECORD_ENDED = 1,      // the thread is past its destructors
    RECORD_DETACHED = 2,   // nobody will join
    RECORD_COLLECTING = 4, // one of those who join waits for the pthread's end
    RECORD_FREE = 8,       // on the free list
    RECORD_GONE = 16,      // we are a forked child, and it stayed behind: nothing can be had of it
    RECORD_COLLECTED = 32, // `result` is there for all who join; the last of them releases
    RECORD_JOINER = 64     // times how many join
};

// Of `held`.
enum { HELD = 1, REFUSED = 2 };

} // namespace weft

using namespace weft;

struct weft_thread {
    // Written before the thread starts.
    void *(*fn)(void *);
    void *arg;
    pthread_t pthread;
    char name[WEFT_THREAD_NAME_MAX + 1];

    uint32_t state;    // atomic
    uint32_t stopping; // atomic; set once

    // The word this thread sleeps on, or is about to; null otherwise.  Only the thread
    // writes it.  stop() uses it as a number to wake, never to read through: what it
    // points to may be gone by then.
    const uint32_t *sleeps_on;
    int sleeps_shared; // atomic

    uint32_t held;         // atomic; not 0: its function is not to be called yet, or at all
    int destructor_rounds; // the thread's own
    void *result;          // written before RECORD_COLLECTED; what fn returned, before RECORD_ENDED
    bool forked;           // we are the child of its fork
    pid_t id;              // atomic; 0 until it runs
    weft_thread *next;     // the record made before
    weft_thread *next_free; // on the free list; guarded by its lock
};

namespace weft {

// The calling thread's record; null in threads that weft didn't start.
extern __thread weft_thread *this_thread;

// A record in state RECORD_FREE that is the caller's; nullptr: ENOMEM.
weft_thread *record_get(void);
void record_put(weft_thread *t);

// Copies of WEFT_THREAD_NAME_MAX + 1 bytes.
void record_name(weft_thread *t, char *name);
void record_set_name(weft_thread *t, const char *name);

} // namespace weft

#endif
