// loop_watch.cc: descriptors, level-triggered, with masks that reach the kernel late.
//
// A first watch is registered at once, for its errors; a stop takes the descriptor out at once,
// because after a close that left a duplicate open nobody could.  A change in between is only
// noted (`dirty`) and applied before the loop sleeps, so that a server which turns writing on and
// off within a round makes no system call for it.
//
// The kernel tells of errors and hang-ups even with a mask of 0.  A watch that waits for nothing
// is taken out of the kernel when that happens, and put back by its next change: it doesn't spin.
//
// A descriptor that was closed before its watch was stopped can't be taken out by number any more,
// and as long as a duplicate is open the kernel tells of it.  When it does, the loop moves to a new
// set (`stuck`), instead of being told for ever.
#include "loop_state.h"

using namespace weft;

enum { WAITS_FOR = WEFT_READ | WEFT_WRITE | WEFT_HANGUP | WEFT_URGENT };
enum { ALL_EVENTS = WAITS_FOR | WEFT_EDGE | WEFT_EXCLUSIVE };

static uint32_t mask_of(int events)
{
    uint32_t m = 0;
    if (events & WEFT_READ)
        m |= EPOLLIN;
    if (events & WEFT_WRITE)
        m |= EPOLLOUT;
    if (events & WEFT_HANGUP)
        m |= EPOLLRDHUP;
    if (events & WEFT_URGENT)
        m |= EPOLLPRI;
    if (events & WEFT_EDGE)
        m |= (uint32_t)EPOLLET;
    if (events & WEFT_EXCLUSIVE)
        m |= (uint32_t)EPOLLEXCLUSIVE;
    return m;
}

static bool events_valid(int events)
{
    // The kernel takes nothing but EPOLLIN and EPOLLOUT beside EPOLLEXCLUSIVE.
    return (events & ~ALL_EVENTS) == 0 &&
           ((events & WEFT_EXCLUSIVE) == 0 || (events & (WEFT_HANGUP | WEFT_URGENT)) == 0);
}

// For one that is watched, or was.
static watch_slot *slot_of(const weft_loop *l, int fd)
{
    return record_find(&l->slots, fd);
}

// epoll_ctl for a slot; keeps what the kernel has in the slot.
static int control(weft_loop *l, int op, int fd, uint32_t mask)
{
    watch_slot *s = slot_of(l, fd);
    int result = op == EPOLL_CTL_ADD ? events_add(&l->set, fd, mask, s->generation)
                                     : events_control(&l->set, op, fd, mask, s->generation);
    if (result != 0)
        return -1;
    s->attached = op != EPOLL_CTL_DEL;
    s->registered = mask;
    return 0;
}

static void detach(weft_loop *l, int fd)
{
    watch_slot *s = slot_of(l, fd);
    int saved = errno;
    if (s->attached && control(l, EPOLL_CTL_DEL, fd, 0) != 0) {
        l->lost = true; // the kernel has taken it out itself, most likely
        events_tell_closed(fd, "watched");
    }
    errno = saved;
    s->attached = false;
}

static int attach(weft_loop *l, weft_watch *w, int fd, int events)
{
    watch_slot *s = record_make(&l->slots, fd);
    if (s == nullptr)
        return -1;
    if (s->watch != nullptr)
        return fail_with(EEXIST);
    s->generation++;
    if (control(l, EPOLL_CTL_ADD, fd, mask_of(events)) != 0)
        return -1;
    s->watch = w;
    l->stats.watches++;
    w->loop = l;
    w->fd = fd;
    w->events = events;
    return 0;
}

int weft_loop_watch(weft_loop *l, weft_watch *w, int fd, int events,
                    void (*fn)(weft_watch *w, int events, void *), void *arg)
{
    if (loop_enter_with(l, fn != nullptr && events_valid(events), w) != 0)
        return -1;
    if (fd < 0)
        return fail_with(EBADF);
    if (attach(l, w, fd, events) != 0)
        return -1;
    w->fn = fn;
    w->arg = arg;
    return 0;
}

int weft::loop_watch_internal(weft_loop *l, weft_watch *w, int fd,
                              void (*fn)(weft_watch *w, int events, void *))
{
    if (attach(l, w, fd, WEFT_READ) != 0)
        return -1;
    w->fn = fn;
    l->internal++;
    return 0;
}

static void note(weft_loop *l, int fd)
{
    watch_slot *s = slot_of(l, fd);
    if (s->dirty)
        return;
    s->dirty = true;
    s->next_dirty = l->dirty;
    l->dirty = fd;
}

int weft_watch_change(weft_watch *w, int events)
{
    weft_loop *l = loop_enter_of(w);
    if (l == nullptr)
        return -1;
    if (!events_valid(events))
        return fail_with(EINVAL);
    w->events = events;
    watch_slot *s = slot_of(l, w->fd);
    if (!s->attached || s->registered != mask_of(events)) {
        note(l, w->fd);
        loop_changed(l);
    }
    return 0;
}

int weft_loop_unwatch(weft_watch *w)
{
    weft_loop *l = loop_enter_of(w);
    if (l == nullptr)
        return -1;
    detach(l, w->fd);
    slot_of(l, w->fd)->watch = nullptr;
    w->loop = nullptr;
    l->stats.watches--;
    return 0;
}

void weft::loop_stop_internal(weft_loop *l, weft_watch *w)
{
    weft_loop_unwatch(w);
    l->internal--;
}

// ---- Before the loop sleeps ----

static int apply(weft_loop *l, weft_watch *w)
{
    watch_slot *s = slot_of(l, w->fd);
    uint32_t mask = mask_of(w->events);
    if (!s->attached)
        return w->events & WAITS_FOR ? control(l, EPOLL_CTL_ADD, w->fd, mask) : 0;
    if (mask == s->registered)
        return 0;
    if (((mask | s->registered) & EPOLLEXCLUSIVE) == 0)
        return control(l, EPOLL_CTL_MOD, w->fd, mask);
    // The kernel does not change exclusive ones.
    return control(l, EPOLL_CTL_DEL, w->fd, 0) == 0 ? control(l, EPOLL_CTL_ADD, w->fd, mask) : -1;
}

static void call(weft_loop *l, weft_watch *w, int events)
{
    l->stats.events++;
    loop_call(l, "watch", w->fd, w, events);
}

size_t weft::loop_flush(weft_loop *l, bool tell)
{
    size_t told = 0;
    int saved = errno, fd = l->dirty;
    l->dirty = -1; // what is changed meanwhile comes in the next round: else one could keep us here
    while (fd >= 0) {
        watch_slot *s = slot_of(l, fd);
        int now = fd;
        fd = s->next_dirty;
        s->dirty = false;
        if (s->watch == nullptr || apply(l, s->watch) == 0)
            continue;
        if (!tell) {
            note(l, now);
            continue;
        }
        detach(l, now);
        s->watch->events = 0;
        told++;
        call(l, s->watch, WEFT_ERROR);
    }
    errno = saved;
    return told;
}

// ---- When the kernel has something ----

static int events_of(uint32_t told, int watched)
{
    int e = 0;
    if (told & (EPOLLIN | EPOLLHUP | EPOLLERR))
        e |= WEFT_READ;
    if (told & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        e |= WEFT_WRITE;
    if (told & (EPOLLPRI | EPOLLHUP | EPOLLERR))
        e |= WEFT_URGENT;
    // Data before hang-up: whoever watches both is told to read, too.
    if (told & (EPOLLRDHUP | EPOLLHUP))
        e |= WEFT_HANGUP | WEFT_READ;
    e &= watched;
    return told & EPOLLERR ? e | WEFT_ERROR : e;
}

void weft::loop_dispatch(weft_loop *l, const struct epoll_event *event)
{
    int fd = event_number(event);
    watch_slot *s = slot_of(l, fd);
    weft_watch *w = s->watch;
    if (w == nullptr || s->generation != event_generation(event) || !s->attached) {
        l->stats.stale++;
        l->stuck = l->lost;
        return;
    }
    if ((w->events & WAITS_FOR) == 0) {
        if (event->events & (EPOLLHUP | EPOLLERR))
            detach(l, fd);
        return;
    }
    int events = events_of(event->events, w->events);
    if (events != 0)
        call(l, w, events);
}

// ---- After a fork, and at the end ----

void weft::loop_attach_all(weft_loop *l)
{
    l->lost = l->stuck = false;
    watch_slot *s;
    for (int fd = -1; (s = record_next(&l->slots, &fd)) != nullptr;) {
        // What was fetched from the parent's kernel part is stale now.
        s->generation++;
        if (s->watch == nullptr || !s->attached)
            continue;
        s->attached = false;
        if (control(l, EPOLL_CTL_ADD, fd, mask_of(s->watch->events)) != 0)
            note(l, fd);
    }
}

void weft::loop_drop_watches(weft_loop *l)
{
    const watch_slot *s;
    for (int fd = -1; (s = record_next(&l->slots, &fd)) != nullptr;) {
        if (s->watch == nullptr)
            continue;
        s->watch->loop = nullptr;
        loop_drop_child(s->watch);
    }
}
