// step_world.h: what the stepped operations work on, and how their checks complain.
#ifndef WEFT_TORTURE_STEP_WORLD_H
#define WEFT_TORTURE_STEP_WORLD_H

#include "broken_rings.h"
#include "shared_objects.h"
#include "victim.h"

#include <shm/queue_ring.h>

#include <sched.h>

using namespace weft;

enum situation { EMPTY, FULL, BLOCKED, WRAP, RECOVERY, SITUATIONS };
static const char *const NAMES[] = {"empty", "full", "blocked peer", "wrap-around", "recovery"};

struct message {
    uint64_t id[3]; // the same three times: torn if they differ
};
enum { SLOTS = 6, MINE = 50, PEERS = 60, FRESH = 70, MOST = 100 };

struct world : shared_objects {
    weft_shared_array array;
    char items[512]; // the array's
    struct sem_ring sems;
    struct cond_ring conds;
    weft_shared_lease lease;
    long left, right;    // equal when the mutex is free
    uint32_t peer_ready; // the peer is about to block
    uint32_t got[MOST];  // who got which message, this often
};

static weft_shm *segment;
static struct world *w;
static weft_shared_queue *queue;
static weft_shm *heap;
static enum situation now;
static int capacity; // of the queue, in messages

// What a check found wrong, for people.
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ % 200 + 20;                                                            \
    } while (0)

static weft_deadline soon(void)
{
    return weft_in_ms(200);
}

// Of a victim.
static weft_deadline patience(void)
{
    return weft_in_us(1500);
}

// In a child: so that what a process does for its first time is not stepped through.
static void warm_up(void)
{
    brief_enlist();
    weft_now();
}

#endif
