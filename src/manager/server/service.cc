// service.cc: the server as a service: signals, the password's file, what systemd is told.
//
// systemd is told by the process that serves in its own name alone, not by one that another
// program has started for itself.
#include "server.h"

#include <base/errno.h>
#include <base/notify.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

using namespace weft;

// ---- The password ----

void weft::password_set(server *s, const char *text, size_t n)
{
    char *old = s->password;
    s->password = n > 0 ? (char *)memory_take(n + 1) : nullptr;
    if (n > 0) {
        memcpy(s->password, text, n);
        s->password[n] = 0;
    }
    s->o.password = s->password;
    memory_give(old);
}

// As much of the file as a password and its end may have.  How much; -1: errno.
static ssize_t read_start(int fd, char *text, size_t room)
{
    size_t n = 0;
    while (n < room) {
        ssize_t k = read(fd, text + n, room - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        if (k == 0)
            break;
        n += (size_t)k;
    }
    return (ssize_t)n;
}

int weft::password_load(server *s, int flags)
{
    char text[PASSWORD_MAX + 2];
    int fd = open(s->o.password_file, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0)
        return -1;
    ssize_t n = read_start(fd, text, sizeof text);
    close_keep_errno(&fd);
    if (n < 0)
        return -1;
    const char *end = (const char *)memchr(text, '\n', (size_t)n);
    size_t size = end != nullptr ? (size_t)(end - text) : (size_t)n;
    int result = 0;
    if (size == 0 || size > PASSWORD_MAX || memchr(text, 0, size) != nullptr)
        result = fail_with(EINVAL);
    else
        password_set(s, text, size);
    explicit_bzero(text, sizeof text);
    return result;
}

// ---- systemd ----

static void tell(const server *s, const char *state)
{
    if (s->is_service)
        notify(state);
}

static void on_watchdog(weft_alarm *a, void *arg)
{
    server *s = (server *)arg;
    tell(s, "WATCHDOG=1");
    weft_loop_arm(s->loop, a, 0, on_watchdog, s, weft_in_ns(notify_watchdog_ns()));
}

void weft::service_begin(server *s)
{
    s->is_service = (s->o.flags & WEFT_MANAGER_SIGNALS) != 0;
    tell(s, "READY=1");
    if (s->is_service && notify_watchdog_ns() > 0)
        on_watchdog(&s->watchdog, s);
}

void weft::service_end(server *s)
{
    if (s->watchdog.loop != nullptr)
        weft_loop_disarm(&s->watchdog);
    tell(s, "STOPPING=1");
}

// ---- Signals ----

// One that can't be read leaves the password as it is.  It must not hold us up, so no pipe.
static void reload(server *s)
{
    if (s->is_service)
        notify_reloading();
    if (password_load(s, O_NONBLOCK) != 0)
        fprintf(stderr, "weft-manager: %s: not read again: %s\n", s->o.password_file,
                errno == EINVAL ? "no password is in its first line" : strerror(errno));
    tell(s, "READY=1");
}

static void on_signal(weft_signal *signal, void *arg)
{
    server *s = (server *)arg;
    if (signal->signo == SIGHUP && s->o.password_file != nullptr)
        reload(s);
    else
        server_end(s);
}

// nohup(1) has it stay.
static bool is_ignored(int signo)
{
    struct sigaction now;
    return sigaction(signo, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

int weft::service_open(server *s)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    static_assert(sizeof signals / sizeof *signals == sizeof s->signals / sizeof *s->signals, "");
    if (!(s->o.flags & WEFT_MANAGER_SIGNALS))
        return 0;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (!(signals[i] == SIGHUP && s->o.password_file == nullptr && is_ignored(SIGHUP)) &&
            weft_loop_watch_signal(s->loop, &s->signals[i], signals[i], on_signal, s) != 0)
            return -1;
    return 0;
}
