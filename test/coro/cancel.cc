// Parents, cancel, defer and destroy: how coroutines end.
#include <weft/coro.h>

#include "../runner.h"

#include <errno.h>

#define V(n) ((void *)(intptr_t)(n))

static weft_coro *a, *b, *c;
static char trace[256];

static int reset(void **state)
{
    trace[0] = 0;
    return runner_begin(state);
}

#define FRESH(fn) CASE_BETWEEN(fn, reset, runner_end)

static void note(void *what)
{
    strncat(trace, (const char *)what, sizeof trace - strlen(trace) - 1);
}

#define S(text) ((void *)(uintptr_t)(text))

static void *give_back(void *arg, void *first)
{
    (void)arg;
    return first;
}

static void *echo(void *arg, void *v)
{
    (void)arg;
    while (v != WEFT_FAILED)
        v = weft_coro_yield(v);
    return V(errno);
}

// ---- Parents ----

FRESH(test_parent_gets_the_result)
{
    a = weft_coro_create(give_back, NULL, NULL);
    assert_ptr_equal(weft_coro_parent(a), weft_coro_self());
    assert_ptr_equal(weft_coro_switch(a, V(3)), V(3));
    weft_coro_destroy(a);
}

static void *plus_one(void *arg, void *v)
{
    (void)arg;
    return V((intptr_t)v + 1);
}

FRESH(test_end_falls_into_an_unstarted_parent)
{
    a = weft_coro_create(plus_one, NULL, NULL);
    b = weft_coro_create(plus_one, NULL, NULL);
    assert_int_equal(weft_coro_set_parent(b, a), 0);
    // b ends with 2, a starts with that and ends with 3, which comes here.
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(3));
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_ptr_equal(weft_coro_result(a), V(3));
    assert_ptr_equal(weft_coro_result(b), V(2));
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

FRESH(test_yield_starts_an_unstarted_parent)
{
    a = weft_coro_create(plus_one, NULL, NULL);
    b = weft_coro_create(echo, NULL, NULL);
    weft_coro_set_parent(b, a);
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(2));
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    // Its parent is dead now: yields go one further.
    assert_ptr_equal(weft_coro_switch(b, V(5)), V(5));
    weft_coro_destroy(a);
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    weft_coro_destroy(b);
}

FRESH(test_set_parent_refuses_rings)
{
    a = weft_coro_create(echo, NULL, NULL);
    b = weft_coro_create(echo, NULL, NULL);
    c = weft_coro_create(echo, NULL, NULL);
    assert_errno(weft_coro_set_parent(a, a), ELOOP);
    assert_int_equal(weft_coro_set_parent(b, a), 0);
    assert_int_equal(weft_coro_set_parent(c, b), 0);
    assert_errno(weft_coro_set_parent(a, b), ELOOP);
    assert_errno(weft_coro_set_parent(a, c), ELOOP);
    assert_errno(weft_coro_set_parent(weft_coro_main(), a), EINVAL);
    assert_errno(weft_coro_set_parent(a, NULL), EINVAL);
    assert_ptr_equal(weft_coro_parent(a), weft_coro_main());
    assert_ptr_equal(weft_coro_parent(c), b);
    weft_coro_destroy(a);
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    weft_coro_destroy(c);
    weft_coro_destroy(b);
}

static void *adopt_myself(void *arg, void *v)
{
    (void)arg;
    if (weft_coro_set_parent(weft_coro_self(), b) != 0)
        return WEFT_FAILED;
    return v;
}

FRESH(test_set_parent_while_running)
{
    b = weft_coro_create(plus_one, NULL, NULL);
    a = weft_coro_create(adopt_myself, NULL, NULL);
    assert_ptr_equal(weft_coro_resume(a, V(4)), V(5)); // through b
    assert_ptr_equal(weft_coro_parent(a), b);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

// A consumer is resumed by `a`, which is then destroyed: its yield must not go there.
static void *resume_and_yield(void *arg, void *v)
{
    weft_coro_resume((weft_coro *)arg, v);
    return weft_coro_yield(v);
}

FRESH(test_destroyed_parent_leaves_children_to_its_own)
{
    b = weft_coro_create(echo, NULL, NULL);
    a = weft_coro_create(resume_and_yield, b, NULL);
    weft_coro_resume(a, V(1));
    assert_ptr_equal(weft_coro_parent(b), a);
    assert_int_equal(weft_coro_destroy(a), 0);
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    assert_ptr_equal(weft_coro_switch(b, V(2)), V(2));
    weft_coro_destroy(b);
}

// ---- Cancel: greenlet's throw ----

FRESH(test_cancel_new_dies_unborn)
{
    a = weft_coro_create(echo, NULL, NULL);
    assert_int_equal(weft_coro_cancel(a, EIO), 0);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_errno(weft_coro_result(a), EIO);
    assert_ptr_equal(weft_coro_resume(a, V(3)), V(3));
    weft_coro_destroy(a);
}

FRESH(test_cancel_suspended_runs_to_its_end)
{
    a = weft_coro_create(echo, NULL, NULL);
    weft_coro_resume(a, V(1));
    errno = 9;
    assert_int_equal(weft_coro_cancel(a, 0), 0);
    assert_int_equal(errno, 9);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_ptr_equal(weft_coro_result(a), V(ECANCELED));
    weft_coro_destroy(a);
}

FRESH(test_cancel_dead_or_badly)
{
    a = weft_coro_create(give_back, NULL, NULL);
    assert_errno(weft_coro_cancel(a, -1), EINVAL);
    weft_coro_resume(a, V(1));
    assert_int_equal(weft_coro_cancel(a, EIO), 0);
    assert_ptr_equal(weft_coro_result(a), V(1));
    weft_coro_destroy(a);
}

static void *stubborn(void *arg, void *v)
{
    int failures = 0;
    (void)arg;
    (void)v;
    while (weft_coro_yield(NULL) != WEFT_FAILED)
        ;
    for (int i = 0; i < 3; i++)
        failures += weft_coro_yield(NULL) == WEFT_FAILED && errno == EIO;
    failures += weft_coro_switch(weft_coro_main(), NULL) == WEFT_FAILED && errno == EIO;
    // Resuming others still works, for clean-up.
    failures += weft_coro_resume(b, V(7)) == V(7);
    return V(failures);
}

FRESH(test_cancel_lasts_until_the_end)
{
    a = weft_coro_create(stubborn, NULL, NULL);
    b = weft_coro_create(echo, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_int_equal(weft_coro_cancel(a, EIO), 0);
    assert_ptr_equal(weft_coro_result(a), V(5));
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

static void *other_error(void *arg, void *v)
{
    (void)arg;
    (void)v;
    weft_coro_yield(NULL);
    errno = ENOSPC; // caught one, raises another
    return WEFT_FAILED;
}

FRESH(test_cancel_error_is_not_lost)
{
    a = weft_coro_create(other_error, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_int_equal(weft_coro_cancel(a, EIO), 0);
    assert_errno(weft_coro_result(a), ENOSPC);
    weft_coro_destroy(a);
    a = weft_coro_create(other_error, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_errno(weft_coro_resume(a, NULL), ENOSPC);
    weft_coro_destroy(a);
}

static void *cancel_self(void *arg, void *v)
{
    (void)arg;
    if (weft_coro_cancel(weft_coro_self(), ENXIO) != 0)
        return V(1);
    return V(weft_coro_yield(v) == WEFT_FAILED ? errno : 2);
}

FRESH(test_cancel_self_fails_the_next_yield)
{
    a = weft_coro_create(cancel_self, NULL, NULL);
    assert_ptr_equal(weft_coro_resume(a, NULL), V(ENXIO));
    weft_coro_destroy(a);
}

static void *cancel_parent(void *arg, void *v)
{
    (void)arg;
    if (weft_coro_cancel(weft_coro_parent(weft_coro_self()), ENXIO) != 0)
        return V(1);
    return weft_coro_yield(v);
}

static void *resume_b(void *arg, void *v)
{
    (void)arg;
    int failed = weft_coro_resume(b, v) == WEFT_FAILED && errno == ENXIO;
    failed += weft_coro_yield(v) == WEFT_FAILED && errno == ENXIO;
    return V(failed);
}

FRESH(test_cancel_an_ancestor_fails_its_pending_call)
{
    a = weft_coro_create(resume_b, NULL, NULL);
    b = weft_coro_create(cancel_parent, NULL, NULL);
    assert_ptr_equal(weft_coro_resume(a, V(1)), V(2));
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

// Cancelled inside a nested resume whose child hands control to main: not ended yet.
static void *go_to_main(void *arg, void *v)
{
    (void)arg;
    return weft_coro_switch(weft_coro_main(), v);
}

static void *cleans_up_elsewhere(void *arg, void *v)
{
    (void)arg;
    weft_coro_yield(v);
    weft_coro_resume(b, V(1));
    return V(3);
}

FRESH(test_cancel_that_is_not_finished_is_busy)
{
    a = weft_coro_create(cleans_up_elsewhere, NULL, NULL);
    b = weft_coro_create(go_to_main, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_errno(weft_coro_cancel(a, 0), EBUSY);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_SUSPENDED);
    assert_ptr_equal(weft_coro_switch(b, NULL), V(3)); // b ends into a, a into main
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

static void *cancels_a(void *arg, void *v)
{
    (void)arg;
    (void)v;
    return V(weft_coro_cancel(a, 0) == 0 ? 7 : errno);
}

// While its canceller waits it is destroyed, and its stack used for another one.
FRESH(test_cancel_of_one_that_is_destroyed_meanwhile)
{
    a = weft_coro_create(cleans_up_elsewhere, NULL, NULL);
    b = weft_coro_create(go_to_main, NULL, NULL);
    c = weft_coro_create(cancels_a, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_ptr_equal(weft_coro_resume(c, NULL), V(1)); // b handed control here
    assert_int_equal(weft_coro_state(c), WEFT_CORO_SUSPENDED);
    assert_int_equal(weft_coro_destroy(a), 0);
    weft_coro *other = weft_coro_create(echo, NULL, NULL);
    weft_coro_resume(other, V(1));
    assert_ptr_equal(weft_coro_switch(c, NULL), V(7));
    weft_coro_destroy(other);
    weft_coro_destroy(b);
    weft_coro_destroy(c);
}

static void *destroys_a(void *arg, void *v)
{
    (void)arg;
    (void)v;
    return V(weft_coro_destroy(a) == -1 ? errno : 0);
}

static void to_c(void *arg)
{
    (void)arg;
    weft_coro_resume(b, NULL);
}

static void *switches_to_c(void *arg, void *v)
{
    (void)arg;
    return weft_coro_switch(c, v);
}

static void *defers_to_c(void *arg, void *v)
{
    (void)arg;
    weft_defer(note, S("1"));
    weft_defer(to_c, NULL);
    return weft_coro_yield(v);
}

// Its deferred function loses control to one that would destroy it, too.
FRESH(test_destroy_of_one_being_destroyed_is_busy)
{
    a = weft_coro_create(defers_to_c, NULL, NULL);
    b = weft_coro_create(switches_to_c, NULL, NULL);
    c = weft_coro_create(destroys_a, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_int_equal(weft_coro_destroy(a), 0);
    assert_string_equal(trace, "1");
    assert_ptr_equal(weft_coro_result(c), V(EBUSY));
    weft_coro_destroy(b);
    weft_coro_destroy(c);
}

// At each of its suspension points in turn.
static void *many_points(void *arg, void *v)
{
    int *seen = (int *)arg;
    for (*seen = 0; *seen < 5; ++*seen) {
        void *back = *seen % 2 ? weft_coro_switch(weft_coro_main(), v) : weft_coro_yield(v);
        if (back == WEFT_FAILED)
            return V(errno);
    }
    return V(0);
}

FRESH(test_cancel_at_every_suspension_point)
{
    for (int point = 0; point < 5; point++) {
        int seen = -1;
        a = weft_coro_create(many_points, &seen, NULL);
        for (int i = 0; i <= point; i++)
            weft_coro_resume(a, NULL);
        assert_int_equal(weft_coro_cancel(a, EINTR), 0);
        assert_ptr_equal(weft_coro_result(a), V(EINTR));
        assert_int_equal(seen, point);
        weft_coro_destroy(a);
    }
}

// ---- Defer ----

static void *defers(void *arg, void *v)
{
    (void)arg;
    weft_defer(note, S("1"));
    weft_defer(note, S("2"));
    weft_defer(note, S("3"));
    weft_coro_yield(v);
    note(S("0"));
    return v;
}

FRESH(test_defer_runs_last_in_first_out)
{
    a = weft_coro_create(defers, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_string_equal(trace, "");
    weft_coro_resume(a, NULL);
    assert_string_equal(trace, "0321");
    weft_coro_destroy(a);
    assert_string_equal(trace, "0321");
}

FRESH(test_destroy_suspended_runs_deferred_only)
{
    a = weft_coro_create(defers, NULL, NULL);
    weft_coro_resume(a, NULL);
    errno = 3;
    assert_int_equal(weft_coro_destroy(a), 0);
    assert_int_equal(errno, 3);
    assert_string_equal(trace, "321");
}

static void try_to_suspend(void *arg)
{
    int *failures = (int *)arg;
    *failures += weft_coro_yield(NULL) == WEFT_FAILED && errno == ECANCELED;
    *failures += weft_coro_switch(weft_coro_main(), NULL) == WEFT_FAILED && errno == ECANCELED;
    *failures += weft_coro_self() != weft_coro_main();
}

static void *defers_suspension(void *arg, void *v)
{
    weft_defer(try_to_suspend, arg);
    return weft_coro_yield(v);
}

FRESH(test_defer_may_not_suspend)
{
    int failures = 0;
    a = weft_coro_create(defers_suspension, &failures, NULL);
    weft_coro_resume(a, NULL);
    weft_coro_resume(a, NULL);
    weft_coro_destroy(a);
    assert_int_equal(failures, 3);
    a = weft_coro_create(defers_suspension, &failures, NULL);
    weft_coro_resume(a, NULL);
    weft_coro_destroy(a);
    assert_int_equal(failures, 6);
}

static void defer_more(void *arg)
{
    note(S("m"));
    weft_defer(note, arg);
}

static void *defers_a_deferrer(void *arg, void *v)
{
    (void)arg;
    weft_defer(note, S("z"));
    weft_defer(defer_more, S("y"));
    return v;
}

FRESH(test_defer_inside_a_deferred)
{
    a = weft_coro_create(defers_a_deferrer, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_string_equal(trace, "myz");
    weft_coro_destroy(a);
}

static void resume_b_from_deferred(void *arg)
{
    (void)arg;
    note(S("r"));
    weft_coro_resume(b, NULL);
    note(S("never"));
}

static void *defers_a_resume(void *arg, void *v)
{
    (void)arg;
    weft_defer(note, S("1"));
    weft_defer(resume_b_from_deferred, NULL);
    weft_defer(note, S("2"));
    return weft_coro_yield(v);
}

// A deferred function that loses control to the destroyer: the rest still run.
FRESH(test_destroy_goes_on_after_a_lost_deferred)
{
    a = weft_coro_create(defers_a_resume, NULL, NULL);
    b = weft_coro_create(go_to_main, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_int_equal(weft_coro_destroy(a), 0);
    assert_string_equal(trace, "2r1");
    weft_coro_destroy(b);
}

FRESH(test_defer_bad_arguments)
{
    assert_errno(weft_defer(NULL, NULL), EINVAL);
    assert_errno(weft_defer(note, NULL), EPERM);
}

// ---- Destroy ----

static void *destroy_wrongly(void *arg, void *v)
{
    (void)v;
    int refused = weft_coro_destroy(weft_coro_self()) == -1 && errno == EBUSY;
    refused += weft_coro_destroy(weft_coro_parent(weft_coro_self())) == -1 && errno == EBUSY;
    refused += weft_coro_destroy((weft_coro *)arg) == 0;
    return V(refused);
}

static void *resume_arg(void *arg, void *v)
{
    return weft_coro_resume((weft_coro *)arg, v);
}

FRESH(test_destroy_in_each_state)
{
    a = weft_coro_create(echo, NULL, NULL);
    assert_int_equal(weft_coro_destroy(a), 0); // new
    a = weft_coro_create(give_back, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_int_equal(weft_coro_destroy(a), 0); // dead
    a = weft_coro_create(echo, NULL, NULL);
    weft_coro_resume(a, NULL); // suspended, by another coroutine; itself and its parent
    c = weft_coro_create(destroy_wrongly, a, NULL);
    b = weft_coro_create(resume_arg, c, NULL);
    assert_ptr_equal(weft_coro_resume(b, NULL), V(3));
    assert_int_equal(weft_coro_destroy(c), 0);
    assert_int_equal(weft_coro_destroy(b), 0);
}

RUN_CASES()
