// map.h: the commands of a weft_subprocess_map, and what has become of them.
//
// A command is in `running`, or in the list `waiting` to be started (again), or has ended; with
// reports in order it is also in the queue from `first` on, from the time it was given until then.
#ifndef WEFT_PROC_MAP_H
#define WEFT_PROC_MAP_H

#include <weft/subprocess_map.h>

#include "pump.h"

namespace weft {

struct command {
    flow f; // first: what pump_round is given are these
    weft_subprocess_command what;
    weft_subprocess_options o;
    size_t i;
    weft_subprocess *p;   // it runs
    weft_buffer wrote[2]; // to streams 1 and 2
    int status, error, tries;
    bool incomplete;
    bool killed; // SIGKILL was sent: at `due` nobody waits for its end any more
    struct rusage usage;
    int64_t start, end; // end 0: not ended
    weft_deadline due;  // when it is to be ended; with an error: killed
    command *after;     // in the queue
    command *later;     // in `waiting` or `spare`
};

struct batch {
    const weft_subprocess_map_options *how;
    const weft_subprocess_options *opts;
    const char *const *const *argvs;
    size_t n, next, jobs;
    bool all_given, asked;  // asked: the source has none until next_fd says so
    weft_deadline again;    // the system had no room for one more: when to try again; 0: it had
    int64_t pause;          // in milliseconds, until then
    weft_deadline patience; // ... while none of ours run; 0: it has not begun
    bool halted;            // as `ended` answered
    bool bounded;           // the call has a deadline
    bool silent;            // nothing more is told
    int error;
    ssize_t failed;
    flow **running;
    struct pollfd *fds;     // that of the source, then those of the flows
    size_t count, room;     // of `running`
    command *first, **last; // of the queue
    size_t queued, kept;    // how many, and the bytes of those that have ended
    command *waiting, *spare;
};

static inline command *command_of(flow *f)
{
    return (command *)f;
}

static inline void command_push(command **list, command *c)
{
    c->later = *list;
    *list = c;
}

static inline command *command_pop(command **list)
{
    command *c = *list;
    *list = c != nullptr ? c->later : nullptr;
    return c;
}

// ---- map_end.cc ----

// Has it ended, as from now on it will, for this reason: SIGTERM, and SIGKILL when that is due.
void command_doom(command *c, int error);

// Does what is due with those that run; when the next one will be.
weft_deadline batch_enforce(batch *b);

// Number k of those that run has ended: takes what it wrote, tells, and frees its place.
void batch_end(batch *b, size_t k);

// The same for one that could not be started, or will not be.
void command_ended(batch *b, command *c);

// Reports what is first in the queue, as long as it has ended.
void batch_report(batch *b);

// Kills what runs, and frees all.
void batch_free(batch *b);

} // namespace weft

#endif
