// A leash: who is held hears of its owner's exit, kill and exec, and of nothing else.
#include <base/child.h>
#include <base/leash.h>

#include "../runner.h"

using namespace weft;

enum how { EXITS, IS_KILLED, EXECUTES, LETS_GO };

// Held by the end that it polls, or by a signal to its group, in which it executes a program.
static void be_held(bool by_signal, int held, int ready)
{
    if (by_signal) {
        setpgid(0, 0);
        if (leash_join(held, true) != 0)
            _exit(1);
        fork(); // both
        (void)!write(ready, "r", 1);
        execlp("sleep", "sleep", "60", (char *)nullptr);
    }
    (void)!write(ready, "rr", 2);
    struct pollfd f = {held, 0, 0};
    poll(&f, 1, -1);
    _exit(leash_is_loose(held) ? 7 : 1);
}

// What an owner does that holds a child, once that is ready.
static void own(how ends, bool by_signal, leash *l, child *c)
{
    switch (ends) {
    case EXITS:
        _exit(0);
    case IS_KILLED:
        raise(SIGKILL);
        break;
    case EXECUTES:
        execlp("sleep", "sleep", "60", (char *)nullptr);
        break;
    case LETS_GO:
        leash_let_go(l);
        c->leads = by_signal;
        if (by_signal) // nothing has happened to it
            child_signal_group(c, SIGTERM);
        child_wait(c, WEFT_FOREVER);
        _exit(c->status == (by_signal ? SIGTERM : 7 << 8) ? 0 : 1);
    }
    _exit(1);
}

// Starts an owner, which holds children that sleep; the owner's end comes as told.  Returns when
// they have ended.
static void hold_until(how owner_ends, bool by_signal)
{
    int held = -1, report[2], over[2], ready[2];
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    assert_int_equal(pipe2(over, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    child owner;
    pid_t pid = child_fork(&owner);
    assert_true(pid >= 0);
    if (pid == 0) {
        leash l;
        child c;
        char letters[2];
        if ((by_signal ? leash_keep(&l, SIGKILL) : leash_make(&l, &held)) != 0)
            _exit(1);
        leash_passed = &l;
        leash_joins = by_signal;
        pid = child_fork(&c);
        leash_passed = nullptr;
        leash_joins = false;
        if (pid != 0)
            leash_await_join();
        if (pid < 0)
            _exit(1);
        if (pid == 0) {
            // `report` stays open as long as this process, or the program it becomes.
            fcntl(report[1], F_SETFD, 0);
            be_held(by_signal, by_signal ? l.kept : held, ready[1]);
        }
        close_keep_errno(&held);
        // A third process, which was forked after it and lives on, does not keep it.
        if (fork() == 0) {
            char letter;
            close(report[1]);
            close(over[1]);
            (void)!read(over[0], &letter, 1);
            _exit(0);
        }
        close(report[1]);
        for (int i = 0; i < 2; i++)
            (void)!read(ready[0], letters, 1);
        own(owner_ends, by_signal, &l, &c);
    }
    close(report[1]);
    char letter;
    assert_int_equal(read(report[0], &letter, 1), 0); // their end
    close(report[0]);
    close(over[0]);
    close(over[1]);
    close(ready[0]);
    close(ready[1]);
    if (owner_ends == EXECUTES)
        child_signal(&owner, SIGKILL);
    assert_int_equal(child_wait(&owner, WEFT_FOREVER), 0);
    if (owner_ends == LETS_GO)
        assert_int_equal(owner.status, 0);
    child_close(&owner);
}

CASE(test_owner_exits)
{
    hold_until(EXITS, false);
    hold_until(EXITS, true);
}

CASE(test_owner_is_killed)
{
    hold_until(IS_KILLED, false);
    hold_until(IS_KILLED, true);
}

CASE(test_owner_executes)
{
    hold_until(EXECUTES, false);
    hold_until(EXECUTES, true);
}

CASE(test_owner_lets_go)
{
    hold_until(LETS_GO, false);
    hold_until(LETS_GO, true);
}

// Who comes too late is told.
CASE(test_join_after_the_end)
{
    leash l;
    assert_int_equal(leash_keep(&l, SIGURG), 0);
    int kept = fcntl(l.kept, F_DUPFD_CLOEXEC, 0);
    leash_let_go(&l);
    assert_errno(leash_join(kept, false), ESRCH);
}

CASE(test_loose)
{
    leash l;
    int held = -1;
    assert_int_equal(leash_make(&l, &held), 0);
    assert_false(leash_is_loose(held));
    leash_let_go(&l);
    leash_let_go(&l);
    assert_true(leash_is_loose(held));
    close(held);
}

static bool late;

static void child_is_late(void)
{
    if (late)
        usleep(50000);
}

static int before_the_first(void **)
{
    return pthread_atfork(nullptr, nullptr, child_is_late); // is called before the leashes' own
}

// Who forks may end at once: the child has no copy any more.
CASE(test_fork_returns_when_the_child_has_none)
{
    leash l;
    int held = -1;
    assert_int_equal(leash_make(&l, &held), 0);
    late = true;
    pid_t child = runner_fork();
    late = false;
    if (child == 0)
        _exit(pause());
    leash_let_go(&l);
    assert_true(leash_is_loose(held));
    close(held);
    kill_and_reap(child);
}

// ... and is held before the owner goes on, if it is to be.
CASE(test_owner_waits_until_the_child_has_joined)
{
    leash l;
    assert_int_equal(leash_keep(&l, SIGURG), 0);
    leash_passed = &l;
    leash_joins = true;
    pid_t child = runner_fork();
    leash_passed = nullptr;
    leash_joins = false;
    if (child == 0) {
        usleep(50000);
        _exit(leash_join(l.kept, false) == 0 ? pause() : 1);
    }
    leash_await_join();
    assert_int_equal(fcntl(l.kept, F_GETOWN), child);
    leash_let_go(&l);
    kill_and_reap(child);
}

RUN_CASES(before_the_first)
