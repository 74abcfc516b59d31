// dump.cc: an executor as text (executor.h).
#include "crew.h"

#include <base/errno.h>
#include <base/symbol.h>

using namespace weft;

namespace {
struct seen_worker {
    const crew_worker *worker;
    pid_t thread;
    void *(*fn)(void *);
    void *arg;
    unsigned depth;
};
struct seen {
    int wanted, active, parked, blocked;
    size_t pending, count;
};
} // namespace

// Locked.
static void look_at(const crew_worker *w, seen_worker *to)
{
    to->worker = w;
    to->thread = weft_thread_id(w->thread);
    to->fn = __atomic_load_n(&w->runs, __ATOMIC_RELAXED);
    to->arg = __atomic_load_n(&w->with, __ATOMIC_RELAXED);
    to->depth = __atomic_load_n(&w->depth, __ATOMIC_RELAXED);
}

// Notes up to `room` workers.
static seen look(weft_executor *ex, seen_worker workers[], size_t room)
{
    take_lock(&ex->lock);
    seen all = {ex->wanted, ex->active, ex->parked, ex->blocked, count_pending(ex), 0};
    crew_worker *w = ex->workers;
    for (; w != nullptr && all.count < room; all.count++) {
        look_at(w, &workers[all.count]);
        w = w->next != ex->workers ? w->next : nullptr;
    }
    drop_lock(&ex->lock);
    return all;
}

static void print_task(FILE *out, void *(*fn)(void *), const void *arg)
{
    print_symbol(out, (const void *)fn);
    fprintf(out, "(%p)", arg);
}

static void print(FILE *out, const seen_worker *w)
{
    void *(*fn)(void *) = nullptr;
    void *arg = nullptr;
    size_t n = 0;
    fprintf(out, "  thread %d: ", (int)w->thread);
    if (w->depth == 0) {
        fputs("no task\n", out);
        return;
    }
    print_task(out, w->fn, w->arg);
    if (w->depth > 1)
        fprintf(out, ", above %u that wait for it", w->depth - 1);
    if (cycle_look(w->worker, &fn, &arg, &n)) {
        fputs(", waits for ", out);
        if (fn == nullptr)
            fputs("a promise", out);
        else
            print_task(out, fn, arg);
        if (n > 1)
            fprintf(out, " or %zu others", n - 1);
    }
    fputc('\n', out);
}

void weft_executor_dump(weft_executor *ex, FILE *out)
{
    enum { MOST = 1000 };
    int saved = errno;
    if (executor_refusal(ex) != 0 || out == nullptr)
        return;
    seen_worker *workers = (seen_worker *)malloc(MOST * sizeof *workers);
    call_or_leave(free, workers, [=] { // a cancel may act as it writes
        seen all = look(ex, workers, workers != nullptr ? MOST : 0);
        fprintf(out,
                "weft: the executor \"%s\": %d threads wanted, %d active, %d idle, %d waiting; "
                "%zu tasks pending\n",
                ex->name, all.wanted, all.active, all.parked, all.blocked, all.pending);
        for (size_t i = 0; i < all.count; i++)
            print(out, &workers[i]);
    });
    free(workers);
    errno = saved;
}
