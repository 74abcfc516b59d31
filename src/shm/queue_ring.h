// queue_ring.h: what a shared queue is in memory, for the files it is made of.
//
// A ring of 8-byte units, a power of two of them.  A place in it is one word: how many
// messages came before in the high half, the unit where it begins in the low half, both
// counted on for ever and wrapping at 2^32.  So one store moves a place past a message
// and counts it.
//
//      head             next                    tail
//       | leased or done | waiting to be got     | free
//
// Producers, under put_lock, write messages behind `tail`, then move it.  Consumers, under
// get_lock, read what is before `tail`, then move `head`.  Neither lock's holder ever sleeps.
// Each move is one store after all else is in place: whoever is killed, at whichever
// instruction, has either done it or not, and nothing needs mending.
//
// In lease mode put_lock guards both sides; lease_ring.cc says how it works there.
#ifndef WEFT_SHM_QUEUE_RING_H
#define WEFT_SHM_QUEUE_RING_H

#include "brief_lock.h"
#include "doorbell.h"
#include "handle_lock.h"

#include <weft/shared_queue.h>
#include <weft/sync.h>

#include <string.h>

namespace weft {

static const uint64_t RING_MAGIC = 0x3351524654464557; // "WEFTFRQ3"
enum { WATCHES = 16 };
static const uint32_t ONE_ARMING = 1u << WATCHES;
enum { OPEN = 0, DRAINING = 1, DISCARDED = 2 };

// A message: this, then its bytes, to the next whole unit.
struct record {
    uint32_t length;
    union {
        uint32_t deliveries; // in lease mode: how often it was leased
        uint32_t form;       // else: see record_form
    };
    uint64_t lease[4]; // in lease mode only: see lease_field
};

// A record that was reserved, or fills the ring's end.  Above these bits stand its units.  WIDE:
// the word before the bytes says who has reserved it.  RESERVED: not committed yet.  PAD: it is no
// message, and counts as none.
enum record_form { PLAIN, RESERVED = 1, PAD = 2, WIDE = 4, ONE_UNIT = 8 };

// OWNER: NOBODY, a holder, or ACKNOWLEDGED.  ORIGIN: the place where it was put, its name for ever.
// UNTIL: the lease's end.  THREAD: its holder's.
enum lease_field { OWNER = 1, ORIGIN, UNTIL, THREAD };
static const uint64_t NOBODY = 0, ACKNOWLEDGED = ~(uint64_t)0;

struct bell {
    uint32_t count;
    uint32_t armed;
    uint32_t sleepers; // a hint: the killed stay counted
    weft_shared_look look;
};

struct ring { // NOLINT(clang-analyzer-optin.performance.Padding): a line for each side
    // Never changes, but for `closed`: under put_lock.
    uint64_t magic;
    uint32_t units;
    uint32_t leases;
    uint32_t spin;
    uint32_t closed;
    uint32_t room;    // for so many units of messages; in lease mode half of `units`
    int64_t lease_ns; // how long a lease lasts

    // Producers'.
    alignas(64) uint32_t put_lock;
    uint64_t undo_place; // a reservation that is to be undone, and the tail then
    uint64_t undo_tail;
    uint32_t undoing;   // not 0: it is to be brought to its end
    uint64_t seen_head; // `head` as it was; saves looking at the consumers' line
    alignas(64) uint64_t tail;

    // Consumers'.
    alignas(64) uint32_t get_lock;
    uint64_t seen_tail;
    uint64_t next;       // lease mode, as all below: where to look for one to lease
    int64_t look_again;  // when to look for leases that have ended
    uint64_t moves_from; // a message on its way to moves_to
    uint64_t moves_to;
    uint32_t moving;   // not 0: it is to be brought to its end
    uint32_t returned; // not 0 while one that has come back may be found
    uint32_t live;     // units of all that is not acknowledged
    uint32_t waiting;  // messages that nobody has
    uint32_t largest;  // units of a message
    uint32_t cramped;  // not 0: a put waits until `next` moves
    alignas(64) uint64_t head;
    uint32_t done; // messages done with, not in lease mode

    // Everybody's, seldom written.
    alignas(64) bell getters;
    uint32_t watches_armed; // a bit for each of `watches`; above, how often one was armed
    bell putters;
    bell joiners;
    uint64_t watches[WATCHES]; // the random names of sockets that wait for a ring, or 0
};

static inline uint64_t *units_of(ring *r)
{
    return (uint64_t *)(void *)(r + 1);
}

} // namespace weft

using namespace weft;

struct weft_shared_queue {
    ring *r;
    weft_shm *shm;
    uint32_t mask;
    uint32_t spin; // how long to look this time, at most the ring's spin
    bool owns_shm;

    handle_lock watch_lock; // guards the watch
    uint64_t watcher;       // the process that watches; written last
    int watch, watch_slot;  // its socket
    int ticks, watch_set;   // in lease mode: a timer, and both in one; else -1
};

namespace weft {

// ---- places ----

static inline uint64_t load_place(const uint64_t *place)
{
    return __atomic_load_n(place, __ATOMIC_SEQ_CST);
}

// Release: who sees the new place sees what was written before.  That the doorbell's `armed` is
// loaded after this is seen to by the lock's release in between: see brief_unlock.
static inline void store_place(uint64_t *place, uint64_t to)
{
    __atomic_store_n(place, to, __ATOMIC_RELEASE);
}

static inline uint32_t closed(const weft_shared_queue *q)
{
    return __atomic_load_n(&q->r->closed, __ATOMIC_SEQ_CST);
}

static inline void ring_all(bell *b)
{
    doorbell_ring(&b->count, &b->armed, INT_MAX);
}

static inline uint32_t number_of(uint64_t place)
{
    return (uint32_t)(place >> 32);
}

static inline uint32_t unit_of(uint64_t place)
{
    return (uint32_t)place;
}

static inline uint64_t past(uint64_t place, uint32_t units)
{
    return (uint64_t)(number_of(place) + 1) << 32 | (uint32_t)(unit_of(place) + units);
}

static inline size_t record_size(bool leases)
{
    return leases ? sizeof(record) : offsetof(record, lease);
}

static inline size_t units_for(size_t n, bool leases)
{
    return (record_size(leases) + n + 7) / 8;
}

static inline record *record_at(const weft_shared_queue *q, uint64_t place)
{
    return (record *)(void *)&units_of(q->r)[unit_of(place) & q->mask];
}

// A field may lie on the other side of the ring's end.
static inline uint64_t *field_at(const weft_shared_queue *q, uint64_t place, lease_field i)
{
    return &units_of(q->r)[(unit_of(place) + i) & q->mask];
}

static inline uint32_t form_at(const weft_shared_queue *q, uint64_t place)
{
    return __atomic_load_n(&record_at(q, place)->form, __ATOMIC_ACQUIRE);
}

// The same without a lock: a getter may have taken the record meanwhile, and a producer written
// over it.  Then there was a put, and its ring makes whoever was deceived look again.  (The
// sanitizer for threads is not to see that.)
__attribute__((no_sanitize("thread"))) static inline uint32_t form_seen(const weft_shared_queue *q,
                                                                        uint64_t place)
{
    return *(const volatile uint32_t *)&record_at(q, place)->form;
}

static inline void set_form(const weft_shared_queue *q, uint64_t place, uint32_t form)
{
    __atomic_store_n(&record_at(q, place)->form, form, __ATOMIC_RELEASE);
}

// Not in lease mode: behind the record there, whatever it is.
static inline uint64_t behind(const weft_shared_queue *q, uint64_t place)
{
    uint32_t form = form_at(q, place);
    uint32_t units =
        form == PLAIN ? (uint32_t)units_for(record_at(q, place)->length, false) : form / ONE_UNIT;
    return form & PAD ? (place & ~(uint64_t)UINT32_MAX) | (uint32_t)(unit_of(place) + units)
                      : past(place, units);
}

// Copies the bytes from `unit` on out.
void queue_copy_out(const weft_shared_queue *q, uint32_t unit, void *to, size_t n);

// Brings to its end what a dead holder of put_lock has begun.
void queue_finish_undo(weft_shared_queue *q);

// What getters do on the way, for those who wait while there is none: undoes the reservation at
// `head`, if who made it is dead, and moves `head` over pads.  Not in lease mode.
void queue_skip_dead(weft_shared_queue *q);
void queue_skip_pads(weft_shared_queue *q);

// Whether `units` fit behind `tail`; under put_lock, not in lease mode.
bool queue_fits(ring *r, uint64_t tail, size_t units);
bool queue_has_room(const weft_shared_queue *q, size_t units);

// Waits on `b` until ready(q, n), or the deadline.  0: look again; ETIMEDOUT, ECANCELED.
int queue_wait(weft_shared_queue *q, bell *b, bool (*ready)(const weft_shared_queue *q, size_t n),
               size_t n, weft_deadline d);

// Something can be got: `n` messages.
void queue_ring_getters(weft_shared_queue *q, size_t n);

// In lease mode: what consumers do on the way, for those who wait while there is none.
void queue_look_after_leases(weft_shared_queue *q);

// ---- lease_ring.cc; all under lease_lock ----

static inline uint64_t owner_of(const weft_shared_queue *q, uint64_t place)
{
    return __atomic_load_n(field_at(q, place, OWNER), __ATOMIC_RELAXED);
}

// Release: a crash in between must not show the owner before what belongs to it.
static inline void set_owner(const weft_shared_queue *q, uint64_t place, uint64_t owner)
{
    __atomic_store_n(field_at(q, place, OWNER), owner, __ATOMIC_RELEASE);
}

static inline uint64_t following(const weft_shared_queue *q, uint64_t place)
{
    return past(place, (uint32_t)units_for(record_at(q, place)->length, true));
}

// The counts are changed under the lock, and looked at without.
static inline void count_to(uint32_t *count, uint32_t n)
{
    __atomic_store_n(count, n, __ATOMIC_SEQ_CST);
}

// Takes the lock, mends what its last holder left, and lets the leases come back that have ended.
// 0 or ETIMEDOUT.
int lease_lock(weft_shared_queue *q, weft_deadline d);

// put_lock, and what its last holder left is mended: 0 or ETIMEDOUT.
static inline int queue_put_lock(weft_shared_queue *q, weft_deadline d)
{
    if (q->r->leases)
        return lease_lock(q, d);
    int code = brief_lock(&q->r->put_lock, d);
    if (__builtin_expect(code == EOWNERDEAD, 0)) {
        queue_finish_undo(q);
        return 0;
    }
    return code;
}

void lease_come_back(weft_shared_queue *q, uint64_t place);
void lease_end(weft_shared_queue *q, uint64_t place); // it is acknowledged

// The message to lease: one that came back, else the one at `next`.  False: none.
bool lease_choose(weft_shared_queue *q, uint64_t *place);

// How many of n messages there is room for behind `tail`, which it may move.  -1: all room is
// taken by the caller's own leases.
ssize_t lease_room(weft_shared_queue *q, const struct iovec *v, size_t n);

// Acknowledges all that nobody has leased.
void lease_discard(weft_shared_queue *q);

// Rings each armed watch; says that this process found the queue empty; takes it down.
void queue_ring_watches(weft_shared_queue *q);
void queue_found_empty(weft_shared_queue *q);
void queue_unwatch(weft_shared_queue *q);

// Whether a get (lease) is worth trying.
bool queue_gettable(const weft_shared_queue *q, size_t n);

// A getter that has slept may have been woken in others' place: wakes the next.
void queue_pass_on(weft_shared_queue *q);

} // namespace weft

#endif
