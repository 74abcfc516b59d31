// Waits for children: in threads that are told to stop, and in tasklets.
#include "../runner.h"

#include <weft/io.h>
#include <weft/pipeline.h>
#include <weft/subprocess.h>
#include <weft/subprocess_map.h>
#include <weft/tasklet.h>
#include <weft/thread.h>

#include <errno.h>
#include <fcntl.h>

static const char *const sleeps[] = {"sleep", "1000", NULL};

struct wait_case {
    weft_subprocess *p;
    int (*call)(weft_subprocess *p, weft_deadline d);
    int error;
};

static int call_wait(weft_subprocess *p, weft_deadline d)
{
    return weft_subprocess_join(p, NULL, d);
}

static int call_wait_any(weft_subprocess *p, weft_deadline d)
{
    return (int)weft_subprocess_join_any(&p, 1, d);
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
    return weft_subprocess_end(p, NULL, d, d, d) == 0 ? 0 : -1;
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
    weft_subprocess_map_options how = {};
    how.report = no_report;
    return weft_subprocess_map(commands, 2, NULL, &how, d) < 0 ? -1 : 0;
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
    assert_int_equal(weft_subprocess_join(c.p, NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_subprocess_destroy(c.p), 0);
}

CASE(test_stop_ends_every_wait)
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
    int result = weft_subprocess_join(q, NULL, WEFT_FOREVER);
    weft_subprocess_destroy(q);
    if (result != 0)
        return NULL;
    return call_stop(p, WEFT_NOW) == 0 || errno == ETIMEDOUT || errno == ECANCELED ? arg : NULL;
}

CASE(test_stopped_threads_reap_what_has_ended)
{
    weft_subprocess *p = weft_subprocess_start(sleeps, NULL);
    void *result = NULL;
    assert_non_null(p);
    weft_thread *t = weft_thread_start(stop_by_degrees, p, NULL);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, p);
    assert_int_equal(weft_subprocess_join(p, NULL, WEFT_FOREVER), 0); // it was killed
    assert_int_equal(weft_subprocess_destroy(p), 0);
}

// ---- In tasklets ----

static weft_subprocess *cat;
static char said[8];
static int result, error;

static weft_tasklet *spawned(void *(*fn)(void *))
{
    weft_tasklet *t = weft_tasklet_spawn(fn, NULL, NULL);
    assert_non_null(t);
    return t;
}

static void *read_cat(void *)
{
    result = (int)weft_subprocess_read(cat, 1, said, sizeof said, WEFT_FOREVER);
    return NULL;
}

static void *wait_for_cat(void *)
{
    result = weft_subprocess_join(cat, NULL, WEFT_FOREVER);
    error = errno;
    return NULL;
}

// Each waits for what another does later: a thread that slept would sleep for ever.
static int feed_what_another_reads(void *)
{
    weft_tasklet *reader = spawned(read_cat);
    weft_tasklet_yield();
    assert_int_equal(weft_subprocess_write(cat, "weft", 4, WEFT_FOREVER), 4);
    assert_int_equal(weft_tasklet_join(reader, NULL, WEFT_FOREVER), 0);
    assert_int_equal(result, 4);
    assert_memory_equal(said, "weft", 4);
    weft_tasklet *waiter = spawned(wait_for_cat);
    weft_tasklet_yield();
    assert_int_equal(weft_subprocess_close(cat, 0), 0);
    assert_int_equal(weft_tasklet_join(waiter, NULL, WEFT_FOREVER), 0);
    assert_int_equal(result, 0);
    return 0;
}

static void start_cat(void)
{
    const char *const argv[] = {"cat", NULL};
    weft_subprocess_options o = {};
    o.in.kind = o.out.kind = WEFT_STREAM_PIPE;
    cat = weft_subprocess_start(argv, &o);
    assert_non_null(cat);
}

static void end_cat(void)
{
    weft_subprocess_kill(cat);
    assert_int_equal(weft_subprocess_join(cat, NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_subprocess_destroy(cat), 0);
}

CASE(test_tasklets_wait_for_children)
{
    start_cat();
    assert_int_equal(weft_io_run(feed_what_another_reads, NULL), 0);
    end_cat();
}

static int cancel_a_wait(void *)
{
    weft_tasklet *waiter = spawned(wait_for_cat);
    weft_tasklet_yield();
    assert_int_equal(weft_tasklet_cancel(waiter), 0);
    assert_int_equal(weft_tasklet_join(waiter, NULL, WEFT_FOREVER), 0);
    assert_int_equal(result, -1);
    assert_int_equal(error, ECANCELED);
    assert_errno(weft_subprocess_join(cat, NULL, weft_in_ms(5)), ETIMEDOUT);
    return 0;
}

CASE(test_cancel_ends_a_wait)
{
    start_cat();
    assert_int_equal(weft_io_run(cancel_a_wait, NULL), 0);
    end_cat();
}

static int running;

// All are at it before the first ends: what they read ends when all have begun.
static void *run_one(void *go)
{
    const char *const argv[] = {"sh", "-c", "read x; echo ok", NULL};
    const weft_stream *in = (const weft_stream *)go;
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    o.in = *in;
    o.out.kind = WEFT_STREAM_PIPE;
    running++;
    bool well = weft_subprocess_run(argv, &o, &r, WEFT_FOREVER) == 0 && r.out.size == 3;
    weft_subprocess_result_free(&r);
    return well ? go : NULL;
}

static int run_several(void *)
{
    enum { SEVERAL = 8 };
    int ends[2];
    weft_tasklet *t[SEVERAL];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    weft_stream in = {WEFT_STREAM_FD, ends[0], NULL, NULL};
    for (weft_tasklet *&each : t) {
        each = weft_tasklet_spawn(run_one, &in, NULL);
        assert_non_null(each);
    }
    while (running < SEVERAL)
        weft_tasklet_yield();
    close(ends[1]);
    for (weft_tasklet *each : t) {
        void *got;
        assert_int_equal(weft_tasklet_join(each, &got, WEFT_FOREVER), 0);
        assert_ptr_equal(got, &in);
    }
    close(ends[0]);
    return 0;
}

CASE(test_tasklets_run_children_side_by_side)
{
    assert_int_equal(weft_io_run(run_several, NULL), 0);
}

RUN_CASES()
