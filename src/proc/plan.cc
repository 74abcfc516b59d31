// plan.cc: environment and PATH, without touching our own.
#include "plan.h"

#include <base/errno.h>

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

char *const *weft::child_environment(const weft_subprocess_options *o, char ***allocated)
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

char *weft::path_candidates(const char *file, char *const *envp)
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
