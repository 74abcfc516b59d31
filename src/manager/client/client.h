// client.h: one connection, and commands on it.
//
// A call on a client goes
//     client_enter      nobody else is in one
//     client_ready      connected, and nothing is owed from before
//     client_ask        a command, and its reply
//     client_again      whether it surely did not run, and there is time for another try
//     client_leave
#ifndef WEFT_MANAGER_CLIENT_H
#define WEFT_MANAGER_CLIENT_H

#include "client_reply.h"

#include <base/number.h>

struct addrinfo;

namespace weft {

struct endpoint;
struct client_cluster;

// A word of a command: bytes, and text around them (NULL: none).
struct client_word {
    const void *data;
    size_t size;
    const char *before, *after;
};

// What becomes of a reply for which nobody waits any more, when it comes.
enum {
    LATE_NONE,  // none is owed
    LATE_DROP,  // nothing
    LATE_UNDO,  // if it is a number, the command `undo` is sent
    LATE_FIRST, // if it is a string, it becomes the first of the list named `undo` again
    LATE_JOB,   // if it is a job, `undo` and the words that give that one back are sent
};

// What was said that a new connection would know nothing of.
enum {
    SESSION_TRANSACTION = 1, // MULTI, WATCH
    SESSION_LASTING = 2,     // SUBSCRIBE, SELECT
};

} // namespace weft

using namespace weft;

struct weft_client {
    uintptr_t user; // the thread that is in a call, 0: none; by compare-and-swap
    size_t proxies; // that are open; atomic

    // Never changes.
    char *address;
    char *hello; // the command that begins a connection, with the password in it
    size_t hello_size;

    // The user's.
    int64_t answer;      // ns: how long a call that may not wait takes for its answer
    weft_deadline limit; // of the call: beyond that it waits for nothing
    bool once;           // it tries nothing again
    bool ready;          // client_ready has just said so
    int fd;              // -1: not connected
    pid_t pid;           // whose connection it is
    int server;          // WEFT_SERVER_...
    uint64_t connection; // how many there have been
    uint64_t number;     // of this one, among all of this process
    uint64_t id;         // of this client in this process: who has a lease on Redis
    bytes out;           // a command, until all of it is sent
    reply_reader in;
    int late; // what is owed to a call that has given up: LATE_...
    bytes undo;
    int session;             // SESSION_...
    client_cluster *cluster; // the servers it has named; NULL: none
    int at;                  // which of them it is connected to; 0: to `address`
    bool asking;             // for one command only
    bytes noted;             // by weft_client_append
    int noted_begins;        // what that makes of the session once it is sent
    int noted_ends;
    size_t owed;         // replies to that
    bool begun;          // some of it may have been sent
    int transaction;     // client_transaction.cc: how far it has come; 0: there is none
    uint64_t watched_on; // the connection on which keys are watched; 0: none are
    weft_reply *pushes;  // came while something else was waited for; the oldest first
    char error[256];
};

namespace weft {

static inline client_word client_bytes(const void *data, size_t n)
{
    return {data, n, nullptr, nullptr};
}

static inline client_word client_text(const char *text)
{
    return {text, strlen(text), nullptr, nullptr};
}

// A number, whose digits are put into `text`.
client_word client_number(char text[NUMBER_ROOM], int64_t number);

// ---- client.cc: who is in a call ----

// The caller becomes the user of `c`; `d` as the call's.
int client_enter(weft_client *c, weft_deadline d);
void client_leave(weft_client *c); // leaves errno alone

// Whether somebody is in a call, who has not stayed behind at a fork.
bool client_in_use(const weft_client *c);

// ---- client_link.cc: the connection ----

// Connects if need be, and deals with what is owed from before.  One try.  ENOTCONN, EACCES,
// EPROTO, ENOMEM, ECANCELED.
int client_ready(weft_client *c);

// The same, tried again until the call's deadline.
int client_ready_in_time(weft_client *c);

// Sends a command to a client that may not be ready, and waits for its reply.  NULL: as above, and
// ECONNRESET, after which the reply may be owed still: then that is `late`.
weft_reply *client_ask(weft_client *c, const client_word words[], size_t n, int late);

// Sends what weft_client_append has noted to a client that is ready; the next reply, or when none
// is owed whatever comes.  As above, but ETIMEDOUT: it is owed still.
weft_reply *client_next(weft_client *c);

// Connects anew: errno as connect(2) says it.
int client_open(weft_client *c);

// Ends the connection.  Nothing is owed any more.
void client_drop(weft_client *c);

// Closes a connection, *fd, of that number.
void client_hang_up(int *fd, uint64_t number);

// client_like.cc: another client of the same server.
weft_client *client_like(const weft_client *c, weft_deadline d);

// Says QUIT, if nothing is in the way.
void client_say_quit(weft_client *c);

// In a child of fork nothing of the connection is its own.
void client_leave_to_parent(weft_client *c);

// Outside weft_io_run: until the descriptor is ready for one of `events`, which those are; -1:
// until `d`, in any case.  ETIMEDOUT, ECANCELED.
int client_wait(int fd, int events, weft_deadline d);

// Sleeps until `d`, between two commands.  ECANCELED; ECONNRESET in a child.
int client_sleep(weft_client *c, weft_deadline d);

// ---- client_cluster.cc: where a cluster says that things are ----

// Those bytes of a key, between its first braces, by which a cluster places it; NULL: by all.
const char *client_key_tag(const char *key, size_t n, size_t *size);

// The address that it is, or is to be, connected to.
const char *client_address(const weft_client *c);

// Goes to the server that an error MOVED or ASK names, the latter for one command.  false: it
// names none, or ENOMEM.
bool client_go_on(weft_client *c, const weft_reply *error, bool ask);

// Before a command about that name: goes to the server that is known to have it.
void client_go_to(weft_client *c, const char *name, size_t n);

// Behind a command that was asked after ASK: goes back.
void client_go_back(weft_client *c);

// The server is not there: begins at `address` again, or at another one if it was that.
void client_go_elsewhere(weft_client *c);

// Ends all connections but the one in use, and forgets who was named.
void client_leave_cluster(weft_client *c);

// ---- client_again.cc: what is tried again ----

// All zero: nothing has been tried.
struct client_tries {
    int64_t pause_ms;
    int sent_on; // from one server of a cluster to another
};

// Whether what client_ask returned, and errno if that is NULL, says that the command surely did
// not run, and it is to be tried once more: after a pause, and elsewhere if so said.  The reply
// is released then.
bool client_again(weft_client *c, client_tries *t, weft_reply **r);

// ---- The others ----

// In a child of fork: its parent's transaction is not its own (client_transaction.cc).
void client_leave_transaction(weft_client *c);

// Notes a command in `to`, or its beginning, behind which `more` words are put by
// client_put_more.  ENOMEM: nothing is noted.
int client_put(bytes *to, const client_word words[], size_t n, size_t more = 0);
int client_put_more(bytes *to, const client_word words[], size_t n);

// The errno of an error reply, which is noted for weft_client_error.
int client_errno(weft_client *c, const weft_reply *error);

// Notes for weft_client_error what failed, and how (0: the text says it), and fails with `error`.
int client_fail(weft_client *c, int error, const char *what, int how);

// The addresses of a name, to be freed by freeaddrinfo; outside weft_io_run.
int client_resolve(const endpoint *a, struct addrinfo **list, weft_deadline d);

// A socket that is connected to the address: non-blocking, close-on-exec.
int client_connect(const char *address, weft_deadline d);

} // namespace weft

#endif
