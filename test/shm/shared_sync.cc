// Mutex, condition, semaphore, event, barrier, value, array between processes, some of which die.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_sync.h>
#include <weft/shm.h>
#include <weft/thread.h>

#include <errno.h>

// Runs fn(arg) in a thread and gives what it returned.
// These tests unlock what they don't own, and lock in any order, on purpose.
extern "C" const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:report_destroy_locked=0:detect_deadlocks=0";
}

// What all tests share with their children.
struct world {
    weft_shared_mutex mutex;
    weft_shared_condition condition;
    weft_shared_semaphore semaphore;
    weft_shared_event event;
    weft_shared_barrier barrier;
    weft_shared_value value;
    weft_shared_value other;
    weft_shared_array array; // and behind it its items
};
static weft_shm *segment;
static struct world *w;

static int begin(void **state)
{
    census_begin(state);
    segment = weft_shm_create(nullptr, 1 << 16, nullptr);
    w = (struct world *)weft_shm_allocate(segment, sizeof *w + 4096);
    return 0;
}

static int end(void **state)
{
    weft_shm_detach(segment);
    return census_end(state);
}

static void reach(weft_shared_value *v, int64_t n)
{
    while (weft_shared_value_get(v) < n)
        usleep(200);
}

// ---- mutex ----

static void test_mutex(void **)
{
    assert_errno(weft_shared_mutex_init(&w->mutex, WEFT_ROBUST), EINVAL);
    assert_errno(weft_shared_mutex_init(&w->mutex, WEFT_RECURSIVE | WEFT_CHECKED), EINVAL);
    assert_int_equal(weft_shared_mutex_init(&w->mutex, 0), 0);
    assert_int_equal(weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER), 0);
    if (fork() == 0)
        _exit(weft_shared_mutex_lock(&w->mutex, WEFT_NOW) == -1 && errno == ETIMEDOUT &&
                      weft_shared_mutex_lock(&w->mutex, weft_in_ms(10)) == -1 &&
                      errno == ETIMEDOUT && weft_shared_mutex_unlock(&w->mutex) == -1 &&
                      errno == EPERM
                  ? 0
                  : 1);
    int status;
    wait(&status);
    assert_int_equal(status, 0);
    assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
    assert_errno(weft_shared_mutex_unlock(&w->mutex), EPERM);
}

static void test_mutex_recursive_and_checked(void **)
{
    weft_shared_mutex_init(&w->mutex, WEFT_RECURSIVE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
    assert_errno(weft_shared_mutex_unlock(&w->mutex), EPERM);
    weft_shared_mutex_init(&w->mutex, WEFT_CHECKED);
    assert_int_equal(weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER), 0);
    assert_errno(weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER), EDEADLK);
    assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0);
}

static int lock_and_die(void *)
{
    int code = weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    if (code != 0 && errno != EOWNERDEAD)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static void test_mutex_owner_dies(void **)
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

static void test_mutex_among_robust_pthread_mutexes(void **)
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
    weft_shm_release(segment, c);
}

static void *lock_and_end(void *)
{
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    return nullptr;
}

static void test_mutex_owner_thread_ends(void **)
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
static void test_mutex_held_over_fork(void **)
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
    weft_shm_release(segment, c);
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

static void test_condition(void **)
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

static void test_condition_errors(void **)
{
    weft_shared_mutex_init(&w->mutex, 0);
    weft_shared_condition_init(&w->condition);
    assert_errno(weft_shared_condition_wait(&w->condition, &w->mutex, WEFT_NOW), EPERM);
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    assert_errno(weft_shared_condition_wait(&w->condition, &w->mutex, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_shared_condition_wait(&w->condition, &w->mutex, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(weft_shared_mutex_unlock(&w->mutex), 0); // it had it
}

static int die_when_free(void *)
{
    weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
    weft_shared_condition_broadcast(&w->condition);
    kill(getpid(), SIGKILL);
    return 1;
}

static void test_condition_owner_dies(void **)
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

// ---- semaphore ----

static void test_semaphore(void **)
{
    weft_shared_semaphore *s = &w->semaphore;
    assert_errno(weft_shared_semaphore_init(s, 3, 2), EINVAL);
    assert_int_equal(weft_shared_semaphore_init(s, 2, 2), 0);
    assert_errno(weft_shared_semaphore_post(s), EOVERFLOW);
    assert_int_equal(weft_shared_semaphore_wait(s, WEFT_NOW), 0);
    assert_int_equal(weft_shared_semaphore_wait(s, WEFT_NOW), 0);
    assert_int_equal(weft_shared_semaphore_value(s), 0);
    assert_errno(weft_shared_semaphore_wait(s, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_shared_semaphore_wait(s, weft_in_ms(10)), ETIMEDOUT);
    assert_int_equal(weft_shared_semaphore_post(s), 0);
    assert_int_equal(weft_shared_semaphore_post(s), 0);
    assert_errno(weft_shared_semaphore_post(s), EOVERFLOW);
    assert_int_equal(weft_shared_semaphore_init(s, 0, 0), 0);
    assert_int_equal(weft_shared_semaphore_post(s), 0); // a new unit
    assert_int_equal(weft_shared_semaphore_value(s), 1);
}

static int take_and_wait(void *arg)
{
    if (weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER) != 0)
        return 1;
    weft_shared_value_add(&w->value, 1);
    if (arg != nullptr)
        return weft_shared_semaphore_post(&w->semaphore);
    pause();
    return 2;
}

static void test_semaphore_holder_dies(void **)
{
    weft_shared_semaphore_init(&w->semaphore, 2, 2);
    weft_shared_value_set(&w->value, 0);
    pid_t a = child_of(take_and_wait, nullptr), b = child_of(take_and_wait, nullptr);
    reach(&w->value, 2);
    pid_t waiter = child_of(take_and_wait, w);
    wait_asleep(waiter);
    kill(a, SIGKILL); // not reaped: a zombie holds nothing
    assert_int_equal(end_of(waiter), 0);
    assert_int_equal(weft_shared_semaphore_value(&w->semaphore), 1);
    kill_and_reap(b);
    assert_int_equal(end_of(a), 256 + SIGKILL);
    assert_int_equal(weft_shared_semaphore_value(&w->semaphore), 2);
}

static void test_semaphore_wakes_waiter(void **)
{
    weft_shared_semaphore_init(&w->semaphore, 1, 0);
    weft_shared_semaphore_wait(&w->semaphore, WEFT_NOW);
    pid_t p = child_of(take_and_wait, w);
    wait_asleep(p);
    assert_int_equal(weft_shared_semaphore_post(&w->semaphore), 0);
    assert_int_equal(end_of(p), 0);
    assert_int_equal(weft_shared_semaphore_value(&w->semaphore), 1);
}

static void test_semaphore_too_many_holders(void **)
{
    weft_shared_semaphore_init(&w->semaphore, 1000, 0);
    weft_shared_value_set(&w->value, 0);
    pid_t p[WEFT_SHARED_HOLDERS];
    for (pid_t &each : p)
        each = child_of(take_and_wait, nullptr);
    reach(&w->value, WEFT_SHARED_HOLDERS);
    assert_errno(weft_shared_semaphore_wait(&w->semaphore, WEFT_NOW), EUSERS);
    kill_and_reap(p[5]);
    assert_int_equal(weft_shared_semaphore_wait(&w->semaphore, WEFT_NOW), 0);
    for (pid_t each : p)
        if (each != p[5])
            kill_and_reap(each);
    assert_int_equal(weft_shared_semaphore_value(&w->semaphore), 999);
}

// ---- event ----

static int wait_event(void *)
{
    return weft_shared_event_wait(&w->event, WEFT_FOREVER);
}

static void test_event(void **)
{
    weft_shared_event_init(&w->event);
    assert_false(weft_shared_event_is_set(&w->event));
    assert_errno(weft_shared_event_wait(&w->event, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_shared_event_wait(&w->event, weft_in_ms(10)), ETIMEDOUT);
    pid_t p[3];
    for (pid_t &each : p)
        each = child_of(wait_event, nullptr);
    for (pid_t each : p)
        wait_asleep(each);
    kill_and_reap(p[0]);
    assert_int_equal(weft_shared_event_set(&w->event), 0);
    assert_int_equal(weft_shared_event_clear(&w->event), 0); // they have been let go all the same
    assert_int_equal(end_of(p[1]), 0);
    assert_int_equal(end_of(p[2]), 0);
    weft_shared_event_set(&w->event);
    weft_shared_event_set(&w->event);
    assert_true(weft_shared_event_is_set(&w->event));
    assert_int_equal(weft_shared_event_wait(&w->event, WEFT_NOW), 0);
    weft_shared_event_clear(&w->event);
    weft_shared_event_clear(&w->event);
    assert_false(weft_shared_event_is_set(&w->event));
}

// ---- barrier ----

static int meet(void *arg)
{
    int rounds = (int)(intptr_t)arg, last = 0;
    for (int i = 0; i < rounds; i++) {
        weft_shared_value_add(&w->value, 1);
        int n = weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER);
        if (n < 0)
            return 100 + (errno == EPIPE ? 1 : errno == EOWNERDEAD ? 2 : 3);
        if (weft_shared_value_get(&w->value) < (i + 1) * 3)
            return 1; // somebody had not come
        last += n;
        if (weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER) < 0)
            return 2;
    }
    weft_shared_value_add(&w->other, last);
    return weft_shared_barrier_leave(&w->barrier);
}

static void test_barrier(void **)
{
    assert_errno(weft_shared_barrier_init(&w->barrier, 0), EINVAL);
    assert_errno(weft_shared_barrier_init(&w->barrier, 65536), EINVAL);
    assert_int_equal(weft_shared_barrier_init(&w->barrier, 3), 0);
    weft_shared_value_set(&w->value, 0);
    weft_shared_value_set(&w->other, 0);
    pid_t p[3];
    for (pid_t &each : p)
        each = child_of(meet, (void *)200);
    for (pid_t each : p)
        assert_int_equal(end_of(each), 0);
    assert_int_equal(weft_shared_value_get(&w->other), 200);
    assert_int_equal(weft_shared_barrier_waiting(&w->barrier), 0);
    assert_false(weft_shared_barrier_is_broken(&w->barrier));
}

static void wait_for_arrivals(uint32_t n)
{
    while (weft_shared_barrier_waiting(&w->barrier) != n)
        usleep(200);
}

static void test_barrier_breaks(void **)
{
    weft_shared_barrier_init(&w->barrier, 3);
    pid_t p = child_of(meet, (void *)1);
    wait_for_arrivals(1);
    assert_errno(weft_shared_barrier_wait(&w->barrier, weft_in_ms(10)), ETIMEDOUT);
    assert_int_equal(end_of(p), 101);
    assert_true(weft_shared_barrier_is_broken(&w->barrier));
    assert_errno(weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER), EPIPE);
    weft_shared_barrier_reset(&w->barrier);
    p = child_of(meet, (void *)1);
    wait_for_arrivals(1);
    weft_shared_barrier_abort(&w->barrier);
    assert_int_equal(end_of(p), 101);
    weft_shared_barrier_reset(&w->barrier);
    p = child_of(meet, (void *)1);
    wait_for_arrivals(1);
    weft_shared_barrier_reset(&w->barrier);
    assert_int_equal(end_of(p), 101);
    assert_false(weft_shared_barrier_is_broken(&w->barrier));
}

static int enter_and_wait(void *)
{
    if (weft_shared_barrier_enter(&w->barrier) != 0)
        return 1;
    weft_shared_value_add(&w->value, 1);
    pause();
    return 2;
}

static void test_barrier_member_dies(void **)
{
    weft_shared_barrier_init(&w->barrier, 3);
    weft_shared_value_set(&w->value, 0);
    assert_errno(weft_shared_barrier_leave(&w->barrier), EINVAL);
    // One that has not arrived yet.
    pid_t dead = child_of(enter_and_wait, nullptr);
    reach(&w->value, 1);
    pid_t p = child_of(meet, (void *)1);
    wait_for_arrivals(1);
    kill(dead, SIGKILL);
    assert_errno(weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER), EOWNERDEAD);
    assert_int_equal(end_of(p), 102);
    assert_int_equal(end_of(dead), 256 + SIGKILL);
    assert_errno(weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER), EOWNERDEAD);
    // One that has.
    weft_shared_barrier_reset(&w->barrier);
    dead = child_of(meet, (void *)1);
    wait_for_arrivals(1);
    kill_and_reap(dead);
    assert_errno(weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER), EOWNERDEAD);
    weft_shared_barrier_reset(&w->barrier);
    weft_shared_value_set(&w->value, 0);
    pid_t three[3];
    assert_int_equal(weft_shared_barrier_enter(&w->barrier), 0);
    assert_int_equal(weft_shared_barrier_enter(&w->barrier), 0);
    assert_int_equal(weft_shared_barrier_leave(&w->barrier), 0);
    for (pid_t &each : three)
        each = child_of(meet, (void *)3);
    for (pid_t each : three)
        assert_int_equal(end_of(each), 0);
}

static void test_barrier_too_many_members(void **)
{
    weft_shared_barrier_init(&w->barrier, 3);
    weft_shared_value_set(&w->value, 0);
    pid_t p[WEFT_SHARED_HOLDERS];
    for (pid_t &each : p)
        each = child_of(enter_and_wait, nullptr);
    reach(&w->value, WEFT_SHARED_HOLDERS);
    assert_errno(weft_shared_barrier_enter(&w->barrier), EUSERS);
    assert_errno(weft_shared_barrier_wait(&w->barrier, WEFT_NOW), EUSERS);
    for (pid_t each : p)
        kill_and_reap(each);
    weft_shared_barrier_reset(&w->barrier);
    assert_int_equal(weft_shared_barrier_enter(&w->barrier), 0);
}

// ---- value ----

static int add_many(void *)
{
    for (int i = 0; i < 10000; i++) {
        weft_shared_value_add(&w->value, 1);
        int64_t was = weft_shared_value_get(&w->other);
        while (!weft_shared_value_replace(&w->other, &was, was + 2))
            ;
    }
    return 0;
}

static void test_value(void **)
{
    weft_shared_value_set(&w->value, 5);
    assert_int_equal(weft_shared_value_exchange(&w->value, 7), 5);
    assert_int_equal(weft_shared_value_add(&w->value, -7), 0);
    int64_t was = 3;
    assert_false(weft_shared_value_replace(&w->value, &was, 9));
    assert_int_equal(was, 0);
    weft_shared_value_set(&w->other, 0);
    pid_t p[3];
    for (pid_t &each : p)
        each = child_of(add_many, nullptr);
    for (pid_t each : p)
        assert_int_equal(end_of(each), 0);
    assert_int_equal(weft_shared_value_get(&w->value), 30000);
    assert_int_equal(weft_shared_value_get(&w->other), 60000);
}

// ---- array ----

struct item {
    int64_t same[25];
};

static int set_for_ever(void *)
{
    struct item it;
    for (int64_t n = 0;; n++) {
        for (int64_t &each : it.same)
            each = n;
        if (weft_shared_array_set(&w->array, (size_t)n % 4, &it) != 0)
            return 1;
    }
}

static void test_array(void **)
{
    weft_shared_array *a = &w->array;
    struct item it = {};
    assert_int_equal(weft_shared_array_bytes(SIZE_MAX / 8, 200), 0);
    assert_errno(weft_shared_array_init(a, 4, 0), EINVAL);
    assert_errno(weft_shared_array_init(a, SIZE_MAX / 8, 200), EINVAL);
    assert_true(weft_shared_array_bytes(4, sizeof it) >= 4 * sizeof it);
    assert_int_equal(weft_shared_array_init(a, 4, sizeof it), 0);
    assert_int_equal(weft_shared_array_count(a), 4);
    it.same[24] = 9;
    assert_int_equal(weft_shared_array_set(a, 3, &it), 0);
    it.same[24] = 0;
    assert_int_equal(weft_shared_array_get(a, 3, &it), 0);
    assert_int_equal(it.same[24], 9);
    assert_errno(weft_shared_array_get(a, 4, &it), EINVAL);
    assert_errno(weft_shared_array_set(a, 4, &it), EINVAL);
    assert_errno(weft_shared_array_unlock(a), EPERM);
    assert_int_equal(weft_shared_array_lock(a, WEFT_NOW), 0);
    assert_errno(weft_shared_array_get(a, 0, &it), EDEADLK);
    assert_errno(weft_shared_array_lock(a, WEFT_NOW), EDEADLK);
    assert_int_equal(((struct item *)weft_shared_array_items(a))[3].same[24], 9);
    if (fork() == 0)
        _exit(weft_shared_array_lock(a, WEFT_NOW) == -1 && errno == ETIMEDOUT &&
                      weft_shared_array_unlock(a) == -1 && errno == EPERM
                  ? 0
                  : 1);
    int status;
    wait(&status);
    assert_int_equal(status, 0);
    assert_int_equal(weft_shared_array_unlock(a), 0);
}

static void test_array_is_never_torn(void **)
{
    weft_shared_array *a = &w->array;
    struct item it;
    weft_shared_array_init(a, 4, sizeof it);
    unsigned seed = 1;
    for (int i = 0; i < 300; i++) {
        pid_t p = child_of(set_for_ever, nullptr);
        usleep(300 + (unsigned)rand_r(&seed) % 500);
        kill_and_reap(p);
        for (size_t k = 0; k < 4; k++) {
            assert_int_equal(weft_shared_array_get(a, k, &it), 0);
            for (int64_t each : it.same)
                assert_int_equal(each, it.same[0]);
        }
        assert_int_equal(weft_shared_array_lock(a, WEFT_NOW), 0); // a set ends well
        assert_int_equal(weft_shared_array_unlock(a), 0);
    }
}

static int lock_array_and_die(void *)
{
    weft_shared_array_lock(&w->array, WEFT_FOREVER);
    kill(getpid(), SIGKILL);
    return 1;
}

static void test_array_owner_dies(void **)
{
    weft_shared_array *a = &w->array;
    struct item it = {};
    weft_shared_array_init(a, 4, sizeof it);
    assert_int_equal(end_of(child_of(lock_array_and_die, nullptr)), 256 + SIGKILL);
    assert_int_equal(weft_shared_array_get(a, 0, &it), 0); // doesn't swallow it
    assert_errno(weft_shared_array_lock(a, WEFT_FOREVER), EOWNERDEAD);
    assert_int_equal(weft_shared_array_unlock(a), 0);
    assert_int_equal(weft_shared_array_lock(a, WEFT_FOREVER), 0);
    assert_int_equal(weft_shared_array_unlock(a), 0);
}

// ---- stop ----

static void *wait_each(void *arg)
{
    bool stopped = true;
    switch ((int)(intptr_t)arg) {
    case 0:
        stopped = weft_shared_semaphore_wait(&w->semaphore, WEFT_FOREVER) == -1;
        break;
    case 1:
        stopped = weft_shared_event_wait(&w->event, WEFT_FOREVER) == -1;
        break;
    case 2:
        stopped = weft_shared_barrier_wait(&w->barrier, WEFT_FOREVER) == -1;
        break;
    case 3:
        weft_shared_mutex_lock(&w->mutex, WEFT_FOREVER);
        while (weft_shared_condition_wait(&w->condition, &w->mutex, WEFT_FOREVER) == 0)
            ;
        int error = errno;
        weft_shared_mutex_unlock(&w->mutex);
        errno = error;
        break;
    }
    return stopped && errno == ECANCELED ? nullptr : (void *)1;
}

static void test_stop_ends_waits(void **)
{
    weft_shared_semaphore_init(&w->semaphore, 0, 0);
    weft_shared_event_init(&w->event);
    weft_shared_barrier_init(&w->barrier, 2);
    weft_shared_mutex_init(&w->mutex, 0);
    weft_shared_condition_init(&w->condition);
    for (intptr_t i = 0; i < 4; i++) {
        weft_thread *t = weft_thread_start(wait_each, (void *)i, nullptr);
        void *result;
        assert_int_equal(weft_thread_stop(t), 0);
        assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
        assert_null(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mutex),
        TEST(test_mutex_recursive_and_checked),
        TEST(test_mutex_owner_dies),
        TEST(test_mutex_among_robust_pthread_mutexes),
        TEST(test_mutex_owner_thread_ends),
        TEST(test_mutex_held_over_fork),
        TEST(test_condition),
        TEST(test_condition_errors),
        TEST(test_condition_owner_dies),
        TEST(test_semaphore),
        TEST(test_semaphore_holder_dies),
        TEST(test_semaphore_wakes_waiter),
        TEST(test_semaphore_too_many_holders),
        TEST(test_event),
        TEST(test_barrier),
        TEST(test_barrier_breaks),
        TEST(test_barrier_member_dies),
        TEST(test_barrier_too_many_members),
        TEST(test_value),
        TEST(test_array),
        TEST(test_array_is_never_torn),
        TEST(test_array_owner_dies),
        TEST(test_stop_ends_waits),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
