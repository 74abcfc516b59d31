// client.h: one connection, and commands on it.
//
// A call on a client goes
//     client_enter      nobody else is in one; connected
//     client_put        a command, into the buffer that is sent
//     client_ask        sends it, receives its reply
//     client_leave
#ifndef WEFT_MANAGER_CLIENT_H
#define WEFT_MANAGER_CLIENT_H

#include "client_reply.h"

#include <base/number.h>

namespace weft {

// A word of a command: bytes, and text around them (NULL: none).
struct client_word {
    const void *data;
    size_t size;
    const char *before, *after;
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
    int fd;              // -1: not connected
    pid_t pid;           // whose connection it is
    int server;          // WEFT_SERVER_...
    uint64_t connection; // how many there have been
    uint64_t id;         // of this client in this process: who has a lease on Redis
    bytes out;           // to be sent
    reply_reader in;
    size_t owed;        // replies of weft_client_append
    weft_reply *pushes; // came while something else was waited for; the oldest first
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

// The caller becomes the user of `c`, which is connected then; `d` as the call's.
int client_enter(weft_client *c, weft_deadline d);
void client_leave(weft_client *c); // leaves errno alone

// Whether somebody is in a call, who has not stayed behind at a fork.
bool client_in_use(const weft_client *c);

// Notes a command for sending.  ENOMEM: nothing is noted.
int client_put(weft_client *c, const client_word words[], size_t n);

// Sends it, and waits for its reply until a second after `d`.  What fails ends the connection.
weft_reply *client_ask(weft_client *c, weft_deadline d);

// Outside weft_io_run: until the descriptor is ready for one of `events`, which those are; -1:
// until `d`, in any case.  ETIMEDOUT, ECANCELED.
int client_wait(int fd, int events, weft_deadline d);

// Sleeps until `d`, between two commands.  ECANCELED; EPIPE in a child.
int client_sleep(weft_client *c, weft_deadline d);

// The errno of an error reply, which is noted for weft_client_error.
int client_errno(weft_client *c, const weft_reply *error);

// A socket that is connected to the address: non-blocking, close-on-exec.
int client_connect(const char *address, weft_deadline d);

} // namespace weft

#endif
