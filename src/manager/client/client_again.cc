// client_again.cc: what is tried again within a call, and where.
//
// That is what surely did not run: there was no connection for it, or the server said that it would
// not now.  It is tried after 1 ms at first and 50 ms at last, until the call's deadline.
//
// A server of a cluster says where a key is, and the client goes there (client_cluster.cc).
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

// Its address may be another server's by now.
static void go_anew(weft_client *c)
{
    client_drop(c);
    client_leave_cluster(c);
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
    if (is == FINAL || (named && !client_go_on(c, *r, is == ASK)))
        return false;
    if (is == ANEW)
        go_anew(c);
    int go_on = named && t->sent_on++ < SENT_ON_AT_ONCE ? 1 : pause_for(c, t);
    if (go_on != 0) {
        weft_reply_free(*r);
        *r = nullptr;
    }
    return go_on > 0;
}
