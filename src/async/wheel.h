// wheel.h: alarms by the tick in which they are due, in constant time.
//
// Four levels of 256 slots (G. Varghese and A. Lauck, "Hashed and Hierarchical Timing Wheels",
// 1987).  A tick is 2^19 ns, so that finding one is a shift.  An alarm lies at the level of the
// highest byte in which its tick differs from the wheel's, in the slot that this byte names:
// all of level 0 is due before all of level 1, and so on up.  When the wheel's tick enters a slot
// of a level above 0, what lies there moves down; so no slot above 0 that has the wheel's own
// byte holds anything.  A bit a slot says where to look; taking an alarm out leaves its
// bit, which the next search clears.
#ifndef WEFT_ASYNC_WHEEL_H
#define WEFT_ASYNC_WHEEL_H

#include <base/list.h>
#include <weft/loop.h>

namespace weft {

enum { WHEEL_LEVELS = 4, WHEEL_SLOTS = 256, WHEEL_TICK_BITS = 19 };

// Slots are numbered through: level * WHEEL_SLOTS + the byte.
struct wheel {
    uint64_t tick; // the first that has not been collected
    uint64_t occupied[WHEEL_LEVELS * WHEEL_SLOTS / 64];
    weft_loop_link slots[WHEEL_LEVELS * WHEEL_SLOTS];
};

// ---- The wheel ----

// An alarm fits a cache line: `filed` is the tick it lies under, and a bit for timer.cc.
static inline uint64_t alarm_tick(const weft_alarm *a)
{
    return a->filed >> 1;
}

static inline bool alarm_is_near(const weft_alarm *a)
{
    return a->filed & 1;
}

static inline void alarm_file(weft_alarm *a, uint64_t tick, bool near)
{
    a->filed = tick << 1 | near;
}

// The tick in which `at` lies.
static inline uint64_t tick_of(weft_deadline at)
{
    return at <= 0 ? 0 : (uint64_t)at >> WHEEL_TICK_BITS;
}

// When tick `t` begins.
static inline weft_deadline tick_begins(uint64_t t)
{
    return t >= (uint64_t)INT64_MAX >> WHEEL_TICK_BITS ? WEFT_FOREVER
                                                       : (int64_t)(t << WHEEL_TICK_BITS);
}

void wheel_init(wheel *w, uint64_t tick);

static inline void wheel_put(wheel *w, unsigned slot, weft_alarm *a)
{
    list_insert(&w->slots[slot], &a->link);
    w->occupied[slot / 64] |= 1ull << (slot % 64);
}

// Files at the wheel's end.
void wheel_add_beyond(wheel *w, weft_alarm *a);

// Files `a` under its `tick`, or the wheel's if that has passed.  What is further than the wheel
// goes (2^32 ticks, 26 days) is filed at its end: whoever collects it looks and files it again.
static inline void wheel_add(wheel *w, weft_alarm *a, uint64_t tick)
{
    if (tick < w->tick)
        tick = w->tick;
    uint64_t differs = tick ^ w->tick;
    if (__builtin_expect(differs > UINT32_MAX, 0)) {
        wheel_add_beyond(w, a);
        return;
    }
    unsigned bits = (31 - (unsigned)__builtin_clz((uint32_t)differs | 1)) & ~7u; // level * 8
    unsigned level_begins = bits * (WHEEL_SLOTS / 8), byte = (tick >> bits) & 255;
    wheel_put(w, level_begins + byte, a);
}

// The first tick at which there may be something to collect or to move down; UINT64_MAX: empty.
uint64_t wheel_next(wheel *w);

// Moves the alarms of all ticks up to `now` to the end of `due`, tick by tick.
void wheel_collect(wheel *w, uint64_t now, weft_loop_link *due);

} // namespace weft

#endif
