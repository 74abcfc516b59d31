/* io.h: input and output that looks blocking, for tasklets in weft_io_run.
 *
 *     for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, weft_in_s(60))) > 0;)
 *         weft_io_write(fd, text, (size_t)n, weft_in_s(60));
 *
 * What a call here has used is closed by weft_io_close, or given away after weft_io_forget, never
 * closed by close(2).  Besides the system calls' errors: ETIMEDOUT (WEFT_NOW: tried once),
 * ECANCELED: the tasklet was, or fd closed by another; neither loses anything; EBUSY: another waits
 * for fd in this direction; EBADF; EPERM: not in weft_io_run; ENOMEM. */
#ifndef WEFT_IO_H
#define WEFT_IO_H

#include <weft/deadline.h>
#include <weft/loop.h> /* WEFT_READ, WEFT_WRITE, WEFT_URGENT */
#include <weft/tasklet.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct addrinfo;

/* ---- Running ---- */

/* Calls main_fn(arg) as this thread's main tasklet, waits until it and all tasklets have ended, and
 * returns what it returned.  EINVAL: NULL; EBUSY: within another, or the scheduler has another
 * poller; EPERM: in another tasklet than the main one; EMFILE, ENFILE, ENOMEM, EDEADLK. */
int weft_io_run(int (*main_fn)(void *arg), void *arg);

/* A loop for callbacks beside the tasklets, made by the first call, weft_io_run's own: not to be
 * run or destroyed.  Its functions must not wait.  NULL: EPERM, or as weft_loop_create,
 * weft_loop_fd. */
weft_loop *weft_io_loop(void);

/* ---- Streams ---- */

/* Reads up to n bytes, as soon as there are any, of a regular file where it stands.  Returns how
 * many; 0 at the end. */
ssize_t weft_io_read(int fd, void *buf, size_t n, weft_deadline d);

/* Reads n bytes; fewer at the end.  When a wait fails after some were read those are returned,
 * and errno is set. */
ssize_t weft_io_read_all(int fd, void *buf, size_t n, weft_deadline d);

/* Writes all n bytes and returns n.  When that fails after some were written, returns how many
 * with errno set; -1 if none were.  EPIPE: the reader is gone. */
ssize_t weft_io_write(int fd, const void *buf, size_t n, weft_deadline d);

/* The same with several pieces, as readv(2) counts them: read does it once, write does all. */
ssize_t weft_io_readv(int fd, const struct iovec *pieces, int count, weft_deadline d);
ssize_t weft_io_writev(int fd, const struct iovec *pieces, int count, weft_deadline d);

/* Copies n bytes of the file `in` from *offset (NULL: from where it stands) to `out` by
 * sendfile(2); *offset goes along.  Returns how many, fewer at the file's end; a failure after some
 * is as for write.  Reading the file itself may block. */
ssize_t weft_io_sendfile(int out, int in, off_t *offset, size_t n, weft_deadline d);

/* Moves n bytes, or all up to the end.  Returns how many came through; a failure after some is as
 * for write, and is the end of both: up to 1 MiB that was read may be lost. */
ssize_t weft_io_copy(int from, int to, size_t n, weft_deadline d);

/* What was read beyond a delimiter, or is still to be written: one for each direction.  The memory
 * is the caller's: {memory, sizeof memory, 0, 0}. */
typedef struct weft_io_buffer {
    char *data;
    size_t room;
    size_t begin, end; /* what is there, not yet taken */
} weft_io_buffer;

/* Reads to the next `delimiter` (of `length` bytes, 1 or more) and returns the length of what came,
 * the delimiter included; *text is where, in the buffer, until its next use.  At the end: what came
 * without a delimiter, then 0.  EMSGSIZE: the buffer is full and the delimiter not in it, and
 * nothing is lost; EINVAL. */
ssize_t weft_io_read_until(int fd, weft_io_buffer *b, const void *delimiter, size_t length,
                           char **text, weft_deadline d);

/* Drops all up to the next delimiter, and that.  Returns how many bytes; 0 at the end.  After a
 * failure some may be gone, and the next call goes on.  EINVAL: also if the buffer is shorter. */
ssize_t weft_io_skip_until(int fd, weft_io_buffer *b, const void *delimiter, size_t length,
                           weft_deadline d);

/* As weft_io_read, from the buffer if there is anything in it. */
ssize_t weft_io_read_buffered(int fd, weft_io_buffer *b, void *buf, size_t n, weft_deadline d);

/* Keeps n bytes in the buffer; if they don't fit writes what is there and these.  Returns n, or,
 * when that fails, how many of them are written, with errno set; -1: none.  The next call goes on,
 * and no byte is written twice.  Flush before weft_io_close.  EINVAL. */
ssize_t weft_io_write_buffered(int fd, weft_io_buffer *b, const void *buf, size_t n,
                               weft_deadline d);

/* Writes all that is in the buffer.  After a failure the rest is still there.  EINVAL. */
int weft_io_flush(int fd, weft_io_buffer *b, weft_deadline d);

/* ---- Filters: between a stream and its user, such as TLS; the manual has an example ---- */

typedef struct weft_io_filter weft_io_filter;

/* What its read, write and shutdown return to be called again, with the same arguments, after: */
#define WEFT_IO_WANT_READ (-2)  /* more bytes of the stream, after what it has itself is sent */
#define WEFT_IO_WANT_WRITE (-3) /* to have its own taken */

/* Filled in by its owner, who keeps it, and zero else.  No function waits. */
struct weft_io_filter {
    /* The user's side.  As read(2) and write(2), at least a byte; 0: the end.  -1 and errno are the
     * call's; each may want.  shutdown: no more will be written.  0; NULL: nothing is to be said.
     */
    ssize_t (*read)(weft_io_filter *f, void *buf, size_t n);
    ssize_t (*write)(weft_io_filter *f, const void *buf, size_t n);
    int (*shutdown)(weft_io_filter *f);
    /* The stream's side.  push takes all n bytes, 0 of them: it has ended.  0; -1.  take gives up
     * to n, 0: it has none; -1. */
    int (*push)(weft_io_filter *f, const void *bytes, size_t n);
    ssize_t (*take)(weft_io_filter *f, void *bytes, size_t n);
    void *state; /* the owner's */
    /* The stream's bytes on their way, {memory, size, 0, 0}; `in` may hold some already. */
    weft_io_buffer in, out;
    /* private */
    weft_tasklet *receives, *sends, *waits;
    bool ended;
};

/* As weft_io_read.  EPIPE: the stream has ended, and the filter wants more.  EBUSY: two others use
 * it.  EINVAL: one of its functions, or memory, is missing. */
ssize_t weft_io_filter_read(int fd, weft_io_filter *f, void *buf, size_t n, weft_deadline d);

/* Has the filter take all n bytes, and sends what comes of them.  Returns n; when it fails after
 * some were taken how many, with errno set, or -1.  What was taken and not sent the next call
 * sends: a write of 0 bytes does that alone. */
ssize_t weft_io_filter_write(int fd, weft_io_filter *f, const void *buf, size_t n, weft_deadline d);

/* Calls its shutdown, and sends what comes of that; then weft_io_shutdown may follow.  After a
 * failure call it again. */
int weft_io_filter_shutdown(int fd, weft_io_filter *f, weft_deadline d);

/* ---- Messages ---- */

/* One recv(2), recvfrom(2), recvmsg(2), once there is what the flags ask for.  Descriptors that
 * come along are close-on-exec. */
ssize_t weft_io_recv(int fd, void *buf, size_t n, int flags, weft_deadline d);
ssize_t weft_io_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from,
                         socklen_t *from_size, weft_deadline d);
ssize_t weft_io_recvmsg(int fd, struct msghdr *m, int flags, weft_deadline d);

/* One send(2), sendto(2), sendmsg(2), once there is room: of a stream maybe a part. */
ssize_t weft_io_send(int fd, const void *buf, size_t n, int flags, weft_deadline d);
ssize_t weft_io_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to,
                       socklen_t to_size, weft_deadline d);
ssize_t weft_io_sendmsg(int fd, const struct msghdr *m, int flags, weft_deadline d);

/* A datagram of the calls below.  What was received can be sent back as it is. */
typedef struct weft_io_datagram {
    void *data;
    size_t room;      /* of data, to receive */
    size_t size;      /* of what is to be sent, or was received */
    uint32_t segment; /* data are several datagrams of so many bytes, the last maybe of fewer; 0: */
                      /* one */
    bool truncated;   /* received: it was longer than room, and the rest is lost */
    socklen_t address_size; /* 0: to where fd is connected; from one that has no address */
    struct sockaddr_storage address;
} weft_io_datagram;

/* Receives up to n datagrams, 32 at most, as soon as there is one; returns how many.  With UDP_GRO
 * set (udp(7)) some have a `segment`.  EINVAL: NULL, no n. */
ssize_t weft_io_recv_many(int fd, weft_io_datagram *datagrams, size_t n, weft_deadline d);

/* Sends all n datagrams, which are cut by their `segment`, and returns n.  When one fails returns
 * its index, how many were sent, with errno set; -1: none.  EINVAL: NULL, no n. */
ssize_t weft_io_send_many(int fd, const weft_io_datagram *datagrams, size_t n, weft_deadline d);

/* ---- Connections ----
 *
 * Addresses are text:
 *     tcp:HOST:PORT      a name or number; [::1] in brackets; for listen * is all of this machine's
 *     udp:HOST:PORT
 *     unix:PATH          unix:@NAME is an abstract one
 *     fd:N               the open descriptor N                            (listen only)
 *     systemd:NAME       by LISTEN_FDS: by its name, or 0, 1, ...          (listen only)
 */

/* A connected socket, non-blocking, with TCP_NODELAY: the first to connect of all addresses of the
 * name (RFC 8305).  Fails with what the last one said (ECONNREFUSED, ...); ENOENT: no such name, or
 * path; EAGAIN: no name server can be reached; EINVAL: not an address. */
int weft_io_connect(const char *address, weft_deadline d);

/* The same for a list of getaddrinfo(3), in its order; the first 64 are tried.  EINVAL: NULL. */
int weft_io_connect_any(const struct addrinfo *list, weft_deadline d);

typedef struct weft_io_listen_options {
    int backlog;     /* connections that wait to be accepted; 0: SOMAXCONN */
    bool reuse_port; /* several sockets share the port (SO_REUSEPORT) */
    int mode;        /* of a unix socket's file; 0: 0600 */
} weft_io_listen_options;

/* A listening socket (udp: a bound one), non-blocking; in or before weft_io_run.  May wait for name
 * servers, without a deadline.  EINVAL: an address or option; ENOENT: no such name, or nothing
 * passed by it; EADDRINUSE, EACCES, ... as bind(2). */
int weft_io_listen(const char *address, const weft_io_listen_options *opts);

/* The same for each address of the name, all with one port: stores up to `room` listening sockets
 * and returns how many.  systemd: all that were passed by this name, or, as systemd:*, at all.  As
 * weft_io_listen; EINVAL: no room. */
ssize_t weft_io_listen_all(const char *address, const weft_io_listen_options *opts, int *listeners,
                           size_t room);

/* The next connection, non-blocking.  EMFILE, ENFILE, ENOBUFS, ENOMEM: it waits in the backlog;
 * wait some time before the next try.  ECANCELED: also by weft_io_stop. */
int weft_io_accept(int listener, weft_deadline d);

#define WEFT_IO_LOCAL 0
#define WEFT_IO_PEER 1

/* Writes the address of this end or the other as text that connect takes, at most 128 bytes.  Does
 * not wait.  ENOBUFS: no room; EAFNOSUPPORT: no such text; EINVAL; as getsockname(2). */
int weft_io_address(int fd, int whose, char *text, size_t room);

/* ---- The other end ---- */

/* Passes an open descriptor over a unix socket, with one byte; ours stays open.  0; as sendmsg(2).
 */
int weft_io_send_fd(int socket, int fd, weft_deadline d);

/* Takes one that was passed so, close-on-exec: the caller's.  EPIPE: the end; EBADMSG: a byte came
 * without one; EMFILE: it is lost, for there was no number free. */
int weft_io_recv_fd(int socket, weft_deadline d);

typedef struct weft_io_credentials {
    pid_t pid; /* its number may be another's by now: weft_io_peer_pidfd */
    uid_t uid;
    gid_t gid;
} weft_io_credentials;

/* Who connected this unix socket, or listened when it was connected (SO_PEERCRED).  Does not wait;
 * also without weft_io_run.  ENOTCONN: it is no unix socket, or not connected; EINVAL: NULL. */
int weft_io_peer(int fd, weft_io_credentials *c);

/* A pidfd of that process, close-on-exec, the caller's to close.  EOPNOTSUPP: before Linux 6.5;
 * ESRCH, EINVAL: it has been reaped; else as weft_io_peer. */
int weft_io_peer_pidfd(int fd);

/* A TCP connection that is silent for `idle_ns` is probed each `interval_ns`, and ends with
 * ETIMEDOUT when as many probes are not answered; whole seconds, rounded up.  idle_ns 0: it is not.
 * EINVAL; as setsockopt(2). */
int weft_io_keep_alive(int fd, int64_t idle_ns, int64_t interval_ns, int probes);

/* What was sent and is not acknowledged for so long ends the connection with ETIMEDOUT
 * (TCP_USER_TIMEOUT); 0: as long as the system's settings say.  EINVAL; as setsockopt(2). */
int weft_io_user_timeout(int fd, int64_t ns);

/* Closes a TCP connection with a reset: what was not sent yet is dropped.  As weft_io_close. */
int weft_io_reset(int fd);

/* ---- Waiting, closing ---- */

/* Waits until fd, any that poll(2) takes, can be read (WEFT_READ) or written (WEFT_WRITE) or has
 * something urgent (WEFT_URGENT), and returns which.  Keeps nothing: it may be another's, of a
 * subprocess or a queue, say.  EINVAL: none of these events. */
int weft_io_wait(int fd, int events, weft_deadline d);

/* Closes fd; calls that wait for it fail with ECANCELED.  Does not wait.  As close(2); the
 * descriptor is closed also when that fails. */
int weft_io_close(int fd);

/* As close, but fd stays open, for others to use or close.  EBADF. */
int weft_io_forget(int fd);

/* shutdown(2): SHUT_WR tells the other end that nothing more will come.  Does not wait. */
int weft_io_shutdown(int fd, int how);

/* ---- Serving ---- */

typedef struct weft_io_serve_options {
    size_t max;        /* connections at once; 0: 10000.  More wait in the backlog */
    size_t stack_size; /* of a handler's tasklet; 0: 64 KiB */
    int64_t drain_ns;  /* how long handlers have after a stop; 0: no limit; below 0: none */
    const char *name;  /* of their tasklets */
    int64_t idle_ns;   /* how long nothing may come or go while it is waited for; 0: no limit */
    size_t rate;       /* connections a second; 0: no limit.  More wait in the backlog */
    size_t byte_rate;  /* of a connection in each direction, a second; 0: no limit.  More waits */
} weft_io_serve_options;

/* Accepts connections, each in a tasklet of its own that calls handler(fd, arg) and then closes fd,
 * unless the handler did, or forgot it.  Runs until weft_io_stop or weft_io_close of the listener,
 * then waits for the handlers, cancels those that are left after drain_ns, and returns 0.
 * ECANCELED: the caller was, and so are they; EINVAL: NULL, a negative idle_ns, or what does not
 * listen; EBUSY: another serves it; ENOMEM. */
int weft_io_serve(int listener, void (*handler)(int fd, void *arg), void *arg,
                  const weft_io_serve_options *opts);

/* Asks weft_io_serve to take what is in the backlog already, then no more, and ends a
 * weft_io_accept that waits.  The listener stays open.  Does not wait.  ENOENT: nobody serves or
 * accepts. */
int weft_io_stop(int listener);

#ifdef __cplusplus
}
#endif

#endif
