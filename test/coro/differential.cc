// The same random programs on both backends must leave the same trace.
//
// A program is a few coroutines (up to 50) and main, all of which draw what they do next
// from one random sequence: resume, switch, yield, cancel, re-parent, defer, destroy, create, ask,
// return.  Every call's outcome (value, errno, state) goes into the trace, so the backends
// agree on each or the hashes part.  The ucontext backend is the oracle: its switch is libc's.
#include <coro/coroutine.h>

#include "../runner.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

using namespace weft;

#define V(n) ((void *)(intptr_t)(n))

enum { MOST = 50 };

typedef struct {
    uint64_t random, hash;
    int count, budget, steps;
    weft_coro *co[MOST];
} world;

static __thread world w;

static unsigned draw(unsigned below)
{
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return (unsigned)(w.random >> 33) % below;
}

static void event(int64_t what)
{
    w.steps++;
    w.hash = (w.hash ^ (uint64_t)what) * 1099511628211u;
}

static void outcome(void *value)
{
    event((intptr_t)value);
    if (value == WEFT_FAILED)
        event(errno);
}

static int index_of(const weft_coro *co)
{
    for (int i = 0; i < w.count; i++)
        if (w.co[i] == co)
            return i;
    return co == weft_coro_main() ? -1 : -2;
}

static weft_coro *pick(void)
{
    if (w.count == 0 || draw(12) == 0)
        return weft_coro_main();
    return w.co[draw((unsigned)w.count)];
}

static void say_deferred(void *arg)
{
    event(1000 + (intptr_t)arg);
    if ((intptr_t)arg % 5 == 0)
        outcome(weft_coro_yield(V(3)));
}

static void *life(void *arg, void *first);

static void create(void)
{
    weft_coro_options opts = {};
    opts.keep_fp = draw(8) == 0;
    opts.keep_mask = draw(16) == 0;
    if (w.count == MOST)
        return;
    w.co[w.count] = weft_coro_create(life, V(w.count), &opts);
    w.count++;
}

static void destroy(void)
{
    weft_coro *co = pick();
    int i = index_of(co);
    if (i < 0)
        return;
    int failed = weft_coro_destroy(co);
    event(failed ? errno : 0);
    // Its deferred functions ran meanwhile and may have moved it.
    if (failed == 0 && (i = index_of(co)) >= 0)
        w.co[i] = w.co[--w.count];
}

static void look(void)
{
    weft_coro *co = pick();
    event(weft_coro_state(co));
    event(index_of(weft_coro_parent(co)));
    outcome(weft_coro_result(co));
}

// One step; 0: return.
static int step(void)
{
    int value = (int)draw(1000);
    unsigned what = draw(100);
    event(what);
    if (what < 30)
        outcome(weft_coro_resume(pick(), V(value)));
    else if (what < 55)
        outcome(weft_coro_yield(V(value)));
    else if (what < 72)
        outcome(weft_coro_switch(pick(), V(value)));
    else if (what < 77)
        event(weft_coro_throw(pick(), (int)draw(3)) ? errno : 0);
    else if (what < 82)
        event(weft_coro_set_parent(pick(), pick()) ? errno : 0);
    else if (what < 86)
        event(weft_defer(say_deferred, V(value)) ? errno : 0);
    else if (what < 89)
        destroy();
    else if (what < 93)
        create();
    else if (what < 97)
        look();
    else
        return 0;
    return 1;
}

static void *life(void *arg, void *first)
{
    event((intptr_t)arg);
    event((intptr_t)first);
    while (w.budget-- > 0 && step())
        ;
    if (draw(10) == 0) {
        errno = (int)draw(100);
        return WEFT_FAILED;
    }
    return V(draw(1000));
}

static uint64_t run(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    w.random = seed * 0x9e3779b97f4a7c15u + 1;
    w.hash = 14695981039346656037u;
    w.budget = 300;
    for (unsigned n = 1 + draw(20); n > 0; n--)
        create();
    while (w.budget-- > 0)
        step();
    for (int i = 0; i < w.count; i++)
        event(weft_coro_state(w.co[i]));
    while (w.count > 0)
        event(weft_coro_destroy(w.co[--w.count]) ? errno : 0);
    return w.hash;
}

typedef struct {
    uint64_t first, n, *hashes;
    int64_t steps;
    uint32_t special;
} job;

static void *run_all(void *arg)
{
    job *j = (job *)arg;
    j->special = weft_coro_self()->thread->watched;
    for (uint64_t i = 0; i < j->n; i++) {
        j->hashes[i] = run(j->first + i);
        j->steps += w.steps;
    }
    return NULL;
}

static void run_on(int ucontext, job *j)
{
    pthread_t t;
    coro_force_ucontext(ucontext);
    assert_int_equal(pthread_create(&t, NULL, run_all, j), 0);
    pthread_join(t, NULL);
    coro_force_ucontext(0);
}

CASE(test_both_backends_leave_the_same_trace)
{
    const uint64_t n = RUNNER_SANITIZED ? 150 : 4000;
    job fast = {1, n, (uint64_t *)calloc(n, 8), 0, 0}, oracle = {1, n, NULL, 0, 0};
    oracle.hashes = (uint64_t *)calloc(n, 8);
    run_on(0, &fast);
    run_on(1, &oracle);
    assert_true(oracle.special & SPECIAL_UCONTEXT);
    assert_int_equal(!(fast.special & SPECIAL_UCONTEXT), HAVE_SWAP);
    for (uint64_t i = 0; i < n; i++)
        if (fast.hashes[i] != oracle.hashes[i])
            fail_msg("program %d: the traces differ", (int)i + 1);
    // The programs did something, and not all the same.
    assert_true(fast.steps > (int64_t)n * 100);
    assert_true(fast.hashes[0] != fast.hashes[1]);
    free(fast.hashes);
    free(oracle.hashes);
}

RUN_CASES()
