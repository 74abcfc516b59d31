// Sinks: output taken as it comes, limited, or in a file; in run, communicate, pipelines and map.
#include "children.h"

#include <weft/pipeline.h>
#include <weft/subprocess_map.h>

#include <sys/resource.h>

// What a callback has got: the pieces with a '|' behind each.
struct taken {
    char text[4096];
    size_t size, calls, bytes;
    int enough; // after so many calls, 0: never
    int error;
};

static int take(const char *bytes, size_t n, void *arg)
{
    struct taken *t = (struct taken *)arg;
    t->calls++;
    t->bytes += n;
    if (t->size + n + 2 < sizeof t->text) {
        memcpy(t->text + t->size, bytes, n);
        t->size += n;
        t->text[t->size++] = '|';
        t->text[t->size] = 0;
    }
    errno = t->error;
    return t->enough > 0 && (int)t->calls >= t->enough;
}

static weft_sink sink_to(struct taken *t, bool lines)
{
    weft_sink s = {};
    memset(t, 0, sizeof *t);
    s.take = take;
    s.arg = t;
    s.lines = lines;
    return s;
}

static weft_subprocess_options into(const weft_sink *s)
{
    weft_subprocess_options o = piped();
    o.out.sink = s;
    return o;
}

// Runs it; 0 or the errno.  The result is kept until the next call.
static weft_subprocess_result result;
static int run(const char *text, const weft_subprocess_options *o)
{
    weft_subprocess_result_free(&result);
    errno = EDOM;
    if (weft_subprocess_run(sh(text).argv, o, &result, WEFT_FOREVER) == 0) {
        assert_int_equal(errno, EDOM);
        return 0;
    }
    int error = errno;
    assert_true(no_children());
    return error;
}

CASE(test_sink_takes_lines)
{
    struct taken t;
    weft_sink s = sink_to(&t, true);
    weft_subprocess_options o = into(&s);
    assert_int_equal(run("printf 'a\\n\\nb'; sleep 0.05; printf 'c\\nlast'", &o), 0);
    assert_string_equal(t.text, "a\n|\n|bc\n|last|");
    assert_int_equal(result.out.size, 0);
    s = sink_to(&t, true);
    s.limit = 4;
    assert_int_equal(run("printf 'abcdefghij\\nabcd\\nabc\\n'", &o), 0);
    assert_string_equal(t.text, "abcd|efgh|ij\n|abcd|\n|abc\n|");
    s = sink_to(&t, true);
    assert_int_equal(run(":", &o), 0);
    assert_int_equal(t.calls, 0);
    s = sink_to(&t, true);
    assert_int_equal(run("yes | head -n 200000", &o), 0);
    assert_int_equal(t.calls, 200000);
    s = sink_to(&t, true); // one line of 3 MB: in parts of one
    assert_int_equal(run("head -c 3145728 /dev/zero", &o), 0);
    assert_int_equal(t.calls, 3);
    assert_int_equal(t.bytes, 3145728);
}

CASE(test_sink_takes_pieces_of_both)
{
    struct taken t, e;
    weft_sink s = sink_to(&t, false), errors = sink_to(&e, true);
    weft_subprocess_options o = into(&s);
    o.err.kind = WEFT_STREAM_PIPE;
    o.err.sink = &errors;
    assert_int_equal(run("head -c 1000000 /dev/zero; echo 1 >&2; echo 2 >&2", &o), 0);
    assert_int_equal(t.bytes, 1000000);
    assert_string_equal(e.text, "1\n|2\n|");
    // Before the child has ended: it waits for what its line brings about.
    struct scratch file = make_scratch();
    char text[256];
    snprintf(text, sizeof text, "echo go; until test -e %s; do sleep 0.01; done", file.path);
    s = sink_to(&t, true);
    s.arg = file.path;
    s.take = [](const char *, size_t, void *path) {
        write_file((const char *)path, "", 0600);
        return 0;
    };
    assert_int_equal(run(text, &o), 0);
    remove_scratch(&file);
}

CASE(test_sink_of_a_terminal)
{
    struct taken t;
    weft_sink s = sink_to(&t, true);
    weft_subprocess_options o = into(&s);
    o.out.kind = WEFT_STREAM_PTY;
    assert_int_equal(run("echo a; echo b", &o), 0);
    assert_string_equal(t.text, "a\r\n|b\r\n|");
}

CASE(test_sink_has_enough)
{
    struct taken t;
    weft_sink s = sink_to(&t, true);
    weft_subprocess_options o = into(&s);
    t.enough = 3;
    t.error = ENOTTY;
    assert_int_equal(run("yes", &o), ENOTTY);
    assert_int_equal(t.calls, 3);
    s = sink_to(&t, true);
    t.enough = 1;
    o.kill_after_ns = 60000000000;
    assert_int_equal(run("trap 'exit 3' TERM; echo y; while :; do sleep 0.01; done", &o),
                     ECANCELED);
    assert_int_equal(weft_status_exited(result.status), 3);
    s = sink_to(&t, true);
    t.enough = 1;
    o.kill_after_ns = 0;
    assert_int_equal(run("trap '' TERM PIPE; while :; do echo y; done 2>&-", &o), ECANCELED);
    assert_int_equal(weft_status_signal(result.status), SIGKILL);
}

CASE(test_sink_limits)
{
    weft_sink s = {};
    weft_subprocess_options o = into(&s);
    s.limit = 5;
    assert_int_equal(run("printf 12345", &o), 0);
    assert_string_equal(result.out.data, "12345");
    assert_int_equal(run("printf 123456", &o), ENOBUFS);
    assert_string_equal(result.out.data, "12345");
    s.limit = 100000;
    assert_int_equal(run("yes", &o), ENOBUFS);
    assert_int_equal(result.out.size, 100000);
    assert_int_not_equal(result.status, 0);
    s.memory = 1000;
    assert_int_equal(run("yes", &o), ENOBUFS);
    assert_int_equal(result.out.size, 100000);
}

// Bytes whose order shows, beside what they should be.
static const char counting[] =
    "i=0; while test $i -lt 3000; do echo $i-0123456789; i=$((i+1)); done";

CASE(test_sink_files)
{
    weft_sink s = {};
    weft_subprocess_options o = into(NULL);
    int before = open_descriptors();
    assert_int_equal(run(counting, &o), 0);
    weft_buffer all = result.out;
    result.out = {};
    const size_t memories[] = {1, 1000, 47000, all.size - 1, all.size, all.size + 1};
    o.out.sink = &s;
    for (size_t memory : memories) {
        s.memory = memory;
        assert_int_equal(run(counting, &o), 0);
        assert_int_equal(result.out.size, all.size);
        assert_memory_equal(result.out.data, all.data, all.size + 1);
        assert_int_equal(result.out.capacity == 0, memory < all.size);
    }
    // A mapped one is a whole number of pages, and can't be appended to.
    s.memory = 1;
    assert_int_equal(run("head -c 1048576 /dev/zero", &o), 0);
    assert_int_equal(result.out.size, 1 << 20);
    assert_int_equal(result.out.data[1 << 20], 0);
    weft_subprocess *p = started("echo", &o);
    assert_errno(weft_subprocess_communicate(p, NULL, 0, &result.out, NULL, WEFT_FOREVER), EINVAL);
    assert_int_equal(weft_subprocess_communicate(p, NULL, 0, NULL, NULL, WEFT_FOREVER), 0);
    finished(p);
    // An end with a file that was begun leaves nothing.
    p = started("head -c 100000 /dev/zero; exec sleep 1000", &o);
    weft_buffer some = {};
    assert_errno(weft_subprocess_communicate(p, NULL, 0, &some, NULL, weft_in_ms(100)), ETIMEDOUT);
    weft_subprocess_kill(p);
    assert_int_equal(weft_subprocess_communicate(p, NULL, 0, NULL, NULL, WEFT_FOREVER),
                     0); // dropped
    finished(p);
    weft_buffer_free(&some);
    weft_buffer_free(&all);
    assert_int_equal(open_descriptors(), before);
}

CASE(test_sink_file_has_no_room)
{
    weft_sink s = {};
    weft_subprocess_options o = into(&s);
    struct rlimit old, few;
    s.memory = 1000;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    few = old;
    few.rlim_cur = 150000;
    setrlimit(RLIMIT_FSIZE, &few);
    int error = run("yes", &o);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(error, EFBIG);
    assert_true(result.out.size >= 150000); // what was read is there
    for (size_t i = 0; i < result.out.size; i++)
        assert_int_equal(result.out.data[i], i % 2 == 0 ? 'y' : '\n');
    setenv("TMPDIR", "/nonexistent", 1);
    error = run("yes", &o);
    unsetenv("TMPDIR");
    assert_int_equal(error, ENOENT);
    assert_true(result.out.size > 1000);
}

// A file system of 1 MB, where we may have one.
CASE(test_sink_disk_is_full)
{
    static const char script[] =
        "unshare -rm sh -c 'mount -t tmpfs -o size=1m none /mnt && TMPDIR=/mnt exec \"$0\" full' ";
    char command[512], self[256];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    if (system("unshare -rm mount -t tmpfs -o size=1m none /mnt 2>/dev/null") != 0)
        skip();
    snprintf(command, sizeof command, "%s '%s'", script, self);
    assert_int_equal(system(command), 0);
}

static int run_on_full_disk(void)
{
    weft_sink s = {};
    weft_subprocess_options o = into(&s);
    s.memory = 1000;
    return run("yes", &o) == ENOSPC && result.out.size >= 100000 && result.out.data[0] == 'y' ? 0
                                                                                              : 1;
}

CASE(test_sink_of_a_pipeline)
{
    struct taken t, e;
    weft_sink s = sink_to(&t, true), errors = sink_to(&e, true);
    weft_subprocess_options o = into(&s);
    struct script first = sh("echo b; echo a; echo x >&2"), second = sh("sort; echo y >&2");
    const char *const *const stages[] = {first.argv, second.argv};
    o.err.kind = WEFT_STREAM_PIPE;
    o.err.sink = &errors;
    assert_int_equal(weft_pipeline_run(stages, 2, &o, NULL, NULL, WEFT_FOREVER), 0);
    assert_string_equal(t.text, "a\n|b\n|");
    assert_string_equal(e.text, "x\n|y\n|");
    struct script endless = sh("yes");
    const char *const *const floods[] = {endless.argv, endless.argv};
    s = {};
    s.limit = 10;
    assert_errno(weft_pipeline_run(floods, 2, &o, NULL, NULL, WEFT_FOREVER), ENOBUFS);
    assert_true(no_children());
}

CASE(test_sink_of_a_map)
{
    struct taken t;
    static int errors[3];
    static size_t sizes[3];
    weft_sink s = {};
    struct script few = sh("echo a"), many = sh("yes"), stubborn = sh("trap '' TERM PIPE; yes");
    const char *const *const argvs[] = {few.argv, many.argv, stubborn.argv};
    weft_subprocess_options o = into(&s);
    weft_subprocess_map_options b = {};
    b.jobs = 3;
    b.report = [](size_t i, const weft_subprocess_result *r, int error, void *) {
        errors[i] = error;
        sizes[i] = r->out.size;
    };
    s.limit = 200000;
    s.memory = 100;
    o.kill_after_ns = 50000000;
    assert_int_equal(weft_subprocess_map(argvs, 3, &o, &b, WEFT_FOREVER), 2);
    const int expected[] = {0, ENOBUFS, ENOBUFS};
    const size_t size[] = {2, 200000, 200000};
    assert_memory_equal(errors, expected, sizeof errors);
    assert_memory_equal(sizes, size, sizeof sizes);
    s = sink_to(&t, true);
    assert_int_equal(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), 0);
    assert_string_equal(t.text, "a\n|");
}

CASE(test_sink_misuse)
{
    weft_sink s = {};
    weft_subprocess_options o = no_options();
    o.out.sink = &s;
    assert_null(weft_subprocess_start(sh("true").argv, &o));
    assert_int_equal(errno, EINVAL);
    o = no_options();
    o.in.kind = WEFT_STREAM_PIPE;
    o.in.sink = &s;
    assert_null(weft_subprocess_start(sh("true").argv, &o));
    assert_int_equal(errno, EINVAL);
}

int main(int argc, char **)
{
    if (argc > 1)
        return run_on_full_disk();
    int failed = run_cases(NULL, NULL);
    weft_subprocess_result_free(&result);
    return failed;
}
