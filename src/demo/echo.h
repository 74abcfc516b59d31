// echo.h: `weft-async echo`: what a connection gets back, and what was counted.
#ifndef WEFT_DEMO_ECHO_H
#define WEFT_DEMO_ECHO_H

#include "options.h"

#include <weft/io.h>

#include <sys/mman.h>

// In memory that the workers share.
struct echo_counts {
    long connections, open, most, bytes;
};
static echo_counts *echo_tally;

static inline long echo_add(long *number, long n)
{
    return __atomic_add_fetch(number, n, __ATOMIC_RELAXED);
}

static inline void echo(int fd, void *)
{
    char text[4096];
    long open = echo_add(&echo_tally->open, 1);
    echo_add(&echo_tally->connections, 1);
    if (open > echo_tally->most)
        echo_tally->most = open;
    for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, WEFT_FOREVER)) > 0;) {
        if (weft_io_write(fd, text, (size_t)n, WEFT_FOREVER) != n)
            break;
        echo_add(&echo_tally->bytes, n);
    }
    echo_add(&echo_tally->open, -1);
}

static inline void echo_begin(void)
{
    echo_tally = (echo_counts *)mmap(nullptr, sizeof *echo_tally, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (echo_tally == MAP_FAILED)
        options_fail("weft-async");
}

static inline void echo_end(void)
{
    printf("%ld connections, %ld at once, %ld bytes echoed\n", echo_tally->connections,
           echo_tally->most, echo_tally->bytes);
}

#endif
