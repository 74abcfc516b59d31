// ring.cc: the lock-free ring and the room where its threads sleep.
//
// The ring is D. Vyukov's bounded MPMC queue.  Cell i of `capacity` holds a sequence
// number: p, while the cell is free for the put at position p; p + 1, while it holds
// that item; p + capacity, when the item has been got.  A put claims position p by
// moving `tail` from p to p + 1, writes, and publishes with p + 1; a get claims at
// `head`.  Closing sets the top bit of `tail` (a discard also that of `head`): a claim
// made from the old value then fails, so the last position is known and nothing can
// slip in behind it.
//
// Sleeping.  A thread that finds no room or no item looks 4 times, yields, sixteen times
// over, and then registers in `sleepers`, looks again, and sleeps.  Who has published or
// freed a cell looks at `sleepers` and, if there are any, goes to wake.  "Register, then
// look at the cell" against "change the cell, then look at sleepers" needs a full
// barrier on both sides.  The sleeping side pays for both with membarrier(2), which
// runs one on every thread of the process; where the kernel refuses that, both sides
// do an atomic addition to `sleepers`.
//
// Invariant: when the cell at `head` holds an item and a getter sleeps, some thread is
// awake that will look again: one that was woken, or one between its change of a cell
// and wake().  A producer held up between claim and publish breaks the naive form of
// that, in which each publish wakes one getter: a later cell's wake is spent on a getter
// that finds `head` not ready.  So wake() wakes only if the next cell is ready, and
// is called by gets as well as puts: whoever takes an item with another behind it
// passes the wake on.  The same holds for putters and free cells.
#include "forked.h"
#include "store.h"
#include "waiters.h"

#include <base/errno.h>
#include <weft/queue.h>

#include <linux/membarrier.h>

using namespace weft;

enum { ROUNDS = 16, LOOKS = 4, LINE = 64 };

#define CLOSED ((uint64_t)1 << 63)
#define GETTER ((uint64_t)1)
#define PUTTER ((uint64_t)1 << 32)

// How long a sleeper trusts a system that took membarrier away after the ring was made.
#define DISTRUST_NS 1000000

struct weft_ring {
    // Constant, so on a line of its own.
    alignas(2 * LINE) char *cells;
    size_t item_size, stride, mask;
    bool fenced;         // no membarrier: see publish_barrier
    uint32_t generation; // forked.h

    alignas(2 * LINE) uint64_t tail; // the next put's position, or CLOSED
    alignas(2 * LINE) uint64_t head; // the next get's

    // Read by every call, written only when somebody sleeps: GETTER and PUTTER for each
    // thread in its list or about to enter it.
    alignas(2 * LINE) uint64_t sleepers;

    alignas(2 * LINE) uint32_t lock; // guards the lists
    waiters getters, putters, joiners;
    size_t inside; // threads off the fast path
    uint64_t done; // items reported done, or discarded
};

// ---- Barriers ----

static int membarrier(int command)
{
    int saved = errno;
    int code = (int)syscall(SYS_membarrier, command, 0, 0);
    errno = saved;
    return code;
}

// Between a change of a cell and the look at sleepers.
static inline uint64_t publish_barrier(weft_ring *r)
{
    if (__builtin_expect(r->fenced, 0))
        return __atomic_fetch_add(&r->sleepers, 0, __ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); // the sleeper's membarrier does the rest
    return __atomic_load_n(&r->sleepers, __ATOMIC_RELAXED);
}

// Between registering and the look at the cell.  False: a wake may be missed.
static bool sleep_barrier(const weft_ring *r)
{
    return r->fenced || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
}

// ---- Cells ----

static inline char *cell_at(const weft_ring *r, uint64_t position)
{
    return r->cells + (position & r->mask) * r->stride;
}

// Acquire: the item (or the end of its reading) behind the number is seen.
static inline uint64_t sequence_of(const char *cell)
{
    return __atomic_load_n((const uint64_t *)(const void *)cell, __ATOMIC_ACQUIRE);
}

// Release: the item goes before the number.
static inline void set_sequence(char *cell, uint64_t sequence)
{
    __atomic_store_n((uint64_t *)(void *)cell, sequence, __ATOMIC_RELEASE);
}

// Would a put or get at this moment not have to wait?
static bool can_put(const weft_ring *r)
{
    uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
    return (tail & CLOSED) != 0 || (int64_t)(sequence_of(cell_at(r, tail)) - tail) >= 0;
}

static bool is_spent(const weft_ring *r, uint64_t head)
{
    return (head & CLOSED) != 0 || __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) == (head | CLOSED);
}

static bool can_get(const weft_ring *r)
{
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
    return is_spent(r, head) || (int64_t)(sequence_of(cell_at(r, head)) - (head + 1)) >= 0;
}

// Claims and fills up to n cells in a row: *done of them.  EAGAIN: full; EPIPE.
// The claim itself is relaxed: the cells' numbers carry the order.
static inline __attribute__((always_inline)) int try_put(weft_ring *r, const char *items, size_t n,
                                                         size_t *done)
{
    uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED);
    for (;;) {
        char *cell = cell_at(r, tail);
        uint64_t ahead = sequence_of(cell) - tail;
        if (__builtin_expect(ahead == 0, 1)) {
            size_t k = 1;
            while (k < n && sequence_of(cell_at(r, tail + k)) == tail + k)
                k++;
            if (!__atomic_compare_exchange_n(&r->tail, &tail, tail + k, false, __ATOMIC_RELAXED,
                                             __ATOMIC_RELAXED))
                continue;
            for (size_t i = 0; i < k; i++, cell = cell_at(r, tail + i)) {
                copy_item(cell + sizeof(uint64_t), items + i * r->item_size, r->item_size);
                set_sequence(cell, tail + i + 1);
            }
            *done = k;
            return 0;
        }
        if ((tail & CLOSED) != 0)
            return EPIPE;
        if ((int64_t)ahead < 0)
            return EAGAIN; // the cell is a lap behind, so nobody can have moved tail
        tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED);
    }
}

// Claims and empties up to n cells.  EAGAIN: nothing to get now; EPIPE: nor ever.
static inline __attribute__((always_inline)) int try_get(weft_ring *r, char *items, size_t n,
                                                         size_t *done)
{
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_RELAXED);
    for (;;) {
        char *cell = cell_at(r, head);
        uint64_t ahead = sequence_of(cell) - (head + 1);
        if (__builtin_expect(ahead == 0, 1)) {
            size_t k = 1;
            while (k < n && sequence_of(cell_at(r, head + k)) == head + k + 1)
                k++;
            if (!__atomic_compare_exchange_n(&r->head, &head, head + k, false, __ATOMIC_RELAXED,
                                             __ATOMIC_RELAXED))
                continue;
            for (size_t i = 0; i < k; i++, cell = cell_at(r, head + i)) {
                copy_item(items + i * r->item_size, cell + sizeof(uint64_t), r->item_size);
                set_sequence(cell, head + i + r->mask + 1);
            }
            *done = k;
            return 0;
        }
        if ((int64_t)ahead < 0 || (head & CLOSED) != 0)
            return is_spent(r, head) ? EPIPE : EAGAIN;
        head = __atomic_load_n(&r->head, __ATOMIC_RELAXED);
    }
}

// ---- In a forked child ----

// Whether no thread stood between the claim of a cell and its publishing.
static bool is_whole(const weft_ring *r)
{
    uint64_t head = r->head, tail = r->tail & ~CLOSED, at = head;
    if ((head & CLOSED) != 0) // discarded: no cell will be looked at
        return true;
    for (; at != tail; at++)
        if (sequence_of(cell_at(r, at)) != at + 1)
            return false;
    for (; at != head + r->mask + 1; at++)
        if (sequence_of(cell_at(r, at)) != at)
            return false;
    return true;
}

static bool tidy(void *arg)
{
    weft_ring *r = (weft_ring *)arg;
    list_init(&r->getters);
    list_init(&r->putters);
    list_init(&r->joiners);
    r->sleepers = r->inside = 0;
    return r->lock == 0 && is_whole(r);
}

static inline bool ours(void *r)
{
    return is_ours(&((weft_ring *)r)->generation, tidy, r);
}

// ---- Sleeping and waking ----

static void wake_first(weft_ring *r, waiters *list, uint64_t unit)
{
    __atomic_fetch_sub(&r->sleepers, unit, __ATOMIC_RELAXED);
    waiters_wake_first(list);
}

// Wakes one on each side that has something to do; all, once that is only EPIPE.
static __attribute__((noinline)) void wake(weft_ring *r)
{
    take_lock(&r->lock);
    bool ended = (__atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) & CLOSED) != 0;
    bool spent = is_spent(r, __atomic_load_n(&r->head, __ATOMIC_ACQUIRE));
    for (bool more = true; more && !list_is_empty(&r->getters) && can_get(r); more = spent)
        wake_first(r, &r->getters, GETTER);
    for (bool more = true; more && !list_is_empty(&r->putters) && can_put(r); more = ended)
        wake_first(r, &r->putters, PUTTER);
    drop_lock(&r->lock);
}

static inline void wake_any(weft_ring *r)
{
    if (__builtin_expect(publish_barrier(r) != 0, 0))
        wake(r);
}

// Watches, then sleeps, until `can` may hold.
static int nap(weft_ring *r, waiters *list, uint64_t unit, bool (*can)(const weft_ring *),
               weft_deadline d)
{
    if (watch_for([=] { return can(r); }, ROUNDS, LOOKS))
        return 0;
    // Sequentially consistent: pairs with publish_barrier's addition.
    __atomic_fetch_add(&r->sleepers, unit, __ATOMIC_SEQ_CST);
    weft_deadline until = sleep_barrier(r) ? d : weft_in_ns(DISTRUST_NS);
    int error = ETIMEDOUT;
    bool woken = false;
    uint32_t generation = fork_generation;
    take_lock(&r->lock);
    if (!can(r)) {
        error = waiters_wait(list, &r->lock, until < d ? until : d, 0, ours, r);
        woken = error == 0;
    } else {
        error = 0;
    }
    if (!woken && generation == fork_generation) // else the waker has, or tidy
        __atomic_fetch_sub(&r->sleepers, unit, __ATOMIC_RELAXED);
    drop_lock(&r->lock);
    return error == ETIMEDOUT && until < d && weft_left(d) > 0 ? 0 : error;
}

// Off the fast path: 0 or the errno.  `inside` makes weft_ring_destroy see the threads in here.
// Release: all that they did with the ring comes before they are no longer counted.
template <class Try>
static __attribute__((noinline)) int wait_in(weft_ring *r, Try attempt, waiters *list,
                                             uint64_t unit, bool (*can)(const weft_ring *),
                                             weft_deadline d)
{
    uint32_t generation = fork_generation;
    __atomic_fetch_add(&r->inside, 1, __ATOMIC_RELAXED);
    int error =
        wait_for(d, attempt, [=](weft_deadline until) { return nap(r, list, unit, can, until); });
    if (error == 0)
        wake_any(r);
    if (generation == fork_generation)
        __atomic_fetch_sub(&r->inside, 1, __ATOMIC_RELEASE);
    return error;
}

static int wait_put(weft_ring *r, const char *items, size_t n, size_t *done, weft_deadline d)
{
    return wait_in(
        r, [=] { return try_put(r, items, n, done); }, &r->putters, PUTTER, can_put, d);
}

static int wait_get(weft_ring *r, char *items, size_t n, size_t *done, weft_deadline d)
{
    return wait_in(
        r, [=] { return try_get(r, items, n, done); }, &r->getters, GETTER, can_get, d);
}

// ---- The calls ----

weft_ring *weft_ring_create(size_t item_size, size_t capacity)
{
    size_t stride, bytes, cells = 2;
    if (item_size == 0 || capacity == 0) {
        errno = EINVAL;
        return nullptr;
    }
    while (cells < capacity && cells <= SIZE_MAX / 4)
        cells *= 2;
    // A sequence number, and the item rounded up to keep the next one aligned.
    if (cells < capacity || __builtin_add_overflow(item_size, sizeof(uint64_t) + 7, &stride) ||
        __builtin_mul_overflow(cells, stride, &bytes) || bytes > PTRDIFF_MAX - LINE) {
        errno = EOVERFLOW;
        return nullptr;
    }
    stride -= stride % 8;
    bytes = (cells * stride + LINE - 1) / LINE * LINE;
    weft_ring *r = (weft_ring *)aligned_alloc(alignof(weft_ring), sizeof *r);
    if (r == nullptr)
        return nullptr;
    memset((void *)r, 0, sizeof *r);
    r->cells = (char *)aligned_alloc(LINE, bytes);
    if (r->cells == nullptr) {
        free_keep_errno(r);
        return nullptr;
    }
    r->item_size = item_size;
    r->stride = stride;
    r->mask = cells - 1;
    r->fenced = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0 ||
                membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
    for (size_t i = 0; i < cells; i++)
        set_sequence(cell_at(r, i), i);
    watch_forks();
    tidy(r);
    r->generation = fork_generation;
    return r;
}

int weft_ring_destroy(weft_ring *r)
{
    if (r == nullptr)
        return 0;
    // Acquire: pairs with the last one's way out.
    if (ours(r) && __atomic_load_n(&r->inside, __ATOMIC_ACQUIRE) != 0)
        return fail_with(EBUSY);
    free(r->cells);
    free(r);
    return 0;
}

int weft_ring_put(weft_ring *r, const void *item, weft_deadline d)
{
    if (r == nullptr)
        return fail_with(EINVAL);
    size_t done;
    if (!ours(r))
        return fail_with(EPERM);
    int error = try_put(r, (const char *)item, 1, &done);
    if (__builtin_expect(error == 0, 1)) {
        wake_any(r);
        return 0;
    }
    if (error == EAGAIN)
        error = d <= WEFT_NOW ? ETIMEDOUT : wait_put(r, (const char *)item, 1, &done, d);
    return error == 0 ? 0 : fail_with(error);
}

int weft_ring_get(weft_ring *r, void *item, weft_deadline d)
{
    if (r == nullptr)
        return fail_with(EINVAL);
    size_t done;
    if (!ours(r))
        return fail_with(EPERM);
    int error = try_get(r, (char *)item, 1, &done);
    if (__builtin_expect(error == 0, 1)) {
        wake_any(r);
        return 0;
    }
    if (error == EAGAIN)
        error = d <= WEFT_NOW ? ETIMEDOUT : wait_get(r, (char *)item, 1, &done, d);
    return error == 0 ? 0 : fail_with(error);
}

ssize_t weft_ring_put_many(weft_ring *r, const void *items, size_t n, weft_deadline d)
{
    if (r == nullptr)
        return fail_with(EINVAL);
    const char *from = (const char *)items;
    size_t done = 0, step = 0;
    int error = ours(r) ? 0 : EPERM;
    for (; done < n && error == 0; done += step) {
        error = try_put(r, from + done * r->item_size, n - done, &step);
        if (error == 0)
            wake_any(r);
        else if (error == EAGAIN)
            error = d <= WEFT_NOW ? ETIMEDOUT
                                  : wait_put(r, from + done * r->item_size, n - done, &step, d);
        if (error != 0)
            break;
    }
    return many_done(done, error);
}

ssize_t weft_ring_get_many(weft_ring *r, void *items, size_t n, weft_deadline d)
{
    if (r == nullptr)
        return fail_with(EINVAL);
    size_t done = 0;
    if (n == 0)
        return 0;
    if (!ours(r))
        return fail_with(EPERM);
    int error = try_get(r, (char *)items, n, &done);
    if (error == 0)
        wake_any(r);
    else if (error == EAGAIN)
        error = d <= WEFT_NOW ? ETIMEDOUT : wait_get(r, (char *)items, n, &done, d);
    return error == 0 ? (ssize_t)done : fail_with(error);
}

// Positions given out to puts so far.
static uint64_t put_so_far(const weft_ring *r)
{
    return __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) & ~CLOSED;
}

// Acquire: who has joined sees what went before each task_done.
static bool all_done(const weft_ring *r)
{
    return __atomic_load_n(&r->done, __ATOMIC_ACQUIRE) == put_so_far(r);
}

// A joiner looks and lies down under the lock, so this one comes before or after both.
static void wake_joiners(weft_ring *r)
{
    take_lock(&r->lock);
    waiters_wake(&r->joiners, SIZE_MAX);
    drop_lock(&r->lock);
}

int weft_ring_close(weft_ring *r, int how)
{
    if (r == nullptr || (how != WEFT_DRAIN && how != WEFT_DISCARD))
        return fail_with(EINVAL);
    if (!ours(r))
        return fail_with(EPERM);
    uint64_t tail = __atomic_fetch_or(&r->tail, CLOSED, __ATOMIC_SEQ_CST) & ~CLOSED;
    if (how == WEFT_DISCARD) {
        uint64_t head = __atomic_fetch_or(&r->head, CLOSED, __ATOMIC_SEQ_CST);
        if ((head & CLOSED) == 0)
            __atomic_fetch_add(&r->done, tail - head, __ATOMIC_RELEASE);
        if (all_done(r))
            wake_joiners(r);
    }
    wake(r);
    return 0;
}

size_t weft_ring_length(const weft_ring *r)
{
    if (r == nullptr)
        return 0;
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
    uint64_t tail = put_so_far(r);
    if ((head & CLOSED) != 0)
        return 0;
    return tail - head > r->mask ? r->mask + 1 : (size_t)(tail - head);
}

size_t weft_ring_capacity(const weft_ring *r)
{
    return r != nullptr ? r->mask + 1 : 0;
}

int weft_ring_task_done(weft_ring *r)
{
    if (r == nullptr)
        return fail_with(EINVAL);
    if (!ours(r))
        return fail_with(EPERM);
    uint64_t done = __atomic_load_n(&r->done, __ATOMIC_RELAXED);
    do {
        if (done >= put_so_far(r))
            return fail_with(EINVAL);
        // Release: for all_done's acquire.
    } while (!__atomic_compare_exchange_n(&r->done, &done, done + 1, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    if (all_done(r))
        wake_joiners(r);
    return 0;
}

int weft_ring_join(weft_ring *r, weft_deadline d)
{
    if (r == nullptr)
        return fail_with(EINVAL);
    if (!ours(r))
        return fail_with(EPERM);
    uint32_t generation = fork_generation;
    __atomic_fetch_add(&r->inside, 1, __ATOMIC_RELAXED);
    take_lock(&r->lock);
    int error = wait_for(
        d, [=] { return all_done(r) ? 0 : EAGAIN; },
        [=](weft_deadline until) {
            return waiters_wait(&r->joiners, &r->lock, until, 0, ours, r);
        });
    drop_lock(&r->lock);
    if (generation == fork_generation)
        __atomic_fetch_sub(&r->inside, 1, __ATOMIC_RELEASE);
    return from_pthread(error);
}
