// plan.h: what a child needs from memory, made before it exists: its environment, the paths where
// its program may be, the descriptors that it keeps.
#ifndef WEFT_PROC_PLAN_H
#define WEFT_PROC_PLAN_H

#include "spawn.h"

namespace weft {

// Whether they don't contradict each other.
bool options_fit(const char *const argv[], const weft_subprocess_options *o);

// The plan of argv with these options, where `source` becomes the standard streams.  -1: errno, and
// *stage tells.
int plan_make(spawn_plan *plan, const char *const argv[], const weft_subprocess_options *o,
              const int source[3], int *stage);
void plan_free(spawn_plan *plan);

} // namespace weft

#endif
