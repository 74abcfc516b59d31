// serve.cc: `weft-async serve`: a folder by HTTP, and what others serve, in worker processes.
#include "../verbs.h"
#include "status.h"

#include <weft/http_client.h>
#include <weft/http_files.h>
#include <weft/io.h>
#include <weft/loop.h>
#include <weft/status.h>
#include <weft/tasklet.h>
#include <weft/thread.h>
#include <weft/workers.h>

#include <err.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTENERS = 64, PROXIES = 32 };

struct serve_proxy {
    char *prefix;
    char address[300];
    weft_http_proxy *upstream;
};

struct serve_order {
    const char *dir, *log;
    bool list, status;
    int64_t max_age_ns;
    long workers;
    serve_proxy proxies[PROXIES];
    int proxy_count;
};

static serve_order order;
static int listeners[LISTENERS];
static size_t listener_count;

// ---- A worker ----

static weft_http_server *server;
static weft_http_log *access_log;

[[noreturn]] static void failed(const char *what)
{
    err(1, "%s", what);
}

static void open_proxies(void)
{
    for (int i = 0; i < order.proxy_count; i++) {
        serve_proxy *p = &order.proxies[i];
        const char *address = p->address;
        p->upstream = weft_http_proxy_open(&address, 1, nullptr);
        if (p->upstream == nullptr ||
            weft_http_route(server, nullptr, p->prefix, weft_http_proxy_handler, p->upstream) != 0)
            failed(p->prefix);
    }
}

static void close_proxies(void)
{
    for (int i = 0; i < order.proxy_count; i++)
        weft_http_proxy_destroy(order.proxies[i].upstream);
}

static void watch_signals(void)
{
    static weft_watch master;
    static weft_signal reopen;
    if (weft_loop_watch(
            weft_io_loop(), &master, weft_worker_stop_fd(), WEFT_READ,
            [](weft_watch *w, int, void *) {
                weft_loop_unwatch(w);
                weft_http_stop(server);
            },
            nullptr) != 0 ||
        weft_loop_watch_signal(
            weft_io_loop(), &reopen, SIGUSR1,
            [](weft_signal *, void *) {
                if (access_log != nullptr && weft_http_log_reopen(access_log) != 0)
                    warn("%s", order.log);
            },
            nullptr) != 0)
        failed("weft-async: signals");
}

static void *serve_one(void *listener)
{
    if (weft_http_serve(server, *(int *)listener) != 0)
        failed("weft-async: serving");
    return nullptr;
}

static void serve_all(void)
{
    weft_scope scope;
    weft_tasklet_options o = {};
    o.scope = &scope;
    if (weft_scope_open(&scope) != 0)
        failed("weft-async");
    for (size_t i = 0; i < listener_count; i++)
        if (weft_tasklet_spawn(serve_one, &listeners[i], &o) == nullptr)
            failed("weft-async");
    weft_scope_join(&scope, WEFT_FOREVER);
}

static int serve(void *)
{
    weft_http_files_options f = {};
    weft_http_server_options o = {};
    f.listing = order.list;
    f.max_age_ns = order.max_age_ns;
    weft_http_files *files = weft_http_files_open(order.dir, &f);
    if (files == nullptr)
        failed(order.dir);
    if (order.log != nullptr) {
        access_log = weft_http_log_open(order.log);
        if (access_log == nullptr)
            failed(order.log);
        o.done = weft_http_log_done;
        o.arg = access_log;
    }
    o.name = "weft";
    server = weft_http_server_create(&o);
    if (server == nullptr ||
        weft_http_route(server, "GET", "/", weft_http_files_handler, files) != 0)
        failed("weft-async");
    if (order.status)
        status_begin(server);
    open_proxies();
    watch_signals();
    serve_all();
    if (order.status)
        status_end();
    weft_http_server_destroy(server);
    close_proxies();
    weft_http_files_close(files);
    weft_http_log_close(access_log);
    return 0;
}

// The signal is blocked before there is any tasklet: where each has a mask of its own
// (CORO=ucontext), it is that of its creator.
static int work(void *)
{
    sigset_t reopen;
    sigemptyset(&reopen);
    sigaddset(&reopen, SIGUSR1);
    sigprocmask(SIG_BLOCK, &reopen, nullptr);
    return weft_io_run(serve, nullptr);
}

// ---- The master ----

static void listen_at(const char *where)
{
    char address[300];
    bool whole = strncmp(where, "unix:", 5) == 0 || strncmp(where, "systemd:", 8) == 0;
    if (snprintf(address, sizeof address, "%s%s", whole ? "" : "tcp:", where) >=
        (int)sizeof address)
        options_bad("too long", where);
    weft_io_listen_options o = {};
    o.mode = 0666; // as for TCP: whoever can reach it
    ssize_t n =
        weft_io_listen_all(address, &o, listeners + listener_count, LISTENERS - listener_count);
    if (n < 0)
        failed(where);
    listener_count += (size_t)n;
}

static void tell_where(void)
{
    printf("serving %s on ", order.dir);
    for (size_t i = 0; i < listener_count; i++) {
        char address[128] = "tcp:?";
        weft_io_address(listeners[i], WEFT_IO_LOCAL, address, sizeof address);
        bool tcp = strncmp(address, "tcp:", 4) == 0;
        printf("%s%s%s", i > 0 ? ", " : "", tcp ? "http://" : "", tcp ? address + 4 : address);
    }
    printf(" with %ld worker%s\n", order.workers, order.workers == 1 ? "" : "s");
    fflush(stdout);
}

// The files of unix sockets, but of those that systemd passed.
static void remove_sockets(char *const *wheres, int n)
{
    for (int i = 0; i < n; i++)
        if (strncmp(wheres[i], "unix:", 5) == 0 && wheres[i][5] != '@')
            unlink(wheres[i] + 5);
}

// What is wrong is said once, by the master, and not by each worker again and again.
static void look_first(void)
{
    weft_http_files *files = weft_http_files_open(order.dir, nullptr);
    if (files == nullptr)
        failed(order.dir);
    weft_http_files_close(files);
    weft_http_log *log = order.log != nullptr ? weft_http_log_open(order.log) : nullptr;
    if (order.log != nullptr && log == nullptr)
        failed(order.log);
    weft_http_log_close(log);
}

static void tell(weft_workers_event e, int number, pid_t pid, int status, void *)
{
    if (e == WEFT_WORKERS_ENDED && order.status)
        status_ended(pid);
    char text[64];
    if (e == WEFT_WORKERS_ENDED && status != 0)
        warnx("worker %d: %s", number, weft_status_text(status, text, sizeof text));
    else if (e == WEFT_WORKERS_KILLED)
        warnx("worker %d: did not drain in time, and was killed", number);
    else if (e == WEFT_WORKERS_FAILED)
        warnx("worker %d: does not start: %s", number, strerror(status));
}

static void raise_files_limit(void) // a descriptor a connection
{
    rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

// PREFIX=ADDRESS
static void add_proxy(char *text)
{
    char *equals = strchr(text, '=');
    if (equals == nullptr || text[0] != '/')
        options_bad("not /PREFIX=ADDRESS", text);
    if (order.proxy_count == PROXIES)
        options_bad("too many", "--proxy");
    serve_proxy *p = &order.proxies[order.proxy_count++];
    bool whole = strncmp(equals + 1, "unix:", 5) == 0 || strncmp(equals + 1, "tcp:", 4) == 0;
    if (snprintf(p->address, sizeof p->address, "%s%s", whole ? "" : "tcp:", equals + 1) >=
        (int)sizeof p->address)
        options_bad("too long", text);
    *equals = 0;
    p->prefix = text;
}

static int run(int argc, char **argv)
{
    static const struct option longs[] = {
        option_flag("list", 'L'),  option_with("log", 'g'),    option_with("cache-seconds", 'c'),
        option_with("proxy", 'p'), option_flag("status", 's'), {}};
    char *wheres[LISTENERS];
    int where_count = 0;
    order.workers = weft_cpu_count();
    for (int c; (c = options_next(argc, argv, "+:hl:w:", longs)) != -1;) {
        switch (c) {
        case 'l':
            if (where_count == LISTENERS)
                options_bad("too many", "-l");
            wheres[where_count++] = optarg;
            break;
        case 'w':
            order.workers = options_number(optarg, 1, 1000);
            break;
        case 'L':
            order.list = true;
            break;
        case 'g':
            order.log = optarg;
            break;
        case 'c':
            order.max_age_ns = options_number(optarg, 0, 31536000) * 1000000000;
            break;
        case 'p':
            add_proxy(optarg);
            break;
        default:
            order.status = true;
        }
    }
    if (argc - optind > 1)
        options_bad("unexpected", argv[optind + 1]);
    order.dir = optind < argc ? argv[optind] : ".";
    look_first();
    for (int i = 0; i < where_count; i++)
        listen_at(wheres[i]);
    if (where_count == 0)
        listen_at(getenv("LISTEN_FDS") != nullptr ? "systemd:*" : "127.0.0.1:8080");
    raise_files_limit();
    signal(SIGPIPE, SIG_IGN); // sendfile(2) has no MSG_NOSIGNAL
    if (order.status)
        status_open();
    tell_where();
    weft_workers_options o = {};
    o.tell = tell;
    int result = weft_workers_run((int)order.workers, work, nullptr, &o);
    if (result != 0 && errno != ETIMEDOUT)
        warn("weft-async");
    remove_sockets(wheres, where_count);
    return options_finish(result != 0);
}

extern const verb verb_serve = {
    "serve",
    "[-l host:port|unix:PATH|systemd:NAME]... [-w workers] [--list] [--log FILE] "
    "[--cache-seconds N] [--proxy /PREFIX=ADDRESS]... [--status] [DIR]",
    "serves a folder (.) by HTTP (127.0.0.1:8080), in so many processes (one a CPU); --proxy: "
    "what\n"
    "is below that comes from another server; --status: /.weft/status and /.weft/metrics;\n"
    "SIGHUP renews the workers, SIGUSR1 opens the log anew, SIGTERM drains\n",
    run};
