// proxy.cc: servers behind the proxy: which of them is asked, and which are out.
//
// A server that fails so often in a row is out for a while; then it is asked again like the others,
// and one more failure takes it out once more.  The only server is never out: to ask is better than
// to refuse.
#include "proxy.h"
#include "text.h"

#include <weft/io.h>

#include <async/address.h>
#include <async/here.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

static const int64_t SECOND = INT64_C(1000000000), MOST_NS = INT64_MAX / 2;
static const size_t USUAL_MAX = 64, USUAL_FAILURES = 3;

// ---- Opening, closing ----

static int64_t span(int64_t ns, int64_t usual)
{
    if (ns == 0)
        ns = usual;
    return ns < MOST_NS ? ns : MOST_NS;
}

static void fill_in(weft_http_proxy_options *o)
{
    o->max = o->max != 0 ? o->max : USUAL_MAX;
    o->failures = o->failures != 0 ? o->failures : USUAL_FAILURES;
    o->idle_ns = span(o->idle_ns, 30 * SECOND);
    o->connect_ns = span(o->connect_ns, 5 * SECOND);
    o->answer_ns = span(o->answer_ns, 60 * SECOND);
    o->tunnel_ns = span(o->tunnel_ns, 600 * SECOND);
    o->out_ns = span(o->out_ns, 10 * SECOND);
}

static bool are_spans(const weft_http_proxy_options *o)
{
    return o->connect_ns >= 0 && o->answer_ns >= 0 && o->tunnel_ns >= 0 && o->out_ns >= 0;
}

static int server_init(proxy_server *s, const char *address, const weft_http_proxy_options *o)
{
    endpoint e;
    if (address == nullptr || endpoint_parse(&e, address) != 0 ||
        (e.kind != ADDRESS_TCP && e.kind != ADDRESS_UNIX) || strlen(address) >= sizeof s->address)
        return fail_with(EINVAL);
    memcpy(s->address, address, strlen(address) + 1);
    const char *host = e.kind == ADDRESS_TCP ? address + strlen("tcp:") : "localhost";
    size_t n = strlen(host);
    if (e.kind == ADDRESS_TCP && n > 3 && strcmp(host + n - 3, ":80") == 0)
        n -= 3;
    if (span_of(host, n, IS_TARGET) != n) // it becomes a field
        return fail_with(EINVAL);
    memcpy(s->host, host, n);
    return http_pool_init(&s->pool, o->max, o->max, o->idle_ns);
}

weft_http_proxy *weft_http_proxy_open(const char *const *addresses, size_t count,
                                      const weft_http_proxy_options *opts)
{
    size_t size;
    if (addresses == nullptr || count == 0 || (opts != nullptr && !are_spans(opts)))
        return fail_null(EINVAL);
    if (__builtin_mul_overflow(count, sizeof(proxy_server), &size) ||
        __builtin_add_overflow(size, sizeof(weft_http_proxy), &size))
        return fail_null(ENOMEM);
    weft_http_proxy *p = (weft_http_proxy *)calloc(1, size);
    if (p == nullptr)
        return fail_null(ENOMEM);
    if (opts != nullptr)
        p->o = *opts;
    fill_in(&p->o);
    p->count = count;
    p->servers = (proxy_server *)(p + 1);
    for (size_t i = 0; i < count; i++)
        if (server_init(&p->servers[i], addresses[i], &p->o) != 0) {
            while (i-- > 0)
                http_pool_end(&p->servers[i].pool);
            free_keep_errno(p);
            return nullptr;
        }
    return p;
}

int weft_http_proxy_destroy(weft_http_proxy *p)
{
    if (p == nullptr)
        return 0;
    if (p->busy > 0)
        return fail_with(EBUSY);
    for (size_t i = 0; i < p->count; i++)
        http_pool_end(&p->servers[i].pool);
    free_keep_errno(p);
    return 0;
}

// ---- Which is asked ----

static bool is_out(const weft_http_proxy *p, const proxy_server *s, int64_t now)
{
    return p->count > 1 && s->out > now;
}

static void note_failure(const weft_http_proxy *p, proxy_server *s)
{
    if (++s->failures >= p->o.failures)
        s->out = weft_in_ns(p->o.out_ns);
}

// The next that is in and was not asked by this job, from `turn` on; of those the one with the
// fewest requests, unless they are asked in turn.  nullptr: there is none.
static proxy_server *choose(weft_http_proxy *p, uint64_t job)
{
    int64_t now = weft_now();
    proxy_server *best = nullptr;
    for (size_t i = 0; i < p->count; i++) {
        proxy_server *s = &p->servers[(p->turn + i) % p->count];
        if (s->asked_by == job || is_out(p, s, now))
            continue;
        if (best == nullptr || (!p->o.in_turn && s->busy < best->busy))
            best = s;
    }
    if (best != nullptr) {
        p->turn = (size_t)(best - p->servers + 1) % p->count;
        best->asked_by = job;
    }
    return best;
}

// ---- The handler ----

// Ours, or nobody's: no server is to blame.
static bool is_own_fault(int error)
{
    return error == ENOMEM || error == ECANCELED || error == EMFILE || error == ENFILE;
}

// Whether another may be asked after this one failed.
static bool may_go_on(const proxy_job *j)
{
    const weft_http_head *h = j->x->head;
    if (j->body_read || j->heard || is_own_fault(errno))
        return false;
    if (!j->asked)
        return true;
    return (!j->linked || errno == ECONNRESET || errno == EPIPE) &&
           http_is_idempotent(h->method.at, h->method.size);
}

// Asks one server, over a new connection if one that was kept had ended.
static proxy_outcome ask(proxy_job *j)
{
    j->fresh = j->asked = j->heard = false;
    j->server->busy++;
    proxy_outcome is = proxy_pass(j);
    if (is == PROXY_STALE && may_go_on(j)) {
        j->fresh = true;
        j->p->done.again++;
        is = proxy_pass(j);
    }
    j->server->busy--;
    if (is != PROXY_DONE && !is_own_fault(errno))
        note_failure(j->p, j->server);
    return is;
}

// One after the other, until one answers.  (Another job may have a server asked by this one look as
// if it was not: so they are counted.)
static int ask_servers(proxy_job *j)
{
    int error = 0;
    for (size_t n = 0; n < j->p->count; n++) {
        j->server = choose(j->p, j->number);
        if (j->server == nullptr)
            break;
        j->p->done.again += n > 0;
        if (ask(j) == PROXY_DONE)
            return 0;
        error = errno;
        if (!may_go_on(j))
            break;
    }
    return error == ETIMEDOUT ? 504 : error == 0 || is_own_fault(error) ? 503 : 502;
}

static bool is_websocket(const weft_http_exchange *x)
{
    const weft_http_text *protocol = weft_http_find(x->head, "Upgrade");
    return x->head->upgrades && x->length == 0 && protocol != nullptr &&
           text_is(*protocol, "websocket") && strcmp(x->method, "GET") == 0;
}

void weft_http_proxy_handler(weft_http_exchange *x, void *proxy)
{
    weft_http_proxy *p = (weft_http_proxy *)proxy;
    if (x == nullptr || p == nullptr)
        return;
    proxy_job j = {};
    j.p = p;
    j.x = x;
    j.number = ++p->jobs;
    j.websocket = is_websocket(x);
    int saved = errno;
    p->busy++;
    int status = strcmp(x->method, "CONNECT") == 0 ? 501 : ask_servers(&j);
    p->busy--;
    p->done.failed += status > 501;
    if (status != 0 && x->status == 0)
        exchange_answer(x, status);
    errno = saved;
}

// ---- Checks, statistics ----

namespace {
struct check {
    weft_http_proxy *p;
    proxy_server *server;
    const char *path;
    weft_deadline d;
};
} // namespace

static bool answers_well(const check *c)
{
    char head[512];
    weft_http_head h;
    http_link *l = http_link_open(c->server->address, c->p->o.limits.fields, c->d);
    if (l == nullptr)
        return false;
    int n =
        snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: %.280s\r\nConnection: close\r\n\r\n",
                 c->path, c->server->host);
    struct iovec piece = {head, (size_t)n};
    bool well = http_link_send(l, &piece, 1, c->d) >= 0 &&
                http_link_head(l, &h, &c->p->o.limits, false, false, c->d) > 0 && h.status < 400;
    http_link_close(l);
    return well;
}

static void *check_one(void *arg)
{
    const check *c = (const check *)arg;
    bool well = answers_well(c);
    if (!well && errno == ECANCELED)
        return nullptr;
    c->server->failures = well ? 0 : c->p->o.failures;
    c->server->out = well ? WEFT_NOW : weft_in_ns(c->p->o.out_ns);
    return nullptr;
}

// At once: one that does not answer holds up no other.
static int check_all(weft_http_proxy *p, check *checks, const char *path, weft_deadline d)
{
    weft_scope s;
    weft_tasklet_options o = {};
    int result = 0;
    if (weft_scope_open(&s) != 0)
        return -1;
    o.name = "check";
    o.scope = &s;
    for (size_t i = 0; i < p->count && result == 0; i++) {
        checks[i] = {p, &p->servers[i], path, d};
        result = weft_tasklet_spawn(check_one, &checks[i], &o) != nullptr ? 0 : -1;
    }
    int error = errno;
    if (weft_scope_join(&s, WEFT_FOREVER) != 0)
        return -1;
    return result == 0 ? 0 : fail_with(error);
}

ssize_t weft_http_proxy_check(weft_http_proxy *p, const char *path, weft_deadline d)
{
    size_t n = path != nullptr ? strnlen(path, 200) : 0;
    if (p == nullptr || n == 0 || n == 200 || *path != '/' || span_of(path, n, IS_TARGET) != n)
        return fail_with(EINVAL);
    if (!in_io_run())
        return fail_with(EPERM);
    int saved = errno;
    check *checks = (check *)calloc(p->count, sizeof *checks);
    if (checks == nullptr)
        return fail_with(ENOMEM);
    p->busy++;
    int result = check_all(p, checks, path, d);
    p->busy--;
    free_keep_errno(checks);
    if (result != 0)
        return -1;
    ssize_t in = 0;
    for (size_t i = 0; i < p->count; i++)
        in += p->servers[i].out <= weft_now();
    errno = saved;
    return in;
}

int weft_http_proxy_statistics(const weft_http_proxy *p, weft_http_proxy_information *out)
{
    if (p == nullptr || out == nullptr)
        return fail_with(EINVAL);
    *out = p->done;
    out->servers = p->count;
    out->busy = p->busy;
    for (size_t i = 0; i < p->count; i++) {
        out->out += is_out(p, &p->servers[i], weft_now());
        out->idle += p->servers[i].pool.count;
    }
    return 0;
}
