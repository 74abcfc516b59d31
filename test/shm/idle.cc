// Idle waiters cost little: one of them looks after the others.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_queue.h>
#include <weft/shared_sync.h>

#include <sys/resource.h>

static struct world {
    weft_shared_mutex mutex;
    weft_shared_semaphore semaphore;
    weft_shared_event event;
    weft_shared_barrier barrier;
} * w;
static weft_shared_queue *queue;

static int in_get(void *)
{
    char m[8];
    return (int)weft_shared_queue_get(queue, m, sizeof m, WEFT_FOREVER);
}

static int in_lock(void *)
{
    return weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
}

static int in_semaphore(void *)
{
    return weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER);
}

static int in_event(void *)
{
    return weft_shared_event_wait(&w->event, WEFT_FOREVER);
}

static int in_barrier(void *)
{
    return weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER);
}

// How often those who were waited for have slept.
static long sleeps(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return u.ru_nvcsw;
}

CASE(test_one_looks_for_all)
{
    enum { WAITERS = 20, MS = 1500 };
    if (RUNNER_SANITIZED)
        skip(); // its own threads sleep, too
    int (*const calls[])(void *) = {in_get, in_lock, in_semaphore, in_event, in_barrier};
    weft_shm *s = weft_shm_create(nullptr, 1 << 16, nullptr);
    w = (struct world *)weft_shm_allocate(s, sizeof *w);
    queue = weft_shared_queue_create(s, 256, nullptr);
    weft_shared_mutex_init(&w->mutex, 0);
    weft_shared_semaphore_init(&w->semaphore, 1, 1);
    weft_shared_event_init(&w->event);
    weft_shared_barrier_init(&w->barrier, WAITERS + 1);
    assert_int_equal(weft_shared_mutex_lock(&w->mutex, WEFT_NOW), 0);
    assert_int_equal(weft_shared_semaphore_wait(&w->semaphore, WEFT_NOW), 0);
    for (int (*call)(void *) : calls) {
        pid_t p[WAITERS];
        long before = sleeps();
        int64_t begun = weft_now();
        for (pid_t &each : p)
            each = child_of(call, nullptr);
        for (pid_t each : p)
            wait_asleep(each);
        usleep(MS * 1000);
        for (pid_t each : p)
            kill_and_reap(each);
        // Each for itself would look 20 times a second, 30 times in all.
        int64_t passed = (weft_now() - begun) / 1000000;
        assert_in_range(sleeps() - before, WAITERS, WAITERS * passed / MS * 12);
    }
    weft_shared_mutex_unlock(&w->mutex);
    weft_shared_queue_detach(queue);
    weft_shm_detach(s);
}

// Who looks is killed: another does, and finds the dead one's unit.
CASE(test_who_looks_is_killed)
{
    weft_shm *s = weft_shm_create(nullptr, 1 << 16, nullptr);
    w = (struct world *)weft_shm_allocate(s, sizeof *w);
    weft_shared_semaphore_init(&w->semaphore, 1, 1);
    for (int i = 0; i < 5; i++) {
        pid_t holder = fork();
        if (holder == 0)
            _exit(in_semaphore(nullptr) != 0 || pause());
        while (weft_shared_semaphore_value(&w->semaphore) != 0)
            usleep(500);
        pid_t looker = child_of(in_semaphore, nullptr);
        wait_asleep(looker);
        pid_t p = child_of(in_semaphore, nullptr);
        wait_asleep(p);
        kill_and_reap(looker);
        kill_and_reap(holder);
        assert_int_equal(end_of(p), 0);
        while (weft_shared_semaphore_value(&w->semaphore) != 1) // p's comes back, too
            usleep(500);
    }
    weft_shm_detach(s);
}

RUN_CASES(census_begin, census_end)
