// command_barrier.cc: barriers (WEFT.BARRIER, BREAK, RESET, WAITING) and events (WEFT.SET, CLEAR,
// ISSET, WAIT).
#include "commands.h"
#include "place.h"

#include <errno.h>

using namespace weft;

static place *place_of(peer *p, int kind, const word *name)
{
    return place_find(p->server, kind, 0, name->text, name->size, false);
}

// ---- Barriers ----

static void reply_broken(peer *p, int error)
{
    if (error == EOWNERDEAD)
        reply_error(p, "OWNERDEAD a connection ended in the barrier");
    else
        reply_error(p, "BROKEN the barrier is broken");
}

static void say_passed(peer *p)
{
    reply_integer(p, 0);
}

static void say_broken(peer *p)
{
    reply_broken(p, EPIPE);
}

static void say_owner_dead(peer *p)
{
    reply_broken(p, EOWNERDEAD);
}

// Sends all who wait on: with an error, or (0) because the last has come.
static void send_on(place *place, int error)
{
    waits_end(&place->waiting, error == 0            ? say_passed
                               : error == EOWNERDEAD ? say_owner_dead
                                                     : say_broken);
}

static void time_out(peer_wait *w)
{
    reply_null(w->peer);
}

// One who waited leaves without the others: too late, or its connection ended.
static void leave(peer_wait *w)
{
    place *place = w->link[0].place;
    place->closed = w->peer->ending ? EOWNERDEAD : EPIPE;
    send_on(place, place->closed);
}

// WEFT.BARRIER name parties ms
void weft::command_barrier(peer *p, const word *words, int)
{
    weft_deadline d;
    int64_t parties;
    if (!parse_integer(p, &words[2], &parties) || !parse_milliseconds(p, &words[3], &d))
        return;
    if (parties < 1 || parties > UINT32_MAX) {
        reply_not_integer(p);
        return;
    }
    place *place = place_make(p, AT_BARRIER, 0, &words[1], true);
    if (place == nullptr)
        return;
    if (place->closed != 0) {
        reply_broken(p, place->closed);
        return;
    }
    if (place->count > 0 && place->number != parties) {
        reply_error(p, "PARTIES %lld are awaited there", (long long)place->number);
        return;
    }
    place->number = parties;
    if ((int64_t)place->count + 1 == parties) {
        send_on(place, 0);
        reply_integer(p, 1);
        place_ready(p->server, place); // for it to be forgotten
    } else if (d == WEFT_NOW) {
        place->closed = EPIPE;
        send_on(place, EPIPE);
        reply_null(p);
    } else {
        peer_wait *w = wait_begin(p, 1, nullptr, d);
        w->time_out = time_out;
        w->ended = leave;
        wait_for_list(w, &place->waiting, place);
        owner_watch(p, true);
    }
}

void weft::command_break(peer *p, const word *words, int)
{
    place *place = place_make(p, AT_BARRIER, 0, &words[1], true);
    if (place == nullptr)
        return;
    if (place->closed == 0)
        place->closed = EPIPE;
    send_on(place, place->closed);
    reply_ok(p);
}

void weft::command_reset_barrier(peer *p, const word *words, int)
{
    place *place = place_of(p, AT_BARRIER, &words[1]);
    if (place != nullptr) {
        send_on(place, EPIPE);
        place->closed = 0;
        place_ready(p->server, place);
    }
    reply_ok(p);
}

void weft::command_waiting(peer *p, const word *words, int)
{
    const place *place = place_of(p, AT_BARRIER, &words[1]);
    if (place != nullptr && place->closed != 0)
        reply_broken(p, place->closed);
    else
        reply_integer(p, place != nullptr ? (int64_t)place->count : 0);
}

// ---- Events ----

static void say_set(peer *p)
{
    reply_integer(p, 1);
}

void weft::command_set_event(peer *p, const word *words, int)
{
    place *place = place_make(p, AT_EVENT, 0, &words[1], true);
    if (place == nullptr)
        return;
    place->closed = 1;
    waits_end(&place->waiting, say_set);
    reply_ok(p);
}

void weft::command_clear_event(peer *p, const word *words, int)
{
    place *place = place_of(p, AT_EVENT, &words[1]);
    if (place != nullptr) {
        place->closed = 0;
        place_ready(p->server, place); // for it to be forgotten
    }
    reply_ok(p);
}

void weft::command_is_set(peer *p, const word *words, int)
{
    const place *place = place_of(p, AT_EVENT, &words[1]);
    reply_integer(p, place != nullptr && place->closed != 0);
}

void weft::command_wait_event(peer *p, const word *words, int)
{
    weft_deadline d;
    if (!parse_milliseconds(p, &words[2], &d))
        return;
    place *place = place_make(p, AT_EVENT, 0, &words[1], false);
    if (place == nullptr)
        return;
    if (place->closed != 0) {
        reply_integer(p, 1);
    } else {
        wait_in(p, place, &place->waiting, nullptr, d);
    }
}
