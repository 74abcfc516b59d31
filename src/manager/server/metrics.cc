// metrics.cc: figures for Prometheus, over HTTP: GET /metrics (its text format 0.0.4).
//
// There is no name, key or value of anybody's in it, so whoever can connect may look.  Who asks is
// served by the same loop, is answered once, and is cut after TIME_LIMIT however it reads: a reply
// waits in memory of its own, and no more than SCRAPERS are there at once.
#include "page.h"
#include "topic.h"

#include <base/errno.h>
#include <weft/io.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace weft;

enum { SCRAPERS = 8, REQUEST_ROOM = 4096 };
static const int64_t TIME_LIMIT = 10000000000;

namespace weft {
struct scraper {
    scraper *next, *previous;
    weft_watch watch;
    weft_alarm limit;
    metrics *of;
    char request[REQUEST_ROOM];
    size_t n;   // of the request
    bool asked; // it has said all: what comes now is left aside
    page reply;
    size_t sent;
};

struct metrics {
    server *of;
    weft_listener listener;
    socket_file file;
    char address[160];
    scraper all; // the list's head
    int count;
};
} // namespace weft

// ---- The figures ----

static void print_kind(page *out, const char *name, const char *kind, const char *help)
{
    print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void print_one(page *out, const char *name, const char *kind, const char *help, double value)
{
    print_kind(out, name, kind, help);
    print(out, "%s %.17g\n", name, value);
}

static double calls_of(const command_counts *n)
{
    return (double)n->calls;
}

static double seconds_of(const command_counts *n)
{
    return (double)n->ns / 1e9;
}

static double failed_of(const command_counts *n)
{
    return (double)n->failed;
}

static double rejected_of(const command_counts *n)
{
    return (double)n->rejected;
}

static void print_command(page *out, const char *name, const command_row *c,
                          double (*figure)(const command_counts *n))
{
    if (c->counts.calls + c->counts.rejected > 0)
        print(out, "%s{command=\"%s\"} %.17g\n", name, c->name, figure(&c->counts));
}

static void print_commands(page *out)
{
    static const struct {
        const char *name, *help;
        double (*figure)(const command_counts *n);
    } figures[] = {
        {"weft_manager_commands_total", "Commands that ran.", calls_of},
        {"weft_manager_command_seconds_total", "How long commands ran.", seconds_of},
        {"weft_manager_command_errors_total", "Commands that ran and told an error.", failed_of},
        {"weft_manager_commands_rejected_total", "Commands that were not run.", rejected_of}};
    for (const auto &each : figures) {
        print_kind(out, each.name, "counter", each.help);
        for (int i = 0; i < commands_count; i++) {
            const command_row *c = &commands[i];
            print_command(out, each.name, c, each.figure);
            for (c = c->below; c != nullptr && c->name != nullptr; c++)
                print_command(out, each.name, c, each.figure);
        }
    }
}

static void print_keys(page *out, const server *s)
{
    print_kind(out, "weft_manager_keys", "gauge", "Keys of a database.");
    for (int db = 0; db < DATABASES; db++)
        if (s->keys[db].count > 0)
            print(out, "weft_manager_keys{db=\"%d\"} %zu\n", db, s->keys[db].count);
    print_kind(out, "weft_manager_keys_expiring", "gauge", "Keys of a database that will expire.");
    for (int db = 0; db < DATABASES; db++)
        if (s->expiring[db] > 0)
            print(out, "weft_manager_keys_expiring{db=\"%d\"} %zu\n", db, s->expiring[db]);
}

static double cpu_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void print_all(page *out, server *s)
{
    const struct {
        const char *name, *kind, *help;
        double value;
    } figures[] = {
        {"weft_manager_uptime_seconds", "gauge", "Since the server began.",
         (double)(weft_now() - s->started) / 1e9},
        {"weft_manager_clients", "gauge", "Connected clients.", (double)s->count},
        {"weft_manager_clients_blocked", "gauge", "Clients that wait in a command.",
         (double)s->waiting},
        {"weft_manager_clients_limit", "gauge", "Clients that may be connected.",
         (double)s->o.max_clients},
        {"weft_manager_connections_total", "counter", "Clients that have connected.",
         (double)s->connections},
        {"weft_manager_connections_refused_total", "counter", "Clients that were sent away.",
         (double)s->refused},
        {"weft_manager_memory_bytes", "gauge", "Bytes held, as maxmemory counts them.",
         (double)bytes_in_use},
        {"weft_manager_memory_limit_bytes", "gauge", "maxmemory; 0: no limit.",
         (double)s->o.max_memory},
        {"weft_manager_keys_expired_total", "counter", "Keys that have expired.",
         (double)s->expired},
        {"weft_manager_key_hits_total", "counter", "Keys that were read and there.",
         (double)s->hits},
        {"weft_manager_key_misses_total", "counter", "Keys that were read and not there.",
         (double)s->misses},
        {"weft_manager_channels", "gauge", "Channels with subscribers.",
         (double)topics_in(s, &s->channels)},
        {"weft_manager_patterns", "gauge", "Patterns with subscribers.",
         (double)topics_in(s, &s->patterns)},
        {"weft_manager_locks", "gauge", "Locks that are held.", (double)s->locks},
        {"weft_manager_places", "gauge",
         "Names known beside the keys: queues, locks, semaphores, barriers, events, jobs.",
         (double)s->places.count},
        {"weft_manager_last_save_timestamp_seconds", "gauge",
         "When it was last saved, or else began.", (double)s->save.last},
        {"weft_manager_last_save_success", "gauge", "0: the last try to save it has failed.",
         s->save.error == 0 ? 1.0 : 0.0},
        {"process_resident_memory_bytes", "gauge", "Bytes of the process in memory.",
         (double)memory_resident()},
        {"process_cpu_seconds_total", "counter", "User and system time.", cpu_seconds()}};
    for (const auto &each : figures)
        print_one(out, each.name, each.kind, each.help, each.value);
    print_keys(out, s);
    print_commands(out);
}

// ---- HTTP ----

static void scraper_free(scraper *r)
{
    int fd = r->watch.fd;
    weft_loop_unwatch(&r->watch);
    if (r->limit.loop != nullptr)
        weft_loop_disarm(&r->limit);
    close(fd);
    list_remove(r);
    r->of->count--;
    memory_give(r->reply.text);
    memory_give(r);
}

static void on_limit(weft_alarm *, void *arg)
{
    scraper_free((scraper *)arg);
}

static bool begins(const scraper *r, const char *with)
{
    return strncmp(r->request, with, strlen(with)) == 0;
}

// The request's head is complete, or too long.
static void answer(scraper *r, bool whole)
{
    page body = {};
    const char *status = "200 OK", *target = strchr(r->request, ' ');
    bool head = begins(r, "HEAD ");
    size_t n = target != nullptr ? strcspn(++target, "? \r\n") : 0;
    if (!whole)
        status = "431 Request Header Fields Too Large";
    else if (!head && !begins(r, "GET "))
        status = "405 Method Not Allowed\r\nAllow: GET, HEAD";
    else if (n != 8 || memcmp(target, "/metrics", 8) != 0)
        status = "404 Not Found";
    else
        print_all(&body, r->of->of);
    if (body.n == 0)
        print(&body, "%.3s\n", status);
    print(&r->reply,
          "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
          "Content-Length: %zu\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s",
          status, body.n, head ? "" : body.text);
    memory_give(body.text);
    r->asked = true;
}

// false: it has ended.
static bool hear(scraper *r)
{
    if (r->asked)
        r->n = 0;
    ssize_t n = recv(r->watch.fd, r->request + r->n, sizeof r->request - 1 - r->n, 0);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    r->n += (size_t)n;
    if (r->asked)
        return true;
    r->request[r->n] = 0;
    bool whole =
        strlen(r->request) == r->n && // else a byte of it is 0
        (strstr(r->request, "\r\n\r\n") != nullptr || strstr(r->request, "\n\n") != nullptr);
    if (whole || r->n == sizeof r->request - 1)
        answer(r, whole);
    return true;
}

// false: it has ended.
static bool say(scraper *r)
{
    ssize_t n = send(r->watch.fd, r->reply.text + r->sent, r->reply.n - r->sent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    r->sent += (size_t)n;
    if (r->sent == r->reply.n)
        shutdown(r->watch.fd, SHUT_WR); // it closes; if we did, what it still sends would reset it
    return true;
}

static void on_event(weft_watch *w, int events, void *arg)
{
    scraper *r = (scraper *)arg;
    bool good = !(events & (WEFT_READ | WEFT_ERROR)) || hear(r);
    if (good && r->sent < r->reply.n)
        good = say(r);
    if (good)
        weft_watch_change(w, r->sent < r->reply.n ? WEFT_READ | WEFT_WRITE : WEFT_READ);
    else
        scraper_free(r);
}

static void on_connect(weft_listener *, int fd, void *arg)
{
    metrics *m = (metrics *)arg;
    scraper *r = nullptr;
    weft_loop *loop = m->of->loop;
    if (m->count < SCRAPERS)
        r = (scraper *)memory_take_zeroed(1, sizeof *r);
    if (r == nullptr || weft_loop_watch(loop, &r->watch, fd, WEFT_READ, on_event, r) != 0) {
        close(fd);
        memory_give(r);
        return;
    }
    r->of = m;
    list_insert(&m->all, r);
    m->count++;
    weft_loop_arm(loop, &r->limit, 0, on_limit, r, weft_in_ns(TIME_LIMIT));
}

// ---- Opening ----

const char *weft::metrics_address(const server *s)
{
    return s->metrics->address;
}

int weft::metrics_open(server *s)
{
    const char *address = s->o.metrics;
    if (address == nullptr || *address == 0)
        return 0;
    if (strncmp(address, "unix:", 5) != 0 && strncmp(address, "tcp:", 4) != 0)
        return fail_with(EINVAL);
    int fd = weft_io_listen(address, nullptr);
    if (fd < 0)
        return -1;
    metrics *m = (metrics *)memory_take_zeroed(1, sizeof *m);
    s->metrics = m;
    m->of = s;
    list_init(&m->all);
    m->listener.watch.fd = fd;
    return weft_io_address(fd, WEFT_IO_LOCAL, m->address, sizeof m->address) < 0 ||
                   socket_file_note(&m->file, m->address) != 0 ||
                   weft_loop_listen(s->loop, &m->listener, fd, on_connect, m) != 0
               ? -1
               : 0;
}

void weft::metrics_close(server *s)
{
    metrics *m = s->metrics;
    if (m == nullptr)
        return;
    int fd = m->listener.watch.fd;
    socket_file_remove(&m->file);
    if (m->listener.watch.loop != nullptr)
        weft_loop_unlisten(&m->listener);
    close(fd);
    for (scraper *next, *each = m->all.next; each != &m->all; each = next) {
        next = each->next;
        scraper_free(each);
    }
    memory_give(m);
    s->metrics = nullptr;
}
