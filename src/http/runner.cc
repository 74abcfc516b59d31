// runner.cc: the tasklets that serve what is ready (server.h).
#include "server.h"

#include <string.h>

using namespace weft;

enum { IDLE_RUNNERS = 4 }; // kept, with their stacks

// ---- One connection ----

// One exchange.  A cancel was for its handler, but holds for all that this tasklet does: it serves
// nothing more.
static void answer(runner *r, exchange *x)
{
    if (r->out.begin != r->out.end)
        output_later(r);
    route_call(x);
    response_end(x);
    void **slot = weft_tasklet_slot();
    if (slot != nullptr)
        *slot = nullptr;
    if (is_cancelled(r->self) && !r->c->closing)
        r->c->closing = r->c->lingers = true;
}

// All requests that are there.  false: it ends.
static bool answer_all(runner *r, connection *c)
{
    while (!c->closing && !c->broken && bytes_count(&c->in) > 0) {
        int found = request_begin(r, c);
        if (found == 0)
            break;
        if (found > 0)
            answer(r, &r->x);
        if (bytes_count(&r->out) >= OUTPUT_MAX && output_flush(r, &r->x.go, WEFT_FOREVER) != 0)
            c->broken = c->reset = true;
    }
    return !c->closing && !c->broken;
}

// true: something came.
static bool receive(connection *c)
{
    ssize_t n = connection_receive(c);
    if (n > 0) {
        c->fresh = false;
        return true;
    }
    if (n == 0) {
        c->closing = true;
    } else if (errno != EAGAIN) {
        c->broken = true;
    }
    return false;
}

static void burst(runner *r, connection *c)
{
    pace_begin(r->home->server, &r->x.go);
    for (bool more = true; more;) {
        bool came = receive(c);
        more = came && bytes_free(&c->in) == 0;
        if (!answer_all(r, c))
            break;
        more = more || (came && r->home->stopping); // a last look: it is closed if nothing is there
        if (more)
            weft_tasklet_yield(); // it may never be empty
    }
    if (!c->broken && output_flush(r, &r->x.go, WEFT_FOREVER) != 0)
        c->broken = c->reset = true;
    if (r->push.state != 0)
        weft_task_cancel(&r->push);
    r->pushing = false;
    buffer_give(r->home->server, &r->out);
}

static void serve(runner *r, connection *c)
{
    c->state = IS_BUSY;
    c->spree = 0; // it was waited for
    c->now = 0;
    c->runner = r;
    r->c = c;
    burst(r, c);
    r->c = nullptr;
    if (c->closing || c->broken || c->reset)
        connection_end(c, c->lingers || bytes_count(&c->in) > 0);
    else
        connection_rest(c);
}

// ---- All of them ----

static connection *next_ready(serving *v)
{
    connection *c = v->ready;
    if (c == nullptr)
        return nullptr;
    v->ready = c->queued;
    if (v->ready == nullptr)
        v->ready_end = &v->ready;
    return c;
}

static void serve_ready(runner *r)
{
    serving *v = r->home;
    v->coming = false;
    for (connection *c; !v->over && !is_cancelled(r->self) && (c = next_ready(v)) != nullptr;) {
        if (v->ready != nullptr && !v->coming)
            runner_call(v);
        serve(r, c);
    }
    if (v->ready != nullptr && !v->over && !v->coming)
        runner_call(v);
}

// Until there is something.  -1: it is to end.
static int wait_for_call(runner *r)
{
    serving *v = r->home;
    if (v->over || v->idle_count >= IDLE_RUNNERS)
        return -1;
    r->idle = v->idle;
    v->idle = r;
    v->idle_count++;
    wait_for_event(WEFT_FOREVER);
    for (runner **at = &v->idle; *at != nullptr; at = &(*at)->idle)
        if (*at == r) { // it was cancelled, or all is over
            *at = r->idle;
            v->idle_count--;
            return -1;
        }
    return 0; // also if it was cancelled after it was called: others rely on it
}

static void release(runner *r)
{
    list_remove(r);
    bytes_release(&r->fields);
    bytes_release(&r->path);
    free(r->found);
    free(r);
}

static void *run(void *arg)
{
    runner *r = (runner *)arg;
    r->self = running_tasklet();
    do
        serve_ready(r);
    while (wait_for_call(r) == 0);
    release(r);
    return nullptr;
}

static bool spawn(serving *v)
{
    weft_http_server *s = v->server;
    weft_tasklet_options o = {};
    runner *r = (runner *)calloc(1, sizeof *r);
    if (r == nullptr)
        return false;
    size_t fields = s->o.limits.fields;
    r->home = v;
    r->found = (weft_http_field *)malloc(fields * sizeof *r->found);
    list_insert(&v->runners, r);
    o.name = "http";
    o.stack_size = s->o.stack_size;
    o.scope = &v->scope;
    if (r->found != nullptr && weft_tasklet_spawn(run, r, &o) != nullptr)
        return true;
    release(r);
    return false;
}

void weft::runner_call(serving *v)
{
    int saved = errno;
    runner *r = v->idle;
    if (r != nullptr) {
        v->idle = r->idle;
        v->idle_count--;
        end_wait(r->self, 0);
    }
    v->coming = r != nullptr || spawn(v);
    errno = saved;
}

void weft::runners_dismiss(serving *v)
{
    v->over = true;
    for (runner *r = v->idle; r != nullptr; r = r->idle)
        end_wait(r->self, 0);
}

void weft::runners_free(serving *v)
{
    for (runner *next, *r = v->runners.next; r != &v->runners; r = next) {
        next = r->next;
        release(r);
    }
}
