// Programs on a terminal: a pseudo-terminal of their own, or ours, whose foreground they are.
#include "children.h"

#include <weft/pipeline.h>

#include <sys/ioctl.h>
#include <termios.h>

static weft_subprocess_options on_pty(void)
{
    weft_subprocess_options o = no_options();
    o.in.kind = o.out.kind = o.err.kind = WEFT_STREAM_PTY;
    return o;
}

static weft_subprocess_result result_on_pty(const char *script, const char *input,
                                            weft_subprocess_options o)
{
    weft_subprocess_result r;
    o.input = input;
    o.input_size = input != NULL ? strlen(input) : 0;
    assert_int_equal(weft_subprocess_run(sh(script).argv, &o, &r, weft_in_s(50)), 0);
    assert_int_equal(r.status, 0);
    return r;
}

CASE(test_pty_is_a_terminal)
{
    weft_subprocess_options o = on_pty();
    int before = open_descriptors();
    weft_subprocess_result r = result_on_pty(
        "test -t 0 && test -t 1 && test -t 2 && stty size && echo said >/dev/tty; echo err >&2",
        NULL, o);
    assert_string_equal(r.out.data, "24 80\r\nsaid\r\nerr\r\n");
    weft_subprocess_result_free(&r);
    o.rows = 7;
    o.columns = 100;
    r = result_on_pty("stty size; read -r pid name state parent group sid tty tpgid rest "
                      "</proc/$$/stat; echo $tpgid $pid $sid",
                      NULL, o);
    int foreground, pid, session;
    assert_int_equal(sscanf(r.out.data, "7 100 %d %d %d", &foreground, &pid, &session), 3);
    assert_int_equal(foreground, pid);
    assert_int_equal(session, pid);
    weft_subprocess_result_free(&r);
    assert_int_equal(open_descriptors(), before);
}

// The end of the input is told as at a keyboard, in the middle of a line, too.
CASE(test_pty_is_fed)
{
    const char *const inputs[] = {"one\ntwo\n", "one\ntwo", ""};
    const char *const outputs[] = {"<one\ntwo\n>", "<one\ntwo>", "<>"};
    weft_subprocess_options o = on_pty();
    for (int i = 0; i < 3; i++) {
        struct scratch s = make_scratch();
        char script[256];
        snprintf(script, sizeof script, "stty -echo; { printf '<'; cat; printf '>'; } >%s", s.path);
        weft_subprocess_result r = result_on_pty(script, inputs[i], o);
        assert_string_equal(read_file(s.path), outputs[i]);
        weft_subprocess_result_free(&r);
        remove_scratch(&s);
    }
}

CASE(test_pty_much_output)
{
    weft_subprocess_options o = on_pty();
    weft_subprocess_result r = result_on_pty("yes | head -100000", NULL, o);
    assert_int_equal(r.out.size, 300000);
    weft_subprocess_result_free(&r);
}

CASE(test_pty_talk)
{
    weft_subprocess_options o = on_pty();
    char byte;
    struct termios t;
    weft_subprocess *p = started("stty -echo; echo ready; read x; echo got $x; cat; exit 4", &o);
    expect_line(p, 1, "ready\r");
    int fd = weft_subprocess_stream(p, 1);
    assert_int_equal(tcgetattr(fd, &t), 0);
    assert_false(t.c_lflag & ECHO);
    assert_errno(weft_subprocess_stream(p, 2), EBADF);
    assert_int_equal(weft_subprocess_write(p, "word\n", 5, WEFT_FOREVER), 5);
    expect_line(p, 1, "got word\r");
    assert_int_equal(weft_subprocess_close(p, 0), 0);
    assert_int_equal(weft_subprocess_read(p, 1, &byte, 1, weft_in_s(50)), 0);
    assert_int_equal(weft_status_exited(finished(p)), 4);
}

// ^C reaches what runs there, and the terminal's end all of it.
CASE(test_pty_signals)
{
    weft_subprocess_options o = on_pty();
    sigset_t interrupt; // which a background job ignores
    int status;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    o.signal_default = &interrupt;
    weft_subprocess *p = started("echo ready; exec sleep 1000", &o);
    expect_line(p, 1, "ready\r");
    assert_int_equal(weft_subprocess_write(p, "\003", 1, WEFT_FOREVER), 1);
    assert_int_equal(weft_status_signal(finished(p)), SIGINT);
    p = started("echo ready; exec sleep 1000", &o);
    expect_line(p, 1, "ready\r");
    assert_int_equal(weft_subprocess_close(p, 0), 0);
    assert_int_equal(weft_subprocess_end(p, &status, weft_in_ms(10), WEFT_FOREVER, WEFT_FOREVER),
                     0);
    assert_int_equal(weft_status_signal(status), SIGTERM);
    weft_subprocess_destroy(p);
}

// Only some of the streams, and what can't be.
CASE(test_pty_for_some)
{
    weft_subprocess_options o = no_options();
    weft_subprocess_result r;
    o.out.kind = WEFT_STREAM_PTY;
    o.err.kind = WEFT_STREAM_PIPE;
    r = result_on_pty("test -t 1 || exit 1; echo out; echo err >&2", "", o);
    assert_string_equal(r.out.data, "out\r\n");
    assert_string_equal(r.err.data, "err\n");
    weft_subprocess_result_free(&r);
    o = no_options();
    o.in.kind = WEFT_STREAM_PTY;
    o.out.kind = WEFT_STREAM_PIPE;
    r = result_on_pty("test -t 0 || exit 1; cat", "x\n", o);
    assert_string_equal(r.out.data, "x\n");
    weft_subprocess_result_free(&r);
    o = on_pty();
    o.flags = WEFT_SUBPROCESS_TREE;
    r = result_on_pty("test -t 0 && echo tree </dev/tty", NULL, o);
    assert_string_equal(r.out.data, "tree\r\n");
    weft_subprocess_result_free(&r);
    o.process_group = getpgrp();
    assert_errno(weft_subprocess_start(sh("true").argv, &o), EINVAL);
    o.process_group = 0;
    const struct script s = sh("true");
    const char *const *const argvs[] = {s.argv, s.argv};
    assert_errno(weft_pipeline_start(argvs, 2, &o), EINVAL);
    assert_true(no_children());
}

// ---- The foreground ----
//
// A shell on a pseudo-terminal, which is this program, has a job, which starts a command.  We type.

static int heard;

static void hear(int)
{
    heard++;
}

static bool is_ours(void)
{
    return tcgetpgrp(0) == getpgrp();
}

// What the job says, and the command of it.
static int be_the_job(const char *script, int flags)
{
    weft_subprocess_options o = no_options();
    weft_subprocess_result r;
    o.flags = flags;
    o.in.kind = flags == 0 ? WEFT_STREAM_NULL : WEFT_STREAM_INHERIT;
    signal(SIGINT, hear);
    printf("before %d\n", is_ours());
    fflush(stdout);
    if (weft_subprocess_run(sh(script).argv, &o, &r, weft_in_s(50)) != 0)
        return 1;
    printf("status %d, heard %d, ours %d\n", weft_status_code(r.status), heard, is_ours());
    weft_subprocess_result_free(&r);
    return 0;
}

static int be_the_shell(const char *script, int flags)
{
    int status;
    signal(SIGTTOU, SIG_IGN);
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        tcsetpgrp(0, getpid());
        signal(SIGTTOU, SIG_DFL);
        exit(be_the_job(script, flags));
    }
    setpgid(job, job);
    while (waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status)) {
        printf("stopped by %d, the job's again %d\n", WSTOPSIG(status), tcgetpgrp(0) == job);
        fflush(stdout);
        tcsetpgrp(0, job);
        kill(-job, SIGCONT);
    }
    return status != 0;
}

static weft_subprocess *shell_with(const char *script, int flags)
{
    char number[16];
    weft_subprocess_options o = on_pty();
    snprintf(number, sizeof number, "%d", flags);
    const char *const argv[] = {"/proc/self/exe", script, number, NULL};
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    assert_non_null(p);
    expect_line(p, 1, "before 1\r");
    return p;
}

static void type(weft_subprocess *p, const char *text)
{
    assert_int_equal(weft_subprocess_write(p, text, strlen(text), WEFT_FOREVER),
                     (ssize_t)strlen(text));
}

// To what is typed, with this line.
static void answers(weft_subprocess *p, const char *text, const char *line)
{
    type(p, text);
    expect_line(p, 1, line);
}

CASE(test_foreground_reads_and_stops)
{
    weft_subprocess *p =
        shell_with("stty -echo; echo ready; read x; echo got $x; read x; echo got $x; exit 3",
                   WEFT_SUBPROCESS_FOREGROUND);
    expect_line(p, 1, "ready\r");
    answers(p, "one\n", "got one\r");
    answers(p, "\032", "stopped by 20, the job's again 1\r");
    answers(p, "two\n", "got two\r");
    expect_line(p, 1, "status 3, heard 0, ours 1\r");
    assert_int_equal(finished(p), 0);
}

CASE(test_foreground_is_interrupted)
{
    weft_subprocess *p =
        shell_with("stty -echo; echo ready; exec sleep 1000", WEFT_SUBPROCESS_FOREGROUND);
    expect_line(p, 1, "ready\r");
    answers(p, "\003", "status 130, heard 1, ours 1\r");
    assert_int_equal(finished(p), 0);
}

// At a terminal, which none of the streams need be, a deadline makes no group: all is as if there
// were none.
CASE(test_deadline_at_a_terminal)
{
    weft_subprocess *p = shell_with(
        "stty -echo </dev/tty; echo ready; read x </dev/tty; echo got $x; exec sleep 1000", 0);
    expect_line(p, 1, "ready\r");
    answers(p, "one\n", "got one\r");
    answers(p, "\032", "stopped by 20, the job's again 1\r");
    answers(p, "\003", "status 130, heard 1, ours 1\r");
    assert_int_equal(finished(p), 0);
}

CASE(test_foreground_of_no_terminal)
{
    weft_subprocess_options o = no_options();
    o.flags = WEFT_SUBPROCESS_FOREGROUND;
    assert_string_equal(output_of("echo well", &o), "well\n");
    o.flags |= WEFT_SUBPROCESS_TREE;
    assert_errno(weft_subprocess_start(sh("true").argv, &o), EINVAL);
    o.flags = WEFT_SUBPROCESS_FOREGROUND;
    o.process_group = WEFT_GROUP_OURS;
    assert_errno(weft_subprocess_start(sh("true").argv, &o), EINVAL);
}

int main(int argc, char **argv)
{
    return argc == 3 ? be_the_shell(argv[1], atoi(argv[2])) : run_cases(NULL, NULL);
}
