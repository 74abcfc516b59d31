// accept.cc: connections as they come, so many at most, and so many of one address.
//
// TCP_DEFER_ACCEPT lets them come with their first request, so a runner receives at once.
#include "server.h"

#include <netinet/tcp.h>
#include <string.h>

using namespace weft;

// ---- By address ----

// What counts as one: an IPv4 address, also mapped, or an IPv6 /64.  false: it has none.
static bool key_of(int fd, unsigned char key[16])
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    memset(key, 0, 16);
    if (getpeername(fd, (struct sockaddr *)&a, &size) != 0)
        return false;
    if (a.ss_family == AF_INET) {
        memcpy(key + 12, &((const struct sockaddr_in *)&a)->sin_addr, 4);
        return true;
    }
    if (a.ss_family != AF_INET6)
        return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)&a)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(six))
        memcpy(key + 12, &six->s6_addr[12], 4);
    else
        memcpy(key, six, 8);
    return true;
}

static address_count **bucket_of(weft_http_server *s, const unsigned char key[16])
{
    uint64_t parts[2];
    memcpy(parts, key, sizeof parts);
    uint64_t hash = (parts[0] ^ parts[1] * 3) * UINT64_C(0x9e3779b97f4a7c15);
    return &s->addresses[hash >> 54];
}
static_assert(ADDRESS_BUCKETS == 1 << (64 - 54), "what bucket_of takes of the hash");

// Counts one more.  false: there are enough, or no memory.
static bool address_enter(weft_http_server *s, int fd, address_count **found)
{
    unsigned char key[16];
    int saved = errno;
    *found = nullptr;
    if (s->addresses == nullptr || !key_of(fd, key)) {
        errno = saved;
        return true;
    }
    address_count **at = bucket_of(s, key), *a = *at;
    while (a != nullptr && memcmp(a->key, key, sizeof key) != 0)
        a = a->next;
    if (a == nullptr && (a = (address_count *)calloc(1, sizeof *a)) != nullptr) {
        memcpy(a->key, key, sizeof key);
        a->next = *at;
        *at = a;
    }
    errno = saved;
    if (a == nullptr || a->count >= s->o.max_per_address)
        return false;
    a->count++;
    *found = a;
    return true;
}

void weft::address_leave(weft_http_server *s, address_count *a)
{
    if (a == nullptr || --a->count > 0)
        return;
    address_count **at = bucket_of(s, a->key);
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    free_keep_errno(a);
}

// ---- The listener ----

static void refuse(weft_http_server *s, int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 24\r\nConnection: close\r\n\r\n"
                               "503 Service Unavailable\n";
    char dropped[4096];
    int saved = errno;
    s->stats.refused++;
    send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    recv(fd, dropped, sizeof dropped, MSG_DONTWAIT); // what it has sent already would be a reset
    close_keep_errno(&fd);
    errno = saved;
}

static void begin(serving *v, int fd)
{
    address_count *a;
    if (address_enter(v->server, fd, &a))
        connection_begin(v, fd, a);
    else
        refuse(v->server, fd);
}

static void on_connection(weft_listener *l, int fd, void *arg)
{
    serving *v = (serving *)arg;
    begin(v, fd);
    if (v->server->stats.connections >= v->server->o.max) {
        weft_loop_unlisten(l);
        v->full = true;
    }
}

static void set_options(int listener)
{
    int on = 1, saved = errno;
    // Accepted sockets inherit it.  Both fail for unix sockets.
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on);
    errno = saved;
}

int weft::accept_begin(serving *v)
{
    set_options(v->listens);
    v->full = false;
    return weft_loop_listen(v->loop, &v->listener, v->listens, on_connection, v);
}

void weft::accept_more(serving *v)
{
    weft_http_server *s = v->server;
    int saved = errno;
    if (s->stats.connections >= s->o.max)
        return;
    for (serving *each = s->servings.next; each != &s->servings; each = each->next)
        if (each->full && !each->stopping)
            each->full = weft_loop_listen(each->loop, &each->listener, each->listens, on_connection,
                                          each) != 0;
    errno = saved;
}

// Of several processes that share the listener one is woken for each connection: what we were
// woken for and have not taken would wait for the next.
void weft::accept_end(serving *v, bool take)
{
    int saved = errno, fd;
    if (v->listener.watch.loop != nullptr)
        weft_loop_unlisten(&v->listener);
    while (take && v->server->stats.connections < v->server->o.max &&
           (fd = accept4(v->listens, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        begin(v, fd);
    v->full = false;
    errno = saved;
}
