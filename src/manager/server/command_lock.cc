// command_lock.cc: WEFT.LOCK and WEFT.UNLOCK; WEFT.SEMAPHORE, ACQUIRE, RELEASE, UNITS.
//
// Who holds what is known of each peer (hold.cc), so that the end of a connection releases it.
// Tokens come from one counter for all locks: a lock that nobody has and nobody wants is forgotten,
// and still its next owner has a greater token than its last.
#include "commands.h"
#include "place.h"

using namespace weft;

static place *place_of(peer *p, int kind, const word *name)
{
    return place_find(p->server, kind, 0, name->text, name->size, false);
}

// ---- Locks ----

static void give_lock(server *s, place *place, peer *p)
{
    place->number = ++s->token;
    place->since = weft_loop_now(s->loop);
    hold_add(p, place);
    s->locks++;
    reply_integer(p, place->number);
}

void weft::lock_serve(server *s, place *place)
{
    peer_wait *w = lock_owner(place) == nullptr ? wait_first(&place->waiting) : nullptr;
    if (w == nullptr)
        return;
    give_lock(s, place, w->peer);
    wait_end(w);
}

// WEFT.LOCK name ms [RECURSIVE]
void weft::command_lock(peer *p, const word *words, int n)
{
    weft_deadline d;
    if (n > 4 || (n == 4 && !word_is(&words[3], "recursive"))) {
        reply_syntax(p);
        return;
    }
    if (!parse_milliseconds(p, &words[2], &d))
        return;
    place *place = place_make(p, AT_LOCK, 0, &words[1], true);
    if (place == nullptr)
        return;
    const peer *owner = lock_owner(place);
    if (owner == p && n == 4) {
        hold_add(p, place);
        reply_integer(p, place->number);
    } else if (owner == p) {
        reply_error(p, "DEADLOCK this connection has the lock");
    } else if (owner == nullptr && place->waiting.next == &place->waiting) {
        give_lock(p->server, place, p);
    } else {
        wait_in(p, place, &place->waiting, nullptr, d);
    }
}

void weft::command_unlock(peer *p, const word *words, int)
{
    place *place = place_of(p, AT_LOCK, &words[1]);
    if (place == nullptr || lock_owner(place) != p) {
        reply_error(p, "NOTOWNER this connection does not have the lock");
        return;
    }
    peer_hold *h = place->holds.next->hold;
    reply_integer(p, --h->count);
    if (h->count > 0)
        return;
    hold_remove(h);
    p->server->locks--;
    place_ready(p->server, place);
}

// ---- Semaphores ----

static place *semaphore_of(peer *p, const word *name)
{
    place *place = place_of(p, AT_UNITS, name);
    if (place == nullptr)
        reply_error(p, "NOSUCH there is no such semaphore");
    return place;
}

static void give_unit(place *place, peer *p)
{
    hold_add(p, place);
    reply_integer(p, --place->number);
}

void weft::units_serve(server *, place *place)
{
    peer_wait *w;
    while (place->number > 0 && (w = wait_first(&place->waiting)) != nullptr) {
        give_unit(place, w->peer);
        wait_end(w);
    }
}

void weft::command_semaphore(peer *p, const word *words, int)
{
    int64_t units;
    if (!parse_integer(p, &words[2], &units))
        return;
    if (units < 0 || units > UINT32_MAX) {
        reply_not_integer(p);
        return;
    }
    place *place = place_of(p, AT_UNITS, &words[1]);
    if (place == nullptr) {
        place = place_make(p, AT_UNITS, 0, &words[1], true);
        if (place == nullptr)
            return;
        place->number = units;
    }
    reply_integer(p, place->number);
}

void weft::command_acquire(peer *p, const word *words, int)
{
    weft_deadline d;
    if (!parse_milliseconds(p, &words[2], &d))
        return;
    place *place = semaphore_of(p, &words[1]);
    if (place == nullptr)
        return;
    if (place->number > 0 && place->waiting.next == &place->waiting) {
        give_unit(place, p);
    } else {
        wait_in(p, place, &place->waiting, nullptr, d);
    }
}

void weft::command_release(peer *p, const word *words, int)
{
    place *place = semaphore_of(p, &words[1]);
    if (place == nullptr)
        return;
    peer_hold *h = hold_find(p, place);
    if (h != nullptr && --h->count == 0)
        hold_remove(h);
    reply_integer(p, ++place->number);
    place_ready(p->server, place);
}

void weft::command_units(peer *p, const word *words, int)
{
    const place *place = semaphore_of(p, &words[1]);
    if (place != nullptr)
        reply_integer(p, place->number);
}
