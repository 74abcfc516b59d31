// weft-async: what waiting costs, and servers in straight lines.
//
// `compare` runs the same jobs in each model.  `echo` and `chat` are servers, a tasklet for
// each connection; a signal, by way of a callback of the loop beside, ends them gracefully.
// `fetch` is a client.  Compare weft-threads, weft-coroutines, weft-processes.
#include "chat.h"
#include "compare.h"
#include "echo.h"
#include "fetch.h"

#include <weft/loop.h>
#include <weft/workers.h>

#include <signal.h>

static const char usage[] =
    "usage: weft-async [compare] [-n jobs] | chat [-l host:port]\n"
    "       weft-async echo [-l host:port] [-w workers] | fetch [-j jobs] [-O] URL...\n"
    "compare: the same jobs (1000) as threads, coroutines, a process pool, on the event loop\n"
    "echo:    sends back what it gets (127.0.0.1:7777), until SIGTERM or SIGINT; with -w in so\n"
    "         many processes, which SIGHUP replaces\n"
    "chat:    says to all what one says, line by line: nc 127.0.0.1 7777\n"
    "fetch:   gets URLs (http:// alone), so many at once (8); -O: into files\n";

struct order {
    char **argv;
    int argc;
    const char *verb, *where;
    long jobs, at_once, workers;
};

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
static int serve(void (*handler)(int fd, void *arg))
{
    static weft_signal signals[2];
    static weft_watch master;
    static const int numbers[] = {SIGTERM, SIGINT};
    int stop = weft_worker_stop_fd(), failed = 0;
    weft_io_serve_options o = {};
    o.drain_ns = stop < 0 ? 1000000000 : 10000000000; // a second to finish; longer at a reload
    for (int i = 0; stop < 0 && i < 2; i++)
        failed |= weft_loop_signal(
            weft_io_loop(), &signals[i], numbers[i], [](weft_signal *) { weft_io_stop(listener); },
            nullptr);
    if (stop >= 0)
        failed = weft_loop_watch(
            weft_io_loop(), &master, stop, WEFT_READ,
            [](weft_watch *w, int) {
                weft_watch_stop(w);
                weft_io_stop(listener);
            },
            nullptr);
    if (failed)
        options_fail("weft-async: what ends it");
    return weft_io_serve(listener, handler, nullptr, &o) != 0;
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

static int serve_echo(void *)
{
    return serve(echo);
}

static int work(void *arg)
{
    return weft_io_run(serve_echo, arg);
}

static int run(void *arg)
{
    const order *o = (const order *)arg;
    if (strcmp(o->verb, "fetch") == 0)
        return fetch(o->argv + optind, o->argc - optind, o->at_once);
    listen_at(o->where);
    int failed = serve(strcmp(o->verb, "chat") == 0 ? chat : echo);
    weft_io_close(listener);
    return failed;
}

static int run_workers(const order *o)
{
    listen_at(o->where);
    return weft_workers_run((int)o->workers, work, nullptr, nullptr) != 0;
}

int main(int argc, char **argv)
{
    static const option longs[] = {{"help", no_argument, nullptr, 'h'}, {}};
    static const char *const verbs[] = {"compare", "echo", "chat", "fetch"}, *const shorts[] = {
                                                                                 "+:hn:", "+:hl:w:",
                                                                                 "+:hl:", "+:hj:O"};
    bool given = argc > 1 && argv[1][0] != '-';
    order o = {argv, argc, given ? argv[1] : "compare", "127.0.0.1:7777", 1000, 8, 0};
    int v = 0;
    while (v < 4 && strcmp(o.verb, verbs[v]) != 0)
        v++;
    if (v == 4)
        options_bad(argv[0], "unknown verb", o.verb);
    optind = given ? 2 : 1;
    for (int c; (c = options_next(argc, argv, shorts[v], longs, usage)) != -1;) {
        if (c == 'n')
            o.jobs = options_number(argv[0], optarg, 1, 30000);
        else if (c == 'j')
            o.at_once = options_number(argv[0], optarg, 1, 10000);
        else if (c == 'w')
            o.workers = options_number(argv[0], optarg, 1, 1000);
        else if (c == 'l')
            o.where = optarg;
        else
            fetch_to_files = true;
    }
    if (v < 3 && optind < argc)
        options_bad(argv[0], "unexpected", argv[optind]);
    if (v == 3 && optind == argc)
        options_bad(argv[0], "fetch needs", "URL...");
    echo_begin();
    if ((v == 1 || v == 2) && o.workers == 0)
        block_signals();
    int result = v == 0 ? compare(o.jobs) : o.workers > 0 ? run_workers(&o) : weft_io_run(run, &o);
    if (v == 1)
        echo_end();
    if (v == 2)
        printf("%ld lines, %ld slow readers dropped\n", chat_lines, chat_dropped);
    return options_finish(argv[0], result != 0);
}
