// Tasklets on sockets beside a bare epoll loop and gevent: what a round trip costs the server.
//
// The client is forked and keeps one message of 64 bytes under way on each connection; the
// figure is the processor time of the server's process alone, so a client that shares the
// machine is not in it.  The bare loop is what nobody could write faster: level-triggered, one
// recv and one send for each event, no state.
#include <weft/io.h>

#include "bench.h"

#include <arpa/inet.h>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace
{

constexpr size_t SIZE = 64;

// ---- The client ----

// Connects `n` times to the port that comes through the pipe; sends `trips` messages in all.
void client(int port, int n, long trips)
{
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(uint16_t(port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int ep = epoll_create1(0), one = 1;
    char text[SIZE] = {};
    std::vector<int> fds;
    for (int i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) != 0)
            _exit(1);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_event e{EPOLLIN, {}};
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        fds.push_back(fd);
    }
    for (int fd : fds)
        if (send(fd, text, SIZE, 0) != ssize_t(SIZE))
            _exit(1);
    for (long done = 0; done < trips;) {
        epoll_event e[256];
        int k = epoll_wait(ep, e, 256, -1);
        for (int i = 0; i < k; i++) {
            if (recv(e[i].data.fd, text, SIZE, 0) != ssize_t(SIZE) ||
                send(e[i].data.fd, text, SIZE, 0) != ssize_t(SIZE))
                _exit(1);
            done++;
        }
    }
    _exit(0);
}

int listener_of(int *port)
{
    sockaddr_in a{};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) != 0 || listen(fd, 4096) != 0)
        std::perror("listen"), std::exit(1);
    getsockname(fd, reinterpret_cast<sockaddr *>(&a), &size);
    *port = ntohs(a.sin_port);
    return fd;
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

double cpu_us(const rusage &r)
{
    return double(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e6 +
           double(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

// Server processor time in all, for `trips` round trips on `n` connections.
double serve(void (*server)(int, int), int n, long trips)
{
    int port, listener = listener_of(&port), status;
    rusage used{};
    pid_t s = fork();
    if (s == 0) {
        server(listener, n);
        _exit(0);
    }
    close(listener);
    pid_t c = fork();
    if (c == 0)
        client(port, n, trips);
    waitpid(c, &status, 0);
    wait4(s, &status, 0, &used);
    return status == 0 ? cpu_us(used) : 0;
}

// Without what starting, connecting and closing cost: the difference of a long run and a short.
double per_trip(void (*server)(int, int), int n)
{
    long trips = 40000, few = 4000;
    return (serve(server, n, trips) - serve(server, n, few)) / double(trips - few);
}

// ---- Idle connections ----

long resident_kb()
{
    long pages = 0, total = 0;
    FILE *f = std::fopen("/proc/self/statm", "r");
    if (f != nullptr && std::fscanf(f, "%ld %ld", &total, &pages) != 2)
        pages = 0;
    if (f != nullptr)
        std::fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

struct idle {
    int listener, count, ready, report;
    long before;
};
idle idle_state;

void idle_echo(int fd, void *)
{
    char text[512];
    while (weft_io_read(fd, text, sizeof text, WEFT_FOREVER) > 0) {
        if (++idle_state.ready < idle_state.count)
            continue; // each has read once and waits again, but this last one
        long kb = resident_kb() - idle_state.before;
        if (write(idle_state.report, &kb, sizeof kb) != ssize_t(sizeof kb))
            _exit(1);
        weft_io_stop(idle_state.listener);
    }
}

// KiB of user memory for each of `n` connections that have sent something and wait.
double idle_memory(int n)
{
    int port, report[2];
    long kb = 0;
    idle_state = {listener_of(&port), n, 0, -1, 0};
    if (pipe(report) != 0)
        return 0;
    idle_state.report = report[1];
    pid_t s = fork();
    if (s == 0) {
        idle_state.before = resident_kb();
        weft_io_run(
            [](void *) { return weft_io_serve(idle_state.listener, idle_echo, nullptr, nullptr); },
            nullptr);
        _exit(0);
    }
    close(idle_state.listener);
    pid_t c = fork();
    if (c == 0) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(uint16_t(port));
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        for (int i = 0; i < n; i++) {
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) != 0 ||
                send(fd, "x", 1, 0) != 1)
                _exit(1);
        }
        pause();
    }
    if (read(report[0], &kb, sizeof kb) != ssize_t(sizeof kb))
        kb = 0;
    kill(c, SIGKILL);
    waitpid(c, nullptr, 0);
    waitpid(s, nullptr, 0);
    close(report[0]);
    close(report[1]);
    return double(kb) / n;
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
        if (has_gevent)
            t.add("gevent", [n] { return per_trip(gevent, n); });
        else
            t.missing("gevent", "python3-gevent");
        t.run(3);
        t.at_most("weft tasklets", "bare epoll", 1.20);
        t.at_most("weft tasklets", "gevent", 0.5);
    }
    int most = files.rlim_cur > 10100 ? 10000 : int(files.rlim_cur) - 100;
    bench::Table t(std::to_string(most) + " idle connections in weft_io_serve",
                   "KiB of memory each");
    t.add("weft tasklets", [most] { return idle_memory(most); });
    t.run(3);
    t.figure_at_most("weft tasklets", 9);
}
