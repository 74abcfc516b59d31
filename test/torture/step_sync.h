// step_sync.h: the same for the synchronisation, the array, the allocator and the controls.
#ifndef WEFT_TORTURE_STEP_SYNC_H
#define WEFT_TORTURE_STEP_SYNC_H

#include "step_world.h"

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

static int act_semaphore_post_n(void *)
{
    return weft_shared_semaphore_post_n(&w->semaphore, 2);
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
        weft_shm_free(heap, p[1]);
        weft_shm_free(heap, p[2]);
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
    return weft_shm_free(heap, p);
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
        REQUIRE(weft_shm_free(heap, p[i]) == 0);
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

#endif
