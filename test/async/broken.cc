// What holds when the kernel gives no more: a set that fails, and no descriptor for a wake.
#include "inside.h"

#include <weft/executor.h>
#include <weft/file.h>
#include <weft/offload.h>
#include <weft/queue.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>

// ---- The set fails ----

static weft_queue *queue;
static weft_executor *executor;
static weft_event event;
static weft_mutex mutex;
static int p[2], seen, as_said;

// It counts how many waits ended as they should.
static void note(bool ended_well)
{
    seen++;
    as_said += ended_well;
}

static bool is_cancelled(ssize_t result)
{
    return result == -1 && errno == ECANCELED;
}

static void *hang(void *)
{
    weft_event_wait(&event, WEFT_FOREVER);
    return nullptr;
}

// Each wait fails, and so does the next.
static void (*const waits[])(void) = {
    [] {
        char c;
        note(is_cancelled(weft_io_read(p[0], &c, 1, WEFT_FOREVER)) &&
             is_cancelled(weft_io_read(p[0], &c, 1, WEFT_FOREVER)));
    },
    [] { note(is_cancelled(weft_io_wait(p[1], WEFT_READ, WEFT_FOREVER))); },
    [] {
        int item;
        note(is_cancelled(weft_queue_get(queue, &item, WEFT_FOREVER)) &&
             is_cancelled(weft_queue_get(queue, &item, WEFT_FOREVER)));
    },
    [] { note(is_cancelled(weft_offload(hang, nullptr, nullptr, WEFT_FOREVER))); },
    [] { note(is_cancelled(weft_tasklet_sleep(WEFT_FOREVER))); },
    // What must come to its end does.
    [] { note(weft_mutex_lock(&mutex, WEFT_FOREVER) == 0 && weft_mutex_unlock(&mutex) == 0); },
    [] { note(weft_executor_destroy(executor) == 0); },
};

enum { WAITS = sizeof waits / sizeof *waits };

static void *call(void *wait)
{
    ((void (*)(void))wait)();
    return nullptr;
}

static void close_sets(void)
{
    char name[64], what[64];
    for (int fd = 3; fd < 100; fd++) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(name, what, sizeof what - 1);
        what[n > 0 ? n : 0] = 0;
        if (strstr(what, "eventpoll") != nullptr)
            close(fd);
    }
}

static int lose_set(void *waits_too)
{
    int item;
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    for (auto wait : waits)
        spawn(call, (void *)wait);
    for (int i = 0; i < 100; i++)
        weft_tasklet_yield();
    close_sets();
    if (waits_too != nullptr)
        note(is_cancelled(weft_queue_get(queue, &item, WEFT_FOREVER)));
    else
        while (seen == 0)
            weft_tasklet_yield();
    weft_mutex_unlock(&mutex);
    weft_event_set(&event);
    return 0;
}

static int fail_in_run(void *waits_too)
{
    make_pair(UNIX_PAIR, p);
    seen = as_said = 0;
    queue = weft_queue_create(sizeof(int), 0, nullptr);
    weft_event_init(&event);
    executor = weft_executor_create(1, nullptr);
    weft_future_release(weft_executor_submit(executor, hang, nullptr, WEFT_NOW));
    int result = weft_io_run(lose_set, waits_too);
    if (result != -1 || errno != EBADF || as_said != seen ||
        seen != WAITS + (waits_too != nullptr) || weft_queue_destroy(queue) != 0) {
        print_message("%d, %s: %d of %d\n", result, strerror(errno), as_said, seen);
        return 1;
    }
    return weft_io_run([](void *) { return 0; }, nullptr);
}

// All that wait are cancelled, and weft_io_run says why.
CASE(test_a_set_that_fails)
{
    forks_coroutines();
    assert_int_equal(end_of(child_of(fail_in_run, nullptr)), 0);
    assert_int_equal(end_of(child_of(fail_in_run, &p)), 0);
}

static pid_t child;

static int end_without_set(void *)
{
    struct rlimit none = {0, 0};
    spawn(call, (void *)waits[0]);
    spawn(call, (void *)waits[2]);
    weft_tasklet_yield();
    child = runner_fork();
    if (child == 0)
        return setrlimit(RLIMIT_NOFILE, &none);
    for (int i = 0; i < 2; i++)
        weft_io_write(p[1], "a", 1, WEFT_FOREVER);
    weft_queue_close(queue, WEFT_DRAIN);
    return 0;
}

// A child that can have no set of its own.
CASE(test_no_descriptor_for_a_set)
{
    forks_coroutines();
    make_pair(UNIX_PAIR, p);
    seen = as_said = 0;
    queue = weft_queue_create(sizeof(int), 0, nullptr);
    int result = weft_io_run(end_without_set, nullptr), error = errno;
    if (child == 0)
        _exit(result != -1 || error != EMFILE ? 1 : as_said != 2);
    assert_int_equal(result, 0);
    assert_int_equal(seen, 2);
    assert_int_equal(end_of(child), 0);
    assert_int_equal(weft_queue_destroy(queue), 0);
    close(p[0]);
    close(p[1]);
}

// ---- No descriptor for a wake ----

static int result_of_get;

static void get_item(void)
{
    int item = 0;
    result_of_get = weft_queue_get(queue, &item, WEFT_FOREVER) == 0 ? item : -1;
}

static int get_without_descriptors(void *)
{
    struct rlimit before, none;
    int item = 7;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    if (setrlimit(RLIMIT_NOFILE, &none) != 0)
        return 1;
    weft_tasklet *t = spawn(get_item, true);
    for (int i = 0; i < 3; i++)
        weft_tasklet_sleep(weft_in_ms(3)); // others go on
    if (result_of_get != 0)
        return 2;
    weft_queue_put(queue, &item, WEFT_NOW);
    join(t);
    if (result_of_get != 7)
        return 3;
    t = spawn(get_item, true);
    weft_tasklet_yield();
    weft_tasklet_cancel(t);
    join(t);
    setrlimit(RLIMIT_NOFILE, &before);
    return result_of_get == -1 ? 0 : 4;
}

INSIDE_CASE(test_no_descriptor_for_a_wake)
{
    queue = weft_queue_create(sizeof(int), 0, nullptr);
    result_of_get = 0;
    assert_int_equal(get_without_descriptors(nullptr), 0);
    assert_int_equal(weft_queue_destroy(queue), 0);
}

RUN_CASES()
