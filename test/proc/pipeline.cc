// Pipelines: data, statuses, groups, early ends, failures to start.
#include "children.h"

#include <weft/pipeline.h>

// Three shell scripts as stages.
struct stages {
    struct script scripts[3];
    const char *const *argvs[3];
};

static void set_stages(struct stages *s, const char *a, const char *b, const char *c)
{
    const char *const texts[] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        s->scripts[i] = sh(texts[i]);
        s->argvs[i] = s->scripts[i].argv;
    }
}

static weft_pipeline *start_three(const char *a, const char *b, const char *c,
                                  const weft_subprocess_options *o)
{
    struct stages s;
    set_stages(&s, a, b, c);
    weft_pipeline *l = weft_pipeline_start(s.argvs, 3, o);
    assert_non_null(l);
    return l;
}

static weft_subprocess_options ends_piped(void)
{
    weft_subprocess_options o = piped();
    o.in.kind = WEFT_STREAM_PIPE;
    return o;
}

CASE(test_pipeline_run)
{
    struct stages s;
    int failure = -1, before = open_descriptors();
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    set_stages(&s, "cat", "tr a-z A-Z", "sed s/^/x/");
    o.input = "one\ntwo\n";
    o.input_size = 8;
    assert_int_equal(weft_pipeline_run(s.argvs, 3, &o, &r, &failure, WEFT_FOREVER), 0);
    assert_string_equal(r.out.data, "xONE\nxTWO\n");
    assert_int_equal(r.status, 0);
    assert_int_equal(failure, 0);
    weft_subprocess_result_free(&r);
    assert_int_equal(weft_pipeline_run(s.argvs, 1, &o, &r, NULL, WEFT_FOREVER), 0);
    assert_string_equal(r.out.data, "one\ntwo\n");
    weft_subprocess_result_free(&r);
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

CASE(test_pipeline_large)
{
    enum { SIZE = 4000000 };
    char *input = (char *)malloc(SIZE);
    for (int i = 0; i < SIZE; i++)
        input[i] = (char)(i * 7 + i / 256);
    weft_buffer out = {};
    weft_subprocess_options o = ends_piped();
    weft_pipeline *l = start_three("cat", "cat", "cat", &o);
    assert_int_equal(weft_pipeline_size(l), 3);
    assert_int_equal(weft_pipeline_communicate(l, input, SIZE, &out, NULL, WEFT_FOREVER), 0);
    assert_int_equal(out.size, SIZE);
    assert_memory_equal(out.data, input, SIZE);
    assert_int_equal(weft_pipeline_destroy(l), 0);
    weft_buffer_free(&out);
    free(input);
}

CASE(test_pipeline_statuses)
{
    int status = -1, failure = -1;
    weft_subprocess_options o = ends_piped();
    weft_pipeline *l = start_three("read x; exit 3", "cat >/dev/null; exit 4", "cat; exit 0", &o);
    assert_errno(weft_pipeline_join(l, &status, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_pipeline_failure(l, &failure), EBUSY);
    assert_errno(weft_pipeline_destroy(l), EBUSY);
    assert_int_equal(weft_pipeline_close(l, 0), 0);
    assert_errno(weft_pipeline_close(l, 0), EBADF);
    assert_errno(weft_pipeline_communicate(l, "x", 1, NULL, NULL, WEFT_FOREVER), EINVAL);
    assert_int_equal(weft_pipeline_join(l, &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_exited(status), 0);
    assert_int_equal(weft_pipeline_failure(l, &failure), 0);
    assert_int_equal(weft_status_exited(failure), 4);
    assert_int_equal(weft_subprocess_join(weft_pipeline_stage(l, 0), &status, WEFT_NOW), 0);
    assert_int_equal(weft_status_exited(status), 3);
    assert_errno(weft_pipeline_stage(l, 3), EINVAL);
    assert_errno(weft_pipeline_send_signal(l, SIGTERM), ESRCH);
    assert_int_equal(weft_pipeline_destroy(l), 0);
    assert_int_equal(weft_pipeline_destroy(NULL), 0);
}

// The last stage takes a line and leaves: the endless ones before it end by SIGPIPE.
CASE(test_pipeline_early_end)
{
    const char *const yes[] = {"yes", NULL}, *const cat[] = {"cat", NULL};
    const char *const head[] = {"head", "-n", "1", NULL};
    const char *const *const argvs[] = {yes, cat, head};
    int failure = -1;
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    // Ignored here: it must not be ignored there.
    signal(SIGPIPE, SIG_IGN);
    int result = weft_pipeline_run(argvs, 3, &o, &r, &failure, WEFT_FOREVER);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(result, 0);
    assert_string_equal(r.out.data, "y\n");
    assert_int_equal(r.status, 0);
    assert_int_equal(weft_status_signal(failure), SIGPIPE);
    weft_subprocess_result_free(&r);
}

CASE(test_pipeline_errors_shared)
{
    struct stages s;
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    set_stages(&s, "echo a >&2", "cat; echo b >&2", "cat; echo c >&2");
    o.err.kind = WEFT_STREAM_PIPE;
    assert_int_equal(weft_pipeline_run(s.argvs, 3, &o, &r, NULL, WEFT_FOREVER), 0);
    assert_int_equal(r.err.size, 6);
    assert_non_null(strstr(r.err.data, "a\n"));
    assert_non_null(strstr(r.err.data, "b\n"));
    assert_non_null(strstr(r.err.data, "c\n"));
    weft_subprocess_result_free(&r);
    o.err.kind = WEFT_STREAM_STDOUT;
    assert_int_equal(weft_pipeline_run(s.argvs, 3, &o, &r, NULL, WEFT_FOREVER), 0);
    assert_string_equal(r.out.data, "a\nb\nc\n");
    weft_subprocess_result_free(&r);
    struct scratch f = make_scratch();
    o.err.kind = WEFT_STREAM_TRUNCATE;
    o.err.path = f.path;
    assert_int_equal(weft_pipeline_run(s.argvs, 3, &o, NULL, NULL, WEFT_FOREVER), 0);
    assert_int_equal(strlen(read_file(f.path)), 6);
    remove_scratch(&f);
    int stage = -1;
    o.err.path = "/nonexistent/file";
    o.stage = &stage;
    assert_errno(weft_pipeline_run(s.argvs, 3, &o, NULL, NULL, WEFT_FOREVER), ENOENT);
    assert_int_equal(stage, WEFT_STAGE_STREAMS);
    assert_true(no_children());
}

CASE(test_pipeline_files_at_the_ends)
{
    struct scratch f = make_scratch(), g = make_scratch();
    struct stages s;
    weft_subprocess_options o = no_options();
    write_file(f.path, "b\na\n", 0600);
    set_stages(&s, "cat", "sort", "cat");
    o.in.kind = WEFT_STREAM_READ;
    o.in.path = f.path;
    o.out.kind = WEFT_STREAM_TRUNCATE;
    o.out.path = g.path;
    assert_int_equal(weft_pipeline_run(s.argvs, 3, &o, NULL, NULL, WEFT_FOREVER), 0);
    assert_string_equal(read_file(g.path), "a\nb\n");
    remove_scratch(&f);
    remove_scratch(&g);
}

CASE(test_pipeline_start_failures)
{
    const char *const cat[] = {"cat", NULL}, *const no[] = {"/nonexistent", NULL};
    const char *const none[] = {NULL};
    const char *const *const bad[][3] = {{no, cat, cat}, {cat, no, cat}, {cat, cat, no}};
    const char *const *const empty[] = {cat, none};
    int stage, before = open_descriptors();
    weft_subprocess_options o = ends_piped();
    o.err.kind = WEFT_STREAM_PIPE;
    o.stage = &stage;
    size_t program = 9, expected = 0;
    o.program = &program;
    for (const auto &argvs : bad) {
        assert_errno(weft_pipeline_start(argvs, 3, &o), ENOENT);
        assert_int_equal(stage, WEFT_STAGE_EXEC);
        assert_int_equal(program, expected++);
    }
    assert_errno(weft_pipeline_start(empty, 2, &o), EINVAL);
    assert_errno(weft_pipeline_start(NULL, 1, &o), EINVAL);
    assert_errno(weft_pipeline_start(empty, 0, &o), EINVAL);
    assert_errno(weft_pipeline_start(empty, SIZE_MAX / 4, &o), ENOMEM);
    o.flags = WEFT_SUBPROCESS_NEW_SESSION;
    assert_errno(weft_pipeline_start(bad[0], 3, &o), EINVAL);
    assert_int_equal(stage, WEFT_STAGE_PREPARE);
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

CASE(test_pipeline_group)
{
    weft_subprocess_options o = ends_piped();
    o.process_group = WEFT_GROUP_NEW;
    weft_pipeline *l = start_three("cat", "cat", "cat", &o);
    pid_t first = weft_subprocess_pid(weft_pipeline_stage(l, 0));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(getpgid(weft_subprocess_pid(weft_pipeline_stage(l, i))), first);
    assert_int_equal(weft_pipeline_send_signal(l, SIGTERM), 0);
    int status;
    assert_int_equal(weft_pipeline_join(l, &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_signal(status), SIGTERM);
    weft_pipeline_destroy(l);
    // Without a group: each stage.
    o.process_group = 0;
    l = start_three("exec cat", "exec cat", "exec cat", &o);
    assert_int_equal(getpgid(weft_subprocess_pid(weft_pipeline_stage(l, 1))), getpgrp());
    assert_int_equal(weft_pipeline_send_signal(l, SIGKILL), 0);
    assert_int_equal(weft_pipeline_join(l, &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_signal(status), SIGKILL);
    weft_pipeline_destroy(l);
}

CASE(test_pipeline_by_hand)
{
    char bytes[16];
    weft_subprocess_options o = ends_piped();
    weft_pipeline *l = start_three("exec cat", "exec cat", "exec cat", &o);
    assert_true(weft_pipeline_stream(l, 0) > 2);
    assert_errno(weft_pipeline_stream(l, 2), EBADF);
    assert_errno(weft_pipeline_stream(l, 7), EBADF);
    assert_int_equal(weft_pipeline_write(l, "hello", 5, WEFT_FOREVER), 5);
    assert_int_equal(weft_pipeline_read(l, 1, bytes, sizeof bytes, WEFT_FOREVER), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_errno(weft_pipeline_read(l, 1, bytes, sizeof bytes, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(weft_pipeline_read(l, 0, bytes, sizeof bytes, WEFT_NOW), EBADF);
    int status = -1;
    assert_int_equal(weft_pipeline_end(l, &status, WEFT_FOREVER, WEFT_FOREVER, WEFT_FOREVER), 0);
    assert_int_equal(status, 0);
    weft_pipeline_destroy(l);
}

CASE(test_pipeline_stop_by_degrees)
{
    int status = -1;
    const char *deaf = "trap '' TERM; echo ready >&2; while :; do sleep 0.01; done";
    weft_subprocess_options o = ends_piped();
    o.err.kind = WEFT_STREAM_PIPE;
    for (int group = 0; group < 2; group++) {
        o.process_group = group ? WEFT_GROUP_NEW : 0;
        weft_pipeline *l = start_three("cat", deaf, "cat", &o);
        char bytes[16];
        assert_int_equal(weft_pipeline_read(l, 2, bytes, sizeof bytes, WEFT_FOREVER), 6);
        assert_int_equal(weft_pipeline_end(l, &status, WEFT_NOW, weft_in_ms(10), WEFT_FOREVER), 0);
        assert_int_equal(weft_subprocess_join(weft_pipeline_stage(l, 1), &status, WEFT_NOW), 0);
        assert_int_equal(weft_status_signal(status), SIGKILL);
        weft_pipeline_destroy(l);
    }
}

CASE(test_pipeline_deadline)
{
    struct stages s;
    int failure = -1;
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    set_stages(&s, "echo x; exec sleep 1000", "cat; sleep 1000", "exec cat");
    o.process_group = WEFT_GROUP_NEW;
    for (int64_t ms = 100, came = 0; came == 0; ms *= 2) { // by which `x` has come
        assert_errno(weft_pipeline_run(s.argvs, 3, &o, &r, &failure, weft_in_ms(ms)), ETIMEDOUT);
        assert_true(weft_status_signal(failure) != 0);
        came = strcmp(r.out.data, "x\n") == 0;
        weft_subprocess_result_free(&r);
    }
    assert_true(no_children());
}

CASE(test_pipeline_status_lost)
{
    int failure = -1;
    weft_subprocess_options o = no_options();
    weft_pipeline *l = start_three("true", "cat", "exit 3", &o);
    pid_t pid = weft_subprocess_pid(weft_pipeline_stage(l, 1));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_errno(weft_pipeline_join(l, NULL, WEFT_FOREVER), ECHILD);
    assert_int_equal(weft_pipeline_failure(l, &failure), 0);
    assert_int_equal(weft_status_exited(failure), 3);
    assert_int_equal(weft_pipeline_destroy(l), 0);
}

RUN_CASES()
