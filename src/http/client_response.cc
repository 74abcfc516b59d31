// client_response.cc: a response, and its body as it comes.
//
// Head, fields and URL are one piece of memory: the connection's own may be another's as soon as
// the body has been read.
#include "client.h"

#include <weft/io.h>

#include <async/here.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

namespace {
struct response {
    weft_http_response shown; // the first member
    weft_http_head head;
    weft_http_client *client;
    http_link *link; // NULL: it is another's by now, or closed
    http_body body;
    uint64_t all; // bytes of the body, so far
    int failed;   // errno of each later read; or 0
    bool keep;    // the connection, when the body has been read
    bytes held;   // read by a read_all that failed
};
} // namespace

static response *of(const weft_http_response *r)
{
    return (response *)r;
}

// ---- Made ----

static void move_text(weft_http_text *t, const char *from, char *to)
{
    if (t->at == nullptr)
        return;
    t->at = to + (t->at - from);
    to[t->at - to + (ptrdiff_t)t->size] = 0; // where a CR or a blank was
}

// Its own fields, with the text at `to`.
static void take_head(response *r, const weft_http_head *h, const char *from, char *to)
{
    weft_http_field *fields = (weft_http_field *)(r + 1);
    memcpy(fields, h->fields, h->count * sizeof *fields);
    r->head = *h;
    r->head.fields = fields;
    r->head.room = h->count;
    r->head.private_text = nullptr;
    move_text(&r->head.reason, from, to);
    for (size_t i = 0; i < h->count; i++) {
        fields[i].name.at = to + (fields[i].name.at - from);
        move_text(&fields[i].value, from, to);
    }
}

weft_http_response *weft::http_response_create(weft_http_client *c, const http_ask *a, http_link *l,
                                               const weft_http_head *h, size_t size, bool sent)
{
    size_t url = strlen(a->text) + 1, fields = h->count * sizeof(weft_http_field);
    response *r = (response *)malloc(sizeof *r + fields + size + url);
    if (r == nullptr)
        return fail_null(ENOMEM);
    char *text = (char *)(r + 1) + fields;
    memset(r, 0, sizeof *r);
    memcpy(text, bytes_at(&l->in), size);
    memcpy(text + size, a->text, url);
    take_head(r, h, bytes_at(&l->in), text);
    bytes_take(&l->in, size);
    r->shown = {h->status, h->version, h->length, &r->head, text + size};
    r->client = c;
    r->link = l;
    r->keep = sent && h->keep_alive;
    http_body_begin(&r->body, h->length, &c->limits);
    c->users++;
    return &r->shown;
}

const char *weft_http_response_header(const weft_http_response *r, const char *name)
{
    if (r == nullptr || name == nullptr)
        return fail_null(EINVAL);
    const weft_http_text *t = weft_http_find(r->head, name);
    return t != nullptr ? t->at : nullptr;
}

// ---- The body ----

static void let_go(response *r)
{
    if (r->link == nullptr)
        return;
    if (r->keep && r->body.ended)
        http_pool_give(&r->client->pool, r->link);
    else
        http_link_close(r->link);
    r->link = nullptr;
}

static ssize_t fail(response *r, int error)
{
    if (error != ETIMEDOUT && error != ECANCELED && error != EBUSY) {
        r->failed = error;
        let_go(r);
    }
    return fail_with(error);
}

// What is behind what is held.
static ssize_t read_body(response *r, void *buf, size_t n, weft_deadline d)
{
    uint64_t limit = r->client->body != 0 ? r->client->body : UINT64_MAX;
    int saved = errno;
    if (r->failed != 0)
        return fail_with(r->failed);
    if (r->body.left > 0 && r->all == 0 && (uint64_t)r->body.left > limit)
        return fail(r, EMSGSIZE);
    if (r->link == nullptr || r->body.ended) {
        let_go(r);
        return 0;
    }
    ssize_t got = http_link_body(r->link, &r->body, buf, n, d);
    if (got < 0)
        return fail(r, errno);
    r->all += (uint64_t)got;
    if (r->all > limit)
        return fail(r, EMSGSIZE);
    if (r->body.ended)
        let_go(r);
    errno = saved;
    return got;
}

ssize_t weft_http_response_read(weft_http_response *r, void *buf, size_t n, weft_deadline d)
{
    if (r == nullptr || (buf == nullptr && n > 0))
        return fail_with(EINVAL);
    if (!in_io_run())
        return fail_with(EPERM);
    bytes *held = &of(r)->held;
    size_t there = bytes_count(held);
    if (there == 0 || n == 0)
        return read_body(of(r), buf, n, d);
    n = n < there ? n : there;
    if (n > 0)
        memcpy(buf, bytes_at(held), n);
    bytes_take(held, n);
    return (ssize_t)n;
}

// Room for more of a body: all of it, where it says how long it is.  Beyond the limit there is one
// byte more, to see whether there is one.
static char *room_for(response *r, size_t limit)
{
    size_t there = bytes_count(&r->held), more = there < 4096 ? 4096 : there;
    if (r->body.left > 0)
        more = (uint64_t)r->body.left < SIZE_MAX / 2 ? (size_t)r->body.left : SIZE_MAX / 2;
    if (more > limit - there)
        more = limit - there;
    return bytes_room(&r->held, more < SIZE_MAX ? more + 1 : more, 512, realloc);
}

ssize_t weft_http_response_read_all(weft_http_response *r, char **body, size_t limit,
                                    weft_deadline d)
{
    if (r == nullptr || body == nullptr)
        return fail_with(EINVAL);
    if (!in_io_run())
        return fail_with(EPERM);
    response *own = of(r);
    bytes *held = &own->held;
    for (ssize_t got = 1; got > 0;) {
        size_t there = bytes_count(held);
        if (there > limit || (own->body.left > 0 && (uint64_t)own->body.left > limit - there))
            return fail_with(EMSGSIZE);
        char *to = room_for(own, limit);
        if (to == nullptr)
            return -1;
        got = read_body(own, to, bytes_free(held), d);
        if (got < 0)
            return -1;
        bytes_put(held, (size_t)got);
    }
    bytes_to_front(held);
    if (bytes_room(held, 1, 1, realloc) == nullptr)
        return -1;
    ssize_t n = (ssize_t)bytes_count(held);
    held->data[n] = 0;
    *body = held->data;
    *held = {};
    return n;
}

// What has come already, up to a limit: so that the connection is kept where that costs nothing.
static void skip_what_came(response *r)
{
    char some[1024];
    for (int i = 0; i < 64 && r->link != nullptr && r->keep && r->failed == 0; i++)
        if (read_body(r, some, sizeof some, WEFT_NOW) <= 0)
            break;
}

int weft_http_response_close(weft_http_response *r)
{
    if (r == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    response *own = of(r);
    if (in_io_run())
        skip_what_came(own);
    let_go(own);
    own->client->users--;
    bytes_release(&own->held);
    free(own);
    errno = saved;
    return 0;
}
