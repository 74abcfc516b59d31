// background.cc: work in pieces beside the commands, with one budget for all of it.
//
// The works stand in a ring and take turns, a step each, at the end of each round of the loop,
// after the replies have left: about as long as the round's commands took, but LEAST when those
// were few, and MOST at most.  So a client that waits for its turn waits no longer for the sum of
// this than MOST and a step, and who makes work faster than it is done makes his own commands
// slower.
#include "place.h"

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

// One step of the work whose turn it is.
static void step(server *s)
{
    work *w = s->works;
    s->works = w->next;
    s->steps++;
    bool more = w->step(s, w->arg);
    file_free();
    if (more)
        return;
    if (s->works == w)
        s->works = w->next != w ? w->next : nullptr;
    list_remove(w);
    memory_give(w);
}

static void run(weft_task *t, void *arg)
{
    server *s = (server *)arg;
    server_tidy(s);
    int64_t now = weft_now(), took = now - weft_loop_now(s->loop);
    int64_t end = now + (took < LEAST ? LEAST : took < MOST ? took : MOST);
    do
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
    s->background.fn = run;
    s->background.arg = s;
    weft_loop_defer(s->loop, &s->background); // EBUSY: it was already
}

void weft::background_finish(server *s)
{
    while (s->works != nullptr)
        step(s);
}
