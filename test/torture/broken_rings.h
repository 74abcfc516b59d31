// broken_rings.h: two rings as they are in textbooks, which a kill must break: if the torture
// finds nothing wrong with them, it proves nothing.
#ifndef WEFT_TORTURE_BROKEN_RINGS_H
#define WEFT_TORTURE_BROKEN_RINGS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <string.h>

enum { BROKEN_SLOTS = 4 };

// Three semaphores: free slots, used slots, and one as the lock.
struct sem_ring {
    sem_t free, used, lock;
    uint32_t head, tail;
    uint64_t slot[BROKEN_SLOTS];
};

static inline void sem_ring_init(struct sem_ring *r)
{
    memset(r, 0, sizeof *r);
    sem_init(&r->free, 1, BROKEN_SLOTS);
    sem_init(&r->used, 1, 0);
    sem_init(&r->lock, 1, 1);
}

static inline void sem_ring_put(struct sem_ring *r, uint64_t id)
{
    sem_wait(&r->free);
    sem_wait(&r->lock);
    r->slot[r->tail++ % BROKEN_SLOTS] = id;
    sem_post(&r->lock);
    sem_post(&r->used);
}

static inline uint64_t sem_ring_get(struct sem_ring *r)
{
    sem_wait(&r->used);
    sem_wait(&r->lock);
    uint64_t id = r->slot[r->head++ % BROKEN_SLOTS];
    sem_post(&r->lock);
    sem_post(&r->free);
    return id;
}

// A robust mutex, and condition variables.
struct cond_ring {
    pthread_mutex_t lock;
    pthread_cond_t not_full, not_empty;
    uint32_t head, tail;
    uint64_t slot[BROKEN_SLOTS];
};

static inline void cond_ring_init(struct cond_ring *r)
{
    memset(r, 0, sizeof *r);
    pthread_mutexattr_t m;
    pthread_mutexattr_init(&m);
    pthread_mutexattr_setpshared(&m, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&m, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&r->lock, &m);
    pthread_condattr_t c;
    pthread_condattr_init(&c);
    pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&r->not_full, &c);
    pthread_cond_init(&r->not_empty, &c);
}

static inline void cond_ring_locked(struct cond_ring *r, int code)
{
    if (code != 0)
        pthread_mutex_consistent(&r->lock);
}

static inline void cond_ring_put(struct cond_ring *r, uint64_t id)
{
    cond_ring_locked(r, pthread_mutex_lock(&r->lock));
    while (r->tail - r->head == BROKEN_SLOTS)
        cond_ring_locked(r, pthread_cond_wait(&r->not_full, &r->lock));
    r->slot[r->tail % BROKEN_SLOTS] = id;
    r->tail++;
    pthread_cond_signal(&r->not_empty);
    pthread_mutex_unlock(&r->lock);
}

static inline uint64_t cond_ring_get(struct cond_ring *r)
{
    cond_ring_locked(r, pthread_mutex_lock(&r->lock));
    while (r->tail == r->head)
        cond_ring_locked(r, pthread_cond_wait(&r->not_empty, &r->lock));
    uint64_t id = r->slot[r->head % BROKEN_SLOTS];
    r->head++;
    pthread_cond_signal(&r->not_full);
    pthread_mutex_unlock(&r->lock);
    return id;
}

#endif
