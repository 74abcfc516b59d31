// weft_http_serve in workers: a master stops, reloads and replaces them, and no request is lost.
#include <weft/http.h>
#include <weft/io.h>
#include <weft/workers.h>

#include "../descriptors.h"
#include "../loopback.h"
#include "../runner.h"

static struct sockaddr_in where;
static int listener;
static weft_http_server *server;

static void say_pid(weft_http_exchange *x, void *)
{
    char text[32];
    weft_http_reply(x, 200, "text/plain", text,
                    (size_t)snprintf(text, sizeof text, "%d", getpid()));
}

static void *stop_when_told(void *)
{
    weft_io_wait(weft_worker_stop_fd(), WEFT_READ, WEFT_FOREVER);
    weft_http_stop(server);
    return nullptr;
}

static int serve(void *)
{
    weft_tasklet_options o = {};
    o.detached = true;
    server = weft_http_server_create(nullptr);
    weft_http_route(server, "GET", "/", say_pid, nullptr);
    weft_tasklet_spawn(stop_when_told, nullptr, &o);
    int result = weft_http_serve(server, listener);
    weft_http_server_destroy(server);
    return result == 0 ? 0 : 1;
}

static int work(void *)
{
    return weft_io_run(serve, nullptr);
}

static void told(weft_workers_event, int, pid_t, int, void *)
{
}

static weft_worker_counters counted;

static void count(const weft_workers_counters *s, void *)
{
    counted = s->all;
}

static int master(void *)
{
    weft_workers_options o = {};
    o.tell = told;
    o.metrics = count;
    o.pause_ns = 1000000;
    if (weft_workers_run(2, work, nullptr, &o) != 0)
        return 1;
    return counted.accepted > 0 && counted.connections == 0 ? 0 : 2;
}

static pid_t begin(void)
{
    socklen_t size = sizeof where;
    listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    assert_true(listener >= 0);
    getsockname(listener, (struct sockaddr *)&where, &size);
    return child_of(master, nullptr);
}

static void end(pid_t of)
{
    kill(of, SIGTERM);
    assert_int_equal(end_of(of), 0);
    close(listener);
}

// Who has answered; 0: nobody.
static pid_t ask(int fd, bool last)
{
    char text[1024];
    size_t n = 0;
    const char *request = last ? "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                               : "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return 0;
    const char *body = nullptr;
    while (body == nullptr || body[4] == 0) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0)
            return 0;
        text[n += (size_t)got] = 0;
        body = strstr(text, "\r\n\r\n");
    }
    return (pid_t)atoi(body + 4);
}

static int open_client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&where, sizeof where) == 0)
        return fd;
    close(fd);
    return -1;
}

static pid_t ask_once(void)
{
    int fd = open_client();
    pid_t who = fd >= 0 ? ask(fd, true) : 0;
    close(fd);
    return who;
}

static bool enough; // atomic
static long asked;  // atomic

static void *ask_on(void *)
{
    long failed = 0;
    while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST)) {
        failed += ask_once() == 0;
        __atomic_fetch_add(&asked, 1, __ATOMIC_SEQ_CST);
    }
    return (void *)failed;
}

CASE(test_workers_reload)
{
    enum { CLIENTS = 4, RELOADS = 10, BETWEEN = 50 };
    pthread_t clients[CLIENTS];
    pid_t m = begin();
    assert_true(ask_once() > 0);
    for (pthread_t &each : clients)
        pthread_create(&each, nullptr, ask_on, nullptr);
    for (int i = 0; i < RELOADS; i++) {
        kill(m, SIGHUP);
        for (long then = __atomic_load_n(&asked, __ATOMIC_SEQ_CST) + BETWEEN;
             __atomic_load_n(&asked, __ATOMIC_SEQ_CST) < then;)
            usleep(1000);
    }
    __atomic_store_n(&enough, true, __ATOMIC_SEQ_CST);
    for (pthread_t each : clients) {
        void *failed = nullptr;
        pthread_join(each, &failed);
        assert_null(failed);
    }
    end(m);
}

// The others serve on, and it is replaced.
CASE(test_workers_killed)
{
    pid_t m = begin();
    for (int i = 0; i < 5; i++) {
        pid_t who = ask_once();
        assert_true(who > 0);
        kill(who, SIGKILL);
        while (kill(who, 0) == 0) // until it has been reaped
            usleep(1000);
        for (int j = 0; j < 20; j++) {
            pid_t other = ask_once();
            assert_true(other > 0);
            assert_int_not_equal(other, who);
        }
    }
    end(m);
}

// A client whose connection is idle is told by its end.
CASE(test_workers_stop)
{
    char byte;
    pid_t m = begin();
    int fd = open_client();
    assert_true(ask(fd, false) > 0);
    assert_true(ask(fd, false) > 0);
    kill(m, SIGTERM);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    assert_int_equal(end_of(m), 0);
    close(fd);
    close(listener);
}

RUN_CASES()
