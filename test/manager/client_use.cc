// Who may use a client: one at a time, with deadlines and stops, after forks, in pipelines and in
// tasklets.
#include <weft/thread.h>

#include "../async/inside.h"
#include "../shm/processes.h"
#include "fake.h"

#include <fcntl.h>
#include <poll.h>

// ---- One user at a time ----

struct pinger {
    weft_deadline deadline;
    weft_reply *reply;
    int error;
};

static void *wait_for_pong(void *arg)
{
    pinger *p = (pinger *)arg;
    p->reply = ping(p->deadline);
    p->error = errno;
    return nullptr;
}

static int asked[2], answer[2]; // pipes: the server tells of a command; it is told to answer

static void answer_when_told(fake *s, int fd, int)
{
    char byte = 0;
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr; weft_reply_free(r)) {
        bool told = write(asked[1], &byte, 1) == 1 && read(answer[0], &byte, 1) == 1;
        fake_say(s, fd, told ? "+PONG\r\n" : "-ERR\r\n");
    }
}

static void wait_asked(void)
{
    char byte;
    assert_int_equal(read(asked[0], &byte, 1), 1);
}

static void let_it_answer(void)
{
    assert_int_equal(write(answer[1], "", 1), 1);
}

static void close_pipes(void)
{
    for (int i = 0; i < 2; i++)
        close(asked[i]), close(answer[i]);
}

#define TOLD_CASE(fn)                                                                              \
    static void fn##_told(void);                                                                   \
    CASE(fn)                                                                                       \
    {                                                                                              \
        assert_true(pipe2(asked, O_CLOEXEC) == 0 && pipe2(answer, O_CLOEXEC) == 0);                \
        with_fake(answer_when_told, 0, fn##_told);                                                 \
        close_pipes();                                                                             \
    }                                                                                              \
    static void fn##_told(void)

// What is done while another thread is in a call, which then ends well.
static void in_a_call(void (*fn)(void))
{
    pinger p = {WEFT_FOREVER, nullptr, 0};
    pthread_t t;
    pthread_create(&t, nullptr, wait_for_pong, &p);
    wait_asked();
    fn();
    let_it_answer();
    pthread_join(t, nullptr);
    is_pong(p.reply);
}

TOLD_CASE(test_command_busy)
{
    in_a_call([] {
        assert_errno(ping(WEFT_FOREVER), EBUSY);
        assert_errno(weft_client_append(c, 1, PING, nullptr), EBUSY);
        assert_errno(weft_client_next(c, WEFT_NOW), EBUSY);
        assert_errno(weft_client_destroy(c), EBUSY);
    });
}

// weft_thread_stop ends the wait, and the connection with it.
TOLD_CASE(test_command_stopped)
{
    pinger p = {WEFT_FOREVER, nullptr, 0};
    weft_thread *t = weft_thread_start(wait_for_pong, &p, nullptr);
    wait_asked();
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_null(p.reply);
    assert_int_equal(p.error, ECANCELED);
    assert_int_equal(weft_client_fd(c), -1);
    let_it_answer();
}

// One who is told to stop stops connecting, too: here to a server that accepts nobody.
static pid_t connector; // atomic

static void *connect_forever(void *address)
{
    __atomic_store_n(&connector, gettid(), __ATOMIC_RELEASE);
    weft_client *none = weft_client_connect((const char *)address, nullptr, WEFT_FOREVER);
    return none == nullptr ? (void *)(intptr_t)errno : nullptr;
}

CASE(test_connect_stopped)
{
    void *error = nullptr;
    f = {};
    fake_listen(&f, 0);
    int first = fake_dial(&f);
    assert_true(first >= 0);
    assert_errno(fake_dial(&f), EAGAIN); // nobody else fits
    weft_thread *t = weft_thread_start(connect_forever, f.address, nullptr);
    while (__atomic_load_n(&connector, __ATOMIC_ACQUIRE) == 0)
        usleep(200);
    wait_asleep(connector);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, &error, weft_in_s(20)), 0);
    assert_int_equal((intptr_t)error, ECANCELED);
    close(first);
    close(f.listener);
}

// ---- Forks ----

static int ping_in_child(void *)
{
    if (weft_client_fd(c) != -1)
        return 1;
    weft_reply *r = ping();
    bool ok = r != nullptr && r->type == WEFT_REPLY_STATUS;
    weft_reply_free(r);
    return ok && weft_client_destroy(c) == 0 ? 0 : 2;
}

// Answers two at a time: the parent's connection stays while the child has its own.
static void answer_both(fake *s, int fd, int before)
{
    if (before == 0) {
        weft_reply_free(fake_command(s, fd));
        fake_say(s, fd, "+PONG\r\n");
        int child = accept4(s->listener, nullptr, nullptr, SOCK_CLOEXEC);
        reply_reader mine = s->in;
        s->in = {};
        weft_reply_free(fake_command(s, child));
        fake_say(s, child, "%1\r\n+server\r\n+weft\r\n");
        answer_pings(s, child, 1);
        close(child);
        reader_reset(&s->in);
        s->in = mine;
    }
    answer_pings(s, fd, before);
}

FAKE_CASE(test_command_after_fork, answer_both)
{
    int fd = weft_client_fd(c);
    is_pong(ping());
    assert_int_equal(end_of(child_of(ping_in_child, nullptr)), 0);
    is_pong(ping()); // the child's QUIT was not on this connection
    assert_int_equal(weft_client_fd(c), fd);
}

TOLD_CASE(test_command_after_fork_in_a_call)
{
    in_a_call([] {
        // Not EBUSY: who was in the call is not here.  The server is busy with the parent.
        int (*child)(void *) = [](void *) { return ping(WEFT_NOW) == nullptr ? errno : 0; };
        assert_int_equal(end_of(child_of(child, nullptr)), ENOTCONN);
    });
}

// In the child a new thread may have the stack, and with it the pthread_t, of the one that was in
// the call.
TOLD_CASE(test_command_after_fork_in_a_thread)
{
    if (RUNNER_SANITIZED)
        return; // the thread sanitizer refuses to start threads there
    in_a_call([] {
        int (*child)(void *) = [](void *) {
            pinger mine = {WEFT_NOW, nullptr, 0};
            pthread_t thread;
            pthread_create(&thread, nullptr, wait_for_pong, &mine);
            pthread_join(thread, nullptr);
            return mine.error;
        };
        assert_int_equal(end_of(child_of(child, nullptr)), ENOTCONN);
    });
}

// ---- Pipelines ----

FAKE_CASE(test_next_in_order, echo)
{
    const int many = 20000; // more than the sockets hold, both ways
    for (int i = 0; i < many; i++) {
        char text[16];
        const char *words[] = {"ECHO", text};
        sprintf(text, "%d", i);
        assert_int_equal(weft_client_append(c, 2, words, nullptr), 0);
    }
    assert_errno(ping(WEFT_FOREVER), EBUSY);
    for (int i = 0; i < many; i++) {
        weft_reply *r = weft_client_next(c, weft_in_s(20));
        assert_non_null(r);
        assert_int_equal(atoi(r->items[1].text), i);
        weft_reply_free(r);
    }
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT);
    weft_reply_free(ping());
}

// A deadline loses nothing: the reply is still owed.
TOLD_CASE(test_next_deadline)
{
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_errno(weft_client_next(c, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_client_next(c, weft_in_ms(5)), ETIMEDOUT);
    wait_asked();
    let_it_answer();
    is_pong(weft_client_next(c, weft_in_s(20)));
}

static void end_unanswered(fake *s, int fd, int before)
{
    if (before > 0)
        answer_pings(s, fd, before);
    else
        weft_reply_free(fake_command(s, fd));
}

FAKE_CASE(test_next_after_the_end, end_unanswered)
{
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_errno(weft_client_next(c, weft_in_s(20)), ECONNRESET);
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT); // none of them is owed any more
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    is_pong(weft_client_next(c, weft_in_s(20)));
}

// What could not be sent yet because there was no connection in time is owed still.
FAKE_CASE(test_next_connects, end_unanswered)
{
    assert_errno(ping(), ECONNRESET);
    weft_client *busy = connect_to(&f); // and nobody else is answered until it leaves
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_errno(weft_client_next(c, weft_in_ms(5)), ENOTCONN);
    assert_errno(ping(WEFT_NOW), EBUSY);
    weft_client_destroy(busy);
    is_pong(weft_client_next(c, weft_in_s(20)));
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT);
}

static void push_between(fake *s, int fd, int)
{
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr; weft_reply_free(r))
        if (strcmp(r->items[0].text, "SUBSCRIBE") == 0)
            fake_say(s, fd, ">3\r\n+subscribe\r\n+x\r\n:1\r\n");
        else
            fake_say(s, fd, ">2\r\n+invalidate\r\n+a\r\n>2\r\n+invalidate\r\n+b\r\n+PONG\r\n");
}

FAKE_CASE(test_next_push, push_between)
{
    static const char *const subscribe[] = {"SUBSCRIBE", "x"};
    is_pong(ping());
    assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    is_pong(weft_client_next(c, weft_in_s(20)));
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
    is_pong(ping());
}

// ---- Tasklets ----

CASE(test_command_tasklet_cancelled)
{
    serve_by(be_silent_first);
    inside([] {
        c = connect_to(&f);
        pinger p = {WEFT_FOREVER, nullptr, 0};
        weft_tasklet *t = spawn(wait_for_pong, &p, true);
        weft_tasklet_yield();
        assert_errno(ping(WEFT_FOREVER), EBUSY);
        weft_tasklet_cancel(t);
        join(t);
        assert_int_equal(p.error, ECANCELED);
        assert_int_equal(weft_client_fd(c), -1);
        is_pong(ping());
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
        assert_true(weft_client_fd(c) >= 0);
        is_pong(ping());
        weft_client_destroy(c);
    });
    fake_end(&f);
}

// A tasklet forks while another one connects: the child's twin of that one leaves the socket alone.
static char tcp_address[64];
static int connect_error;

static void connect_and_tell(void)
{
    weft_client *made = weft_client_connect(tcp_address, nullptr, weft_in_s(20));
    connect_error = made == nullptr ? errno : 0;
    weft_client_destroy(made);
}

// A listener that drops who comes, as one waits to be accepted, until that is done.
static int full_listener(int *first)
{
    struct sockaddr_in a;
    int l = loopback_socket(&a);
    assert_int_equal(listen(l, 0), 0);
    snprintf(tcp_address, sizeof tcp_address, "tcp:127.0.0.1:%d", ntohs(a.sin_port));
    *first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*first, (struct sockaddr *)&a, sizeof a), 0);
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
        int first, l = full_listener(&first);
        struct pollfd someone_waits = {l, POLLIN, 0};
        poll(&someone_waits, 1, -1);
        connect_error = -1;
        weft_tasklet *t = spawn(connect_and_tell, true);
        weft_tasklet_yield(); // which waits for its connect now
        pid_t child = runner_fork();
        if (child == 0) {
            join(t);
            _exit(connect_error == ECONNRESET ? 0 : 1);
        }
        close(accept_from(l));
        int fd = accept_from(l); // the parent's tasklet has not gone on yet
        assert_int_equal(end_of(child), 0);
        assert_errno(recv(fd, &byte, 1, MSG_DONTWAIT), EAGAIN);
        close(fd);
        join(t);
        assert_int_equal(connect_error, ECONNRESET);
        close(first);
        close(l);
    });
}

RUN_CASES(census_begin, census_end)
