// step.cc: kills a participant after every instruction of each operation.
//
// Each operation is stepped through in five situations: the thing is empty; it is full; a peer
// is blocked on it; its counters are about to wrap (a queue: two messages, of which one lies
// across the ring's end); and a peer has died at work in it, so that the victim is the
// one to recover.  After each kill the peer must go on, and a fresh process must make
// progress within 200 ms and find nothing torn, lost or doubled.  A point that
// fails twice is fatal.  A victim that sleeps in the operation is also killed asleep.
//
// The two rings of broken_rings.h go through the same and must fail.
#include "broken_rings.h"
#include "victim.h"

#include <shm/queue_ring.h>
#include <weft/shared_sync.h>

#include <sched.h>

enum situation { EMPTY, FULL, BLOCKED, WRAP, RECOVERY, SITUATIONS };
static const char *const NAMES[] = {"empty", "full", "blocked peer", "wrap-around", "recovery"};

struct message {
    uint64_t id[3]; // the same three times: torn if they differ
};
enum { SLOTS = 6, MINE = 50, PEERS = 60, FRESH = 70, MOST = 100 };

struct world {
    weft_shared_mutex mutex;
    weft_shared_condition condition;
    weft_shared_semaphore semaphore;
    weft_shared_event event;
    weft_shared_barrier barrier;
    weft_shared_array array;
    char items[512]; // the array's
    struct sem_ring sems;
    struct cond_ring conds;
    weft_shared_lease lease;
    long left, right;    // equal when the mutex is free
    uint32_t peer_ready; // the peer is about to block
    uint32_t got[MOST];  // who got which message, this often
};

static weft_shm *segment;
static struct world *w;
static weft_shared_queue *queue;
static weft_shm *heap;
static enum situation now;
static int capacity; // of the queue, in messages

// What a check found wrong, for people.
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ % 200 + 20;                                                            \
    } while (0)

static weft_deadline soon(void)
{
    return weft_in_ms(200);
}

// In a child: so that what a process does for its first time is not stepped through.
static void warm_up(void)
{
    weft_private_brief_enlist();
    weft_now();
}

// ---- queues ----

static int put(uint64_t id, weft_deadline d)
{
    struct message m = {{id, id, id}};
    return weft_shared_queue_put(queue, &m, sizeof m, d);
}

// The id, 0: none; dies if torn.
static uint64_t take(weft_deadline d)
{
    struct message m = {};
    weft_shared_lease l;
    ssize_t n = queue->r->leases ? weft_shared_queue_lease(queue, &m, sizeof m, &l, d)
                                 : weft_shared_queue_get(queue, &m, sizeof m, d);
    if (n < 0)
        return 0;
    if (n != sizeof m || m.id[0] != m.id[1] || m.id[0] != m.id[2] || m.id[0] >= MOST)
        _exit(7);
    if (queue->r->leases && weft_shared_queue_acknowledge(queue, &l) != 0)
        _exit(8);
    return m.id[0];
}

static void queue_begin(bool leases, bool filled)
{
    weft_shared_queue_options o = {};
    o.leases = leases;
    o.spin = -1;
    capacity = now == WRAP ? 2 : SLOTS;
    queue = weft_shared_queue_create(
        segment, (size_t)capacity * weft_shared_queue_cost(sizeof(struct message), leases), &o);
    if (queue == nullptr)
        abort();
    if (now == WRAP) { // one unit on, so that the second message lies across the end
        queue->r->head = queue->r->tail = queue->r->next = queue->r->units - 5;
        queue->r->seen_head = queue->r->seen_tail = queue->r->head;
    }
    capacity = 0;
    while (filled && put((uint64_t)capacity + 1, WEFT_NOW) == 0)
        capacity++;
}

static void queue_end(void)
{
    weft_shared_queue_destroy(queue);
}

static int peer_gets(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    uint64_t id = take(WEFT_FOREVER);
    __atomic_fetch_add(&w->got[id], 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int peer_puts(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return put(PEERS, WEFT_FOREVER);
}

static int die_in_put(void *)
{
    brief_lock(&queue->r->put_lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

static int die_in_get(void *)
{
    brief_lock(&queue->r->get_lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

static weft_deadline patience(void)
{
    return weft_in_us(1500);
}

static int act_put(void *)
{
    return put(MINE, patience());
}

static int act_put_batch(void *)
{
    struct message m[2] = {{{MINE, MINE, MINE}}, {{MINE + 1, MINE + 1, MINE + 1}}};
    struct iovec v[2] = {{&m[0], sizeof m[0]}, {&m[1], sizeof m[1]}};
    return (int)weft_shared_queue_put_batch(queue, v, 2, patience());
}

static int act_get(void *)
{
    struct message m;
    return (int)weft_shared_queue_get(queue, &m, sizeof m, patience());
}

static int act_lease(void *)
{
    struct message m;
    weft_shared_lease l;
    return (int)weft_shared_queue_lease(queue, &m, sizeof m, &l, patience());
}

static int prepare_lease(void *)
{
    struct message m;
    warm_up();
    return weft_shared_queue_lease(queue, &m, sizeof m, &w->lease, weft_in_s(1)) > 0 ? 0 : 1;
}

static int act_acknowledge(void *)
{
    return weft_shared_queue_acknowledge(queue, &w->lease);
}

static int act_give_back(void *)
{
    return weft_shared_queue_give_back(queue, &w->lease);
}

static int act_close(void *)
{
    return weft_shared_queue_close(queue, WEFT_DRAIN);
}

// Gets all there is.  In lease mode what the dead held comes back, within 200 ms.
static int drain(void)
{
    uint64_t last = 0;
    for (weft_deadline d = soon();;) {
        bool wait = queue->r->leases && load_place(&queue->r->head) != load_place(&queue->r->tail);
        uint64_t id = take(wait ? d : WEFT_NOW);
        if (id == 0)
            return wait ? 1 : 0;
        w->got[id]++;
        if (!queue->r->leases && id < MINE && id < last)
            return 2; // out of order
        last = id < MINE ? id : last;
    }
}

// What was there before is there once; `lost` says whether the first may be gone.
static int check_old(bool lost)
{
    for (int i = 1; i <= capacity; i++)
        REQUIRE(w->got[i] == 1 || (lost && i == 1 && w->got[i] == 0));
    REQUIRE(w->got[MINE] <= 1 && w->got[MINE + 1] <= 1 && w->got[FRESH] <= 1);
    return 0;
}

static int check_fresh(void)
{
    memset(w->got, 0, sizeof w->got);
    REQUIRE(put(FRESH, soon()) == 0);
    REQUIRE(take(soon()) == FRESH);
    return 0;
}

// After a put: who waited for a message gets the victim's or ours.
static int check_put(void *)
{
    if (now == BLOCKED)
        REQUIRE(put(FRESH, soon()) == 0);
    weft_deadline d = soon();
    while (now == BLOCKED && w->got[MINE] + w->got[MINE + 1] + w->got[FRESH] == 0) {
        REQUIRE(weft_left(d) > 0);
        sched_yield();
    }
    REQUIRE(drain() == 0);
    int bad = check_old(false);
    REQUIRE(now != BLOCKED || w->got[FRESH] == 1);
    return bad != 0 ? bad : check_fresh();
}

static int check_get(void *)
{
    weft_deadline d = soon();
    if (now == BLOCKED) {
        uint64_t id = take(soon()); // makes room for the peer, had the victim not
        REQUIRE(id == 1 || id == 2);
        w->got[id]++;
    }
    while (now == BLOCKED && w->got[PEERS] == 0) {
        REQUIRE(weft_left(d) > 0);
        REQUIRE(drain() == 0);
        sched_yield();
    }
    REQUIRE(drain() == 0);
    int bad = check_old(true);
    return bad != 0 ? bad : check_fresh();
}

// Nothing may be lost here but what was acknowledged.
static int check_lease(void *)
{
    REQUIRE(drain() == 0);
    int bad = check_old(false);
    return bad != 0 ? bad : check_fresh();
}

static int check_acknowledge(void *)
{
    REQUIRE(drain() == 0);
    int bad = check_old(true);
    return bad != 0 ? bad : check_fresh();
}

static int check_close(void *)
{
    weft_shared_queue_close(queue, WEFT_DRAIN);
    REQUIRE(drain() == 0);
    REQUIRE(take(soon()) == 0 && errno == EPIPE);
    return check_old(false);
}

static int peer_sees_the_end(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    struct message m;
    return weft_shared_queue_get(queue, &m, sizeof m, WEFT_FOREVER) == -1 && errno == EPIPE ? 0 : 1;
}

static void begin_put(void)
{
    queue_begin(false, now == FULL);
}

static void begin_get(void)
{
    queue_begin(false, now != EMPTY);
}

static void begin_lease(void)
{
    queue_begin(true, now != EMPTY);
}

static void begin_acknowledge(void)
{
    queue_begin(true, true);
}

// ---- mutex ----

static void mutex_begin(void)
{
    weft_shared_mutex_init(&w->mutex, 0);
}

static int lock_mutex(weft_deadline d)
{
    int code = weft_shared_mutex_lock(&w->mutex, d);
    if (code != 0 && errno == EOWNERDEAD) {
        w->right = w->left;
        code = 0;
    }
    return code;
}

static int act_mutex(void *)
{
    if (lock_mutex(patience()) != 0)
        return 1;
    w->left++;
    w->right++;
    return weft_shared_mutex_unlock(&w->mutex);
}

static int take_mutex(void *)
{
    warm_up();
    return lock_mutex(WEFT_FOREVER);
}

static int act_unlock(void *)
{
    return weft_shared_mutex_unlock(&w->mutex);
}

static int peer_locks(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return lock_mutex(WEFT_FOREVER) != 0 || weft_shared_mutex_unlock(&w->mutex) != 0;
}

static int die_in_mutex(void *)
{
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    w->left++;
    return kill(getpid(), SIGKILL);
}

static int check_mutex(void *)
{
    for (int i = 0; i < 2; i++) {
        REQUIRE(lock_mutex(soon()) == 0);
        REQUIRE(w->left == w->right);
        REQUIRE(weft_shared_mutex_unlock(&w->mutex) == 0);
    }
    return 0;
}

// ---- semaphore ----

static void semaphore_begin(void)
{
    weft_shared_semaphore_init(&w->semaphore, 2, 2);
    w->semaphore.posts = now == WRAP ? UINT32_MAX : 0;
    w->semaphore.armed = now == WRAP ? UINT32_MAX : 0;
}

static int hold_units(void *arg)
{
    long n = (long)(intptr_t)arg;
    while (n-- > 0)
        weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER);
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return pause();
}

static int act_semaphore_wait(void *)
{
    return weft_shared_semaphore_wait(&w->semaphore, patience());
}

static int take_unit(void *)
{
    warm_up();
    return weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER);
}

static int take_units(void *)
{
    return take_unit(nullptr) != 0 || take_unit(nullptr) != 0;
}

static int act_semaphore_post(void *)
{
    return weft_shared_semaphore_post(&w->semaphore);
}

static int peer_waits_for_unit(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER) != 0 ||
           weft_shared_semaphore_post(&w->semaphore) != 0;
}

static int die_in_semaphore(void *)
{
    weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER);
    brief_lock(&w->semaphore.lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

// All units come back.
static int check_semaphore(void *)
{
    REQUIRE(weft_shared_semaphore_wait(&w->semaphore, soon()) == 0);
    REQUIRE(weft_shared_semaphore_wait(&w->semaphore, soon()) == 0);
    REQUIRE(weft_shared_semaphore_wait(&w->semaphore, WEFT_NOW) == -1);
    REQUIRE(weft_shared_semaphore_post(&w->semaphore) == 0);
    REQUIRE(weft_shared_semaphore_post(&w->semaphore) == 0);
    REQUIRE(weft_shared_semaphore_post(&w->semaphore) == -1);
    return 0;
}

// ---- condition ----

static void condition_begin(void)
{
    mutex_begin();
    weft_shared_condition_init(&w->condition);
    w->condition.events = w->condition.armed = now == WRAP ? UINT32_MAX : 0;
}

static int act_condition_wait(void *)
{
    return weft_shared_condition_wait(&w->condition, &w->mutex, patience());
}

static int act_signal(void *)
{
    return weft_shared_condition_signal(&w->condition);
}

static int act_broadcast(void *)
{
    return weft_shared_condition_broadcast(&w->condition);
}

static int prepare_signal(void *)
{
    warm_up();
    if (lock_mutex(WEFT_FOREVER) != 0)
        return 1;
    w->got[1] = 1;
    return weft_shared_mutex_unlock(&w->mutex);
}

// Waits for got[1], which somebody sets and signals.
static int peer_waits_for_signal(void *)
{
    if (lock_mutex(WEFT_FOREVER) != 0)
        return 1;
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    while (w->got[1] == 0)
        if (weft_shared_condition_wait(&w->condition, &w->mutex, WEFT_FOREVER) != 0 &&
            errno != EOWNERDEAD)
            return 2;
    return weft_shared_mutex_unlock(&w->mutex);
}

static int check_condition(void *)
{
    REQUIRE(lock_mutex(soon()) == 0);
    w->got[1] = 1;
    REQUIRE(weft_shared_mutex_unlock(&w->mutex) == 0);
    weft_shared_condition_signal(&w->condition);
    // And between two fresh ones.
    w->got[2] = 0;
    pid_t p = fork();
    if (p == 0) {
        if (lock_mutex(soon()) != 0)
            _exit(1);
        while (w->got[2] == 0)
            if (weft_shared_condition_wait(&w->condition, &w->mutex, soon()) != 0)
                _exit(1);
        _exit(weft_shared_mutex_unlock(&w->mutex));
    }
    REQUIRE(lock_mutex(soon()) == 0);
    w->got[2] = 1;
    weft_shared_condition_signal(&w->condition);
    REQUIRE(weft_shared_mutex_unlock(&w->mutex) == 0);
    REQUIRE(end_by(p, soon()) == 0);
    return check_mutex(nullptr);
}

// ---- event ----

static void event_begin(void)
{
    weft_shared_event_init(&w->event);
    w->event.state = (now == WRAP ? UINT32_MAX - 1 : 0) + (now == FULL);
}

static int act_event_set(void *)
{
    return weft_shared_event_set(&w->event);
}

static int act_event_clear(void *)
{
    return weft_shared_event_clear(&w->event);
}

static int act_event_wait(void *)
{
    return weft_shared_event_wait(&w->event, patience());
}

static int peer_waits_for_event(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return weft_shared_event_wait(&w->event, WEFT_FOREVER);
}

static int die_in_event(void *)
{
    __atomic_store_n(&w->event.armed, 1, __ATOMIC_SEQ_CST);
    return kill(getpid(), SIGKILL);
}

static int check_event(void *)
{
    weft_shared_event_set(&w->event);
    REQUIRE(weft_shared_event_wait(&w->event, soon()) == 0);
    weft_shared_event_clear(&w->event);
    REQUIRE(weft_shared_event_wait(&w->event, WEFT_NOW) == -1);
    return 0;
}

// ---- barrier ----

static void barrier_begin(void)
{
    weft_shared_barrier_init(&w->barrier, 2);
    w->barrier.state = now == WRAP ? UINT32_MAX : 0;
    w->barrier.rings = w->barrier.armed = now == WRAP ? UINT32_MAX : 0;
}

static int act_barrier_wait(void *)
{
    return weft_shared_barrier_wait(&w->barrier, patience());
}

static int act_barrier_reset(void *)
{
    return weft_shared_barrier_reset(&w->barrier);
}

static int peer_meets(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    int n = weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER);
    return n >= 0 || errno == EOWNERDEAD || errno == EPIPE ? weft_shared_barrier_leave(&w->barrier)
                                                           : 1;
}

static int die_in_barrier(void *)
{
    brief_lock(&w->barrier.lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

// A fresh process takes the victim's place: either it meets the peer, or both learn of the death.
static int check_barrier(void *)
{
    if (now == BLOCKED) {
        weft_deadline d = soon();
        while (weft_shared_barrier_waiting(&w->barrier) > 0 &&
               weft_shared_barrier_wait(&w->barrier, soon()) == -1 && errno == ETIMEDOUT)
            REQUIRE(weft_left(d) > 0);
    }
    weft_shared_barrier_reset(&w->barrier);
    pid_t p = fork();
    if (p == 0)
        _exit(weft_shared_barrier_wait(&w->barrier, soon()) < 0 ||
              weft_shared_barrier_leave(&w->barrier) != 0);
    REQUIRE(weft_shared_barrier_wait(&w->barrier, soon()) >= 0);
    REQUIRE(end_by(p, soon()) == 0);
    REQUIRE(weft_shared_barrier_leave(&w->barrier) == 0);
    return 0;
}

// ---- array ----

static void array_begin(void)
{
    weft_shared_array_init(&w->array, 4, sizeof(struct message));
}

static int act_array_set(void *)
{
    struct message m = {{MINE, MINE, MINE}};
    return weft_shared_array_set(&w->array, 2, &m);
}

static int hold_array(void *)
{
    return weft_shared_array_lock(&w->array, WEFT_FOREVER);
}

static int peer_sets(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    struct message m = {{9, 9, 9}};
    return weft_shared_array_set(&w->array, 1, &m);
}

static int act_array_unlock(void *)
{
    return weft_shared_array_unlock(&w->array);
}

static int die_in_array(void *)
{
    weft_shared_mutex_lock(&w->array.lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

static int check_array(void *)
{
    for (size_t i = 0; i < 4; i++) {
        struct message m;
        REQUIRE(weft_shared_array_get(&w->array, i, &m) == 0);
        REQUIRE(m.id[0] == m.id[1] && m.id[1] == m.id[2]);
    }
    REQUIRE(weft_shared_array_lock(&w->array, soon()) == 0 || errno == EOWNERDEAD);
    REQUIRE(weft_shared_array_unlock(&w->array) == 0);
    return 0;
}

// ---- allocator ----

static void heap_begin(void)
{
    heap = weft_shm_create(nullptr, 8192, nullptr);
    if (now != EMPTY) { // holes of which two must be joined
        void *p[4];
        for (void *&each : p)
            each = weft_shm_allocate(heap, now == FULL ? 1900 : 200);
        weft_shm_release(heap, p[1]);
        weft_shm_release(heap, p[2]);
    }
}

static void heap_end(void)
{
    weft_shm_detach(heap);
}

static int act_allocate(void *)
{
    return weft_shm_allocate(heap, 400) == nullptr;
}

static int act_allocate_release(void *)
{
    void *p = weft_shm_allocate(heap, 100);
    return weft_shm_release(heap, p);
}

static int die_in_heap(void *)
{
    pthread_mutex_lock((pthread_mutex_t *)(void *)((char *)weft_shm_address(heap) - 4096 + 64));
    return kill(getpid(), SIGKILL);
}

// What is free can be had, in pieces that don't overlap.
static int check_heap(void *)
{
    unsigned char *p[64];
    int n = 0;
    while (n < 64 && (p[n] = (unsigned char *)weft_shm_allocate(heap, 128)) != nullptr)
        memset(p[n], n + 1, 128), n++;
    REQUIRE(n > 10);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 128; k++)
            REQUIRE(p[i][k] == i + 1);
        REQUIRE(weft_shm_release(heap, p[i]) == 0);
    }
    return 0;
}

// ---- the controls ----

static void sems_begin(void)
{
    sem_ring_init(&w->sems);
    for (int i = 0; now == FULL && i < BROKEN_SLOTS - 1; i++)
        sem_ring_put(&w->sems, 1);
}

static int act_sems(void *)
{
    sem_ring_put(&w->sems, MINE);
    return 0;
}

static int check_sems(void *)
{
    sem_ring_put(&w->sems, FRESH);
    uint64_t id;
    while ((id = sem_ring_get(&w->sems)) != FRESH)
        ;
    for (int i = 0; i < BROKEN_SLOTS; i++)
        sem_ring_put(&w->sems, FRESH);
    return 0;
}

static void conds_begin(void)
{
    cond_ring_init(&w->conds);
}

// A signaller, beside a consumer that waits: in the textbook ring as in boost's.
static int act_conds(void *)
{
    cond_ring_put(&w->conds, MINE);
    return 0;
}

static int peer_conds(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    cond_ring_get(&w->conds);
    return 0;
}

static int check_conds(void *)
{
    for (int i = 0; i < BROKEN_SLOTS - 1; i++)
        cond_ring_put(&w->conds, FRESH);
    while (w->conds.tail != w->conds.head)
        cond_ring_get(&w->conds);
    for (int i = 0; i < BROKEN_SLOTS; i++)
        cond_ring_put(&w->conds, FRESH);
    return 0;
}

// ---- the table ----

struct operation {
    const char *name;
    void (*begin)(void); // makes the thing
    void (*end)(void);
    int (*prepare)(void *); // in the victim, before the first step
    int (*act)(void *);     // what is stepped through
    int (*peer)(void *);    // in BLOCKED: it has to go on too
    int (*dies)(void *);    // in RECOVERY: the one that died before
    int (*holds)(void *);   // in FULL: lives on and keeps something from the victim
    int (*check)(void *);   // the fresh process
    bool broken;            // must fail
};

static int warm(void *)
{
    warm_up();
    return 0;
}

static int hold_mutex(void *)
{
    lock_mutex(WEFT_FOREVER);
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return pause();
}

static int hold_all_units(void *)
{
    return hold_units((void *)2);
}

// clang-format off
static const struct operation OPERATIONS[] = {
    {"queue put",          begin_put,  queue_end, warm, act_put,       peer_gets, die_in_put, nullptr, check_put, false},
    {"queue put_batch",    begin_put,  queue_end, warm, act_put_batch, peer_gets, die_in_put, nullptr, check_put, false},
    {"queue get",          begin_get,  queue_end, warm, act_get,       peer_puts, die_in_get, nullptr, check_get, false},
    {"queue lease",        begin_lease, queue_end, warm, act_lease,    nullptr,   die_in_get, nullptr, check_lease, false},
    {"queue acknowledge",  begin_acknowledge, queue_end, prepare_lease, act_acknowledge, nullptr, die_in_get, nullptr, check_acknowledge, false},
    {"queue give_back",    begin_acknowledge, queue_end, prepare_lease, act_give_back, nullptr, die_in_get, nullptr, check_lease, false},
    {"queue close",        begin_put,  queue_end, warm, act_close, peer_sees_the_end, die_in_put, nullptr, check_close, false},
    {"mutex lock, unlock", mutex_begin, nullptr, warm, act_mutex, peer_locks, die_in_mutex, hold_mutex, check_mutex, false},
    {"mutex unlock",       mutex_begin, nullptr, take_mutex, act_unlock, peer_locks, die_in_mutex, nullptr, check_mutex, false},
    {"semaphore wait",     semaphore_begin, nullptr, warm, act_semaphore_wait, peer_waits_for_unit, die_in_semaphore, hold_all_units, check_semaphore, false},
    {"semaphore post",     semaphore_begin, nullptr, take_units, act_semaphore_post, peer_waits_for_unit, die_in_semaphore, nullptr, check_semaphore, false},
    {"condition wait",     condition_begin, nullptr, take_mutex, act_condition_wait, peer_waits_for_signal, die_in_mutex, nullptr, check_condition, false},
    {"condition signal",   condition_begin, nullptr, prepare_signal, act_signal, peer_waits_for_signal, die_in_mutex, nullptr, check_condition, false},
    {"condition broadcast", condition_begin, nullptr, prepare_signal, act_broadcast, peer_waits_for_signal, die_in_mutex, nullptr, check_condition, false},
    {"event set",          event_begin, nullptr, warm, act_event_set, peer_waits_for_event, die_in_event, nullptr, check_event, false},
    {"event clear",        event_begin, nullptr, warm, act_event_clear, peer_waits_for_event, die_in_event, nullptr, check_event, false},
    {"event wait",         event_begin, nullptr, warm, act_event_wait, peer_waits_for_event, die_in_event, nullptr, check_event, false},
    {"barrier wait",       barrier_begin, nullptr, warm, act_barrier_wait, peer_meets, die_in_barrier, nullptr, check_barrier, false},
    {"barrier reset",      barrier_begin, nullptr, warm, act_barrier_reset, peer_meets, die_in_barrier, nullptr, check_barrier, false},
    {"array set",          array_begin, nullptr, warm, act_array_set, nullptr, die_in_array, nullptr, check_array, false},
    {"array unlock",       array_begin, nullptr, hold_array, act_array_unlock, peer_sets, die_in_array, nullptr, check_array, false},
    {"allocate",           heap_begin, heap_end, warm, act_allocate, nullptr, die_in_heap, nullptr, check_heap, false},
    {"allocate, release",  heap_begin, heap_end, warm, act_allocate_release, nullptr, die_in_heap, nullptr, check_heap, false},
    {"control: sem_t ring", sems_begin, nullptr, nullptr, act_sems, nullptr, nullptr, nullptr, check_sems, true},
    {"control: pthread_cond ring", conds_begin, nullptr, nullptr, act_conds, peer_conds, nullptr, nullptr, check_conds, true},
};
// clang-format on

// ---- one kill ----

// One that is blocked, or keeps something; it has said so and sleeps.
static pid_t start_and_wait(int (*fn)(void *))
{
    __atomic_store_n(&w->peer_ready, 0, __ATOMIC_SEQ_CST);
    pid_t p = start(fn, nullptr);
    while (!__atomic_load_n(&w->peer_ready, __ATOMIC_SEQ_CST) && state_of(p) != 'Z')
        usleep(20);
    wait_asleep(p);
    return p;
}

// Some operations free or lock something that the peer's blocking needs first.
static bool victim_first(const struct operation *o)
{
    return o->prepare != nullptr && o->prepare != warm && o->prepare != prepare_signal &&
           o->act != act_condition_wait;
}

static const struct operation *stepped;
static pid_t peer, holder;

static void set_up(const struct operation *o, enum situation s)
{
    now = s;
    memset((void *)w, 0, sizeof *w);
    o->begin();
    stepped = o;
    peer = holder = 0;
    if (s == RECOVERY && o->dies != nullptr)
        end_by(start(o->dies, nullptr), weft_in_s(10));
    if (s == FULL && o->holds != nullptr)
        holder = start_and_wait(o->holds);
    if (s == BLOCKED && o->peer != nullptr && !victim_first(o))
        peer = start_and_wait(o->peer);
}

// The peer blocks on what the victim has got in its preparation.
static int prepare_victim(void *)
{
    return stepped->prepare != nullptr ? stepped->prepare(nullptr) : 0;
}

static int act_victim(void *)
{
    return stepped->act(nullptr);
}

// Lets all go on: 0, or what was wrong.
static int settle(const struct operation *o)
{
    if (holder != 0)
        finish(holder);
    pid_t fresh = start(o->check, nullptr);
    int found = end_by(fresh, weft_in_ms(o->broken ? 200 : 2000));
    if (found == -2)
        finish(fresh);
    if (peer != 0) {
        int n = end_by(peer, weft_in_ms(200));
        if (n == -2)
            finish(peer);
        if (found == 0)
            found = n;
    }
    if (o->end != nullptr)
        o->end();
    return found;
}

static struct path path;

// 0: all well.  *worked: whether the victim was killed at work; steps < 0: asleep.
static int kill_once(const struct operation *o, enum situation s, long steps, bool *worked)
{
    set_up(o, s);
    *worked = steps < 0 ? kill_asleep_in(prepare_victim, act_victim, nullptr)
                        : kill_after(&path, steps, prepare_victim, act_victim, nullptr);
    return settle(o);
}

// ---- all of them ----

// Fatal points of an operation in one situation; *points counts those tried.
static int step_through(const struct operation *o, enum situation s, long *points)
{
    int fatal = 0;
    set_up(o, s);
    record_path(&path, prepare_victim, act_victim, nullptr);
    settle(o);
    for (long k = 0; k < path.length && fatal < 3; k++) {
        bool worked = false;
        int found = 0;
        for (int i = 0; i < 5 && !worked; i++)
            found = kill_once(o, s, k, &worked);
        if (found != 0 && !o->broken) // once more: this machine is not ours alone
            found = kill_once(o, s, k, &worked);
        if (found != 0) {
            fatal++;
            if (!o->broken)
                fprintf(stderr, "FATAL: %s, %s, after %ld instructions: %d\n", o->name, NAMES[s], k,
                        found);
        }
        ++*points;
    }
    return fatal;
}

static bool sleeps(const struct operation *o, enum situation s)
{
    return (s == EMPTY && (o->act == act_get || o->act == act_lease || o->act == act_event_wait ||
                           o->act == act_barrier_wait)) ||
           (s == FULL && (o->act == act_put || o->act == act_semaphore_wait)) ||
           o->act == act_condition_wait;
}

// Killed asleep, some times.
static int kill_asleep(const struct operation *o, enum situation s, long *points)
{
    int fatal = 0;
    bool worked;
    for (int i = 0; i < 20 && sleeps(o, s); i++, ++*points)
        if (kill_once(o, s, -1, &worked) != 0 && kill_once(o, s, -1, &worked) != 0) {
            if (!o->broken)
                fprintf(stderr, "FATAL: %s, %s, killed asleep\n", o->name, NAMES[s]);
            fatal++;
        }
    return fatal;
}

int main(void)
{
    const char *only = getenv("TORTURE_ONLY");
    int bad = 0, descriptors = open_descriptors();
    segment = weft_shm_create(nullptr, 1 << 16, nullptr);
    w = (struct world *)weft_shm_allocate(segment, sizeof *w);
    printf("%-28s", "kill points");
    for (const char *name : NAMES)
        printf(" %13s", name);
    printf("   fatal\n");
    for (const struct operation &o : OPERATIONS) {
        if (only != nullptr && strstr(o.name, only) == nullptr)
            continue;
        int fatal = 0;
        printf("%-28s", o.name);
        for (int s = 0; s < SITUATIONS && !(o.broken && fatal > 0); s++) {
            long points = 0;
            fatal += step_through(&o, (enum situation)s, &points);
            fatal += kill_asleep(&o, (enum situation)s, &points);
            printf(" %13ld", points);
            fflush(stdout);
        }
        bool held = o.broken ? fatal > 0 : fatal == 0;
        printf("   %d%s%s\n", fatal, o.broken ? ", as it must" : "", held ? "" : "  FAILED");
        bad += !held;
    }
    weft_shm_detach(segment);
    if (waitpid(-1, nullptr, WNOHANG) != -1 || open_descriptors() != descriptors) {
        fprintf(stderr, "left behind: a child or a descriptor\n");
        bad++;
    }
    return bad != 0;
}
