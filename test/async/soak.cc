// Many tasklets connect, echo random sizes and close, with random cancels and deadlines: each byte
// is accounted for, and nothing is left.
#include <weft/io.h>

#include "../runner.h"
#include "inside.h"

enum { CLIENTS = RUNNER_SANITIZED ? 150 : 1000, AT_ONCE = 100, MOST = 1 << 20 };

static char address[64], *pattern;
static int listener, whole, deadlines, cancels, wrong, running;
static weft_tasklet *clients[CLIENTS];
static uint32_t seed = 12345;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static void echo(int fd, void *)
{
    char text[16384];
    for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, weft_in_s(60))) > 0;)
        if (weft_io_write(fd, text, (size_t)n, weft_in_s(60)) != n)
            return;
}

struct exchange {
    int fd;
    size_t n;
    weft_deadline d;
};

static void *send_all(void *arg)
{
    exchange *x = (exchange *)arg;
    if (weft_io_write(x->fd, pattern, x->n, x->d) == (ssize_t)x->n)
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
            wrong++;
    return all;
}

// One that is cancelled before it starts never runs.
static void *client(void *)
{
    running++;
    exchange x = {-1, chance(4) != 0 ? chance(5000) : chance(MOST), WEFT_FOREVER};
    bool late = chance(10) == 0;
    int error = 0;
    if (late)
        x.d = weft_in_us(chance(20000));
    x.fd = weft_io_connect(address, x.d);
    error = errno;
    if (x.fd >= 0) {
        // The child lives as long as the block, also when this one is cancelled.
        weft_scope scope;
        weft_tasklet_options o = {};
        o.scope = &scope;
        weft_scope_open(&scope);
        weft_tasklet_spawn(send_all, &x, &o);
        size_t all = receive_all(&x);
        error = errno;
        weft_scope_close(&scope, WEFT_NOW);
        weft_io_close(x.fd);
        if (all == x.n) {
            whole++;
            error = 0;
        }
    }
    if (error == ETIMEDOUT && late)
        deadlines++;
    else if (error == ECANCELED)
        cancels++;
    else if (error != 0)
        wrong++;
    running--;
    return nullptr;
}

static void *serve(void *)
{
    if (weft_io_serve(listener, echo, nullptr, nullptr) != 0)
        wrong++;
    return nullptr;
}

static void test_soak(void **)
{
    whole = deadlines = cancels = wrong = running = 0;
    pattern = (char *)malloc(MOST);
    for (size_t i = 0; i < MOST; i++)
        pattern[i] = (char)(i ^ (i >> 8) * 31 ^ (i >> 16));
    inside([] {
        listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address);
        weft_tasklet *server = spawn(serve, nullptr, true);
        for (int i = 0; i < CLIENTS; i++) {
            clients[i] = spawn(client, nullptr, true);
            weft_tasklet_yield();
            if (chance(12) == 0)
                weft_tasklet_cancel(clients[chance((uint32_t)i + 1)]);
            while (running >= AT_ONCE)
                weft_tasklet_sleep(weft_in_us(300));
        }
        for (int i = 0; i < CLIENTS; i++)
            join(clients[i]);
        assert_int_equal(weft_io_stop(listener), 0);
        join(server);
        weft_io_close(listener);
    });
    assert_int_equal(wrong, 0);
    assert_true(whole > CLIENTS / 2);
    assert_true(whole + deadlines + cancels <= CLIENTS);
    assert_true(deadlines > 0 && cancels > 0);
    free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_soak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
