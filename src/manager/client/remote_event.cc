// remote_event.cc: an event.  On Redis it is a list, which has an item while it is set: so a wait
// for it blocks in the server, and a waiter is let go even if it is cleared at once.
#include "remote.h"

#include <manager/redis/scripts.h>

using namespace weft;

static const remote_operation set = {REMOTE_EVENT, "WEFT.SET", {lua::event_set, {"}:event"}}};
static const remote_operation clear = {REMOTE_EVENT, "WEFT.CLEAR", {lua::event_clear, {"}:event"}}};
static const remote_operation is_set = {
    REMOTE_EVENT, "WEFT.ISSET", {lua::event_is_set, {"}:event"}}};
static const remote_operation wait = {REMOTE_EVENT, "WEFT.WAIT",
                                      until_item({lua::event_wait, {"}:event"}}, 2)};

weft_remote_event *weft_remote_event_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_EVENT, name, 0);
}

int weft_remote_event_set(weft_remote_event *e, weft_deadline d)
{
    return remote_do(e, &set, nullptr, 0, d);
}

int weft_remote_event_clear(weft_remote_event *e, weft_deadline d)
{
    return remote_do(e, &clear, nullptr, 0, d);
}

int weft_remote_event_is_set(weft_remote_event *e, weft_deadline d)
{
    return remote_truth(e, &is_set, nullptr, 0, d);
}

int weft_remote_event_wait(weft_remote_event *e, weft_deadline d)
{
    client_word word = remote_wait();
    return remote_do(e, &wait, &word, 1, d);
}
