// What fields say of the body's length (RFC 9112, 6), the host (7.2 of RFC 9110) and the
// connection.
#include "parse.h"

using namespace weft;

static bool take_length(weft_http_head *h, weft_http_text value)
{
    if (h->private_flags & HEAD_LENGTH)
        return head_refuse(h, 400, "more than one Content-Length");
    h->private_flags |= HEAD_LENGTH;
    return text_number(value, &h->length) ||
           head_refuse(h, 400, "a Content-Length that is no length");
}

// No coding but chunked is known, so it is the only one, once.
static bool take_coding(weft_http_head *h, weft_http_text list)
{
    weft_http_text coding;
    while (list_next(&list, &coding)) {
        bool again = (h->private_flags & HEAD_CHUNKED) != 0;
        if (again || coding.size == 0)
            return head_refuse(h, 400,
                               again ? "chunked is not the last coding" : "an empty coding");
        if (!text_is(coding, "chunked"))
            return head_refuse(h, 501, "an unknown transfer coding");
        h->private_flags |= HEAD_CHUNKED;
    }
    return true;
}

static bool take_host(weft_http_head *h, weft_http_text value)
{
    if (h->private_flags & HEAD_RESPONSE)
        return true;
    if (h->private_flags & HEAD_HOST)
        return head_refuse(h, 400, "more than one Host");
    h->private_flags |= HEAD_HOST;
    if (!is_host(value, nullptr))
        return head_refuse(h, 400, "a Host that is no host");
    if (h->host.at == nullptr) // the target's goes first (RFC 9112, 3.2.2)
        h->host = value;
    return true;
}

static bool take_options(weft_http_head *h, weft_http_text list)
{
    weft_http_text option;
    while (list_next(&list, &option)) {
        if (text_is(option, "close"))
            h->private_flags |= HEAD_CLOSE;
        else if (text_is(option, "keep-alive"))
            h->private_flags |= HEAD_KEEP_ALIVE;
        else if (text_is(option, "upgrade"))
            h->private_flags |= HEAD_UPGRADE_OPTION;
    }
    return true;
}

static bool take_expectation(weft_http_head *h, weft_http_text list)
{
    weft_http_text each;
    if (h->private_flags & HEAD_RESPONSE)
        return true;
    while (list_next(&list, &each)) {
        if (!text_is(each, "100-continue"))
            return head_refuse(h, 417, "an unknown expectation");
        h->private_flags |= HEAD_EXPECT;
    }
    return true;
}

// The first four bytes of a name, in lower case if they are letters.
static inline uint32_t four(const char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word | 0x20202020;
}

// Nearly all fields are none of these, which is seen by their first bytes.
bool weft::head_take_field(weft_http_head *h, weft_http_text name, weft_http_text value)
{
    uint32_t first = name.size < 4 ? 0 : four(name.at);
    if (first == four("host"))
        return !text_is(name, "host") || take_host(h, value);
    if (first == four("conn"))
        return !text_is(name, "connection") || take_options(h, value);
    if (first == four("cont"))
        return !text_is(name, "content-length") || take_length(h, value);
    if (first == four("tran"))
        return !text_is(name, "transfer-encoding") || take_coding(h, value);
    if (first == four("expe"))
        return !text_is(name, "expect") || take_expectation(h, value);
    if (first == four("upgr") && text_is(name, "upgrade"))
        h->private_flags |= HEAD_UPGRADE;
    return true;
}

// Those two have no body, and must not say that they had (RFC 9110, 8.6; RFC 9112, 6.1).
static bool is_bodiless(const weft_http_head *h)
{
    return h->status < 200 || h->status == 204;
}

static bool response_length(weft_http_head *h)
{
    const bool chunked = (h->private_flags & HEAD_CHUNKED) != 0;
    if (is_bodiless(h) && (chunked || h->length > 0))
        return head_refuse(h, 502, "a body where none may be");
    if (is_bodiless(h) || h->status == 304 || (h->private_flags & HEAD_NO_BODY))
        h->length = 0;
    else if (chunked)
        h->length = WEFT_HTTP_CHUNKED;
    else if (!(h->private_flags & HEAD_LENGTH))
        h->length = WEFT_HTTP_TO_THE_END;
    return true;
}

static bool body_length(weft_http_head *h)
{
    const unsigned flags = h->private_flags;
    if ((flags & HEAD_CHUNKED) && (flags & HEAD_LENGTH))
        return head_refuse(h, 400, "both Content-Length and Transfer-Encoding");
    if ((flags & HEAD_CHUNKED) && h->version < 11)
        return head_refuse(h, 400, "Transfer-Encoding in HTTP/1.0");
    if (flags & HEAD_RESPONSE)
        return response_length(h);
    if (flags & HEAD_CHUNKED)
        h->length = WEFT_HTTP_CHUNKED;
    return true;
}

bool weft::head_end(weft_http_head *h)
{
    const unsigned flags = h->private_flags;
    const bool request = !(flags & HEAD_RESPONSE), now = h->version >= 11;
    if (request && now && !(flags & HEAD_HOST))
        return head_refuse(h, 400, "no Host");
    if (!body_length(h))
        return false;
    h->keep_alive = !(flags & HEAD_CLOSE) && (now || (flags & HEAD_KEEP_ALIVE)) &&
                    h->length != WEFT_HTTP_TO_THE_END;
    h->expects_continue = (flags & HEAD_EXPECT) && now && h->length != 0;
    h->upgrades = now && (flags & HEAD_UPGRADE) && (flags & HEAD_UPGRADE_OPTION);
    return true;
}
