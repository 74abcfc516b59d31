// Streams and messages: what each call reads and writes.  How waits end stands in io_wait.cc.
#include "paired.h"

#include <fcntl.h>
#include <initializer_list>
#include <limits.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/un.h>

CASE(test_run_returns_what_main_does)
{
    int n = 42;
    assert_int_equal(weft_io_run([](void *arg) -> int { return *(int *)arg; }, &n), 42);
    assert_errno(weft_io_run(nullptr, nullptr), EINVAL);
}

static int ended;

CASE(test_run_waits_for_tasklets)
{
    inside([] {
        for (int i = 0; i < 10; i++)
            spawn([] {
                weft_tasklet_sleep(weft_in_ms(5));
                ended++;
            });
    });
    assert_int_equal(ended, 10);
}

static int run_nothing(void)
{
    return weft_io_run([](void *) { return 0; }, nullptr);
}

CASE(test_run_refuses)
{
    static int error;
    weft_poller other = {[](weft_poller *, weft_deadline) { return 0; }, 0};
    assert_errno(weft_io_read(0, nullptr, 0, WEFT_FOREVER), EPERM);
    assert_errno(weft_io_wait(0, WEFT_READ, WEFT_FOREVER), EPERM);
    assert_errno(weft_io_close(0), EPERM);
    assert_errno(weft_io_forget(0), EPERM);
    assert_errno(weft_io_shutdown(0, SHUT_RDWR), EPERM);
    assert_errno(weft_io_stop(0), EPERM);
    assert_errno(weft_io_connect("tcp:127.0.0.1:1", WEFT_FOREVER), EPERM);
    assert_errno(weft_io_loop(), EPERM);
    assert_int_equal(weft_tasklet_set_poller(&other), 0);
    assert_errno(run_nothing(), EBUSY);
    assert_int_equal(weft_tasklet_set_poller(nullptr), 0);
    inside([] {
        assert_errno(run_nothing(), EBUSY);
        weft_tasklet_cancel(spawn(pause_forever));
    });
    join(spawn([] { error = run_nothing() == -1 ? errno : 0; }, true));
    assert_int_equal(error, EPERM);
}

// ---- Reading ----

EACH_PAIR_CASE(test_read_waits_for_data)
{
    transfer t;
    begin_reading(&t);
    errno = 77;
    put("hello");
    assert_int_equal(errno, 77);
    assert_int_equal(result_of(&t), 5);
    assert_memory_equal(text, "hello", 5);
}

EACH_PAIR_CASE(test_read_end)
{
    // Data before the hang-up is not lost to it, and the end is told each time.
    put("abc");
    close_end(1);
    assert_int_equal(get(text, 2), 2);
    assert_int_equal(get(text, 2), 1);
    assert_int_equal(get(text, 2), 0);
    assert_int_equal(get(text, 2), 0);
}

// The end comes while the reader waits after a short read, and with data before it.
PAIR_CASE(test_read_end_after_a_short_read, TCP_PAIR)
{
    transfer t;
    for (int i = 0; i < 3; i++) {
        put("x");
        begin(&t, reading, p[0], text, sizeof text);
        assert_int_equal(result_of(&t), 1);
    }
    begin_reading(&t);
    assert_int_equal(weft_io_shutdown(p[1], SHUT_WR), 0);
    assert_int_equal(result_of(&t), 0);
    // Half-closed: the other way still works, until it is closed as well.
    assert_int_equal(weft_io_write(p[0], "back", 4, WEFT_FOREVER), 4);
    assert_int_equal(weft_io_shutdown(p[0], SHUT_WR), 0);
    assert_int_equal(weft_io_read(p[1], text, 64, WEFT_FOREVER), 4);
    assert_int_equal(weft_io_read(p[1], text, 64, WEFT_FOREVER), 0);
    assert_int_equal(get(text, 64), 0);
    assert_errno(weft_io_write(p[0], "x", 1, WEFT_FOREVER), EPIPE);
    assert_errno(weft_io_write(p[1], "x", 1, WEFT_FOREVER), EPIPE);
}

// Urgent data ends a read early: a short read that has not emptied the socket.
PAIR_CASE(test_read_beyond_urgent_data, TCP_PAIR)
{
    transfer t;
    begin_reading(&t);
    assert_int_equal(weft_io_send(p[1], "ab", 2, 0, WEFT_FOREVER), 2);
    assert_int_equal(weft_io_send(p[1], "!", 1, MSG_OOB, WEFT_FOREVER), 1);
    assert_int_equal(weft_io_send(p[1], "cd", 2, 0, WEFT_FOREVER), 2);
    size_t all = (size_t)result_of(&t);
    while (all < 4) {
        ssize_t n = get(text + all, sizeof text - all, weft_in_s(20));
        assert_true(n > 0);
        all += (size_t)n;
    }
    assert_memory_equal(text, "abcd", 4);
}

PAIR_CASE(test_read_all, PIPE_PAIR)
{
    transfer t;
    begin(&t, reading_all, p[0], text, 6);
    for (int i = 0; i < 3; i++) {
        put("ab");
        weft_tasklet_yield();
    }
    assert_int_equal(result_of(&t), 6);
    assert_memory_equal(text, "ababab", 6);
    // A deadline after some: those, and errno.
    put("ab");
    errno = 0;
    assert_int_equal(weft_io_read_all(p[0], text, 6, weft_in_ms(5)), 2);
    assert_int_equal(errno, ETIMEDOUT);
    assert_errno(weft_io_read_all(p[0], text, 6, weft_in_ms(5)), ETIMEDOUT);
    close_end(1);
    assert_int_equal(weft_io_read_all(p[0], text, 6, WEFT_FOREVER), 0);
    assert_int_equal(weft_io_read_all(p[0], text, 0, WEFT_FOREVER), 0);
}

static char memory[16], *found;
static weft_io_buffer buffer;

static ssize_t until(const char *delimiter, size_t n, weft_deadline d = WEFT_FOREVER)
{
    return weft_io_read_until(p[0], &buffer, delimiter, n, &found, d);
}

static void finds_line(const char *line)
{
    ssize_t n = (ssize_t)strlen(line);
    assert_int_equal(until("\r\n", 2), n);
    assert_memory_equal(found, line, n);
}

PAIR_CASE(test_read_until, UNIX_PAIR)
{
    buffer = {memory, sizeof memory, 0, 0};
    put("one\r\ntwo\r");
    finds_line("one\r\n");
    assert_errno(until("\r\n", 2, weft_in_ms(5)), ETIMEDOUT);
    put("\n"); // the delimiter in two pieces
    finds_line("two\r\n");
    put("0123456789abcdef\r\n");
    assert_errno(until("\r\n", 2), EMSGSIZE);
    assert_int_equal(weft_io_read_buffered(p[0], &buffer, text, 8, WEFT_FOREVER), 8);
    assert_memory_equal(text, "01234567", 8);
    finds_line("89abcdef\r\n");
    put("end");
    assert_int_equal(weft_io_read_buffered(p[0], &buffer, text, 1, WEFT_FOREVER), 1);
    close_end(1);
    finds_line("nd");
    assert_int_equal(until("\r\n", 2), 0);
    assert_errno(until("", 0), EINVAL);
    assert_errno(weft_io_read_until(p[0], nullptr, "x", 1, &found, WEFT_FOREVER), EINVAL);
    assert_errno(until(nullptr, 1), EINVAL);
    buffer.end = 99;
    assert_errno(until("x", 1), EINVAL);
    assert_errno(weft_io_read_buffered(p[0], &buffer, text, 1, WEFT_FOREVER), EINVAL);
}

// Beside nothing, beside something, with any deadline.
EACH_PAIR_CASE(test_read_of_nothing)
{
    struct iovec none[2] = {{text, 0}, {nullptr, 0}};
    weft_io_buffer b = {text, sizeof text, 0, 0};
    for (int i = 0; i < 2; i++) {
        for (weft_deadline d : {WEFT_NOW, WEFT_FOREVER}) {
            assert_int_equal(weft_io_read(p[0], text, 0, d), 0);
            assert_int_equal(weft_io_read_all(p[0], text, 0, d), 0);
            assert_int_equal(weft_io_readv(p[0], none, 2, d), 0);
            assert_int_equal(weft_io_readv(p[0], none, 0, d), 0);
            assert_int_equal(weft_io_read_buffered(p[0], &b, text, 0, d), 0);
        }
        put("x");
    }
    assert_int_equal(weft_io_read_all(p[0], text, 2, WEFT_FOREVER), 2);
    assert_errno(weft_io_read(1000, text, 0, WEFT_FOREVER), EBADF);
}

INSIDE_CASE(test_regular_file)
{
    FILE *f = tmpfile();
    int fd = fileno(f);
    assert_int_equal(weft_io_write(fd, "hello", 5, WEFT_FOREVER), 5);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(weft_io_read(fd, text, 8, WEFT_FOREVER), 5);
    assert_int_equal(weft_io_read(fd, text, 8, WEFT_FOREVER), 0);
    assert_int_equal(weft_io_wait(fd, WEFT_READ, WEFT_FOREVER), WEFT_READ);
    fclose(f);
}

enum { PIECE = 1 << 12, PIECES = 400 };
static int shared; // a file of so many
static int pieces_read;

static void read_shared(void)
{
    char piece[PIECE];
    while (weft_io_read(shared, piece, PIECE, WEFT_FOREVER) == PIECE)
        pieces_read++;
}

// Who shares a file takes turns at the place where it stands, and gets each byte once.
INSIDE_CASE(test_regular_file_by_several)
{
    weft_tasklet *readers[4];
    FILE *f = tmpfile();
    shared = fileno(f);
    assert_int_equal(ftruncate(shared, PIECES * PIECE), 0);
    for (int i = 0; i < PIECES; i++)
        assert_int_equal(pwrite(shared, text, 1, i * PIECE), 1);
    fsync(shared);
    posix_fadvise(shared, 0, 0, POSIX_FADV_RANDOM); // nothing is fetched ahead
    posix_fadvise(shared, 0, 0, POSIX_FADV_DONTNEED);
    pieces_read = 0;
    for (weft_tasklet *&each : readers)
        each = spawn(read_shared, true);
    for (weft_tasklet *each : readers)
        weft_tasklet_join(each, nullptr, WEFT_FOREVER);
    assert_int_equal(pieces_read, PIECES);
    fclose(f);
}

// Also where another thread would do it.
INSIDE_CASE(test_regular_file_without_memory)
{
    FILE *f = tmpfile();
    int fd = fileno(f);
    weft_io_write(fd, text, sizeof text, WEFT_FOREVER);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); // it is not at hand
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_errno(weft_io_read(fd, nullptr, 4, WEFT_FOREVER), EFAULT);
    assert_errno(weft_io_write(fd, nullptr, 4, WEFT_FOREVER), EFAULT);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    fclose(f);
}

PAIR_CASE(test_flags_stay, PIPE_PAIR) // without O_NONBLOCK
{
    assert_errno(get(text, 8, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(fcntl(p[0], F_GETFL) & O_NONBLOCK, 0);
}

// One that always finds data lets the others go on.
INSIDE_CASE(test_fairness)
{
    static bool done;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    spawn([] { done = true; });
    for (int i = 0; i < 1000 && !done; i++)
        assert_int_equal(weft_io_read(zero, text, 16, WEFT_FOREVER), 16);
    assert_true(done);
    weft_io_close(zero);
}

INSIDE_CASE(test_bad_descriptors)
{
    assert_errno(weft_io_read(-1, text, 4, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_read(1000, text, 4, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_read(INT_MAX, text, 4, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_write(1000, text, 4, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_wait(1000, WEFT_READ, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_wait(-1, WEFT_READ, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_wait(0, 0, WEFT_FOREVER), EINVAL);
    assert_errno(weft_io_wait(0, 128, WEFT_FOREVER), EINVAL);
    assert_errno(weft_io_accept(1000, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_shutdown(1000, SHUT_WR), EBADF);
    assert_errno(weft_io_close(-1), EBADF);
    assert_errno(weft_io_close(1000), EBADF);
    assert_errno(weft_io_forget(1000), EBADF);
}

// ---- Writing ----

// Bytes that are seldom equal to their neighbours; freed by the caller.
static char *many(size_t n)
{
    char *all = (char *)malloc(n);
    for (size_t i = 0; i < n; i++)
        all[i] = (char)(i * 7 + i / 251);
    return all;
}

EACH_PAIR_CASE(test_write_all_to_a_slow_reader)
{
    const size_t n = 3 << 20;
    char *in = many(n), *out = (char *)malloc(n);
    transfer t;
    begin(&t, writing, p[1], in, n);
    for (size_t all = 0; all < n;) {
        ssize_t got = get(out + all, 50000 < n - all ? 50000 : n - all);
        assert_true(got > 0);
        all += (size_t)got;
        weft_tasklet_yield();
    }
    assert_int_equal(result_of(&t), n);
    assert_memory_equal(in, out, n);
    free(in);
    free(out);
}

EACH_PAIR_CASE(test_write_says_how_much)
{
    static char much[4 << 20];
    errno = 0;
    ssize_t n = weft_io_write(p[1], much, sizeof much, weft_in_ms(10));
    assert_true(n > 0 && n < (ssize_t)sizeof much);
    assert_int_equal(errno, ETIMEDOUT);
    do { // TCP may take some more, later
        n = weft_io_write(p[1], much, 1 << 16, weft_in_ms(5));
    } while (n > 0 || weft_io_write(p[1], much, 1 << 16, WEFT_NOW) > 0);
    assert_int_equal(errno, ETIMEDOUT);
}

EACH_PAIR_CASE(test_write_without_a_reader)
{
    struct iovec piece = {(void *)"x", 1};
    close_end(0);
    while (weft_io_write(p[1], "x", 1, weft_in_s(20)) == 1)
        weft_tasklet_yield(); // TCP has to be told
    assert_true(errno == EPIPE || errno == ECONNRESET);
    assert_errno(weft_io_writev(p[1], &piece, 1, weft_in_s(1)), EPIPE);
}

EACH_PAIR_CASE(test_vectors)
{
    const size_t n = 39 * 7500;
    char *big = many(n), *back = (char *)calloc(1, n);
    struct iovec pieces[40] = {}, into[2] = {{back, 10}, {back + 10, n - 10}};
    for (size_t i = 0; i < 39; i++)
        pieces[i] = {big + i * 7500, 7500};
    transfer t;
    begin(&t, reading_all, p[0], back, n);
    assert_int_equal(weft_io_writev(p[1], pieces, 40, WEFT_FOREVER), n);
    assert_int_equal(result_of(&t), n);
    assert_memory_equal(big, back, n);
    memset(back, 0, n);
    assert_int_equal(weft_io_write(p[1], big, 30, WEFT_FOREVER), 30);
    assert_int_equal(weft_io_readv(p[0], into, 2, WEFT_FOREVER), 30);
    assert_memory_equal(big, back, 30);
    assert_int_equal(weft_io_writev(p[1], pieces, 0, WEFT_FOREVER), 0);
    assert_errno(weft_io_writev(p[1], pieces, -1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_io_readv(p[0], into, -1, WEFT_FOREVER), EINVAL);
    free(big);
    free(back);
}

EACH_PAIR_CASE(test_sendfile)
{
    const size_t n = 1 << 20;
    char *in = many(n), *out = (char *)malloc(n);
    FILE *f = tmpfile();
    assert_int_equal(fwrite(in, 1, n, f), n);
    fflush(f);
    transfer t;
    off_t from = 100;
    begin(&t, reading_all, p[0], out, n - 100);
    // More than there is: up to the file's end.
    assert_int_equal(weft_io_sendfile(p[1], fileno(f), &from, n, WEFT_FOREVER), n - 100);
    assert_int_equal(from, n);
    assert_int_equal(result_of(&t), n - 100);
    assert_memory_equal(in + 100, out, n - 100);
    ssize_t some;
    do {
        from = 0;
        errno = 0;
        some = weft_io_sendfile(p[1], fileno(f), &from, n, weft_in_ms(5));
        assert_true(some < 0 || some == from);
    } while (some == (ssize_t)n);
    assert_int_equal(errno, ETIMEDOUT);
    fclose(f);
    free(in);
    free(out);
}

// ---- Messages ----

INSIDE_CASE(test_messages)
{
    struct sockaddr_in to = {}, from = {};
    socklen_t size = sizeof to;
    int q[] = {weft_io_listen("udp:127.0.0.1:0", nullptr),
               weft_io_listen("udp:127.0.0.1:0", nullptr)};
    getsockname(q[0], (struct sockaddr *)&to, &size);
    assert_int_equal(weft_io_sendto(q[1], "abc", 3, 0, (struct sockaddr *)&to, size, WEFT_NOW), 3);
    size = sizeof from;
    assert_int_equal(
        weft_io_recvfrom(q[0], text, 8, 0, (struct sockaddr *)&from, &size, WEFT_FOREVER), 3);
    assert_int_equal(from.sin_family, AF_INET);
    // Small messages one by one: a short read says nothing of the next.
    for (int i = 0; i < 2; i++)
        weft_io_sendto(q[1], "de", 2, 0, (struct sockaddr *)&to, sizeof to, WEFT_NOW);
    assert_int_equal(weft_io_recv(q[0], text, 8, 0, WEFT_FOREVER), 2);
    assert_int_equal(weft_io_recv(q[0], text, 8, 0, weft_in_s(20)), 2);
    assert_errno(weft_io_recv(q[0], text, 8, 0, weft_in_ms(2)), ETIMEDOUT);
    close_pair(q);
    make_pair(UNIX_PAIR, q);
    assert_int_equal(weft_io_send(q[1], "abc", 3, 0, WEFT_FOREVER), 3);
    assert_int_equal(weft_io_recv(q[0], text, 8, MSG_PEEK, WEFT_FOREVER), 3);
    assert_int_equal(weft_io_recv(q[0], text, 8, 0, WEFT_FOREVER), 3);
    close_pair(q);
}

// It finds nothing where it looks: what is elsewhere is still there to be read.
static void look_elsewhere(int flags, int error)
{
    char byte;
    assert_errno(get(text, 8, weft_in_ms(1)), ETIMEDOUT); // registered
    put("abc");
    weft_tasklet_sleep(weft_in_ms(1)); // the event has been taken
    assert_errno(weft_io_recv(p[0], &byte, 1, flags, WEFT_NOW), error);
    assert_errno(weft_io_recv(p[0], &byte, 1, flags, weft_in_ms(3)), error);
    memset(text, 0, sizeof text);
    assert_int_equal(get(text, sizeof text, weft_in_s(20)), 3);
}

PAIR_CASE(test_look_at_the_error_queue, TCP_PAIR)
{
    look_elsewhere(MSG_ERRQUEUE, ETIMEDOUT);
}

PAIR_CASE(test_look_behind_what_is_there, UNIX_PAIR)
{
    int behind = 3;
    assert_int_equal(setsockopt(p[0], SOL_SOCKET, SO_PEEK_OFF, &behind, sizeof behind), 0);
    look_elsewhere(MSG_PEEK, ETIMEDOUT);
}

PAIR_CASE(test_look_for_urgent_data, TCP_PAIR)
{
    look_elsewhere(MSG_OOB, EINVAL);
    // One that waits is told.
    transfer t;
    begin(
        &t, [](transfer *x) { return weft_io_recv(x->fd, x->data, x->n, MSG_PEEK, WEFT_FOREVER); },
        p[0], text, 4);
    put("more");
    assert_int_equal(result_of(&t), 4);
    gets("more");
}

// What an ICMP message says goes to the error queue, whoever waits for it.
INSIDE_CASE(test_wait_for_the_error_queue)
{
    struct sockaddr_in to = {};
    socklen_t size = sizeof to;
    int one = 1, q = weft_io_listen("udp:127.0.0.1:0", nullptr);
    getsockname(q, (struct sockaddr *)&to, &size);
    weft_io_close(q); // nobody is there now
    static transfer t;
    q = weft_io_listen("udp:127.0.0.1:0", nullptr);
    assert_int_equal(setsockopt(q, IPPROTO_IP, IP_RECVERR, &one, sizeof one), 0);
    begin(
        &t,
        [](transfer *x) { return weft_io_recv(x->fd, x->data, x->n, MSG_ERRQUEUE, WEFT_FOREVER); },
        q, text, sizeof text);
    assert_int_equal(t.result, -2);
    assert_int_equal(sendto(q, "lost", 4, 0, (struct sockaddr *)&to, size), 4);
    assert_int_equal(result_of(&t), 4);
    assert_memory_equal(text, "lost", 4);
    weft_io_close(q);
}

// A sender without a connection is always writable: only to try again tells when there is room.
INSIDE_CASE(test_send_to_a_full_receiver)
{
    struct sockaddr_un to = {};
    to.sun_family = AF_UNIX;
    int n = snprintf(to.sun_path + 1, 64, "weft-full-%d", (int)getpid());
    socklen_t size = (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)n);
    static int receiver, taken;
    receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), sent = 0;
    struct sockaddr *a = (struct sockaddr *)&to;
    assert_int_equal(bind(receiver, a, size), 0);
    while (sendto(sender, "m", 1, MSG_DONTWAIT, a, size) == 1)
        sent++;
    int64_t before = cpu_ns();
    assert_errno(weft_io_sendto(sender, "m", 1, 0, a, size, weft_in_ms(300)), ETIMEDOUT);
    assert_true(cpu_ns() - before < 150000000);
    assert_errno(weft_io_sendto(sender, "m", 1, 0, a, size, WEFT_NOW), ETIMEDOUT);
    taken = 0;
    weft_tasklet *t = spawn(
        [] {
            for (char b; weft_io_recv(receiver, &b, 1, 0, weft_in_s(20)) == 1 && b != '!';)
                taken++;
        },
        true);
    assert_int_equal(weft_io_sendto(sender, "!", 1, 0, a, size, weft_in_s(20)), 1);
    join(t);
    assert_int_equal(taken, sent);
    weft_io_close(sender);
    weft_io_close(receiver);
}

PAIR_CASE(test_ancillary_data, UNIX_PAIR)
{
    int e = eventfd(7, EFD_CLOEXEC), got;
    uint64_t seven = 0;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {(void *)"fd", 2};
    struct msghdr m = {};
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    m.msg_control = control.bytes;
    m.msg_controllen = sizeof control.bytes;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &e, sizeof e);
    assert_int_equal(weft_io_sendmsg(p[1], &m, 0, WEFT_FOREVER), 2);
    piece = {text, sizeof text};
    memset(&control, 0, sizeof control);
    assert_int_equal(weft_io_recvmsg(p[0], &m, 0, WEFT_FOREVER), 2);
    c = CMSG_FIRSTHDR(&m);
    assert_non_null(c);
    memcpy(&got, CMSG_DATA(c), sizeof got);
    assert_int_equal(fcntl(got, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(weft_io_read(got, &seven, 8, WEFT_FOREVER), 8);
    assert_int_equal(seven, 7);
    weft_io_close(got);
    weft_io_close(e);
}

RUN_CASES()
