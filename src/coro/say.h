// say.h: a line on standard error that has a name and a number in it, from a signal handler.
#ifndef WEFT_CORO_SAY_H
#define WEFT_CORO_SAY_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

namespace weft {

// `before` NAME `between` NUMBER `after`.  Calls nothing but what a signal handler may.
static inline void say_in_handler(const char *before, const char *name, const char *between,
                                  uint64_t number, const char *after)
{
    char digits[24], *digit = digits + sizeof digits - 1;
    *digit = 0;
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    const char *parts[] = {before, name[0] != 0 ? name : "(unnamed)", between, digit, after};
    struct iovec out[5];
    for (int i = 0; i < 5; i++)
        out[i] = {(void *)(uintptr_t)parts[i], strlen(parts[i])};
    ssize_t n = writev(STDERR_FILENO, out, 5);
    (void)n;
}

} // namespace weft

#endif
