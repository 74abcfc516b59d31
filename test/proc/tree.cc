// WEFT_SUBPROCESS_TREE: all that descends from a program ends with it.
#include "children.h"

#include <weft/pipeline.h>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

// It gets away from group, session and parent, says so, and stays.
#define RUNAWAY "setsid sh -c 'trap : TERM HUP; (sh -c \"echo away; while :; do sleep 1; done\" &)'"

static weft_subprocess_options tree(void)
{
    weft_subprocess_options o = piped();
    o.in.kind = WEFT_STREAM_NULL;
    o.flags = WEFT_SUBPROCESS_TREE;
    return o;
}

// A pipe for the output of trees: when they have ended, nobody holds it.
struct witness {
    int ends[2];
};

static struct witness take_output(weft_subprocess_options *o)
{
    struct witness w;
    assert_int_equal(pipe2(w.ends, O_CLOEXEC), 0);
    o->out.kind = WEFT_STREAM_FD;
    o->out.fd = w.ends[1];
    return w;
}

static void expect_witness(const struct witness *w, const char *line)
{
    char got[64] = "";
    for (size_t n = 0; n + 1 < sizeof got && strchr(got, '\n') == NULL; n++)
        assert_int_equal(read(w->ends[0], got + n, 1), 1);
    got[strcspn(got, "\n")] = 0;
    assert_string_equal(got, line);
}

// That all have ended is no matter of time.
static void expect_nobody(const struct witness *w)
{
    close(w->ends[1]);
    struct pollfd f = {w->ends[0], 0, 0};
    assert_int_equal(poll(&f, 1, 0), 1);
    assert_true(f.revents & POLLHUP);
    close(w->ends[0]);
    assert_true(no_children());
}

CASE(test_tree_statuses)
{
    weft_subprocess_options o = tree();
    assert_int_equal(weft_status_exited(finished(started("exit 3", &o))), 3);
    assert_int_equal(weft_status_signal(finished(started("kill -KILL $$", &o))), SIGKILL);
    assert_int_equal(weft_status_signal(finished(started("kill -ABRT $$", &o))), SIGABRT);
    assert_string_equal(output_of("cat; echo $((6 * 7))", &o), "42\n");
}

// As if there were no warden: number, group, usage, descriptors.
CASE(test_tree_is_like_the_program_alone)
{
    weft_subprocess_options o = tree();
    char line[64];
    weft_subprocess *p =
        started("echo $$; read -r l < /proc/$$/stat; set -- $l; echo $5; exec cat", &o);
    snprintf(line, sizeof line, "%d", (int)weft_subprocess_pid(p));
    expect_line(p, 1, line);
    snprintf(line, sizeof line, "%d", (int)getpgrp());
    expect_line(p, 1, line);
    assert_int_equal(finished(p), 0);
    weft_subprocess_result r;
    const char *list[] = {"ls", "/proc/self/fd", NULL};
    assert_int_equal(weft_subprocess_run(list, &o, &r, weft_in_s(50)), 0);
    assert_string_equal(r.out.data, "0\n1\n2\n3\n");
    assert_true(r.usage.ru_maxrss > 0);
    weft_subprocess_result_free(&r);
}

CASE(test_tree_that_does_not_start)
{
    weft_subprocess_options o = tree();
    const char *const no[] = {"/nonexistent", NULL};
    expect_no_start(no, &o, ENOENT, WEFT_STAGE_EXEC);
    o.cwd = "/nonexistent";
    expect_no_start(sh("true").argv, &o, ENOENT, WEFT_STAGE_DIRECTORY);
}

CASE(test_tree_ends_with_the_program)
{
    weft_subprocess_options o = tree();
    struct witness w = take_output(&o);
    o.in.kind = WEFT_STREAM_PIPE;
    weft_subprocess *p = started(RUNAWAY "; read x; exit 5", &o);
    expect_witness(&w, "away");
    weft_subprocess_close(p, 0);
    assert_int_equal(weft_status_exited(finished(p)), 5);
    expect_nobody(&w);
}

CASE(test_tree_is_killed_and_stopped)
{
    for (int way = 0; way < 4; way++) {
        weft_subprocess_options o = tree();
        struct witness w = take_output(&o);
        int status = -1;
        weft_subprocess *p = started("trap '' TERM; " RUNAWAY "; sleep 1000; true", &o);
        expect_witness(&w, "away");
        if (way == 0)
            assert_int_equal(weft_subprocess_kill(p), 0);
        else if (way == 1) // the program alone: then all that descends from it
            assert_int_equal(weft_subprocess_send_signal(p, SIGKILL), 0);
        else if (way == 2)
            assert_int_equal(
                weft_subprocess_end(p, &status, WEFT_NOW, weft_in_ms(20), WEFT_FOREVER), 0);
        else
            weft_subprocess_end(p, &status, WEFT_NOW, WEFT_NOW, WEFT_NOW); // does not wait
        assert_int_equal(weft_status_signal(finished(p)), SIGKILL);
        expect_nobody(&w);
    }
}

CASE(test_tree_is_signalled_as_a_whole)
{
    weft_subprocess_options o = tree();
    const char *hears = "trap 'echo heard; exit' USR1; echo ready; while :; do sleep 0.01; done";
    char script[256];
    snprintf(script, sizeof script,
             "trap 'wait; exit 7' USR1; setsid sh -c \"%s\" & while :; do sleep 0.01; done", hears);
    weft_subprocess *p = started(script, &o);
    expect_line(p, 1, "ready");
    assert_int_equal(weft_subprocess_send_signal_group(p, SIGUSR1), 0);
    expect_line(p, 1, "heard");
    assert_int_equal(weft_status_exited(finished(p)), 7);
}

CASE(test_tree_at_a_deadline)
{
    weft_subprocess_options o = tree();
    struct witness w = take_output(&o);
    o.err.kind = WEFT_STREAM_PIPE;
    int before = open_descriptors();
    for (int64_t ms = 50;; ms *= 2) {
        weft_subprocess_result r;
        assert_errno(weft_subprocess_run(sh(RUNAWAY "; echo ready >&2; sleep 1000; true").argv, &o,
                                         &r, weft_in_ms(ms)),
                     ETIMEDOUT);
        bool ready = strcmp(r.err.data, "ready\n") == 0;
        assert_int_equal(weft_status_signal(r.status), SIGTERM);
        weft_subprocess_result_free(&r);
        if (ready)
            break;
    }
    assert_int_equal(open_descriptors(), before);
    fcntl(w.ends[0], F_SETFL, O_NONBLOCK);
    for (char bytes[64]; read(w.ends[0], bytes, sizeof bytes) > 0;)
        ;
    expect_nobody(&w);
}

CASE(test_tree_of_a_pipeline)
{
    weft_subprocess_options o = tree();
    struct witness w = take_output(&o);
    o.process_group = WEFT_GROUP_NEW;
    const struct script first = sh("trap '' TERM; sleep 1000; true"),
                        second = sh("(sleep 1000 &); " RUNAWAY "; cat");
    const char *const *const argvs[] = {first.argv, second.argv};
    weft_pipeline *l = weft_pipeline_start(argvs, 2, &o);
    assert_non_null(l);
    expect_witness(&w, "away");
    int status;
    assert_int_equal(weft_pipeline_end(l, &status, WEFT_NOW, weft_in_ms(50), WEFT_FOREVER), 0);
    assert_int_equal(weft_pipeline_destroy(l), 0);
    expect_nobody(&w);
}

// ---- Control groups ----

// Makes one below ours that is delegated, or, as `mark` says, is not; empty: it can't be.
static void make_cgroup(char *path, size_t size, bool mark)
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char own[401], kill[640];
    for (const char *root : roots) {
        weft_subprocess_options o = no_options();
        if (sscanf(output_of("sed -n s/^0:://p /proc/self/cgroup", &o), "%400s", own) != 1)
            break;
        snprintf(path, size, "%s%s/weft-test-%d", root, own, (int)getpid());
        snprintf(kill, sizeof kill, "%s/cgroup.kill", path);
        if (mkdir(path, 0755) == 0 && access(kill, W_OK) == 0 &&
            (!mark || setxattr(path, "user.delegate", "1", 1, 0) == 0))
            return;
        rmdir(path);
    }
    *path = 0;
}

// In the control group: whether its program is in one below, which ends with it.
static int tree_within(const char *path, bool below)
{
    char procs[700], line[512] = "", part[64], inner[700];
    snprintf(procs, sizeof procs, "%s/cgroup.procs", path);
    int fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1)
        return 1;
    close(fd);
    // What a warden that was killed has left is gone afterwards, too.
    pid_t dead = below ? fork() : -1;
    if (dead == 0)
        _exit(0);
    snprintf(inner, sizeof inner, "%s/weft-%d", path, (int)dead);
    if (below && (waitpid(dead, NULL, 0) != dead || mkdir(inner, 0755) != 0))
        return 7;
    weft_subprocess_options o = tree();
    weft_subprocess *p =
        weft_subprocess_start(sh("grep ^0: /proc/self/cgroup; " RUNAWAY "; sleep 1000").argv, &o);
    ssize_t n = p != NULL ? weft_subprocess_read(p, 1, line, sizeof line - 1, WEFT_FOREVER) : 0;
    snprintf(part, sizeof part, "/weft-test-%d/weft-", (int)getppid());
    const char *made = strstr(line, part);
    if (n <= 0 || (made != NULL) != below)
        return 2;
    // One that is the program's own goes with it, too.
    snprintf(inner, sizeof inner, "%s/weft-%d/inner", path, below ? atoi(made + strlen(part)) : 0);
    if (below && mkdir(inner, 0755) != 0)
        return 6;
    if (strstr(line, "away") == NULL && weft_subprocess_read(p, 1, line, 4, WEFT_FOREVER) <= 0)
        return 3;
    if (weft_subprocess_end(p, NULL, WEFT_NOW, WEFT_NOW, WEFT_FOREVER) != 0)
        return 4;
    weft_subprocess_destroy(p);
    return entries(path, "weft-") == 0 ? 0 : 5;
}

CASE(test_tree_in_a_control_group)
{
    char path[600];
    for (int below = 0; below < 2; below++) {
        make_cgroup(path, sizeof path, below);
        if (*path == 0) {
            print_message("no control group can be made here\n");
            skip();
        }
        pid_t child = runner_fork();
        if (child == 0)
            _exit(tree_within(path, below));
        int end = end_of(child);
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(end, 0);
    }
}

static void nothing(weft_subprocess *)
{
}

static void become_another(weft_subprocess *)
{
    execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
}

static void kill_our_group(weft_subprocess *)
{
    kill(0, SIGKILL);
}

CASE(test_tree_ends_with_us)
{
    expect_end_after(kill_our_group, RUNAWAY "; sleep 1000; true", 0, WEFT_SUBPROCESS_TREE);
    expect_end_after(nothing, RUNAWAY "; sleep 1000; true", 0, WEFT_SUBPROCESS_TREE);
    expect_end_after(become_another, RUNAWAY "; sleep 1000; true", 0, WEFT_SUBPROCESS_TREE);
}

// The program does not outlive its warden.
CASE(test_tree_without_its_warden)
{
    weft_subprocess_options o = tree();
    char path[64], line[256] = "";
    int warden, status;
    o.in.kind = WEFT_STREAM_PIPE;
    weft_subprocess *p = started("exec cat", &o);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)weft_subprocess_pid(p));
    FILE *f = fopen(path, "r");
    assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    assert_int_equal(sscanf(strrchr(line, ')'), ") %*c %d", &warden), 1);
    assert_int_equal(kill(warden, SIGKILL), 0);
    char byte;
    assert_int_equal(weft_subprocess_read(p, 1, &byte, 1, WEFT_FOREVER), 0);
    assert_int_equal(weft_subprocess_join(p, &status, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_signal(status), SIGKILL);
    assert_errno(weft_subprocess_send_signal(p, SIGTERM), ESRCH);
    assert_int_equal(weft_subprocess_destroy(p), 0);
}

int main(void)
{
    return run_cases(NULL, NULL);
}
