// pool_worker.cc: what a worker does: claim, call, finish, and wait for more.
//
// One idle worker at a time looks for work without sleeping for a while: a wake takes tens of
// microseconds, and most gaps are shorter.  The others sleep, each on its own bell.  The
// program wakes nobody for a single task while somebody looks; therefore the looker, once it
// has taken a task, looks whether there are more, and then wakes another.
#include "fork.h"
#include "pool_parent.h"

#include <base/errno.h>

#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/prctl.h>

using namespace weft;

namespace {
struct worker {
    weft_pool *pool;
    pool_shared *sh;
    pool_place *place;
    uint32_t number;
    uint64_t calls;
};
} // namespace

// The next slot in the queue, now this worker's.  Null: the queue is empty.
static pool_slot *claim(worker *w)
{
    pool_shared *sh = w->sh;
    for (;;) {
        uint64_t head = __atomic_load_n(&sh->head, __ATOMIC_ACQUIRE);
        if (head == __atomic_load_n(&sh->tail, __ATOMIC_ACQUIRE))
            return nullptr;
        // An entry that is overwritten meanwhile names a slot without this ticket.
        uint32_t i = __atomic_load_n(&sh->queue[head & sh->queue_mask], __ATOMIC_RELAXED);
        pool_slot *s = &sh->slot[i];
        __atomic_store_n(&w->place->intent, i, __ATOMIC_RELAXED); // the claim publishes it
        uint64_t state = slot_state(s), queued = state_queued(head);
        bool mine = false;
        // The two flags may come at any time; all else must be as it was queued.
        while (!mine && (state & ~(uint64_t)(SLOT_WAITED | SLOT_NOTIFY)) == queued)
            mine = __atomic_compare_exchange_n(&s->state, &state,
                                               (state & ~(uint64_t)SLOT_PHASE) | SLOT_RUNNING |
                                                   (uint64_t)w->number << SLOT_OWNER_SHIFT,
                                               false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
        // Taken, by us or another, or cancelled: whoever sees it moves the head.
        __atomic_compare_exchange_n(&sh->head, &head, head + 1, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
        if (mine)
            return s;
    }
}

static uint16_t call(worker *w, const pool_slot *s, uint64_t item)
{
    unsigned char *result = slot_result(s, item);
    if (s->result_size != 0)
        memset(result, 0, s->result_size);
    int code =
        s->fn(s->arguments + item * s->argument_size, s->argument_size, result, s->result_size);
    if (*w->pool->whose != POOL_WORKER)
        _exit(0); // a process that the task forked: it is no worker
    if (__fpending(stdout) != 0)
        fflush(stdout);
    if (code < 0 || code > 4095)
        code = EINVAL;
    if (code != 0 && s->result_size != 0)
        memset(result, 0, s->result_size);
    return (uint16_t)code;
}

// Makes the verdict on `item` stand.  With a time limit the supervisor may have taken it from us:
// then it has been decided that this process ends here.
static void advance(worker *w, pool_slot *s, uint64_t item)
{
    if (w->sh->task_ns == 0) {
        __atomic_store_n(&s->item, item + 1, __ATOMIC_RELEASE);
        return;
    }
    // Before the item moves: an old time never meets a new item.
    __atomic_store_n(&w->place->started, 0, __ATOMIC_RELEASE);
    uint64_t expected = item;
    if (!__atomic_compare_exchange_n(&s->item, &expected, item + 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        for (;;)
            pause();
}

static void run(worker *w, pool_slot *s)
{
    uint64_t count = s->count;
    for (uint64_t item = __atomic_load_n(&s->item, __ATOMIC_ACQUIRE); item < count; item++) {
        if (w->sh->task_ns != 0)
            __atomic_store_n(&w->place->started, weft_now(), __ATOMIC_RELEASE);
        uint16_t error = call(w, s, item);
        pool_verdict *v = slot_verdict(s, item);
        v->error = error;
        v->status = 0;
        w->calls++;
        __atomic_store_n(&w->place->calls_done, w->place->calls_done + 1, __ATOMIC_RELAXED);
        advance(w, s, item);
    }
    slot_finish(w->sh, s);
}

static bool nothing_to_do(const pool_shared *sh)
{
    return queue_empty(sh) && __atomic_load_n(&sh->phase, __ATOMIC_SEQ_CST) == POOL_OPEN;
}

// Looks for work without sleeping, unless another does.  Whether some came.
static bool look(worker *w)
{
    pool_shared *sh = w->sh;
    uint32_t nobody = 0;
    if (sh->spin_ns == 0 || !__atomic_compare_exchange_n(&sh->spinner, &nobody, w->number + 1,
                                                         false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        return false;
    int64_t until = weft_now() + sh->spin_ns;
    bool found;
    do {
        for (int i = 0; i < 64 && nothing_to_do(sh); i++)
            spin_pause();
        found = !nothing_to_do(sh);
    } while (!found && weft_now() < until);
    __atomic_store_n(&sh->spinner, 0, __ATOMIC_SEQ_CST);
    return found;
}

// SEQ_CST: either we see the new task here, or whoever queued it sees our bit.
static void sleep_on_bell(worker *w)
{
    uint64_t *word = &w->sh->asleep[w->number / 64], bit = (uint64_t)1 << w->number % 64;
    uint32_t bell = __atomic_load_n(&w->place->bell, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
    if (nothing_to_do(w->sh))
        futex_wait(&w->place->bell, bell, weft_in_s(1), 1);
    __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
}

[[noreturn]] static void leave(worker *w, int code)
{
    fflush(stdout);
    fflush(stderr);
    __atomic_store_n(&w->place->leaving, 1, __ATOMIC_RELEASE);
    _exit(code);
}

// The supervisor has blocked all signals and forgotten the program's handlers.
static void begin(worker *w)
{
    weft_pool *p = w->pool;
    prctl(PR_SET_PDEATHSIG, SIGKILL); // the supervisor has one thread: its end is the end
    if (getppid() != p->supervisor.pid)
        _exit(1);
    *p->whose = POOL_WORKER;
    __atomic_store_n(&w->place->pid, getpid(), __ATOMIC_RELEASE);
    close(p->control_fd);
    close(p->held);
    close(w->sh->done_fd);
    worker_of = w->sh;
    worker_tells = p->supervisor.pid;
    name_process(p->name[0] != 0 ? p->name : nullptr);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    int error = p->initialiser != nullptr ? p->initialiser(p->arg) : 0;
    if (*p->whose != POOL_WORKER)
        _exit(0);
    if (error != 0) {
        w->place->initialiser_error = error > 0 ? error : EINVAL;
        leave(w, 1);
    }
    __atomic_store_n(&w->place->ready, 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&w->sh->initialised, 1, __ATOMIC_RELAXED);
}

void weft::pool_work(weft_pool *p, uint32_t place)
{
    pool_shared *sh = p->shared;
    worker self = {p, sh, &sh->place[place], place, 0}, *w = &self;
    begin(w);
    if (w->place->inherits)
        run(w, &sh->slot[w->place->intent]);
    for (bool looked = false;;) {
        if (sh->tasks_per_child != 0 && w->calls >= sh->tasks_per_child)
            leave(w, 0);
        // Before the claim: what was queued before the pool closed is seen by it.
        bool open = __atomic_load_n(&sh->phase, __ATOMIC_ACQUIRE) == POOL_OPEN;
        pool_slot *s = claim(w);
        if (s != nullptr && looked && !queue_empty(sh))
            wake_a_worker(sh);
        looked = false;
        if (s != nullptr)
            run(w, s);
        else if (!open)
            leave(w, 0);
        else if (!(looked = look(w)))
            sleep_on_bell(w);
    }
}
