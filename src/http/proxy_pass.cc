// proxy_pass.cc: one request over one connection, and its answer.
//
// Nothing of an answer goes to the client before its head is whole, so until then another server
// can be asked; from there on what fails is a reset, by which the client can tell that it is not
// whole.
#include "proxy.h"

#include <weft/io.h>

#include <base/number.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

enum { PART = 16384 };

// ---- The request ----

static int send_part(const proxy_job *j, http_link *l, char *part, size_t n)
{
    char size[24];
    bool chunked = j->x->length == WEFT_HTTP_CHUNKED;
    weft_deadline d = weft_in_ns(j->p->o.answer_ns);
    if (!chunked && n == 0)
        return 1;
    int digits = snprintf(size, sizeof size, "%zx\r\n", n);
    struct iovec pieces[3] = {{size, (size_t)digits}, {part, n}, {(void *)"\r\n", 2}};
    return chunked ? http_link_send(l, pieces, 3, d) : http_link_send(l, pieces + 1, 1, d);
}

// 1: all is sent; 0: the server has answered before; -1: errno; -2: the client failed.
static int send_body(proxy_job *j, http_link *l, char *part)
{
    j->body_read = true;
    for (ssize_t n = 1; n > 0;) {
        n = weft_http_read(j->x, part, PART, WEFT_FOREVER); // the server limits how slow it may be
        if (n < 0)
            return -2;
        int result = send_part(j, l, part, (size_t)n);
        if (result != 1)
            return result;
    }
    return 1;
}

static int send_request(proxy_job *j, http_link *l)
{
    int result = -1;
    l->out.begin = l->out.end = 0;
    if (proxy_request_head(j, &l->out) == 0) {
        struct iovec piece = {bytes_at(&l->out), bytes_count(&l->out)};
        result = http_link_send(l, &piece, 1, weft_in_ns(j->p->o.answer_ns));
    }
    if (result != 1 || j->x->length == 0)
        return result;
    char *part = (char *)malloc(PART);
    if (part == nullptr)
        return fail_with(ENOMEM);
    result = send_body(j, l, part);
    free_keep_errno(part);
    return result;
}

// ---- The answer ----

// What the client is told of the body's length: that of a HEAD is in the field alone.
static int64_t length_for_client(const proxy_job *j, const weft_http_head *h)
{
    const weft_http_text *said = weft_http_find(h, "Content-Length");
    int64_t n;
    if (strcmp(j->x->method, "HEAD") == 0 && h->status != 204 && h->status != 304)
        return said != nullptr && number_parse(said->at, said->size, &n) ? n : WEFT_HTTP_CHUNKED;
    return h->length >= 0 ? h->length : WEFT_HTTP_CHUNKED;
}

// What of a body of known length has come together with its head goes on from where it lies.
static bool pass_what_came(proxy_job *j, http_link *l, http_body *b)
{
    size_t n = bytes_count(&l->in);
    if (n > (uint64_t)b->left)
        n = (size_t)b->left;
    if (n > 0 && weft_http_write(j->x, bytes_at(&l->in), n, WEFT_FOREVER) != (ssize_t)n)
        return false;
    bytes_take(&l->in, n);
    b->left -= (int64_t)n;
    b->ended = b->left == 0;
    return true;
}

// 0: all of it; -1: it is cut; 1: the client is gone.
static int pass_parts(proxy_job *j, http_link *l, http_body *b)
{
    char part[PART];
    for (;;) {
        ssize_t n = http_link_body(l, b, part, sizeof part, weft_in_ns(j->p->o.answer_ns));
        if (n <= 0)
            return (int)n;
        if (weft_http_write(j->x, part, (size_t)n, WEFT_FOREVER) != n)
            return 1;
        if (b->ended)
            return 0;
    }
}

static int pass_body(proxy_job *j, http_link *l, http_body *b)
{
    if (b->left > 0 && !pass_what_came(j, l, b))
        return 1;
    return b->ended ? 0 : pass_parts(j, l, b);
}

// Its status may be none that we may send.
static proxy_outcome refused(http_link *l)
{
    int error = errno;
    http_link_close(l);
    if (error == EPIPE)
        return PROXY_DONE; // the client is gone
    errno = error == EINVAL ? EBADMSG : error;
    return PROXY_FAILED;
}

static proxy_outcome pass_answer(proxy_job *j, http_link *l, const weft_http_head *h, size_t size,
                                 bool sent)
{
    bytes *fields = &l->out;
    http_body body;
    bool keep = sent && h->keep_alive;
    int64_t length = length_for_client(j, h);
    fields->begin = fields->end = 0;
    int result = proxy_response_fields(j, h, fields);
    if (result == 0)
        result =
            exchange_begin(j->x, h->status, bytes_at(fields), bytes_count(fields), length, false);
    if (result != 0)
        return refused(l);
    http_body_begin(&body, h->length, &j->p->o.limits);
    bytes_take(&l->in, size); // from here on h is no more
    result = pass_body(j, l, &body);
    if (result < 0) {
        weft_http_abort(j->x);
        j->p->done.failed++;
    }
    if (result == 0 && keep)
        http_pool_give(&j->server->pool, l);
    else
        http_link_close(l);
    return PROXY_DONE;
}

// ---- Both ----

static http_link *link_to(proxy_job *j)
{
    proxy_server *s = j->server;
    http_link *l = j->fresh ? nullptr : http_pool_take(&s->pool, s->address);
    if (l != nullptr) {
        j->p->done.reused++;
        return l;
    }
    l = http_pool_open(&s->pool, s->address, j->p->o.limits.fields, weft_in_ns(j->p->o.connect_ns));
    if (l != nullptr)
        j->p->done.connects++;
    return l;
}

// There is no answer.
static proxy_outcome give_up(proxy_job *j, http_link *l)
{
    j->heard = l->heard;
    bool stale = l->reused && !l->heard && (errno == ECONNRESET || errno == EPIPE);
    http_link_close(l);
    return stale ? PROXY_STALE : PROXY_FAILED;
}

proxy_outcome weft::proxy_pass(proxy_job *j)
{
    weft_http_head h;
    http_link *l = link_to(j);
    j->linked = l != nullptr;
    if (l == nullptr)
        return PROXY_FAILED;
    j->asked = true;
    int sent = send_request(j, l);
    if (sent == -2) { // its server says what of that
        http_link_close(l);
        return PROXY_DONE;
    }
    ssize_t size = -1;
    if (sent >= 0)
        size = http_link_head(l, &h, &j->p->o.limits, strcmp(j->x->method, "HEAD") == 0,
                              j->websocket, weft_in_ns(j->p->o.answer_ns));
    if (size < 0)
        return give_up(j, l);
    j->server->failures = 0;
    j->p->done.requests++;
    if (h.status == 101)
        return proxy_tunnel(j, l, &h, (size_t)size);
    return pass_answer(j, l, &h, (size_t)size, sent == 1);
}
