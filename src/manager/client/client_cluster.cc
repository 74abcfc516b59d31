// client_cluster.cc: a cluster's servers, and what is known of who has what.
//
// All that is known was said by MOVED: which server has the slot that a key is in.  Proxies go to
// it at once, by their name; other commands go where the last one went, and are sent on.  The
// connections of which nothing is owed stay, so that going from one server to another and back is
// no connecting.
#include "client.h"

#include <base/errno.h>

#include <stdio.h>
#include <stdlib.h>

using namespace weft;

enum { SLOTS = 16384, NODES = 64 };

namespace {
struct node {
    char *address;
    int fd; // its connection, while it is not the client's; -1: none
    uint64_t number;
};
} // namespace

// All zero: the first node is the client's own address, which has no text here.
struct weft::client_cluster {
    node nodes[NODES];
    int used, last;            // of the nodes; the one that was added last
    int tried;                 // the last in place of the client's own address
    int back;                  // where it was before an ASK
    unsigned char slot[SLOTS]; // which node has it, and 1; 0: not known
};

// ---- Slots ----

// CRC16 as XMODEM has it, by which keys are in slots.
static unsigned slot_of(const char *bytes, size_t n)
{
    unsigned crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned)(unsigned char)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return crc % SLOTS;
}

const char *weft::client_key_tag(const char *key, size_t n, size_t *size)
{
    const char *open = (const char *)memchr(key, '{', n), *end = key + n;
    const char *close =
        open != nullptr ? (const char *)memchr(open, '}', (size_t)(end - open)) : nullptr;
    if (close == nullptr || close == open + 1)
        return nullptr;
    *size = (size_t)(close - open) - 1;
    return open + 1;
}

static unsigned slot_of_key(const char *key, size_t n)
{
    const char *tag = client_key_tag(key, n, &n);
    return slot_of(tag != nullptr ? tag : key, n);
}

// ---- Nodes ----

const char *weft::client_address(const weft_client *c)
{
    return c->at > 0 ? c->cluster->nodes[c->at].address : c->address;
}

static void forget_slots(client_cluster *all, int i)
{
    for (unsigned char &slot : all->slot)
        if (slot == i + 1)
            slot = 0;
}

static bool begin_cluster(weft_client *c)
{
    if (c->cluster != nullptr)
        return true;
    c->cluster = (client_cluster *)calloc(1, sizeof *c->cluster);
    if (c->cluster == nullptr)
        return false;
    c->cluster->nodes[0].fd = -1;
    c->cluster->used = 1;
    return true;
}

// A place for one more; the oldest goes for it.
static int add_node(weft_client *c)
{
    client_cluster *all = c->cluster;
    do
        all->last = all->last % (NODES - 1) + 1;
    while (all->last == c->at);
    node *n = &all->nodes[all->last];
    if (all->last < all->used) {
        forget_slots(all, all->last);
        client_hang_up(&n->fd, n->number);
        free_keep_errno(n->address);
    } else {
        all->used++;
    }
    n->fd = -1;
    return all->last;
}

// The node of that address, which is its own from here on.
static int node_of(weft_client *c, char *address)
{
    if (strcmp(address, c->address) == 0) {
        free(address);
        return 0;
    }
    for (int i = 1; i < c->cluster->used; i++)
        if (strcmp(address, c->cluster->nodes[i].address) == 0) {
            free(address);
            return i;
        }
    int i = add_node(c);
    c->cluster->nodes[i].address = address;
    return i;
}

// ---- Going ----

// Nothing hangs on the connection, and nothing is owed.
static bool is_quiet(const weft_client *c)
{
    return c->late == LATE_NONE && c->session == 0 && c->owed == 0 && bytes_count(&c->out) == 0 &&
           bytes_count(&c->in.in) == 0;
}

static void go(weft_client *c, int i)
{
    node *from = &c->cluster->nodes[c->at], *to = &c->cluster->nodes[i];
    if (i == c->at)
        return;
    if (c->fd >= 0 && is_quiet(c)) {
        from->fd = c->fd;
        from->number = c->number;
        c->fd = -1;
    }
    client_drop(c);
    c->at = i;
    c->fd = to->fd;
    c->number = to->number;
    c->connection++;
    c->ready = false;
    to->fd = -1;
}

// "MOVED 3999 127.0.0.1:6381": the slot, and as an address who has it; without a host it is that of
// who says so.  NULL: ENOMEM, EPROTO.
static char *named_address(const weft_client *c, const weft_reply *r, unsigned *slot)
{
    char *address = nullptr;
    const char *number = strchr(r->text, ' '),
               *at = number != nullptr ? strchr(number + 1, ' ') : nullptr;
    const char *port = at != nullptr ? strrchr(at, ':') : nullptr, *from = client_address(c);
    if (port == nullptr || (port == at + 1 && strncmp(from, "tcp:", 4) != 0))
        return fail_null(EPROTO);
    *slot = (unsigned)strtoul(number, nullptr, 10) % SLOTS;
    int host = (int)(port - at - 1), n;
    if (host == 0)
        n = asprintf(&address, "%.*s%s", (int)(strrchr(from, ':') - from), from, port);
    else if (memchr(at + 1, ':', (size_t)host) != nullptr && at[1] != '[')
        n = asprintf(&address, "tcp:[%.*s]%s", host, at + 1, port);
    else
        n = asprintf(&address, "tcp:%.*s%s", host, at + 1, port);
    return n >= 0 ? address : nullptr;
}

bool weft::client_go_on(weft_client *c, const weft_reply *error, bool ask)
{
    int saved = errno;
    unsigned slot = 0;
    char *address = begin_cluster(c) ? named_address(c, error, &slot) : nullptr;
    errno = saved;
    if (address == nullptr)
        return false;
    int i = node_of(c, address);
    if (ask && !c->asking)
        c->cluster->back = c->at;
    if (!ask)
        c->cluster->slot[slot] = (unsigned char)(i + 1);
    go(c, i);
    c->asking = ask;
    return true;
}

void weft::client_go_to(weft_client *c, const char *name, size_t n)
{
    if (c->cluster == nullptr || c->session != 0)
        return;
    int is = c->cluster->slot[slot_of_key(name, n)];
    if (is > 0)
        go(c, is - 1);
}

void weft::client_go_back(weft_client *c)
{
    c->asking = false;
    if (c->late == LATE_NONE && c->cluster != nullptr)
        go(c, c->cluster->back);
}

void weft::client_go_elsewhere(weft_client *c)
{
    int saved = errno;
    client_cluster *all = c->cluster;
    c->asking = false;
    if (c->at > 0) {
        forget_slots(all, c->at);
        go(c, 0);
    } else if (all != nullptr && all->used > 1) {
        all->tried = all->tried % (all->used - 1) + 1;
        go(c, all->tried);
    }
    errno = saved;
}

void weft::client_leave_cluster(weft_client *c)
{
    client_cluster *all = c->cluster;
    for (int i = 0; all != nullptr && i < all->used; i++) {
        client_hang_up(&all->nodes[i].fd, all->nodes[i].number);
        free_keep_errno(all->nodes[i].address);
    }
    free_keep_errno(all);
    c->cluster = nullptr;
    c->at = 0;
    c->asking = false;
}
