// Connecting to several addresses, to what does not answer, and where there is no network.
#include "inside.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <sys/ioctl.h>

enum {
    MOST = 64, // addresses that are tried
    CLOSED = 1 // a port at which nobody listens, nor comes to meanwhile as at one that was free
};

static struct addrinfo list[MOST + 1];
static struct sockaddr_in in[MOST + 1];

static struct addrinfo *make_list(const int *ports, int n)
{
    memset(list, 0, sizeof list);
    for (int i = 0; i < n; i++) {
        in[i].sin_family = AF_INET;
        in[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in[i].sin_port = htons((uint16_t)ports[i]);
        list[i].ai_family = AF_INET;
        list[i].ai_socktype = SOCK_STREAM;
        list[i].ai_addr = (struct sockaddr *)&in[i];
        list[i].ai_addrlen = sizeof in[i];
        list[i].ai_next = i + 1 < n ? &list[i + 1] : nullptr;
    }
    return list;
}

static int connect_ports(const int *ports, int n, weft_deadline d)
{
    return weft_io_connect_any(make_list(ports, n), d);
}

// 0 for a connection, which is closed.
static int error_of(int fd)
{
    int error = fd < 0 ? errno : 0;
    if (fd >= 0)
        weft_io_close(fd);
    return error;
}

static int port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &size);
    return ntohs(a.sin_port);
}

static int listener(void)
{
    return weft_io_listen("tcp:127.0.0.1:0", nullptr);
}

// One that answers nothing: its backlog is full, of the connections in `fds`.
struct silent {
    int fds[4], port;
    char address[64];
};

static silent make_silent(void)
{
    silent s;
    weft_io_listen_options o = {};
    o.backlog = 1;
    s.fds[0] = weft_io_listen("tcp:127.0.0.1:0", &o);
    s.port = port_of(s.fds[0]);
    weft_io_address(s.fds[0], WEFT_IO_LOCAL, s.address, sizeof s.address);
    for (int i = 1; i < 4; i++)
        s.fds[i] = weft_io_connect(s.address, i < 3 ? weft_in_s(20) : weft_in_ms(30));
    assert_int_equal(s.fds[3], -1);
    assert_int_equal(errno, ETIMEDOUT);
    return s;
}

static void close_silent(const silent *s)
{
    for (int i = 0; i < 3; i++)
        if (s->fds[i] >= 0)
            weft_io_close(s->fds[i]);
}

INSIDE_CASE(test_connect_timed_out)
{
    silent s = make_silent();
    weft_deadline d = weft_in_ms(15);
    assert_errno(weft_io_connect(s.address, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    assert_errno(weft_io_connect(s.address, WEFT_NOW), ETIMEDOUT);
    close_silent(&s);
}

INSIDE_CASE(test_connect_any_passes_over_the_refused)
{
    int ports[MOST], l = listener();
    for (int &port : ports)
        port = CLOSED;
    ports[MOST - 1] = port_of(l);
    weft_deadline soon = weft_in_ms(250 * MOST / 2); // none waits for the delay
    assert_int_equal(error_of(connect_ports(ports, MOST, soon)), 0);
    assert_errno(connect_ports(ports, 2, weft_in_s(20)), ECONNREFUSED);
    weft_io_close(l);
}

INSIDE_CASE(test_connect_any_goes_on_beside_the_silent)
{
    silent s = make_silent();
    int l = listener(), ports[] = {s.port, port_of(l)};
    int64_t start = weft_now();
    assert_int_equal(error_of(connect_ports(ports, 2, weft_in_s(20))), 0);
    assert_true(weft_now() - start >= 250000000);
    // All silent: the deadline ends it.
    ports[1] = ports[0];
    weft_deadline d = weft_in_ms(20);
    assert_errno(connect_ports(ports, 2, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    weft_io_close(l);
    close_silent(&s);
}

// One that fails as it begins does not take up its 250 ms either.
INSIDE_CASE(test_connect_any_passes_over_what_fails_at_once)
{
    silent s = make_silent();
    int ports[MOST], l = listener();
    for (int &port : ports)
        port = port_of(l);
    ports[0] = s.port;
    make_list(ports, MOST);
    for (int i = 1; i < MOST - 1; i++)
        list[i].ai_addrlen = 1; // EINVAL
    weft_deadline together = weft_in_ms(250 * MOST / 2);
    assert_int_equal(error_of(weft_io_connect_any(list, weft_in_s(50))), 0);
    assert_true(weft_left(together) > 0);
    weft_io_close(l);
    close_silent(&s);
}

// One begins 250 ms after the other, and what is silent first may still be the one that wins: the
// kernel asks it again after a second, when its backlog has room.
INSIDE_CASE(test_connect_any_takes_a_late_one)
{
    static silent first;
    first = make_silent();
    silent second = make_silent();
    int ports[] = {first.port, second.port, second.port};
    weft_tasklet *t = spawn(
        [] {
            for (int i = 0; i < 2; i++)
                weft_io_close(weft_io_accept(first.fds[0], WEFT_FOREVER));
        },
        true);
    int fd = connect_ports(ports, 3, weft_in_s(30));
    assert_true(fd >= 0);
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    getpeername(fd, (struct sockaddr *)&peer, &size);
    assert_int_equal(ntohs(peer.sin_port), first.port);
    join(t);
    weft_io_close(fd);
    close_silent(&first);
    close_silent(&second);
}

// The other family has its turn before the second address of the first one.
INSIDE_CASE(test_connect_any_takes_families_in_turn)
{
    struct sockaddr_in6 six = {}, peer = {};
    socklen_t size = sizeof six;
    int l6 = weft_io_listen("tcp:[::1]:0", nullptr);
    if (l6 < 0)
        return print_message("no IPv6 here: not tested\n");
    silent s = make_silent();
    int l = listener(), ports[] = {s.port, port_of(l), 0};
    getsockname(l6, (struct sockaddr *)&six, &size);
    struct addrinfo *last = make_list(ports, 3) + 2;
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
    weft_io_close(l);
    close_silent(&s);
}

INSIDE_CASE(test_connect_any_tries_so_many)
{
    int ports[MOST + 1], l = listener();
    for (int &port : ports)
        port = CLOSED;
    ports[MOST - 1] = port_of(l);
    assert_int_equal(error_of(connect_ports(ports, MOST, weft_in_s(20))), 0);
    ports[MOST - 1] = ports[0];
    ports[MOST] = port_of(l);
    assert_errno(connect_ports(ports, MOST + 1, weft_in_s(20)), ECONNREFUSED);
    weft_io_close(l);
}

// What waits for one address, and what has several attempts under way.
INSIDE_CASE(test_connect_cancelled)
{
    static silent s;
    static int errors[2];
    s = make_silent();
    int ports[] = {s.port, s.port, s.port};
    make_list(ports, 3);
    weft_tasklet *t[] = {
        spawn([] { errors[0] = error_of(weft_io_connect(s.address, WEFT_FOREVER)); }, true),
        spawn([] { errors[1] = error_of(weft_io_connect_any(list, WEFT_FOREVER)); }, true)};
    weft_tasklet_yield();
    for (int i = 0; i < 2; i++)
        weft_tasklet_cancel(t[i]);
    for (int i = 0; i < 2; i++) {
        join(t[i]);
        assert_int_equal(errors[i], ECANCELED);
    }
    close_silent(&s);
}

// ---- A network without routes ----

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

// Runs fn in a child without a network, in weft_io_run: it returns 0.
static void without_network(int (*fn)(void *))
{
    static int (*body)(void *);
    body = fn;
    int (*child)(void) = [] {
        return leave_the_network() ? weft_io_run(body, nullptr) : (int)NOT_PERMITTED;
    };
    assert_int_equal(child_result(child, "network namespaces"), 0);
}

static void make_unreachable(int i)
{
    in[i].sin_addr.s_addr = inet_addr("192.0.2.1"); // RFC 5737: for documentation, no route
}

CASE(test_connect_unreachable)
{
    without_network([](void *) {
        return error_of(weft_io_connect("tcp:192.0.2.1:80", WEFT_FOREVER)) == ENETUNREACH ? 0 : 1;
    });
}

// What the last one said, whichever way they failed; and one that is reached among them.
CASE(test_connect_any_says_what_the_last_said)
{
    without_network([](void *) {
        int closed = CLOSED, l = listener();
        int refused[] = {closed, closed, closed}, reached[] = {closed, closed, port_of(l)};
        make_list(refused, 3);
        make_unreachable(0);
        make_unreachable(1);
        if (error_of(weft_io_connect_any(list, WEFT_FOREVER)) != ECONNREFUSED)
            return 1;
        make_list(refused, 3);
        make_unreachable(2);
        if (error_of(weft_io_connect_any(list, WEFT_FOREVER)) != ENETUNREACH)
            return 2;
        make_list(reached, 3);
        make_unreachable(0);
        return error_of(weft_io_connect_any(list, WEFT_FOREVER)) == 0 ? 0 : 3;
    });
}

// The kernel's own patience ends: here after one try more, which takes three seconds.
CASE(test_connect_timed_out_by_the_kernel)
{
    without_network([](void *) {
        int retries = open("/proc/sys/net/ipv4/tcp_syn_retries", O_WRONLY | O_CLOEXEC);
        if (retries < 0 || write(retries, "1", 1) != 1)
            return (int)NOT_PERMITTED;
        close(retries);
        int ports[] = {CLOSED, make_silent().port};
        weft_deadline d = weft_in_s(50);
        int error = error_of(connect_ports(ports, 2, d));
        return error == ETIMEDOUT && weft_left(d) > 0 ? 0 : 1;
    });
}

RUN_CASES()
