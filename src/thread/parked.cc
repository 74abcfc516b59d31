// parked.cc: the parking lot; see parked.h.
#include "parked.h"

#include "lock.h"

#include <base/list.h>

#include <signal.h>
#include <string.h>

using namespace weft;

lot_bucket weft::lot[1 << LOT_BITS];

static void hold(lot_bucket *b, sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    take_lock(&b->lock);
    if (b->list.next == nullptr)
        list_init(&b->list);
}

static void let_go(lot_bucket *b, const sigset_t *before)
{
    drop_lock(&b->lock);
    pthread_sigmask(SIG_SETMASK, before, nullptr);
}

// Locked.
static void take_off(lot_bucket *b, parked *p)
{
    p->there = false;
    list_remove(&p->link);
    __atomic_fetch_sub(&b->count, 1, __ATOMIC_SEQ_CST);
}

void weft::lot_enter(parked *p)
{
    sigset_t before;
    lot_bucket *b = lot_bucket_of(p->word);
    hold(b, &before);
    p->there = true;
    list_insert(&b->list, &p->link);
    __atomic_fetch_add(&b->count, 1, __ATOMIC_SEQ_CST);
    let_go(b, &before);
}

bool weft::lot_leave(parked *p)
{
    sigset_t before;
    lot_bucket *b = lot_bucket_of(p->word);
    hold(b, &before); // lets who wakes it finish
    bool woken = !p->there;
    if (!woken)
        take_off(b, p);
    let_go(b, &before);
    return woken;
}

// Wakes up to `n` of a bucket that sleep on `word`, or on the thread's account.
static int wake_in(lot_bucket *b, const void *word, const weft_thread *t, int n)
{
    sigset_t before;
    int found = 0;
    hold(b, &before);
    for (parked_link *next, *l = b->list.next; l != &b->list && found < n; l = next) {
        parked *p = (parked *)(void *)l;
        next = l->next;
        if (word != nullptr ? p->word != word : p->thread != t)
            continue;
        take_off(b, p);
        p->woken(p);
        found++;
    }
    let_go(b, &before);
    return found;
}

int weft::wake_found(const void *word, int n)
{
    return wake_in(lot_bucket_of(word), word, nullptr, n);
}

void weft::lot_stop(const weft_thread *t)
{
    for (lot_bucket &b : lot)
        if (__atomic_fetch_add(&b.count, 0, __ATOMIC_SEQ_CST) != 0)
            wake_in(&b, nullptr, t, INT_MAX);
}

void weft::lot_forked(void)
{
    memset((void *)lot, 0, sizeof lot);
}
