// A client whose Redis fails over to a replica: its address leads to the new server, and calls go
// on.
#include "../loopback.h"
#include "servers.h"

static char folder[64], address[96]; // the address is a link to the socket of who is in charge

namespace {
struct redis {
    pid_t pid;
    char port[8], socket[96];
    weft_client *client;
};
} // namespace

static redis all[2];

// A port that nobody has just now.
static void choose_port(char port[8])
{
    struct sockaddr_in a;
    int s = loopback_socket(&a);
    snprintf(port, 8, "%d", ntohs(a.sin_port));
    close(s);
}

static void start_redis(redis *r, int i)
{
    char where[128];
    choose_port(r->port);
    snprintf(r->socket, sizeof r->socket, "%s/%d", folder, i);
    snprintf(where, sizeof where, "unix:%s", r->socket);
    r->pid = runner_fork();
    if (r->pid == 0) {
        int null = open("/dev/null", O_RDWR);
        alarm(0);
        dup2(null, 0);
        dup2(null, 1);
        execlp("redis-server", "redis-server", "--port", r->port, "--bind", "127.0.0.1",
               "--unixsocket", r->socket, "--save", "", "--appendonly", "no", "--dir", folder,
               "--repl-diskless-sync-delay", "0", "--dbfilename", r->port, (char *)nullptr);
        _exit(127);
    }
    for (weft_deadline d = weft_in_s(30); r->client == nullptr && weft_left(d) > 0; usleep(2000))
        r->client = weft_client_connect(where, nullptr, weft_in_s(20));
    assert_non_null(r->client);
}

static void end_redis(redis *r)
{
    char path[128];
    weft_client_destroy(r->client);
    if (r->pid > 0) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, nullptr, 0);
    }
    unlink(r->socket);
    snprintf(path, sizeof path, "%s/%s", folder, r->port);
    unlink(path);
    *r = {};
}

static void lead_to(const redis *r)
{
    char fresh[96];
    snprintf(fresh, sizeof fresh, "%s/fresh", folder);
    assert_int_equal(symlink(r->socket, fresh), 0);
    assert_int_equal(rename(fresh, address + 5), 0);
}

static void until_it_says(weft_client *c, const char *text)
{
    static const char *const info[] = {"INFO", "replication"};
    bool says = false;
    for (weft_deadline d = soon(); !says; usleep(2000)) {
        weft_reply *r = weft_client_command(c, 2, info, nullptr, soon());
        says = r != nullptr && r->text != nullptr && strstr(r->text, text) != nullptr;
        weft_reply_free(r);
        assert_true(weft_left(d) > 0);
    }
}

CASE(test_failover)
{
    if (!has_redis())
        skip();
    strcpy(folder, "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/current", folder);
    redis *old = &all[0], *next = &all[1];
    start_redis(old, 0);
    start_redis(next, 1);
    lead_to(old);
    tell(next->client, "REPLICAOF", "127.0.0.1", old->port);
    until_it_says(next->client, "master_link_status:up");

    weft_client *c = weft_client_connect(address, nullptr, soon());
    weft_remote_value *v = weft_remote_value_open(c, "value");
    weft_remote_lock *l = weft_remote_lock_open(c, "lock", 0);
    int64_t n;
    assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0);
    assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
    static const char *const wait[] = {"WAIT", "1", "20000"};
    weft_reply_free(weft_client_command(c, 3, wait, nullptr, soon()));

    tell(next->client, "REPLICAOF", "NO", "ONE");
    tell(old->client, "REPLICAOF", "127.0.0.1", next->port);
    // Still a replica's; EAGAIN unless its time is over while it connects or asks once more.
    assert_int_equal(weft_remote_value_add(v, 1, &n, weft_in_ms(50)), -1);
    assert_true(errno == EAGAIN || errno == ENOTCONN || errno == ECONNRESET);
    lead_to(next);
    assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0);
    assert_int_equal(n, 2);
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0); // its lease went along

    // And when it is killed, to one that was a replica until then.
    tell(old->client, "REPLICAOF", "NO", "ONE");
    kill(next->pid, SIGKILL);
    waitpid(next->pid, nullptr, 0);
    next->pid = 0;
    assert_errno(weft_remote_value_get(v, &n, weft_in_ms(100)), ENOTCONN);
    lead_to(old);
    assert_int_equal(weft_remote_value_get(v, &n, soon()), 0);
    assert_in_range(n, 1, 2);
    weft_remote_destroy(v);
    weft_remote_destroy(l);
    weft_client_destroy(c);
    end_redis(old);
    end_redis(next);
    unlink(address + 5);
    assert_int_equal(rmdir(folder), 0);
}

RUN_CASES(census_begin, census_end)
