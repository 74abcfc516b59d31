// The client's commands against servers that do what they should not.  Who may use it, and when,
// stands in client_use.cc.
#include "../async/inside.h"
#include "../shm/processes.h"
#include "fake.h"

#include <poll.h>

CASE(test_connect_refuses)
{
    weft_deadline d = weft_in_s(5);
    assert_errno(weft_client_connect(nullptr, nullptr, d), EINVAL);
    assert_errno(weft_client_connect("", nullptr, d), EINVAL);
    assert_errno(weft_client_connect("localhost:6379", nullptr, d), EINVAL);
    assert_errno(weft_client_connect("udp:127.0.0.1:1", nullptr, d), EINVAL);
    assert_errno(weft_client_connect("fd:0", nullptr, d), EINVAL);
    assert_errno(weft_client_connect("unix:/nonexistent/socket", nullptr, d), ENOENT);
    assert_errno(weft_client_connect("unix:@weft-nobody-listens", nullptr, d), ECONNREFUSED);
    assert_errno(weft_client_connect("tcp:127.0.0.1:1", nullptr, d), ECONNREFUSED);
    assert_int_equal(weft_client_destroy(nullptr), 0);
    inside([] {
        weft_deadline e = weft_in_s(5);
        assert_errno(weft_client_connect("unix:/nonexistent/socket", nullptr, e), ENOENT);
        assert_errno(weft_client_connect("tcp:127.0.0.1:1", nullptr, e), ECONNREFUSED);
    });
}

CASE(test_connect_hello)
{
    static const struct {
        const char *answer;
        int error;
    } cases[] = {
        {"-NOAUTH HELLO must be called with the client already authenticated\r\n", EACCES},
        {"-WRONGPASS invalid username-password pair or user is disabled.\r\n", EACCES},
        {"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n", EPROTO},
        {"-NOPROTO unsupported protocol version\r\n", EPROTO},
        {"-ERR max number of clients reached\r\n", ECONNREFUSED},
        {"+OK\r\n", EPROTO},
        {"%0\r\n", EPROTO},
        {"HTTP/1.1 400 Bad Request\r\n", EPROTO},
        {"", ECONNRESET},
        {"%1\r\n$6\r\nserver\r\n", ECONNRESET},
    };
    for (auto &one : cases) {
        f = {};
        f.hello = one.answer;
        fake_start(&f);
        errno = 0;
        weft_client *none = weft_client_connect(f.address, nullptr, weft_in_s(20));
        if (none != nullptr || errno != one.error)
            fail_msg("\"%s\" makes %s", one.answer, strerror(errno));
        fake_end(&f);
    }
}

CASE(test_connect_kind)
{
    with_fake(nullptr, 1, [] {
        assert_int_equal(weft_client_server(c), WEFT_SERVER_WEFT);
        assert_string_equal(weft_client_error(c), "");
        assert_true(weft_client_fd(c) >= 0);
        assert_int_equal(weft_client_destroy(c), 0);
        c = nullptr;
    });
    f = {};
    f.hello = "*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n"; // as RESP 2 has it
    fake_start(&f);
    c = connect_to(&f);
    assert_int_equal(weft_client_server(c), WEFT_SERVER_REDIS);
    weft_client_destroy(c);
    fake_end(&f);
}

CASE(test_connect_password)
{
    static const char *const words[] = {"HELLO", "3", "AUTH", "default", "sesame"};
    static const char *wrong;
    f = {};
    f.heard = [](const weft_reply *hello) {
        wrong = hello->size == 5 ? nullptr : "their number";
        for (size_t i = 0; wrong == nullptr && i < 5; i++)
            if (strcmp(hello->items[i].text, words[i]) != 0)
                wrong = words[i];
    };
    f.hello = "";
    wrong = "all";
    fake_start(&f);
    assert_errno(weft_client_connect(f.address, "sesame", weft_in_s(20)), ECONNRESET);
    fake_end(&f);
    assert_null(wrong);
}

FAKE_CASE(test_command_arguments, nullptr)
{
    assert_errno(weft_client_command(nullptr, 1, PING, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_client_command(c, 0, PING, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_client_command(c, 1, nullptr, nullptr, WEFT_NOW), EINVAL);
    static const char *const gap[] = {"ECHO", nullptr};
    static const size_t sizes[] = {4, 0}, more[] = {4, 1};
    assert_errno(weft_client_command(c, 2, gap, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_client_command(c, 2, gap, more, WEFT_NOW), EINVAL);
    assert_int_equal(weft_client_append(c, 2, gap, sizes), 0); // no bytes need no memory
    assert_errno(weft_client_append(nullptr, 1, PING, nullptr), EINVAL);
    assert_errno(weft_client_append(c, 2, gap, nullptr), EINVAL);
    assert_errno(weft_client_append(c, 0, PING, nullptr), EINVAL);
    assert_errno(weft_client_next(nullptr, WEFT_NOW), EINVAL);
}

CASE(test_command_words)
{
    with_fake(echo, 1, [] {
        static const char *const words[20] = {"a", "",  "b\0c", "d", "e", "f", "g", "h", "i", "j",
                                              "k", "l", "m",    "n", "o", "p", "q", "r", "s", "t"};
        size_t sizes[20];
        for (size_t i = 0; i < 20; i++)
            sizes[i] = i == 2 ? 3 : strlen(words[i]);
        for (size_t n = 1; n <= 20; n += n < 3 ? 1 : 17) {
            errno = 77;
            weft_reply *r =
                weft_client_command(c, n, words, n < 3 ? nullptr : sizes, weft_in_s(20));
            assert_int_equal(errno, 77);
            assert_non_null(r);
            assert_int_equal(r->size, n);
            for (size_t i = 0; i < n; i++)
                assert_memory_equal(r->items[i].text, words[i], sizes[i] + 1);
            if (n > 2)
                assert_int_equal(r->items[2].size, 3);
            weft_reply_free(r);
        }
    });
}

// A large value goes there and comes back, both sides having to wait in the middle.
FAKE_CASE(test_command_large, echo)
{
    const size_t n = 4 << 20;
    char *value = (char *)malloc(n);
    const char *words[] = {"ECHO", value};
    const size_t sizes[] = {4, n};
    for (size_t i = 0; i < n; i++)
        value[i] = (char)(i * 7 + i / 4099);
    weft_reply *r = weft_client_command(c, 2, words, sizes, weft_in_s(40));
    assert_non_null(r);
    assert_int_equal(r->items[1].size, n);
    assert_memory_equal(r->items[1].text, value, n);
    weft_reply_free(r);
    free(value);
}

static const char *const WHOLE = "*3\r\n$5\r\nhello\r\n:1\r\n%1\r\n+a\r\n_\r\n";

// Ends after as many bytes of a reply as there were connections before.
static void end_in_the_middle(fake *s, int fd, int before)
{
    weft_reply_free(fake_command(s, fd));
    fake_send(s, fd, WHOLE, (size_t)before);
}

FAKE_CASE(test_command_end_everywhere, end_in_the_middle)
{
    for (size_t i = 0; i < strlen(WHOLE); i++) {
        assert_errno(ping(), ECONNRESET);
        assert_int_equal(weft_client_fd(c), -1);
        assert_string_equal(weft_client_error(c), "receive: Broken pipe");
    }
    weft_reply *r = ping(); // which connects again, and then it was whole
    assert_non_null(r);
    weft_reply_free(r);
}

// A connection that was cut while nobody asked is made again, and nothing is lost by that.  Only
// who said what a new one knows nothing of is told.
static void end_at_once(fake *s, int fd, int before)
{
    if (before > 0)
        answer_all(s, fd, "+PONG\r\n");
    else
        fake_say(s, fd, "-ERR you are idle\r\n");
}

static void wait_cut(void)
{
    struct pollfd p = {weft_client_fd(c), POLLRDHUP, 0};
    assert_int_equal(poll(&p, 1, 20000), 1);
}

FAKE_CASE(test_command_cut_while_idle, end_at_once)
{
    wait_cut();
    is_pong(ping());
    shutdown(weft_client_fd(c), SHUT_RDWR);
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    is_pong(weft_client_next(c, weft_in_s(20)));
    static const char *const multi[] = {"multi"}, *const ends[] = {"exec", "ping"};
    for (const char *end : ends) {
        weft_reply_free(weft_client_command(c, 1, multi, nullptr, weft_in_s(20)));
        weft_reply_free(weft_client_command(c, 1, &end, nullptr, weft_in_s(20)));
        shutdown(weft_client_fd(c), SHUT_RDWR);
        if (strcmp(end, "ping") == 0)
            assert_errno(ping(), ENOTCONN);
        is_pong(ping());
    }
}

// Who waits for messages has nothing owed, and learns of the end.
FAKE_CASE(test_next_cut_while_idle, end_at_once)
{
    wait_cut();
    weft_reply *r = weft_client_next(c, weft_in_s(20)); // the reason
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    weft_reply_free(r);
    assert_errno(weft_client_next(c, weft_in_s(20)), ENOTCONN);
    assert_int_equal(weft_client_fd(c), -1);
}

static const char *const garbage[] = {
    "what?\r\n", "$99999999999\r\n", "*99999999999\r\n", ":x\r\n", "$3\r\nabcd\r\n", "\xff\xfe\r\n",
};

static void say_garbage(fake *s, int fd, int before)
{
    weft_reply_free(fake_command(s, fd));
    fake_say(s, fd, garbage[before]);
    fake_wait_end(s, fd);
}

FAKE_CASE(test_command_garbage, say_garbage)
{
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        assert_errno(ping(), EPROTO);
        assert_int_equal(weft_client_fd(c), -1);
    }
}

static void say_error(fake *s, int fd, int)
{
    answer_all(s, fd, "-ERR no such thing\r\n");
}

FAKE_CASE(test_command_error, say_error)
{
    weft_reply *r = ping();
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    assert_string_equal(weft_client_error(c), "ERR no such thing");
    weft_reply_free(r);
}

// Says why it will not read the command, and reads no more.
static void refuse_in_the_middle(fake *s, int fd, int)
{
    struct pollfd until_it_left = {fd, 0, 0};
    fake_say(s, fd, "-ERR too long for me\r\n");
    shutdown(fd, SHUT_WR);
    poll(&until_it_left, 1, -1);
}

FAKE_CASE(test_command_refused_in_the_middle, refuse_in_the_middle)
{
    const size_t n = 8 << 20; // more than the sockets hold
    char *value = (char *)calloc(1, n);
    const char *words[] = {"ECHO", value};
    const size_t sizes[] = {4, n};
    weft_reply *r = weft_client_command(c, 2, words, sizes, weft_in_s(20));
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    assert_string_equal(weft_client_error(c), "ERR too long for me");
    weft_reply_free(r);
    free(value);
}

FAKE_CASE(test_command_deadline, be_silent_first)
{
    int fd = weft_client_fd(c);
    int64_t begun = weft_now();
    assert_errno(weft_client_set_answer(c, -1), EINVAL);
    assert_errno(weft_client_set_answer(nullptr, 1), EINVAL);
    assert_int_equal(weft_client_set_answer(c, 20000000), 0);
    assert_errno(ping(WEFT_NOW), ECONNRESET);
    assert_true(weft_now() - begun >= 20000000);
    assert_string_equal(weft_client_error(c), "no answer in time");
    // The next ones wait for that answer first, and are not sent meanwhile.
    assert_errno(ping(weft_in_ms(10)), ENOTCONN);
    assert_errno(ping(WEFT_NOW), ENOTCONN);
    assert_string_equal(weft_client_error(c), "an earlier answer has not come");
    assert_true(weft_now() - begun < 900000000);
    assert_int_equal(weft_client_fd(c), fd);
    shutdown(fd, SHUT_RDWR);
    is_pong(ping());
}

// Who never waits only sends, and finds the answer later.
FAKE_CASE(test_command_now, answer_pings)
{
    int now = 0;
    assert_int_equal(weft_client_set_answer(c, 0), 0);
    for (weft_deadline d = weft_in_s(20); weft_left(d) > 0 && now == 0;) {
        weft_reply *r = ping(WEFT_NOW);
        if (r != nullptr)
            is_pong(r);
        else if (errno == ECONNRESET)
            now++;
        else
            assert_int_equal(errno, ENOTCONN);
    }
    assert_int_equal(now, 1);
    is_pong(ping());
}

// A server that takes longer than the grace, but not than the deadline.
static void be_slow(fake *s, int fd, int)
{
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr; weft_reply_free(r)) {
        struct pollfd until_it_left = {fd, 0, 0};
        bool is_lock = strcmp(r->items[0].text, "WEFT.LOCK") == 0;
        poll(&until_it_left, 1, is_lock ? 1200 : 0);
        fake_say(s, fd, is_lock ? ":7\r\n" : ":1\r\n");
    }
}

FAKE_CASE(test_lock_renew_deadline, be_slow)
{
    weft_remote_lock *l = weft_remote_lock_open(c, "slow", 0);
    assert_int_equal(weft_remote_lock_renew(l, weft_in_s(20)), 0);
    assert_errno(weft_remote_lock_renew(l, WEFT_NOW), ECONNRESET); // not EPERM: who knows?
    assert_int_equal(weft_remote_lock_renew(l, weft_in_s(20)), 0);
    weft_remote_destroy(l);
}

RUN_CASES(census_begin, census_end)
