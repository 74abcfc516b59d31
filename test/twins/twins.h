// twins.h: one suite of cases over things that are alike, each through a table of functions, by
// threads, by processes, or by threads with a connection each.
#ifndef WEFT_TEST_TWINS_H
#define WEFT_TEST_TWINS_H

#include "peers.h"

// Leaves the rest of a case out where it is not so.
#define NEEDS(what)                                                                                \
    if (!(what))                                                                                   \
    skip()

// A name for a remote thing.
static const char *new_name(void)
{
    static char name[32];
    static int serial;
    snprintf(name, sizeof name, "twin %d", ++serial);
    return name;
}

// A kind of thing: how its peers come, what it has.
typedef struct kin {
    const char *name;
    enum way way;
    int traits;
} kin;

static int traits; // of the kind that is tested

static bool has(int trait)
{
    return (traits & trait) != 0;
}

// Runs the cases on one kind of thing.
static int run_kind(const kin *k, const char *name)
{
    way = k->way;
    traits = k->traits;
    return way == CONNECTIONS ? run_cases(begin_group, end_group, name)
                              : run_cases(census_begin, census_end, name);
}

// The name of a kind on a server.
static const char *name_on(const char *kind, const char *server_name)
{
    static char name[64];
    snprintf(name, sizeof name, "%s, %s", kind, server_name);
    return name;
}

#endif
