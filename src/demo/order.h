// order.h: what the verbs for a manager (remote.h) are told, and their connection to it.
#ifndef WEFT_DEMO_ORDER_H
#define WEFT_DEMO_ORDER_H

#include "options.h"

#include <weft/manager.h>
#include <weft/remote.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct remote_order {
    const char *address, *name;
    char password[512];
    bool has_password;
    size_t memory;
    long count, capacity;
    weft_deadline end;
};

// The file's first line.  One that would be cut short, and so be another password, is refused.
static inline void remote_read_password(const char *file, remote_order *o)
{
    char *line = nullptr;
    size_t room = 0;
    FILE *f = fopen(file, "re");
    if (f == nullptr)
        err(1, "%s", file);
    ssize_t n = getline(&line, &room, f);
    if (n > 0 && line[n - 1] == '\n')
        line[--n] = 0;
    if (n <= 0)
        errx(1, "%s: there is no password in it", file);
    if (strlen(line) != (size_t)n || (size_t)n >= sizeof o->password)
        errx(1, "%s: a password has at most %zu bytes, and none is 0", file,
             sizeof o->password - 1);
    memcpy(o->password, line, (size_t)n + 1);
    o->has_password = true;
    free(line);
    fclose(f);
}

static inline size_t remote_size(const char *program, const char *text)
{
    static const char units[] = "kmg";
    char *unit;
    errno = 0;
    unsigned long long n = strtoull(text, &unit, 10);
    const char *known = *unit != 0 ? strchr(units, *unit | 0x20) : nullptr;
    int shift = known != nullptr ? 10 * (int)(known - units + 1) : 0;
    if (errno != 0 || *text < '1' || *text > '9' ||
        (*unit != 0 && (known == nullptr || unit[1] != 0)) || n > SIZE_MAX >> shift)
        options_bad(program, "not a size", text);
    return (size_t)n << shift;
}

static inline weft_client *remote_connect(const remote_order *o)
{
    weft_client *c =
        weft_client_connect(o->address, o->has_password ? o->password : nullptr, weft_in_s(10));
    if (c == nullptr)
        err(1, "%s", o->address);
    return c;
}

// What a call said: 1 for a deadline that has passed, else the end.
static inline int remote_failed(const char *what, weft_remote *r)
{
    weft_client *c = weft_remote_client(r);
    const char *more = errno == EPROTO ? weft_client_error(c) : "";
    warnx("%s: %s%s%s", what, errno == ETIMEDOUT ? "out of time" : strerror(errno),
          *more != 0 ? ": " : "", more);
    weft_remote_destroy(r);
    weft_client_destroy(c);
    return 1;
}

#endif
