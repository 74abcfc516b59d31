// plan.cc: environment and PATH, without touching our own; descriptors and processors.
#include "plan.h"

#include <base/errno.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

using namespace weft;

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list != nullptr && list[n] != nullptr)
        n++;
    return n;
}

// The length of the NAME in "NAME=value".
static size_t name_length(const char *entry)
{
    return (size_t)(strchrnul(entry, '=') - entry);
}

static bool named(const char *entry, const char *name, size_t length)
{
    return strncmp(entry, name, length) == 0 && (entry[length] == '=' || entry[length] == 0);
}

static bool valid(const weft_subprocess_options *o)
{
    for (size_t i = 0; i < count(o->env_add); i++)
        if (o->env_add[i][0] == '=' || strchr(o->env_add[i], '=') == nullptr)
            return false;
    for (size_t i = 0; i < count(o->env_unset); i++)
        if (o->env_unset[i][0] == 0 || strchr(o->env_unset[i], '=') != nullptr)
            return false;
    return true;
}

static bool is_replaced(const weft_subprocess_options *o, const char *entry)
{
    for (size_t i = 0; i < count(o->env_unset); i++)
        if (named(entry, o->env_unset[i], strlen(o->env_unset[i])))
            return true;
    for (size_t i = 0; i < count(o->env_add); i++)
        if (named(entry, o->env_add[i], name_length(o->env_add[i])))
            return true;
    return false;
}

// As with setenv(3): of several entries with one name the last counts.
static bool is_set_later(const char *const *add, size_t i)
{
    for (size_t k = i + 1; add[k] != nullptr; k++)
        if (named(add[k], add[i], name_length(add[i])))
            return true;
    return false;
}

static char *const *child_environment(const weft_subprocess_options *o, char ***allocated)
{
    const char *const *base = o->env != nullptr ? o->env : environ;
    size_t have = count(base), added = count(o->env_add), n = 0;
    *allocated = nullptr;
    if (!valid(o)) {
        errno = EINVAL;
        return nullptr;
    }
    if (added == 0 && count(o->env_unset) == 0 && base != nullptr)
        return (char *const *)base;
    const char **envp = (const char **)malloc((have + added + 1) * sizeof *envp);
    if (envp == nullptr)
        return nullptr;
    for (size_t i = 0; base != nullptr && base[i] != nullptr; i++)
        if (!is_replaced(o, base[i]))
            envp[n++] = base[i];
    for (size_t i = 0; i < added; i++)
        if (!is_set_later(o->env_add, i))
            envp[n++] = o->env_add[i];
    envp[n] = nullptr;
    *allocated = (char **)envp;
    return *allocated;
}

static const char *search_path(char *const *envp)
{
    for (; *envp != nullptr; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return "/bin:/usr/bin";
}

static char *append(char *at, const char *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

// An empty folder in PATH is the current one.
static char *append_candidates(char *at, const char *path, const char *file, size_t length)
{
    for (;;) {
        size_t folder = (size_t)(strchrnul(path, ':') - path);
        at = append(at, path, folder);
        if (folder > 0 && path[folder - 1] != '/')
            *at++ = '/';
        at = append(at, file, length + 1);
        if (path[folder] == 0)
            return at;
        path += folder + 1;
    }
}

static char *path_candidates(const char *file, char *const *envp)
{
    size_t length = strlen(file), folders = 1, room;
    const char *path = length == 0 || strchr(file, '/') != nullptr ? nullptr : search_path(envp);
    for (const char *p = path; p != nullptr && *p != 0; p++)
        folders += *p == ':';
    room = folders * (length + 2) + (path != nullptr ? strlen(path) : 0) + 1;
    char *list = (char *)malloc(room);
    if (list == nullptr)
        return nullptr;
    *(path == nullptr ? append(list, file, length + 1)
                      : append_candidates(list, path, file, length)) = 0;
    return list;
}

bool weft::options_fit(const char *const argv[], const weft_subprocess_options *o)
{
    const int flags = WEFT_SUBPROCESS_NEW_SESSION | WEFT_SUBPROCESS_DIE_WITH_PARENT |
                      WEFT_SUBPROCESS_SET_UMASK | WEFT_SUBPROCESS_SET_UID |
                      WEFT_SUBPROCESS_SET_GID | WEFT_SUBPROCESS_FOREGROUND |
                      WEFT_SUBPROCESS_SCRIPTS | WEFT_SUBPROCESS_TREE;
    return argv != nullptr && argv[0] != nullptr && (o->flags & ~flags) == 0 &&
           !(o->flags & WEFT_SUBPROCESS_SET_UID && o->uid == (uid_t)-1) &&
           !(o->flags & WEFT_SUBPROCESS_SET_GID && o->gid == (gid_t)-1) &&
           o->process_group >= WEFT_GROUP_OURS && o->grace_ns >= 0 &&
           !((o->flags & WEFT_SUBPROCESS_NEW_SESSION) && o->process_group > 0) &&
           !((o->flags & WEFT_SUBPROCESS_FOREGROUND) &&
             (o->process_group != WEFT_GROUP_NEW ||
              (o->flags & (WEFT_SUBPROCESS_NEW_SESSION | WEFT_SUBPROCESS_TREE))));
}

// Each number once, and not one that is passed.
static int add_mapped(const weft_subprocess_options *o, int *keep, size_t *count)
{
    for (size_t i = 0; i < o->map_count; i++) {
        const weft_descriptor *d = &o->map[i];
        for (size_t k = 0; k < *count; k++)
            if (keep[k] == d->as)
                return fail_with(EINVAL);
        if (d->as < 3 || fcntl(d->fd, F_GETFD) < 0)
            return fail_with(d->as < 3 ? EINVAL : EBADF);
        keep[(*count)++] = d->as;
    }
    sort_descriptors(keep, *count);
    return 0;
}

// The descriptors to keep, in order, each once, with a free place at the end.
static int *sorted_pass(const weft_subprocess_options *o, size_t *count)
{
    int *keep = (int *)malloc((o->pass_count + o->map_count + 1) * sizeof *keep);
    if (keep == nullptr)
        return nullptr;
    if (o->pass_count > 0) {
        memcpy(keep, o->pass, o->pass_count * sizeof *keep);
        sort_descriptors(keep, o->pass_count);
    }
    *count = 0;
    for (size_t i = 0; i < o->pass_count; i++) {
        if (keep[i] < 3 || fcntl(keep[i], F_GETFD) < 0) {
            errno = keep[i] >= 0 && keep[i] < 3 ? EINVAL : EBADF;
            free_keep_errno(keep);
            return nullptr;
        }
        if (*count == 0 || keep[*count - 1] != keep[i])
            keep[(*count)++] = keep[i];
    }
    if (add_mapped(o, keep, count) == 0)
        return keep;
    free_keep_errno(keep);
    return nullptr;
}

// What execve(2) does not execute /bin/sh can; the child puts the path in the second place.
static char **script_argv(const char *const argv[])
{
    size_t n = count(argv);
    char **script = (char **)malloc((n + 2) * sizeof *script);
    if (script == nullptr)
        return nullptr;
    script[0] = (char *)(uintptr_t) "sh";
    for (size_t i = 1; i <= n; i++)
        script[i + 1] = (char *)(uintptr_t)argv[i];
    return script;
}

static int set_cpus(struct spawn_plan *plan, const weft_subprocess_options *o)
{
    const int bits = 8 * (int)sizeof plan->cpus[0];
    memset(plan->cpus, 0, sizeof plan->cpus);
    for (size_t i = 0; o->cpus != nullptr && i < o->cpu_count; i++) {
        int cpu = o->cpus[i];
        if (cpu < 0 || cpu >= CPU_WORDS * bits)
            return fail_with(EINVAL);
        plan->cpus[cpu / bits] |= 1UL << (cpu % bits);
    }
    return 0;
}

int weft::plan_make(spawn_plan *plan, const char *const argv[], const weft_subprocess_options *o,
                    const int source[3], int *stage)
{
    memset(plan, 0, sizeof *plan);
    *stage = WEFT_STAGE_PREPARE;
    plan->opts = o;
    plan->cgroup = -1;
    plan->argv = (char *const *)argv;
    memcpy(plan->source, source, sizeof plan->source);
    plan->envp = child_environment(o, &plan->environment);
    if (plan->envp != nullptr && set_cpus(plan, o) == 0)
        plan->candidates = path_candidates(o->file != nullptr ? o->file : argv[0], plan->envp);
    plan->from = (int *)malloc((o->map_count + 1) * sizeof *plan->from);
    plan->script = script_argv(argv);
    if (plan->candidates != nullptr && plan->from != nullptr && plan->script != nullptr) {
        *stage = WEFT_STAGE_STREAMS;
        plan->keep = sorted_pass(o, &plan->keep_count);
    }
    if (plan->keep != nullptr)
        return 0;
    plan_free(plan);
    return -1;
}

void weft::plan_free(spawn_plan *plan)
{
    free_keep_errno(plan->environment);
    free_keep_errno(plan->candidates);
    free_keep_errno(plan->keep);
    free_keep_errno(plan->from);
    free_keep_errno(plan->script);
}
