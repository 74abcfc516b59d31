// family.h: who descends from a process, as /proc tells, and signals to all of them.
//
// A child whose parent has ended belongs to init, or to the nearest subreaper, and nothing tells of
// whom it was.  So who is to be ended as a whole is stopped first, from the top: who is stopped can
// neither start another nor end.
#ifndef WEFT_PROC_FAMILY_H
#define WEFT_PROC_FAMILY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <weft/deadline.h>

namespace weft {

// A process is known by its number and the time of its birth, for the number may be another's soon.
struct relative {
    pid_t pid, parent, group;
    uint64_t born;
    char state; // as /proc/PID/stat has it: R, S, D, T, t, Z, ...
};

// Start from {}, with `root`, which is not a member itself, or members added, or both.
struct family {
    pid_t root;
    relative *members;
    size_t count, room;
    weft_deadline patience; // of family_stop; 0: its own
};

// Adds a process, if it is there.
void family_add(family *f, pid_t pid);

// Looks who is there now: members that are gone are forgotten, their descendants and the root's are
// added.  How many can run; 0 also where there is no /proc.
size_t family_look(family *f);

// To all that were there at the last look.
void family_signal(const family *f, int signal);

// Looks again and again, and stops all, until there is none that runs: until it has stopped, it may
// be about to start another.  With some patience, for one may sleep in the kernel, or have another
// user's rights.
void family_stop(family *f);

void family_free(family *f);

// Whether somebody in a process group can run: whom nobody has reaped yet does not count.  True
// also where there is no /proc.
bool group_lives(pid_t group);

} // namespace weft

#endif
