// remote.cc: what all proxies have in common: names, texts, one call.
#include "remote.h"

#include <base/errno.h>

#include <stdio.h>
#include <stdlib.h>

using namespace weft;

static const int64_t USUAL_SLACK = 50000000, LONGEST_SLACK = 200000000; // ns

static const char *const kinds[REMOTE_KINDS] = {
    "queue", "lock", "semaphore", "event", "barrier", "value",
    "dict",  "list", "namespace", "jobs",  "set",     "subscriber",
};

// ---- Opening ----

static weft_remote *make(weft_client *c, int kind, const char *name, size_t size, int64_t number)
{
    if (c == nullptr || size == 0) {
        errno = EINVAL;
        return nullptr;
    }
    weft_remote *r = (weft_remote *)calloc(1, sizeof *r + size + 1);
    if (r == nullptr)
        return nullptr;
    char *copy = (char *)(r + 1);
    memcpy(copy, name, size);
    r->client = c;
    r->kind = kind;
    r->number = number;
    r->name = copy;
    r->name_size = size;
    __atomic_fetch_add(&c->proxies, 1, __ATOMIC_RELAXED);
    return r;
}

weft_remote *weft::remote_open(weft_client *c, int kind, const char *name, int64_t number)
{
    return make(c, kind, name, name != nullptr ? strlen(name) : 0, number);
}

int weft_remote_destroy(weft_remote *r)
{
    if (r == nullptr)
        return 0;
    weft_client *c = r->client;
    if ((r->owns_client || __atomic_load_n(&r->asking, __ATOMIC_RELAXED)) && client_in_use(c))
        return fail_with(EBUSY);
    __atomic_fetch_sub(&c->proxies, 1, __ATOMIC_RELAXED);
    if (r->owns_client && weft_client_destroy(c) != 0) {
        __atomic_fetch_add(&c->proxies, 1, __ATOMIC_RELAXED);
        return -1;
    }
    free_keep_errno(r->own);
    free_keep_errno(r);
    return 0;
}

weft_client *weft_remote_client(const weft_remote *r)
{
    if (r == nullptr)
        errno = EINVAL;
    return r != nullptr ? r->client : nullptr;
}

int weft::remote_check(const weft_remote *r, int kind)
{
    return r == nullptr || r->kind != kind ? fail_with(EINVAL) : 0;
}

// ---- As text: KIND:NUMBER:NAME@ADDRESS, the name's odd bytes as %XX ----

static bool is_plain(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == ':' || c == '/';
}

namespace {
struct writer {
    char *text;
    size_t room, n; // n: how long it would be
};
} // namespace

static void put(writer *w, char c)
{
    if (w->n + 1 < w->room)
        w->text[w->n] = c;
    w->n++;
}

static void put_text(writer *w, const char *text)
{
    while (*text != 0)
        put(w, *text++);
}

static void put_name(writer *w, const weft_remote *r)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < r->name_size; i++) {
        unsigned char c = (unsigned char)r->name[i];
        if (is_plain(c)) {
            put(w, (char)c);
        } else {
            put(w, '%');
            put(w, digits[c >> 4]);
            put(w, digits[c & 15]);
        }
    }
}

ssize_t weft_remote_text(const weft_remote *r, char *text, size_t room)
{
    char head[64];
    writer w = {text, room, 0};
    if (r == nullptr || (text == nullptr && room > 0))
        return fail_with(EINVAL);
    snprintf(head, sizeof head, "%s:%lld:", kinds[r->kind], (long long)r->number);
    put_text(&w, head);
    put_name(&w, r);
    put(&w, '@');
    put_text(&w, r->client->address);
    if (room > 0)
        text[w.n < room ? w.n : room - 1] = 0;
    return (ssize_t)w.n;
}

// Undoes %XX in place.  The length; -1.
static ssize_t read_name(char *name, const char *end)
{
    char *to = name;
    for (const char *from = name; from < end; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        if (end - from < 3 || hex_digit(from[1]) < 0 || hex_digit(from[2]) < 0)
            return -1;
        *to++ = (char)(hex_digit(from[1]) << 4 | hex_digit(from[2]));
        from += 2;
    }
    *to = 0;
    return to - name;
}

namespace {
struct parts {
    int kind;
    int64_t number;
    char *name; // in the text
    const char *address;
};
} // namespace

// Takes a text apart, in place.
static int read_text(char *text, parts *p)
{
    char *colon = strchr(text, ':'), *end, *at = strchr(text, '@');
    if (colon == nullptr || at == nullptr)
        return fail_with(EINVAL);
    *colon = 0;
    for (p->kind = 0; p->kind < REMOTE_KINDS && strcmp(text, kinds[p->kind]) != 0;)
        p->kind++;
    errno = 0;
    p->number = strtoll(colon + 1, &end, 10);
    if (p->kind == REMOTE_KINDS || errno != 0 || end == colon + 1 || *end != ':' || end > at)
        return fail_with(EINVAL);
    p->name = end + 1;
    p->address = at + 1;
    ssize_t n = read_name(p->name, at);
    // A 0 in a name would be read as its end.
    return n <= 0 || strlen(p->name) != (size_t)n ? fail_with(EINVAL) : 0;
}

static weft_remote *open_parts(weft_client *c, const parts *p, weft_deadline d)
{
    if (p->number < 0 || (p->kind != REMOTE_QUEUE && p->number > UINT32_MAX)) {
        errno = EINVAL;
        return nullptr;
    }
    uint32_t small = (uint32_t)p->number;
    switch (p->kind) {
    case REMOTE_QUEUE:
        return weft_remote_queue_open(c, p->name, (size_t)p->number);
    case REMOTE_LOCK:
        return weft_remote_lock_open(c, p->name, (int)small);
    case REMOTE_SEMAPHORE:
        return weft_remote_semaphore_open(c, p->name, small, d);
    case REMOTE_JOBS:
        return remote_jobs_open_text(c, p->name, p->number);
    case REMOTE_SUBSCRIBER:
        return remote_subscriber_open(c, p->name, (int)small, d);
    case REMOTE_BARRIER:
        return weft_remote_barrier_open(c, p->name, small);
    default: // the others have a name and nothing else
        return remote_open(c, p->kind, p->name, 0);
    }
}

weft_remote *weft::remote_with_own(weft_remote *r, weft_client *own)
{
    int saved = errno;
    if (r != nullptr)
        r->owns_client = true;
    else
        weft_client_destroy(own);
    errno = saved;
    return r;
}

weft_remote *weft_remote_open(const char *text, const char *password, weft_deadline d)
{
    int saved = errno;
    parts p;
    if (text == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    char *copy = strdup(text);
    if (copy == nullptr)
        return nullptr;
    weft_client *c =
        read_text(copy, &p) == 0 ? weft_client_connect(p.address, password, d) : nullptr;
    weft_remote *r = c != nullptr ? open_parts(c, &p, d) : nullptr;
    int error = errno;
    free(copy);
    errno = r != nullptr ? saved : error;
    return remote_with_own(r, c);
}

// ---- Calls ----

int weft::remote_enter(weft_remote *r, weft_deadline d)
{
    bool was = __atomic_exchange_n(&r->asking, true, __ATOMIC_RELAXED);
    if (client_enter(r->client, d) == 0)
        return 0;
    __atomic_store_n(&r->asking, was, __ATOMIC_RELAXED); // another tasklet may be in a call of it
    return -1;
}

void weft::remote_leave(weft_remote *r)
{
    weft_client *c = r->client;
    __atomic_store_n(&r->asking, false, __ATOMIC_RELAXED);
    client_leave(c);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// What is given up of a wait is small beside it; what is kept for the answer is more than a busy
// machine lets a process wait for its turn.
weft_deadline weft::remote_wait_end(weft_deadline d)
{
    int64_t left = weft_left(d);
    if (left == WEFT_FOREVER)
        return WEFT_FOREVER;
    int64_t part = least(left / 8, LONGEST_SLACK), small = least(left / 2, USUAL_SLACK);
    return d - (part > small ? part : small);
}

static int64_t milliseconds(weft_deadline d)
{
    int64_t left = weft_left(remote_wait_end(d));
    return left == WEFT_FOREVER ? -1 : left / 1000000;
}

static weft_reply *ask_weft(weft_remote *r, const remote_operation *op, const client_word words[],
                            size_t n, weft_deadline d)
{
    char ms[NUMBER_ROOM];
    client_word all[2 + REMOTE_MOST_WORDS];
    client_tries t = {};
    weft_reply *reply;
    all[0] = client_text(op->name);
    all[1] = client_bytes(r->name, r->name_size);
    do {
        for (size_t i = 0; i < n; i++)
            all[2 + i] = remote_waits(&words[i], 1) ? client_number(ms, milliseconds(d)) : words[i];
        reply = client_ask(r->client, all, 2 + n, op->late);
    } while (client_again(r->client, &t, &reply));
    return reply;
}

// The answer to it may come yet: notes what is to be done then.
static void prepare_late(weft_remote *r, const remote_operation *op)
{
    weft_client *c = r->client;
    client_word name = client_bytes(r->name, r->name_size);
    int saved = errno, result = 0;
    size_t more = c->late == LATE_JOB ? 4 : 0;
    c->undo.begin = c->undo.end = 0;
    if (c->late == LATE_FIRST) {
        result = bytes_append(&c->undo, r->name, r->name_size, r->name_size, realloc);
    } else if (c->server == WEFT_SERVER_REDIS) {
        client_word word = client_text(op->undo_word != nullptr ? op->undo_word : "");
        result = redis_put(&c->undo, r, op->undo, &word, op->undo_word != nullptr, more);
    } else {
        client_word words[] = {client_text(op->undo->name), name};
        result = client_put(&c->undo, words, 2, more);
    }
    if (result != 0)
        client_drop(c); // then the server undoes it
    errno = saved;
}

// What one can do to a dict one can do to a namespace.
static bool has(const weft_remote *r, const remote_operation *op)
{
    return r != nullptr &&
           (r->kind == op->kind || (r->kind == REMOTE_NAMESPACE && op->kind == REMOTE_DICT));
}

static bool lacks_memory(const client_word words[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (words[i].data == nullptr && words[i].size > 0)
            return true;
    return false;
}

weft_reply *weft::remote_ask(weft_remote *r, const remote_operation *op, const client_word words[],
                             size_t n, weft_deadline d)
{
    int saved = errno, error = 0;
    if (!has(r, op) || lacks_memory(words, n)) {
        errno = EINVAL;
        return nullptr;
    }
    weft_client *c = r->client;
    if (remote_enter(r, d) != 0)
        return nullptr;
    client_go_to(c, r->name, r->name_size);
    bool by_script = op->redis.text != nullptr && c->server == WEFT_SERVER_REDIS;
    weft_reply *reply = (by_script ? redis_ask : ask_weft)(r, op, words, n, d);
    if (reply == nullptr && c->late > LATE_DROP)
        prepare_late(r, op);
    if (reply != nullptr && reply->type == WEFT_REPLY_ERROR)
        error = client_errno(c, reply);
    else if (reply != nullptr && reply->type == WEFT_REPLY_NULL && remote_waits(words, n))
        error = weft_left(d) == 0 || client_sleep(c, d) == 0 ? ETIMEDOUT : errno; // it ended early
    remote_leave(r);
    if (error != 0) {
        weft_reply_free(reply);
        reply = nullptr;
        errno = error;
    }
    errno = reply != nullptr ? saved : errno;
    return reply;
}

weft_reply *weft::remote_array(weft_remote *r, const remote_operation *op, weft_deadline d)
{
    weft_reply *reply = remote_ask(r, op, nullptr, 0, d);
    if (reply != nullptr && (reply->type == WEFT_REPLY_MAP || reply->type == WEFT_REPLY_SET))
        reply->type = WEFT_REPLY_ARRAY;
    return reply;
}

int weft::remote_strange(weft_reply *reply)
{
    weft_reply_free(reply);
    return fail_with(EPROTO);
}

int weft::remote_integer(weft_remote *r, const remote_operation *op, const client_word words[],
                         size_t n, int64_t *number, weft_deadline d)
{
    weft_reply *reply = remote_ask(r, op, words, n, d);
    if (reply == nullptr)
        return -1;
    if (reply->type != WEFT_REPLY_INTEGER)
        return remote_strange(reply);
    if (number != nullptr)
        *number = reply->integer;
    weft_reply_free(reply);
    return 0;
}

ssize_t weft::remote_count(weft_remote *r, const remote_operation *op, const client_word words[],
                           size_t n, weft_deadline d)
{
    int64_t number;
    return remote_integer(r, op, words, n, &number, d) == 0 ? (ssize_t)number : -1;
}

int weft::remote_truth(weft_remote *r, const remote_operation *op, const client_word words[],
                       size_t n, weft_deadline d)
{
    int64_t number;
    return remote_integer(r, op, words, n, &number, d) == 0 ? number != 0 : -1;
}

int weft::remote_do(weft_remote *r, const remote_operation *op, const client_word words[], size_t n,
                    weft_deadline d)
{
    weft_reply *reply = remote_ask(r, op, words, n, d);
    weft_reply_free(reply);
    return reply != nullptr ? 0 : -1;
}

ssize_t weft::remote_bytes(weft_remote *r, const remote_operation *op, const client_word words[],
                           size_t n, void *v, size_t room, weft_deadline d)
{
    if (v == nullptr && room > 0)
        return fail_with(EINVAL);
    weft_reply *reply = remote_ask(r, op, words, n, d);
    if (reply == nullptr)
        return -1;
    if (reply->type == WEFT_REPLY_NULL) {
        weft_reply_free(reply);
        return fail_with(ENOENT);
    }
    if (reply->type != WEFT_REPLY_STRING)
        return remote_strange(reply);
    size_t size = reply->size;
    if (room > 0)
        memcpy(v, reply->text, size < room ? size : room);
    weft_reply_free(reply);
    return (ssize_t)size;
}
