// weft_subprocess_map: many commands, a few at a time, reported in order.
#include "children.h"

#include <weft/subprocess_map.h>

#include <proc/spawn.h>

#include <signal.h>
#include <sys/time.h>

using namespace weft;

enum { MOST = 64 };

struct seen {
    size_t reported, ended;
    int errors[MOST], statuses[MOST];
    char out[MOST][32], err[MOST][32];
    bool in_order, long_enough;
};

static void keep(char *to, const weft_buffer *b)
{
    snprintf(to, 32, "%s", b->data != NULL ? b->data : "(null)");
}

static void report(size_t i, const weft_subprocess_result *r, int error, void *arg)
{
    struct seen *s = (struct seen *)arg;
    s->in_order = s->in_order && i == s->reported;
    s->long_enough = s->long_enough && r->ns > 0 && (error != 0 || r->usage.ru_maxrss > 0);
    s->reported++;
    s->errors[i] = error;
    s->statuses[i] = r->status;
    keep(s->out[i], &r->out);
    keep(s->err[i], &r->err);
}

static int count_end(size_t i, const weft_subprocess_result *r, int error, void *arg)
{
    struct seen *s = (struct seen *)arg;
    s->in_order = s->in_order && i < MOST && (error != 0 || (r->tries == 1 && r->start > 0));
    s->ended++;
    return WEFT_MAP_GO_ON;
}

static weft_subprocess_map_options batch(struct seen *s, int jobs)
{
    weft_subprocess_map_options b;
    memset(&b, 0, sizeof b);
    memset(s, 0, sizeof *s);
    s->in_order = s->long_enough = true;
    b.jobs = jobs;
    b.report = report;
    b.ended = count_end;
    b.arg = s;
    return b;
}

CASE(test_map_in_order)
{
    struct seen s;
    struct script scripts[MOST];
    const char *const *argvs[MOST];
    char texts[MOST][64];
    for (int i = 0; i < MOST; i++) {
        snprintf(texts[i], sizeof texts[i], "%s echo %d; echo e%d >&2; exit %d",
                 i % 7 == 0 ? "sleep 0.03;" : "", i, i, i % 5);
        scripts[i] = sh(texts[i]);
        argvs[i] = scripts[i].argv;
    }
    weft_subprocess_options o = piped();
    o.err.kind = WEFT_STREAM_PIPE;
    for (int jobs = 0; jobs < 9; jobs += 4) {
        weft_subprocess_map_options b = batch(&s, jobs);
        int before = open_descriptors();
        errno = EDOM;
        assert_int_equal(weft_subprocess_map(argvs, MOST, &o, &b, WEFT_FOREVER), MOST - 13);
        assert_int_equal(errno, EDOM);
        assert_int_equal(s.reported, MOST);
        assert_int_equal(s.ended, MOST);
        assert_true(s.in_order && s.long_enough);
        for (int i = 0; i < MOST; i++) {
            char expected[32];
            snprintf(expected, sizeof expected, "%d\n", i);
            assert_string_equal(s.out[i], expected);
            snprintf(expected, sizeof expected, "e%d\n", i);
            assert_string_equal(s.err[i], expected);
            assert_int_equal(s.errors[i], 0);
            assert_int_equal(weft_status_exited(s.statuses[i]), i % 5);
        }
        assert_int_equal(open_descriptors(), before);
        assert_true(no_children());
    }
}

CASE(test_map_errors)
{
    struct seen s;
    struct script good = sh("true"), slow = sh("sleep 1000 & sleep 1000");
    const char *const none[] = {"/nonexistent", NULL};
    const char *const *argvs[] = {good.argv, none, NULL, slow.argv, good.argv};
    weft_subprocess_map_options b = batch(&s, 2);
    weft_subprocess_options o = no_options();
    o.process_group = WEFT_GROUP_NEW;
    b.limit_ns = 2000000000;
    b.ended = NULL;
    assert_int_equal(weft_subprocess_map(argvs, 5, &o, &b, WEFT_FOREVER), 3);
    assert_int_equal(s.reported, 5);
    assert_int_equal(s.errors[0], 0);
    assert_int_equal(s.errors[1], ENOENT);
    assert_int_equal(s.errors[2], EINVAL);
    assert_int_equal(s.errors[3], ETIMEDOUT);
    assert_int_equal(weft_status_signal(s.statuses[3]), SIGTERM);
    assert_int_equal(s.errors[4], 0);
    assert_string_equal(s.out[0], "(null)");
    assert_true(no_children());
    assert_int_equal(weft_subprocess_map(NULL, 0, NULL, &b, WEFT_FOREVER), 0);
}

CASE(test_map_deadline)
{
    struct seen s;
    struct script quick = sh("echo x"), slow = sh("exec sleep 1000");
    const char *const *argvs[] = {quick.argv, slow.argv, quick.argv, slow.argv};
    weft_subprocess_map_options b = batch(&s, 4);
    weft_subprocess_options o = piped();
    int before = open_descriptors();
    assert_errno(weft_subprocess_map(argvs, 4, &o, &b, weft_in_ms(200)), ETIMEDOUT);
    assert_true(s.reported <= 1); // how far the quick ones got is the machine's affair
    assert_true(s.ended <= 2);
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

// No descriptor is left for the output: an error of each command, not of the call.
CASE(test_map_out_of_descriptors)
{
    struct seen s;
    struct script good = sh("true");
    const char *const *argvs[] = {good.argv, good.argv};
    weft_subprocess_options o = piped();
    weft_subprocess_map_options b = batch(&s, 2);
    struct rlimit old, few;
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = (rlim_t)next;
    setrlimit(RLIMIT_NOFILE, &few);
    ssize_t failed = weft_subprocess_map(argvs, 2, &o, &b, WEFT_FOREVER);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(failed, 2);
    assert_int_equal(s.errors[0], EMFILE);
    assert_int_equal(s.errors[1], EMFILE);
}

// What a command opens again by its name in /dev is the same pipe: nothing is overwritten.
CASE(test_map_output_opened_again)
{
    struct seen s;
    struct script one = sh("echo A; echo B >/dev/stderr; echo C; echo D >/dev/stdout");
    const char *const *argvs[] = {one.argv};
    weft_subprocess_options o = piped();
    o.err.kind = WEFT_STREAM_STDOUT;
    weft_subprocess_map_options b = batch(&s, 1);
    assert_int_equal(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), 0);
    assert_string_equal(s.out[0], "A\nB\nC\nD\n");
    o.err.kind = WEFT_STREAM_PIPE;
    b = batch(&s, 1);
    assert_int_equal(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), 0);
    assert_string_equal(s.out[0], "A\nC\nD\n");
    assert_string_equal(s.err[0], "B\n");
}

static void count_good(size_t, const weft_subprocess_result *r, int error, void *arg)
{
    *(int *)arg += error == 0 && r->status == 0 && r->out.size == 3;
}

// Many commands end before their turn, with few descriptors; and there is no room for all that are
// wanted at once: both are waited out.
static void run_with_few_descriptors(int jobs)
{
    enum { COMMANDS = 300, FEW = 64 };
    int good = 0;
    struct script slow = sh("sleep 0.2; echo ok"), quick = sh("echo ok");
    static const char *const *argvs[COMMANDS];
    weft_subprocess_options o = piped();
    weft_subprocess_map_options b = {};
    struct rlimit old, few;
    b.jobs = jobs;
    b.report = count_good;
    b.arg = &good;
    for (int i = 0; i < COMMANDS; i++)
        argvs[i] = i == 0 ? slow.argv : quick.argv;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = FEW;
    setrlimit(RLIMIT_NOFILE, &few);
    errno = EDOM;
    ssize_t failed = weft_subprocess_map(argvs, COMMANDS, &o, &b, WEFT_FOREVER);
    assert_int_equal(errno, EDOM);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(failed, 0);
    assert_int_equal(good, COMMANDS);
}

CASE(test_map_behind_a_slow_one)
{
    run_with_few_descriptors(2);
}

CASE(test_map_waits_for_room)
{
    run_with_few_descriptors(200);
}

static pid_t room;

static void make_room(int)
{
    int saved = errno;
    kill(room, SIGKILL);
    waitpid(room, NULL, 0);
    errno = saved;
}

// Somebody of whom there may be two processes: itself and, for a while, one that is no command's.
static int map_beside_another(void)
{
    const struct rlimit two = {2, 2};
    const struct itimerval soon = {{0, 0}, {0, 200000}};
    const uid_t nobody_else = 1000000000 + (uid_t)getpid();
    int good = 0;
    struct script quick = sh("echo ok");
    const char *const *argvs[] = {quick.argv, quick.argv};
    weft_subprocess_options o = piped();
    weft_subprocess_map_options b = {};
    b.report = count_good;
    b.arg = &good;
    if (setresuid(nobody_else, nobody_else, nobody_else) != 0 || setrlimit(RLIMIT_NPROC, &two) != 0)
        return 1;
    room = runner_fork();
    if (room == 0)
        for (;;)
            pause();
    signal(SIGALRM, make_room);
    setitimer(ITIMER_REAL, &soon, NULL);
    ssize_t failed = weft_subprocess_map(argvs, 2, &o, &b, WEFT_FOREVER);
    return failed != 0 ? 2 : good != 2 ? 3 : 0;
}

CASE(test_map_waits_for_room_of_others)
{
    int status;
    if (RUNNER_SANITIZED || geteuid() != 0) // they have threads of their own; who can be another
        return;
    pid_t child = runner_fork();
    if (child == 0)
        _exit(map_beside_another());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

CASE(test_map_large_output)
{
    int good = 0;
    struct script large = sh("head -c 3000000 /dev/zero | tr '\\0' x");
    const char *const *argvs[] = {large.argv, large.argv, large.argv};
    weft_subprocess_options o = piped();
    weft_subprocess_map_options b = {};
    b.jobs = 3;
    b.report = [](size_t, const weft_subprocess_result *r, int error, void *arg) {
        *(int *)arg += error == 0 && r->out.size == 3000000 && strlen(r->out.data) == 3000000;
    };
    b.arg = &good;
    assert_int_equal(weft_subprocess_map(argvs, 3, &o, &b, WEFT_FOREVER), 0);
    assert_int_equal(good, 3);
}

// ---- Commands that are given one by one, and answers to their ends ----

struct source {
    struct seen seen;
    int pipe[2];               // a byte in it: a command may be given
    size_t given, most, alive; // alive: given and not told
    size_t most_alive;
    int errors[16], tries[16], answer, ended;
    weft_subprocess_command command;
};

static int give(size_t i, weft_subprocess_command *c, void *arg)
{
    struct source *s = (struct source *)arg;
    assert_int_equal(i, s->given);
    if (i == s->most)
        return 0;
    *c = s->command;
    c->data = (void *)(uintptr_t)(i + 1);
    s->given++;
    s->alive++;
    s->most_alive = s->alive > s->most_alive ? s->alive : s->most_alive;
    return 1;
}

static void take(size_t i, const weft_subprocess_result *r, int error, void *arg)
{
    struct source *s = (struct source *)arg;
    assert_int_equal((uintptr_t)r->data, i + 1);
    assert_int_equal(error, 0);
    s->alive--;
    s->ended += r->out.size == 2;
}

// However long the input is, no more is held than what waits for its turn.
CASE(test_map_gives_when_there_is_room)
{
    struct source s = {};
    struct script one = sh("echo x");
    weft_subprocess_options o = piped();
    weft_subprocess_map_options b = {};
    b.jobs = 3;
    b.next = give;
    b.report = take;
    b.arg = &s;
    s.most = 100;
    s.command.argv = one.argv;
    s.command.opts = &o;
    assert_int_equal(weft_subprocess_map(NULL, 0, NULL, &b, WEFT_FOREVER), 0);
    assert_int_equal(s.ended, 100);
    assert_int_equal(s.alive, 0);
    assert_true(s.most_alive < 100);
    b.next_fd = -1;
    b.next = [](size_t, weft_subprocess_command *, void *) { return errno = EAGAIN, -1; };
    assert_errno(weft_subprocess_map(NULL, 0, NULL, &b, WEFT_FOREVER), EDEADLK);
    b.next = [](size_t, weft_subprocess_command *, void *) { return errno = ENXIO, -1; };
    assert_errno(weft_subprocess_map(NULL, 0, NULL, &b, WEFT_FOREVER), ENXIO);
}

static int give_by_byte(size_t i, weft_subprocess_command *c, void *arg)
{
    struct source *s = (struct source *)arg;
    char byte;
    if (i == s->most)
        return 0;
    if (read(s->pipe[0], &byte, 1) != 1)
        return -1; // EAGAIN
    return give(i, c, arg);
}

// The end of one is what lets the next be given: one that waited for all would hang.
CASE(test_map_starts_while_commands_come)
{
    struct source s = {};
    struct script one = sh("true");
    weft_subprocess_map_options b = {};
    assert_int_equal(pipe2(s.pipe, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(write(s.pipe[1], "", 1), 1);
    s.most = 5;
    s.command.argv = one.argv;
    b.jobs = 2;
    b.next = give_by_byte;
    b.next_fd = s.pipe[0];
    b.ended = [](size_t, const weft_subprocess_result *, int, void *arg) -> int {
        struct source *to = (struct source *)arg;
        to->ended += write(to->pipe[1], "", 1) == 1;
        return WEFT_MAP_GO_ON;
    };
    b.arg = &s;
    assert_int_equal(weft_subprocess_map(NULL, 0, NULL, &b, WEFT_FOREVER), 0);
    assert_int_equal(s.ended, 5);
    close(s.pipe[0]);
    close(s.pipe[1]);
}

// Each command has its own input, environment, folder and limit.
CASE(test_map_options_of_each)
{
    struct seen s;
    static weft_subprocess_options own[3];
    static struct script scripts[3] = {sh("cat"), sh("echo $V; pwd"), sh("exec sleep 1000")};
    static const char *const environment[] = {"V=here", NULL};
    for (weft_subprocess_options &o : own)
        o = piped();
    own[0].input = "fed";
    own[0].input_size = 3;
    own[1].env = environment;
    own[1].cwd = "/";
    weft_subprocess_map_options b = batch(&s, 1);
    b.next = [](size_t i, weft_subprocess_command *c, void *) -> int {
        c->argv = scripts[i % 3].argv;
        c->opts = i < 3 ? &own[i] : NULL;
        c->limit_ns = i == 2 ? 50000000 : i == 3 ? -1 : 0;
        return i < 4;
    };
    assert_int_equal(weft_subprocess_map(NULL, 0, NULL, &b, WEFT_FOREVER), 2);
    assert_string_equal(s.out[0], "fed");
    assert_string_equal(s.out[1], "here\n/\n");
    assert_int_equal(s.errors[2], ETIMEDOUT);
    assert_int_equal(s.errors[3], EINVAL);
}

static int answer_fault(size_t i, const weft_subprocess_result *r, int error, void *arg)
{
    struct source *s = (struct source *)arg;
    s->ended++;
    s->errors[i] = error;
    s->tries[i] = r->tries;
    return error == 0 && r->status == 0 ? (int)WEFT_MAP_GO_ON : s->answer;
}

static void expect_answer(int answer, int jobs, const char *first, const int tries[3], int error)
{
    struct source s = {};
    struct script one = sh(first), bad = sh("exit 3"), slow = sh("sleep 1000 & sleep 1000");
    const char *const *argvs[] = {one.argv, bad.argv, slow.argv};
    weft_subprocess_options o = no_options();
    weft_subprocess_map_options b = {};
    o.process_group = WEFT_GROUP_NEW;
    b.jobs = jobs;
    b.ended = answer_fault;
    b.arg = &s;
    s.answer = answer;
    assert_int_equal(weft_subprocess_map(argvs, 3, &o, &b, WEFT_FOREVER), error != 0 ? 2 : 1);
    assert_memory_equal(s.tries, tries, 3 * sizeof *tries);
    assert_int_equal(s.errors[0], error);
    assert_true(no_children());
}

CASE(test_map_halts)
{
    const int two[] = {1, 1, 0};
    expect_answer(WEFT_MAP_NO_MORE, 1, "true", two, 0);
    expect_answer(WEFT_MAP_KILL, 2, "sleep 1000 & sleep 1000", two, ECANCELED);
    // Who ignores SIGTERM gets SIGKILL.
    expect_answer(WEFT_MAP_KILL, 2, "trap '' TERM; sleep 1000 & sleep 1000", two, ECANCELED);
}

CASE(test_map_runs_again)
{
    struct scratch file = make_scratch();
    char text[256];
    struct seen s;
    snprintf(text, sizeof text, "echo x >>%s; echo y; test $(wc -l <%s) = 3", file.path, file.path);
    struct script third = sh(text);
    const char *const none[] = {"/nonexistent", NULL}, *const * argvs[] = {third.argv, none};
    weft_subprocess_options o = piped();
    weft_subprocess_map_options b = batch(&s, 1);
    b.ended = [](size_t, const weft_subprocess_result *r, int error, void *) -> int {
        return (error != 0 || r->status != 0) && r->tries < 5 ? WEFT_MAP_AGAIN : WEFT_MAP_GO_ON;
    };
    b.report = [](size_t i, const weft_subprocess_result *r, int error, void *arg) {
        assert_int_equal(r->tries, i == 0 ? 3 : 5);
        report(i, r, error, arg);
    };
    assert_int_equal(weft_subprocess_map(argvs, 2, &o, &b, WEFT_FOREVER), 1);
    assert_string_equal(s.out[0], "y\n");
    assert_int_equal(s.errors[1], ENOENT);
    remove_scratch(&file);
}

CASE(test_map_misuse)
{
    struct seen s;
    struct script good = sh("true");
    const char *const *argvs[] = {good.argv};
    weft_subprocess_options o = no_options();
    weft_subprocess_map_options b = batch(&s, -1);
    assert_errno(weft_subprocess_map(argvs, 1, &o, NULL, WEFT_FOREVER), EINVAL);
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
    b = batch(&s, 1);
    b.limit_ns = -1;
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
    b = batch(&s, 1);
    assert_errno(weft_subprocess_map(NULL, 1, &o, &b, WEFT_FOREVER), EINVAL);
    o.in.kind = WEFT_STREAM_PIPE;
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
    o.in.kind = WEFT_STREAM_INHERIT;
    b.report = NULL;
    b.ended = NULL;
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
    b = batch(&s, 1);
    b.next = give;
    assert_errno(weft_subprocess_map(argvs, 1, &o, &b, WEFT_FOREVER), EINVAL);
}

RUN_CASES()
