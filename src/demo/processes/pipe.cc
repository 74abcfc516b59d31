// pipe.cc: `weft-processes pipe`: programs joined by pipes.
#include "../verbs.h"
#include "commands.h"

#include <weft/pipeline.h>
#include <weft/status.h>

#include <err.h>

static int run(int argc, char **argv)
{
    static commands c;
    int failure = 0;
    for (char **each = options_none(argc, argv, 1, -1, "needs CMD..."); *each != nullptr; each++)
        commands_add(&c, *each);
    size_t program = 0;
    weft_subprocess_options o = {};
    o.program = &program;
    o.flags = WEFT_SUBPROCESS_SCRIPTS;
    if (weft_pipeline_run(c.argvs, c.count, &o, nullptr, &failure, WEFT_FOREVER) != 0)
        err(errno == ENOENT ? 127 : 126, "pipe: %s", c.lines[program]);
    return weft_status_code(failure);
}

extern const verb verb_pipe = {"pipe", "CMD...", "programs, each a word, joined by pipes\n", run};
