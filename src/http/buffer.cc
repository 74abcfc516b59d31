// buffer.cc: buffers that are used again while they are still in the cache (server.h).
#include "server.h"

using namespace weft;

bytes weft::buffer_take(weft_http_server *s)
{
    buffer_pool *p = &s->pool;
    return p->count > 0 ? p->free[--p->count] : bytes{};
}

void weft::buffer_give(weft_http_server *s, bytes *b)
{
    buffer_pool *p = &s->pool;
    if (b->data == nullptr)
        return;
    if (p->count == POOLED || b->room > BUFFER_MAX) {
        bytes_release(b);
        return;
    }
    b->begin = b->end = 0;
    p->free[p->count++] = *b;
    *b = {};
}

void weft::buffers_free(weft_http_server *s)
{
    while (s->pool.count > 0)
        bytes_release(&s->pool.free[--s->pool.count]);
}
