// What a deadline does: SIGTERM, then SIGKILL, to all that the call started; and what happens to
// children when we end.
#include "children.h"

#include <weft/pipeline.h>
#include <weft/shell.h>
#include <weft/subprocess_map.h>

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const char *deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done";

CASE(test_deadline_terminates_first)
{
    weft_subprocess_options o = piped();
    weft_subprocess_result r = run_until(
        "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done", "ready", &o);
    assert_string_equal(r.out.data, "ready\nbye\n");
    assert_int_equal(weft_status_exited(r.status), 3);
    weft_subprocess_result_free(&r);
    assert_true(no_children());
}

CASE(test_deadline_then_kills)
{
    weft_subprocess_options o = piped();
    o.kill_after_ns = 50000000;
    int64_t before = weft_now();
    weft_subprocess_result r = run_until(deaf, "ready", &o);
    assert_true(weft_now() - before >= 150000000);
    assert_int_equal(weft_status_signal(r.status), SIGKILL);
    weft_subprocess_result_free(&r);
    o.kill_after_ns = -1;
    r = run_until("trap 'echo bye' TERM; echo ready; while :; do sleep 0.01; done", "ready", &o);
    assert_string_equal(r.out.data, "ready\n");
    assert_int_equal(weft_status_signal(r.status), SIGKILL);
    weft_subprocess_result_free(&r);
    assert_true(no_children());
}

static bool kernel_signals_groups(void)
{
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    long sent = syscall(SYS_pidfd_send_signal, self, 0, NULL, 4);
    bool known = sent == 0 || errno == ESRCH;
    close(self);
    return known;
}

// The shell ends at once, what it started cleans up.
CASE(test_deadline_leaves_the_group_its_time)
{
    weft_subprocess_options o = piped();
    if (!kernel_signals_groups())
        skip();
    o.kill_after_ns = 20000000000;
    weft_subprocess_result r =
        run_until("sh -c \"trap 'sleep 0.1; echo cleaned; exit' TERM; echo ready;"
                  "while :; do sleep 0.01; done\" & wait",
                  "ready", &o);
    assert_string_equal(r.out.data, "ready\ncleaned\n");
    assert_int_equal(weft_status_signal(r.status), SIGTERM);
    assert_true(r.ns < 20000000000);
    weft_subprocess_result_free(&r);
}

// We inherit what the shell leaves, as init does in a container, and reap it only afterwards.
CASE(test_deadline_waits_for_no_zombie)
{
    weft_subprocess_options o = piped();
    o.kill_after_ns = 40000000000;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    int64_t before = weft_now();
    weft_subprocess_result r = run_until("sleep 1000 & echo ready; wait", "ready", &o);
    assert_true(weft_now() - before < 30000000000);
    weft_subprocess_result_free(&r);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    assert_true(no_children());
}

CASE(test_deadline_wakes_the_stopped)
{
    weft_subprocess_options o = piped();
    o.process_group = WEFT_GROUP_NEW; // also at a terminal
    weft_subprocess_result r = run_until("echo ready; kill -STOP 0", "ready", &o);
    assert_int_equal(weft_status_signal(r.status), SIGTERM);
    weft_subprocess_result_free(&r);
}

// Process group and number of the shell.
static bool leads(const weft_subprocess_options *o, weft_deadline d)
{
    int pid, group;
    weft_subprocess_result r;
    const char *say = "read -r line < /proc/$$/stat; set -- $line; echo $1 $5";
    assert_int_equal(weft_subprocess_run(sh(say).argv, o, &r, d), 0);
    assert_int_equal(sscanf(r.out.data, "%d %d", &pid, &group), 2);
    weft_subprocess_result_free(&r);
    assert_true(group == pid || group == getpgrp());
    return group == pid;
}

// Where a deadline makes one test/proc/shell tries.
CASE(test_groups)
{
    weft_subprocess_options o = piped();
    assert_false(leads(&o, WEFT_FOREVER));
    o.process_group = WEFT_GROUP_OURS;
    assert_false(leads(&o, weft_in_s(50)));
    o.process_group = WEFT_GROUP_NEW;
    assert_true(leads(&o, WEFT_FOREVER));
}

// When the call is over, nobody has the standard error any more that it gave its command.
template <class Call> static void expect_all_ended(Call call)
{
    int ends[2], old = fcntl(2, F_DUPFD_CLOEXEC, 10);
    char bytes[64];
    ssize_t n;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], 2);
    close(ends[1]);
    call();
    dup2(old, 2);
    close(old);
    while ((n = read(ends[0], bytes, sizeof bytes)) > 0)
        ;
    assert_int_equal(n, 0);
    close(ends[0]);
    assert_true(no_children());
}

static void ignore(size_t, const weft_subprocess_result *, int error, void *errors)
{
    *(int *)errors += error == ETIMEDOUT;
}

static const int groups[] = {0, WEFT_GROUP_OURS};
static const char *work = "sh -c 'sleep 1000; true' & sleep 1000; true";

static int close_late(void *)
{
    FILE *stream;
    setsid(); // away from any terminal
    weft_subprocess *p = weft_popen("sh -c 'sleep 1000 &'; echo; sleep 1000", "r", &stream);
    return p == NULL || fgetc(stream) != '\n' ||
           weft_pclose(p, stream, NULL, weft_in_ms(20)) == 0 || errno != ETIMEDOUT;
}

CASE(test_deadline_ends_all)
{
    weft_subprocess_options o = no_options();
    const struct script s = sh(work);
    o.in.kind = WEFT_STREAM_NULL;
    for (int group : groups)
        expect_all_ended([&] {
            o.process_group = group;
            assert_errno(weft_subprocess_run(s.argv, &o, NULL, weft_in_ms(50)), ETIMEDOUT);
        });
    expect_all_ended([] {
        FILE *stream;
        weft_subprocess *p = weft_popen("echo; sleep 1000; true", "r", &stream);
        assert_int_equal(fgetc(stream), '\n');
        assert_errno(weft_pclose(p, stream, NULL, weft_in_ms(20)), ETIMEDOUT);
    });
    expect_all_ended([] { assert_int_equal(end_of(child_of(close_late, NULL)), 0); });
    for (int group : groups)
        expect_all_ended([&] {
            const char *const *const argvs[] = {s.argv, s.argv};
            int errors = 0;
            weft_subprocess_map_options b = {};
            b.limit_ns = 50000000;
            b.report = ignore;
            b.arg = &errors;
            o.process_group = group;
            assert_int_equal(weft_subprocess_map(argvs, 2, &o, &b, WEFT_FOREVER), 2);
            assert_int_equal(errors, 2);
        });
}

// Without a group they are stopped and known before they are told: one whose parent has ended
// meanwhile has its time, and is killed then.
CASE(test_deadline_without_a_group)
{
    weft_subprocess_options o = piped();
    o.process_group = WEFT_GROUP_OURS;
    o.kill_after_ns = 100000000;
    for (bool told = false; !told;) { // until the time is enough for that
        o.kill_after_ns *= 2;
        weft_subprocess_result r = run_until(
            "sh -c \"trap 'echo told' TERM; echo ready; while :; do sleep 0.01; done\"; true",
            "ready", &o);
        told = strstr(r.out.data, "told") != NULL;
        assert_int_equal(weft_status_signal(r.status), SIGTERM);
        assert_true(r.ns >= o.kill_after_ns);
        weft_subprocess_result_free(&r);
    }
}

CASE(test_deadline_of_a_pipeline)
{
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    o.in.kind = WEFT_STREAM_NULL;
    const struct script stages[] = {sh("sleep 1000; true"), sh("sleep 1000; true"), sh("cat")};
    const char *const *const argvs[] = {stages[0].argv, stages[1].argv, stages[2].argv};
    int before = open_descriptors(), failure;
    assert_errno(weft_pipeline_run(argvs, 3, &o, &r, &failure, weft_in_ms(20)), ETIMEDOUT);
    assert_int_equal(weft_status_signal(failure), SIGTERM);
    weft_subprocess_result_free(&r);
    assert_int_equal(open_descriptors(), before);
    assert_true(no_children());
}

// ---- Our own end ----

static void nothing(weft_subprocess *)
{
}

static void become_another(weft_subprocess *)
{
    execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
}

CASE(test_dies_with_parent)
{
    expect_end_after(nothing, "echo; exec sleep 1000", 0);
    expect_end_after(nothing, "sleep 1000 & sleep 1000 & echo; wait", WEFT_GROUP_NEW);
    // Its leader is gone already, and so is the way to reach the rest but this one.
    expect_end_after(nothing, "sleep 1000 & sleep 1000 & echo", WEFT_GROUP_NEW);
    // No program can close what holds it.
    expect_end_after(
        nothing, "for i in 3 4 5 6 7 8 9; do eval \"exec $i>&-\"; done; sleep 1000 & echo; wait",
        WEFT_GROUP_NEW);
}

CASE(test_dies_when_parent_executes)
{
    expect_end_after(become_another, "sleep 1000 & echo; wait", WEFT_GROUP_NEW);
}

static void *start_and_end(void *arg)
{
    weft_subprocess_options o = piped();
    o.in.kind = WEFT_STREAM_PIPE;
    o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    *(weft_subprocess **)arg = started("echo ready; read x; echo $x", &o);
    return NULL;
}

// It is the process that counts, and not the thread; nor do a fork's copies.
CASE(test_lives_on_after_a_thread)
{
    pthread_t t;
    weft_subprocess *p;
    assert_int_equal(pthread_create(&t, NULL, start_and_end, &p), 0);
    pthread_join(t, NULL);
    expect_line(p, 1, "ready");
    pid_t copy = fork();
    if (copy == 0)
        _exit(0);
    assert_int_equal(waitpid(copy, NULL, 0), copy);
    assert_int_equal(weft_subprocess_write(p, "well\n", 5, WEFT_FOREVER), 5);
    expect_line(p, 1, "well");
    assert_int_equal(finished(p), 0);
}

// What is left of its group when it is let go lives on.
CASE(test_let_go_without_a_signal)
{
    int to[2], from[2];
    char byte = 'x';
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    weft_subprocess_options o = no_options();
    o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    o.process_group = WEFT_GROUP_NEW;
    o.out.kind = o.in.kind = WEFT_STREAM_FD;
    o.in.fd = to[0];
    o.out.fd = from[1];
    assert_int_equal(finished(started("exec 4<&0; cat <&4 & exit 0", &o)), 0);
    close(from[1]);
    assert_int_equal(write(to[1], &byte, 1), 1);
    assert_int_equal(read(from[0], &byte, 1), 1);
    close(to[0]);
    close(to[1]);
    assert_int_equal(read(from[0], &byte, 1), 0);
    close(from[0]);
}

RUN_CASES()
