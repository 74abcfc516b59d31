// commands.h: commands as words of the shell, for each, pipe, split and work.
#ifndef WEFT_DEMO_COMMANDS_H
#define WEFT_DEMO_COMMANDS_H

#include <signal.h>
#include <stddef.h>

struct commands {
    const char *const **argvs; // null: it could not be split
    char **lines;              // what they were split from
    size_t count;
    int flags; // WEFT_SHLEX_...
};

// Splits one and adds it; says on standard error why it can't be split.
void commands_add(commands *c, char *line);

// The command with `line` in the place of each {} or, if there is none, behind it: one piece of
// memory, to be freed.
const char *const *commands_apply(char *const words[], const char *line);

// Whether nohup(1), or a shell that has no jobs, has us ignore a signal.
bool commands_ignores(int signal);

// What ends a verb that runs commands, once they have ended.
constexpr int commands_ending[] = {SIGHUP, SIGINT, SIGTERM};

// Blocks SIGUSR1 and those of them that are not ignored, in the threads to come, too: the set.
sigset_t commands_block_ending(void);

#endif
