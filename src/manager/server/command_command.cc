// command_command.cc: COMMAND: what the table of commands says of them, as Redis has it.
#include "commands.h"
#include "server.h"

using namespace weft;

// ---- COUNT, DOCS ----

static void command_count(peer *p, const word *, int)
{
    reply_integer(p, commands_count);
}

static void command_docs(peer *p, const word *, int)
{
    reply_map(p, 0); // the manual has them
}

// ---- INFO ----

static size_t below_count(const command_row *c)
{
    size_t n = 0;
    while (c->below != nullptr && c->below[n].name != nullptr)
        n++;
    return n;
}

static void describe(peer *p, const command_row *c)
{
    bool writes = c->flags & COMMAND_WRITES;
    int flags = 1 + ((c->flags & COMMAND_ADDS) != 0) + ((c->flags & COMMAND_WAITS) != 0) +
                ((c->flags & COMMAND_OPEN) != 0);
    reply_array(p, 10);
    reply_text(p, c->name);
    reply_integer(p, c->words);
    reply_set(p, (size_t)flags);
    reply_status(p, writes ? "write" : "readonly");
    if (c->flags & COMMAND_ADDS)
        reply_status(p, "denyoom");
    if (c->flags & COMMAND_WAITS)
        reply_status(p, "blocking");
    if (c->flags & COMMAND_OPEN)
        reply_status(p, "no_auth");
    reply_integer(p, c->first);
    reply_integer(p, c->last);
    reply_integer(p, c->step);
    reply_set(p, 0);   // categories
    reply_array(p, 0); // tips
    reply_array(p, 0); // key specifications
    reply_array(p, below_count(c));
    for (size_t i = 0; i < below_count(c); i++)
        describe(p, &c->below[i]);
}

// By its name, or as "client|list".
static const command_row *by_name(const word *w)
{
    const char *bar = w->size > 0 ? (const char *)memchr(w->text, '|', w->size) : nullptr;
    if (bar == nullptr)
        return command_find(w);
    word parts[] = {{w->text, (size_t)(bar - w->text)},
                    {bar + 1, w->size - (size_t)(bar + 1 - w->text)}};
    const command_row *c = command_find(&parts[0]);
    return c != nullptr && c->below != nullptr ? command_named(parts, 2) : nullptr;
}

static void command_command_info(peer *p, const word *words, int n)
{
    reply_array(p, n > 2 ? (size_t)n - 2 : (size_t)commands_count);
    for (int i = 0; n <= 2 && i < commands_count; i++)
        describe(p, &commands[i]);
    for (int i = 2; i < n; i++) {
        const command_row *c = by_name(&words[i]);
        if (c != nullptr)
            describe(p, c);
        else
            reply_null(p);
    }
}

void weft::command_command(peer *p, const word *words, int)
{
    command_command_info(p, words, 1);
}

// ---- LIST ----

namespace {
enum { BY_NOTHING, BY_MODULE, BY_CATEGORY, BY_PATTERN };

struct filter {
    int by;
    const word *value;
};
} // namespace

static bool passes(const command_row *c, const filter *f)
{
    switch (f->by) {
    case BY_MODULE:
        return word_is(f->value, "weft") && strncmp(c->name, "weft.", 5) == 0;
    case BY_CATEGORY:
        return false; // there is one user, who may do all
    case BY_PATTERN: {
        char pattern[256];
        size_t n = f->value->size;
        if (n > sizeof pattern)
            return false;
        for (size_t i = 0; i < n; i++)
            pattern[i] = (char)(f->value->text[i] |
                                (f->value->text[i] >= 'A' && f->value->text[i] <= 'Z') << 5);
        return glob_matches(pattern, n, c->name, strlen(c->name));
    }
    default:
        return true;
    }
}

// Calls fn for each, with the subcommands.
static void each_of_all(const filter *f, void (*fn)(const command_row *c, void *arg), void *arg)
{
    for (int i = 0; i < commands_count; i++) {
        const command_row *c = &commands[i];
        if (passes(c, f))
            fn(c, arg);
        for (c = c->below; c != nullptr && c->name != nullptr; c++)
            if (passes(c, f))
                fn(c, arg);
    }
}

static void command_list(peer *p, const word *words, int n)
{
    filter f = {BY_NOTHING, nullptr};
    size_t count = 0;
    if (n == 5 && word_is(&words[2], "filterby")) {
        f.value = &words[4];
        f.by = word_is(&words[3], "module")    ? BY_MODULE
               : word_is(&words[3], "aclcat")  ? BY_CATEGORY
               : word_is(&words[3], "pattern") ? BY_PATTERN
                                               : BY_NOTHING;
    }
    if (n != 2 && f.by == BY_NOTHING) {
        reply_syntax(p);
        return;
    }
    each_of_all(
        &f, [](const command_row *, void *arg) { ++*(size_t *)arg; }, &count);
    reply_array(p, count);
    each_of_all(
        &f, [](const command_row *c, void *arg) { reply_text((peer *)arg, c->name); }, p);
}

// ---- GETKEYS ----

namespace {
// Where a command's keys are: each `step`th from `first` to `last`.
struct span {
    int first, last, step;
};
} // namespace

// Those whose keys are counted by a word before them, and where that is.
static int count_at(const command_row *c)
{
    static const struct {
        const char *name;
        int at;
    } all[] = {{"lmpop", 1}, {"blmpop", 2}, {"sintercard", 1}};
    for (const auto &each : all)
        if (strcmp(c->name, each.name) == 0)
            return each.at;
    return 0;
}

// 0, or -1: the words are no such command.
static int find_keys(const command_row *c, const word *words, int n, span *keys)
{
    int at = count_at(c);
    int64_t count;
    if (at == 0) {
        *keys = {c->first, c->last >= 0 ? c->last : n + c->last, c->step};
        return keys->last < n ? 0 : -1;
    }
    if (!parse_number(words[at].text, words[at].size, &count) || count < 1 || count > n - at - 1)
        return -1;
    *keys = {at + 1, at + (int)count, 1};
    return 0;
}

// The command in these words, and where its keys are.  nullptr: the peer was told.
static const command_row *read_keys(peer *p, const word *words, int n, span *keys)
{
    const command_row *c = command_named(words, n);
    if (c == nullptr)
        reply_error(p, "ERR Invalid command specified");
    else if (c->first == 0 && count_at(c) == 0)
        reply_error(p, "ERR The command has no key arguments");
    else if (c->words >= 0 ? n != c->words : n < -c->words)
        reply_error(p, "ERR Invalid number of arguments specified for command");
    else if (find_keys(c, words, n, keys) != 0)
        reply_error(p, "ERR Invalid arguments specified for command");
    else
        return c;
    return nullptr;
}

static void command_get_keys(peer *p, const word *words, int n)
{
    span keys;
    if (read_keys(p, words + 2, n - 2, &keys) == nullptr)
        return;
    reply_array(p, (size_t)(keys.last - keys.first) / (size_t)keys.step + 1);
    for (int i = keys.first; i <= keys.last; i += keys.step)
        reply_string(p, words[2 + i].text, words[2 + i].size);
}

// clang-format off
const command_row weft::command_subcommands[] = {
    {"command|count", command_count, 2, 0, 0, 0, 0, nullptr,
     "COUNT\n    Return the total number of commands in this server."},
    {"command|docs", command_docs, -2, 0, 0, 0, 0, nullptr,
     "DOCS [<command-name> ...]\n    Return nothing: weft-manager(7) has the documentation."},
    {"command|getkeys", command_get_keys, -4, 0, 0, 0, 0, nullptr,
     "GETKEYS <full-command>\n    Return the keys from a full command."},
    {"command|info", command_command_info, -2, 0, 0, 0, 0, nullptr,
     "INFO [<command-name> ...]\n    Return details about multiple commands.\n"
     "    If no command names are given, details for all commands are returned."},
    {"command|list", command_list, -2, 0, 0, 0, 0, nullptr,
     "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]\n"
     "    Return a list of all commands in this server."},
    {"command|help", command_help, 2, 0, 0, 0, 0},
    {},
};
// clang-format on
