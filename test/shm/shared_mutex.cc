// Mutexes and conditions between processes, some of which die.
#include "shared_world.h"

#include <weft/thread.h>

CASE(test_mutex_init_flags)
{
    assert_errno(weft_shared_mutex_init(&w->mutex, WEFT_ROBUST), EINVAL);
    assert_errno(weft_shared_mutex_init(&w->mutex, WEFT_RECURSIVE | WEFT_CHECKED), EINVAL);
}

static int lock_and_die(void *)
{
    int code = weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    if (code != 0 && errno != EOWNERDEAD)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

CASE(test_mutex_owner_dies)
{
    weft_shared_mutex_init(&w->mutex, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(end_of(child_of(lock_and_die, nullptr)), 256 + SIGKILL);
        assert_int_equal(end_of(child_of(lock_and_die, nullptr)), 256 + SIGKILL);
        assert_errno(weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER), EOWNERDEAD);
        assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
        assert_int_equal(weft_shared_mutex_lock(&w->mutex, WEFT_NOW), 0);
        assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
    }
}

// Both kinds are on one list that the kernel follows: in whatever order they come and go.
enum { EACH_KIND = 4 };
struct crowd {
    weft_mutex robust[EACH_KIND];
    weft_shared_mutex shared[EACH_KIND];
    int held[2 * EACH_KIND];
};

static int lock_some_and_die(void *arg)
{
    struct crowd *c = (struct crowd *)weft_shm_root(segment);
    unsigned seed = (unsigned)(intptr_t)arg;
    for (int steps = 20 + rand_r(&seed) % 50; steps > 0; steps--) {
        int i = rand_r(&seed) % (2 * EACH_KIND), k = i / 2, code;
        if (c->held[i])
            code =
                i % 2 ? weft_shared_mutex_unlock(&c->shared[k]) : weft_mutex_unlock(&c->robust[k]);
        else
            code = i % 2 ? weft_shared_mutex_lock(&c->shared[k], WEFT_FOREVER)
                         : weft_mutex_lock(&c->robust[k], WEFT_FOREVER);
        if (code != 0)
            return 1;
        c->held[i] = !c->held[i];
    }
    kill(getpid(), SIGKILL);
    return 2;
}

CASE(test_mutex_among_robust_pthread_mutexes)
{
    struct crowd *c = (struct crowd *)weft_shm_allocate(segment, sizeof *c);
    weft_shm_set_root(segment, c);
    for (intptr_t round = 1; round <= 300; round++) {
        memset((void *)c, 0, sizeof *c);
        for (int k = 0; k < EACH_KIND; k++) {
            assert_int_equal(weft_mutex_init(&c->robust[k], WEFT_SHARED | WEFT_ROBUST), 0);
            assert_int_equal(weft_shared_mutex_init(&c->shared[k], 0), 0);
        }
        assert_int_equal(end_of(child_of(lock_some_and_die, (void *)round)), 256 + SIGKILL);
        for (int i = 0; i < 2 * EACH_KIND; i++) {
            int k = i / 2, code = i % 2 ? weft_shared_mutex_lock(&c->shared[k], WEFT_NOW)
                                        : weft_mutex_lock(&c->robust[k], WEFT_NOW);
            assert_int_equal(code == 0 ? 0 : errno, c->held[i] ? EOWNERDEAD : 0);
            if (i % 2)
                assert_int_equal(weft_shared_mutex_unlock(&c->shared[k]), 0);
            else if (c->held[i])
                assert_int_equal(weft_mutex_consistent(&c->robust[k]), 0);
            if (i % 2 == 0)
                assert_int_equal(weft_mutex_unlock(&c->robust[k]), 0);
        }
    }
    weft_shm_free(segment, c);
}

static void *lock_and_end(void *)
{
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    return nullptr;
}

CASE(test_mutex_owner_thread_ends)
{
    weft_shared_mutex_init(&w->mutex, 0);
    weft_thread *t = weft_thread_start(lock_and_end, nullptr, nullptr);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_errno(weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER), EOWNERDEAD);
    assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
}

static int lock_and_exit(void *)
{
    return weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
}

// The child's list of what it has begins empty, and leaves the parent's alone.
CASE(test_mutex_held_over_fork)
{
    struct crowd *c = (struct crowd *)weft_shm_allocate(segment, sizeof *c);
    weft_shared_mutex_init(&w->mutex, 0);
    for (int k = 0; k < EACH_KIND; k++) {
        weft_shared_mutex_init(&c->shared[k], 0);
        assert_int_equal(weft_shared_mutex_lock(&c->shared[k], WEFT_NOW), 0);
    }
    assert_int_equal(end_of(child_of(lock_and_exit, nullptr)), 0);
    assert_errno(weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER), EOWNERDEAD);
    assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
    for (int k = 0; k < EACH_KIND; k++)
        assert_int_equal(weft_shared_mutex_unlock(&c->shared[k * 3 % EACH_KIND]), 0);
    weft_shm_free(segment, c);
}

// ---- condition ----

static int wait_for_value(void *)
{
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    weft_shared_value_add(&w->other, 1);
    while (weft_shared_value_get(&w->value) == 0)
        if (weft_shared_condition_wait(&w->condition, &w->mutex, WEFT_FOREVER) != 0)
            return 1;
    weft_shared_value_add(&w->value, -1);
    return weft_shared_mutex_unlock(&w->mutex);
}

CASE(test_condition)
{
    weft_shared_mutex_init(&w->mutex, 0);
    weft_shared_condition_init(&w->condition);
    weft_shared_value_set(&w->value, 0);
    weft_shared_value_set(&w->other, 0);
    pid_t p[4];
    for (pid_t &each : p)
        each = child_of(wait_for_value, nullptr);
    reach(&w->other, 4);
    kill_and_reap(p[0]); // a waiter, maybe in its wait
    for (int i = 1; i < 3; i++) {
        int code = weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
        assert_true(code == 0 || errno == EOWNERDEAD);
        weft_shared_value_add(&w->value, 1);
        assert_int_equal(weft_shared_condition_signal(&w->condition), 0);
        weft_shared_mutex_unlock(&w->mutex);
    }
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    weft_shared_value_add(&w->value, 1);
    assert_int_equal(weft_shared_condition_broadcast(&w->condition), 0);
    weft_shared_mutex_unlock(&w->mutex);
    for (int i = 1; i < 4; i++)
        assert_int_equal(end_of(p[i]), 0);
}

static int die_when_free(void *)
{
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    weft_shared_condition_broadcast(&w->condition);
    kill(getpid(), SIGKILL);
    return 1;
}

CASE(test_condition_owner_dies)
{
    weft_shared_mutex_init(&w->mutex, 0);
    weft_shared_condition_init(&w->condition);
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    pid_t p = child_of(die_when_free, nullptr);
    int code;
    while ((code = weft_shared_condition_wait(&w->condition, &w->mutex, WEFT_FOREVER)) == 0)
        ;
    assert_int_equal(errno, EOWNERDEAD);
    assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
    assert_int_equal(end_of(p), 256 + SIGKILL);
}

RUN_CASES(begin, end)
