// command_connection.cc: the connection: PING ECHO AUTH HELLO SELECT CLIENT QUIT RESET, as Redis
// has them.
//
// After a wrong password over TCP the next one, whoever's, is looked at only some time later: the
// command is kept and run again then.  So all connections together can guess five times a second.
#include "commands.h"
#include "multi.h"
#include "place.h"
#include "topic.h"

#include <weft/io.h>

#include <limits.h>

using namespace weft;

static const int64_t GUESS_NS = 200000000, GUESSES_NS = 10000000000; // apart; ahead at most
enum { GUESSES = 3 };                                                // a connection

void weft::command_ping(peer *p, const word *words, int n)
{
    if (n > 2) {
        reply_error(p, "ERR wrong number of arguments for 'ping' command");
    } else if (p->protocol == 2 && subscriptions(p) > 0) { // it looks like a message
        reply_array(p, 2);
        reply_text(p, "pong");
        reply_string(p, words[n - 1].text, n == 2 ? words[1].size : 0);
    } else if (n == 2) {
        reply_string(p, words[1].text, words[1].size);
    } else {
        reply_status(p, "PONG");
    }
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
    p->no_evict = false;
    transaction_end(p);
    subscriptions_end(p);
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
    clock_stop(p->server);
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
    peer_wait *w = wait_begin(p, 0, &text, at);
    w->time_out = again;
    w->postponed = true;
    memory_give(copy);
}

// The one user there is; unlike names of commands, in small letters.
bool weft::is_default_user(const word *user)
{
    return user->size == 7 && memcmp(user->text, "default", 7) == 0;
}

// Whether user and password are right.  false: the peer was told, or waits for its turn.
static bool authenticate(peer *p, const word *user, const word *password, const word *words, int n)
{
    server *s = p->server;
    int64_t now = weft_now();
    if (!p->local && !p->turn && !runs_transaction(p) && s->auth_next > now) {
        if (s->auth_next - now > GUESSES_NS) {
            reply_error(p, "ERR too many wrong passwords, try again later");
            p->last = true;
            return false;
        }
        postpone(p, words, n, s->auth_next);
        s->auth_next += GUESS_NS;
        return false;
    }
    if (is_default_user(user) &&
        (s->o.password == nullptr || is_password(s->o.password, password))) {
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
            if (!client_name(p, &words[++i]))
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
