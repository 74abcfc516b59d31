// server.cc: the server as a whole: it opens, runs its loop, tidies up after each round, ends.
#include "server.h"

#include "../tcp.h"
#include "place.h"
#include "snapshot.h"
#include "topic.h"

#include <base/errno.h>
#include <weft/io.h>

#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace weft;

server *weft::this_server;

// Sees to all that are dirty, and to those that become so by that: whoever ends may leave
// something to others.  Only here are peers freed.
void weft::server_tidy(server *s)
{
    while (s->dirty != nullptr) {
        peer *p = s->dirty;
        s->dirty = p->next_dirty;
        if (s->dirty == nullptr)
            s->dirty_end = &s->dirty;
        if (!p->ending)
            peer_tidy(p);
        p->is_dirty = p->ending;
        if (p->ending) {
            peer_free(p);
            if (!list_is_empty(&s->ready))
                places_serve(s);
        }
    }
    gives_left = GIVES_AT_ONCE;
}

static void tidy(weft_task *, void *arg)
{
    server *s = (server *)arg;
    server_tidy(s);
    if (s->ending)
        weft_loop_stop(s->loop);
}

void weft::server_end(server *s)
{
    s->ending = true;
    weft_loop_defer(s->loop, &s->tidy); // EBUSY: it was already
}

// ---- Opening ----

static bool complete(weft_manager_options *o)
{
    if (o->stall_ns < 0 || o->forget_ns < 0 || o->max_message > MESSAGE_MAX ||
        (o->flags & ~WEFT_MANAGER_SIGNALS) != 0)
        return false;
    if (o->password != nullptr && *o->password == 0)
        o->password = nullptr;
    if (o->password_file != nullptr && *o->password_file == 0)
        o->password_file = nullptr;
    o->max_clients = o->max_clients != 0 ? o->max_clients : 10000;
    o->max_message = o->max_message != 0 ? o->max_message : MESSAGE_MAX;
    o->max_reply = o->max_reply != 0 ? o->max_reply : 2 * MESSAGE_MAX;
    o->stall_ns = o->stall_ns != 0 ? o->stall_ns : 60000000000;
    o->forget_ns = o->forget_ns != 0 ? o->forget_ns : INT64_C(86400000000000);
    return true;
}

// No more clients than there are descriptors left for, from the listener's on: one more would wait
// without a word, while this says that it may come.
static void fit_clients(server *s, int fd)
{
    struct rlimit files;
    s->descriptors = SIZE_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return;
    size_t used = (size_t)fd + DESCRIPTORS_OWN,
           left = files.rlim_cur > used ? files.rlim_cur - used : 1;
    s->descriptors = left;
    s->o.max_clients = s->o.max_clients < left ? s->o.max_clients : left;
}

// What waits for a client whose machine has gone ends it, too.  Who only does not read is told
// apart by stall_ns, so that has to come first.  What is accepted inherits all this (tcp(7)).
static void keep_alive(int fd, int64_t stall_ns)
{
    int64_t stall_ms = stall_ns / 1000000 + 10000, longest = INT_MAX;
    unsigned unanswered_ms = (unsigned)(stall_ms < 120000    ? 120000
                                        : stall_ms < longest ? stall_ms
                                                             : longest);
    set_up_tcp(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof unanswered_ms);
}

// The socket's kind decides what is asked of clients, however the address was given.
static int open_listener(server *s, const char *address)
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    if (strncmp(address, "tcp:", 4) == 0 && s->o.password == nullptr)
        return fail_with(EACCES);
    int fd = weft_io_listen(address, nullptr);
    if (fd < 0)
        return -1;
    int listens = 0, error = 0;
    socklen_t one = sizeof listens;
    if (getsockname(fd, (struct sockaddr *)&a, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &one) != 0)
        error = errno;
    else if (!listens)
        error = EINVAL; // udp:
    s->is_unix = a.ss_family == AF_UNIX;
    if (error == 0 && !s->is_unix && s->o.password == nullptr)
        error = EACCES;
    if (error == 0 && weft_io_address(fd, WEFT_IO_LOCAL, s->address, sizeof s->address) < 0)
        error = errno;
    if (error == 0 && a.ss_family == AF_INET)
        s->port = ntohs(((struct sockaddr_in *)&a)->sin_port);
    if (error == 0 && a.ss_family == AF_INET6)
        s->port = ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
    if (error == 0 && strncmp(address, "unix:", 5) == 0 &&
        socket_file_note(&s->file, s->address) != 0)
        error = errno;
    if (error == 0 && !s->is_unix)
        keep_alive(fd, s->o.stall_ns);
    if (error == 0)
        return fd;
    close(fd);
    return fail_with(error);
}

static int listen_at(server *s, const char *address)
{
    int fd = open_listener(s, address);
    if (fd < 0)
        return -1;
    fit_clients(s, fd);
    int result = weft_loop_listen(s->loop, &s->listener, fd, peer_open, s);
    s->listener.watch.fd = fd;
    return result;
}

int weft::server_open(server *s, const char *address, const weft_manager_options *opts)
{
    uint64_t seed = (uint64_t)weft_now();
    memset(s, 0, sizeof *s);
    if (opts != nullptr)
        s->o = *opts;
    if (address == nullptr || !complete(&s->o))
        return fail_with(EINVAL);
    if (s->o.password_file != nullptr && s->o.password == nullptr && password_load(s, 0) != 0)
        return -1;
    s->listener.watch.fd = s->save.dir = -1;
    s->save.not_at_end = true; // before its beginning
    peers_open(s);
    list_init(&s->ready);
    list_init(&s->all_places);
    list_init(&s->released);
    list_init(&s->lost);
    list_init(&s->resting);
    list_init(&s->lost_jobs);
    s->tidy.fn = tidy;
    s->tidy.arg = s;
    s->started = weft_now();
    s->x = {0, 512, 64, 512, -2, 0, 5000};
    (void)!getrandom(&seed, sizeof seed, GRND_NONBLOCK);
    hash_seed(seed);
    commands_open();
    this_server = s;
    // Else malloc(3) keeps what is small and freed in lists, and looks through all of it at once
    // when next it is asked for a kilobyte: 100 ms after a million keys.
    mallopt(M_MXFAST, 0);
    // Large pieces have pages of their own, if there is no room in the heap.
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    heap_trims(true);
    s->heap = (char *)sbrk(0);
    s->input = (char *)memory_take(INPUT_ROOM);
    s->expiries = expiry_open();
    s->loop = weft_loop_create(nullptr);
    if (s->loop != nullptr && save_open(s) == 0 && service_open(s) == 0 && metrics_open(s) == 0 &&
        listen_at(s, address) == 0) {
        s->save.not_at_end = false;
        return 0;
    }
    server_close(s);
    return -1;
}

int weft::server_run(server *s)
{
    if (s->o.listening != nullptr)
        s->o.listening(s->address, s->o.arg);
    while (!s->ending)
        if (weft_loop_run(s->loop, WEFT_LOOP_ALL, WEFT_FOREVER) < 0)
            return -1;
    return 0;
}

// ---- Closing ----

int weft::socket_file_note(socket_file *f, const char *address)
{
    if (strncmp(address, "unix:", 5) != 0 || address[5] == '@')
        return 0;
    snprintf(f->path, sizeof f->path, "%s", address + 5);
    return stat(f->path, &f->is);
}

void weft::socket_file_remove(const socket_file *f)
{
    struct stat now;
    if (f->is.st_nlink != 0 && stat(f->path, &now) == 0 && now.st_dev == f->is.st_dev &&
        now.st_ino == f->is.st_ino)
        unlink(f->path);
}

int weft::server_close(server *s)
{
    int saved = errno, fd = s->listener.watch.fd, result;
    service_end(s);
    socket_file_remove(&s->file);
    metrics_close(s);
    if (s->loop != nullptr && s->listener.watch.loop != nullptr)
        weft_loop_unlisten(&s->listener);
    if (fd >= 0)
        close(fd);
    while (s->peers.next != nullptr && s->peers.next != &s->peers)
        peer_free(s->peers.next);
    result = save_close(s);
    saved = result != 0 ? errno : saved;
    for (int db = 0; db < DATABASES; db++)
        key_flush(s, db);
    background_finish(s);
    for (table &keys : s->watched) // nobody is left who watched
        table_clear(&keys, entry_drop);
    subscriptions_close(s);
    places_close(s);
    memory_give(s->input);
    memory_give(s->request.words);
    memory_give(s->spare.data);
    memory_give(s->password);
    weft_loop_destroy(s->loop);
    memory_give(s->expiries); // with an alarm
    this_server = nullptr;
    errno = saved;
    return result;
}
