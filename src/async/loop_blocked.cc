// loop_blocked.cc: which callback takes how long.
//
// The owner writes what runs before `since`, so another thread that reads the same `since` before
// and after the rest has read what belongs together.
#include "loop_state.h"

#include <string.h>

#include <dlfcn.h>
#include <stdio.h>

using namespace weft;

void weft::loop_callback_begins(weft_loop *l, const char *kind, void (*fn)(void), int fd)
{
    // release each: who sees one of these sees that the last callback's `since` has gone.
    __atomic_store_n(&l->current.kind, kind, __ATOMIC_RELEASE);
    __atomic_store_n(&l->current.fn, fn, __ATOMIC_RELEASE);
    __atomic_store_n(&l->current.fd, fd, __ATOMIC_RELEASE);
    __atomic_store_n(&l->current.since, weft_now(), __ATOMIC_RELEASE);
}

// "weft: a callback blocked the loop for 120.3 ms: watch of descriptor 7, ./server+0x1234 (serve)"
static void complain(const weft_loop_callback *c)
{
    Dl_info where = {};
    void *address;
    memcpy(&address, &c->fn, sizeof address);
    char fd[40] = "";
    if (c->fd >= 0)
        snprintf(fd, sizeof fd, " of descriptor %d", c->fd);
    bool known = dladdr(address, &where) != 0 && where.dli_fname != nullptr;
    fprintf(stderr, "weft: a callback blocked the loop for %.1f ms: %s%s, %s+%#zx (%s)\n",
            (double)c->ns / 1e6, c->kind, fd, known ? where.dli_fname : "?",
            (size_t)((char *)address - (known ? (char *)where.dli_fbase : nullptr)),
            known && where.dli_sname != nullptr ? where.dli_sname : "?");
}

void weft::loop_callback_ends(weft_loop *l)
{
    weft_loop_callback c = {l->current.kind, l->current.fn, l->current.fd,
                            weft_now() - l->current.since};
    __atomic_store_n(&l->current.since, 0, __ATOMIC_RELAXED);
    if (c.ns < l->blocked_ns)
        return;
    l->stats.blocked++;
    if (l->blocked != nullptr)
        l->blocked(l, &c, l->arg);
    else
        complain(&c);
}

int weft_loop_blocked(const weft_loop *l, weft_loop_callback *c)
{
    if (l == nullptr || c == nullptr)
        return fail_with(EINVAL);
    int64_t since = __atomic_load_n(&l->current.since, __ATOMIC_ACQUIRE);
    while (since != 0) {
        c->kind = __atomic_load_n(&l->current.kind, __ATOMIC_ACQUIRE);
        c->fn = __atomic_load_n(&l->current.fn, __ATOMIC_ACQUIRE);
        c->fd = __atomic_load_n(&l->current.fd, __ATOMIC_ACQUIRE);
        int64_t still = __atomic_load_n(&l->current.since, __ATOMIC_ACQUIRE);
        if (still == since) {
            c->ns = weft_now() - since;
            return 1;
        }
        since = still;
    }
    return 0;
}
