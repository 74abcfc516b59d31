// plan.h: what a child needs from memory, made before it exists: its environment
// and the paths where its program may be.
#ifndef WEFT_PROC_PLAN_H
#define WEFT_PROC_PLAN_H

#include <weft/subprocess.h>

namespace weft {

// The environment the options ask for; *allocated (or NULL) is to be freed after use.
char *const *child_environment(const weft_subprocess_options *opts, char ***allocated);

// The paths to try for `file`, as spawn_plan wants them; free() it.
char *path_candidates(const char *file, char *const *envp);

} // namespace weft

#endif
