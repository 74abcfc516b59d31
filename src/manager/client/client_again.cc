// client_again.cc: what is tried again within a call, and where.
//
// That is what surely did not run: there was no connection for it, or the server said that it would
// not now.  It is tried after 1 ms at first and 50 ms at last, until the call's deadline.
//
// A server of a cluster says where a key is.  The client goes there and stays, until it is sent on,
// or loses that connection: then it begins at its own address.
#include "client.h"

#include <base/errno.h>
#include <base/number.h>

#include <stdio.h>
#include <stdlib.h>

using namespace weft;

static const int64_t LONGEST_PAUSE_MS = 50;
enum { SENT_ON_AT_ONCE = 5 };

enum answer { FINAL, LATER, ANEW, MOVED, ASK };

// What an error reply says of trying again.
static answer read_answer(const weft_reply *r)
{
    static const struct {
        const char *begins;
        answer is;
    } all[] = {
        {"LOADING ", LATER},  {"BUSY ", LATER},    {"TRYAGAIN ", LATER}, {"CLUSTERDOWN", LATER},
        {"MASTERDOWN", ANEW}, {"READONLY ", ANEW}, {"MOVED ", MOVED},    {"ASK ", ASK},
    };
    for (auto &one : all)
        if (strncmp(r->text, one.begins, strlen(one.begins)) == 0)
            return one.is;
    return FINAL;
}

// "MOVED 3999 127.0.0.1:6381" as an address; without a host it is that of who says so.  NULL:
// ENOMEM, EPROTO.
static char *named_address(const weft_client *c, const weft_reply *r)
{
    char *address = nullptr;
    const char *slot = strchr(r->text, ' '),
               *at = slot != nullptr ? strchr(slot + 1, ' ') : nullptr;
    const char *port = at != nullptr ? strrchr(at, ':') : nullptr;
    const char *from = c->elsewhere != nullptr ? c->elsewhere : c->address;
    if (port == nullptr || (port == at + 1 && strncmp(from, "tcp:", 4) != 0))
        return fail_null(EPROTO);
    int host = (int)(port - at - 1), n;
    if (host == 0)
        n = asprintf(&address, "%.*s%s", (int)(strrchr(from, ':') - from), from, port);
    else if (memchr(at + 1, ':', (size_t)host) != nullptr && at[1] != '[')
        n = asprintf(&address, "tcp:[%.*s]%s", host, at + 1, port);
    else
        n = asprintf(&address, "tcp:%.*s%s", host, at + 1, port);
    return n >= 0 ? address : nullptr;
}

static bool go_elsewhere(weft_client *c, const weft_reply *r, bool ask)
{
    int saved = errno;
    char *address = named_address(c, r);
    errno = saved;
    if (address == nullptr)
        return false;
    client_drop(c);
    free(c->elsewhere);
    c->elsewhere = address;
    c->asking = ask;
    return true;
}

static void go_back(weft_client *c)
{
    client_drop(c);
    free(c->elsewhere);
    c->elsewhere = nullptr;
    c->asking = false;
}

// Sleeps a little longer each time.  0: the deadline has passed; -1: ECANCELED, ...
static int pause_for(weft_client *c, client_tries *t)
{
    if (c->once || weft_left(c->limit) == 0)
        return 0;
    t->pause_ms = t->pause_ms == 0                     ? 1
                  : 2 * t->pause_ms < LONGEST_PAUSE_MS ? 2 * t->pause_ms
                                                       : LONGEST_PAUSE_MS;
    weft_deadline until = weft_in_ms(t->pause_ms);
    if (client_sleep(c, until < c->limit ? until : c->limit) != 0)
        return -1;
    return weft_left(c->limit) > 0;
}

bool weft::client_again(weft_client *c, client_tries *t, weft_reply **r)
{
    answer is = FINAL;
    if (*r == nullptr && errno == ENOTCONN)
        is = LATER;
    else if (*r != nullptr && (*r)->type == WEFT_REPLY_ERROR && c->session == 0)
        is = read_answer(*r);
    bool named = is == MOVED || is == ASK;
    if (is == FINAL || (named && !go_elsewhere(c, *r, is == ASK)))
        return false;
    if (is == ANEW)
        go_back(c); // its address may be another server's by now
    int go_on = named && t->sent_on++ < SENT_ON_AT_ONCE ? 1 : pause_for(c, t);
    if (go_on != 0) {
        weft_reply_free(*r);
        *r = nullptr;
    }
    return go_on > 0;
}
