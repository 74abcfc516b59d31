// commands.cc: see commands.h.
#include "commands.h"

#include <weft/shlex.h>

#include <err.h>
#include <stdlib.h>
#include <string.h>

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

// What argument `line` makes of a word, into `to` if that is not null; its size.
static size_t fill_in(char *to, const char *word, const char *line, bool *used)
{
    size_t size = 0;
    for (const char *hole; (hole = strstr(word, "{}")) != nullptr; word = hole + 2) {
        size_t before = (size_t)(hole - word), n = strlen(line);
        if (to != nullptr)
            strcpy((char *)mempcpy(to + size, word, before), line);
        size += before + n;
        *used = true;
    }
    if (to != nullptr)
        strcpy(to + size, word);
    return size + strlen(word) + 1;
}

const char *const *commands_apply(char *const words[], const char *line)
{
    static char whole[] = "{}";
    size_t n = 0, size = strlen(line) + 1;
    bool used = false;
    for (; words[n] != nullptr; n++)
        size += fill_in(nullptr, words[n], line, &used);
    n += !used;
    char **argv = (char **)malloc((n + 1) * sizeof *argv + size);
    if (argv == nullptr)
        err(1, "memory");
    char *to = (char *)(argv + n + 1);
    for (size_t i = 0; i < n; i++) {
        argv[i] = to;
        to += fill_in(to, words[i] != nullptr ? words[i] : whole, line, &used);
    }
    argv[n] = nullptr;
    return argv;
}

bool commands_ignores(int signal)
{
    struct sigaction a;
    return sigaction(signal, nullptr, &a) == 0 && a.sa_handler == SIG_IGN;
}

sigset_t commands_block_ending(void)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    for (int signal : commands_ending)
        if (!commands_ignores(signal))
            sigaddset(&ours, signal);
    sigprocmask(SIG_BLOCK, &ours, nullptr);
    signal(SIGCHLD, SIG_DFL); // ignored by who started us, it would lose the statuses
    return ours;
}
