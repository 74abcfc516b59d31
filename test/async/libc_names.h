// libc_names.h: libc's own look-up of names, for tests that stand in its place.
#ifndef WEFT_TEST_LIBC_NAMES_H
#define WEFT_TEST_LIBC_NAMES_H

#include <dlfcn.h>
#include <netdb.h>

static inline int libc_getaddrinfo(const char *name, const char *service,
                                   const struct addrinfo *hints, struct addrinfo **list)
{
    static decltype(&getaddrinfo) real;
    if (real == nullptr)
        real = (decltype(real))dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name, service, hints, list);
}

// Whether it is to be looked up, and is no number.
static inline bool is_name(const char *name, const struct addrinfo *hints)
{
    return name != nullptr && hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) == 0;
}

#endif
