// Transfers: resume, yield, switch; values, states, results, errors.
#include "coroutines.h"

#include <stdio.h>

CASE(test_create_bad_arguments)
{
    weft_coro_options small = {}, lent = {};
    small.stack_size = 16383;
    lent.stack = &small;
    assert_errno(weft_coro_create(NULL, NULL, NULL), EINVAL);
    assert_errno(weft_coro_create(echo, NULL, &small), EINVAL);
    assert_errno(weft_coro_create(echo, NULL, &lent), EINVAL);
    small.stack_size = SIZE_MAX;
    assert_errno(weft_coro_create(echo, NULL, &small), ENOMEM);
    small.stack_size = (size_t)1 << 50;
    assert_errno(weft_coro_create(echo, NULL, &small), ENOMEM);
}

CASE(test_resume_passes_values)
{
    a = create([](void *, void *first) { return weft_coro_yield(weft_coro_yield(first)); });
    errno = 7;
    for (int i = 1; i <= 3; i++)
        assert_ptr_equal(weft_coro_resume(a, V(i)), V(i));
    assert_ptr_equal(weft_coro_result(a), V(3));
    destroy(a);
    assert_int_equal(errno, 7);
}

CASE(test_resume_dead_returns_value)
{
    a = create(give_back);
    assert_ptr_equal(weft_coro_resume(a, V(1)), V(1));
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_ptr_equal(weft_coro_resume(a, V(2)), V(2));
    assert_ptr_equal(weft_coro_switch(a, V(3)), V(3));
    assert_ptr_equal(weft_coro_result(a), V(1));
    destroy(a);
}

static void *nest(void *, void *depth)
{
    if (depth == V(0))
        return V(0);
    weft_coro *child = create(nest);
    intptr_t below = (intptr_t)weft_coro_resume(child, V((intptr_t)depth - 1));
    destroy(child);
    return V(below + 1);
}

CASE(test_resume_recursively)
{
    assert_ptr_equal(nest(NULL, V(200)), V(200));
}

CASE(test_resume_self_or_ancestor_is_busy)
{
    a = create(resume_b);
    b = create([](void *, void *) {
        int refused = weft_coro_resume(b, NULL) == WEFT_FAILED && errno == EBUSY;
        refused += weft_coro_resume(a, NULL) == WEFT_FAILED && errno == EBUSY;
        refused += weft_coro_resume(weft_coro_main(), NULL) == WEFT_FAILED && errno == EBUSY;
        return V(refused);
    });
    assert_ptr_equal(weft_coro_resume(a, NULL), V(3));
    assert_errno(weft_coro_resume(weft_coro_main(), NULL), EBUSY);
    destroy(a);
    destroy(b);
}

CASE(test_null_is_an_error)
{
    assert_errno(weft_coro_resume(NULL, NULL), EINVAL);
    assert_errno(weft_coro_switch(NULL, NULL), EINVAL);
    assert_errno(weft_coro_cancel(NULL), EINVAL);
    assert_errno(weft_coro_parent(NULL), EINVAL);
    assert_errno(weft_coro_set_parent(NULL, weft_coro_main()), EINVAL);
    assert_errno(weft_coro_state(NULL), EINVAL);
    assert_errno(weft_coro_result(NULL), EINVAL);
    assert_null(weft_coro_name(NULL));
    assert_int_equal(weft_coro_destroy(NULL), 0);
}

CASE(test_yield_on_main_is_an_error)
{
    assert_errno(weft_coro_yield(NULL), EPERM);
    assert_errno(weft_defer(free, NULL), EPERM);
    assert_errno(weft_coro_cancel(weft_coro_main()), EINVAL);
    assert_errno(weft_coro_destroy(weft_coro_main()), EBUSY);
    assert_errno(weft_coro_set_parent(weft_coro_main(), weft_coro_main()), EINVAL);
    assert_null(weft_coro_parent(weft_coro_main()));
    assert_ptr_equal(weft_coro_self(), weft_coro_main());
    assert_int_equal(weft_coro_state(weft_coro_main()), WEFT_CORO_RUNNING);
    assert_string_equal(weft_coro_name(weft_coro_main()), "main");
}

// A resumer other than the creator becomes the parent.
CASE(test_resumer_becomes_parent)
{
    b = create(echo);
    a = create(resume_b);
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    assert_ptr_equal(weft_coro_resume(a, V(5)), V(5));
    assert_ptr_equal(weft_coro_parent(b), a);
    // a is dead: the yield of b goes to the nearest living ancestor.
    assert_ptr_equal(weft_coro_switch(b, V(6)), V(6));
    assert_ptr_equal(weft_coro_resume(b, V(7)), V(7));
    assert_ptr_equal(weft_coro_parent(b), weft_coro_main());
    destroy(a);
    destroy(b);
}

static int states_seen[3];

CASE(test_state_of_each)
{
    a = create(resume_b);
    b = create([](void *, void *) {
        states_seen[0] = weft_coro_state(a);
        states_seen[1] = weft_coro_state(b);
        states_seen[2] = weft_coro_state(weft_coro_main());
        return weft_coro_yield(V(weft_coro_result(b) == WEFT_FAILED ? errno : 0));
    });
    assert_int_equal(weft_coro_state(a), WEFT_CORO_NEW);
    assert_errno(weft_coro_result(a), EBUSY);
    assert_ptr_equal(weft_coro_resume(a, NULL), V(EBUSY));
    assert_int_equal(states_seen[0], WEFT_CORO_NORMAL);
    assert_int_equal(states_seen[1], WEFT_CORO_RUNNING);
    assert_int_equal(states_seen[2], WEFT_CORO_NORMAL);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    destroy(a);
    destroy(b);
}

// ---- switch, as in greenlet's suite ----

CASE(test_switch_simple)
{
    a = create([](void *, void *v) {
        note("1");
        v = switch_to_main(NULL, v);
        note("3");
        return v;
    });
    assert_ptr_equal(weft_coro_switch(a, V(8)), V(8)); // arguments at the first switch
    note("2");
    assert_ptr_equal(weft_coro_switch(a, V(9)), V(9));
    note("4");
    assert_noted("1234");
    destroy(a);
}

// From a to b, or from b to a.
static void *to_other(void *name, void *v)
{
    note((char *)name);
    v = weft_coro_switch(*(char *)name == 'a' ? b : a, V((intptr_t)v + 1));
    note((char *)name);
    return v;
}

CASE(test_switch_two_children)
{
    char names[2][2] = {"a", "b"};
    a = create(to_other, names[0]);
    b = create(to_other, names[1]);
    assert_ptr_equal(weft_coro_switch(a, V(1)), V(3));
    assert_noted("aba");
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    assert_ptr_equal(weft_coro_switch(b, V(7)), V(7));
    assert_noted("b");
    destroy(a);
    destroy(b);
}

static void *start_child(void *, void *v)
{
    weft_coro *child = create(echo);
    if (weft_coro_switch(child, v) != v || weft_coro_parent(child) != weft_coro_self())
        return WEFT_FAILED;
    void *back = weft_coro_yield(child);
    destroy(child);
    return back;
}

CASE(test_switch_recursive_children)
{
    a = create(start_child);
    weft_coro *child = (weft_coro *)weft_coro_resume(a, V(3));
    assert_ptr_equal(weft_coro_parent(child), a);
    assert_ptr_equal(weft_coro_resume(a, V(4)), V(4));
    destroy(a);
}

CASE(test_switch_to_self)
{
    assert_ptr_equal(weft_coro_switch(weft_coro_self(), V(42)), V(42));
    a = create(
        [](void *, void *v) { return V((intptr_t)weft_coro_switch(weft_coro_self(), v) + 1); });
    assert_ptr_equal(weft_coro_resume(a, V(1)), V(2));
    destroy(a);
}

static void *switch_to_a(void *, void *v)
{
    return V((intptr_t)weft_coro_switch(a, v) + 10);
}

CASE(test_switch_to_dead_goes_to_its_ancestor)
{
    a = create(give_back);
    weft_coro_resume(a, NULL);
    // Not its parent: the value goes to main, which is.
    b = create(switch_to_a);
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(1));
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    assert_ptr_equal(weft_coro_switch(b, V(5)), V(15));
    // Its parent: back at once.
    c = create(switch_to_a);
    weft_coro_set_parent(a, c);
    assert_ptr_equal(weft_coro_switch(c, V(2)), V(12));
    destroy(a);
    destroy(b);
    destroy(c);
}

static void *three_way(void *arg, void *v)
{
    weft_coro *const *next = (weft_coro *const *)arg;
    for (int i = 0; i < 3; i++)
        v = weft_coro_switch(*next, V((intptr_t)v + 1));
    return v;
}

CASE(test_switch_reentrant_three_way)
{
    a = create(three_way, &b);
    b = create(three_way, &c);
    c = create(three_way, &a);
    // After nine hops a returns what c sent.
    assert_ptr_equal(weft_coro_switch(a, V(0)), V(9));
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    // b was told nothing since: its third switch is pending, then its end.
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(1));
    assert_ptr_equal(weft_coro_switch(c, V(2)), V(2));
    destroy(a);
    destroy(b);
    destroy(c);
}

// b starts while a, which starts it, is itself being started by b's parent's switch.
CASE(test_switch_recursive_startup)
{
    a = create(
        [](void *, void *v) { return V((intptr_t)weft_coro_switch(b, V((intptr_t)v * 2)) + 1); });
    b = create([](void *, void *v) { return weft_coro_switch(a, V((intptr_t)v * 3)); });
    assert_ptr_equal(weft_coro_switch(a, V(5)), V(31));
    destroy(a);
    destroy(b);
}

// ---- Threads ----

static void *try_from_elsewhere(void *)
{
    intptr_t refused = 0;
    refused += weft_coro_resume(a, NULL) == WEFT_FAILED && errno == EPERM;
    refused += weft_coro_switch(a, NULL) == WEFT_FAILED && errno == EPERM;
    refused += weft_coro_cancel(a) == -1 && errno == EPERM;
    refused += weft_coro_destroy(a) == -1 && errno == EPERM;
    refused += weft_coro_state(a) == -1 && errno == EPERM;
    refused += weft_coro_result(a) == WEFT_FAILED && errno == EPERM;
    refused += weft_coro_parent(a) == NULL && errno == EPERM;
    weft_coro *own = weft_coro_create(echo, NULL, NULL);
    refused += weft_coro_set_parent(own, a) == -1 && errno == EPERM;
    refused += weft_coro_set_parent(a, own) == -1 && errno == EPERM;
    return V(refused);
}

CASE(test_another_thread_is_refused)
{
    a = create(echo);
    weft_coro_resume(a, NULL);
    assert_ptr_equal(run_in_thread(try_from_elsewhere, NULL), V(9));
    destroy(a);
}

static void *leave_coroutines_behind(void *ended)
{
    for (int i = 0; i < 10; i++) {
        weft_coro *co = weft_coro_create(
            [](void *arg, void *v) {
                weft_defer([](void *n) { ++*(int *)n; }, arg);
                weft_coro_create(echo, NULL, NULL); // a grandchild that nobody starts
                return weft_coro_yield(v);
            },
            ended, NULL);
        weft_coro_resume(co, NULL);
    }
    return NULL;
}

CASE(test_thread_end_destroys_its_coroutines)
{
    int ended = 0;
    run_in_thread(leave_coroutines_behind, &ended);
    assert_int_equal(ended, 10);
}

// Each the only child of the one before, most of them with something deferred.
static void *leave_a_chain_behind(void *ended)
{
    weft_coro *above = weft_coro_main();
    for (int i = 0; i < 1000; i++) {
        weft_coro *co = weft_coro_create(
            [](void *arg, void *v) {
                if (v != NULL)
                    weft_defer([](void *n) { ++*(int *)n; }, arg);
                return weft_coro_yield(v);
            },
            ended, NULL);
        weft_coro_resume(co, V(i % 3));
        weft_coro_set_parent(co, above);
        above = co;
    }
    return NULL;
}

CASE(test_thread_end_destroys_a_chain)
{
    int ended = 0;
    run_in_thread(leave_a_chain_behind, &ended);
    assert_int_equal(ended, 666);
}

static void *run_many(void *)
{
    intptr_t sum = 0;
    int rounds = RUNNER_SANITIZED ? 20 : 200;
    for (int i = 0; i < rounds; i++) {
        weft_coro *some[20];
        for (int k = 0; k < 20; k++)
            some[k] = weft_coro_create(echo, NULL, NULL);
        for (int n = 0; n < 3; n++)
            for (int k = 0; k < 20; k++)
                sum += (intptr_t)weft_coro_resume(some[k], V(k));
        for (int k = 0; k < 20; k++)
            weft_coro_destroy(some[k]);
    }
    return V(sum - (intptr_t)rounds * 3 * 190);
}

CASE(test_eight_threads_at_once)
{
    assert_int_equal(eight_at_once(run_many, NULL), 0);
}

// ---- The dump ----

CASE(test_dump_lists_the_tree)
{
    char *text = NULL;
    size_t size = 0;
    weft_coro_options named = {};
    named.name = "a name that is longer than the record keeps";
    a = weft_coro_create(start_child, NULL, &named);
    assert_string_equal(weft_coro_name(a), "a name that is longer than the ");
    named.name = "fresh";
    b = weft_coro_create(echo, NULL, &named);
    weft_coro_resume(a, V(1));
    FILE *out = open_memstream(&text, &size);
    errno = 5;
    weft_coro_dump(out);
    assert_int_equal(errno, 5);
    fclose(out);
    const char *const parts[] = {"\n  \"main\"",    "\n    \"a name that is longer than the \"",
                                 "\n      \"\"", // its child
                                 ": suspended, ",   " bytes of stack",
                                 "\n    \"fresh\"", ": new",
                                 ": running"};
    for (const char *part : parts)
        assert_non_null(strstr(text, part));
    free(text);
    weft_coro_resume(a, NULL);
    destroy(a);
    destroy(b);
}

RUN_CASES()
