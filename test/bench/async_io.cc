// Tasklets on sockets beside a bare epoll loop and gevent: what a round trip costs the server.
//
// The client is forked and keeps one message of 64 bytes under way on each connection; the
// figure is the processor time of the server's process alone, between a warm-up and the end, so
// neither a client that shares the machine nor setting up is in it.  The bare loop is what nobody
// could write faster: level-triggered, one recv and one send for each event, no state.
#include <weft/io.h>

#include "process.h"
#include "sockets.h"

#include <climits>
#include <cstring>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/wait.h>

namespace {

constexpr size_t SIZE = 64;

// ---- The client ----

constexpr long WARM_UP = 4000, TRIPS = 36000;

// Connects `n` times and keeps a message under way on each.  Stops, and waits to be told to go on,
// when it is warm and at the end: there is a byte for that each way.
void client(const bench::Listener &listener, int n, int tell, int go)
{
    int ep = epoll_create1(0);
    char text[SIZE] = {};
    std::vector<int> fds;
    for (int i = 0; i < n; i++) {
        int fd = listener.dial();
        epoll_event e{EPOLLIN, {}};
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        fds.push_back(fd);
    }
    for (int fd : fds)
        if (send(fd, text, SIZE, 0) != ssize_t(SIZE))
            _exit(1);
    for (long done = 0, next = WARM_UP; next != 0;) {
        epoll_event e[256];
        int k = epoll_wait(ep, e, 256, -1);
        for (int i = 0; i < k; i++) {
            if (recv(e[i].data.fd, text, SIZE, 0) != ssize_t(SIZE) ||
                send(e[i].data.fd, text, SIZE, 0) != ssize_t(SIZE))
                _exit(1);
            done++;
        }
        if (done < next)
            continue;
        if (write(tell, text, 1) != 1 || read(go, text, 1) != 1)
            _exit(1);
        next = next == WARM_UP ? WARM_UP + TRIPS : 0;
    }
    _exit(0);
}

// ---- The servers: each ends when all connections have ended ----

void bare(int listener, int n)
{
    int ep = epoll_create1(EPOLL_CLOEXEC), ended = 0;
    epoll_event e{EPOLLIN, {}}, events[512];
    e.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    while (ended < n) {
        int k = epoll_wait(ep, events, 512, -1);
        for (int i = 0; i < k; i++) {
            char text[4096];
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
                       0) {
                    e.data.fd = fd;
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                }
                continue;
            }
            ssize_t got = recv(fd, text, sizeof text, 0);
            if (got > 0 && send(fd, text, size_t(got), MSG_NOSIGNAL) == got)
                continue;
            close(fd);
            ended++;
        }
    }
}

int tasklet_listener, tasklets_left;

void tasklet_echo(int fd, void *)
{
    char text[4096];
    for (ssize_t got; (got = weft_io_read(fd, text, sizeof text, WEFT_FOREVER)) > 0;)
        if (weft_io_write(fd, text, size_t(got), WEFT_FOREVER) != got)
            break;
    if (--tasklets_left == 0)
        weft_io_stop(tasklet_listener);
}

void tasklets(int listener, int n)
{
    tasklet_listener = listener;
    tasklets_left = n;
    weft_io_run(
        [](void *) { return weft_io_serve(tasklet_listener, tasklet_echo, nullptr, nullptr); },
        nullptr);
}

void gevent(int listener, int n)
{
    static const char program[] = "import sys, socket, gevent\n"
                                  "from gevent import socket as gs\n"
                                  "l = gs.socket(fileno=int(sys.argv[1]))\n"
                                  "def echo(c):\n"
                                  "    try:\n"
                                  "        while True:\n"
                                  "            d = c.recv(4096)\n"
                                  "            if not d: break\n"
                                  "            c.sendall(d)\n"
                                  "    except OSError: pass\n"
                                  "    c.close()\n"
                                  "all = []\n"
                                  "for i in range(int(sys.argv[2])):\n"
                                  "    all.append(gevent.spawn(echo, l.accept()[0]))\n"
                                  "gevent.joinall(all)\n";
    std::string fd = std::to_string(listener), count = std::to_string(n);
    fcntl(listener, F_SETFD, 0);
    execl("/usr/bin/python3", "python3", "-c", program, fd.c_str(), count.c_str(), nullptr);
    _exit(1);
}

// Server processor time per round trip, on `n` connections.
double per_trip(void (*server)(int, int), int n)
{
    bench::Listener listener;
    int tell[2], go[2];
    double at[2] = {};
    char byte = 0;
    if (pipe2(tell, O_CLOEXEC) != 0 || pipe2(go, O_CLOEXEC) != 0)
        return 0;
    pid_t s = fork();
    if (s == 0) {
        server(listener.fd, n);
        _exit(0);
    }
    pid_t c = fork();
    if (c == 0)
        client(listener, n, tell[1], go[0]);
    for (double &each : at) {
        if (read(tell[0], &byte, 1) != 1)
            return 0;
        usleep(20000); // until the server has answered what is under way, and sleeps
        each = bench::cpu_ns(s) / 1e3;
        if (write(go[1], &byte, 1) != 1)
            return 0;
    }
    waitpid(c, nullptr, 0);
    waitpid(s, nullptr, 0);
    for (int fd : {tell[0], tell[1], go[0], go[1]})
        close(fd);
    return (at[1] - at[0]) / double(TRIPS);
}

// ---- Idle connections ----

struct idle {
    int listener, count, ready, report;
    double before;
};
idle idle_state;

void idle_echo(int fd, void *)
{
    char text[512];
    while (weft_io_read(fd, text, sizeof text, WEFT_FOREVER) > 0) {
        if (++idle_state.ready < idle_state.count)
            continue; // each has read once and waits again, but this last one
        double kb = bench::resident_bytes(getpid()) / 1024 - idle_state.before;
        if (write(idle_state.report, &kb, sizeof kb) != ssize_t(sizeof kb))
            _exit(1);
        weft_io_stop(idle_state.listener);
    }
}

// KiB of user memory for each of `n` connections that have sent something and wait.
double idle_memory(int n)
{
    bench::Listener listener;
    int report[2];
    double kb = 0;
    idle_state = {listener.fd, n, 0, -1, 0};
    if (pipe(report) != 0)
        return 0;
    idle_state.report = report[1];
    pid_t s = fork();
    if (s == 0) {
        idle_state.before = bench::resident_bytes(getpid()) / 1024;
        weft_io_run(
            [](void *) { return weft_io_serve(idle_state.listener, idle_echo, nullptr, nullptr); },
            nullptr);
        _exit(0);
    }
    pid_t c = fork();
    if (c == 0) {
        for (int i = 0; i < n; i++)
            if (send(listener.dial(), "x", 1, 0) != 1)
                _exit(1);
        pause();
    }
    if (read(report[0], &kb, sizeof kb) != ssize_t(sizeof kb))
        kb = 0;
    kill(c, SIGKILL);
    waitpid(c, nullptr, 0);
    waitpid(s, nullptr, 0);
    close(report[0]);
    close(report[1]);
    return kb / n;
}

// ---- Out of descriptors ----

constexpr int WAITING = 50;

bench::Starved starved;

double thread_cpu()
{
    return bench::cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
}

// What connects while nothing can be accepted is served once it can.
int starve(void *)
{
    bench::Listener listener;
    int clients[WAITING];
    tasklet_listener = listener.fd;
    tasklets_left = INT_MAX;
    for (int &fd : clients)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    weft_tasklet *server = weft_tasklet_spawn(
        [](void *) -> void * {
            weft_io_serve(tasklet_listener, tasklet_echo, nullptr, nullptr);
            return nullptr;
        },
        nullptr, nullptr);
    {
        bench::NoDescriptors none;
        for (int fd : clients)
            listener.connect_it(fd);
        double cpu = thread_cpu();
        weft_tasklet_sleep(weft_in_ms(500));
        starved.percent = (thread_cpu() - cpu) / 0.5 * 100;
    }
    int64_t relief = weft_now();
    starved.lost = WAITING;
    for (int fd : clients) {
        char x = 'x';
        if (weft_io_write(fd, &x, 1, weft_in_s(5)) == 1 &&
            weft_io_read(fd, &x, 1, weft_in_s(5)) == 1)
            starved.lost--;
        weft_io_close(fd);
    }
    starved.ms = double(weft_now() - relief) / 1e6;
    weft_io_stop(listener.fd);
    weft_tasklet_join(server, nullptr, WEFT_FOREVER);
    weft_io_forget(listener.fd);
    return 0;
}

} // namespace

int main()
{
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    bool has_gevent = std::system("/usr/bin/python3 -c 'import gevent' 2>/dev/null") == 0;
    for (int n : {100, 1000}) {
        bench::Table t("echo of 64 bytes, " + std::to_string(n) + " connections",
                       "us of server CPU per round trip");
        t.add("bare epoll", [n] { return per_trip(bare, n); });
        t.add("weft tasklets", [n] { return per_trip(tasklets, n); });
        t.add_if(has_gevent, "gevent", "python3-gevent", [n] { return per_trip(gevent, n); });
        t.run(9);
        t.at_most("weft tasklets", {{"bare epoll", 1.20}, {"gevent", 0.5}});
        t.at_most("bare epoll", "gevent", 0.5);
    }
    int most = files.rlim_cur > 10100 ? 10000 : int(files.rlim_cur) - 100;
    bench::Table t(std::to_string(most) + " idle connections in weft_io_serve",
                   "KiB of memory each");
    t.add("weft tasklets", [most] { return idle_memory(most); });
    t.run(3);
    t.figure_at_most("weft tasklets", 9);
    bench::Starved::table([] {
        weft_io_run(starve, nullptr);
        return starved;
    });
}
