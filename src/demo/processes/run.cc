// run.cc: `weft-processes run`: one program, and what became of it.
#include "../verbs.h"

#include <weft/subprocess.h>

#include <err.h>

static int run_one(char **argv, int64_t limit_ns)
{
    char text[64];
    weft_subprocess_result r;
    bool late = weft_subprocess_run(argv, nullptr, &r, weft_in_ns(limit_ns)) != 0;
    if (late && errno != ETIMEDOUT)
        err(errno == ENOENT ? 127 : 126, "%s", argv[0]); // as a shell
    warnx("%s: %s%s after %.3f s", argv[0], late ? "out of time, " : "",
          weft_status_text(r.status, text, sizeof text), (double)r.ns / 1e9);
    return late ? 124 : weft_status_code(r.status);
}

static int run(int argc, char **argv)
{
    int64_t limit_ns = INT64_MAX;
    while (options_next(argc, argv, "+:ht:", nullptr) != -1)
        limit_ns = options_seconds(optarg);
    if (optind == argc)
        options_bad("run", "needs CMD");
    return run_one(argv + optind, limit_ns);
}

extern const verb verb_run;
const verb verb_run = {"run", "[-t seconds] [--] CMD [ARG...]",
                       "runs a program, and says how it ended; with -t not longer than that\n",
                       run};
