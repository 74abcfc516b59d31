// pool_shared.h: the memory that a pool's program, supervisor and workers share.
//
// It is mapped before the first fork, so it lies at one address in all of them and may hold
// pointers into itself.  At every instruction at which a worker may be killed, it is
// whole, because:
//
//  - A slot is all there is to know about a task.  Its phase, its owner and its place in the queue
//    are one word, `state`.  The queue only says in which order to look: entry t names
//    a slot, and that slot is to be taken there if its state says QUEUED with ticket t.  A
//    worker claims it by one compare-and-swap that writes it as the owner; moving `head` on is
//    everybody's duty, so it does not matter who dies before having done it.
//  - Before it claims, a worker writes down which slot it will try (`intent`).  So for a dead
//    worker there is one slot to look at, and its state says whether it was taken.
//  - Bits that say "somebody is waiting" live in `state` too and stay there when the phase
//    becomes DONE: whoever resolves a death can repeat the wake.  `asleep`, `spinner` and `ready`
//    are written in such a way that doing so twice does no harm.
//  - Only the program allocates.  No lock is shared.
//
// Who writes what: the program the queue's entries and tail, and a slot while it is FREE or DONE; a
// worker a slot that it owns, and its own record; the supervisor what a dead worker owned.
#ifndef WEFT_SHM_POOL_SHARED_H
#define WEFT_SHM_POOL_SHARED_H

#include <base/errno.h>
#include <base/futex.h>
#include <weft/pool.h>

#include <limits.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

namespace weft {

// ---- A slot's `state`, 64 bits; a futex sleeps on the low half ----
//
// Each change is one compare-and-swap or OR of the whole word; no lock is held.
//
//  field    means                        changed by
//  PHASE    FREE                         the program, to QUEUED
//           QUEUED                       the worker that claims it, to RUNNING; the program, to
//                                        CANCELLED
//           RUNNING                      its owner, to DONE; the supervisor, of a dead owner
//           DONE, CANCELLED              the program, to FREE
//  WAITED   a thread sleeps on it        that thread of the program, before
//  NOTIFY   its bit in `ready` is to     the program
//           be set when it ends
//  OWNER    the place that runs it       the worker, together with RUNNING
//  TICKET   which task it is, so that    the program, together with QUEUED
//           a late claim of an earlier
//           one fails
enum {
    SLOT_FREE = 0,
    SLOT_QUEUED = 1,
    SLOT_RUNNING = 2,
    SLOT_DONE = 3, // RUNNING | 1: one atomic OR ends a task
    SLOT_CANCELLED = 4,
    SLOT_PHASE = 7,
    SLOT_WAITED = 8,
    SLOT_NOTIFY = 16,
    SLOT_OWNER_SHIFT = 5,
    SLOT_OWNER_MASK = 1023, // WEFT_POOL_WORKERS_MAX fits
    SLOT_TICKET_SHIFT = 15
};

static const uint64_t ITEM_EXPIRED = (uint64_t)1 << 63; // taken from its worker by the supervisor

enum { SLOT_INLINE = 192 }; // bytes of a slot for its argument and result

struct pool_verdict {
    uint16_t error;
    uint16_t status; // as waitpid(2)'s, which has 16 bits
};

// A task, or a chunk of a map: `count` calls of one function.
struct pool_slot {
    uint64_t state;
    uint64_t item; // the call that runs or is next; the calls before it have their verdicts
    weft_pool_fn fn;
    unsigned char *arguments; // then the results, then the verdicts if there are several
    size_t argument_size, result_size;
    uint32_t count;
    uint32_t tries; // of the current item; the supervisor's
    uint32_t order; // of the block that holds the bytes: see pool_memory.h
    pool_verdict verdict;
    alignas(16) unsigned char bytes[SLOT_INLINE];
};

// A worker's place.  Its record outlives the processes that come and go in it.
struct alignas(64) pool_place {
    // Written by the worker.
    uint32_t intent;  // the slot that it tries to claim, or has claimed
    uint32_t ready;   // its initialiser has succeeded
    uint32_t leaving; // it ends because it should
    int32_t initialiser_error;
    int64_t started; // when the current call began, if it may not take for ever; else 0
    uint64_t calls_done;
    // Written by the supervisor, and pid by the worker too.
    pid_t pid;
    int64_t stopped;   // since when it is stopped; 0: it is not
    uint32_t inherits; // the slot named by intent is this worker's from the start
    // Written by the wakers.
    uint32_t bell; // a futex: changes when it should look
};

enum { POOL_OPEN, POOL_CLOSED, POOL_TERMINATED };

// `listening`: how many of the program's threads sleep on done_bell, and this bit.
static const uint32_t LISTENING_FD = 1u << 31;

// Who writes apart lies apart, each on cache lines of its own.
struct pool_shared { // NOLINT(clang-analyzer-optin.performance.Padding)
    // Constant.
    uint32_t workers, slots, queue_mask, asleep_words;
    uint32_t tasks_per_child, retries;
    int64_t task_ns, spin_ns;
    int done_fd; // an eventfd
    pool_place *place;
    uint32_t *queue;
    uint64_t *ready; // a bit a slot: has ended, and has a callback or no owner
    pool_slot *slot;
    unsigned char *memory;

    // The program's.
    alignas(64) uint64_t tail;
    uint32_t phase; // POOL_...

    // The workers'.
    alignas(64) uint64_t head;
    alignas(64) uint32_t spinner; // the worker that looks for work without sleeping, + 1
    alignas(64) uint64_t asleep[(WEFT_POOL_WORKERS_MAX + 63) / 64];

    // Ends of tasks, for those who wait for any.
    alignas(64) uint32_t listening;
    uint32_t done_bell;

    // The supervisor's, for the statistics; `initialised` is the workers'.
    alignas(64) uint64_t lost;
    uint64_t timed_out, retried, forked, deaths;
    uint32_t alive, initialised;
    int32_t initialiser_error, fork_error;
    uint32_t ended_as_told; // the supervisor's last word; missing if it was killed
};

static inline uint64_t slot_state(const pool_slot *s)
{
    return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
}

static inline uint32_t phase_of(uint64_t state)
{
    return (uint32_t)state & SLOT_PHASE;
}

static inline uint32_t owner_of(uint64_t state)
{
    return (uint32_t)(state >> SLOT_OWNER_SHIFT) & SLOT_OWNER_MASK;
}

static inline bool has_ended(uint64_t state)
{
    return phase_of(state) == SLOT_DONE || phase_of(state) == SLOT_CANCELLED;
}

static inline uint64_t state_queued(uint64_t ticket)
{
    return ticket << SLOT_TICKET_SHIFT | SLOT_QUEUED;
}

static inline const uint32_t *state_futex(const pool_slot *s)
{
    const uint32_t *halves = (const uint32_t *)&s->state;
    return halves + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

static inline size_t round_up_16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static inline unsigned char *slot_result(const pool_slot *s, uint64_t item)
{
    return s->arguments + round_up_16(s->argument_size * s->count) + s->result_size * item;
}

static inline pool_verdict *slot_verdict(pool_slot *s, uint64_t item)
{
    if (s->count == 1)
        return &s->verdict;
    size_t used = round_up_16(s->argument_size * s->count) + s->result_size * s->count;
    return (pool_verdict *)(s->arguments + round_up_16(used)) + item;
}

static inline bool queue_empty(const pool_shared *sh)
{
    return __atomic_load_n(&sh->head, __ATOMIC_SEQ_CST) ==
           __atomic_load_n(&sh->tail, __ATOMIC_SEQ_CST);
}

// Makes the worker in a place look for work, whether it sleeps or is about to.
static inline void ring_place(pool_shared *sh, uint32_t i)
{
    __atomic_fetch_add(&sh->place[i].bell, 1, __ATOMIC_SEQ_CST);
    futex_wake(&sh->place[i].bell, 1, 1);
}

// Wakes one sleeping worker, if there is one; the first place first, so that few workers
// stay warm.  Taking its bit is what keeps the next waker from choosing the same.
static inline void wake_a_worker(pool_shared *sh)
{
    for (uint32_t w = 0; w < sh->asleep_words; w++) {
        uint64_t bits = __atomic_load_n(&sh->asleep[w], __ATOMIC_SEQ_CST);
        while (bits != 0) {
            if (__atomic_compare_exchange_n(&sh->asleep[w], &bits, bits & (bits - 1), false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
                ring_place(sh, w * 64 + (uint32_t)__builtin_ctzll(bits));
                return;
            }
        }
    }
}

// In a worker its pool, and the supervisor, which it tells of ends by SIGUSR1: a task may have
// closed done_fd and have another file under its number.  A worker that may not (a task gave up
// the rights) ends: the supervisor hears that too, and announces what it left.
inline const pool_shared *worker_of;
inline pid_t worker_tells;

static inline void ring_fd(const pool_shared *sh)
{
    uint64_t one = 1;
    if (sh != worker_of)
        (void)!uncancelled(write, sh->done_fd, &one, sizeof one);
    else if (kill(worker_tells, SIGUSR1) != 0)
        _exit(1);
}

// Tells the program's threads that wait for any end, or for a free slot.
static inline void ring_sleepers(pool_shared *sh)
{
    if ((__atomic_load_n(&sh->listening, __ATOMIC_SEQ_CST) & ~LISTENING_FD) == 0)
        return;
    __atomic_fetch_add(&sh->done_bell, 1, __ATOMIC_SEQ_CST);
    futex_wake(&sh->done_bell, INT_MAX, 1);
}

// Tells those who wait for any end.
static inline void ring_listeners(pool_shared *sh)
{
    ring_sleepers(sh);
    if (__atomic_load_n(&sh->listening, __ATOMIC_SEQ_CST) & LISTENING_FD)
        ring_fd(sh);
}

// Tells those who wait that the slot whose state this is has ended.  May be repeated.
static inline void announce(pool_shared *sh, pool_slot *s, uint64_t state)
{
    if (state & SLOT_NOTIFY) {
        size_t i = (size_t)(s - sh->slot);
        __atomic_fetch_or(&sh->ready[i / 64], (uint64_t)1 << i % 64, __ATOMIC_SEQ_CST);
    }
    if (state & SLOT_WAITED)
        futex_wake(state_futex(s), INT_MAX, 1);
    ring_listeners(sh);
}

// Ends a RUNNING slot whose every call has its verdict.  SEQ_CST: those who wait first
// set their bit and then look at the phase.
static inline void slot_finish(pool_shared *sh, pool_slot *s)
{
    uint64_t before = __atomic_fetch_or(&s->state, SLOT_DONE, __ATOMIC_SEQ_CST);
    announce(sh, s, before);
}

} // namespace weft

#endif
