// What a coroutine keeps to itself: control words, signal mask, C++ exceptions.
// (Built with -fexceptions and linked with the C++ runtime: see the Makefile.)
#include <weft/generator.h>

#include "../runner.h"

#include <errno.h>
#include <fenv.h>

#define V(n) ((void *)(intptr_t)(n))

static weft_coro *a, *b;

// Whether the control words round upward, by the SSE (or the only) and the x87 unit.
static int rounds_up(void)
{
    volatile double one = 1, tiny = 1e-30;
    return one + tiny > one && fegetround() == FE_UPWARD;
}

static void *round_up(void *arg, void *v)
{
    (void)arg;
    (void)v;
    int fine = !rounds_up();
    fesetround(FE_UPWARD);
    for (int i = 0; i < 3; i++) {
        weft_coro_yield(NULL);
        fine += rounds_up();
    }
    return V(fine);
}

static void *stay_to_nearest(void *arg, void *v)
{
    (void)arg;
    (void)v;
    int fine = 0;
    for (int i = 0; i < 3; i++) {
        fine += !rounds_up();
        weft_coro_resume(a, NULL);
        fine += !rounds_up();
        weft_coro_yield(NULL);
    }
    return V(fine);
}

CASE(test_keep_fp)
{
    weft_coro_options keep = {};
    keep.keep_fp = true;
    a = weft_coro_create(round_up, NULL, &keep);
    b = weft_coro_create(stay_to_nearest, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        weft_coro_resume(b, NULL);
        assert_false(rounds_up());
    }
    // It goes on where it was, through a switch as well, and ends without a trace.
    assert_ptr_equal(weft_coro_resume(b, NULL), V(6));
    assert_ptr_equal(weft_coro_switch(a, NULL), V(4));
    assert_false(rounds_up());
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

CASE(test_keep_fp_between_two_that_keep)
{
    weft_coro_options keep = {};
    keep.keep_fp = true;
    a = weft_coro_create(round_up, NULL, &keep);
    b = weft_coro_create(stay_to_nearest, NULL, &keep);
    for (int i = 0; i < 3; i++)
        weft_coro_resume(b, NULL);
    assert_ptr_equal(weft_coro_resume(b, NULL), V(6));
    // a's end by resume: its result counts what it saw of its own words.
    assert_ptr_equal(weft_coro_resume(a, NULL), V(4));
    assert_false(rounds_up());
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

static int blocked(int sig)
{
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    return sigismember(&now, sig);
}

static void *block_usr1(void *arg, void *v)
{
    sigset_t set;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 2; i++) {
        v = weft_coro_yield(v);
        if (!blocked(SIGUSR1) || blocked(SIGUSR2))
            return V(-2);
    }
    return v;
}

CASE(test_keep_mask)
{
    weft_coro_options keep = {};
    sigset_t usr2;
    keep.keep_mask = true;
    a = weft_coro_create(block_usr1, NULL, &keep);
    b = weft_coro_create(block_usr1, NULL, &keep);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(weft_coro_resume(a, V(i)), V(i));
        assert_false(blocked(SIGUSR1));
        // The thread's own mask may change meanwhile.
        sigprocmask(i % 2 ? SIG_UNBLOCK : SIG_BLOCK, &usr2, NULL);
        assert_ptr_equal(weft_coro_resume(b, V(i)), V(i));
        assert_int_equal(blocked(SIGUSR2), i % 2 == 0);
    }
    sigprocmask(SIG_UNBLOCK, &usr2, NULL);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

// ---- C++ exceptions ----

static void *yield_in_catch(void *arg, void *v)
{
    int own = (int)(intptr_t)arg;
    try {
        throw own;
    } catch (int) {
        try {
            weft_coro_yield(v);
            throw; // one's own, whatever others have caught meanwhile
        } catch (int caught) {
            return V(caught);
        }
    }
    return V(-2);
}

CASE(test_exceptions_are_kept_apart)
{
    a = weft_coro_create(yield_in_catch, V(1), NULL);
    b = weft_coro_create(yield_in_catch, V(2), NULL);
    weft_coro_resume(a, NULL);
    weft_coro_resume(b, NULL);
    // In the order that a shared stack of exceptions gets wrong.
    assert_ptr_equal(weft_coro_resume(a, NULL), V(1));
    assert_ptr_equal(weft_coro_resume(b, NULL), V(2));
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

static int generate_in_catch(weft_generator *g, void *arg)
{
    try {
        throw(int)(intptr_t) arg;
    } catch (int n) {
        for (int i = 0; i < 3; i++)
            if (weft_generator_yield(g, &n) != 0)
                return errno;
        try {
            throw;
        } catch (int again) {
            weft_generator_yield(g, &again);
        }
    }
    return 0;
}

CASE(test_generators_yield_inside_catch)
{
    weft_generator *g = weft_generator_create(generate_in_catch, V(1), sizeof(int), NULL);
    weft_generator *h = weft_generator_create(generate_in_catch, V(2), sizeof(int), NULL);
    int x = 0, y = 0;
    for (int i = 0; i < 4; i++) {
        try {
            throw 9;
        } catch (int) {
            assert_int_equal(weft_generator_next(g, &x), 1);
            assert_int_equal(weft_generator_next(h, &y), 1);
        }
        assert_int_equal(x, 1);
        assert_int_equal(y, 2);
    }
    weft_generator_destroy(g);
    weft_generator_destroy(h);
}

static void *throw_across(void *arg, void *v)
{
    (void)v;
    for (int i = 0; i < 100; i++) {
        try {
            weft_coro_yield(NULL);
            throw i;
        } catch (int n) {
            *(int *)arg += n == i;
        }
    }
    return NULL;
}

CASE(test_throw_and_catch_within_one)
{
    int caught = 0;
    a = weft_coro_create(throw_across, &caught, NULL);
    for (int i = 0; i <= 100; i++)
        weft_coro_resume(a, NULL);
    assert_int_equal(caught, 100);
    weft_coro_destroy(a);
}

RUN_CASES()
