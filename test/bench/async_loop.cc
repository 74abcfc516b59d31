// async_loop.cc: the event loop beside a bare epoll loop, libuv and libevent.
//
// Echo: a forked client keeps one message of 64 bytes in flight on each of its TCP connections;
// the figure is the server's own CPU time, user and system, per round trip.  Wall-clock figures
// would measure the client as well.  Each server reads once and writes once per message, as its
// library's documentation does it.
#include "sockets.h"

#include <weft/loop.h>

#include <fcntl.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <cstring>
#include <memory>
#include <random>

#if __has_include(<uv.h>)
#include <uv.h>
#define HAVE_UV 1
#else
#define HAVE_UV 0
#endif
#if __has_include(<event2/event.h>)
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#define HAVE_EVENT 1
#else
#define HAVE_EVENT 0
#endif

static const int message = 64;
static const long warm_up = 4000, round_trips = 16000;

using bench::die;

static double cpu_seconds()
{
    return bench::cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

// ---- The client, and the connections to it ----

static void run_client(const std::vector<int> &fds)
{
    int ep = epoll_create1(0);
    char buffer[message] = {};
    for (int fd : fds) {
        epoll_event e = {};
        e.events = EPOLLIN;
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        if (write(fd, buffer, message) != message)
            _exit(1);
    }
    epoll_event events[512];
    for (;;) {
        int n = epoll_wait(ep, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (read(fd, buffer, message) != message || write(fd, buffer, message) != message)
                _exit(0); // the server has had enough
        }
    }
}

static void connect_pairs(int count, std::vector<int> &server, std::vector<int> &client)
{
    bench::Listener listener;
    for (int i = 0; i < count; i++) {
        client.push_back(listener.dial());
        server.push_back(accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (server.back() < 0)
            die("accept");
    }
}

// Each server counts its round trips by this.  Whether that was the last; the time between the
// end of the warm-up and that is what is measured.
static long trips;
static double began, ended;

static bool last_trip()
{
    trips++;
    if (trips == warm_up)
        began = cpu_seconds();
    if (trips == warm_up + round_trips)
        ended = cpu_seconds();
    return trips >= warm_up + round_trips;
}

static double echo_us(int connections, void (*serve)(const std::vector<int> &fds))
{
    std::vector<int> server, client;
    connect_pairs(connections, server, client);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGPIPE, SIG_IGN);
        for (int fd : server)
            close(fd);
        run_client(client);
    }
    for (int fd : client)
        close(fd);
    trips = 0;
    serve(server); // until the last trip; closes them
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    return (ended - began) / double(round_trips) * 1e6;
}

// ---- The servers ----

static void serve_bare(const std::vector<int> &fds)
{
    int ep = epoll_create1(0);
    for (int fd : fds) {
        epoll_event e = {};
        e.events = EPOLLIN;
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
    std::vector<epoll_event> events(512);
    char buffer[4096];
    for (bool last = false; !last;) {
        int n = epoll_wait(ep, events.data(), 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[size_t(i)].data.fd;
            ssize_t got = read(fd, buffer, sizeof buffer);
            if (got > 0 && write(fd, buffer, size_t(got)) != got)
                die("write");
            last |= last_trip();
        }
    }
    for (int fd : fds)
        close(fd);
    close(ep);
}

static void weft_echo(weft_watch *w, int, void *)
{
    char buffer[4096];
    ssize_t got = read(w->fd, buffer, sizeof buffer);
    if (got > 0 && write(w->fd, buffer, size_t(got)) != got)
        die("write");
    if (last_trip())
        weft_loop_stop(w->loop);
}

static void serve_weft(const std::vector<int> &fds)
{
    weft_loop *l = weft_loop_create(nullptr);
    std::vector<weft_watch> watches(fds.size());
    for (size_t i = 0; i < fds.size(); i++)
        if (weft_loop_watch(l, &watches[i], fds[i], WEFT_READ, weft_echo, nullptr) != 0)
            die("weft_loop_watch");
    weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
    for (int fd : fds)
        close(fd);
    weft_loop_destroy(l);
}

#if HAVE_UV
static char uv_buffer[65536];

static void uv_one_buffer(uv_handle_t *, size_t, uv_buf_t *b)
{
    *b = uv_buf_init(uv_buffer, sizeof uv_buffer);
}

static void uv_try_echo(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    if (n <= 0)
        return;
    uv_buf_t out = uv_buf_init(b->base, unsigned(n));
    if (uv_try_write(s, &out, 1) != n)
        die("uv_try_write");
    if (last_trip())
        uv_stop(s->loop);
}

// As libuv's guide writes an echo server: memory for each read, a request for each write, both
// freed when that is done.  4 KiB like the others; the 64 KiB that libuv suggests cost three times
// as much, as malloc gives them back to the system each time.
static void uv_fresh_buffer(uv_handle_t *, size_t, uv_buf_t *b)
{
    *b = uv_buf_init((char *)malloc(4096), 4096);
}

struct uv_request {
    uv_write_t write;
    char *memory;
};

static void uv_wrote(uv_write_t *w, int)
{
    uv_request *r = (uv_request *)w;
    free(r->memory);
    free(r);
}

static void uv_write_echo(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    if (n <= 0) {
        free(b->base);
        return;
    }
    uv_request *r = (uv_request *)malloc(sizeof *r);
    r->memory = b->base;
    uv_buf_t out = uv_buf_init(b->base, unsigned(n));
    uv_write(&r->write, s, &out, 1, uv_wrote);
    if (last_trip())
        uv_stop(s->loop);
}

static void serve_uv(const std::vector<int> &fds, uv_alloc_cb alloc, uv_read_cb echo)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    std::vector<uv_tcp_t> handles(fds.size());
    for (size_t i = 0; i < fds.size(); i++) {
        uv_tcp_init(&loop, &handles[i]);
        uv_tcp_open(&handles[i], fds[i]);
        uv_read_start((uv_stream_t *)&handles[i], alloc, echo);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (uv_tcp_t &h : handles)
        uv_close((uv_handle_t *)&h, nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static void serve_uv_try(const std::vector<int> &fds)
{
    serve_uv(fds, uv_one_buffer, uv_try_echo);
}

// The least that uv_write takes: one buffer to read into, one malloc for request and bytes.
struct uv_lean_request {
    uv_write_t write;
    char bytes[1];
};

static void uv_lean_echo(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    if (n <= 0)
        return;
    uv_lean_request *r = (uv_lean_request *)malloc(sizeof *r + size_t(n));
    memcpy(r->bytes, b->base, size_t(n));
    uv_buf_t out = uv_buf_init(r->bytes, unsigned(n));
    uv_write(&r->write, s, &out, 1, [](uv_write_t *w, int) { free(w); });
    if (last_trip())
        uv_stop(s->loop);
}

static void serve_uv_lean(const std::vector<int> &fds)
{
    serve_uv(fds, uv_one_buffer, uv_lean_echo);
}

static void serve_uv_write(const std::vector<int> &fds)
{
    serve_uv(fds, uv_fresh_buffer, uv_write_echo);
}
#endif

#if HAVE_EVENT
static void event_echo(bufferevent *b, void *base)
{
    bufferevent_write_buffer(b, bufferevent_get_input(b));
    if (last_trip())
        event_base_loopbreak((event_base *)base);
}

static void serve_event(const std::vector<int> &fds)
{
    event_base *base = event_base_new();
    std::vector<bufferevent *> all;
    for (int fd : fds) {
        bufferevent *b = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
        bufferevent_setcb(b, event_echo, nullptr, nullptr, base);
        bufferevent_enable(b, EV_READ | EV_WRITE);
        all.push_back(b);
    }
    event_base_dispatch(base);
    for (bufferevent *b : all)
        bufferevent_free(b);
    event_base_free(base);
}
#endif

static void echo(int connections)
{
    bench::Table t("echo of 64 B, " + std::to_string(connections) + " connections",
                   "server CPU us per round trip");
    t.add("weft_loop", [=] { return echo_us(connections, serve_weft); });
    t.add("bare epoll", [=] { return echo_us(connections, serve_bare); });
    PEER(HAVE_UV, t, "libuv uv_try_write", "libuv1-dev",
         [=] { return echo_us(connections, serve_uv_try); });
    PEER(HAVE_UV, t, "libuv uv_write, one malloc", "libuv1-dev",
         [=] { return echo_us(connections, serve_uv_lean); });
    PEER(HAVE_UV, t, "libuv uv_write", "libuv1-dev",
         [=] { return echo_us(connections, serve_uv_write); });
    PEER(HAVE_EVENT, t, "libevent bufferevent", "libevent-dev",
         [=] { return echo_us(connections, serve_event); });
    t.run(15);
    t.at_most("weft_loop", {{"bare epoll", 1.05},
                            {"libuv uv_try_write", 1.05},
                            {"libuv uv_write", 0.75},
                            {"libuv uv_write, one malloc", 0.75}});
    t.at_most("bare epoll", "libuv uv_write, one malloc", 0.75);
    t.at_most("weft_loop", "libevent bufferevent", 0.75);
}

// ---- Timers ----
//
// Timers lie in one array, in the order in which they are added.  Re-armed and cancelled they are
// in random order, as connections become active and end; in the array's order, which the processor
// foresees, for comparison.  The times are random, the same for both libraries, and so are orders.

static const size_t armed = 100000;

struct Times {
    std::vector<int64_t> ms;
    Times(unsigned seed, int64_t least) : ms(armed)
    {
        std::mt19937 random(seed);
        for (int64_t &each : ms)
            each = least + int64_t(random() % 60000);
    }
};

struct Order {
    std::vector<size_t> at;
    explicit Order(bool random) : at(armed)
    {
        std::mt19937 seed(3);
        for (size_t i = 0; i < armed; i++)
            at[i] = i;
        if (random)
            std::shuffle(at.begin(), at.end(), seed);
    }
};

static const Times first(1, 1000), second(2, 1000), later(3, 61000);
static const Order in_order(false), at_random(true);

static double ns_each(double seconds)
{
    return seconds * 1e9 / double(armed);
}

static void never(weft_alarm *, void *)
{
}

// Arms all, then measures one pass of `op` over them: 'a' add, 'r' re-arm, sooner or later, 'l'
// re-arm, always later, 'c' cancel.
struct WeftTimers {
    weft_loop *l = weft_loop_create(nullptr);
    std::vector<weft_alarm> a = std::vector<weft_alarm>(armed);
    int64_t begin = weft_now();
    const Order &order;

    explicit WeftTimers(const Order &o) : order(o)
    {
    }
    ~WeftTimers()
    {
        weft_loop_destroy(l);
    }
    void arm()
    {
        for (size_t i = 0; i < armed; i++)
            weft_loop_arm(l, &a[i], 0, never, nullptr, begin + first.ms[i] * 1000000);
    }
    void rearm(const Times &t)
    {
        for (size_t i = 0; i < armed; i++)
            weft_alarm_set(&a[order.at[i]], begin + t.ms[i] * 1000000);
    }
    void stop()
    {
        for (size_t i : order.at)
            weft_loop_disarm(&a[i]);
    }
};

static double weft_timers(char op, const Order &order)
{
    WeftTimers t(order);
    t.arm(); // the memory's first touch is nobody's
    if (op == 'a')
        t.stop();
    return ns_each(bench::seconds([&] {
        op == 'a' ? t.arm() : op == 'r' ? t.rearm(second) : op == 'l' ? t.rearm(later) : t.stop();
    }));
}

#if HAVE_UV
static void uv_never(uv_timer_t *)
{
}

// uv_timer_start moves one that is active.
static double uv_timers(char op, const Order &order)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    std::vector<uv_timer_t> t(armed);
    auto arm = [&](const Times &at, const Order &o) {
        for (size_t i = 0; i < armed; i++)
            uv_timer_start(&t[o.at[i]], uv_never, uint64_t(at.ms[i]), 0);
    };
    auto stop = [&] {
        for (size_t i : order.at)
            uv_timer_stop(&t[i]);
    };
    for (uv_timer_t &each : t)
        uv_timer_init(&loop, &each);
    arm(first, in_order);
    if (op == 'a')
        stop();
    double took = bench::seconds([&] {
        op == 'a' ? arm(first, in_order) : op == 'r' ? arm(second, order) : stop();
    });
    for (uv_timer_t &each : t)
        uv_close((uv_handle_t *)&each, nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return ns_each(took);
}
#endif

static void timers()
{
    bench::Table t("timers, 100,000 armed, 1 to 61 s ahead", "ns per operation");
    t.add("weft add", [] { return weft_timers('a', in_order); });
    t.add("weft re-arm", [] { return weft_timers('r', at_random); });
    t.add("weft re-arm, always later", [] { return weft_timers('l', at_random); });
    t.add("weft cancel", [] { return weft_timers('c', at_random); });
    t.add("weft re-arm, in order", [] { return weft_timers('r', in_order); });
    t.add("weft re-arm, always later, in order", [] { return weft_timers('l', in_order); });
    t.add("weft cancel, in order", [] { return weft_timers('c', in_order); });
    PEER(HAVE_UV, t, "libuv add", "libuv1-dev", [] { return uv_timers('a', in_order); });
    PEER(HAVE_UV, t, "libuv re-arm", "libuv1-dev", [] { return uv_timers('r', at_random); });
    PEER(HAVE_UV, t, "libuv cancel", "libuv1-dev", [] { return uv_timers('c', at_random); });
    PEER(HAVE_UV, t, "libuv re-arm, in order", "libuv1-dev",
         [] { return uv_timers('r', in_order); });
    PEER(HAVE_UV, t, "libuv cancel, in order", "libuv1-dev",
         [] { return uv_timers('c', in_order); });
    t.run(15);
    t.at_most("weft add", "libuv add", 1.0 / 10);
    t.at_most("weft re-arm", "libuv re-arm", 1.0 / 20);
    t.at_most("weft re-arm, always later", "libuv re-arm", 1.0 / 20);
    t.at_most("weft cancel", "libuv cancel", 1.0 / 20);
    t.figure_at_most("weft re-arm, always later, in order", 6);
}

// ---- How late ----

static int64_t woken_at;

static void note_time(weft_alarm *, void *)
{
    woken_at = weft_now();
}

#if HAVE_UV
static void uv_note_time(uv_timer_t *)
{
    woken_at = weft_now();
}
#endif

// The median, or with `least` the smallest, of how late a timer of `ns` is, in microseconds.
template <class Wait> static double late_us(Wait wait, bool least)
{
    std::vector<double> late;
    for (int i = 0; i < 60; i++)
        late.push_back(double(wait()) / 1e3);
    return least ? *std::min_element(late.begin(), late.end()) : bench::median(late);
}

static double weft_late(int64_t ns, bool least)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_alarm a = {};
    double us = late_us(
        [&] {
            weft_deadline at = weft_now() + ns;
            weft_loop_arm(l, &a, 0, note_time, nullptr, at);
            weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
            return woken_at - at;
        },
        least);
    weft_loop_destroy(l);
    return us;
}

static void lateness()
{
    bench::Table t("how late a timer is, idle", "us");
    t.add("weft, 1 ms, median", [] { return weft_late(1000000, false); });
    t.add("weft, 1 ms, earliest", [] { return weft_late(1000000, true); });
    t.add("weft, 100 us, median", [] { return weft_late(100000, false); });
    t.add("weft, 100 us, earliest", [] { return weft_late(100000, true); });
#if HAVE_UV
    t.add("libuv, 1 ms, median", [] {
        uv_loop_t loop;
        uv_timer_t timer;
        uv_loop_init(&loop);
        uv_timer_init(&loop, &timer);
        double us = late_us(
            [&] {
                uv_update_time(&loop);
                int64_t at = weft_now() + 1000000;
                uv_timer_start(&timer, uv_note_time, 1, 0);
                uv_run(&loop, UV_RUN_DEFAULT);
                return woken_at - at;
            },
            false);
        uv_close((uv_handle_t *)&timer, nullptr);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
        return us;
    });
#endif
    t.run(3);
    t.at_most("weft, 1 ms, median", "libuv, 1 ms, median", 1.25);
    t.figure_at_least("weft, 1 ms, earliest", 0);
    t.figure_at_least("weft, 100 us, earliest", 0);
}

// ---- Many at once, and one again and again ----

static int64_t calls_left;

static void count_down(weft_alarm *, void *)
{
    calls_left--;
}

// A million due at random times of 300 ms: CPU milliseconds to call them.
static double expire_ms()
{
    enum { MANY = 1000000, SPAN_NS = 300000000 };
    std::mt19937 random(5);
    std::vector<weft_alarm> a(MANY);
    weft_loop *l = weft_loop_create(nullptr);
    int64_t begin = weft_now();
    calls_left = MANY;
    for (weft_alarm &each : a)
        weft_loop_arm(l, &each, 0, count_down, nullptr, begin + int64_t(random() % SPAN_NS));
    double cpu = cpu_seconds();
    weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
    double took = cpu_seconds() - cpu;
    if (calls_left != 0)
        die("alarms were lost");
    weft_loop_destroy(l);
    return took * 1e3;
}

static void again(weft_alarm *a, void *)
{
    if (--calls_left > 0)
        weft_alarm_set(a, WEFT_NOW);
}

static double again_ms()
{
    weft_alarm a = {};
    weft_loop *l = weft_loop_create(nullptr);
    calls_left = 1000;
    double took = bench::seconds([&] {
        weft_loop_arm(l, &a, 0, again, nullptr, WEFT_NOW);
        weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
    });
    weft_loop_destroy(l);
    return took * 1e3;
}

static void expiry()
{
    bench::Table t("alarms that are due", "ms");
    t.add("weft, 1,000,000 within 300 ms, CPU", expire_ms);
    t.add("weft, at once, 1,000 times in its own function", again_ms);
    t.run(5);
    t.figure_at_most("weft, 1,000,000 within 300 ms, CPU", 300);
    t.figure_at_most("weft, at once, 1,000 times in its own function", 5);
}

// ---- Memory of idle connections; without descriptors ----

static void idle(weft_watch *, int, void *)
{
}

// User memory of the loop and the watch, per connection.
static double idle_bytes()
{
    rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    size_t count = std::min<size_t>(10000, (r.rlim_max - 64) / 2 * 2);
    std::vector<int> fds;
    for (size_t i = 0; i < count; i += 2) {
        int s[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) != 0)
            die("socketpair");
        fds.insert(fds.end(), {s[0], s[1]});
    }
    struct mallinfo2 before = mallinfo2();
    weft_loop *l = weft_loop_create(nullptr);
    weft_watch *w = (weft_watch *)calloc(count, sizeof *w);
    for (size_t i = 0; i < count; i++)
        if (weft_loop_watch(l, &w[i], fds[i], WEFT_READ, idle, nullptr) != 0)
            die("weft_loop_watch");
    struct mallinfo2 after = mallinfo2();
    weft_loop_destroy(l);
    free(w);
    for (int fd : fds)
        close(fd);
    return double(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / double(count);
}

static int served;

static void answer(weft_listener *, int fd, void *)
{
    served += write(fd, "x", 1) == 1;
    close(fd);
}

static bench::Starved starve()
{
    enum { WAITING = 50 };
    bench::Starved found;
    bench::Listener listener;
    std::vector<int> clients;
    for (int i = 0; i < WAITING; i++)
        clients.push_back(listener.dial());
    weft_loop *l = weft_loop_create(nullptr);
    weft_listener s = {};
    weft_loop_listen(l, &s, listener.fd, answer, nullptr);
    served = 0;
    {
        bench::NoDescriptors none;
        double cpu = cpu_seconds();
        weft_loop_run(l, WEFT_LOOP_ALL, weft_in_ms(500));
        found.percent = (cpu_seconds() - cpu) / 0.5 * 100;
    }
    found.ms = 1e3 * bench::seconds([&] {
                   for (weft_deadline d = weft_in_s(5); served < WAITING && weft_left(d) > 0;)
                       weft_loop_run(l, WEFT_LOOP_ONCE, d);
               });
    found.lost = WAITING;
    for (int fd : clients) {
        char x;
        found.lost -= read(fd, &x, 1) == 1;
        close(fd);
    }
    weft_loop_destroy(l);
    return found;
}

static void limits()
{
    bench::Table m("10,000 idle connections", "bytes each");
    m.add("weft_loop", idle_bytes);
    m.run(1);
    m.figure_at_most("weft_loop", 512);
    bench::Starved::table(starve);
}

int main()
{
    signal(SIGPIPE, SIG_IGN);
    echo(100);
    echo(1000);
    timers();
    lateness();
    expiry();
    limits();
}
