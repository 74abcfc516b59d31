// server.h: what the manager's server is made of.
//
// One thread, one loop (weft/loop.h).  A peer is a connected client.  Its bytes are read into one
// buffer that all share, its commands run from there, and their replies leave in one send: a peer
// that is idle has neither buffer.  What is left over, of a command or of replies, is kept by the
// peer until the rest comes or goes.
//
// Peers are freed in one place alone, at the end of a round (server.cc, tidy): whoever ends one
// only marks it, so that a pointer to a peer is good as long as a callback runs.
#ifndef WEFT_MANAGER_SERVER_H
#define WEFT_MANAGER_SERVER_H

#include "entry.h"
#include "memory.h"
#include "request.h"

#include <weft/loop.h>
#include <weft/manager.h>

#include <sys/stat.h>

enum { WEFT_DATABASES = 16, WEFT_INPUT = 65536 };

// The longest command.  A word is shorter than that by what stands around it, so that it fits as
// a key, and as a place's name, which is two bytes longer.
static const size_t WEFT_MESSAGE_MAX = 512 << 20;
static_assert(WEFT_MESSAGE_MAX <= WEFT_KEY_MAX + 1, "a key's length fits");

typedef struct weft_private_server weft_private_server;
typedef struct weft_private_peer weft_private_peer;
typedef struct weft_private_wait weft_private_wait;
typedef struct weft_private_hold weft_private_hold;
typedef struct weft_private_place weft_private_place;

typedef struct weft_private_buffer {
    char *data;
    size_t begin, end, room;
} weft_private_buffer;

typedef struct weft_private_command {
    const char *name; // in small letters
    void (*fn)(weft_private_peer *p, const weft_private_word *words, int n);
    int words; // with its name; below 0: at least
    unsigned flags;
    int first, last, step; // where its keys are, for COMMAND
} weft_private_command;

enum {
    WEFT_COMMAND_ADDS = 1, // not when memory is full
    WEFT_COMMAND_OPEN = 2, // also without a password
    WEFT_COMMAND_WRITES = 4,
    WEFT_COMMAND_WAITS = 8
};

// An item that the peer has got and may not have seen: its next command says that it has.
typedef struct weft_private_lease {
    weft_private_item *item; // nullptr: none
    int db;
    bool front;  // where it goes back to
    bool always; // and not only if the connection was reset
    char *key;
    size_t key_size;
} weft_private_lease;

struct weft_private_peer {
    weft_watch watch;
    weft_private_server *server;
    weft_private_peer *next, *previous; // all
    weft_private_peer *next_dirty;      // in server->dirty
    uint64_t id;
    weft_private_buffer in, out;  // what is left over of input; what is to be sent
    weft_private_request request; // that began in `in`
    weft_private_wait *wait;      // it is blocked; nullptr: it is not
    weft_private_hold *holds;     // its locks and units
    weft_private_lease lease;
    char *name;
    int64_t since, active, moved; // connected, last command, last progress of `out`: weft_now()
    uint8_t protocol;             // 2, 3
    uint8_t db;
    uint8_t wrong;       // passwords
    uint8_t silent;      // CLIENT REPLY: 1 off, 2 skip the next, 3 skip this
    bool known;          // it needs no password, or has said it
    bool turn;           // a postponed AUTH has its turn
    bool local;          // by a unix socket
    bool is_dirty;       // it is in server->dirty
    bool resume;         // its wait is over: go on with `in`
    bool last;           // end it when `out` has gone
    bool doomed;         // end it
    bool reset;          // it did not get, or not read, all that it was sent
    const char *running; // the name of its last command
};

struct weft_private_server {
    weft_loop *loop;
    weft_listener listener;
    weft_signal signals[2];
    weft_watch owners, parent; // how the end comes to be known (start.cc)
    weft_alarm second;         // while anything is to be looked at each second
    weft_task tidy;
    weft_manager_options o;
    char address[160];
    int port;
    bool is_unix, ending;
    struct stat file; // the socket's, to be removed at the end; st_nlink 0: there is none

    weft_private_table keys[WEFT_DATABASES];
    size_t expiring[WEFT_DATABASES];
    weft_private_table places; // by kind, database, name
    weft_private_place *ready; // may be able to serve those who wait
    weft_private_place **ready_end;
    size_t waiting; // peers
    size_t locks;   // held
    int64_t token;  // the last fencing token

    weft_private_peer peers; // the list's head
    weft_private_peer *dirty;
    size_t count;
    uint64_t ids;
    int64_t auth_next; // before that no password is looked at

    char *input;                  // WEFT_INPUT bytes
    weft_private_request request; // of the peer that is being served
    weft_private_buffer spare;    // for its replies

    int64_t started;
    uint64_t connections, refused, commands, expired, hits, misses;
};

extern weft_private_server *weft_private_here; // the process's one

// ---- server.cc ----

// Opens the listener; 0, or -1 and errno.  Then it serves until its end is told.
int weft_private_server_open(weft_private_server *s, const char *address,
                             const weft_manager_options *opts);
int weft_private_server_run(weft_private_server *s);
void weft_private_server_close(weft_private_server *s);
void weft_private_server_end(weft_private_server *s);

// ---- peer.cc ----

void weft_private_peer_open(weft_listener *l, int fd);
void weft_private_peer_free(weft_private_peer *p);

// Sees to it that what is in `out`, or left in `in`, or its end, is dealt with in this round.
void weft_private_peer_dirty(weft_private_peer *p);
void weft_private_peer_tidy(weft_private_peer *p);
void weft_private_peer_doom(weft_private_peer *p);

// ---- commands.cc ----

void weft_private_execute(weft_private_peer *p, const weft_private_word *words, int n);
const weft_private_command *weft_private_command_find(const weft_private_word *name);
extern const weft_private_command weft_private_commands[];
extern const int weft_private_command_count;
void weft_private_commands_open(void);

// ---- reply.cc: to the peer ----

void weft_private_reply_raw(weft_private_peer *p, const char *text, size_t n);
void weft_private_reply_status(weft_private_peer *p, const char *text);
void weft_private_reply_ok(weft_private_peer *p);
__attribute__((format(printf, 2, 3))) void weft_private_reply_error(weft_private_peer *p,
                                                                    const char *format, ...);
void weft_private_reply_integer(weft_private_peer *p, int64_t number);
void weft_private_reply_string(weft_private_peer *p, const char *text, size_t n);
void weft_private_reply_page(weft_private_peer *p, const char *text, size_t n); // for people
void weft_private_reply_text(weft_private_peer *p, const char *text);
void weft_private_reply_null(weft_private_peer *p);
void weft_private_reply_null_array(weft_private_peer *p);
void weft_private_reply_array(weft_private_peer *p, size_t n);
void weft_private_reply_map(weft_private_peer *p, size_t n);
void weft_private_reply_set(weft_private_peer *p, size_t n);

// The errors that many commands share.
void weft_private_reply_wrong_type(weft_private_peer *p);
void weft_private_reply_syntax(weft_private_peer *p);
void weft_private_reply_not_integer(weft_private_peer *p);

// ---- key.cc: keys of the peer's database ----

// The link of a key that has not expired.  nullptr: there is none.
weft_private_entry **weft_private_key_find(weft_private_server *s, int db,
                                           const weft_private_word *key);

// The same of one type.  false: it has another, and the peer was told.
bool weft_private_key_typed(weft_private_peer *p, const weft_private_word *key, int type,
                            weft_private_entry ***link);

// The list or hash of that name, made if need be.  nullptr: as above.
weft_private_entry *weft_private_key_make(weft_private_peer *p, const weft_private_word *key,
                                          int type);

// Sets a string, or replaces what is there; `keep` its expiry.
void weft_private_key_set(weft_private_server *s, int db, const weft_private_word *key,
                          const char *text, size_t n, bool keep);
void weft_private_key_remove(weft_private_server *s, int db, weft_private_entry **link);

// Removes a list or hash with nothing in it.
void weft_private_key_remove_if_empty(weft_private_server *s, int db, const weft_private_word *key);

// Milliseconds on the wall clock, as expiries are; when it expires; -1: never.
int64_t weft_private_wall_ms(void);
int64_t weft_private_key_expires(const weft_private_entry *e);
void weft_private_key_expire_at(weft_private_server *s, int db, weft_private_entry **link,
                                int64_t at_ms);
void weft_private_key_persist(weft_private_server *s, int db, weft_private_entry **link);

// All keys of a database; all.
void weft_private_key_flush(weft_private_server *s, int db);

// ---- Words ----

bool weft_private_word_is(const weft_private_word *w, const char *small); // in whatever case
bool weft_private_integer(weft_private_peer *p, const weft_private_word *w, int64_t *number);
bool weft_private_matches(const char *pattern, size_t n, const char *text, size_t size);

// A timeout in seconds, as text with a fraction, to a deadline.  false: the peer was told.
bool weft_private_seconds(weft_private_peer *p, const weft_private_word *w, weft_deadline *d);

#endif
