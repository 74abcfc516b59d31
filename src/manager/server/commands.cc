// commands.cc: the table of commands, a row each, and how one is run.
//
// A name is looked up by its first and last eight bytes, in small letters: together with its length
// they are the name, since none is longer than sixteen.
#include "commands.h"

#include "multi.h"
#include "place.h"
#include "topic.h"

#include <stdarg.h>
#include <strings.h>

using namespace weft;

enum {
    KEEPS = COMMAND_ADDS,
    ADDS = COMMAND_ADDS | COMMAND_WRITES,
    WRITES = COMMAND_WRITES,
    WAITS = COMMAND_WAITS,
    ADDS_WAITS = ADDS | WAITS,
    WRITES_WAITS = WRITES | WAITS,
    OPEN = COMMAND_OPEN,
    AT_ONCE = COMMAND_AT_ONCE,
    ALONE = COMMAND_ALONE,
    LISTENS = COMMAND_LISTENS
};

// Name, function, words (below 0: or more), flags, and where its keys are: first, last, step.
const command_row weft::commands[] = {
    // clang-format off
    // connection
    {"ping", command_ping, -1, LISTENS, 0, 0, 0},
    {"echo", command_echo, 2, 0, 0, 0, 0},
    {"auth", command_auth, -2, OPEN, 0, 0, 0},
    {"hello", command_hello, -1, OPEN, 0, 0, 0},
    {"select", command_select, 2, 0, 0, 0, 0},
    {"client", nullptr, -2, 0, 0, 0, 0, client_subcommands},
    {"command", command_command, -1, 0, 0, 0, 0, command_subcommands},
    {"quit", command_quit, -1, OPEN | AT_ONCE | LISTENS, 0, 0, 0},
    {"reset", command_reset, 1, OPEN | AT_ONCE | LISTENS, 0, 0, 0},
    // transactions
    {"multi", command_multi, 1, AT_ONCE, 0, 0, 0},
    {"exec", command_exec, 1, AT_ONCE, 0, 0, 0},
    {"discard", command_discard, 1, AT_ONCE, 0, 0, 0},
    {"watch", command_watch, -2, KEEPS | AT_ONCE, 1, -1, 1},
    {"unwatch", command_unwatch, 1, 0, 0, 0, 0},
    // messages
    {"subscribe", command_subscribe, -2, KEEPS | LISTENS, 0, 0, 0},
    {"unsubscribe", command_unsubscribe, -1, LISTENS, 0, 0, 0},
    {"psubscribe", command_psubscribe, -2, KEEPS | LISTENS, 0, 0, 0},
    {"punsubscribe", command_punsubscribe, -1, LISTENS, 0, 0, 0},
    {"publish", command_publish, 3, 0, 0, 0, 0},
    {"pubsub", nullptr, -2, 0, 0, 0, 0, pubsub_subcommands},
    // keys
    {"del", command_del, -2, WRITES, 1, -1, 1},
    {"unlink", command_del, -2, WRITES, 1, -1, 1},
    {"exists", command_exists, -2, 0, 1, -1, 1},
    {"touch", command_exists, -2, 0, 1, -1, 1},
    {"type", command_type, 2, 0, 1, 1, 1},
    {"expire", command_expire, -3, WRITES, 1, 1, 1},
    {"pexpire", command_pexpire, -3, WRITES, 1, 1, 1},
    {"expireat", command_expireat, -3, WRITES, 1, 1, 1},
    {"pexpireat", command_pexpireat, -3, WRITES, 1, 1, 1},
    {"expiretime", command_expiretime, 2, 0, 1, 1, 1},
    {"pexpiretime", command_pexpiretime, 2, 0, 1, 1, 1},
    {"ttl", command_ttl, 2, 0, 1, 1, 1},
    {"pttl", command_pttl, 2, 0, 1, 1, 1},
    {"persist", command_persist, 2, WRITES, 1, 1, 1},
    {"rename", command_rename, 3, WRITES, 1, 2, 1},
    {"renamenx", command_renamenx, 3, WRITES, 1, 2, 1},
    {"copy", command_copy, -3, ADDS, 1, 2, 1},
    {"move", command_move, 3, WRITES, 1, 1, 1},
    {"swapdb", command_swapdb, 3, WRITES, 0, 0, 0},
    {"randomkey", command_randomkey, 1, 0, 0, 0, 0},
    {"keys", command_keys, 2, 0, 0, 0, 0},
    {"scan", command_scan, -2, 0, 0, 0, 0},
    {"dbsize", command_dbsize, 1, 0, 0, 0, 0},
    {"flushall", command_flushall, -1, WRITES, 0, 0, 0},
    {"flushdb", command_flushdb, -1, WRITES, 0, 0, 0},
    // strings
    {"get", command_get, 2, 0, 1, 1, 1},
    {"set", command_set, -3, ADDS, 1, 1, 1},
    {"setex", command_setex, 4, ADDS, 1, 1, 1},
    {"psetex", command_psetex, 4, ADDS, 1, 1, 1},
    {"setnx", command_setnx, 3, ADDS, 1, 1, 1},
    {"getset", command_getset, 3, ADDS, 1, 1, 1},
    {"getex", command_getex, -2, WRITES, 1, 1, 1},
    {"getdel", command_getdel, 2, WRITES, 1, 1, 1},
    {"mget", command_mget, -2, 0, 1, -1, 1},
    {"mset", command_mset, -3, ADDS, 1, -1, 2},
    {"msetnx", command_msetnx, -3, ADDS, 1, -1, 2},
    {"incr", command_incr, 2, ADDS, 1, 1, 1},
    {"decr", command_decr, 2, ADDS, 1, 1, 1},
    {"incrby", command_incrby, 3, ADDS, 1, 1, 1},
    {"decrby", command_decrby, 3, ADDS, 1, 1, 1},
    {"incrbyfloat", command_incrbyfloat, 3, ADDS, 1, 1, 1},
    {"append", command_append, 3, ADDS, 1, 1, 1},
    {"strlen", command_strlen, 2, 0, 1, 1, 1},
    {"setrange", command_setrange, 4, ADDS, 1, 1, 1},
    {"setbit", command_setbit, 4, ADDS, 1, 1, 1},
    {"getbit", command_getbit, 3, 0, 1, 1, 1},
    {"getrange", command_getrange, 4, 0, 1, 1, 1},
    {"substr", command_getrange, 4, 0, 1, 1, 1},
    // lists
    {"lpush", command_lpush, -3, ADDS, 1, 1, 1},
    {"rpush", command_rpush, -3, ADDS, 1, 1, 1},
    {"lpushx", command_lpushx, -3, ADDS, 1, 1, 1},
    {"rpushx", command_rpushx, -3, ADDS, 1, 1, 1},
    {"lpop", command_lpop, -2, WRITES, 1, 1, 1},
    {"rpop", command_rpop, -2, WRITES, 1, 1, 1},
    {"llen", command_llen, 2, 0, 1, 1, 1},
    {"lrange", command_lrange, 4, 0, 1, 1, 1},
    {"lindex", command_lindex, 3, 0, 1, 1, 1},
    {"lpos", command_lpos, -3, 0, 1, 1, 1},
    {"lset", command_lset, 4, ADDS, 1, 1, 1},
    {"linsert", command_linsert, 5, ADDS, 1, 1, 1},
    {"ltrim", command_ltrim, 4, WRITES, 1, 1, 1},
    {"lrem", command_lrem, 4, WRITES, 1, 1, 1},
    {"lmove", command_lmove, 5, ADDS, 1, 2, 1},
    {"rpoplpush", command_rpoplpush, 3, ADDS, 1, 2, 1},
    {"lmpop", command_lmpop, -4, WRITES, 0, 0, 0},
    {"blpop", command_blpop, -3, WRITES_WAITS, 1, -2, 1},
    {"brpop", command_brpop, -3, WRITES_WAITS, 1, -2, 1},
    {"blmpop", command_blmpop, -5, WRITES_WAITS, 0, 0, 0},
    {"brpoplpush", command_brpoplpush, 4, ADDS_WAITS, 1, 2, 1},
    {"blmove", command_blmove, 6, ADDS_WAITS, 1, 2, 1},
    // hashes
    {"hset", command_hset, -4, ADDS, 1, 1, 1},
    {"hmset", command_hmset, -4, ADDS, 1, 1, 1},
    {"hsetnx", command_hsetnx, 4, ADDS, 1, 1, 1},
    {"hget", command_hget, 3, 0, 1, 1, 1},
    {"hmget", command_hmget, -3, 0, 1, 1, 1},
    {"hdel", command_hdel, -3, WRITES, 1, 1, 1},
    {"hlen", command_hlen, 2, 0, 1, 1, 1},
    {"hstrlen", command_hstrlen, 3, 0, 1, 1, 1},
    {"hexists", command_hexists, 3, 0, 1, 1, 1},
    {"hgetall", command_hgetall, 2, 0, 1, 1, 1},
    {"hkeys", command_hkeys, 2, 0, 1, 1, 1},
    {"hvals", command_hvals, 2, 0, 1, 1, 1},
    {"hincrby", command_hincrby, 4, ADDS, 1, 1, 1},
    {"hincrbyfloat", command_hincrbyfloat, 4, ADDS, 1, 1, 1},
    {"hrandfield", command_hrandfield, -2, 0, 1, 1, 1},
    {"hscan", command_hscan, -3, 0, 1, 1, 1},
    // sets
    {"sadd", command_sadd, -3, ADDS, 1, 1, 1},
    {"srem", command_srem, -3, WRITES, 1, 1, 1},
    {"smembers", command_smembers, 2, 0, 1, 1, 1},
    {"sismember", command_sismember, 3, 0, 1, 1, 1},
    {"smismember", command_smismember, -3, 0, 1, 1, 1},
    {"scard", command_scard, 2, 0, 1, 1, 1},
    {"spop", command_spop, -2, WRITES, 1, 1, 1},
    {"srandmember", command_srandmember, -2, 0, 1, 1, 1},
    {"smove", command_smove, 4, WRITES, 1, 2, 1},
    {"sinter", command_sinter, -2, 0, 1, -1, 1},
    {"sinterstore", command_sinterstore, -3, ADDS, 1, -1, 1},
    {"sintercard", command_sintercard, -3, 0, 0, 0, 0},
    {"sunion", command_sunion, -2, 0, 1, -1, 1},
    {"sunionstore", command_sunionstore, -3, ADDS, 1, -1, 1},
    {"sdiff", command_sdiff, -2, 0, 1, -1, 1},
    {"sdiffstore", command_sdiffstore, -3, ADDS, 1, -1, 1},
    {"sscan", command_sscan, -3, 0, 1, 1, 1},
    // server
    {"info", command_info, -1, 0, 0, 0, 0},
    {"config", nullptr, -2, 0, 0, 0, 0, config_subcommands},
    {"object", nullptr, -2, 0, 0, 0, 0, object_subcommands},
    {"memory", nullptr, -2, 0, 0, 0, 0, memory_subcommands},
    {"wait", command_wait, 3, WAITS, 0, 0, 0},
    {"time", command_time, 1, 0, 0, 0, 0},
    {"shutdown", command_shutdown, -1, ALONE, 0, 0, 0},
    {"save", command_save, 1, WAITS | ALONE, 0, 0, 0},
    {"bgsave", command_bgsave, -1, 0, 0, 0, 0},
    {"lastsave", command_lastsave, 1, 0, 0, 0, 0},
    // weft's own
    {"weft.put", command_put, 5, ADDS_WAITS, 1, 1, 1},
    {"weft.get", command_get_item, -3, WRITES_WAITS, 1, 1, 1},
    {"weft.done", command_done, 2, WRITES, 1, 1, 1},
    {"weft.pending", command_pending, 2, 0, 1, 1, 1},
    {"weft.join", command_join, 3, WAITS, 1, 1, 1},
    {"weft.close", command_close, 3, WRITES, 1, 1, 1},
    {"weft.open", command_open, 2, WRITES, 1, 1, 1},
    {"weft.lock", command_lock, -3, WRITES_WAITS, 0, 0, 0},
    {"weft.unlock", command_unlock, 2, WRITES, 0, 0, 0},
    {"weft.semaphore", command_semaphore, 3, WRITES, 0, 0, 0},
    {"weft.acquire", command_acquire, 3, WRITES_WAITS, 0, 0, 0},
    {"weft.release", command_release, 2, WRITES, 0, 0, 0},
    {"weft.units", command_units, 2, 0, 0, 0, 0},
    {"weft.barrier", command_barrier, 4, WRITES_WAITS, 0, 0, 0},
    {"weft.break", command_break, 2, WRITES, 0, 0, 0},
    {"weft.reset", command_reset_barrier, 2, WRITES, 0, 0, 0},
    {"weft.waiting", command_waiting, 2, 0, 0, 0, 0},
    {"weft.set", command_set_event, 2, WRITES, 0, 0, 0},
    {"weft.clear", command_clear_event, 2, WRITES, 0, 0, 0},
    {"weft.isset", command_is_set, 2, 0, 0, 0, 0},
    {"weft.wait", command_wait_event, 3, WAITS, 0, 0, 0},
    {"weft.list", command_list_places, -2, 0, 0, 0, 0},
    {"weft.delete", command_delete_place, 3, WRITES, 0, 0, 0},
    {"weft.replace", command_replace, 4, ADDS, 1, 1, 1},
    {"weft.job.put", command_job_put, 11, ADDS, 0, 0, 0},
    {"weft.job.take", command_job_take, 6, WRITES_WAITS, 0, 0, 0},
    {"weft.job.beat", command_job_beat, 7, WRITES, 0, 0, 0},
    {"weft.job.done", command_job_done, 5, WRITES, 0, 0, 0},
    {"weft.job.fail", command_job_fail, 6, WRITES, 0, 0, 0},
    {"weft.job.get", command_job_get, 3, 0, 0, 0, 0},
    {"weft.job.wait", command_job_wait, 4, WAITS, 0, 0, 0},
    {"weft.job.list", command_job_list, 5, 0, 0, 0, 0},
    {"weft.job.retry", command_job_retry, 3, WRITES, 0, 0, 0},
    {"weft.job.remove", command_job_remove, 3, WRITES, 0, 0, 0},
    {"weft.job.pause", command_job_pause, 3, WRITES, 0, 0, 0},
    {"weft.job.count", command_job_count, 2, 0, 0, 0, 0},
    // clang-format on
};
const int weft::commands_count = sizeof commands / sizeof *commands;

// ---- Finding ----

enum { SLOTS = 512 };

namespace {
struct slot {
    uint64_t head, tail;
    size_t size;
    const command_row *command; // nullptr: free
};
} // namespace

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

void weft::commands_open(void)
{
    for (const command_row &c : commands) {
        slot name;
        name_of(c.name, strlen(c.name), &name);
        name.command = &c;
        *slot_of(&name) = name;
    }
}

const command_row *weft::command_find(const word *w)
{
    slot name;
    if (w->size == 0 || w->size > 16)
        return nullptr;
    name_of(w->text, w->size, &name);
    return slot_of(&name)->command;
}

static const command_row *find_below(const command_row *c, const word *name)
{
    size_t own = strlen(c->name) + 1;
    for (c = c->below; c->name != nullptr; c++)
        if (word_is(name, c->name + own))
            return c;
    return nullptr;
}

const command_row *weft::command_named(const word *words, int n)
{
    const command_row *c = command_find(&words[0]);
    return c != nullptr && __builtin_expect(c->below != nullptr, 0) && n > 1
               ? find_below(c, &words[1])
               : c;
}

// Its name in capital letters.
static const char *capital(const command_row *c, char *text, size_t room)
{
    size_t i = 0;
    for (; c->name[i] != 0 && i < room - 1; i++)
        text[i] = (char)(c->name[i] & ~0x20);
    text[i] = 0;
    return text;
}

void weft::command_help(peer *p, const word *words, int)
{
    const command_row *c = command_find(&words[0]);
    char name[16];
    size_t lines = 3;
    for (const command_row *each = c->below; each->name != nullptr; each++)
        for (const char *at = each->help; at != nullptr; at = strchr(at + 1, '\n'))
            lines++;
    reply_array(p, lines);
    reply_line(p, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
               capital(c, name, sizeof name));
    for (const command_row *each = c->below; each->name != nullptr; each++)
        for (const char *at = each->help, *end; at != nullptr; at = *end != 0 ? end + 1 : nullptr) {
            end = strchrnul(at, '\n');
            reply_line(p, "%.*s", (int)(end - at), at);
        }
    reply_line(p, "HELP");
    reply_line(p, "    Prints this help.");
}

// ---- Running ----

static bool has_arity(const command_row *c, int n)
{
    return c->words >= 0 ? n == c->words : n >= -c->words;
}

// Tells why a command is not run.  Nor is the transaction then that it would be of.
__attribute__((format(printf, 3, 4))) static void refuse(peer *p, const command_row *c,
                                                         const char *format, ...)
{
    char text[512];
    va_list rest;
    va_start(rest, format);
    vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    if (c != nullptr)
        c->counts.rejected++;
    if (p->multi != nullptr)
        p->multi->failed = true;
    if (c != nullptr && c->fn == command_exec) {
        transaction_end(p);
        reply_error(p, "EXECABORT Transaction discarded because of: %s",
                    strncmp(text, "ERR ", 4) == 0 ? text + 4 : text);
    } else {
        reply_error(p, "%s", text);
    }
}

static void refuse_unknown(peer *p, const word *words, int n)
{
    char args[160], name[16];
    int used = 0;
    args[0] = 0;
    const command_row *parent = command_find(&words[0]);
    if (parent != nullptr) {
        refuse(p, nullptr, "ERR unknown subcommand '%.*s'. Try %s HELP.",
               words[1].size < 128 ? (int)words[1].size : 128, words[1].text,
               capital(parent, name, sizeof name));
        return;
    }
    for (int i = 1; i < n && used < 128; i++) {
        int most = 128 - used, size = words[i].size < (size_t)most ? (int)words[i].size : most;
        used += snprintf(args + used, sizeof args - (size_t)used, "'%.*s' ", size, words[i].text);
    }
    refuse(p, nullptr, "ERR unknown command '%.*s', with args beginning with: %s",
           words[0].size < 128 ? (int)words[0].size : 128, words[0].text, args);
}

// A browser that was tricked into sending commands begins with such words.
static bool is_http(const word *words, int n)
{
    return word_is(&words[0], "post") || word_is(&words[0], "host:") ||
           (n == 3 && words[2].size > 5 && strncasecmp(words[2].text, "http/", 5) == 0);
}

// Whether memory has to be free for it.  What is queued takes some, whatever it is; and what was
// queued takes it when it is run.
static bool needs_memory(const peer *p, const command_row *c)
{
    return (c->flags & COMMAND_ADDS) ||
           (p->multi != nullptr &&
            (!(c->flags & COMMAND_AT_ONCE) || (c->fn == command_exec && p->multi->adds)));
}

// Whether it may run; if not, the peer was told.
static bool may_run(peer *p, const command_row *c, const word *words, int n)
{
    server *s = p->server;
    if (__builtin_expect(c == nullptr || !has_arity(c, n), 0)) {
        if (is_http(words, n))
            p->ending = true;
        else if (c == nullptr)
            refuse_unknown(p, words, n);
        else
            refuse(p, c, "ERR wrong number of arguments for '%s' command", c->name);
    } else if (__builtin_expect(!p->known && !(c->flags & COMMAND_OPEN), 0)) {
        refuse(p, c, "NOAUTH Authentication required.");
    } else if (__builtin_expect(p->multi != nullptr, 0) && (c->flags & COMMAND_ALONE)) {
        refuse(p, c, "ERR Command not allowed inside a transaction");
    } else if (needs_memory(p, c) && __builtin_expect(memory_is_full(s), 0)) {
        refuse(p, c, "OOM command not allowed when used memory > 'maxmemory'.");
    } else if (__builtin_expect(p->protocol == 2 && subscriptions(p) != 0, 0) &&
               !(c->flags & COMMAND_LISTENS)) {
        refuse(p, c,
               "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
               "RESET are allowed in this context",
               c->name);
    } else {
        return true;
    }
    return false;
}

// Time is told where one command follows on another, and at the end of what a peer has sent: a
// pipeline of the same ones is looked at twice.  What is read and written meanwhile is theirs.
static void clock_switch(server *s, const command_row *c)
{
    int64_t now = weft_now();
    if (s->timed != nullptr)
        s->timed->counts.ns += (uint64_t)(now - s->timed_since);
    s->timed = c;
    s->timed_since = now;
}

void weft::clock_stop(server *s)
{
    if (s->timed != nullptr)
        clock_switch(s, nullptr);
}

void weft::call(peer *p, const command_row *c, const word *words, int n)
{
    server *s = p->server;
    uint64_t errors = s->errors;
    if (s->timed != c)
        clock_switch(s, c);
    p->running = c->name;
    c->fn(p, words, n);
    c->counts.calls++;
    c->counts.failed += s->errors != errors;
    if (s->timed != c) // it ran others
        clock_switch(s, c);
}

void weft::execute(peer *p, const word *words, int n)
{
    server *s = p->server;
    const command_row *c = command_named(words, n);
    s->commands++;
    if (p->lease.item != nullptr)
        lease_done(p);
    if (p->silent == 2)
        p->silent = 3;
    if (may_run(p, c, words, n)) {
        if (__builtin_expect(p->multi == nullptr || (c->flags & COMMAND_AT_ONCE), 1))
            call(p, c, words, n);
        else
            transaction_queue(p, c, words, n);
    }
    if (p->silent == 3 && p->wait == nullptr)
        p->silent = 0;
    owner_rest(p);
    if (!list_is_empty(&s->ready))
        places_serve(s);
}
