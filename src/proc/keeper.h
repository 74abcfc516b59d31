// keeper.h: a process of ours between us and a program, by which all that descends from the program
// ends with it, at our word, or when we end.
#ifndef WEFT_PROC_KEEPER_H
#define WEFT_PROC_KEEPER_H

#include "spawn.h"

#include <base/child.h>
#include <base/leash.h>

namespace weft {

// As spawn_start; *c is then the keeper, and *control what holds it.
int keeper_start(spawn_plan *plan, child *c, leash *control);

// Gives back the memory that is shared with it, if *c is one.
void keeper_forget(child *c);

} // namespace weft

#endif
