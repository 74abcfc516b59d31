// events.cc: the kernel's set of descriptors (events.h).
#include "events.h"

#include <base/errno.h>

#include <stdio.h>
#include <stdlib.h>

using namespace weft;

bool weft::events_checked(void)
{
    const char *check = getenv("WEFT_IO_CHECK");
    return check != nullptr && *check == '1';
}

void weft::events_tell_closed(int fd, const char *was)
{
    int saved = errno;
    if (events_checked())
        fprintf(stderr, "weft: descriptor %d was closed while it was %s\n", fd, was);
    errno = saved;
}
