// Handles in a forked child: another thread of the parent may hold their private locks when it
// forks.
#include "../runner.h"
#include "processes.h"

#include <weft/process.h>
#include <weft/shared_queue.h>
#include <weft/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

static weft_shared_queue *queue;
static weft_process *sleeper;

static int pauses(void *)
{
    return pause();
}

static void queue_begin(void)
{
    queue = weft_shared_queue_create(nullptr, 4096, nullptr);
    assert_true(weft_shared_queue_fd(queue) >= 0);
}

static void queue_end(void)
{
    assert_int_equal(weft_shared_queue_destroy(queue), 0);
}

static void process_begin(void)
{
    sleeper = weft_process_start(pauses, nullptr, nullptr);
    assert_non_null(sleeper);
}

static void process_end(void)
{
    assert_int_equal(weft_process_kill(sleeper), 0);
    assert_int_equal(weft_process_join(sleeper, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_process_destroy(sleeper), 0);
}

static int use_get(void)
{
    char m[64];
    return weft_shared_queue_get(queue, m, sizeof m, WEFT_NOW) == -1 && errno == ETIMEDOUT ? 0 : 1;
}

static int use_fd(void)
{
    return weft_shared_queue_fd(queue) >= 0 ? 0 : 1;
}

static int use_process(void)
{
    weft_process_poll(sleeper, NULL); // a child's own child it is not
    return 0;
}

static int use_signal(void)
{
    return weft_process_send_signal(sleeper, 0) == 0 || errno == ESRCH ? 0 : 1;
}

static const struct handle {
    void (*begin)(void);
    void (*end)(void);
    int (*by_thread)(void); // takes the handle's lock, and gives it back, again and again
    int (*by_child)(void);
} HANDLES[] = {
    {queue_begin, queue_end, use_get, use_get},
    {queue_begin, queue_end, use_get, use_fd},
    {process_begin, process_end, use_process, use_process},
    {process_begin, process_end, use_process, use_signal},
};

static int by_child(void *arg)
{
    return ((const struct handle *)arg)->by_child();
}

static void *by_thread(void *arg)
{
    while (!weft_thread_stopping())
        ((const struct handle *)arg)->by_thread();
    return nullptr;
}

// A child that hangs is ended by its alarm.
CASE(test_locks_are_free_in_a_child)
{
    for (const struct handle &h : HANDLES) {
        h.begin();
        weft_thread *t = weft_thread_start(by_thread, (void *)(uintptr_t)&h, nullptr);
        for (int i = 0; i < 100; i++)
            assert_int_equal(end_of(child_of(by_child, (void *)(uintptr_t)&h)), 0);
        weft_thread_stop(t);
        assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
        h.end();
    }
}

// ---- at the limit of descriptors ----

static int put_at_the_limit(void *)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct rlimit full = {(rlim_t)fd, (rlim_t)fd};
    close(fd);
    if (setrlimit(RLIMIT_NOFILE, &full) != 0 || open("/dev/null", O_RDONLY) != -1)
        return 1;
    return weft_shared_queue_put(queue, "x", 1, WEFT_NOW) == 0 ? 0 : 2;
}

CASE(test_a_put_without_descriptors_is_heard)
{
    queue_begin();
    struct pollfd p = {weft_shared_queue_fd(queue), POLLIN, 0};
    assert_int_equal(end_of(child_of(put_at_the_limit, nullptr)), 0);
    assert_int_equal(poll(&p, 1, 0), 1);
    queue_end();
}

RUN_CASES(census_begin, census_end)
