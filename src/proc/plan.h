// plan.h: what a child needs from memory, made before it exists: its environment
// and the paths where its program may be.
#ifndef WEFT_PROC_PLAN_H
#define WEFT_PROC_PLAN_H

#include <weft/subprocess.h>

#ifdef __cplusplus
extern "C" {
#endif

// The environment the options ask for; *allocated (or NULL) is to be freed after use.
char *const *weft_private_environment(const weft_subprocess_options *opts, char ***allocated);

// The paths to try for `file`, as weft_private_spawn wants them; free() it.
char *weft_private_candidates(const char *file, char *const *envp);

#ifdef __cplusplus
}
#endif

#endif
