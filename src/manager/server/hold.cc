// hold.cc: what peers hold: locks and units (place.h).
//
// A hold is in two rings, its peer's and its place's.  When a peer has gone its holds are the
// server's, which gives them back in the background, unless they are few; until the last of them
// is, the peer's memory stays, so that no other peer is taken for it.
#include "place.h"

using namespace weft;

enum { FEW = 16 };

peer_hold *weft::hold_find(const peer *p, const place *place)
{
    const hold_link *mine = p->holds.next, *its = place->holds.next;
    for (; mine != &p->holds && its != &place->holds; mine = mine->next, its = its->next) {
        if (mine->hold->place == place)
            return mine->hold;
        if (its->hold->peer == p)
            return its->hold;
    }
    return nullptr;
}

void weft::hold_add(peer *p, place *place)
{
    peer_hold *h = hold_find(p, place);
    if (h == nullptr) {
        h = (peer_hold *)memory_take_zeroed(1, sizeof *h);
        h->peer = p;
        h->place = place;
        h->of_peer.hold = h->of_place.hold = h;
        list_insert(&p->holds, &h->of_peer);
        list_insert(&place->holds, &h->of_place);
        p->held++;
        owner_watch(p, true);
    }
    h->count++;
}

void weft::hold_remove(peer_hold *h)
{
    peer *p = h->peer;
    list_remove(&h->of_peer);
    list_remove(&h->of_place);
    memory_give(h);
    if (--p->held == 0 && p->has_gone)
        memory_give(p);
}

// ---- Of those who have gone ----

static void give_back(server *s, peer_hold *h)
{
    place *place = h->place;
    if (place->kind == AT_LOCK)
        s->locks--;
    else
        place->number += h->count;
    hold_remove(h);
    place_ready(s, place);
}

static bool give_back_some(server *s, void *)
{
    for (int n = 0; n < FEW && !list_is_empty(&s->released); n++)
        give_back(s, s->released.next->hold);
    places_serve(s);
    return !list_is_empty(&s->released);
}

bool weft::holds_release(peer *p)
{
    server *s = p->server;
    bool runs = !list_is_empty(&s->released);
    if (p->held == 0)
        return true;
    if (p->held <= FEW && !runs) {
        while (p->held > 0)                    // has_gone is not set: it stays
            give_back(s, p->holds.next->hold); // NOLINT(clang-analyzer-unix.Malloc)
        return true;
    }
    p->has_gone = true;
    list_splice(&s->released, &p->holds);
    if (!runs)
        background(s, give_back_some, nullptr);
    return false;
}
