// children.h: what the tests of the process library share: commands, captured
// output, and a census of what a test may leave behind.
#ifndef WEFT_TEST_CHILDREN_H
#define WEFT_TEST_CHILDREN_H

#include "../descriptors.h"
#include "../runner.h"

#include <weft/status.h>
#include <weft/subprocess.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

// The argv of a shell script.
struct script {
    const char *argv[4];
};

static inline struct script sh(const char *text)
{
    struct script s = {{"sh", "-c", text, NULL}};
    return s;
}

static inline weft_subprocess_options no_options(void)
{
    weft_subprocess_options o;
    memset(&o, 0, sizeof o);
    return o;
}

static inline weft_subprocess_options piped(void)
{
    weft_subprocess_options o = no_options();
    o.out.kind = WEFT_STREAM_PIPE;
    return o;
}

// What `text` prints under these options; it must exit with 0.  Valid until the next call.
static inline const char *output_of(const char *text, const weft_subprocess_options *opts)
{
    static char output[8192];
    weft_subprocess_options o = opts != NULL ? *opts : no_options();
    weft_subprocess_result r;
    o.out.kind = WEFT_STREAM_PIPE;
    assert_int_equal(weft_subprocess_run(sh(text).argv, &o, &r, WEFT_FOREVER), 0);
    assert_int_equal(r.status, 0);
    assert_true(r.out.size < sizeof output);
    memcpy(output, r.out.data, r.out.size + 1);
    weft_subprocess_result_free(&r);
    return output;
}

static inline weft_subprocess *started(const char *text, const weft_subprocess_options *opts)
{
    weft_subprocess *p = weft_subprocess_start(sh(text).argv, opts);
    assert_non_null(p);
    return p;
}

// Waits without end, frees it, and returns the status.
static inline int finished(weft_subprocess *p)
{
    int status = -1;
    assert_int_equal(weft_subprocess_join(p, &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_subprocess_destroy(p), 0);
    return status;
}

// Reads exactly the line `expected` from its stream: a child saying that it is ready.
static inline void expect_line(weft_subprocess *p, int stream, const char *expected)
{
    char line[64];
    size_t n = 0;
    do {
        assert_true(n < sizeof line - 1);
        assert_int_equal(weft_subprocess_read(p, stream, line + n, 1, WEFT_FOREVER), 1);
    } while (line[n++] != '\n');
    line[n - 1] = 0;
    assert_string_equal(line, expected);
}

// No child of ours is left, dead or alive.
static inline bool no_children(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
}

// Runs it until a deadline by which it has printed `ready`, however busy the machine is.
static inline weft_subprocess_result run_until(const char *script, const char *ready,
                                               const weft_subprocess_options *o)
{
    weft_subprocess_options patient = *o;
    if (o->kill_after_ns == 0)
        patient.kill_after_ns = 30000000000;
    for (int64_t ms = 100;; ms *= 2) {
        weft_subprocess_result r;
        assert_errno(weft_subprocess_run(sh(script).argv, &patient, &r, weft_in_ms(ms)), ETIMEDOUT);
        if (strstr(r.out.data, ready) != NULL)
            return r;
        weft_subprocess_result_free(&r);
    }
}

// A case again, without something that the system has.
#define CASE_WITHOUT(test, name, what)                                                             \
    CASE(test##_without_##name)                                                                    \
    {                                                                                              \
        spawn_without = what;                                                                      \
        test(nullptr);                                                                             \
        spawn_without = 0;                                                                         \
    }

// It does not start, with this errno, at this stage, and leaves nothing.
static inline void expect_no_start(const char *const *argv, const weft_subprocess_options *opts,
                                   int error, int stage)
{
    weft_subprocess_options o = *opts;
    int failed_at = -1, before = open_descriptors();
    o.stage = &failed_at;
    assert_errno(weft_subprocess_start(argv, &o), error);
    assert_int_equal(failed_at, stage);
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

// In a process of its own: starts the script, with its output to `out`, and does `then`.  Returns
// when nobody has the output any more.
static inline void expect_end_after(void (*then)(weft_subprocess *), const char *script, int group,
                                    int flags = WEFT_SUBPROCESS_DIE_WITH_PARENT)
{
    int ends[2], status;
    char bytes[64];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t middle = fork();
    if (middle == 0) {
        setpgid(0, 0);
        weft_subprocess_options o = no_options();
        o.flags = flags;
        o.process_group = group;
        o.out.kind = WEFT_STREAM_FD;
        o.out.fd = ends[1];
        weft_subprocess *p = weft_subprocess_start(sh(script).argv, &o);
        close(ends[1]);
        char byte;
        if (p == NULL || read(ends[0], &byte, 1) != 1)
            _exit(1);
        then(p);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(waitpid(middle, &status, 0), middle);
    assert_true(status == 0 || status == SIGKILL);
    while (read(ends[0], bytes, sizeof bytes) > 0)
        ;
    close(ends[0]);
}

// A file of its own name in a fresh folder below /tmp.
struct scratch {
    char folder[32], path[64];
};

static inline struct scratch make_scratch(void)
{
    struct scratch s;
    strcpy(s.folder, "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(s.folder));
    snprintf(s.path, sizeof s.path, "%s/weft-file", s.folder);
    return s;
}

static inline void remove_scratch(const struct scratch *s)
{
    unlink(s->path);
    assert_int_equal(rmdir(s->folder), 0);
}

static inline void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline const char *read_file(const char *path)
{
    static char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n >= 0);
    text[n] = 0;
    close(fd);
    return text;
}

#endif
