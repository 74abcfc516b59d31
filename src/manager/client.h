// client.h: one connection, and commands on it.
//
// A call on a client goes
//     weft_private_client_enter      nobody else is in one; connected
//     weft_private_client_put        a command, into the buffer that is sent
//     weft_private_client_ask        sends it, receives its reply
//     weft_private_client_leave
#ifndef WEFT_MANAGER_CLIENT_H
#define WEFT_MANAGER_CLIENT_H

#include "client_reply.h"

// A word of a command: bytes, and text around them (NULL: none).
typedef struct weft_private_client_word {
    const void *data;
    size_t size;
    const char *before, *after;
} weft_private_client_word;

// What is to be sent: from `begin` to `end`.
typedef struct weft_private_outbox {
    char *data;
    size_t room, begin, end;
} weft_private_outbox;

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
    weft_private_outbox out;
    weft_private_reader in;
    size_t owed;        // replies of weft_client_append
    weft_reply *pushes; // came while something else was waited for; the oldest first
    char error[256];
};

static inline weft_private_client_word weft_private_client_bytes(const void *data, size_t n)
{
    return {data, n, nullptr, nullptr};
}

static inline weft_private_client_word weft_private_client_text(const char *text)
{
    return {text, strlen(text), nullptr, nullptr};
}

enum { WEFT_CLIENT_NUMBER_ROOM = 24 };

#ifdef __cplusplus
extern "C" {
#endif

// A number, whose digits are put into `text`, of WEFT_CLIENT_NUMBER_ROOM.
weft_private_client_word weft_private_client_number(char *text, int64_t number);

// The caller becomes the user of `c`, which is connected then; `d` as the call's.
int weft_private_client_enter(weft_client *c, weft_deadline d);
void weft_private_client_leave(weft_client *c); // leaves errno alone

// Whether somebody is in a call, who has not stayed behind at a fork.
bool weft_private_client_in_use(const weft_client *c);

// Notes a command for sending.  ENOMEM: nothing is noted.
int weft_private_client_put(weft_client *c, const weft_private_client_word words[], size_t n);

// Sends it, and waits for its reply until a second after `d`.  What fails ends the connection.
weft_reply *weft_private_client_ask(weft_client *c, weft_deadline d);

// Outside weft_io_run: until the descriptor is ready for one of `events`, which those are; -1:
// until `d`, in any case.  ETIMEDOUT, ECANCELED.
int weft_private_client_wait(int fd, int events, weft_deadline d);

// Sleeps until `d`, between two commands.  ECANCELED; EPIPE in a child.
int weft_private_client_sleep(weft_client *c, weft_deadline d);

// The errno of an error reply, which is noted for weft_client_error.
int weft_private_client_errno(weft_client *c, const weft_reply *error);

// A socket that is connected to the address: non-blocking, close-on-exec.
int weft_private_client_connect(const char *address, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
