// A barrier whose parties die, or end, or take turns.
#include "../runner.h"
#include "processes.h"

#include <shm/doorbell.h>

#include <weft/shared_sync.h>
#include <weft/shm.h>

#include <errno.h>

using namespace weft;

static weft_shm *segment;
static weft_shared_barrier *barrier;

static int begin(void **state)
{
    segment = weft_shm_create(nullptr, sizeof *barrier, nullptr);
    barrier = (weft_shared_barrier *)weft_shm_address(segment);
    return census_begin(state);
}

static int end(void **state)
{
    int n = census_end(state);
    weft_shm_detach(segment);
    return n;
}

static int come(void *late_us)
{
    usleep((useconds_t)(uintptr_t)late_us);
    return weft_shared_barrier_wait(barrier, weft_in_s(20)) < 0 ? errno : 0;
}

static int enter(void *)
{
    return weft_shared_barrier_enter(barrier) != 0;
}

static int enter_and_pause(void *)
{
    return weft_shared_barrier_enter(barrier) != 0 ? 1 : pause();
}

CASE(test_parties_that_end_without_leave)
{
    weft_shared_barrier_init(barrier, 2);
    for (int round = 0; round < WEFT_SHARED_HOLDERS; round++) {
        // Now and then long enough for the other to look.
        uintptr_t late_us = round % 40 == 20 ? 120000 : 0;
        pid_t p = child_of(come, nullptr), other = child_of(come, (void *)late_us);
        assert_int_equal(end_of(p), 0);
        assert_int_equal(end_of(other), 0);
    }
    assert_false(weft_shared_barrier_is_broken(barrier));
}

// The same whether somebody has looked since or not.
CASE(test_dead_before_the_last_comes)
{
    for (int pause_us = 0; pause_us <= 100000; pause_us += 100000) {
        weft_shared_barrier_init(barrier, 2);
        pid_t p = child_of(come, nullptr);
        while (weft_shared_barrier_waiting(barrier) != 1)
            usleep(200);
        kill_and_reap(p);
        usleep((useconds_t)pause_us);
        assert_errno(weft_shared_barrier_wait(barrier, WEFT_NOW), EOWNERDEAD);
        assert_true(weft_shared_barrier_is_broken(barrier));
        assert_errno(weft_shared_barrier_wait(barrier, WEFT_NOW), EOWNERDEAD);

        weft_shared_barrier_init(barrier, 1);
        assert_int_equal(end_of(child_of(enter, nullptr)), 0);
        usleep((useconds_t)pause_us);
        assert_errno(weft_shared_barrier_wait(barrier, WEFT_NOW), EOWNERDEAD);
        weft_shared_barrier_reset(barrier);
        assert_int_equal(weft_shared_barrier_wait(barrier, WEFT_NOW), 1);
    }
}

CASE(test_left_in_the_middle)
{
    weft_shared_barrier_init(barrier, 1);
    assert_int_equal(weft_shared_barrier_enter(barrier), 0);
    assert_int_equal(weft_shared_barrier_wait(barrier, WEFT_NOW), 1);
    assert_int_equal(weft_shared_barrier_leave(barrier), 0);
    assert_errno(weft_shared_barrier_leave(barrier), EINVAL);
    assert_int_equal(weft_shared_barrier_wait(barrier, WEFT_NOW), 1);
}

CASE(test_places_of_the_dead)
{
    weft_shared_barrier_init(barrier, 1);
    pid_t p[WEFT_SHARED_HOLDERS];
    for (pid_t &each : p)
        each = child_of(enter_and_pause, nullptr);
    while (__atomic_load_n(&barrier->used, __ATOMIC_SEQ_CST) != WEFT_SHARED_HOLDERS)
        usleep(200);
    for (pid_t each : p)
        wait_asleep(each);
    assert_errno(weft_shared_barrier_enter(barrier), EUSERS);
    kill_and_reap(p[7]);
    doorbell_arm_each(&barrier->armed); // as who waits
    uint32_t rings = barrier->rings;
    assert_int_equal(weft_shared_barrier_enter(barrier), 0); // and the death is not forgotten
    assert_int_not_equal(barrier->rings, rings);             // but told
    assert_errno(weft_shared_barrier_wait(barrier, WEFT_NOW), EOWNERDEAD);
    for (int i = 0; i < WEFT_SHARED_HOLDERS; i++)
        if (i != 7)
            kill_and_reap(p[i]);
}

RUN_CASES(begin, end)
