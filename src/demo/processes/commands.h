// commands.h: commands as words of the shell, for each, pipe and split.
#ifndef WEFT_DEMO_COMMANDS_H
#define WEFT_DEMO_COMMANDS_H

#include <stddef.h>

struct commands {
    const char *const **argvs; // null: it could not be split
    char **lines;              // what they were split from
    size_t count;
    int flags; // WEFT_SHLEX_...
};

// Splits one and adds it; says on standard error why it can't be split.
void commands_add(commands *c, char *line);

#endif
