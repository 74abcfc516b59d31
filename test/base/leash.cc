// A leash: who is held hears of its owner's exit, kill and exec, and of nothing else.
#include <base/child.h>
#include <base/leash.h>

#include "../runner.h"

using namespace weft;

enum how { EXITS, IS_KILLED, EXECUTES, LETS_GO };

// Starts an owner, which holds a child that sleeps; the owner's end comes as told.  Whether the
// child ended by the signal then.
static void hold_until(how owner_ends, bool through_exec)
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
        if (leash_make(&l, &held) != 0 || (pid = child_fork(&c)) < 0)
            _exit(1);
        if (pid == 0) {
            // `report` stays open as long as this process, or the program it becomes.
            fcntl(report[1], F_SETFD, 0);
            if (leash_hold(held, SIGKILL, through_exec) != 0)
                _exit(1);
            (void)!write(ready[1], "r", 1);
            if (through_exec)
                execlp("sleep", "sleep", "60", (char *)nullptr);
            for (;;)
                pause();
        }
        close(held);
        // A third process, which was forked after it and lives on, does not keep it.
        if (fork() == 0) {
            char letter;
            close(report[1]);
            close(over[1]);
            (void)!read(over[0], &letter, 1);
            _exit(0);
        }
        close(report[1]);
        char letter;
        (void)!read(ready[0], &letter, 1);
        switch (owner_ends) {
        case EXITS:
            _exit(0);
        case IS_KILLED:
            raise(SIGKILL);
            break;
        case EXECUTES:
            execlp("sleep", "sleep", "60", (char *)nullptr);
            break;
        case LETS_GO:
            leash_let_go(&l);
            child_wait(&c, WEFT_FOREVER);
            _exit(c.status == SIGKILL ? 0 : 1);
        }
        _exit(1);
    }
    close(report[1]);
    char letter;
    assert_int_equal(read(report[0], &letter, 1), 0); // its end
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

RUN_CASES()
