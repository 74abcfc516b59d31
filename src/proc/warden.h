// warden.h: a process of ours between us and a program, by which all that descends from the program
// ends with it, at our word, or when we end.
#ifndef WEFT_PROC_WARDEN_H
#define WEFT_PROC_WARDEN_H

#include "spawn.h"

#include <base/child.h>
#include <base/leash.h>

namespace weft {

// As spawn_start; *c is then the warden, and *control what holds it.
int warden_start(spawn_plan *plan, child *c, leash *control);

// Gives back the memory that is shared with it, if *c is one.
void warden_forget(child *c);

} // namespace weft

#endif
