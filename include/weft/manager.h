/* manager.h: a server process that holds what other processes share.
 *
 *     weft_manager *m = weft_manager_start("unix:/run/me/shared", NULL);
 *     ... client.h and remote.h use it, from anywhere ...
 *     weft_manager_end(m, weft_in_s(1));
 *     weft_manager_destroy(m);
 *
 * It speaks RESP, the Redis protocol, with commands of its own where Redis has nothing safe
 * (weft-manager(7)).  What a client holds is released when its connection ends, in whatever way.
 */
#ifndef WEFT_MANAGER_H
#define WEFT_MANAGER_H

#include <weft/deadline.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The server ----
 *
 * Addresses are text:
 *     unix:PATH          a socket file of mode 0600; the peer's user id must be ours, or root's
 *     unix:@NAME         an abstract socket; the same check
 *     tcp:HOST:PORT      needs a password, on loopback too: other users live there.  Port 0: any
 *     fd:N, systemd:NAME a listening socket that was passed on (io.h)
 */

/* options.flags */
enum {
    /* weft_manager_serve returns on SIGTERM, SIGINT and, without a password_file, SIGHUP (not if
     * that is ignored), too, and tells systemd (sd_notify(3)) how it is. */
    WEFT_MANAGER_SIGNALS = 1
};

/* Zero means the default, for each. */
typedef struct weft_manager_options {
    const char *password; /* who connects must say AUTH with it first; NULL, "": need not */
    size_t max_clients;   /* at once; 0: 10000, as far as there are descriptors (RLIMIT_NOFILE; of a
                             process of its own the hard limit).  One more gets an error, is cut */
    size_t max_memory;    /* bytes held; 0: no limit.  Commands that add then fail with OOM */
    size_t max_message;   /* bytes of one command; 0: 512 MiB, the most.  Longer: it is cut */
    size_t max_reply;     /* bytes of replies that wait for a client; 0: 1 GiB.  More: it is cut */
    int64_t stall_ns;     /* a client that reads nothing of them for so long is cut; 0: 60 s */
    int64_t forget_ns;    /* a name that nobody holds, waits for or uses for so long is forgotten,
                             such as an event that is set or a closed queue; 0: a day */
    int flags;            /* WEFT_MANAGER_... */
    /* Called once the server listens, in its process, with the address as a client may use it. */
    void (*listening)(const char *address, void *arg);
    void *arg;
    /* A file for what it holds: read at the start, if it is there; written beside and renamed at
     * an orderly end and by the commands SAVE and BGSAVE.  NULL, "": nothing is kept. */
    const char *save;
    /* A file whose first line is the password: read at the start, unless there is `password`, and
     * on SIGHUP; then it is for those who connect from then on.  NULL, "": none. */
    const char *password_file;
    /* Where figures for Prometheus are to be had (GET /metrics), unix: or tcp:, without a password.
     * NULL, "": nowhere. */
    const char *metrics;
} weft_manager_options;

typedef struct weft_manager weft_manager;

/* Forks a server process; returns when it listens.  It ends when this process dies in whatever way;
 * when each process that has the handle, by fork, has destroyed it or ended; on weft_manager_end;
 * or on the command SHUTDOWN.  It is no child of this process: wait(2) does not see it.
 * NULL: EBADMSG (the file of `save` is damaged or cut short; it is left as it is), EPROTONOSUPPORT
 * (a newer weft has written it); EINVAL (no address, no password in its file, an option below 0, a
 * longer max_message than there is), EACCES (tcp: without a password), EADDRINUSE and others as
 * weft_io_listen, EAGAIN, EMFILE, ENFILE, ENOMEM; ENOSYS: no pidfds. */
weft_manager *weft_manager_start(const char *address, const weft_manager_options *opts);

/* The address as weft_client_connect takes it, with the port that was chosen; its process id. */
const char *weft_manager_address(const weft_manager *m);
pid_t weft_manager_pid(const weft_manager *m);

/* A descriptor (pidfd) that is readable once the server has ended.  It stays the handle's. */
int weft_manager_fd(const weft_manager *m);

/* Tells the server to end and waits until it has; at `d` it is killed.  0 also when it had ended.
 * -1: ETIMEDOUT (it was killed); ECANCELED: the thread was told to stop (it goes on). */
int weft_manager_end(weft_manager *m, weft_deadline d);

/* Releases this process's handle.  The server ends if nobody else has one; this does not wait for
 * that.  NULL is ignored. */
int weft_manager_destroy(weft_manager *m);

/* Serves in this process and thread until SHUTDOWN (or a signal, see flags).  0, or -1 as start, or
 * as write(2): what it held could not be saved at its end. */
int weft_manager_serve(const char *address, const weft_manager_options *opts);

#ifdef __cplusplus
}
#endif

#endif
