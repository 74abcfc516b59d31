// remote.h: `weft-processes manager`, `put`, `get` and `lock`: a manager's server alone, and its
// queues and locks for the shell; those work on a Redis server, too.
#ifndef WEFT_DEMO_REMOTE_H
#define WEFT_DEMO_REMOTE_H

#include "locked.h"
#include "order.h"

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const char remote_usage[] =
    "usage: weft-processes manager -l ADDRESS [--password-file F] [--max-memory N[k|m|g]]\n"
    "       weft-processes put [-c capacity] [-t seconds] [--password-file F] ADDRESS QUEUE "
    "VALUE...\n"
    "       weft-processes get [-n count] [-t seconds] [--password-file F] ADDRESS QUEUE\n"
    "       weft-processes lock [-t seconds] [--password-file F] ADDRESS NAME CMD [ARG...]\n"
    "ADDRESS: unix:PATH, unix:@NAME, tcp:HOST:PORT (needs a password)\n"
    "manager: serves until SIGTERM, SIGINT or the command SHUTDOWN\n"
    "get:     prints so many values (1), a line each\n"
    "lock:    runs CMD while it holds the lock; TOKEN is its fencing token there\n"
    "-t:      how long to wait; then the status is 1\n";

static inline int remote_serve(const remote_order *o)
{
    weft_manager_options s = {};
    rlimit files; // a descriptor a client
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    s.password = o->has_password ? o->password : nullptr;
    s.max_memory = o->memory;
    s.flags = WEFT_MANAGER_SIGNALS;
    s.listening = [](const char *address, void *) {
        printf("listening on %s\n", address);
        fflush(stdout);
    };
    if (weft_manager_serve(o->address, &s) == 0)
        return 0;
    if (errno == EACCES && !o->has_password && strncmp(o->address, "unix:", 5) != 0)
        errx(1, "%s: needs --password-file", o->address);
    err(1, "%s", o->address);
}

static inline int remote_put(const remote_order *o, char **values)
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
static inline int remote_get(const remote_order *o, char **)
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

// argv[0] is the program, argv[1] the verb.
static inline int remote_main(int argc, char **argv)
{
    static const option longs[] = {{"help", no_argument, nullptr, 'h'},
                                   {"password-file", required_argument, nullptr, 'p'},
                                   {"max-memory", required_argument, nullptr, 'm'},
                                   {}};
    const char verb = argv[1][0];
    const char *shorts = verb == 'm'   ? "+:hl:"
                         : verb == 'p' ? "+:hc:t:"
                         : verb == 'g' ? ":hn:t:"
                                       : "+:ht:";
    remote_order o = {};
    o.count = 1;
    o.end = WEFT_FOREVER;
    optind = 2;
    for (int c; (c = options_next(argc, argv, shorts, longs, remote_usage)) != -1;) {
        if (c == 'l')
            o.address = optarg;
        else if (c == 'p')
            remote_read_password(optarg, &o);
        else if (c == 'm')
            o.memory = remote_size(argv[0], optarg);
        else if (c == 'n')
            o.count = options_number(argv[0], optarg, 1, LONG_MAX);
        else if (c == 'c')
            o.capacity = options_number(argv[0], optarg, 1, LONG_MAX);
        else
            o.end = weft_in_ns(options_seconds(argv[0], optarg));
    }
    if (verb == 'm' && (o.address == nullptr || optind < argc))
        options_bad(argv[0], "manager needs", "-l ADDRESS");
    if (verb == 'm')
        return remote_serve(&o);
    int least = verb == 'g' ? 2 : 3;
    if (argc - optind < least || (verb == 'g' && argc - optind > 2))
        options_bad(argv[0], argv[1],
                    verb == 'g'   ? "needs ADDRESS QUEUE"
                    : verb == 'p' ? "needs ADDRESS QUEUE VALUE..."
                                  : "needs ADDRESS NAME CMD...");
    o.address = argv[optind];
    o.name = argv[optind + 1];
    return (verb == 'g'   ? remote_get
            : verb == 'p' ? remote_put
                          : remote_lock)(&o, argv + optind + 2);
}

#endif
