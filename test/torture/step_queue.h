// step_queue.h: the shared queue's operations: what the victim does, what the peer waits for, and
// what a fresh process checks afterwards.
#ifndef WEFT_TORTURE_STEP_QUEUE_H
#define WEFT_TORTURE_STEP_QUEUE_H

#include "step_world.h"

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
    brief_lock(queue->r->leases ? &queue->r->put_lock : &queue->r->get_lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

static int act_put(void *)
{
    return put(MINE, patience());
}

static int act_put_batch(void *)
{
    struct message m[2] = {{{MINE, MINE, MINE}}, {{MINE + 1, MINE + 1, MINE + 1}}};
    struct iovec v[2] = {{&m[0], sizeof m[0]}, {&m[1], sizeof m[1]}};
    return (int)weft_shared_queue_put_many(queue, v, 2, patience());
}

static int act_reserve(void *)
{
    struct message *m = (struct message *)weft_shared_queue_reserve(queue, sizeof *m, patience());
    if (m == nullptr)
        return 1;
    *m = {{MINE, MINE, MINE}};
    return weft_shared_queue_commit(queue, m, sizeof *m);
}

static int act_cancel(void *)
{
    void *m = weft_shared_queue_reserve(queue, sizeof(struct message), patience());
    return m == nullptr ? 1 : weft_shared_queue_cancel(queue, m);
}

static int die_reserving(void *)
{
    weft_shared_queue_reserve(queue, sizeof(struct message), WEFT_NOW);
    return kill(getpid(), SIGKILL);
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

// The fresh process has all leases end, so that what the parent holds comes back.
static int check_moving(void *)
{
    REQUIRE(lease_lock(queue, soon()) == 0);
    for (uint64_t at = queue->r->head; at != queue->r->tail; at = following(queue, at))
        *field_at(queue, at, UNTIL) = 0;
    queue->r->look_again = 0;
    brief_unlock(&queue->r->put_lock);
    return check_lease(nullptr);
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

// In a wrap-around a pad is needed, and there is room for it.
static void begin_reserve(void)
{
    const bool wraps = now == WRAP;
    now = wraps ? EMPTY : now;
    queue_begin(false, now == FULL);
    if (wraps)
        queue->r->head = queue->r->tail = queue->r->seen_head = queue->r->seen_tail =
            queue->r->units - 3;
    now = wraps ? WRAP : now;
}

// The parent holds the first, and all behind it is acknowledged: it is to move at the next put.
static void begin_moving(void)
{
    struct message m;
    weft_shared_lease l;
    queue_begin(true, false);
    put(1, WEFT_NOW);
    weft_shared_queue_lease(queue, &m, sizeof m, &l, WEFT_NOW);
    const uint32_t most = queue->r->units - 2 * queue->r->largest;
    while (unit_of(queue->r->tail) - unit_of(queue->r->head) <= most) {
        put(2, WEFT_NOW);
        take(WEFT_NOW);
    }
    capacity = 1;
}

static void begin_acknowledge(void)
{
    queue_begin(true, true);
}

#endif
