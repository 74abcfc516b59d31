// The standard streams in all their combinations, and the descriptors a child has.
#include "children.h"

#include <proc/spawn.h>

#include <pthread.h>
#include <sys/stat.h>

using namespace weft;

CASE(test_stream_inherit_and_null)
{
    weft_subprocess_options o = no_options();
    struct stat ours;
    char expected[64];
    assert_int_equal(fstat(2, &ours), 0);
    snprintf(expected, sizeof expected, "%lu\n", (unsigned long)ours.st_ino);
    assert_string_equal(output_of("stat -L -c %i /proc/self/fd/2", &o), expected);
    o.in.kind = o.err.kind = WEFT_STREAM_NULL;
    assert_string_equal(output_of("cat; readlink /proc/self/fd/0 /proc/self/fd/2", &o),
                        "/dev/null\n/dev/null\n");
    o.out.kind = WEFT_STREAM_NULL;
    assert_int_equal(finished(started("echo dropped; echo dropped >&2", &o)), 0);
}

CASE(test_stream_files)
{
    struct scratch s = make_scratch();
    weft_subprocess_options o = no_options();
    o.out.kind = WEFT_STREAM_TRUNCATE;
    o.out.path = s.path;
    assert_int_equal(finished(started("echo a long first line", &o)), 0);
    assert_int_equal(finished(started("echo one", &o)), 0);
    assert_string_equal(read_file(s.path), "one\n");
    o.out.kind = WEFT_STREAM_APPEND;
    assert_int_equal(finished(started("echo two", &o)), 0);
    assert_string_equal(read_file(s.path), "one\ntwo\n");
    o = no_options();
    o.in.kind = WEFT_STREAM_READ;
    o.in.path = s.path;
    assert_string_equal(output_of("cat", &o), "one\ntwo\n");
    o = no_options();
    o.err.kind = WEFT_STREAM_APPEND;
    o.err.path = s.path;
    assert_int_equal(finished(started("echo three >&2", &o)), 0);
    assert_string_equal(read_file(s.path), "one\ntwo\nthree\n");
    remove_scratch(&s);
}

static void expect_stream_error(const weft_subprocess_options *opts, int error)
{
    expect_no_start(sh("true").argv, opts, error, WEFT_STAGE_STREAMS);
}

CASE(test_stream_errors)
{
    weft_subprocess_options o = piped();
    o.in.kind = WEFT_STREAM_READ;
    o.in.path = "/nonexistent/file";
    expect_stream_error(&o, ENOENT);
    o.in.path = NULL;
    expect_stream_error(&o, EINVAL);
    o.in.kind = WEFT_STREAM_TRUNCATE;
    expect_stream_error(&o, EINVAL);
    o.in.kind = 99;
    expect_stream_error(&o, EINVAL);
    o = no_options();
    o.out.kind = WEFT_STREAM_READ;
    expect_stream_error(&o, EINVAL);
    o.out.kind = WEFT_STREAM_STDOUT;
    expect_stream_error(&o, EINVAL);
    o.out.kind = WEFT_STREAM_FD;
    o.out.fd = 987654;
    expect_stream_error(&o, EBADF);
    o.out.fd = -1;
    expect_stream_error(&o, EBADF);
    o = piped();
    o.err.kind = WEFT_STREAM_APPEND;
    o.err.path = "/";
    expect_stream_error(&o, EISDIR);
}

CASE(test_stream_errors_to_output)
{
    weft_subprocess_options o = no_options();
    o.err.kind = WEFT_STREAM_STDOUT;
    assert_string_equal(output_of("echo a; echo b >&2; echo c", &o), "a\nb\nc\n");
    // Also where output itself is inherited, and comes from us by another number.
    int pipes[2], old = dup(1);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    dup2(pipes[1], 1);
    weft_subprocess *p = weft_subprocess_start(sh("echo b >&2").argv, &o);
    dup2(old, 1);
    close(old);
    close(pipes[1]);
    assert_non_null(p);
    assert_int_equal(finished(p), 0);
    char bytes[8];
    assert_int_equal(read(pipes[0], bytes, sizeof bytes), 2);
    assert_memory_equal(bytes, "b\n", 2);
    close(pipes[0]);
}

// Two files standing at 1 and 2 in this process, given to the child the other way round.
CASE(test_stream_swapped)
{
    int a[2], b[2], old1 = dup(1), old2 = dup(2);
    char bytes[8];
    assert_int_equal(pipe2(a, O_CLOEXEC), 0);
    assert_int_equal(pipe2(b, O_CLOEXEC), 0);
    weft_subprocess_options o = no_options();
    o.out.kind = o.err.kind = WEFT_STREAM_FD;
    o.out.fd = 2;
    o.err.fd = 1;
    dup2(a[1], 1);
    dup2(b[1], 2);
    weft_subprocess *p = weft_subprocess_start(sh("echo out; echo err >&2").argv, &o);
    dup2(old1, 1);
    dup2(old2, 2);
    assert_non_null(p);
    assert_int_equal(finished(p), 0);
    assert_int_equal(read(a[0], bytes, sizeof bytes), 4);
    assert_memory_equal(bytes, "err\n", 4);
    assert_int_equal(read(b[0], bytes, sizeof bytes), 4);
    assert_memory_equal(bytes, "out\n", 4);
    const int all[] = {a[0], a[1], b[0], b[1], old1, old2};
    for (int fd : all)
        close(fd);
}

// All three turned in a circle, from descriptors 1, 2 and 0.
CASE(test_stream_rotated)
{
    int file[3], old[3];
    struct scratch s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = make_scratch();
        write_file(s[i].path, "", 0600);
        file[i] = open(s[i].path, O_RDWR | O_CLOEXEC);
        old[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
    }
    for (int i = 0; i < 3; i++)
        dup2(file[i], i);
    weft_subprocess_options o = no_options();
    o.in.kind = o.out.kind = o.err.kind = WEFT_STREAM_FD;
    o.in.fd = 1;
    o.out.fd = 2;
    o.err.fd = 0;
    weft_subprocess *p = weft_subprocess_start(sh("echo in >&0; echo out; echo err >&2").argv, &o);
    for (int i = 0; i < 3; i++)
        dup2(old[i], i);
    assert_non_null(p);
    assert_int_equal(finished(p), 0);
    assert_string_equal(read_file(s[0].path), "err\n");
    assert_string_equal(read_file(s[1].path), "in\n");
    assert_string_equal(read_file(s[2].path), "out\n");
    for (int i = 0; i < 3; i++) {
        close(old[i]);
        close(file[i]);
        remove_scratch(&s[i]);
    }
}

// With every set of our standard streams closed, pipes must not take their numbers.
CASE(test_stream_ours_closed)
{
    for (int closed = 1; closed < 8; closed++) {
        int old[3];
        weft_subprocess_options o = no_options();
        weft_subprocess_result r;
        for (int i = 0; i < 3; i++)
            old[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
        for (int i = 0; i < 3; i++)
            if (closed & 1 << i)
                close(i);
        o.out.kind = o.err.kind = WEFT_STREAM_PIPE;
        o.input = "fed";
        o.input_size = 3;
        int result = weft_subprocess_run(sh("cat; echo err >&2").argv, &o, &r, WEFT_FOREVER);
        bool still_closed = true;
        for (int i = 0; i < 3; i++)
            if (closed & 1 << i)
                still_closed = still_closed && fcntl(i, F_GETFD) < 0;
        for (int i = 0; i < 3; i++) {
            dup2(old[i], i);
            close(old[i]);
        }
        assert_int_equal(result, 0);
        assert_true(still_closed);
        assert_string_equal(r.out.data, "fed");
        assert_string_equal(r.err.data, "err\n");
        weft_subprocess_result_free(&r);
    }
}

// Inherited and closed: closed in the child too.
CASE(test_stream_closed_is_inherited)
{
    int old = fcntl(0, F_DUPFD_CLOEXEC, 10);
    close(0);
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    const char *const ls[] = {"sh", "-c", "ls /proc/$$/fd", NULL};
    int result = weft_subprocess_run(ls, &o, &r, WEFT_FOREVER);
    dup2(old, 0);
    close(old);
    assert_int_equal(result, 0);
    assert_string_equal(r.out.data, "1\n2\n");
    weft_subprocess_result_free(&r);
    // There is nothing for errors to follow then.
    old = fcntl(1, F_DUPFD_CLOEXEC, 10);
    close(1);
    o = no_options();
    o.err.kind = WEFT_STREAM_STDOUT;
    weft_subprocess *p = weft_subprocess_start(sh("true").argv, &o);
    int error = errno;
    dup2(old, 1);
    close(old);
    assert_null(p);
    assert_int_equal(error, EBADF);
}

// ---- Which descriptors ----

CASE(test_pass_only_those)
{
    // Open ones without close-on-exec, some to be passed, out of order and twice.
    int fds[8];
    for (int &fd : fds)
        fd = open("/dev/null", O_RDONLY);
    const int pass[] = {fds[6], fds[2], fds[6], fds[3]};
    weft_subprocess_options o = no_options();
    char expected[64];
    assert_string_equal(output_of("ls /proc/$$/fd", &o), "0\n1\n2\n");
    o.pass = pass;
    o.pass_count = 4;
    snprintf(expected, sizeof expected, "0\n1\n2\n%d\n%d\n%d\n", fds[2], fds[3], fds[6]);
    assert_string_equal(output_of("ls -v /proc/$$/fd", &o), expected);
    // Passed although close-on-exec here, which stays so.
    fcntl(fds[2], F_SETFD, FD_CLOEXEC);
    assert_string_equal(output_of("ls -v /proc/$$/fd", &o), expected);
    assert_int_equal(fcntl(fds[2], F_GETFD), FD_CLOEXEC);
    for (int fd : fds)
        close(fd);
}

// Also those above the limit that the child is given.
CASE(test_pass_nothing_above_the_limit)
{
    const weft_limit few[] = {{RLIMIT_NOFILE, {20, 20}}};
    weft_subprocess_options o = no_options();
    int fd = fcntl(1, F_DUPFD, 50);
    assert_int_equal(fd, 50);
    o.limits = few;
    o.limit_count = 1;
    for (int without = 0; without < 16; without += 4) {
        spawn_without = without;
        assert_string_equal(output_of("ls /proc/$$/fd", &o), "0\n1\n2\n");
    }
    spawn_without = 0;
    close(fd);
}

CASE(test_pass_errors)
{
    const int closed[] = {987654}, standard[] = {1};
    weft_subprocess_options o = piped();
    o.pass = closed;
    o.pass_count = 1;
    expect_stream_error(&o, EBADF);
    o.pass = standard;
    expect_stream_error(&o, EINVAL);
}

// A descriptor that is also a stream, and one passed over a gap at the limit.
CASE(test_pass_and_stream)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    weft_subprocess_options o = no_options();
    char expected[64];
    o.in.kind = WEFT_STREAM_FD;
    o.in.fd = fd;
    o.pass = &fd;
    o.pass_count = 1;
    snprintf(expected, sizeof expected, "0\n1\n2\n%d\n", fd);
    assert_string_equal(output_of("ls /proc/$$/fd", &o), expected);
    close(fd);
}

static void *start_many(void *)
{
    void *wrong = NULL;
    for (int i = 0; i < 12; i++) {
        weft_subprocess_options o = no_options();
        weft_subprocess_result r;
        o.out.kind = o.err.kind = WEFT_STREAM_PIPE;
        o.input = "x";
        o.input_size = 1;
        if (weft_subprocess_run(sh("ls /proc/$$/fd").argv, &o, &r, WEFT_FOREVER) != 0 ||
            r.status != 0 || strcmp(r.out.data, "0\n1\n2\n") != 0)
            wrong = (void *)1;
        weft_subprocess_result_free(&r);
    }
    return wrong;
}

CASE(test_start_from_eight_threads)
{
    int before = open_descriptors();
    assert_int_equal(eight_at_once(start_many, NULL), 0);
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

// ---- Limits of descriptors ----

CASE(test_start_at_the_limit_of_descriptors)
{
    struct rlimit old, few;
    int highest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    weft_subprocess_options o = no_options();
    o.in.kind = o.out.kind = o.err.kind = WEFT_STREAM_PIPE;
    // One more each time until it is enough: each failure leaves nothing behind.
    int enough = 0;
    for (int more = 0; more < 16 && enough == 0; more++) {
        few = old;
        few.rlim_cur = (rlim_t)(highest + more);
        setrlimit(RLIMIT_NOFILE, &few);
        weft_subprocess *p = weft_subprocess_start(sh("true").argv, &o);
        int error = errno;
        setrlimit(RLIMIT_NOFILE, &old);
        if (p != NULL) {
            enough = more;
            assert_int_equal(finished(p), 0);
        } else {
            assert_int_equal(error, EMFILE);
        }
        int again = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_int_equal(again, highest);
        close(again);
    }
    assert_true(enough >= 6);
}

CASE(test_start_with_a_million_descriptors)
{
    struct rlimit old, many;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    many = old;
    many.rlim_cur = 1000000;
    if (many.rlim_max < many.rlim_cur)
        many.rlim_max = many.rlim_cur;
    // Without the right to raise it: as high as it goes.
    if (setrlimit(RLIMIT_NOFILE, &many) != 0) {
        many.rlim_cur = many.rlim_max = old.rlim_max;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &many), 0);
    }
    int high = fcntl(1, F_DUPFD, (int)many.rlim_cur - 1);
    assert_int_equal(high, (int)many.rlim_cur - 1);
    assert_string_equal(output_of("ls /proc/$$/fd", NULL), "0\n1\n2\n");
    weft_subprocess_options o = no_options();
    char expected[32];
    o.pass = &high;
    o.pass_count = 1;
    snprintf(expected, sizeof expected, "0\n1\n2\n%d\n", high);
    assert_string_equal(output_of("ls -v /proc/$$/fd", &o), expected);
    close(high);
    setrlimit(RLIMIT_NOFILE, &old);
}

CASE(test_start_leaves_nothing_behind)
{
    int before = open_descriptors();
    for (int i = 0; i < 500; i++) {
        const char *const yes[] = {"true", NULL}, *const no[] = {"/nonexistent", NULL};
        weft_subprocess_options o = piped();
        if (i % 2 == 0)
            assert_int_equal(weft_subprocess_run(yes, &o, NULL, WEFT_FOREVER), 0);
        else
            assert_errno(weft_subprocess_run(no, &o, NULL, WEFT_FOREVER), ENOENT);
    }
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

RUN_CASES()
