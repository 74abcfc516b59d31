// command_lock.cc: WEFT.LOCK and WEFT.UNLOCK; WEFT.SEMAPHORE, ACQUIRE, RELEASE, UNITS.
//
// Who holds what is in lists of the peers, so that the end of a connection releases it.  Tokens
// come from one counter for all locks: a lock that nobody has and nobody wants is forgotten, and
// still its next owner has a greater token than its last.
#include "commands.h"
#include "place.h"

static weft_private_place *place_of(weft_private_peer *p, int kind, const weft_private_word *name,
                                    bool make)
{
    return weft_private_place_find(p->server, kind, 0, name->text, name->size, make);
}

// ---- Locks ----

static void give_lock(weft_private_server *s, weft_private_place *place, weft_private_peer *p)
{
    place->owner = p;
    place->number = ++s->token;
    weft_private_hold_add(p, place);
    s->locks++;
    weft_private_reply_integer(p, place->number);
}

void weft_private_lock_serve(weft_private_server *s, weft_private_place *place)
{
    weft_private_wait *w =
        place->owner == nullptr ? weft_private_wait_first(&place->waiting) : nullptr;
    if (w == nullptr)
        return;
    give_lock(s, place, w->peer);
    weft_private_wait_end(w);
}

// WEFT.LOCK name ms [RECURSIVE]
void weft_private_command_lock(weft_private_peer *p, const weft_private_word *words, int n)
{
    weft_deadline d;
    if (n > 4 || (n == 4 && !weft_private_word_is(&words[3], "recursive"))) {
        weft_private_reply_syntax(p);
        return;
    }
    if (!weft_private_milliseconds(p, &words[2], &d))
        return;
    weft_private_place *place = place_of(p, WEFT_AT_LOCK, &words[1], true);
    if (place->owner == p && n == 4) {
        weft_private_hold_add(p, place);
        weft_private_reply_integer(p, place->number);
    } else if (place->owner == p) {
        weft_private_reply_error(p, "DEADLOCK this connection has the lock");
    } else if (place->owner == nullptr && place->waiting.next == &place->waiting) {
        give_lock(p->server, place, p);
    } else {
        weft_private_wait_in(p, place, &place->waiting, nullptr, d);
    }
}

void weft_private_command_unlock(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = place_of(p, WEFT_AT_LOCK, &words[1], false);
    if (place == nullptr || place->owner != p) {
        weft_private_reply_error(p, "NOTOWNER this connection does not have the lock");
        return;
    }
    weft_private_hold *h = weft_private_hold_find(p, place);
    weft_private_reply_integer(p, --h->count);
    if (h->count > 0)
        return;
    weft_private_hold_remove(p, h);
    place->owner = nullptr;
    p->server->locks--;
    weft_private_place_ready(p->server, place);
}

// ---- Semaphores ----

static weft_private_place *semaphore_of(weft_private_peer *p, const weft_private_word *name)
{
    weft_private_place *place = place_of(p, WEFT_AT_UNITS, name, false);
    if (place == nullptr)
        weft_private_reply_error(p, "NOSUCH there is no such semaphore");
    return place;
}

static void give_unit(weft_private_place *place, weft_private_peer *p)
{
    weft_private_hold_add(p, place);
    weft_private_reply_integer(p, --place->number);
}

void weft_private_units_serve(weft_private_server *, weft_private_place *place)
{
    weft_private_wait *w;
    while (place->number > 0 && (w = weft_private_wait_first(&place->waiting)) != nullptr) {
        give_unit(place, w->peer);
        weft_private_wait_end(w);
    }
}

void weft_private_command_semaphore(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t units;
    if (!weft_private_integer(p, &words[2], &units))
        return;
    if (units < 0 || units > UINT32_MAX) {
        weft_private_reply_not_integer(p);
        return;
    }
    weft_private_place *place = place_of(p, WEFT_AT_UNITS, &words[1], false);
    if (place == nullptr) {
        place = place_of(p, WEFT_AT_UNITS, &words[1], true);
        place->number = units;
    }
    weft_private_reply_integer(p, place->number);
}

void weft_private_command_acquire(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_deadline d;
    if (!weft_private_milliseconds(p, &words[2], &d))
        return;
    weft_private_place *place = semaphore_of(p, &words[1]);
    if (place == nullptr)
        return;
    if (place->number > 0 && place->waiting.next == &place->waiting) {
        give_unit(place, p);
    } else {
        weft_private_wait_in(p, place, &place->waiting, nullptr, d);
    }
}

void weft_private_command_release(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = semaphore_of(p, &words[1]);
    if (place == nullptr)
        return;
    weft_private_hold *h = weft_private_hold_find(p, place);
    if (h != nullptr && --h->count == 0)
        weft_private_hold_remove(p, h);
    weft_private_reply_integer(p, ++place->number);
    weft_private_place_ready(p->server, place);
}

void weft_private_command_units(weft_private_peer *p, const weft_private_word *words, int)
{
    const weft_private_place *place = semaphore_of(p, &words[1]);
    if (place != nullptr)
        weft_private_reply_integer(p, place->number);
}
