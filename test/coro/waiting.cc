// Who waits for an answer is left alone: in a chain of calls whose last one waits in a tasklet, and
// in a generator's next.  (mixed.cc looks for what was not thought of here.)
#include <weft/generator.h>

#include "coroutines.h"
#include "tasklets.h"

// ---- A chain: a tasklet resumes `first`, that one `second`, which asks `outer` for items, which
// delegates to `inner`, which resumes `last`, which receives from a channel ----

static weft_coro *first, *second, *last, *stray;
static weft_generator *outer, *inner;

static void *receives(void *, void *v)
{
    int64_t got = 0;
    return receive(&got) == 0 ? V(got) : v;
}

static int asks_last(weft_generator *g, void *)
{
    for (int i = 0; i < 2; i++) {
        last = create(receives);
        void *item = weft_coro_resume(last, V(-2));
        weft_coro_destroy(last);
        if (weft_generator_yield(g, &item) != 0)
            return errno;
    }
    return 0;
}

static int delegates(weft_generator *g, void *arg)
{
    return weft_generator_delegate(g, (weft_generator *)arg) == 0 ? 0 : errno;
}

static void *sums(void *arg, void *v)
{
    intptr_t item, sum = 0;
    while (weft_generator_next((weft_generator *)arg, &item) == 1)
        sum += item;
    return V(sum + (intptr_t)v);
}

static void *resumes(void *arg, void *v)
{
    return weft_coro_resume((weft_coro *)arg, v);
}

static void *tasklet_resumes(void *arg)
{
    return weft_coro_resume((weft_coro *)arg, V(1000));
}

// All that others could do to one of the chain.  In a coroutine, since a tasklet may not switch.
static void *meddles(void *, void *v)
{
    weft_coro *chain[] = {first, second, last};
    for (weft_coro *co : chain) {
        assert_errno(weft_coro_resume(co, V(1)), EBUSY);
        assert_errno(weft_coro_switch(co, V(1)), EBUSY);
        assert_errno(weft_coro_cancel(co), EBUSY);
        assert_errno(weft_coro_destroy(co), EBUSY);
        assert_errno(weft_coro_set_parent(co, weft_coro_self()), EBUSY);
        assert_int_equal(weft_coro_state(co), WEFT_CORO_SUSPENDED);
    }
    weft_generator *generators[] = {outer, inner};
    for (weft_generator *g : generators) {
        assert_errno(weft_generator_next(g, NULL), EBUSY);
        assert_errno(weft_generator_close(g), EBUSY);
        assert_errno(weft_generator_destroy(g), EBUSY);
    }
    return v;
}

static void meddle(void)
{
    weft_coro *co = create(meddles);
    assert_ptr_equal(weft_coro_resume(co, V(9)), V(9));
    destroy(co);
}

static weft_tasklet *start_chain(void)
{
    open_channel(0);
    inner = weft_generator_create(asks_last, NULL, sizeof(void *), NULL);
    outer = weft_generator_create(delegates, inner, sizeof(void *), NULL);
    second = create(sums, outer);
    first = create(resumes, second);
    weft_tasklet *t = spawn(tasklet_resumes, first);
    assert_int_equal(weft_tasklet_yield(), 0);
    return t;
}

static void end_chain(weft_tasklet *t, intptr_t expected)
{
    assert_ptr_equal(join(t), V(expected));
    destroy(first);
    destroy(second);
    assert_int_equal(weft_generator_destroy(outer), 0);
    assert_int_equal(weft_generator_destroy(inner), 0);
    close_channel();
}

CASE(test_whole_chain_is_left_alone)
{
    weft_tasklet *t = start_chain();
    for (intptr_t item = 10; item <= 20; item += 10) {
        meddle();
        assert_int_equal(send(item), 0);
        meddle(); // it is ready, but has not gone on
        assert_int_equal(weft_tasklet_yield(), 0);
    }
    end_chain(t, 1030);
}

CASE(test_chain_ends_when_its_tasklet_is_cancelled)
{
    weft_tasklet *t = start_chain();
    assert_int_equal(weft_tasklet_cancel(t), 0);
    meddle();
    end_chain(t, 1000 - 4);
}

// ---- A stranger whose parent waits for another one ----

static int stray_errno;

static void *yields_then_ends(void *arg, void *v)
{
    stray_errno = 0;
    if (weft_coro_yield(v) == WEFT_FAILED)
        stray_errno = errno;
    return arg;
}

static void *switches_to(void *arg, void *v)
{
    return weft_coro_switch((weft_coro *)arg, v);
}

// Its yield fails and its end comes back to the tasklet in which it ran.
static void *runs_stray(void *arg)
{
    weft_coro *way = create(switches_to, stray);
    void *came = weft_coro_resume(way, arg);
    weft_coro_destroy(way);
    return came;
}

static void run_stray(void)
{
    assert_ptr_equal(join(spawn(runs_stray)), V(7));
    assert_int_equal(stray_errno, EBUSY);
    destroy(stray);
}

CASE(test_stranger_goes_past_a_parent_that_waits)
{
    weft_tasklet *t = start_chain();
    stray = create(yields_then_ends, V(7));
    run_stray(); // its parent: main, which waits in the join
    weft_coro *parents[] = {first, second, last};
    for (weft_coro *parent : parents) {
        stray = create(yields_then_ends, V(7));
        assert_int_equal(weft_coro_set_parent(stray, parent), 0);
        run_stray();
    }
    assert_int_equal(weft_tasklet_cancel(t), 0);
    end_chain(t, 1000 - 4);
}

// ---- A generator's consumer, with no tasklet about ----

static weft_generator *g;
static weft_coro *consumer;
static int yielded;

// Loses control in a resume of its own before it yields.
static int strays(weft_generator *self, void *arg)
{
    (void)arg;
    weft_coro_resume(stray, NULL);
    yielded = weft_generator_yield(self, &yielded) == -1 ? errno : 0;
    return 0;
}

static void *consumes(void *arg, void *v)
{
    int item = 5, r = weft_generator_next((weft_generator *)arg, &item);
    (void)v;
    return V(r == 1 ? item : r == -1 ? -errno : 100);
}

static void lose_control(void)
{
    yielded = 1;
    stray = create(switch_to_main);
    g = weft_generator_create(strays, NULL, sizeof(int), NULL);
    consumer = create(consumes, g);
    assert_null(weft_coro_resume(consumer, NULL));
}

static void destroy_all(int of_yield)
{
    assert_int_equal(yielded, of_yield);
    assert_int_equal(weft_generator_destroy(g), 0);
    destroy(stray);
    destroy(consumer);
}

CASE(test_consumer_goes_on_with_its_item_only)
{
    lose_control();
    assert_errno(weft_generator_next(g, NULL), EBUSY);
    assert_errno(weft_coro_resume(consumer, NULL), EBUSY);
    assert_errno(weft_coro_switch(consumer, NULL), EBUSY);
    assert_errno(weft_coro_cancel(consumer), EBUSY);
    // It ends into g, g yields to the consumer, and that one ends into main.
    assert_ptr_equal(weft_coro_switch(stray, NULL), V(1));
    destroy_all(1);
}

CASE(test_destroyed_consumer_gets_nothing)
{
    lose_control();
    destroy(consumer);
    weft_coro_switch(stray, NULL); // ends into g, which ends into main
    assert_int_equal(weft_generator_poll(g), 1);
    consumer = NULL;
    destroy_all(ECANCELED);
}

CASE(test_consumer_whose_other_child_ends_is_told)
{
    lose_control();
    weft_coro *other = create(yields_then_ends, V(7));
    assert_int_equal(weft_coro_set_parent(other, consumer), 0);
    // Its yield is refused; its end has nowhere else to go: the consumer's next fails.
    assert_ptr_equal(weft_coro_switch(other, NULL), V(-EBUSY));
    assert_int_equal(stray_errno, EBUSY);
    assert_ptr_equal(weft_coro_result(other), V(7));
    destroy(other);
    weft_coro_switch(stray, NULL);
    destroy_all(ECANCELED);
}

// ---- A generator that ends while its consumer's tasklet waits for somebody else ----

static int resumes_stray_when_closed(weft_generator *self, void *)
{
    if (weft_generator_yield(self, &yielded) != 0)
        weft_coro_resume(stray, NULL);
    return 0;
}

static void *destroys_g(void *)
{
    weft_generator_next(g, &yielded);
    return V(weft_generator_destroy(g) == -1 ? errno : 0);
}

CASE(test_destroyer_that_gets_no_answer_leaves_it_alone)
{
    last =
        create([](void *, void *v) { return weft_tasklet_suspend(WEFT_FOREVER) == 0 ? v : NULL; });
    stray = create(switches_to, last);
    g = weft_generator_create(resumes_stray_when_closed, NULL, sizeof(int), NULL);
    weft_tasklet *t = spawn(destroys_g);
    assert_int_equal(weft_tasklet_yield(), 0); // g is closed and has lost control to `last`
    weft_coro *way = create(switches_to, stray);
    weft_coro_resume(way, NULL); // the stray ends into g, which ends, and main goes on
    assert_int_equal(weft_generator_poll(g), 1);
    assert_int_equal(weft_generator_destroy(g), 0);
    assert_int_equal(weft_tasklet_wake(t), 0);
    assert_ptr_equal(join(t), V(EBUSY));
    destroy(way);
    destroy(stray);
    destroy(last);
}

// ---- A generator in its yield takes control from its consumers alone ----

static int creates_a_child(weft_generator *self, void *arg)
{
    int item = 3;
    stray = create(yields_then_ends, V(7));
    (void)arg;
    yielded = weft_generator_yield(self, &item) == -1 ? errno : 0;
    return 0;
}

CASE(test_generators_child_does_not_go_on_for_it)
{
    int item = 0;
    g = weft_generator_create(creates_a_child, NULL, sizeof item, NULL);
    assert_int_equal(weft_generator_next(g, &item), 1);
    assert_ptr_equal(weft_coro_switch(stray, NULL), V(7)); // past g, to main
    assert_int_equal(stray_errno, EBUSY);
    assert_int_equal(weft_generator_next(g, &item), 0);
    consumer = NULL;
    destroy_all(0);
}

RUN_CASES()
