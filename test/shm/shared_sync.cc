// Semaphores, events and barriers between processes, some of which die.
#include "shared_world.h"

#include <shm/doorbell.h>

using namespace weft;

// ---- semaphore ----

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

CASE(test_semaphore_holder_dies)
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

CASE(test_semaphore_too_many_holders)
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

CASE(test_event_waiter_dies)
{
    weft_shared_event_init(&w->event);
    pid_t p[3];
    for (pid_t &each : p)
        each = child_of(wait_event, nullptr);
    for (pid_t each : p)
        wait_asleep(each);
    kill_and_reap(p[0]);
    assert_int_equal(weft_shared_event_set(&w->event), 0);
    assert_int_equal(end_of(p[1]), 0);
    assert_int_equal(end_of(p[2]), 0);
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

static void wait_for_arrivals(uint32_t n)
{
    while (weft_shared_barrier_waiting(&w->barrier) != n)
        usleep(200);
}

CASE(test_barrier_parties)
{
    assert_errno(weft_shared_barrier_init(&w->barrier, 65536), EINVAL);
    assert_int_equal(weft_shared_barrier_init(&w->barrier, 65535), 0);
}

// However late it wakes, it hears how its own round ended.
CASE(test_barrier_waiter_slow_to_wake)
{
    weft_shared_barrier_init(&w->barrier, 3);
    weft_shared_value_set(&w->value, 0);
    pid_t p = child_of(meet, (void *)1);
    wait_for_arrivals(1);
    kill(p, SIGSTOP);
    for (int i = 0; i < 5000; i++) {
        weft_shared_barrier_abort(&w->barrier);
        weft_shared_barrier_reset(&w->barrier);
    }
    kill(p, SIGCONT);
    assert_int_equal(end_of(p), 101);
}

static int enter_and_wait(void *)
{
    if (weft_shared_barrier_enter(&w->barrier) != 0)
        return 1;
    weft_shared_value_add(&w->value, 1);
    pause();
    return 2;
}

CASE(test_barrier_member_dies)
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
    assert_int_equal(weft_shared_barrier_enter(&w->barrier), 0);
    assert_int_equal(weft_shared_barrier_enter(&w->barrier), 0);
    assert_int_equal(weft_shared_barrier_leave(&w->barrier), 0);
    children_end_well(3, meet, (void *)3);
}

CASE(test_barrier_too_many_members)
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

// ---- the bell under them ----

// Who rang before may disarm late: it must not take the arming of one who came since for that.
CASE(test_each_arming_is_another)
{
    uint32_t armed = 0, count = 0, before;
    for (int i = 0; i < 3; i++) {
        doorbell_arm_each(&armed);
        before = armed;
        doorbell_ring_each(&count, &armed, 1); // nobody sleeps: disarmed
        assert_int_equal(count, i + 1);
        doorbell_ring_each(&count, &armed, 1);
        assert_int_equal(count, i + 1);
        doorbell_arm_each(&armed);
        assert_int_not_equal(armed, before);
        doorbell_ring_each(&count, &armed, 1);
        count = (uint32_t)i + 1;
    }
}

RUN_CASES(begin, end)
