// spawn.h: from a prepared plan to a running program.
//
// All that needs memory, locks or a look at the environment is done before the
// child exists; the child only makes system calls.
#ifndef WEFT_PROC_SPAWN_H
#define WEFT_PROC_SPAWN_H

#include <base/close_others.h>
#include <weft/subprocess.h>

namespace weft {

enum { CPU_WORDS = 128 }; // 8192 processors

struct spawn_plan {
    // Read by the child.
    const weft_subprocess_options *opts;
    char *const *argv;
    char *const *envp;
    char *candidates; // the paths to try, each ended by a NUL, the last by two
    int source[3];    // what becomes 0, 1 and 2; -1: what is there now
    int *keep; // sorted: the descriptors above 2 that stay open; with a free place at its end
    size_t keep_count;
    int *from;       // the child's: where each descriptor of opts->map is until it gets its number
    char **script;   // argv for /bin/sh; the child fills in the path
    int *report;     // where a child on a copy of our memory tells of its failure: stage and errno
    int report_pipe; // the same where such a child does not hold us up; -1: a pipe is not needed
    const int
        *leash;     // what it is held by, and the other end, which it must not keep; null: nothing
    int terminal;   // which of its streams is the terminal of its session; -1: none
    int foreground; // a terminal, of which its group is to be the foreground; -1: none
    rlim_t descriptors; // the limit of their numbers, before the child's own limits
    unsigned long cpus[CPU_WORDS];
    bool handlers_cleared; // by clone3
    int cgroup;            // a folder: it is born in this control group, if it may be; -1: in ours
    pid_t warden_of; // its parent is its warden, which it is not to outlive, in this group; 0: no
    // plan.cc's.
    char **environment;
    // Written by the child when it fails.
    int stage, error;
};

// What the kernel is taken not to have: for the tests of the fallbacks.
enum {
    NO_CLONE3 = 1,
    NO_PIDFD = 2,
    // NO_CLOSE_RANGE, NO_PROC: 4 and 8, of close_others.h
    NO_SHARING = 16 // clone(CLONE_VM) copies, as under Valgrind and qemu-user
};

extern int spawn_without;

// Whether opts->map gives a descriptor this number.
PLAIN static inline bool is_mapped(const weft_subprocess_options *o, int fd)
{
    for (size_t i = 0; i < o->map_count; i++)
        if (o->map[i].as == fd)
            return true;
    return false;
}

// Becomes the program.  Returns never: exits with 127 after reporting a failure.
[[noreturn]] void spawn_child(void *plan);

// Sets *word to 1 and exits: whether our memory changes tells if a child shares it.
[[noreturn]] void spawn_probe(void *word);

// Starts the plan.  0: it runs, *pid and *pidfd (or -1) are set; else -1, errno and
// plan->stage tell, and nothing is left of the child.
int spawn_start(struct spawn_plan *plan, pid_t *pid, int *pidfd);

} // namespace weft

#endif
