// The options of children that run a function: name, session, group, descriptors, whom they
// outlive.
#include "process_children.h"

#include <weft/pool.h>
#include <weft/shared_queue.h>
#include <weft/shm.h>

#include <poll.h>
#include <sys/prctl.h>

static int report_self(void *)
{
    prctl(PR_GET_NAME, shared->name);
    shared->pid = getsid(0);
    shared->other = getpgrp();
    say_ready();
    return wait_for_signal(nullptr);
}

CASE(test_options_name_session_group)
{
    weft_process_options o = {};
    o.name = "a name that is too long";
    o.flags = WEFT_PROCESS_NEW_SESSION;
    fresh();
    weft_process *p = weft_process_start(report_self, nullptr, &o);
    assert_non_null(p);
    await_ready(1);
    assert_string_equal(shared->name, "a name that is ");
    assert_int_equal(shared->pid, weft_process_pid(p));
    end(p);
    fresh();
    o.flags = WEFT_PROCESS_NEW_GROUP;
    p = weft_process_start(report_self, nullptr, &o);
    assert_non_null(p);
    await_ready(1);
    assert_int_equal(shared->pid, getsid(0));
    assert_int_equal(shared->other, weft_process_pid(p));
    end(p);
}

static int have_a_child(void *)
{
    if (fork() == 0)
        for (say_ready();;)
            pause();
    say_ready();
    return wait_for_signal(nullptr);
}

// The signal reaches the grandchild too: it held the pipe's write end.
CASE(test_signals_reach_the_group)
{
    static const int flags[] = {WEFT_PROCESS_NEW_GROUP, WEFT_PROCESS_NEW_SESSION};
    for (int flag : flags) {
        weft_process_options o = {};
        o.flags = flag;
        int held[2];
        char byte;
        fresh();
        assert_int_equal(pipe2(held, O_CLOEXEC), 0);
        weft_process *p = weft_process_start(have_a_child, nullptr, &o);
        close(held[1]);
        await_ready(2);
        end(p);
        assert_int_equal(read(held[0], &byte, 1), 0);
        close(held[0]);
    }
}

// A signal sent at once finds its target, whatever the child has come to.
CASE(test_kill_at_once)
{
    weft_process_options o = {};
    for (int i = 0; i < 60; i++) {
        static const int flags[] = {0, WEFT_PROCESS_NEW_GROUP, WEFT_PROCESS_NEW_SESSION,
                                    WEFT_PROCESS_DIE_WITH_PARENT};
        o.flags = flags[i % 4];
        weft_process *p = weft_process_start(wait_for_signal, nullptr, &o);
        assert_non_null(p);
        end(p);
    }
}

static int look_at_descriptors(void *arg)
{
    for (int i = 0; i < 4; i++)
        shared->flags[i] = fcntl(((int *)arg)[i], F_GETFD) >= 0;
    return 0;
}

CASE(test_keep_descriptors)
{
    int fds[4];
    for (int &fd : fds)
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int keep[2] = {fds[3], fds[1]};
    weft_process_options o = {};
    o.flags = WEFT_PROCESS_CLOSE_OTHERS | WEFT_PROCESS_DIE_WITH_PARENT;
    o.keep = keep;
    o.keep_count = 2;
    for (int close_others = 0; close_others < 2; close_others++) {
        weft_process *p = weft_process_start(look_at_descriptors, fds, close_others ? &o : nullptr);
        int status = -1;
        assert_int_equal(weft_process_join(p, &status, WEFT_FOREVER), 0);
        assert_int_equal(status, 0);
        for (int i = 0; i < 4; i++)
            assert_int_equal(shared->flags[i], !close_others || i == 1 || i == 3);
        weft_process_destroy(p);
    }
    for (int fd : fds)
        close(fd);
}

static void *start_two_and_end(void *arg)
{
    weft_process_options o = {};
    o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
    weft_process **p = (weft_process **)arg;
    p[0] = weft_process_start(wait_for_signal, nullptr, &o);
    p[1] = weft_process_start(wait_for_signal, nullptr, &o);
    return nullptr;
}

// A parent whose children were started by a thread that has ended: they must live on
// until the parent dies.
static int be_a_parent(void *)
{
    weft_process *p[2];
    weft_thread *t = weft_thread_start(start_two_and_end, p, nullptr);
    if (t == nullptr || weft_thread_join(t, nullptr, WEFT_FOREVER) != 0)
        return 1;
    shared->pid = weft_process_pid(p[0]);
    shared->other = weft_process_pid(p[1]);
    shared->flags[0] = weft_process_poll(p[0], NULL) == 0 && weft_process_poll(p[1], NULL) == 0;
    say_ready();
    return wait_for_signal(nullptr);
}

CASE(test_die_with_parent)
{
    int held[2];
    char byte;
    fresh();
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    weft_process *parent = weft_process_start(be_a_parent, nullptr, nullptr);
    assert_non_null(parent);
    close(held[1]);
    await_ready(1);
    assert_true(shared->flags[0]);
    assert_int_equal(kill(shared->pid, 0), 0);
    assert_int_equal(kill(shared->other, 0), 0);
    end(parent);
    // The pipe is closed when both are gone: the second did not keep the first alive.
    struct pollfd f = {held[0], POLLIN, 0};
    assert_int_equal(poll(&f, 1, 1000), 1);
    assert_int_equal(read(held[0], &byte, 1), 0);
    close(held[0]);
}

static int do_nothing(void *)
{
    return 0;
}

static int make_all(void *)
{
    weft_process_options o = {};
    o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
    weft_process *p = weft_process_start(do_nothing, nullptr, &o);
    weft_pool *pool = weft_pool_create(1, nullptr);
    weft_shm *s = weft_shm_create(nullptr, 1 << 20, nullptr);
    weft_shared_queue *q = s != nullptr ? weft_shared_queue_create(s, 1 << 16, nullptr) : nullptr;
    bool well = p != nullptr && pool != nullptr && weft_pool_fd(pool) >= 0 && s != nullptr &&
                q != nullptr && weft_shared_queue_fd(q) >= 0;
    return well ? 0 : 9;
}

// A stream that is opened later, or printed to, is not one of these.
CASE(test_streams_stay_closed)
{
    assert_int_equal(end_of(child_of(end_without_streams, (void *)make_all)), 0);
}

RUN_CASES(share)
