// remote_queue.cc: a queue is a list.  On Redis the mark that it is closed and the count of what
// join waits for are keys beside it.
#include "remote.h"

#include <base/errno.h>
#include <manager/redis/scripts.h>

using namespace weft;

static const remote_operation put = {
    REMOTE_QUEUE, "WEFT.PUT",
    when_ready({lua::queue_put, {"}:closed", "}:unfinished"}}, lua::queue_may_put)};
static const remote_operation get = {
    REMOTE_QUEUE, "WEFT.GET",
    when_item({lua::queue_get, {"}:closed"}}, 1, 250), // a close is seen so soon
    LATE_FIRST};
static const remote_operation done = {
    REMOTE_QUEUE, "WEFT.DONE", {lua::queue_done, {"}:unfinished"}}};
static const remote_operation join = {
    REMOTE_QUEUE, "WEFT.JOIN", {lua::queue_join, {"}:unfinished"}}};
static const remote_operation close_it = {
    REMOTE_QUEUE, "WEFT.CLOSE", {lua::queue_close, {"}:closed", "}:unfinished"}}};
static const remote_operation length = {REMOTE_QUEUE, "LLEN"};

weft_remote_queue *weft_remote_queue_open(weft_client *c, const char *name, size_t capacity)
{
    if (capacity > INT64_MAX) {
        errno = EINVAL;
        return nullptr;
    }
    return remote_open(c, REMOTE_QUEUE, name, (int64_t)capacity);
}

int weft_remote_queue_put(weft_remote_queue *q, const void *v, size_t n, weft_deadline d)
{
    char capacity[NUMBER_ROOM];
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return -1;
    client_word words[] = {client_number(capacity, q->number), remote_wait(), client_bytes(v, n)};
    return remote_do(q, &put, words, 3, d);
}

ssize_t weft_remote_queue_get(weft_remote_queue *q, void *v, size_t room, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (room > INT64_MAX)
        return fail_with(EINVAL);
    client_word words[] = {remote_wait(), client_number(text, (int64_t)room)};
    return remote_bytes(q, &get, words, 2, v, room, d);
}

weft_reply *weft_remote_queue_take(weft_remote_queue *q, weft_deadline d)
{
    client_word wait = remote_wait();
    return remote_ask(q, &get, &wait, 1, d);
}

int weft_remote_queue_close(weft_remote_queue *q, int how, weft_deadline d)
{
    if (how != WEFT_DRAIN && how != WEFT_DISCARD)
        return fail_with(EINVAL);
    client_word word = client_text(how == WEFT_DRAIN ? "DRAIN" : "DISCARD");
    return remote_do(q, &close_it, &word, 1, d);
}

ssize_t weft_remote_queue_length(weft_remote_queue *q, weft_deadline d)
{
    return remote_count(q, &length, nullptr, 0, d);
}

int weft_remote_queue_task_done(weft_remote_queue *q, weft_deadline d)
{
    return remote_do(q, &done, nullptr, 0, d);
}

int weft_remote_queue_join(weft_remote_queue *q, weft_deadline d)
{
    client_word wait = remote_wait();
    return remote_do(q, &join, &wait, 1, d);
}
