// io_many.cc: many datagrams by one system call.
//
// What is sent in segments goes as one message that the kernel, or the card, cuts (UDP_SEGMENT), 64
// of them at most; where a socket or the way to its peer has no such thing, a segment at a time.
// So both are the same loop over messages, the one with longer ones.
#include "descriptor.h"

#include <base/errno.h>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

using namespace weft;

bool weft::io_segments = true;

namespace {
const int BATCH = 32;                                      // messages a system call
const size_t SEGMENTS_MAX = 64, DATAGRAM_MAX = 65535 - 48; // with the headers of IPv6 and UDP

struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    alignas(struct cmsghdr) char control[BATCH][CMSG_SPACE(sizeof(int))];
};
} // namespace

// What it is set to; -1: the socket has no such option.
static int udp_option(int fd, int option)
{
    int value = -1, saved = errno;
    socklen_t size = sizeof value;
    if (getsockopt(fd, IPPROTO_UDP, option, &value, &size) != 0)
        errno = saved;
    return value;
}

static struct msghdr *put_message(batch *b, int i, const weft_io_datagram *d, void *data, size_t n)
{
    struct msghdr *h = &b->messages[i].msg_hdr;
    b->pieces[i] = {data, n};
    memset(&b->messages[i], 0, sizeof b->messages[i]);
    h->msg_iov = &b->pieces[i];
    h->msg_iovlen = 1;
    h->msg_name = (void *)&d->address;
    return h;
}

// ---- Receiving ----

namespace {
struct receiving {
    weft_io_datagram *datagrams;
    size_t n;
};
} // namespace

// recvmmsg(2), one where that is refused.
static int take(int fd, batch *b, int n)
{
    int got = recvmmsg(fd, b->messages, (unsigned)n, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, nullptr);
    if (got >= 0 || !is_refused(errno))
        return got;
    ssize_t size = recvmsg(fd, &b->messages[0].msg_hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    b->messages[0].msg_len = (unsigned)size;
    return size < 0 ? -1 : 1;
}

static uint32_t segment_of(struct msghdr *h)
{
    int size = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != nullptr; c = CMSG_NXTHDR(h, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&size, CMSG_DATA(c), sizeof size);
    return (uint32_t)size;
}

static int receive_batch(int fd, weft_io_datagram *to, int n, bool joined)
{
    batch b;
    for (int i = 0; i < n; i++) {
        struct msghdr *h = put_message(&b, i, &to[i], to[i].data, to[i].room);
        h->msg_namelen = sizeof to[i].address;
        h->msg_control = b.control[i];
        h->msg_controllen = joined ? sizeof b.control[i] : 0; // else descriptors would come along
    }
    int got = take(fd, &b, n);
    for (int i = 0; i < got; i++) {
        struct msghdr *h = &b.messages[i].msg_hdr;
        to[i].size = b.messages[i].msg_len;
        to[i].address_size = h->msg_namelen;
        to[i].segment = segment_of(h);
        to[i].truncated = (h->msg_flags & MSG_TRUNC) != 0;
    }
    return got;
}

// One system call: another could take an error that there would be no way to tell of.
static ssize_t receive_many(int fd, descriptor *, io_call *c)
{
    const receiving *r = (const receiving *)c->data;
    int n = r->n < (size_t)BATCH ? (int)r->n : BATCH;
    return receive_batch(fd, r->datagrams, n, udp_option(fd, UDP_GRO) > 0);
}

ssize_t weft_io_recv_many(int fd, weft_io_datagram *datagrams, size_t n, weft_deadline d)
{
    receiving r = {datagrams, n};
    io_call c = {receive_many, &r, 0, 0, nullptr, nullptr, false};
    return datagrams == nullptr || n < 1 ? fail_with(EINVAL) : io_do(fd, WEFT_READ, &c, d);
}

// ---- Sending ----

namespace {
struct sending {
    const weft_io_datagram *datagrams;
    size_t n;
    size_t sent;   // of them
    size_t offset; // in the next: what has gone of its segments
    bool joined;   // several in a message
};
} // namespace

// How much of what is left of a datagram goes as one message.
static size_t message_size(const sending *s, const weft_io_datagram *d, size_t offset)
{
    size_t left = d->size - offset, most = d->segment;
    if (most == 0)
        return left;
    if (s->joined && most <= DATAGRAM_MAX) {
        size_t n = DATAGRAM_MAX / most;
        most *= n < SEGMENTS_MAX ? n : SEGMENTS_MAX;
    }
    return left < most ? left : most;
}

static void cut(struct msghdr *h, char *control, uint16_t segment)
{
    h->msg_control = control;
    h->msg_controllen = CMSG_SPACE(sizeof segment);
    memset(control, 0, h->msg_controllen);
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
}

// The next messages; how many.
static int fill(const sending *s, batch *b)
{
    int n = 0;
    size_t at = s->sent, offset = s->offset;
    while (n < BATCH && at < s->n) {
        const weft_io_datagram *d = &s->datagrams[at];
        size_t size = message_size(s, d, offset);
        struct msghdr *h = put_message(b, n, d, (char *)d->data + offset, size);
        h->msg_namelen = d->address_size;
        if (d->address_size == 0)
            h->msg_name = nullptr;
        if (d->segment != 0 && size > d->segment)
            cut(h, b->control[n], (uint16_t)d->segment);
        n++;
        offset += size;
        if (offset == d->size) {
            at++;
            offset = 0;
        }
    }
    return n;
}

// sendmmsg(2), one where that is refused.
static int give(int fd, batch *b, int n)
{
    int put = sendmmsg(fd, b->messages, (unsigned)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0 || !is_refused(errno))
        return put;
    return sendmsg(fd, &b->messages[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
}

static ssize_t send_batch(int fd, descriptor *, io_call *c)
{
    batch b;
    sending *s = (sending *)c->data;
    int n = fill(s, &b), put = give(fd, &b, n);
    // Segments that don't fit the way, say, which takes the same in fragments.
    if (put < 0 && b.messages[0].msg_hdr.msg_control != nullptr && !is_for_now(errno)) {
        s->joined = false;
        n = fill(s, &b);
        put = give(fd, &b, n);
    }
    for (int i = 0; i < put; i++) {
        s->offset += b.pieces[i].iov_len;
        if (s->offset < s->datagrams[s->sent].size)
            continue;
        s->sent++;
        s->offset = 0;
    }
    return put;
}

ssize_t weft_io_send_many(int fd, const weft_io_datagram *datagrams, size_t n, weft_deadline d)
{
    sending s = {datagrams, n, 0, 0, false};
    if (datagrams == nullptr || n < 1)
        return fail_with(EINVAL);
    for (size_t i = 0; i < n && !s.joined; i++)
        s.joined = datagrams[i].segment != 0;
    s.joined = s.joined && io_segments && udp_option(fd, UDP_SEGMENT) >= 0;
    while (s.sent < n) {
        io_call c = {send_batch, &s, 0, 0, nullptr, nullptr, false};
        if (io_do(fd, WEFT_WRITE, &c, d) < 0)
            return s.sent > 0 ? (ssize_t)s.sent : -1;
    }
    return (ssize_t)n;
}
