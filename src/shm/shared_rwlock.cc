// shared_rwlock.cc: a reader-writer lock that survives readers and writers.
//
// A count of readers would stay too high for ever when one of them is killed.  So each reading
// thread has a place of its own, with its name and how often it reads; to read is one
// compare-and-swap there and a look whether a writer has come.  Writers take a robust mutex,
// say that they have come, and wait until nobody reads; they look in each place whether its
// thread lives.
//
// A writer that was killed at work has left `held` set.  Whoever comes next, reader or writer, gets
// the lock for writing and EOWNERDEAD.
//
// A place's state is one word: how often its thread reads, and how often the place has
// changed its owner, so that an old owner's compare-and-swap fails.  Owners change under `lock`,
// while the state is CHANGING; only who reads not at all, or is dead, loses its place.
#include "brief_lock.h"
#include "doorbell.h"

#include <base/errno.h>
#include <weft/shared_sync.h>

#include <signal.h>
#include <string.h>

using namespace weft;

static const uint32_t DEPTH = 0xffff, CHANGING = DEPTH, ONE_OWNER = DEPTH + 1;

int weft_shared_rwlock_init(weft_shared_rwlock *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    memset(l, 0, sizeof *l);
    return weft_shared_mutex_init(&l->writer, WEFT_CHECKED);
}

// ---- a reader's place ----

static uint32_t state_of(const weft_shared_reader *r)
{
    return __atomic_load_n(&r->state, __ATOMIC_ACQUIRE);
}

static bool is_reading(uint32_t state)
{
    return (state & DEPTH) != 0 && (state & DEPTH) != CHANGING;
}

static bool change(weft_shared_reader *r, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&r->state, &from, to, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

static bool is_of(const weft_shared_reader *r, uint64_t who, uint32_t thread)
{
    return __atomic_load_n(&r->who, __ATOMIC_RELAXED) == who &&
           __atomic_load_n(&r->thread, __ATOMIC_RELAXED) == thread;
}

static uint32_t first_place(uint32_t thread)
{
    static_assert(WEFT_SHARED_HOLDERS == 128, "seven bits");
    return thread * 0x9e3779b1U >> 25;
}

// The next place from i on that somebody has had, or WEFT_SHARED_HOLDERS.
static uint32_t next_taken(const weft_shared_rwlock *l, uint32_t i)
{
    for (; i < WEFT_SHARED_HOLDERS; i = (i | 63) + 1) {
        uint64_t bits = __atomic_load_n(&l->taken[i / 64], __ATOMIC_SEQ_CST) >> i % 64;
        if (bits != 0)
            return i + (uint32_t)__builtin_ctzll(bits);
    }
    return WEFT_SHARED_HOLDERS;
}

// The caller's place, or -1.
static int find(const weft_shared_rwlock *l, const brief_self *self)
{
    uint32_t i = first_place(self->id);
    if (is_of(&l->readers[i], self->process, self->id))
        return (int)i;
    for (i = next_taken(l, 0); i < WEFT_SHARED_HOLDERS; i = next_taken(l, i + 1))
        if (is_of(&l->readers[i], self->process, self->id))
            return (int)i;
    return -1;
}

// Its thread has ended, or its process.
static bool is_dead(const weft_shared_reader *r)
{
    int saved = errno, process = (int)(r->who & 0xffffff);
    bool dead = r->who != 0 && (!holder_lives(r->who) ||
                                (tgkill(process, (pid_t)r->thread, 0) != 0 && errno == ESRCH));
    errno = saved;
    return dead;
}

// Under `lock`: makes the place the caller's, if its owner can lose it.
static bool take_place(weft_shared_rwlock *l, weft_shared_reader *r, uint32_t state,
                       const brief_self *self)
{
    size_t i = (size_t)(r - l->readers);
    __atomic_fetch_or(&l->taken[i / 64], (uint64_t)1 << i % 64, __ATOMIC_SEQ_CST);
    if (!change(r, state, (state & ~DEPTH) | CHANGING))
        return false;
    __atomic_store_n(&r->who, self->process, __ATOMIC_RELAXED);
    __atomic_store_n(&r->thread, self->id, __ATOMIC_RELAXED);
    __atomic_store_n(&r->state, (state & ~DEPTH) + ONE_OWNER, __ATOMIC_RELEASE);
    return true;
}

// Under `lock`, when its last holder has died there: what it has left CHANGING is nobody's.
static void mend(weft_shared_rwlock *l)
{
    for (weft_shared_reader &r : l->readers)
        if ((r.state & DEPTH) == CHANGING) {
            __atomic_store_n(&r.who, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&r.state, (r.state & ~DEPTH) + ONE_OWNER, __ATOMIC_RELEASE);
        }
}

enum { OF_NOBODY, OF_IDLE, OF_DEAD, KINDS };

// A place for the caller, near its first; null: none.
static weft_shared_reader *new_place(weft_shared_rwlock *l, const brief_self *self)
{
    for (int kind = OF_NOBODY; kind < KINDS; kind++)
        for (uint32_t i = 0, at = first_place(self->id); i < WEFT_SHARED_HOLDERS; i++) {
            weft_shared_reader *r = &l->readers[(at + i) % WEFT_SHARED_HOLDERS];
            uint32_t state = state_of(r);
            bool may = kind == OF_NOBODY ? r->who == 0 : kind == OF_DEAD || !is_reading(state);
            if (may && (kind != OF_DEAD || is_dead(r)) && take_place(l, r, state, self))
                return r;
        }
    return nullptr;
}

static weft_shared_reader *own_place(weft_shared_rwlock *l, const brief_self *self)
{
    int i = find(l, self);
    // CHANGING: another is taking it, or died in that, and it is to be mended.
    if (i >= 0 && (state_of(&l->readers[i]) & DEPTH) != CHANGING)
        return &l->readers[i];
    if (brief_lock(&l->lock, WEFT_FOREVER) == EOWNERDEAD)
        mend(l);
    weft_shared_reader *r = new_place(l, self);
    brief_unlock(&l->lock);
    return r;
}

// ---- writing ----

static bool writer_has_come(const weft_shared_rwlock *l)
{
    return __atomic_load_n(&l->writing, __ATOMIC_SEQ_CST) != 0;
}

// Lets go of the mutex, and of the readers, unless the lock is for whoever mends it.
static int leave(weft_shared_rwlock *l)
{
    if (!l->held)
        __atomic_store_n(&l->writing, 0, __ATOMIC_SEQ_CST);
    int n = weft_shared_mutex_unlock(&l->writer);
    doorbell_ring(&l->left, &l->left_armed, INT_MAX);
    return n;
}

// Nobody reads; the dead are forgotten.
static bool is_empty(weft_shared_rwlock *l, bool look)
{
    bool empty = true;
    for (uint32_t i = next_taken(l, 0); i < WEFT_SHARED_HOLDERS; i = next_taken(l, i + 1)) {
        weft_shared_reader *r = &l->readers[i];
        uint32_t state = state_of(r);
        if (is_reading(state) && !(look && is_dead(r) && change(r, state, state & ~DEPTH)))
            empty = false;
    }
    return empty;
}

// Waits until nobody reads.  0 or ETIMEDOUT.
static int wait_for_readers(weft_shared_rwlock *l, weft_deadline d)
{
    uint32_t seen;
    bool among_dead = d <= WEFT_NOW; // else after a sleep
    auto look = [&] {
        seen = doorbell_count(&l->drained);
        doorbell_arm(&l->drained_armed);
        return is_empty(l, among_dead) ? 0 : EAGAIN;
    };
    return wait_for(d, look, [&](weft_deadline until) {
        among_dead = true;
        return doorbell_sleep(&l->drained, seen, until, &l->drained_look, REGARDLESS);
    });
}

// With the mutex: 0, EOWNERDEAD (with the lock, too) or ETIMEDOUT (without).
static int begin_writing(weft_shared_rwlock *l, weft_deadline d)
{
    __atomic_store_n(&l->writing, 1, __ATOMIC_SEQ_CST);
    int error = wait_for_readers(l, d);
    if (error != 0) {
        leave(l);
        return error;
    }
    bool died = l->held != 0;
    __atomic_store_n(&l->held, 1, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); // what it guards is touched after this
    return died ? EOWNERDEAD : 0;
}

static bool has_written(const weft_shared_rwlock *l, const brief_self *self)
{
    return (__atomic_load_n(&l->writer.word, __ATOMIC_RELAXED) & FUTEX_TID_MASK) == self->id;
}

int weft_shared_rwlock_write(weft_shared_rwlock *l, weft_deadline d)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    brief_self *self = brief_this_thread();
    int saved = errno, i = find(l, self);
    if (i >= 0 && is_reading(state_of(&l->readers[i])))
        return fail_with(EDEADLK);
    if (weft_shared_mutex_lock(&l->writer, d) != 0 && errno != EOWNERDEAD)
        return -1;
    errno = saved;
    int error = begin_writing(l, d);
    return error != 0 ? fail_with(error) : 0;
}

// ---- reading ----

// A writer has come: waits until it has left.  0: try again; EOWNERDEAD: it had died at work, and
// the caller has the lock for writing; EDEADLK, ETIMEDOUT.
static int wait_for_writer(weft_shared_rwlock *l, const brief_self *self, weft_deadline d)
{
    if (has_written(l, self))
        return EDEADLK;
    for (int error = d <= WEFT_NOW ? ETIMEDOUT : 0; writer_has_come(l);) {
        uint32_t seen = doorbell_count(&l->left);
        doorbell_arm(&l->left_armed);
        uint32_t owner = __atomic_load_n(&l->writer.word, __ATOMIC_SEQ_CST) & FUTEX_TID_MASK;
        if (owner == 0 &&
            (weft_shared_mutex_lock(&l->writer, WEFT_NOW) == 0 || errno == EOWNERDEAD)) {
            if (l->held)
                return begin_writing(l, d);
            leave(l);
            continue;
        }
        if (error != 0)
            return writer_has_come(l) ? error : 0;
        if (writer_has_come(l))
            error = doorbell_sleep(&l->left, seen, d, &l->left_look, REGARDLESS);
        if (!writer_has_come(l) && doorbell_count(&l->left) == seen) // it was killed before it rang
            doorbell_ring_now(&l->left, &l->left_armed, INT_MAX);
    }
    return 0;
}

// Says that it doesn't read after all, or not any more.
static void stop_reading(weft_shared_rwlock *l, weft_shared_reader *r, uint32_t state)
{
    __atomic_exchange_n(&r->state, state,
                        __ATOMIC_SEQ_CST); // nobody else changes it while it reads
    doorbell_ring(&l->drained, &l->drained_armed, INT_MAX);
}

// Says that it reads, once more than `state` tells; whether a writer has come is another thing.
// 0, EUSERS, EAGAIN.
static int start_reading(weft_shared_rwlock *l, const brief_self *self, weft_shared_reader **place,
                         uint32_t *state)
{
    for (;;) {
        weft_shared_reader *r = *place = own_place(l, self);
        if (r == nullptr)
            return EUSERS;
        *state = state_of(r);
        if ((*state & DEPTH) == CHANGING)
            continue;
        if ((*state & DEPTH) == CHANGING - 1)
            return EAGAIN;
        if (is_of(r, self->process, self->id) && change(r, *state, *state + 1))
            return 0;
        // it has just lost its place
    }
}

static int read_slowly(weft_shared_rwlock *l, brief_self *self, weft_deadline d)
{
    for (int saved = errno;;) {
        weft_shared_reader *r;
        uint32_t state;
        int error = start_reading(l, self, &r, &state);
        if (error != 0)
            return fail_with(error);
        if ((state & DEPTH) != 0 || !writer_has_come(l))
            return 0;
        stop_reading(l, r, state);
        error = wait_for_writer(l, self, d);
        if (error != 0)
            return fail_with(error);
        errno = saved;
    }
}

int weft_shared_rwlock_read(weft_shared_rwlock *l, weft_deadline d)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    brief_self *self = brief_this_thread();
    weft_shared_reader *r = &l->readers[first_place(self->id)];
    uint32_t state = state_of(r);
    if (__builtin_expect(is_of(r, self->process, self->id) && (state & DEPTH) == 0 &&
                             !writer_has_come(l) && change(r, state, state + 1),
                         1)) {
        if (__builtin_expect(!writer_has_come(l), 1))
            return 0;
        stop_reading(l, r, state);
    }
    return read_slowly(l, self, d);
}

// ---- the end of both ----

static int end_writing(weft_shared_rwlock *l)
{
    __atomic_store_n(&l->held, 0, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return leave(l);
}

int weft_shared_rwlock_unlock(weft_shared_rwlock *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    brief_self *self = brief_this_thread();
    int i = find(l, self);
    uint32_t state = i >= 0 ? state_of(&l->readers[i]) : 0;
    if (is_reading(state)) {
        stop_reading(l, &l->readers[i], state - 1);
        return 0;
    }
    return has_written(l, self) ? end_writing(l) : fail_with(EPERM);
}

int weft_shared_rwlock_downgrade(weft_shared_rwlock *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    brief_self *self = brief_this_thread();
    weft_shared_reader *r;
    uint32_t state;
    if (!has_written(l, self))
        return fail_with(EPERM);
    // EUSERS: places of those that look for a moment whether they may read.
    while (start_reading(l, self, &r, &state) != 0)
        ;
    return end_writing(l); // the next writer waits for who reads
}
