// status.cc: see status.h.
//
// Each worker copies its server's counters into a place of its own, four times a second; who is
// asked adds up all places.  What those who have ended did is kept by the master in one more, so
// that a reload or a crash takes nothing from the sums.
#include "status.h"

#include "../page.h"
#include "../verbs.h"

#include <weft/io.h>
#include <weft/loop.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PLACES = 1024 };
static const int64_t COPY_NS = 250000000;

struct status_place {
    pid_t pid; // 0: nobody's
    weft_http_counters now;
};

struct status_board {
    weft_http_counters ended;
    status_place places[PLACES];
};

static status_board *board;
static status_place *mine;
static weft_http_server *server;
static weft_alarm copy_alarm;

// ---- Counting ----

static void add(weft_http_counters *to, const weft_http_counters *c)
{
    to->connections += c->connections;
    to->idle += c->idle;
    to->accepted += c->accepted;
    to->refused += c->refused;
    to->requests += c->requests;
    for (int i = 0; i < 6; i++)
        to->status[i] += c->status[i];
    to->timeouts += c->timeouts;
    to->in += c->in;
    to->out += c->out;
    to->latency += c->latency;
    for (int i = 0; i < WEFT_HTTP_BUCKETS; i++)
        to->buckets[i] += c->buckets[i];
}

static void copy_mine(void)
{
    if (mine != nullptr)
        weft_http_statistics(server, &mine->now);
}

static weft_http_counters sum(void)
{
    copy_mine();
    weft_http_counters all = board->ended;
    for (status_place &p : board->places)
        if (__atomic_load_n(&p.pid, __ATOMIC_ACQUIRE) != 0)
            add(&all, &p.now);
    return all;
}

void status_open(void)
{
    board = (status_board *)mmap(nullptr, sizeof *board, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        options_fail("weft-async");
}

void status_ended(pid_t pid)
{
    for (status_place &p : board->places)
        if (p.pid == pid) {
            p.now.connections = p.now.idle = 0;
            add(&board->ended, &p.now);
            p.now = {};
            __atomic_store_n(&p.pid, 0, __ATOMIC_RELEASE);
        }
}

static void take_place(void)
{
    for (status_place &p : board->places) {
        pid_t nobody = 0;
        if (__atomic_compare_exchange_n(&p.pid, &nobody, getpid(), false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
            mine = &p;
            return;
        }
    }
}

// ---- Texts ----

struct text {
    size_t size;
    char at[8192];
};

static __attribute__((format(printf, 2, 3))) void say(text *t, const char *form, ...)
{
    va_list args;
    va_start(args, form);
    int n = vsnprintf(t->at + t->size, sizeof t->at - t->size, form, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof t->at - t->size)
        t->size += (size_t)n;
}

static void say_numbers(text *t, const uint64_t *numbers, int n)
{
    for (int i = 0; i < n; i++)
        say(t, "%s%" PRIu64, i > 0 ? "," : "", numbers[i]);
}

static void say_json(text *t, const weft_http_counters *c)
{
    say(t,
        "{\"ms\":%lld,\"connections\":%zu,\"idle\":%zu,\"accepted\":%" PRIu64
        ",\"refused\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"timeouts\":%" PRIu64 ",\"in\":%" PRIu64
        ",\"out\":%" PRIu64 ",\"status\":[",
        (long long)(weft_now() / 1000000), c->connections, c->idle, c->accepted, c->refused,
        c->requests, c->timeouts, c->in, c->out);
    say_numbers(t, c->status, 6);
    say(t, "],\"buckets\":[");
    say_numbers(t, c->buckets, WEFT_HTTP_BUCKETS);
    say(t, "]}");
}

static void say_metric(text *t, const char *name, const char *type, const char *help, double value)
{
    say(t, "# HELP weft_http_%s %s\n# TYPE weft_http_%s %s\nweft_http_%s %.17g\n", name, help, name,
        type, name, value);
}

// The buckets of Prometheus are cumulative, and in seconds.
static void say_latency(text *t, const weft_http_counters *c)
{
    const char *name = "weft_http_request_duration_seconds";
    uint64_t all = 0;
    say(t, "# HELP %s From a whole request's head to its handler's return.\n# TYPE %s histogram\n",
        name, name);
    for (int i = 0; i < WEFT_HTTP_BUCKETS; i++) {
        all += c->buckets[i];
        if (i < 26) // to half a minute
            say(t, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)(1ull << i) / 1e6, all);
    }
    say(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9f\n%s_count %" PRIu64 "\n", name, all,
        name, (double)c->latency / 1e9, name, all);
}

static void say_metrics(text *t, const weft_http_counters *c)
{
    static const char *const kinds[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    say_metric(t, "connections", "gauge", "Open connections.", (double)c->connections);
    say_metric(t, "connections_idle", "gauge", "Of these: without a request.", (double)c->idle);
    say_metric(t, "accepted_total", "counter", "Connections so far.", (double)c->accepted);
    say_metric(t, "refused_total", "counter", "Connections that were too many.",
               (double)c->refused);
    say_metric(t, "timeouts_total", "counter", "Clients that were too slow.", (double)c->timeouts);
    say_metric(t, "received_bytes_total", "counter", "Bytes that came.", (double)c->in);
    say_metric(t, "sent_bytes_total", "counter", "Bytes that went.", (double)c->out);
    say(t, "# HELP weft_http_requests_total Requests, by their responses.\n"
           "# TYPE weft_http_requests_total counter\n");
    for (int i = 0; i < 6; i++)
        say(t, "weft_http_requests_total{code=\"%s\"} %" PRIu64 "\n", kinds[i], c->status[i]);
    say_latency(t, c);
}

// ---- Pages: for this machine's own clients alone ----

static bool is_local(const weft_http_exchange *x)
{
    char peer[128];
    return weft_http_peer(x, peer, sizeof peer) == 0 &&
           (strncmp(peer, "tcp:127.", 8) == 0 || strncmp(peer, "tcp:[::1]", 9) == 0 ||
            strncmp(peer, "tcp:[::ffff:127.", 16) == 0 || strncmp(peer, "unix:", 5) == 0);
}

static bool refused(weft_http_exchange *x)
{
    if (is_local(x))
        return false;
    weft_http_reply(x, 403, "text/plain", "for this machine alone\n", 23);
    return true;
}

static void page(weft_http_exchange *x, void *)
{
    if (!refused(x))
        page_reply(x, status_page);
}

static void metrics(weft_http_exchange *x, void *)
{
    if (refused(x))
        return;
    text t = {};
    weft_http_counters all = sum();
    say_metrics(&t, &all);
    weft_http_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", t.at, t.size);
}

// Each second the sums, until the client goes or the server drains.
static void events(weft_http_exchange *x, void *)
{
    if (refused(x))
        return;
    do {
        text t = {};
        weft_http_counters all = sum();
        say_json(&t, &all);
        t.at[t.size] = 0;
        if (weft_http_event(x, nullptr, nullptr, t.at, weft_in_s(10)) != 0)
            return;
    } while (weft_http_stopping(x) == 0 && weft_tasklet_sleep(weft_in_s(1)) == 0);
}

void status_begin(weft_http_server *s)
{
    server = s;
    take_place();
    if (weft_http_route(s, "GET", "/.weft/status", page, nullptr) != 0 ||
        weft_http_route(s, "GET", "/.weft/events", events, nullptr) != 0 ||
        weft_http_route(s, "GET", "/.weft/metrics", metrics, nullptr) != 0 ||
        weft_loop_arm(
            weft_io_loop(), &copy_alarm, COPY_NS, [](weft_alarm *, void *) { copy_mine(); },
            nullptr, weft_in_ns(COPY_NS)) != 0)
        options_fail("weft-async: the status");
}

void status_end(void)
{
    weft_loop_disarm(&copy_alarm);
    copy_mine();
    mine = nullptr;
}
