// command_barrier.cc: barriers (WEFT.BARRIER, BREAK, RESET, WAITING) and events (WEFT.SET, CLEAR,
// ISSET, WAIT).
#include "commands.h"
#include "place.h"

#include <errno.h>

static weft_private_place *place_of(weft_private_peer *p, int kind, const weft_private_word *name,
                                    bool make)
{
    return weft_private_place_find(p->server, kind, 0, name->text, name->size, make);
}

// ---- Barriers ----

static void reply_broken(weft_private_peer *p, int error)
{
    if (error == EOWNERDEAD)
        weft_private_reply_error(p, "OWNERDEAD a connection ended in the barrier");
    else
        weft_private_reply_error(p, "BROKEN the barrier is broken");
}

// Sends all who wait on: with an error, or (0) because the last has come.
static void send_on(weft_private_place *place, int error)
{
    while (place->waiting.next != &place->waiting) {
        weft_private_wait *w = place->waiting.next->wait;
        if (error != 0)
            reply_broken(w->peer, error);
        else
            weft_private_reply_integer(w->peer, 0);
        w->ended = nullptr;
        weft_private_wait_end(w);
    }
}

static void time_out(weft_private_wait *w)
{
    weft_private_reply_null(w->peer);
}

// One who waited leaves without the others: too late, or its connection ended.
static void leave(weft_private_wait *w)
{
    weft_private_place *place = w->link[0].place;
    place->closed = w->peer->doomed ? EOWNERDEAD : EPIPE;
    send_on(place, place->closed);
}

// WEFT.BARRIER name parties ms
void weft_private_command_barrier(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_deadline d;
    int64_t parties;
    if (!weft_private_integer(p, &words[2], &parties) ||
        !weft_private_milliseconds(p, &words[3], &d))
        return;
    if (parties < 1 || parties > UINT32_MAX) {
        weft_private_reply_not_integer(p);
        return;
    }
    weft_private_place *place = place_of(p, WEFT_AT_BARRIER, &words[1], true);
    if (place->closed != 0) {
        reply_broken(p, place->closed);
        return;
    }
    if (place->count > 0 && place->number != parties) {
        weft_private_reply_error(p, "PARTIES %lld are awaited there", (long long)place->number);
        return;
    }
    place->number = parties;
    if ((int64_t)place->count + 1 == parties) {
        send_on(place, 0);
        weft_private_reply_integer(p, 1);
        weft_private_place_ready(p->server, place); // for it to be forgotten
    } else if (d == WEFT_NOW) {
        place->closed = EPIPE;
        send_on(place, EPIPE);
        weft_private_reply_null(p);
    } else {
        weft_private_wait *w = weft_private_wait_begin(p, 1, nullptr, d);
        w->time_out = time_out;
        w->ended = leave;
        weft_private_wait_at(w, &place->waiting, place);
    }
}

void weft_private_command_break(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = place_of(p, WEFT_AT_BARRIER, &words[1], true);
    if (place->closed == 0)
        place->closed = EPIPE;
    send_on(place, place->closed);
    weft_private_reply_ok(p);
}

void weft_private_command_reset_barrier(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = place_of(p, WEFT_AT_BARRIER, &words[1], false);
    if (place != nullptr) {
        send_on(place, EPIPE);
        place->closed = 0;
        weft_private_place_ready(p->server, place);
    }
    weft_private_reply_ok(p);
}

void weft_private_command_waiting(weft_private_peer *p, const weft_private_word *words, int)
{
    const weft_private_place *place = place_of(p, WEFT_AT_BARRIER, &words[1], false);
    if (place != nullptr && place->closed != 0)
        reply_broken(p, place->closed);
    else
        weft_private_reply_integer(p, place != nullptr ? (int64_t)place->count : 0);
}

// ---- Events ----

void weft_private_command_set_event(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = place_of(p, WEFT_AT_EVENT, &words[1], true);
    place->closed = 1;
    while (place->waiting.next != &place->waiting) {
        weft_private_wait *w = place->waiting.next->wait;
        weft_private_reply_integer(w->peer, 1);
        weft_private_wait_end(w);
    }
    weft_private_reply_ok(p);
}

void weft_private_command_clear_event(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = place_of(p, WEFT_AT_EVENT, &words[1], false);
    if (place != nullptr) {
        place->closed = 0;
        weft_private_place_ready(p->server, place); // for it to be forgotten
    }
    weft_private_reply_ok(p);
}

void weft_private_command_is_set(weft_private_peer *p, const weft_private_word *words, int)
{
    const weft_private_place *place = place_of(p, WEFT_AT_EVENT, &words[1], false);
    weft_private_reply_integer(p, place != nullptr && place->closed != 0);
}

void weft_private_command_wait_event(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_deadline d;
    if (!weft_private_milliseconds(p, &words[2], &d))
        return;
    weft_private_place *place = place_of(p, WEFT_AT_EVENT, &words[1], true);
    if (place->closed != 0) {
        weft_private_reply_integer(p, 1);
    } else {
        weft_private_wait_in(p, place, &place->waiting, nullptr, d);
    }
}
