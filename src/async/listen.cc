// listen.cc: listening sockets, whatever they are made from, and accept.
#include "address.h"
#include "descriptor.h"

#include <base/errno.h>
#include <base/poll.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

using namespace weft;

static const int LISTEN_FDS_START = 3; // sd_listen_fds(3)
static const char LOCK[] = ".lock";    // behind a path
static const int64_t LOCK_MS = 2000;   // what takes it has it for much less

static int backlog_of(const weft_io_listen_options *opts)
{
    return opts != nullptr && opts->backlog > 0 ? opts->backlog : SOMAXCONN;
}

static int whole_number(const char *text, int *n)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    long value = strtol(text, &end, 10);
    *n = (int)value;
    return *end == 0 && value <= 1 << 20 ? 0 : -1;
}

// ---- New sockets ----

static int give(int fd, int kind)
{
    return io_here != nullptr ? io_adopt(fd, kind) : fd;
}

// What has to be said before bind.  Only an option that was asked for may fail.
static int prepare(int fd, const struct addrinfo *a, const weft_io_listen_options *opts, int alone)
{
    int one = 1, result = 0;
    if (opts != nullptr && opts->reuse_port)
        result = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &alone, sizeof alone);
    if (a->ai_socktype == SOCK_STREAM) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return result;
}

// `alone`: IPv6 and not IPv4, too.
static int bind_one(const struct addrinfo *a, const weft_io_listen_options *opts, int alone = 0)
{
    bool tcp = a->ai_socktype == SOCK_STREAM;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return -1;
    if (prepare(fd, a, opts, alone) == 0 && bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
        (!tcp || listen(fd, backlog_of(opts)) == 0))
        return give(fd, tcp ? KIND_STREAM : KIND_SOCKET);
    close_keep_errno(&fd);
    return -1;
}

static int listen_host(endpoint *a, const weft_io_listen_options *opts)
{
    struct addrinfo *list;
    int fd = -1, saved = errno;
    bool all = strcmp(a->host, "*") == 0;
    if (all)
        memcpy(a->host, "::", 3); // and IPv4
    if (endpoint_resolve(a, AI_PASSIVE, &list, WEFT_FOREVER) != 0)
        return -1;
    for (const struct addrinfo *each = list; each != nullptr && fd < 0; each = each->ai_next)
        fd = bind_one(each, opts);
    int error = errno;
    freeaddrinfo(list);
    if (fd < 0 && all && (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)) {
        memcpy(a->host, "0.0.0.0", 8); // a machine without IPv6
        return listen_host(a, opts);
    }
    errno = fd < 0 ? error : saved;
    return fd;
}

// Whether the file of a unix socket is left over from someone who is gone.
static bool is_stale(const endpoint *a)
{
    struct stat s;
    if (stat(a->rest, &s) != 0 || !S_ISSOCK(s.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)&a->un, a->un_size) != 0 &&
                   errno == ECONNREFUSED;
    close_keep_errno(&fd);
    return refused;
}

static int bind_unix(int fd, const endpoint *a)
{
    int saved = errno, result = bind(fd, (const struct sockaddr *)&a->un, a->un_size);
    if (result != 0 && errno == EADDRINUSE && *a->rest != '@') {
        if (!is_stale(a))
            return fail_with(EADDRINUSE);
        unlink(a->rest);
        result = bind(fd, (const struct sockaddr *)&a->un, a->un_size);
        errno = result == 0 ? saved : errno;
    }
    return result;
}

static int open_lock(const char *name)
{
    int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW); // maybe a FIFO's name
    if (fd < 0 && errno == ENOENT)
        fd = open(name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
    return fd;
}

// Whether the lock is ours, and still the file that others find.
static bool has_lock(int fd, const char *name)
{
    struct stat mine, theirs;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno != EWOULDBLOCK; // one that can't be: as good as it gets
    return fstat(fd, &mine) == 0 && stat(name, &theirs) == 0 && mine.st_dev == theirs.st_dev &&
           mine.st_ino == theirs.st_ino;
}

// Between bind and listen a socket looks like a stale one, and who has found a stale one must not
// remove what another has put there since.  So all that is done under a lock: a file beside the
// path, for that long.  -1: EADDRINUSE, somebody does not let go of it.
static int take_lock(const char *name)
{
    int saved = errno;
    for (weft_deadline d = weft_in_ms(LOCK_MS); weft_left(d) > 0;) {
        int fd = open_lock(name);
        if (fd < 0 && errno != EEXIST) // ENOENT: there is no such folder
            return -1;
        if (fd >= 0 && has_lock(fd, name)) {
            errno = saved;
            return fd;
        }
        close_keep_errno(&fd);
        if (poll_until(nullptr, 0, weft_in_us(500)) != 0 && errno != ETIMEDOUT)
            return -1; // cancelled
    }
    return fail_with(EADDRINUSE);
}

static int listen_at(int fd, const endpoint *a, mode_t mode, int backlog)
{
    // The file is born with the socket's own mode, less the umask.
    if (fchmod(fd, mode) != 0 || bind_unix(fd, a) != 0)
        return -1;
    if (*a->rest != '@' && chmod(a->rest, mode) != 0)
        return -1;
    return listen(fd, backlog);
}

static int listen_at_path(int fd, const endpoint *a, mode_t mode, int backlog)
{
    char name[sizeof a->un.sun_path + sizeof LOCK];
    snprintf(name, sizeof name, "%s%s", a->rest, LOCK);
    int lock = take_lock(name);
    if (lock < 0)
        return -1;
    int result = listen_at(fd, a, mode, backlog), error = errno;
    unlink(name);
    close(lock);
    errno = error;
    return result;
}

static int listen_unix(const endpoint *a, const weft_io_listen_options *opts)
{
    mode_t mode = opts != nullptr && opts->mode != 0 ? (mode_t)opts->mode : 0600;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if ((*a->rest == '@' ? listen_at : listen_at_path)(fd, a, mode, backlog_of(opts)) == 0)
        return give(fd, KIND_SOCKET);
    close_keep_errno(&fd);
    return -1;
}

// ---- Inherited ones ----

static int inherit(int fd)
{
    int type, listens, one = 1, saved, flags = fcntl(fd, F_GETFL);
    socklen_t size = sizeof type;
    if (flags < 0)
        return -1;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 ||
        (!listens && type != SOCK_DGRAM))
        return fail_with(EINVAL);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return -1;
    saved = errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // as for new ones; others refuse it
    errno = saved;
    // Its kind is looked up at its first use.
    return give(fd, KIND_UNKNOWN);
}

// How many sockets systemd has passed to this process.
static int systemd_count(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    int count;
    if (pid == nullptr || fds == nullptr || atol(pid) != (long)getpid() ||
        whole_number(fds, &count) != 0)
        return 0;
    return count;
}

// Whether `name` is the number of that one, its name in LISTEN_FDNAMES, which colons part, or *.
static bool is_named(const char *name, int index)
{
    const char *names = getenv("LISTEN_FDNAMES");
    int number;
    if (whole_number(name, &number) == 0)
        return number == index;
    for (; index > 0 && names != nullptr; index--) {
        names = strchr(names, ':');
        names = names != nullptr ? names + 1 : nullptr;
    }
    size_t n = names != nullptr ? strcspn(names, ":") : 0;
    return strcmp(name, "*") == 0 ||
           (names != nullptr && n == strlen(name) && memcmp(names, name, n) == 0);
}

// Up to `room` of that name.  How many; -1: errno.
static ssize_t listen_systemd(const char *name, int *listeners, size_t room, bool all)
{
    size_t n = 0;
    for (int i = 0, count = systemd_count(); i < count && (all || n == 0); i++) {
        if (!is_named(name, i))
            continue;
        if (n == room)
            return fail_with(EINVAL);
        listeners[n] = inherit(LISTEN_FDS_START + i);
        if (listeners[n++] < 0)
            return -1;
    }
    return n > 0 ? (ssize_t)n : fail_with(ENOENT);
}

int weft_io_listen(const char *address, const weft_io_listen_options *opts)
{
    endpoint a;
    int fd;
    if (endpoint_parse(&a, address) != 0)
        return -1;
    if (opts != nullptr && (opts->backlog < 0 || (opts->mode & ~0777) != 0))
        return fail_with(EINVAL);
    switch (a.kind) {
    case ADDRESS_UNIX:
        return listen_unix(&a, opts);
    case ADDRESS_FD:
        return whole_number(a.rest, &fd) != 0 ? fail_with(EINVAL) : inherit(fd);
    case ADDRESS_SYSTEMD:
        return listen_systemd(a.rest, &fd, 1, false) < 0 ? -1 : fd;
    default:
        return listen_host(&a, opts);
    }
}

// ---- All addresses of a name ----

static bool lacks_family(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

static bool is_before(const struct addrinfo *list, const struct addrinfo *at)
{
    for (; list != at; list = list->ai_next)
        if (list->ai_addrlen == at->ai_addrlen &&
            memcmp(list->ai_addr, at->ai_addr, at->ai_addrlen) == 0)
            return true;
    return false;
}

// The port is where both families have it.
static void use_port(const struct sockaddr_storage *of, struct addrinfo *list)
{
    const size_t at = offsetof(struct sockaddr_in, sin_port);
    for (; list != nullptr; list = list->ai_next)
        memcpy((char *)list->ai_addr + at, (const char *)of + at, sizeof(in_port_t));
}

static void use_port_of(int fd, struct addrinfo *list)
{
    struct sockaddr_storage s;
    socklen_t size = sizeof s;
    if (getsockname(fd, (struct sockaddr *)&s, &size) == 0)
        use_port(&s, list);
}

static void close_all(const int *fds, size_t n)
{
    int saved = errno;
    for (size_t i = 0; i < n; i++)
        io_here != nullptr ? weft_io_close(fds[i]) : close(fds[i]);
    errno = saved;
}

static ssize_t bind_all(struct addrinfo *list, const weft_io_listen_options *opts, int *fds,
                        size_t room)
{
    size_t n = 0;
    for (struct addrinfo *a = list; a != nullptr; a = a->ai_next) {
        if (is_before(list, a))
            continue;
        int fd = n < room ? bind_one(a, opts, 1) : fail_with(EINVAL);
        if (fd < 0 && !lacks_family(errno)) {
            close_all(fds, n);
            return -1;
        }
        if (fd >= 0 && n == 0)
            use_port_of(fd, list);
        if (fd >= 0)
            fds[n++] = fd;
    }
    return n > 0 ? (ssize_t)n : -1;
}

ssize_t weft_io_listen_all(const char *address, const weft_io_listen_options *opts, int *listeners,
                           size_t room)
{
    enum { TRIES = 1000 }; // the port that one family has free the other may not, as it closed many
    const struct sockaddr_storage any_port = {};
    endpoint a;
    struct addrinfo *list;
    int saved = errno;
    ssize_t n = -1;
    if (endpoint_parse(&a, address) != 0)
        return -1;
    if (listeners == nullptr || room < 1)
        return fail_with(EINVAL);
    if (a.kind == ADDRESS_SYSTEMD)
        return listen_systemd(a.rest, listeners, room, true);
    if (a.kind > ADDRESS_UDP || strcmp(a.host, "*") == 0) {
        listeners[0] = weft_io_listen(address, opts);
        return listeners[0] < 0 ? -1 : 1;
    }
    if (opts != nullptr && (opts->backlog < 0 || (opts->mode & ~0777) != 0))
        return fail_with(EINVAL);
    if (endpoint_resolve(&a, AI_PASSIVE, &list, WEFT_FOREVER) != 0)
        return -1;
    n = bind_all(list, opts, listeners, room);
    for (int i = 1; n < 0 && errno == EADDRINUSE && strcmp(a.port, "0") == 0 && i < TRIES; i++) {
        use_port(&any_port, list);
        n = bind_all(list, opts, listeners, room);
    }
    int error = n < 0 ? errno : saved;
    freeaddrinfo(list);
    errno = error;
    return n;
}

// ---- Accepting ----

bool weft::is_of_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static ssize_t accept_one(int fd, descriptor *r, io_call *c)
{
    const int *stop = (const int *)c->data;
    if (stop != nullptr && *stop) {
        errno = ECANCELED;
        return -1;
    }
    if (r->blocking && !io_would_not_block(r, fd, WEFT_READ)) {
        errno = EAGAIN; // accept has no MSG_DONTWAIT
        return -1;
    }
    int got = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (got < 0 && is_of_connection(errno))
        errno = EINTR; // once more
    c->flags = r->kind;
    return got;
}

int weft::io_accept(int listener, const int *stop, weft_deadline d)
{
    io_call c = {accept_one, (void *)stop, 0, 0, nullptr, nullptr, false};
    ssize_t fd = io_do(listener, WEFT_READ, &c, d);
    return fd < 0 ? -1 : io_adopt((int)fd, c.flags);
}

int weft_io_accept(int listener, weft_deadline d)
{
    return io_accept(listener, nullptr, d);
}
