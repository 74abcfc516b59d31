// terminal.h: a pseudo-terminal.
#ifndef WEFT_TEST_TERMINAL_H
#define WEFT_TEST_TERMINAL_H

#include "../runner.h"

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>

// [0] is the master, [1] the slave; neither has O_NONBLOCK.  As a program finds its terminal, but
// that nothing is changed on the way if it is `raw`.
static inline void make_terminal(int q[2], bool raw)
{
    char name[64];
    struct termios t;
    q[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(q[0] >= 0);
    assert_int_equal(unlockpt(q[0]), 0);
    assert_int_equal(ptsname_r(q[0], name, sizeof name), 0);
    q[1] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(q[1] >= 0);
    assert_int_equal(tcgetattr(q[1], &t), 0);
    if (raw)
        cfmakeraw(&t);
    t.c_lflag &= ~(tcflag_t)ECHO;
    assert_int_equal(tcsetattr(q[1], TCSANOW, &t), 0);
}

#endif
