// command_client.cc: CLIENT: the connections, looked at and ended, as Redis has it.
#include "commands.h"
#include "multi.h"
#include "place.h"
#include "topic.h"

#include <weft/io.h>

using namespace weft;

// ---- Names ----

static const char *or_empty(const char *text)
{
    return text != nullptr ? text : "";
}

// Sets a text of the peer's; an empty one is none.  false: it is not one, and the peer was told.
static bool set_text(peer *p, char **to, const word *text, const char *what)
{
    for (size_t i = 0; i < text->size; i++)
        if (text->text[i] < '!' || text->text[i] > '~') {
            reply_error(p, "ERR %s cannot contain spaces, newlines or special characters.", what);
            return false;
        }
    if (text->size > PLACE_NAME_MAX) {
        reply_error(p, "ERR the name is longer than %d bytes", PLACE_NAME_MAX);
        return false;
    }
    if (text->size > strlen(or_empty(*to)) && memory_is_full(p->server)) {
        reply_full(p);
        return false;
    }
    memory_give(*to);
    *to = nullptr;
    if (text->size > 0) {
        *to = (char *)memory_take(text->size + 1);
        memcpy(*to, text->text, text->size);
        (*to)[text->size] = 0;
    }
    return true;
}

bool weft::client_name(peer *p, const word *name)
{
    return set_text(p, &p->name, name, "Client names");
}

// ---- Descriptions ----

static void address_of(const peer *p, int whose, char *text, size_t room)
{
    char address[160] = "unix:";
    if (weft_io_address(p->watch.fd, whose, address, sizeof address) < 0)
        address[0] = 0;
    if (strncmp(address, "tcp:", 4) == 0)
        snprintf(text, room, "%s", address + 4);
    else
        snprintf(text, room, "%s:0", p->local ? p->server->address + 5 : address);
}

// A line about the client, as in Redis.
static size_t describe(const peer *p, const peer *asks, char *text, size_t room)
{
    const server *s = p->server;
    char address[192], local[192], flags[8];
    size_t queued = p->multi != nullptr ? p->multi->queue.room : 0;
    size_t held = p == asks ? s->input_left : p->in.end - p->in.begin;
    int64_t now = weft_now();
    address_of(p, WEFT_IO_PEER, address, sizeof address);
    address_of(p, WEFT_IO_LOCAL, local, sizeof local);
    snprintf(flags, sizeof flags, "%s%s%s%s%s%s", subscriptions(p) > 0 ? "P" : "",
             p->multi != nullptr ? "x" : "", p->wait != nullptr ? "b" : "", p->touched ? "d" : "",
             p->local ? "U" : "", p->no_evict ? "e" : "");
    int n = snprintf(
        text, room,
        "id=%llu addr=%s laddr=%s fd=%d name=%.128s age=%lld idle=%lld flags=%s db=%d sub=%zu "
        "psub=%zu "
        "ssub=0 multi=%lld qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=%zu rbs=%zu rbp=0 obl=%zu "
        "oll=0 omem=0 tot-mem=%zu events=r%s cmd=%s user=default redir=-1 resp=%d lib-name=%.64s "
        "lib-ver=%.64s\n",
        (unsigned long long)p->id, address, local, p->watch.fd, or_empty(p->name),
        (long long)((now - p->since) / 1000000000), (long long)((now - p->active) / 1000000000),
        *flags != 0 ? flags : "N", p->db, topics_of(p->channels), topics_of(p->patterns),
        p->multi != nullptr ? (long long)p->multi->count : -1ll, held, p->in.room - p->in.end,
        p == asks ? s->words_size : 0, queued, p->out.room, p->out.end - p->out.begin,
        sizeof *p + p->in.room + p->out.room + queued, p->out.end != 0 && p != asks ? "w" : "",
        p->running, p->protocol, or_empty(p->library[0]), or_empty(p->library[1]));
    return n < (int)room ? (size_t)n : room - 1;
}

static peer *peer_of(server *s, int64_t id)
{
    for (peer *p = s->peers.next; p != &s->peers; p = p->next)
        if ((int64_t)p->id == id && !p->ending)
            return p;
    return nullptr;
}

// What CLIENT LIST calls argv-mem.
static size_t size_of(const word *words, int n)
{
    size_t size = 0;
    for (int i = 0; i < n; i++)
        size += words[i].size;
    return size;
}

static void add_line(char **text, size_t *n, const peer *each, const peer *asks)
{
    char line[1024];
    size_t size = describe(each, asks, line, sizeof line);
    *text = (char *)retake(*text, *n + size);
    memcpy(*text + *n, line, size);
    *n += size;
}

static bool is_client_type(const word *w)
{
    return word_is(w, "normal") || word_is(w, "master") || word_is(w, "replica") ||
           word_is(w, "slave") || word_is(w, "pubsub");
}

static bool is_of_type(const peer *p, const word *type)
{
    return word_is(type, subscriptions(p) > 0 ? "pubsub" : "normal");
}

static void client_list(peer *p, const word *words, int n)
{
    server *s = p->server;
    char *text = nullptr;
    size_t size = 0;
    s->words_size = size_of(words, n);
    bool by_type = n == 4 && word_is(&words[2], "type");
    bool by_id = n >= 4 && word_is(&words[2], "id");
    if (n > 2 && !by_type && !by_id) {
        reply_syntax(p);
        return;
    }
    if (by_type && !is_client_type(&words[3])) {
        reply_error(p, "ERR Unknown client type '%.*s'", (int)words[3].size, words[3].text);
        return;
    }
    for (int i = 3; by_id && i < n; i++) {
        int64_t id;
        if (!parse_number(words[i].text, words[i].size, &id)) {
            reply_error(p, "ERR Invalid client ID");
            memory_give(text);
            return;
        }
        const peer *each = peer_of(s, id);
        if (each != nullptr)
            add_line(&text, &size, each, p);
    }
    for (const peer *each = s->peers.next; !by_id && each != &s->peers; each = each->next)
        if (!by_type || is_of_type(each, &words[3]))
            add_line(&text, &size, each, p);
    reply_page(p, text != nullptr ? text : "", size);
    memory_give(text);
}

static void kill(peer *p, peer *victim)
{
    if (victim == p)
        p->last = true; // it gets its reply
    else
        peer_end(victim);
}

static bool has_address(const peer *p, int whose, const word *w)
{
    char address[192];
    address_of(p, whose, address, sizeof address);
    return strlen(address) == w->size && memcmp(address, w->text, w->size) == 0;
}

namespace {
// Who is to be killed: 0 and nullptr for what does not matter.
struct victims {
    int64_t id;
    const word *address, *local, *type;
    bool skip_me;
};
} // namespace

// One pair of CLIENT KILL's.  false: the peer was told.
static bool read_victims(peer *p, const word *words, victims *v)
{
    const word *w = &words[1];
    if (word_is(words, "id")) {
        if (parse_number(w->text, w->size, &v->id) && v->id > 0)
            return true;
        reply_error(p, "ERR client-id should be greater than 0");
    } else if (word_is(words, "type")) {
        v->type = w;
        if (is_client_type(w))
            return true;
        reply_error(p, "ERR Unknown client type '%.*s'", (int)w->size, w->text);
    } else if (word_is(words, "user")) {
        if (is_default_user(w))
            return true;
        reply_error(p, "ERR No such user '%.*s'", (int)w->size, w->text);
    } else if (word_is(words, "addr")) {
        v->address = w;
        return true;
    } else if (word_is(words, "laddr")) {
        v->local = w;
        return true;
    } else if (word_is(words, "skipme") && (word_is(w, "yes") || word_is(w, "no"))) {
        v->skip_me = word_is(w, "yes");
        return true;
    } else {
        reply_syntax(p);
    }
    return false;
}

static bool is_victim(const peer *p, const victims *v)
{
    return !p->ending && (v->type == nullptr || is_of_type(p, v->type)) &&
           (v->id == 0 || (int64_t)p->id == v->id) &&
           (v->address == nullptr || has_address(p, WEFT_IO_PEER, v->address)) &&
           (v->local == nullptr || has_address(p, WEFT_IO_LOCAL, v->local));
}

// CLIENT KILL address | {ID id | ADDR address | LADDR address | TYPE type | USER user |
// SKIPME yes|no} ...
static void client_kill(peer *p, const word *words, int n)
{
    server *s = p->server;
    int64_t killed = 0;
    victims v = {};
    v.skip_me = n > 3;
    v.address = n == 3 ? &words[2] : nullptr;
    if (n > 3 && n % 2 != 0) {
        reply_syntax(p);
        return;
    }
    for (int i = 2; n > 3 && i < n; i += 2)
        if (!read_victims(p, &words[i], &v))
            return;
    for (peer *each = s->peers.next; each != &s->peers; each = each->next) {
        if (!is_victim(each, &v) || (v.skip_me && each == p))
            continue;
        kill(p, each);
        killed++;
    }
    if (n > 3)
        reply_integer(p, killed);
    else if (killed > 0)
        reply_ok(p);
    else
        reply_error(p, "ERR No such client");
}

// CLIENT UNBLOCK id [TIMEOUT|ERROR]
static void client_unblock(peer *p, const word *words, int n)
{
    int64_t id;
    if (n > 4) {
        reply_error(p,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. "
                    "Try CLIENT HELP.",
                    (int)words[1].size, words[1].text);
        return;
    }
    bool error = n == 4 && word_is(&words[3], "error");
    if (n == 4 && !error && !word_is(&words[3], "timeout")) {
        reply_error(p, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (!parse_integer(p, &words[2], &id))
        return;
    peer *other = peer_of(p->server, id);
    bool blocked = other != nullptr && other->wait != nullptr && !other->wait->postponed;
    if (blocked) {
        if (error)
            reply_error(other, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        else
            other->wait->time_out(other->wait);
        wait_end(other->wait);
    }
    reply_integer(p, blocked);
}

static void client_reply(peer *p, const word *words, int)
{
    if (word_is(&words[2], "on")) {
        p->silent = 0;
        reply_ok(p);
    } else if (word_is(&words[2], "off")) {
        p->silent = 1;
    } else if (word_is(&words[2], "skip")) {
        p->silent = p->silent == 1 ? 1 : 2;
    } else {
        reply_syntax(p);
    }
}

static void client_id(peer *p, const word *, int)
{
    reply_integer(p, (int64_t)p->id);
}

static void client_info(peer *p, const word *words, int n)
{
    char line[1024];
    p->server->words_size = size_of(words, n);
    reply_page(p, line, describe(p, p, line, sizeof line));
}

static void client_get_name(peer *p, const word *, int)
{
    if (p->name != nullptr)
        reply_text(p, p->name);
    else
        reply_null(p);
}

static void client_set_name(peer *p, const word *words, int)
{
    if (client_name(p, &words[2]))
        reply_ok(p);
}

static void client_no_evict(peer *p, const word *words, int)
{
    bool on = word_is(&words[2], "on");
    if (!on && !word_is(&words[2], "off")) {
        reply_syntax(p);
        return;
    }
    p->no_evict = on;
    reply_ok(p);
}

static void client_set_info(peer *p, const word *words, int)
{
    bool version = word_is(&words[2], "lib-ver");
    if (!version && !word_is(&words[2], "lib-name"))
        reply_error(p, "ERR Unrecognized option '%.*s'", (int)words[2].size, words[2].text);
    else if (words[3].size > 512)
        reply_error(p, "ERR lib-%s is too long", version ? "ver" : "name");
    else if (set_text(p, &p->library[version], &words[3], version ? "lib-ver" : "lib-name"))
        reply_ok(p);
}

// There is no client side caching, so nothing is redirected.
static void client_get_redir(peer *p, const word *, int)
{
    reply_integer(p, -1);
}

// ---- PAUSE: commands are left where they are in the input, and read again afterwards ----

static void pause_over(server *s)
{
    if (s->pause_alarm.loop != nullptr)
        weft_loop_disarm(&s->pause_alarm);
    s->pause = PAUSE_NONE;
    for (peer *p = s->peers.next; p != &s->peers; p = p->next)
        if (p->wait != nullptr && p->wait->postponed && p->wait->time_out == nullptr)
            wait_end(p->wait);
}

static void on_pause_over(weft_alarm *, void *arg)
{
    pause_over((server *)arg);
}

bool weft::is_write(const peer *p, const command_row *c)
{
    return (c->flags & COMMAND_WRITES) || c->fn == command_publish ||
           (c->fn == command_exec && p->multi != nullptr && p->multi->writes);
}

bool weft::client_paused(peer *p, const request *r)
{
    const server *s = p->server;
    if (r->count == 0 || p->ending)
        return false;
    const command_row *c = command_named(r->words, (int)r->count);
    if (s->pause == PAUSE_WRITES && (c == nullptr || !is_write(p, c)))
        return false;
    wait_begin(p, 0, nullptr, WEFT_FOREVER)->postponed = true;
    return true;
}

bool weft::line_paused(peer *p, const char *in, size_t n, const request_limits *limits)
{
    const char *end = *in != '*' ? (const char *)memchr(in, '\n', n) : nullptr, *error;
    if (end == nullptr)
        return false;
    size_t size = (size_t)(end - in) + 1;
    char *line = (char *)memory_take(size);
    request r = {};
    memcpy(line, in, size);
    bool paused =
        request_read(&r, line, size, limits, &error) == REQUEST_WHOLE && client_paused(p, &r);
    memory_give(r.words);
    memory_give(line);
    return paused;
}

// CLIENT PAUSE ms [WRITE|ALL]: of two at a time the longer and the stricter holds.
static void client_pause(peer *p, const word *words, int n)
{
    server *s = p->server;
    int64_t ms;
    int kind = PAUSE_ALL;
    if (n > 4) {
        reply_error(p,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. "
                    "Try CLIENT HELP.",
                    (int)words[1].size, words[1].text);
        return;
    }
    if (n == 4 && word_is(&words[3], "write")) {
        kind = PAUSE_WRITES;
    } else if (n == 4 && !word_is(&words[3], "all")) {
        reply_error(p, "ERR CLIENT PAUSE mode must be WRITE or ALL");
        return;
    }
    if (!parse_number(words[2].text, words[2].size, &ms)) {
        reply_error(p, "ERR timeout is not an integer or out of range");
        return;
    }
    if (ms < 0) {
        reply_error(p, "ERR timeout is negative");
        return;
    }
    weft_deadline end = weft_in_ms(ms);
    if (s->pause == PAUSE_NONE || end > s->pause_end)
        s->pause_end = end;
    s->pause = kind > s->pause ? kind : s->pause;
    weft_loop_arm(s->loop, &s->pause_alarm, 0, on_pause_over, s, s->pause_end);
    reply_ok(p);
}

static void client_unpause(peer *p, const word *, int)
{
    pause_over(p->server);
    reply_ok(p);
}

// clang-format off
const command_row weft::client_subcommands[] = {
    {"client|getname", client_get_name, 2, 0, 0, 0, 0, nullptr,
     "GETNAME\n    Return the name of the current connection."},
    {"client|getredir", client_get_redir, 2, 0, 0, 0, 0, nullptr,
     "GETREDIR\n    Return -1: no connection is tracked."},
    {"client|id", client_id, 2, 0, 0, 0, 0, nullptr,
     "ID\n    Return the ID of the current connection."},
    {"client|info", client_info, 2, 0, 0, 0, 0, nullptr,
     "INFO\n    Return information about the current client connection."},
    {"client|kill", client_kill, -3, 0, 0, 0, 0, nullptr,
     "KILL <ip:port>\n    Kill connection made from <ip:port>.\n"
     "KILL <option> <value> [<option> <value> [...]]\n    Kill connections. Options are:\n"
     "    * ID <client-id>\n    * ADDR (<ip:port>|<unixsocket>:0)\n"
     "    * LADDR (<ip:port>|<unixsocket>:0)\n    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)\n"
     "    * USER <username>\n    * SKIPME (YES|NO)"},
    {"client|list", client_list, -2, 0, 0, 0, 0, nullptr,
     "LIST [options ...]\n    Return information about client connections. Options:\n"
     "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)\n    * ID <client-id> [...]"},
    {"client|no-evict", client_no_evict, 3, 0, 0, 0, 0, nullptr,
     "NO-EVICT (ON|OFF)\n    Protect current client connection from eviction."},
    {"client|pause", client_pause, -3, 0, 0, 0, 0, nullptr,
     "PAUSE <timeout> [WRITE|ALL]\n    Suspend all, or just write, clients for <timeout> "
     "milliseconds."},
    {"client|reply", client_reply, 3, 0, 0, 0, 0, nullptr,
     "REPLY (ON|OFF|SKIP)\n    Control the replies sent to the current connection."},
    {"client|setinfo", client_set_info, 4, 0, 0, 0, 0, nullptr,
     "SETINFO (LIB-NAME|LIB-VER) <text>\n    Say which library the current connection is of."},
    {"client|setname", client_set_name, 3, 0, 0, 0, 0, nullptr,
     "SETNAME <name>\n    Assign the name <name> to the current connection."},
    {"client|unblock", client_unblock, -3, 0, 0, 0, 0, nullptr,
     "UNBLOCK <clientid> [TIMEOUT|ERROR]\n    Unblock the specified blocked client."},
    {"client|unpause", client_unpause, 2, 0, 0, 0, 0, nullptr,
     "UNPAUSE\n    Stop the current client pause, resuming traffic."},
    {"client|help", command_help, 2, 0, 0, 0, 0},
    {},
};
// clang-format on
