// wheel.cc: the hierarchical timer wheel; how it works is told in wheel.h.
#include "wheel.h"

using namespace weft;

void weft::wheel_init(wheel *w, uint64_t tick)
{
    w->tick = tick;
    for (uint64_t &word : w->occupied)
        word = 0;
    for (weft_loop_link &slot : w->slots)
        list_init(&slot);
}

// The slot of `level` in which `tick` lies.
static unsigned slot_of(uint64_t tick, int level)
{
    unsigned level_begins = (unsigned)level * WHEEL_SLOTS, byte = (tick >> (8 * level)) & 255;
    return level_begins + byte;
}

void weft::wheel_add_beyond(wheel *w, weft_alarm *a)
{
    int level = WHEEL_LEVELS - 1;
    uint64_t end = w->tick | UINT32_MAX;
    // The end may itself be near: then it lies lower, as the invariant has it.
    while (level > 0 && slot_of(end, level) == slot_of(w->tick, level))
        level--;
    wheel_put(w, slot_of(end, level), a);
}

static void clear_bit(wheel *w, unsigned slot)
{
    w->occupied[slot / 64] &= ~(1ull << (slot % 64));
}

// The first slot from `from` on, of its level, that holds something, or the next level's first;
// clears the bits of those that don't any more.
static unsigned first_occupied(wheel *w, unsigned from)
{
    unsigned end = (from / WHEEL_SLOTS + 1) * WHEEL_SLOTS;
    uint64_t word = w->occupied[from / 64] & ~0ull << (from % 64);
    for (unsigned base = from / 64 * 64;; word = w->occupied[base / 64]) {
        for (; word != 0; word &= word - 1) {
            unsigned slot = base + (unsigned)__builtin_ctzll(word);
            if (!list_is_empty(&w->slots[slot]))
                return slot;
            clear_bit(w, slot);
        }
        base += 64;
        if (base == end)
            return end;
    }
}

uint64_t weft::wheel_next(wheel *w)
{
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        unsigned slot = first_occupied(w, slot_of(w->tick, level));
        if (slot / WHEEL_SLOTS == (unsigned)level) {
            int below = 8 * level;
            return ((w->tick >> below & ~255ull) | slot % WHEEL_SLOTS) << below;
        }
    }
    return UINT64_MAX;
}

// Enters `tick`: what lay in the slots of the levels above that have its bytes moves down.
static void enter(wheel *w, uint64_t tick)
{
    w->tick = tick;
    for (int level = WHEEL_LEVELS - 1; level > 0; level--) {
        unsigned slot = slot_of(tick, level);
        if (!(w->occupied[slot / 64] >> (slot % 64) & 1))
            continue;
        weft_loop_link moving;
        list_init(&moving);
        list_splice(&moving, &w->slots[slot]);
        clear_bit(w, slot);
        while (!list_is_empty(&moving)) {
            weft_alarm *a = (weft_alarm *)moving.next;
            list_remove(&a->link);
            wheel_add(w, a, alarm_tick(a));
        }
    }
}

void weft::wheel_collect(wheel *w, uint64_t now, weft_loop_link *due)
{
    uint64_t next;
    while (w->tick <= now && (next = wheel_next(w)) <= now) {
        enter(w, next);
        unsigned slot = slot_of(next, 0);
        list_splice(due, &w->slots[slot]);
        clear_bit(w, slot);
        enter(w, next + 1);
    }
    if (w->tick <= now)
        enter(w, now + 1);
}
