// command_connection.cc: the connection: PING ECHO AUTH HELLO SELECT CLIENT QUIT RESET, as Redis
// has them.
//
// After a wrong password over TCP the next one, whoever's, is looked at only some time later: the
// command is kept and run again then.  So all connections together can guess five times a second.
#include "commands.h"
#include "place.h"

#include <weft/io.h>

#include <limits.h>

using namespace weft;

static const int64_t GUESS_NS = 200000000, GUESSES_NS = 10000000000; // apart; ahead at most
enum { GUESSES = 3 };                                                // a connection

void weft::command_ping(peer *p, const word *words, int n)
{
    if (n > 2)
        reply_error(p, "ERR wrong number of arguments for 'ping' command");
    else if (n == 2)
        reply_string(p, words[1].text, words[1].size);
    else
        reply_status(p, "PONG");
}

void weft::command_echo(peer *p, const word *words, int)
{
    reply_string(p, words[1].text, words[1].size);
}

void weft::command_select(peer *p, const word *words, int)
{
    int64_t db;
    if (!parse_integer(p, &words[1], &db))
        return;
    if (db != (int)db) {
        reply_error(p, "ERR value is out of range, value must between -2147483648 and 2147483647");
        return;
    }
    if (db < 0 || db >= DATABASES) {
        reply_error(p, "ERR DB index is out of range");
        return;
    }
    p->db = (uint8_t)db;
    reply_ok(p);
}

void weft::command_quit(peer *p, const word *, int)
{
    reply_ok(p);
    p->last = true;
}

void weft::command_reset(peer *p, const word *, int)
{
    p->protocol = 2;
    p->db = 0;
    p->silent = 0;
    p->known = p->server->o.password == nullptr;
    memory_give(p->name);
    p->name = nullptr;
    reply_status(p, "RESET");
}

// ---- Passwords ----

// In a time that does not depend on how much of it is right.
static bool is_password(const char *password, const word *w)
{
    size_t n = strlen(password);
    volatile unsigned differs = n != w->size;
    for (size_t i = 0; i < w->size; i++)
        differs = differs | (unsigned)(w->text[i] ^ password[i % n]);
    return differs == 0;
}

static void again(peer_wait *w)
{
    peer *p = w->peer;
    request r = {};
    request_limits limits = {INT_MAX, SIZE_MAX, SIZE_MAX, true};
    const char *error;
    p->turn = true;
    if (request_read(&r, (char *)w->text.text, w->text.size, &limits, &error) == REQUEST_WHOLE)
        execute(p, r.words, (int)r.count);
    p->turn = false;
    memory_give(r.words);
}

// Keeps the command until it has its turn.
static void postpone(peer *p, const word *words, int n, int64_t at)
{
    word text = {};
    char head[32], *copy = nullptr;
    for (int i = -1; i < n; i++) {
        size_t size = i < 0 ? 0 : words[i].size;
        int length = i < 0 ? snprintf(head, sizeof head, "*%d\r\n", n)
                           : snprintf(head, sizeof head, "$%zu\r\n", size);
        copy = (char *)retake(copy, text.size + (size_t)length + size + 2);
        memcpy(copy + text.size, head, (size_t)length);
        text.size += (size_t)length;
        if (i < 0)
            continue;
        memcpy(copy + text.size, words[i].text, size);
        text.size += size;
        copy[text.size++] = '\r';
        copy[text.size++] = '\n';
    }
    text.text = copy;
    wait_begin(p, 0, &text, at)->time_out = again;
    memory_give(copy);
}

// The one user there is; unlike names of commands, in small letters.
static bool is_default(const word *user)
{
    return user->size == 7 && memcmp(user->text, "default", 7) == 0;
}

// Whether user and password are right.  false: the peer was told, or waits for its turn.
static bool authenticate(peer *p, const word *user, const word *password, const word *words, int n)
{
    server *s = p->server;
    int64_t now = weft_now();
    if (!p->local && !p->turn && s->auth_next > now) {
        if (s->auth_next - now > GUESSES_NS) {
            reply_error(p, "ERR too many wrong passwords, try again later");
            p->last = true;
            return false;
        }
        postpone(p, words, n, s->auth_next);
        s->auth_next += GUESS_NS;
        return false;
    }
    if (is_default(user) && (s->o.password == nullptr || is_password(s->o.password, password))) {
        p->known = true;
        return true;
    }
    reply_error(p, "WRONGPASS invalid username-password pair or user is disabled.");
    s->auth_next = s->auth_next > now + GUESS_NS ? s->auth_next : now + GUESS_NS;
    if (++p->wrong >= GUESSES && s->o.password != nullptr)
        p->last = true;
    return false;
}

void weft::command_auth(peer *p, const word *words, int n)
{
    static const word user = {"default", 7};
    if (n > 3) {
        reply_syntax(p);
    } else if (n == 2 && p->server->o.password == nullptr) {
        reply_error(
            p, "ERR AUTH <password> called without any password configured for the default user. "
               "Are you sure your configuration is correct?");
    } else if (authenticate(p, n == 3 ? &words[1] : &user, &words[n - 1], words, n)) {
        reply_ok(p);
    }
}

// ---- Names, HELLO ----

static bool set_name(peer *p, const word *name)
{
    for (size_t i = 0; i < name->size; i++)
        if (name->text[i] < '!' || name->text[i] > '~') {
            reply_error(p,
                        "ERR Client names cannot contain spaces, newlines or special characters.");
            return false;
        }
    memory_give(p->name);
    p->name = nullptr;
    if (name->size > 0) {
        p->name = (char *)memory_take(name->size + 1);
        memcpy(p->name, name->text, name->size);
        p->name[name->size] = 0;
    }
    return true;
}

static void reply_hello(peer *p)
{
    reply_map(p, 7);
    reply_text(p, "server");
    reply_text(p, "weft");
    reply_text(p, "version");
    reply_text(p, "7.0.0");
    reply_text(p, "proto");
    reply_integer(p, p->protocol);
    reply_text(p, "id");
    reply_integer(p, (int64_t)p->id);
    reply_text(p, "mode");
    reply_text(p, "standalone");
    reply_text(p, "role");
    reply_text(p, "master");
    reply_text(p, "modules");
    reply_array(p, 0);
}

// HELLO [version [AUTH user password] [SETNAME name]]: what comes first is done first, and stays
// done if what follows is wrong.
void weft::command_hello(peer *p, const word *words, int n)
{
    int64_t version = 0;
    if (n >= 2 && !parse_number(words[1].text, words[1].size, &version)) {
        reply_error(p, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (n >= 2 && version != 2 && version != 3) {
        reply_error(p, "NOPROTO unsupported protocol version");
        return;
    }
    for (int i = 2; i < n; i++) {
        if (word_is(&words[i], "auth") && i + 2 < n) {
            if (!authenticate(p, &words[i + 1], &words[i + 2], words, n))
                return;
            i += 2;
        } else if (word_is(&words[i], "setname") && i + 1 < n) {
            if (!set_name(p, &words[++i]))
                return;
        } else {
            reply_error(p, "ERR Syntax error in HELLO option '%.*s'", (int)words[i].size,
                        words[i].text);
            return;
        }
    }
    if (!p->known) {
        reply_error(
            p, "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
               "HELLO AUTH <user> <pass> option can be used to authenticate the client and select "
               "the RESP protocol version at the same time");
        return;
    }
    if (version != 0)
        p->protocol = (uint8_t)version;
    reply_hello(p);
}

// ---- CLIENT ----

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
static size_t describe(const peer *p, char *text, size_t room)
{
    char address[192], local[192];
    int64_t now = weft_now();
    address_of(p, WEFT_IO_PEER, address, sizeof address);
    address_of(p, WEFT_IO_LOCAL, local, sizeof local);
    int n = snprintf(
        text, room,
        "id=%llu addr=%s laddr=%s fd=%d name=%.128s age=%lld idle=%lld flags=%s db=%d sub=0 psub=0 "
        "ssub=0 multi=-1 qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=%zu rbp=0 obl=%zu "
        "oll=0 omem=0 tot-mem=%zu events=r cmd=%s user=default redir=-1 resp=%d\n",
        (unsigned long long)p->id, address, local, p->watch.fd, p->name != nullptr ? p->name : "",
        (long long)((now - p->since) / 1000000000), (long long)((now - p->active) / 1000000000),
        p->wait != nullptr ? "b"
        : p->local         ? "U"
                           : "N",
        p->db, p->in.end - p->in.begin, p->in.room - p->in.end, p->out.room,
        p->out.end - p->out.begin, sizeof *p + p->in.room + p->out.room, p->running, p->protocol);
    return n < (int)room ? (size_t)n : room - 1;
}

static peer *peer_of(server *s, int64_t id)
{
    for (peer *p = s->peers.next; p != &s->peers; p = p->next)
        if ((int64_t)p->id == id && !p->ending)
            return p;
    return nullptr;
}

static void add_line(char **text, size_t *n, const peer *each)
{
    char line[1024];
    size_t size = describe(each, line, sizeof line);
    *text = (char *)retake(*text, *n + size);
    memcpy(*text + *n, line, size);
    *n += size;
}

static bool is_client_type(const word *w)
{
    return word_is(w, "normal") || word_is(w, "master") || word_is(w, "replica") ||
           word_is(w, "slave") || word_is(w, "pubsub");
}

static void client_list(peer *p, const word *words, int n)
{
    server *s = p->server;
    char *text = nullptr;
    size_t size = 0;
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
            add_line(&text, &size, each);
    }
    if (!by_id && (!by_type || word_is(&words[3], "normal")))
        for (const peer *each = s->peers.next; each != &s->peers; each = each->next)
            add_line(&text, &size, each);
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
    const word *address, *local;
    bool none; // of a kind that nobody here is
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
        v->none = v->none || !word_is(w, "normal");
        if (is_client_type(w))
            return true;
        reply_error(p, "ERR Unknown client type '%.*s'", (int)w->size, w->text);
    } else if (word_is(words, "user")) {
        if (is_default(w))
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
    return !p->ending && !v->none && (v->id == 0 || (int64_t)p->id == v->id) &&
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
    bool blocked = other != nullptr && other->wait != nullptr && other->wait->time_out != again;
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

static void client_info(peer *p, const word *, int)
{
    char line[1024];
    reply_page(p, line, describe(p, line, sizeof line));
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
    if (set_name(p, &words[2]))
        reply_ok(p);
}

static void client_no_evict(peer *p, const word *words, int)
{
    if (word_is(&words[2], "on") || word_is(&words[2], "off"))
        reply_ok(p);
    else
        reply_syntax(p);
}

static void client_set_info(peer *p, const word *, int)
{
    reply_ok(p);
}

void weft::command_client(peer *p, const word *words, int n)
{
    static const command_row subcommands[] = {
        {"client|id", client_id, 2, 0, 0, 0, 0},
        {"client|info", client_info, 2, 0, 0, 0, 0},
        {"client|list", client_list, -2, 0, 0, 0, 0},
        {"client|getname", client_get_name, 2, 0, 0, 0, 0},
        {"client|setname", client_set_name, 3, 0, 0, 0, 0},
        {"client|kill", client_kill, -3, 0, 0, 0, 0},
        {"client|unblock", client_unblock, -3, 0, 0, 0, 0},
        {"client|no-evict", client_no_evict, 3, 0, 0, 0, 0},
        {"client|reply", client_reply, 3, 0, 0, 0, 0},
        {"client|setinfo", client_set_info, 4, 0, 0, 0, 0},
    };
    subcommand(p, words, n, "client", subcommands, sizeof subcommands / sizeof *subcommands);
}
