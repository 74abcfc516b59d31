// proxy_fields.cc: heads, in both directions.
//
// What belongs to a connection ends there (RFC 9110, 7.6.1): the fields of the table below, and
// those that Connection names.  How a body is framed is said anew, by what was read and not by what
// the other side wrote, so no two can understand it in two ways.
#include "proxy.h"
#include "text.h"

#include <base/number.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

static bool put(bytes *out, const char *text, size_t n)
{
    return bytes_append(out, text, n, 1024, realloc) == 0;
}

static bool put(bytes *out, const char *text)
{
    return put(out, text, strlen(text));
}

static bool put(bytes *out, weft_http_text text)
{
    return put(out, text.at, text.size);
}

static bool put_field(bytes *out, const weft_http_field *f)
{
    return put(out, f->name) && put(out, ": ", 2) && put(out, f->value) && put(out, "\r\n", 2);
}

static bool put_field(bytes *out, const char *name, const char *value)
{
    return put(out, name) && put(out, ": ", 2) && put(out, value) && put(out, "\r\n", 2);
}

// ---- What stays behind ----

#define NAMED(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

// CGI and what comes after it take _ in a name for -, so for what is kept from a server here they
// are one.
static bool name_is(weft_http_text name, const weft_http_text *other)
{
    char plain[32];
    if (name.size != other->size || name.size > sizeof plain)
        return false;
    for (size_t i = 0; i < name.size; i++)
        plain[i] = name.at[i] == '_' ? '-' : name.at[i];
    return text_is({plain, name.size}, other->at, other->size);
}

template <size_t N> static bool is_one_of(weft_http_text name, const weft_http_text (&names)[N])
{
    for (const weft_http_text &each : names)
        if (name_is(name, &each))
            return true;
    return false;
}

static bool is_of_connection(weft_http_text name)
{
    static const weft_http_text names[] = {NAMED("Connection"),
                                           NAMED("Keep-Alive"),
                                           NAMED("Proxy-Authenticate"),
                                           NAMED("Proxy-Authentication-Info"),
                                           NAMED("Proxy-Authorization"),
                                           NAMED("Proxy-Connection"),
                                           NAMED("TE"),
                                           NAMED("Trailer"),
                                           NAMED("Transfer-Encoding"),
                                           NAMED("Upgrade"),
                                           NAMED("Content-Length")};
    return is_one_of(name, names);
}

// Whether a field Connection names it.
static bool is_named(const weft_http_head *h, weft_http_text name)
{
    weft_http_text option;
    for (size_t i = 0; i < h->count; i++) {
        weft_http_text list = h->fields[i].value;
        if (!text_is(h->fields[i].name, "connection"))
            continue;
        while (list_next(&list, &option))
            if (text_is(option, name.at, name.size))
                return true;
    }
    return false;
}

static bool has_connection(const weft_http_head *h)
{
    return weft_http_find(h, "Connection") != nullptr;
}

// ---- To the server ----

static bool is_forwarded(weft_http_text name)
{
    static const weft_http_text names[] = {NAMED("X-Real-IP"), NAMED("Forwarded")};
    static const weft_http_text front = NAMED("X-Forwarded-"); // -For, -Proto, -Ssl, -Prefix ...
    return is_one_of(name, names) ||
           (name.size > front.size && name_is({name.at, front.size}, &front));
}

static bool is_replaced(const proxy_job *j, weft_http_text name)
{
    static const weft_http_text names[] = {NAMED("Host"), NAMED("Expect"),
                                           NAMED("X-Forwarded-For")};
    bool odd = memchr(name.at, '_', name.size) != nullptr; // whom we trust says it with -
    return is_one_of(name, names) || ((odd || !j->p->o.trust_forwarded) && is_forwarded(name));
}

// A unix socket's client has no address.
static bool put_client(const proxy_job *j, bytes *out)
{
    const char *text = exchange_peer(j->x);
    return put(out, text != nullptr && strcmp(text, "unix:") != 0 ? text : "unknown");
}

// One list, in one field: many a server reads only the first.
static bool put_forwarded_for(const proxy_job *j, bytes *out)
{
    const weft_http_head *h = j->x->head;
    bool well = put(out, "X-Forwarded-For: ");
    for (size_t i = 0; i < h->count && well && j->p->o.trust_forwarded; i++)
        if (text_is(h->fields[i].name, "x-forwarded-for") && h->fields[i].value.size > 0)
            well = put(out, h->fields[i].value) && put(out, ", ", 2);
    return well && put_client(j, out) && put(out, "\r\n", 2);
}

static bool put_forwarded(const proxy_job *j, bytes *out)
{
    const weft_http_head *h = j->x->head;
    bool trusted = j->p->o.trust_forwarded;
    if (!put_forwarded_for(j, out))
        return false;
    if (!(trusted && weft_http_find(h, "X-Forwarded-Proto") != nullptr) &&
        !put_field(out, "X-Forwarded-Proto", "http"))
        return false;
    if ((trusted && weft_http_find(h, "X-Forwarded-Host") != nullptr) || h->host.size == 0)
        return true;
    return put(out, "X-Forwarded-Host: ") && put(out, h->host) && put(out, "\r\n", 2);
}

static bool put_first(const proxy_job *j, bytes *out)
{
    const weft_http_head *h = j->x->head;
    bool all = h->target.size == 1 && *h->target.at == '*';
    bool slash = !all && (h->path.size == 0 || *h->path.at != '/');
    if (!put(out, h->method) || !put(out, " /", slash ? 2 : 1) ||
        !put(out, all ? h->target : h->path) || !put(out, " HTTP/1.1\r\nHost: "))
        return false;
    bool own = j->p->o.rewrite_host || h->host.size == 0;
    return (own ? put(out, j->server->host) : put(out, h->host)) && put(out, "\r\n", 2);
}

static bool put_body_length(const proxy_job *j, bytes *out)
{
    char text[NUMBER_ROOM];
    if (j->x->length == WEFT_HTTP_CHUNKED)
        return put_field(out, "Transfer-Encoding", "chunked");
    if (j->x->length == 0 && weft_http_find(j->x->head, "Content-Length") == nullptr)
        return true;
    number_print(text, j->x->length);
    return put_field(out, "Content-Length", text);
}

int weft::proxy_request_head(const proxy_job *j, bytes *out)
{
    const weft_http_head *h = j->x->head;
    bool named = has_connection(h), well = put_first(j, out);
    for (size_t i = 0; i < h->count && well; i++) {
        weft_http_text name = h->fields[i].name;
        if (!is_of_connection(name) && !is_replaced(j, name) && !(named && is_named(h, name)))
            well = put_field(out, &h->fields[i]);
    }
    well = well && put_forwarded(j, out) &&
           put_field(out, "Via", h->version >= 11 ? "1.1 weft" : "1.0 weft") &&
           put_body_length(j, out);
    if (well && j->websocket)
        well = put(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    return well && put(out, "\r\n", 2) ? 0 : -1;
}

// ---- To the client ----

int weft::proxy_response_fields(const proxy_job *j, const weft_http_head *h, bytes *out)
{
    bool named = has_connection(h);
    for (size_t i = 0; i < h->count; i++) {
        weft_http_text name = h->fields[i].name;
        // The date is the one of our answer, and the name ours, if we have one.
        if (is_of_connection(name) || text_is(name, "date") || (named && is_named(h, name)) ||
            (text_is(name, "server") && exchange_has_name(j->x)))
            continue;
        if (!put_field(out, &h->fields[i]))
            return -1;
    }
    return 0;
}
