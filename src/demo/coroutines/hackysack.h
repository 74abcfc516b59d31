// hackysack.h: the circle of `weft-coroutines hackysack` and of its benchmark.
//
// Players stand in it, each a tasklet with a channel of its own; whoever has the ball passes it to
// any of the others.  So each pass is one switch to a tasklet that nobody foresees.
#ifndef WEFT_DEMO_HACKYSACK_H
#define WEFT_DEMO_HACKYSACK_H

#include <weft/channel.h>

static struct {
    weft_channel **of; // each player's
    uint64_t players, rounds, passes, seed;
} circle;

// A player waits for the ball and passes it to any of the others.
static inline void *play(void *place)
{
    uint64_t me = (uintptr_t)place, from;
    while (weft_channel_next(circle.of[me], &from, WEFT_FOREVER) == 1 &&
           circle.passes++ < circle.rounds) {
        circle.seed = circle.seed * 6364136223846793005U + 1442695040888963407U;
        uint64_t to = (me + 1 + (circle.seed >> 33) % (circle.players - 1)) % circle.players;
        weft_channel_send(circle.of[to], &me, WEFT_FOREVER);
    }
    for (uint64_t i = 0; circle.passes > circle.rounds && i < circle.players; i++)
        weft_channel_close(circle.of[i]);
    return nullptr;
}

#endif
