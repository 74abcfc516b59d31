// future_memory.cc: where futures come from.
//
// A thread keeps up to two chains of futures that are free; full ones go to the depot and come from
// there, for those who submit are not those who release.  So most submits and releases take
// no lock, and no memory that another thread has just had in its cache.
#include "crew.h"

#include <base/errno.h>
#include <base/stack.h>

using namespace weft;

enum { CHAIN = 128, CHAINS_KEPT = 256, AHEAD = 4 };

#if defined(__SANITIZE_ADDRESS__)
#define KEEP 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP 0
#endif
#endif
#ifndef KEEP
#define KEEP 1 // not where a use after free is looked for
#endif

// A chain is linked by `next`, and chains by their first's `previous`.  That of the others names
// one some places further on, to be fetched before it is needed, and for nothing else: it may be
// gone.
static weft_future *depot; // a stack of chains
static unsigned kept;      // atomic: about how many chains are there

static __thread struct {
    weft_future *chain, *full;
    unsigned n;               // of `chain`
    weft_future *last[AHEAD]; // freed
    bool armed;               // given back at the thread's end
} mine;

static void free_chain(weft_future *f)
{
    while (f != nullptr) {
        weft_future *next = f->next;
        free_keep_errno(f);
        f = next;
    }
}

static void depot_put(weft_future *chain)
{
    if (__atomic_load_n(&kept, __ATOMIC_RELAXED) >= CHAINS_KEPT) {
        free_chain(chain);
        return;
    }
    __atomic_fetch_add(&kept, 1, __ATOMIC_RELAXED);
    stack_push(&depot, &weft_future::previous, chain, chain);
}

static weft_future *depot_get(void)
{
    weft_future *chain = stack_pop(&depot, &weft_future::previous);
    if (chain != nullptr)
        __atomic_fetch_sub(&kept, 1, __ATOMIC_RELAXED);
    return chain;
}

// ---- At a thread's end ----

static pthread_key_t key;
static bool have_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void give_back(void *)
{
    free_chain(mine.chain);
    if (mine.full != nullptr)
        depot_put(mine.full);
    mine.chain = mine.full = nullptr;
    mine.n = 0;
    mine.armed = false;
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, give_back) == 0;
}

// Whether this thread may keep any.
static bool arm(void)
{
    pthread_once(&key_once, make_key);
    mine.armed = KEEP && have_key && pthread_setspecific(key, &mine) == 0;
    return mine.armed;
}

// ---- The two calls ----

weft_future *weft::future_allocate(void)
{
    if (mine.chain == nullptr) {
        mine.chain = mine.full;
        mine.full = nullptr;
        if (mine.chain == nullptr && (mine.armed || arm()))
            mine.chain = depot_get();
        mine.n = mine.chain != nullptr ? CHAIN : 0;
    }
    weft_future *f = mine.chain;
    if (f == nullptr)
        return (weft_future *)malloc(sizeof *f);
    mine.chain = f->next;
    __builtin_prefetch(f->previous, 1);
    mine.n--;
    return f;
}

void weft::future_free(weft_future *f)
{
    if (!mine.armed && !arm()) {
        free_keep_errno(f);
        return;
    }
    if (mine.n == CHAIN) {
        if (mine.full != nullptr)
            depot_put(mine.full);
        mine.full = mine.chain;
        mine.chain = nullptr;
        mine.n = 0;
    }
    f->next = mine.chain;
    f->previous = mine.last[mine.n % AHEAD];
    mine.last[mine.n % AHEAD] = f;
    mine.chain = f;
    mine.n++;
}
