// request.cc: requests: their heads where they lie, their bodies as a stream.
//
// While an exchange lasts its head stays at its place in the connection's buffer, for all texts
// point there.  What is behind it is the body's begin, or the next requests.  A chunked body is
// received into the room behind the head, again and again; one of known length goes straight to
// where the handler wants it.
#include "server.h"

#include "path.h"

#include <base/number.h>

#include <string.h>

using namespace weft;

enum { CHUNK_ROOM = 4096, UNREAD_MAX = 64 << 10 };

// ---- The head ----

// Ends it with a 0: what is behind it has been parsed.
static const char *text_of(weft_http_text t)
{
    if (t.at == nullptr)
        return "";
    const_cast<char *>(t.at)[t.size] = 0;
    return t.at;
}

// The path, decoded, and the query.  -1: it is none.
static int find_path(exchange *x)
{
    weft_http_text *target = &x->head.path;
    bytes *path = &x->runner->path;
    static const char root[] = "/";
    path->begin = path->end = 0;
    // A whole URL without a path says * to OPTIONS (RFC 9112, 3.2.4).
    bool all = target->size == 0 && strcmp(x->pub.method, "OPTIONS") == 0;
    if (all || x->head.target.at == nullptr ||
        (x->head.target.size == 1 && *x->head.target.at == '*')) {
        x->pub.path = x->pub.rest = "*";
        return 0;
    }
    const char *query =
        target->size > 0 ? (const char *)memchr(target->at, '?', target->size) : nullptr;
    size_t n = query != nullptr ? (size_t)(query - target->at) : target->size;
    char *to = bytes_room(path, n + 2, 256, realloc);
    if (to == nullptr || path_normalise(to, n > 0 ? target->at : root, n > 0 ? n : 1) < 0)
        return -1;
    x->pub.path = x->pub.rest = to;
    x->pub.query = query != nullptr ? query + 1 : nullptr; // the target's end is its own
    return 0;
}

static void find_body(exchange *x)
{
    const weft_http_limits *limits = &x->runner->home->server->o.limits;
    x->pub.length = x->head.length;
    x->body_at = x->c->in.begin;
    x->body = x->head.length == 0 ? BODY_NONE : BODY_SIZED;
    x->body_left = x->head.length > 0 ? (uint64_t)x->head.length : 0;
    if (x->head.length == WEFT_HTTP_CHUNKED) {
        x->body = BODY_CHUNKED;
        x->chunks.limits = *limits;
    }
    // One that has begun with the body does not wait.
    x->ask = x->head.expects_continue && x->head.version > 10 && x->body != BODY_NONE &&
             bytes_count(&x->c->in) == 0;
}

static void clear(runner *r, connection *c)
{
    exchange *x = &r->x;
    weft_http_server *s = r->home->server;
    memset(x, 0, sizeof *x);
    x->runner = r;
    x->c = c;
    x->head.fields = r->found;
    x->head.room = s->o.limits.fields;
    x->pub.head = &x->head;
    x->pub.method = x->pub.target = x->pub.path = x->pub.rest = "";
    x->pub.began = c->since;
    x->pub.version = 11;
    r->fields.begin = r->fields.end = 0;
    pace_begin(s, &x->come);
    pace_begin(s, &x->go);
}

// The head's length; 0; -1.  With a chunked body there is room for that behind it.
static ssize_t parse(runner *r, connection *c)
{
    const weft_http_limits *limits = &r->home->server->o.limits;
    for (;;) {
        clear(r, c);
        ssize_t n =
            weft_http_parse_request(&r->x.head, bytes_at(&c->in), bytes_count(&c->in), limits);
        if (n <= 0 || r->x.head.length != WEFT_HTTP_CHUNKED ||
            c->in.room - c->in.begin - (size_t)n >= CHUNK_ROOM)
            return n;
        if (bytes_room(&c->in, CHUNK_ROOM, BUFFER, realloc) == nullptr)
            return -1;
    }
}

int weft::request_begin(runner *r, connection *c)
{
    exchange *x = &r->x;
    weft_http_server *s = r->home->server;
    ssize_t n = parse(r, c);
    if (n == 0)
        return 0;
    c->head_at = 0;
    if (n < 0) {
        response_refuse(x, x->head.status != 0 ? x->head.status : 503, x->head.why);
        return -1;
    }
    c->in.begin += (size_t)n;
    x->keep = x->head.keep_alive && !r->home->stopping;
    x->pub.version = x->head.version;
    x->pub.method = text_of(x->head.method);
    x->pub.target = text_of(x->head.target);
    find_body(x);
    if (x->head.length > 0 && x->body_left > s->o.body) {
        response_refuse(x, 413, nullptr);
        return -1;
    }
    if (find_path(x) != 0) {
        response_refuse(x, 400, "the path");
        return -1;
    }
    return 1;
}

// ---- The body ----

static int body_fails(exchange *x, int error, int status)
{
    x->body = BODY_FAILED;
    x->body_error = error;
    x->failed_status = status;
    return fail_with(error);
}

static ssize_t take_sized(exchange *x, char *to, size_t n)
{
    bytes *in = &x->c->in;
    size_t have = bytes_count(in);
    n = n < have ? n : have;
    n = n < x->body_left ? n : (size_t)x->body_left;
    memcpy(to, bytes_at(in), n);
    in->begin += n;
    x->body_left -= n;
    return (ssize_t)n;
}

// How many bytes; 0: more must be received, or it has ended.
static ssize_t take_chunked(exchange *x, char *to, size_t n)
{
    bytes *in = &x->c->in;
    while (bytes_count(in) > 0 && x->body == BODY_CHUNKED) {
        size_t have = bytes_count(in);
        weft_http_text data = {};
        ssize_t taken = weft_http_chunks_next(&x->chunks, bytes_at(in), have < n ? have : n, &data);
        if (taken < 0)
            return body_fails(x, EBADMSG, x->chunks.status != 0 ? x->chunks.status : 400);
        in->begin += (size_t)taken;
        x->body_read += data.size;
        if (x->body_read > x->runner->home->server->o.body)
            return body_fails(x, EMSGSIZE, 413);
        if (x->chunks.ended)
            x->body = BODY_ENDED;
        if (data.size > 0) {
            memcpy(to, data.at, data.size);
            return (ssize_t)data.size;
        }
    }
    return 0;
}

// What came: how many bytes went to `to`; 0: it is in the buffer; -1: errno.
static ssize_t receive_body(exchange *x, char *to, size_t n)
{
    connection *c = x->c;
    ssize_t got;
    if (x->body == BODY_SIZED) {
        n = n < x->body_left ? n : (size_t)x->body_left;
    } else {
        c->in.begin = c->in.end = x->body_at;
        to = c->in.data + x->body_at;
        n = c->in.room - x->body_at;
    }
    do
        got = recv(c->fd, to, n, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        return fail_with(ECONNRESET);
    if (got < 0)
        return -1;
    x->ask = false;
    x->runner->home->server->stats.in += (size_t)got;
    pace_moved(x->runner->home->server, &x->come, (size_t)got);
    if (x->body == BODY_SIZED) {
        x->body_left -= (size_t)got;
        return got;
    }
    c->in.end += (size_t)got;
    return 0;
}

// The client waits to be asked for it.
static void ask(exchange *x)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    x->ask = false;
    if (x->pub.status == 0 && output_put(x->runner, text, sizeof text - 1) == 0)
        output_later(x->runner);
}

// More has come, or it is to be waited for.  As receive_body.
static ssize_t await_body(exchange *x, char *to, size_t n, weft_deadline d)
{
    if (x->ask)
        ask(x);
    connection_give_way(x->c, d);
    ssize_t got = receive_body(x, to, n);
    if (got >= 0) {
        connection_moved(x->c, (size_t)got);
        return got;
    }
    if (errno != EAGAIN)
        return body_fails(x, ECONNRESET, 400);
    output_later(x->runner);
    if (connection_wait_paced(x->c, WEFT_READ, &x->come, d) == 0)
        return 0;
    return errno == ETIME ? body_fails(x, ETIMEDOUT, 408) : -1;
}

ssize_t weft_http_read(weft_http_exchange *pub, void *buf, size_t n, weft_deadline d)
{
    exchange *x = private_of(pub);
    int saved = errno;
    if (x == nullptr || (buf == nullptr && n > 0) || x->raw)
        return fail_with(EINVAL);
    if (x->body == BODY_FAILED)
        return fail_with(x->body_error);
    ssize_t got = 0;
    while (got == 0 && n > 0) {
        if (x->body == BODY_SIZED)
            got = take_sized(x, (char *)buf, n);
        else if (x->body == BODY_CHUNKED)
            got = take_chunked(x, (char *)buf, n);
        if (x->body == BODY_SIZED && x->body_left == 0)
            x->body = BODY_ENDED;
        if (got != 0 || x->body == BODY_NONE || x->body == BODY_ENDED)
            break;
        got = await_body(x, (char *)buf, n, d);
        if (x->body == BODY_SIZED && x->body_left == 0)
            x->body = BODY_ENDED;
    }
    if (got >= 0)
        errno = saved;
    return got;
}

int weft::request_end(exchange *x)
{
    char dropped[2048];
    size_t most = UNREAD_MAX;
    if (x->body == BODY_SIZED && x->body_left > most)
        return -1;
    while (x->body == BODY_SIZED || x->body == BODY_CHUNKED) {
        ssize_t n = x->ask ? -1 : weft_http_read(&x->pub, dropped, sizeof dropped, WEFT_FOREVER);
        if (n < 0 || (size_t)n > most)
            return -1;
        most -= (size_t)n;
    }
    return x->body == BODY_FAILED ? -1 : 0;
}

// ---- What is asked of it ----

const char *weft_http_header(const weft_http_exchange *x, const char *name)
{
    if (x == nullptr || name == nullptr)
        return fail_null(EINVAL);
    const weft_http_text *found = weft_http_find(x->head, name);
    return found != nullptr ? text_of(*found) : nullptr;
}

// Decodes text[0..n), a name or value of a query, into `to`.  Its length; -1: errno.
static ssize_t decode(char *to, size_t room, const char *text, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        int c = text[i] == '+' ? ' ' : (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_digit(text[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0)
                return fail_with(EBADMSG);
            c = high * 16 + low;
            i += 2;
        }
        if (used + 1 >= room)
            return fail_with(ENOBUFS);
        to[used++] = (char)c;
    }
    if (used == room)
        return fail_with(ENOBUFS);
    to[used] = 0;
    return (ssize_t)used;
}

ssize_t weft_http_query(const weft_http_exchange *x, const char *name, char *value, size_t room)
{
    if (x == nullptr || name == nullptr || value == nullptr)
        return fail_with(EINVAL);
    char key[256];
    size_t wanted = strlen(name);
    for (const char *at = x->query; at != nullptr && *at != 0;) {
        size_t n = strcspn(at, "&"), key_size = strcspn(at, "=&");
        int saved = errno;
        ssize_t found = decode(key, sizeof key, at, key_size);
        errno = saved;
        if (found == (ssize_t)wanted && memcmp(key, name, wanted) == 0) {
            size_t from = key_size < n ? key_size + 1 : n;
            return decode(value, room, at + from, n - from);
        }
        at += n;
        at += *at == '&';
    }
    return fail_with(ENOENT);
}

int weft_http_peer(const weft_http_exchange *x, char *text, size_t room)
{
    if (x == nullptr || text == nullptr)
        return fail_with(EINVAL);
    return weft_io_address(private_of(x)->c->fd, WEFT_IO_PEER, text, room);
}

int weft_http_stopping(const weft_http_exchange *x)
{
    char byte;
    if (x == nullptr)
        return fail_with(EINVAL);
    connection *c = private_of(x)->c;
    if (c->home->stopping || c->broken || c->hung_up)
        return 1;
    int saved = errno;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    bool gone = n == 0 || (n < 0 && !is_for_now(errno));
    errno = saved;
    return gone;
}
