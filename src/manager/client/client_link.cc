// client_link.cc: the connection: its beginning and end, sending and receiving.
//
// The socket is non-blocking and waited for by poll(2), or in weft_io_run by io_keep_wait, which
// knows a connection by its number: so one client can serve a thread, then a tasklet.
//
// Replies come in the order of the commands, and that is all that tells which is whose.  A call
// that gives up before its reply has come leaves it owed (`late`), and the next call takes it
// first: the connection stays, and with it what it holds on the server.  So at most one is late.
// A call that is cancelled ends the connection, for the server may let it wait for ever.
//
// A child of fork has its parent's socket and must not touch it.  The process id tells, at
// the beginning of each call and after each wait of a tasklet.
#include "client.h"

#include <async/here.h>
#include <base/errno.h>
#include <base/time.h>
#include <weft/io.h>

#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

using namespace weft;

enum { KEPT_ROOM = 256 << 10 };

// ---- The end of a connection ----

void weft::client_hang_up(int *fd, uint64_t number)
{
    if (*fd >= 0)
        io_keep_end(*fd, number);
    close_keep_errno(fd);
}

static void hang_up(weft_client *c)
{
    client_hang_up(&c->fd, c->number);
    reader_reset(&c->in);
    c->out.begin = c->out.end = 0;
    c->late = LATE_NONE;
    c->session = 0;
}

void weft::client_drop(weft_client *c)
{
    hang_up(c);
    c->noted.begin = c->noted.end = 0;
    c->noted_begins = c->noted_ends = 0;
    c->owed = 0;
    c->begun = false;
}

void weft::client_leave_to_parent(weft_client *c)
{
    client_drop(c);
    client_leave_cluster(c);
    client_leave_transaction(c);
    if (getrandom(&c->id, sizeof c->id, 0) != (ssize_t)sizeof c->id)
        c->id = (uint64_t)weft_now() ^ (uint64_t)getpid() << 32;
    c->pid = getpid();
}

// ---- Waiting ----

// A tasklet forked while this one waited, and this is the child's twin of it.
static bool is_parents(const weft_client *c)
{
    return c->pid != getpid();
}

// Which of `events` the socket is ready for.
static int await(weft_client *c, int events)
{
    if (!in_io_run())
        return client_wait(c->fd, events, c->limit);
    int is = io_keep_wait(c->fd, c->number, events, c->limit);
    return is_parents(c) ? fail_with(EPIPE) : is;
}

int weft::client_sleep(weft_client *c, weft_deadline d)
{
    int saved = errno;
    if (!in_io_run()) {
        if (client_wait(-1, 0, d) < 0 && errno != ETIMEDOUT)
            return -1;
    } else if (weft_tasklet_sleep(d) != 0) {
        return -1;
    }
    if (is_parents(c)) {
        client_drop(c);
        return fail_with(ECONNRESET);
    }
    errno = saved;
    return 0;
}

// ---- Receiving ----

static bool is_end(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN;
}

// Receives what there is: 1, 0 when there is nothing, -1.
static int receive_some(weft_client *c)
{
    size_t room;
    char *to = reader_room(&c->in, &room);
    if (to == nullptr)
        return -1;
    for (;;) {
        ssize_t n = recv(c->fd, to, room, 0);
        if (n > 0)
            reader_got(&c->in, (size_t)n);
        if (n > 0)
            return 1;
        if (n == 0)
            return fail_with(EPIPE);
        if (errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return fail_with(is_end(errno) ? EPIPE : errno);
    }
}

// All of it.
static int receive_all(weft_client *c)
{
    int got;
    while ((got = receive_some(c)) > 0)
        ;
    return got;
}

// The next reply or push.  `later`: it is not there yet, for sure.
static weft_reply *receive(weft_client *c, bool later)
{
    for (;;) {
        weft_reply *r = reader_next(&c->in);
        if (r != nullptr || errno != EAGAIN)
            return r;
        if (later && await(c, WEFT_READ) < 0)
            return nullptr;
        int got = receive_some(c);
        if (got < 0)
            return nullptr;
        later = got == 0;
    }
}

static void keep_push(weft_client *c, weft_reply *r)
{
    weft_reply **last = &c->pushes;
    while (*last != nullptr)
        last = client_reply_link(*last);
    *last = r;
}

// Whether it is a message beside the replies.  SUBSCRIBE and its like have a push as their reply.
static bool is_beside(const weft_reply *r)
{
    static const char *const replies[] = {"subscribe",   "psubscribe",   "ssubscribe",
                                          "unsubscribe", "punsubscribe", "sunsubscribe"};
    if (r->type != WEFT_REPLY_PUSH)
        return false;
    for (size_t i = 0; r->size > 0 && i < sizeof replies / sizeof *replies; i++)
        if (r->items[0].text != nullptr && strcmp(r->items[0].text, replies[i]) == 0)
            return false;
    return true;
}

static weft_reply *receive_reply(weft_client *c, bool later)
{
    for (;;) {
        weft_reply *r = receive(c, later);
        if (r == nullptr || !is_beside(r))
            return r;
        keep_push(c, r);
    }
}

// ---- Sending ----

// Sends n bytes; *sent is how many have been.  Meanwhile it receives, for a server whose replies
// nobody takes would stop reading.  0 also when the server has ended the connection after some of
// it: it may have said why.
static int send_all(weft_client *c, const char *data, size_t n, size_t *sent)
{
    while (*sent < n) {
        ssize_t k = send(c->fd, data + *sent, n - *sent, MSG_NOSIGNAL);
        if (k > 0)
            *sent += (size_t)k;
        if (k >= 0 || errno == EINTR)
            continue;
        if (is_end(errno) && *sent > 0)
            break;
        if (errno != EAGAIN)
            return -1;
        int is = await(c, WEFT_READ | WEFT_WRITE);
        if (is < 0)
            return -1;
        if (is & WEFT_READ && receive_all(c) < 0)
            return errno == EPIPE && *sent > 0 ? 0 : -1;
    }
    return 0;
}

static int flush(weft_client *c, bytes *o)
{
    if (send_all(c, o->data, o->end, &o->begin) != 0)
        return -1;
    o->begin = o->end = 0;
    if (o->room > KEPT_ROOM)
        bytes_release(o);
    return 0;
}

// ---- Connecting ----

static const weft_reply *find(const weft_reply *map, const char *key)
{
    bool pairs = map->type == WEFT_REPLY_MAP || map->type == WEFT_REPLY_ARRAY;
    for (size_t i = 0; pairs && i + 1 < map->size; i += 2)
        if (map->items[i].text != nullptr && strcmp(map->items[i].text, key) == 0)
            return &map->items[i + 1];
    return nullptr;
}

static int read_hello(weft_client *c, const weft_reply *r)
{
    if (r->type == WEFT_REPLY_ERROR)
        return fail_with(client_errno(c, r));
    const weft_reply *server = find(r, "server");
    if (server == nullptr || server->text == nullptr)
        return client_fail(c, EPROTO, "HELLO: not a server of Redis's protocol", 0);
    c->server = strcmp(server->text, "weft") == 0 ? WEFT_SERVER_WEFT : WEFT_SERVER_REDIS;
    return 0;
}

static int say_hello(weft_client *c)
{
    size_t sent = 0;
    weft_reply *r = nullptr;
    if (send_all(c, c->hello, c->hello_size, &sent) == 0)
        r = receive_reply(c, true);
    if (r == nullptr)
        return client_fail(c, errno == EPIPE ? ECONNRESET : errno, "HELLO", errno);
    int result = read_hello(c, r);
    weft_reply_free(r);
    return result;
}

// *greeted: whether it failed after that.
static int open_connection(weft_client *c, bool *greeted)
{
    static uint64_t last;
    *greeted = false;
    hang_up(c);
    c->fd = client_connect(client_address(c), c->limit);
    if (c->fd < 0) {
        client_go_elsewhere(c);
        return client_fail(c, errno, "connect", errno);
    }
    c->number = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    *greeted = true;
    if (is_parents(c) || say_hello(c) != 0) {
        int error = is_parents(c) ? ECONNRESET : errno;
        hang_up(c);
        client_go_elsewhere(c);
        return fail_with(error);
    }
    c->connection++;
    return 0;
}

int weft::client_open(weft_client *c)
{
    bool greeted;
    return open_connection(c, &greeted);
}

// ---- Being ready ----

static bool is_own_error(int error)
{
    return error == EACCES || error == EPROTO || error == ENOMEM || error == ECANCELED;
}

// The errno of a failure after which the server has surely seen nothing.
static int not_sent(weft_client *c, const char *what)
{
    return is_own_error(errno) ? -1 : client_fail(c, ENOTCONN, what, errno);
}

// Whether the connection, on which nothing is owed, stands: without asking, it would be found out
// by what is sent and then may have been done.  What comes unasked is pushes; else it is an end's
// reason.
static bool stands(weft_client *c)
{
    int saved = errno, ended = receive_all(c) < 0;
    weft_reply *r;
    while ((r = reader_next(&c->in)) != nullptr && r->type == WEFT_REPLY_PUSH)
        keep_push(c, r);
    ended |= r != nullptr || errno != EAGAIN;
    weft_reply_free(r);
    errno = saved;
    return !ended;
}

// A number, which Redis says as text.
static client_word word_of(const weft_reply *r, char text[NUMBER_ROOM])
{
    return r->type == WEFT_REPLY_INTEGER ? client_number(text, r->integer)
                                         : client_bytes(r->text, r->size);
}

// Notes in `out` what undoes that which a late reply tells of.  0: nothing does; -1: ENOMEM.
static int put_undo(weft_client *c, const weft_reply *r)
{
    int result = 0;
    if (c->late == LATE_FIRST && r->type == WEFT_REPLY_STRING) {
        client_word back[] = {client_text("LPUSH"),
                              client_bytes(bytes_at(&c->undo), bytes_count(&c->undo)),
                              client_bytes(r->text, r->size)};
        return client_put(&c->out, back, 3) == 0 ? 1 : -1;
    }
    if (c->late == LATE_JOB && r->type == WEFT_REPLY_ARRAY && r->size > 2) {
        char id[NUMBER_ROOM], token[NUMBER_ROOM];
        client_word back[] = {word_of(&r->items[0], id), word_of(&r->items[1], token),
                              client_text("UNDONE"), client_text("")};
        result = client_put_more(&c->undo, back, 4) == 0 ? 1 : -1;
    } else if (c->late == LATE_UNDO && r->type == WEFT_REPLY_INTEGER) {
        result = 1;
    }
    if (result > 0) {
        bytes empty = c->out;
        c->out = c->undo;
        c->undo = empty;
    }
    return result;
}

// What was left of a command is sent, and the late reply taken.
static int settle(weft_client *c)
{
    while (c->late != LATE_NONE) {
        weft_reply *r = flush(c, &c->out) == 0 ? receive_reply(c, false) : nullptr;
        if (r == nullptr && errno == ETIMEDOUT)
            return client_fail(c, ENOTCONN, "an earlier answer has not come", 0);
        if (r == nullptr) {
            int result = not_sent(c, "receive");
            hang_up(c);
            return result;
        }
        int undo = put_undo(c, r);
        weft_reply_free(r);
        c->late = undo > 0 ? LATE_DROP : LATE_NONE;
        if (undo < 0) {
            hang_up(c); // by which the server knows that it has not been seen
            return -1;
        }
    }
    return 0;
}

// What a call says of a connection that could not be made.
static int not_connected(bool greeted)
{
    if (errno == ECANCELED || errno == ENOMEM || (greeted && is_own_error(errno)))
        return -1;
    return fail_with(ENOTCONN);
}

int weft::client_ready(weft_client *c)
{
    bool greeted;
    if (c->fd >= 0 && c->late == LATE_NONE && !c->begun && !stands(c)) {
        bool lost = c->session != 0;
        hang_up(c);
        c->once |= lost;
        if (lost)
            return client_fail(c, ENOTCONN, "the connection has ended, and what was set for it", 0);
    }
    if (c->fd < 0 && open_connection(c, &greeted) != 0)
        return not_connected(greeted);
    c->ready = settle(c) == 0;
    return c->ready ? 0 : -1;
}

int weft::client_ready_in_time(weft_client *c)
{
    client_tries t = {};
    weft_reply *none = nullptr;
    int result;
    do
        result = client_ready(c);
    while (result != 0 && client_again(c, &t, &none));
    return result;
}

// ---- One command ----

static const client_word ASKING = {"ASKING", 6, nullptr, nullptr};

// No reply has come.  What has not been sent at all was not done.
static void give_up(weft_client *c, bool sent, int late)
{
    if (errno == ETIMEDOUT && sent) {
        c->late = late;
        client_fail(c, ECONNRESET, "no answer in time", 0);
    } else if (errno == ETIMEDOUT) {
        c->out.begin = c->out.end = 0;
        client_fail(c, ENOTCONN, "it takes no commands", 0);
    } else {
        if (!is_own_error(errno))
            client_fail(c, sent ? ECONNRESET : ENOTCONN, sent ? "receive" : "send", errno);
        hang_up(c);
    }
}

static weft_reply *say_and_receive(weft_client *c, const client_word words[], size_t n, int late)
{
    if (client_put(&c->out, words, n) != 0)
        return nullptr;
    bool sent = flush(c, &c->out) == 0;
    weft_reply *r = sent ? receive_reply(c, true) : nullptr;
    if (r == nullptr)
        give_up(c, sent || c->out.begin > 0, late);
    return r;
}

weft_reply *weft::client_ask(weft_client *c, const client_word words[], size_t n, int late)
{
    if (!c->ready && client_ready(c) != 0)
        return nullptr;
    c->ready = false;
    if (!c->asking)
        return say_and_receive(c, words, n, late);
    weft_reply *r = say_and_receive(c, &ASKING, 1, LATE_DROP);
    if (r == nullptr) {
        errno = errno == ECONNRESET ? ENOTCONN : errno; // the command itself was not sent
        return nullptr;
    }
    weft_reply_free(r);
    r = say_and_receive(c, words, n, late);
    client_go_back(c);
    return r;
}

// ---- Pipelines ----

weft_reply *weft::client_next(weft_client *c)
{
    // While nothing is owed, the end of the connection is news.
    bool ready = c->fd >= 0 && c->late == LATE_NONE && (c->begun || c->owed == 0);
    if (!ready && client_ready_in_time(c) != 0) {
        if (errno != ENOTCONN && errno != ECANCELED)
            client_drop(c);
        return nullptr;
    }
    bool sent = flush(c, &c->noted) == 0;
    if (sent) {
        c->session = (c->session & ~c->noted_ends) | c->noted_begins;
        c->noted_begins = c->noted_ends = 0;
    }
    c->begun = c->owed > 0 && (sent || c->noted.begin > 0);
    weft_reply *r = !sent ? nullptr : c->owed > 0 ? receive_reply(c, false) : receive(c, false);
    if (r == nullptr && errno != ETIMEDOUT && errno != ECANCELED) {
        if (!is_own_error(errno))
            client_fail(c, c->begun ? ECONNRESET : ENOTCONN, "receive", errno);
        if (c->begun || is_own_error(errno))
            client_drop(c);
        else
            hang_up(c); // what is noted stays
    }
    if (r == nullptr || is_beside(r) || c->owed == 0)
        return r;
    c->begun = --c->owed > 0;
    return r;
}

// What was only noted is not sent.  Behind a part of a command nothing can be, and an item that
// nobody has seen goes back with a connection that ends without it.
void weft::client_say_quit(weft_client *c)
{
    client_word quit = client_text("QUIT");
    if (c->fd < 0 || c->noted.begin > 0 || (c->late != LATE_NONE && c->late != LATE_DROP))
        return;
    c->limit = WEFT_NOW;
    if (bytes_count(&c->out) == 0 && client_put(&c->out, &quit, 1) == 0)
        flush(c, &c->out);
}
