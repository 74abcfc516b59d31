// Parents, cancel, defer and destroy: how coroutines end.
#include "coroutines.h"

// ---- Parents ----

CASE(test_parent_gets_the_result)
{
    a = create(give_back);
    assert_ptr_equal(weft_coro_parent(a), weft_coro_self());
    assert_ptr_equal(weft_coro_switch(a, V(3)), V(3));
    destroy(a);
}

static void *plus_one(void *, void *v)
{
    return V((intptr_t)v + 1);
}

CASE(test_end_falls_into_an_unstarted_parent)
{
    a = create(plus_one);
    b = create(plus_one);
    assert_int_equal(weft_coro_set_parent(b, a), 0);
    // b ends with 2, a starts with that and ends with 3, which comes here.
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(3));
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_ptr_equal(weft_coro_result(a), V(3));
    assert_ptr_equal(weft_coro_result(b), V(2));
    destroy(a);
    destroy(b);
}

CASE(test_yield_starts_an_unstarted_parent)
{
    a = create(plus_one);
    b = create(echo);
    weft_coro_set_parent(b, a);
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(2));
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    // Its parent is dead now: yields go one further.
    assert_ptr_equal(weft_coro_switch(b, V(5)), V(5));
    destroy(a);
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    destroy(b);
}

CASE(test_set_parent_refuses_rings)
{
    a = create(echo);
    b = create(echo);
    c = create(echo);
    assert_errno(weft_coro_set_parent(a, a), ELOOP);
    assert_int_equal(weft_coro_set_parent(b, a), 0);
    assert_int_equal(weft_coro_set_parent(c, b), 0);
    assert_errno(weft_coro_set_parent(a, b), ELOOP);
    assert_errno(weft_coro_set_parent(a, c), ELOOP);
    assert_errno(weft_coro_set_parent(weft_coro_main(), a), EINVAL);
    assert_errno(weft_coro_set_parent(a, NULL), EINVAL);
    assert_ptr_equal(weft_coro_parent(a), weft_coro_main());
    assert_ptr_equal(weft_coro_parent(c), b);
    destroy(a);
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    destroy(c);
    destroy(b);
}

CASE(test_set_parent_while_running)
{
    b = create(plus_one);
    a = create([](void *, void *v) {
        return weft_coro_set_parent(weft_coro_self(), b) != 0 ? WEFT_FAILED : v;
    });
    assert_ptr_equal(weft_coro_resume(a, V(4)), V(5)); // through b
    assert_ptr_equal(weft_coro_parent(a), b);
    destroy(a);
    destroy(b);
}

// A consumer is resumed by `a`, which is then destroyed: its yield must not go there.
CASE(test_destroyed_parent_leaves_children_to_its_own)
{
    b = create(echo);
    a = create([](void *, void *v) {
        weft_coro_resume(b, v);
        return weft_coro_yield(v);
    });
    weft_coro_resume(a, V(1));
    assert_ptr_equal(weft_coro_parent(b), a);
    destroy(a);
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    assert_ptr_equal(weft_coro_switch(b, V(2)), V(2));
    destroy(b);
}

// ---- Cancel: greenlet's throw ----

CASE(test_cancel_new_dies_unborn)
{
    a = create(echo);
    assert_int_equal(weft_coro_throw(a, EIO), 0);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_errno(weft_coro_result(a), EIO);
    assert_ptr_equal(weft_coro_resume(a, V(3)), V(3));
    destroy(a);
}

CASE(test_cancel_suspended_runs_to_its_end)
{
    a = create(echo);
    weft_coro_resume(a, V(1));
    errno = 9;
    assert_int_equal(weft_coro_cancel(a), 0);
    assert_int_equal(errno, 9);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_ptr_equal(weft_coro_result(a), V(ECANCELED));
    destroy(a);
}

CASE(test_cancel_dead_or_badly)
{
    a = create(give_back);
    assert_errno(weft_coro_throw(a, -1), EINVAL);
    assert_errno(weft_coro_throw(a, 0), EINVAL);
    weft_coro_resume(a, V(1));
    assert_int_equal(weft_coro_throw(a, EIO), 0);
    assert_ptr_equal(weft_coro_result(a), V(1));
    destroy(a);
}

CASE(test_cancel_lasts_until_the_end)
{
    b = create(echo);
    a = create([](void *, void *) {
        intptr_t failures = 0;
        while (weft_coro_yield(NULL) != WEFT_FAILED)
            ;
        for (int i = 0; i < 3; i++)
            failures += weft_coro_yield(NULL) == WEFT_FAILED && errno == EIO;
        failures += switch_to_main(NULL, NULL) == WEFT_FAILED && errno == EIO;
        // Resuming others still works, for clean-up.
        failures += weft_coro_resume(b, V(7)) == V(7);
        return V(failures);
    });
    weft_coro_resume(a, NULL);
    assert_int_equal(weft_coro_throw(a, EIO), 0);
    assert_ptr_equal(weft_coro_result(a), V(5));
    destroy(a);
    destroy(b);
}

CASE(test_cancel_error_is_not_lost)
{
    const auto other_error = [](void *, void *) {
        weft_coro_yield(NULL);
        errno = ENOSPC; // caught one, raises another
        return WEFT_FAILED;
    };
    a = create(other_error);
    weft_coro_resume(a, NULL);
    assert_int_equal(weft_coro_throw(a, EIO), 0);
    assert_errno(weft_coro_result(a), ENOSPC);
    destroy(a);
    a = create(other_error);
    weft_coro_resume(a, NULL);
    assert_errno(weft_coro_resume(a, NULL), ENOSPC);
    destroy(a);
}

CASE(test_cancel_self_fails_the_next_yield)
{
    a = create([](void *, void *v) {
        int r = weft_coro_throw(weft_coro_self(), ENXIO);
        return V(r == 0 && weft_coro_yield(v) == WEFT_FAILED ? errno : 2);
    });
    assert_ptr_equal(weft_coro_resume(a, NULL), V(ENXIO));
    destroy(a);
}

CASE(test_cancel_an_ancestor_fails_its_pending_call)
{
    a = create([](void *, void *v) {
        int failed = weft_coro_resume(b, v) == WEFT_FAILED && errno == ENXIO;
        failed += weft_coro_yield(v) == WEFT_FAILED && errno == ENXIO;
        return V(failed);
    });
    b = create([](void *, void *v) {
        int r = weft_coro_throw(weft_coro_parent(weft_coro_self()), ENXIO);
        return r != 0 ? V(1) : weft_coro_yield(v);
    });
    assert_ptr_equal(weft_coro_resume(a, V(1)), V(2));
    destroy(a);
    destroy(b);
}

// Cancelled inside a nested resume whose child hands control to main: not ended yet.
static void *cleans_up_elsewhere(void *, void *v)
{
    weft_coro_yield(v);
    weft_coro_resume(b, V(1));
    return V(3);
}

static void begin_cleaning_up(void)
{
    a = create(cleans_up_elsewhere);
    b = create(switch_to_main);
    weft_coro_resume(a, NULL);
}

CASE(test_cancel_that_is_not_finished_is_busy)
{
    begin_cleaning_up();
    assert_errno(weft_coro_cancel(a), EBUSY);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_SUSPENDED);
    assert_ptr_equal(weft_coro_switch(b, NULL), V(3)); // b ends into a, a into main
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    destroy(a);
    destroy(b);
}

// While its canceller waits it is destroyed, and its stack used for another one.
CASE(test_cancel_of_one_that_is_destroyed_meanwhile)
{
    begin_cleaning_up();
    c = create([](void *, void *) { return V(weft_coro_cancel(a) == 0 ? 7 : errno); });
    assert_ptr_equal(weft_coro_resume(c, NULL), V(1)); // b handed control here
    assert_int_equal(weft_coro_state(c), WEFT_CORO_SUSPENDED);
    destroy(a);
    weft_coro *other = create(echo);
    weft_coro_resume(other, V(1));
    assert_ptr_equal(weft_coro_switch(c, NULL), V(7));
    destroy(other);
    destroy(b);
    destroy(c);
}

// At each of its suspension points in turn.
CASE(test_cancel_at_every_suspension_point)
{
    for (int point = 0; point < 5; point++) {
        int seen = -1;
        a = create(
            [](void *arg, void *v) {
                int *i = (int *)arg;
                for (*i = 0; *i < 5; ++*i)
                    if ((*i % 2 ? switch_to_main(NULL, v) : weft_coro_yield(v)) == WEFT_FAILED)
                        return V(errno);
                return V(0);
            },
            &seen);
        for (int i = 0; i <= point; i++)
            weft_coro_resume(a, NULL);
        assert_int_equal(weft_coro_throw(a, EINTR), 0);
        assert_ptr_equal(weft_coro_result(a), V(EINTR));
        assert_int_equal(seen, point);
        destroy(a);
    }
}

// ---- Defer ----

static void defer_note(const char *what)
{
    assert_int_equal(
        weft_defer([](void *text) { note((const char *)text); }, (void *)(uintptr_t)what), 0);
}

static void *defers(void *, void *v)
{
    defer_note("1");
    defer_note("2");
    defer_note("3");
    weft_coro_yield(v);
    note("0");
    return v;
}

CASE(test_defer_runs_last_in_first_out)
{
    a = create(defers);
    weft_coro_resume(a, NULL);
    assert_noted("");
    weft_coro_resume(a, NULL);
    assert_noted("0321");
    destroy(a);
    assert_noted("");
}

CASE(test_destroy_suspended_runs_deferred_only)
{
    a = create(defers);
    weft_coro_resume(a, NULL);
    errno = 3;
    destroy(a);
    assert_int_equal(errno, 3);
    assert_noted("321");
}

CASE(test_defer_may_not_suspend)
{
    for (int ends = 0; ends < 2; ends++) {
        a = create([](void *, void *v) {
            const auto suspend = [](void *) {
                note_result(weft_coro_yield(NULL) == WEFT_FAILED ? -1 : 0, "yielded");
                note_result(switch_to_main(NULL, NULL) == WEFT_FAILED ? -1 : 0, "switched");
                note(weft_coro_self() == a ? "inside" : "elsewhere");
            };
            weft_defer(suspend, NULL);
            return weft_coro_yield(v);
        });
        for (int i = 0; i <= ends; i++)
            weft_coro_resume(a, NULL);
        destroy(a);
        assert_noted("ECANCELED ECANCELED inside");
    }
}

CASE(test_defer_inside_a_deferred)
{
    a = create([](void *, void *v) {
        const auto defer_more = [](void *) {
            note("m");
            defer_note("y");
        };
        defer_note("z");
        weft_defer(defer_more, NULL);
        return v;
    });
    weft_coro_resume(a, NULL);
    assert_noted("myz");
    destroy(a);
}

CASE(test_defer_bad_arguments)
{
    assert_errno(weft_defer(NULL, NULL), EINVAL);
    assert_errno(weft_defer(free, NULL), EPERM);
}

// ---- Destroy ----

static void *defers_a_resume(void *, void *v)
{
    const auto resume = [](void *) {
        note("r");
        weft_coro_resume(b, NULL);
        note("never");
    };
    defer_note("1");
    weft_defer(resume, NULL);
    defer_note("2");
    return weft_coro_yield(v);
}

// A deferred function that loses control to the destroyer: the rest still run.
CASE(test_destroy_goes_on_after_a_lost_deferred)
{
    a = create(defers_a_resume);
    b = create(switch_to_main);
    weft_coro_resume(a, NULL);
    destroy(a);
    assert_noted("2r1");
    destroy(b);
}

// One loses control to another that would destroy it, too.
CASE(test_destroy_of_one_being_destroyed_is_busy)
{
    a = create(defers_a_resume);
    b = create([](void *, void *v) { return weft_coro_switch(c, v); });
    c = create([](void *, void *) { return V(weft_coro_destroy(a) == -1 ? errno : 0); });
    weft_coro_resume(a, NULL);
    destroy(a);
    assert_noted("2r1");
    assert_ptr_equal(weft_coro_result(c), V(EBUSY));
    destroy(b);
    destroy(c);
}

// Nor may others take it from its destroyer meanwhile: that could come to wait for itself.
CASE(test_one_being_destroyed_stays_its_destroyers)
{
    a = create(defers_a_resume);
    b = create([](void *, void *v) { return weft_coro_switch(c, v); });
    c = create([](void *, void *v) {
        note_result(weft_coro_set_parent(a, c), "adopted");
        note_result(weft_coro_resume(a, v) == WEFT_FAILED ? -1 : 0, "resumed");
        note_result(weft_coro_switch(a, v) == WEFT_FAILED ? -1 : 0, "switched");
        note_result(weft_coro_cancel(a), "cancelled");
        return v;
    });
    weft_coro_resume(a, NULL);
    destroy(a);
    assert_noted("2rEBUSY EBUSY EBUSY EBUSY 1");
    destroy(b);
    destroy(c);
}

CASE(test_one_whose_destroyer_is_destroyed)
{
    a = create(defers_a_resume);
    b = create(switch_to_main);
    c = create([](void *, void *) { return V(weft_coro_destroy(a)); });
    weft_coro_resume(a, NULL);
    weft_coro_resume(c, NULL);
    destroy(c);
    assert_noted("2r");
    assert_ptr_equal(weft_coro_parent(a), weft_coro_main());
    destroy(a);
    assert_noted("1");
    destroy(b);
}

CASE(test_destroy_in_each_state)
{
    destroy(create(echo)); // new
    a = create(give_back);
    weft_coro_resume(a, NULL);
    destroy(a); // dead
    a = create(echo);
    weft_coro_resume(a, NULL); // suspended, by another coroutine; itself and its parent
    b = create([](void *, void *) {
        int refused = weft_coro_destroy(weft_coro_self()) == -1 && errno == EBUSY;
        refused += weft_coro_destroy(weft_coro_parent(weft_coro_self())) == -1 && errno == EBUSY;
        refused += weft_coro_destroy(a) == 0;
        return V(refused);
    });
    c = create(resume_b);
    assert_ptr_equal(weft_coro_resume(c, NULL), V(3));
    destroy(c);
    destroy(b);
}

RUN_CASES()
