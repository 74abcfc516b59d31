// generator.cc: generators (generator.h).
//
// A generator is a coroutine whose record carries, just below it, where the next item goes.
// The yield copies the item into the consumer's variable and only then transfers, so both next
// and yield end in the jump into the swap.  The consumer is the coroutine's parent while it
// waits, and is marked ASKS, so that nobody else can make it go on and leave the generator with
// the address of a variable that is gone.  If it is destroyed meanwhile, or must go on because
// another child of it has ended, the generator hears of it (on_orphan) and will not write there.
// The generator itself takes control only from its consumers and from whom it called.
//
// Delegation makes a chain, outermost `root`, innermost `leaf`.  The consumer's next resumes
// the leaf, the leaf's yield goes straight to the root's consumer, and only when the leaf
// ends does control go one step out: the cost of an item does not grow with the depth.
//
// The values that pass are the results themselves: 1 an item, 0 the end, -1 an error with
// errno; towards the generator 0, go on, or -1.
#include "coroutine.h"

#include <weft/generator.h>

#include <base/errno.h>

#include <string.h>

using namespace weft;

// ---- `state` ----
//
//  state      means                                  set by                     next may be called
//  IDLE       suspended in its yield, or new         create, its yield          yes
//  CHAINED    the same, and it delegates             the innermost one's yield  yes
//  BUSY       it runs, or waits for what it called   next (send, throw, close)  no: EBUSY
//  LOST       the same, and its consumer went on     on_orphan                  no: EBUSY
//  DELEGATED  another one delegates to it            that one's delegate        no: EBUSY
//  ENDED      fn has returned, or never will run     its end, throw into a new  yes: 0
//
// While a root is BUSY its coroutine's parent is the consumer and `item` that one's variable.
enum { IDLE, CHAINED, BUSY, LOST, DELEGATED, ENDED };

struct weft_generator {
    // The order was measured: with `state` first a next takes a sixth longer.
    void *sent;
    void *item; // where a root's next one goes
    int state;

    // The chain.  A generator outside of any is its own root and leaf.
    weft_generator *root;  // in the leaf
    weft_generator *leaf;  // in the root
    weft_generator *outer; // who delegates to it; NULL in the root

    size_t item_size;
    int (*fn)(weft_generator *g, void *arg);
    void *arg;
};

// Its coroutine is where it is, not what a field says: one load less on the way to the stack.
static inline weft_coro *coro_of(const weft_generator *g)
{
    return (weft_coro *)(void *)((char *)(uintptr_t)g + ((sizeof *g + 15) & ~(size_t)15));
}

static inline weft_generator *of_coro(weft_coro *co)
{
    return (weft_generator *)coro_extra(co, sizeof(weft_generator));
}

static void *body(void *arg, void *first)
{
    weft_generator *g = (weft_generator *)arg;
    (void)first;
    int error = g->fn(g, g->arg);
    if (error > 0)
        errno = error;
    return error == 0 ? nullptr : WEFT_FAILED;
}

// Who runs when it has ended, on its stack: who delegated to it, or the consumer.
static weft_coro *ended(weft_coro *co, void **value)
{
    (void)value;
    weft_generator *g = of_coro(co);
    weft_generator *outer = g->outer;
    weft_coro *to = outer != nullptr ? coro_of(outer) : co->parent;
    if (g->state == LOST)
        to = coro_heir(co);
    g->state = ENDED;
    if (outer != nullptr) {
        outer->root = g->root;
        outer->root->leaf = outer;
        g->outer = nullptr;
        g->root = g;
    }
    if (to->special & SPECIAL_BLOCKED)
        to->callee = nullptr; // it can't get the answer: its call fails, later
    else
        to->special &= ~(uint32_t)SPECIAL_ASKS;
    return to;
}

// Whoever waited for it does so no more.
static void orphaned(weft_coro *co)
{
    weft_generator *g = of_coro(co);
    if (g->state == BUSY)
        g->state = LOST;
}

weft_generator *weft_generator_create(int (*fn)(weft_generator *g, void *arg), void *arg,
                                      size_t item_size, const weft_coro_options *opts)
{
    if (fn == nullptr)
        return fail_null(EINVAL);
    weft_coro *co = coro_create(body, nullptr, opts, sizeof(weft_generator));
    if (co == nullptr)
        return nullptr;
    weft_generator *g = of_coro(co);
    g->root = g->leaf = g;
    g->item_size = item_size;
    g->fn = fn;
    g->arg = arg;
    co->arg = g;
    co->on_end = ended;
    co->on_orphan = orphaned;
    coro_own(co);
    return g;
}

// ---- The consumer's side ----

// 0 when `g` can be made to run; else -1, or 1 when it has ended.
static int check(const weft_generator *g)
{
    if (g == nullptr)
        return fail_with(EINVAL);
    if (coro_of(g)->thread != &coro_here)
        return fail_with(EPERM);
    if (g->state == ENDED)
        return 1;
    // A consumer below it in the tree of parents would close a ring.
    if (g->state > CHAINED || coro_is_ancestor(coro_of(g), coro_here.current))
        return fail_with(EBUSY);
    return 0;
}

// Hands `value` to `to`, on whose side `callee` will answer.
static int ask(weft_coro *self, weft_coro *callee, weft_coro *to, void *value)
{
    coro_thread *t = &coro_here;
    coro_adopt(self, callee);
    self->callee = callee;
    // Control passes by those that delegate, and their marks stay.
    if (callee != to && callee->special & SPECIAL_NESTED)
        coro_mark_callers(callee);
    int plain = hop_is_plain(t, self, to, 0);
    self->special |= SPECIAL_ASKS;
    if (plain)
        return hop<int>(t, self, to, value);
    return (int)(intptr_t)transfer_slowly(self, to, value);
}

// Transfers to the innermost; what comes back is the caller's result.
static int consume(weft_generator *g, void *item, void *sent, void *value)
{
    g->state = BUSY;
    g->item = item;
    g->sent = sent;
    return ask(coro_here.current, coro_of(g), coro_of(g->leaf), value);
}

static __attribute__((noinline)) int next_checked(weft_generator *g, void *item)
{
    int wrong = check(g);
    if (wrong != 0)
        return wrong < 0 ? -1 : 0;
    return consume(g, item, nullptr, nullptr);
}

int weft_generator_next(weft_generator *g, void *item)
{
    coro_thread *t = &coro_here;
    if (likely(g != nullptr && g->state == IDLE && coro_of(g)->parent == t->current)) {
        weft_coro *to = coro_of(g), *self = guess(t->current, to->parent);
        if (hop_is_plain(t, self, to, 0)) {
            self->special = SPECIAL_ASKS;
            g->state = BUSY;
            g->item = item;
            self->callee = to;
            g->sent = nullptr;
            return hop<int>(t, self, to, nullptr);
        }
    }
    return next_checked(g, item);
}

int weft_generator_send(weft_generator *g, void *value, void *item)
{
    int wrong = check(g);
    if (wrong != 0)
        return wrong < 0 ? -1 : 0;
    if (value != nullptr && !coro_of(g)->started)
        return fail_with(EINVAL);
    return consume(g, item, value, nullptr);
}

static void end_unborn(weft_generator *g)
{
    coro_of(g)->special |= SPECIAL_DEAD;
    coro_of(g)->value = nullptr;
    g->state = ENDED;
}

int weft_generator_throw(weft_generator *g, int error, void *item)
{
    int wrong = check(g);
    if (wrong < 0)
        return -1;
    if (error <= 0)
        return fail_with(EINVAL);
    if (wrong == 0 && !coro_of(g)->started)
        end_unborn(g);
    if (g->state == ENDED)
        return fail_with(error);
    errno = error;
    return consume(g, item, nullptr, WEFT_FAILED);
}

// Whether it has ended now, with what fn returned in *error; else errno.
static bool end(weft_generator *g, int *error)
{
    int wrong = check(g);
    if (wrong != 0)
        return wrong > 0;
    if (!coro_of(g)->started) {
        end_unborn(g);
        return true;
    }
    // The innermost fails first; as each ends, the call of the next one out fails.
    for (weft_generator *each = g->leaf; each != nullptr; each = each->outer) {
        coro_of(each)->error = ECANCELED;
        coro_of(each)->special |= SPECIAL_CANCELLED | SPECIAL_PENDING;
    }
    const weft_coro *self = coro_here.current;
    int result = consume(g, nullptr, nullptr, nullptr);
    // Without an answer it may even have ended and be gone: somebody else has seen that.
    if (self->callee != coro_of(g) || g->state != ENDED) {
        errno = EBUSY;
        return false;
    }
    *error = result == -1 && errno != ECANCELED ? errno : 0;
    return true;
}

int weft_generator_close(weft_generator *g)
{
    int saved = errno, error = 0;
    if (!end(g, &error))
        return -1;
    if (error != 0)
        return fail_with(error);
    errno = saved;
    return 0;
}

int weft_generator_destroy(weft_generator *g)
{
    int saved = errno, error = 0;
    if (g == nullptr)
        return 0;
    if (!end(g, &error))
        return -1;
    coro_release(coro_of(g));
    errno = saved;
    return 0;
}

int weft_generator_poll(const weft_generator *g)
{
    if (g == nullptr || coro_of(g)->thread != &coro_here)
        return fail_with(g == nullptr ? EINVAL : EPERM);
    return g->state == ENDED;
}

// ---- The generator's side ----

static __attribute__((noinline)) int yield_checked(weft_generator *g, const void *item)
{
    if (g == nullptr || (item == nullptr && g->item_size != 0))
        return fail_with(EINVAL);
    weft_generator *root = g->root;
    weft_coro *self = coro_here.current, *to = coro_of(root)->parent;
    if (coro_of(g) != self)
        return fail_with(EPERM);
    if (self->special & SPECIAL_CANCELLED)
        return fail_with(self->error);
    if (root->state != BUSY)
        return fail_with(ECANCELED); // nobody asks
    if (to->special & SPECIAL_BLOCKED)
        return fail_with(EBUSY); // this runs in one tasklet, and the consumer's waits for another
    if (root->item != nullptr && g->item_size != 0)
        memcpy(root->item, item, g->item_size);
    root->state = root->leaf == root ? IDLE : CHAINED;
    self->callee = nullptr;
    to->special &= ~(uint32_t)SPECIAL_ASKS;
    return transfer<int>(self, to, (void *)1);
}

// Without a call: 1 when it was copied (or is not wanted).
static inline int copy_quickly(void *to, const void *from, size_t size)
{
    if (to == nullptr)
        return 1;
    if (size == sizeof(uint64_t)) {
        memcpy(to, from, sizeof(uint64_t));
        return 1;
    }
    if (size == sizeof(uint32_t)) {
        memcpy(to, from, sizeof(uint32_t));
        return 1;
    }
    return 0;
}

int weft_generator_yield(weft_generator *g, const void *item)
{
    coro_thread *t = &coro_here;
    weft_coro *self = t->current;
    if (likely(g != nullptr && item != nullptr && coro_of(g) == self && g->outer == nullptr)) {
        // From here on by `self`, which is known before the stack that g comes from is.
        __asm__("" : "+r"(self));
        g = of_coro(self);
        weft_coro *to = self->parent;
        if (likely(g->state == BUSY) && hop_is_plain(t, self, to, SPECIAL_ASKS) &&
            likely(copy_quickly(g->item, item, g->item_size))) {
            to->special = 0;
            g->state = IDLE;
            self->callee = nullptr;
            return hop<int>(t, self, to, (void *)1);
        }
    }
    return yield_checked(g, item);
}

void *weft_generator_sent(const weft_generator *g)
{
    return g != nullptr ? g->root->sent : nullptr;
}

// Hangs inner, with the chain below it, under g, which runs and so is a leaf.
static void attach(weft_generator *g, weft_generator *inner)
{
    inner->state = DELEGATED;
    inner->outer = g;
    g->root->leaf = inner->leaf;
    inner->leaf->root = g->root;
}

int weft_generator_delegate(weft_generator *g, weft_generator *inner)
{
    if (g == nullptr || inner == nullptr || g->item_size != inner->item_size)
        return fail_with(EINVAL);
    weft_coro *self = coro_here.current;
    if (coro_of(g) != self)
        return fail_with(EPERM);
    if (self->special & SPECIAL_CANCELLED)
        return fail_with(self->error);
    int wrong = check(inner);
    if (wrong != 0)
        return wrong < 0 ? -1 : 0;
    attach(g, inner);
    return ask(self, coro_of(inner), coro_of(inner->leaf), nullptr);
}
