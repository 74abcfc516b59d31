// queue_any.cc: getting from several queues.
//
// Who waits has a node on the list of each, and all tell one word, on which it sleeps.  When it is
// up it takes them all off, an item from the first that has one, and passes on wakes that it has no
// use for.
#include "queue.h"

using namespace weft;

enum { FEW = 8 };

// A thread that gets from any of n, with a node for each to wait there.
struct choice {
    weft_queue *const *queues;
    size_t n;
    waiter *nodes;
    void *item;
    bool got; // in passing
    size_t which;
    uint32_t generation; // in which it came
    uint32_t word;       // what it sleeps on
};

// One of n by chance, so that a busy queue leaves none out.
static size_t any_of(size_t n)
{
    static __thread uint64_t dice;
    dice = dice * 6364136223846793005u + (uintptr_t)&dice + 1;
    return (size_t)((dice >> 32) * n >> 32);
}

// Looks into each: 0: got; EAGAIN; EPIPE: all are at their end; what enter says.
static int take_any(choice *c)
{
    size_t first = any_of(c->n), ended = 0;
    for (size_t i = 0; i < c->n; i++) {
        c->which = (first + i) % c->n;
        weft_queue *q = c->queues[c->which];
        if (!enter_to_get(q))
            return errno;
        bool got = store_filled(&q->store) > 0;
        if (got)
            take(q, c->item);
        ended += !got && q->closed;
        leave_get(q);
        if (got)
            return 0;
    }
    return ended == c->n ? EPIPE : EAGAIN;
}

// One more waits in each, or one less, for destroy.
static void count_in(const choice *c, bool more)
{
    if (c->generation != fork_generation)
        return; // nor does it count here
    for (size_t i = 0; i < c->n; i++) {
        weft_queue *q = c->queues[i];
        take_lock(q->getting);
        if (more)
            q->store.out.inside++;
        else
            quit(&q->store.out, c->generation);
        drop_lock(q->getting);
    }
}

// Puts a node on each list.  False: there is something to get, or never will be.
static bool lie_down(choice *c)
{
    size_t ended = 0, found = 0;
    c->word = 0;
    for (size_t i = 0; i < c->n; i++) {
        weft_queue *q = c->queues[i];
        take_lock(q->putting);
        waiters_add(&q->store.in.sleepers, &c->nodes[i]);
        c->nodes[i].also = &c->word;
        found += items_of(q) > 0;
        ended += q->closed != 0;
        drop_lock(q->putting);
    }
    return found == 0 && ended < c->n;
}

// Takes the node off, and says whether it is worth a look.  A wake that was spent on us where we
// `want` nothing any more goes to another.
static bool rise(const choice *c, size_t i, bool want)
{
    weft_queue *q = c->queues[i];
    take_lock(q->putting);
    if (c->nodes[i].woken == 0)
        list_remove(&c->nodes[i]);
    else if (!want && items_of(q) > 0)
        waiters_wake_one(&q->store.in.sleepers);
    c->nodes[i].also = nullptr;
    drop_lock(q->putting);
    return want && items_of(q) > 0;
}

// Takes all off, and an item if there is one: whether there was.
static bool get_up(choice *c)
{
    bool got = false;
    for (size_t i = 0, first = any_of(c->n); i < c->n; i++) {
        size_t at = (first + i) % c->n;
        weft_queue *q = c->queues[at];
        if (!rise(c, at, !got))
            continue;
        take_lock(q->getting);
        if (store_filled(&q->store) > 0) {
            take(q, c->item);
            c->which = at;
            got = true;
        }
        leave_get(q);
    }
    return got;
}

static bool any_ready(const choice *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (items_of(c->queues[i]) > 0)
            return true;
    return false;
}

static int nap_in_all(choice *c, weft_deadline d)
{
    if (watch_for([=] { return any_ready(c); }))
        return 0;
    int error = lie_down(c) ? await_word(&c->word, d, 0) : 0;
    if (c->generation != fork_generation)
        return ECANCELED; // the nodes are the parent's affair, as are the locks
    c->got = get_up(c);
    return error;
}

static int await_any(choice *c, weft_deadline d)
{
    return wait_for(
        d, [=] { return c->got ? 0 : take_any(c); },
        [=](weft_deadline until) { return nap_in_all(c, until); });
}

ssize_t weft_queue_get_any(weft_queue *const queues[], size_t n, void *item, weft_deadline d)
{
    waiter few[FEW];
    choice c = {queues, n, few, item, false, 0, fork_generation, 0};
    if (queues == nullptr || n == 0)
        return fail_with(EINVAL);
    int error = await_any(&c, WEFT_NOW);
    if (error == ETIMEDOUT && d > WEFT_NOW) {
        if (n > FEW && (c.nodes = (waiter *)malloc(n * sizeof few[0])) == nullptr)
            return -1;
        count_in(&c, true);
        error = await_any(&c, d);
        count_in(&c, false);
        if (c.nodes != few)
            free_keep_errno(c.nodes);
    }
    return error == 0 ? (ssize_t)c.which : fail_with(error);
}
