// cgroup.h: a control group (cgroups(7), version 2) for all that descends from a program.
//
// It ends them by one write, and nobody in it can outrun that.  One is made only below ours and if
// that is marked as delegated (to us, by who manages them): elsewhere they are another's.
#ifndef WEFT_PROC_CGROUP_H
#define WEFT_PROC_CGROUP_H

namespace weft {

struct cgroup {
    int folder;      // open while it is made; -1: there is none
    char path[4096]; // empty: there is none
};

// Leaves none where that can't be.
void cgroup_make(cgroup *g);

void cgroup_kill(const cgroup *g);

// Once nobody is in it.
void cgroup_remove(cgroup *g);

} // namespace weft

#endif
