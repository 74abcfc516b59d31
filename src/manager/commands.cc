// commands.cc: the table of commands, a row each, and how one is run.
//
// A name is looked up by its first and last eight bytes, in small letters: together with its length
// they are the name, since none is longer than sixteen.
#include "commands.h"

#include "place.h"

#include <strings.h>

enum {
    ADDS = WEFT_COMMAND_ADDS | WEFT_COMMAND_WRITES,
    WRITES = WEFT_COMMAND_WRITES,
    WAITS = WEFT_COMMAND_WAITS,
    ADDS_WAITS = ADDS | WAITS,
    WRITES_WAITS = WRITES | WAITS,
    OPEN = WEFT_COMMAND_OPEN
};

// Name, function, words (below 0: or more), flags, and where its keys are: first, last, step.
const weft_private_command weft_private_commands[] = {
    // clang-format off
    // connection
    {"ping", weft_private_command_ping, -1, 0, 0, 0, 0},
    {"echo", weft_private_command_echo, 2, 0, 0, 0, 0},
    {"auth", weft_private_command_auth, -2, OPEN, 0, 0, 0},
    {"hello", weft_private_command_hello, -1, OPEN, 0, 0, 0},
    {"select", weft_private_command_select, 2, 0, 0, 0, 0},
    {"client", weft_private_command_client, -2, 0, 0, 0, 0},
    {"command", weft_private_command_command, -1, 0, 0, 0, 0},
    {"quit", weft_private_command_quit, -1, OPEN, 0, 0, 0},
    {"reset", weft_private_command_reset, 1, OPEN, 0, 0, 0},
    // keys
    {"del", weft_private_command_del, -2, WRITES, 1, -1, 1},
    {"exists", weft_private_command_exists, -2, 0, 1, -1, 1},
    {"type", weft_private_command_type, 2, 0, 1, 1, 1},
    {"expire", weft_private_command_expire, -3, WRITES, 1, 1, 1},
    {"pexpire", weft_private_command_pexpire, -3, WRITES, 1, 1, 1},
    {"ttl", weft_private_command_ttl, 2, 0, 1, 1, 1},
    {"pttl", weft_private_command_pttl, 2, 0, 1, 1, 1},
    {"persist", weft_private_command_persist, 2, WRITES, 1, 1, 1},
    {"keys", weft_private_command_keys, 2, 0, 0, 0, 0},
    {"scan", weft_private_command_scan, -2, 0, 0, 0, 0},
    {"dbsize", weft_private_command_dbsize, 1, 0, 0, 0, 0},
    {"flushall", weft_private_command_flushall, -1, WRITES, 0, 0, 0},
    // strings
    {"get", weft_private_command_get, 2, 0, 1, 1, 1},
    {"set", weft_private_command_set, -3, ADDS, 1, 1, 1},
    {"getdel", weft_private_command_getdel, 2, WRITES, 1, 1, 1},
    {"mget", weft_private_command_mget, -2, 0, 1, -1, 1},
    {"mset", weft_private_command_mset, -3, ADDS, 1, -1, 2},
    {"incr", weft_private_command_incr, 2, ADDS, 1, 1, 1},
    {"decr", weft_private_command_decr, 2, ADDS, 1, 1, 1},
    {"incrby", weft_private_command_incrby, 3, ADDS, 1, 1, 1},
    {"decrby", weft_private_command_decrby, 3, ADDS, 1, 1, 1},
    {"append", weft_private_command_append, 3, ADDS, 1, 1, 1},
    {"strlen", weft_private_command_strlen, 2, 0, 1, 1, 1},
    // lists
    {"lpush", weft_private_command_lpush, -3, ADDS, 1, 1, 1},
    {"rpush", weft_private_command_rpush, -3, ADDS, 1, 1, 1},
    {"lpop", weft_private_command_lpop, -2, WRITES, 1, 1, 1},
    {"rpop", weft_private_command_rpop, -2, WRITES, 1, 1, 1},
    {"llen", weft_private_command_llen, 2, 0, 1, 1, 1},
    {"lrange", weft_private_command_lrange, 4, 0, 1, 1, 1},
    {"lindex", weft_private_command_lindex, 3, 0, 1, 1, 1},
    {"lset", weft_private_command_lset, 4, ADDS, 1, 1, 1},
    {"lrem", weft_private_command_lrem, 4, WRITES, 1, 1, 1},
    {"lmove", weft_private_command_lmove, 5, ADDS, 1, 2, 1},
    {"blpop", weft_private_command_blpop, -3, WRITES_WAITS, 1, -2, 1},
    {"brpop", weft_private_command_brpop, -3, WRITES_WAITS, 1, -2, 1},
    {"blmove", weft_private_command_blmove, 6, ADDS_WAITS, 1, 2, 1},
    // hashes
    {"hset", weft_private_command_hset, -4, ADDS, 1, 1, 1},
    {"hget", weft_private_command_hget, 3, 0, 1, 1, 1},
    {"hmget", weft_private_command_hmget, -3, 0, 1, 1, 1},
    {"hdel", weft_private_command_hdel, -3, WRITES, 1, 1, 1},
    {"hlen", weft_private_command_hlen, 2, 0, 1, 1, 1},
    {"hexists", weft_private_command_hexists, 3, 0, 1, 1, 1},
    {"hgetall", weft_private_command_hgetall, 2, 0, 1, 1, 1},
    {"hkeys", weft_private_command_hkeys, 2, 0, 1, 1, 1},
    {"hvals", weft_private_command_hvals, 2, 0, 1, 1, 1},
    {"hincrby", weft_private_command_hincrby, 4, ADDS, 1, 1, 1},
    // server
    {"info", weft_private_command_info, -1, 0, 0, 0, 0},
    {"config", weft_private_command_config, -2, 0, 0, 0, 0},
    {"shutdown", weft_private_command_shutdown, -1, 0, 0, 0, 0},
    // weft's own
    {"weft.put", weft_private_command_put, 5, ADDS_WAITS, 1, 1, 1},
    {"weft.get", weft_private_command_get_item, -3, WRITES_WAITS, 1, 1, 1},
    {"weft.done", weft_private_command_done, 2, WRITES, 1, 1, 1},
    {"weft.join", weft_private_command_join, 3, WAITS, 1, 1, 1},
    {"weft.close", weft_private_command_close, 3, WRITES, 1, 1, 1},
    {"weft.open", weft_private_command_open, 2, WRITES, 1, 1, 1},
    {"weft.lock", weft_private_command_lock, -3, WRITES_WAITS, 0, 0, 0},
    {"weft.unlock", weft_private_command_unlock, 2, WRITES, 0, 0, 0},
    {"weft.semaphore", weft_private_command_semaphore, 3, ADDS, 0, 0, 0},
    {"weft.acquire", weft_private_command_acquire, 3, WRITES_WAITS, 0, 0, 0},
    {"weft.release", weft_private_command_release, 2, WRITES, 0, 0, 0},
    {"weft.units", weft_private_command_units, 2, 0, 0, 0, 0},
    {"weft.barrier", weft_private_command_barrier, 4, ADDS_WAITS, 0, 0, 0},
    {"weft.break", weft_private_command_break, 2, WRITES, 0, 0, 0},
    {"weft.reset", weft_private_command_reset_barrier, 2, WRITES, 0, 0, 0},
    {"weft.waiting", weft_private_command_waiting, 2, 0, 0, 0, 0},
    {"weft.set", weft_private_command_set_event, 2, ADDS, 0, 0, 0},
    {"weft.clear", weft_private_command_clear_event, 2, WRITES, 0, 0, 0},
    {"weft.isset", weft_private_command_is_set, 2, 0, 0, 0, 0},
    {"weft.wait", weft_private_command_wait_event, 3, WAITS, 0, 0, 0},
    {"weft.replace", weft_private_command_replace, 4, ADDS, 1, 1, 1},
    // clang-format on
};
const int weft_private_command_count = sizeof weft_private_commands / sizeof *weft_private_commands;

// ---- Finding ----

enum { SLOTS = 512 };

typedef struct slot {
    uint64_t head, tail;
    size_t size;
    const weft_private_command *command; // nullptr: free
} slot;

static slot slots[SLOTS];

// Eight bytes with capital letters made small.
static uint64_t small(uint64_t w)
{
    const uint64_t each = 0x0101010101010101;
    uint64_t low = w & each * 0x7f;
    uint64_t from_a = low + each * (0x80 - 'A'), beyond_z = low + each * (0x7f - 'Z');
    return w | ((from_a ^ beyond_z) & ~w & each * 0x80) >> 2;
}

static void name_of(const char *text, size_t n, slot *name)
{
    name->head = name->tail = 0;
    name->size = n;
    if (n >= 8) {
        memcpy(&name->head, text, 8);
        memcpy(&name->tail, text + n - 8, 8);
        name->tail = small(name->tail);
    } else {
        for (size_t i = 0; i < n; i++)
            name->head |= (uint64_t)(unsigned char)text[i] << 8 * i;
    }
    name->head = small(name->head);
}

static slot *slot_of(const slot *name)
{
    uint64_t hash = (name->head ^ name->tail * 31) * 0x9e3779b97f4a7c15;
    size_t at = hash >> 55;
    while (slots[at].command != nullptr &&
           (slots[at].head != name->head || slots[at].tail != name->tail ||
            slots[at].size != name->size))
        at = (at + 1) % SLOTS;
    return &slots[at];
}

void weft_private_commands_open(void)
{
    for (const weft_private_command &c : weft_private_commands) {
        slot name;
        name_of(c.name, strlen(c.name), &name);
        name.command = &c;
        *slot_of(&name) = name;
    }
}

const weft_private_command *weft_private_command_find(const weft_private_word *w)
{
    slot name;
    if (w->size == 0 || w->size > 16)
        return nullptr;
    name_of(w->text, w->size, &name);
    return slot_of(&name)->command;
}

// ---- Running ----

static bool has_arity(const weft_private_command *c, int n)
{
    return c->words >= 0 ? n == c->words : n >= -c->words;
}

static void reply_unknown(weft_private_peer *p, const weft_private_word *words, int n)
{
    char args[160];
    int used = 0;
    args[0] = 0;
    for (int i = 1; i < n && used < 128; i++) {
        int most = 128 - used, size = words[i].size < (size_t)most ? (int)words[i].size : most;
        used += snprintf(args + used, sizeof args - (size_t)used, "'%.*s' ", size, words[i].text);
    }
    weft_private_reply_error(p, "ERR unknown command '%.*s', with args beginning with: %s",
                             words[0].size < 128 ? (int)words[0].size : 128, words[0].text, args);
}

// A browser that was tricked into sending commands begins with such words.
static bool is_http(const weft_private_word *words, int n)
{
    return weft_private_word_is(&words[0], "post") || weft_private_word_is(&words[0], "host:") ||
           (n == 3 && words[2].size > 5 && strncasecmp(words[2].text, "http/", 5) == 0);
}

// Whether it may run; if not, the peer was told.
static bool may_run(weft_private_peer *p, const weft_private_command *c,
                    const weft_private_word *words, int n)
{
    const weft_private_server *s = p->server;
    if (__builtin_expect(c == nullptr || !has_arity(c, n), 0)) {
        if (is_http(words, n))
            p->doomed = true;
        else if (c == nullptr)
            reply_unknown(p, words, n);
        else
            weft_private_reply_error(p, "ERR wrong number of arguments for '%s' command", c->name);
        return false;
    }
    if (__builtin_expect(!p->known && !(c->flags & WEFT_COMMAND_OPEN), 0)) {
        weft_private_reply_error(p, "NOAUTH Authentication required.");
        return false;
    }
    if (__builtin_expect(s->o.max_memory != 0 && weft_private_held > s->o.max_memory, 0) &&
        (c->flags & WEFT_COMMAND_ADDS)) {
        weft_private_reply_error(p, "OOM command not allowed when used memory > 'maxmemory'.");
        return false;
    }
    return true;
}

void weft_private_execute(weft_private_peer *p, const weft_private_word *words, int n)
{
    weft_private_server *s = p->server;
    const weft_private_command *c = weft_private_command_find(&words[0]);
    s->commands++;
    if (p->lease.item != nullptr)
        weft_private_lease_done(p);
    if (p->silent == 2)
        p->silent = 3;
    if (may_run(p, c, words, n)) {
        p->running = c->name;
        c->fn(p, words, n);
    }
    if (p->silent == 3)
        p->silent = 0;
    if (s->ready != nullptr)
        weft_private_places_serve(s);
}

void weft_private_subcommand(weft_private_peer *p, const weft_private_word *words, int n,
                             const char *name, const weft_private_command *subcommands,
                             size_t count)
{
    char capital[16];
    size_t i = 0, own = strlen(name) + 1;
    while (i < count && !weft_private_word_is(&words[1], subcommands[i].name + own))
        i++;
    if (i < count && has_arity(&subcommands[i], n)) {
        p->running = subcommands[i].name;
        subcommands[i].fn(p, words, n);
        return;
    }
    if (i < count) {
        weft_private_reply_error(p, "ERR wrong number of arguments for '%s' command",
                                 subcommands[i].name);
        return;
    }
    for (i = 0; name[i] != 0 && i < sizeof capital - 1; i++)
        capital[i] = (char)(name[i] & ~0x20);
    capital[i] = 0;
    weft_private_reply_error(p, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                             words[1].size < 128 ? (int)words[1].size : 128, words[1].text,
                             capital);
}
