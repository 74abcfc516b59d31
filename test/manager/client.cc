// The client against servers that do what they should not, and its own rules: one user, deadlines,
// forks, pipelines.
#include <weft/io.h>
#include <weft/manager.h>
#include <weft/remote.h>
#include <weft/thread.h>

#include "../async/inside.h"
#include "../runner.h"
#include "../shm/processes.h"
#include "fake.h"

#include <fcntl.h>
#include <poll.h>

static const char *const PING[] = {"PING"};

static weft_reply *ping(weft_client *c, weft_deadline d)
{
    return weft_client_command(c, 1, PING, nullptr, d);
}

static weft_client *connect_to(const fake *f)
{
    weft_client *c = weft_client_connect(f->address, nullptr, weft_in_s(20));
    assert_non_null(c);
    return c;
}

static void assert_pong(weft_reply *r)
{
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_STATUS);
    assert_string_equal(r->text, "PONG");
    weft_reply_free(r);
}

static void answer_pings(fake *f, int fd, int)
{
    for (weft_reply *r; (r = fake_command(f, fd)) != nullptr; weft_reply_free(r))
        if (!fake_say(f, fd, "+PONG\r\n"))
            return weft_reply_free(r);
}

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
        {"", EPIPE},
        {"%1\r\n$6\r\nserver\r\n", EPIPE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake f = {};
        f.hello = cases[i].answer;
        fake_start(&f);
        assert_errno(weft_client_connect(f.address, nullptr, weft_in_s(20)), cases[i].error);
        fake_end(&f);
    }
}

CASE(test_connect_kind)
{
    fake f = {};
    f.piece = 1;
    fake_start(&f);
    errno = 77;
    weft_client *c = connect_to(&f);
    assert_int_equal(errno, 77);
    assert_int_equal(weft_client_server(c), WEFT_SERVER_WEFT);
    assert_string_equal(weft_client_error(c), "");
    assert_true(weft_client_fd(c) >= 0);
    assert_int_equal(weft_client_destroy(c), 0);
    fake_end(&f);
    f.hello = "*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n"; // as RESP 2 has it
    fake_start(&f);
    c = connect_to(&f);
    assert_int_equal(weft_client_server(c), WEFT_SERVER_REDIS);
    weft_client_destroy(c);
    fake_end(&f);
}

CASE(test_connect_password)
{
    static char got[200];
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    int n = sprintf(a.sun_path + 1, "weft-hello-%d", getpid());
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    char address[128];
    sprintf(address, "unix:@%s", a.sun_path + 1);
    bind(l, (struct sockaddr *)&a,
         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n));
    listen(l, 5);
    pthread_t t;
    pthread_create(
        &t, nullptr,
        [](void *arg) -> void * {
            int fd = accept(*(int *)arg, nullptr, nullptr);
            ssize_t k = recv(fd, got, sizeof got - 1, 0);
            got[k > 0 ? k : 0] = 0;
            close(fd);
            return nullptr;
        },
        &l);
    assert_errno(weft_client_connect(address, "sesame", weft_in_s(20)), EPIPE);
    pthread_join(t, nullptr);
    close(l);
    assert_string_equal(got, "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n"
                             "$6\r\nsesame\r\n");
}

CASE(test_command_arguments)
{
    fake f = {};
    fake_start(&f);
    weft_client *c = connect_to(&f);
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
    weft_client_destroy(c);
    fake_end(&f);
}

// Says what was said, as an array.
static void echo(fake *f, int fd, int)
{
    for (weft_reply *r; (r = fake_command(f, fd)) != nullptr; weft_reply_free(r)) {
        char *text;
        size_t n;
        FILE *all = open_memstream(&text, &n);
        fprintf(all, "*%zu\r\n", r->size);
        for (size_t i = 0; i < r->size; i++) {
            fprintf(all, "$%zu\r\n", r->items[i].size);
            fwrite(r->items[i].text, 1, r->items[i].size, all);
            fputs("\r\n", all);
        }
        fclose(all);
        fake_send(f, fd, text, n);
        free(text);
    }
}

CASE(test_command_words)
{
    static const char *const words[20] = {"a", "",  "b\0c", "d", "e", "f", "g", "h", "i", "j",
                                          "k", "l", "m",    "n", "o", "p", "q", "r", "s", "t"};
    static const size_t sizes[20] = {1, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    fake f = {};
    f.serve = echo;
    f.piece = 1;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    for (size_t n = 1; n <= 20; n += n < 3 ? 1 : 17) {
        errno = 77;
        weft_reply *r = weft_client_command(c, n, words, n < 3 ? nullptr : sizes, weft_in_s(20));
        assert_int_equal(errno, 77);
        assert_non_null(r);
        assert_int_equal(r->size, n);
        for (size_t i = 0; i < n; i++)
            assert_memory_equal(r->items[i].text, words[i], sizes[i] + 1);
        if (n > 2)
            assert_int_equal(r->items[2].size, 3);
        weft_reply_free(r);
    }
    weft_client_destroy(c);
    fake_end(&f);
}

// A large value goes there and comes back, both sides having to wait in the middle.
CASE(test_command_large)
{
    const size_t n = 4 << 20;
    char *value = (char *)malloc(n);
    const char *words[] = {"ECHO", value};
    const size_t sizes[] = {4, n};
    for (size_t i = 0; i < n; i++)
        value[i] = (char)(i * 7 + i / 4099);
    fake f = {};
    f.serve = echo;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    weft_reply *r = weft_client_command(c, 2, words, sizes, weft_in_s(40));
    assert_non_null(r);
    assert_int_equal(r->items[1].size, n);
    assert_memory_equal(r->items[1].text, value, n);
    weft_reply_free(r);
    weft_client_destroy(c);
    fake_end(&f);
    free(value);
}

static const char *const WHOLE = "*3\r\n$5\r\nhello\r\n:1\r\n%1\r\n+a\r\n_\r\n";

// Ends after as many bytes of a reply as there were connections before.
static void end_in_the_middle(fake *f, int fd, int before)
{
    weft_reply_free(fake_command(f, fd));
    fake_send(f, fd, WHOLE, (size_t)before);
}

CASE(test_command_end_everywhere)
{
    fake f = {};
    f.serve = end_in_the_middle;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    for (size_t i = 0; i < strlen(WHOLE); i++) {
        assert_errno(ping(c, weft_in_s(20)), EPIPE);
        assert_int_equal(weft_client_fd(c), -1);
    }
    weft_reply *r = ping(c, weft_in_s(20)); // which connects again, and then it was whole
    assert_non_null(r);
    weft_reply_free(r);
    weft_client_destroy(c);
    fake_end(&f);
}

static const char *const garbage[] = {
    "what?\r\n", "$99999999999\r\n", "*99999999999\r\n", ":x\r\n", "$3\r\nabcd\r\n", "\xff\xfe\r\n",
};

static void say_garbage(fake *f, int fd, int before)
{
    weft_reply_free(fake_command(f, fd));
    fake_say(f, fd, garbage[before]);
    fake_wait_end(f, fd);
}

CASE(test_command_garbage)
{
    fake f = {};
    f.serve = say_garbage;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        assert_errno(ping(c, weft_in_s(20)), EPROTO);
        assert_int_equal(weft_client_fd(c), -1);
    }
    weft_client_destroy(c);
    fake_end(&f);
}

static void say_error(fake *f, int fd, int)
{
    for (weft_reply *r; (r = fake_command(f, fd)) != nullptr; weft_reply_free(r))
        fake_say(f, fd, "-ERR no such thing\r\n");
}

CASE(test_command_error)
{
    fake f = {};
    f.serve = say_error;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    weft_reply *r = ping(c, weft_in_s(20));
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    assert_string_equal(weft_client_error(c), "ERR no such thing");
    weft_reply_free(r);
    weft_client_destroy(c);
    fake_end(&f);
}

// Says why it will not read the command, and reads no more.
static void refuse_in_the_middle(fake *f, int fd, int)
{
    struct pollfd until_it_left = {fd, 0, 0};
    fake_say(f, fd, "-ERR too long for me\r\n");
    shutdown(fd, SHUT_WR);
    poll(&until_it_left, 1, -1);
}

CASE(test_command_refused_in_the_middle)
{
    const size_t n = 8 << 20; // more than the sockets hold
    char *value = (char *)calloc(1, n);
    const char *words[] = {"ECHO", value};
    const size_t sizes[] = {4, n};
    fake f = {};
    f.serve = refuse_in_the_middle;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    weft_reply *r = weft_client_command(c, 2, words, sizes, weft_in_s(20));
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    assert_string_equal(weft_client_error(c), "ERR too long for me");
    weft_reply_free(r);
    weft_client_destroy(c);
    fake_end(&f);
    free(value);
}

// A server that answers nobody but its second connection.
static void be_silent_first(fake *f, int fd, int before)
{
    if (before == 0)
        fake_wait_end(f, fd);
    else
        answer_pings(f, fd, before);
}

CASE(test_command_deadline)
{
    fake f = {};
    f.serve = be_silent_first;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    int64_t begun = weft_now();
    assert_errno(ping(c, WEFT_NOW), ETIMEDOUT);
    assert_true(weft_now() - begun >= 1000000000); // the grace
    assert_int_equal(weft_client_fd(c), -1);
    assert_pong(ping(c, weft_in_s(20)));
    weft_client_destroy(c);
    fake_end(&f);
}

// A server that takes longer than the grace, but not than the deadline.
static void be_slow(fake *f, int fd, int)
{
    for (weft_reply *r; (r = fake_command(f, fd)) != nullptr; weft_reply_free(r)) {
        struct pollfd until_it_left = {fd, 0, 0};
        bool is_lock = strcmp(r->items[0].text, "WEFT.LOCK") == 0;
        poll(&until_it_left, 1, is_lock ? 1200 : 0);
        fake_say(f, fd, is_lock ? ":7\r\n" : ":1\r\n");
    }
}

CASE(test_lock_renew_deadline)
{
    fake f = {};
    f.serve = be_slow;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    weft_remote_lock *l = weft_remote_lock_open(c, "slow", 0);
    assert_int_equal(weft_remote_lock_renew(l, weft_in_s(20)), 0);
    assert_errno(weft_remote_lock_renew(l, WEFT_NOW), ETIMEDOUT); // not EPERM: who knows?
    weft_remote_destroy(l);
    weft_client_destroy(c);
    fake_end(&f);
}

// ---- One user at a time ----

struct pinger {
    weft_client *client;
    weft_reply *reply;
    int error;
};

static void *wait_for_pong(void *arg)
{
    pinger *p = (pinger *)arg;
    p->reply = ping(p->client, WEFT_FOREVER);
    p->error = errno;
    return nullptr;
}

static int asked[2], answer[2]; // pipes: the server tells of a command; it is told to answer

static void answer_when_told(fake *f, int fd, int)
{
    char byte = 0;
    for (weft_reply *r; (r = fake_command(f, fd)) != nullptr; weft_reply_free(r)) {
        bool told = write(asked[1], &byte, 1) == 1 && read(answer[0], &byte, 1) == 1;
        fake_say(f, fd, told ? "+PONG\r\n" : "-ERR\r\n");
    }
}

CASE(test_command_busy)
{
    fake f = {};
    char byte = 0;
    f.serve = answer_when_told;
    assert_true(pipe2(asked, O_CLOEXEC) == 0 && pipe2(answer, O_CLOEXEC) == 0);
    fake_start(&f);
    weft_client *c = connect_to(&f);
    pinger p = {c, nullptr, 0};
    pthread_t t;
    pthread_create(&t, nullptr, wait_for_pong, &p);
    assert_int_equal(read(asked[0], &byte, 1), 1);
    assert_errno(ping(c, WEFT_FOREVER), EBUSY);
    assert_errno(weft_client_append(c, 1, PING, nullptr), EBUSY);
    assert_errno(weft_client_next(c, WEFT_NOW), EBUSY);
    assert_errno(weft_client_destroy(c), EBUSY);
    assert_int_equal(write(answer[1], &byte, 1), 1);
    pthread_join(t, nullptr);
    assert_pong(p.reply);
    weft_client_destroy(c);
    fake_end(&f);
    for (int i = 0; i < 2; i++) {
        close(asked[i]);
        close(answer[i]);
    }
}

// weft_thread_stop ends the wait, and the connection with it.
CASE(test_command_stopped)
{
    fake f = {};
    char byte = 0;
    f.serve = answer_when_told;
    assert_true(pipe2(asked, O_CLOEXEC) == 0 && pipe2(answer, O_CLOEXEC) == 0);
    fake_start(&f);
    weft_client *c = connect_to(&f);
    pinger p = {c, nullptr, 0};
    weft_thread *t = weft_thread_start(wait_for_pong, &p, nullptr);
    assert_int_equal(read(asked[0], &byte, 1), 1);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_null(p.reply);
    assert_int_equal(p.error, ECANCELED);
    assert_int_equal(weft_client_fd(c), -1);
    assert_int_equal(write(answer[1], &byte, 1), 1);
    weft_client_destroy(c);
    fake_end(&f);
    for (int i = 0; i < 2; i++) {
        close(asked[i]);
        close(answer[i]);
    }
}

// One who is told to stop stops connecting, too: here to a server that accepts nobody.
struct connector {
    const char *address;
    pid_t id;
    weft_client *client;
    int error;
};

static void *connect_forever(void *arg)
{
    connector *k = (connector *)arg;
    __atomic_store_n(&k->id, gettid(), __ATOMIC_RELEASE);
    k->client = weft_client_connect(k->address, nullptr, WEFT_FOREVER);
    k->error = errno;
    return nullptr;
}

CASE(test_connect_stopped)
{
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    int n = sprintf(a.sun_path + 1, "weft-full-%d", getpid()), first, second;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char address[128];
    sprintf(address, "unix:@%s", a.sun_path + 1);
    assert_int_equal(bind(l, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(l, 0), 0);
    first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(first, (struct sockaddr *)&a, size), 0);
    assert_errno(connect(second, (struct sockaddr *)&a, size), EAGAIN); // nobody else fits
    connector k = {address, 0, nullptr, 0};
    weft_thread *t = weft_thread_start(connect_forever, &k, nullptr);
    while (__atomic_load_n(&k.id, __ATOMIC_ACQUIRE) == 0)
        usleep(200);
    wait_asleep(k.id);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, nullptr, weft_in_s(20)), 0);
    assert_null(k.client);
    assert_int_equal(k.error, ECANCELED);
    close(first);
    close(second);
    close(l);
}

// ---- Forks ----

static int ping_in_child(void *c)
{
    if (weft_client_fd((weft_client *)c) != -1)
        return 1;
    weft_reply *r = ping((weft_client *)c, weft_in_s(20));
    bool ok = r != nullptr && r->type == WEFT_REPLY_STATUS;
    weft_reply_free(r);
    return ok && weft_client_destroy((weft_client *)c) == 0 ? 0 : 2;
}

// Answers two at a time: the parent's connection stays while the child has its own.
static void answer_both(fake *f, int fd, int before)
{
    if (before == 0) {
        weft_reply_free(fake_command(f, fd));
        fake_say(f, fd, "+PONG\r\n");
        int child = accept4(f->listener, nullptr, nullptr, SOCK_CLOEXEC);
        reply_reader mine = f->in;
        f->in = {};
        weft_reply_free(fake_command(f, child));
        fake_say(f, child, "%1\r\n+server\r\n+weft\r\n");
        answer_pings(f, child, 1);
        close(child);
        reader_reset(&f->in);
        f->in = mine;
    }
    answer_pings(f, fd, before);
}

CASE(test_command_after_fork)
{
    fake f = {};
    f.serve = answer_both;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    int fd = weft_client_fd(c);
    assert_pong(ping(c, weft_in_s(20)));
    assert_int_equal(end_of(child_of(ping_in_child, c)), 0);
    assert_pong(ping(c, weft_in_s(20))); // the child's QUIT was not on this connection
    assert_int_equal(weft_client_fd(c), fd);
    weft_client_destroy(c);
    fake_end(&f);
}

// Forks while another thread is in a call, which ends after the child, that should say 0.
static void fork_in_a_call(int (*in_child)(void *client))
{
    fake f = {};
    char byte = 0;
    f.serve = answer_when_told;
    assert_true(pipe2(asked, O_CLOEXEC) == 0 && pipe2(answer, O_CLOEXEC) == 0);
    fake_start(&f);
    weft_client *c = connect_to(&f);
    pinger p = {c, nullptr, 0};
    pthread_t t;
    pthread_create(&t, nullptr, wait_for_pong, &p);
    assert_int_equal(read(asked[0], &byte, 1), 1);
    assert_int_equal(end_of(child_of(in_child, c)), 0);
    assert_int_equal(write(answer[1], &byte, 1), 1);
    pthread_join(t, nullptr);
    assert_pong(p.reply);
    weft_client_destroy(c);
    fake_end(&f);
    for (int i = 0; i < 2; i++) {
        close(asked[i]);
        close(answer[i]);
    }
}

CASE(test_command_after_fork_in_a_call)
{
    fork_in_a_call([](void *client) {
        // Not EBUSY: who was in the call is not here.  The server is busy with the parent.
        weft_reply *r = ping((weft_client *)client, WEFT_NOW);
        return r == nullptr && errno == ETIMEDOUT ? 0 : 1;
    });
}

static void *ping_now(void *arg)
{
    pinger *p = (pinger *)arg;
    p->reply = ping(p->client, WEFT_NOW);
    p->error = errno;
    return nullptr;
}

// In the child a new thread may have the stack, and with it the pthread_t, of the one that was in
// the call.
CASE(test_command_after_fork_in_a_thread)
{
    if (RUNNER_SANITIZED)
        return; // the thread sanitizer refuses to start threads there
    fork_in_a_call([](void *client) {
        pinger mine = {(weft_client *)client, nullptr, 0};
        pthread_t thread;
        pthread_create(&thread, nullptr, ping_now, &mine);
        pthread_join(thread, nullptr);
        return mine.error == ETIMEDOUT ? 0 : 1;
    });
}

// ---- Pipelines ----

CASE(test_next_in_order)
{
    fake f = {};
    f.serve = echo;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    const int many = 20000; // more than the sockets hold, both ways
    for (int i = 0; i < many; i++) {
        char text[16];
        const char *words[] = {"ECHO", text};
        sprintf(text, "%d", i);
        assert_int_equal(weft_client_append(c, 2, words, nullptr), 0);
    }
    assert_errno(ping(c, WEFT_FOREVER), EBUSY);
    for (int i = 0; i < many; i++) {
        weft_reply *r = weft_client_next(c, weft_in_s(20));
        assert_non_null(r);
        assert_int_equal(atoi(r->items[1].text), i);
        weft_reply_free(r);
    }
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT);
    weft_reply_free(ping(c, weft_in_s(20)));
    weft_client_destroy(c);
    fake_end(&f);
}

// A deadline loses nothing: the reply is still owed.
CASE(test_next_deadline)
{
    fake f = {};
    char byte = 0;
    f.serve = answer_when_told;
    assert_true(pipe2(asked, O_CLOEXEC) == 0 && pipe2(answer, O_CLOEXEC) == 0);
    fake_start(&f);
    weft_client *c = connect_to(&f);
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_errno(weft_client_next(c, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_client_next(c, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(read(asked[0], &byte, 1), 1);
    assert_int_equal(write(answer[1], &byte, 1), 1);
    assert_pong(weft_client_next(c, weft_in_s(20)));
    weft_client_destroy(c);
    fake_end(&f);
    for (int i = 0; i < 2; i++) {
        close(asked[i]);
        close(answer[i]);
    }
}

static void end_at_once(fake *f, int fd, int before)
{
    if (before > 0)
        answer_pings(f, fd, before);
}

CASE(test_next_after_the_end)
{
    fake f = {};
    f.serve = end_at_once;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_errno(weft_client_next(c, weft_in_s(20)), EPIPE);
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT); // none of them is owed any more
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_pong(weft_client_next(c, weft_in_s(20)));
    weft_client_destroy(c);
    fake_end(&f);
}

// What could not be sent yet because there was no connection in time is owed still.
CASE(test_next_connects)
{
    fake f = {};
    f.serve = end_at_once;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    assert_errno(ping(c, weft_in_s(20)), EPIPE);
    weft_client *busy = connect_to(&f); // and nobody else is answered until it leaves
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_errno(weft_client_next(c, weft_in_ms(5)), ETIMEDOUT);
    assert_errno(ping(c, WEFT_NOW), EBUSY);
    weft_client_destroy(busy);
    assert_pong(weft_client_next(c, weft_in_s(20)));
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT);
    weft_client_destroy(c);
    fake_end(&f);
}

static void push_between(fake *f, int fd, int)
{
    for (weft_reply *r; (r = fake_command(f, fd)) != nullptr; weft_reply_free(r))
        if (strcmp(r->items[0].text, "SUBSCRIBE") == 0)
            fake_say(f, fd, ">3\r\n+subscribe\r\n+x\r\n:1\r\n");
        else
            fake_say(f, fd, ">2\r\n+invalidate\r\n+a\r\n>2\r\n+invalidate\r\n+b\r\n+PONG\r\n");
}

CASE(test_next_push)
{
    static const char *const subscribe[] = {"SUBSCRIBE", "x"};
    fake f = {};
    f.serve = push_between;
    fake_start(&f);
    weft_client *c = connect_to(&f);
    assert_pong(ping(c, weft_in_s(20)));
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_pong(weft_client_next(c, weft_in_s(20)));
    for (int i = 0; i < 4; i++) {
        weft_reply *r = weft_client_next(c, WEFT_NOW);
        assert_non_null(r);
        assert_int_equal(r->type, WEFT_REPLY_PUSH);
        assert_string_equal(r->items[1].text, i % 2 == 0 ? "a" : "b");
        weft_reply_free(r);
    }
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT);
    assert_errno(weft_client_next(c, weft_in_ms(2)), ETIMEDOUT);
    weft_reply *r = weft_client_command(c, 2, subscribe, nullptr, weft_in_s(20));
    assert_string_equal(r->items[0].text, "subscribe");
    weft_reply_free(r);
    assert_pong(ping(c, weft_in_s(20)));
    weft_client_destroy(c); // with two that nobody took
    fake_end(&f);
}

// ---- Tasklets ----

static weft_client *in_tasklet;

CASE(test_command_tasklet_cancelled)
{
    static fake f;
    f = {};
    f.serve = be_silent_first;
    fake_start(&f);
    inside([] {
        in_tasklet = weft_client_connect(f.address, nullptr, weft_in_s(20));
        assert_non_null(in_tasklet);
        pinger p = {in_tasklet, nullptr, 0};
        weft_tasklet *t = spawn(wait_for_pong, &p, true);
        weft_tasklet_yield();
        assert_errno(ping(in_tasklet, WEFT_FOREVER), EBUSY);
        weft_tasklet_cancel(t);
        join(t);
        assert_int_equal(p.error, ECANCELED);
        assert_int_equal(weft_client_fd(in_tasklet), -1);
        assert_pong(ping(in_tasklet, weft_in_s(20)));
        // One that is cancelled already sends nothing.
        t = spawn(
            [](void *arg) -> void * {
                pause_forever();
                return wait_for_pong(arg);
            },
            &p, true);
        weft_tasklet_yield();
        weft_tasklet_cancel(t);
        join(t);
        assert_int_equal(p.error, ECANCELED);
        assert_true(weft_client_fd(in_tasklet) >= 0);
        assert_pong(ping(in_tasklet, weft_in_s(20)));
        weft_client_destroy(in_tasklet);
    });
    fake_end(&f);
}

// A tasklet forks while another one connects: the child's twin of that one leaves the socket alone.
static char tcp_address[64];
static int connect_error;

static void *connect_and_tell(void *)
{
    weft_client *c = weft_client_connect(tcp_address, nullptr, weft_in_s(20));
    connect_error = c == nullptr ? errno : 0;
    weft_client_destroy(c);
    return nullptr;
}

// A listener that drops who comes, as one waits to be accepted, until that is done.
static int full_listener(int *first)
{
    struct sockaddr_in a = {};
    socklen_t size = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(l, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(l, 0), 0);
    getsockname(l, (struct sockaddr *)&a, &size);
    snprintf(tcp_address, sizeof tcp_address, "tcp:127.0.0.1:%d", ntohs(a.sin_port));
    *first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*first, (struct sockaddr *)&a, size), 0);
    return l;
}

static int accept_from(int l)
{
    struct pollfd p = {l, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 20000), 1);
    return accept4(l, nullptr, nullptr, SOCK_CLOEXEC);
}

CASE(test_connect_tasklet_forks)
{
    if (RUNNER_SANITIZED)
        return; // the thread sanitizer does not know the parent's coroutines in the child
    inside([] {
        char byte;
        int first, status, l = full_listener(&first);
        struct pollfd someone_waits = {l, POLLIN, 0};
        poll(&someone_waits, 1, -1);
        connect_error = -1;
        weft_tasklet *t = spawn(connect_and_tell, nullptr, true);
        weft_tasklet_yield(); // which waits for its connect now
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            join(t);
            _exit(connect_error == EPIPE ? 0 : 1);
        }
        close(accept_from(l));
        int fd = accept_from(l); // the parent's tasklet has not gone on yet
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
        close(fd);
        join(t);
        assert_int_equal(connect_error, EPIPE);
        close(first);
        close(l);
    });
}

RUN_CASES(census_begin, census_end)
