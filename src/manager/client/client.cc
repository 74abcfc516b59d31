// client.cc: a connection: who uses it, its beginning and end, sending and receiving.
//
// The socket is non-blocking and only ever waited for by poll(2) or weft_io_wait, which keep
// nothing about it, so that one client can serve a thread, then a tasklet.
//
// Replies come in the order of the commands, and that is all that tells which is whose.  So a call
// that gives up before its reply has come ends the connection; only weft_client_next, whose
// replies are owed until they are taken, leaves it.
//
// A child of fork has its parent's socket and must not touch it.  The process id tells, at
// the beginning of each call and after each wait of a tasklet.
#include "client.h"

#include <async/here.h>
#include <base/errno.h>
#include <base/time.h>
#include <coro/wait.h>
#include <weft/io.h>
#include <weft/thread.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace weft;

static const int64_t GRACE = 1000000000; // ns: what a server may take beyond the deadline
enum { KEPT_ROOM = 256 << 10, PATH_ROOM = sizeof((struct sockaddr_un *)nullptr)->sun_path };

// Until when the server is waited for.
static weft_deadline limit_of(weft_deadline d)
{
    weft_deadline latest = weft_in_ns(GRACE);
    if (d > WEFT_FOREVER - GRACE)
        return WEFT_FOREVER;
    return d + GRACE > latest ? d + GRACE : latest;
}

// ---- The end of a connection ----

static void free_pushes(weft_client *c)
{
    while (c->pushes != nullptr) {
        weft_reply *next = *client_reply_link(c->pushes);
        weft_reply_free(c->pushes);
        c->pushes = next;
    }
}

static void hang_up(weft_client *c)
{
    close_keep_errno(&c->fd);
    reader_reset(&c->in);
}

// Nothing is owed any more.
static void drop(weft_client *c)
{
    hang_up(c);
    c->out.begin = c->out.end = 0;
    c->owed = 0;
}

// ---- Waiting ----

// The thread was started by weft and told to stop, or the tasklet was cancelled.
static int refusal(weft_deadline d)
{
    if (in_io_run())
        return wait_refusal(d);
    return d > WEFT_NOW && weft_thread_stopping() ? ECANCELED : 0;
}

// A tasklet forked while this one waited, and this is the child's twin of it.
static bool is_parents(const weft_client *c)
{
    return c->pid != getpid();
}

// Which of `events` the socket is ready for.
static int await(weft_client *c, int events, weft_deadline d)
{
    if (!in_io_run())
        return client_wait(c->fd, events, d);
    int is = weft_io_wait(c->fd, events, d);
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
        drop(c);
        return fail_with(EPIPE);
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

// The next reply or push.  `later`: it is not there yet, for sure.
static weft_reply *receive(weft_client *c, bool later, weft_deadline d)
{
    for (;;) {
        weft_reply *r = reader_next(&c->in);
        if (r != nullptr || errno != EAGAIN)
            return r;
        if (later && await(c, WEFT_READ, d) < 0)
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

static weft_reply *receive_reply(weft_client *c, bool later, weft_deadline d)
{
    for (;;) {
        weft_reply *r = receive(c, later, d);
        if (r == nullptr || !is_beside(r))
            return r;
        keep_push(c, r);
    }
}

// ---- Sending ----

// Sends n bytes; *sent is how many have been.  Meanwhile it receives, for a server whose replies
// nobody takes would stop reading.  0 also when the server has ended the connection: it may have
// said why.
static int send_all(weft_client *c, const char *data, size_t n, size_t *sent, weft_deadline d)
{
    while (*sent < n) {
        ssize_t k = send(c->fd, data + *sent, n - *sent, MSG_NOSIGNAL);
        if (k > 0)
            *sent += (size_t)k;
        if (k >= 0 || errno == EINTR)
            continue;
        if (is_end(errno))
            break;
        if (errno != EAGAIN)
            return -1;
        int is = await(c, WEFT_READ | WEFT_WRITE, d);
        if (is < 0)
            return -1;
        if (is & WEFT_READ && receive_some(c) < 0)
            return errno == EPIPE ? 0 : -1;
    }
    return 0;
}

static int flush(weft_client *c, weft_deadline d)
{
    bytes *o = &c->out;
    if (send_all(c, o->data, o->end, &o->begin, d) != 0)
        return -1;
    o->begin = o->end = 0;
    if (o->room > KEPT_ROOM)
        bytes_release(o);
    return 0;
}

weft_reply *weft::client_ask(weft_client *c, weft_deadline d)
{
    weft_deadline limit = limit_of(d);
    weft_reply *r = nullptr;
    if (flush(c, limit) == 0)
        r = receive_reply(c, true, limit);
    if (r == nullptr)
        drop(c);
    return r;
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
        return fail_with(EPROTO);
    c->server = strcmp(server->text, "weft") == 0 ? WEFT_SERVER_WEFT : WEFT_SERVER_REDIS;
    return 0;
}

static int open_connection(weft_client *c, weft_deadline d)
{
    weft_deadline limit = limit_of(d);
    size_t sent = 0;
    c->fd = client_connect(c->address, limit);
    if (c->fd < 0)
        return -1;
    if (is_parents(c)) {
        hang_up(c);
        return fail_with(EPIPE);
    }
    weft_reply *r = nullptr;
    int result = -1;
    if (send_all(c, c->hello, c->hello_size, &sent, limit) == 0)
        r = receive_reply(c, true, limit);
    if (r != nullptr)
        result = read_hello(c, r);
    weft_reply_free(r);
    if (result != 0) {
        hang_up(c);
        return -1;
    }
    c->connection++;
    return 0;
}

// In a child of fork nothing of the connection is its own.
static void leave_to_parent(weft_client *c)
{
    drop(c);
    free_pushes(c);
    if (getrandom(&c->id, sizeof c->id, 0) != (ssize_t)sizeof c->id)
        c->id = (uint64_t)weft_now() ^ (uint64_t)getpid() << 32;
    c->pid = getpid();
}

// ---- Whose turn it is ----

// A number of this thread's own, which a fork leaves it.  No pthread_t, for in a child a new thread
// may get the stack, and with it that of one that stayed behind.
static uintptr_t calling_thread(void)
{
    static uintptr_t last;
    static __thread uintptr_t number;
    if (number == 0)
        number = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    return number;
}

// After a fork the user may have stayed behind, but for a tasklet of the thread that forked.
static bool is_left_behind(const weft_client *c, uintptr_t user)
{
    return c->pid != getpid() && user != calling_thread();
}

bool weft::client_in_use(const weft_client *c)
{
    uintptr_t user = __atomic_load_n(&c->user, __ATOMIC_RELAXED);
    return user != 0 && !is_left_behind(c, user);
}

static int take(weft_client *c)
{
    uintptr_t user = 0, me = calling_thread();
    // Acquire: sees what the last user did.
    if (!__atomic_compare_exchange_n(&c->user, &user, me, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED)) {
        if (!is_left_behind(c, user))
            return fail_with(EBUSY);
        __atomic_store_n(&c->user, me, __ATOMIC_RELAXED); // the child has no other thread yet
    }
    if (c->pid != getpid())
        leave_to_parent(c);
    return 0;
}

void weft::client_leave(weft_client *c)
{
    __atomic_store_n(&c->user, 0, __ATOMIC_RELEASE);
}

int weft::client_enter(weft_client *c, weft_deadline d)
{
    if (take(c) != 0)
        return -1;
    int error = c->owed > 0 ? EBUSY : refusal(d);
    if (error == 0 && (c->fd >= 0 || open_connection(c, d) == 0))
        return 0;
    if (error != 0)
        errno = error;
    client_leave(c);
    return -1;
}

// ---- Clients ----

// A path is made absolute, if there is room, for whoever connects from elsewhere or later.
static char *copy_address(const char *address)
{
    char *copy = nullptr, *here = nullptr;
    if (strncmp(address, "unix:", 5) == 0 && address[5] != '/' && address[5] != '@' &&
        address[5] != 0)
        here = getcwd(nullptr, 0);
    if (here != nullptr && strlen(here) + 1 + strlen(address + 5) < PATH_ROOM) {
        if (asprintf(&copy, "unix:%s/%s", here, address + 5) < 0)
            copy = nullptr;
    } else {
        copy = strdup(address);
    }
    free(here);
    return copy;
}

static int make_hello(weft_client *c, const char *password)
{
    client_word words[] = {client_text("HELLO"), client_text("3"), client_text("AUTH"),
                           client_text("default"),
                           client_text(password != nullptr ? password : "")};
    if (client_put(c, words, password != nullptr ? 5 : 2) != 0)
        return -1;
    c->hello = c->out.data;
    c->hello_size = c->out.end;
    c->out = {};
    return 0;
}

static void release(weft_client *c)
{
    int saved = errno;
    drop(c);
    free_pushes(c);
    free(c->out.data);
    free(c->address);
    if (c->hello != nullptr)
        explicit_bzero(c->hello, c->hello_size);
    free(c->hello);
    free(c);
    errno = saved;
}

weft_client *weft_client_connect(const char *address, const char *password, weft_deadline d)
{
    int saved = errno, error = address == nullptr ? EINVAL : refusal(d);
    weft_client *c = error == 0 ? (weft_client *)calloc(1, sizeof *c) : nullptr;
    if (error != 0)
        errno = error;
    if (c == nullptr)
        return nullptr;
    c->fd = -1;
    c->address = copy_address(address);
    leave_to_parent(c);
    if (c->address == nullptr || make_hello(c, password) != 0 || open_connection(c, d) != 0) {
        release(c);
        return nullptr;
    }
    errno = saved;
    return c;
}

// What was only noted is not sent.  Behind a part of a command nothing can be.
static void say_quit(weft_client *c)
{
    client_word quit = client_text("QUIT");
    if (c->fd < 0 || c->out.begin > 0)
        return;
    c->out.end = 0;
    if (client_put(c, &quit, 1) == 0)
        flush(c, WEFT_NOW);
}

int weft_client_destroy(weft_client *c)
{
    if (c == nullptr)
        return 0;
    if (__atomic_load_n(&c->proxies, __ATOMIC_RELAXED) > 0)
        return fail_with(EBUSY);
    int saved = errno;
    if (take(c) != 0)
        return -1;
    say_quit(c);
    release(c);
    errno = saved;
    return 0;
}

int weft_client_server(const weft_client *c)
{
    return c != nullptr ? c->server : fail_with(EINVAL);
}

const char *weft_client_error(const weft_client *c)
{
    return c != nullptr ? c->error : "";
}

int weft_client_fd(const weft_client *c)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    return c->pid == getpid() ? c->fd : -1;
}

// ---- Commands as they are ----

// Whether there are words, and each has its bytes.
static bool is_command(size_t n, const char *const argv[], const size_t sizes[])
{
    for (size_t i = 0; argv != nullptr && i < n; i++)
        if (argv[i] == nullptr && (sizes == nullptr || sizes[i] > 0))
            return false;
    return n > 0 && argv != nullptr;
}

// Notes it word by word from argv.
static int put_command(weft_client *c, size_t n, const char *const argv[], const size_t sizes[])
{
    client_word few[16] = {}, *words = few;
    if (n > sizeof few / sizeof *few &&
        (words = (client_word *)calloc(n, sizeof *words)) == nullptr)
        return -1;
    for (size_t i = 0; i < n; i++)
        words[i] = client_bytes(argv[i], sizes != nullptr ? sizes[i] : strlen(argv[i]));
    int result = client_put(c, words, n);
    if (words != few)
        free_keep_errno(words);
    return result;
}

static void note_error(weft_client *c, const weft_reply *r)
{
    if (r != nullptr && r->type == WEFT_REPLY_ERROR)
        client_errno(c, r);
}

weft_reply *weft_client_command(weft_client *c, size_t n, const char *const argv[],
                                const size_t sizes[], weft_deadline d)
{
    int saved = errno;
    weft_reply *r = nullptr;
    if (c == nullptr || !is_command(n, argv, sizes)) {
        errno = EINVAL;
        return nullptr;
    }
    if (client_enter(c, d) != 0)
        return nullptr;
    if (put_command(c, n, argv, sizes) == 0)
        r = client_ask(c, d);
    note_error(c, r);
    client_leave(c);
    errno = r != nullptr ? saved : errno;
    return r;
}

int weft_client_append(weft_client *c, size_t n, const char *const argv[], const size_t sizes[])
{
    if (c == nullptr || !is_command(n, argv, sizes))
        return fail_with(EINVAL);
    if (take(c) != 0)
        return -1;
    int result = put_command(c, n, argv, sizes);
    c->owed += result == 0;
    client_leave(c);
    return result;
}

static weft_reply *take_push(weft_client *c)
{
    weft_reply *r = c->pushes;
    c->pushes = *client_reply_link(r);
    return r;
}

// Sends what is noted; the next reply, or when none is owed whatever comes.
static weft_reply *next(weft_client *c, weft_deadline d)
{
    weft_reply *r;
    if (c->owed == 0 && c->pushes != nullptr)
        return take_push(c);
    if (c->fd < 0 && c->owed == 0 && d <= WEFT_NOW) {
        errno = ENOENT;
        return nullptr;
    }
    bool ready = (c->fd >= 0 || open_connection(c, d) == 0) && flush(c, d) == 0;
    r = !ready ? nullptr : c->owed > 0 ? receive_reply(c, false, d) : receive(c, false, d);
    if (r != nullptr && !is_beside(r))
        c->owed -= c->owed > 0;
    if (r == nullptr && errno != ETIMEDOUT && errno != ECANCELED)
        drop(c); // else what is noted, sent and received stays, and goes on with the next call
    else if (r == nullptr && c->owed == 0 && d <= WEFT_NOW)
        errno = ENOENT;
    return r;
}

weft_reply *weft_client_next(weft_client *c, weft_deadline d)
{
    int saved = errno;
    if (c == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    if (take(c) != 0)
        return nullptr;
    int error = refusal(d);
    weft_reply *r = error == 0 ? next(c, d) : nullptr;
    note_error(c, r);
    client_leave(c);
    errno = r != nullptr ? saved : error != 0 ? error : errno;
    return r;
}
