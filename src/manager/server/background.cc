// background.cc: work in pieces beside the commands, with one budget for all of it.
//
// The works stand in a ring and take turns, a step each, at the end of each round of the loop,
// after the replies have left: about as long as the round's commands took, but LEAST when those
// were few, and MOST at most.  So a client that waits for its turn waits no longer for the sum of
// this than MOST and a step, and who makes work faster than it is done makes his own commands
// slower.
#include "place.h"

#include <limits.h>
#include <unistd.h>

using namespace weft;

static const int64_t LEAST = 250000, MOST = 1000000; // nanoseconds of a round

struct weft::work {
    work *next, *previous;
    bool (*step)(server *s, void *arg);
    void *arg;
};

// Has malloc(3) file what was freed.  Else it does so when next it is asked for what it has not at
// hand, for all that was freed since: milliseconds for each of many calls.
static void file_free(void)
{
    enum { LONG = 4096 }; // never at hand
    memory_give(memory_take(LONG));
}

// ---- The heap's end ----
//
// What is free there goes back to the system with the free(3) that makes it long, all at once: a
// millisecond for each few thousand pages.  So that is off while anything is done here, and after
// long works a step gives back TRIMMED.

static const size_t LONG_WORKS = 256, TRIMMED = 1 << 20, KEPT = 8 << 20; // steps; bytes

void weft::heap_trims(bool by_itself)
{
    mallopt(M_TRIM_THRESHOLD, by_itself ? (int)KEPT : -1);
}

// All but `heap_kept` bytes, which become fewer with each step.  free(3) looks at the end when a
// large piece becomes free.
static bool trim(server *s, void *)
{
    enum { LARGE = 1 << 17, PAD = 1 << 17 };
    void *p = malloc(LARGE);
    mallopt(M_TOP_PAD, (int)s->heap_kept);
    mallopt(M_TRIM_THRESHOLD, 0);
    free(p);
    mallopt(M_TOP_PAD, PAD);
    heap_trims(false);
    s->heap_kept -= s->heap_kept < TRIMMED ? s->heap_kept : TRIMMED;
    return s->heap_kept >= KEPT;
}

static void works_begin(server *s)
{
    s->works_began = s->steps;
    heap_trims(false);
}

static void works_end(server *s)
{
    size_t heap = (size_t)((char *)sbrk(0) - s->heap);
    if (s->heap_kept == 0 && s->steps - s->works_began > LONG_WORKS && heap > 2 * KEPT) {
        s->heap_kept = heap < INT_MAX ? heap : INT_MAX;
        background(s, trim, nullptr);
        return;
    }
    s->heap_kept = 0;
    heap_trims(true);
}

// ---- Works ----

// One step of the work whose turn it is.
static void step(server *s)
{
    work *w = s->works;
    s->works = w->next;
    s->steps++;
    gives_left = SIZE_MAX;
    bool more = w->step(s, w->arg);
    file_free();
    gives_left = GIVES_AT_ONCE;
    if (more)
        return;
    if (s->works == w)
        s->works = w->next != w ? w->next : nullptr;
    list_remove(w);
    memory_give(w);
    if (s->works == nullptr)
        works_end(s);
}

static void run(weft_task *t, void *arg)
{
    server *s = (server *)arg;
    server_tidy(s);
    int64_t now = weft_now(), took = now - weft_loop_now(s->loop);
    int64_t end = now + (took < LEAST ? LEAST : took < MOST ? took : MOST);
    do
        if (s->works != nullptr) // else what one left for this round was done in the last
            step(s);
    while (s->works != nullptr && weft_now() < end);
    if (!list_is_empty(&s->ready))
        places_serve(s);
    if (s->works != nullptr)
        weft_loop_defer(s->loop, t);
}

void weft::background(server *s, bool (*step)(server *s, void *arg), void *arg)
{
    work *w = (work *)memory_take(sizeof *w);
    w->step = step;
    w->arg = arg;
    if (s->works != nullptr) {
        list_insert(s->works, w);
        return;
    }
    s->works = w->next = w->previous = w;
    works_begin(s);
    s->background.fn = run;
    s->background.arg = s;
    weft_loop_defer(s->loop, &s->background); // EBUSY: it was already
}

void weft::background_finish(server *s)
{
    while (s->works != nullptr)
        step(s);
    gives_left = SIZE_MAX;
}
