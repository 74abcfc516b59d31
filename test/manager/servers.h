// servers.h: the two servers, for tests that must pass on both.
//
//     CASE(test_queue_order) { ... }
//     RUN_ON_BOTH_SERVERS
//
// redis-server is a child with a socket in a folder of its own; where it is not installed its part
// is left out, which is said.
#ifndef WEFT_TEST_SERVERS_H
#define WEFT_TEST_SERVERS_H

#include <weft/manager.h>
#include <weft/remote.h>

#include "../runner.h"
#include "../shm/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

typedef struct server {
    int kind;
    const char *password;
    pid_t pid;
    bool durable; // what it has said stays when it is killed: Redis's append-only file,
                  // written before each answer
    weft_manager *manager;
    char folder[64];
    char address[128];
} server;

static server here; // the one that the tests are run on

static inline bool has_redis(void)
{
    return system("command -v redis-server >/dev/null 2>&1") == 0;
}

// As for jobs of which none is to be lost (weft_remote_jobs(3)).  Its file is written anew as
// usual.
[[noreturn]] static inline void become_redis(const server *s)
{
    char log[128];
    int null = open("/dev/null", O_RDWR);
    alarm(0);
    dup2(null, 0);
    dup2(null, 1);
    snprintf(log, sizeof log, "%s/log", s->folder);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", s->address + 5, "--save",
           "", "--appendonly", s->durable ? "yes" : "no", "--appendfsync", "always", "--dir",
           s->folder, "--logfile", log, s->password != nullptr ? "--requirepass" : (char *)nullptr,
           s->password, (char *)nullptr);
    _exit(127);
}

// What calls that may not wait give a server to answer, however busy it is.
static const int64_t LONG_ANSWER = INT64_C(20000000000); // ns

static inline weft_client *client_of(const server *s)
{
    weft_client *c = weft_client_connect(s->address, s->password, weft_in_s(20));
    assert_non_null(c);
    weft_client_set_answer(c, LONG_ANSWER);
    return c;
}

// Starts it at the address that is there already, or a new one.
static inline void start_server(server *s)
{
    if (s->folder[0] == 0) {
        strcpy(s->folder, "/tmp/weft-test-XXXXXX");
        assert_non_null(mkdtemp(s->folder));
        snprintf(s->address, sizeof s->address, "unix:%s/socket", s->folder);
    }
    if (s->kind == WEFT_SERVER_WEFT) {
        weft_manager_options o = {};
        o.password = s->password;
        s->manager = weft_manager_start(s->address, &o);
        assert_non_null(s->manager);
        s->pid = weft_manager_pid(s->manager);
        return;
    }
    s->pid = runner_fork();
    if (s->pid == 0)
        become_redis(s);
    weft_client *c = nullptr;
    for (weft_deadline d = weft_in_s(30); c == nullptr && weft_left(d) > 0; usleep(2000))
        c = weft_client_connect(s->address, s->password, weft_in_s(20));
    assert_non_null(c);
    weft_client_destroy(c);
}

// Kills it, and waits until it is dead.
static inline void kill_server(server *s)
{
    kill(s->pid, SIGKILL);
    if (s->kind == WEFT_SERVER_REDIS) {
        waitpid(s->pid, nullptr, 0);
    } else {
        weft_manager_end(s->manager, weft_in_s(20));
        weft_manager_destroy(s->manager);
    }
    s->manager = nullptr;
    s->pid = 0;
}

static inline void end_server(server *s)
{
    char command[128];
    if (s->pid != 0)
        kill_server(s);
    snprintf(command, sizeof command, "rm -rf %s", s->folder);
    // A Redis' child that writes its file anew lives on for a moment, and finishes that.
    for (weft_deadline d = weft_in_s(20); rmdir(s->folder) != 0 && errno != ENOENT;) {
        assert_true(weft_left(d) > 0);
        (void)!system(command);
    }
    *s = {};
}

// Another of the kind of `here`.
static inline server start_another(void)
{
    server s = {};
    s.kind = here.kind;
    start_server(&s);
    return s;
}

static inline int begin_group(void **)
{
    int kind = here.kind;
    bool durable = here.durable;
    census_begin(nullptr);
    here = {};
    here.kind = kind;
    here.durable = durable;
    start_server(&here);
    return 0;
}

static inline int end_group(void **state)
{
    end_server(&here);
    return census_end(state);
}

// Calls it once with each as `here`: it runs tests between begin_group and end_group.
static inline int with_both_servers(int (*run)(const char *name))
{
    int failed = 0;
    here.kind = WEFT_SERVER_WEFT;
    failed += run("weft");
    if (!has_redis()) {
        printf("left out: the same on Redis, no redis-server\n");
        return failed;
    }
    here.kind = WEFT_SERVER_REDIS;
    return failed + run("redis");
}

#define RUN_ON_BOTH_SERVERS                                                                        \
    int main(void)                                                                                 \
    {                                                                                              \
        return with_both_servers(                                                                  \
            [](const char *name) { return run_cases(begin_group, end_group, name); });             \
    }

// ---- What the tests share ----

static inline weft_deadline soon(void)
{
    return weft_in_s(30);
}

// A command with text as its words; its reply is released.
static inline void tell(weft_client *c, const char *a, const char *b = nullptr,
                        const char *x = nullptr)
{
    const char *words[] = {a, b, x};
    weft_reply *r = weft_client_command(c,
                                        x != nullptr   ? 3
                                        : b != nullptr ? 2
                                                       : 1,
                                        words, nullptr, soon());
    assert_non_null(r);
    assert_int_not_equal(r->type, WEFT_REPLY_ERROR);
    weft_reply_free(r);
}

// On Redis: makes all scores of a set long past, as if their time had gone by.  Below 0 those of a
// barrier are no longer in doubt, but dead.
static inline void make_past(weft_client *c, const char *key)
{
    const char *const words[] = {
        "EVAL",
        "local all = redis.call('ZRANGE', KEYS[1], 0, -1) "
        "for _, m in ipairs(all) do redis.call('ZADD', KEYS[1], -1, m) end "
        "return #all",
        "1", key};
    weft_reply *r = weft_client_command(c, 4, words, nullptr, soon());
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_INTEGER);
    assert_true(r->integer > 0);
    weft_reply_free(r);
}

// The end of a proxy, and of its client.
static inline int remote_destroy(void *r)
{
    weft_client *c = weft_remote_client((weft_remote *)r);
    return weft_remote_destroy((weft_remote *)r) == 0 ? weft_client_destroy(c) : -1;
}

// Ends its connection, as if the net did.
static inline void cut(weft_remote *r)
{
    shutdown(weft_client_fd(weft_remote_client(r)), SHUT_RDWR);
}

static inline void done_with(weft_remote *r)
{
    assert_int_equal(remote_destroy(r), 0);
}

#endif
