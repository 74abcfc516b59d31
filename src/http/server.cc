// server.cc: a server's options, its statistics, and serving a listener from begin to drain.
//
// Whoever calls weft_http_serve waits there for a stop and then for the last connection.  All
// runners are children of a scope in its frame, so none outlives the call, whatever ends it.
#include "server.h"
#include "text.h"

#include <signal.h>
#include <string.h>

using namespace weft;

static const int64_t SECOND = 1000000000;
static const int64_t MOST_NS = INT64_MAX / 16; // 18 years, so that sums with it are right

// ---- Making ----

static bool options_valid(const weft_http_server_options *o)
{
    return o->header_ns >= 0 && o->idle_ns >= 0 && o->grace_ns >= 0 &&
           (o->name == nullptr || is_field_value(o->name, strlen(o->name)));
}

template <class Number> static void set_default(Number *n, Number standard)
{
    if (*n == 0)
        *n = standard;
}

static void set_defaults(weft_http_server_options *o)
{
    set_default(&o->limits.line, (size_t)8 << 10);
    set_default(&o->limits.head, (size_t)32 << 10);
    set_default(&o->limits.fields, (size_t)100);
    set_default(&o->body, (size_t)1 << 20);
    set_default(&o->max, (size_t)10000);
    set_default(&o->header_ns, 10 * SECOND);
    set_default(&o->idle_ns, 60 * SECOND);
    set_default(&o->rate, (size_t)500);
    set_default(&o->grace_ns, 5 * SECOND);
    set_default(&o->drain_ns, 30 * SECOND);
    int64_t *const spans[] = {&o->header_ns, &o->idle_ns, &o->grace_ns, &o->drain_ns};
    for (int64_t *span : spans)
        *span = *span < MOST_NS ? *span : MOST_NS;
}

// The whole line of the field.
static int set_name(weft_http_server *s)
{
    static const char before[] = "Server: ";
    if (s->o.name == nullptr)
        return 0;
    size_t n = strlen(s->o.name), at = sizeof before - 1;
    s->name = (char *)malloc(at + n + 2);
    if (s->name == nullptr)
        return -1;
    memcpy(s->name, before, at);
    memcpy(s->name + at, s->o.name, n);
    memcpy(s->name + at + n, "\r\n", 2);
    s->name_size = at + n + 2;
    return 0;
}

static void release(weft_http_server *s)
{
    int saved = errno;
    for (size_t i = 0; s->addresses != nullptr && i < ADDRESS_BUCKETS; i++)
        for (address_count *next, *a = s->addresses[i]; a != nullptr; a = next) {
            next = a->next;
            free(a);
        }
    free(s->addresses);
    routes_free(s);
    buffers_free(s);
    free(s->name);
    free(s);
    errno = saved;
}

weft_http_server *weft_http_server_create(const weft_http_server_options *opts)
{
    weft_http_server_options o = {};
    if (opts != nullptr)
        o = *opts;
    if (!options_valid(&o))
        return (weft_http_server *)fail_null(EINVAL);
    set_defaults(&o);
    weft_http_server *s = (weft_http_server *)calloc(1, sizeof *s);
    if (s == nullptr)
        return nullptr;
    s->o = o;
    list_init(&s->servings);
    if (o.max_per_address > 0)
        s->addresses = (address_count **)calloc(ADDRESS_BUCKETS, sizeof *s->addresses);
    if ((o.max_per_address == 0 || s->addresses != nullptr) && set_name(s) == 0)
        return s;
    release(s);
    return nullptr;
}

int weft_http_server_destroy(weft_http_server *s)
{
    if (s == nullptr)
        return 0;
    if (!list_is_empty(&s->servings))
        return fail_with(EBUSY);
    release(s);
    return 0;
}

int weft_http_statistics(const weft_http_server *s, weft_http_counters *c)
{
    if (s == nullptr || c == nullptr)
        return fail_with(EINVAL);
    *c = s->stats;
    return 0;
}

// ---- Stopping ----

// Those that speak another protocol say in it that they go.
static void tell_upgraded(serving *v)
{
    for (connection *c = v->all.next; c != &v->all; c = c->next) {
        exchange *x = c->state == IS_BUSY ? &c->runner->x : nullptr;
        if (x != nullptr && x->raw && x->on_stop != nullptr)
            x->on_stop(x->stop_arg);
    }
}

int weft_http_stop(weft_http_server *s)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    if (list_is_empty(&s->servings))
        return fail_with(ENOENT);
    if (weft_loop_hold(s->servings.next->loop, 0) != 0) // EPERM: another thread's
        return -1;
    for (serving *v = s->servings.next; v != &s->servings; v = v->next) {
        if (v->stopping)
            continue;
        v->stopping = true;
        v->end = weft_in_ns(s->o.drain_ns);
        end_wait(v->self, 0);
        tell_upgraded(v);
    }
    return 0;
}

// Those that are idle may have sent something that has not been read yet: a last look, and they are
// closed.
static void look_once_more(serving *v)
{
    for (connection *next, *c = v->all.next; c != &v->all; c = next) {
        next = c->next;
        if (c->state != IS_IDLE || bytes_count(&c->in) > 0)
            continue;
        v->server->stats.idle--;
        connection_queue(c);
    }
}

// ---- Serving ----

// 0: stopped; -1: cancelled.
static int wait_for_stop(serving *v)
{
    while (!v->stopping)
        if (wait_for_event(WEFT_FOREVER) != 0)
            return -1;
    accept_end(v, true);
    look_once_more(v);
    while (v->count > 0)
        if (wait_for_event(v->end) != 0)
            return errno == ETIMEDOUT ? 0 : -1;
    return 0;
}

// Whatever is left ends.
static int end_all(serving *v, int result)
{
    int error = errno;
    v->stopping = true;
    accept_end(v, false);
    runners_dismiss(v);
    weft_scope_join(&v->scope, v->count > 0 || result != 0 ? WEFT_NOW : WEFT_FOREVER);
    while (v->all.next != &v->all)
        connection_close(v->all.next);
    runners_free(v);
    list_remove(v);
    return result != 0 ? fail_with(error) : 0;
}

static bool is_served(const weft_http_server *s, int listener)
{
    for (const serving *v = s->servings.next; v != &s->servings; v = v->next)
        if (v->listens == listener && !v->stopping)
            return true;
    return false;
}

static bool ignores_sigpipe(void)
{
    struct sigaction a;
    return sigaction(SIGPIPE, nullptr, &a) == 0 && !(a.sa_flags & SA_SIGINFO) &&
           a.sa_handler == SIG_IGN;
}

static int begin(serving *v, weft_http_server *s, int listener)
{
    v->server = s;
    v->listens = listener;
    v->ready_end = &v->ready;
    v->ignores_sigpipe = ignores_sigpipe();
    list_init(&v->all);
    list_init(&v->runners);
    v->loop = weft_io_loop();
    if (v->loop == nullptr)
        return -1;
    if (!list_is_empty(&s->servings) && s->servings.next->loop != v->loop)
        return fail_with(EBUSY);
    if (is_served(s, listener))
        return fail_with(EEXIST);
    v->self = weft_tasklet_self();
    if (v->self == nullptr || weft_scope_open(&v->scope) != 0)
        return -1;
    list_insert(&s->servings, v);
    if (accept_begin(v) == 0)
        return 0;
    int error = errno;
    list_remove(v);
    weft_scope_join(&v->scope, WEFT_NOW);
    return fail_with(error);
}

int weft_http_serve(weft_http_server *s, int listener)
{
    serving v;
    int saved = errno;
    if (s == nullptr)
        return fail_with(EINVAL);
    memset(&v, 0, sizeof v);
    if (begin(&v, s, listener) != 0)
        return -1;
    if (end_all(&v, wait_for_stop(&v)) != 0)
        return -1;
    errno = saved;
    return 0;
}
