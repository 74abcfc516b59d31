// response.cc: heads of responses, short bodies, and what becomes of the connection.
#include "server.h"
#include "text.h"

#include <base/number.h>

#include <string.h>
#include <strings.h>
#include <time.h>

using namespace weft;

// ---- Fields ----

// What the server alone says: two who say it may differ.
static bool is_servers(const char *name)
{
    static const char *const all[] = {"Connection",        "Content-Length", "Date",   "Keep-Alive",
                                      "Transfer-Encoding", "Trailer",        "Upgrade"};
    for (const char *each : all)
        if (strcasecmp(each, name) == 0)
            return true;
    return false;
}

int weft_http_set(weft_http_exchange *pub, const char *name, const char *value)
{
    if (pub == nullptr || name == nullptr || value == nullptr)
        return fail_with(EINVAL);
    size_t n = strlen(name), m = strlen(value);
    if (!is_field_name(name, n) || !is_field_value(value, m) || is_servers(name))
        return fail_with(EINVAL);
    if (pub->status != 0)
        return fail_with(EALREADY);
    bytes *fields = &private_of(pub)->runner->fields;
    char *to = bytes_room(fields, n + m + 4, 256, realloc);
    if (to == nullptr)
        return -1;
    memcpy(to, name, n);
    memcpy(to + n, ": ", 2);
    memcpy(to + n + 2, value, m);
    memcpy(to + n + 2 + m, "\r\n", 2);
    bytes_put(fields, n + m + 4);
    return 0;
}

// ---- The head ----

static char *put(char *to, const void *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}

#define PUT(to, text) put(to, text, sizeof(text) - 1)

static void renew_date(weft_http_server *s)
{
    int64_t now = time(nullptr);
    if (now == s->dated)
        return;
    char text[DATE_ROOM];
    date_print(text, now);
    char *end = PUT(s->date, "Date: ");
    end = put(end, text, DATE_SIZE);
    end = PUT(end, "\r\n");
    s->date_size = (size_t)(end - s->date);
    s->dated = now;
}

// Whether and how the connection goes on.
static void decide(exchange *x, int status, int64_t length)
{
    bool bodiless = status == 204 || status == 304;
    x->mute = bodiless || strcmp(x->pub.method, "HEAD") == 0;
    if (length == WEFT_HTTP_CHUNKED && !bodiless) {
        x->chunked = x->pub.version > 10;
        x->to_end = !x->chunked;
    }
    // A body that was not asked for may come all the same, or not.
    if (x->to_end || x->ask || x->body == BODY_FAILED || x->runner->home->stopping)
        x->keep = false;
    x->promised = length;
}

static char *put_length(char *to, const exchange *x, int64_t length)
{
    char text[NUMBER_ROOM];
    if (x->chunked)
        return PUT(to, "Transfer-Encoding: chunked\r\n");
    if (length < 0 || x->pub.status == 204 || (x->pub.status == 304 && length == 0))
        return to;
    to = PUT(to, "Content-Length: ");
    to = put(to, text, number_print(text, length));
    return PUT(to, "\r\n");
}

static char *put_status(char *to, int status)
{
    size_t n;
    const char *text = status_text(status, &n);
    to = PUT(to, "HTTP/1.1 ");
    to = put(to, text, n);
    return PUT(to, "\r\n");
}

static char *put_connection(char *to, const exchange *x)
{
    if (!x->keep)
        return PUT(to, "Connection: close\r\n");
    return x->pub.version > 10 ? to : PUT(to, "Connection: keep-alive\r\n");
}

// -1: errno, and nothing has begun.
static int begin(exchange *x, int status, const char *type, const char *fields, size_t n,
                 int64_t length, bool said)
{
    enum { FIXED = 320 };
    runner *r = x->runner;
    weft_http_server *s = r->home->server;
    size_t type_size = type != nullptr ? strlen(type) : 0, own = bytes_count(&r->fields);
    if (status < 200 || status > 599 || length < WEFT_HTTP_CHUNKED ||
        !is_field_value(type, type_size))
        return fail_with(EINVAL);
    if (x->pub.status != 0)
        return fail_with(EALREADY);
    if (x->c->broken || x->aborted)
        return fail_with(EPIPE);
    char *to = output_room(r, FIXED + s->name_size + type_size + n + own);
    if (to == nullptr)
        return -1;
    const char *from = to;
    x->pub.status = status;
    decide(x, status, length);
    renew_date(s);
    to = put_status(to, status);
    to = put(to, s->date, s->date_size);
    if (s->name_size > 0)
        to = put(to, s->name, s->name_size);
    if (type != nullptr) {
        to = PUT(to, "Content-Type: ");
        to = put(to, type, type_size);
        to = PUT(to, "\r\n");
    }
    if (n > 0)
        to = put(to, fields, n);
    if (own > 0)
        to = put(to, bytes_at(&r->fields), own);
    if (!said)
        to = put_length(to, x, length);
    to = put_connection(to, x);
    to = PUT(to, "\r\n");
    output_used(r, (size_t)(to - from));
    return 0;
}

int weft::exchange_begin(weft_http_exchange *pub, int status, const char *fields, size_t n,
                         int64_t length, bool said)
{
    return begin(private_of(pub), status, nullptr, fields, n, length, said);
}

int weft_http_begin(weft_http_exchange *x, int status, const char *type, int64_t length)
{
    if (x == nullptr)
        return fail_with(EINVAL);
    if (begin(private_of(x), status, type, nullptr, 0, length, false) != 0)
        return -1;
    output_later(private_of(x)->runner);
    return 0;
}

// ---- A short body ----

// So much as can be sent at once of a body too large to be copied.
static size_t send_now(exchange *x, const char *body, size_t n)
{
    struct iovec piece = {const_cast<char *>(body), n};
    int saved = errno;
    ssize_t sent = output_send(x->runner, &piece, 1, &x->go, WEFT_NOW);
    errno = saved;
    return (size_t)sent;
}

int weft_http_reply(weft_http_exchange *pub, int status, const char *type, const void *body,
                    size_t n)
{
    exchange *x = private_of(pub);
    if (x == nullptr || (body == nullptr && n > 0))
        return fail_with(EINVAL);
    if (begin(x, status, type, nullptr, 0, (int64_t)n, false) != 0)
        return -1;
    x->promised = 0;
    x->pub.sent = x->mute ? 0 : n;
    if (x->mute || n == 0)
        return 0;
    size_t sent = n > COPIED ? send_now(x, (const char *)body, n) : 0;
    if (x->c->broken)
        return fail_with(EPIPE);
    if (output_put(x->runner, (const char *)body + sent, n - sent) == 0)
        return 0;
    x->aborted = true;
    return -1;
}

int weft::exchange_answer(weft_http_exchange *x, int status)
{
    char body[64];
    size_t n;
    const char *text = status_text(status, &n);
    *PUT(put(body, text, n), "\n") = 0;
    return weft_http_reply(x, status, "text/plain", body, n + 1);
}

// ---- The end ----

static unsigned bucket_of(int64_t ns)
{
    uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;
    unsigned i = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);
    return i < WEFT_HTTP_BUCKETS ? i : WEFT_HTTP_BUCKETS - 1;
}

static void count(exchange *x)
{
    weft_http_server *s = x->runner->home->server;
    int64_t took = (x->c->now = weft_now()) - x->pub.began;
    bool cut = x->aborted || x->pub.status == 0;
    s->stats.requests++;
    s->stats.status[cut ? 0 : x->pub.status / 100]++;
    s->stats.latency += took;
    s->stats.buckets[bucket_of(took)]++;
    if (s->o.done != nullptr)
        s->o.done(&x->pub, s->o.arg);
}

// What the handler has left undone.
static void complete(exchange *x)
{
    connection *c = x->c;
    if (x->pub.status == 0 && !x->aborted)
        exchange_answer(&x->pub, x->failed_status != 0 ? x->failed_status : 500);
    if (x->raw)
        return;
    if (x->chunked && !x->mute && !x->aborted && output_put(x->runner, "0\r\n\r\n", 5) != 0)
        x->aborted = true;
    if (x->promised > 0 && !x->mute)
        x->aborted = true;
    if (c->broken)
        x->aborted = true;
}

void weft::response_end(exchange *x)
{
    connection *c = x->c;
    complete(x);
    if (x->aborted)
        c->reset = c->closing = true;
    else if (x->raw || !x->keep)
        c->closing = true;
    if (c->closing) {
        bool unread = x->body == BODY_SIZED || x->body == BODY_CHUNKED || x->body == BODY_FAILED;
        c->lingers = !x->aborted && (unread || x->head.keep_alive);
    } else if (request_end(x) != 0) {
        c->closing = c->lingers = true;
    }
    if (c->in.begin == c->in.end)
        c->in.begin = c->in.end = 0;
    count(x);
}

void weft::response_refuse(exchange *x, int status, const char *why)
{
    char body[256];
    size_t n, m = why != nullptr ? strnlen(why, 128) : 0;
    const char *text = status_text(status, &n);
    char *to = put(body, text, n);
    if (m > 0)
        to = put(PUT(to, ": "), why, m);
    to = PUT(to, "\n");
    x->keep = false;
    x->body = BODY_FAILED;
    x->body_error = EBADMSG;
    weft_http_reply(&x->pub, status, "text/plain", body, (size_t)(to - body));
    response_end(x);
}

int weft_http_abort(weft_http_exchange *x)
{
    if (x == nullptr)
        return fail_with(EINVAL);
    private_of(x)->aborted = true;
    return 0;
}

bool weft::exchange_is_mute(const weft_http_exchange *x)
{
    return private_of(x)->mute;
}

bool weft::exchange_has_name(const weft_http_exchange *x)
{
    return server_of(private_of(x)->c)->name_size > 0;
}

int weft::exchange_fd(const weft_http_exchange *x)
{
    return private_of(x)->c->fd;
}
