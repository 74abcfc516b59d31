// Starting: what is executed, where, as whom, and how a start fails.
#include "children.h"

#include <proc/spawn.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

using namespace weft;

CASE(test_start_exit_codes)
{
    assert_int_equal(finished(started("exit 0", NULL)), 0);
    assert_int_equal(weft_status_exited(finished(started("exit 47", NULL))), 47);
    assert_int_equal(weft_status_exited(finished(started("exit 255", NULL))), 255);
}

CASE(test_start_misuse)
{
    const char *const none[] = {NULL};
    const char *const yes[] = {"true", NULL};
    int stage = -1;
    weft_subprocess_options o = no_options();
    o.stage = &stage;
    assert_errno(weft_subprocess_start(NULL, &o), EINVAL);
    assert_errno(weft_subprocess_start(none, &o), EINVAL);
    assert_int_equal(stage, WEFT_STAGE_PREPARE);
    o.flags = 1 << 20;
    assert_errno(weft_subprocess_start(yes, &o), EINVAL);
    o.flags = WEFT_SUBPROCESS_NEW_SESSION;
    o.process_group = 17;
    assert_errno(weft_subprocess_start(yes, &o), EINVAL);
    o = no_options();
    o.grace_ns = -1;
    assert_errno(weft_subprocess_start(yes, &o), EINVAL);
    o = no_options();
    o.process_group = -3;
    assert_errno(weft_subprocess_start(yes, &o), EINVAL);
    const char *const nameless[] = {"=x", NULL};
    o = no_options();
    o.env_add = nameless;
    assert_errno(weft_subprocess_start(yes, &o), EINVAL);
    o = no_options();
    o.env_unset = nameless;
    assert_errno(weft_subprocess_start(yes, &o), EINVAL);
    assert_true(no_children());
}

// Starts `file` and expects it to fail at exec with `error`, leaving nothing.
static void expect_exec_error(const char *file, int error, weft_subprocess_options o)
{
    const char *const argv[] = {file, NULL};
    expect_no_start(argv, &o, error, WEFT_STAGE_EXEC);
}

static int succeed(void *arg)
{
    (void)arg;
    return 0;
}

static void exec_errors(weft_subprocess_options o)
{
    struct scratch s = make_scratch();
    expect_exec_error("/nonexistent/program", ENOENT, o);
    expect_exec_error("weft-no-such-program", ENOENT, o);
    expect_exec_error("", ENOENT, o);
    expect_exec_error(s.folder, EACCES, o);
    write_file(s.path, "#!/bin/sh\n", 0600);
    expect_exec_error(s.path, EACCES, o);
    write_file(s.path, "#!/nonexistent/interpreter\n", 0700);
    expect_exec_error(s.path, ENOENT, o);
    write_file(s.path, "echo no interpreter\n", 0700);
    expect_exec_error(s.path, ENOEXEC, o);
    remove_scratch(&s);
}

CASE(test_start_exec_errors)
{
    exec_errors(piped());
}

CASE(test_start_exec_errors_forked)
{
    weft_subprocess_options o = piped();
    o.callback = succeed;
    exec_errors(o);
}

CASE(test_start_argument_list_too_long)
{
    enum { LENGTH = 4 << 20 };
    char *longest = (char *)malloc(LENGTH);
    memset(longest, 'x', LENGTH - 1);
    longest[LENGTH - 1] = 0;
    const char *const argv[] = {"echo", longest, NULL};
    weft_subprocess_options o = no_options();
    expect_no_start(argv, &o, E2BIG, WEFT_STAGE_EXEC);
    free(longest);
}

// A file that may not be executed, earlier in PATH: the one behind it runs; if there is
// none, the first error is told.
CASE(test_start_path_search)
{
    struct scratch s = make_scratch();
    char path[128];
    write_file(s.path, "#!/bin/sh\n", 0600);
    snprintf(path, sizeof path, "PATH=/nonexistent:%s::/bin", s.folder);
    const char *const env[] = {path, NULL}, *const argv[] = {"weft-file", NULL};
    const char *const here[] = {"./sh", "-c", "exit 3", NULL}, *const empty[] = {"PATH=", NULL};
    const char *const bare[] = {"sh", "-c", "exit 4", NULL};
    weft_subprocess_options o = no_options();
    o.env = env;
    assert_errno(weft_subprocess_start(argv, &o), EACCES);
    // An empty folder in PATH is the current one, which is the child's.
    o.env = empty;
    assert_errno(weft_subprocess_start(bare, &o), ENOENT);
    o.cwd = "/bin";
    weft_subprocess *p = weft_subprocess_start(bare, &o);
    assert_non_null(p);
    assert_int_equal(weft_status_exited(finished(p)), 4);
    p = weft_subprocess_start(here, &o);
    assert_non_null(p);
    assert_int_equal(weft_status_exited(finished(p)), 3);
    // Without PATH there is a default.
    const char *const nothing[] = {NULL};
    o.env = nothing;
    o.cwd = NULL;
    p = weft_subprocess_start(bare, &o);
    assert_non_null(p);
    assert_int_equal(weft_status_exited(finished(p)), 4);
    remove_scratch(&s);
}

CASE(test_start_file_apart_from_argv0)
{
    const char *const argv[] = {"somebody", "-c", "echo $0", NULL};
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    o.file = "sh";
    assert_int_equal(weft_subprocess_run(argv, &o, &r, WEFT_FOREVER), 0);
    assert_string_equal(r.out.data, "somebody\n");
    weft_subprocess_result_free(&r);
}

CASE(test_start_cwd)
{
    weft_subprocess_options o = no_options();
    int stage;
    o.cwd = "/proc";
    o.stage = &stage;
    assert_string_equal(output_of("pwd", &o), "/proc\n");
    assert_int_equal(stage, WEFT_STAGE_NONE);
    o.cwd = "/nonexistent";
    expect_no_start(sh("true").argv, &o, ENOENT, WEFT_STAGE_DIRECTORY);
    o.cwd = "/dev/null";
    expect_no_start(sh("true").argv, &o, ENOTDIR, WEFT_STAGE_DIRECTORY);
}

CASE(test_start_environment)
{
    const char *const all[] = {"FRUIT=orange", "PATH=/bin:/usr/bin", NULL};
    const char *const add[] = {"FRUIT=plum", "EMPTY=", "NEW=a=b", NULL};
    const char *const unset[] = {"HOME_OF_NOBODY", "FRUIT", "GONE", NULL};
    weft_subprocess_options o = no_options();
    o.env = all;
    assert_string_equal(output_of("echo $FRUIT", &o), "orange\n");
    o.env_add = add;
    assert_string_equal(output_of("echo $FRUIT-${EMPTY-unset}-$NEW", &o), "plum--a=b\n");
    o.env_add = NULL;
    o.env_unset = unset;
    assert_string_equal(output_of("echo ${FRUIT-unset}", &o), "unset\n");
    setenv("GONE", "still here", 1);
    setenv("FRUITS", "kept", 1);
    o.env = NULL;
    o.env_add = add;
    assert_string_equal(output_of("echo ${GONE-unset} $FRUIT $FRUITS", &o), "unset plum kept\n");
    assert_string_equal(getenv("GONE"), "still here");
    unsetenv("GONE");
    unsetenv("FRUITS");
}

CASE(test_start_session_and_groups)
{
    weft_subprocess_options o = no_options();
    int ours, theirs, session, pid;
    // pid, then process group (field 5) and session (6) of the shell itself.
    const char *say = "read -r line < /proc/$$/stat; set -- $line; echo $1 $5 $6";
    assert_int_equal(sscanf(output_of(say, &o), "%d %d %d", &pid, &ours, &session), 3);
    assert_int_equal(ours, getpgrp());
    assert_int_equal(session, getsid(0));
    o.process_group = WEFT_GROUP_NEW;
    assert_int_equal(sscanf(output_of(say, &o), "%d %d %d", &pid, &theirs, &session), 3);
    assert_int_equal(theirs, pid);
    assert_int_equal(session, getsid(0));
    o.process_group = 0;
    o.flags = WEFT_SUBPROCESS_NEW_SESSION;
    assert_int_equal(sscanf(output_of(say, &o), "%d %d %d", &pid, &theirs, &session), 3);
    assert_int_equal(session, pid);
    assert_int_equal(theirs, pid);
}

CASE(test_start_joins_a_group)
{
    weft_subprocess_options o = no_options();
    o.process_group = WEFT_GROUP_NEW;
    o.in.kind = WEFT_STREAM_PIPE;
    weft_subprocess *leader = started("read x", &o);
    weft_subprocess_options second = no_options();
    second.process_group = weft_subprocess_pid(leader);
    weft_subprocess *member = started("sleep 1000", &second);
    assert_int_equal(getpgid(weft_subprocess_pid(member)), weft_subprocess_pid(leader));
    assert_int_equal(weft_subprocess_kill(leader), 0);
    assert_int_equal(weft_status_signal(finished(leader)), SIGKILL);
    assert_int_equal(weft_status_signal(finished(member)), SIGKILL);
    second.process_group = 1;
    expect_no_start(sh("true").argv, &second, EPERM, WEFT_STAGE_SESSION);
}

CASE(test_start_umask_nice_limits)
{
    const weft_limit limits[] = {{RLIMIT_NOFILE, {77, 78}}, {RLIMIT_CORE, {0, 0}}};
    const weft_limit bad[] = {{9999, {1, 1}}};
    weft_subprocess_options o = no_options();
    o.flags = WEFT_SUBPROCESS_SET_UMASK;
    o.umask = 0;
    assert_string_equal(output_of("umask", &o), "0000\n");
    o.umask = 0137;
    assert_string_equal(output_of("umask", &o), "0137\n");
    o = no_options();
    o.limits = limits;
    o.limit_count = 2;
    assert_string_equal(output_of("ulimit -Sn; ulimit -Hn", &o), "77\n78\n");
    o.limits = bad;
    o.limit_count = 1;
    expect_no_start(sh("true").argv, &o, EINVAL, WEFT_STAGE_LIMITS);
    o = no_options();
    o.nice = 3;
    char expected[16];
    snprintf(expected, sizeof expected, "%d\n", getpriority(PRIO_PROCESS, 0) + 3);
    assert_string_equal(output_of("nice", &o), expected);
}

CASE(test_start_cpus)
{
    cpu_set_t ours;
    assert_int_equal(sched_getaffinity(0, sizeof ours, &ours), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &ours))
        cpu++;
    char expected[64];
    snprintf(expected, sizeof expected, "Cpus_allowed_list:\t%d\n", cpu);
    weft_subprocess_options o = no_options();
    o.cpus = &cpu;
    o.cpu_count = 1;
    assert_string_equal(output_of("grep Cpus_allowed_list /proc/self/status", &o), expected);
    o.cpu_count = 0;
    expect_no_start(sh("true").argv, &o, EINVAL, WEFT_STAGE_LIMITS);
    cpu = 1 << 20;
    o.cpu_count = 1;
    expect_no_start(sh("true").argv, &o, EINVAL, WEFT_STAGE_PREPARE);
}

CASE(test_start_identity)
{
    weft_subprocess_options o = no_options();
    gid_t groups[] = {4, 5};
    int dumpable = prctl(PR_GET_DUMPABLE);
    o.flags = WEFT_SUBPROCESS_SET_UID | WEFT_SUBPROCESS_SET_GID;
    o.uid = geteuid() == 0 ? 65534 : geteuid();
    o.gid = geteuid() == 0 ? 65533 : getegid();
    if (geteuid() == 0) {
        o.groups = groups;
        o.group_count = 2;
        assert_string_equal(output_of("id -G", &o), "65533 4 5\n");
        o.group_count = 0;
        assert_string_equal(output_of("id -G", &o), "65533\n");
    }
    char expected[64];
    snprintf(expected, sizeof expected, "%u\n%u\n%u\n%u\n", o.uid, o.uid, o.gid, o.gid);
    assert_string_equal(output_of("id -u; id -ru; id -g; id -rg", &o), expected);
    // A change of user in a child must not change this process.
    assert_int_equal(prctl(PR_GET_DUMPABLE), dumpable);
}

// In a process without privileges: 0 if each of the three is refused by its name.
static int refusals(void)
{
    const gid_t groups[] = {4};
    int stage;
    weft_subprocess_options o = no_options();
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        return 1;
    o.stage = &stage;
    o.flags = WEFT_SUBPROCESS_SET_UID | WEFT_SUBPROCESS_SET_GID;
    o.uid = o.gid = 12345;
    o.groups = groups;
    o.group_count = 1;
    if (weft_subprocess_start(sh("true").argv, &o) != NULL || errno != EPERM ||
        stage != WEFT_STAGE_GROUPS)
        return 2;
    o.groups = NULL;
    if (weft_subprocess_start(sh("true").argv, &o) != NULL || errno != EPERM ||
        stage != WEFT_STAGE_GID)
        return 3;
    o.flags = WEFT_SUBPROCESS_SET_UID;
    if (weft_subprocess_start(sh("true").argv, &o) != NULL || errno != EPERM ||
        stage != WEFT_STAGE_UID)
        return 4;
    return no_children() ? 0 : 5;
}

CASE(test_start_identity_refused)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(refusals());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int fail_callback(void *arg)
{
    errno = *(int *)arg;
    return -1;
}

static int change_environment(void *arg)
{
    return setenv("CALLED", (const char *)arg, 1) != 0 || chdir("/proc") != 0;
}

CASE(test_start_callback)
{
    int error = EXDEV;
    weft_subprocess_options o = no_options();
    o.callback = change_environment;
    o.arg = (void *)(uintptr_t) "x";
    assert_string_equal(output_of("pwd; echo $CALLED", &o), "/proc\nx\n");
    assert_null(getenv("CALLED"));
    o.callback = fail_callback;
    o.arg = &error;
    expect_no_start(sh("true").argv, &o, EXDEV, WEFT_STAGE_CALLBACK);
}

// A middle process starts a child that dies with it, tells its number, and goes.
CASE(test_start_die_with_parent)
{
    int pipes[2];
    weft_subprocess_options o = no_options();
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    o.out.kind = WEFT_STREAM_FD;
    o.out.fd = pipes[1];
    pid_t middle = runner_fork();
    if (middle == 0)
        _exit(weft_subprocess_start(sh("echo ready; exec sleep 1000").argv, &o) == NULL);
    close(pipes[1]);
    assert_int_equal(end_of(middle), 0);
    // Only the child holds the pipe now: its end is the child's death.
    char bytes[16];
    ssize_t n;
    while ((n = read(pipes[0], bytes, sizeof bytes)) > 0)
        ;
    assert_int_equal(n, 0);
    close(pipes[0]);
}

static void all_well(void)
{
    struct scratch s = make_scratch();
    weft_subprocess_options o = piped();
    write_file(s.path, "#!/bin/sh\n", 0600);
    assert_string_equal(output_of("cat; echo $0", NULL), "sh\n");
    const char *const argv[] = {s.path, NULL};
    assert_errno(weft_subprocess_start(argv, &o), EACCES);
    assert_int_equal(weft_status_signal(finished(started("kill -9 $$", NULL))), SIGKILL);
    assert_true(no_children());
    remove_scratch(&s);
}

// Each of the newer kernel calls taken away, and all of them.
CASE(test_start_old_kernels)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), old = dup(0);
    dup2(null, 0);
    for (int without = 0; without < 32; without++) {
        spawn_without = without;
        int before = open_descriptors();
        all_well();
        assert_int_equal(open_descriptors(), before);
    }
    spawn_without = 0;
    dup2(old, 0);
    close(old);
    close(null);
}

CASE(test_stage_name)
{
    assert_string_equal(weft_stage_name(WEFT_STAGE_NONE), "none");
    assert_string_equal(weft_stage_name(WEFT_STAGE_DIRECTORY), "chdir");
    assert_string_equal(weft_stage_name(WEFT_STAGE_EXEC), "exec");
    assert_string_equal(weft_stage_name(WEFT_STAGE_EXEC + 1), "unknown");
    assert_string_equal(weft_stage_name(-1), "unknown");
}

CASE(test_start_leaves_errno_alone)
{
    errno = EDOM;
    weft_subprocess *p = weft_subprocess_start(sh("exit 0").argv, NULL);
    assert_non_null(p);
    assert_int_equal(errno, EDOM);
    assert_int_equal(weft_subprocess_join(p, NULL, WEFT_FOREVER), 0);
    assert_int_equal(errno, EDOM);
    assert_int_equal(weft_subprocess_destroy(p), 0);
    assert_int_equal(errno, EDOM);
}

// What a failed lookup of a user leaves must not mean "as it is".
CASE(test_start_refuses_no_id)
{
    weft_subprocess_options o = no_options();
    o.flags = WEFT_SUBPROCESS_SET_UID;
    o.uid = (uid_t)-1;
    assert_errno(weft_subprocess_start(sh("true").argv, &o), EINVAL);
    o.flags = WEFT_SUBPROCESS_SET_GID;
    o.gid = (gid_t)-1;
    assert_errno(weft_subprocess_start(sh("true").argv, &o), EINVAL);
}

CASE(test_start_env_of_one_name)
{
    const char *const add[] = {"SEWN_X=first", "SEWN_Y=y", "SEWN_X=last", NULL};
    weft_subprocess_options o = no_options();
    o.env_add = add;
    assert_string_equal(output_of("env | grep SEWN_ | sort", &o), "SEWN_X=last\nSEWN_Y=y\n");
}

static int fails_silently(void *)
{
    return -1;
}

CASE(test_start_callback_without_errno)
{
    weft_subprocess_options o = no_options();
    o.callback = fails_silently;
    expect_no_start(sh("true").argv, &o, ECANCELED, WEFT_STAGE_CALLBACK);
}

static int set_signals(void *)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    signal(SIGPIPE, SIG_IGN);
    return sigprocmask(SIG_BLOCK, &set, NULL);
}

// As with CPython's preexec_fn.
CASE(test_start_callback_sets_signals)
{
    const char *const say[] = {"sed", "-n", "s/^Sig\\(Blk\\|Ign\\):.//p", "/proc/self/status",
                               NULL};
    unsigned long long blocked, ignored;
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    o.callback = set_signals;
    assert_int_equal(weft_subprocess_run(say, &o, &r, WEFT_FOREVER), 0);
    assert_int_equal(sscanf(r.out.data, "%llx %llx", &blocked, &ignored), 2);
    assert_int_equal(blocked, 1ULL << (SIGUSR1 - 1));
    assert_true(ignored & 1ULL << (SIGPIPE - 1));
    weft_subprocess_result_free(&r);
}

CASE(test_start_scripts_without_interpreter)
{
    struct scratch s = make_scratch();
    char path[128], expected[128];
    write_file(s.path, "echo $0 $# $2\n", 0700);
    snprintf(path, sizeof path, "PATH=%s:/bin", s.folder);
    const char *const env[] = {path, NULL}, *const argv[] = {"weft-file", "a", "b c", NULL};
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    o.env = env;
    assert_errno(weft_subprocess_start(argv, &o), ENOEXEC);
    o.flags = WEFT_SUBPROCESS_SCRIPTS;
    for (spawn_without = 0; spawn_without <= NO_SHARING; spawn_without += NO_SHARING) {
        assert_int_equal(weft_subprocess_run(argv, &o, &r, WEFT_FOREVER), 0);
        snprintf(expected, sizeof expected, "%s 2 b c\n", s.path);
        assert_string_equal(r.out.data, expected);
        weft_subprocess_result_free(&r);
    }
    spawn_without = 0;
    remove_scratch(&s);
}

static void *close_soon(void *fd)
{
    usleep(3000);
    close((int)(intptr_t)fd);
    return NULL;
}

// A writer that goes away is waited for, for a while; one that stays is an error.
CASE(test_start_of_a_file_that_is_written)
{
    struct scratch s = make_scratch();
    const char *const argv[] = {s.path, NULL};
    write_file(s.path, "#!/bin/sh\n", 0700);
    weft_subprocess *p = NULL;
    for (int i = 0; i < 50 && p == NULL; i++) {
        pthread_t t;
        int fd = open(s.path, O_WRONLY | O_CLOEXEC);
        assert_errno(weft_subprocess_start(argv, NULL), ETXTBSY);
        assert_int_equal(pthread_create(&t, NULL, close_soon, (void *)(intptr_t)fd), 0);
        p = weft_subprocess_start(argv, NULL);
        pthread_join(t, NULL);
    }
    assert_non_null(p);
    assert_int_equal(finished(p), 0);
    assert_true(no_children());
    remove_scratch(&s);
}

// ---- Descriptors by other numbers ----

static int file_with(const char *text)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
    close(ends[1]);
    return ends[0];
}

static void mapped(void)
{
    const char *read_all = "read a <&3; read b <&4; read c <&5; echo $a $b $c; ls /proc/self/fd";
    const char *const texts[] = {"one\n", "two\n", "three\n"};
    int at[3], before = open_descriptors();
    // In our 3, 4 and 5, whatever those were.
    int kept[] = {fcntl(3, F_DUPFD_CLOEXEC, 20), fcntl(4, F_DUPFD_CLOEXEC, 20),
                  fcntl(5, F_DUPFD_CLOEXEC, 20)};
    for (int i = 0; i < 3; i++) {
        int fd = file_with(texts[i]);
        at[i] = fcntl(fd, F_DUPFD_CLOEXEC, 30);
        close(fd);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dup3(at[i], 3 + i, O_CLOEXEC), 3 + i);
        close(at[i]);
    }
    const weft_descriptor turn[] = {{3, 4}, {4, 5}, {5, 3}};
    weft_subprocess_options o = no_options();
    o.map = turn;
    o.map_count = 3;
    // ls has another one of its own.
    assert_string_equal(output_of(read_all, &o), "three one two\n0\n1\n2\n3\n4\n5\n6\n");
    for (int i = 0; i < 3; i++) {
        close(3 + i);
        if (kept[i] >= 0)
            dup3(kept[i], 3 + i, O_CLOEXEC), close(kept[i]);
    }
    assert_int_equal(open_descriptors(), before);
}

CASE(test_start_turns_descriptors)
{
    const int all[] = {0, NO_SHARING, NO_PIDFD};
    for (int without : all) {
        spawn_without = without;
        mapped();
    }
    spawn_without = 0;
}

CASE(test_start_maps_descriptors)
{
    int fd = file_with("x\n");
    weft_subprocess_options o = no_options();
    // One twice; our own standard input, which the child's is not; next to one that is passed.
    const weft_descriptor map[] = {{fd, 7}, {fd, 8}, {0, 9}};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), old = fcntl(0, F_DUPFD_CLOEXEC, 10);
    dup2(null, 0);
    o.in.kind = WEFT_STREAM_PIPE;
    o.input = "";
    o.map = map;
    o.map_count = 3;
    o.pass = &fd;
    o.pass_count = 1;
    assert_string_equal(output_of("read x <&8; echo $x; readlink /proc/self/fd/9", &o),
                        "x\n/dev/null\n");
    dup2(old, 0);
    close(old);
    close(null);
    const weft_descriptor wrong[] = {{fd, 2}, {99, 7}, {fd, fd}};
    const int errors[] = {EINVAL, EBADF, EINVAL};
    o.map_count = 1;
    for (int i = 0; i < 3; i++) {
        o.map = &wrong[i];
        assert_errno(weft_subprocess_start(sh("true").argv, &o), errors[i]);
    }
    const weft_descriptor twice[] = {{fd, 7}, {0, 7}};
    o.map = twice;
    o.map_count = 2;
    assert_errno(weft_subprocess_start(sh("true").argv, &o), EINVAL);
    close(fd);
}

static int nothing(void *)
{
    return 0;
}

static int gate[2], enough;

// Processes that execute nothing, have what was open, and stay until the gate is closed.
static void *fork_again_and_again(void *)
{
    for (int i = 0; i < 400 && !__atomic_load_n(&enough, __ATOMIC_ACQUIRE); i++) {
        char byte;
        if (fork() == 0) {
            close(gate[1]);
            (void)!read(gate[0], &byte, 1);
            _exit(0);
        }
        usleep(500);
    }
    return NULL;
}

// A start that such a process holds up would never end.
CASE(test_start_beside_forks)
{
    pthread_t t;
    weft_subprocess_options o = no_options();
    o.callback = nothing;
    assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&t, NULL, fork_again_and_again, NULL), 0);
    for (int i = 0; i < 60; i++) {
        weft_subprocess *p = weft_subprocess_start(sh("true").argv, &o);
        assert_non_null(p);
        assert_int_equal(weft_subprocess_join(p, NULL, WEFT_FOREVER), 0);
        weft_subprocess_destroy(p);
    }
    __atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
    pthread_join(t, NULL);
    close(gate[0]);
    close(gate[1]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

RUN_CASES()
