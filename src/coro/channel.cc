// channel.cc: channels (channel.h).
//
// Two queues of waiters, senders and receivers, in the order they came.  At any time one of them is
// empty (a select that is in both is never matched with itself, for it looks before it
// queues), receivers wait only while the buffer is empty and senders only while it is full.
//
// Whoever comes second does the work: copies the item between the two tasklets' own memory, wakes
// the other and goes on.  So two messages pass for each two switches, and none needs a
// buffer.  A waiter is part of the tasklet's record, so the call that waits has no local
// variable alive and ends in the jump into the next tasklet.
#include "scheduler.h"

#include <base/saved_errno.h>

#include <string.h>

struct weft_channel {
    weft_private_scheduler *home;
    size_t item_size;
    size_t count; // buffered
    int closed;
    int errors;                             // among the buffered
    weft_private_waiter receivers, senders; // the queues' heads
    size_t capacity;
    size_t first; // the oldest one's slot
    char *slots;  // of item_size each
    int *error;   // a slot's, instead of an item; 0: none
};

static inline void copy(void *to, const void *from, size_t size)
{
    if (size == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else if (size == sizeof(uint32_t))
        memcpy(to, from, sizeof(uint32_t));
    else if (size != 0)
        memcpy(to, from, size);
}

static inline int empty(const weft_private_waiter *queue)
{
    return queue->next == queue;
}

static inline void append(weft_private_waiter *queue, weft_private_waiter *w)
{
    w->next = queue;
    w->previous = queue->previous;
    queue->previous->next = w;
    queue->previous = w;
}

weft_channel *weft_channel_create(size_t item_size, size_t capacity)
{
    size_t items, errors, size;
    weft_private_scheduler *s = weft_private_sched_enter();
    if (s == nullptr)
        return nullptr;
    if (__builtin_mul_overflow(item_size, capacity, &items) ||
        __builtin_mul_overflow(capacity, sizeof(int), &errors) ||
        __builtin_add_overflow(items, sizeof(weft_channel) + alignof(int), &size) ||
        __builtin_add_overflow(errors, size, &size)) {
        errno = EINVAL;
        return nullptr;
    }
    weft_channel *c = (weft_channel *)malloc(size);
    if (c == nullptr)
        return nullptr;
    memset(c, 0, sizeof *c);
    c->home = s;
    c->item_size = item_size;
    c->capacity = capacity;
    c->receivers.next = c->receivers.previous = &c->receivers;
    c->senders.next = c->senders.previous = &c->senders;
    c->slots = (char *)(c + 1);
    c->error = (int *)(void *)(c->slots + (items + alignof(int) - 1) / alignof(int) * alignof(int));
    return c;
}

int weft_channel_destroy(weft_channel *c)
{
    if (c == nullptr)
        return 0;
    if (c->home != &weft_private_sched)
        return weft_fail(EPERM);
    if (!empty(&c->receivers) || !empty(&c->senders))
        return weft_fail(EBUSY);
    weft_free_keep_errno(c);
    return 0;
}

// ---- What happens at once ----

// The wait of `w` has come true, or fails with `error`.
static inline void complete(weft_private_waiter *w, int error)
{
    weft_tasklet *t = w->tasklet;
    if (__builtin_expect(w->index >= 0, 0)) {
        t->cases[w->index].error = error;
        weft_private_unpark(t, w->index);
    } else if (__builtin_expect(error != 0, 0)) {
        weft_private_unpark_error(t, error);
    } else {
        weft_private_unpark(t, 0);
    }
}

static void push(weft_channel *c, const void *item, int error)
{
    size_t slot = c->first + c->count++;
    if (slot >= c->capacity)
        slot -= c->capacity;
    c->error[slot] = error;
    if (error != 0)
        c->errors++;
    else
        copy(c->slots + slot * c->item_size, item, c->item_size);
}

static int pop(weft_channel *c, void *item)
{
    size_t slot = c->first;
    int error = 0;
    c->count--;
    c->first = slot + 1 == c->capacity ? 0 : slot + 1;
    if (c->errors != 0 && (error = c->error[slot]) != 0)
        c->errors--;
    else
        copy(item, c->slots + slot * c->item_size, c->item_size);
    return error;
}

// What to do next.
enum { DONE, WAIT = -1 }; // or an errno

static inline int send_now(weft_channel *c, const void *item, int error)
{
    weft_private_waiter *w = c->receivers.next;
    if (w != &c->receivers) {
        if (error == 0)
            copy(w->item, item, c->item_size);
        complete(w, error);
        return DONE;
    }
    if (c->closed)
        return EPIPE;
    if (c->count == c->capacity)
        return WAIT;
    push(c, item, error);
    return DONE;
}

static int pop_and_refill(weft_channel *c, void *item)
{
    weft_private_waiter *w = c->senders.next;
    int error = pop(c, item);
    if (w != &c->senders) {
        push(c, w->item, w->error);
        complete(w, 0);
    }
    return error;
}

static inline int receive_now(weft_channel *c, void *item)
{
    weft_private_waiter *w = c->senders.next;
    if (c->count != 0)
        return pop_and_refill(c, item);
    if (w != &c->senders) {
        int error = w->error;
        if (error == 0)
            copy(item, w->item, c->item_size);
        complete(w, 0);
        return error;
    }
    return c->closed ? EPIPE : WAIT;
}

// ---- What waits ----

// Whatever the quick path did not let through.  0: go on.
static __attribute__((noinline)) int check(const weft_channel *c, const void *item, weft_deadline d)
{
    weft_private_scheduler *s = weft_private_sched_enter();
    if (s == nullptr)
        return -1;
    if (c == nullptr)
        return weft_fail(EINVAL);
    if (c->home != s)
        return weft_fail(EPERM);
    if (item == nullptr && c->item_size != 0)
        return weft_fail(EINVAL);
    int error = weft_private_refusal(s, d);
    return error != 0 ? weft_fail(error) : 0;
}

static inline int fine(const weft_channel *c, const void *item, const weft_private_scheduler *s)
{
    return c != nullptr && item != nullptr && c->home == s && s->running->cancelled == 0 &&
           !(weft_private_coro.current->special & WEFT_SPECIAL_CANCELLED);
}

// Only EPIPE, an error that was sent, and having to wait with no time come here.
static __attribute__((noinline)) int fail(int outcome)
{
    return weft_fail(outcome == WAIT ? ETIMEDOUT : outcome);
}

// Ends in the jump into the next tasklet.
static inline int wait_in(weft_private_scheduler *s, weft_private_waiter *queue, void *item,
                          int error, const char *what, const weft_channel *c, weft_deadline d)
{
    weft_tasklet *me = s->running;
    me->own.item = item;
    me->own.error = error;
    append(queue, &me->own);
    me->queued = 1;
    if (d != WEFT_FOREVER)
        weft_private_timer_add(&s->timers, &me->timer, d);
    return weft_private_block(s, me, WEFT_PARKED_WAITS, what, c);
}

static inline int send(weft_channel *c, const void *item, int error, weft_deadline d)
{
    int outcome = send_now(c, item, error);
    if (weft_private_likely(outcome == DONE))
        return 0;
    if (outcome != WAIT || d <= WEFT_NOW)
        return fail(outcome);
    return wait_in(&weft_private_sched, &c->senders, (void *)(uintptr_t)item, error, "send to", c,
                   d);
}

int weft_channel_send(weft_channel *c, const void *item, weft_deadline d)
{
    if (!weft_private_likely(fine(c, item, &weft_private_sched)) && check(c, item, d) != 0)
        return -1;
    return send(c, item, 0, d);
}

int weft_channel_send_error(weft_channel *c, int error, weft_deadline d)
{
    if (error <= 0)
        return weft_fail(EINVAL);
    return check(c, &error, d) != 0 ? -1 : send(c, "", error, d);
}

int weft_channel_receive(weft_channel *c, void *item, weft_deadline d)
{
    if (!weft_private_likely(fine(c, item, &weft_private_sched)) && check(c, item, d) != 0)
        return -1;
    int outcome = receive_now(c, item);
    if (weft_private_likely(outcome == DONE))
        return 0;
    if (outcome != WAIT || d <= WEFT_NOW)
        return fail(outcome);
    return wait_in(&weft_private_sched, &c->receivers, item, 0, "receive from", c, d);
}

int weft_channel_next(weft_channel *c, void *item, weft_deadline d)
{
    int saved = errno;
    if (weft_channel_receive(c, item, d) == 0)
        return 1;
    if (errno != EPIPE || !c->closed)
        return -1;
    errno = saved;
    return 0;
}

int weft_channel_close(weft_channel *c)
{
    if (c == nullptr)
        return weft_fail(EINVAL);
    if (c->home != &weft_private_sched)
        return weft_fail(EPERM);
    c->closed = 1;
    while (!empty(&c->receivers))
        complete(c->receivers.next, EPIPE);
    while (!empty(&c->senders))
        complete(c->senders.next, EPIPE);
    return 0;
}

static ptrdiff_t length(const weft_private_waiter *queue)
{
    ptrdiff_t n = 0;
    for (const weft_private_waiter *w = queue->next; w != queue; w = w->next)
        n++;
    return n;
}

ptrdiff_t weft_channel_balance(const weft_channel *c)
{
    if (c == nullptr)
        return 0;
    return (ptrdiff_t)c->count + length(&c->senders) - length(&c->receivers);
}

// ---- A select's cases ----

int weft_private_case_check(const weft_select_case *k)
{
    if (k->op != WEFT_SEND && k->op != WEFT_RECEIVE)
        return EINVAL;
    if (k->channel == nullptr)
        return 0;
    if (k->channel->home != &weft_private_sched)
        return EPERM;
    return k->item == nullptr && k->channel->item_size != 0 ? EINVAL : 0;
}

int weft_private_case_ready(const weft_select_case *k)
{
    const weft_channel *c = k->channel;
    if (c == nullptr)
        return 0;
    if (k->op == WEFT_SEND)
        return c->closed || c->count < c->capacity || !empty(&c->receivers);
    return c->closed || c->count != 0 || !empty(&c->senders);
}

void weft_private_case_happen(weft_select_case *k)
{
    if (k->op == WEFT_SEND)
        k->error = send_now(k->channel, k->item, 0);
    else
        k->error = receive_now(k->channel, k->item);
}

void weft_private_case_queue(weft_select_case *k, weft_tasklet *t, int index)
{
    weft_channel *c = k->channel;
    k->waiter.tasklet = t;
    k->waiter.item = k->item;
    k->waiter.error = 0;
    k->waiter.index = index;
    append(k->op == WEFT_SEND ? &c->senders : &c->receivers, &k->waiter);
}
