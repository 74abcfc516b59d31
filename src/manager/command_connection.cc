// command_connection.cc: the connection: PING ECHO AUTH HELLO SELECT CLIENT QUIT RESET, as Redis
// has them.
//
// After a wrong password over TCP the next one, whoever's, is looked at only some time later: the
// command is kept and run again then.  So all connections together can guess five times a second.
#include "commands.h"
#include "place.h"

#include <weft/io.h>

#include <limits.h>

static const int64_t GUESS_NS = 200000000, GUESSES_NS = 10000000000; // apart; ahead at most
enum { GUESSES = 3 };                                                // a connection

void weft_private_command_ping(weft_private_peer *p, const weft_private_word *words, int n)
{
    if (n > 2)
        weft_private_reply_error(p, "ERR wrong number of arguments for 'ping' command");
    else if (n == 2)
        weft_private_reply_string(p, words[1].text, words[1].size);
    else
        weft_private_reply_status(p, "PONG");
}

void weft_private_command_echo(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_reply_string(p, words[1].text, words[1].size);
}

void weft_private_command_select(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t db;
    if (!weft_private_integer(p, &words[1], &db))
        return;
    if (db != (int)db) {
        weft_private_reply_error(
            p, "ERR value is out of range, value must between -2147483648 and 2147483647");
        return;
    }
    if (db < 0 || db >= WEFT_DATABASES) {
        weft_private_reply_error(p, "ERR DB index is out of range");
        return;
    }
    p->db = (uint8_t)db;
    weft_private_reply_ok(p);
}

void weft_private_command_quit(weft_private_peer *p, const weft_private_word *, int)
{
    weft_private_reply_ok(p);
    p->last = true;
}

void weft_private_command_reset(weft_private_peer *p, const weft_private_word *, int)
{
    p->protocol = 2;
    p->db = 0;
    p->silent = 0;
    p->known = p->server->o.password == nullptr;
    weft_private_give(p->name);
    p->name = nullptr;
    weft_private_reply_status(p, "RESET");
}

// ---- Passwords ----

// In a time that does not depend on how much of it is right.
static bool is_password(const char *password, const weft_private_word *w)
{
    size_t n = strlen(password);
    volatile unsigned differs = n != w->size;
    for (size_t i = 0; i < w->size; i++)
        differs = differs | (unsigned)(w->text[i] ^ password[i % n]);
    return differs == 0;
}

static void again(weft_private_wait *w)
{
    weft_private_peer *p = w->peer;
    weft_private_request r = {};
    weft_private_request_limits limits = {INT_MAX, SIZE_MAX, SIZE_MAX, true};
    const char *error;
    p->turn = true;
    if (weft_private_request_read(&r, (char *)w->text.text, w->text.size, &limits, &error) ==
        WEFT_REQUEST_WHOLE)
        weft_private_execute(p, r.words, (int)r.count);
    p->turn = false;
    weft_private_give(r.words);
}

// Keeps the command until it has its turn.
static void postpone(weft_private_peer *p, const weft_private_word *words, int n, int64_t at)
{
    weft_private_word text = {};
    char head[32], *copy = nullptr;
    for (int i = -1; i < n; i++) {
        size_t size = i < 0 ? 0 : words[i].size;
        int length = i < 0 ? snprintf(head, sizeof head, "*%d\r\n", n)
                           : snprintf(head, sizeof head, "$%zu\r\n", size);
        copy = (char *)weft_private_retake(copy, text.size + (size_t)length + size + 2);
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
    weft_private_wait_begin(p, 0, &text, at)->time_out = again;
    weft_private_give(copy);
}

// The one user there is; unlike names of commands, in small letters.
static bool is_default(const weft_private_word *user)
{
    return user->size == 7 && memcmp(user->text, "default", 7) == 0;
}

// Whether user and password are right.  false: the peer was told, or waits for its turn.
static bool authenticate(weft_private_peer *p, const weft_private_word *user,
                         const weft_private_word *password, const weft_private_word *words, int n)
{
    weft_private_server *s = p->server;
    int64_t now = weft_now();
    if (!p->local && !p->turn && s->auth_next > now) {
        if (s->auth_next - now > GUESSES_NS) {
            weft_private_reply_error(p, "ERR too many wrong passwords, try again later");
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
    weft_private_reply_error(p, "WRONGPASS invalid username-password pair or user is disabled.");
    s->auth_next = s->auth_next > now + GUESS_NS ? s->auth_next : now + GUESS_NS;
    if (++p->wrong >= GUESSES && s->o.password != nullptr)
        p->last = true;
    return false;
}

void weft_private_command_auth(weft_private_peer *p, const weft_private_word *words, int n)
{
    static const weft_private_word user = {"default", 7};
    if (n > 3) {
        weft_private_reply_syntax(p);
    } else if (n == 2 && p->server->o.password == nullptr) {
        weft_private_reply_error(
            p, "ERR AUTH <password> called without any password configured for the default user. "
               "Are you sure your configuration is correct?");
    } else if (authenticate(p, n == 3 ? &words[1] : &user, &words[n - 1], words, n)) {
        weft_private_reply_ok(p);
    }
}

// ---- Names, HELLO ----

static bool set_name(weft_private_peer *p, const weft_private_word *name)
{
    for (size_t i = 0; i < name->size; i++)
        if (name->text[i] < '!' || name->text[i] > '~') {
            weft_private_reply_error(
                p, "ERR Client names cannot contain spaces, newlines or special characters.");
            return false;
        }
    weft_private_give(p->name);
    p->name = nullptr;
    if (name->size > 0) {
        p->name = (char *)weft_private_take(name->size + 1);
        memcpy(p->name, name->text, name->size);
        p->name[name->size] = 0;
    }
    return true;
}

static void reply_hello(weft_private_peer *p)
{
    weft_private_reply_map(p, 7);
    weft_private_reply_text(p, "server");
    weft_private_reply_text(p, "weft");
    weft_private_reply_text(p, "version");
    weft_private_reply_text(p, "7.0.0");
    weft_private_reply_text(p, "proto");
    weft_private_reply_integer(p, p->protocol);
    weft_private_reply_text(p, "id");
    weft_private_reply_integer(p, (int64_t)p->id);
    weft_private_reply_text(p, "mode");
    weft_private_reply_text(p, "standalone");
    weft_private_reply_text(p, "role");
    weft_private_reply_text(p, "master");
    weft_private_reply_text(p, "modules");
    weft_private_reply_array(p, 0);
}

// HELLO [version [AUTH user password] [SETNAME name]]: what comes first is done first, and stays
// done if what follows is wrong.
void weft_private_command_hello(weft_private_peer *p, const weft_private_word *words, int n)
{
    int64_t version = 0;
    if (n >= 2 && !weft_private_number(words[1].text, words[1].size, &version)) {
        weft_private_reply_error(p, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (n >= 2 && version != 2 && version != 3) {
        weft_private_reply_error(p, "NOPROTO unsupported protocol version");
        return;
    }
    for (int i = 2; i < n; i++) {
        if (weft_private_word_is(&words[i], "auth") && i + 2 < n) {
            if (!authenticate(p, &words[i + 1], &words[i + 2], words, n))
                return;
            i += 2;
        } else if (weft_private_word_is(&words[i], "setname") && i + 1 < n) {
            if (!set_name(p, &words[++i]))
                return;
        } else {
            weft_private_reply_error(p, "ERR Syntax error in HELLO option '%.*s'",
                                     (int)words[i].size, words[i].text);
            return;
        }
    }
    if (!p->known) {
        weft_private_reply_error(
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

static void address_of(const weft_private_peer *p, int whose, char *text, size_t room)
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
static size_t describe(const weft_private_peer *p, char *text, size_t room)
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

static weft_private_peer *peer_of(weft_private_server *s, int64_t id)
{
    for (weft_private_peer *p = s->peers.next; p != &s->peers; p = p->next)
        if ((int64_t)p->id == id && !p->doomed)
            return p;
    return nullptr;
}

static void add_line(char **text, size_t *n, const weft_private_peer *each)
{
    char line[1024];
    size_t size = describe(each, line, sizeof line);
    *text = (char *)weft_private_retake(*text, *n + size);
    memcpy(*text + *n, line, size);
    *n += size;
}

static bool is_client_type(const weft_private_word *w)
{
    return weft_private_word_is(w, "normal") || weft_private_word_is(w, "master") ||
           weft_private_word_is(w, "replica") || weft_private_word_is(w, "slave") ||
           weft_private_word_is(w, "pubsub");
}

static void client_list(weft_private_peer *p, const weft_private_word *words, int n)
{
    weft_private_server *s = p->server;
    char *text = nullptr;
    size_t size = 0;
    bool by_type = n == 4 && weft_private_word_is(&words[2], "type");
    bool by_id = n >= 4 && weft_private_word_is(&words[2], "id");
    if (n > 2 && !by_type && !by_id) {
        weft_private_reply_syntax(p);
        return;
    }
    if (by_type && !is_client_type(&words[3])) {
        weft_private_reply_error(p, "ERR Unknown client type '%.*s'", (int)words[3].size,
                                 words[3].text);
        return;
    }
    for (int i = 3; by_id && i < n; i++) {
        int64_t id;
        if (!weft_private_number(words[i].text, words[i].size, &id)) {
            weft_private_reply_error(p, "ERR Invalid client ID");
            weft_private_give(text);
            return;
        }
        const weft_private_peer *each = peer_of(s, id);
        if (each != nullptr)
            add_line(&text, &size, each);
    }
    if (!by_id && (!by_type || weft_private_word_is(&words[3], "normal")))
        for (const weft_private_peer *each = s->peers.next; each != &s->peers; each = each->next)
            add_line(&text, &size, each);
    weft_private_reply_page(p, text != nullptr ? text : "", size);
    weft_private_give(text);
}

static void kill(weft_private_peer *p, weft_private_peer *victim)
{
    if (victim == p)
        p->last = true; // it gets its reply
    else
        weft_private_peer_doom(victim);
}

static bool has_address(const weft_private_peer *p, int whose, const weft_private_word *w)
{
    char address[192];
    address_of(p, whose, address, sizeof address);
    return strlen(address) == w->size && memcmp(address, w->text, w->size) == 0;
}

// Who is to be killed: 0 and nullptr for what does not matter.
typedef struct victims {
    int64_t id;
    const weft_private_word *address, *local;
    bool none; // of a kind that nobody here is
    bool skip_me;
} victims;

// One pair of CLIENT KILL's.  false: the peer was told.
static bool read_victims(weft_private_peer *p, const weft_private_word *words, victims *v)
{
    const weft_private_word *w = &words[1];
    if (weft_private_word_is(words, "id")) {
        if (weft_private_number(w->text, w->size, &v->id) && v->id > 0)
            return true;
        weft_private_reply_error(p, "ERR client-id should be greater than 0");
    } else if (weft_private_word_is(words, "type")) {
        v->none = v->none || !weft_private_word_is(w, "normal");
        if (is_client_type(w))
            return true;
        weft_private_reply_error(p, "ERR Unknown client type '%.*s'", (int)w->size, w->text);
    } else if (weft_private_word_is(words, "user")) {
        if (is_default(w))
            return true;
        weft_private_reply_error(p, "ERR No such user '%.*s'", (int)w->size, w->text);
    } else if (weft_private_word_is(words, "addr")) {
        v->address = w;
        return true;
    } else if (weft_private_word_is(words, "laddr")) {
        v->local = w;
        return true;
    } else if (weft_private_word_is(words, "skipme") &&
               (weft_private_word_is(w, "yes") || weft_private_word_is(w, "no"))) {
        v->skip_me = weft_private_word_is(w, "yes");
        return true;
    } else {
        weft_private_reply_syntax(p);
    }
    return false;
}

static bool is_victim(const weft_private_peer *p, const victims *v)
{
    return !p->doomed && !v->none && (v->id == 0 || (int64_t)p->id == v->id) &&
           (v->address == nullptr || has_address(p, WEFT_IO_PEER, v->address)) &&
           (v->local == nullptr || has_address(p, WEFT_IO_LOCAL, v->local));
}

// CLIENT KILL address | {ID id | ADDR address | LADDR address | TYPE type | USER user |
// SKIPME yes|no} ...
static void client_kill(weft_private_peer *p, const weft_private_word *words, int n)
{
    weft_private_server *s = p->server;
    int64_t killed = 0;
    victims v = {};
    v.skip_me = n > 3;
    v.address = n == 3 ? &words[2] : nullptr;
    if (n > 3 && n % 2 != 0) {
        weft_private_reply_syntax(p);
        return;
    }
    for (int i = 2; n > 3 && i < n; i += 2)
        if (!read_victims(p, &words[i], &v))
            return;
    for (weft_private_peer *each = s->peers.next; each != &s->peers; each = each->next) {
        if (!is_victim(each, &v) || (v.skip_me && each == p))
            continue;
        kill(p, each);
        killed++;
    }
    if (n > 3)
        weft_private_reply_integer(p, killed);
    else if (killed > 0)
        weft_private_reply_ok(p);
    else
        weft_private_reply_error(p, "ERR No such client");
}

// CLIENT UNBLOCK id [TIMEOUT|ERROR]
static void client_unblock(weft_private_peer *p, const weft_private_word *words, int n)
{
    int64_t id;
    if (n > 4) {
        weft_private_reply_error(p,
                                 "ERR unknown subcommand or wrong number of arguments for '%.*s'. "
                                 "Try CLIENT HELP.",
                                 (int)words[1].size, words[1].text);
        return;
    }
    bool error = n == 4 && weft_private_word_is(&words[3], "error");
    if (n == 4 && !error && !weft_private_word_is(&words[3], "timeout")) {
        weft_private_reply_error(p, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (!weft_private_integer(p, &words[2], &id))
        return;
    weft_private_peer *other = peer_of(p->server, id);
    bool blocked = other != nullptr && other->wait != nullptr && other->wait->time_out != again;
    if (blocked) {
        if (error)
            weft_private_reply_error(other, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        else
            other->wait->time_out(other->wait);
        weft_private_wait_end(other->wait);
    }
    weft_private_reply_integer(p, blocked);
}

static void client_reply(weft_private_peer *p, const weft_private_word *words, int)
{
    if (weft_private_word_is(&words[2], "on")) {
        p->silent = 0;
        weft_private_reply_ok(p);
    } else if (weft_private_word_is(&words[2], "off")) {
        p->silent = 1;
    } else if (weft_private_word_is(&words[2], "skip")) {
        p->silent = p->silent == 1 ? 1 : 2;
    } else {
        weft_private_reply_syntax(p);
    }
}

static void client_id(weft_private_peer *p, const weft_private_word *, int)
{
    weft_private_reply_integer(p, (int64_t)p->id);
}

static void client_info(weft_private_peer *p, const weft_private_word *, int)
{
    char line[1024];
    weft_private_reply_page(p, line, describe(p, line, sizeof line));
}

static void client_get_name(weft_private_peer *p, const weft_private_word *, int)
{
    if (p->name != nullptr)
        weft_private_reply_text(p, p->name);
    else
        weft_private_reply_null(p);
}

static void client_set_name(weft_private_peer *p, const weft_private_word *words, int)
{
    if (set_name(p, &words[2]))
        weft_private_reply_ok(p);
}

static void client_no_evict(weft_private_peer *p, const weft_private_word *words, int)
{
    if (weft_private_word_is(&words[2], "on") || weft_private_word_is(&words[2], "off"))
        weft_private_reply_ok(p);
    else
        weft_private_reply_syntax(p);
}

static void client_set_info(weft_private_peer *p, const weft_private_word *, int)
{
    weft_private_reply_ok(p);
}

void weft_private_command_client(weft_private_peer *p, const weft_private_word *words, int n)
{
    static const weft_private_command subcommands[] = {
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
    weft_private_subcommand(p, words, n, "client", subcommands,
                            sizeof subcommands / sizeof *subcommands);
}
