// Children that can't be killed: who waits for them comes back, long before they end.
#include "../sandbox.h"

#include "children.h"

#include <weft/pipeline.h>
#include <weft/shell.h>
#include <weft/subprocess_map.h>

namespace {
struct attempt {
    const char *name;
    bool (*fn)(void); // whether it came back as it should
};
} // namespace

static const char *const cat[] = {"cat", NULL};

static weft_subprocess_options quick(void)
{
    weft_subprocess_options o = no_options();
    o.kill_after_ns = 50000000;
    return o;
}

static bool run_one(int flags)
{
    weft_subprocess_options o = quick();
    o.flags = flags;
    return weft_subprocess_run(cat, &o, NULL, weft_in_ms(50)) == -1 && errno == ETIMEDOUT;
}

static bool run_alone(void)
{
    return run_one(0);
}

static bool run_session(void)
{
    return run_one(WEFT_SUBPROCESS_NEW_SESSION);
}

static bool stop_one(void)
{
    weft_subprocess *p = weft_subprocess_start(cat, NULL);
    return p != NULL &&
           weft_subprocess_end(p, NULL, weft_in_ms(10), weft_in_ms(20), weft_in_ms(30)) == -1 &&
           errno == ETIMEDOUT;
}

static bool call_system(void)
{
    return weft_system("exec cat", NULL, weft_in_ms(50)) == -1 && errno == ETIMEDOUT;
}

static bool close_pipe(void)
{
    FILE *stream;
    weft_subprocess *p = weft_popen("exec cat", "r", &stream);
    return p != NULL && weft_pclose(p, stream, NULL, weft_in_ms(50)) == -1 && errno == ETIMEDOUT;
}

static bool run_pipeline(void)
{
    const char *const *const two[] = {cat, cat};
    weft_subprocess_options o = quick();
    return weft_pipeline_run(two, 2, &o, NULL, NULL, weft_in_ms(50)) == -1 && errno == ETIMEDOUT;
}

static int has_enough(const char *, size_t, void *)
{
    return -1;
}

static bool sink_has_enough(void)
{
    const weft_sink sink = {has_enough, NULL, false, 0, 0};
    weft_subprocess_options o = quick();
    o.out.kind = WEFT_STREAM_PIPE;
    o.out.sink = &sink;
    return weft_subprocess_run(sh("echo; exec cat").argv, &o, NULL, WEFT_FOREVER) == -1 &&
           errno == ECANCELED;
}

static int give(size_t i, weft_subprocess_command *c, void *)
{
    c->argv = cat;
    errno = EDOM;
    return i < 20 ? 1 : -1;
}

static int go_on(size_t, const weft_subprocess_result *, int, void *)
{
    return WEFT_MAP_GO_ON;
}

static ssize_t map_many(int64_t limit_ns, weft_deadline d)
{
    weft_subprocess_options o = quick();
    weft_subprocess_map_options b = {};
    b.jobs = 30;
    b.ended = go_on;
    b.next = give;
    b.limit_ns = limit_ns;
    return weft_subprocess_map(NULL, 0, &o, &b, d);
}

// The source fails: all are given up at the same time, and not one after the other.
static bool map_fails(void)
{
    int64_t begun = weft_now();
    return map_many(0, WEFT_FOREVER) == -1 && errno == EDOM &&
           weft_now() - begun < 20 * (int64_t)1000000000;
}

static bool map_is_late(void)
{
    const char *const *const five[] = {cat, cat, cat, cat, cat};
    weft_subprocess_options o = quick();
    weft_subprocess_map_options b = {};
    b.ended = go_on;
    b.jobs = 3;
    b.limit_ns = 50000000;
    return weft_subprocess_map(five, 5, &o, &b, WEFT_FOREVER) == 5 &&
           weft_subprocess_map(five, 5, &o, &b, weft_in_ms(20)) == -1 && errno == ETIMEDOUT;
}

static const struct attempt ATTEMPTS[] = {
    {"run", run_alone},
    {"run of a session", run_session},
    {"stop", stop_one},
    {"system", call_system},
    {"pclose", close_pipe},
    {"pipeline", run_pipeline},
    {"sink", sink_has_enough},
    {"map that fails", map_fails},
    {"map with limits", map_is_late},
};

// They read what ends when we say so; nobody here may send a signal.
static void try_one(const struct attempt *a)
{
    const struct sandbox no_signals = {
        "signals",
        {{SYS_kill, 0, 0, 0}, {SYS_tgkill, 0, 0, 0}, {SYS_pidfd_send_signal, 0, 0, 0}},
        0,
        0};
    int input[2];
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    pid_t child = runner_fork();
    if (child == 0) {
        dup2(input[0], 0);
        close(input[1]);
        _exit(enter_sandbox(&no_signals, EPERM) && a->fn() ? 0 : 1);
    }
    close(input[0]);
    int end = end_of(child);
    close(input[1]);
    if (end != 0)
        fail_msg("%s: %d", a->name, end);
}

CASE(test_undying)
{
    for (const struct attempt &a : ATTEMPTS)
        try_one(&a);
}

RUN_CASES()
