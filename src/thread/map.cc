// map.cc: one function over an index range.
//
// The range is cut into pieces, and a counter gives them out.  The caller and one task
// per worker take pieces until none is left: no allocation or future per index, and a
// slow piece delays nobody else.  The tasks' futures lie in the caller's frame.  When
// the caller finds the counter at its end it takes back the tasks that no worker has
// begun and waits for the others: so a busy pool costs parallelism, never progress.
#include "crew.h"

#include <base/errno.h>

using namespace weft;

enum { FEW = 16, SHARES = 8 };

namespace {
struct map {
    weft_executor *ex;
    void (*each)(size_t, void *);          // either this
    void (*range)(size_t, size_t, void *); // or this
    void *arg;
    size_t n, chunk, pieces;
    weft_deadline d;
    size_t next; // atomic: the first piece not given out; `pieces` and more: the end
    int over;    // atomic: why an index was left out, or 0
};
} // namespace

// Whether the next index, which is there, is to be left out.  `stops`: by a stop of this thread,
// too.
static bool is_over(map *m, bool stops)
{
    int error = __atomic_load_n(&m->over, __ATOMIC_RELAXED);
    if (error == 0)
        error = weft_left(m->d) == 0 ? ETIMEDOUT : stops && weft_thread_stopping() ? ECANCELED : 0;
    if (error != 0)
        __atomic_store_n(&m->over, error, __ATOMIC_RELAXED);
    return error != 0;
}

// False: there was no piece left, it is over, or a piece has forked, and this is the child.
static bool take_piece(map *m, bool stops)
{
    if (is_inherited(m->ex))
        return false;
    // Relaxed: submit and wait order the tasks' memory, the pieces are independent.
    size_t piece = __atomic_fetch_add(&m->next, 1, __ATOMIC_RELAXED);
    if (piece >= m->pieces) {
        __atomic_store_n(&m->next, m->pieces, __ATOMIC_RELAXED); // far from overflow
        return false;
    }
    size_t begin = piece * m->chunk;
    size_t end = piece == m->pieces - 1 ? m->n : begin + m->chunk;
    for (size_t i = begin; i < end; i++) {
        if (is_over(m, stops))
            return false;
        if (m->range != nullptr) {
            m->range(begin, end, m->arg);
            break;
        }
        m->each(i, m->arg);
    }
    return true;
}

static void *take_pieces(void *arg)
{
    while (take_piece((map *)arg, false)) {
    }
    return nullptr;
}

// Queues the tasks.  0, or EPIPE.
static int spread(weft_executor *ex, weft_future tasks[], size_t n, map *m)
{
    take_lock(&ex->lock);
    int error = ex->closed ? EPIPE : 0;
    if (error == 0) {
        ex->inside++;
        collect(ex); // they are older
        for (size_t i = 0; i < n; i++) {
            future_make(&tasks[i], ex, take_pieces, m, FUTURE_OWNED | FUTURE_SILENT);
            backlog_add(ex, &tasks[i]);
        }
        wake_worker(ex);
    }
    drop_lock(&ex->lock);
    return error;
}

namespace {
struct spreading {
    weft_executor *ex;
    weft_future *tasks;
    size_t n;
    map *m;
    bool left; // a task has left its thread, and its piece undone
};
} // namespace

// Takes back what has not begun and waits for the rest; also when the caller leaves its thread in
// its own part.
static void gather(void *arg)
{
    spreading *s = (spreading *)arg;
    __atomic_store_n(&s->m->next, s->m->pieces, __ATOMIC_RELAXED);
    // In a forked child nobody is there to go on with them.
    for (size_t i = 0; i < s->n && !is_inherited(s->ex); i++) {
        weft_future *f = &s->tasks[i];
        size_t which;
        if (claim(s->ex, f)) {
            f->state = FUTURE_FINAL; // nobody else knows it any more
            continue;
        }
        future_await(&f, 1, WEFT_FOREVER, false, &which);
        s->left |= (future_state(f) & FUTURE_OUTCOME) == WEFT_FUTURE_CANCELLED;
        // A worker's watch sends the ending thread through the lock: let it out of there.
        lock_future(f);
        unlock_future(f);
    }
    if (is_inherited(s->ex))
        return;
    take_lock(&s->ex->lock);
    s->ex->inside--;
    tell_quiet(s->ex); // what was taken back never ran
    drop_lock(&s->ex->lock);
}

// The caller's own part, and the wait for the others.  0 or the errno.
static int take_part(spreading *s)
{
    call_or_leave(gather, s, [=] {
        while (take_piece(s->m, true)) {
        }
    });
    gather(s);
    if (is_inherited(s->ex))
        return EPERM;
    return s->m->over == 0 && s->left ? ECANCELED : s->m->over;
}

static int run(weft_executor *ex, map *m)
{
    weft_future few[FEW], *tasks = few;
    int refusal = executor_refusal(ex);
    if (refusal != 0)
        return fail_with(refusal);
    size_t threads = (size_t)__atomic_load_n(&ex->wanted, __ATOMIC_RELAXED);
    if (m->chunk == 0)
        m->chunk = m->n / (threads * SHARES) > 0 ? m->n / (threads * SHARES) : 1;
    m->pieces = m->n / m->chunk + (m->n % m->chunk != 0);
    size_t count = m->pieces == 0 ? 0 : m->pieces - 1 < threads ? m->pieces - 1 : threads;
    if (count > FEW) {
        tasks = (weft_future *)malloc(count * sizeof *tasks);
        if (tasks == nullptr)
            return -1;
    }
    int error = spread(ex, tasks, count, m);
    if (error == 0) {
        spreading all = {ex, tasks, count, m, false};
        error = take_part(&all);
    }
    if (tasks != few)
        free_keep_errno(tasks);
    return error == 0 ? 0 : fail_with(error);
}

int weft_executor_map(weft_executor *ex, void (*fn)(size_t i, void *arg), void *arg, size_t n,
                      weft_deadline d)
{
    map m = {ex, fn, nullptr, arg, n, 0, 0, d, 0, 0};
    return fn != nullptr ? run(ex, &m) : fail_with(EINVAL);
}

int weft_executor_map_ranges(weft_executor *ex, void (*fn)(size_t begin, size_t end, void *arg),
                             void *arg, size_t n, size_t chunk, weft_deadline d)
{
    map m = {ex, nullptr, fn, arg, n, chunk, 0, d, 0, 0};
    return fn != nullptr ? run(ex, &m) : fail_with(EINVAL);
}
