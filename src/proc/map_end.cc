// map_end.cc: how commands of a map end, by themselves or not, and who is told.
#include "map.h"

#include <string.h>

#include <base/bytes.h>

using namespace weft;

enum { PATIENCE_MS = 200 };

static void forget_output(command *c)
{
    weft_buffer_free(&c->wrote[0]);
    weft_buffer_free(&c->wrote[1]);
}

// ---- Telling ----

static weft_subprocess_result result_of(const command *c)
{
    weft_subprocess_result r = {};
    r.status = c->status;
    r.incomplete = c->incomplete;
    r.ns = c->end - c->start;
    r.out = c->wrote[0];
    r.err = c->wrote[1];
    r.usage = c->usage;
    r.start = c->start;
    r.tries = c->tries;
    r.data = c->what.data;
    return r;
}

// What it takes of our memory, and not of a file.
static size_t kept_by(const command *c)
{
    return c->wrote[0].capacity + c->wrote[1].capacity;
}

void weft::batch_report(batch *b)
{
    while (b->first != nullptr && b->first->end != 0 && !b->silent) {
        command *c = b->first;
        weft_subprocess_result r = result_of(c);
        b->first = c->after;
        b->last = b->first != nullptr ? b->last : &b->first;
        b->queued--;
        b->kept -= kept_by(c);
        b->how->report(c->i, &r, c->error, b->how->arg);
        forget_output(c);
        command_push(&b->spare, c);
    }
}

// Whether it is to run once more.
static bool obey(batch *b, int verdict)
{
    if (verdict == WEFT_MAP_AGAIN && !b->halted)
        return true;
    b->halted = b->halted || verdict == WEFT_MAP_NO_MORE || verdict == WEFT_MAP_KILL;
    for (size_t k = 0; verdict == WEFT_MAP_KILL && k < b->count; k++)
        command_doom(command_of(b->running[k]), ECANCELED);
    return false;
}

static bool wants_again(batch *b, const command *c)
{
    if (b->how->ended == nullptr || b->silent)
        return false;
    weft_subprocess_result r = result_of(c);
    return obey(b, b->how->ended(c->i, &r, c->error, b->how->arg));
}

void weft::command_ended(batch *b, command *c)
{
    c->end = weft_now();
    if (wants_again(b, c)) {
        forget_output(c);
        c->end = 0;
        command_push(&b->waiting, c);
        return;
    }
    b->failed += c->error != 0 || c->status != 0;
    if (b->how->report != nullptr) {
        b->kept += kept_by(c);
    } else {
        forget_output(c);
        command_push(&b->spare, c);
    }
}

// ---- Ending ----

static void kill_at_once(command *c)
{
    c->killed = true;
    c->due = streams_kill_by(&c->p->s);
}

// Not even SIGKILL ends it: nobody waits for it, nor for what it writes.
static void abandon(command *c)
{
    streams_close(&c->p->s);
    c->f.awaited = nullptr;
    c->due = WEFT_FOREVER;
}

void weft::command_doom(command *c, int error)
{
    streams *s = &c->p->s;
    if (c->error != 0)
        return;
    c->due = WEFT_FOREVER;
    // One that ended just in time keeps its status: nobody is there to be killed.
    if (c->f.error == 0 && child_has_ended(&c->p->c))
        return;
    int saved = errno;
    c->error = error;
    if (s->kill_after > 0 && streams_ask_to_end(s) == 0)
        c->due = weft_in_ns(s->kill_after);
    else
        kill_at_once(c);
    errno = saved;
}

weft_deadline weft::batch_enforce(batch *b)
{
    weft_deadline first = WEFT_FOREVER;
    int64_t now = weft_now();
    int saved = errno;
    for (size_t k = 0; k < b->count; k++) {
        command *c = command_of(b->running[k]);
        if (c->f.error != 0)
            command_doom(c, c->f.error);
        if (c->due <= now && c->error == 0)
            command_doom(c, ETIMEDOUT);
        else if (c->due <= now && !c->killed)
            kill_at_once(c);
        else if (c->due <= now)
            abandon(c);
        first = flow_is_over(&c->f) ? now : c->due < first ? c->due : first;
    }
    errno = saved;
    return first;
}

static void fit(weft_buffer *b)
{
    char *fits = b->capacity > 0 ? (char *)realloc(b->data, b->size + 1) : nullptr;
    b->data = fits != nullptr ? fits : b->data;
    b->capacity = fits != nullptr ? b->size + 1 : b->capacity;
}

// What it wrote is there, with what others that have its pipes have written until now.
static void take_output(command *c)
{
    int saved = errno;
    c->incomplete = flow_end(&c->f) == 1;
    int error = streams_finish(&c->p->s);
    error = c->f.error != 0 ? c->f.error : error;
    c->error = c->error != 0 ? c->error : error;
    fit(&c->wrote[0]);
    fit(&c->wrote[1]);
    errno = saved;
}

void weft::batch_end(batch *b, size_t k)
{
    command *c = command_of(b->running[k]);
    int saved = errno;
    take_output(c);
    if (c->error != 0)
        streams_force_end(&c->p->s); // what is left of its group
    errno = saved;
    child_reap(&c->p->c, child_has_ended(&c->p->c) ? 0 : WNOHANG); // or it was abandoned
    c->status = c->p->c.status;
    c->usage = c->p->c.usage;
    if (c->p->c.lost && c->error == 0)
        c->error = ECHILD;
    give_up(c->p);
    c->p = nullptr;
    b->running[k] = b->running[--b->count];
    b->again = 0;
    b->asked = b->asked && b->how->next_fd >= 0;
    command_ended(b, c);
}

// ---- The end of all ----

static void free_list(command *c)
{
    while (c != nullptr)
        free(command_pop(&c));
}

void weft::batch_free(batch *b)
{
    int saved = errno;
    // For all, however many can't be stopped or killed.
    weft_deadline patience = weft_in_ms(PATIENCE_MS), by = WEFT_NOW;
    for (size_t k = 0; k < b->count; k++) {
        streams *s = &command_of(b->running[k])->p->s;
        s->relatives.patience = patience;
        weft_deadline one = streams_kill_by(s);
        by = one > by ? one : by;
    }
    while (b->count > 0) {
        command *c = command_of(b->running[--b->count]);
        streams_await_killed(&c->p->s, nullptr, by);
        give_up(c->p);
        forget_output(c);
        if (b->how->report == nullptr)
            free(c);
    }
    while (b->first != nullptr) {
        command *c = b->first;
        b->first = c->after;
        forget_output(c);
        free(c);
    }
    free_list(b->how->report == nullptr ? b->waiting : nullptr);
    free_list(b->spare);
    free(b->running);
    free(b->fds);
    errno = saved;
}
