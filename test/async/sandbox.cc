// Loops, tasklets that wait, workers in sandboxes that refuse system calls, one after the other.
#include "../sandbox.h"

#include <weft/file.h>
#include <weft/io.h>
#include <weft/loop.h>
#include <weft/offload.h>
#include <weft/status.h>
#include <weft/subprocess.h>
#include <weft/tasklet.h>
#include <weft/workers.h>

#include <fcntl.h>
#include <sys/stat.h>

#define RIGHT(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return WRONG;                                                                          \
    } while (0)

// ---- Loops ----

static weft_deadline went_off;

static void note_time(weft_alarm *, void *)
{
    went_off = weft_now();
}

static int run_timer(weft_loop *l)
{
    weft_alarm coarse = {}, fine = {};
    weft_deadline at = weft_in_ms(5);
    RIGHT(weft_loop_arm(l, &coarse, 0, note_time, NULL, at) == 0);
    RIGHT(weft_loop_arm(l, &fine, 0, note_time, NULL, at) == 0);
    if (weft_loop_run(l, WEFT_LOOP_ALL, late()) != 0)
        return errno;
    RIGHT(went_off >= at);
    return 0;
}

static void note_status(weft_child *, int status, void *arg)
{
    *(int *)arg = status;
}

static int run_child(weft_loop *l)
{
    weft_child c = {};
    int status = -2;
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0)
        _exit(5);
    if (weft_loop_watch_child(l, &c, pid, note_status, &status) != 0) {
        int error = errno;
        return waitpid(pid, NULL, 0) == pid ? error : WRONG;
    }
    RIGHT(weft_loop_run(l, WEFT_LOOP_ALL, late()) == 0);
    RIGHT(status == 5 << 8);
    return 0;
}

static void note_signal(weft_signal *s, void *arg)
{
    *(int *)arg = s->signo;
    weft_loop_unwatch_signal(s);
}

static int run_signal(weft_loop *l)
{
    weft_signal s = {};
    int signo = 0;
    if (weft_loop_watch_signal(l, &s, SIGUSR1, note_signal, &signo) != 0)
        return errno;
    RIGHT(raise(SIGUSR1) == 0 && weft_loop_run(l, WEFT_LOOP_ALL, late()) == 0);
    RIGHT(signo == SIGUSR1);
    return 0;
}

static int in_loop(int (*act)(weft_loop *l))
{
    weft_loop *l = weft_loop_create(NULL);
    if (l == NULL)
        return errno;
    int result = act(l);
    weft_loop_destroy(l);
    return result;
}

static int timer(void)
{
    return in_loop(run_timer);
}

static int watch_child(void)
{
    return in_loop(run_child);
}

static int watch_signal(void)
{
    return in_loop(run_signal);
}

// ---- Tasklets ----

static int sleep_and_run(void *)
{
    const char *const argv[] = {"sh", "-c", "exit 4", NULL}, *const sleeps[] = {"sleep", "100",
                                                                                NULL};
    weft_subprocess_result r;
    weft_deadline at = weft_in_ms(3);
    weft_tasklet_sleep(at);
    RIGHT(weft_now() >= at);
    if (weft_subprocess_run(argv, NULL, &r, late()) != 0)
        return errno;
    RIGHT(weft_status_code(r.status) == 4);
    if (weft_subprocess_run(sleeps, NULL, NULL, weft_in_ms(20)) == 0)
        return WRONG;
    return errno == ETIMEDOUT ? 0 : errno;
}

static int tasklets(void)
{
    errno = 0;
    int result = weft_io_run(sleep_and_run, NULL);
    return result == -1 ? errno : result;
}

// ---- Workers ----

static int ends;

static int end_master(void *)
{
    char c;
    if (weft_worker_number() == 1) // the last to be started
        kill(getppid(), SIGTERM);
    return read(weft_worker_stop_fd(), &c, 1) == 0 ? 7 : 8;
}

static void note_worker(weft_workers_event e, int, pid_t, int status, void *)
{
    ends += e == WEFT_WORKERS_ENDED && status == 7 << 8;
}

static int workers(void)
{
    weft_workers_options o = {};
    o.tell = note_worker;
    ends = 0;
    if (weft_workers_run(2, end_master, NULL, &o) != 0)
        return errno;
    RIGHT(ends == 2);
    return 0;
}

// clang-format off
static const struct operation OPERATIONS[] = {
    {"timer", timer, "eventfd2"},
    {"child", watch_child, "eventfd2;pidfd_open;pidfds;pidfds, waitid"},
    {"signal", watch_signal, "eventfd2;signalfd4"},
    {"tasklets", tasklets, "eventfd2;fcntl(SETSIG)"},
    {"workers", workers, "eventfd2;signalfd4;pidfd_open;pidfds;pidfds, waitid"},
};
// clang-format on

static int read_file(void *)
{
    char magic[4];
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    return weft_offload_pread(fd, magic, 4, 0, late()) == 4 && memcmp(magic, "\177ELF", 4) == 0;
}

static int look_at_file(void *)
{
    struct stat s;
    errno = 7;
    return weft_file_stat("/", &s, late()) == 0 && errno == 7;
}

// What threads do then.  Not in the matrix, since they stay.
static void works_without(long call, int (*fn)(void *))
{
    const struct sandbox without = {"", {{call, 0, 0, 0}}};
    for (int error : ERRORS) {
        pid_t child = runner_fork();
        if (child == 0)
            _exit(enter_sandbox(&without, error) && weft_io_run(fn, NULL) == 1 ? 0 : 1);
        assert_int_equal(end_of(child), 0);
    }
}

CASE(test_files_by_threads)
{
    works_without(SYS_preadv2, read_file);
    works_without(SYS_io_uring_setup, look_at_file);
    works_without(SYS_io_uring_enter, look_at_file);
}

CASE(test_sandboxes)
{
    if (!RUNNER_SANITIZED)               // where nobody asks for mappings
        assert_int_equal(tasklets(), 0); // keeps a stack
    assert_int_equal(try_matrix(OPERATIONS, sizeof OPERATIONS / sizeof OPERATIONS[0]), 0);
}

RUN_CASES()
