// operations.h: the uses of the process library, for sandboxes and for system-call torture.
#ifndef WEFT_TEST_PROC_OPERATIONS_H
#define WEFT_TEST_PROC_OPERATIONS_H

#include "../operation.h"

#include <weft/pipeline.h>
#include <weft/shell.h>
#include <weft/status.h>
#include <weft/subprocess_map.h>

#include <fcntl.h>
#include <stdlib.h>

static const char *const CAT[] = {"cat", NULL}, *const SLEEP[] = {"sleep", "100", NULL},
                         *const EXIT_3[] = {"sh", "-c", "exit 3", NULL};

// Frees it, whatever it does: the result.
static inline int given_up(weft_subprocess *p, int result)
{
    if (weft_subprocess_destroy(p) == 0)
        return result;
    weft_subprocess_kill(p);
    weft_subprocess_join(p, NULL, late());
    return weft_subprocess_destroy(p) == 0 ? result : WRONG;
}

// Waits for it and frees it: 0, or an errno.
static inline int ended(weft_subprocess *p, int code)
{
    int status = 0;
    if (p == NULL)
        return errno;
    if (weft_subprocess_join(p, &status, late()) != 0)
        return given_up(p, errno);
    return given_up(p, RIGHT_IF(weft_status_code(status) == code));
}

static inline int start_and_wait(void)
{
    return ended(weft_subprocess_start(EXIT_3, NULL), 3);
}

static inline int start_what_is_missing(void)
{
    const char *const argv[] = {"/nowhere/weft", NULL};
    weft_subprocess *p = weft_subprocess_start(argv, NULL);
    return p != NULL ? given_up(p, WRONG) : errno == ENOENT ? 0 : errno;
}

// One descriptor is passed on, another is not.
static inline int start_with_descriptors(void)
{
    const char *const argv[] = {"sh", "-c",
                                "[ -e /proc/self/fd/700 ] && [ ! -e /proc/self/fd/701 ]", NULL};
    weft_subprocess_options o = {};
    const int pass[] = {700};
    o.pass = pass;
    o.pass_count = 1;
    int result = dup2(0, 700) < 0 || dup2(0, 701) < 0 ? EMFILE // fewer than that many may be open
                                                      : ended(weft_subprocess_start(argv, &o), 0);
    close(700);
    close(701);
    return result;
}

static inline int set_code(void *)
{
    return setenv("CODE", "4", 1);
}

static inline int start_with_callback(void)
{
    const char *const argv[] = {"sh", "-c", "exit $CODE", NULL};
    weft_subprocess_options o = {};
    o.callback = set_code;
    return ended(weft_subprocess_start(argv, &o), 4);
}

static inline int start_held_by_parent(void)
{
    weft_subprocess_options o = {};
    o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    return ended(weft_subprocess_start(EXIT_3, &o), 3);
}

static inline int give_up_waiting(void)
{
    weft_subprocess *p = weft_subprocess_start(SLEEP, NULL);
    if (p == NULL)
        return errno;
    if (weft_subprocess_poll(p, NULL) != 0 || weft_subprocess_join(p, NULL, soon()) != -1 ||
        errno != ETIMEDOUT)
        return given_up(p, WRONG);
    if (weft_subprocess_destroy(p) == 0)
        return WRONG;
    return errno != EBUSY || weft_subprocess_terminate(p) != 0 ? given_up(p, WRONG)
                                                               : ended(p, 128 + SIGTERM);
}

// What an operation that shall be late gives.
static inline int lateness(int result)
{
    return result != -1 ? WRONG : errno == ETIMEDOUT ? 0 : errno;
}

static inline int run_until(void)
{
    weft_subprocess_result r;
    int result = lateness(weft_subprocess_run(SLEEP, NULL, &r, soon()));
    weft_subprocess_result_free(&r);
    return result;
}

// What it has started ends with it.
static inline int run_group_until(void)
{
    const char *const argv[] = {"sh", "-c", "sleep 100; true", NULL};
    weft_subprocess_options o = {};
    o.process_group = WEFT_GROUP_NEW;
    return lateness(weft_subprocess_run(argv, &o, NULL, soon()));
}

// What has left for a session of its own, too.
static inline int run_tree_until(void)
{
    const char *const argv[] = {"sh", "-c", "setsid sleep 100 & sleep 100; true", NULL};
    weft_subprocess_options o = {};
    o.flags = WEFT_SUBPROCESS_TREE;
    return lateness(weft_subprocess_run(argv, &o, NULL, soon()));
}

static inline int run_tree(void)
{
    const char *const argv[] = {"sh", "-c", "setsid sleep 100 & exit 3", NULL};
    weft_subprocess_options o = {};
    o.flags = WEFT_SUBPROCESS_TREE;
    return ended(weft_subprocess_start(argv, &o), 3);
}

static char text[100000];

static inline int communicate(void)
{
    weft_subprocess_options o = {};
    weft_buffer out = {NULL, 0, 0};
    memset(text, 'x', sizeof text);
    o.in.kind = o.out.kind = WEFT_STREAM_PIPE;
    weft_subprocess *p = weft_subprocess_start(CAT, &o);
    if (p == NULL)
        return errno;
    int result = weft_subprocess_communicate(p, text, sizeof text, &out, NULL, late()) != 0 ? errno
                 : out.size == sizeof text && memcmp(out.data, text, sizeof text) == 0      ? 0
                                                                                            : WRONG;
    weft_buffer_free(&out);
    return result == 0 ? ended(p, 0) : given_up(p, result);
}

static inline int pipeline(void)
{
    const char *const wc[] = {"wc", "-c", NULL}, *const *const stages[] = {CAT, CAT, wc};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    int failure = -1;
    o.input = text;
    o.input_size = sizeof text;
    o.out.kind = WEFT_STREAM_PIPE;
    int result = weft_pipeline_run(stages, 3, &o, &r, &failure, late()) != 0             ? errno
                 : r.status == 0 && failure == 0 && atoi(r.out.data) == (int)sizeof text ? 0
                                                                                         : WRONG;
    weft_subprocess_result_free(&r);
    return result;
}

static inline int stop_pipeline(void)
{
    const char *const *const stages[] = {SLEEP, CAT};
    int status;
    weft_pipeline *l = weft_pipeline_start(stages, 2, NULL);
    if (l == NULL)
        return errno;
    int result = weft_pipeline_end(l, &status, WEFT_NOW, late(), late()) == 0 ? 0 : errno;
    return weft_pipeline_destroy(l) == 0 ? result : WRONG;
}

static inline int system_and_until(void)
{
    int status;
    if (weft_system("exit 5", &status, WEFT_FOREVER) != 0)
        return errno;
    if (weft_status_code(status) != 5)
        return WRONG;
    if (weft_system("exit 6", &status, late()) != 0)
        return errno;
    return weft_status_code(status) != 6 ? WRONG
                                         : lateness(weft_system("sleep 100; true", NULL, soon()));
}

static inline int popen_and_close(void)
{
    FILE *f;
    char line[16] = "";
    weft_subprocess *p = weft_popen("echo hello", "r", &f);
    if (p == NULL)
        return errno;
    bool read = fgets(line, sizeof line, f) != NULL && strcmp(line, "hello\n") == 0;
    int error = read ? 0 : errno;
    if (weft_pclose(p, f, NULL, late()) != 0)
        return errno;
    return read ? 0 : error != 0 ? error : WRONG;
}

static int failures[4];

static inline void note(size_t i, const weft_subprocess_result *, int error, void *)
{
    failures[i] = error;
}

static inline ssize_t map_of(const char *const *const *commands, size_t n, int64_t limit_ns)
{
    weft_subprocess_options o = {};
    weft_subprocess_map_options batch = {};
    o.out.kind = WEFT_STREAM_PIPE;
    o.process_group = WEFT_GROUP_NEW;
    batch.jobs = 2;
    batch.limit_ns = limit_ns;
    batch.report = note;
    return weft_subprocess_map(commands, n, &o, &batch, late());
}

// The first of its errors, but for `expected`.
static inline int map_result(ssize_t failed, const int *expected, int n)
{
    int wrong = 0;
    for (int i = 0; i < n; i++) {
        if (failed >= 0 && failures[i] != expected[i])
            return failures[i] != 0 ? failures[i] : WRONG;
        wrong += expected[i] != 0;
    }
    return failed < 0 ? errno : RIGHT_IF(failed == wrong);
}

static inline int map_commands(void)
{
    const char *const echo[] = {"echo", "x", NULL}, *const missing[] = {"/nowhere/weft", NULL};
    const char *const *const commands[] = {echo, missing, echo};
    const int expected[] = {0, ENOENT, 0};
    return map_result(map_of(commands, 3, 0), expected, 3);
}

static inline int map_with_limit(void)
{
    const char *const *const commands[] = {SLEEP, SLEEP, SLEEP};
    const int expected[] = {ETIMEDOUT, ETIMEDOUT, ETIMEDOUT};
    return map_result(map_of(commands, 3, 20000000), expected, 3);
}

// Most of it goes through a file.
static inline int collect_in_file(void)
{
    const char *const argv[] = {"sh", "-c", "head -c 300000 /dev/zero", NULL};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    weft_sink s = {};
    s.memory = 1000;
    o.out.kind = WEFT_STREAM_PIPE;
    o.out.sink = &s;
    int error = weft_subprocess_run(argv, &o, &r, late()) == 0 ? 0 : errno;
    bool whole = r.out.size == 300000 && r.out.data[299999] == 0 && r.status == 0;
    weft_subprocess_result_free(&r);
    return error != 0 ? error : RIGHT_IF(whole);
}

static inline int count_lines(const char *, size_t n, void *lines)
{
    *(size_t *)lines += n == 2;
    return 0;
}

static inline int take_lines(void)
{
    const char *const argv[] = {"sh", "-c", "yes | head -n 1000", NULL};
    weft_subprocess_options o = {};
    weft_sink s = {};
    size_t lines = 0;
    s.take = count_lines;
    s.arg = &lines;
    s.lines = true;
    o.out.kind = WEFT_STREAM_PIPE;
    o.out.sink = &s;
    if (weft_subprocess_run(argv, &o, NULL, late()) != 0)
        return errno;
    return RIGHT_IF(lines == 1000);
}

static inline int give_three(size_t i, weft_subprocess_command *c, void *)
{
    c->argv = EXIT_3;
    return i < 3;
}

static inline int run_twice(size_t i, const weft_subprocess_result *r, int error, void *)
{
    failures[i] = error;
    return error == 0 && r->tries < 2 ? (int)WEFT_MAP_AGAIN : (int)WEFT_MAP_GO_ON;
}

static inline int map_source(void)
{
    weft_subprocess_map_options batch = {};
    memset(failures, 0, sizeof failures);
    batch.jobs = 2;
    batch.next = give_three;
    batch.next_fd = -1;
    batch.ended = run_twice;
    ssize_t failed = weft_subprocess_map(NULL, 0, NULL, &batch, late());
    for (int i = 0; failed >= 0 && i < 3; i++)
        if (failures[i] != 0)
            return failures[i];
    return failed < 0 ? errno : RIGHT_IF(failed == 3);
}

static inline int wait_for_any(void)
{
    weft_subprocess *ps[] = {weft_subprocess_start(SLEEP, NULL), NULL, NULL};
    ps[2] = ps[0] != NULL ? weft_subprocess_start(EXIT_3, NULL) : NULL;
    int error = errno, result = 0;
    if (ps[2] == NULL)
        return ps[0] != NULL ? given_up(ps[0], error) : error;
    if (weft_subprocess_join_any(ps, 3, late()) != 2 ||
        weft_subprocess_join_any(ps, 2, soon()) != -1 || errno != ETIMEDOUT ||
        weft_subprocess_kill(ps[0]) != 0 || weft_subprocess_join_any(ps, 2, late()) != 0)
        result = WRONG;
    int first = result != 0 ? given_up(ps[0], result) : ended(ps[0], 128 + SIGKILL);
    int last = result != 0 ? given_up(ps[2], result) : ended(ps[2], 3);
    return first != 0 ? first : last;
}

static inline int stop_by_degrees(void)
{
    const char *const argv[] = {"sh", "-c", "trap '' TERM; echo; while :; do sleep 100; done",
                                NULL};
    weft_subprocess_options o = {};
    int status = 0;
    char c;
    o.out.kind = WEFT_STREAM_PIPE;
    o.process_group = WEFT_GROUP_NEW;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == NULL)
        return errno;
    int result = weft_subprocess_read(p, 1, &c, 1, late()) != 1                   ? WRONG
                 : weft_subprocess_end(p, &status, WEFT_NOW, soon(), late()) != 0 ? errno
                 : weft_status_signal(status) == SIGKILL                          ? 0
                                                                                  : WRONG;
    return given_up(p, result);
}

// clang-format off
static const struct operation PROC_OPERATIONS[] = {
    {"start and wait", start_and_wait, NULL},
    {"start what is missing", start_what_is_missing, NULL},
    {"start with descriptors", start_with_descriptors, NULL},
    {"start with callback", start_with_callback, NULL},
    {"start held by parent", start_held_by_parent, "fcntl(SETSIG)"},
    {"give up waiting", give_up_waiting, NULL},
    {"run until", run_until, "fcntl(SETSIG)"},
    {"run group until", run_group_until, NULL},
    {"tree until", run_tree_until, "fcntl(SETSIG);prctl(SUBREAPER);signalfd4"},
    {"tree", run_tree, "fcntl(SETSIG);prctl(SUBREAPER);signalfd4"},
    {"communicate", communicate, NULL},
    {"pipeline", pipeline, "fcntl(SETSIG)"},
    {"stop pipeline", stop_pipeline, NULL},
    {"system", system_and_until, "fcntl(SETSIG)"},
    {"popen", popen_and_close, NULL},
    {"map", map_commands, NULL},
    {"map with limit", map_with_limit, NULL},
    {"map a source", map_source, "fcntl(SETSIG)"},
    {"collect in a file", collect_in_file, "fcntl(SETSIG)"},
    {"take lines", take_lines, "fcntl(SETSIG)"},
    {"wait_any", wait_for_any, NULL},
    {"stop by degrees", stop_by_degrees, NULL},
};
// clang-format on

#endif
