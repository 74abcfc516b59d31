// peer.cc: a connected client: its bytes in, its replies out, its beginning and end.
#include "job.h"
#include "multi.h"
#include "place.h"
#include "server.h"
#include "topic.h"

#include <weft/io.h>

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace weft;

static const size_t MANY = 262144, FEW = 4096; // bytes of replies
static const size_t ALL_UNREAD = 64 << 20; // of those that do not go, but for the last of each peer
static const size_t AHEAD = 65536;         // bytes kept of a peer that is blocked
static const size_t PIECE = 2048;          // worth a read
static const size_t KNOWN_WORDS = INT_MAX, UNKNOWN_WORDS = 10,
                    UNKNOWN_WORD = 16384; // before its password (as Redis)

// ---- The list of those to see to ----

void weft::peer_dirty(peer *p)
{
    server *s = p->server;
    if (p->is_dirty)
        return;
    if (s->dirty == nullptr)
        weft_loop_defer(s->loop, &s->tidy); // EBUSY: it was already
    p->is_dirty = true;
    p->next_dirty = nullptr;
    *s->dirty_end = p;
    s->dirty_end = &p->next_dirty;
}

void weft::peer_end(peer *p)
{
    p->ending = true;
    peer_dirty(p);
}

// ---- Out ----

static void give_buffer(server *s, bytes *b)
{
    b->begin = b->end = 0;
    if (s->spare.room == 0 && b->room <= (size_t)4 * INPUT_ROOM)
        s->spare = *b;
    else
        memory_drop(b->data);
    *b = {};
}

// How much of its replies a peer may leave unread before its next commands wait, too: an eighth of
// what all may still leave.  So one alone has much, many have some each, and there is a total
// (A. Choudhury and E. Hahne, "Dynamic queue length thresholds", 1998).
static void share_out(server *s)
{
    size_t left = s->unread < ALL_UNREAD ? ALL_UNREAD - s->unread : 0;
    size_t share = left / 8, half = s->o.max_reply / 2;
    s->share = share < half ? share : half;
    s->portion = s->share > MANY ? MANY : s->share > FEW ? s->share : FEW;
}

static void count_unread(peer *p, size_t unread)
{
    if (unread == p->unread)
        return;
    p->server->unread += unread - p->unread;
    p->unread = unread;
    share_out(p->server);
}

// One that is behind is not asked for more, nor is it missed if it will say no more: it may read
// on.
static void watch(peer *p)
{
    bool enough = p->last || (p->wait != nullptr && bytes_count(&p->in) >= AHEAD);
    int in = p->behind ? 0 : enough ? WEFT_HANGUP : WEFT_READ;
    int events = in | (p->out.end != 0 ? WEFT_WRITE : 0);
    if (p->watch.events != events)
        weft_watch_change(&p->watch, events);
}

static void second(weft_alarm *a, void *arg)
{
    server *s = (server *)arg;
    int64_t now = weft_now();
    bool any = s->x.idle_ns > 0;
    for (peer *p = s->peers.next; p != &s->peers; p = p->next) {
        bool is_behind = p->watch.events & WEFT_WRITE; // what is new has not been sent yet
        any = any || is_behind;
        bool waits = p->wait != nullptr || subscriptions(p) > 0; // for others
        if ((is_behind && now - p->moved > s->o.stall_ns) ||
            (s->x.idle_ns > 0 && !waits && now - p->active > s->x.idle_ns))
            peer_end(p);
    }
    if (any)
        weft_loop_arm(s->loop, a, 0, second, s, weft_in_s(1));
}

void weft::seconds_begin(server *s)
{
    if (s->second.loop == nullptr)
        weft_loop_arm(s->loop, &s->second, 0, second, s, weft_in_s(1));
}

static void stall_begins(peer *p)
{
    p->moved = weft_now();
    seconds_begin(p->server);
}

static void flush(peer *p)
{
    bytes *b = &p->out;
    while (b->begin < b->end && !p->ending) {
        ssize_t n = send(p->watch.fd, bytes_at(b), bytes_count(b), MSG_NOSIGNAL);
        if (n > 0) {
            b->begin += (size_t)n;
            p->moved = weft_loop_now(p->server->loop);
        } else if (errno == EAGAIN) {
            if (!(p->watch.events & WEFT_WRITE))
                stall_begins(p);
            break;
        } else if (errno != EINTR) {
            p->reset = p->ending = true;
        }
    }
    if (b->begin == b->end) {
        if (b->room != 0)
            give_buffer(p->server, b);
        p->ending = p->ending || p->last;
    }
    count_unread(p, bytes_count(b));
}

// ---- In ----

// Runs the commands in `in`; how many bytes they were.
static size_t run(peer *p, request *r, char *in, size_t n)
{
    server *s = p->server;
    size_t used = 0;
    const char *error = nullptr;
    while (used < n && p->wait == nullptr && !p->behind && !p->last && !p->ending) {
        request_limits limits = {p->known ? KNOWN_WORDS : UNKNOWN_WORDS,
                                 p->known ? s->o.max_message : UNKNOWN_WORD,
                                 p->known ? s->o.max_message : SIZE_MAX, p->known};
        if (__builtin_expect(s->pause != PAUSE_NONE, 0) && r->at == 0 &&
            line_paused(p, in + used, n - used, &limits))
            break;
        int got = request_read(r, in + used, n - used, &limits, &error);
        if (got == REQUEST_PART)
            break;
        if (got == REQUEST_BAD) {
            reply_error(p, "ERR %s", error);
            p->last = true;
            request_next(r);
            return n;
        }
        size_t size = r->at;
        if (__builtin_expect(s->pause != PAUSE_NONE, 0) && client_paused(p, r)) {
            request_next(r);
            break;
        }
        s->input_left = n - used;
        if (r->count > 0)
            execute(p, r->words, (int)r->count);
        request_next(r);
        used += size;
        if (bytes_count(&p->out) >= p->unread + s->portion) {
            flush(p); // or a long pipeline's replies would all wait at once
            p->behind = p->unread > 0 && p->unread >= s->share;
        }
    }
    s->input_left = 0;
    clock_stop(s);
    return used;
}

static void drop_input(peer *p)
{
    memory_drop(p->in.data);
    memory_drop(p->request.words);
    p->in = {};
    p->request = {};
}

static void run_kept(peer *p)
{
    bytes *b = &p->in;
    if (b->begin < b->end)
        b->begin += run(p, &p->request, bytes_at(b), bytes_count(b));
    if (b->begin == b->end && b->room != 0)
        drop_input(p);
}

// Keeps what the common buffer has of a command that is not whole, or not to be run yet.
static void keep(peer *p, const char *rest, size_t n)
{
    server *s = p->server;
    size_t size = request_size(&s->request);
    p->in.room = size > n && size <= AHEAD ? size : n;
    p->in.data = (char *)memory_take(p->in.room);
    p->in.end = n;
    memcpy(p->in.data, rest, n);
    if (s->request.wanted > 0 || s->request.at > 0) {
        p->request = s->request;
        s->request = {};
    }
}

// Room for what is missing of the command, but not at once for what is only promised.
static void make_room(peer *p)
{
    bytes *b = &p->in;
    bytes_to_front(b);
    size_t size = request_size(&p->request);
    if (bytes_free(b) >= PIECE || (size > b->end && size <= b->room))
        return;
    size_t most = b->end * 2 > AHEAD ? b->end * 2 : AHEAD;
    if (size > b->end + PIECE)
        b->room = size < most ? size : most;
    else // many words: they grow without a known end
        b->room = b->end + b->end / 2 + 2 * PIECE;
    b->data = (char *)retake(b->data, b->room);
}

// At its end: whether the peer left without having got all that it was sent.
static bool has_unread(int fd)
{
    int error = 0, queued = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0 ||
           (ioctl(fd, SIOCOUTQ, &queued) == 0 && queued > 0);
}

static void take(peer *p)
{
    server *s = p->server;
    bool common = p->in.room == 0 && p->wait == nullptr;
    if (!common)
        make_room(p);
    char *at = common ? s->input : p->in.data + p->in.end;
    ssize_t n = recv(p->watch.fd, at, common ? (size_t)INPUT_ROOM : bytes_free(&p->in), 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            p->reset = p->reset || n < 0 || (p->lease.item != nullptr && has_unread(p->watch.fd));
            p->ending = true;
        }
        return;
    }
    p->active = weft_loop_now(s->loop);
    if (common) {
        size_t used = run(p, &s->request, at, (size_t)n);
        if (used < (size_t)n)
            keep(p, at + used, (size_t)n - used);
    } else {
        p->in.end += (size_t)n;
        run_kept(p);
    }
}

// What is to be done for it: at the end of a round, or of its turn in one.
void weft::peer_tidy(peer *p)
{
    do {
        if (p->resume) {
            p->resume = false;
            run_kept(p);
        }
        flush(p);
        if (p->behind && p->unread <= p->server->share / 2) {
            p->behind = false;
            p->resume = true;
        }
    } while (p->resume && !p->ending);
    p->behind = p->behind || p->unread > p->server->share;
    if (!p->ending)
        watch(p);
}

// Its replies go at the end of the round, with those of all who are served in it: who waits for
// them is woken less often than if others were served in between.
static void on_event(weft_watch *, int events, void *arg)
{
    peer *p = (peer *)arg;
    bool reads = p->watch.events & WEFT_READ;
    if (p->ending)
        return;
    if (p->resume)
        peer_tidy(p); // after that it may no longer read
    if (!p->ending && (events & (WEFT_READ | WEFT_HANGUP | WEFT_ERROR))) {
        if (p->watch.events & WEFT_READ)
            take(p);
        else
            p->ending = !reads;
    }
    peer_dirty(p);
}

void weft::peer_read_rest(peer *p)
{
    int fd = p->watch.fd, left = 0, before = INT_MAX;
    while (p->wait == nullptr && !p->ending && (p->watch.events & WEFT_READ) &&
           ioctl(fd, FIONREAD, &left) == 0 && left > 0 && left < before) {
        before = left;
        on_event(&p->watch, WEFT_READ, p);
    }
    p->reset = p->reset || (p->lease.item != nullptr && has_unread(fd));
}

// ---- Beginning and end ----

static bool is_allowed(const server *s, int fd, pid_t *pid)
{
    struct ucred who;
    socklen_t size = sizeof who;
    *pid = 0;
    if (!s->is_unix)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
        return false;
    *pid = who.pid;
    return who.uid == geteuid() || who.uid == 0;
}

void weft::peers_open(server *s)
{
    list_init(&s->peers);
    s->dirty_end = &s->dirty;
    share_out(s);
}

void weft::peer_open(weft_listener *, int fd, void *arg)
{
    static const char full[] = "-ERR max number of clients reached\r\n";
    server *s = (server *)arg;
    pid_t pid;
    bool allowed = is_allowed(s, fd, &pid);
    if (!allowed || s->count >= s->o.max_clients || s->count + s->processes >= s->descriptors) {
        if (allowed)
            (void)!send(fd, full, sizeof full - 1, MSG_NOSIGNAL);
        s->refused++;
        close(fd);
        return;
    }
    peer *p = (peer *)memory_take_zeroed(1, sizeof *p);
    p->server = s;
    p->protocol = 2;
    p->known = s->o.password == nullptr;
    p->local = s->is_unix;
    p->pid = pid;
    p->id = ++s->ids;
    p->since = p->active = weft_loop_now(s->loop);
    p->running = "NULL";
    list_init(&p->holds);
    list_init(&p->jobs);
    if (weft_loop_watch(s->loop, &p->watch, fd, WEFT_READ, on_event, p) != 0) {
        close(fd);
        memory_give(p);
        return;
    }
    list_insert(&s->peers, p);
    s->count++;
    s->connections++;
}

void weft::peer_free(peer *p)
{
    server *s = p->server;
    int fd = p->watch.fd;
    p->is_dirty = true; // it is in no list, and shall not be put into one any more
    weft_loop_unwatch(&p->watch);
    close(fd);
    owner_unwatch(p);
    if (p->wait != nullptr)
        wait_end(p->wait);
    p->reset = p->reset || p->out.begin < p->out.end; // an item on lease is the last of it
    lease_back(p);
    jobs_release(p);
    transaction_end(p);
    subscriptions_end(p);
    memory_drop(p->out.data);
    count_unread(p, 0);
    drop_input(p);
    memory_give(p->name);
    memory_give(p->library[0]);
    memory_give(p->library[1]);
    list_remove(p);
    s->count--;
    if (holds_release(p))
        memory_give(p);
}
