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

#include <base/bytes.h>
#include <base/list.h>

#include <weft/loop.h>
#include <weft/manager.h>

#include <sys/stat.h>

namespace weft {

enum { DATABASES = 16, INPUT_ROOM = 65536 };

// The longest command.  A word is shorter than that by what stands around it, so that it fits as
// a key, and as a place's name, which is two bytes longer.
static const size_t MESSAGE_MAX = 512 << 20;
static_assert(MESSAGE_MAX <= KEY_MAX + 1, "a key's length fits");

struct server;
struct peer;
struct peer_wait;
struct peer_hold;
struct peer_owner;
struct place;
struct work;
struct expiry_wheel;
struct transaction;
struct topic_list;

// What INFO and the metrics say of a command.
struct command_counts {
    uint64_t calls, ns;        // that ran, and for how long
    uint64_t rejected, failed; // not run; told an error
};

// One of the holds of a peer, or of a place.
struct hold_link {
    hold_link *next, *previous;
    peer_hold *hold;
};

// First in a peer_owner (owner.cc): in a list of those that are to be seen to.
struct owner_ring {
    owner_ring *next, *previous;
};

// One of the jobs that a peer has, and loses with its end.
struct job_link {
    job_link *next, *previous;
    struct job *job;
};

// First in a place: in the ring of all of them.
struct place_ring {
    place_ring *next, *previous;
};

struct command_row {
    const char *name; // in small letters
    void (*fn)(peer *p, const word *words, int n);
    int words; // with its name; below 0: at least
    unsigned flags;
    int first, last, step;              // where its keys are, for COMMAND
    const command_row *below = nullptr; // its subcommands, up to one without a name
    const char *help = nullptr;         // of a subcommand: lines for HELP
    mutable command_counts counts = {};
};

enum {
    COMMAND_ADDS = 1, // not when memory is full
    COMMAND_OPEN = 2, // also without a password
    COMMAND_WRITES = 4,
    COMMAND_WAITS = 8,
    COMMAND_AT_ONCE = 16, // it is not queued in a transaction
    COMMAND_ALONE = 32,   // not in a transaction
    COMMAND_LISTENS = 64  // also of who has subscribed by protocol 2
};

// An item that the peer has got and may not have seen: its next command says that it has.
struct item_lease {
    list_item *item; // nullptr: none
    int db;
    bool front;  // where it goes back to
    bool always; // and not only if the connection was reset
    bool counts; // its queue's counts were changed for it
    char *key;
    size_t key_size;
};

struct peer {
    weft_watch watch;
    struct server *server;
    peer *next, *previous; // all
    peer *next_dirty;      // in server->dirty
    uint64_t id;
    pid_t pid;              // the process that connected; 0: not known
    bytes in, out;          // what is left over of input; what is to be sent
    size_t unread;          // of `out`, after it was sent as far as it went
    struct request request; // that began in `in`
    peer_wait *wait;        // it is blocked; nullptr: it is not
    hold_link holds;        // its locks and units
    size_t held;            // of them
    peer_owner *owner;      // its process is watched; nullptr: it is not
    job_link jobs;          // whose leases end with it
    item_lease lease;
    transaction *multi;  // what it queues (multi.h); nullptr: nothing
    topic_list *watched; // keys (topic.h); nullptr: none
    topic_list *channels, *patterns;
    char *name, *library[2];      // CLIENT SETNAME; SETINFO: its library's name and version
    int64_t since, active, moved; // connected, last command, last progress of `out`: weft_now()
    uint8_t protocol;             // 2, 3
    uint8_t db;
    uint8_t wrong;       // passwords
    uint8_t silent;      // CLIENT REPLY: 1 off, 2 skip the next, 3 skip this
    bool touched;        // a key has changed that it watched
    bool known;          // it needs no password, or has said it
    bool turn;           // a postponed AUTH has its turn
    bool local;          // by a unix socket
    bool is_dirty;       // it is in server->dirty
    bool resume;         // its wait is over: go on with `in`
    bool behind;         // in reading: its commands wait
    bool last;           // end it when `out` has gone
    bool ending;         // end it
    bool no_evict;       // CLIENT NO-EVICT
    bool reset;          // it did not get, or not read, all that it was sent
    bool has_gone;       // it is over, but for holds of its that are not given back yet
    const char *running; // the name of its last command
};

// What CONFIG SET changes beside the options.
struct settings {
    int64_t idle_ns; // who says nothing for so long is cut; 0: nobody is
    // Above these OBJECT ENCODING says that it is the large kind, as Redis would have it.
    size_t hash_entries, hash_value, set_integers;
    int64_t list_size, list_depth, script_ms; // nothing comes of them
};

// A unix socket's, to be removed at the end.
struct socket_file {
    char path[160];
    struct stat is; // st_nlink 0: there is none
};

// Where and how the snapshot is written (snapshot.h).
struct saves {
    int dir;          // the folder of o.save; -1: there is none
    const char *name; // in it
    bool not_at_end;
    pid_t pid; // of who writes; 0: nobody
    weft_child child;
    int64_t begun, took; // of the last: weft_now(), ns
    int64_t last;        // that went well: seconds on the wall clock
    int error;           // of the last; 0: it went well
};

// Descriptors that are not clients'; the longest password.
enum { DESCRIPTORS_OWN = 24, PASSWORD_MAX = 511 };

enum { PAUSE_NONE, PAUSE_WRITES, PAUSE_ALL };

struct server {
    weft_loop *loop;
    weft_listener listener;
    weft_signal signals[3];
    weft_watch owners, parent; // how the end comes to be known (start.cc)
    weft_alarm second;         // while anything is to be looked at each second
    weft_task tidy, background;
    weft_manager_options o;
    settings x;
    saves save;
    char *password; // what o.password points to, once it was changed
    char address[160];
    int port;
    bool is_unix, ending;
    bool is_service;     // systemd is told
    weft_alarm watchdog; // of it
    socket_file file;
    struct metrics *metrics; // nullptr: nobody is told

    table keys[DATABASES];
    size_t expiring[DATABASES];
    expiry_wheel *expiries;
    entry *aside;             // to be dropped: a chain
    struct freed *later;      // to be freed: the same
    bool dropping;            // the background is at it
    table watched[DATABASES]; // keys
    table channels, patterns;
    size_t watches;                          // of all peers
    topic_list *left;                        // that nobody has any more, to be taken out
    table places;                            // by kind, database, name
    place_ring all_places;                   // the next to be looked at first
    size_t to_look_at;                       // of them, until the present round through all ends
    weft_alarm look;                         // goes on with that
    uint32_t flushes, flushes_of[DATABASES]; // FLUSHALL; both
    hold_link released; // of peers that have gone: their holds are still to be given back
    weft_alarm release;
    job_link lost_jobs; // of peers that have gone
    place_ring ready;   // places that may be able to serve those who wait, in their order
    peer_wait *over;    // of those that waited: many links, which are still to be taken out
    size_t waiting;     // peers
    size_t locks;       // held
    int64_t token;      // the last fencing token

    work *works;          // in the background: a ring, from the one whose turn it is; nullptr: none
    uint64_t steps;       // of them, so far
    uint64_t works_began; // of the steps
    char *heap;           // where it began
    size_t heap_kept;     // bytes of its end, as far as they are free; 0: they are not given back

    owner_ring lost;    // of peers that hold something: their processes had ended by then
    owner_ring resting; // of those that may hold nothing any more
    weft_alarm rest;    // sees to these
    size_t processes;   // that are watched
    size_t descriptors; // for clients and their processes

    peer peers; // the list's head
    peer *dirty, **dirty_end;
    size_t count;
    size_t unread;  // bytes of replies that did not go yet, of all
    size_t share;   // bytes of them that each may have before it is behind
    size_t portion; // bytes that are sent before the next commands run
    uint64_t ids;
    int64_t auth_next; // before that no password is looked at

    int pause; // PAUSE_...: such commands wait
    weft_deadline pause_end;
    weft_alarm pause_alarm;

    char *input;            // INPUT_ROOM bytes
    size_t input_left;      // of what is being run: this command and what is behind it
    size_t words_size;      // this command's words alone
    struct request request; // of the peer that is being served
    bytes spare;            // for its replies

    int64_t started;
    uint64_t connections, refused, commands, expired, hits, misses, errors;

    const command_row *timed; // whose time runs, from `timed_since` on; nullptr: nobody's
    int64_t timed_since;
};

extern server *this_server; // the process's one

// Drops what was set aside until no more than so many bytes are in use (drop.cc).  Whether that is
// so.
bool drop_until(server *s, size_t bytes);

// Whether commands that add are to fail.
static inline bool memory_is_full(server *s)
{
    size_t most = s->o.max_memory;
    return most != 0 && bytes_in_use > most && !drop_until(s, most);
}

// ---- server.cc ----

// Opens the listener; 0, or -1 and errno.  Then it serves until its end is told.
int server_open(server *s, const char *address, const weft_manager_options *opts);
int server_run(server *s);
int server_close(server *s); // -1 and errno: it was not saved
void server_end(server *s);

// Sees to the peers that are dirty: at the end of each round.
void server_tidy(server *s);

// ---- service.cc ----

// Sets the password, of which a copy is kept; none of 0 bytes.
void password_set(server *s, const char *text, size_t n);

// The same from its file, opened with these flags, too.  0, or -1: EINVAL (there is none in its
// first line), and others as open(2) and read(2).
int password_load(server *s, int flags);

// Signals, if it is to look at them: 0, or -1 and errno.
int service_open(server *s);

// In the process that serves: it has begun; at the end of any.
void service_begin(server *s);
void service_end(server *s);

// The file of a socket that was just made: 0, or -1 and errno.  Its removal, unless somebody has
// put another there meanwhile.
int socket_file_note(socket_file *f, const char *address);
void socket_file_remove(const socket_file *f);

// ---- metrics.cc ----

// Listens at o.metrics, if there is such an option: 0, or -1 and errno.
int metrics_open(server *s);
void metrics_close(server *s);

// With the port that was chosen.
const char *metrics_address(const server *s);

// ---- background.cc ----

// Calls step(s, arg) again and again, a bounded time in this round of the loop and each of the
// next, until it returns false: there is no more to do.  A step is short, some ten microseconds.
void background(server *s, bool (*step)(server *s, void *arg), void *arg);

// All that is left, at once: at the server's end.
void background_finish(server *s);

// Whether the end of malloc(3)'s heap goes back to the system with whatever makes it long enough.
void heap_trims(bool by_itself);

// ---- peer.cc ----

void peers_open(server *s);
void peer_open(weft_listener *l, int fd, void *);
void peer_free(peer *p);

// Sees to it that what is in `out`, or left in `in`, or its end, is dealt with in this round.
void peer_dirty(peer *p);
void peer_tidy(peer *p);
void peer_end(peer *p);

// Does what it has sent so far, as far as it is not blocked.
void peer_read_rest(peer *p);

// Looks at all each second, from now on.
void seconds_begin(server *s);

// ---- commands.cc ----

void execute(peer *p, const word *words, int n);
void call(peer *p, const command_row *c, const word *words, int n); // what may run

// The command that ran last is over: its time stops.
void clock_stop(server *s);

// nullptr: there is none.  The second also looks for the subcommand, where there are some.
const command_row *command_find(const word *name);
const command_row *command_named(const word *words, int n);
extern const command_row commands[];
extern const int commands_count;
void commands_open(void);

// ---- command_client.cc ----

// Whether this command has to wait for the end of CLIENT PAUSE: the peer waits then, and the
// command is to be read again.
bool client_paused(peer *p, const request *r);

// The same of an inline command at `in`, which reading would change.
bool line_paused(peer *p, const char *in, size_t n, const request_limits *limits);

// Whether it waits for the end of CLIENT PAUSE WRITE: as in Redis also what tells others.
bool is_write(const peer *p, const command_row *c);

// ---- reply.cc: to the peer ----

void reply_raw(peer *p, const char *text, size_t n);
void reply_status(peer *p, const char *text);
__attribute__((format(printf, 2, 3))) void reply_line(peer *p, const char *format, ...);
void reply_ok(peer *p);
__attribute__((format(printf, 2, 3))) void reply_error(peer *p, const char *format, ...);
void reply_integer(peer *p, int64_t number);
void reply_string(peer *p, const char *text, size_t n);
void reply_page(peer *p, const char *text, size_t n); // for people
void reply_text(peer *p, const char *text);
void reply_null(peer *p);
void reply_null_array(peer *p);
void reply_array(peer *p, size_t n);
void reply_map(peer *p, size_t n);
void reply_set(peer *p, size_t n);

// The errors that many commands share.
void reply_wrong_type(peer *p);
void reply_syntax(peer *p);
void reply_not_integer(peer *p);
void reply_full(peer *p); // memory_is_full

// ---- key.cc: keys of the peer's database ----

// The link of a key that has not expired.  nullptr: there is none.
entry **key_find(server *s, int db, const word *key);

// The same of one type.  false: it has another, and the peer was told.
bool key_typed(peer *p, const word *key, int type, entry ***link);

// A new key.  There is none of that name.
entry *key_add(server *s, int db, int type, const word *key, uint32_t hash, size_t size);

// The list, hash or set of that name, made if need be.  nullptr: as above.
entry *key_make(peer *p, const word *key, int type);

// What a hash or a set, as `type` says, has in it; an empty table if there is no such key.
// nullptr: as above.
table *key_table(peer *p, const word *key, int type);

// Sets a string, or replaces what is there; `keep` its expiry.
void key_set(server *s, int db, const word *key, const char *text, size_t n, bool keep);
void key_remove(server *s, int db, entry **link);

// Removes a list, hash or set with nothing in it.
void key_remove_if_empty(server *s, int db, const word *key);

// All keys of a database.
void key_flush(server *s, int db);

// Two databases get one another's keys.
void keys_swap(server *s, int a, int b);

// ---- expiry.cc ----

expiry_wheel *expiry_open(void);

// Milliseconds on the wall clock, as expiries are; when it expires; -1: never.
int64_t wall_ms(void);
int64_t key_expires(const entry *e);
void key_expire_at(server *s, int db, entry **link, int64_t at_ms);
void key_persist(server *s, int db, entry **link);

// Two databases have one another's keys from now on.
void expiries_swap(server *s, int a, int b);

// ---- Words ----

static inline entry **table_find_word(table *t, const word *w)
{
    return table_find(t, w->text, w->size, hash_of(w->text, w->size));
}

bool word_is(const word *w, const char *small);       // in whatever case
bool parse_float(const word *w, long double *number); // of all of it; "inf" is one
bool parse_integer(peer *p, const word *w, int64_t *number);
bool glob_matches(const char *pattern, size_t n, const char *text, size_t size);

// A timeout in seconds, as text with a fraction, to a deadline.  false: the peer was told.
bool parse_seconds(peer *p, const word *w, weft_deadline *d);

} // namespace weft

#endif
