// background.cc: work beside the commands takes a bounded time of each round of the loop, and
// turns.
#include "../runner.h"

#include <manager/server/memory.h>
#include <manager/server/server.h>

using namespace weft;

namespace {
struct task {
    int left, done;
    int64_t ns; // a step takes
    const task *other;
    int ahead; // most steps that it was before the other
};
} // namespace

static bool step(server *, void *arg)
{
    task *j = (task *)arg;
    for (int64_t end = weft_now() + j->ns; weft_now() < end;)
        ;
    j->done++;
    if (j->other != NULL && j->other->left > 0 && j->done - j->other->done > j->ahead)
        j->ahead = j->done - j->other->done;
    return --j->left > 0;
}

static void open_server(server *s)
{
    *s = {};
    list_init(&s->ready);
    s->loop = weft_loop_create(NULL);
    assert_non_null(s->loop);
}

static void close_server(server *s)
{
    background_finish(s);
    assert_int_equal(weft_loop_destroy(s->loop), 0);
    assert_int_equal(bytes_in_use, 0);
}

// A millisecond, and the step that it ends in.
CASE(test_a_round_has_a_budget)
{
    server s;
    task j = {60, 0, 250000, NULL, 0};
    open_server(&s);
    background(&s, step, &j);
    assert_int_equal(j.done, 0); // not in the command that begins it
    for (int before = 0; j.left > 0; before = j.done) {
        assert_int_equal(weft_loop_run(s.loop, WEFT_LOOP_ONCE, WEFT_FOREVER), 1);
        assert_true(j.done > before);
        assert_true(j.done <= before + 5);
    }
    // And it does not keep the loop busy when it is done.
    assert_int_equal(weft_loop_run(s.loop, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    close_server(&s);
}

CASE(test_works_take_turns)
{
    server s;
    task a = {100, 0, 10000, NULL, 0}, b = {40, 0, 10000, &a, 0};
    a.other = &b;
    open_server(&s);
    background(&s, step, &a);
    background(&s, step, &b);
    assert_int_equal(weft_loop_run(s.loop, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(a.done, 100);
    assert_int_equal(b.done, 40);
    assert_true(a.ahead <= 1 && b.ahead <= 1);
    close_server(&s);
}

static bool begin_other(server *s, void *arg)
{
    background(s, step, arg);
    return false;
}

CASE(test_work_begins_work)
{
    server s;
    task j = {3, 0, 0, NULL, 0};
    open_server(&s);
    background(&s, begin_other, &j);
    assert_int_equal(weft_loop_run(s.loop, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(j.done, 3);
    close_server(&s);
}

CASE(test_what_is_left_is_finished_at_the_end)
{
    server s;
    task j = {1000, 0, 1000, NULL, 0};
    open_server(&s);
    background(&s, step, &j);
    close_server(&s);
    assert_int_equal(j.done, 1000);
}

RUN_CASES()
