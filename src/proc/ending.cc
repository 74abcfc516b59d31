// ending.cc: making children end, with all that they have started.
//
// That is their group, or their warden's charges, or, without either, who descends from them as
// /proc tells.
#include "pump.h"

using namespace weft;

// After SIGKILL has been sent a child ends at once, unless the kernel itself is stuck; a warden
// when it has found and ended all that are its charges.
static const int64_t KILLED_NS = 2000000000, WARDEN_NS = 10000000000;
enum { LOOK_MS = 10 }; // at what ends, where nothing tells of its end

int weft::streams_terminate(const streams *s)
{
    int saved = errno;
    if (streams_signal(s, SIGTERM) != 0)
        return -1;
    streams_signal(s, SIGCONT); // a stopped one could not follow
    errno = saved;
    return 0;
}

static bool await_all(const streams *s, weft_deadline d)
{
    int saved = errno;
    bool ended = true;
    for (size_t i = 0; i < s->count && ended; i++)
        ended = child_await(&s->children[i]->c, d) == 0;
    errno = saved;
    return ended;
}

int weft::streams_stop(streams *s, int *status, weft_deadline close_by, weft_deadline term_by,
                       weft_deadline d)
{
    int saved = errno;
    streams_end_input(s);
    close_keep_errno(&s->fds[0]);
    bool ended = await_all(s, close_by);
    if (!ended) {
        streams_terminate(s);
        ended = await_all(s, term_by);
    }
    if (!ended)
        streams_force_end(s);
    else if (s->children[0]->c.leads) // what is left of a group goes with it
        streams_signal(s, SIGKILL);
    errno = saved;
    return streams_wait(s, status, d);
}

// Without a group: who descends from them while their parents live.  Stopped, so that none gets
// away, for they are to be known when their parents have ended.
static void find_relatives(streams *s)
{
    if (s->children[0]->c.leads)
        return;
    for (size_t i = 0; i < s->count; i++)
        if (!child_has_ended(&s->children[i]->c))
            family_add(&s->relatives, s->children[i]->c.pid);
    if (s->relatives.count > 0)
        family_stop(&s->relatives);
}

int weft::streams_ask_to_end(streams *s)
{
    find_relatives(s);
    int result = streams_terminate(s);
    family_signal(&s->relatives, SIGTERM);
    family_signal(&s->relatives, SIGCONT);
    return result;
}

int weft::streams_force_end(streams *s)
{
    find_relatives(s);
    int result = streams_signal(s, SIGKILL);
    family_signal(&s->relatives, SIGKILL);
    return result;
}

// Whether nobody is left: all have ended, and so have the others of their group, as far as the
// kernel tells (child_tells_group), or those that descend from them.
static bool is_over(streams *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!child_has_ended(&s->children[i]->c))
            return false;
    if (s->relatives.count > 0 && family_look(&s->relatives) > 0)
        return false;
    const child *first = &s->children[0]->c;
    if (!child_tells_group(first))
        return true;
    for (size_t i = 0; i < s->count; i++)
        child_poll(&s->children[i]->c); // or it would count as left
    // Orphans are init's to reap, which may take its time, or not do it, in a container.
    return !child_tells_group(first) || !group_lives(first->pid);
}

// Reads on until nobody is left: who cleans up may have something to say.
static void attend_end(streams *s, weft_buffer *out, weft_buffer *err, weft_deadline kill_by)
{
    while (!is_over(s) && weft_left(kill_by) > 0) {
        weft_deadline look = weft_in_ms(LOOK_MS), by = look < kill_by ? look : kill_by;
        if (s->fds[0] < 0 && s->fds[1] < 0 && s->fds[2] < 0) {
            const child *c = nullptr;
            for (size_t i = 0; i < s->count && c == nullptr; i++)
                if (!child_has_ended(&s->children[i]->c))
                    c = &s->children[i]->c;
            if ((c != nullptr ? child_sleep(c, by) : poll_until(nullptr, 0, by)) != 0 &&
                errno == ECANCELED)
                return;
        } else if (pump(s, nullptr, 0, out, err, by) != 0 && errno != ETIMEDOUT) {
            return;
        }
    }
}

void weft::streams_end(streams *s, weft_buffer *out, weft_buffer *err, int *status)
{
    int saved = errno;
    int64_t grace = s->grace;
    s->grace = 0;
    if (errno != ECANCELED && s->kill_after > 0 && streams_ask_to_end(s) == 0)
        attend_end(s, out, err, weft_in_ns(s->kill_after));
    streams_kill(s, status);
    pump(s, nullptr, 0, out, err, WEFT_NOW);
    s->grace = grace;
    errno = saved;
}

weft_deadline weft::streams_kill_by(streams *s)
{
    int64_t ns = s->children[0]->c.warden != nullptr ? WARDEN_NS : KILLED_NS;
    return streams_force_end(s) == 0 || errno == ESRCH ? weft_in_ns(ns) : WEFT_NOW;
}

void weft::streams_await_killed(streams *s, int *status, weft_deadline d)
{
    int saved = errno;
    poll_way *way = way_to_poll; // neither a stop nor a cancel cuts this short
    way_to_poll = nullptr;
    streams_wait(s, status, d);
    way_to_poll = way;
    errno = saved;
}

void weft::streams_kill(streams *s, int *status)
{
    int saved = errno;
    streams_await_killed(s, status, streams_kill_by(s));
    errno = saved;
}
