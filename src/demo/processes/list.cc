// list.cc: `weft-processes`: two programs joined by a pipe.
#include "../verbs.h"

#include <weft/pipeline.h>

#include <err.h>

static int run(int argc, char **argv)
{
    const char *const ls[] = {"ls", "-l", nullptr}, *const wc[] = {"wc", nullptr};
    const char *const *const stages[] = {ls, wc};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    options_none(argc, argv, 0, 0, "");
    o.out.kind = WEFT_STREAM_PIPE;
    if (weft_pipeline_run(stages, 2, &o, &r, nullptr, WEFT_FOREVER) != 0)
        err(1, "ls -l | wc");
    printf("out = %s", r.out.data);
    puts("These are the lines, words and bytes that `ls -l` prints here, as `wc` counts them:\n"
         "two programs were started, joined by a pipe, and what the second one wrote was read.\n"
         "`weft-processes -h` shows what else there is: run, pipe, each, pool, manager, ...");
    weft_subprocess_result_free(&r);
    return options_finish(0);
}

extern const verb verb_list = {"", "", "ls -l | wc, as two programs joined by a pipe\n", run};
