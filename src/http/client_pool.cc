// client_pool.cc: connections that are kept for later requests, oldest first.
//
// Nothing runs while nobody asks: those that are too old are closed when the pool is used next.
// The newest is used first, so that those which are not needed grow old.
#include "client.h"

#include <base/list.h>
#include <base/wiped.h>

#include <string.h>
#include <sys/socket.h>

using namespace weft;

enum { ROOM_KEPT = 4096 }; // of a connection that is kept, for what comes

int weft::http_pool_init(http_pool *p, size_t max, size_t max_per_origin, int64_t idle_ns)
{
    int saved = errno;
    *p = {};
    list_init(&p->links);
    p->max = max;
    p->max_per_origin = max_per_origin;
    p->idle_ns = idle_ns;
    p->process = getpid();
    p->here = (int *)wiped_make();
    if (p->here == nullptr && errno == ENOMEM)
        return -1;
    if (p->here != nullptr)
        *p->here = 1;
    errno = saved;
    return 0;
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
    wiped_free(p->here);
    p->here = nullptr;
}

// In a child: what is kept, and what is in use, is the parent's.
static void notice_fork(http_pool *p)
{
    if (p->here != nullptr ? *p->here != 0 : p->process == getpid())
        return;
    if (p->here != nullptr)
        *p->here = 1;
    p->process = getpid();
    p->forks++;
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

static void drop_old(http_pool *p, int64_t now)
{
    while (!list_is_empty(&p->links) && p->links.next->until <= now)
        drop(p, p->links.next);
}

http_link *weft::http_pool_take(http_pool *p, const char *address)
{
    notice_fork(p);
    drop_old(p, weft_now());
    for (http_link *l = p->links.previous, *before; l != &p->links; l = before) {
        before = l->previous;
        if (strcmp(l->address, address) != 0)
            continue;
        if (!is_silent(l)) {
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

http_link *weft::http_pool_open(http_pool *p, const char *address, size_t fields, weft_deadline d)
{
    notice_fork(p);
    http_link *l = http_link_open(address, fields, d);
    if (l != nullptr)
        l->forks = p->forks;
    return l;
}

// Makes room for one more of that origin, and in all.
static void make_room(http_pool *p, const char *address)
{
    size_t n = 0;
    if (p->count < p->max_per_origin && p->count < p->max)
        return;
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
    notice_fork(p);
    if (p->idle_ns <= 0 || l->gone || l->forks != p->forks || bytes_count(&l->in) > 0) {
        http_link_close(l);
        return;
    }
    make_room(p, l->address);
    if (l->in.room > ROOM_KEPT)
        bytes_release(&l->in);
    if (l->out.room > ROOM_KEPT)
        bytes_release(&l->out);
    l->until = weft_in_ns(p->idle_ns);
    list_insert(&p->links, l);
    p->count++;
}
