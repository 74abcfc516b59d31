// The process library in sandboxes that refuse system calls, one after the other.
#include "../sandbox.h"

#include <weft/pipeline.h>

#include <fcntl.h>
#include <string.h>

static const char *const CAT[] = {"cat", NULL}, *const SLEEP[] = {"sleep", "100", NULL},
                         *const EXIT_3[] = {"sh", "-c", "exit 3", NULL};

static weft_deadline soon(void)
{
    return weft_in_ms(30);
}

static weft_deadline late(void)
{
    return weft_in_s(RUNNER_SANITIZED ? 30 : 8);
}

// Waits for `p` and frees it: 0, or an errno.
static int end_of(weft_subprocess *p, int code)
{
    int status;
    if (p == NULL)
        return errno;
    RIGHT(weft_subprocess_wait(p, &status, late()) == 0);
    RIGHT(weft_status_code(status) == code);
    RIGHT(weft_subprocess_destroy(p) == 0);
    return 0;
}

static int start_and_wait(void)
{
    return end_of(weft_subprocess_start(EXIT_3, NULL), 3);
}

static int start_what_is_missing(void)
{
    const char *const argv[] = {"/nowhere/weft", NULL};
    RIGHT(weft_subprocess_start(argv, NULL) == NULL);
    return errno == ENOENT ? 0 : errno;
}

// One descriptor is passed on, another is not.
static int start_with_descriptors(void)
{
    const char *const argv[] = {"sh", "-c",
                                "[ -e /proc/self/fd/700 ] && [ ! -e /proc/self/fd/701 ]", NULL};
    weft_subprocess_options o = {};
    const int pass[] = {700};
    if (dup2(0, 700) < 0 || dup2(0, 701) < 0)
        return EMFILE; // fewer than that many may be open
    o.pass = pass;
    o.pass_count = 1;
    int result = end_of(weft_subprocess_start(argv, &o), 0);
    close(700);
    close(701);
    return result;
}

static int set_code(void *)
{
    return setenv("CODE", "4", 1);
}

static int start_with_callback(void)
{
    const char *const argv[] = {"sh", "-c", "exit $CODE", NULL};
    weft_subprocess_options o = {};
    o.callback = set_code;
    return end_of(weft_subprocess_start(argv, &o), 4);
}

static int start_held_by_parent(void)
{
    weft_subprocess_options o = {};
    o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    return end_of(weft_subprocess_start(EXIT_3, &o), 3);
}

static int give_up_waiting(void)
{
    weft_subprocess *p = weft_subprocess_start(SLEEP, NULL);
    if (p == NULL)
        return errno;
    RIGHT(weft_subprocess_poll(p, NULL) == 0);
    RIGHT(weft_subprocess_wait(p, NULL, soon()) == -1 && errno == ETIMEDOUT);
    RIGHT(weft_subprocess_destroy(p) == -1 && errno == EBUSY);
    RIGHT(weft_subprocess_terminate(p) == 0);
    return end_of(p, 128 + SIGTERM);
}

static int run_until(void)
{
    weft_subprocess_result r;
    int result = weft_subprocess_run(SLEEP, NULL, &r, soon());
    weft_subprocess_result_free(&r);
    RIGHT(result == -1);
    return errno == ETIMEDOUT ? 0 : errno;
}

// What it has started ends with it.
static int run_group_until(void)
{
    const char *const argv[] = {"sh", "-c", "sleep 100; true", NULL};
    weft_subprocess_options o = {};
    o.process_group = WEFT_GROUP_NEW;
    RIGHT(weft_subprocess_run(argv, &o, NULL, soon()) == -1);
    return errno == ETIMEDOUT ? 0 : errno;
}

static char text[100000];

static int communicate(void)
{
    weft_subprocess_options o = {};
    weft_buffer out = {NULL, 0, 0};
    memset(text, 'x', sizeof text);
    o.in.kind = o.out.kind = WEFT_STREAM_PIPE;
    weft_subprocess *p = weft_subprocess_start(CAT, &o);
    if (p == NULL)
        return errno;
    RIGHT(weft_subprocess_communicate(p, text, sizeof text, &out, NULL, late()) == 0);
    RIGHT(out.size == sizeof text && memcmp(out.data, text, sizeof text) == 0);
    weft_buffer_free(&out);
    return end_of(p, 0);
}

static int pipeline(void)
{
    const char *const wc[] = {"wc", "-c", NULL}, *const *const stages[] = {CAT, CAT, wc};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    int failure = -1;
    o.input = text;
    o.input_size = sizeof text;
    o.out.kind = WEFT_STREAM_PIPE;
    if (weft_pipeline_run(stages, 3, &o, &r, &failure, late()) != 0)
        return errno;
    RIGHT(r.status == 0 && failure == 0 && atoi(r.out.data) == (int)sizeof text);
    weft_subprocess_result_free(&r);
    return 0;
}

static int stop_pipeline(void)
{
    const char *const *const stages[] = {SLEEP, CAT};
    int status;
    weft_pipeline *l = weft_pipeline_start(stages, 2, NULL);
    if (l == NULL)
        return errno;
    RIGHT(weft_pipeline_stop(l, &status, WEFT_NOW, late(), late()) == 0);
    RIGHT(weft_pipeline_destroy(l) == 0);
    return 0;
}

static int system_and_until(void)
{
    int status;
    if (weft_system("exit 5", &status, WEFT_FOREVER) != 0)
        return errno;
    RIGHT(weft_status_code(status) == 5);
    if (weft_system("exit 6", &status, late()) != 0)
        return errno;
    RIGHT(weft_status_code(status) == 6);
    RIGHT(weft_system("sleep 100; true", NULL, soon()) == -1);
    return errno == ETIMEDOUT ? 0 : errno;
}

static int popen_and_close(void)
{
    FILE *f;
    char line[16] = "";
    weft_subprocess *p = weft_popen("echo hello", "r", &f);
    if (p == NULL)
        return errno;
    RIGHT(fgets(line, sizeof line, f) != NULL && strcmp(line, "hello\n") == 0);
    RIGHT(weft_pclose(p, f, NULL, late()) == 0);
    return 0;
}

static int failures[4];

static void note(size_t i, const weft_subprocess_result *, int error, void *)
{
    failures[i] = error;
}

static int map_of(const char *const *const *commands, size_t n, int64_t limit_ns)
{
    weft_subprocess_options o = {};
    weft_subprocess_batch batch = {};
    o.out.kind = WEFT_STREAM_PIPE;
    o.process_group = WEFT_GROUP_NEW;
    batch.jobs = 2;
    batch.limit_ns = limit_ns;
    batch.report = note;
    return weft_subprocess_map(commands, n, &o, &batch, late());
}

static int map_commands(void)
{
    const char *const echo[] = {"echo", "x", NULL}, *const missing[] = {"/nowhere/weft", NULL};
    const char *const *const commands[] = {echo, missing, echo};
    if (map_of(commands, 3, 0) == 3)
        return failures[0];
    RIGHT(failures[0] == 0 && failures[1] == ENOENT && failures[2] == 0);
    return 0;
}

static int map_with_limit(void)
{
    const char *const *const commands[] = {SLEEP, SLEEP, SLEEP};
    RIGHT(map_of(commands, 3, 20000000) == 3);
    RIGHT(failures[1] == failures[0] && failures[2] == failures[0]);
    return failures[0] == ETIMEDOUT ? 0 : failures[0];
}

static int wait_for_any(void)
{
    weft_subprocess *ps[] = {weft_subprocess_start(SLEEP, NULL), NULL, NULL};
    ps[2] = ps[0] != NULL ? weft_subprocess_start(EXIT_3, NULL) : NULL;
    if (ps[2] == NULL) {
        int error = errno;
        if (ps[0] != NULL)
            weft_subprocess_kill(ps[0]), end_of(ps[0], 128 + SIGKILL);
        return error;
    }
    RIGHT(weft_subprocess_wait_any(ps, 3, late()) == 2);
    RIGHT(weft_subprocess_wait_any(ps, 2, soon()) == -1 && errno == ETIMEDOUT);
    RIGHT(weft_subprocess_kill(ps[0]) == 0);
    RIGHT(weft_subprocess_wait_any(ps, 2, late()) == 0);
    RIGHT(end_of(ps[0], 128 + SIGKILL) == 0);
    return end_of(ps[2], 3);
}

static int stop_by_degrees(void)
{
    const char *const argv[] = {"sh", "-c", "trap '' TERM; echo; while :; do sleep 100; done",
                                NULL};
    weft_subprocess_options o = {};
    int status;
    char c;
    o.out.kind = WEFT_STREAM_PIPE;
    o.process_group = WEFT_GROUP_NEW;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == NULL)
        return errno;
    RIGHT(weft_subprocess_read(p, 1, &c, 1, late()) == 1);
    RIGHT(weft_subprocess_stop(p, &status, WEFT_NOW, soon(), late()) == 0);
    RIGHT(weft_status_signal(status) == SIGKILL);
    RIGHT(weft_subprocess_destroy(p) == 0);
    return 0;
}

// clang-format off
static const struct operation OPERATIONS[] = {
    {"start and wait", start_and_wait, NULL},
    {"start what is missing", start_what_is_missing, NULL},
    {"start with descriptors", start_with_descriptors, NULL},
    {"start with callback", start_with_callback, NULL},
    {"start held by parent", start_held_by_parent, "fcntl(SETSIG)"},
    {"give up waiting", give_up_waiting, NULL},
    {"run until", run_until, "fcntl(SETSIG)"},
    {"run group until", run_group_until, NULL},
    {"communicate", communicate, NULL},
    {"pipeline", pipeline, "fcntl(SETSIG)"},
    {"stop pipeline", stop_pipeline, NULL},
    {"system", system_and_until, "fcntl(SETSIG)"},
    {"popen", popen_and_close, NULL},
    {"map", map_commands, NULL},
    {"map with limit", map_with_limit, NULL},
    {"wait_any", wait_for_any, NULL},
    {"stop by degrees", stop_by_degrees, NULL},
};
// clang-format on

CASE(test_sandboxes)
{
    assert_int_equal(start_and_wait(), 0); // looks once what the kernel has
    assert_int_equal(try_matrix(OPERATIONS, sizeof OPERATIONS / sizeof OPERATIONS[0]), 0);
}

RUN_CASES()
