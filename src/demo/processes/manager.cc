// manager.cc: `weft-processes manager`, `put` and `get`: a manager's server alone, and its queues
// for the shell; those work on a Redis server, too.
#include "web.h"

#include <weft/manager.h>

#include <err.h>
#include <sys/resource.h>

static int remote_serve(const remote_order *o)
{
    weft_manager_options s = {};
    rlimit files; // a descriptor a client
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    s.password = o->has_password ? o->password : nullptr;
    s.password_file = o->password_file;
    s.max_memory = o->memory;
    s.save = o->save;
    s.metrics = o->metrics;
    s.flags = WEFT_MANAGER_SIGNALS;
    s.listening = [](const char *address, void *order) {
        printf("listening on %s\n", address);
        fflush(stdout);
        if (((const remote_order *)order)->web != nullptr)
            web_start((const remote_order *)order, address);
    };
    s.arg = (void *)o;
    if (o->web != nullptr)
        web_listen(o->web);
    if (weft_manager_serve(o->address, &s) == 0)
        return 0;
    if (errno == EACCES && !o->has_password && strncmp(o->address, "unix:", 5) != 0)
        errx(1, "%s: needs --password-file", o->address);
    if (errno == EBADMSG)
        errx(1, "%s: damaged or cut short; it was left as it is", o->save);
    if (errno == EPROTONOSUPPORT)
        errx(1, "%s: written by a newer weft", o->save);
    err(1, "%s%s%s%s%s", o->address, o->save != nullptr ? " or " : "",
        o->save != nullptr ? o->save : "", o->metrics != nullptr ? " or " : "",
        o->metrics != nullptr ? o->metrics : "");
}

static int remote_put(const remote_order *o, char **values)
{
    weft_client *c = remote_connect(o);
    weft_remote_queue *q = weft_remote_queue_open(c, o->name, (size_t)o->capacity);
    for (; *values != nullptr; values++)
        if (weft_remote_queue_put(q, *values, strlen(*values), o->end) != 0)
            return remote_failed(o->name, q);
    weft_remote_destroy(q);
    return weft_client_destroy(c) != 0;
}

// A value that could not be written is not acknowledged: the queue has it again.
static int remote_get(const remote_order *o)
{
    weft_client *c = remote_connect(o);
    weft_remote_queue *q = weft_remote_queue_open(c, o->name, 0);
    for (long i = 0; i < o->count; i++) {
        weft_reply *r = weft_remote_queue_take(q, o->end);
        if (r == nullptr)
            return remote_failed(o->name, q);
        if (fwrite(r->text, 1, r->size, stdout) != r->size || putchar('\n') == EOF ||
            fflush(stdout) != 0)
            err(1, "standard output");
        weft_reply_free(r);
    }
    weft_remote_destroy(q);
    return weft_client_destroy(c) != 0;
}

static int run_manager(int argc, char **argv)
{
    remote_order o = remote_read_options(argc, argv, "+:hl:");
    if (o.address == nullptr || optind < argc)
        options_bad("manager", "needs -l ADDRESS");
    return remote_serve(&o);
}

static int run_put(int argc, char **argv)
{
    remote_order o = remote_read_options(argc, argv, "+:hc:t:");
    return remote_put(
        &o, remote_read_arguments(&o, argc, argv, 3, -1, "put", "needs ADDRESS QUEUE VALUE..."));
}

static int run_get(int argc, char **argv)
{
    remote_order o = remote_read_options(argc, argv, ":hn:t:");
    remote_read_arguments(&o, argc, argv, 2, 2, "get", "needs ADDRESS QUEUE");
    return remote_get(&o);
}

extern const verb verb_manager = {
    "manager",
    "-l ADDRESS [--password-file F] [--max-memory N[k|m|g]] [--save F] [--metrics A] "
    "[--web A]",
    "serves until SIGTERM, SIGINT or the command SHUTDOWN; SIGHUP: reads F with the password "
    "again\n"
    "--save: reads what it holds from F at the start, and writes it there at the "
    "end\n"
    "--metrics: unix:PATH or tcp:HOST:PORT, where Prometheus finds GET /metrics; --web: the same\n"
    "for a browser, which is shown queues, locks, jobs and clients as they are\n" REMOTE_ADDRESS,
    run_manager};
extern const verb verb_put = {
    "put", "[-c capacity] [-t seconds] [--password-file F] ADDRESS QUEUE VALUE...",
    "puts values into a queue; -t: how long to wait, then the status is 1\n", run_put};
extern const verb verb_get = {
    "get", "[-n count] [-t seconds] [--password-file F] ADDRESS QUEUE",
    "prints so many values (1), a line each; -t: how long to wait, then the status is 1\n",
    run_get};
