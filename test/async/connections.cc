// Connecting and listening: every form of address, many addresses, what is refused.
#include <weft/io.h>

#include "../runner.h"
#include "inside.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

// What a connect to the listener's own address sends arrives.
static void assert_reaches(int listener, const char *address)
{
    char text[128];
    if (address == nullptr) {
        assert_int_equal(weft_io_address(listener, WEFT_IO_LOCAL, text, sizeof text), 0);
        address = text;
    }
    errno = 77;
    int a = weft_io_connect(address, weft_in_s(20));
    assert_true(a >= 0);
    assert_int_equal(errno, 77);
    int b = weft_io_accept(listener, weft_in_s(20));
    assert_true(b >= 0);
    assert_int_equal(errno, 77);
    assert_int_equal(fcntl(a, F_GETFD) & fcntl(b, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(a, F_GETFL) & fcntl(b, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    char byte = 0;
    assert_int_equal(weft_io_write(a, "x", 1, WEFT_FOREVER), 1);
    assert_int_equal(weft_io_read(b, &byte, 1, WEFT_FOREVER), 1);
    assert_int_equal(byte, 'x');
    weft_io_close(a);
    weft_io_close(b);
}

CASE(test_tcp)
{
    inside([] {
        int l = weft_io_listen("tcp:127.0.0.1:0", nullptr), one = 0;
        assert_true(l >= 0);
        assert_reaches(l, nullptr);
        char text[64], named[64];
        weft_io_address(l, WEFT_IO_LOCAL, text, sizeof text);
        snprintf(named, sizeof named, "tcp:localhost:%s", strrchr(text, ':') + 1);
        assert_reaches(l, named); // a name; where it is ::1 too, that is refused first
        socklen_t size = sizeof one;
        int fd = weft_io_connect(text, WEFT_FOREVER), peer = weft_io_accept(l, WEFT_FOREVER);
        getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, &size);
        assert_int_equal(one, 1);
        one = 0;
        getsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, &size);
        assert_int_equal(one, 1);
        assert_int_equal(weft_io_address(fd, WEFT_IO_PEER, named, sizeof named), 0);
        assert_string_equal(named, text);
        assert_errno(weft_io_address(fd, 5, named, sizeof named), EINVAL);
        assert_errno(weft_io_address(fd, WEFT_IO_PEER, nullptr, 0), EINVAL);
        assert_errno(weft_io_address(fd, WEFT_IO_PEER, named, 5), ENOBUFS);
        assert_errno(weft_io_address(l, WEFT_IO_PEER, named, sizeof named), ENOTCONN);
        weft_io_close(fd);
        weft_io_close(peer);
        weft_io_close(l);
    });
}

CASE(test_tcp_all)
{
    inside([] {
        char text[64], other[64];
        int l = weft_io_listen("tcp:*:0", nullptr);
        assert_true(l >= 0);
        weft_io_address(l, WEFT_IO_LOCAL, text, sizeof text);
        snprintf(other, sizeof other, "tcp:127.0.0.1:%s", strrchr(text, ':') + 1);
        assert_reaches(l, other);
        weft_io_close(l);
    });
}

CASE(test_unix)
{
    inside([] {
        char path[] = "/tmp/weft-io-XXXXXX", address[64];
        struct stat s;
        weft_io_listen_options o = {};
        close(mkstemp(path));
        unlink(path);
        snprintf(address, sizeof address, "unix:%s", path);
        int l = weft_io_listen(address, nullptr);
        assert_true(l >= 0);
        assert_int_equal(stat(path, &s), 0);
        assert_int_equal(s.st_mode & 0777, 0600);
        assert_reaches(l, address);
        assert_errno(weft_io_listen(address, nullptr), EADDRINUSE);
        weft_io_close(l); // its file is left over
        assert_errno(weft_io_connect(address, WEFT_FOREVER), ECONNREFUSED);
        o.mode = 0666;
        l = weft_io_listen(address, &o);
        assert_true(l >= 0);
        assert_int_equal(stat(path, &s), 0);
        assert_int_equal(s.st_mode & 0777, 0666);
        assert_reaches(l, nullptr);
        weft_io_close(l);
        unlink(path);
        assert_errno(weft_io_connect(address, WEFT_FOREVER), ENOENT);
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_errno(weft_io_listen(address, nullptr), EADDRINUSE); // never replaced: no socket
        unlink(path);
        snprintf(address, sizeof address, "unix:@weft-io-%d", (int)getpid());
        l = weft_io_listen(address, nullptr);
        assert_reaches(l, nullptr);
        weft_io_close(l);
    });
}

// A unix socket's connect fails at once while the backlog is full.
CASE(test_unix_full_backlog)
{
    inside([] {
        static char address[64];
        weft_io_listen_options o = {};
        o.backlog = 1;
        snprintf(address, sizeof address, "unix:@weft-full-%d", (int)getpid());
        int l = weft_io_listen(address, &o), fds[8], n = 0;
        while (n < 8 && (fds[n] = weft_io_connect(address, weft_in_ms(20))) >= 0)
            n++;
        assert_int_equal(errno, ETIMEDOUT);
        assert_true(n > 0 && n < 8);
        static int late;
        weft_tasklet *t = spawn(
            [](void *) -> void * {
                late = weft_io_connect(address, weft_in_s(20));
                return nullptr;
            },
            nullptr, true);
        weft_tasklet_yield();
        for (int i = 0; i < n; i++) {
            weft_io_close(weft_io_accept(l, WEFT_FOREVER));
            weft_io_close(fds[i]);
        }
        join(t);
        assert_true(late >= 0);
        weft_io_close(late);
        weft_io_close(l);
    });
}

CASE(test_listen_before_run)
{
    static int l;
    l = weft_io_listen("tcp:localhost:0", nullptr);
    assert_true(l >= 0);
    inside([] { assert_reaches(l, nullptr); });
    close(l);
}

CASE(test_listen_inherited)
{
    inside([] {
        char text[64];
        int l = socket(AF_INET, SOCK_STREAM, 0), p[2], one = 0;
        socklen_t size = sizeof one;
        listen(l, 5);
        snprintf(text, sizeof text, "fd:%d", l);
        assert_int_equal(weft_io_listen(text, nullptr), l);
        assert_int_equal(fcntl(l, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        assert_int_equal(fcntl(l, F_GETFD), FD_CLOEXEC);
        getsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, &size);
        assert_int_equal(one, 1);
        assert_reaches(l, nullptr);
        weft_io_close(l);
        assert_errno(weft_io_listen(text, nullptr), EBADF);
        assert_errno(weft_io_listen("fd:x", nullptr), EINVAL);
        assert_int_equal(pipe(p), 0);
        snprintf(text, sizeof text, "fd:%d", p[0]);
        assert_errno(weft_io_listen(text, nullptr), EINVAL);
        close_pair(p);
    });
}

CASE(test_listen_systemd)
{
    pid_t child = fork(); // the numbers 3 and 4 are taken here
    if (child == 0) {
        char pid[16];
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        int a = socket(AF_INET, SOCK_STREAM, 0), b = socket(AF_UNIX, SOCK_STREAM, 0);
        struct sockaddr_un un = {};
        un.sun_family = AF_UNIX;
        bool well = a == 3 && b == 4 && listen(a, 5) == 0 &&
                    bind(b, (struct sockaddr *)&un, sizeof(sa_family_t)) == 0 && listen(b, 5) == 0;
        well = well && weft_io_listen("systemd:0", nullptr) == -1 && errno == ENOENT;
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "2", 1);
        setenv("LISTEN_FDNAMES", "web:admin", 1);
        well = well && weft_io_listen("systemd:0", nullptr) == 3;
        well = well && weft_io_listen("systemd:admin", nullptr) == 4;
        well = well && weft_io_listen("systemd:web", nullptr) == 3;
        well = well && weft_io_listen("systemd:2", nullptr) == -1 && errno == ENOENT;
        well = well && weft_io_listen("systemd:adm", nullptr) == -1 && errno == ENOENT;
        setenv("LISTEN_PID", "1", 1);
        well = well && weft_io_listen("systemd:0", nullptr) == -1 && errno == ENOENT;
        _exit(well ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

CASE(test_listen_options)
{
    inside([] {
        weft_io_listen_options o = {};
        char text[64];
        o.reuse_port = true;
        int a = weft_io_listen("tcp:127.0.0.1:0", &o);
        weft_io_address(a, WEFT_IO_LOCAL, text, sizeof text);
        int b = weft_io_listen(text, &o);
        assert_true(b >= 0);
        assert_errno(weft_io_listen(text, nullptr), EADDRINUSE);
        o.backlog = -1;
        assert_errno(weft_io_listen(text, &o), EINVAL);
        o = {};
        o.mode = 01777;
        assert_errno(weft_io_listen("unix:/tmp/x", &o), EINVAL);
        weft_io_close(a);
        weft_io_close(b);
    });
}

CASE(test_addresses_that_are_none)
{
    inside([] {
        static const char *const bad[] = {"",
                                          "tcp",
                                          "tcp:",
                                          "tcp:host",
                                          "tcp:host:",
                                          "tcp::80",
                                          "tcp:::1:80",
                                          "tcp:[::1]",
                                          "unix:",
                                          "unix:@",
                                          "http:host:80",
                                          "tcp:[]:80",
                                          "tcp:127.0.0.1:65536",
                                          "udp:127.0.0.1:99999"};
        char longest[300];
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            assert_errno(weft_io_connect(bad[i], WEFT_FOREVER), EINVAL);
            assert_errno(weft_io_listen(bad[i], nullptr), EINVAL);
        }
        assert_errno(weft_io_connect(nullptr, WEFT_FOREVER), EINVAL);
        assert_errno(weft_io_connect("fd:3", WEFT_FOREVER), EINVAL);
        assert_errno(weft_io_connect_any(nullptr, WEFT_FOREVER), EINVAL);
        memset(longest, 'a', sizeof longest);
        memcpy(longest, "unix:/", 6);
        longest[299] = 0;
        assert_errno(weft_io_listen(longest, nullptr), ENAMETOOLONG);
        assert_errno(weft_io_connect("tcp:127.0.0.1:no-such-service", WEFT_FOREVER), EINVAL);
    });
}

CASE(test_connect_refused)
{
    inside([] {
        char text[64];
        int l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        weft_io_address(l, WEFT_IO_LOCAL, text, sizeof text);
        weft_io_close(l);
        assert_errno(weft_io_connect(text, weft_in_s(20)), ECONNREFUSED);
    });
}

// ---- Several addresses ----

enum { MOST = 64 }; // addresses that are tried

struct addresses {
    struct addrinfo info[MOST + 1];
    struct sockaddr_in in[MOST + 1];
};

static struct addrinfo *make_list(addresses *a, const int *ports, int n)
{
    memset(a, 0, sizeof *a);
    for (int i = 0; i < n; i++) {
        a->in[i].sin_family = AF_INET;
        a->in[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a->in[i].sin_port = htons((uint16_t)ports[i]);
        a->info[i].ai_family = AF_INET;
        a->info[i].ai_socktype = SOCK_STREAM;
        a->info[i].ai_addr = (struct sockaddr *)&a->in[i];
        a->info[i].ai_addrlen = sizeof a->in[i];
        a->info[i].ai_next = i + 1 < n ? &a->info[i + 1] : nullptr;
    }
    return a->info;
}

static int port_of(int fd)
{
    struct sockaddr_in in;
    socklen_t size = sizeof in;
    getsockname(fd, (struct sockaddr *)&in, &size);
    return ntohs(in.sin_port);
}

static int closed_port(void)
{
    int l = weft_io_listen("tcp:127.0.0.1:0", nullptr), port = port_of(l);
    weft_io_close(l);
    return port;
}

// One that answers nothing: its backlog is full.  Its connections are in `fds`.
static int silent_port(int fds[4])
{
    weft_io_listen_options o = {};
    char text[64];
    o.backlog = 1;
    fds[0] = weft_io_listen("tcp:127.0.0.1:0", &o);
    weft_io_address(fds[0], WEFT_IO_LOCAL, text, sizeof text);
    for (int i = 1; i < 4; i++)
        fds[i] = weft_io_connect(text, weft_in_ms(30));
    assert_int_equal(fds[3], -1);
    assert_int_equal(errno, ETIMEDOUT);
    return port_of(fds[0]);
}

static void close_silent(const int fds[4])
{
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            weft_io_close(fds[i]);
}

CASE(test_connect_timed_out)
{
    inside([] {
        int fds[4];
        char text[64];
        silent_port(fds);
        weft_io_address(fds[0], WEFT_IO_LOCAL, text, sizeof text);
        weft_deadline d = weft_in_ms(15);
        assert_errno(weft_io_connect(text, d), ETIMEDOUT);
        assert_true(weft_now() >= d);
        assert_errno(weft_io_connect(text, WEFT_NOW), ETIMEDOUT);
        close_silent(fds);
    });
}

CASE(test_connect_any_passes_over_the_refused)
{
    inside([] {
        addresses a;
        int l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        int ports[] = {closed_port(), closed_port(), port_of(l)};
        weft_deadline soon = weft_in_ms(200); // none waits for the delay
        int fd = weft_io_connect_any(make_list(&a, ports, 3), soon);
        assert_true(fd >= 0);
        weft_io_close(fd);
        assert_errno(weft_io_connect_any(make_list(&a, ports, 2), weft_in_s(20)), ECONNREFUSED);
        weft_io_close(l);
    });
}

CASE(test_connect_any_goes_on_beside_the_silent)
{
    inside([] {
        addresses a;
        int fds[4], l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        int ports[] = {silent_port(fds), port_of(l)};
        int64_t start = weft_now();
        int fd = weft_io_connect_any(make_list(&a, ports, 2), weft_in_s(20));
        assert_true(fd >= 0);
        assert_true(weft_now() - start >= 250000000);
        weft_io_close(fd);
        // All silent: the deadline ends it.
        ports[1] = ports[0];
        weft_deadline d = weft_in_ms(20);
        assert_errno(weft_io_connect_any(make_list(&a, ports, 2), d), ETIMEDOUT);
        assert_true(weft_now() >= d);
        weft_io_close(l);
        close_silent(fds);
    });
}

// One that fails as it begins does not take up its 250 ms either.
CASE(test_connect_any_passes_over_what_fails_at_once)
{
    inside([] {
        static addresses a;
        int fds[4], ports[MOST], l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        for (int &port : ports)
            port = port_of(l);
        ports[0] = silent_port(fds);
        struct addrinfo *list = make_list(&a, ports, MOST);
        for (int i = 1; i < MOST - 1; i++)
            a.info[i].ai_addrlen = 1; // EINVAL
        weft_deadline together = weft_in_ms(250 * MOST / 2);
        int fd = weft_io_connect_any(list, weft_in_s(50));
        assert_true(fd >= 0);
        assert_true(weft_left(together) > 0);
        weft_io_close(fd);
        weft_io_close(l);
        close_silent(fds);
    });
}

// One begins 250 ms after the other, and what is silent first may still be the one that wins: the
// kernel asks it again after a second, when its backlog has room.
CASE(test_connect_any_takes_a_late_one)
{
    inside([] {
        static int fds[4];
        static addresses a;
        int first = silent_port(fds), silent[4], second = silent_port(silent);
        int ports[] = {first, second, second};
        weft_tasklet *t = spawn(
            [](void *) -> void * {
                for (int i = 0; i < 2; i++)
                    weft_io_close(weft_io_accept(fds[0], WEFT_FOREVER));
                return nullptr;
            },
            nullptr, true);
        int fd = weft_io_connect_any(make_list(&a, ports, 3), weft_in_s(30));
        assert_true(fd >= 0);
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        getpeername(fd, (struct sockaddr *)&peer, &size);
        assert_int_equal(ntohs(peer.sin_port), first);
        join(t);
        weft_io_close(fd);
        close_silent(fds);
        close_silent(silent);
    });
}

// The other family has its turn before the second address of the first one.
CASE(test_connect_any_takes_families_in_turn)
{
    inside([] {
        addresses a;
        struct sockaddr_in6 six = {}, peer = {};
        socklen_t size = sizeof six;
        int fds[4], l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        int l6 = weft_io_listen("tcp:[::1]:0", nullptr),
            ports[] = {silent_port(fds), port_of(l), 0};
        bool has_six = l6 >= 0;
        if (has_six) {
            getsockname(l6, (struct sockaddr *)&six, &size);
            struct addrinfo *list = make_list(&a, ports, 3), *last = &a.info[2];
            last->ai_family = AF_INET6;
            last->ai_addr = (struct sockaddr *)&six;
            last->ai_addrlen = size;
            int fd = weft_io_connect_any(list, weft_in_s(20));
            assert_true(fd >= 0);
            getpeername(fd, (struct sockaddr *)&peer, &size);
            assert_int_equal(peer.sin6_family, AF_INET6);
            assert_int_equal(peer.sin6_port, six.sin6_port);
            assert_errno(weft_io_accept(l, WEFT_NOW), ETIMEDOUT); // it was not even tried
            weft_io_close(fd);
            weft_io_close(l6);
        }
        weft_io_close(l);
        close_silent(fds);
        if (!has_six)
            print_message("no IPv6 here: not tested\n");
    });
}

CASE(test_connect_any_tries_so_many)
{
    inside([] {
        static addresses a;
        int ports[MOST + 1], l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        for (int &port : ports)
            port = closed_port();
        ports[MOST - 1] = port_of(l);
        int fd = weft_io_connect_any(make_list(&a, ports, MOST), weft_in_s(20));
        assert_true(fd >= 0);
        weft_io_close(fd);
        ports[MOST - 1] = ports[0];
        ports[MOST] = port_of(l);
        assert_errno(weft_io_connect_any(make_list(&a, ports, MOST + 1), weft_in_s(20)),
                     ECONNREFUSED);
        weft_io_close(l);
    });
}

// ---- A network without routes ----

enum { NOT_PERMITTED = 100 };

// Gives this process a network of its own, which has a loopback and nothing else.
static bool leave_the_network(void)
{
    struct ifreq lo = {};
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(lo.ifr_name, "lo", 3);
    lo.ifr_flags = IFF_UP;
    bool up = ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    close(fd);
    return up;
}

// Runs fn in a child without a network, in weft_io_run.  What it returns, a number below 100, or
// the signal that ended it and 128.
static int without_network(int (*fn)(void *))
{
    int status = -1;
    if (RUNNER_TSAN)
        skip(); // it takes the coroutines of a forked child for the parent's
    pid_t child = fork();
    if (child == 0)
        _exit(leave_the_network() ? weft_io_run(fn, nullptr) : NOT_PERMITTED);
    assert_int_equal(waitpid(child, &status, 0), child);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code == NOT_PERMITTED) {
        print_message("no network namespaces here: not tested\n");
        skip();
    }
    return code;
}

static int error_of(int fd)
{
    int error = fd < 0 ? errno : 0;
    if (fd >= 0)
        weft_io_close(fd);
    return error;
}

static void make_unreachable(addresses *a, int i)
{
    a->in[i].sin_addr.s_addr = inet_addr("192.0.2.1"); // RFC 5737: for documentation, no route
}

CASE(test_connect_unreachable)
{
    int code = without_network([](void *) {
        return error_of(weft_io_connect("tcp:192.0.2.1:80", WEFT_FOREVER)) == ENETUNREACH ? 0 : 1;
    });
    assert_int_equal(code, 0);
}

// What the last one said, whichever way they failed; and one that is reached among them.
CASE(test_connect_any_says_what_the_last_said)
{
    int code = without_network([](void *) {
        addresses a;
        int closed = closed_port(), l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        int refused[] = {closed, closed, closed}, reached[] = {closed, closed, port_of(l)};
        struct addrinfo *list = make_list(&a, refused, 3);
        make_unreachable(&a, 0);
        make_unreachable(&a, 1);
        if (error_of(weft_io_connect_any(list, WEFT_FOREVER)) != ECONNREFUSED)
            return 1;
        list = make_list(&a, refused, 3);
        make_unreachable(&a, 2);
        if (error_of(weft_io_connect_any(list, WEFT_FOREVER)) != ENETUNREACH)
            return 2;
        list = make_list(&a, reached, 3);
        make_unreachable(&a, 0);
        return error_of(weft_io_connect_any(list, WEFT_FOREVER)) == 0 ? 0 : 3;
    });
    assert_int_equal(code, 0);
}

// The kernel's own patience ends: here after one try more, which takes three seconds.
CASE(test_connect_timed_out_by_the_kernel)
{
    int code = without_network([](void *) {
        int fds[4], retries = open("/proc/sys/net/ipv4/tcp_syn_retries", O_WRONLY | O_CLOEXEC);
        if (retries < 0 || write(retries, "1", 1) != 1)
            return (int)NOT_PERMITTED;
        close(retries);
        addresses a;
        int port = silent_port(fds), ports[] = {closed_port(), port};
        weft_deadline d = weft_in_s(50);
        int error = error_of(weft_io_connect_any(make_list(&a, ports, 2), d));
        return error == ETIMEDOUT && weft_left(d) > 0 ? 0 : 1;
    });
    assert_int_equal(code, 0);
}

// What waits for one address, and what has several attempts under way.
CASE(test_connect_cancelled)
{
    inside([] {
        static int fds[4], errors[2];
        static char text[64];
        static addresses a;
        int port = silent_port(fds), ports[] = {port, port, port};
        weft_io_address(fds[0], WEFT_IO_LOCAL, text, sizeof text);
        make_list(&a, ports, 3);
        weft_tasklet *one = spawn(
            [](void *) -> void * {
                errors[0] = error_of(weft_io_connect(text, WEFT_FOREVER));
                return nullptr;
            },
            nullptr, true);
        weft_tasklet *several = spawn(
            [](void *) -> void * {
                errors[1] = error_of(weft_io_connect_any(a.info, WEFT_FOREVER));
                return nullptr;
            },
            nullptr, true);
        weft_tasklet_yield();
        weft_tasklet_cancel(one);
        weft_tasklet_cancel(several);
        join(one);
        join(several);
        assert_int_equal(errors[0], ECANCELED);
        assert_int_equal(errors[1], ECANCELED);
        close_silent(fds);
    });
}

CASE(test_accept_waits)
{
    inside([] {
        static int l, error;
        l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        assert_errno(weft_io_accept(l, WEFT_NOW), ETIMEDOUT);
        assert_errno(weft_io_accept(l, weft_in_ms(3)), ETIMEDOUT);
        assert_errno(weft_io_stop(l), ENOENT);
        weft_tasklet *t = spawn(
            [](void *) -> void * {
                error = weft_io_accept(l, WEFT_FOREVER) < 0 ? errno : 0;
                return nullptr;
            },
            nullptr, true);
        weft_tasklet_yield();
        assert_errno(weft_io_accept(l, WEFT_FOREVER), EBUSY);
        assert_int_equal(weft_io_stop(l), 0);
        join(t);
        assert_int_equal(error, ECANCELED);
        weft_io_close(l);
    });
}

RUN_CASES()
