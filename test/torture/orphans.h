// orphans.h: those who have lost their parent, and are the children of this process.
#ifndef WEFT_TEST_ORPHANS_H
#define WEFT_TEST_ORPHANS_H

#include <weft/thread.h>

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

// Reaps all; false: one is left that does not end.
static inline bool all_gone(void)
{
    weft_deadline d = weft_in_s(3);
    while (wait4(-1, nullptr, WNOHANG, nullptr) >= 0 || errno == EINTR) {
        if (weft_left(d) == 0)
            return false;
        usleep(100);
    }
    return true;
}

#endif
