// record.cc: the threads' records, from the first to the last, and what a fork leaves of them.
//
// Records are never given back to malloc but kept on a free list, so that a handle used once
// too often meets a record that says so (EINVAL) and not somebody else's memory.
#include "record.h"

#include "forked.h"
#include "parked.h"
#include <base/errno.h>

#include <string.h>

using namespace weft;

static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;
static weft_thread *all_records, *free_records; // guarded by records_lock; so are their names

uint32_t weft::fork_generation = 1;

static void fork_begins(void)
{
    pthread_mutex_lock(&records_lock);
}

static void fork_ended(void)
{
    pthread_mutex_unlock(&records_lock);
}

static void put_locked(weft_thread *t)
{
    __atomic_store_n(&t->state, RECORD_FREE, __ATOMIC_RELEASE);
    t->next_free = free_records;
    free_records = t;
}

// In the child: all other threads are gone, in whatever state.
static void fork_made_us(void)
{
    fork_generation++;
    lot_forked();
    for (weft_thread *t = all_records; t != nullptr; t = t->next) {
        if (t == this_thread) {
            t->state &= RECORD_DETACHED; // who joins it is not here
            t->forked = true;
        }
        if (t == this_thread || t->state & RECORD_FREE)
            continue;
        t->sleeps_on = nullptr;
        if (t->state & RECORD_DETACHED)
            put_locked(t);
        else
            t->state = RECORD_GONE | RECORD_ENDED;
    }
    pthread_mutex_unlock(&records_lock);
}

static void set_fork_handlers(void)
{
    pthread_atfork(fork_begins, fork_ended, fork_made_us);
}

void weft::watch_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int saved = errno;
    pthread_once(&once, set_fork_handlers);
    errno = saved;
}

weft_thread *weft::record_get(void)
{
    pthread_mutex_lock(&records_lock);
    weft_thread *t = free_records;
    if (t != nullptr)
        free_records = t->next_free;
    else if ((t = (weft_thread *)calloc(1, sizeof *t)) != nullptr) {
        t->state = RECORD_FREE;
        t->next = all_records;
        all_records = t;
    }
    pthread_mutex_unlock(&records_lock);
    return t;
}

void weft::record_put(weft_thread *t)
{
    pthread_mutex_lock(&records_lock);
    put_locked(t);
    pthread_mutex_unlock(&records_lock);
}

void weft::record_name(weft_thread *t, char *name)
{
    pthread_mutex_lock(&records_lock);
    memcpy(name, t->name, sizeof t->name);
    pthread_mutex_unlock(&records_lock);
}

void weft::record_set_name(weft_thread *t, const char *name)
{
    pthread_mutex_lock(&records_lock);
    memcpy(t->name, name, sizeof t->name);
    pthread_mutex_unlock(&records_lock);
}

size_t weft_thread_list(weft_thread_information *to, size_t room)
{
    size_t n = 0;
    pthread_mutex_lock(&records_lock);
    for (weft_thread *t = all_records; t != nullptr; t = t->next) {
        uint32_t s = __atomic_load_n(&t->state, __ATOMIC_ACQUIRE);
        if (s & (RECORD_FREE | RECORD_ENDED))
            continue;
        if (n < room) {
            weft_thread_information *i = &to[n];
            i->thread = t;
            i->id = __atomic_load_n(&t->id, __ATOMIC_RELAXED);
            i->detached = (s & RECORD_DETACHED) != 0;
            i->stopping = __atomic_load_n(&t->stopping, __ATOMIC_RELAXED) != 0;
            memcpy(i->name, t->name, sizeof i->name);
        }
        n++;
    }
    pthread_mutex_unlock(&records_lock);
    return n;
}
