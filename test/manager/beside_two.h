// beside_two.h: two connections to each server; what the first says to both, they reply alike.
#ifndef WEFT_TEST_BESIDE_TWO_H
#define WEFT_TEST_BESIDE_TWO_H

#include "beside.h"

#include <initializer_list>

static raw one[SIDES], two[SIDES];

static inline void open_all(void)
{
    sides_open(one, 1);
    sides_open(two, 1);
}

static inline void close_all(void)
{
    sides_close(one, 1);
    sides_close(two, 1);
}

static inline void same(const char *line)
{
    both_say(&one[OURS], &one[REDIS], line);
}

static inline void all_same(std::initializer_list<const char *> lines)
{
    for (const char *line : lines)
        same(line);
}

#endif
