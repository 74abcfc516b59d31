// Many datagrams a call, and those in segments.
#include "../refuses.h"
#include "paired.h"

#include <async/descriptor.h>
#include <netinet/udp.h>

using namespace weft;

enum { MANY = 40, ROOM = 4096 };

static weft_io_datagram out[MANY], in[MANY];
static char memory[MANY][ROOM], sent[MANY * ROOM];

static void bind_to_loopback(int fd)
{
    struct sockaddr_in a = {};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
}

// `p`: two bound sockets; `in` has room, `out` goes to p[0].
static void begin_udp(void)
{
    for (int &fd : p) {
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        bind_to_loopback(fd);
    }
    for (int i = 0; i < MANY; i++) {
        in[i] = out[i] = {};
        in[i].data = memory[i];
        in[i].room = ROOM;
        out[i].address_size = sizeof out[i].address;
        getsockname(p[0], (struct sockaddr *)&out[i].address, &out[i].address_size);
    }
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i % 251);
}

static void with_udp(void (*fn)(void))
{
    static void (*body)(void);
    body = fn;
    inside([] {
        begin_udp();
        body();
        close_pair(p);
    });
}

#define UDP_CASE(fn) CASE_IN(fn, with_udp)

// All n, in as many calls as that takes.
static void receive_all(int fd, size_t n)
{
    for (size_t all = 0; all < n;) {
        ssize_t got = weft_io_recv_many(fd, in + all, n - all, weft_in_s(20));
        assert_in_range(got, 1, n - all);
        all += (size_t)got;
    }
}

static void send_and_echo(void)
{
    for (int i = 0; i < MANY; i++) {
        out[i].data = sent + i;
        out[i].size = (size_t)i; // the first is empty
    }
    errno = 77;
    assert_int_equal(weft_io_send_many(p[1], out, MANY, weft_in_s(20)), MANY);
    receive_all(p[0], MANY);
    assert_int_equal(weft_io_send_many(p[0], in, MANY, weft_in_s(20)), MANY);
    receive_all(p[1], MANY);
    assert_int_equal(errno, 77);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(in[i].size, i);
        assert_memory_equal(in[i].data, sent + i, i);
        assert_int_equal(in[i].segment, 0);
        assert_false(in[i].truncated);
        assert_int_equal(in[i].address_size, out[i].address_size);
        assert_memory_equal(&in[i].address, &out[i].address, in[i].address_size);
    }
}

UDP_CASE(test_many)
{
    send_and_echo();
    assert_errno(weft_io_recv_many(p[0], in, MANY, weft_in_ms(2)), ETIMEDOUT);
    assert_errno(weft_io_recv_many(p[0], in, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_io_recv_many(p[0], NULL, 1, WEFT_NOW), EINVAL);
    assert_errno(weft_io_send_many(p[0], in, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_io_send_many(p[0], NULL, 1, WEFT_NOW), EINVAL);
}

static int echo_where(unsigned call, unsigned error)
{
    if (!refuses(call, error))
        return NOT_PERMITTED;
    with_udp(send_and_echo);
    return 0;
}

CASE(test_many_one_by_one)
{
    int (*send_one)(void) = [] { return echo_where(SYS_sendmmsg, ENOSYS); };
    int (*receive_one)(void) = [] { return echo_where(SYS_recvmmsg, EPERM); };
    assert_int_equal(child_result(send_one, "filters of system calls"), 0);
    assert_int_equal(child_result(receive_one, "filters of system calls"), 0);
}

UDP_CASE(test_truncated)
{
    out[0].data = out[1].data = sent;
    out[0].size = 9;
    out[1].size = 8;
    in[0].room = in[1].room = 8;
    assert_int_equal(weft_io_send_many(p[1], out, 2, weft_in_s(20)), 2);
    receive_all(p[0], 2);
    assert_true(in[0].truncated);
    assert_int_equal(in[0].size, 8);
    assert_false(in[1].truncated);
}

// The count is the index of the one that failed, which can be passed over.
UDP_CASE(test_send_one_that_fails)
{
    out[0].data = out[1].data = out[2].data = sent;
    out[0].size = out[2].size = 5;
    out[1].size = 70000;
    errno = 0;
    assert_int_equal(weft_io_send_many(p[1], out, 3, weft_in_s(20)), 1);
    assert_int_equal(errno, EMSGSIZE);
    assert_errno(weft_io_send_many(p[1], out + 1, 2, weft_in_s(20)), EMSGSIZE);
    assert_int_equal(weft_io_send_many(p[1], out + 2, 1, weft_in_s(20)), 1);
    receive_all(p[0], 2);
}

static struct segmented {
    size_t size;
    uint32_t segment;
} const segmented[] = {{10000, 1000}, {10001, 1000}, {999, 1000}, {1000, 1000}, {900, 10}};

// What came are the segments, each by itself or several in one.
static void receive_segments(const struct segmented *s)
{
    for (size_t all = 0, n; all < s->size;) {
        ssize_t got = weft_io_recv_many(p[0], in, MANY, weft_in_s(20));
        assert_true(got > 0);
        for (ssize_t i = 0; i < got; i++, all += n) {
            n = in[i].size;
            size_t left = s->size - all;
            if (in[i].segment == 0)
                assert_int_equal(n, left < s->segment ? left : s->segment);
            else
                assert_int_equal(in[i].segment, s->segment);
            assert_false(in[i].truncated);
            assert_memory_equal(in[i].data, sent + all, n);
        }
    }
}

static void send_segments(void)
{
    for (const struct segmented &each : segmented) {
        out[0].data = sent;
        out[0].size = each.size;
        out[0].segment = each.segment;
        assert_int_equal(weft_io_send_many(p[1], out, 1, weft_in_s(20)), 1);
        receive_segments(&each);
    }
}

static void send_segments_to_joiner(void)
{
    int on = 1;
    setsockopt(p[0], IPPROTO_UDP, UDP_GRO, &on, sizeof on); // where there is none they come singly
    for (weft_io_datagram &each : in)
        each.room = sizeof sent;
    for (int i = 0; i < MANY; i++)
        in[i].data = (char *)malloc(sizeof sent);
    send_segments();
    for (weft_io_datagram &each : in)
        free(each.data);
}

CASE(test_segments)
{
    with_udp(send_segments);
    with_udp(send_segments_to_joiner);
}

CASE(test_segments_where_none_can_be_cut)
{
    io_segments = false;
    with_udp(send_segments);
    io_segments = true;
}

// Without checksums the kernel cuts none, which it says when one is sent.
UDP_CASE(test_segments_that_are_refused)
{
    int on = 1;
    assert_int_equal(setsockopt(p[1], SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
    send_segments();
}

// Unix datagrams: a full receiver is waited for, as far as the deadline lets it.
INSIDE_CASE(test_send_waits_for_room)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, p), 0);
    for (int i = 0; i < MANY; i++) {
        in[i] = out[i] = {};
        out[i].data = in[i].data = memory[i];
        in[i].room = out[i].size = ROOM;
        memory[i][0] = (char)i;
    }
    ssize_t fits = 0, n;
    while ((n = weft_io_send_many(p[1], out, MANY, weft_in_ms(1))) == MANY)
        fits += n;
    assert_int_equal(errno, ETIMEDOUT);
    fits += n > 0 ? n : 0;
    static ssize_t left;
    left = fits + MANY;
    weft_tasklet *t = spawn(
        [] {
            for (ssize_t got; left > 0; left -= got)
                if ((got = weft_io_recv_many(p[0], in, MANY, weft_in_s(20))) < 0)
                    break;
        },
        true);
    assert_int_equal(weft_io_send_many(p[1], out, MANY, weft_in_s(20)), MANY);
    join(t);
    assert_int_equal(left, 0);
    close_pair(p);
}

RUN_CASES()
