// split.cc: `weft-processes split` and `quote`: the words of a shell.
#include "../verbs.h"
#include "commands.h"

#include <weft/shlex.h>

static int run_split(int argc, char **argv)
{
    static const option longs[] = {
        option_flag("posix", 'p'), option_flag("comments", 'c'), option_flag("help", 'h'), {}};
    static commands words;
    int end = '\n';
    for (int c; (c = options_next(argc, argv, "+:h0", longs)) != -1;) {
        if (c == '0')
            end = 0;
        else
            words.flags |= c == 'p' ? WEFT_SHLEX_STRICT : WEFT_SHLEX_COMMENTS;
    }
    if (argc - optind != 1)
        options_bad("split", "needs one STRING");
    commands_add(&words, argv[optind]);
    const char *const *word = words.argvs[0];
    for (; word != nullptr && *word != nullptr; word++)
        printf("%s%c", *word, end);
    return options_finish(words.argvs[0] == nullptr);
}

static int run_quote(int argc, char **argv)
{
    int end = '\n';
    while (options_next(argc, argv, "+:h0", nullptr) != -1)
        end = 0;
    if (optind == argc)
        options_bad("quote", "needs ARG...");
    for (char *q; optind < argc && (q = weft_shlex_quote(argv[optind])) != nullptr;
         optind++, free(q))
        printf("%s%c", q, end);
    return options_finish(optind < argc);
}

extern const verb verb_split = {"split", "[-0] [--posix] [--comments] STRING",
                                "its words, a line each, or with -0 ended by a 0\n", run_split};
extern const verb verb_quote = {"quote", "[-0] ARG...",
                                "words as a shell would take them, the same way\n", run_quote};
