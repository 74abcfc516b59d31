// redis_nodes.h: more than one Redis, as replicas of one another or as a cluster.
#ifndef WEFT_TEST_REDIS_NODES_H
#define WEFT_TEST_REDIS_NODES_H

#include "../loopback.h"
#include "servers.h"

static char folder[64]; // of all

typedef struct redis {
    pid_t pid;
    char port[8], bus[8], socket[96];
    weft_client *client;
} redis;

// Two ports that nobody has just now.
static inline void choose_ports(redis *r)
{
    struct sockaddr_in a, b;
    int first = loopback_socket(&a), second = loopback_socket(&b);
    snprintf(r->port, sizeof r->port, "%d", ntohs(a.sin_port));
    snprintf(r->bus, sizeof r->bus, "%d", ntohs(b.sin_port));
    close(first);
    close(second);
}

[[noreturn]] static inline void become_node(const redis *r, bool cluster)
{
    char nodes[32];
    int null = open("/dev/null", O_RDWR);
    snprintf(nodes, sizeof nodes, "nodes-%s", r->port);
    alarm(0);
    dup2(null, 0);
    dup2(null, 1);
    execlp("redis-server", "redis-server", "--port", r->port, "--bind", "127.0.0.1", "--unixsocket",
           r->socket, "--save", "", "--appendonly", "no", "--dir", folder,
           "--repl-diskless-sync-delay", "0", "--dbfilename", r->port, "--cluster-enabled",
           cluster ? "yes" : "no", "--cluster-port", r->bus, "--cluster-config-file", nodes,
           (char *)nullptr);
    _exit(127);
}

static inline void start_node(redis *r, int i, bool cluster)
{
    char where[128];
    choose_ports(r);
    snprintf(r->socket, sizeof r->socket, "%s/%d", folder, i);
    snprintf(where, sizeof where, "unix:%s", r->socket);
    r->pid = runner_fork();
    if (r->pid == 0)
        become_node(r, cluster);
    for (weft_deadline d = weft_in_s(30); r->client == nullptr && weft_left(d) > 0; usleep(2000))
        r->client = weft_client_connect(where, nullptr, weft_in_s(20));
    assert_non_null(r->client);
}

static inline void begin_nodes(redis all[], int n, bool cluster)
{
    strcpy(folder, "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < n; i++)
        start_node(&all[i], i, cluster);
}

static inline void kill_node(redis *r)
{
    if (r->pid > 0)
        kill_and_reap(r->pid);
    r->pid = 0;
}

static inline void end_nodes(redis all[], int n)
{
    char command[80];
    for (int i = 0; i < n; i++) {
        weft_client_destroy(all[i].client);
        kill_node(&all[i]);
        all[i] = {};
    }
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

// Whether what INFO, or its like, says has this in it.
static inline bool says(const redis *r, const char *command, const char *which, const char *text)
{
    const char *const words[] = {command, which};
    weft_reply *reply = weft_client_command(r->client, 2, words, nullptr, soon());
    bool is = reply != nullptr && reply->text != nullptr && strstr(reply->text, text) != nullptr;
    weft_reply_free(reply);
    return is;
}

static inline void until_it_says(const redis *r, const char *command, const char *which,
                                 const char *text)
{
    for (weft_deadline d = soon(); !says(r, command, which, text); usleep(2000))
        assert_true(weft_left(d) > 0);
}

#endif
