// Who descends from a process: all are stopped, however little patience there is.
#include "children.h"

#include <proc/family.h>

#include <sys/mman.h>
#include <sys/prctl.h>

using namespace weft;

enum { ROUNDS = 20, MOST = 400 };

// Has children as fast as it can, and counts them.
static int breed(void *births)
{
    for (int i = 0; i < MOST; i++) {
        pid_t self = getpid(), child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(getppid() == self && pause());
        }
        __atomic_add_fetch((int *)births, child > 0, __ATOMIC_SEQ_CST);
    }
    return pause();
}

// Also those that are born until their parent, which has been told to, has stopped.
CASE(test_family_stop_misses_none)
{
    int *births = (int *)mmap(nullptr, sizeof *births, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < ROUNDS; round++) {
        *births = 0;
        pid_t parent = child_of(breed, births);
        while (__atomic_load_n(births, __ATOMIC_SEQ_CST) == 0)
            usleep(10);
        family f = {};
        f.patience = weft_now() - 1;
        family_add(&f, parent);
        family_stop(&f);
        int found = (int)f.count - 1, born = __atomic_load_n(births, __ATOMIC_SEQ_CST);
        family_signal(&f, SIGKILL);
        family_free(&f);
        assert_int_equal(end_of(parent), 256 + SIGKILL);
        assert_in_range(found, born, MOST);
    }
    munmap(births, sizeof *births);
}

RUN_CASES()
