// listen.h: what the servers have alike: a listener, workers, and a graceful end by a signal.
#ifndef WEFT_DEMO_LISTEN_H
#define WEFT_DEMO_LISTEN_H

#include "../verbs.h"

#include <weft/io.h>

// Listens at host:port and serves each connection in a tasklet until SIGTERM or SIGINT; with
// workers > 0 in so many processes, which SIGHUP replaces.  The exit status.
int serve_at(const char *where, long workers, void (*handler)(int fd, void *arg));

#endif
