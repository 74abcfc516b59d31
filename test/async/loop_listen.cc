// loop_listen.cc: listeners: what they accept, and what they do without descriptors.
#include "looped.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/un.h>

static struct sockaddr_un address;
static int accepted[100], stop_at;

static void keep(weft_listener *s, int fd, void *)
{
    accepted[calls++] = fd;
    if (calls == stop_at)
        weft_loop_unlisten(s);
}

static int listener(int most)
{
    static int number;
    stop_at = most;
    address = {};
    address.sun_family = AF_UNIX; // an abstract name: nothing to remove
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "weft-loop-%d-%d", getpid(),
             number++);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 128), 0);
    return fd;
}

static int connect_there(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

LOOP_CASE(test_listen_accepts_in_batches)
{
    int fd = listener(100), clients[100];
    assert_errno(weft_loop_listen(l, &h.li, fd, nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_listen(l, &h.li, 99999, keep, nullptr), EBADF);
    int talker = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_errno(weft_loop_listen(l, &h.li, talker, keep, nullptr), EINVAL); // it does not listen
    close(talker);
    assert_errno(weft_loop_unlisten(&h.li), EALREADY);
    assert_int_equal(weft_loop_listen(l, &h.li, fd, keep, nullptr), 0);
    assert_errno(weft_loop_listen(l, &h.li, fd, keep, nullptr), EBUSY);
    for (int &c : clients)
        c = connect_there();
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 100);
    for (int i = 0; i < 100; i++) {
        assert_true(fcntl(accepted[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(accepted[i], F_GETFL) & O_NONBLOCK);
        close(accepted[i]), close(clients[i]);
    }
    fcntl(fd, F_SETFL, 0);
    assert_errno(weft_loop_listen(l, &h.li, fd, keep, nullptr), EINVAL);
    close(fd);
}

LOOP_CASE(test_listen_without_descriptors)
{
    struct rlimit before, none;
    weft_loop_counters stats = {};
    int fd = listener(1), client = connect_there();
    assert_int_equal(weft_loop_listen(l, &h.li, fd, keep, nullptr), 0);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = (rlim_t)next_descriptor();
    setrlimit(RLIMIT_NOFILE, &none);
    // Three retries, a few rounds each: no spin.
    int r = weft_loop_run(l, WEFT_LOOP_ALL, weft_in_ms(350));
    weft_loop_statistics(l, &stats);
    while (h.li.error == 0) // a retry had begun
        once();
    int error = h.li.error;
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(r, -1);
    assert_int_equal(error, EMFILE);
    assert_true(stats.rounds < 30);
    assert_int_equal(calls, 0);
    assert_int_equal(run_all(), 0); // served after relief
    assert_int_equal(calls, 1);
    assert_int_equal(h.li.error, 0);
    close(accepted[0]), close(client), close(fd);
}

LOOP_CASE(test_listen_stop_while_looking_away)
{
    int fd = listener(0);
    assert_int_equal(weft_loop_listen(l, &h.li, fd, keep, nullptr), 0);
    shutdown(fd, SHUT_RDWR); // accept fails with EINVAL from now on
    while (h.li.error == 0)
        assert_int_equal(once(), 1);
    assert_int_equal(h.li.error, EINVAL);
    assert_int_equal(weft_loop_unlisten(&h.li), 0);
    assert_int_equal(run_all(), 0);
    close(fd);
}

RUN_CASES()
