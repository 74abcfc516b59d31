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

#include <base/errno.h>

#include <string.h>

using namespace weft;

struct weft_channel {
    scheduler *home;
    void *plain; // the same while it is open and its items are 8 bytes, else the channel itself
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

weft_channel *weft_channel_create(size_t item_size, size_t capacity)
{
    size_t items, errors, size;
    scheduler *s = scheduler_enter();
    if (s == nullptr)
        return nullptr;
    if (__builtin_mul_overflow(item_size, capacity, &items) ||
        __builtin_mul_overflow(capacity, sizeof(int), &errors) ||
        __builtin_add_overflow(items, sizeof(weft_channel) + alignof(int), &size) ||
        __builtin_add_overflow(errors, size, &size))
        return fail_null(EINVAL);
    weft_channel *c = (weft_channel *)malloc(size);
    if (c == nullptr)
        return nullptr;
    memset(c, 0, sizeof *c);
    c->home = s;
    c->plain = item_size == sizeof(uint64_t) ? s : (void *)c;
    c->item_size = item_size;
    c->capacity = capacity;
    list_init(&c->receivers);
    list_init(&c->senders);
    c->slots = (char *)(c + 1);
    c->error = (int *)(void *)(c->slots + (items + alignof(int) - 1) / alignof(int) * alignof(int));
    return c;
}

int weft_channel_destroy(weft_channel *c)
{
    if (c == nullptr)
        return 0;
    if (c->home != &scheduler_here)
        return fail_with(EPERM);
    if (!list_is_empty(&c->receivers) || !list_is_empty(&c->senders))
        return fail_with(EBUSY);
    free_keep_errno(c);
    return 0;
}

// ---- What happens at once ----

// The wait of `w` has come true, or fails with `error`.
static void complete(weft_private_waiter *w, int error)
{
    weft_tasklet *t = w->tasklet;
    if ((t->state & ~IS_TIMED) == IS_SELECTING) {
        t->cases[w->index].error = error;
        t->value = WOKEN | w->index;
    } else if (error != 0) {
        tasklet_fail_wait(t, error);
        return;
    }
    tasklet_wake(t->home, t);
}

static inline __attribute__((always_inline)) void push_sized(weft_channel *c, const void *item,
                                                             int error, size_t size)
{
    size_t slot = c->first + c->count++;
    if (slot >= c->capacity)
        slot -= c->capacity;
    c->error[slot] = error;
    if (error != 0)
        c->errors++;
    else
        copy(c->slots + slot * size, item, size);
}

static void push(weft_channel *c, const void *item, int error)
{
    push_sized(c, item, error, c->item_size);
}

static inline __attribute__((always_inline)) int pop_sized(weft_channel *c, void *item, size_t size)
{
    size_t slot = c->first;
    int error = 0;
    c->count--;
    c->first = slot + 1 == c->capacity ? 0 : slot + 1;
    if (c->errors != 0 && (error = c->error[slot]) != 0)
        c->errors--;
    else
        copy(item, c->slots + slot * size, size);
    return error;
}

static int pop(weft_channel *c, void *item)
{
    return pop_sized(c, item, c->item_size);
}

// What to do next: these, or an errno.  A receiver's end is none, for any errno can be sent.
enum { DONE, WAIT = -1, CLOSED = -2 };

static int send_now(weft_channel *c, const void *item, int error)
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

// What a waiting sender sends instead of an item; 0: an item.
static int error_of(const weft_private_waiter *w)
{
    return (w->tasklet->state & ~IS_TIMED) == IS_SENDING_ERROR ? w->error : 0;
}

static int receive_now(weft_channel *c, void *item)
{
    weft_private_waiter *w = c->senders.next;
    if (c->count != 0) {
        int error = pop(c, item);
        if (w != &c->senders) {
            push(c, w->item, error_of(w));
            complete(w, 0);
        }
        return error;
    }
    if (w != &c->senders) {
        int error = error_of(w);
        if (error == 0)
            copy(item, w->item, c->item_size);
        complete(w, 0);
        return error;
    }
    return c->closed ? CLOSED : WAIT;
}

// ---- What waits ----

// 0: go on.
static int check(const weft_channel *c, const void *item, weft_deadline d)
{
    scheduler *s = scheduler_enter();
    if (s != nullptr && (c == nullptr || (item == nullptr && c->item_size != 0)))
        return fail_with(EINVAL);
    int error = s != nullptr && c->home != s ? EPERM : refusal(s, d);
    return error != 0 ? fail_with(error) : 0;
}

// Waits in a queue.  It ends in the jump into the next tasklet.
static inline int wait_in(scheduler *s, weft_private_waiter *queue, const void *item, int state,
                          intptr_t value)
{
    weft_private_waiter *own = &s->running->own;
    own->item = (void *)(uintptr_t)item;
    own->index = state == IS_SENDING || state == IS_RECEIVING ? PLAIN_WAITER : 0;
    ring_insert(queue, own);
    return coro_block(s, s->running, state, value);
}

static __attribute__((noinline)) int send_checked(weft_channel *c, const void *item, int error,
                                                  weft_deadline d)
{
    scheduler *s = &scheduler_here;
    if (check(c, item, d) != 0)
        return -1;
    int outcome = send_now(c, item, error);
    if (outcome == DONE)
        return 0;
    if (outcome != WAIT || d <= WEFT_NOW)
        return fail_with(outcome == WAIT ? ETIMEDOUT : outcome);
    s->running->own.error = error;
    int state = error != 0 ? IS_SENDING_ERROR : IS_SENDING;
    return wait_in(s, &c->senders, item, state | deadline(s, d), 0);
}

static __attribute__((noinline)) int receive_checked(weft_channel *c, void *item, weft_deadline d,
                                                     int result)
{
    scheduler *s = &scheduler_here;
    if (check(c, item, d) != 0)
        return -1;
    int outcome = receive_now(c, item);
    if (outcome == DONE)
        return result;
    if (outcome == CLOSED)
        return result == 1 ? 0 : fail_with(EPIPE); // a loop's end is no error
    if (outcome != WAIT || d <= WEFT_NOW)
        return fail_with(outcome == WAIT ? ETIMEDOUT : outcome);
    return wait_in(s, &c->receivers, item, IS_RECEIVING | deadline(s, d), result);
}

// ---- The quick way ----
//
// What nearly all calls are: an item of a pointer's size, nobody cancelled, no deadline.  Anything
// else jumps to the functions above, so that there is no call here.  `free_at` answers for both
// the thread and the cancel.

static inline int plain(const weft_channel *c, const void *item, const weft_tasklet *me,
                        weft_deadline d)
{
    return c != nullptr && item != nullptr && c->plain == me->free_at && d == WEFT_FOREVER;
}

static inline weft_tasklet *tasklet_of(weft_private_waiter *w)
{
    return (weft_tasklet *)(void *)((char *)w - offsetof(weft_tasklet, own));
}

// The first of a queue, which waits for nothing else, is ready.
static inline void end_plain(weft_tasklet *me, weft_private_waiter *w, weft_private_waiter *queue)
{
    weft_private_waiter *second = guess(w->next, queue);
    weft_tasklet *t = tasklet_of(w);
    queue->next = second;
    second->previous = queue;
    t->state = IS_READY;
    ring_insert(me, t);
}

// Waits at the end of a queue, when the switch to the next one is quick.
static inline int wait_plain(scheduler *s, weft_tasklet *me, weft_private_waiter *queue,
                             const void *item, int state, intptr_t value)
{
    weft_tasklet *to = me->next, *before = guess(me->previous, to);
    me->own.item = (void *)(uintptr_t)item;
    ring_insert(queue, &me->own);
    me->state = (uint8_t)state;
    me->value = WOKEN | value;
    before->next = to;
    to->previous = before;
    return jump(s, me, to);
}

int weft_channel_send(weft_channel *c, const void *item, weft_deadline d)
{
    scheduler *s = &scheduler_here;
    weft_tasklet *me = s->running;
    if (!likely(plain(c, item, me, d)))
        return send_checked(c, item, 0, d);
    weft_private_waiter *w = c->receivers.next;
    if (w != &c->receivers) {
        if (!likely(w->index == PLAIN_WAITER))
            return send_checked(c, item, 0, d);
        memcpy(w->item, item, sizeof(uint64_t));
        end_plain(me, w, &c->receivers);
        return 0;
    }
    if (c->count != c->capacity) {
        push_sized(c, item, 0, sizeof(uint64_t));
        return 0;
    }
    if (likely(quick(s, me, me->next, 0)))
        return wait_plain(s, me, &c->senders, item, IS_SENDING, 0);
    return send_checked(c, item, 0, d);
}

static inline __attribute__((always_inline)) int receive(weft_channel *c, void *item,
                                                         weft_deadline d, int result)
{
    scheduler *s = &scheduler_here;
    weft_tasklet *me = s->running;
    if (!likely(plain(c, item, me, d)))
        return receive_checked(c, item, d, result);
    weft_private_waiter *w = c->senders.next;
    if (w != &c->senders) {
        if (c->count != 0 || !likely(w->index == PLAIN_WAITER))
            return receive_checked(c, item, d, result);
        memcpy(item, w->item, sizeof(uint64_t));
        end_plain(me, w, &c->senders);
        return result;
    }
    if (c->count != 0 && c->errors == 0) {
        pop_sized(c, item, sizeof(uint64_t));
        return result;
    }
    if (c->count == 0 && likely(quick(s, me, me->next, 0)))
        return wait_plain(s, me, &c->receivers, item, IS_RECEIVING, result);
    return receive_checked(c, item, d, result);
}

int weft_channel_receive(weft_channel *c, void *item, weft_deadline d)
{
    return receive(c, item, d, 0);
}

int weft_channel_next(weft_channel *c, void *item, weft_deadline d)
{
    return receive(c, item, d, 1);
}

int weft_channel_send_error(weft_channel *c, int error, weft_deadline d)
{
    return error <= 0 ? fail_with(EINVAL) : send_checked(c, "", error, d);
}

// A loop that waits in weft_channel_next ends well.
static void end_receiver(weft_private_waiter *w)
{
    weft_tasklet *t = w->tasklet;
    if ((t->state & ~IS_TIMED) == IS_RECEIVING && t->value != WOKEN) {
        t->value = WOKEN;
        tasklet_wake(t->home, t);
    } else {
        complete(w, EPIPE);
    }
}

int weft_channel_close(weft_channel *c)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    if (c->home != &scheduler_here)
        return fail_with(EPERM);
    c->closed = 1;
    c->plain = c;
    while (!list_is_empty(&c->receivers))
        end_receiver(c->receivers.next);
    while (!list_is_empty(&c->senders))
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

int weft::case_check(const weft_select_case *k)
{
    if (k->op != WEFT_SEND && k->op != WEFT_RECEIVE)
        return EINVAL;
    if (k->channel == nullptr)
        return 0;
    if (k->channel->home != &scheduler_here)
        return EPERM;
    return k->item == nullptr && k->channel->item_size != 0 ? EINVAL : 0;
}

int weft::case_ready(const weft_select_case *k)
{
    const weft_channel *c = k->channel;
    if (c == nullptr)
        return 0;
    if (k->op == WEFT_SEND)
        return c->closed || c->count < c->capacity || !list_is_empty(&c->receivers);
    return c->closed || c->count != 0 || !list_is_empty(&c->senders);
}

void weft::case_happen(weft_select_case *k)
{
    int outcome =
        k->op == WEFT_SEND ? send_now(k->channel, k->item, 0) : receive_now(k->channel, k->item);
    k->error = outcome == CLOSED ? EPIPE : outcome;
}

void weft::case_queue(weft_select_case *k, weft_tasklet *t, int index)
{
    weft_channel *c = k->channel;
    k->waiter.tasklet = t;
    k->waiter.item = k->item;
    k->waiter.error = 0;
    k->waiter.index = index;
    ring_insert(k->op == WEFT_SEND ? &c->senders : &c->receivers, &k->waiter);
}

// ---- For the dump ----

void weft::describe(weft_tasklet *t, const char *what)
{
    const weft_private_waiter *w = &t->own;
    int state = t->state & ~IS_TIMED;
    t->leaf->waits_for = what;
    t->leaf->waits_on = nullptr;
    if (state == IS_JOINING)
        t->leaf->waits_on = t->joins->coro;
    if (state < IS_RECEIVING || state > IS_SENDING_ERROR)
        return;
    while (w->tasklet != nullptr) // the queue's head has none
        w = w->next;
    size_t head =
        state == IS_RECEIVING ? offsetof(weft_channel, receivers) : offsetof(weft_channel, senders);
    t->leaf->waits_on = (const char *)w - head;
}
