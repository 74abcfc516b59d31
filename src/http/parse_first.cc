// The first line of a request (RFC 9112, 3) and of a response (4).
#include "parse.h"

#include "scan.h"

using namespace weft;

enum { VERSION_SIZE = 8 }; // HTTP/1.1

// "HTTP/", a digit, a point, a digit (RFC 9112, 2.3).  A later 1.x is read as 1.1 (RFC 9110, 2.5).
static bool take_version(weft_http_head *h, const char *at)
{
    bool well_formed = memcmp(at, "HTTP/", 5) == 0 && at[6] == '.' && at[5] >= '0' &&
                       at[5] <= '9' && at[7] >= '0' && at[7] <= '9';
    if (!well_formed)
        return head_refuse(h, 400, "no HTTP version");
    if (at[5] != '1')
        return head_refuse(h, 505, "not HTTP/1");
    h->version = at[7] == '0' ? 10 : 11;
    return true;
}

// A URI of http or https: its host, and what is behind it.  No user's name (RFC 9110, 4.2.4).
static bool take_uri(weft_http_head *h)
{
    weft_http_text t = h->target;
    size_t scheme = 0;
    for (size_t size = 7; size <= 8 && scheme == 0; size++)
        if (t.size > size && text_is({t.at, size}, size == 7 ? "http://" : "https://"))
            scheme = size;
    if (scheme == 0)
        return head_refuse(h, 400, "a target of no known form");
    size_t end = scheme;
    while (end < t.size && t.at[end] != '/' && t.at[end] != '?')
        end++;
    h->host = {t.at + scheme, end - scheme};
    h->path = {t.at + end, t.size - end};
    return is_host(h->host, nullptr) || head_refuse(h, 400, "no host in the target");
}

static bool take_target(weft_http_head *h)
{
    const weft_http_text t = h->target;
    const bool connect = h->method.size == 7 && memcmp(h->method.at, "CONNECT", 7) == 0;
    bool port;
    if (t.size == 0 || target_span(t.at, t.size) != t.size)
        return head_refuse(h, 400, "a byte that may not be in a target");
    if (connect) {
        h->host = t;
        return (is_host(t, &port) && port) || head_refuse(h, 400, "CONNECT without host:port");
    }
    if (t.at[0] == '/') {
        h->path = t;
        return true;
    }
    if (t.size == 1 && t.at[0] == '*')
        return (h->method.size == 7 && memcmp(h->method.at, "OPTIONS", 7) == 0) ||
               head_refuse(h, 400, "* without OPTIONS");
    return take_uri(h);
}

static bool request_line(weft_http_head *h, weft_http_text line)
{
    size_t method = span_of(line.at, line.size, IS_TOKEN);
    if (method == 0 || method == line.size || line.at[method] != ' ')
        return head_refuse(h, 400, "no method");
    if (line.size < method + 2 + VERSION_SIZE || line.at[line.size - VERSION_SIZE - 1] != ' ')
        return head_refuse(h, 400, "no method, target and version");
    if (!take_version(h, line.at + line.size - VERSION_SIZE))
        return false;
    h->method = {line.at, method};
    h->target = {line.at + method + 1, line.size - method - 2 - VERSION_SIZE};
    return take_target(h);
}

// Without the blank that is due before an empty reason, too: there is but one way to read that.
static bool status_line(weft_http_head *h, weft_http_text line)
{
    const char *code = line.at + VERSION_SIZE + 1;
    int64_t status;
    if (line.size < VERSION_SIZE + 4 || code[-1] != ' ')
        return head_refuse(h, 502, "no version and status");
    if (!take_version(h, line.at))
        return false;
    if (!text_number({code, 3}, &status) || status < 100)
        return head_refuse(h, 502, "no status");
    if (line.size > VERSION_SIZE + 4) {
        if (code[3] != ' ')
            return head_refuse(h, 502, "no status");
        h->reason = {code + 4, line.size - VERSION_SIZE - 5};
    }
    h->status = (int)status;
    return true;
}

bool weft::head_first_line(weft_http_head *h, weft_http_text line)
{
    return (h->private_flags & HEAD_RESPONSE) ? status_line(h, line) : request_line(h, line);
}
