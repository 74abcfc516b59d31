// command_config.cc: CONFIG: the settings, looked at and changed, as Redis has it.
//
// Settings that weft does not have are not there, but for some that say what is always so.  SET
// changes a copy of what can be changed, so that of several pairs all or none hold.
#include "commands.h"
#include "server.h"
#include "topic.h"

#include <base/number.h>

#include <stdarg.h>
#include <strings.h>
#include <sys/resource.h>

using namespace weft;

namespace {
enum { TEXT_ROOM = 1024 }; // the longest is a password

struct changes {
    weft_manager_options o;
    settings x;
    const word *password; // nullptr: as it was
    bool is_unix;
    char why[192]; // it can't be
};

struct setting {
    const char *name;
    void (*show)(const server *s, char *text);
    bool (*set)(changes *to, const word *w); // false: `why` says why not; nullptr: it is fixed
};
} // namespace

// ---- Reading values ----

__attribute__((format(printf, 2, 3))) static bool refuse(changes *c, const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    vsnprintf(c->why, sizeof c->why, format, rest);
    va_end(rest);
    return false;
}

static bool read_number(changes *c, const word *w, int64_t least, int64_t most, int64_t *number)
{
    if (!parse_number(w->text, w->size, number))
        return refuse(c, "argument couldn't be parsed into an integer");
    if (*number < least || *number > most)
        return refuse(c, "argument must be between %lld and %lld inclusive", (long long)least,
                      (long long)most);
    return true;
}

// Digits and a unit: k is 1000, kb 1024, and so on.
static bool read_memory(changes *c, const word *w, size_t least, size_t most, size_t *bytes)
{
    static const struct {
        const char *name;
        size_t bytes;
    } units[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
                 {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
    size_t digits = 0, n = 0;
    bool good = true;
    for (; digits < w->size && w->text[digits] >= '0' && w->text[digits] <= '9'; digits++)
        good = good && !__builtin_mul_overflow(n, (size_t)10, &n) &&
               !__builtin_add_overflow(n, (size_t)(w->text[digits] - '0'), &n);
    word unit = {w->text + digits, w->size - digits};
    size_t k = 0;
    while (k < sizeof units / sizeof *units && !word_is(&unit, units[k].name))
        k++;
    if (!good || (digits == 0 && w->size > 0) || k == sizeof units / sizeof *units ||
        __builtin_mul_overflow(n, units[k].bytes, &n))
        return refuse(c, "argument must be a memory value");
    if (n < least || n > most)
        return refuse(c, "argument must be between %zu and %zu inclusive", least, most);
    *bytes = n;
    return true;
}

static bool is_word(changes *c, const word *w, const char *only)
{
    return word_is(w, only) || refuse(c, "argument(s) must be one of the following: %s", only);
}

// ---- The settings ----

// What stands around one long word in a command.
static const size_t AROUND = 4096;

static size_t longest_word(const weft_manager_options *o)
{
    return o->max_message > 2 * AROUND ? o->max_message - AROUND : o->max_message / 2;
}

static void show_no(const server *, char *text)
{
    strcpy(text, "no");
}

static void show_nothing(const server *, char *text)
{
    *text = 0;
}

static bool set_no(changes *c, const word *w)
{
    if (word_is(w, "no"))
        return true;
    return refuse(c, word_is(w, "yes") ? "there is no append only file"
                                       : "argument must be 'yes' or 'no'");
}

static bool set_nothing(changes *c, const word *w)
{
    return w->size == 0 || refuse(c, "nothing is saved by itself");
}

static void show_replies(const server *s, char *text)
{
    size_t most = s->o.max_reply;
    snprintf(text, TEXT_ROOM, "normal %zu 0 0 pubsub %zu 0 0", most,
             most < PUSHES_MAX ? most : PUSHES_MAX);
}

static void show_databases(const server *, char *text)
{
    snprintf(text, TEXT_ROOM, "%d", DATABASES);
}

static void show_clients(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%zu", s->o.max_clients);
}

// No more than there are descriptors for, which was seen to at the start.
static bool set_clients(changes *c, const word *w)
{
    int64_t n;
    struct rlimit files;
    if (!read_number(c, w, 1, UINT32_MAX, &n))
        return false;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY &&
        (rlim_t)n + DESCRIPTORS_OWN > files.rlim_cur)
        return refuse(c,
                      "The operating system is not able to handle the specified number of "
                      "clients, try with %lld",
                      (long long)files.rlim_cur - DESCRIPTORS_OWN);
    c->o.max_clients = (size_t)n;
    return true;
}

static void show_memory(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%zu", s->o.max_memory);
}

static bool set_memory(changes *c, const word *w)
{
    return read_memory(c, w, 0, SIZE_MAX, &c->o.max_memory);
}

static void show_policy(const server *, char *text)
{
    strcpy(text, "noeviction");
}

static bool set_policy(changes *c, const word *w)
{
    return is_word(c, w, "noeviction");
}

static void show_port(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%d", s->port);
}

static void show_longest(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%zu", longest_word(&s->o));
}

static bool set_longest(changes *c, const word *w)
{
    size_t n;
    if (!read_memory(c, w, 1 << 20, MESSAGE_MAX - AROUND, &n))
        return false;
    c->o.max_message = n + AROUND;
    return true;
}

// As in Redis it can be asked for by who has said it.
static void show_password(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%s", s->o.password != nullptr ? s->o.password : "");
}

static bool set_password(changes *c, const word *w)
{
    if (w->size == 0 && !c->is_unix)
        return refuse(c, "over TCP there has to be a password");
    if (memchr(w->text, 0, w->size) != nullptr || w->size > PASSWORD_MAX)
        return refuse(c, "a password has at most %d bytes, and none is 0", PASSWORD_MAX);
    c->password = w;
    return true;
}

static void show_timeout(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%lld", (long long)(s->x.idle_ns / 1000000000));
}

static bool set_timeout(changes *c, const word *w)
{
    int64_t n;
    if (!read_number(c, w, 0, INT32_MAX, &n))
        return false;
    c->x.idle_ns = n * 1000000000;
    return true;
}

static void show_socket(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%s", s->is_unix ? s->address + 5 : "");
}

static void show_hash_entries(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%zu", s->x.hash_entries);
}

static void show_hash_value(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%zu", s->x.hash_value);
}

static void show_set_integers(const server *s, char *text)
{
    snprintf(text, TEXT_ROOM, "%zu", s->x.set_integers);
}

static bool set_size(changes *c, const word *w, size_t *to)
{
    int64_t n;
    if (!read_number(c, w, 0, INT64_MAX, &n))
        return false;
    *to = (size_t)n;
    return true;
}

static bool set_hash_entries(changes *c, const word *w)
{
    return set_size(c, w, &c->x.hash_entries);
}

static bool set_hash_value(changes *c, const word *w)
{
    return read_memory(c, w, 0, SIZE_MAX, &c->x.hash_value);
}

static bool set_set_integers(changes *c, const word *w)
{
    return set_size(c, w, &c->x.set_integers);
}

static bool set_events(changes *c, const word *w)
{
    return w->size == 0 || refuse(c, "there are no notices of what happens to keys");
}

static void show_number(int64_t n, char *text)
{
    snprintf(text, TEXT_ROOM, "%lld", (long long)n);
}

static void show_list_size(const server *s, char *text)
{
    show_number(s->x.list_size, text);
}

static bool set_list_size(changes *c, const word *w)
{
    return read_number(c, w, INT32_MIN, INT32_MAX, &c->x.list_size);
}

static void show_list_depth(const server *s, char *text)
{
    show_number(s->x.list_depth, text);
}

static bool set_list_depth(changes *c, const word *w)
{
    return read_number(c, w, 0, INT32_MAX, &c->x.list_depth);
}

static void show_script_time(const server *s, char *text)
{
    show_number(s->x.script_ms, text);
}

static bool set_script_time(changes *c, const word *w)
{
    return read_number(c, w, 0, INT64_MAX, &c->x.script_ms);
}

// The sizes of kinds of encoding are what OBJECT ENCODING answers by, and nothing else; those of
// lists and the time of scripts mean nothing, but test suites set them.
static const setting all[] = {
    {"appendonly", show_no, set_no},
    {"bind", show_nothing, nullptr},
    {"busy-reply-threshold", show_script_time, set_script_time},
    {"client-output-buffer-limit", show_replies, nullptr},
    {"databases", show_databases, nullptr},
    {"hash-max-listpack-entries", show_hash_entries, set_hash_entries},
    {"hash-max-listpack-value", show_hash_value, set_hash_value},
    {"hash-max-ziplist-entries", show_hash_entries, set_hash_entries},
    {"hash-max-ziplist-value", show_hash_value, set_hash_value},
    {"list-compress-depth", show_list_depth, set_list_depth},
    {"list-max-listpack-size", show_list_size, set_list_size},
    {"list-max-ziplist-size", show_list_size, set_list_size},
    {"lua-time-limit", show_script_time, set_script_time},
    {"maxclients", show_clients, set_clients},
    {"maxmemory", show_memory, set_memory},
    {"maxmemory-policy", show_policy, set_policy},
    {"notify-keyspace-events", show_nothing, set_events},
    {"port", show_port, nullptr},
    {"proto-max-bulk-len", show_longest, set_longest},
    {"requirepass", show_password, set_password},
    {"save", show_nothing, set_nothing},
    {"set-max-intset-entries", show_set_integers, set_set_integers},
    {"timeout", show_timeout, set_timeout},
    {"unixsocket", show_socket, nullptr},
};
enum { SETTINGS = sizeof all / sizeof *all };

// ---- GET ----

static void config_get(peer *p, const word *words, int n)
{
    char text[TEXT_ROOM];
    bool wanted[SETTINGS] = {};
    size_t found = 0;
    for (size_t k = 0; k < SETTINGS; k++) {
        for (int i = 2; i < n && !wanted[k]; i++) {
            char pattern[64];
            size_t size = words[i].size < sizeof pattern ? words[i].size : 0;
            for (size_t c = 0; c < size; c++)
                pattern[c] = (char)(words[i].text[c] |
                                    (words[i].text[c] >= 'A' && words[i].text[c] <= 'Z') << 5);
            wanted[k] = glob_matches(pattern, size, all[k].name, strlen(all[k].name));
        }
        found += wanted[k];
    }
    reply_map(p, found);
    for (size_t k = 0; k < SETTINGS; k++) {
        if (!wanted[k])
            continue;
        all[k].show(p->server, text);
        reply_text(p, all[k].name);
        reply_text(p, text);
    }
}

// ---- SET ----

static const setting *find(const word *name)
{
    for (const setting &each : all)
        if (word_is(name, each.name))
            return &each;
    return nullptr;
}

// Whether all are there, can be changed, and none comes twice.  false: the peer was told.
static bool are_settings(peer *p, const word *words, int n)
{
    bool seen[SETTINGS] = {};
    for (int i = 2; i < n; i += 2) {
        const setting *each = find(&words[i]);
        const char *why = nullptr;
        if (each == nullptr) {
            reply_error(p, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                        (int)words[i].size, words[i].text);
            return false;
        }
        if (each->set == nullptr)
            why = "can't set immutable config";
        else if (seen[each - all])
            why = "duplicate parameter";
        seen[each - all] = true;
        if (why != nullptr) {
            reply_error(p, "ERR CONFIG SET failed (possibly related to argument '%s') - %s",
                        each->name, why);
            return false;
        }
    }
    return true;
}

static void config_set(peer *p, const word *words, int n)
{
    server *s = p->server;
    changes c = {s->o, s->x, nullptr, s->is_unix, ""};
    if (n % 2 != 0) {
        reply_syntax(p);
        return;
    }
    if (!are_settings(p, words, n))
        return;
    for (int i = 2; i < n; i += 2) {
        const setting *each = find(&words[i]);
        if (each->set(&c, &words[i + 1]))
            continue;
        reply_error(p, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", each->name,
                    c.why);
        return;
    }
    s->o = c.o;
    s->x = c.x;
    if (c.password != nullptr)
        password_set(s, c.password->text, c.password->size);
    if (s->x.idle_ns > 0)
        seconds_begin(s);
    reply_ok(p);
}

static void reset_counts(const command_row *c)
{
    c->counts = {};
    for (c = c->below; c != nullptr && c->name != nullptr; c++)
        c->counts = {};
}

static void config_reset(peer *p, const word *, int)
{
    server *s = p->server;
    s->connections = s->refused = s->commands = s->expired = s->hits = s->misses = s->errors = 0;
    for (int i = 0; i < commands_count; i++)
        reset_counts(&commands[i]);
    reply_ok(p);
}

static void config_rewrite(peer *p, const word *, int)
{
    reply_error(p, "ERR The server is running without a config file");
}

// clang-format off
const command_row weft::config_subcommands[] = {
    {"config|get", config_get, -3, 0, 0, 0, 0, nullptr,
     "GET <pattern>\n    Return parameters matching the glob-like <pattern> and their values."},
    {"config|set", config_set, -4, 0, 0, 0, 0, nullptr,
     "SET <directive> <value>\n    Set the configuration <directive> to <value>."},
    {"config|resetstat", config_reset, 2, 0, 0, 0, 0, nullptr,
     "RESETSTAT\n    Reset statistics reported by the INFO command."},
    {"config|rewrite", config_rewrite, 2, 0, 0, 0, 0, nullptr,
     "REWRITE\n    Fail: there is no configuration file."},
    {"config|help", command_help, 2, 0, 0, 0, 0},
    {},
};
// clang-format on
