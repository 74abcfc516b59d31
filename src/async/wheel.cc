// wheel.cc: the hierarchical timer wheel; how it works is told in wheel.h.
#include "wheel.h"

void weft_private_wheel_init(weft_private_wheel *w, uint64_t tick)
{
    w->tick = tick;
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        for (uint64_t &word : w->occupied[level])
            word = 0;
        for (weft_loop_link &slot : w->slots[level])
            weft_private_list_init(&slot);
    }
}

static unsigned byte_of(uint64_t tick, int level)
{
    return (tick >> (8 * level)) & 255;
}

void weft_private_wheel_add(weft_private_wheel *w, weft_alarm *a)
{
    uint64_t tick = weft_private_alarm_tick(a);
    if (tick < w->tick)
        tick = w->tick;
    uint64_t differs = tick ^ w->tick;
    int level = (63 - __builtin_clzll(differs | 1)) / 8;
    if (level >= WHEEL_LEVELS) {
        level = WHEEL_LEVELS - 1;
        tick = w->tick | UINT32_MAX;
        // The end may itself be near: then it lies lower, as the invariant has it.
        while (level > 0 && byte_of(tick, level) == byte_of(w->tick, level))
            level--;
    }
    unsigned slot = byte_of(tick, level);
    weft_private_list_insert(&w->slots[level][slot], &a->link);
    w->occupied[level][slot / 64] |= 1ull << (slot % 64);
}

// The first slot of `level` from `from` on that holds something, or WHEEL_SLOTS; clears the bits
// of those that don't any more.
static unsigned first_occupied(weft_private_wheel *w, int level, unsigned from)
{
    for (unsigned i = from / 64; i < WHEEL_SLOTS / 64; i++) {
        uint64_t word = w->occupied[level][i];
        if (i == from / 64)
            word &= ~0ull << (from % 64);
        for (; word != 0; word &= word - 1) {
            unsigned slot = i * 64 + (unsigned)__builtin_ctzll(word);
            if (!weft_private_list_empty(&w->slots[level][slot]))
                return slot;
            w->occupied[level][i] &= ~(1ull << (slot % 64));
        }
    }
    return WHEEL_SLOTS;
}

uint64_t weft_private_wheel_next(weft_private_wheel *w)
{
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        unsigned slot = first_occupied(w, level, byte_of(w->tick, level));
        if (slot < WHEEL_SLOTS) {
            int below = 8 * level;
            return ((w->tick >> below & ~255ull) | slot) << below;
        }
    }
    return UINT64_MAX;
}

// Enters `tick`: what lay in the slots of the levels above that have its bytes moves down.
static void enter(weft_private_wheel *w, uint64_t tick)
{
    w->tick = tick;
    for (int level = WHEEL_LEVELS - 1; level > 0; level--) {
        unsigned slot = byte_of(tick, level);
        if (!(w->occupied[level][slot / 64] >> (slot % 64) & 1))
            continue;
        weft_loop_link moving;
        weft_private_list_init(&moving);
        weft_private_list_splice(&moving, &w->slots[level][slot]);
        w->occupied[level][slot / 64] &= ~(1ull << (slot % 64));
        while (!weft_private_list_empty(&moving)) {
            weft_alarm *a = (weft_alarm *)moving.next;
            weft_private_list_remove(&a->link);
            weft_private_wheel_add(w, a);
        }
    }
}

void weft_private_wheel_collect(weft_private_wheel *w, uint64_t now, weft_loop_link *due)
{
    uint64_t next;
    while (w->tick <= now && (next = weft_private_wheel_next(w)) <= now) {
        enter(w, next);
        unsigned slot = byte_of(next, 0);
        weft_private_list_splice(due, &w->slots[0][slot]);
        w->occupied[0][slot / 64] &= ~(1ull << (slot % 64));
        enter(w, next + 1);
    }
    if (w->tick <= now)
        enter(w, now + 1);
}
