// Connecting and listening: every form of address, what is refused.
#include "inside.h"

#include <fcntl.h>
#include <initializer_list>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

// What a connect to the listener's own address sends arrives.
static void assert_reaches(int listener, const char *address)
{
    char text[128];
    if (address == nullptr) {
        assert_int_equal(weft_io_address(listener, WEFT_IO_LOCAL, text, sizeof text), 0);
        address = text;
    }
    errno = 77;
    int a = weft_io_connect(address, weft_in_s(20));
    assert_true(a >= 0);
    assert_int_equal(errno, 77);
    int b = weft_io_accept(listener, weft_in_s(20));
    assert_true(b >= 0);
    assert_int_equal(errno, 77);
    assert_int_equal(fcntl(a, F_GETFD) & fcntl(b, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(a, F_GETFL) & fcntl(b, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    char byte = 0;
    assert_int_equal(weft_io_write(a, "x", 1, WEFT_FOREVER), 1);
    assert_int_equal(weft_io_read(b, &byte, 1, WEFT_FOREVER), 1);
    assert_int_equal(byte, 'x');
    weft_io_close(a);
    weft_io_close(b);
}

INSIDE_CASE(test_tcp)
{
    int l = weft_io_listen("tcp:127.0.0.1:0", nullptr), one = 0;
    assert_true(l >= 0);
    assert_reaches(l, nullptr);
    char text[64], named[64];
    weft_io_address(l, WEFT_IO_LOCAL, text, sizeof text);
    snprintf(named, sizeof named, "tcp:localhost:%s", strrchr(text, ':') + 1);
    assert_reaches(l, named); // a name; where it is ::1 too, that is refused first
    socklen_t size = sizeof one;
    int fd = weft_io_connect(text, WEFT_FOREVER), peer = weft_io_accept(l, WEFT_FOREVER);
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, &size);
    assert_int_equal(one, 1);
    one = 0;
    getsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, &size);
    assert_int_equal(one, 1);
    assert_int_equal(weft_io_address(fd, WEFT_IO_PEER, named, sizeof named), 0);
    assert_string_equal(named, text);
    assert_errno(weft_io_address(fd, 5, named, sizeof named), EINVAL);
    assert_errno(weft_io_address(fd, WEFT_IO_PEER, nullptr, 0), EINVAL);
    assert_errno(weft_io_address(fd, WEFT_IO_PEER, named, 5), ENOBUFS);
    assert_errno(weft_io_address(l, WEFT_IO_PEER, named, sizeof named), ENOTCONN);
    weft_io_close(fd);
    weft_io_close(peer);
    weft_io_close(l);
}

INSIDE_CASE(test_tcp_all)
{
    char text[64], other[64];
    int l = weft_io_listen("tcp:*:0", nullptr);
    assert_true(l >= 0);
    weft_io_address(l, WEFT_IO_LOCAL, text, sizeof text);
    snprintf(other, sizeof other, "tcp:127.0.0.1:%s", strrchr(text, ':') + 1);
    assert_reaches(l, other);
    weft_io_close(l);
}

INSIDE_CASE(test_unix)
{
    char path[] = "/tmp/weft-io-XXXXXX", address[64];
    struct stat s;
    weft_io_listen_options o = {};
    close(mkstemp(path));
    unlink(path);
    snprintf(address, sizeof address, "unix:%s", path);
    int l = weft_io_listen(address, nullptr);
    assert_true(l >= 0);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_reaches(l, address);
    assert_errno(weft_io_listen(address, nullptr), EADDRINUSE);
    weft_io_close(l); // its file is left over
    assert_errno(weft_io_connect(address, WEFT_FOREVER), ECONNREFUSED);
    o.mode = 0666;
    l = weft_io_listen(address, &o);
    assert_true(l >= 0);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0666);
    assert_reaches(l, nullptr);
    weft_io_close(l);
    unlink(path);
    assert_errno(weft_io_connect(address, WEFT_FOREVER), ENOENT);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_errno(weft_io_listen(address, nullptr), EADDRINUSE); // never replaced: no socket
    assert_errno(weft_io_listen("unix:/nowhere/at/all", nullptr), ENOENT);
    unlink(path);
    snprintf(address, sizeof address, "unix:@weft-io-%d", (int)getpid());
    l = weft_io_listen(address, nullptr);
    assert_reaches(l, nullptr);
    weft_io_close(l);
}

// A unix socket's connect fails at once while the backlog is full.
INSIDE_CASE(test_unix_full_backlog)
{
    static char address[64];
    weft_io_listen_options o = {};
    o.backlog = 1;
    snprintf(address, sizeof address, "unix:@weft-full-%d", (int)getpid());
    int l = weft_io_listen(address, &o), fds[8], n = 0;
    while (n < 8 && (fds[n] = weft_io_connect(address, weft_in_ms(20))) >= 0)
        n++;
    assert_int_equal(errno, ETIMEDOUT);
    assert_true(n > 0 && n < 8);
    static int late;
    weft_tasklet *t = spawn([] { late = weft_io_connect(address, weft_in_s(20)); }, true);
    weft_tasklet_yield();
    for (int i = 0; i < n; i++) {
        weft_io_close(weft_io_accept(l, WEFT_FOREVER));
        weft_io_close(fds[i]);
    }
    join(t);
    assert_true(late >= 0);
    weft_io_close(late);
    weft_io_close(l);
}

// ---- Two that start on one path ----

enum { STARTS = 2000 };

struct start {
    const char *address;
    pthread_barrier_t *both;
    int listener, error;
};

static void *start_listening(void *arg)
{
    start *s = (start *)arg;
    pthread_barrier_wait(s->both);
    s->listener = weft_io_listen(s->address, nullptr);
    s->error = s->listener < 0 ? errno : 0;
    return nullptr;
}

// What a connect to the path reaches.
static bool reaches(int listener, const char *path)
{
    struct sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    strcpy(un.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool well = connect(fd, (struct sockaddr *)&un, sizeof un) == 0;
    int other = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    close(fd);
    return well && other >= 0 && close(other) == 0;
}

// Exactly one wins, whether what is there is left over, live or nothing.
CASE(test_two_start_on_one_path)
{
    char directory[] = "/tmp/weft-start-XXXXXX", path[64], address[80];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/socket", directory);
    snprintf(address, sizeof address, "unix:%s", path);
    pthread_barrier_t both;
    pthread_barrier_init(&both, nullptr, 2);
    for (int i = 0; i < STARTS; i++) {
        start s[2] = {{address, &both, -1, 0}, {address, &both, -1, 0}};
        pthread_t other;
        assert_int_equal(pthread_create(&other, nullptr, start_listening, &s[1]), 0);
        start_listening(&s[0]);
        pthread_join(other, nullptr);
        int winner = s[1].listener >= 0;
        if (s[!winner].listener >= 0 || s[!winner].error != EADDRINUSE || s[winner].error != 0)
            fail_msg("start %d: %d, %d; errors %d, %d", i, s[0].listener, s[1].listener, s[0].error,
                     s[1].error);
        assert_true(reaches(s[winner].listener, path));
        close(s[winner].listener);
        if (i % 8 == 0)
            unlink(path);
    }
    pthread_barrier_destroy(&both);
    unlink(path);
    assert_int_equal(rmdir(directory), 0); // nothing is left beside it
}

// One that holds the lock for long is about to listen, or was stopped when it was.
CASE(test_start_beside_one_that_holds_the_lock)
{
    char lock[] = "/tmp/weft-held-XXXXXX.lock", address[64];
    int fd = mkstemps(lock, 5);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    snprintf(address, sizeof address, "unix:%.*s", (int)strlen(lock) - 5, lock);
    assert_errno(weft_io_listen(address, nullptr), EADDRINUSE);
    close(fd); // one that has died leaves the file
    fd = weft_io_listen(address, nullptr);
    assert_true(fd >= 0);
    close(fd);
    unlink(address + 5);
    assert_errno(unlink(lock), ENOENT);
}

CASE(test_listen_before_run)
{
    static int l;
    l = weft_io_listen("tcp:localhost:0", nullptr);
    assert_true(l >= 0);
    inside([] { assert_reaches(l, nullptr); });
    close(l);
}

INSIDE_CASE(test_listen_inherited)
{
    char text[64];
    int l = socket(AF_INET, SOCK_STREAM, 0), p[2], one = 0;
    socklen_t size = sizeof one;
    listen(l, 5);
    snprintf(text, sizeof text, "fd:%d", l);
    assert_int_equal(weft_io_listen(text, nullptr), l);
    assert_int_equal(fcntl(l, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    assert_int_equal(fcntl(l, F_GETFD), FD_CLOEXEC);
    getsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, &size);
    assert_int_equal(one, 1);
    assert_reaches(l, nullptr);
    weft_io_close(l);
    assert_errno(weft_io_listen(text, nullptr), EBADF);
    assert_errno(weft_io_listen("fd:x", nullptr), EINVAL);
    assert_int_equal(pipe(p), 0);
    snprintf(text, sizeof text, "fd:%d", p[0]);
    assert_errno(weft_io_listen(text, nullptr), EINVAL);
    close_pair(p);
}

static bool is_none(ssize_t fd)
{
    return fd == -1 && errno == ENOENT;
}

// The numbers 3 and 4 are taken in the child.
static int listen_systemd(void)
{
    char pid[16];
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    int a = socket(AF_INET, SOCK_STREAM, 0), b = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    bool well = a == 3 && b == 4 && listen(a, 5) == 0 &&
                bind(b, (struct sockaddr *)&un, sizeof(sa_family_t)) == 0 && listen(b, 5) == 0;
    well = well && is_none(weft_io_listen("systemd:0", nullptr));
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "web:admin", 1);
    well = well && weft_io_listen("systemd:0", nullptr) == 3 &&
           weft_io_listen("systemd:admin", nullptr) == 4 &&
           weft_io_listen("systemd:web", nullptr) == 3;
    well = well && is_none(weft_io_listen("systemd:2", nullptr)) &&
           is_none(weft_io_listen("systemd:adm", nullptr));
    setenv("LISTEN_FDNAMES", "web:web", 1);
    int all[2] = {-1, -1};
    for (const char *name : {"systemd:web", "systemd:*"})
        well = well && weft_io_listen_all(name, nullptr, all, 2) == 2 && all[0] == 3 &&
               all[1] == 4 && weft_io_listen_all(name, nullptr, all, 1) == -1 && errno == EINVAL;
    well = well && weft_io_listen_all("systemd:1", nullptr, all, 2) == 1 && all[0] == 4 &&
           is_none(weft_io_listen_all("systemd:we", nullptr, all, 2));
    setenv("LISTEN_PID", "1", 1);
    return well && is_none(weft_io_listen("systemd:0", nullptr)) ? 0 : 1;
}

CASE(test_listen_systemd)
{
    assert_int_equal(end_of(child_of([](void *) { return listen_systemd(); }, nullptr)), 0);
}

INSIDE_CASE(test_listen_options)
{
    weft_io_listen_options o = {};
    char text[64];
    o.reuse_port = true;
    int a = weft_io_listen("tcp:127.0.0.1:0", &o);
    weft_io_address(a, WEFT_IO_LOCAL, text, sizeof text);
    int b = weft_io_listen(text, &o);
    assert_true(b >= 0);
    assert_errno(weft_io_listen(text, nullptr), EADDRINUSE);
    o.backlog = -1;
    assert_errno(weft_io_listen(text, &o), EINVAL);
    o = {};
    o.mode = 01777;
    assert_errno(weft_io_listen("unix:/tmp/x", &o), EINVAL);
    weft_io_close(a);
    weft_io_close(b);
}

INSIDE_CASE(test_addresses_that_are_none)
{
    char longest[300];
    for (const char *bad : {"", "tcp", "tcp:", "tcp:host", "tcp:host:", "tcp::80", "tcp:::1:80",
                            "tcp:[::1]", "unix:", "unix:@", "http:host:80", "tcp:[]:80",
                            "tcp:127.0.0.1:65536", "udp:127.0.0.1:99999"})
        if (weft_io_connect(bad, WEFT_FOREVER) != -1 || errno != EINVAL ||
            weft_io_listen(bad, nullptr) != -1 || errno != EINVAL)
            fail_msg("\"%s\" is not refused", bad);
    assert_errno(weft_io_connect(nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_io_connect("fd:3", WEFT_FOREVER), EINVAL);
    assert_errno(weft_io_connect_any(nullptr, WEFT_FOREVER), EINVAL);
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "unix:/", 6);
    longest[299] = 0;
    assert_errno(weft_io_listen(longest, nullptr), ENAMETOOLONG);
    assert_errno(weft_io_connect("tcp:127.0.0.1:no-such-service", WEFT_FOREVER), EINVAL);
}

INSIDE_CASE(test_connect_refused)
{
    char text[64];
    int l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    weft_io_address(l, WEFT_IO_LOCAL, text, sizeof text);
    weft_io_close(l);
    assert_errno(weft_io_connect(text, weft_in_s(20)), ECONNREFUSED);
}

INSIDE_CASE(test_accept_waits)
{
    static int l, error;
    l = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    assert_errno(weft_io_accept(l, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_io_accept(l, weft_in_ms(3)), ETIMEDOUT);
    assert_errno(weft_io_stop(l), ENOENT);
    weft_tasklet *t = spawn([] { error = weft_io_accept(l, WEFT_FOREVER) < 0 ? errno : 0; }, true);
    weft_tasklet_yield();
    assert_errno(weft_io_accept(l, WEFT_FOREVER), EBUSY);
    assert_int_equal(weft_io_stop(l), 0);
    join(t);
    assert_int_equal(error, ECANCELED);
    weft_io_close(l);
}

RUN_CASES()
