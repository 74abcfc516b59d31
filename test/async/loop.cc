// loop.cc: running and stopping; who may call what.  Tasks, the detector, and loops in loops and in
// children have files of their own.
#include "looped.h"

#include <weft/thread.h>

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

CASE(test_create_options)
{
    weft_loop_options o = {};
    o.batch = -1;
    assert_errno(weft_loop_create(&o), EINVAL);
    o.batch = 1;
    o.blocked_ns = -1;
    assert_errno(weft_loop_create(&o), EINVAL);
    assert_int_equal(weft_loop_destroy(nullptr), 0);
}

LOOP_CASE(test_create_without_descriptors)
{
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    int next = next_descriptor();
    for (rlim_t room = 0; room < 2; room++) { // no epoll; no eventfd
        none.rlim_cur = (rlim_t)next + room;
        setrlimit(RLIMIT_NOFILE, &none);
        errno = 0;
        weft_loop *none_made = weft_loop_create(nullptr);
        int error = errno;
        setrlimit(RLIMIT_NOFILE, &before);
        assert_null(none_made);
        assert_int_equal(error, EMFILE);
    }
}

LOOP_CASE(test_run_with_nothing)
{
    errno = 7;
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_FOREVER), 0);
    assert_int_equal(errno, 7);
    assert_errno(weft_loop_run(l, 2, WEFT_FOREVER), EINVAL);
}

static void ends_at(int how, weft_deadline d)
{
    assert_errno(weft_loop_run(l, how, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
}

LOOP_CASE(test_run_deadline)
{
    assert_int_equal(weft_loop_hold(l, 1), 0);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_NOW), ETIMEDOUT);
    assert_true(quiet());
    ends_at(WEFT_LOOP_ONCE, weft_in_ms(5));
    ends_at(WEFT_LOOP_ALL, weft_in_us(300));
    assert_int_equal(weft_loop_hold(l, -1), 0);
    assert_int_equal(run_all(), 0);
}

LOOP_CASE(test_run_deadline_old_kernel)
{
    events_exact = false;
    weft_loop_hold(l, 1);
    ends_at(WEFT_LOOP_ALL, weft_in_us(2300));
    assert_int_equal(weft_loop_watch(l, &h.w, p[0], WEFT_READ, count_watch, &calls), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
    assert_false(events_exact);
    events_exact = true;
}

LOOP_CASE(test_hold_excuses_a_watch)
{
    assert_int_equal(weft_loop_watch(l, &h.w, p[0], WEFT_READ, count_watch, &calls), 0);
    assert_int_equal(weft_loop_hold(l, -1), 0);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 0);
    loop_destroy();
    assert_null(h.w.loop);
}

// It is only what keeps ALL running that it is taken from: who runs the loop by its descriptor gets
// to what is ready.
LOOP_CASE(test_hold_leaves_once_alone)
{
    assert_int_equal(weft_loop_watch(l, &h.w, p[1], WEFT_WRITE, count_watch, &calls), 0);
    assert_int_equal(weft_loop_hold(l, -1), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    assert_int_equal(calls, 1);
}

LOOP_CASE(test_stop_in_a_callback)
{
    weft_task s = task([](weft_task *, void *) { weft_loop_stop(l); }),
              after = task(count_task, &calls);
    weft_loop_hold(l, 1);
    assert_int_equal(weft_loop_defer(l, &s), 0);
    assert_int_equal(weft_loop_defer(l, &after), 0);
    assert_int_equal(run_all(), 1);
    assert_int_equal(calls, 1); // what was in the round ran
    // Stopped before it runs: the next run ends at once, the one after doesn't.
    weft_loop_stop(l);
    assert_int_equal(run_all(), 1);
    weft_loop_hold(l, -1);
    assert_int_equal(run_all(), 0);
}

static int error_of(int result)
{
    return result == -1 ? errno : 0;
}

static void misuse_it(weft_task *, void *arg)
{
    int *errors = (int *)arg;
    errors[0] = error_of(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW));
    errors[1] = error_of(weft_loop_destroy(l));
    errors[2] = error_of(weft_loop_own(l));
}

LOOP_CASE(test_run_inside_of_itself)
{
    int errors[3] = {};
    weft_task t = task(misuse_it, errors);
    weft_loop_defer(l, &t);
    assert_int_equal(run_all(), 0);
    assert_int_equal(errors[0], EBUSY);
    assert_int_equal(errors[1], EBUSY);
    assert_int_equal(errors[2], EBUSY);
}

// ---- Threads ----

static void nothing_signal(weft_signal *, void *)
{
}
static void nothing_child(weft_child *, int, void *)
{
}
static void nothing_listener(weft_listener *, int fd, void *)
{
    close(fd);
}

#define REFUSED(call)                                                                              \
    do {                                                                                           \
        if ((call) != -1 || errno != EPERM)                                                        \
            return (void *)(uintptr_t)(#call);                                                     \
    } while (0)

// The call that was not refused, as text; null: all were.
static void *call_them_all(void *)
{
    struct handles mine = {};
    weft_loop_counters stats;
    mine.t = task(count_task);
    REFUSED(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW));
    REFUSED(weft_loop_destroy(l));
    REFUSED(weft_loop_hold(l, 1));
    REFUSED(weft_loop_fd(l));
    REFUSED(weft_loop_statistics(l, &stats));
    REFUSED(weft_loop_watch(l, &mine.w, p[1], WEFT_READ, count_watch, nullptr));
    REFUSED(weft_watch_change(&h.w, 0));
    REFUSED(weft_loop_unwatch(&h.w));
    REFUSED(weft_loop_arm(l, &mine.a, 0, count_alarm, nullptr, 1));
    REFUSED(weft_loop_arm(l, &mine.a, 0, count_alarm, nullptr, 1));
    REFUSED(weft_alarm_set(&h.a, 1));
    REFUSED(weft_loop_disarm(&h.a));
    REFUSED(weft_loop_watch_signal(l, &mine.s, SIGUSR1, nothing_signal, nullptr));
    REFUSED(weft_loop_unwatch_signal(&h.s));
    REFUSED(weft_loop_watch_child(l, &mine.c, getpid(), nothing_child, nullptr));
    REFUSED(weft_loop_watch_child_fd(l, &mine.c, h.c.watch.fd, nothing_child, nullptr));
    REFUSED(weft_loop_unwatch_child(&h.c));
    REFUSED(weft_loop_defer(l, &mine.t));
    REFUSED(weft_loop_idle(l, &mine.t));
    REFUSED(weft_task_cancel(&h.t));
    REFUSED(weft_loop_listen(l, &mine.li, h.li.watch.fd, nothing_listener, nullptr));
    REFUSED(weft_loop_unlisten(&h.li));
    return nullptr;
}

LOOP_CASE(test_calls_from_another_thread)
{
    void *not_refused;
    struct sockaddr any = {AF_UNIX, ""}; // the kernel gives it a name
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, &any, sizeof any.sa_family), 0);
    assert_int_equal(listen(listener, 1), 0);
    h.t = task(count_task);
    assert_int_equal(weft_loop_watch(l, &h.w, p[0], WEFT_READ, count_watch, nullptr), 0);
    assert_int_equal(weft_loop_arm(l, &h.a, 0, count_alarm, nullptr, weft_in_s(60)), 0);
    assert_int_equal(weft_loop_watch_signal(l, &h.s, SIGUSR1, nothing_signal, nullptr), 0);
    assert_int_equal(weft_loop_watch_child(l, &h.c, getpid(), nothing_child, nullptr), 0);
    assert_int_equal(weft_loop_listen(l, &h.li, listener, nothing_listener, nullptr), 0);
    assert_int_equal(weft_loop_idle(l, &h.t), 0);
    weft_thread *t = weft_thread_start(call_them_all, nullptr, nullptr);
    assert_int_equal(weft_thread_join(t, &not_refused, WEFT_FOREVER), 0);
    if (not_refused != nullptr)
        fail_msg("not refused: %s", (char *)not_refused);
    loop_destroy(); // with all of it still there
    assert_null(h.w.loop);
    assert_null(h.a.loop);
    assert_null(h.s.loop);
    assert_null(h.c.watch.loop);
    assert_null(h.li.watch.loop);
    close(listener);
}

static void *own_and_run(void *)
{
    return weft_loop_own(l) == 0 && run_all() == 0 ? l : nullptr;
}

LOOP_CASE(test_own_hands_over)
{
    weft_loop_arm(l, &h.a, 0, count_alarm, &calls, weft_in_ms(1));
    void *result = nullptr;
    weft_thread *t = weft_thread_start(own_and_run, nullptr, nullptr);
    assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, l);
    assert_int_equal(calls, 1);
    assert_errno(weft_loop_destroy(l), EPERM);
    assert_int_equal(weft_loop_own(l), 0);
}

static int make_all(void *)
{
    static weft_signal s;
    static weft_child c;
    weft_loop *own = weft_loop_create(nullptr);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    bool well = own != nullptr && weft_loop_fd(own) >= 0 &&
                weft_loop_watch_signal(
                    own, &s, SIGUSR1, [](weft_signal *, void *) {}, nullptr) == 0 &&
                weft_loop_watch_child(
                    own, &c, child, [](weft_child *, int, void *) {}, nullptr) == 0;
    return well ? 0 : 9;
}

CASE(test_streams_stay_closed)
{
    assert_int_equal(end_of(child_of(end_without_streams, (void *)make_all)), 0);
}

// What is to be given memory gets none.
LOOP_CASE(test_null_things)
{
    auto on_watch = [](weft_watch *, int, void *) {};
    auto on_alarm = [](weft_alarm *, void *) {};
    auto on_signal = [](weft_signal *, void *) {};
    auto on_child = [](weft_child *, int, void *) {};
    auto on_connection = [](weft_listener *, int, void *) {};
    assert_errno(weft_loop_watch(l, nullptr, 0, WEFT_READ, on_watch, nullptr), EINVAL);
    assert_errno(weft_loop_arm(l, nullptr, 0, on_alarm, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_loop_watch_signal(l, nullptr, SIGUSR1, on_signal, nullptr), EINVAL);
    assert_errno(weft_loop_watch_child(l, nullptr, getpid(), on_child, nullptr), EINVAL);
    assert_errno(weft_loop_watch_child_fd(l, nullptr, 0, on_child, nullptr), EINVAL);
    assert_errno(weft_loop_listen(l, nullptr, 0, on_connection, nullptr), EINVAL);
    assert_errno(weft_loop_post(l, nullptr), EINVAL);
    assert_errno(weft_loop_defer(l, nullptr), EINVAL);
    assert_errno(weft_loop_idle(l, nullptr), EINVAL);
    assert_errno(weft_loop_statistics(l, nullptr), EINVAL);
    assert_errno(weft_loop_blocked(l, nullptr), EINVAL);
    assert_int_equal(run_all(), 0);
}

RUN_CASES()
