// websocket_connect.cc: a client's side of the handshake (RFC 6455, section 4.1).
#include "exchange.h"
#include "sha1.h"
#include "text.h"
#include "url.h"
#include "websocket_state.h"

#include <weft/io.h>

#include <base/errno.h>

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>

using namespace weft;

static const size_t URL_MOST = 4 << 10, TEXT_MOST = 16 << 10, FIELDS_MOST = 64;

namespace {
struct handshake {
    const weft_websocket_options *o;
    weft_deadline d;
    url place;
    char http[URL_MOST]; // which `place` points into
    char key[WEBSOCKET_KEY + 1];
    weft_http_head head;
    weft_http_field fields[FIELDS_MOST];
    char text[TEXT_MOST]; // the request, then the answer
    size_t size;
};
} // namespace

static bool begins_with(const char *text, const char *scheme)
{
    return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

// ws is http, but that it has no fragment (section 3).
static int read_url(handshake *h, const char *text)
{
    static const char ws[] = "ws://", unix_socket[] = "unix:";
    if (begins_with(text, "wss://"))
        return fail_with(EPROTONOSUPPORT);
    bool is_unix = begins_with(text, unix_socket);
    if ((!is_unix && !begins_with(text, ws)) || strchr(text, '#') != nullptr)
        return fail_with(EINVAL);
    int n = snprintf(h->http, sizeof h->http, is_unix ? "%s" : "http://%s",
                     is_unix ? text : text + strlen(ws));
    return (size_t)n < sizeof h->http ? url_parse(&h->place, h->http) : fail_with(ENAMETOOLONG);
}

// ---- The request ----

// Lines of fields, each with its CR LF.
static bool are_fields(const char *lines)
{
    while (*lines != 0) {
        const char *end = strstr(lines, "\r\n"), *colon = strchr(lines, ':');
        if (end == nullptr || colon == nullptr || colon > end ||
            !is_field_name(lines, (size_t)(colon - lines)))
            return false;
        weft_http_text value = text_trim({colon + 1, (size_t)(end - colon - 1)});
        if (!is_field_value(value.at, value.size))
            return false;
        lines = end + 2;
    }
    return true;
}

static bool is_value(const char *text)
{
    return text == nullptr || (*text != 0 && is_field_value(text, strlen(text)));
}

// Text behind what is there; `value` NULL: nothing.  What has no room is cut.
static void add(handshake *h, const char *before, const char *value, const char *behind)
{
    size_t room = sizeof h->text - h->size;
    int n =
        value != nullptr ? snprintf(h->text + h->size, room, "%s%s%s", before, value, behind) : 0;
    h->size += (size_t)n < room ? (size_t)n : room;
}

static int make_request(handshake *h)
{
    const weft_websocket_options *o = h->o;
    const char *fields = o->fields != nullptr ? o->fields : "", *target = h->place.target;
    if (!are_fields(fields) || !is_value(o->protocols) || !is_value(o->origin))
        return fail_with(EINVAL);
    add(h, "GET ", *target == '/' ? target : "/", "");
    if (*target != '/')
        add(h, "", target, "");
    add(h, " HTTP/1.1\r\nHost: ", h->place.host,
        "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    add(h, "Sec-WebSocket-Key: ", h->key, "\r\n");
    add(h, "Sec-WebSocket-Protocol: ", o->protocols, "\r\n");
    add(h, "Origin: ", o->origin, "\r\n");
    add(h, "", fields, "\r\n");
    return h->size < sizeof h->text ? 0 : fail_with(EMSGSIZE);
}

// ---- The answer ----

static int error_of(int status)
{
    return status == 401 || status == 403 ? EACCES : status == 404 ? ENOENT : EPROTO;
}

static bool is_proven(const weft_http_head *h, const char *key)
{
    char proof[WEBSOCKET_PROOF];
    const weft_http_text *accept = weft_http_find(h, "Sec-WebSocket-Accept");
    websocket_proof(proof, key);
    return accept != nullptr && accept->size == sizeof proof &&
           memcmp(accept->at, proof, sizeof proof) == 0;
}

// No extension was asked for, and no other protocol than those.
static int check_answer(const handshake *h, weft_http_text *protocol)
{
    const char *offered = h->o->protocols != nullptr ? h->o->protocols : "";
    const weft_http_text *chosen = weft_http_find(&h->head, "Sec-WebSocket-Protocol");
    *protocol = chosen != nullptr ? *chosen : weft_http_text{};
    if (h->head.status != 101)
        return fail_with(error_of(h->head.status));
    if (!websocket_has_option(&h->head, "Upgrade", "websocket") ||
        !websocket_has_option(&h->head, "Connection", "upgrade") || !is_proven(&h->head, h->key) ||
        weft_http_find(&h->head, "Sec-WebSocket-Extensions") != nullptr)
        return fail_with(EPROTO);
    if (chosen != nullptr &&
        (chosen->size == 0 || !websocket_list_has({offered, strlen(offered)}, *chosen)))
        return fail_with(EPROTO);
    return 0;
}

// The head of the answer, behind those with 1xx; returns where it ends.
static ssize_t read_answer(int fd, handshake *h)
{
    h->size = 0;
    h->head.fields = h->fields;
    h->head.room = FIELDS_MOST;
    for (size_t begin = 0;;) {
        ssize_t n =
            weft_http_parse_response(&h->head, h->text + begin, h->size - begin, nullptr, false);
        if (n < 0 || (n == 0 && h->size == sizeof h->text))
            return fail_with(EPROTO);
        begin += (size_t)n;
        if (n > 0 && (h->head.status >= 200 || h->head.status == 101))
            return (ssize_t)begin;
        if (n > 0)
            continue;
        ssize_t got = weft_io_read(fd, h->text + h->size, sizeof h->text - h->size, h->d);
        if (got <= 0)
            return got == 0 ? fail_with(ECONNRESET) : -1;
        h->size += (size_t)got;
    }
}

static weft_websocket *shake_hands(int fd, handshake *h)
{
    weft_http_text protocol;
    if (weft_io_write(fd, h->text, h->size, h->d) != (ssize_t)h->size)
        return nullptr;
    ssize_t head = read_answer(fd, h);
    if (head < 0 || check_answer(h, &protocol) != 0)
        return nullptr;
    return websocket_create(nullptr, fd, true, h->o, protocol,
                            {h->text + head, h->size - (size_t)head});
}

static weft_websocket *connect_by(handshake *h, const char *url)
{
    char bytes[16];
    if (read_url(h, url) != 0 || getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return nullptr;
    base64_encode(h->key, bytes, sizeof bytes);
    if (make_request(h) != 0)
        return nullptr;
    int fd = weft_io_connect(h->place.address, h->d);
    if (fd < 0)
        return nullptr;
    weft_websocket *w = shake_hands(fd, h);
    int saved = errno;
    if (w == nullptr)
        weft_io_close(fd);
    errno = saved;
    return w;
}

weft_websocket *weft_websocket_connect(const char *url, const weft_websocket_options *opts,
                                       weft_deadline d)
{
    weft_websocket_options none = {};
    int saved = errno;
    if (url == nullptr)
        return fail_null(EINVAL);
    handshake *h = (handshake *)calloc(1, sizeof *h);
    if (h == nullptr)
        return nullptr;
    h->o = opts != nullptr ? opts : &none;
    h->d = d;
    weft_websocket *w = connect_by(h, url);
    if (w != nullptr)
        errno = saved;
    free_keep_errno(h);
    return w;
}
