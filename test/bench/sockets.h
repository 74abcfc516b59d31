// sockets.h: connections through the loopback, what they cost, and none to be had.
#ifndef WEFT_BENCH_SOCKETS_H
#define WEFT_BENCH_SOCKETS_H

#include "bench.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace bench {

[[noreturn]] inline void die(const char *what)
{
    std::perror(what);
    std::exit(1);
}

// Listens; what it accepts has TCP_NODELAY, and so has who dials.
struct Listener {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in at{};

    Listener()
    {
        socklen_t size = sizeof at;
        int one = 1;
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (bind(fd, reinterpret_cast<sockaddr *>(&at), size) != 0 || listen(fd, 4096) != 0)
            die("listen");
        getsockname(fd, reinterpret_cast<sockaddr *>(&at), &size);
    }
    ~Listener()
    {
        close(fd);
    }
    void connect_it(int client) const
    {
        int one = 1;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(client, reinterpret_cast<const sockaddr *>(&at), sizeof at) != 0)
            die("connect");
    }
    int dial() const
    {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        connect_it(client);
        return client;
    }
};

inline double cpu_seconds(clockid_t of)
{
    timespec t{};
    clock_gettime(of, &t);
    return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

// As long as it lives the process gets no new descriptor.
struct NoDescriptors {
    rlimit before{};

    NoDescriptors()
    {
        getrlimit(RLIMIT_NOFILE, &before);
        rlimit none = before;
        none.rlim_cur = 3;
        setrlimit(RLIMIT_NOFILE, &none);
    }
    ~NoDescriptors()
    {
        setrlimit(RLIMIT_NOFILE, &before);
    }
};

// A server with connections to accept and no descriptor to do it with, then with.
struct Starved {
    double percent; // CPU while there is none
    double ms;      // until the last is served, after there are
    double lost;    // connections that were not served

    // The rows and bars of `measure`, a run.
    static void table(Starved (*measure)())
    {
        Table e("out of descriptors with 50 connections waiting", "% CPU, ms, connections");
        e.add("% CPU meanwhile", [=] { return measure().percent; });
        e.add("ms until all are served, after relief", [=] { return measure().ms; });
        e.add("connections lost", [=] { return measure().lost; });
        e.run(3);
        e.figure_at_most("% CPU meanwhile", 2);
        e.figure_at_most("ms until all are served, after relief", 1000);
        e.figure_at_most("connections lost", 0);
    }
};

} // namespace bench

#endif
