// spawn.h: from a prepared plan to a running program.
//
// All that needs memory, locks or a look at the environment is done before the
// child exists; the child only makes system calls.
#ifndef WEFT_PROC_SPAWN_H
#define WEFT_PROC_SPAWN_H

#include <weft/subprocess.h>

enum { WEFT_PRIVATE_CPU_WORDS = 128 }; // 8192 processors

struct weft_private_spawn {
    // Read by the child.
    const weft_subprocess_options *opts;
    char *const *argv;
    char *const *envp;
    const char *candidates; // the paths to try, each ended by a NUL, the last by two
    int source[3];          // what becomes 0, 1 and 2; -1: what is there now
    const int *keep;        // sorted: the descriptors above 2 that stay open
    size_t keep_count;
    int report; // where a forked child writes its error; -1: it shares our memory
    pid_t parent;
    rlim_t descriptors; // the limit of their numbers, before the child's own limits
    unsigned long cpus[WEFT_PRIVATE_CPU_WORDS];
    bool handlers_cleared; // by clone3
    // Written by the child when it fails.
    int stage, error;
};

// What the kernel is taken not to have: for the tests of the fallbacks.
enum {
    WEFT_PRIVATE_NO_CLONE3 = 1,
    WEFT_PRIVATE_NO_PIDFD = 2,
    WEFT_PRIVATE_NO_CLOSE_RANGE = 4,
    WEFT_PRIVATE_NO_PROC = 8,
    WEFT_PRIVATE_NO_SHARING = 16 // clone(CLONE_VM) copies, as under Valgrind and qemu-user
};

#ifdef __cplusplus
extern "C" {
#endif

extern int weft_private_spawn_without;

// Becomes the program.  Returns never: exits with 127 after reporting a failure.
[[noreturn]] void weft_private_spawn_child(void *plan);

// Sets *word to 1 and exits: whether our memory changes tells if a child shares it.
[[noreturn]] void weft_private_spawn_probe(void *word);

// Starts the plan.  0: it runs, *pid and *pidfd (or -1) are set; else -1, errno and
// plan->stage tell, and nothing is left of the child.
int weft_private_spawn_start(struct weft_private_spawn *plan, pid_t *pid, int *pidfd);

#ifdef __cplusplus
}
#endif

#endif
