// commands.cc: see commands.h.
#include "commands.h"

#include <weft/shlex.h>

#include <err.h>
#include <stdlib.h>

void commands_add(commands *c, char *line)
{
    size_t at;
    c->lines = (char **)realloc(c->lines, (c->count + 1) * sizeof *c->lines);
    c->argvs = (const char *const **)realloc(c->argvs, (c->count + 1) * sizeof *c->argvs);
    if (c->lines == nullptr || c->argvs == nullptr)
        err(1, "memory");
    c->lines[c->count] = line;
    c->argvs[c->count++] = weft_shlex_split(line, c->flags, &at);
    if (c->argvs[c->count - 1] == nullptr)
        warnx("%s at byte %zu: %s", weft_shlex_reason(line, at), at, line);
}
