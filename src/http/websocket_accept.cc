// websocket_accept.cc: a server's side of the handshake (RFC 6455, section 4.2).
#include "exchange.h"
#include "sha1.h"
#include "text.h"
#include "websocket_state.h"

#include <base/errno.h>

#include <stdio.h>
#include <stdlib.h>

using namespace weft;

static int refuse(weft_http_exchange *x, int status, int error)
{
    return exchange_answer(x, status) == 0 ? fail_with(error) : -1;
}

// The one field of this name; nullptr: there is none, or there are several.
static const weft_http_text *the_only(const weft_http_exchange *x, const char *name)
{
    const weft_http_text *found = nullptr;
    for (size_t i = 0; i < x->head->count; i++) {
        if (!text_is(x->head->fields[i].name, name))
            continue;
        if (found != nullptr)
            return nullptr;
        found = &x->head->fields[i].value;
    }
    return found;
}

// ---- Origins ----

// Browsers say from which page a script comes; whatever else connects may say anything.  So this
// protects those who use a browser from other people's pages, as they come with their cookies.
static bool is_own_origin(weft_http_text origin, weft_http_text host)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (const char *scheme : schemes) {
        size_t n = strlen(scheme);
        if (origin.size == n + host.size && memcmp(origin.at, scheme, n) == 0 &&
            text_is({origin.at + n, host.size}, host.at, host.size))
            return true;
    }
    return false;
}

static bool is_welcome(const weft_http_exchange *x, const char *origins)
{
    if (weft_http_find(x->head, "Origin") == nullptr)
        return true;
    const weft_http_text *origin = the_only(x, "Origin"), any = {"*", 1};
    if (origin == nullptr)
        return false;
    if (origins == nullptr)
        return is_own_origin(*origin, x->head->host);
    weft_http_text list = {origins, strlen(origins)};
    return websocket_list_has(list, any) || websocket_list_has(list, *origin);
}

// ---- Subprotocols ----

static bool is_offered(const weft_http_exchange *x, weft_http_text protocol)
{
    for (size_t i = 0; i < x->head->count; i++)
        if (text_is(x->head->fields[i].name, "Sec-WebSocket-Protocol") &&
            websocket_list_has(x->head->fields[i].value, protocol))
            return true;
    return false;
}

// The first of ours that is offered; {}: none is.
static weft_http_text choose(const weft_http_exchange *x, const char *protocols)
{
    if (protocols == nullptr)
        return {};
    weft_http_text list = {protocols, strlen(protocols)};
    for (weft_http_text member; list_next(&list, &member);)
        if (member.size > 0 && is_offered(x, member))
            return member;
    return {};
}

// ---- The request ----

static bool is_key(const weft_http_text *key)
{
    char bytes[16];
    return key != nullptr && key->size == WEBSOCKET_KEY &&
           base64_decode(bytes, sizeof bytes, key->at, key->size) == (ssize_t)sizeof bytes;
}

// 0; -1: it was refused.
static int check(weft_http_exchange *x, const char *origins)
{
    const weft_http_text *version = the_only(x, "Sec-WebSocket-Version");
    if (strcmp(x->method, "GET") != 0 || x->version < 11 ||
        !websocket_has_option(x->head, "Upgrade", "websocket") ||
        !websocket_has_option(x->head, "Connection", "upgrade"))
        return refuse(x, 400, EBADMSG);
    if (version == nullptr || !text_is(*version, "13")) {
        static const char fields[] = "Upgrade: websocket\r\nConnection: upgrade\r\n"
                                     "Sec-WebSocket-Version: 13\r\n";
        int result = exchange_begin(x, 426, fields, sizeof fields - 1, 0, false);
        return result == 0 ? fail_with(EBADMSG) : -1;
    }
    if (!is_key(the_only(x, "Sec-WebSocket-Key")) || x->length != 0)
        return refuse(x, 400, EBADMSG);
    return is_welcome(x, origins) ? 0 : refuse(x, 403, EACCES);
}

static int set_fields(weft_http_exchange *x, const weft_websocket *w)
{
    char proof[WEBSOCKET_PROOF + 1] = {};
    websocket_proof(proof, the_only(x, "Sec-WebSocket-Key")->at);
    if (w->protocol != nullptr && weft_http_set(x, "Sec-WebSocket-Protocol", w->protocol) != 0)
        return -1;
    return weft_http_set(x, "Sec-WebSocket-Accept", proof);
}

weft_websocket *weft_websocket_accept(weft_http_exchange *x, const weft_websocket_options *opts,
                                      weft_deadline d)
{
    if (x == nullptr || x->status != 0)
        return fail_null(EINVAL);
    if (check(x, opts != nullptr ? opts->origins : nullptr) != 0)
        return nullptr;
    weft_http_text protocol = choose(x, opts != nullptr ? opts->protocols : nullptr);
    weft_websocket *w = websocket_create(x, -1, false, opts, protocol, {});
    if (w == nullptr)
        return nullptr;
    if (set_fields(x, w) != 0 || weft_http_upgrade(x, "websocket", d) != 0) {
        w->over = w->cut = true;
        weft_websocket_destroy(w);
        return nullptr;
    }
    exchange_on_stop(x, websocket_go_away, w);
    if (weft_http_stopping(x) == 1)
        websocket_go_away(w);
    return w;
}
