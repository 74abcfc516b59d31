// step_object.h: the same for named objects.
#ifndef WEFT_TORTURE_STEP_OBJECT_H
#define WEFT_TORTURE_STEP_OBJECT_H

#include "step_sync.h"

static int make_pair(weft_shm *, void *p, void *)
{
    volatile long *pair = (volatile long *)p;
    pair[0]++;
    pair[1]++;
    return 0;
}

// Zeros that were made into a pair once.
static int use_object(const char *name)
{
    const long *pair = (const long *)weft_shm_object(heap, name, 2 * sizeof(long), make_pair,
                                                     nullptr, weft_in_ms(150));
    return pair != nullptr && pair[0] == 1 && pair[1] == 1 ? 0 : 1;
}

static void object_begin(void)
{
    heap = weft_shm_create(nullptr, 8192, nullptr);
    if (now != EMPTY)
        use_object("other");
    if (now == FULL)
        use_object("this");
}

static int act_object(void *)
{
    return use_object("this");
}

static int act_object_remove(void *)
{
    use_object("this");
    return weft_shm_object_remove(heap, "this");
}

static int die_making(weft_shm *, void *p, void *)
{
    *(long *)p = 1;
    return kill(getpid(), SIGKILL);
}

static int die_in_object(void *)
{
    weft_shm_object(heap, "this", 2 * sizeof(long), die_making, nullptr, WEFT_NOW);
    return 1;
}

static int check_object(void *)
{
    REQUIRE(use_object("this") == 0);
    REQUIRE(use_object("other") == 0);
    REQUIRE(use_object("fresh") == 0);
    REQUIRE(weft_shm_object_remove(heap, "this") == 0);
    REQUIRE(use_object("this") == 0);
    REQUIRE(use_object("other") == 0);
    return 0;
}

#endif
