// listen.cc: see listen.h.  The signal comes by way of a callback of the loop beside.
#include "listen.h"

#include <weft/loop.h>
#include <weft/workers.h>

#include <signal.h>

static void (*handle)(int fd, void *arg);
static int listener;

static void listen_at(const char *where)
{
    char address[300];
    snprintf(address, sizeof address, "tcp:%s", where);
    listener = weft_io_listen(address, nullptr);
    if (listener < 0)
        options_fail(address);
    weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);
}

// Serves until a signal says stop or, in a worker, the master does.
static int serve(void *)
{
    static weft_signal signals[2];
    static weft_watch master;
    static const int numbers[] = {SIGTERM, SIGINT};
    int stop = weft_worker_stop_fd(), failed = 0;
    weft_io_serve_options o = {};
    o.drain_ns = stop < 0 ? 1000000000 : 10000000000; // a second to finish; longer at a reload
    for (int i = 0; stop < 0 && i < 2; i++)
        failed |= weft_loop_watch_signal(
            weft_io_loop(), &signals[i], numbers[i],
            [](weft_signal *, void *) { weft_io_stop(listener); }, nullptr);
    if (stop >= 0)
        failed = weft_loop_watch(
            weft_io_loop(), &master, stop, WEFT_READ,
            [](weft_watch *w, int, void *) {
                weft_loop_unwatch(w);
                weft_io_stop(listener);
            },
            nullptr);
    if (failed)
        options_fail("weft-async: what ends it");
    return weft_io_serve(listener, handle, nullptr, &o) != 0;
}

// Before there is any tasklet: where each has a signal mask of its own (CORO=ucontext), it is that
// of its creator.
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, nullptr);
}

static int work(void *)
{
    return weft_io_run(serve, nullptr);
}

int serve_at(const char *where, long workers, void (*handler)(int fd, void *arg))
{
    handle = handler;
    if (workers == 0)
        block_signals();
    listen_at(where);
    return (workers > 0 ? weft_workers_run((int)workers, work, nullptr, nullptr)
                        : weft_io_run(serve, nullptr)) != 0;
}
