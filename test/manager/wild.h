// wild.h: whole commands made of any bytes, run by a server in this process: whatever the bytes
// are, it goes on, and when the clients have gone nothing is held or waited for.
//
//     wild_open();
//     wild_run(data, size);        // as often as you like
//     wild_close();                // nothing stays in memory
//
// A byte chooses the connection and how the command is sent, the next ones the command and its
// words, which come from a list or are bytes as they are.  It aborts where something is wrong.
#ifndef WEFT_TEST_WILD_H
#define WEFT_TEST_WILD_H

#include <manager/server/place.h>
#include <manager/server/server.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { WILD_CLIENTS = 4, WILD_WORDS = 14 };

static weft::server wild_server;
static weft_manager_options wild_options;
static weft::settings wild_settings;
static int wild_clients[WILD_CLIENTS];
static char wild_text[1 << 20]; // what goes to one connection, until it is sent
static size_t wild_size;
static unsigned long long wild_commands;

static inline void wild_must(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "wild: not so: %s\n", what);
    abort();
}

// ---- Bytes in ----

struct wild_bytes {
    const unsigned char *at, *end;
};

static inline unsigned wild_byte(wild_bytes *b)
{
    return b->at < b->end ? *b->at++ : 0;
}

// ---- Words ----

static inline const char *wild_known(unsigned i)
{
    static const char *const known[] = {"k0",
                                        "k1",
                                        "k2",
                                        "k3",
                                        "k0",
                                        "k1",
                                        "0",
                                        "1",
                                        "2",
                                        "3",
                                        "-1",
                                        "0",
                                        "1",
                                        "10",
                                        "100",
                                        "-100",
                                        "0.001",
                                        "1.5",
                                        "1e300",
                                        "nan",
                                        "inf",
                                        "",
                                        "a",
                                        "b",
                                        "5000000000",
                                        "k*",
                                        "*",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "EX",
                                        "PX",
                                        "EXAT",
                                        "PXAT",
                                        "NX",
                                        "XX",
                                        "GT",
                                        "LT",
                                        "GET",
                                        "KEEPTTL",
                                        "PERSIST",
                                        "COUNT",
                                        "MATCH",
                                        "TYPE",
                                        "string",
                                        "list",
                                        "hash",
                                        "set",
                                        "LEFT",
                                        "RIGHT",
                                        "BEFORE",
                                        "AFTER",
                                        "RANK",
                                        "MAXLEN",
                                        "WITHVALUES",
                                        "REPLACE",
                                        "DB",
                                        "LIMIT",
                                        "ASYNC",
                                        "SYNC",
                                        "DISCARD",
                                        "DRAIN",
                                        "TIED",
                                        "FREE",
                                        "AGAIN",
                                        "NEVER",
                                        "UNDONE",
                                        "QUEUE",
                                        "LOCK",
                                        "SEMAPHORE",
                                        "BARRIER",
                                        "EVENT",
                                        "ID",
                                        "ADDR",
                                        "LADDR",
                                        "normal",
                                        "pubsub",
                                        "SKIPME",
                                        "yes",
                                        "no",
                                        "on",
                                        "off",
                                        "skip",
                                        "TIMEOUT",
                                        "ERROR",
                                        "ALL",
                                        "WRITE",
                                        "lib-name",
                                        "lib-ver",
                                        "AUTH",
                                        "SETNAME",
                                        "FILTERBY",
                                        "MODULE",
                                        "ACLCAT",
                                        "PATTERN",
                                        "maxmemory",
                                        "timeout",
                                        "save",
                                        "SAMPLES",
                                        "proto-max-bulk-len",
                                        "maxclients",
                                        "requirepass",
                                        "set-max-intset-entries",
                                        "set",
                                        "get",
                                        "blmpop",
                                        "everything",
                                        "commandstats",
                                        "CHANNELS",
                                        "NUMSUB",
                                        "NUMPAT",
                                        "SCHEDULE",
                                        "1:1",
                                        "default",
                                        "0 1 2",
                                        "JOBS",
                                        "config|set"};
    return known[i % (sizeof known / sizeof *known)];
}

static inline void wild_add(const void *text, size_t n)
{
    if (wild_size + n > sizeof wild_text)
        return; // cut short, as any may be
    memcpy(wild_text + wild_size, text, n);
    wild_size += n;
}

static inline void wild_add_word(const char *text, size_t n)
{
    char head[32];
    wild_add(head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", n));
    wild_add(text, n);
    wild_add("\r\n", 2);
}

static inline void wild_make_word(wild_bytes *b)
{
    static char long_one[20000];
    unsigned kind = wild_byte(b);
    if (kind < 240) {
        const char *text = wild_known(kind);
        wild_add_word(text, strlen(text));
    } else if (kind < 252) {
        size_t n = wild_byte(b) % 32, left = (size_t)(b->end - b->at);
        n = n < left ? n : left;
        wild_add_word((const char *)b->at, n);
        b->at += n;
    } else {
        memset(long_one, 'x', sizeof long_one);
        wild_add_word(long_one, kind == 252 ? 45 : kind == 253 ? 65 : kind == 254 ? 5000 : 20000);
    }
}

// ---- Commands ----

// All of them, with the subcommands; how many.
static inline unsigned wild_rows(const weft::command_row ***all)
{
    static const weft::command_row *rows[512];
    static unsigned count;
    for (int k = count == 0 ? 0 : weft::commands_count; k < weft::commands_count; k++) {
        const weft::command_row *c = &weft::commands[k];
        if (strcmp(c->name, "shutdown") == 0)
            continue;
        rows[count++] = c;
        for (c = c->below; c != nullptr && c->name != nullptr; c++)
            rows[count++] = c;
    }
    *all = rows;
    return count;
}

// How many of them have run so far, when it was last looked: CONFIG RESETSTAT makes them forget.
static inline unsigned wild_rows_run(void)
{
    static bool run[512];
    const weft::command_row **rows;
    unsigned all = 0;
    for (unsigned i = 0, n = wild_rows(&rows); i < n; i++) {
        run[i] = run[i] || rows[i]->counts.calls > 0;
        all += run[i];
    }
    return all;
}

static inline void wild_make_command(wild_bytes *b)
{
    char text[64];
    unsigned high = wild_byte(b);
    const weft::command_row **rows;
    unsigned count = wild_rows(&rows);
    const weft::command_row *c = rows[(high << 8 | wild_byte(b)) % count];
    int least = c->words < 0 ? -c->words : c->words, words = least;
    unsigned how = wild_byte(b);
    if (how < 16)
        words = 1 + (int)how % 3; // mostly too few
    else if (c->words < 0)
        words += (int)(how % 6);
    words = words < WILD_WORDS ? words : WILD_WORDS;
    wild_add(text, (size_t)snprintf(text, sizeof text, "*%d\r\n", words));
    const char *below = strchr(c->name, '|');
    size_t n = below != nullptr ? (size_t)(below - c->name) : strlen(c->name);
    wild_add_word(c->name, n);
    int i = 1;
    if (below != nullptr && words > 1) {
        wild_add_word(below + 1, strlen(below + 1));
        i++;
    }
    for (; i < words; i++)
        wild_make_word(b);
    wild_commands++;
}

// ---- The server ----

static inline int wild_connect(void)
{
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    int n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "weft-wild-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    wild_must(connect(fd, (struct sockaddr *)&a,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0,
              "it listens");
    return fd;
}

static inline void wild_round(void)
{
    static char sink[65536];
    wild_must(weft_loop_run(wild_server.loop, WEFT_LOOP_ONCE, WEFT_NOW) >= -1, "the loop runs");
    for (int fd : wild_clients)
        while (fd >= 0 && recv(fd, sink, sizeof sink, 0) == (ssize_t)sizeof sink)
            ;
}

static inline void wild_send(int client)
{
    for (size_t sent = 0; sent < wild_size;) {
        ssize_t n = send(wild_clients[client], wild_text + sent, wild_size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break; // it was cut
        sent += n > 0 ? (size_t)n : 0;
        if (n < 0 && wild_server.waiting > 0)
            break; // it is blocked, and what it sends waits
        wild_round();
    }
    wild_size = 0;
    wild_round();
}

static inline void wild_reconnect(int client)
{
    close(wild_clients[client]);
    wild_clients[client] = wild_connect();
    wild_round();
}

static inline void wild_open(void)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-wild-%d", (int)getpid());
    for (int &fd : wild_clients)
        fd = -1;
    wild_must(weft::server_open(&wild_server, address, &wild_options) == 0, "it opens");
    wild_options = wild_server.o;
    wild_settings = wild_server.x;
}

static inline bool wild_keys(void)
{
    for (int db = 0; db < weft::DATABASES; db++)
        if (wild_server.keys[db].count > 0 || wild_server.expiring[db] > 0)
            return true;
    return false;
}

// Rounds until there are no more clients than that, and then no key.
static inline void wild_settle(size_t clients, bool keys)
{
    for (int i = 0; i < 10000 && (wild_server.count > clients || (!keys && wild_keys())); i++)
        wild_round();
    wild_must(wild_server.count <= clients, "the clients have gone");
    wild_must(keys || !wild_keys(), "no key is left");
}

// The clients go; what CONFIG SET has changed is as it was; one more removes all.
static inline void wild_end(void)
{
    for (int &fd : wild_clients) {
        close(fd);
        fd = -1;
    }
    weft::password_set(&wild_server, "", 0);
    wild_server.o = wild_options;
    wild_server.x = wild_settings;
    int fd = wild_connect();
    wild_server.pause = weft::PAUSE_NONE; // CLIENT UNPAUSE would have to wait, too
    wild_settle(1, true);
    (void)!send(fd, "FLUSHALL\r\n", 10, MSG_NOSIGNAL);
    wild_settle(1, false);
    close(fd);
    wild_settle(0, false);
    wild_must(wild_server.waiting == 0, "nobody waits");
    wild_must(wild_server.locks == 0, "no lock is held");
    wild_must(wild_server.watches == 0, "no key is watched");
}

static inline void wild_run(const unsigned char *data, size_t size)
{
    wild_bytes b = {data, data + size};
    for (int &fd : wild_clients)
        fd = wild_connect();
    while (b.at < b.end) {
        unsigned how = wild_byte(&b);
        int client = (int)(how % WILD_CLIENTS);
        for (unsigned n = 1 + how / WILD_CLIENTS % 8; n > 0 && b.at < b.end; n--)
            wild_make_command(&b);
        if (how >= 248)
            wild_size = wild_size / 2; // cut off
        wild_send(client);
        wild_rows_run();
        if (how >= 240)
            wild_reconnect(client);
    }
    wild_end();
}

extern "C" void __lsan_do_leak_check(void) __attribute__((weak));

static inline void wild_close(void)
{
    weft::server_close(&wild_server);
    if (weft::bytes_in_use != 0 && __lsan_do_leak_check != nullptr)
        __lsan_do_leak_check(); // says where it was taken
    wild_must(weft::bytes_in_use == 0, "all memory was given back");
}

#endif
