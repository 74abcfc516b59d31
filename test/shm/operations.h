// operations.h: the uses of processes, pools and shared memory, for sandboxes and for system-call
// torture.
#ifndef WEFT_TEST_SHM_OPERATIONS_H
#define WEFT_TEST_SHM_OPERATIONS_H

#include "../operation.h"

#include <weft/pool.h>
#include <weft/process.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

// ---- Processes ----

static inline int exit_3(void *)
{
    return 3;
}

static inline int sleep_long(void *)
{
    for (;;)
        pause();
}

// Frees it, whatever it does: the result.
static inline int given_up(weft_process *p, int result)
{
    if (weft_process_destroy(p) == 0)
        return result;
    weft_process_kill(p);
    weft_process_join(p, NULL, late());
    return weft_process_destroy(p) == 0 ? result : WRONG;
}

// Joins and frees it: 0, or an errno.
static inline int joined(weft_process *p, int code)
{
    if (p == NULL)
        return errno;
    int status;
    if (weft_process_join(p, &status, late()) != 0)
        return given_up(p, errno);
    return given_up(
        p, RIGHT_IF((WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)) == code));
}

static inline int start_and_join(void)
{
    weft_process_options o = {};
    o.name = "sandboxed";
    return joined(weft_process_start(exit_3, NULL, &o), 3);
}

static inline int kill_process(int flags)
{
    weft_process_options o = {};
    o.flags = flags;
    weft_process *p = weft_process_start(sleep_long, NULL, &o);
    if (p == NULL)
        return errno;
    if (weft_process_join(p, NULL, soon()) != -1 || errno != ETIMEDOUT ||
        weft_process_poll(p, NULL) != 0)
        return given_up(p, WRONG);
    if (weft_process_destroy(p) == 0)
        return WRONG;
    return errno != EBUSY || weft_process_kill(p) != 0 ? given_up(p, WRONG)
                                                       : joined(p, 128 + SIGKILL);
}

static inline int kill_one(void)
{
    return kill_process(0);
}

static inline int kill_session(void)
{
    return kill_process(WEFT_PROCESS_NEW_SESSION);
}

static inline int kill_group(void)
{
    return kill_process(WEFT_PROCESS_NEW_GROUP);
}

static inline int has_only_700(void *)
{
    return fcntl(700, F_GETFD) >= 0 && fcntl(701, F_GETFD) < 0 && fcntl(3, F_GETFD) < 0 &&
                   fcntl(2, F_GETFD) >= 0
               ? 3
               : 4;
}

static inline int close_others(void)
{
    const int keep[] = {700};
    weft_process_options o = {};
    o.flags = WEFT_PROCESS_CLOSE_OTHERS;
    o.keep = keep;
    o.keep_count = 1;
    int other = dup(0), result = other < 0 || dup2(0, 700) < 0 || dup2(0, 701) < 0
                                     ? EMFILE // fewer than that many may be open
                                     : joined(weft_process_start(has_only_700, NULL, &o), 3);
    if (other >= 0)
        close(other);
    close(700);
    close(701);
    return result;
}

// A parent that starts one that is held by it, and ends.  The held one has the pipe's end.
static inline int die_with_parent(void)
{
    int ends[2], status;
    struct pollfd f = {-1, POLLIN, 0};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    pid_t parent = fork();
    if (parent == 0) {
        weft_process_options o = {};
        o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
        _exit(weft_process_start(sleep_long, NULL, &o) != NULL ? 0 : errno);
    }
    int error = parent < 0 ? errno : 0;
    close(ends[1]);
    f.fd = ends[0];
    int n = poll(&f, 1, RUNNER_SANITIZED ? 30000 : 8000);
    close(ends[0]);
    if (parent < 0)
        return error;
    return waitpid(parent, &status, 0) == parent && n == 1 ? WEXITSTATUS(status) : WRONG;
}

// ---- Pools ----

static inline int square(const void *arg, size_t, void *result, size_t)
{
    int x = *(const int *)arg;
    *(int *)result = x * x;
    return 0;
}

static inline int die(const void *, size_t, void *, size_t)
{
    return raise(SIGKILL);
}

static inline int sleep_in_task(const void *, size_t, void *, size_t)
{
    return sleep_long(NULL);
}

// Ends and frees it, whatever it does: the result.
static inline int pool_ended(weft_pool *p, int result)
{
    weft_pool_terminate(p);
    bool late_end = weft_pool_join(p, late()) != 0 && errno == ETIMEDOUT;
    return weft_pool_destroy(p) == 0 && !late_end ? result : WRONG;
}

static inline int in_pool(const weft_pool_options *o, int (*act)(weft_pool *p))
{
    weft_pool *p = weft_pool_create(2, o);
    return p != NULL ? pool_ended(p, act(p)) : errno;
}

static inline int apply(weft_pool *p)
{
    int x = 5, y = 0;
    if (weft_pool_apply(p, square, &x, sizeof x, &y, sizeof y, late()) != 0)
        return errno;
    return RIGHT_IF(y == 25 && weft_pool_close(p) == 0 && weft_pool_join(p, late()) == 0);
}

static inline int apply_close_join(void)
{
    weft_pool_options o = {};
    o.name = "sandboxed";
    o.close_others = true;
    return in_pool(&o, apply);
}

static inline int survive_death(weft_pool *p)
{
    int x = 3, y = 0, error = weft_pool_apply(p, die, NULL, 0, NULL, 0, late()) != 0 ? errno : 0;
    if (error != ECHILD)
        return error != 0 ? error : WRONG;
    if (weft_pool_apply(p, square, &x, sizeof x, &y, sizeof y, late()) != 0)
        return errno;
    return RIGHT_IF(y == 9);
}

static inline int death_of_worker(void)
{
    return in_pool(NULL, survive_death);
}

static inline int take_too_long(weft_pool *p)
{
    if (weft_pool_apply(p, sleep_in_task, NULL, 0, NULL, 0, late()) == 0)
        return WRONG;
    return errno == ETIMEDOUT ? 0 : errno;
}

static inline int limit_of_task(void)
{
    weft_pool_options o = {};
    o.task_ns = 30000000;
    return in_pool(&o, take_too_long);
}

static inline int map_items(weft_pool *p)
{
    int x[100], y[100];
    for (int i = 0; i < 100; i++)
        x[i] = i;
    if (weft_pool_map(p, square, x, sizeof x[0], 100, y, sizeof y[0], NULL, late()) != 0)
        return errno;
    return RIGHT_IF(y[99] == 99 * 99);
}

static inline int map_in_pool(void)
{
    return in_pool(NULL, map_items);
}

static inline void note_end(weft_result *r, void *error)
{
    *(int *)error = weft_result_get(r, NULL, WEFT_NOW) == 0 ? 0 : errno;
}

// Whether it is readable in time.
static inline bool heard_of(struct pollfd *f)
{
    int n;
    while ((n = poll(f, 1, RUNNER_SANITIZED ? 30000 : 8000)) < 0 && errno == EINTR)
        ;
    return n == 1;
}

static inline int watch_pool(weft_pool *p)
{
    int x = 1, error = -1;
    struct pollfd f = {weft_pool_fd(p), POLLIN, 0};
    if (f.fd < 0)
        return errno;
    weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW);
    if (r == NULL)
        return errno;
    if (weft_result_then(r, note_end, &error) != 0 || !heard_of(&f))
        return WRONG;
    if (weft_pool_dispatch(p, WEFT_NOW) < 0)
        return errno;
    return error >= 0 ? error : WRONG;
}

static inline int descriptor_of_pool(void)
{
    return in_pool(NULL, watch_pool);
}

// ---- Shared memory ----

static inline int named_segment(void)
{
    char name[64];
    snprintf(name, sizeof name, "weft-test-sandbox-%d", getpid());
    weft_shm *s = weft_shm_create(name, 4096, NULL);
    if (s == NULL)
        return errno;
    weft_shm_ready(s);
    weft_shm *other = weft_shm_attach(name, NULL, late());
    int error = errno;
    if (other != NULL)
        weft_shm_detach(other);
    weft_shm_detach(s);
    int left = weft_shm_unlink(name);
    return other == NULL ? error : RIGHT_IF(left == -1 && errno == ENOENT);
}

static inline int anonymous_segment(void)
{
    weft_shm *s = weft_shm_create(NULL, 4096, NULL);
    if (s == NULL)
        return errno;
    weft_shm *other = weft_shm_attach_fd(weft_shm_fd(s));
    int error = errno;
    if (other != NULL)
        weft_shm_detach(other);
    weft_shm_detach(s);
    return other != NULL ? 0 : error;
}

// A message from a child; watched or not.
static inline int queue_to_child(bool watched)
{
    char text[16] = "";
    weft_shared_queue *q = weft_shared_queue_create(NULL, 4096, NULL);
    if (q == NULL)
        return errno;
    struct pollfd f = {watched ? weft_shared_queue_fd(q) : -1, POLLIN, 0};
    pid_t child = watched && f.fd < 0 ? -1 : fork();
    int error = errno, result = 0;
    if (child == 0)
        _exit(weft_shared_queue_put(q, "done", 5, late()) != 0);
    if (child > 0) {
        bool heard = !watched || heard_of(&f);
        error = RIGHT_IF(heard && weft_shared_queue_get(q, text, sizeof text, late()) == 5 &&
                         strcmp(text, "done") == 0);
        if (waitpid(child, &result, 0) != child || result != 0)
            error = WRONG;
    }
    return weft_shared_queue_destroy(q) == 0 ? error : WRONG;
}

static inline int queue_of_processes(void)
{
    return queue_to_child(false);
}

static inline int descriptor_of_queue(void)
{
    return queue_to_child(true);
}

// A unit is held as long as its holder lives, and no longer, also if it is not reaped.
static inline int unit_of_child(weft_shared_semaphore *s, int ends[2])
{
    char c;
    pid_t child = fork();
    if (child < 0)
        return errno;
    if (child == 0) {
        weft_shared_semaphore_wait(s, late());
        _exit(write(ends[1], "", 1) == 1 ? sleep_long(NULL) : 1);
    }
    close(ends[1]); // to ask who lives takes a descriptor
    ends[1] = -1;
    bool held = read(ends[0], &c, 1) == 1 && weft_shared_semaphore_wait(s, weft_in_ms(120)) == -1 &&
                errno == ETIMEDOUT;
    kill(child, SIGKILL);
    bool freed = weft_shared_semaphore_wait(s, late()) == 0;
    return waitpid(child, NULL, 0) == child ? RIGHT_IF(held && freed) : WRONG;
}

static inline int unit_of_another(void)
{
    weft_shared_semaphore *s = (weft_shared_semaphore *)mmap(
        NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ends[2];
    if (s == MAP_FAILED)
        return errno;
    int result =
        weft_shared_semaphore_init(s, 1, 1) != 0 || pipe2(ends, O_CLOEXEC) != 0 ? errno : 0;
    if (result == 0) {
        result = unit_of_child(s, ends);
        close(ends[0]);
        if (ends[1] >= 0)
            close(ends[1]);
    }
    munmap(s, sizeof *s);
    return result;
}

// clang-format off
static const struct operation SHM_OPERATIONS[] = {
    {"start and join", start_and_join, NULL},
    {"kill", kill_one, NULL},
    {"kill session", kill_session, NULL},
    {"kill group", kill_group, NULL},
    {"close others", close_others, NULL},
    {"die with parent", die_with_parent, "fcntl(SETSIG)"},
    {"pool: apply, close, join", apply_close_join, "eventfd2;signalfd4"},
    {"pool: death of a worker", death_of_worker, "eventfd2;signalfd4"},
    {"pool: limit of a task", limit_of_task, "eventfd2;signalfd4"},
    {"pool: map", map_in_pool, "eventfd2;signalfd4"},
    {"pool: descriptor", descriptor_of_pool, "eventfd2;signalfd4;pidfd_open;pidfds;pidfds, waitid"},
    {"named segment", named_segment, "linkat;fallocate"},
    {"anonymous segment", anonymous_segment, "memfd_create;fallocate"},
    {"queue", queue_of_processes, "memfd_create;fallocate"},
    {"queue: descriptor", descriptor_of_queue, "memfd_create;fallocate;getrandom"},
    {"semaphore", unit_of_another, NULL},
};
// clang-format on

#endif
