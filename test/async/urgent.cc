// What is urgent: TCP's byte out of band, and what the kernel tells once.
#include "paired.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

static int told;

static void on_event(weft_watch *w, int events, void *)
{
    char byte;
    told |= events;
    if (events & WEFT_URGENT)
        recv(w->fd, &byte, 1, MSG_OOB);
    if (events & WEFT_READ)
        recv(w->fd, &byte, 1, 0);
}

// A loop's, which runs until it has told that much.
static void is_told(weft_loop *l, int events)
{
    told = 0;
    while ((told & events) != events)
        assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(20)), 1);
    assert_int_equal(told, events);
}

PAIR_CASE(test_watch, TCP_PAIR)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_watch w = {};
    assert_errno(weft_loop_watch(l, &w, p[0], WEFT_URGENT | WEFT_EXCLUSIVE, on_event, nullptr),
                 EINVAL);
    assert_int_equal(weft_loop_watch(l, &w, p[0], WEFT_URGENT, on_event, nullptr), 0);
    put("a"); // nothing urgent
    assert_errno(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(weft_io_send(p[1], "!", 1, MSG_OOB, WEFT_FOREVER), 1);
    is_told(l, WEFT_URGENT);
    assert_int_equal(weft_watch_change(&w, WEFT_URGENT | WEFT_READ), 0);
    is_told(l, WEFT_READ);
    assert_int_equal(weft_io_send(p[1], "!", 1, MSG_OOB, WEFT_FOREVER), 1);
    is_told(l, WEFT_URGENT); // which is not among the data
    weft_loop_destroy(l);
}

static int result;

static void wait_for_urgent(void)
{
    result = weft_io_wait(p[0], WEFT_URGENT, weft_in_s(20));
}

PAIR_CASE(test_wait, TCP_PAIR)
{
    char byte = 0;
    result = 0;
    put("ab");
    assert_errno(weft_io_wait(p[0], WEFT_URGENT, WEFT_NOW), ETIMEDOUT);
    gets("ab"); // it is known as a socket now
    weft_tasklet *t = spawn(wait_for_urgent, true);
    weft_tasklet_yield();
    assert_errno(weft_io_wait(p[0], WEFT_READ, WEFT_FOREVER), EBUSY);
    put("cd");
    int64_t before = cpu_ns();
    weft_tasklet_sleep(weft_in_ms(50)); // what can be read wakes it, and it does not spin
    assert_true(cpu_ns() - before < 25000000 || RUNNER_SANITIZED || RUNNER_EMULATED);
    assert_int_equal(result, 0);
    assert_int_equal(weft_io_send(p[1], "!", 1, MSG_OOB, WEFT_FOREVER), 1);
    join(t);
    assert_int_equal(result, WEFT_URGENT);
    assert_int_equal(weft_io_wait(p[0], WEFT_URGENT | WEFT_WRITE, WEFT_FOREVER),
                     WEFT_URGENT | WEFT_WRITE);
    assert_int_equal(weft_io_recv(p[0], &byte, 1, MSG_OOB, WEFT_FOREVER), 1);
    assert_int_equal(byte, '!');
    gets("cd"); // what came meanwhile is known to be there
    assert_errno(weft_io_wait(p[0], WEFT_URGENT, weft_in_ms(2)), ETIMEDOUT);
}

// The end of a connection ends it, too.
PAIR_CASE(test_end, TCP_PAIR)
{
    weft_tasklet *t = spawn(wait_for_urgent, true);
    weft_tasklet_yield();
    weft_io_reset(p[1]);
    p[1] = -1;
    join(t);
    assert_int_equal(result, WEFT_URGENT);
    t = spawn(wait_for_urgent, true);
    weft_io_close(p[0]);
    p[0] = -1;
    join(t);
    assert_int_equal(result, -1);
}

// A change of the mounts is told to the first who asks, by poll(2) or epoll(7).
static int wait_for_a_mount(void *)
{
    p[0] = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
    weft_tasklet *t = spawn(wait_for_urgent, true);
    weft_tasklet_yield();
    if (mount("none", "/tmp", "tmpfs", 0, nullptr) != 0)
        return NOT_PERMITTED;
    weft_tasklet_join(t, nullptr, WEFT_FOREVER);
    return result == WEFT_URGENT ? 0 : 1;
}

CASE(test_mounts)
{
    int (*fn)(void) = [] {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
            return (int)NOT_PERMITTED;
        return weft_io_run(wait_for_a_mount, nullptr);
    };
    assert_int_equal(child_result(fn, "name spaces for mounts"), 0);
}

RUN_CASES()
