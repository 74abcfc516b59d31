// Servers that are killed, started again or stopped, that want a password, that are far: both of
// them.
#include "../async/inside.h"
#include "../twins/peers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

static ssize_t take_from(peer *p)
{
    weft_reply *r = weft_remote_queue_take((weft_remote *)p->thing, WEFT_FOREVER);
    weft_reply_free(r);
    return r != nullptr ? 0 : -1;
}

// Another server than that which all tests are run on.
static weft_remote_queue *open_on_mine(server *mine)
{
    *mine = {};
    mine->kind = here.kind;
    start_server(mine);
    return weft_remote_queue_open(client_of(mine), "slow", 0);
}

// Those who wait cannot know what became of it; later calls wait for a server that is started
// again, and have their own errno when there is none.
CASE(test_server_killed)
{
    server mine;
    weft_remote_queue *q = open_on_mine(&mine);
    weft_client *c = client_of(&mine);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "anew", 2, soon());
    peer *p[3];
    for (peer *&each : p)
        each = begin_asleep(take_from, q);
    kill_server(&mine);
    for (peer *each : p)
        end(each, -1, ECONNRESET);
    done_with(q);
    assert_errno(weft_remote_semaphore_value(s, WEFT_NOW), ENOTCONN);
    assert_errno(weft_remote_semaphore_value(s, weft_in_ms(20)), ENOTCONN);
    assert_int_equal(strncmp(weft_client_error(c), "connect: ", 9), 0);
    assert_int_equal(weft_client_fd(c), -1);
    start_server(&mine);
    assert_int_equal(weft_remote_semaphore_value(s, soon()), 2); // made again
    assert_int_equal(weft_client_server(c), mine.kind);
    done_with(s);
    end_server(&mine);
}

// The worker of weft_remote_queue(3): 0 when the queue was closed, 1 when the server is gone.
static int work(void *jobs)
{
    char job[64];
    while (weft_remote_queue_get((weft_remote *)jobs, job, sizeof job, weft_in_s(8)) >= 0)
        weft_remote_queue_task_done((weft_remote *)jobs, soon());
    return errno == EPIPE ? 0 : 1;
}

CASE(test_worker_of_the_manual)
{
    for (int killed = 0; killed < 2; killed++) {
        server mine;
        weft_remote_queue *q = open_on_mine(&mine);
        pid_t worker = child_of(work, q);
        assert_int_equal(weft_remote_queue_put(q, "job", 3, soon()), 0);
        assert_int_equal(weft_remote_queue_join(q, soon()), 0);
        await_asleep(worker);
        if (killed)
            kill_server(&mine);
        else
            assert_int_equal(weft_remote_queue_close(q, WEFT_DRAIN, soon()), 0);
        assert_int_equal(end_of(worker), killed);
        done_with(q);
        end_server(&mine);
    }
}

// A call that finds no server is made when there is one again.
static ssize_t read_when_told(peer *p)
{
    while (__atomic_load_n(&board->words[0], __ATOMIC_ACQUIRE) == 0)
        usleep(100);
    return weft_remote_semaphore_value((weft_remote *)p->thing, soon());
}

CASE(test_server_restarted)
{
    server mine = start_another();
    weft_remote_semaphore *s = weft_remote_semaphore_open(client_of(&mine), "anew", 3, soon());
    begin_case();
    peer *p = begin(read_when_told, s);
    kill_server(&mine);
    __atomic_store_n(&board->words[0], 1, __ATOMIC_RELEASE);
    await_asleep(__atomic_load_n(&p->id, __ATOMIC_ACQUIRE));
    start_server(&mine);
    end(p, 3, 0);
    done_with(s);
    end_server(&mine);
}

// What was held of the old server is nobody's on the new one, and is not taken for held.
CASE(test_server_restarted_with_holds)
{
    server mine = start_another();
    weft_client *c = client_of(&mine);
    weft_remote_lock *l = weft_remote_lock_open(c, "lock", 0);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "units", 2, soon());
    weft_remote_event *e = weft_remote_event_open(c, "event");
    weft_remote_barrier *b = weft_remote_barrier_open(c, "barrier", 2);
    for (int how = 0; how < 2; how++) {
        assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
        assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
        assert_int_equal(weft_remote_event_set(e, soon()), 0);
        kill_server(&mine);
        start_server(&mine);
        assert_int_equal(weft_remote_event_is_set(e, soon()), 0);
        assert_errno(how == 0 ? weft_remote_lock_unlock(l, soon())
                              : weft_remote_lock_renew(l, soon()),
                     EPERM);
        assert_errno(how == 0 ? weft_remote_semaphore_post(s, soon())
                              : weft_remote_semaphore_renew(s, soon()),
                     EPERM);
        assert_int_equal(weft_remote_semaphore_value(s, soon()), 2);
        assert_int_equal(weft_remote_barrier_waiting(b, soon()), 0);
    }
    weft_remote_destroy(l);
    weft_remote_destroy(s);
    weft_remote_destroy(e);
    weft_remote_destroy(b);
    weft_client_destroy(c);
    end_server(&mine);
}

// One that does not answer by the deadline is not waited for any longer, and nothing is given up:
// the answer is dealt with when it comes.
CASE(test_server_stopped)
{
    server mine = start_another();
    weft_client *c = client_of(&mine);
    weft_remote_value *v = weft_remote_value_open(c, "value");
    weft_remote_lock *l = weft_remote_lock_open(c, "lock", 0);
    int64_t n = 0, token, begun = weft_now();
    int fd = weft_client_fd(c);
    assert_int_equal(weft_remote_lock_lock(l, &token, soon()), 0);
    kill(mine.pid, SIGSTOP);
    assert_errno(weft_remote_value_add(v, 1, &n, weft_in_ms(10)), ECONNRESET);
    assert_errno(weft_remote_value_add(v, 1, &n, weft_in_ms(10)), ENOTCONN); // it was not sent
    assert_errno(weft_client_connect(mine.address, nullptr, weft_in_ms(50)), ETIMEDOUT);
    assert_true(weft_now() - begun < 900000000);
    kill(mine.pid, SIGCONT);
    assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0);
    assert_int_equal(n, 2);
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    assert_int_equal(weft_client_fd(c), fd);
    weft_remote_destroy(l);
    weft_remote_destroy(v);
    weft_client_destroy(c);
    end_server(&mine);
}

// What a get was given too late is the first of the queue again, and still to be done.
CASE(test_server_stopped_with_item)
{
    server mine;
    weft_remote_queue *q = open_on_mine(&mine), *other = (weft_remote_queue *)again(q);
    char item[8];
    assert_int_equal(weft_remote_queue_put(q, "first", 5, soon()), 0);
    assert_int_equal(weft_remote_queue_put(q, "second", 6, soon()), 0);
    weft_remote_queue_length(other, soon()); // connected
    kill(mine.pid, SIGSTOP);
    assert_errno(weft_remote_queue_get(q, item, sizeof item, weft_in_ms(10)), ECONNRESET);
    kill(mine.pid, SIGCONT);
    assert_int_equal(weft_remote_queue_length(q, soon()), 2);
    for (int i = 0; i < 2; i++) {
        assert_errno(weft_remote_queue_join(q, WEFT_NOW), ETIMEDOUT);
        assert_int_equal(weft_remote_queue_get(other, item, sizeof item, soon()), 5 + i);
        assert_int_equal(weft_remote_queue_task_done(other, soon()), 0);
    }
    assert_int_equal(weft_remote_queue_join(q, soon()), 0);
    release(other);
    done_with(q);
    end_server(&mine);
}

CASE(test_password)
{
    server mine = {};
    mine.kind = here.kind;
    mine.password = "sesame";
    start_server(&mine);
    assert_errno(weft_client_connect(mine.address, nullptr, soon()), EACCES);
    assert_errno(weft_client_connect(mine.address, "sesamy", soon()), EACCES);
    weft_client *c = client_of(&mine);
    char text[256];
    weft_remote_value *v = weft_remote_value_open(c, "value");
    assert_int_equal(weft_remote_value_set(v, 3, soon()), 0);
    shutdown(weft_client_fd(c), SHUT_RDWR);
    assert_int_equal(weft_remote_value_set(v, 5, soon()), 0); // connected again, with the password
    weft_remote_text(v, text, sizeof text);
    assert_null(strstr(text, "sesame"));
    assert_errno(weft_remote_open(text, nullptr, soon()), EACCES);
    weft_remote_value *w = weft_remote_open(text, "sesame", soon());
    assert_non_null(w);
    weft_remote_destroy(w);
    weft_remote_destroy(v);
    weft_client_destroy(c);
    end_server(&mine);
}

// By number and by name, from a thread and from a tasklet.
static const char *tcp_address;

static bool answers_at(const char *address)
{
    weft_client *c = weft_client_connect(address, "sesame", soon());
    weft_remote_value *v = weft_remote_value_open(c, "value");
    bool well = weft_remote_value_add(v, 1, nullptr, soon()) == 0;
    weft_remote_destroy(v);
    return weft_client_destroy(c) == 0 && well;
}

// Whether a connection of that port has the timer that finds out about hosts that have vanished, at
// each end (the column "tr" of /proc/net/tcp).
static int keep_alive_timers(unsigned port)
{
    char text[512];
    int n = 0;
    FILE *f = fopen("/proc/net/tcp", "re");
    assert_non_null(f);
    while (fgets(text, sizeof text, f) != nullptr) {
        unsigned local, remote, state, timer;
        if (sscanf(text, "%*d: %*[^:]:%x %*[^:]:%x %x %*s %x:", &local, &remote, &state, &timer) ==
            4)
            n += (local == port || remote == port) && state == 1 && timer == 2;
    }
    fclose(f);
    return n;
}

static void assert_asks(const char *address)
{
    weft_client *c = weft_client_connect(address, "sesame", soon());
    assert_non_null(c);
    int most_ms = 0;
    socklen_t size = sizeof most_ms;
    getsockopt(weft_client_fd(c), IPPROTO_TCP, TCP_USER_TIMEOUT, &most_ms, &size);
    assert_int_equal(most_ms, 120000); // with a command on its way to a host that has vanished
    // Another timer may run until what was said is acknowledged.
    unsigned port = (unsigned)atoi(strrchr(address, ':') + 1);
    for (weft_deadline d = soon(); keep_alive_timers(port) != 2; usleep(1000))
        assert_true(weft_left(d) > 0);
    weft_client_destroy(c);
}

CASE(test_tcp)
{
    char by_name[64];
    weft_manager_options o = {};
    if (here.kind == WEFT_SERVER_REDIS)
        return; // which cannot be told to choose a port
    o.password = "sesame";
    weft_manager *m = weft_manager_start("tcp:127.0.0.1:0", &o);
    assert_non_null(m);
    tcp_address = weft_manager_address(m);
    snprintf(by_name, sizeof by_name, "tcp:localhost%s", strrchr(tcp_address, ':'));
    assert_true(answers_at(tcp_address));
    assert_true(answers_at(by_name));
    assert_asks(tcp_address);
    assert_errno(weft_client_connect(tcp_address, nullptr, soon()), EACCES);
    inside([] {
        assert_true(answers_at(tcp_address));
        assert_asks(tcp_address);
    });
    assert_int_equal(weft_manager_end(m, soon()), 0);
    assert_errno(weft_client_connect(tcp_address, "sesame", soon()), ECONNREFUSED);
    assert_int_equal(weft_manager_destroy(m), 0);
}

RUN_ON_BOTH_SERVERS
