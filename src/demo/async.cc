// weft-async: what waiting costs, and servers in straight lines.
//
// `compare` runs the same jobs in each model.  `echo` and `chat` are servers, a tasklet for
// each connection; a signal, by way of a callback of the loop beside, ends them gracefully.
// `fetch` is a client.  Compare weft-threads, weft-coroutines, weft-processes.
#include "chat.h"
#include "compare.h"
#include "fetch.h"

#include <weft/loop.h>

static const char usage[] =
    "usage: weft-async [compare] [-n jobs] | echo [-l host:port] | chat [-l host:port]\n"
    "       weft-async fetch [-j jobs] [-O] URL...\n"
    "compare: the same jobs (1000) as threads, coroutines and on the event loop\n"
    "echo:    sends back what it gets (127.0.0.1:7777), until SIGTERM or SIGINT\n"
    "chat:    says to all what one says, line by line: nc 127.0.0.1 7777\n"
    "fetch:   gets URLs (http:// alone), so many at once (8); -O: into files\n";

struct order {
    char **argv;
    int argc;
    const char *verb, *where;
    long jobs, at_once;
};

static int listener;
static long connections, most, bytes;

static void echo(int fd, void *)
{
    static long open;
    char text[4096];
    connections++;
    most = ++open > most ? open : most;
    for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, WEFT_FOREVER)) > 0; bytes += n)
        if (weft_io_write(fd, text, (size_t)n, WEFT_FOREVER) != n)
            break;
    open--;
}

static int serve(const char *where, void (*handler)(int fd, void *arg))
{
    static weft_signal signals[2];
    static const int numbers[] = {SIGTERM, SIGINT};
    char address[300];
    weft_io_serve_options o = {};
    o.drain_ns = 1000000000; // a second to finish
    snprintf(address, sizeof address, "tcp:%s", where);
    listener = weft_io_listen(address, nullptr);
    if (listener < 0)
        options_fail(address);
    for (int i = 0; i < 2; i++)
        if (weft_loop_signal(
                weft_io_loop(), &signals[i], numbers[i],
                [](weft_signal *) { weft_io_stop(listener); }, nullptr) != 0)
            options_fail("weft-async: signals");
    weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);
    int result = weft_io_serve(listener, handler, nullptr, &o);
    weft_io_close(listener);
    return result != 0;
}

static int run(void *arg)
{
    const order *o = (const order *)arg;
    if (strcmp(o->verb, "fetch") == 0)
        return fetch(o->argv + optind, o->argc - optind, o->at_once);
    if (strcmp(o->verb, "chat") == 0) {
        int failed = serve(o->where, chat);
        printf("%ld lines, %ld slow readers dropped\n", chat_lines, chat_dropped);
        return failed;
    }
    int failed = serve(o->where, echo);
    printf("%ld connections, %ld at once, %ld bytes echoed\n", connections, most, bytes);
    return failed;
}

int main(int argc, char **argv)
{
    static const option longs[] = {{"help", no_argument, nullptr, 'h'}, {}};
    static const char *const verbs[] = {"compare", "echo", "chat", "fetch"}, *const shorts[] = {
                                                                                 "+:hn:", "+:hl:",
                                                                                 "+:hl:", "+:hj:O"};
    bool given = argc > 1 && argv[1][0] != '-';
    order o = {argv, argc, given ? argv[1] : "compare", "127.0.0.1:7777", 1000, 8};
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
        else if (c == 'l')
            o.where = optarg;
        else
            fetch_to_files = true;
    }
    if (v < 3 && optind < argc)
        options_bad(argv[0], "unexpected", argv[optind]);
    if (v == 3 && optind == argc)
        options_bad(argv[0], "fetch needs", "URL...");
    int result = v == 0 ? compare(o.jobs) : weft_io_run(run, &o);
    return options_finish(argv[0], result != 0);
}
