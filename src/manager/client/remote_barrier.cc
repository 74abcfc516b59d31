// remote_barrier.cc: a barrier.  On Redis it is a hash with the number of the generation that
// gathers, and the set of those that are there with when each was seen last: a waiter asks again
// and again whether it is over.  One that has not asked for so long that it must be dead breaks it,
// but not when the server was away: then all are waited for until they ask.
// Generations that a reset ended are noted for those that have not asked since.
#include "remote.h"

#include <base/errno.h>
#include <manager/redis/scripts.h>

using namespace weft;

#define KEYS                                                                                       \
    {                                                                                              \
        "}:barrier", "}:waiting", "}:resets"                                                       \
    }

static const remote_operation arrive = {
    REMOTE_BARRIER, "WEFT.BARRIER", {lua::barrier_arrive, KEYS}};
static const remote_operation is_over = {REMOTE_BARRIER, nullptr, {lua::barrier_is_over, KEYS}};
static const remote_operation give_up = {REMOTE_BARRIER, nullptr, {lua::barrier_give_up, KEYS}};
static const remote_operation break_it = {REMOTE_BARRIER, "WEFT.BREAK", {lua::barrier_break, KEYS}};
static const remote_operation reset = {REMOTE_BARRIER, "WEFT.RESET", {lua::barrier_reset, KEYS}};
static const remote_operation waiting = {
    REMOTE_BARRIER, "WEFT.WAITING", {lua::barrier_waiting, KEYS}};

weft_remote_barrier *weft_remote_barrier_open(weft_client *c, const char *name, uint32_t parties)
{
    if (parties == 0) {
        errno = EINVAL;
        return nullptr;
    }
    return remote_open(c, REMOTE_BARRIER, name, parties);
}

static int wait_redis(weft_remote_barrier *b, client_word parties, weft_deadline d)
{
    char text[NUMBER_ROOM];
    int saved = errno;
    int64_t n, over = 0;
    if (remote_integer(b, &arrive, &parties, 1, &n, d) != 0)
        return -1;
    if (n < 0)
        return 1;
    client_word words[] = {client_number(text, n), remote_wait()};
    if (remote_integer(b, &is_over, words, 2, &n, d) == 0)
        return n < 0;
    int error = errno;
    if (error == ETIMEDOUT)
        remote_integer(b, &give_up, words, 1, &over, WEFT_NOW);
    if (over == 0)
        return fail_with(error);
    errno = saved; // the others had come
    return 0;
}

int weft_remote_barrier_wait(weft_remote_barrier *b, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (remote_check(b, REMOTE_BARRIER) != 0)
        return -1;
    client_word words[] = {client_number(text, b->number), remote_wait()};
    if (b->client->server == WEFT_SERVER_REDIS)
        return wait_redis(b, words[0], d);
    return remote_truth(b, &arrive, words, 2, d);
}

int weft_remote_barrier_abort(weft_remote_barrier *b, weft_deadline d)
{
    return remote_do(b, &break_it, nullptr, 0, d);
}

int weft_remote_barrier_reset(weft_remote_barrier *b, weft_deadline d)
{
    return remote_do(b, &reset, nullptr, 0, d);
}

ssize_t weft_remote_barrier_waiting(weft_remote_barrier *b, weft_deadline d)
{
    return remote_count(b, &waiting, nullptr, 0, d);
}
