// url.cc: URLs taken apart, and references resolved.
//
// Strict: what another reader might take for another host (a backslash, a user's name, a space, a
// control, a number that is no port) is refused.  A percent sign is left to the server.
#include "url.h"

#include <base/errno.h>
#include <base/number.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

using namespace weft;

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

enum { UNIX_SIZE = 5 }; // of "unix:"

static bool is_unix(const char *text)
{
    return strncmp(text, "unix:", UNIX_SIZE) == 0;
}

static bool is_visible(const char *text)
{
    for (; *text != 0; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

// ---- Taking one apart ----

// The host, in small letters; [IPv6] with its brackets.
static int parse_host(char *to, const char *host, size_t n)
{
    bool in_brackets = n > 0 && host[0] == '[';
    if (n == 0 || (in_brackets && (n < 4 || host[n - 1] != ']')))
        return fail_with(EINVAL);
    if (n > 255)
        return fail_with(ENAMETOOLONG);
    for (size_t i = 0; i < n; i++) {
        bool bracket = in_brackets && (i == 0 || i == n - 1);
        bool known = in_brackets ? hex_digit(host[i]) >= 0 : is_alphanumeric(host[i]);
        const char *others = in_brackets ? ":." : "-._~";
        if (!bracket && !known && strchr(others, host[i]) == nullptr)
            return fail_with(EINVAL);
        to[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] | 32 : host[i]);
    }
    to[n] = 0;
    return 0;
}

// 1 to 65535; none, also behind its colon: 80.  -1: EINVAL.
static int parse_port(const char *text, size_t n)
{
    int port = 0;
    if (n == 0)
        return 80;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || port > 6553)
            return fail_with(EINVAL);
        port = 10 * port + (text[i] - '0');
    }
    return port > 0 && port <= 65535 ? port : fail_with(EINVAL);
}

static int parse_http(url *u, const char *authority)
{
    size_t n = strcspn(authority, "/?#"), host = n;
    for (size_t i = n; i > 0 && authority[i - 1] != ']'; i--)
        if (authority[i - 1] == ':')
            host = i - 1;
    const char *port = authority + host + (host < n);
    int number = parse_port(port, (size_t)(authority + n - port));
    if (number < 0 || parse_host(u->host, authority, host) != 0)
        return -1;
    snprintf(u->address, sizeof u->address, "tcp:%s:%d", u->host, number);
    if (number != 80) {
        u->host[host] = ':';
        number_print(u->host + host + 1, number);
    }
    u->target = authority + n;
    return 0;
}

// SOCKET ends at the first colon, as nginx has it.
static int parse_unix(url *u, const char *text)
{
    size_t n = UNIX_SIZE + strcspn(text + UNIX_SIZE, ":");
    bool no_name = n == UNIX_SIZE || (n == UNIX_SIZE + 1 && text[UNIX_SIZE] == '@');
    if (no_name || strcspn(text, "?#") < n)
        return fail_with(EINVAL);
    if (n - UNIX_SIZE >= sizeof((struct sockaddr_un *)nullptr)->sun_path)
        return fail_with(ENAMETOOLONG);
    memcpy(u->address, text, n);
    u->address[n] = 0;
    memcpy(u->host, "localhost", sizeof "localhost");
    u->target = text + n + (text[n] == ':');
    return *u->target == 0 || strchr("/?#", *u->target) != nullptr ? 0 : fail_with(EINVAL);
}

// How long "SCHEME:" is at its beginning; 0: there is none.
static size_t scheme_size(const char *text)
{
    size_t n = 0;
    while (is_alphanumeric(text[n]) || (n > 0 && text[n] != 0 && strchr("+-.", text[n]) != nullptr))
        n++;
    return n > 0 && (text[0] | 32) >= 'a' && text[n] == ':' ? n + 1 : 0;
}

int weft::url_parse(url *u, const char *text)
{
    int result;
    if (text == nullptr || !is_visible(text))
        return fail_with(EINVAL);
    u->is_unix = is_unix(text);
    if (u->is_unix)
        result = parse_unix(u, text);
    else if (strncasecmp(text, "http://", 7) == 0)
        result = parse_http(u, text + 7);
    else
        return fail_with(
            scheme_size(text) > 0 && strncasecmp(text, "http:", 5) != 0 ? EPROTONOSUPPORT : EINVAL);
    if (result == 0)
        u->size = strcspn(u->target, "#");
    return result;
}

// ---- References (RFC 3986 section 5.2) ----

namespace {
// The three parts follow one another; the fragment is left out.
struct parts {
    size_t prefix; // all before the path
    size_t path;
    size_t query; // its ? is part of it
};

struct text_to {
    char *at;
    size_t size, room;
    bool bad;
};
} // namespace

static parts split(const char *text)
{
    parts p;
    if (is_unix(text)) {
        p.prefix = UNIX_SIZE + strcspn(text + UNIX_SIZE, ":");
        p.prefix += text[p.prefix] == ':';
    } else {
        p.prefix = scheme_size(text);
        if (strncmp(text + p.prefix, "//", 2) == 0)
            p.prefix += 2 + strcspn(text + p.prefix + 2, "/?#");
    }
    p.path = strcspn(text + p.prefix, "?#");
    p.query = strcspn(text + p.prefix + p.path, "#");
    return p;
}

// Appends it, with what is not allowed in a URL encoded.
static void add(text_to *t, const char *from, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)from[i];
        bool encoded = c == ' ' || c > '~';
        t->bad = t->bad || c < ' ' || c == 127;
        if (t->size + 4 > t->room) {
            t->size = t->room;
            return;
        }
        if (encoded) {
            t->at[t->size++] = '%';
            t->at[t->size++] = digits[c >> 4];
            t->at[t->size++] = digits[c & 15];
        } else {
            t->at[t->size++] = (char)c;
        }
    }
}

// Takes . and .. out of a path that begins with a slash (section 5.2.4).  How long it is then.
static size_t remove_dots(char *path, size_t n)
{
    size_t out = 0;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && path[end] != '/';)
            end++;
        size_t length = end - i - 1;
        bool dot = length == 1 && path[i + 1] == '.';
        bool up = length == 2 && path[i + 1] == '.' && path[i + 2] == '.';
        if (up)
            while (out > 0 && path[--out] != '/') {
            }
        if ((dot || up) && end == n)
            path[out++] = '/';
        if (!dot && !up) {
            memmove(path + out, path + i, end - i);
            out += end - i;
        }
    }
    return out;
}

static void add_path(text_to *t, const char *base, const parts *b, const char *path, size_t n)
{
    size_t from = t->size, kept = b->path;
    while (kept > 0 && base[b->prefix + kept - 1] != '/')
        kept--;
    if (n == 0 || *path != '/') { // merged (section 5.2.3)
        if (kept == 0)
            add(t, "/", 1);
        add(t, base + b->prefix, n == 0 ? b->path : kept);
    }
    add(t, path, n);
    if (t->size < t->room)
        t->size = from + remove_dots(t->at + from, t->size - from);
}

int weft::url_resolve(char *to, size_t room, const char *base, const char *text)
{
    static const parts nothing = {};
    text_to t = {to, 0, room, false};
    parts b = split(base), r = split(text);
    const char *path = text + r.prefix;
    bool whole = scheme_size(text) > 0, other = whole || r.prefix > 0;
    const char *from = other ? text : base;
    size_t prefix = other ? r.prefix : b.prefix;
    if (other && !whole) { // "//host": the base's scheme
        if (is_unix(base))
            return fail_with(EINVAL);
        add(&t, base, scheme_size(base));
    }
    add(&t, from, prefix);
    if (is_unix(from) && strspn(from + UNIX_SIZE, ":") == prefix - UNIX_SIZE)
        return fail_with(EINVAL); // no socket
    if (is_unix(from) && from[prefix - 1] != ':')
        add(&t, ":", 1);
    size_t begin = t.size;
    add_path(&t, base, other ? &nothing : &b, path, r.path);
    // "http:/.//x" has no host, and must not be given one by what was taken out.
    if (whole && r.prefix == scheme_size(text) && t.size > begin + 1 && t.size < room &&
        to[begin] == '/' && to[begin + 1] == '/')
        t.bad = true;
    if (r.query == 0 && r.path == 0 && !other)
        add(&t, base + b.prefix + b.path, b.query);
    add(&t, path + r.path, r.query);
    if (t.size >= room)
        return fail_with(ENAMETOOLONG);
    to[t.size] = 0;
    return t.bad ? fail_with(EINVAL) : 0;
}
