// client_transaction.cc: transactions: a pipeline between MULTI and EXEC.
//
// Nothing is sent before weft_client_execute: then all goes in one piece.  What is watched is
// watched on one connection; should that have ended, a change may have gone by, so it counts as
// one.
#include "client.h"

#include <base/errno.h>

#include <stdio.h>
#include <unistd.h>

using namespace weft;

enum { BEGUN = 1, ENDED, LEFT_BEHIND };

void weft::client_leave_transaction(weft_client *c)
{
    if (c->transaction != 0)
        c->transaction = LEFT_BEHIND;
}

// One that is answered by OK, outside of transactions.
static int tell(weft_client *c, size_t n, const char *const words[], const size_t sizes[],
                weft_deadline d)
{
    weft_reply *r = weft_client_command(c, n, words, sizes, d);
    if (r == nullptr)
        return -1;
    int error = r->type == WEFT_REPLY_STATUS  ? 0
                : r->type == WEFT_REPLY_ERROR ? client_errno(c, r)
                                              : EPROTO;
    weft_reply_free(r);
    return error != 0 ? fail_with(error) : 0;
}

// That what was watched is not any more.
static int lost_watch(weft_client *c, weft_deadline d)
{
    c->watched_on = c->connection;
    weft_client_unwatch(c, d);
    c->watched_on = 0;
    return fail_with(EAGAIN);
}

int weft_client_watch(weft_client *c, const void *key, size_t key_size, weft_deadline d)
{
    int saved = errno;
    const char *const words[] = {"WATCH", (const char *)key};
    const size_t sizes[] = {5, key_size};
    if (c == nullptr || (key == nullptr && key_size > 0))
        return fail_with(EINVAL);
    if (tell(c, 2, words, sizes, d) != 0)
        return -1;
    if (c->watched_on != 0 && c->watched_on != c->connection)
        return lost_watch(c, d);
    c->watched_on = c->connection;
    errno = saved;
    return 0;
}

int weft_client_unwatch(weft_client *c, weft_deadline d)
{
    static const char *const words[] = {"UNWATCH"};
    int saved = errno;
    if (c == nullptr)
        return fail_with(EINVAL);
    if (client_in_use(c))
        return fail_with(EBUSY);
    if (c->watched_on != 0 && c->watched_on == c->connection && weft_client_fd(c) >= 0 &&
        tell(c, 1, words, nullptr, d) != 0 && errno != ENOTCONN)
        return -1;
    c->watched_on = 0; // if there is no connection any more, nothing is watched either
    errno = saved;
    return 0;
}

int weft_client_begin(weft_client *c)
{
    static const char *const words[] = {"MULTI"};
    if (c == nullptr)
        return fail_with(EINVAL);
    if (client_in_use(c) || (c->owed > 0 && c->pid == getpid()))
        return fail_with(EBUSY);
    if (weft_client_append(c, 1, words, nullptr) != 0)
        return -1;
    c->transaction = BEGUN;
    return 0;
}

// Nothing is to be sent, nor owed; if something is, its connection ends.
static void forget(weft_client *c)
{
    if (c->begun)
        client_drop(c);
    c->noted.begin = c->noted.end = 0;
    c->noted_begins = c->noted_ends = 0;
    c->owed = 0;
    c->session &= ~SESSION_TRANSACTION;
    c->transaction = 0;
    c->watched_on = 0;
}

int weft_client_discard(weft_client *c, weft_deadline d)
{
    if (c == nullptr || client_in_use(c) || c->transaction == 0)
        return fail_with(c != nullptr && client_in_use(c) ? EBUSY : EINVAL);
    bool sent = c->transaction == ENDED;
    uint64_t watched_on = c->watched_on;
    forget(c);
    if (sent)
        return 0; // its connection has been ended
    c->watched_on = watched_on;
    return weft_client_unwatch(c, d);
}

// Whether all is there still that was begun with, or has been sent.
static bool is_whole(const weft_client *c)
{
    if (c->pid != getpid() || c->transaction == LEFT_BEHIND)
        return false;
    return c->transaction == ENDED || c->watched_on == 0 ||
           (c->watched_on == c->connection && c->fd >= 0);
}

// EXEC's reply.  `refused`: why a command is not run, the first one; "": none.  A connection that
// has ended before anything was sent is made anew if nothing hung on it.
static weft_reply *receive(weft_client *c, char refused[sizeof c->error], weft_deadline d)
{
    for (bool anew = c->watched_on == 0;;) {
        weft_reply *r = weft_client_next(c, d);
        if (r == nullptr && errno == ENOTCONN && c->owed > 0 && anew && weft_left(d) > 0) {
            anew = false;
            continue;
        }
        if (r == nullptr || c->owed == 0)
            return r;
        if (r->type == WEFT_REPLY_ERROR && *refused == 0)
            snprintf(refused, sizeof c->error, "%s", r->text);
        weft_reply_free(r);
    }
}

// What EXEC's reply, which is no array, says.
static int meaning_of(weft_client *c, const weft_reply *r, const char *refused)
{
    static const char because[] = "because of: ";
    weft_reply reason = *r;
    if (r->type == WEFT_REPLY_NULL)
        return EAGAIN;
    if (r->type != WEFT_REPLY_ERROR)
        return EPROTO;
    const char *text = strstr(r->text, because);
    reason.text = *refused != 0 ? refused : text != nullptr ? text + sizeof because - 1 : r->text;
    reason.size = strlen(reason.text);
    return client_errno(c, &reason);
}

weft_reply *weft_client_execute(weft_client *c, weft_deadline d)
{
    static const char *const words[] = {"EXEC"};
    int saved = errno, error = 0;
    char refused[sizeof c->error] = "";
    if (c == nullptr || client_in_use(c) || c->transaction == 0) {
        errno = c != nullptr && client_in_use(c) ? EBUSY : EINVAL;
        return nullptr;
    }
    if (!is_whole(c)) {
        forget(c);
        errno = EAGAIN;
        return nullptr;
    }
    if (c->transaction == BEGUN && weft_client_append(c, 1, words, nullptr) != 0)
        return nullptr;
    c->transaction = ENDED;
    weft_reply *r = receive(c, refused, weft_left(d) == 0 ? weft_in_ns(c->answer) : d);
    bool watched = c->watched_on != 0;
    if (r == nullptr && c->owed > 0 && !(errno == ENOTCONN && watched))
        return nullptr; // it is owed still
    if (r == nullptr)
        error = errno == ENOTCONN && watched ? EAGAIN : errno;
    else if (r->type != WEFT_REPLY_ARRAY)
        error = meaning_of(c, r, refused);
    forget(c);
    if (error != 0) {
        weft_reply_free(r);
        r = nullptr;
    }
    errno = error != 0 ? error : saved;
    return r;
}
