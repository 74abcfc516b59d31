// A thousand tasklets connect, echo up to 1 MiB each and close, with random cancels and deadlines:
// each byte is accounted for on its way, each tasklet by how it ended, and nothing is left.
#include <weft/io.h>

#include "../runner.h"
#include "inside.h"

#include <sys/resource.h>

enum { CLIENTS = 1000, MOST = 1 << 20 };

static char address[64], *pattern;
static int listener, at_once, alive, running, most_running; // alive: not ended, maybe not begun
static weft_tasklet *clients[CLIENTS];
static uint32_t seed = 12345;

// How clients ended, and the bytes at each station of their way.
static struct {
    int started, whole, deadlines, cancels, wrong;
    int64_t sent, taken, given, received, of_whole;
} sum;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static void echo(int fd, void *)
{
    char text[16384];
    for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, weft_in_s(200))) > 0;) {
        ssize_t put = weft_io_write(fd, text, (size_t)n, weft_in_s(200));
        sum.taken += n;
        sum.given += put > 0 ? put : 0;
        if (put != n)
            return;
    }
}

struct exchange {
    int fd;
    size_t n;
    weft_deadline d;
};

static void *send_all(void *arg)
{
    exchange *x = (exchange *)arg;
    ssize_t put = weft_io_write(x->fd, pattern, x->n, x->d);
    sum.sent += put > 0 ? put : 0;
    if (put == (ssize_t)x->n)
        weft_io_shutdown(x->fd, SHUT_WR);
    return nullptr;
}

// All that comes back must be the pattern's beginning.
static size_t receive_all(exchange *x)
{
    char text[8192];
    size_t all = 0;
    for (ssize_t n; (n = weft_io_read(x->fd, text, sizeof text, x->d)) > 0; all += (size_t)n)
        if (all + (size_t)n > x->n || memcmp(text, pattern + all, (size_t)n) != 0)
            sum.wrong++;
    sum.received += (int64_t)all;
    return all;
}

// 0 when all came back; else why not.
static int exchange_all(exchange *x)
{
    weft_scope scope; // its child lives as long as the block, also when this one is cancelled
    weft_tasklet_options o = {};
    o.scope = &scope;
    weft_scope_open(&scope);
    weft_tasklet_spawn(send_all, x, &o);
    errno = EPROTO; // should the end come too early
    size_t all = receive_all(x);
    int error = all == x->n ? 0 : errno;
    weft_scope_join(&scope, WEFT_NOW);
    return error;
}

static void *client(void *)
{
    exchange x = {-1, chance(4) != 0 ? chance(5000) : chance(MOST + 1), WEFT_FOREVER};
    bool late = chance(10) == 0;
    sum.started++;
    running++;
    most_running = running > most_running ? running : most_running;
    if (late)
        x.d = weft_in_us(chance(20000));
    x.fd = weft_io_connect(address, x.d);
    int error = x.fd < 0 ? errno : exchange_all(&x);
    if (x.fd >= 0)
        weft_io_close(x.fd);
    sum.whole += error == 0;
    sum.of_whole += error == 0 ? (int64_t)x.n : 0;
    sum.deadlines += error == ETIMEDOUT && late;
    sum.cancels += error == ECANCELED;
    running--;
    alive--;
    return nullptr;
}

static void *serve(void *)
{
    if (weft_io_serve(listener, echo, nullptr, nullptr) != 0)
        sum.wrong++;
    return nullptr;
}

// The kernel may reset those that overflow the backlog.
static int longest_backlog(void)
{
    int n = 0;
    FILE *f = fopen("/proc/sys/net/core/somaxconn", "re");
    if (f == nullptr || fscanf(f, "%d", &n) != 1)
        n = SOMAXCONN;
    if (f != nullptr)
        fclose(f);
    return n;
}

// Each client has two ends here.
static void choose_how_many(void)
{
    struct rlimit r;
    int backlog = longest_backlog();
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    at_once = r.rlim_cur > 2 * CLIENTS + 100 ? CLIENTS : (int)(r.rlim_cur - 100) / 2;
    at_once = at_once < backlog ? at_once : backlog;
}

// One that is cancelled before it starts never runs; its join tells.
static void soak(void)
{
    int never = 0;
    listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address);
    weft_tasklet *server = spawn(serve, nullptr, true);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = spawn(client, nullptr, true);
        if (chance(50) == 0)
            weft_tasklet_cancel(clients[i]);
        else
            alive++;
        while (alive >= at_once)
            weft_tasklet_yield();
    }
    for (int i = 0; i < CLIENTS / 10; i++) {
        if (i % 20 == 0)
            weft_tasklet_yield();
        weft_tasklet_cancel(clients[chance(CLIENTS)]); // it may have ended
    }
    for (int i = 0; i < CLIENTS; i++) {
        void *result = nullptr;
        assert_int_equal(weft_tasklet_join(clients[i], &result, weft_in_s(200)), 0);
        never += result == WEFT_FAILED;
    }
    assert_int_equal(weft_io_stop(listener), 0);
    join(server);
    weft_io_close(listener);
    assert_int_equal(sum.started + never, CLIENTS);
}

CASE(test_soak)
{
    memset(&sum, 0, sizeof sum);
    alive = running = most_running = 0;
    choose_how_many();
    pattern = (char *)malloc(MOST);
    for (size_t i = 0; i < MOST; i++)
        pattern[i] = (char)(i ^ (i >> 8) * 31 ^ (i >> 16));
    inside(soak);
    assert_int_equal(sum.wrong, 0);
    assert_int_equal(sum.whole + sum.deadlines + sum.cancels, sum.started);
    assert_true(sum.whole > CLIENTS / 2);
    assert_true(sum.deadlines > 0 && sum.cancels > 0);
    assert_true(sum.sent >= sum.taken && sum.taken >= sum.given && sum.given >= sum.received);
    assert_true(sum.received >= sum.of_whole && sum.of_whole > 0);
    assert_int_equal(running, 0);
    assert_true(most_running > at_once / 2); // really at once
    free(pattern);
}

RUN_CASES()
