// Transfers: resume, yield, switch; values, states, results, errors.
#include <weft/coro.h>

#include "../runner.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define V(n) ((void *)(intptr_t)(n))

static weft_coro *a, *b, *c;
static char trace[256];

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static void *echo(void *arg, void *v)
{
    (void)arg;
    for (;;) {
        void *next = weft_coro_yield(v);
        if (next == WEFT_FAILED)
            return v;
        v = next;
    }
}

static void *twice(void *arg, void *first)
{
    (void)arg;
    return weft_coro_yield(weft_coro_yield(first));
}

static void *give_back(void *arg, void *first)
{
    (void)arg;
    return first;
}

CASE(test_create_bad_arguments)
{
    weft_coro_options small = {}, lent = {};
    small.stack_size = 16383;
    lent.stack = trace;
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
    weft_coro *co = weft_coro_create(twice, NULL, NULL);
    errno = 7;
    assert_ptr_equal(weft_coro_resume(co, V(1)), V(1));
    assert_ptr_equal(weft_coro_resume(co, V(2)), V(2));
    assert_ptr_equal(weft_coro_resume(co, V(3)), V(3));
    assert_ptr_equal(weft_coro_result(co), V(3));
    assert_int_equal(weft_coro_destroy(co), 0);
    assert_int_equal(errno, 7);
}

CASE(test_resume_dead_returns_value)
{
    weft_coro *co = weft_coro_create(give_back, NULL, NULL);
    assert_ptr_equal(weft_coro_resume(co, V(1)), V(1));
    assert_int_equal(weft_coro_state(co), WEFT_CORO_DEAD);
    assert_ptr_equal(weft_coro_resume(co, V(2)), V(2));
    assert_ptr_equal(weft_coro_switch(co, V(3)), V(3));
    assert_ptr_equal(weft_coro_result(co), V(1));
    weft_coro_destroy(co);
}

static void *nest(void *arg, void *depth)
{
    (void)arg;
    if (depth == V(0))
        return V(0);
    weft_coro *child = weft_coro_create(nest, NULL, NULL);
    intptr_t below = (intptr_t)weft_coro_resume(child, V((intptr_t)depth - 1));
    weft_coro_destroy(child);
    return V(below + 1);
}

CASE(test_resume_recursively)
{
    weft_coro *co = weft_coro_create(nest, NULL, NULL);
    assert_ptr_equal(weft_coro_resume(co, V(200)), V(200));
    weft_coro_destroy(co);
}

static void *resumes_wrongly(void *arg, void *first)
{
    (void)arg;
    (void)first;
    if (weft_coro_resume(b, NULL) != WEFT_FAILED || errno != EBUSY)
        return V(1);
    if (weft_coro_resume(a, NULL) != WEFT_FAILED || errno != EBUSY)
        return V(2);
    if (weft_coro_resume(weft_coro_main(), NULL) != WEFT_FAILED || errno != EBUSY)
        return V(3);
    return V(100);
}

static void *resumes_b(void *arg, void *first)
{
    (void)arg;
    return weft_coro_resume(b, first);
}

CASE(test_resume_self_or_ancestor_is_busy)
{
    a = weft_coro_create(resumes_b, NULL, NULL);
    b = weft_coro_create(resumes_wrongly, NULL, NULL);
    assert_ptr_equal(weft_coro_resume(a, NULL), V(100));
    assert_errno(weft_coro_resume(weft_coro_main(), NULL), EBUSY);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

CASE(test_null_is_an_error)
{
    assert_errno(weft_coro_resume(NULL, NULL), EINVAL);
    assert_errno(weft_coro_switch(NULL, NULL), EINVAL);
    assert_errno(weft_coro_cancel(NULL, 0), EINVAL);
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
    assert_errno(weft_coro_cancel(weft_coro_main(), 0), EINVAL);
    assert_errno(weft_coro_destroy(weft_coro_main()), EBUSY);
    assert_errno(weft_coro_set_parent(weft_coro_main(), weft_coro_main()), EINVAL);
    assert_null(weft_coro_parent(weft_coro_main()));
    assert_ptr_equal(weft_coro_self(), weft_coro_main());
    assert_int_equal(weft_coro_state(weft_coro_main()), WEFT_CORO_RUNNING);
    assert_string_equal(weft_coro_name(weft_coro_main()), "main");
}

// A resumer other than the creator becomes the parent.
static void *resume_it(void *arg, void *first)
{
    (void)first;
    return weft_coro_resume((weft_coro *)arg, V(5));
}

CASE(test_resumer_becomes_parent)
{
    a = weft_coro_create(echo, NULL, NULL);
    b = weft_coro_create(resume_it, a, NULL);
    assert_ptr_equal(weft_coro_parent(a), weft_coro_main());
    assert_ptr_equal(weft_coro_resume(b, NULL), V(5));
    assert_ptr_equal(weft_coro_parent(a), b);
    // b is dead: the yield of a goes to the nearest living ancestor.
    assert_ptr_equal(weft_coro_switch(a, V(6)), V(6));
    assert_ptr_equal(weft_coro_resume(a, V(7)), V(7));
    assert_ptr_equal(weft_coro_parent(a), weft_coro_main());
    weft_coro_destroy(b);
    weft_coro_destroy(a);
}

static int states_seen[4];

static void *look_at_states(void *arg, void *first)
{
    (void)arg;
    (void)first;
    states_seen[0] = weft_coro_state(a);
    states_seen[1] = weft_coro_state(b);
    states_seen[2] = weft_coro_state(weft_coro_main());
    states_seen[3] = weft_coro_result(b) == WEFT_FAILED && errno == EBUSY;
    return weft_coro_yield(NULL);
}

CASE(test_state_of_each)
{
    a = weft_coro_create(resumes_b, NULL, NULL);
    b = weft_coro_create(look_at_states, NULL, NULL);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_NEW);
    assert_errno(weft_coro_result(a), EBUSY);
    weft_coro_resume(a, NULL);
    assert_int_equal(states_seen[0], WEFT_CORO_NORMAL);
    assert_int_equal(states_seen[1], WEFT_CORO_RUNNING);
    assert_int_equal(states_seen[2], WEFT_CORO_NORMAL);
    assert_int_equal(states_seen[3], 1);
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

// ---- switch, as in greenlet's suite ----

static void *switcher(void *arg, void *v)
{
    (void)arg;
    note("1");
    v = weft_coro_switch(weft_coro_main(), v);
    note("3");
    return v;
}

CASE(test_switch_simple)
{
    trace[0] = 0;
    a = weft_coro_create(switcher, NULL, NULL);
    assert_ptr_equal(weft_coro_switch(a, V(8)), V(8)); // arguments at the first switch
    note("2");
    assert_ptr_equal(weft_coro_switch(a, V(9)), V(9));
    note("4");
    assert_string_equal(trace, "1234");
    weft_coro_destroy(a);
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
    trace[0] = 0;
    char names[2][2] = {"a", "b"};
    a = weft_coro_create(to_other, names[0], NULL);
    b = weft_coro_create(to_other, names[1], NULL);
    assert_ptr_equal(weft_coro_switch(a, V(1)), V(3));
    assert_string_equal(trace, "aba");
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    assert_ptr_equal(weft_coro_switch(b, V(7)), V(7));
    assert_string_equal(trace, "abab");
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

static void *start_child(void *arg, void *v)
{
    (void)arg;
    weft_coro *child = weft_coro_create(echo, NULL, NULL);
    if (weft_coro_switch(child, v) != v || weft_coro_parent(child) != weft_coro_self())
        return WEFT_FAILED;
    void *back = weft_coro_yield(child);
    weft_coro_destroy(child);
    return back;
}

CASE(test_switch_recursive_children)
{
    a = weft_coro_create(start_child, NULL, NULL);
    weft_coro *child = (weft_coro *)weft_coro_resume(a, V(3));
    assert_ptr_equal(weft_coro_parent(child), a);
    assert_ptr_equal(weft_coro_resume(a, V(4)), V(4));
    weft_coro_destroy(a);
}

static void *to_itself(void *arg, void *v)
{
    (void)arg;
    return V((intptr_t)weft_coro_switch(weft_coro_self(), v) + 1);
}

CASE(test_switch_to_self)
{
    assert_ptr_equal(weft_coro_switch(weft_coro_self(), V(42)), V(42));
    a = weft_coro_create(to_itself, NULL, NULL);
    assert_ptr_equal(weft_coro_resume(a, V(1)), V(2));
    weft_coro_destroy(a);
}

static void *switch_to_arg(void *arg, void *v)
{
    return V((intptr_t)weft_coro_switch((weft_coro *)arg, v) + 10);
}

CASE(test_switch_to_dead_goes_to_its_ancestor)
{
    a = weft_coro_create(give_back, NULL, NULL);
    weft_coro_resume(a, NULL);
    // Not its parent: the value goes to main, which is.
    b = weft_coro_create(switch_to_arg, a, NULL);
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(1));
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    assert_ptr_equal(weft_coro_switch(b, V(5)), V(15));
    // Its parent: back at once.
    c = weft_coro_create(switch_to_arg, a, NULL);
    weft_coro_set_parent(a, c);
    assert_ptr_equal(weft_coro_switch(c, V(2)), V(12));
    weft_coro_destroy(a);
    weft_coro_destroy(b);
    weft_coro_destroy(c);
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
    a = weft_coro_create(three_way, &b, NULL);
    b = weft_coro_create(three_way, &c, NULL);
    c = weft_coro_create(three_way, &a, NULL);
    // After nine hops a returns what c sent.
    assert_ptr_equal(weft_coro_switch(a, V(0)), V(9));
    assert_int_equal(weft_coro_state(a), WEFT_CORO_DEAD);
    assert_int_equal(weft_coro_state(b), WEFT_CORO_SUSPENDED);
    // b was told nothing since: its third switch is pending, then its end.
    assert_ptr_equal(weft_coro_switch(b, V(1)), V(1));
    assert_ptr_equal(weft_coro_switch(c, V(2)), V(2));
    weft_coro_destroy(a);
    weft_coro_destroy(b);
    weft_coro_destroy(c);
}

// b starts while a, which starts it, is itself being started by b's parent's switch.
static void *starts_b(void *arg, void *v)
{
    (void)arg;
    void *back = weft_coro_switch(b, V((intptr_t)v * 2));
    return V((intptr_t)back + 1);
}

static void *goes_back_to_a(void *arg, void *v)
{
    (void)arg;
    return weft_coro_switch(a, V((intptr_t)v * 3));
}

CASE(test_switch_recursive_startup)
{
    a = weft_coro_create(starts_b, NULL, NULL);
    b = weft_coro_create(goes_back_to_a, NULL, NULL);
    assert_ptr_equal(weft_coro_switch(a, V(5)), V(31));
    weft_coro_destroy(a);
    assert_int_equal(weft_coro_destroy(b), 0);
}

// ---- Threads ----

static int foreign[8];

static void *try_from_elsewhere(void *arg)
{
    weft_coro *co = (weft_coro *)arg;
    foreign[0] = weft_coro_resume(co, NULL) == WEFT_FAILED && errno == EPERM;
    foreign[1] = weft_coro_switch(co, NULL) == WEFT_FAILED && errno == EPERM;
    foreign[2] = weft_coro_cancel(co, 0) == -1 && errno == EPERM;
    foreign[3] = weft_coro_destroy(co) == -1 && errno == EPERM;
    foreign[4] = weft_coro_state(co) == -1 && errno == EPERM;
    foreign[5] = weft_coro_result(co) == WEFT_FAILED && errno == EPERM;
    foreign[6] = weft_coro_parent(co) == NULL && errno == EPERM;
    weft_coro *own = weft_coro_create(echo, NULL, NULL);
    foreign[7] = weft_coro_set_parent(own, co) == -1 && errno == EPERM &&
                 weft_coro_set_parent(co, own) == -1 && errno == EPERM;
    return NULL;
}

CASE(test_another_thread_is_refused)
{
    pthread_t t;
    a = weft_coro_create(echo, NULL, NULL);
    weft_coro_resume(a, NULL);
    assert_int_equal(pthread_create(&t, NULL, try_from_elsewhere, a), 0);
    pthread_join(t, NULL);
    for (int i = 0; i < 8; i++)
        assert_int_equal(foreign[i], 1);
    weft_coro_destroy(a);
}

static void add_one(void *p)
{
    __atomic_add_fetch((int *)p, 1, __ATOMIC_RELAXED);
}

static void *defer_and_yield(void *arg, void *v)
{
    weft_defer(add_one, arg);
    weft_coro_create(echo, NULL, NULL); // a grandchild that nobody starts
    return weft_coro_yield(v);
}

static void *leave_coroutines_behind(void *arg)
{
    for (int i = 0; i < 10; i++)
        weft_coro_resume(weft_coro_create(defer_and_yield, arg, NULL), NULL);
    return NULL;
}

CASE(test_thread_end_destroys_its_coroutines)
{
    pthread_t t;
    int ended = 0;
    assert_int_equal(pthread_create(&t, NULL, leave_coroutines_behind, &ended), 0);
    pthread_join(t, NULL);
    assert_int_equal(ended, 10);
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
    assert_non_null(strstr(text, "\n  \"main\""));
    assert_non_null(strstr(text, "\n    \"a name that is longer than the \""));
    assert_non_null(strstr(text, "\n      \"\"")); // its child
    assert_non_null(strstr(text, ": suspended, "));
    assert_non_null(strstr(text, " bytes of stack"));
    assert_non_null(strstr(text, "\n    \"fresh\""));
    assert_non_null(strstr(text, ": new"));
    assert_non_null(strstr(text, ": running"));
    free(text);
    weft_coro_resume(a, NULL);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
}

RUN_CASES()
