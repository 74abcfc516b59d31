// queue.cc: the queue under locks.
//
// Each end of a queue that is first in, first out has a lock: put takes the one, get the other, and
// where many items lie between them they don't meet (M. Michael, M. Scott, "Simple, Fast, and
// Practical Non-Blocking and Blocking Concurrent Queue Algorithms").  In the other orders both are
// the same lock.  Who needs both takes the one to get first.
//
// Who waits for an item lies on a list of the end where items come in, under its lock: so nothing
// comes while it looks a last time, and who puts an item wakes one sleeper before it releases the
// lock that it has anyway.  The other way round for room.  So there is one wake per item at most
// and none when nobody sleeps, and by exactness of the lists (waiters.h) none is lost.  Waking
// after the release looks cheaper and is not: the woken thread then competes with its waker's next
// call.
//
// A call that has to wait first watches the count for a while without the lock and
// yields, so that the other side can fill or drain many items.  If many had come by then, they come
// fast, and to be at the other side's heels, with each look into what it is about to change, would
// slow both: so the next one that waits there leaves it `ahead` for a microsecond.
#include "queue.h"
#include "readable.h"

using namespace weft;

enum { MANY = 8, AHEAD = 64 }; // items; pauses

static bool tidy(void *arg)
{
    weft_queue *q = (weft_queue *)arg;
    list_init(&q->store.in.sleepers);
    list_init(&q->store.out.sleepers);
    list_init(&q->joiners);
    q->store.in.inside = q->store.out.inside = 0;
    close_keep_errno(&q->fd); // the parent's
    q->shown = false;
    return *q->putting == 0 && *q->getting == 0; // else a thread that is not here was changing it
}

bool weft::queue_is_ours(void *q)
{
    return is_ours(&((weft_queue *)q)->generation, tidy, q);
}

static inline bool enter_to_put(weft_queue *q)
{
    bool usable = is_usable(q);
    if (usable)
        take_lock(q->putting);
    return usable;
}

// With `getting` held.
static void take_other(weft_queue *q)
{
    if (q->putting != q->getting)
        take_lock(q->putting);
}

static void drop_other(weft_queue *q)
{
    if (q->putting != q->getting)
        drop_lock(q->putting);
}

static bool enter_whole(weft_queue *q)
{
    bool usable = enter_to_get(q);
    if (usable)
        take_other(q);
    return usable;
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
    weft_queue *q = (weft_queue *)aligned_alloc(alignof(weft_queue), sizeof *q);
    if (q == nullptr)
        return nullptr;
    watch_forks();
    memset((void *)q, 0, sizeof *q);
    q->fd = -1;
    q->store = store;
    q->putting = &q->store.in.lock;
    q->getting = opts->order == WEFT_FIFO ? &q->store.out.lock : q->putting;
    tidy(q);
    q->generation = fork_generation;
    q->capacity = capacity;
    return q;
}

int weft_queue_destroy(weft_queue *q)
{
    if (q == nullptr)
        return 0;
    int saved = errno;
    if (enter_whole(q)) {
        bool busy = q->store.in.inside + q->store.out.inside != 0;
        drop_other(q);
        drop_lock(q->getting);
        if (busy)
            return fail_with(EBUSY);
    }
    close_keep_errno(&q->fd);
    errno = saved;
    free(q->store.cells);
    free(q);
    return 0;
}

static size_t room_of(const weft_queue *q)
{
    return q->store.limit - store_count(&q->store);
}

// With `putting` held: makes the descriptor tell whether a get would return at once.  Who changes
// that meanwhile comes here afterwards.
static __attribute__((noinline)) void show(weft_queue *q)
{
    bool shown = items_of(q) > 0 || q->closed;
    if (shown && !q->shown)
        readable_set(q->fd);
    else if (!shown && q->shown)
        readable_clear(q->fd);
    q->shown = shown;
}

// After a change.
static inline void leave_put(weft_queue *q)
{
    if (__builtin_expect(q->fd >= 0, 0))
        show(q);
    drop_lock(q->putting);
}

void weft::queue_settle(weft_queue *q)
{
    take_other(q);
    store_shrink(&q->store);
    if (q->fd >= 0)
        show(q);
    drop_other(q);
}

static void leave_whole(weft_queue *q)
{
    drop_other(q);
    leave_get(q);
}

// Sleeps until there may be something to pass at `end`.  With `mine`, its lock, held on entry and
// return, but not meanwhile; who makes it `ready` holds `theirs`, which guards the list.  EPERM:
// this is a forked child where nothing here may be used, and no lock is held.
static int nap(weft_queue *q, store_end *end, uint32_t *mine, waiters *list, uint32_t *theirs,
               size_t (*ready)(const weft_queue *), weft_deadline d)
{
    uint32_t generation = fork_generation;
    int error = 0, ahead = way_to_sleep == nullptr ? end->ahead : 0;
    end->inside++;
    drop_lock(mine);
    while (ahead-- > 0)
        spin_pause();
    if (!watch_for([=] { return ready(q) > 0; })) {
        take_lock(theirs);
        if (ready(q) == 0 && !q->closed)
            error = waiters_wait(list, theirs, d, 0, queue_is_ours, q);
        if (error == EPERM)
            return error;
        drop_lock(theirs);
    }
    take_lock(mine);
    end->ahead = ready(q) < MANY ? 0 : AHEAD;
    quit(end, generation);
    return error;
}

// With `putting` held, until there is room.  Returns 0 with the lock, or an error without it.
static int await_room(weft_queue *q, weft_deadline d)
{
    store *s = &q->store;
    int error = wait_for(
        d, [=] { return q->closed        ? EPIPE
                        : room_of(q) > 0 ? 0
                                         : EAGAIN; },
        [=](weft_deadline until) {
            return nap(q, &s->in, q->putting, &s->out.sleepers, q->getting, room_of, until);
        });
    if (error != 0 && error != EPERM)
        drop_lock(q->putting);
    return error;
}

// With `getting` held, the same until there is an item.
static int await_item(weft_queue *q, weft_deadline d)
{
    store *s = &q->store;
    int error = wait_for(
        d, [=] { return store_filled(s) > 0 ? 0
                        : q->closed         ? EPIPE
                                            : EAGAIN; },
        [=](weft_deadline until) {
            return nap(q, &s->out, q->getting, &s->in.sleepers, q->putting, items_of, until);
        });
    if (error != 0 && error != EPERM)
        drop_lock(q->getting);
    return error;
}

// With `putting` held on entry and return, but not meanwhile.  False: no memory.
static bool grow(weft_queue *q, size_t needed)
{
    int saved = errno;
    drop_lock(q->putting);
    take_lock(q->getting);
    take_other(q);
    bool grown = needed <= q->store.room || store_grow(&q->store, needed);
    if (q->putting != q->getting)
        drop_lock(q->getting);
    errno = saved;
    return grown;
}

// As await_room, and until there is a cell for each of n, or as many as are allowed or, but for the
// first, as there is memory for.
static __attribute__((noinline)) int await_cells(weft_queue *q, size_t n, weft_deadline d)
{
    store *s = &q->store;
    for (;;) {
        int error = await_room(q, d);
        if (error != 0)
            return error;
        size_t count = store_count(s), most = s->limit - count;
        s->in.seen = s->in.count - count;
        if (n > most)
            n = most;
        if (s->room - count >= n)
            return 0;
        if (grow(q, count + n))
            continue; // others may have filled it
        if (n == 1) {
            drop_lock(q->putting);
            return ENOMEM;
        }
        n = 1;
    }
}

int weft_queue_put(weft_queue *q, const void *item, weft_deadline d)
{
    if (!enter_to_put(q))
        return -1;
    if (__builtin_expect(q->closed || store_free(&q->store) == 0, 0)) {
        int error = await_cells(q, 1, d);
        if (error != 0)
            return fail_with(error);
    }
    store_push(&q->store, item);
    waiters_wake_one(&q->store.in.sleepers);
    leave_put(q);
    return 0;
}

int weft_queue_get(weft_queue *q, void *item, weft_deadline d)
{
    if (!enter_to_get(q))
        return -1;
    if (__builtin_expect(store_filled(&q->store) == 0, 0)) {
        int error = await_item(q, d);
        if (error != 0)
            return fail_with(error);
    }
    take(q, item);
    leave_get(q);
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
        if (!enter_to_put(q)) {
            error = errno;
            break;
        }
        error = await_cells(q, n - done, d);
        if (error != 0)
            break;
        size_t before = done;
        for (; done < n && store_free(&q->store) > 0; done++)
            store_push(&q->store, from + done * size);
        waiters_wake(&q->store.in.sleepers, done - before);
        leave_put(q);
    }
    return many_done(done, error);
}

ssize_t weft_queue_get_many(weft_queue *q, void *items, size_t n, weft_deadline d)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    char *to = (char *)items;
    size_t size = q->store.item_size, done = 0;
    if (n == 0)
        return 0;
    if (!enter_to_get(q))
        return -1;
    int error = await_item(q, d);
    if (error != 0)
        return fail_with(error);
    for (; done < n && store_filled(&q->store) > 0; done++)
        store_pop(&q->store, to + done * size);
    waiters_wake(&q->store.out.sleepers, done);
    leave_get(q);
    return (ssize_t)done;
}

// With `getting` held: `n` items are done.
static void finish(weft_queue *q, size_t n)
{
    q->done += n;
    if (q->done == passed(&q->store.in))
        waiters_wake(&q->joiners, SIZE_MAX);
}

int weft_queue_close(weft_queue *q, int how)
{
    if (how != WEFT_DRAIN && how != WEFT_DISCARD)
        return fail_with(EINVAL);
    if (!enter_whole(q))
        return -1;
    q->closed = 1;
    if (how == WEFT_DISCARD)
        finish(q, store_clear(&q->store));
    waiters_wake(&q->store.in.sleepers, SIZE_MAX);
    waiters_wake(&q->store.out.sleepers, SIZE_MAX);
    leave_whole(q);
    return 0;
}

size_t weft_queue_length(const weft_queue *q)
{
    size_t n = q != nullptr ? store_count(&q->store) : 0;
    return n == 0 || n < q->store.limit ? n : q->store.limit; // it may count what comes and goes
}

size_t weft_queue_capacity(const weft_queue *q)
{
    return q != nullptr ? q->capacity : 0;
}

int weft_queue_task_done(weft_queue *q)
{
    if (!enter_to_get(q))
        return -1;
    bool owed = q->done != passed(&q->store.in);
    if (owed)
        finish(q, 1);
    drop_lock(q->getting);
    return owed ? 0 : fail_with(EINVAL);
}

int weft_queue_join(weft_queue *q, weft_deadline d)
{
    if (!enter_to_get(q))
        return -1;
    store_end *out = &q->store.out;
    uint32_t generation = fork_generation;
    out->inside++;
    int error = wait_for(
        d, [=] { return q->done == passed(&q->store.in) ? 0 : EAGAIN; },
        [=](weft_deadline until) {
            return waiters_wait(&q->joiners, q->getting, until, 0, queue_is_ours, q);
        });
    if (error != EPERM) { // else without the lock, as in nap
        quit(out, generation);
        drop_lock(q->getting);
    }
    return from_pthread(error);
}

int weft_queue_fd(weft_queue *q)
{
    if (!enter_whole(q))
        return -1;
    if (q->fd < 0)
        q->fd = readable_make();
    int fd = q->fd;
    leave_whole(q);
    return fd;
}
