// offload_names.cc: getaddrinfo(3) and getnameinfo(3) in a pool of their own.
//
// However many of its threads wait for servers, names that need none are not held up: those are
// looked up by the pool for files.
#include "descriptor.h"
#include "job.h"

#include <weft/offload.h>

#include <base/errno.h>

#include <netdb.h>
#include <stdio.h>
#include <string.h>

using namespace weft;

const char *weft::names_file = "/etc/hosts";

namespace {
struct question {
    struct addrinfo hints;
    struct addrinfo *list;
    int code, error;
    const char *service;
    const char *host; // behind this, as the service is; NULL: none
};
} // namespace

static int errno_of(int code, int error)
{
    switch (code) {
    case EAI_AGAIN:
        return EAGAIN;
    case EAI_MEMORY:
        return ENOMEM;
    case EAI_SYSTEM:
        return error;
    case EAI_FAIL:
        return EIO;
    case EAI_OVERFLOW:
        return ENOBUFS;
    case EAI_BADFLAGS:
    case EAI_FAMILY:
    case EAI_SOCKTYPE:
    case EAI_SERVICE:
        return EINVAL;
    default: // EAI_NONAME, EAI_NODATA, EAI_ADDRFAMILY
        return ENOENT;
    }
}

// localhost and what ends in .localhost (RFC 6761).
static bool is_loopback_name(const char *host)
{
    static const char name[] = "localhost";
    size_t n = host != nullptr ? strlen(host) : 0, m = sizeof name - 1;
    n -= n > 0 && host[n - 1] == '.';
    return n >= m && strncasecmp(host + n - m, name, m) == 0 && (n == m || host[n - m - 1] == '.');
}

// getaddrinfo(3), but these names need neither /etc/hosts nor a server.
static int look_up(const char *host, const char *service, const struct addrinfo *hints,
                   struct addrinfo **list)
{
    int code = getaddrinfo(host, service, hints, list);
    struct addrinfo h;
    memset(&h, 0, sizeof h);
    if (hints != nullptr)
        h = *hints;
    if (code == 0 || code == EAI_SERVICE || service == nullptr || !is_loopback_name(host) ||
        (h.ai_flags & AI_NUMERICHOST) != 0)
        return code;
    h.ai_flags &= ~(AI_PASSIVE | AI_CANONNAME); // without a host: the loopback addresses
    return getaddrinfo(nullptr, service, &h, list);
}

// Whether the line gives `host` an address of the family.
static bool is_named(char *line, const char *host, int family)
{
    char *rest;
    line[strcspn(line, "#\n")] = 0;
    const char *address = strtok_r(line, " \t", &rest), *name;
    if (address == nullptr ||
        (family != AF_UNSPEC && (strchr(address, ':') != nullptr) != (family == AF_INET6)))
        return false;
    while ((name = strtok_r(nullptr, " \t", &rest)) != nullptr)
        if (strcasecmp(name, host) == 0)
            return true;
    return false;
}

static bool is_in_file(const char *host, int family)
{
    char *line = nullptr;
    size_t room = 0;
    bool found = false;
    FILE *f = fopen(names_file, "re");
    while (f != nullptr && !found && getline(&line, &room, f) >= 0)
        found = is_named(line, host, family);
    free(line);
    if (f != nullptr)
        fclose(f);
    return found;
}

static void *ask(void *arg)
{
    question *q = (question *)arg;
    q->code = look_up(q->host, q->service, &q->hints, &q->list);
    q->error = errno;
    return q;
}

// The same if it needs no server; else NULL.
static void *ask_nearby(void *arg)
{
    const question *q = (const question *)arg;
    bool near = q->host == nullptr || (q->hints.ai_flags & AI_NUMERICHOST) != 0 ||
                is_loopback_name(q->host) || is_in_file(q->host, q->hints.ai_family);
    return near ? ask(arg) : nullptr;
}

static void release(void *result, void *arg)
{
    question *q = (question *)arg;
    if (result != nullptr && q->code == 0)
        freeaddrinfo(q->list);
    free(q);
}

static question *copy(const char *host, const char *service, const struct addrinfo *hints)
{
    size_t n = host != nullptr ? strlen(host) + 1 : 0,
           m = service != nullptr ? strlen(service) + 1 : 0;
    question *q = (question *)malloc(sizeof *q + n + m);
    if (q == nullptr)
        return nullptr;
    memset(q, 0, sizeof *q);
    if (hints != nullptr) {
        q->hints.ai_flags = hints->ai_flags;
        q->hints.ai_family = hints->ai_family;
        q->hints.ai_socktype = hints->ai_socktype;
        q->hints.ai_protocol = hints->ai_protocol;
    }
    char *text = (char *)(q + 1);
    if (host != nullptr)
        q->host = (const char *)memcpy(text, host, n);
    if (service != nullptr)
        q->service = (const char *)memcpy(text + n, service, m);
    return q;
}

static int answer(int code, int error, int saved, int *out)
{
    if (code == 0) {
        errno = saved;
        return 0;
    }
    if (out != nullptr)
        *out = code;
    return fail_with(errno_of(code, error));
}

// What needs no server: numbers, or nothing.
static int ask_here(const char *host, const char *service, const struct addrinfo *hints,
                    struct addrinfo **list)
{
    struct addrinfo h;
    memset(&h, 0, sizeof h);
    if (hints != nullptr) {
        h = *hints;
        h.ai_addr = nullptr;
        h.ai_canonname = nullptr;
        h.ai_next = nullptr;
    }
    h.ai_flags |= host != nullptr ? AI_NUMERICHOST : 0;
    h.ai_flags |= service != nullptr ? AI_NUMERICSERV : 0;
    return getaddrinfo(host, service, &h, list);
}

int weft::names_here(const char *host, const char *service, const struct addrinfo *hints,
                     struct addrinfo **list)
{
    int saved = errno, code = look_up(host, service, hints, list);
    return answer(code, errno, saved, nullptr);
}

int weft_offload_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                             struct addrinfo **list, int *code, weft_deadline d)
{
    int saved = errno;
    if (code != nullptr)
        *code = 0;
    if (list == nullptr)
        return fail_with(EINVAL);
    if (ask_here(host, service, hints, list) == 0) {
        errno = saved;
        return 0;
    }
    question *q = copy(host, service, hints);
    if (q == nullptr)
        return -1;
    void *asked = nullptr;
    if (offload_to(WEFT_OFFLOAD_FILES, ask_nearby, q, release, &asked, d) != 0 ||
        (asked == nullptr && offload_to(WEFT_OFFLOAD_NAMES, ask, q, release, nullptr, d) != 0)) {
        if (errno != ETIMEDOUT && errno != ECANCELED)
            free_keep_errno(q); // else `release` does
        return -1;
    }
    *list = q->list;
    int error = q->error, result = q->code;
    free(q);
    return answer(result, error, saved, code);
}

// ---- Names of addresses ----

namespace {
struct inquiry {
    struct sockaddr_storage address;
    socklen_t size, host_room, service_room;
    int flags, code, error;
    char host[NI_MAXHOST], service[NI_MAXSERV];
};
} // namespace

static void *inquire(void *arg)
{
    inquiry *q = (inquiry *)arg;
    q->code = getnameinfo((struct sockaddr *)&q->address, q->size, q->host, q->host_room,
                          q->service, q->service_room, q->flags);
    q->error = errno;
    return q;
}

static void release_inquiry(void *, void *arg)
{
    free(arg);
}

static inquiry *copy_address(const struct sockaddr *address, socklen_t size, socklen_t host_room,
                             socklen_t service_room, int flags)
{
    inquiry *q = (inquiry *)calloc(1, sizeof *q);
    if (q == nullptr)
        return nullptr;
    memcpy(&q->address, address, size);
    q->size = size;
    q->host_room = host_room < sizeof q->host ? host_room : sizeof q->host;
    q->service_room = service_room < sizeof q->service ? service_room : sizeof q->service;
    q->flags = flags;
    return q;
}

int weft_offload_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
                             socklen_t host_room, char *service, socklen_t service_room, int flags,
                             int *code, weft_deadline d)
{
    int saved = errno;
    if (code != nullptr)
        *code = 0;
    if (address == nullptr || size > sizeof(struct sockaddr_storage))
        return fail_with(EINVAL);
    host_room = host != nullptr ? host_room : 0;
    service_room = service != nullptr ? service_room : 0;
    if ((host_room == 0 || flags & NI_NUMERICHOST) &&
        (service_room == 0 || flags & NI_NUMERICSERV)) { // numbers need nobody
        int here = getnameinfo(address, size, host, host_room, service, service_room, flags);
        return answer(here, errno, saved, code);
    }
    inquiry *q = copy_address(address, size, host_room, service_room, flags);
    if (q == nullptr)
        return -1;
    if (offload_to(WEFT_OFFLOAD_NAMES, inquire, q, release_inquiry, nullptr, d) != 0) {
        if (errno != ETIMEDOUT && errno != ECANCELED)
            free_keep_errno(q); // else `release_inquiry` does
        return -1;
    }
    int result = q->code, error = q->error;
    if (result == 0 && host_room > 0)
        strcpy(host, q->host);
    if (result == 0 && service_room > 0)
        strcpy(service, q->service);
    free(q);
    return answer(result, error, saved, code);
}
