// step_map.h: the same for the map.
#ifndef WEFT_TORTURE_STEP_MAP_H
#define WEFT_TORTURE_STEP_MAP_H

#include "step_world.h"

#include <shm/map_table.h>

enum { MAP_ENTRIES = 5, MAP_OLD = 4, MAP_SIZE = 20 };

static weft_shared_map *map;

static int map_set(int key, char to)
{
    char value[MAP_SIZE];
    memset(value, to, sizeof value);
    return weft_shared_map_set(map, &key, sizeof key, value, sizeof value, soon());
}

static int map_remove(int key)
{
    return weft_shared_map_remove(map, &key, sizeof key, soon());
}

// What the value is made of; 0: there is none; -1: it is torn.
static int map_get(int key)
{
    char value[MAP_SIZE];
    ssize_t n = weft_shared_map_get(map, &key, sizeof key, value, sizeof value);
    for (ssize_t i = 0; i < n; i++)
        if (n != MAP_SIZE || value[i] != value[0])
            return -1;
    return n < 0 ? 0 : value[0];
}

static void map_fill(uint64_t seed)
{
    weft_shared_map_init(map, MAP_ENTRIES, sizeof(int), MAP_SIZE);
    map->seed = seed;
    for (int key = 0; key < MAP_OLD; key++)
        map_set(key, 'a');
}

// With a seed by which a removal of key 0 makes two others move.
static void map_begin(void)
{
    static uint64_t seed;
    map = (weft_shared_map *)weft_shm_allocate(
        segment, weft_shared_map_bytes(MAP_ENTRIES, sizeof(int), MAP_SIZE));
    for (; seed == 0 || map->moves < 2; map_remove(0))
        map_fill(++seed);
    map_fill(seed);
    map->moves = now == WRAP ? UINT64_MAX : 0;
    map->changes = now == WRAP ? UINT32_MAX : map->changes;
    if (now == FULL)
        map_set(MAP_OLD, 'a');
}

static void map_end(void)
{
    weft_shm_free(segment, map);
}

static int act_map_set(void *)
{
    return map_set(MINE, 'b');
}

static int act_map_set_again(void *)
{
    return map_set(0, 'b');
}

static int act_map_remove(void *)
{
    return map_remove(0);
}

static int die_in_map(void *)
{
    brief_lock(&map->lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

// One reads before anybody mends.  Then all the room is there, and none more.
static int check_map(void *)
{
    int seen = map_get(0);
    REQUIRE(seen == 'a' || seen == 'b' || seen == 0);
    for (int i = 0; i < 2; i++) {
        for (int key = 1; key < MAP_OLD; key++)
            REQUIRE(map_get(key) == 'a');
        int mine = map_get(MINE);
        REQUIRE(mine == 0 || mine == 'b');
        REQUIRE(map_get(0) == seen);
        REQUIRE(i != 0 || map_set(1, 'a') == 0);
    }
    for (int key = 0; key < MAP_OLD; key++)
        map_remove(key);
    map_remove(MAP_OLD);
    map_remove(MINE);
    REQUIRE(weft_shared_map_count(map) == 0);
    for (int key = FRESH; key < FRESH + MAP_ENTRIES; key++)
        REQUIRE(map_set(key, 'c') == 0 && map_get(key) == 'c');
    REQUIRE(map_set(MINE, 'c') == -1 && errno == ENOSPC);
    return 0;
}

#endif
