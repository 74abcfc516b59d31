// Whether something is a host (RFC 3986, 3.2.2): a name, an IPv4 address or an IPv6 address in
// brackets, with or without a port.
//
// Stricter than the grammar: names are of letters, digits and -._~ only.  Percent codes, which one
// reader decodes and another doesn't, commas, which join two fields, and the rest of it are in no
// host that is known to be used.
#include "parse.h"

#include <arpa/inet.h>

using namespace weft;

static bool is_port(const char *at, size_t n)
{
    int64_t port;
    return n == 0 || (n <= 5 && text_number({at, n}, &port) && port <= 65535);
}

// The length of what is in brackets, with them; 0: that is no address.
static size_t bracketed(weft_http_text t)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr in;
    const char *close = (const char *)memchr(t.at, ']', t.size);
    size_t n = close != nullptr ? (size_t)(close - t.at) - 1 : 0;
    if (n == 0 || n >= sizeof address)
        return 0;
    memcpy(address, t.at + 1, n);
    address[n] = 0;
    return strlen(address) == n && inet_pton(AF_INET6, address, &in) == 1 ? n + 2 : 0;
}

// The length of the name or IPv4 address at its front; 0: it has an empty label.
static size_t named(weft_http_text t)
{
    size_t i = 0;
    for (char before = '.'; i < t.size && byte_is(t.at[i], IS_HOST); before = t.at[i++])
        if (before == '.' && t.at[i] == '.')
            return 0;
    return i;
}

bool weft::is_host(weft_http_text t, bool *port)
{
    if (t.size == 0)
        return false;
    size_t n = t.at[0] == '[' ? bracketed(t) : named(t);
    if (port != nullptr)
        *port = n + 1 < t.size;
    return n > 0 && (n == t.size || (t.at[n] == ':' && is_port(t.at + n + 1, t.size - n - 1)));
}
