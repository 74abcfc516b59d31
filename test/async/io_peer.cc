// The other end: descriptors that pass, who it is, how connections end that have fallen silent.
#include "paired.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

INSIDE_CASE(test_pass_descriptors)
{
    make_pair(UNIX_PAIR, p);
    for (uint64_t i = 1; i <= 3; i++) {
        uint64_t n = 0;
        int e = eventfd((unsigned)i, EFD_CLOEXEC);
        assert_int_equal(weft_io_send_fd(p[1], e, WEFT_FOREVER), 0);
        weft_io_close(e);
        errno = 77;
        e = weft_io_recv_fd(p[0], WEFT_FOREVER);
        assert_true(e > 2);
        assert_int_equal(errno, 77);
        assert_int_equal(fcntl(e, F_GETFD), FD_CLOEXEC);
        assert_int_equal(weft_io_read(e, &n, sizeof n, WEFT_FOREVER), sizeof n);
        assert_int_equal(n, i);
        weft_io_close(e);
    }
    assert_errno(weft_io_recv_fd(p[0], weft_in_ms(2)), ETIMEDOUT);
    assert_errno(weft_io_send_fd(p[1], 1000, WEFT_FOREVER), EBADF);
    put("x");
    assert_errno(weft_io_recv_fd(p[0], WEFT_FOREVER), EBADMSG);
    close_end(1);
    assert_errno(weft_io_recv_fd(p[0], WEFT_FOREVER), EPIPE);
    weft_io_close(p[0]);
}

// Who sends more than one leaves nothing behind (which the end of the test looks at).
INSIDE_CASE(test_pass_too_many)
{
    struct msghdr m = {};
    struct iovec piece = {text, 1};
    alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
    make_pair(UNIX_PAIR, p);
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), p, 2 * sizeof(int));
    assert_int_equal(weft_io_sendmsg(p[1], &m, 0, WEFT_FOREVER), 1);
    int fd = weft_io_recv_fd(p[0], WEFT_FOREVER);
    assert_true(fd > 2);
    weft_io_close(fd);
    close_pair(p);
}

// No number is free: it says so, and nothing is left open.
static int receive_without_room(void *)
{
    make_pair(UNIX_PAIR, p);
    if (weft_io_send_fd(p[1], p[0], WEFT_FOREVER) != 0)
        return 1;
    while (dup(0) >= 0)
        ;
    return weft_io_recv_fd(p[0], WEFT_FOREVER) == -1 && errno == EMFILE ? 0 : 2;
}

CASE(test_pass_without_room)
{
    forks_coroutines();
    int (*fn)(void *) = [](void *) {
        struct rlimit few = {64, 64};
        setrlimit(RLIMIT_NOFILE, &few);
        return weft_io_run(receive_without_room, nullptr);
    };
    assert_int_equal(end_of(child_of(fn, nullptr)), 0);
}

// The child connects, and ends when it is told to.
static int connect_and_wait(void *address)
{
    int (*fn)(void *) = [](void *a) {
        char byte;
        int fd = weft_io_connect((const char *)a, weft_in_s(20));
        return weft_io_read(fd, &byte, 1, weft_in_s(30)) == 0 ? 0 : 1;
    };
    return weft_io_run(fn, address);
}

CASE(test_peer)
{
    static char address[64];
    static pid_t child;
    forks_coroutines();
    snprintf(address, sizeof address, "unix:@weft-peer-%d", (int)getpid());
    int l = weft_io_listen(address, nullptr);
    child = child_of(connect_and_wait, address);
    static int listener;
    listener = l;
    inside([] {
        weft_io_credentials c = {};
        int fd = weft_io_accept(listener, weft_in_s(20));
        assert_int_equal(weft_io_peer(fd, &c), 0);
        assert_int_equal(c.pid, child);
        assert_int_equal(c.uid, getuid());
        assert_int_equal(c.gid, getgid());
        assert_errno(weft_io_peer(fd, nullptr), EINVAL);
        int pidfd = weft_io_peer_pidfd(fd);
        assert_true(pidfd > 2 || errno == EOPNOTSUPP);
        weft_io_close(fd);
        if (pidfd >= 0) {
            assert_int_equal(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
            assert_int_equal(weft_io_wait(pidfd, WEFT_READ, weft_in_s(30)), WEFT_READ);
            close(pidfd);
        }
        make_pair(TCP_PAIR, p);
        assert_errno(weft_io_peer(p[0], &c), ENOTCONN);
        assert_errno(weft_io_peer_pidfd(p[0]), ENOTCONN);
        close_pair(p);
        assert_errno(weft_io_peer(1000, &c), EBADF);
        assert_errno(weft_io_peer_pidfd(1000), EBADF);
    });
    assert_int_equal(end_of(child), 0);
    close(l);
}

static int tcp_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(
        getsockopt(fd, option == SO_KEEPALIVE ? SOL_SOCKET : IPPROTO_TCP, option, &value, &size),
        0);
    return value;
}

PAIR_CASE(test_silent_connections, TCP_PAIR)
{
    assert_int_equal(weft_io_keep_alive(p[0], 10000000001, 1, 3), 0);
    assert_int_equal(tcp_option(p[0], TCP_KEEPIDLE), 11);
    assert_int_equal(tcp_option(p[0], TCP_KEEPINTVL), 1);
    assert_int_equal(tcp_option(p[0], TCP_KEEPCNT), 3);
    assert_int_equal(weft_io_keep_alive(p[0], 0, 0, 0), 0);
    assert_errno(weft_io_keep_alive(p[0], -1, 1, 1), EINVAL);
    assert_errno(weft_io_keep_alive(p[0], 1, 0, 1), EINVAL);
    assert_errno(weft_io_keep_alive(p[0], 1, 1, 0), EINVAL);
    assert_int_equal(weft_io_user_timeout(p[0], 1500000), 0);
    assert_int_equal(tcp_option(p[0], TCP_USER_TIMEOUT), 2);
    assert_errno(weft_io_user_timeout(p[0], -1), EINVAL);
    assert_errno(weft_io_user_timeout(1000, 1), EBADF);
}

PAIR_CASE(test_reset, TCP_PAIR)
{
    transfer t;
    begin_reading(&t);
    assert_int_equal(weft_io_reset(p[1]), 0);
    p[1] = -1;
    assert_int_equal(result_of(&t), -1);
    assert_int_equal(t.error, ECONNRESET);
    assert_errno(weft_io_reset(1000), EBADF);
}

// ---- All addresses of a name ----

static bool is_reached(int l)
{
    char address[128];
    if (weft_io_address(l, WEFT_IO_LOCAL, address, sizeof address) != 0)
        return false;
    int a = weft_io_connect(address, weft_in_s(20)), b = weft_io_accept(l, weft_in_s(20));
    return a >= 0 && b >= 0 && weft_io_close(a) == 0 && weft_io_close(b) == 0;
}

INSIDE_CASE(test_listen_on_all_addresses)
{
    struct sockaddr_in6 a[8];
    int l[8];
    ssize_t n = weft_io_listen_all("tcp:localhost:0", nullptr, l, 8);
    assert_true(n >= 1);
    for (int i = 0; i < n; i++) {
        socklen_t size = sizeof a[i];
        assert_int_equal(getsockname(l[i], (struct sockaddr *)&a[i], &size), 0);
        assert_int_equal(a[i].sin6_port, a[0].sin6_port);
        assert_true(is_reached(l[i]));
    }
    // The same port again: it is taken, and none stays open.
    char address[64];
    int other[8];
    snprintf(address, sizeof address, "tcp:localhost:%d", (int)ntohs(a[0].sin6_port));
    assert_errno(weft_io_listen_all(address, nullptr, other, 8), EADDRINUSE);
    for (int i = 0; i < n; i++)
        weft_io_close(l[i]);
    if (n > 1)
        assert_errno(weft_io_listen_all("tcp:localhost:0", nullptr, l, 1), EINVAL);
    assert_int_equal(weft_io_listen_all("tcp:*:0", nullptr, l, 1), 1);
    assert_true(is_reached(l[0]));
    weft_io_close(l[0]);
    assert_int_equal(weft_io_listen_all("udp:127.0.0.1:0", nullptr, l, 1), 1);
    weft_io_close(l[0]);
    assert_errno(weft_io_listen_all("tcp:localhost:0", nullptr, nullptr, 8), EINVAL);
    assert_errno(weft_io_listen_all("tcp:localhost:0", nullptr, l, 0), EINVAL);
    assert_errno(weft_io_listen_all("nothing", nullptr, l, 8), EINVAL);
}

// A second address of the other family takes part as where both families have the name.
INSIDE_CASE(test_listen_on_both_families)
{
    int l[2], six = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 a = {};
    a.sin6_family = AF_INET6;
    a.sin6_addr = in6addr_loopback;
    bool has_six = six >= 0 && bind(six, (struct sockaddr *)&a, sizeof a) == 0;
    close(six);
    if (!has_six)
        skip();
    ssize_t n = weft_io_listen_all("tcp:weft.localhost:0", nullptr, l, 2);
    assert_int_equal(n, 2);
    for (int fd : l) {
        assert_true(is_reached(fd));
        weft_io_close(fd);
    }
}

RUN_CASES()
