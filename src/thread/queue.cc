// queue.cc: the queue under a lock.
//
// One lock guards the store and three lists of sleepers.  Who puts an item takes one
// sleeper off `getters` and wakes it before it releases the lock, and the other way
// round; so there is one wake per item at most and none when nobody sleeps, and by
// exactness of the lists (waiters.h) none is lost.  Waking after the release looks
// cheaper and is not: the woken thread then competes with its waker's next call.
//
// A call that has to wait first watches the count for a while without the lock and
// yields, so that the other side can fill or drain many items.
#include "forked.h"
#include "readable.h"
#include "store.h"
#include "waiters.h"

#include <weft/queue.h>

using namespace weft;

struct weft_queue {
    uint32_t lock;
    uint32_t generation; // forked.h
    // Everything below is guarded by the lock, but for the count's unlocked readers.
    int closed;
    int fd; // -1, or readable while `shown`
    bool shown;
    struct store store;
    waiters getters, putters, joiners;
    size_t unfinished; // items put and not yet reported done
    size_t inside;     // threads that wait, or are about to, or are on their way out
    size_t capacity;
};

static bool tidy(void *arg)
{
    weft_queue *q = (weft_queue *)arg;
    list_init(&q->getters);
    list_init(&q->putters);
    list_init(&q->joiners);
    q->inside = 0;
    close_keep_errno(&q->fd); // the parent's
    q->shown = false;
    return q->lock == 0; // else a thread that is not here was changing it
}

static bool ours(void *q)
{
    return is_ours(&((weft_queue *)q)->generation, tidy, q);
}

// Locked; false: EPERM, in errno.
static bool enter(weft_queue *q)
{
    if (q == nullptr || !ours(q)) {
        errno = q == nullptr ? EINVAL : EPERM;
        return false;
    }
    take_lock(&q->lock);
    return true;
}

weft_queue *weft_queue_create(size_t item_size, size_t capacity, const weft_queue_options *opts)
{
    static const weft_queue_options defaults = {};
    if (opts == nullptr)
        opts = &defaults;
    bool ordered = opts->order == WEFT_PRIORITY;
    if (item_size == 0 || opts->order < WEFT_FIFO || opts->order > WEFT_PRIORITY ||
        ordered != (opts->compare != nullptr)) {
        errno = EINVAL;
        return nullptr;
    }
    struct store store;
    if (!store_init(&store, item_size, capacity != 0 ? capacity : SIZE_MAX, opts->order,
                    opts->compare, opts->arg)) {
        errno = EOVERFLOW;
        return nullptr;
    }
    weft_queue *q = (weft_queue *)calloc(1, sizeof *q);
    if (q == nullptr)
        return nullptr;
    watch_forks();
    q->fd = -1;
    tidy(q);
    q->generation = fork_generation;
    q->store = store;
    q->capacity = capacity;
    return q;
}

int weft_queue_destroy(weft_queue *q)
{
    if (q == nullptr)
        return 0;
    int saved = errno;
    if (enter(q)) {
        bool busy = q->inside != 0;
        drop_lock(&q->lock);
        if (busy)
            return fail_with(EBUSY);
    }
    close_keep_errno(&q->fd);
    errno = saved;
    free(q->store.cells);
    free(q);
    return 0;
}

static bool has_room(const weft_queue *q)
{
    return __atomic_load_n(&q->store.count, __ATOMIC_RELAXED) < q->store.limit;
}

static bool has_item(const weft_queue *q)
{
    return __atomic_load_n(&q->store.count, __ATOMIC_RELAXED) > 0;
}

// Locked: makes the descriptor tell whether a get would return at once.
static __attribute__((noinline)) void show(weft_queue *q)
{
    bool shown = has_item(q) || q->closed;
    if (shown && !q->shown)
        readable_set(q->fd);
    else if (!shown && q->shown)
        readable_clear(q->fd);
    q->shown = shown;
}

// After a change.
static inline void leave(weft_queue *q)
{
    if (__builtin_expect(q->fd >= 0, 0))
        show(q);
    drop_lock(&q->lock);
}

// Locked: one waits no more, which began in that fork_generation.  (Of others tidy knows nothing.)
static void quit(weft_queue *q, uint32_t generation)
{
    q->inside -= generation == fork_generation;
}

// Sleeps, with the lock on entry and return, until `ready` may hold.
static int nap(weft_queue *q, waiters *list, bool (*ready)(const weft_queue *), weft_deadline d)
{
    uint32_t generation = fork_generation;
    q->inside++;
    drop_lock(&q->lock);
    watch_for([=] { return ready(q); });
    take_lock(&q->lock);
    int error = ready(q) || q->closed ? 0 : waiters_wait(list, &q->lock, d, 0, ours, q);
    quit(q, generation);
    return error;
}

// Locked, until there is room.  Returns 0 with the lock, or an error without it.
static int await_room(weft_queue *q, weft_deadline d)
{
    int error = wait_for(
        d, [=] { return q->closed     ? EPIPE
                        : has_room(q) ? 0
                                      : EAGAIN; },
        [=](weft_deadline until) { return nap(q, &q->putters, has_room, until); });
    if (error != 0)
        drop_lock(&q->lock);
    return error;
}

// The same, until there is an item.
static int await_item(weft_queue *q, weft_deadline d)
{
    int error = wait_for(
        d, [=] { return has_item(q) ? 0
                        : q->closed ? EPIPE
                                    : EAGAIN; },
        [=](weft_deadline until) { return nap(q, &q->getters, has_item, until); });
    if (error != 0)
        drop_lock(&q->lock);
    return error;
}

int weft_queue_put(weft_queue *q, const void *item, weft_deadline d)
{
    if (!enter(q))
        return -1;
    if (__builtin_expect(q->closed || !has_room(q), 0)) {
        int error = await_room(q, d);
        if (error != 0)
            return fail_with(error);
    }
    bool done = store_push(&q->store, item);
    if (done) {
        q->unfinished++;
        waiters_wake_one(&q->getters);
    }
    leave(q);
    return done ? 0 : fail_with(ENOMEM);
}

// Locked; there is an item.
static inline void take(weft_queue *q, void *item)
{
    store_pop(&q->store, item);
    waiters_wake_one(&q->putters);
}

int weft_queue_get(weft_queue *q, void *item, weft_deadline d)
{
    if (!enter(q))
        return -1;
    if (__builtin_expect(!has_item(q), 0)) {
        int error = await_item(q, d);
        if (error != 0)
            return fail_with(error);
    }
    take(q, item);
    leave(q);
    return 0;
}

ssize_t weft_queue_put_many(weft_queue *q, const void *items, size_t n, weft_deadline d)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    const char *from = (const char *)items;
    size_t size = q->store.item_size, done = 0;
    int error = 0;
    while (done < n && error == 0) {
        if (!enter(q)) {
            error = errno;
            break;
        }
        error = await_room(q, d);
        if (error != 0)
            break;
        size_t before = done;
        for (; done < n && has_room(q); done++)
            if (!store_push(&q->store, from + done * size)) {
                error = ENOMEM;
                break;
            }
        q->unfinished += done - before;
        waiters_wake(&q->getters, done - before);
        leave(q);
    }
    if (error != 0)
        errno = error;
    return error != 0 && done == 0 ? -1 : (ssize_t)done;
}

ssize_t weft_queue_get_many(weft_queue *q, void *items, size_t n, weft_deadline d)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    char *to = (char *)items;
    size_t size = q->store.item_size, done = 0;
    if (n == 0)
        return 0;
    if (!enter(q))
        return -1;
    int error = await_item(q, d);
    if (error != 0)
        return fail_with(error);
    for (; done < n && has_item(q); done++)
        store_pop(&q->store, to + done * size);
    waiters_wake(&q->putters, done);
    leave(q);
    return (ssize_t)done;
}

// Locked: `n` items are done.
static void finish(weft_queue *q, size_t n)
{
    q->unfinished -= n;
    if (q->unfinished == 0)
        waiters_wake(&q->joiners, SIZE_MAX);
}

int weft_queue_close(weft_queue *q, int how)
{
    if (how != WEFT_DRAIN && how != WEFT_DISCARD)
        return fail_with(EINVAL);
    if (!enter(q))
        return -1;
    q->closed = 1;
    if (how == WEFT_DISCARD) {
        size_t thrown = q->store.count;
        store_clear(&q->store);
        finish(q, thrown);
    }
    waiters_wake(&q->getters, SIZE_MAX);
    waiters_wake(&q->putters, SIZE_MAX);
    leave(q);
    return 0;
}

size_t weft_queue_length(const weft_queue *q)
{
    return q != nullptr ? __atomic_load_n(&q->store.count, __ATOMIC_RELAXED) : 0;
}

size_t weft_queue_capacity(const weft_queue *q)
{
    return q != nullptr ? q->capacity : 0;
}

int weft_queue_task_done(weft_queue *q)
{
    if (!enter(q))
        return -1;
    bool owed = q->unfinished > 0;
    if (owed)
        finish(q, 1);
    drop_lock(&q->lock);
    return owed ? 0 : fail_with(EINVAL);
}

int weft_queue_join(weft_queue *q, weft_deadline d)
{
    if (!enter(q))
        return -1;
    uint32_t generation = fork_generation;
    q->inside++;
    int error = wait_for(
        d, [=] { return q->unfinished == 0 ? 0 : EAGAIN; },
        [=](weft_deadline until) {
            return waiters_wait(&q->joiners, &q->lock, until, 0, ours, q);
        });
    quit(q, generation);
    drop_lock(&q->lock);
    return from_pthread(error);
}

// ---- Several queues ----

enum { FEW = 8 };

// A thread that gets from any of n, with a node for each to wait there.
struct choice {
    weft_queue *const *queues;
    size_t n;
    waiter *nodes;
    void *item;
    bool got; // in passing
    size_t which;
    uint32_t generation; // in which it came
};

// One of n by chance, so that a busy queue leaves none out.
static size_t any_of(size_t n)
{
    static __thread uint64_t dice;
    dice = dice * 6364136223846793005u + (uintptr_t)&dice + 1;
    return (size_t)((dice >> 32) * n >> 32);
}

// Looks into each: 0: got; EAGAIN; EPIPE: all are at their end; what enter says.
static int take_any(choice *c)
{
    size_t first = any_of(c->n), ended = 0;
    for (size_t i = 0; i < c->n; i++) {
        c->which = (first + i) % c->n;
        weft_queue *q = c->queues[c->which];
        if (!enter(q))
            return errno;
        bool got = has_item(q);
        if (got)
            take(q, c->item);
        ended += !got && q->closed;
        leave(q);
        if (got)
            return 0;
    }
    return ended == c->n ? EPIPE : EAGAIN;
}

// One more waits in each, or one less, for destroy.
static void count_in(const choice *c, bool more)
{
    if (c->generation != fork_generation)
        return; // nor does it count here
    for (size_t i = 0; i < c->n; i++) {
        take_lock(&c->queues[i]->lock);
        if (more)
            c->queues[i]->inside++;
        else
            quit(c->queues[i], c->generation);
        drop_lock(&c->queues[i]->lock);
    }
}

// Puts a node on each list.  False: there is something to get, or never will be.
static bool lie_down(const choice *c, uint32_t *word)
{
    size_t ended = 0, found = 0;
    for (size_t i = 0; i < c->n; i++) {
        weft_queue *q = c->queues[i];
        take_lock(&q->lock);
        waiters_add(&q->getters, &c->nodes[i]);
        c->nodes[i].also = word;
        found += has_item(q);
        ended += q->closed != 0;
        drop_lock(&q->lock);
    }
    return found == 0 && ended < c->n;
}

// Takes them off, and an item if there is one: whether there was.  A wake that was spent on us
// where we take nothing goes to another.
static bool get_up(choice *c)
{
    bool got = false;
    for (size_t i = 0, first = any_of(c->n); i < c->n; i++) {
        size_t at = (first + i) % c->n;
        weft_queue *q = c->queues[at];
        take_lock(&q->lock);
        if (c->nodes[at].woken == 0)
            list_remove(&c->nodes[at]);
        c->nodes[at].also = nullptr;
        if (has_item(q) && !got) {
            take(q, c->item);
            c->which = at;
            got = true;
        } else if (has_item(q) && c->nodes[at].woken != 0) {
            waiters_wake_one(&q->getters);
        }
        leave(q);
    }
    return got;
}

static bool any_ready(const choice *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (has_item(c->queues[i]))
            return true;
    return false;
}

static int nap_in_all(choice *c, weft_deadline d)
{
    uint32_t word = 0;
    if (watch_for([=] { return any_ready(c); }))
        return 0;
    int error = lie_down(c, &word) ? await_word(&word, d, 0) : 0;
    if (c->generation != fork_generation)
        return ECANCELED; // the nodes are the parent's affair, as are the locks
    c->got = get_up(c);
    return error;
}

static int await_any(choice *c, weft_deadline d)
{
    return wait_for(
        d, [=] { return c->got ? 0 : take_any(c); },
        [=](weft_deadline until) { return nap_in_all(c, until); });
}

ssize_t weft_queue_get_any(weft_queue *const queues[], size_t n, void *item, weft_deadline d)
{
    waiter few[FEW];
    choice c = {queues, n, few, item, false, 0, fork_generation};
    if (queues == nullptr || n == 0)
        return fail_with(EINVAL);
    int error = await_any(&c, WEFT_NOW);
    if (error == ETIMEDOUT && d > WEFT_NOW) {
        if (n > FEW && (c.nodes = (waiter *)malloc(n * sizeof few[0])) == nullptr)
            return -1;
        count_in(&c, true);
        error = await_any(&c, d);
        count_in(&c, false);
        if (c.nodes != few)
            free_keep_errno(c.nodes);
    }
    return error == 0 ? (ssize_t)c.which : fail_with(error);
}

int weft_queue_fd(weft_queue *q)
{
    if (!enter(q))
        return -1;
    if (q->fd < 0)
        q->fd = readable_make();
    int fd = q->fd;
    leave(q);
    return fd;
}
