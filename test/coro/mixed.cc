// Random programs over coroutines, generators and tasklets at once: who waits is left alone.
//
// Each actor (the main tasklet among them) draws what it does next from one random sequence, with
// whatever handle comes to hand.  The test keeps its own record of who waits for whom, and checks
//   - that no call goes on while what it called, or what that called, waits in a tasklet,
//   - that an item is written only while its consumer waits for it, and comes from that generator,
//   - without switches (every second program) that a resume returns what the resumed one said,
//   - that a tasklet is joined once, with its own result,
//   - that an item that was sent through the channel comes once, and is sent once.
// MIXED_PROGRAMS (environment) sets how many programs there are.
#include <weft/channel.h>
#include <weft/coro.h>
#include <weft/generator.h>
#include <weft/tasklet.h>

#include "trace.h"

#include <pthread.h>
#include <stdio.h>

enum { MOST = 40, STEPS = 1500 };
static const int64_t RETIRED = 0x5e5e5e5e;

// LOOSE: a detached tasklet that has not ended.
enum kind { NOTHING, CORO, GENERATOR, TASKLET, LOOSE };

namespace {
struct actor {
    kind what;
    weft_coro *coro;
    weft_generator *generator;
    weft_tasklet *tasklet;
    actor *calls;  // whose answer it waits for ...
    actor *caller; // ... while that one's answer goes to it
    bool asleep;   // it waits in a tasklet
    int lives;     // how many had this place
    int64_t item;  // where it gets items: (generator, number)
    int32_t said;  // items yielded
};
} // namespace

static __thread actor actors[MOST];
static __thread uint64_t seed;
static __thread int budget, switching;
static __thread int64_t steps;
static __thread weft_channel *channel;
static __thread int sends, sent[STEPS + 1]; // 1: on its way, 2: received

static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % below;
}

static void require(bool fine, const char *what)
{
    if (fine)
        return;
    fprintf(stderr, "mixed: %s\n", what);
    weft_coro_dump(stderr);
    abort();
}

static actor *pick(kind what)
{
    for (int tries = 0; tries < 8; tries++) {
        actor *a = &actors[1 + draw(MOST - 1)];
        if (a->what == what)
            return a;
    }
    return nullptr;
}

static bool somebody_sleeps(const actor *a)
{
    for (int n = 0; n < MOST && !a->asleep; n++) {
        if (a->calls == nullptr || a->calls->caller != a)
            return false;
        a = a->calls;
    }
    return a->asleep;
}

static actor *begin_call(actor *self, actor *callee)
{
    actor *before = callee->caller;
    self->calls = callee;
    callee->caller = self;
    return before;
}

// `refused`: it never began.  A tasklet's own coroutine can't be kept: what a stranger's end leaves
// behind must go somewhere.
static void end_call(actor *self, actor *before, bool refused)
{
    actor *callee = self->calls;
    bool kept = self->what == CORO || self->what == GENERATOR;
    if (refused && callee->caller == self)
        callee->caller = before;
    else if (!refused && kept)
        require(!somebody_sleeps(self), "a call went on though what it called sleeps");
    self->calls = nullptr;
}

static void release(actor *a)
{
    a->lives++;
    a->item = RETIRED;
    a->calls = a->caller = nullptr;
    a->asleep = false;
    a->what = NOTHING;
}

// ---- Steps of anybody ----

static void act(actor *self);
static void *life(void *arg, void *first);
static int items(weft_generator *g, void *arg);
static void *task(void *arg);

static void create(actor *)
{
    actor *a = pick(NOTHING);
    if (a == nullptr)
        return;
    a->said = 0;
    a->what = (kind)(CORO + draw(3));
    if (a->what == CORO)
        a->coro = weft_coro_create(life, a, nullptr);
    else if (a->what == GENERATOR)
        a->generator = weft_generator_create(items, a, sizeof(int64_t), nullptr);
    else
        a->tasklet = weft_tasklet_spawn(task, a, nullptr);
}

static void resume(actor *self)
{
    actor *a = pick(CORO);
    if (a == nullptr)
        return;
    int dead = weft_coro_state(a->coro) == WEFT_CORO_DEAD;
    actor *before = begin_call(self, a);
    void *value = weft_coro_resume(a->coro, V(1));
    end_call(self, before, dead || (value == WEFT_FAILED && errno == EBUSY));
    if (value != WEFT_FAILED && !switching)
        require(value == (dead ? V(1) : (void *)a), "a resume returned another one's value");
}

static void switch_away(actor *self)
{
    actor *a = pick(CORO);
    if (!switching)
        return;
    self->calls = nullptr;
    weft_coro_switch(a == nullptr ? weft_coro_main() : a->coro, self);
}

static void yield(actor *self)
{
    weft_coro_yield(self);
}

static void next(actor *self)
{
    actor *a = pick(GENERATOR);
    if (a == nullptr)
        return;
    self->item = 0;
    actor *before = begin_call(self, a);
    int r = draw(8) == 0 ? weft_generator_throw(a->generator, EIO, &self->item)
                         : weft_generator_next(a->generator, &self->item);
    int64_t item = self->item;
    end_call(self, before, r == 0 || (r == -1 && errno == EBUSY));
    if (r == 1)
        require(actors[item >> 32].said == (int32_t)item, "an item of another time");
    else
        require(item == 0 || errno != EBUSY, "an item with a refusal");
    self->item = RETIRED;
}

static void destroy(actor *self)
{
    actor *a = pick(draw(2) ? CORO : GENERATOR);
    if (a == nullptr)
        return;
    bool sleeping = somebody_sleeps(a);
    actor *before = begin_call(self, a), *calls = a->calls;
    bool dropped = a->what == CORO && a != self; // its call is over: what it has deferred runs
    if (dropped)
        a->calls = nullptr;
    int r = a->what == CORO ? weft_coro_destroy(a->coro) : weft_generator_destroy(a->generator);
    end_call(self, before, a->what == CORO || r != 0);
    if (r != 0 && dropped)
        a->calls = calls;
    if (r != 0)
        return;
    require(a->what != CORO || !sleeping, "one that waits was destroyed");
    release(a);
}

static void cancel(actor *self)
{
    actor *a = pick(CORO);
    if (a == nullptr)
        return;
    actor *before = begin_call(self, a);
    int r = weft_coro_cancel(a->coro);
    // Only marked, refused, or it is the caller's child now.
    bool adopted = weft_coro_parent(a->coro) == weft_coro_self();
    end_call(self, adopted ? self : before, r != 0 || weft_coro_state(a->coro) != WEFT_CORO_DEAD);
}

static void reparent(actor *)
{
    actor *a = pick(CORO), *b = pick(CORO);
    if (switching && a != nullptr && b != nullptr && weft_coro_set_parent(a->coro, b->coro) == 0)
        a->caller = nullptr;
}

static void sleep(actor *self)
{
    self->asleep = true;
    if (draw(2))
        weft_tasklet_yield();
    else
        weft_tasklet_suspend(weft_now() + draw(2000));
    self->asleep = false;
}

static void join(actor *self)
{
    actor *a = pick(TASKLET);
    void *result = nullptr;
    if (a == nullptr)
        return;
    int life = a->lives;
    self->asleep = true;
    int r = weft_tasklet_join(a->tasklet, &result, weft_now() + draw(3000));
    self->asleep = false;
    if (r != 0)
        return;
    require(a->lives == life, "one tasklet was joined twice");
    require(result == a || result == WEFT_FAILED, "a join got another one's result");
    release(a);
}

static void detach(actor *)
{
    actor *a = pick(TASKLET);
    if (a == nullptr)
        return;
    int ended = weft_tasklet_poll(a->tasklet);
    if (weft_tasklet_detach(a->tasklet) != 0)
        return;
    if (ended)
        release(a);
    else
        a->what = LOOSE;
}

static void meddle(actor *)
{
    actor *a = pick(TASKLET);
    if (a == nullptr)
        return;
    if (draw(3) == 0)
        weft_tasklet_cancel(a->tasklet);
    else if (draw(2) == 0)
        weft_tasklet_wake(a->tasklet);
    else if (weft_tasklet_remove(a->tasklet) == 0)
        weft_tasklet_wake(a->tasklet);
}

static void talk(actor *self)
{
    int64_t item = sends + 1;
    weft_deadline d = weft_now() + draw(2000);
    self->asleep = true;
    if (draw(2)) {
        sent[++sends] = 1;
        if (weft_channel_send(channel, &item, d) != 0)
            require(sent[item]-- == 1, "an item was received that was not sent");
    } else if (weft_channel_receive(channel, &item, d) == 0) {
        require(item <= sends && sent[item]++ == 1, "an item came twice");
    }
    self->asleep = false;
}

// What is deferred may resume others.  It runs for nobody who could be kept waiting.
static void defer(actor *self)
{
    const auto resume_one = [](void *) {
        actor janitor = {};
        janitor.what = LOOSE;
        if (channel != nullptr) // else the thread ends, and the others may be gone
            resume(&janitor);
    };
    if (self != &actors[0])
        weft_defer(resume_one, nullptr);
}

static void act(actor *self)
{
    static void (*const what[])(actor *) = {
        create,  create, resume,   resume, resume, next, next,   next,
        sleep,   sleep,  yield,    yield,  join,   join, detach, destroy,
        destroy, cancel, reparent, meddle, talk,   talk, defer,  switch_away};
    steps++;
    budget--;
    require(self->item == RETIRED, "an item was written after its call");
    what[draw(sizeof what / sizeof *what)](self);
}

// ---- Lives ----

static void *life(void *arg, void *)
{
    while (budget > 0 && draw(30) != 0)
        act((actor *)arg);
    return arg;
}

static int items(weft_generator *g, void *arg)
{
    actor *self = (actor *)arg;
    while (budget > 0 && draw(30) != 0) {
        unsigned what = draw(6);
        actor *a = what == 0 ? pick(GENERATOR) : nullptr;
        if (a != nullptr) {
            actor *before = begin_call(self, a);
            int r = weft_generator_delegate(g, a->generator);
            end_call(self, before, r != 0);
        } else if (what < 4) {
            int64_t item = (int64_t)(self - actors) << 32 | ++self->said;
            if (weft_generator_yield(g, &item) != 0 && errno == ECANCELED)
                return errno;
        } else {
            act(self);
        }
    }
    return 0;
}

static void *task(void *arg)
{
    actor *self = (actor *)arg;
    life(self, nullptr);
    if (self->what == LOOSE)
        release(self);
    return arg;
}

static void *program(void *arg)
{
    seed = *(uint64_t *)arg * 0x9e3779b97f4a7c15u + 1;
    switching = *(uint64_t *)arg % 2;
    budget = STEPS;
    memset(actors, 0, sizeof actors);
    for (actor &a : actors)
        a.item = RETIRED;
    channel = weft_channel_create(sizeof(int64_t), 1);
    sends = 0;
    memset(sent, 0, sizeof sent);
    while (budget > 0)
        act(&actors[0]);
    weft_channel_close(channel);
    weft_tasklet_run();
    weft_channel_destroy(channel);
    channel = nullptr;
    actors[0].asleep = false;
    return V(steps);
}

CASE(test_random_programs_leave_who_waits_alone)
{
    const char *wanted = getenv("MIXED_PROGRAMS");
    uint64_t programs = RUNNER_SANITIZED ? 60 : 3000;
    if (wanted != nullptr)
        programs = strtoull(wanted, nullptr, 10);
    int64_t all = 0;
    for (uint64_t i = 1; i <= programs; i++) {
        pthread_t t;
        void *n = nullptr;
        assert_int_equal(pthread_create(&t, nullptr, program, &i), 0);
        assert_int_equal(pthread_join(t, &n), 0);
        all += (intptr_t)n;
    }
    print_message("%lld steps\n", (long long)all);
    assert_true(all >= (int64_t)programs * STEPS);
}

RUN_CASES()
