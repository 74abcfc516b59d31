// parked.h: objects that a tasklet waits for, while its thread goes on.
#ifndef WEFT_TEST_PARKED_H
#define WEFT_TEST_PARKED_H

#include "inside.h"

struct object {
    const char *name;
    void (*make)(void);
    int (*wait)(weft_deadline d);
    void (*wake)(void);
    void (*drop)(void);
    bool is_lock = false; // knows no cancel
};

struct waiting {
    const object *what;
    weft_deadline until;
    int result, error;
    bool done;
};

static inline void *wait_for_it(void *arg)
{
    waiting *w = (waiting *)arg;
    w->result = w->what->wait(w->until);
    w->error = errno;
    w->done = true;
    return nullptr;
}

// Begins a wait in a tasklet; when this returns it sleeps, and not the thread.
static inline weft_tasklet *begin(waiting *w, const object *what, weft_deadline until)
{
    what->make();
    *w = {what, until, 0, 0, false};
    weft_tasklet *t = spawn(wait_for_it, w, true);
    for (int i = 0; i < 100; i++) // we have turns
        weft_tasklet_yield();
    assert_true(until < WEFT_FOREVER || !w->done);
    return t;
}

static inline void end_well(const waiting *w)
{
    if (w->result < 0)
        print_message("%s: %s\n", w->what->name, strerror(w->error));
    assert_true(w->result >= 0);
    w->what->drop();
}

// Waits until the tasklet has ended, with an error.
static inline void failed_with(const waiting *w, weft_tasklet *t, int error)
{
    join(t);
    if (w->result != -1 || w->error != error)
        print_message("%s: %d, %s\n", w->what->name, w->result, strerror(w->error));
    assert_int_equal(w->result, -1);
    assert_int_equal(w->error, error);
}

#endif
