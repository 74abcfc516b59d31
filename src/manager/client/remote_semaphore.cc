// remote_semaphore.cc: a semaphore.  On Redis: how many units are free, who holds how many, and
// until when each holder's lease lasts; every call gives back first what is overdue.
//
// A client whose units were taken back, because its connection or lease ended, must not add new
// ones by giving back what it has not.  So a proxy counts its units.
#include "remote.h"

#include <base/errno.h>
#include <manager/redis/scripts.h>

using namespace weft;

#define KEYS                                                                                       \
    {                                                                                              \
        "}:free", "}:held", "}:leases"                                                             \
    }

static const remote_operation make = {
    REMOTE_SEMAPHORE, "WEFT.SEMAPHORE", {lua::semaphore_create, KEYS}};
static const remote_operation release = {
    REMOTE_SEMAPHORE, "WEFT.RELEASE", {lua::semaphore_release, KEYS}};
static const remote_operation acquire = {
    REMOTE_SEMAPHORE, "WEFT.ACQUIRE", {lua::semaphore_acquire, KEYS}, LATE_UNDO, &release, "MINE"};
static const remote_operation units = {
    REMOTE_SEMAPHORE, "WEFT.UNITS", {lua::semaphore_units, KEYS}};
static const remote_operation renew = {REMOTE_SEMAPHORE, nullptr, {lua::semaphore_renew, KEYS}};

static int make_it(weft_remote_semaphore *s, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word word = client_number(text, s->number);
    return remote_do(s, &make, &word, 1, d);
}

weft_remote_semaphore *weft_remote_semaphore_open(weft_client *c, const char *name, uint32_t n,
                                                  weft_deadline d)
{
    weft_remote_semaphore *s = remote_open(c, REMOTE_SEMAPHORE, name, n);
    if (s == nullptr || make_it(s, d) == 0)
        return s;
    weft_remote_destroy(s);
    return nullptr;
}

// Does the op; a server that has been started anew has no semaphore yet.
static int do_it(weft_remote_semaphore *s, const remote_operation *op, const client_word words[],
                 size_t n, int64_t *number, weft_deadline d)
{
    if (remote_check(s, REMOTE_SEMAPHORE) != 0)
        return -1;
    int saved = errno;
    int result = remote_integer(s, op, words, n, number, d);
    if (result == 0 || errno != ENOENT || make_it(s, d) != 0)
        return result;
    errno = saved;
    return remote_integer(s, op, words, n, number, d);
}

static bool is_redis(const weft_remote_semaphore *s)
{
    return s->client->server == WEFT_SERVER_REDIS;
}

// Whether the units that were got here went with their connection.
static bool has_lost(const weft_remote_semaphore *s)
{
    return s->held > 0 && !is_redis(s) && s->held_on != s->client->connection;
}

// Before has_lost can tell, the connection must be the one on which the call will be made.
static int connect_first(weft_remote_semaphore *s, weft_deadline d)
{
    int saved = errno;
    if (remote_enter(s, d) != 0)
        return -1;
    remote_leave(s);
    errno = saved;
    return 0;
}

int weft_remote_semaphore_wait(weft_remote_semaphore *s, weft_deadline d)
{
    client_word wait = remote_wait();
    if (do_it(s, &acquire, &wait, 1, nullptr, d) != 0)
        return -1;
    if (has_lost(s))
        s->held = 0;
    s->held++;
    s->held_on = s->client->connection;
    return 0;
}

int weft_remote_semaphore_post(weft_remote_semaphore *s, weft_deadline d)
{
    client_word mine = client_text("MINE");
    if (remote_check(s, REMOTE_SEMAPHORE) != 0)
        return -1;
    if (s->held > 0 && connect_first(s, d) != 0)
        return -1;
    if (has_lost(s)) {
        s->held--;
        return fail_with(EPERM);
    }
    int result = do_it(s, &release, &mine, is_redis(s) && s->held > 0, nullptr, d);
    if (s->held > 0 && (result == 0 || errno == EPERM))
        s->held--;
    return result;
}

ssize_t weft_remote_semaphore_value(weft_remote_semaphore *s, weft_deadline d)
{
    int64_t n;
    return do_it(s, &units, nullptr, 0, &n, d) == 0 ? (ssize_t)n : -1;
}

// On weft's server there is nothing to renew: what is asked shows that the connection holds.
int weft_remote_semaphore_renew(weft_remote_semaphore *s, weft_deadline d)
{
    if (remote_check(s, REMOTE_SEMAPHORE) != 0)
        return -1;
    if (s->held == 0 || has_lost(s))
        return fail_with(EPERM);
    if (do_it(s, is_redis(s) ? &renew : &units, nullptr, 0, nullptr, d) != 0)
        return -1;
    return has_lost(s) ? fail_with(EPERM) : 0;
}
