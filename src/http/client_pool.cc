// client_pool.cc: connections that are kept for later requests, oldest first.
//
// Nothing runs while nobody asks: those that are too old are closed when the pool is used next.
// The newest is used first, so that those which are not needed grow old.
#include "client.h"

#include <base/list.h>

#include <string.h>
#include <sys/socket.h>

using namespace weft;

enum { ROOM_KEPT = 4096 }; // of a connection that is kept, for what comes

void weft::http_pool_init(http_pool *p, size_t max, size_t max_per_origin, int64_t idle_ns)
{
    *p = {};
    list_init(&p->links);
    p->max = max;
    p->max_per_origin = max_per_origin;
    p->idle_ns = idle_ns;
}

static void drop(http_pool *p, http_link *l)
{
    list_remove(l);
    p->count--;
    http_link_close(l);
}

void weft::http_pool_end(http_pool *p)
{
    while (!list_is_empty(&p->links))
        drop(p, p->links.next);
}

// Open, and nothing has come: an end or an answer that nobody asked for would be there to be read.
static bool is_silent(const http_link *l)
{
    char byte;
    int saved = errno;
    ssize_t n = recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    bool silent = n < 0 && is_for_now(errno);
    errno = saved;
    return silent;
}

static bool is_usable(const http_link *l, int64_t now)
{
    return l->until > now && l->process == getpid() && is_silent(l);
}

static void drop_old(http_pool *p, int64_t now)
{
    while (!list_is_empty(&p->links) && p->links.next->until <= now)
        drop(p, p->links.next);
}

http_link *weft::http_pool_take(http_pool *p, const char *address)
{
    int64_t now = weft_now();
    drop_old(p, now);
    for (http_link *l = p->links.previous, *before; l != &p->links; l = before) {
        before = l->previous;
        if (strcmp(l->address, address) != 0)
            continue;
        if (!is_usable(l, now)) {
            drop(p, l);
            continue;
        }
        list_remove(l);
        p->count--;
        l->reused = true;
        l->heard = false;
        return l;
    }
    return nullptr;
}

// Makes room for one more of that origin, and in all.
static void make_room(http_pool *p, const char *address)
{
    size_t n = 0;
    for (http_link *l = p->links.previous, *before; l != &p->links; l = before) {
        before = l->previous;
        if (strcmp(l->address, address) == 0 && ++n >= p->max_per_origin)
            drop(p, l);
    }
    while (p->count >= p->max)
        drop(p, p->links.next);
}

void weft::http_pool_give(http_pool *p, http_link *l)
{
    int64_t now = weft_now();
    drop_old(p, now);
    if (p->idle_ns <= 0 || p->max == 0 || p->max_per_origin == 0 || l->gone ||
        l->process != getpid() || bytes_count(&l->in) > 0) {
        http_link_close(l);
        return;
    }
    make_room(p, l->address);
    if (l->in.room > ROOM_KEPT)
        bytes_release(&l->in);
    l->until = weft_in_ns(p->idle_ns);
    list_insert(&p->links, l);
    p->count++;
}
