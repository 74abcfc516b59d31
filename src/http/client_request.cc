// client_request.cc: the bytes of a request.
//
// Everything that goes into the head is looked at before anything is sent: the method and names are
// tokens, values have no controls, and the URL has neither (url.cc).  So no text can end a line.
#include "client.h"
#include "text.h"

#include <base/number.h>

#include <stdio.h>
#include <stdlib.h>

using namespace weft;

enum { PART = 16384 }; // of a body that is read, bytes

static bool is_one_of(const char *name, const char *const *names)
{
    weft_http_text text = {name, strlen(name)};
    for (; *names != nullptr; names++)
        if (text_is(text, *names))
            return true;
    return false;
}

bool weft::http_is_idempotent(const char *method, size_t n)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (const char *each : methods)
        if (strlen(each) == n && memcmp(each, method, n) == 0)
            return true;
    return false;
}

// ---- What may be asked ----

static bool is_ours(const char *name)
{
    static const char *const names[] = {
        "Connection", "Content-Length",    "Expect",  "Keep-Alive", "Proxy-Connection", "TE",
        "Trailer",    "Transfer-Encoding", "Upgrade", nullptr};
    return is_one_of(name, names);
}

static bool is_host_field(const char *name)
{
    return text_is({name, strlen(name)}, "host");
}

static bool are_fields(const char *const *f)
{
    size_t hosts = 0;
    for (; f != nullptr && *f != nullptr; f += 2) {
        if (f[1] == nullptr || !is_field_name(f[0], strlen(f[0])) ||
            !is_field_value(f[1], strlen(f[1])) || is_ours(f[0]))
            return false;
        hosts += is_host_field(f[0]);
    }
    return hosts <= 1;
}

int weft::http_ask_check(const http_ask *a)
{
    const weft_http_request_options *o = a->opts;
    bool body = o->read != nullptr ? o->body == nullptr : o->body != nullptr || o->size == 0;
    bool well = is_field_name(a->method, strlen(a->method)) && strcmp(a->method, "CONNECT") != 0 &&
                are_fields(o->fields) && body;
    return well ? 0 : fail_with(EINVAL);
}

// ---- The head ----

static bool put(bytes *out, const char *text, size_t n)
{
    return bytes_append(out, text, n, 512, realloc) == 0;
}

static bool put(bytes *out, const char *text)
{
    return put(out, text, strlen(text));
}

static bool put_field(bytes *out, const char *name, const char *value)
{
    return put(out, name) && put(out, ": ", 2) && put(out, value) && put(out, "\r\n", 2);
}

static bool put_first(const http_ask *a, bytes *out)
{
    const url *u = &a->to;
    bool slash = u->size == 0 || *u->target != '/';
    return put(out, a->method) && put(out, " /", slash ? 2 : 1) && put(out, u->target, u->size) &&
           put(out, " HTTP/1.1\r\n");
}

// What does not go to another origin, and what is the body's.
static bool stays_here(const http_ask *a, const char *name)
{
    static const char *const secrets[] = {"Authorization", "Proxy-Authorization", "Cookie", "Host",
                                          nullptr};
    return (a->other && is_one_of(name, secrets)) ||
           (a->bare && strlen(name) > 8 && text_is({name, 8}, "content-"));
}

static bool put_fields(const http_ask *a, const char *agent, bytes *out)
{
    const char *host = a->to.host;
    for (const char *const *f = a->opts->fields; f != nullptr && *f != nullptr; f += 2)
        if (is_host_field(f[0]) && !a->other)
            host = f[1];
    if (!put_field(out, "Host", host))
        return false;
    bool named = agent == nullptr;
    for (const char *const *f = a->opts->fields; f != nullptr && *f != nullptr; f += 2) {
        if (is_host_field(f[0]) || stays_here(a, f[0]))
            continue;
        named = named || text_is({f[0], strlen(f[0])}, "user-agent");
        if (!put_field(out, f[0], f[1]))
            return false;
    }
    return named || put_field(out, "User-Agent", agent);
}

static bool put_length(const http_ask *a, bytes *out)
{
    char text[NUMBER_ROOM];
    bool has_body = http_ask_has_body(a);
    if (has_body && a->opts->size == 0)
        return put_field(out, "Transfer-Encoding", "chunked");
    // A server waits for no body of methods that have one by nature (RFC 9110, 8.6).
    bool expected = strcmp(a->method, "POST") == 0 || strcmp(a->method, "PUT") == 0 ||
                    strcmp(a->method, "PATCH") == 0;
    if (!has_body && !expected)
        return true;
    number_print(text, has_body ? (int64_t)a->opts->size : 0);
    return put_field(out, "Content-Length", text);
}

int weft::http_ask_head(const http_ask *a, const char *agent, bytes *out)
{
    bool well =
        put_first(a, out) && put_fields(a, agent, out) && put_length(a, out) && put(out, "\r\n", 2);
    return well ? 0 : -1;
}

// ---- Sending ----

// The next part of a body that is read.  0: its end; -1.
static ssize_t next_part(const http_ask *a, char *part, size_t sent)
{
    const weft_http_request_options *o = a->opts;
    size_t n = PART;
    if (o->size > 0 && o->size - sent < n)
        n = o->size - sent;
    if (n == 0)
        return 0;
    ssize_t got = o->read(part, n, o->arg);
    if (got < 0)
        return -1;
    return (size_t)got > n || (got == 0 && o->size > 0) ? fail_with(EINVAL) : got;
}

static int send_part(const http_ask *a, http_link *l, char *part, size_t n, weft_deadline d)
{
    char size[24];
    bool chunked = a->opts->size == 0;
    // The last chunk is of size 0, and an empty trailer is behind it.
    int digits = snprintf(size, sizeof size, "%zx\r\n", n);
    struct iovec pieces[3] = {{size, (size_t)digits}, {part, n}, {(void *)"\r\n", 2}};
    return chunked ? http_link_send(l, pieces, 3, d) : http_link_send(l, pieces + 1, 1, d);
}

static int send_parts(const http_ask *a, http_link *l, weft_deadline d)
{
    char *part = (char *)malloc(PART);
    if (part == nullptr)
        return fail_with(ENOMEM);
    size_t sent = 0;
    int result = 1;
    for (ssize_t n = 1; n > 0 && result == 1; sent += (size_t)n) {
        n = next_part(a, part, sent);
        if (n < 0)
            result = -1;
        else if (n > 0 || a->opts->size == 0)
            result = send_part(a, l, part, (size_t)n, d);
        n = n < 0 ? 0 : n;
    }
    free_keep_errno(part);
    return result;
}

int weft::http_ask_send(const http_ask *a, http_link *l, const bytes *head, weft_deadline d)
{
    bool in_memory = http_ask_has_body(a) && a->opts->read == nullptr;
    struct iovec pieces[2] = {{bytes_at(head), bytes_count(head)},
                              {(void *)a->opts->body, in_memory ? a->opts->size : 0}};
    int result = http_link_send(l, pieces, 2, d);
    return result == 1 && http_ask_has_body(a) && !in_memory ? send_parts(a, l, d) : result;
}
