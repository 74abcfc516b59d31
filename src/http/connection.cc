// connection.cc: a connection, from its begin to its end.
//
// It is watched from the first time on that it has to wait: one that brings its request along and
// is closed behind the response never is.  Level-triggered, so an event while nobody waits for it
// is answered by watching for nothing; that, and the way back, are the only system calls a watch
// costs, and a connection that is served before the loop goes on has none.
#include "server.h"

#include <poll.h>
#include <string.h>

using namespace weft;

static const int64_t SECOND = 1000000000, LINGER_NS = 2 * SECOND;
enum { LINGER_BYTES = 1 << 20, LINGER_READS = 16, SPREE = 64 };

// ---- Its end ----

static void close_now(connection *c)
{
    int saved = errno;
    if (c->watch.loop != nullptr)
        weft_loop_unwatch(&c->watch);
    if (c->alarm.loop != nullptr)
        weft_loop_disarm(&c->alarm);
    if (c->reset) {
        struct linger none = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    close(c->fd);
    weft_worker_connections(-1);
    errno = saved;
}

void weft::connection_close(connection *c)
{
    serving *v = c->home;
    weft_http_server *s = v->server;
    close_now(c);
    address_leave(s, c->address);
    buffer_give(s, &c->in);
    if (c->state == IS_IDLE && c->runner == nullptr)
        s->stats.idle--;
    s->stats.connections--;
    list_remove(c);
    free_keep_errno(c->peer);
    free_keep_errno(c);
    v->count--;
    accept_more(v);
    if (v->stopping && v->count == 0)
        end_wait(v->self, 0);
}

static void on_alarm(weft_alarm *a, void *arg);

static void set_alarm(connection *c, weft_deadline at)
{
    if (c->alarm.fn == nullptr)
        weft_loop_arm(c->home->loop, &c->alarm, 0, on_alarm, c, at);
    else
        weft_alarm_set(&c->alarm, at);
}

// Reads what comes, and drops it: a close before would be a reset, which may overtake what the
// client has not read yet.
static void drop(connection *c)
{
    char dropped[4096];
    int saved = errno;
    for (int i = 0; i < LINGER_READS; i++) {
        ssize_t n = recv(c->fd, dropped, sizeof dropped, MSG_DONTWAIT);
        c->dropped += n > 0 ? (size_t)n : 0;
        if (n == 0 || (n < 0 && !is_for_now(errno)) || c->dropped > LINGER_BYTES) {
            connection_close(c);
            break;
        }
        if (n < 0)
            break;
    }
    errno = saved;
}

void weft::connection_end(connection *c, bool lingers)
{
    serving *v = c->home;
    int saved = errno;
    bool closed = !lingers || c->broken || c->reset || v->over || shutdown(c->fd, SHUT_WR) != 0;
    errno = saved;
    if (!closed) {
        c->runner = nullptr;
        c->state = IS_LINGERING;
        buffer_give(v->server, &c->in);
        set_alarm(c, weft_in_ns(LINGER_NS));
        connection_watch(c, WEFT_READ);
        return;
    }
    c->state = IS_LINGERING; // it is not counted as idle
    connection_close(c);
}

// ---- Time ----

// What a client is told that brings no whole head.
static void say_timeout(connection *c)
{
    static const char text[] = "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 20\r\nConnection: close\r\n\r\n"
                               "408 Request Timeout\n";
    weft_http_server *s = server_of(c);
    ssize_t n = send(c->fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    s->stats.out += n > 0 ? (size_t)n : 0;
    s->stats.requests++;
    s->stats.status[4]++;
}

static void on_alarm(weft_alarm *, void *arg)
{
    connection *c = (connection *)arg;
    int saved = errno;
    if (c->state == IS_LINGERING) {
        connection_close(c);
    } else if (c->state == IS_IDLE) {
        bool begun = bytes_count(&c->in) > 0;
        server_of(c)->stats.timeouts += begun || c->fresh;
        if (begun)
            say_timeout(c);
        server_of(c)->stats.idle--;
        connection_end(c, begun);
    }
    errno = saved;
}

void weft::pace_begin(const weft_http_server *s, pace *p)
{
    p->credit = s->o.grace_ns;
}

void weft::pace_moved(const weft_http_server *s, pace *p, size_t n)
{
    if (p == nullptr)
        return;
    int64_t most = 6 * s->o.grace_ns, bytes = n < (1u << 30) ? (int64_t)n : 1 << 30;
    p->credit += bytes * SECOND / (int64_t)s->o.rate;
    p->credit = p->credit < most ? p->credit : most;
}

// It was not the client who was slow, if so.
static bool is_ready(const connection *c, int direction)
{
    struct pollfd p = {c->fd, (short)(direction == WEFT_READ ? POLLIN : POLLOUT), 0};
    return poll(&p, 1, 0) == 1;
}

int weft::connection_wait_paced(connection *c, int direction, pace *p, weft_deadline d)
{
    if (d <= WEFT_NOW || p == nullptr)
        return connection_wait(c, direction, d);
    int64_t before = weft_now();
    weft_deadline limit = before + (p->credit > 1 ? p->credit : 1);
    int result = connection_wait(c, direction, limit < d ? limit : d);
    p->credit -= weft_now() - before;
    if (result == 0 || errno != ETIMEDOUT || d <= limit)
        return result;
    if (is_ready(c, direction))
        return 0;
    server_of(c)->stats.timeouts++;
    if (direction == WEFT_WRITE) {
        c->broken = c->reset = true;
        if (c->runner != nullptr)
            c->runner->out.begin = c->runner->out.end = 0;
    }
    return fail_with(direction == WEFT_WRITE ? EPIPE : ETIME);
}

// ---- Events ----

int weft::connection_interest(const connection *c)
{
    bool pushing = c->runner != nullptr && c->runner->pushing;
    return (c->waiter[0] != nullptr ? WEFT_READ : 0) |
           (c->waiter[1] != nullptr || pushing ? WEFT_WRITE : 0);
}

static void on_event(weft_watch *w, int events, void *arg)
{
    connection *c = (connection *)arg;
    if (events & WEFT_ERROR)
        c->hung_up = true;
    switch (c->state) {
    case IS_IDLE:
        server_of(c)->stats.idle--;
        connection_queue(c);
        return;
    case IS_LINGERING:
        drop(c);
        return;
    case IS_QUEUED:
        weft_watch_change(w, 0);
        return;
    }
    if (events & WEFT_READ)
        end_wait(c->waiter[0], 0);
    if (events & WEFT_WRITE && c->waiter[1] != nullptr)
        end_wait(c->waiter[1], 0);
    else if (events & WEFT_WRITE && c->runner->pushing)
        output_push(c->runner);
    weft_watch_change(w, connection_interest(c));
}

int weft::connection_watch(connection *c, int events)
{
    if (c->watch.loop != nullptr)
        return weft_watch_change(&c->watch, events);
    if (events == 0)
        return 0;
    return weft_loop_watch(c->home->loop, &c->watch, c->fd, events, on_event, c);
}

int weft::connection_wait(connection *c, int direction, weft_deadline d)
{
    weft_tasklet **waiter = &c->waiter[direction >> 1];
    int error = wait_refusal(d);
    if (error == 0 && d <= WEFT_NOW)
        error = ETIMEDOUT;
    if (error == 0 && *waiter != nullptr)
        error = EBUSY;
    if (error != 0)
        return fail_with(error);
    *waiter = running_tasklet();
    int result = connection_watch(c, connection_interest(c));
    if (result == 0)
        result = wait_for_event(d);
    *waiter = nullptr;
    c->spree = 0;
    c->now = 0;
    return result;
}

void weft::connection_give_way(connection *c, weft_deadline d)
{
    if (c->spree < SPREE || d <= WEFT_NOW)
        return;
    int saved = errno;
    c->spree = 0;
    c->now = 0;
    weft_tasklet_yield();
    errno = saved;
}

ssize_t weft::connection_receive(connection *c)
{
    weft_http_server *s = server_of(c);
    if (c->in.data == nullptr)
        c->in = buffer_take(s);
    char *to = bytes_room(&c->in, BUFFER / 8, BUFFER, realloc);
    ssize_t n;
    do
        n = to != nullptr ? recv(c->fd, to, bytes_free(&c->in), MSG_DONTWAIT) : -1;
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        bytes_put(&c->in, (size_t)n);
        s->stats.in += (size_t)n;
    }
    return n;
}

// ---- Its begin, and between requests ----

void weft::connection_queue(connection *c)
{
    serving *v = c->home;
    c->state = IS_QUEUED;
    c->since = weft_loop_now(v->loop);
    c->queued = nullptr;
    *v->ready_end = c;
    v->ready_end = &c->queued;
    if (!v->coming)
        runner_call(v);
    if (!v->coming && list_is_empty(&v->runners)) { // no memory, and nobody will come
        v->ready = nullptr;
        v->ready_end = &v->ready;
        connection_close(c);
    }
}

void weft::connection_begin(serving *v, int fd, address_count *a)
{
    weft_http_server *s = v->server;
    connection *c = (connection *)calloc(1, sizeof *c);
    if (c == nullptr) {
        s->stats.refused++;
        address_leave(s, a);
        close_keep_errno(&fd);
        return;
    }
    int saved = errno;
    c->home = v;
    c->fd = fd;
    c->address = a;
    c->fresh = true;
    c->head_at = weft_in_ns(s->o.header_ns);
    list_insert(&v->all, c);
    v->count++;
    s->stats.connections++;
    s->stats.accepted++;
    weft_worker_connections(1);
    connection_queue(c); // most bring their first request along
    errno = saved;
}

void weft::connection_rest(connection *c)
{
    serving *v = c->home;
    weft_http_server *s = v->server;
    int64_t now = c->now != 0 ? c->now : weft_now();
    bool begun = bytes_count(&c->in) > 0;
    c->runner = nullptr;
    if (!begun)
        buffer_give(s, &c->in);
    if (v->over || (v->stopping && !begun) || connection_watch(c, WEFT_READ) != 0) {
        connection_end(c, false);
        return;
    }
    if (begun && c->head_at == 0)
        c->head_at = now + s->o.header_ns;
    else if (!begun && !c->fresh)
        c->head_at = 0;
    set_alarm(c, c->head_at != 0 ? c->head_at : now + s->o.idle_ns);
    c->state = IS_IDLE;
    s->stats.idle++;
}
