// Echo with rough clients: some are slow, some send all and close their half before they read, some
// reset.  Each byte has its place in the pattern of its connection; what both ends have sent and
// got is compared for each, and after each round as much memory is in use as before. SOAK_SECONDS
// (2): how long; `make soak` takes 300.
#include "inside.h"

#include <arpa/inet.h>
#include <malloc.h>

enum { CLIENTS = 100, MOST = 40000, PIECE = 2000, WARM_ROUNDS = 3, LEAST_ROUNDS = 6 };

extern "C" size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

enum habit { PLAIN_ONE, SLOW, HALF_CLOSED, RESETTING, HABITS };

struct client {
    habit kind;
    int fd, port;
    size_t n, reset_at;
    bool well;
};

// The way of the bytes of a connection, by the client's port.
static struct {
    bool used;
    size_t sent, taken, given, received;
} ways[1 << 16];

static struct {
    long connections, resets, rounds;
    int64_t bytes;
    int wrong, serving;
} sum;

static char address[64];
static int listener;

static char byte_at(int port, size_t i)
{
    return (char)((i ^ i >> 8) * 31 + (size_t)port * 13);
}

static void judge_bytes(int port, size_t at, const char *bytes, ssize_t n)
{
    for (ssize_t i = 0; i < n; i++)
        if (bytes[i] != byte_at(port, at + (size_t)i)) {
            sum.wrong++;
            return;
        }
}

static int port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_in a = {};
    socklen_t size = sizeof a;
    return name(fd, (struct sockaddr *)&a, &size) == 0 ? ntohs(a.sin_port) : 0;
}

static weft_deadline late(void)
{
    return weft_in_s(200);
}

// ---- The server ----

static void echo(int fd, void *)
{
    char text[PIECE];
    int port = port_of(fd, getpeername); // 0: it has been reset already
    sum.serving++;
    for (ssize_t n; port != 0 && (n = weft_io_read(fd, text, sizeof text, late())) > 0;) {
        judge_bytes(port, ways[port].taken, text, n);
        ways[port].taken += (size_t)n;
        ssize_t put = weft_io_write(fd, text, (size_t)n, late());
        ways[port].given += put > 0 ? (size_t)put : 0;
        if (put != n)
            break;
    }
    sum.serving--;
}

static void *serve(void *)
{
    if (weft_io_serve(listener, echo, nullptr, nullptr) != 0)
        sum.wrong++;
    return nullptr;
}

// ---- The clients ----

static void *send_all(void *arg)
{
    client *c = (client *)arg;
    char text[PIECE];
    for (size_t n, at = 0; at < c->n; at += n) {
        n = 1 + (size_t)rand() % PIECE;
        n = n < c->n - at ? n : c->n - at;
        for (size_t i = 0; i < n; i++)
            text[i] = byte_at(c->port, at + i);
        ssize_t put = weft_io_write(c->fd, text, n, late());
        ways[c->port].sent += put > 0 ? (size_t)put : 0;
        if (put != (ssize_t)n)
            return nullptr;
    }
    weft_io_shutdown(c->fd, SHUT_WR);
    return nullptr;
}

// Whether the end has come, or the time to reset.
static bool receive_all(client *c)
{
    char text[PIECE];
    size_t *at = &ways[c->port].received;
    for (ssize_t n; c->kind != RESETTING || *at < c->reset_at; *at += (size_t)n) {
        n = weft_io_read(c->fd, text, c->kind == SLOW ? PIECE / 4 : PIECE, late());
        if (n <= 0)
            return n == 0;
        judge_bytes(c->port, *at, text, n);
        if (c->kind == SLOW)
            weft_tasklet_sleep(weft_in_us(rand() % 1000));
    }
    return true;
}

static void exchange(client *c)
{
    weft_scope scope;
    weft_tasklet_options o = {};
    o.scope = &scope;
    weft_scope_open(&scope);
    if (c->kind == HALF_CLOSED)
        send_all(c);
    else
        weft_tasklet_spawn(send_all, c, &o);
    c->well = receive_all(c);
    int fd = c->fd;
    if (c->kind == RESETTING) {
        c->fd = -1; // for its sender: the number may be another's when that goes on
        c->well = weft_io_reset(fd) == 0 && c->well;
    }
    weft_scope_join(&scope, late());
}

// A port comes once in a round.
static int connect_anew(client *c)
{
    for (;;) {
        c->fd = weft_io_connect(address, late());
        c->port = c->fd >= 0 ? port_of(c->fd, getsockname) : 0;
        if (c->fd < 0 || !ways[c->port].used)
            return c->fd;
        weft_io_close(c->fd);
    }
}

static void *run_client(void *arg)
{
    client *c = (client *)arg;
    c->kind = (habit)(rand() % HABITS);
    c->n = (size_t)rand() % (c->kind == HALF_CLOSED || c->kind == SLOW ? MOST / 5 : MOST);
    c->reset_at = c->n > 0 ? (size_t)rand() % c->n : 0;
    if (connect_anew(c) < 0)
        return nullptr;
    ways[c->port].used = true;
    exchange(c);
    if (c->kind != RESETTING)
        weft_io_close(c->fd);
    return nullptr;
}

static void judge_client(const client *c)
{
    auto *w = &ways[c->port];
    assert_true(c->well);
    assert_true(c->n >= w->sent && w->sent >= w->taken && w->taken >= w->given &&
                w->given >= w->received);
    if (c->kind != RESETTING)
        assert_int_equal(w->received, c->n);
    sum.connections++;
    sum.resets += c->kind == RESETTING;
    sum.bytes += (int64_t)w->received;
}

static void play_round(void)
{
    client clients[CLIENTS] = {};
    weft_tasklet *tasklets[CLIENTS];
    memset(ways, 0, sizeof ways);
    for (int i = 0; i < CLIENTS; i++)
        tasklets[i] = spawn(run_client, &clients[i], true);
    for (weft_tasklet *t : tasklets)
        assert_int_equal(weft_tasklet_join(t, nullptr, late()), 0);
    while (sum.serving > 0) // resets are still to be seen
        weft_tasklet_sleep(weft_in_us(100));
    assert_int_equal(sum.wrong, 0);
    for (const client &c : clients)
        judge_client(&c);
    sum.rounds++;
}

// ---- Memory ----

static size_t in_use(void)
{
    if (__sanitizer_get_current_allocated_bytes != nullptr)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == nullptr || fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f != nullptr)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

CASE(test_rough_soak)
{
    inside([] {
        const char *seconds = getenv("SOAK_SECONDS");
        weft_deadline end = weft_in_s(seconds != nullptr ? atoi(seconds) : 2);
        size_t bytes = 0, descriptors = 0;
        long resident = 0;
        listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address);
        weft_tasklet *server = spawn(serve, nullptr, true);
        for (sum = {}; sum.rounds < LEAST_ROUNDS || weft_left(end) > 0;) {
            play_round();
            if (sum.rounds == WARM_ROUNDS) {
                bytes = in_use();
                descriptors = (size_t)open_descriptors();
                resident = resident_kib();
            }
        }
        print_message(
            "%ld rounds, %ld connections, %ld resets, %lld bytes; in use: %zu bytes, then "
            "%zu; resident: %ld KiB, then %ld\n",
            sum.rounds, sum.connections, sum.resets, (long long)sum.bytes, bytes, in_use(),
            resident, resident_kib());
        assert_true(in_use() <= bytes + 65536);
        assert_int_equal(open_descriptors(), descriptors);
        assert_int_equal(weft_io_stop(listener), 0);
        join(server);
        weft_io_close(listener);
    });
}

RUN_CASES()
