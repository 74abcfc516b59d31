// Waits for children from threads that are told to stop.
#include "../runner.h"

#include <weft/pipeline.h>
#include <weft/subprocess.h>
#include <weft/thread.h>

#include <errno.h>

static const char *const sleeps[] = {"sleep", "1000", NULL};

struct wait_case {
    weft_subprocess *p;
    int (*call)(weft_subprocess *p, weft_deadline d);
    int error;
};

static int call_wait(weft_subprocess *p, weft_deadline d)
{
    return weft_subprocess_wait(p, NULL, d);
}

static int call_wait_any(weft_subprocess *p, weft_deadline d)
{
    return weft_subprocess_wait_any(&p, 1, d);
}

static int call_read(weft_subprocess *p, weft_deadline d)
{
    char byte;
    return (int)weft_subprocess_read(p, 1, &byte, 1, d);
}

static int call_communicate(weft_subprocess *p, weft_deadline d)
{
    return weft_subprocess_communicate(p, NULL, 0, NULL, NULL, d);
}

static int call_stop(weft_subprocess *p, weft_deadline d)
{
    return weft_subprocess_stop(p, NULL, d, d, d) == 0 ? 0 : -1;
}

static int call_run(weft_subprocess *, weft_deadline d)
{
    return weft_subprocess_run(sleeps, NULL, NULL, d);
}

static int call_pipeline(weft_subprocess *, weft_deadline d)
{
    const char *const *const stages[] = {sleeps, sleeps};
    return weft_pipeline_run(stages, 2, NULL, NULL, NULL, d);
}

static void no_report(size_t, const weft_subprocess_result *, int, void *)
{
}

static int call_map(weft_subprocess *, weft_deadline d)
{
    const char *const *const commands[] = {sleeps, sleeps};
    weft_subprocess_batch how = {};
    how.report = no_report;
    return weft_subprocess_map(commands, 2, NULL, &how, d);
}

static void *make_call(void *arg)
{
    wait_case *c = (wait_case *)arg;
    c->error = c->call(c->p, WEFT_FOREVER) < 0 ? errno : 0;
    return NULL;
}

static void stop_in(int (*call)(weft_subprocess *p, weft_deadline d))
{
    weft_subprocess_options o = {};
    o.out.kind = WEFT_STREAM_PIPE;
    wait_case c = {weft_subprocess_start(sleeps, &o), call, 0};
    assert_non_null(c.p);
    weft_thread *t = weft_thread_start(make_call, &c, NULL);
    assert_non_null(t);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, NULL, WEFT_FOREVER), 0);
    assert_int_equal(c.error, ECANCELED);
    weft_subprocess_kill(c.p);
    assert_int_equal(weft_subprocess_wait(c.p, NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_subprocess_destroy(c.p), 0);
}

static void test_stop_ends_every_wait(void **)
{
    stop_in(call_wait);
    stop_in(call_wait_any);
    stop_in(call_read);
    stop_in(call_communicate);
    stop_in(call_run);
    stop_in(call_pipeline);
    stop_in(call_map);
}

// What can be done without sleeping is done, also by a thread that was told to stop.
static void *stop_by_degrees(void *arg)
{
    while (!weft_thread_stopping())
        ;
    weft_subprocess *p = (weft_subprocess *)arg;
    const char *const done[] = {"true", NULL};
    weft_subprocess *q = weft_subprocess_start(done, NULL);
    while (weft_subprocess_poll(q, NULL) == 0)
        ;
    int result = weft_subprocess_wait(q, NULL, WEFT_FOREVER);
    weft_subprocess_destroy(q);
    if (result != 0)
        return NULL;
    return call_stop(p, WEFT_NOW) == 0 || errno == ETIMEDOUT || errno == ECANCELED ? arg : NULL;
}

static void test_stopped_threads_reap_what_has_ended(void **)
{
    weft_subprocess *p = weft_subprocess_start(sleeps, NULL);
    void *result = NULL;
    assert_non_null(p);
    weft_thread *t = weft_thread_start(stop_by_degrees, p, NULL);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, p);
    assert_int_equal(weft_subprocess_wait(p, NULL, WEFT_FOREVER), 0); // it was killed
    assert_int_equal(weft_subprocess_destroy(p), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stop_ends_every_wait),
        TEST(test_stopped_threads_reap_what_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
